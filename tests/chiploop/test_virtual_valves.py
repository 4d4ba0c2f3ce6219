"""Virtual chips are fed by the line at whose port their valve truly stands, as replay and model say of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chiploop.connections import connected
from chiploop.models.inlet import chip_inlet
from chiploop.models.study_model import model_of
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of
from chiploop.virtual_lab import VirtualLab
from tests.chiploop.valve_journals import VALVED, programme, two_cycles

EXACT = VALVED.model_copy(update={"variation": VALVED.variation.model_copy(update={"dose": 0.0})})
MOVED = connected(VALVED, {"C03": "L2"})
HOME = {"C03": "L1", "C06": "L2"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def flows(doses: dict[str, float], purpose: str = "dose", study=VALVED):  # type: ignore[no-untyped-def]
    return {
        line: {
            step.stock: step.flow_rate_ul_h
            for step in programme(line, nm, 48.0, purpose, study=study).steps
        }
        for line, nm in doses.items()
    }


@pytest.fixture(scope="module")
def lab() -> VirtualLab:
    """The two cycles of ``valve_journals.two_cycles``, as pumps and valves did them."""
    made = VirtualLab(EXACT, 1, matched=True)
    none = dict.fromkeys(("L1", "L2"), 0.0)
    made.advance(0.0, 24.0, flows(none, "medium"), HOME)
    made.advance(24.0, 72.0, flows({"L1": 30.0, "L2": 120.0}), HOME)
    made.advance(72.0, 76.0, flows(none, "stimulus"), HOME)
    dosed = flows({"L1": 60.0, "L2": 480.0}, study=MOVED)
    for begin_h, end_h in ((76.0, 100.0), (100.0, 124.0)):
        made.advance(begin_h, end_h, dosed, {"C03": "L2", "C06": "L2"})
    return made


@pytest.mark.parametrize("chip", ["C01", "C03", "C04"])
def test_what_a_moved_chip_felt_is_what_the_model_says_of_its_replayed_schedule(
    chip: str, lab: VirtualLab, journal: Journal
) -> None:
    two_cycles(journal)
    schedule = schedules_of(journal, VALVED, "r")[chip]
    model = model_of(EXACT)
    index = EXACT.chip_ids.index(chip)
    own = lab.parameters.copy()
    for name, factors in lab.factors.items():
        own[0, model.estimated_names.index(name)] *= factors[index]
    inlets = [chip_inlet(VALVED, schedule)]
    found = model.simulate(own, inlets, np.array([124.0]), np.array([100.0])).readouts[0, 0, 0]
    end, begin = (np.array(lab.observed(t)[index]) for t in (124.0, 100.0))
    assert end[0] == pytest.approx(found[0], rel=2e-3)
    assert (end[1] - begin[1]) / 24.0 == pytest.approx(found[1], rel=2e-3)
    assert begin[2] - end[2] == pytest.approx(found[2], abs=1e-4)


def test_a_chip_between_two_ports_and_a_line_with_closed_ports_move_nothing() -> None:
    alone = {"C01": ("L2",), "C02": ("L2",), "C03": ("L2",)}
    lab = VirtualLab(EXACT.model_copy(update={"valves": alone}), 1, matched=True)
    before = [list(plug) for plug in lab.tubing["L1"]]
    nobody: dict[str, str | None] = dict.fromkeys(alone)
    lab.advance(0.0, 24.0, {"L1": {"low": 180.0}, "L2": {"medium": 180.0}}, nobody)
    assert lab.tubing["L1"] == before
    assert np.isfinite(np.array(lab.observed(24.0))).all()


def test_the_same_flow_is_shared_by_those_that_are_connected() -> None:
    """Three chips' flow through two: what is secreted is carried off faster."""
    one, other = VirtualLab(EXACT, 1, matched=True), VirtualLab(EXACT, 1, matched=True)
    wet = {line: {"stimulus": 180.0} for line in EXACT.line_ids}
    one.advance(0.0, 24.0, wet, HOME)
    other.advance(0.0, 24.0, wet, {"C03": "L2", "C06": "L2"})
    at = EXACT.chip_ids.index("C01")
    assert one.observed(24.0)[at] != other.observed(24.0)[at]
    untouched = EXACT.chip_ids.index("C10")
    assert one.observed(24.0)[untouched] == other.observed(24.0)[untouched]
