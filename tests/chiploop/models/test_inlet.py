"""What reaches a chip through the tubing: nothing is lost, nothing is made, all of it comes later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.dosing import ChipSchedule, ChipSegment
from chiploop.models.inlet import chip_constants, chip_inlet, delayed
from chiploop.study import load_study

STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
DEAD_UL = 20.0


def segment(begin: float, end: float, flow: float = 60.0, drug: float = 0.0) -> ChipSegment:
    return ChipSegment(begin, end, flow, drug, {"IL-13": 1.0, "IL-4": 0.5} if drug else {})


@st.composite
def schedules(draw: st.DrawFn) -> list[ChipSegment]:
    clock, found = draw(st.floats(0.0, 3.0)), []
    for _ in range(draw(st.integers(1, 6))):
        clock += draw(st.sampled_from([0.0, 0.0, 0.5, 4.0]))
        length = draw(st.floats(0.01, 30.0))
        flow = draw(st.sampled_from([0.0, 3.0, 60.0, 120.0]))
        found.append(segment(clock, clock + length, flow, draw(st.floats(0.0, 4000.0))))
        clock += length
    return found


def amounts(edges: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return volume and volume times each concentration (4,)."""
    volume = inputs[:, 0] * np.diff(edges)
    return np.array([volume.sum(), *(volume[:, None] * inputs[:, 1:]).sum(axis=0)])


@given(schedules(), st.floats(0.0, 100.0))
def test_flow_is_felt_at_once_and_composition_is_conserved(
    segments: list[ChipSegment], dead_ul: float
) -> None:
    rest = 1e5
    flush = [*segments, segment(segments[-1].end_h, segments[-1].end_h + rest, 60.0)]
    edges, inputs = delayed(flush, STUDY.tissue, dead_ul, 0.0)
    assert np.all(np.diff(edges) > 0)
    pumped = sum(s.flow_rate_ul_h * (s.end_h - s.start_h) for s in segments)
    drug = sum(s.flow_rate_ul_h * (s.end_h - s.start_h) * s.drug_nm for s in segments)
    il4 = sum(
        s.flow_rate_ul_h * (s.end_h - s.start_h) * s.stimulus_ng_ml.get("IL-4", 0.0) / 15.0
        for s in segments
    )
    total = amounts(edges, inputs)
    assert total[0] == pytest.approx(pumped + 60.0 * rest, rel=1e-9)
    # pieces shorter than 1e-9 h are left out
    assert total[1] == pytest.approx(drug, rel=1e-6, abs=1e-2)
    assert total[2] == pytest.approx(il4, rel=1e-6, abs=1e-6)


@given(schedules(), st.floats(0.1, 100.0), st.floats(0.0, 1.0))
def test_what_leaves_the_tubing_is_what_entered_it_one_dead_volume_earlier(
    segments: list[ChipSegment], dead_ul: float, share: float
) -> None:
    edges, inputs = delayed(segments, STUDY.tissue, dead_ul, 0.0)
    time = edges[0] + share * (edges[-1] - edges[0])
    piece = min(int(np.searchsorted(edges, time, side="right")) - 1, len(inputs) - 1)
    if min(abs(edges - time)) < 1e-6 or inputs[piece, 0] == 0.0:
        return
    pumped = float(np.sum(inputs[:, 0] * np.clip(time - edges[:-1], 0.0, np.diff(edges))))
    entered, wanted = pumped - dead_ul, 0.0
    for one in segments:
        volume = one.flow_rate_ul_h * (one.end_h - one.start_h)
        if min(abs(entered), abs(entered - volume)) < 1e-6:
            return
        if 0.0 <= entered < volume:
            wanted = one.drug_nm
        entered -= volume
    assert inputs[piece, 1] == pytest.approx(wanted, rel=1e-9)


def test_a_dose_arrives_late_and_its_end_too() -> None:
    edges, inputs = delayed(
        [segment(0, 24), segment(24, 48, drug=100.0), segment(48, 60)], STUDY.tissue, DEAD_UL, 0.0
    )
    assert edges == pytest.approx([0.0, 24 + 1 / 3, 48 + 1 / 3, 60.0])
    assert inputs[:, 1].tolist() == [0.0, 100.0, 0.0]
    assert inputs[1, 2:] == pytest.approx([0.5 / 15.0, 1.0 / 12.6])


def test_stimuli_come_in_the_order_of_the_models_file_and_an_absent_one_is_zero() -> None:
    swapped = STUDY.tissue.model_copy(
        update={"stimuli": dict(reversed(STUDY.tissue.stimuli.items()))}
    )
    parts = [segment(0, 10, drug=100.0), ChipSegment(10, 20, 60.0, 0.0, {"IL-13": 12.6})]
    assert STUDY.tissue.input_symbols == ("Q", "D_in", "I4_in", "I13_in")
    assert swapped.input_symbols == ("Q", "D_in", "I13_in", "I4_in")
    for facts, order in ((STUDY.tissue, [0, 1]), (swapped, [1, 0])):
        _, inputs = delayed(parts, facts, 0.0, 0.0)
        assert inputs[0] == pytest.approx([60.0, 100.0, *np.array([0.5 / 15.0, 1.0 / 12.6])[order]])
        assert inputs[1] == pytest.approx([60.0, 0.0, *np.array([0.0, 1.0])[order]])


def test_a_drugs_own_constants_go_before_the_chips_and_a_model_gets_what_its_file_names() -> None:
    drug = STUDY.drug.model_copy(update={"constants": {"wall_partition": 0.5, "odd": 3.0}})
    study = STUDY.model_copy(update={"drug": drug})
    constants = chip_constants(study, STUDY.tissue, "wild_type")
    assert constants["wall_partition"] == 0.5
    assert constants["area_cm2"] == STUDY.chip.area_cm2
    assert set(constants) == set(STUDY.tissue.constants)
    few = STUDY.tissue.model_copy(update={"donor": {}, "chip": {"area_cm2": "A"}, "drug": {}})
    assert chip_constants(study, few, "null") == {"area_cm2": STUDY.chip.area_cm2}


def test_without_dead_volume_nothing_is_delayed() -> None:
    edges, inputs = delayed([segment(0, 24), segment(24, 48, drug=100.0)], STUDY.tissue, 0.0, 0.0)
    assert edges.tolist() == [0.0, 24.0, 48.0]
    assert inputs[:, 1].tolist() == [0.0, 100.0]


def test_beginning_later_shows_the_same_inflow_from_there_on() -> None:
    parts = [segment(0, 24), segment(24, 48, drug=100.0), segment(48, 60)]
    edges, inputs = delayed(parts, STUDY.tissue, DEAD_UL, 30.0)
    assert edges == pytest.approx([30.0, 48 + 1 / 3, 60.0])
    assert inputs[:, 1].tolist() == [100.0, 0.0]


def test_before_the_first_segment_and_in_gaps_nothing_flows() -> None:
    edges, inputs = delayed([segment(2, 10), segment(12, 20)], STUDY.tissue, 0.0, 0.0, until_h=25.0)
    assert edges.tolist() == [0.0, 2.0, 10.0, 12.0, 20.0, 25.0]
    assert inputs[:, 0].tolist() == [0.0, 60.0, 0.0, 60.0, 0.0]


def test_until_a_time_already_reached_adds_nothing() -> None:
    parts = [segment(0, 24), segment(24, 48, drug=9.0)]
    assert delayed(parts, STUDY.tissue, 0.0, 0.0, until_h=48.0)[0].tolist() == [0.0, 24.0, 48.0]
    assert delayed(parts, STUDY.tissue, 0.0, 0.0, until_h=30.0)[0].tolist() == [0.0, 24.0, 48.0]


def test_an_empty_schedule_is_a_standstill() -> None:
    edges, inputs = delayed([], STUDY.tissue, DEAD_UL, 0.0, until_h=5.0)
    assert edges.tolist() == [0.0, 5.0]
    assert inputs.tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_what_stands_in_the_tubing_waits_through_a_stop() -> None:
    parts = [segment(0, 1, drug=50.0), segment(1, 5, flow=0.0), segment(5, 8)]
    edges, inputs = delayed(parts, STUDY.tissue, DEAD_UL, 0.0)
    drug_h = {round(float(a), 4): c for a, c in zip(edges[:-1], inputs[:, 1], strict=True)}
    assert drug_h[0.0] == 0.0
    assert drug_h[0.3333] == 50.0
    assert drug_h[5.0] == 50.0
    assert drug_h[5.3333] == 0.0


def test_the_chips_of_a_line_share_its_tubing_and_keep_their_donors() -> None:
    parts = (segment(0, 24), segment(24, 48, drug=100.0))
    for chip in STUDY.chip_ids[:3]:
        inlet = chip_inlet(STUDY, ChipSchedule(chip, parts), until_h=50.0)
        # 60 uL in the line, three chips, 60 uL/h each: 20 minutes
        assert inlet.edges_h == pytest.approx([0.0, 24 + 1 / 3, 48.0, 50.0])
        flg = STUDY.donor_of(chip).flg
        assert inlet.constants == chip_constants(STUDY, STUDY.tissue, flg)
    doses = [
        chip_constants(STUDY, STUDY.tissue, flg)["flg_dose"]
        for flg in ("wild_type", "heterozygous", "null")
    ]
    assert doses == [1.0, 0.5, 0.1]
