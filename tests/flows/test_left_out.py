"""What a cycle's fit learns from is decided once: on record before it begins, aloud where it leaves any out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop import campaign as loop
from chiploop.measurement import Readout
from chiploop.record.actions import programme_key
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.unexplained import LEFT_OUT, TAKEN_IN, UNEXPLAINED
from chiploop.refit import Evidence
from flows import tasks, timeline_pages
from flows.left_out import note_evidence
from tests.chiploop.campaigns import STUDY, readings
from tests.chiploop.test_refit import LINES, flow

END_H = STUDY.exposure_end_h(1)


class Loop:
    """What a fit wants of a laboratory: an exposure has ended, and a hold runs under which TEER was read."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.study, self.run_id, self.seed = folder, STUDY, "r", 1
        self.record = stack.enter_context(Record(str(folder / "record.sqlite")))
        self.journal = stack.enter_context(Journal(folder / "journal.sqlite"))
        self.clock = SimpleNamespace(now_h=lambda: END_H + 2.0)
        self.said: list[str] = []
        self.readouts = [
            replace(r, time_h=END_H + 1.0) if r.readout == "TEER" else r for r in readings(cycle=1)
        ]

    def say(self, cycle: int, what: str) -> None:
        self.said.append(what)

    def note(self, text: str, **values: Any) -> None:
        """Add a note to the hold of the first line."""
        for action in self.journal.programme(programme_key("r", 1, LINES[0], "hold")):
            self.journal.note("r", action.intent.key, END_H + 1.5, text, **values)

    def fit(self, monkeypatch: pytest.MonkeyPatch) -> list[Readout]:
        """Return what a fit is given whose process dies in it."""
        given: list[Readout] = []

        def dies(campaign: Any, readouts: Any, rng: Any) -> None:
            given.extend(readouts)
            raise KeyboardInterrupt

        monkeypatch.setattr(tasks.loop, "observe", dies)
        campaign = loop.start(STUDY)
        with pytest.raises(KeyboardInterrupt):
            tasks.recalibrate.fn(self, campaign, self.readouts, 1)  # type: ignore[arg-type]
        return given

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.content for event in self.record.events("r", kind)]


@pytest.fixture(scope="module")
def in_hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record and journal of a run whose first exposure has ended."""
    folder = tmp_path_factory.mktemp("loop")
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run("r", STUDY, 1, simulated=True)
    with Journal(folder / "journal.sqlite") as journal:
        flow(journal, 0, "medium", 0.0, 0.0, STUDY.exposure_start_h(1))
        flow(journal, 1, "dose", 100.0, STUDY.exposure_start_h(1), END_H)
        flow(journal, 1, "hold", 0.0, END_H, END_H + 4.0, ends=False)
    return folder


@pytest.fixture
def on(in_hold: Path, tmp_path: Path) -> Iterator[Loop]:
    shutil.copytree(in_hold, tmp_path, dirs_exist_ok=True)
    with ExitStack() as stack:
        yield Loop(tmp_path, stack)


def out_of(readouts: list[Readout]) -> set[str]:
    return {r.chip_id for r in readouts if UNEXPLAINED in r.reasons}


def test_a_pump_that_is_heard_again_after_the_decision_changes_no_fit_of_a_resumed_run(
    on: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    on.note("does not answer", silent=True)
    first = on.fit(monkeypatch)  # the process dies between the event and the end of the fit
    chips = set(STUDY.line(LINES[0]).chips)
    assert out_of(first) == chips
    on.note("answers again")
    assert on.fit(monkeypatch) == first
    (told,) = on.told(LEFT_OUT)
    assert {one["chip"] for one in told["readouts"]} == chips
    assert on.told(TAKEN_IN) == [] and len(on.said) == 1


def test_a_pump_that_falls_silent_after_the_decision_changes_none_either(
    on: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = on.fit(monkeypatch)
    assert out_of(first) == set()
    on.note("does not answer", silent=True)
    assert on.fit(monkeypatch) == first
    (told,) = on.told(TAKEN_IN)
    assert {one["chip"] for one in told["readouts"]} == set(STUDY.chip_ids)
    assert {(one["readout"], one["time_h"]) for one in told["readouts"]} == {("TEER", END_H + 1.0)}
    assert on.told(LEFT_OUT) == [] and on.said == []


def test_a_persons_word_lets_readings_in_again_and_no_page_shows_them_as_left_out_then(
    on: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    on.note("does not answer", silent=True)
    on.fit(monkeypatch)
    for action in on.journal.programme(programme_key("r", 1, LINES[0], "hold")):
        on.journal.abandon(
            action.intent.key, END_H + 1.5, "maria", "read it", 0.5 * action.intent.volume_ul
        )
    assert out_of(on.fit(monkeypatch)) == set()
    assert [bool(told["readouts"]) for told in on.told(LEFT_OUT)] == [True, False]
    assert len(on.said) == 1


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
        note_evidence(lab, Evidence(1, {}, tuple(good)))
        assert record.events("r", LEFT_OUT) == () and said == []
        for _ in range(2):  # the fit is begun again after an interruption
            note_evidence(lab, Evidence(1, {}, tuple(bad)))
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
