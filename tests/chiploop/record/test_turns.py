"""What chips got that valves gave from line to line: by confirmed positions, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.connections import connected
from chiploop.dosing import ChipSchedule
from chiploop.models.inlet import chip_inlet
from chiploop.record.chain import RecordConflict
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of, unknown_chips_since
from chiploop.record.turns import connection_at, next_turn_key, turn_to_settle
from tests.chiploop.valve_journals import (
    VALVED,
    asked,
    delivered,
    programme,
    turned,
    two_cycles,
)

DRUG, FLOW = 1, 0
"""Columns of an inlet's inputs."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def doses(schedule: ChipSchedule) -> list[float]:
    return [round(s.drug_nm, 6) for s in schedule.segments if s.drug_nm > 0.0]


def test_a_chip_has_what_the_line_gave_that_fed_it_and_the_others_keep_theirs(
    journal: Journal,
) -> None:
    two_cycles(journal)
    found = schedules_of(journal, VALVED, "r")
    assert doses(found["C03"]) == [30.0, 480.0]
    assert doses(found["C01"]) == [30.0, 60.0]
    assert doses(found["C06"]) == [120.0, 480.0]
    assert [(s.line, s.from_h) for s in found["C03"].stays] == [("L1", 0.0), ("L2", 76.0)]
    assert [s.line for s in found["C01"].stays] == ["L1"]


def test_every_chip_has_its_share_of_the_line_as_it_was_connected_then(journal: Journal) -> None:
    two_cycles(journal)
    found = schedules_of(journal, VALVED, "r")
    for chip in ("C01", "C03", "C04"):
        flows = [s.flow_rate_ul_h for s in found[chip].segments]
        assert flows == pytest.approx([60.0] * 4)
    assert [s.line_chips for s in found["C01"].segments] == [3, 3, 3, 2]
    assert [s.line_chips for s in found["C04"].segments] == [3, 3, 3, 4]


def test_a_turn_that_nobody_confirmed_moves_no_chip(journal: Journal) -> None:
    """The wrong connection: were the intent believed, C03 would have L2's dose."""
    turned(journal, "C03", "L1", 0, 0.0)
    journal.turn(asked("C03", "L2", 1, 24.0, "L1"))
    moved = connected(VALVED, {"C03": None})
    delivered(journal, programme("L1", 30.0, 48.0, study=moved), 1, 24.0)
    delivered(journal, programme("L2", 480.0, 48.0, study=moved), 1, 24.0)
    found = schedules_of(journal, VALVED, "r")
    assert found["C03"].segments == ()
    since = unknown_chips_since(VALVED, journal.actions("r"))
    assert since == dict.fromkeys(("C01", "C02", "C03", "C04", "C05", "C06"), 24.0)
    assert journal.connection("r") == {"C03": None}
    assert journal.held("r") == {}  # it was not looked at yet


def test_a_turn_in_doubt_holds_every_line_of_the_valve_until_a_person_has_said(
    journal: Journal,
) -> None:
    turned(journal, "C06", "L2", 0, 0.0)
    one = asked("C06", "L3", 1, 24.0, "L2")
    journal.turn(one)
    journal.turn_unknown(one.key, 24.0, "it stalled")
    assert set(journal.held("r")) == {"L1", "L2", "L3"}
    delivered(journal, programme("L3", 0.0, 48.0, "medium"), 1, 24.0, "dose-plain")
    assert schedules_of(journal, VALVED, "r")["C06"].segments == ()
    journal.turn_settled(one.key, 24.0, "somebody", "seen at port 3", "L3")
    assert journal.held("r") == {}
    assert journal.connection("r") == {"C06": "L3"}
    # the word holds from the turn on: what flowed meanwhile went to it too
    (segment,) = schedules_of(journal, VALVED, "r")["C06"].segments
    assert segment.flow_rate_ul_h == pytest.approx(180.0 / 4)
    assert unknown_chips_since(VALVED, journal.actions("r")) == {}


def test_a_valve_found_elsewhere_is_in_doubt_since_the_last_programme_that_saw_it(
    journal: Journal,
) -> None:
    turned(journal, "C03", "L1", 0, 0.0)
    delivered(journal, programme("L1", 0.0, 24.0, "medium"), 0, 0.0)
    delivered(journal, programme("L1", 30.0, 48.0), 1, 24.0)
    last = min(a.seq for a in journal.actions("r") if a.intent.programme.purpose == "dose")
    found = replace(
        asked("C03", "L1", 0, 76.0, "L1", known_until=last - 1), key="r/c00/C03/found-2"
    )
    journal.turn(found)
    journal.turn_unknown(found.key, 76.0, "it stands at port 2")
    assert schedules_of(journal, VALVED, "r")["C03"].segments[-1].end_h == 24.0
    assert unknown_chips_since(VALVED, journal.actions("r"))["C03"] == 24.0


def test_rows_of_valves_are_part_of_the_chain_and_need_a_turn(journal: Journal) -> None:
    two_cycles(journal)
    assert journal.verify().faults == ()
    with pytest.raises(RecordConflict, match="without a turn"):
        journal.turned("r/c09/C03/turn", 1.0, "L2", 2, "nobody asked")


def test_a_chip_that_comes_to_a_line_is_reached_first_by_what_stands_in_its_tubing(
    journal: Journal,
) -> None:
    two_cycles(journal)
    found = schedules_of(journal, VALVED, "r")
    inlet = chip_inlet(VALVED, found["C03"])
    assert inlet.edges_h[0] == 0.0
    assert inlet.edges_h[-1] == pytest.approx(124.0)
    assert np.all(np.diff(inlet.edges_h) > 0.0)
    assert inlet.inputs[:, FLOW] == pytest.approx(60.0)
    # 60 uL of tubing: 4 chips at 60 uL/h empty it in a quarter of an hour, 3 in a third
    arrives_h = inlet.edges_h[:-1][inlet.inputs[:, DRUG] > 400.0]
    assert arrives_h[0] == pytest.approx(76.25)
    beside = chip_inlet(VALVED, found["C04"])
    assert beside.edges_h[:-1][beside.inputs[:, DRUG] > 400.0][0] == pytest.approx(76.25)
    first = chip_inlet(VALVED, found["C01"])
    assert first.edges_h[:-1][first.inputs[:, DRUG] > 40.0][0] == pytest.approx(76.5)
    # its own line's 30 nM comes after a third of an hour, as for every chip of three
    own_h = inlet.edges_h[:-1][inlet.inputs[:, DRUG] == 30.0]
    assert own_h[0] == pytest.approx(24.0 + 1.0 / 3.0)


def test_a_line_that_was_not_rinsed_gives_its_old_dose_first(journal: Journal) -> None:
    for chip, line in (("C03", "L1"), ("C06", "L2")):
        turned(journal, chip, line, 0, 0.0)
    for line, nm in (("L1", 30.0), ("L2", 120.0)):
        delivered(journal, programme(line, nm, 48.0), 1, 24.0)
    turned(journal, "C03", "L2", 2, 72.0)
    moved = connected(VALVED, {"C03": "L2"})
    delivered(journal, programme("L2", 0.0, 48.0, study=moved), 2, 72.0)
    inlet = chip_inlet(VALVED, schedules_of(journal, VALVED, "r")["C03"])
    at = np.searchsorted(inlet.edges_h, 72.1, side="right") - 1
    assert inlet.inputs[at, DRUG] == pytest.approx(120.0)  # what L2 gave, not its own 30 nM
    assert inlet.inputs[-1, DRUG] == 0.0


def test_a_study_without_valves_replays_as_it_did(journal: Journal) -> None:
    plain = VALVED.model_copy(update={"valves": {}})
    delivered(journal, programme("L1", 30.0, 48.0, study=plain), 1, 24.0)
    found = schedules_of(journal, plain, "r")["C01"]
    assert found.stays == ()
    assert found.segments[0].line_chips is None
    assert "line_chips" not in repr(found.segments[0])
    assert journal.turns("r") == []


def test_a_turn_asked_again_after_it_has_ended_is_another_turn(journal: Journal) -> None:
    """Both under one key: what the line gave between the first and the second went to the chip all the same."""
    turned(journal, "C03", "L1", 0, 0.0)
    turned(journal, "C03", "L2", 2, 24.0)
    found = replace(asked("C03", "L2", 0, 30.0, "L2"), key="r/c00/C03/found-3")
    journal.turn(found)
    journal.turn_unknown(found.key, 30.0, "it stands at port 1")
    journal.turn_settled(found.key, 30.0, "somebody", "seen at port 1", "L1")
    turned(journal, "C03", "L2", 2, 36.0)
    stood = [(turn.asked.key.split("/", 1)[1], turn.stands) for turn in journal.turns("r")]
    assert stood == [
        ("c00/C03/turn", "L1"), ("c02/C03/turn", "L2"), ("c00/C03/found-3", "L1"), ("c02/C03/turn", "L2"),
    ]  # fmt: skip
    assert journal.connection("r") == {"C03": "L2"}
    again = asked("C03", "L1", 2, 48.0, "L2")
    journal.turn(again)
    assert journal.connection("r") == {"C03": None}
    assert connection_at(journal.turns("r"), journal.turns("r")[2].seq + 1) == {"C03": "L1"}


def test_a_turn_that_has_not_ended_keeps_its_key_and_the_next_one_has_a_number(
    journal: Journal,
) -> None:
    assert next_turn_key(journal.turns("r"), "r", 2, "C03") == "r/c02/C03/turn"
    journal.turn(asked("C03", "L2", 2, 24.0, "L1"))
    assert next_turn_key(journal.turns("r"), "r", 2, "C03") == "r/c02/C03/turn"
    journal.turned("r/c02/C03/turn", 24.0, "L2", 2, "its own position")
    assert next_turn_key(journal.turns("r"), "r", 2, "C03") == "r/c02/C03/turn-2"
    assert next_turn_key(journal.turns("r"), "r", 2, "C06") == "r/c02/C06/turn"


def test_a_persons_word_ends_the_turn_that_is_in_doubt(journal: Journal) -> None:
    turned(journal, "C03", "L1", 0, 0.0)
    assert turn_to_settle(journal.turns("r")) is None
    one = asked("C03", "L2", 1, 24.0, "L1")
    journal.turn(one)
    journal.turn_unknown(one.key, 24.0, "it stalled")
    journal.turn(asked("C03", "L2", 2, 24.0, "L1"))
    settled = turn_to_settle(journal.turns("r"))
    assert settled is not None and settled.asked.key == one.key
