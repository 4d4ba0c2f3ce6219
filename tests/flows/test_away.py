"""A reader or meter that is unplugged in the middle of a run: read again, a person asked once, pumps untouched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows import away, closed_loop, tasks
from instruments.errors import TransportTimeout
from tests.flows.test_perfusion import HOURS, START_H, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with (
        Journal(tmp_path / "journal.sqlite") as journal,
        Record(f"sqlite:///{tmp_path / 'record.sqlite'}") as record,
    ):
        on = Rig(tmp_path, journal)
        on.lab.record, on.lab.simulated = record, False
        record.add_run("r", on.study, 1, True, {})
        yield on


def plays(on: Rig, until_h: float, found: list[Any]) -> Callable[..., list[Any]]:
    """Return a read whose instrument is away until a study time."""

    def read(*_: Any) -> list[Any]:
        if on.now_h() < until_h:
            raise TransportTimeout("the reader is silent")
        return found

    return read


def test_a_plate_waits_for_its_reader_hold_after_hold_and_a_person_is_asked_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def hold_again(lab: Any, cycle: int, phase: str) -> list[Any]:
        from flows import perfusion
        from flows.perfusion import Wanted

        begun.append(phase)
        programme = rig.programme("L1", 0.0, "stimulus", 2.0)
        return perfusion.start_pumps(lab, [Wanted("L1", 2.0, programme)], cycle, phase)

    rig.world.advance_to(START_H)
    monkeypatch.setattr(tasks, "read_plate", plays(rig, START_H + 5.0, ["readout"]))
    hold = hold_again(rig.lab, 1, "hold")
    found, hold = away.plate_when_it_answers(rig.lab, 1, "CCL26", (0.0, 1.0), hold, hold_again)
    assert found == ["readout"] and begun == ["hold", "hold-2", "hold-3"]
    assert START_H + 5.0 <= rig.now_h() < START_H + 5.2
    assert rig.runs("L1-stimulus") and not rig.runs("L1-low")
    assert rig.times("WAITING FOR A PERSON") == 1 and rig.times("answers again") == 1
    record: Record = rig.lab.record
    assert [len(record.events("r", kind)) for kind in (away.AWAY, away.BACK)] == [1, 1]
    run = record.run("r")
    assert run is not None and run.state == "running"


def test_holds_follow_each_other_where_every_line_is_held_and_plain_medium_flows_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.lab.reserve, rig.lab.watch_every_h = (lambda: None), 2.0
    rig.world.advance_to(START_H)
    for line in ("L1", "L2"):
        rig.pumps[f"{line}-low"].cut_at_start = True
    running = rig.watch(rig.start("L1", "L2"), HOURS)
    rig.finish(running)
    assert set(rig.journal.held("r")) == {"L1", "L2"}
    begun: list[str] = []

    def hold_again(lab: Any, cycle: int, phase: str) -> list[Any]:
        assert phase not in begun, "a hold that is over was begun again"
        begun.append(phase)
        return closed_loop.start_hold(lab, cycle, phase)

    begin_h = rig.now_h()
    monkeypatch.setattr(tasks, "read_plate", plays(rig, begin_h + 5.0, ["readout"]))
    hold = hold_again(rig.lab, 1, "hold")
    found, hold = away.plate_when_it_answers(rig.lab, 1, "CCL26", (0.0, 1.0), hold, hold_again)
    assert found == ["readout"] and begun == ["hold", "hold-2", "hold-3"]
    assert {p.programme_key.rsplit("/", 1)[1] for p in hold} == {"hold-3-plain"}
    assert rig.runs("L1-medium") and rig.runs("L2-medium")


@pytest.mark.parametrize(("back_h", "taken"), [(2.0, True), (9.0, False)])
def test_teer_is_taken_late_or_missed_on_record_and_the_dose_goes_on(
    back_h: float, taken: bool, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.world.advance_to(START_H)
    running = rig.start("L1")
    monkeypatch.setattr(tasks, "measure_teer", plays(rig, START_H + back_h, ["TEER"]))
    found, running = away.teer_when_it_answers(rig.lab, running, 1, START_H, START_H + 12.0)
    assert found == (["TEER"] if taken else [])
    missed = rig.lab.record.events("r", away.MISSED)
    assert [event.content["planned_h"] for event in missed] == ([] if taken else [START_H])
    assert rig.now_h() - START_H == pytest.approx(2.0 if taken else tasks.SAME_READING_H, abs=0.11)
    assert rig.runs("L1-low") and rig.world.load()["pumps"]["L1-low"]["starts"] == 1


def test_at_the_end_of_an_exposure_chips_do_not_stand_dry_for_a_meter(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.world.advance_to(START_H)
    monkeypatch.setattr(tasks, "measure_teer", plays(rig, 1e9, []))
    assert away.teer_when_it_answers(rig.lab, [], 1, START_H, None) == ([], [])
    assert rig.now_h() - START_H <= away.LAST_PATIENCE_H + 1e-6


def test_a_reading_that_was_missed_is_missed_for_a_resumed_run_too(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.world.advance_to(START_H)
    running = rig.start("L1")
    monkeypatch.setattr(tasks, "measure_teer", plays(rig, 1e9, []))
    found, running = away.teer_when_it_answers(rig.lab, running, 1, START_H, START_H + 1.0)
    run = rig.lab.record.run("r")
    assert found == [] and run is not None and run.state == "running"
    for answers in (False, True):
        later = plays(rig, 0.0 if answers else 1e9, ["TEER of another time"])
        monkeypatch.setattr(tasks, "measure_teer", later)
        again, _ = away.teer_when_it_answers(rig.lab, running, 1, START_H, START_H + 1.0)
        assert again == []
    assert len(rig.lab.record.events("r", away.MISSED)) == 1


def test_a_plate_that_is_skipped_while_its_reader_is_away_is_not_told_as_the_readers_return(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.world.advance_to(START_H)
    monkeypatch.setattr(tasks, "read_plate", plays(rig, START_H + 0.3, []))
    found, _ = away.plate_when_it_answers(rig.lab, 1, "CCL26", (0.0, 1.0), [], lambda *_: [])
    assert found == []
    assert rig.times("answers again") == 0 and rig.times("is not asked any more") == 1
