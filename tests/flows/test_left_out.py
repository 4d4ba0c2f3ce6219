"""A fit that leaves out a reading which was taken well says so: on record once, and aloud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.record.record import Record
from chiploop.record.unexplained import LEFT_OUT, UNEXPLAINED
from flows import timeline_pages
from flows.tasks import note_left_out
from tests.chiploop.campaigns import STUDY, readings


def test_chip_readout_time_and_reason_are_on_record_once_and_shown_beside_the_chip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    # the last of a chip's readings is the one that the page shows
    good = readings(cycle=1)[::-1]
    bad = [replace(good[0], qc="fail", reasons=(UNEXPLAINED,)), *good[1:]]
    with Record(str(tmp_path / "record.sqlite")) as record:
        record.add_run("r", STUDY, 1, simulated=True)
        record.add_readouts("r", good)
        lab: Any = SimpleNamespace(
            record=record,
            run_id="r",
            clock=SimpleNamespace(now_h=lambda: 80.0),
            say=lambda cycle, what: said.append(what),
        )
        note_left_out(lab, 1, good)
        assert record.events("r", LEFT_OUT) == () and said == []
        for _ in range(2):  # the fit is begun again after an interruption
            note_left_out(lab, 1, bad)
        (event,) = record.events("r", LEFT_OUT)
        first = good[0]
        assert event.content == {
            "cycle": 1,
            "readouts": [
                {
                    "chip": first.chip_id,
                    "readout": first.readout,
                    "time_h": first.time_h,
                    "why": UNEXPLAINED,
                }
            ],
        }
        assert len(said) == 1 and f"{first.readout} of {first.chip_id}" in said[0]
        got = {"line": "L1", "delivered_ul": None, "drug_nM": None, "outcome": "done"}
        chips = [{"chip": chip, **got} for chip in STUDY.chip_ids]
        monkeypatch.setattr(timeline_pages, "delivered_facts", lambda *_: chips)
        shown = timeline_pages.chip_rows(record, [], STUDY, "r", 1)
        marked = [row["chip"] for row in shown if "left out" in row.get(first.readout, "")]
        assert marked == [first.chip_id]
