"""Two studies in two processes on one bench: pumps of their own, one reader and one meter in turns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows.reserving import TURN
from instruments.port_lock import PortLock
from tests.flows.conftest import SMALL_STUDY, Ended, Warm, edited
from tests.flows.run_checks import only_run, science
from tests.flows.shared_lab import VARIABLE, SharedLab, shared_lab

OTHER_CHIPS = [
    ("id: L1, chips: {C01", "id: L3, chips: {C03"),
    ("id: L2, chips: {C02", "id: L4, chips: {C04"),
    ("name: small", "name: other"),
]


def studies(folder: Path, changes: list[tuple[str, str]]) -> dict[str, Path]:
    """Write both studies; the second one with changes of its own."""
    for name in ("an", "bo"):
        (folder / name).mkdir(exist_ok=True)
    return {
        "an": edited(SMALL_STUDY, folder / "an", []),
        "bo": edited(SMALL_STUDY, folder / "bo", [*OTHER_CHIPS, *changes]),
    }


def run_together(
    warm: Warm, lab: SharedLab, paths: dict[str, Path], runs: Path
) -> dict[str, Ended]:
    """Run both at the same time on one record; return how they ended."""
    started = {
        who: warm.start(
            "simulate", path, "--runs", runs, "--json", **{VARIABLE: lab.parts[who].text}
        )
        for who, path in paths.items()
    }
    return {who: one.wait() for who, one in started.items()}


@dataclass(frozen=True)
class Turn:
    """One use of a shared instrument, as it is on record."""

    kind: str
    what: str
    planned_h: float
    at_h: float
    waited_s: float


def turns_of(record: Record, run_id: str) -> list[Turn]:
    """Return what a run says of its turns."""
    found = []
    for event in record.events(run_id, TURN):
        said = event.content
        numbers = (said["planned_h"], event.time_h, said["waited_s"])
        found.append(Turn(said["kind"], said["what"], *numbers))
    return found


def check_pumps(lab: SharedLab, who: str, runs: Path, run_id: str) -> None:
    """Hold the journal of a run against its emulated pumps: every start once."""
    with Journal(runs / run_id / "journal.sqlite") as journal:
        actions = journal.actions(run_id)
        assert actions and journal.held(run_id) == {}
    for name, pump in lab.rooms[who].pumps.items():
        assert pump.starts == sum(a.intent.pump == name for a in actions), name


@pytest.mark.slow
def test_two_studies_that_are_never_due_at_once_have_the_records_that_they_have_alone(
    warm: Warm, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    paths = studies(tmp_path, [("stimulus_from: 12 h", "stimulus_from: 15 h")])
    with shared_lab(paths) as lab:
        ended = run_together(warm, lab, paths, runs)
        for one in ended.values():
            assert one.code == 0, one.err
        for who, one in ended.items():
            check_pumps(lab, who, runs, one.json["run_id"])
    for who, path in paths.items():
        alone = warm.run("simulate", path, "--runs", tmp_path / f"alone-{who}", "--json")
        assert alone.code == 0, alone.err
        own = only_run(tmp_path / f"alone-{who}")
        assert science(runs, ended[who].json["run_id"]) == science(tmp_path / f"alone-{who}", own)
    with Record(str(runs / "record.sqlite")) as record:
        assert record.verify().faults == ()
        for one in ended.values():
            turns = turns_of(record, one.json["run_id"])
            # TEER before the stimulus and at the end of both exposures; two plates of each
            assert [turn.kind for turn in turns].count("impedance_meter") == 3
            assert [turn.kind for turn in turns].count("plate_reader") == 4
            assert {turn.waited_s for turn in turns} == {0.0}


@pytest.mark.slow
def test_two_studies_that_wait_for_somebody_and_for_each_other_both_end_and_are_recorded_late(
    warm: Warm, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    # both first exposures end at 36 h: TEER and two plates of each are due at once
    longer = [("exposure: 24 h", "exposure: 26 h"), ("teer: [24 h]", "teer: [26 h]")]
    paths = studies(tmp_path, [("stimulus_from: 12 h", "stimulus_from: 10 h"), *longer])
    held: list[PortLock] = []

    def by_hand(time_h: float) -> None:
        """Have somebody else at meter and reader from 20 h until after both are due."""
        if not held and 20.0 <= time_h < 36.0:
            held.extend(PortLock(lab.parts["an"].urls[name]) for name in ("teer", "reader"))
        if time_h >= 36.02:
            for lock in held:
                lock.release()

    with shared_lab(paths) as lab:
        lab.on_time = by_hand
        ended = run_together(warm, lab, paths, runs)
        for one in ended.values():
            assert one.code == 0, one.err
        assert len(held) == 2
        for who, one in ended.items():
            check_pumps(lab, who, runs, one.json["run_id"])
    with Record(str(runs / "record.sqlite")) as record:
        assert record.verify().faults == ()
        taken: list[Turn] = []
        for one in ended.values():
            run_id = one.json["run_id"]
            turns = turns_of(record, run_id)
            taken += turns
            teer = [r for r in record.readouts(run_id) if r.readout == "TEER"]
            at_h = {turn.at_h for turn in turns if turn.kind == "impedance_meter"}
            assert len(teer) == 2 * 3 and {r.time_h for r in teer} == at_h
            for turn in turns:
                late_s = 3600.0 * (turn.at_h - turn.planned_h)
                assert turn.waited_s == pytest.approx(late_s, abs=0.1)
            assert len(record.readouts(run_id)) == 2 * 3 * 3 - 2 * 2
            run = record.run(run_id)
            assert run is not None and run.state == "finished"
        # 72 s for somebody else, then for each other, looking again every ten seconds
        at_once = [turn for turn in taken if 36.0 <= turn.at_h < 37.0]
        assert len(at_once) == 2 + 4
        teer_s = [turn.waited_s for turn in at_once if turn.kind == "impedance_meter"]
        assert all(70.0 <= waited_s <= 110.0 for waited_s in teer_s), taken
        assert {turn.waited_s for turn in taken if turn not in at_once} == {0.0}
