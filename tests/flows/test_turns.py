"""Readings that wait for others: no pump waits with them, and what waited too long is told and on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.record.record import Record
from chiploop.study import load_study
from chiploop.worklist import HandDone
from flows import away, hands, turns
from flows.away import AWAY, BACK, MISSED
from flows.reserving import IN_VAIN, TURN
from flows.turns import Due
from flows.wire_news import WireNews
from instruments.errors import TransportTimeout
from instruments.shared import SharedMeter, SharedPort, SharedReader
from instruments.wire_troubles import TroubleBook
from tests.flows.conftest import SMALL_STUDY

STUDY = load_study(SMALL_STUDY)


class HeldMeter(SharedMeter):
    """A meter that is with somebody else until a test gives it free."""

    def __init__(self) -> None:
        nowhere = Path("/dev/null")
        super().__init__(
            "teer",
            SharedPort("/dev/test-teer", 600.0, lambda on: on, lambda on: on, nowhere),  # type: ignore[arg-type, return-value]
        )
        self.held_by = "run r9, process 7, for 1.0 min"
        self.left = 0
        self.have = False

    @property
    def lock_names(self) -> frozenset[str]:
        return frozenset({"x"}) if self.have else frozenset()

    def try_turn(self) -> str:
        self.have = not self.held_by
        return self.held_by

    def leave(self) -> None:
        self.left += 1
        self.have = False


class HeldReader(HeldMeter, SharedReader):  # type: ignore[misc]
    """A reader likewise."""


@dataclass
class Clock:
    """A clock that lets a test act while time passes."""

    time_h: float = 36.0
    act: Callable[[float], None] = lambda time_h: None
    waits: list[float] = field(default_factory=list)

    def now_h(self) -> float:
        return self.time_h

    def wait_until_h(self, time_h: float) -> None:
        self.time_h = max(self.time_h, time_h)
        self.waits.append(time_h)
        self.act(self.time_h)

    def stopped_by(self) -> str:
        return ""


@dataclass
class Lab:
    """What waiting wants of a laboratory."""

    record: Record
    meter: HeldMeter = field(default_factory=HeldMeter)
    reader: HeldReader = field(default_factory=HeldReader)
    clock: Clock = field(default_factory=Clock)
    said: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    taken: list[tuple[float, float]] = field(default_factory=list)
    """(planned, really) of the readings that were taken."""
    study: Any = STUDY
    run_id: str = "r1"
    simulated: bool = False
    watch_every_h: float = 0.1
    wire_news: WireNews = field(default_factory=WireNews)

    @property
    def bench(self) -> Any:
        return SimpleNamespace(
            meters={"teer": self.meter}, readers={"reader": self.reader}, troubles=TroubleBook()
        )

    def say(self, cycle: int, what: str) -> None:
        self.said.append(what)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with Record(f"sqlite:///{tmp_path / 'record.sqlite'}") as record:
        made = Lab(record)

        def measure(lab: Any, cycle: int, planned_h: float) -> list[Any]:
            assert made.meter.have
            made.taken.append((planned_h, made.clock.now_h()))
            return [f"TEER planned {planned_h}"]

        monkeypatch.setattr(turns.tasks, "measure_teer", measure)
        monkeypatch.setattr(turns.tasks, "teer_is_done", lambda *_: False)
        monkeypatch.setattr(turns.tasks, "plate_is_done", lambda *_: False)
        yield made


def test_a_meter_that_is_free_is_used_at_once_and_left(lab: Any) -> None:
    lab.meter.held_by = ""
    due = [Due(36.0)]
    running, read = turns.read_teer(lab, [], due, 40.0, 1)
    assert (read, due, lab.taken) == (["TEER planned 36.0"], [], [(36.0, 36.0)])
    assert lab.meter.left == 1 and lab.clock.waits == []
    (event,) = lab.record.events("r1", TURN)
    assert (event.content["waited_s"], event.content["readings"]) == (0.0, 2)


def test_a_reading_that_waits_is_taken_late_and_recorded_with_its_real_time(lab: Any) -> None:
    def act(time_h: float) -> None:
        lab.meter.held_by = "" if time_h >= 36.1 else lab.meter.held_by

    lab.clock.act = act
    due = [Due(36.0)]
    _, read = turns.read_teer(lab, [], due, 40.0, 1)
    ((planned_h, really_h),) = lab.taken
    assert len(read) == 1 and planned_h == 36.0 and 36.1 <= really_h < 36.1 + 2 * turns.LOOK_H
    assert sum("WAITS for teer, which is with run r9" in one for one in lab.said) == 1
    (event,) = lab.record.events("r1", TURN)
    assert event.time_h == really_h
    assert event.content["waited_s"] == pytest.approx(3600.0 * (really_h - 36.0), abs=0.1)


def test_what_must_happen_at_its_time_does_not_wait_for_a_reading(lab: Any) -> None:
    due = [Due(36.0)]
    _, read = turns.read_teer(lab, [], due, 36.05, 1)
    assert (read, [one.planned_h for one in due]) == ([], [36.0])
    assert lab.clock.now_h() == 36.05 and lab.meter.left == 0  # its place in the line is kept
    # at the end of an exposure nothing is waited for
    turns.read_teer(lab, [], due, float("-inf"), 1)
    assert lab.clock.now_h() == 36.05 and len(due) == 1


def test_a_reading_that_waited_in_vain_is_given_up_once_with_who_had_the_meter(lab: Any) -> None:
    due = [Due(36.0)]
    _, read = turns.read_teer(lab, [], due, 40.0, 1)
    assert (read, due, lab.taken) == ([], [], [])
    assert lab.clock.now_h() == pytest.approx(36.0 + 600.0 / 3600.0, abs=turns.LOOK_H)
    (event,) = lab.record.events("r1", IN_VAIN)
    assert event.content["with"].startswith("run r9") and "given up" in event.content["outcome"]
    assert any("WAS NOT FREE for 10 min" in one for one in lab.said)
    assert lab.meter.left == 1
    lab.meter.held_by = ""  # taken up again later: what was given up stays so
    turns.read_teer(lab, [], [Due(36.0)], 40.0, 1)
    assert lab.taken == []


def test_what_is_left_of_an_exposure_is_read_under_the_hold_and_holds_follow(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds: list[str] = []

    def hold(lab: Any, cycle: int, phase: str) -> list[Any]:
        holds.append(phase)
        key, begin_h = f"r1/c01/L1/{phase}", lab.clock.now_h()
        lasts = SimpleNamespace(duration_h=lab.study.timeline.turnaround_h)
        return [SimpleNamespace(programme_key=key, begins_h=begin_h, programme=lasts)]

    def watch(lab: Any, running: Any, until_h: float, cycle: int) -> Any:
        lab.clock.wait_until_h(until_h)
        return running

    monkeypatch.setattr(turns.perfusion, "finish_pumps", lambda *_: None)
    monkeypatch.setattr(turns.perfusion, "watch_until", watch)
    monkeypatch.setattr(
        lab.clock,
        "act",
        lambda time_h: setattr(lab.meter, "held_by", "" if time_h > 38.5 else "r9"),
    )
    monkeypatch.setattr(lab.meter, "longest_wait_s", 1e6)
    window_h = (24.0, 36.0)
    late = turns.late_teer(lab, 1, window_h)
    assert [one.planned_h for one in late] == [36.0]
    running, read = turns.read_late(lab, 1, late, hold(lab, 1, "hold"), hold)
    assert len(read) == 1 and holds == ["hold", "hold-2"]
    assert running[0].programme_key.endswith("hold-2") and lab.taken[0][1] > 38.5


def test_a_plate_waits_on_after_people_were_told_and_is_skipped_at_their_word(
    lab: Any,
) -> None:
    told_h: list[float] = []

    def act(time_h: float) -> None:
        if lab.record.events("r1", IN_VAIN):
            told_h.append(time_h)
        if time_h > 37.0:
            said = HandDone("c01/plate/CCL26", "skipped", "maria", "reader is broken")
            hands.say_of(lab.record, "r1", said, time_h)

    lab.clock.act = act
    assert turns.wait_for_reader(lab, 1, "CCL26", [], lambda *_: []) == []
    assert told_h[0] == pytest.approx(36.0 + 600.0 / 3600.0, abs=2 * turns.LOOK_H)
    assert len(lab.record.events("r1", IN_VAIN)) == 1
    assert 37.0 < lab.clock.now_h() < 37.1 and lab.reader.left == 1


def test_an_instrument_that_is_not_shared_waits_for_nobody(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.meter.have = True
    own = SimpleNamespace(meters={"teer": object()}, readers={"reader": object()})
    monkeypatch.setattr(Lab, "bench", own)
    _, read = turns.read_teer(lab, [], due := [Due(36.0)], float("-inf"), 1)
    assert len(read) == 1 and due == [] and lab.record.events("r1", TURN) == ()
    assert turns.late_teer(lab, 1, (24.0, 36.0)) == []
    with turns.reader_in_turn(lab, 1, "CCL26", 36.0):
        assert turns.wait_for_reader(lab, 1, "CCL26", [], lambda *_: []) == []


def test_a_shared_meter_that_does_not_answer_is_waited_for_like_one_in_use(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = lab.meter.try_turn

    def silent() -> str:
        if lab.clock.now_h() < 36.1:
            raise TransportTimeout("teer is silent")
        lab.meter.held_by = ""
        return str(free())

    monkeypatch.setattr(lab.meter, "try_turn", silent)
    due = [Due(36.0)]
    _, read = turns.read_teer(lab, [], due, 40.0, 1)
    assert len(read) == 1 and due == []
    assert any("does not answer (teer is silent)" in one for one in lab.said)


def silent_until(lab: Any, time_h: float) -> Callable[..., list[Any]]:
    """Return a read whose meter is silent until a study time; each try takes its second."""

    def measure(_: Any, cycle: int, planned_h: float) -> list[Any]:
        lab.wall_s += 1.0
        if lab.clock.now_h() < time_h:
            raise TransportTimeout("the meter is silent")
        lab.taken.append((planned_h, lab.clock.now_h()))
        return ["TEER"]

    return measure


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize(("back_h", "is_read"), [(38.0, True), (99.0, False)])
def test_teer_before_the_stimulus_waits_for_a_silent_meter_on_plain_medium_and_a_person_is_asked_once(
    lab: Any, monkeypatch: pytest.MonkeyPatch, back_h: float, is_read: bool, is_shared: bool
) -> None:
    begin_h = STUDY.timeline.stimulus_from_h
    lab.clock.time_h, lab.wall_s, lab.meter.held_by = begin_h, 0.0, ""
    back_h += begin_h - 36.0
    if not is_shared:
        own = SimpleNamespace(meters={"teer": object()}, readers={}, troubles=TroubleBook())
        monkeypatch.setattr(Lab, "bench", own)
    lab.record.add_run("r1", STUDY, 1, simulated=False)
    monkeypatch.setattr(turns.tasks, "measure_teer", silent_until(lab, back_h))
    given: set[str] = set()
    monkeypatch.setattr(turns.perfusion, "begun", lambda lab, cycle, phase: phase in given)

    def give(campaign: str, hours: float, phase: str) -> str:
        given.add(phase)
        lab.clock.wait_until_h(begin_h + hours * len(given))
        return campaign

    assert turns.read_before_stimulus(lab, "known", give) == ("known", ["TEER"] * is_read)
    hours = 2.0 if is_read else turns.tasks.SAME_READING_H
    assert len(given) == round(hours / turns.PIECE_H) and lab.clock.now_h() == begin_h + hours
    assert [len(lab.record.events("r1", kind)) for kind in (AWAY, BACK, MISSED)] == [
        1,
        int(is_read),
        int(not is_read),
    ]
    run = lab.record.run("r1")
    assert run is not None and run.state == "running"
    # taken up again, it goes through the same pieces; what was missed stays so
    monkeypatch.setattr(turns.tasks, "teer_is_done", lambda *_: is_read)
    monkeypatch.setattr(turns.tasks, "measure_teer", silent_until(lab, 0.0))
    _, again = turns.read_before_stimulus(lab, "known", give)
    assert again == ["TEER"] * is_read
    assert len(given) == round(hours / turns.PIECE_H)


def test_a_late_reading_with_a_silent_meter_lets_time_pass_where_every_line_is_held(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.meter.held_by, lab.clock.time_h = "", 37.0
    lab.record.add_run("r1", STUDY, 1, simulated=False)
    monkeypatch.setattr(turns.tasks, "measure_teer", silent_until(lab, 39.0))

    def watch(lab: Any, running: Any, until_h: float, cycle: int) -> Any:
        lab.clock.wait_until_h(until_h)
        return running

    def hold(lab: Any, cycle: int, phase: str) -> list[Any]:
        pytest.fail("no line can have a hold: there is nothing to end and begin anew")

    monkeypatch.setattr(away.perfusion, "watch_pumps", watch)
    running, read = turns.read_late(lab, 1, [Due(36.0)], [], hold)
    assert running == [] and read == ["TEER"]
    assert 39.0 <= lab.taken[0][1] < 39.0 + 2.0 * away.REAL_RETRY_H
    monkeypatch.setattr(turns.tasks, "measure_teer", silent_until(lab, 1e9))
    assert turns.read_late(lab, 1, [Due(37.0)], [], hold) == ([], [])
    assert lab.clock.now_h() == pytest.approx(37.0 + turns.tasks.SAME_READING_H)
    assert len(lab.record.events("r1", MISSED)) == 1


def test_a_turn_counts_the_time_at_work_and_not_that_in_which_the_meter_was_silent(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.wall_s, lab.meter.held_by = 0.0, ""
    monkeypatch.setattr(away, "time", SimpleNamespace(monotonic=lambda: lab.wall_s))
    monkeypatch.setattr(turns.tasks, "measure_teer", silent_until(lab, 36.45))
    lab.record.add_run("r1", STUDY, 1, simulated=False)

    def watch(lab: Any, running: Any, until_h: float, cycle: int) -> Any:
        lab.clock.wait_until_h(until_h)
        lab.wall_s += 360.0
        return running

    monkeypatch.setattr(away.perfusion, "watch_pumps", watch)
    running: Any = [SimpleNamespace(programme_key="r1/c01/L1/dose", begins_h=24.0)]
    _, read = turns.read_teer(lab, running, [Due(36.0)], 40.0, 1)
    assert read == ["TEER"] and lab.wall_s > 1000.0
    (event,) = lab.record.events("r1", TURN)
    assert (event.content["took_s"], event.content["readings"]) == (1.0, 2)
    # nothing was read: nobody learns from it how long a reading takes
    monkeypatch.setattr(turns.tasks, "measure_teer", silent_until(lab, 1e9))
    assert turns.read_teer(lab, running, [Due(37.0)], 37.5, 1)[1] == []
    assert len(lab.record.events("r1", TURN)) == 1


def test_a_plate_that_waited_for_its_reader_counts_as_long_as_it_was_read(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.wall_s, lab.reader.have = 0.0, True
    monkeypatch.setattr(away, "time", SimpleNamespace(monotonic=lambda: lab.wall_s))
    lab.record.add_run("r1", STUDY, 1, simulated=False)
    lab.clock.act = lambda _: setattr(lab, "wall_s", lab.wall_s + 360.0)
    with turns.reader_in_turn(lab, 1, "CCL26", 36.0) as work:
        window_h: Any = (24.0, 36.0)
        plate = (lab, 1, "CCL26", window_h)
        monkeypatch.setattr(
            turns.tasks, "read_plate", lambda *_: silent_until(lab, 36.45)(lab, 1, 36.0)
        )
        found, _ = away.plate_when_it_answers(*plate, [], lambda *_: [], work)
    assert found == ["TEER"] and lab.wall_s > 1000.0
    (event,) = lab.record.events("r1", TURN)
    assert (event.content["took_s"], event.content["readings"]) == (1.0, 1)


def test_what_was_missed_is_not_read_under_a_later_hold(lab: Any) -> None:
    lab.meter.held_by = ""
    lab.record.add_event("r1", MISSED, 36.0, {"readout": "TEER", "planned_h": 36.0, "what": "x"})
    due = [Due(36.0)]
    assert turns.read_teer(lab, [], due, 40.0, 1)[1] == [] and due == [] and lab.taken == []
    window_h = (36.0 - STUDY.sampling.teer_h[0] + STUDY.sampling.effluent_h[0], 36.0)
    assert turns.late_teer(lab, 1, window_h) == []
