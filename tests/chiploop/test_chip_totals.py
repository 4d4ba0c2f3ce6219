"""Limits per chip follow the chip from line to line; a line's own totals would let it get more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.chip_totals import of_chip
from chiploop.connections import connected
from chiploop.errors import DoseNotFeasible, SafetyRefusal
from chiploop.record.actions import JournalTotals
from chiploop.record.journal import Journal
from chiploop.safety import check_before_wire
from chiploop.study import Study
from tests.chiploop.valve_journals import VALVED, asked, delivered, programme, turned, two_cycles

MOVED = connected(VALVED, {"C03": "L2"})
NEXT_H = 128.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def with_limits(study: Study, **limits: Any) -> Study:
    unstated = {
        "dose_volume_ul": None,
        "day_volume_ul": None,
        "total_volume_ul": None,
        "readout_age_h": None,
    }
    return study.model_copy(
        update={"limits": study.limits.model_copy(update={**unstated, **limits})}
    )


def ask(study: Study, journal: Journal, line: str, nm: float, begin_h: float = NEXT_H) -> None:
    """Raise SafetyRefusal where the dose of a line may not begin."""
    one = programme(line, nm, 48.0, study=study)
    check_before_wire(study, one, journal.totals("r"), begin_h, begin_h - 4.0, cycle=3)


def test_a_chip_is_charged_with_what_each_line_gave_it_and_no_more(journal: Journal) -> None:
    two_cycles(journal)
    totals = journal.totals("r")
    for chip in ("C03", "C04"):
        own = of_chip(MOVED, "L2", chip, totals)
        shares = [m.volume_ul / 4 for m in own.moved["L2"] if m.purpose == "dose"]
        assert sum(shares) == pytest.approx(2 * 48.0 * 60.0)
    # 30 nM of L1 and then 480 nM of L2, not 120 nM and 480 nM
    low = of_chip(MOVED, "L2", "C03", totals).delivered_ul["L2-low"] / 4
    assert low == pytest.approx(48.0 * 60.0 * (30.0 + 480.0) / 600.0)
    assert of_chip(MOVED, "L2", "C03", totals).last_dose_end_h == {"L2": pytest.approx(124.0)}


def test_the_dose_that_a_moved_chip_may_still_get_is_its_own(journal: Journal) -> None:
    """C03 had two doses on L1 and comes to L4, whose own chips had none: the line may, the chip may not."""
    valves = {"C03": ("L2", "L4"), "C06": ("L1", "L3")}
    home = with_limits(VALVED.model_copy(update={"valves": valves}), total_volume_ul=6000.0)
    turned(journal, "C03", "L1", 0, 0.0)
    for cycle, begin_h in ((1, 24.0), (2, 76.0)):
        delivered(journal, programme("L1", 30.0, 48.0, study=home), cycle, begin_h)
    ask(home, journal, "L4", 30.0)
    moved = connected(home, {"C03": "L4"})
    with pytest.raises(SafetyRefusal, match=r"C03: each chip would get 8640 uL in all doses"):
        ask(moved, journal, "L4", 30.0)
    with pytest.raises(SafetyRefusal, match="each chip would get 8640 uL") as told:
        ask(connected(home, {}), journal, "L1", 30.0)
    assert "C0" not in str(told.value)  # all its chips alike: nobody is named


BROKEN: list[tuple[dict[str, float], float, str]] = [
    ({"day_volume_ul": 1500.0}, 60.0, "within 24 h"),
    ({}, 74.0, "shortest interval"),
]


@pytest.mark.parametrize(("limits", "begin_h", "message"), BROKEN)
def test_day_volume_and_interval_follow_a_chip_to_a_line_that_has_rested(
    journal: Journal, limits: dict[str, float], begin_h: float, message: str
) -> None:
    home = with_limits(VALVED, **limits)
    turned(journal, "C06", "L2", 0, 0.0)
    delivered(journal, programme("L2", 30.0, 48.0, study=home), 1, 24.0)
    ask(home, journal, "L3", 30.0, begin_h)
    with pytest.raises(SafetyRefusal, match=f"C06: .*{message}"):
        ask(connected(home, {"C06": "L3"}), journal, "L3", 30.0, begin_h)


def test_drug_mass_follows_a_chip(journal: Journal) -> None:
    home = with_limits(VALVED, concentration_nm=100.0)
    home = home.model_copy(update={"timeline": home.timeline.model_copy(update={"cycles": 2})})
    turned(journal, "C06", "L2", 0, 0.0)
    for cycle, begin_h in ((1, 24.0), (2, 76.0)):
        delivered(journal, programme("L2", 90.0, 48.0, study=home), cycle, begin_h)
    home = with_limits(home, concentration_nm=100.0, total_volume_ul=1e6)
    ask(home, journal, "L3", 30.0)
    with pytest.raises(SafetyRefusal, match=r"C06: .* ng drug per chip in all"):
        ask(connected(home, {"C06": "L3"}), journal, "L3", 30.0)


def test_a_chip_of_which_nobody_knew_is_charged_with_every_line_that_may_have_fed_it(
    journal: Journal,
) -> None:
    turned(journal, "C03", "L1", 0, 0.0)
    one = asked("C03", "L2", 1, 24.0, "L1")
    journal.turn(one)
    dark = connected(VALVED, {"C03": None})
    for line in ("L1", "L2"):
        delivered(journal, programme(line, 30.0, 48.0, study=dark), 1, 24.0)
    journal.turned(one.key, 72.0, "L2", 2, "it says so now")
    journal.turn(asked("C03", "L1", 2, 76.0, "L2"))  # and again nobody knows
    totals = journal.totals("r")
    own = of_chip(VALVED, "L1", "C01", totals)
    assert sum(m.volume_ul for m in own.moved["L1"]) / 3 == pytest.approx(48.0 * 60.0)


def test_a_line_without_chips_is_never_started() -> None:
    alone = VALVED.model_copy(update={"valves": dict.fromkeys(("C01", "C02", "C03"), ("L2",))})
    empty = connected(alone, dict.fromkeys(("C01", "C02", "C03"), "L2"))
    with pytest.raises(DoseNotFeasible, match="no chip is fed by line L1"):
        programme("L1", 0.0, 4.0, "medium", study=empty)
    pressed = programme("L1", 0.0, 4.0, "medium", study=alone)
    with pytest.raises(SafetyRefusal, match="no chip is fed by line L1: it stands still"):
        check_before_wire(empty, pressed, JournalTotals(), 24.0, None)


def test_a_programme_made_for_more_chips_is_too_much_for_those_that_are_left() -> None:
    """180 uL/h of three chips through one: 180 uL/h per chip where 120 are allowed."""
    valves = {"C01": ("L2",), "C02": ("L2",)}
    home = VALVED.model_copy(update={"valves": valves})
    made = programme("L1", 0.0, 4.0, "medium", study=home)
    check_before_wire(home, made, JournalTotals(), 24.0, None)
    left = connected(home, dict.fromkeys(valves, "L2"))
    with pytest.raises(SafetyRefusal, match="flow 180 uL/h per chip"):
        check_before_wire(left, made, JournalTotals(), 24.0, None)
