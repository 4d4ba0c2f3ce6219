"""No intent is delivered twice and none is lost, whatever dies where."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.errors import SafetyRefusal, WaitingForPerson
from chiploop.record import reconcile
from chiploop.record.chain import RecordConflict
from chiploop.record.journal import Journal
from instruments import delivery
from instruments.delivery import (
    finish_programme,
    hold_programme,
    quantise_with,
    resume_programme,
    start_programme,
)
from instruments.errors import InstrumentError
from instruments.fault_points import FAULT_POINTS, HOLD_FAULT_POINTS, fault
from tests.instruments import fake_pumps as fakes

PROJECT = Path(__file__).parents[2]


KEY, PROGRAMME = fakes.KEY, fakes.PROGRAMME
MEDIUM = PumpProgramme(
    "L1", "medium", 0.0, 0.0, 4.0, (PumpStep("L1-medium", "medium", 180.0, 720.0),), 0.0, 0.0
)
PASSAGES = [(name, passage) for name in FAULT_POINTS for passage in (1, 2)]
"""Each place is passed once for each of the two pumps of the programme (intents are written
together).
"""


class Killed(BaseException):
    """Stands in for kill -9 where many kills are wanted; nothing in between may catch it."""


class Fault:
    """Raises ``Killed`` at one passage of one place, once."""

    def __init__(self, name: str, passage: int) -> None:
        self.name, self.left = name, passage

    def __call__(self, name: str) -> None:
        assert name in FAULT_POINTS or name in HOLD_FAULT_POINTS
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                raise Killed(name)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def start(journal: Journal, world: Any, key: str = KEY, **faults: str) -> Any:
    return start_programme(
        journal,
        fakes.pumps_of(world, **faults),
        "run-1",
        key,
        PROGRAMME,
        world.load()["time_h"],
        lambda *_: None,
        lambda: None,
    )


def starts(world: Any) -> dict[str, int]:
    return {name: pump["starts"] for name, pump in world.load()["pumps"].items() if pump["starts"]}


def assert_once_or_held(world: Any, progress: Any) -> None:
    """The rule of this file: one start at most per intent, and what the record says is what
    flowed.
    """
    pumps = world.load()["pumps"]
    assert all(pump["starts"] <= 1 for pump in pumps.values()), f"started twice: {starts(world)}"
    assert progress.held or progress.done
    for pump in progress.pumps:
        if pump.state == "delivered":
            assert pump.delivered_ul == pytest.approx(pumps[pump.pump]["moved"], abs=2.0)


def crash_and_restart(folder: Path, name: str, *arguments: str, restart_h: float = 24.0) -> Any:
    """Kill a controller of its own process at a fault point, then run another one here."""
    end = subprocess.run(
        [sys.executable, "-m", "tests.instruments.fake_pumps", str(folder), *arguments],
        env={
            **os.environ,
            "CHIPLOOP_FAULT": name,
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert end.returncode in (-9, 9), f"{name} was never passed: {end.stderr}"
    fakes.World(folder).advance_to(restart_h)
    with Journal(folder / "journal.sqlite") as journal:
        progress = fakes.run_controller(folder, journal)
        assert journal.verify().whole
    return progress


@pytest.mark.parametrize("name", FAULT_POINTS)
def test_a_controller_killed_at_any_point_and_restarted_delivers_each_intent_once(
    tmp_path: Path, name: str
) -> None:
    progress = crash_and_restart(tmp_path, name)
    assert_once_or_held(fakes.World(tmp_path), progress)
    if name == "after_sent":
        # The stimulus pump's counter had just been cleared: at zero it can not prove to another
        # session that the pump kept its power.
        assert "nothing proves" in progress.reason
        assert starts(fakes.World(tmp_path)) == {}
    else:
        assert progress.done, progress.reason
        assert starts(fakes.World(tmp_path)) == {"L1-low": 1, "L1-stimulus": 1}


def test_the_crash_test_finds_a_start_that_is_sent_before_its_intent_is_on_record(
    tmp_path: Path,
) -> None:
    for folder, restart_h in ((tmp_path / "running", 24.0), (tmp_path / "ended", 100.0)):
        folder.mkdir()
        (folder / "sound").mkdir()
        sound = crash_and_restart(folder / "sound", "after_start", restart_h=restart_h)
        assert_once_or_held(fakes.World(folder / "sound"), sound)
    with pytest.raises(InstrumentError, match="nothing is open on it"):
        crash_and_restart(tmp_path / "running", "after_start", "forgetful")
    bugged = crash_and_restart(tmp_path / "ended", "after_start", "forgetful", restart_h=100.0)
    with pytest.raises(AssertionError, match="started twice"):
        assert_once_or_held(fakes.World(tmp_path / "ended"), bugged)


@pytest.mark.parametrize("afterwards", ["at once", "after the end", "power cut"])
@pytest.mark.parametrize(("name", "passage"), PASSAGES)
def test_restart_at_any_time_or_after_a_power_cut_starts_nothing_twice(
    tmp_path: Path,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    passage: int,
    afterwards: str,
) -> None:
    world = fakes.World(tmp_path)
    monkeypatch.setattr(delivery, "fault", Fault(name, passage))
    killed = False
    try:
        fakes.run_controller(tmp_path, journal)
    except Killed:
        killed = True
    monkeypatch.setattr(delivery, "fault", fault)
    if afterwards == "after the end":
        world.advance_to(100.0)
    elif afterwards == "power cut":
        world.cut_power()
    progress = fakes.run_controller(tmp_path, journal)
    assert_once_or_held(world, progress)
    assert journal.verify().whole
    at_zero = (name, passage) == ("after_sent", 1)  # a cleared counter proves nothing to others
    if killed and afterwards == "at once" and not at_zero:
        assert progress.done, progress.reason


def test_without_the_power_rule_a_power_cut_would_start_a_dose_twice(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fakes.World(tmp_path)
    for name in ("L1-low", "L1-stimulus"):
        world.change(name, lambda p: p.update(counter=0.0))
    monkeypatch.setattr(delivery, "fault", Fault("after_start", 1))
    with pytest.raises(Killed):
        start(journal, world)
    monkeypatch.setattr(delivery, "fault", fault)
    world.cut_power()
    careless = tuple(rule for rule in reconcile.RULES if "power" not in rule[2])
    monkeypatch.setattr(
        delivery, "reconcile", lambda intent, seen: reconcile.reconcile(intent, seen, careless)
    )
    progress = fakes.run_controller(tmp_path, journal)
    with pytest.raises(AssertionError, match="started twice"):
        assert_once_or_held(world, progress)


def test_power_cut_that_another_session_heard_starts_nothing_twice(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fakes.World(tmp_path)
    for name in ("L1-low", "L1-stimulus"):
        world.change(name, lambda p: p.update(counter=0.0))
    monkeypatch.setattr(delivery, "fault", Fault("after_start", 1))
    with pytest.raises(Killed):
        start(journal, world)
    monkeypatch.setattr(delivery, "fault", fault)
    world.advance_to(100.0)
    world.cut_power()
    for pump in fakes.pumps_of(world).values():  # it acknowledges the alarms, and then it fails
        pump.status()
    progress = fakes.run_controller(tmp_path, journal)
    assert_once_or_held(world, progress)
    assert "nothing proves" in progress.reason


def test_drivers_of_another_opening_do_not_share_what_they_have_heard(tmp_path: Path) -> None:
    world = fakes.World(tmp_path)
    first, second = fakes.pumps_of(world)["L1-low"], fakes.pumps_of(world)["L1-low"]
    assert delivery.session_of(first) == delivery.session_of(first)
    assert delivery.session_of(first) != delivery.session_of(second)


def test_a_crash_between_two_pumps_and_a_late_restart_holds_the_line_without_drug(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = fakes.World(tmp_path)
    monkeypatch.setattr(delivery, "fault", Fault("before_sent", 2))
    with pytest.raises(Killed):
        start(journal, world)
    monkeypatch.setattr(delivery, "fault", fault)
    world.advance_to(30.0)
    progress = start(journal, world)
    assert progress.held
    assert "would not be the dose" in progress.reason
    assert starts(world) == {"L1-stimulus": 1}
    assert list(journal.held("run-1")) == ["L1"]


def test_intents_of_all_pumps_are_on_record_before_the_first_start(
    tmp_path: Path, journal: Journal
) -> None:
    start(journal, fakes.World(tmp_path))
    kinds = [(event.kind, event.key.rsplit("/", 1)[1]) for event in journal.events()]
    assert [kind for kind in kinds if kind[0] != "note"] == [
        ("intent", "L1-stimulus"),
        ("intent", "L1-low"),
        ("sent", "L1-stimulus"),
        ("started", "L1-stimulus"),
        ("sent", "L1-low"),
        ("started", "L1-low"),
    ]


def test_a_dose_that_the_guard_refuses_leaves_no_intent_and_no_byte(
    tmp_path: Path, journal: Journal
) -> None:
    def guard(*_: object) -> None:
        raise SafetyRefusal("above the limit")

    world = fakes.World(tmp_path)
    with pytest.raises(SafetyRefusal):
        start_programme(
            journal, fakes.pumps_of(world), "run-1", KEY, PROGRAMME, 24.0, guard, lambda: None
        )
    assert journal.events() == []
    assert world.load()["pumps"] == {}


def test_asking_again_with_the_same_key_sends_nothing(tmp_path: Path, journal: Journal) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    before = len(journal.events())
    assert start(journal, world).running
    assert len(journal.events()) == before
    assert starts(world) == {"L1-low": 1, "L1-stimulus": 1}


def test_the_same_key_with_another_dose_is_refused(tmp_path: Path, journal: Journal) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    with pytest.raises(RecordConflict, match="480 nM, not as medium"):
        start_programme(
            journal,
            fakes.pumps_of(world),
            "run-1",
            KEY,
            MEDIUM,
            24.0,
            lambda *_: None,
            lambda: None,
        )


@pytest.mark.parametrize(("lost", "sends"), [("lost after", 1), ("lost before", 2)])
def test_a_lost_answer_is_settled_by_the_counter_and_the_dose_is_given_once(
    tmp_path: Path, journal: Journal, lost: str, sends: int
) -> None:
    world = fakes.World(tmp_path)
    progress = start(journal, world, low=lost)
    assert not progress.held
    assert starts(world) == {"L1-low": 1, "L1-stimulus": 1}
    assert [e.kind for e in journal.events(f"{KEY}/L1-low")].count("sent") == sends


def test_a_start_that_is_lost_twice_is_not_sent_a_third_time(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    pumps = fakes.pumps_of(world, low="lost before")
    pumps["L1-low"].times = 9
    progress = start_programme(
        journal, pumps, "run-1", KEY, PROGRAMME, 24.0, lambda *_: None, lambda: None
    )
    assert progress.held
    assert pumps["L1-low"].times == 7


@pytest.mark.parametrize("trouble", ["refuses", "stalls"])
def test_a_drug_pump_that_does_not_start_holds_the_line_and_the_stimulus_goes_on(
    tmp_path: Path, journal: Journal, trouble: str
) -> None:
    world = fakes.World(tmp_path)
    progress = start(journal, world, low=trouble)
    assert progress.held
    assert starts(world) == {"L1-stimulus": 1}
    world.advance_to(72.0)
    progress = finish_programme(journal, fakes.pumps_of(world), KEY, 72.0, lambda: None)
    assert progress.held
    assert progress.delivered_ul == {"L1-stimulus": 1728.0}


def test_a_plain_pump_that_does_not_start_keeps_the_drug_pump_off(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    progress = start(journal, world, stimulus="refuses")
    assert progress.held
    assert starts(world) == {}


def test_a_held_line_takes_plain_medium_but_no_dose_before_a_person_has_spoken(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    start(journal, world, low="refuses")
    world.advance_to(72.0)
    finish_programme(journal, fakes.pumps_of(world), KEY, 72.0, lambda: None)
    with pytest.raises(WaitingForPerson, match="L1-low has an open action"):
        start(journal, world, key="run-1/c02/L1/dose")
    medium = start_programme(
        journal,
        fakes.pumps_of(world),
        "run-1",
        "run-1/c02/L1/medium",
        MEDIUM,
        72.0,
        lambda *_: None,
        lambda: None,
    )
    assert medium.running
    journal.abandon(f"{KEY}/L1-low", 73.0, "lab", "tube was off", delivered_ul=0.0)
    assert journal.held("run-1") == {}
    assert start(journal, world, key="run-1/c02/L1/dose").running


def test_a_power_cut_during_a_dose_is_held_even_where_the_counter_would_fit(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    pumps = fakes.pumps_of(world)
    start_programme(journal, pumps, "run-1", KEY, PROGRAMME, 24.0, lambda *_: None, lambda: None)
    world.advance_to(72.0)
    world.change("L1-low", lambda p: p.update(alarm=True))
    progress = finish_programme(journal, pumps, KEY, 72.0, lambda: None)
    assert progress.held
    assert "power was interrupted" in progress.reason


def test_a_partial_dose_is_held_with_what_the_counter_says(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    world.advance_to(48.0)
    fakes.pumps_of(world)["L1-low"].stop()
    world.advance_to(72.0)
    progress = finish_programme(journal, fakes.pumps_of(world), KEY, 72.0, lambda: None)
    assert progress.held
    assert "another volume than asked" in progress.reason
    assert "9000 -> 12456" in progress.reason


def test_a_silent_pump_holds_its_line(tmp_path: Path, journal: Journal) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    world.advance_to(72.0)
    progress = finish_programme(
        journal, fakes.pumps_of(world, low="silent"), KEY, 72.0, lambda: None
    )
    assert progress.held
    assert "does not answer" in progress.reason


def test_finishing_before_the_end_records_nothing(tmp_path: Path, journal: Journal) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    world.advance_to(60.0)
    before = len(journal.events())
    assert finish_programme(journal, fakes.pumps_of(world), KEY, 60.0, lambda: None).running
    assert len(journal.events()) == before


def test_holding_stops_the_drug_pump_and_leaves_the_stimulus_running(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    world.advance_to(30.0)
    for _ in range(2):
        progress = hold_programme(journal, fakes.pumps_of(world), KEY, 30.0, "a person said hold")
    states = {name: pump["state"] for name, pump in world.load()["pumps"].items()}
    assert states["L1-low"] == "idle"
    assert states["L1-stimulus"] == "infusing"
    assert progress.held
    assert "864" in progress.reason


def test_a_pump_that_runs_with_nothing_on_record_starts_nothing(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    world.change("L1-low", lambda p: p.update(state="infusing", left=500.0, rate=100.0))
    with pytest.raises(InstrumentError, match="nothing is open on it"):
        start(journal, world)
    assert journal.events() == [] or all(e.kind == "note" for e in journal.events())
    assert world.load()["pumps"]["L1-low"]["state"] == "idle"


def test_a_counter_is_cleared_only_with_nothing_open_and_the_journal_says_so(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    start(journal, world)
    notes = [event for event in journal.events() if event.kind == "note"]
    assert [note.body["counter_ul"] for note in notes] == [9000.0]
    counters = {a.intent.pump: a.intent.counter_ul for a in journal.actions("run-1")}
    # 1728 uL more would be shown in steps of 10 uL, 6912 uL still well enough
    assert counters == {"L1-stimulus": 0.0, "L1-low": 9000.0}


def test_plain_liquid_starts_first_also_where_the_counter_of_the_drug_pump_was_cleared(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    world.change("L1-stimulus", lambda p: p.update(counter=0.0))
    world.change("L1-low", lambda p: p.update(counter=99_999.0))
    start(journal, world)
    rows = [(e.kind, e.key.rsplit("/", 1)[1]) for e in journal.events()]
    assert rows[0] == ("note", "L1-low"), "it was not cleared"
    assert [pump for kind, pump in rows if kind == "sent"] == ["L1-stimulus", "L1-low"]


def test_resuming_what_was_never_intended_is_our_own_mistake(
    tmp_path: Path, journal: Journal
) -> None:
    pumps = fakes.pumps_of(fakes.World(tmp_path))
    with pytest.raises(ValueError, match="not in the journal"):
        resume_programme(journal, pumps, "run-1", KEY, 24.0, lambda *_: None)
    with pytest.raises(ValueError, match="not in the journal"):
        finish_programme(journal, pumps, KEY, 24.0)


def test_rounding_is_the_pumps_own_and_a_missing_pump_is_named(tmp_path: Path) -> None:
    quantise = quantise_with(fakes.pumps_of(fakes.World(tmp_path)))
    assert quantise("L1-low", 12.3456, 1234.56) == (12.34, 1234.0)
    with pytest.raises(ValueError, match="no pump L9-low"):
        quantise("L9-low", 10.0, 10.0)


def test_a_fault_point_that_is_not_listed_is_refused() -> None:
    with pytest.raises(KeyError, match="FAULT_POINTS"):
        fault("somewhere")


def test_stalled_pump_doses_again_only_after_a_person_has_settled_what_it_gave(
    tmp_path: Path, journal: Journal
) -> None:
    world = fakes.World(tmp_path)
    pumps = fakes.pumps_of(world, low="stalls")
    begun = start_programme(
        journal, pumps, "run-1", KEY, PROGRAMME, 24.0, lambda *_: None, lambda: None
    )
    assert begun.held
    pumps["L1-low"].alarm = "stall"
    pumps["L1-stimulus"].stop()
    for action in journal.open_on("L1-stimulus"):
        journal.abandon(action.intent.key, 30.0, "tester", "seen", 0.0)
    again = partial(start_programme, journal, pumps, "run-1", "run-1/c02/L1/dose", PROGRAMME, 40.0)
    with pytest.raises(WaitingForPerson, match="open action"):
        again(lambda *_: None, lambda: None)
    (action,) = journal.open_on("L1-low")
    journal.abandon(action.intent.key, 30.0, "tester", "a kinked tube", 100.0)
    assert again(lambda *_: None, lambda: None).running
    assert pumps["L1-low"].alarm == ""


def test_alarm_of_a_pump_that_nobody_has_looked_at_starts_nothing(
    tmp_path: Path, journal: Journal
) -> None:
    pumps = fakes.pumps_of(fakes.World(tmp_path))
    pumps["L1-low"].alarm = "stall"
    with pytest.raises(InstrumentError, match="alarm stall"):
        start_programme(
            journal, pumps, "run-1", KEY, PROGRAMME, 24.0, lambda *_: None, lambda: None
        )
    assert pumps["L1-low"].alarm == "stall"
