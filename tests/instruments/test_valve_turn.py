"""A valve turns only while its lines stand still, on record before and after; what it does not confirm is in
doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.errors import WaitingForPerson
from chiploop.record.actions import Intent
from chiploop.record.journal import Journal
from instruments.contracts import Pump
from instruments.errors import DeviceAlarm, DeviceRejected, InstrumentError, TransportTimeout
from instruments.transport import NotSent
from instruments.valve_turn import found_elsewhere, turn_valve
from tests.chiploop.valve_journals import asked, delivered, programme
from tests.instruments.fake_pumps import FakePump, World


class FakeValve:
    """A valve of two ports; ``trouble`` is met on the way, ``lost`` makes it forget where it stands."""

    positions = 2

    def __init__(self, journal: Journal) -> None:
        self.name, self.port, self.moves = "C03", 1, 0
        self.trouble: InstrumentError | None = None
        self.turns_all_the_same = self.lost = self.silent = False
        self.lost_until_turned = False
        self.journal = journal
        self.rows_at_move: list[str] = []

    def position(self) -> int:
        if self.silent:
            raise TransportTimeout("C03 is silent")
        if self.lost or self.lost_until_turned:
            raise DeviceRejected("C03 does not know where it stands; turn it first")
        return self.port

    def go_to(self, position: int) -> None:
        self.rows_at_move = [event.kind for event in self.journal.events()]
        if self.trouble is None or self.turns_all_the_same:
            self.moves += self.port != position
            self.port, self.lost_until_turned = position, False
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture
def valve(journal: Journal) -> FakeValve:
    return FakeValve(journal)


@pytest.fixture
def pumps(tmp_path: Path) -> dict[str, Pump]:
    world = World(tmp_path)
    return {f"{line}-stimulus": FakePump(world, f"{line}-stimulus") for line in ("L1", "L2", "L3")}


ASKED = asked("C03", "L2", 2, 76.0, "L1")


def test_the_intent_is_on_disk_before_the_valve_hears_of_it_and_the_position_after(
    journal: Journal, valve: FakeValve, pumps: dict[str, Pump]
) -> None:
    assert turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert valve.rows_at_move == ["turn"]
    turn, turned = journal.events()
    assert (turn.body["from_line"], turn.body["to_line"], turn.body["port"]) == ("L1", "L2", 2)
    assert (turned.kind, turned.body["stands"], turned.body["position"]) == ("turned", "L2", 2)
    assert journal.connection("r") == {"C03": "L2"}


def test_a_pump_of_any_of_its_lines_that_runs_bars_the_turn(
    journal: Journal, valve: FakeValve, pumps: dict[str, Pump]
) -> None:
    pumps["L1-stimulus"].prepare(60.0, 60.0)
    pumps["L1-stimulus"].start()
    with pytest.raises(
        InstrumentError, match="L1-stimulus is infusing; no valve of its line turns"
    ):
        turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert (valve.port, journal.events()) == (1, [])
    pumps["L1-stimulus"].stop()
    pumps["L3-stimulus"].prepare(60.0, 60.0)
    pumps["L3-stimulus"].start()  # L3 has no port on this valve
    assert turn_valve(journal, valve, pumps, ASKED, 76.0)


def test_a_pump_that_does_not_say_that_it_stands_bars_the_turn(
    journal: Journal, valve: FakeValve, pumps: dict[str, Pump], tmp_path: Path
) -> None:
    pumps["L2-stimulus"] = FakePump(World(tmp_path), "L2-stimulus", "silent")
    with pytest.raises(TransportTimeout):
        turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert (valve.moves, journal.events()) == (0, [])


def test_an_open_action_of_a_line_bars_the_turn_though_its_pump_stands(
    journal: Journal, valve: FakeValve, pumps: dict[str, Pump]
) -> None:
    delivered(journal, programme("L2", 0.0, 4.0, "stimulus"), 1, 72.0, "hold")
    assert turn_valve(journal, valve, pumps, asked("C03", "L2", 2, 76.0, "L1"), 76.0)
    one = programme("L2", 0.0, 4.0, "stimulus")
    intent = Intent("r/c02/L2/hold/L2-stimulus", "r", "r/c02/L2/hold", "L2-stimulus", one, 180.0,
                    720.0, 0.0, 1.0, 0, "s", 100.0)  # fmt: skip
    journal.intend([intent])
    with pytest.raises(WaitingForPerson, match="has an open action"):
        turn_valve(journal, valve, pumps, asked("C03", "L1", 3, 128.0, "L2"), 128.0)
    assert valve.port == 2


def test_a_lost_answer_is_no_doubt_where_the_valve_says_that_it_stands_there(
    journal: Journal, valve: FakeValve, pumps: dict[str, Pump]
) -> None:
    valve.trouble, valve.turns_all_the_same = TransportTimeout("no answer"), True
    assert turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert journal.held("r") == {}


@pytest.mark.parametrize("how", ["stalled", "elsewhere", "silent"])
def test_a_turn_that_is_not_confirmed_is_in_doubt_and_holds_its_lines(
    how: str, journal: Journal, valve: FakeValve, pumps: dict[str, Pump]
) -> None:
    valve.trouble = DeviceAlarm("C03 stalled", kind="stall")
    valve.lost, valve.silent = how == "stalled", how == "silent"
    assert not turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert journal.connection("r") == {"C03": None}
    assert set(journal.held("r")) == {"L1", "L2"}
    assert "C03 stalled" in journal.turns("r")[0].doubt


def test_a_valve_that_could_not_be_spoken_to_is_left_open_and_turned_by_the_next_process(
    journal: Journal, valve: FakeValve, pumps: dict[str, Pump]
) -> None:
    valve.trouble = NotSent("stopped by somebody")
    with pytest.raises(NotSent):
        turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert journal.connection("r") == {"C03": None}
    assert journal.held("r") == {}
    valve.trouble = None
    assert turn_valve(journal, valve, pumps, ASKED, 76.0)
    assert journal.connection("r") == {"C03": "L2"}
    assert len(journal.turns("r")) == 1


def test_a_valve_found_elsewhere_is_told_with_what_was_read_and_what_it_should_be(
    journal: Journal, valve: FakeValve
) -> None:
    said = found_elsewhere(journal, valve, asked("C03", "L1", 0, 76.0, "L1"), 76.0, 2, "")
    assert said == "valve C03 was left at port 1 of L1 and stands at port 2"
    assert journal.connection("r") == {"C03": None}
