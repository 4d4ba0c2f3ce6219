"""Which plates are still to come, and that a suggestion counts on them. Whole runs: test_awaited_files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chiploop import campaign as loop
from chiploop.measurement import Readout
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.late_plates import LATE, LOST, NOTED, late_plates
from flows.proposing import Books, offer
from tests.flows.conftest import SMALL_STUDY

RUN = "r1"
READ = Readout("C01", "CCL26", 1.0, "pg/mL", 0.1, "log", 36.0, plate="first", cycle=2)


class Asked(Exception):
    """Raised in place of a suggestion."""


def exactly(pump: str, rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
    """Return what was asked: pumps that round nothing."""
    return rate_ul_h, volume_ul


@pytest.fixture
def record(tmp_path: Path) -> Any:
    with Record(str(tmp_path / "record.sqlite")) as opened:
        study = load_study(SMALL_STUDY)
        opened.add_run(RUN, study, 1, simulated=True)
        for cycle, plate in enumerate(("first", "second"), 1):
            window = [24.0 * cycle, 24.0 * cycle + 12.0]
            content = {"plate": plate, "cycle": cycle, "assay": "CCL26", "window_h": window}
            opened.add_event(RUN, NOTED, 36.0, content, key=plate)
        yield opened


def test_a_plate_is_on_its_way_until_it_is_read_or_given_up(record: Record) -> None:
    assert late_plates(record, RUN) == ()
    for plate in ("first", "second"):
        record.add_event(RUN, LATE, 37.0, {"plate": plate}, key=plate)
    assert [(one.plate_id, one.cycle, one.window_h) for one in late_plates(record, RUN)] == [
        ("first", 1, (24.0, 36.0)),
        ("second", 2, (48.0, 60.0)),
    ]
    record.add_readouts(RUN, [READ])
    assert [one.plate_id for one in late_plates(record, RUN)] == ["second"]
    record.add_event(RUN, LOST, 38.0, {"plate": "second"}, key="second")
    assert late_plates(record, RUN) == ()


def test_the_next_doses_count_on_what_late_plates_will_say(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def asked(*_: Any, **named: Any) -> Any:
        given.update(named)
        raise Asked

    monkeypatch.setattr(loop, "suggest", asked)
    study = load_study(SMALL_STUDY)
    with Journal(tmp_path / "journal.sqlite") as journal:
        books = Books(study, RUN, 1, record, journal, exactly)
        campaign = replace(loop.start(study), cycle=1)
        record.add_event(RUN, LATE, 37.0, {"plate": "first"}, key="first")
        with pytest.raises(Asked):
            offer(books, campaign, None)
    assert given["awaited"] == [(1, "CCL26")]
