"""Virtual chips: the same seed is the same laboratory, and its signals read back as what they came from."""

from __future__ import annotations

import json
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.assays import ASSAYS, PLATE_MAPS
from chiploop.assays.immunoassay import readouts_from_elisa_plate
from chiploop.assays.plate_map import PlateMap, elisa_plate_map, plate_to_dict, viability_plate_map
from chiploop.assays.teer import blank_of_lot, geometry_of_chip, teer_readout
from chiploop.assays.viability import readouts_from_ldh_plate
from chiploop.dosing import ChipSchedule, ChipSegment
from chiploop.measurement import AbsorbancePlate, ImpedanceSpectrum
from chiploop.models.inlet import chip_inlet
from chiploop.models.study_model import model_of
from chiploop.study import load_study
from chiploop.study_parts import Controls, Electrodes
from chiploop.virtual_lab import EMPTY_WELL_OD, VirtualLab, truth_model

STUDY = load_study(Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
WINDOW = (48.0, 72.0)
PLAIN = {line: {"medium": 180.0} for line in STUDY.line_ids}
FREQUENCY_HZ = np.geomspace(1e5, 1.0, 41)
Flows = dict[str, dict[str, float]]


def dosed() -> Flows:
    """One line on stimulus alone, the others on 30, 600 and 4000 nM."""
    return {
        "L1": {"stimulus": 180.0},
        "L2": {"stimulus": 171.0, "low": 9.0},
        "L3": {"low": 180.0},
        "L4": {"stimulus": 120.0, "high": 60.0},
    }


def run(seed: int = 1, matched: bool = False) -> VirtualLab:
    lab = VirtualLab(STUDY, seed, matched)
    lab.advance(0.0, 24.0, PLAIN)
    for begin, end in ((24.0, 48.0), (48.0, 72.0)):
        lab.advance(begin, end, dosed())
    return lab


@pytest.fixture(scope="module")
def lab() -> VirtualLab:
    return run()


@pytest.fixture(scope="module")
def matched() -> VirtualLab:
    return run(matched=True)


# --- truth


def test_the_same_seed_is_the_same_laboratory(lab: VirtualLab) -> None:
    again = run()
    assert again.truth() == lab.truth()
    assert again.history == lab.history
    assert run(seed=2).truth()["parameters"] != lab.truth()["parameters"]


def test_matched_truth_is_the_fitted_model_and_the_other_is_not(
    lab: VirtualLab, matched: VirtualLab
) -> None:
    assert (matched.model.name, lab.model.name) == ("skin_chip", "virtual_skin_chip")
    assert set(matched.factors) == {"EC13", "IC50", "kB"}
    donor = [STUDY.donor_of(chip).id for chip in STUDY.chip_ids]
    for factors in matched.factors.values():
        assert {len(set(factors[np.array(donor) == d])) for d in set(donor)} == {1}
        assert len(set(factors)) == len(set(donor))
    assert set(lab.factors) == {"s26", "R_max", "IC50", "kB", "P_open"}
    assert matched.truth()["matched"] and not lab.truth()["matched"]


def test_donors_and_chips_differ_in_the_structural_truth(lab: VirtualLab) -> None:
    factors = np.log(lab.factors["s26"])
    assert len(set(factors.tolist())) == len(STUDY.chip_ids)
    many = np.array([np.log(VirtualLab(STUDY, seed, False).factors["s26"]) for seed in range(40)])
    assert many.std() == pytest.approx(np.hypot(0.12, 0.18), rel=0.15)
    donor = [STUDY.donor_of(chip).id for chip in STUDY.chip_ids]
    same = [i for i, d in enumerate(donor) if d == donor[0]]
    other = [i for i, d in enumerate(donor) if d != donor[0]]
    together = np.mean(many[:, same[0]] * many[:, same[1]])
    assert together == pytest.approx(0.18**2, rel=0.5)
    assert abs(np.mean(many[:, same[0]] * many[:, other[0]])) < 0.02


def test_matched_chips_are_what_the_fitted_model_says_of_the_same_schedule(
    matched: VirtualLab,
) -> None:
    doses = {"L1": 0.0, "L2": 30.0, "L3": 600.0, "L4": 4000.0}
    chip = "C07"
    line = STUDY.line_of(chip).id
    schedule = ChipSchedule(
        chip,
        (
            ChipSegment(0.0, 24.0, 60.0, 0.0, {}),
            ChipSegment(24.0, 72.0, 60.0, doses[line], {"IL-4": 0.5, "IL-13": 1.0}),
        ),
    )
    model = model_of(STUDY)
    index = STUDY.chip_ids.index(chip)
    own = matched.parameters.copy()
    for name, factors in matched.factors.items():
        own[0, model.estimated_names.index(name)] *= factors[index]
    found = model.simulate(
        own,
        [chip_inlet(STUDY, schedule)],
        np.array([72.0]),
        np.array([48.0]),
        drug_factors=np.array([[matched.dose_errors[line]]]),
    ).readouts[0, 0, 0]
    end, begin = (np.array(matched.observed(t)[index]) for t in (72.0, 48.0))
    assert end[0] == pytest.approx(found[0], rel=2e-3)
    assert (end[1] - begin[1]) / 24.0 == pytest.approx(found[1], rel=2e-3)
    assert begin[2] - end[2] == pytest.approx(found[2], abs=1e-4)


def test_lines_give_a_little_more_or_less_than_is_noted() -> None:
    errors = [VirtualLab(STUDY, seed, False).dose_errors for seed in range(40)]
    assert len(set(errors[0].values())) == len(STUDY.lines)
    spread = np.std(np.log([list(one.values()) for one in errors]))
    assert spread == pytest.approx(STUDY.variation.dose, rel=0.2)


# --- time and state


def test_a_restart_from_json_goes_on_as_if_nothing_had_been() -> None:
    whole, half = VirtualLab(STUDY, 3, False), VirtualLab(STUDY, 3, False)
    for one in (whole, half):
        one.advance(0.0, 24.0, PLAIN)
        one.advance(24.0, 30.1, dosed())
    restarted = VirtualLab(STUDY, 3, False)
    restarted.restore(json.loads(json.dumps(half.state())))
    for one in (whole, restarted):
        one.advance(30.1, 72.0, dosed())
        one.advance(72.0, 76.0, {})
    assert restarted.state() == whole.state()
    assert restarted.truth() == whole.truth()
    assert np.array_equal(
        restarted.impedance("C05", 72.0, FREQUENCY_HZ), whole.impedance("C05", 72.0, FREQUENCY_HZ)
    )


def test_a_state_handed_out_does_not_change_when_the_chips_move_on() -> None:
    lab = VirtualLab(STUDY, 3, False)
    lab.advance(0.0, 24.0, PLAIN)
    kept = json.dumps(lab.state())
    before = lab.state()
    lab.advance(24.0, 26.0, dosed())
    assert json.dumps(before) == kept


def test_advancing_from_somewhere_else_is_refused() -> None:
    lab = VirtualLab(STUDY, 1, False)
    with pytest.raises(ValueError, match="the chips are at 0.0 h, not at 5.0 h"):
        lab.advance(5.0, 6.0, PLAIN)
    lab.advance(0.0, 0.0, PLAIN)
    assert lab.time_h == 0.0


def test_stopping_on_the_way_changes_the_course_by_less_than_the_solvers_tolerance() -> None:
    straight, stopping = VirtualLab(STUDY, 5, False), VirtualLab(STUDY, 5, False)
    straight.advance(0.0, 24.0, dosed())
    for hour in range(24):
        stopping.advance(hour, hour + 1.0, dosed())
    for ours, theirs in zip(straight.observed(24.0), stopping.observed(24.0), strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.01, 0.5, 3.0, 20.0]),
            st.sampled_from(["medium", "stimulus", "low", "high", "none", "mixed"]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_the_tubing_loses_no_drug_and_stays_full(stops: list[tuple[float, str]]) -> None:
    lab = VirtualLab.__new__(VirtualLab)
    lab.study, lab.model, lab.plain = STUDY, truth_model(STUDY), [0.0, 0.0, 0.0]
    dead = STUDY.chip.dead_volume_ul
    lab.tubing = {"L1": [[dead, 0.0, 0.0, 0.0]]}
    lab.dose_errors = {"L1": 1.0}
    clock = entered = left = 0.0
    concentration = {"low": 600.0, "high": 12000.0}
    for length, role in stops:
        flows = {
            "none": {},
            "mixed": {"stimulus": 120.0, "low": 40.0, "high": 20.0},
        }.get(role, {role: 180.0})
        entered += sum(rate * length * concentration.get(r, 0.0) for r, rate in flows.items())
        pieces = lab.through_tubing("L1", clock, clock + length, flows)
        assert pieces[-1][0] == clock + length
        begin = clock
        for end, flow, drug, *_ in pieces:
            assert end > begin
            left += flow * (end - begin) * drug
            begin = end
        clock += length
        assert sum(plug[0] for plug in lab.tubing["L1"]) == pytest.approx(dead)
    inside = sum(volume * drug for volume, drug, *_ in lab.tubing["L1"])
    assert entered == pytest.approx(left + inside, rel=1e-6, abs=1e-3)


def test_a_dose_reaches_the_chips_after_the_dead_volume() -> None:
    lab = VirtualLab.__new__(VirtualLab)
    lab.study, lab.model, lab.plain = STUDY, truth_model(STUDY), [0.0, 0.0, 0.0]
    lab.tubing = {"L1": [[60.0, 0.0, 0.0, 0.0]]}
    lab.dose_errors = {"L1": 1.0}
    first, second = lab.through_tubing("L1", 24.0, 48.0, {"low": 180.0})
    assert first == pytest.approx([24.0 + 60.0 / 180.0, 180.0, 0.0, 0.0, 0.0])
    assert second == pytest.approx([48.0, 180.0, 600.0, 0.5 / 15.0, 1.0 / 12.6])


# --- signals


def test_a_sliver_of_time_between_two_pumps_that_end_together_is_lived_through() -> None:
    lab = VirtualLab(STUDY, seed=1, matched=False)
    lab.advance(0.0, 24.0, PLAIN)
    end_h = float(np.nextafter(24.0, 25.0))
    lab.advance(24.0, end_h, {line: {"medium": 1e-3} for line in STUDY.line_ids})
    assert lab.time_h == end_h
    lab.tubing = {"L1": [[60.0, 0.0, 0.0, 0.0], [1e-12, 9.0, 0.0, 0.0], [600.0, 5.0, 0.0, 0.0]]}
    pieces = lab.through_tubing("L1", 24.0, 26.0, {"low": 180.0})
    assert [piece[0] for piece in pieces] == [pytest.approx(24.0 + 60.0 / 180.0), 26.0]
    assert [piece[2] for piece in pieces] == [0.0, 5.0]


def test_noise_is_the_same_however_often_it_is_asked_for(lab: VirtualLab) -> None:
    one, two = (lab.impedance("C03", 72.0, FREQUENCY_HZ) for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, lab.impedance("C02", 72.0, FREQUENCY_HZ))
    plate = plate_to_dict("P", "CCL26", elisa_map(np.random.default_rng(0)))
    assert np.array_equal(lab.absorbance(plate, 450), lab.absorbance(plate, 450))
    other = lab.absorbance({**plate, "plate_id": "Q"}, 450)
    assert not np.array_equal(lab.absorbance(plate, 450), other)


def test_a_sample_of_a_moment_at_which_nobody_stood_is_refused(lab: VirtualLab) -> None:
    with pytest.raises(ValueError, match="nobody stood at the chips at 60.0 h"):
        lab.impedance("C01", 60.0, FREQUENCY_HZ)
    with pytest.raises(ValueError, match="nobody stood"):
        lab.value("C01", "CCL26", 72.0, 50.0)


def test_teer_reads_back_through_the_circuit_fit(lab: VirtualLab) -> None:
    gaps, sds = [], []
    for chip in STUDY.chip_ids:
        for time in (24.0, 48.0, 72.0):
            spectrum = ImpedanceSpectrum(
                chip, time, FREQUENCY_HZ, lab.impedance(chip, time, FREQUENCY_HZ)
            )
            _, readout = teer_readout(spectrum, blank_of_lot(STUDY.chip), STUDY.chip.area_cm2)
            assert (readout.qc, readout.censoring) == ("ok", "none")
            gaps.append(np.log(readout.value / lab.value(chip, "TEER", time)))
            sds.append(readout.sd)
    assert np.sqrt(np.mean(np.square(gaps))) < 2.0 * np.mean(sds)
    assert abs(np.mean(gaps)) < 0.01


def test_teer_of_channel_electrodes_reads_back_through_their_field(lab: VirtualLab) -> None:
    stated = Electrodes(
        position="one_end", length_mm=33.0, width_mm=1.0, height_mm=0.2, resistivity_ohm_cm=67.0
    )
    chip = STUDY.chip.model_copy(update={"electrodes": stated})
    on_chip = copy(lab)
    on_chip.study = STUDY.model_copy(update={"chip": chip})
    geometry, hz = geometry_of_chip(chip), np.logspace(5, 0, 41)
    gaps, plain = [], []
    for one in STUDY.chip_ids:
        spectrum = ImpedanceSpectrum(one, 24.0, hz, on_chip.impedance(one, 24.0, hz))
        for found, through in ((gaps, geometry), (plain, None)):
            _, readout = teer_readout(spectrum, blank_of_lot(chip), chip.area_cm2, geometry=through)
            found.append(np.log(readout.value / lab.value(one, "TEER", 24.0)))
    assert np.sqrt(np.mean(np.square(gaps))) < 0.02
    assert not abs(np.mean(plain)) < 0.3  # far off, or refused


def elisa_map(rng: np.random.Generator) -> PlateMap:
    kit = STUDY.assays["CCL26"].kit
    return elisa_plate_map(STUDY.chip_ids, WINDOW, kit, 2, 1.0, rng)


def read(lab: VirtualLab, plate: dict[str, Any], wavelengths: tuple[int, int]) -> AbsorbancePlate:
    return AbsorbancePlate(
        plate["plate_id"], 72.0, {nm: lab.absorbance(plate, nm) for nm in wavelengths}
    )


def test_ccl26_reads_back_through_the_elisa(lab: VirtualLab) -> None:
    plate_map, kit = elisa_map(np.random.default_rng(0)), STUDY.assays["CCL26"].kit
    plate = plate_to_dict("P1", "CCL26", plate_map)
    curve, readouts = readouts_from_elisa_plate(read(lab, plate, (450, 570)), plate_map, kit)
    assert curve.qc != "fail", curve.reasons
    exact = [r for r in readouts if r.censoring == "none"]
    assert len(readouts) == 12 and len(exact) >= 8
    scores = []
    for readout in readouts:
        truth = lab.value(readout.chip_id, "CCL26", *WINDOW[::-1])
        if readout.censoring == "none":
            scores.append(np.log(readout.value / truth) / readout.sd)
        else:
            assert 0.8 * readout.lower < truth < 1.25 * readout.upper
    assert np.sqrt(np.mean(np.square(scores))) < 2.0
    assert max(np.abs(scores)) < 4.0


@pytest.mark.parametrize(("method", "reference_nm"), [("mtt", 690), ("resazurin", 600)])
def test_a_dye_reads_back_what_was_lost_since_the_start(method: Any, reference_nm: int) -> None:
    controls = Controls(blank=3, untreated=3, dead=2)
    kit = STUDY.assays["viability"].kit.model_copy(
        update={
            "method": method, "controls": controls, "wavelength_nm": 570.0,
            "reference_wavelength_nm": float(reference_nm),
        }
    )  # fmt: skip
    assay = STUDY.assays["viability"].model_copy(update={"kit": kit})
    lab = run()
    lab.study = STUDY.model_copy(update={"assays": {**STUDY.assays, "viability": assay}})
    plate_map = PLATE_MAPS[method](STUDY.chip_ids, WINDOW, kit, 2, 1.0, np.random.default_rng(1))
    plate = plate_to_dict("P1", "viability", plate_map)
    controls_found, readouts = ASSAYS[method](read(lab, plate, (570, reference_nm)), plate_map, kit)
    assert controls_found.qc == "ok" and len(readouts) == len(STUDY.chip_ids)
    scores = [(r.value - lab.value(r.chip_id, "ldh_release", 72.0, 0.0)) / r.sd for r in readouts]
    assert max(map(abs, scores)) < 4.0
    assert {r.window_start_h for r in readouts} == {0.0}
    # what was lost in the window alone would not fit
    windows = [(r.value - lab.value(r.chip_id, "ldh_release", 72.0, 48.0)) / r.sd for r in readouts]
    assert np.abs(windows).mean() > np.abs(scores).mean()


def test_released_ldh_reads_back_through_the_plate(lab: VirtualLab) -> None:
    kit = STUDY.assays["viability"].kit
    plate_map = viability_plate_map(STUDY.chip_ids, WINDOW, kit, 2, 1.0, np.random.default_rng(1))
    plate = plate_to_dict("P2", "viability", plate_map)
    controls, readouts = readouts_from_ldh_plate(read(lab, plate, (490, 680)), plate_map, kit)
    assert controls.qc == "ok"
    scores = [(r.value - lab.value(r.chip_id, "ldh_release", 72.0, 48.0)) / r.sd for r in readouts]
    assert len(scores) == 12
    assert np.sqrt(np.mean(np.square(scores))) < 2.0


def test_dilution_is_taken_back(lab: VirtualLab) -> None:
    kit = STUDY.assays["CCL26"].kit
    found = []
    for dilution in (1.0, 4.0):
        rng = np.random.default_rng(2)
        plate_map = elisa_plate_map(STUDY.chip_ids[:3], WINDOW, kit, 2, dilution, rng)
        plate = plate_to_dict("P3", "CCL26", plate_map)
        _, readouts = readouts_from_elisa_plate(read(lab, plate, (450, 570)), plate_map, kit)
        found.append([r.value for r in readouts])
    assert found[0] == pytest.approx(found[1], rel=0.25)


def test_wells_without_content_and_the_reference_read_like_plastic(lab: VirtualLab) -> None:
    plate = plate_to_dict("P1", "CCL26", elisa_map(np.random.default_rng(0)))
    used = {(ord(w["well"][0]) - 65, int(w["well"][1:]) - 1) for w in plate["wells"]}
    od = lab.absorbance(plate, 450)
    for row in range(8):
        for column in range(12):
            if (row, column) not in used:
                assert od[row, column] == EMPTY_WELL_OD
    assert np.abs(lab.absorbance(plate, 570) - EMPTY_WELL_OD).max() < 0.05


def test_chips_and_donors_scatter_as_the_study_says_in_matched_mode() -> None:
    deviations = []
    for seed in range(60):
        lab = VirtualLab(STUDY, seed, True)
        raw = lab.observed(0.0)
        deviations.append(
            [np.log(lab.value(c, "TEER", 0.0) / raw[i][0]) for i, c in enumerate(STUDY.chip_ids)]
        )
    found = np.array(deviations)
    variation = STUDY.variation
    parts = [
        kind["TEER"]
        for kind in (variation.between_chips, variation.between_donors, variation.between_readings)
    ]
    assert found.std() == pytest.approx(np.sqrt(np.sum(np.square(parts))), rel=0.12)
    donors = [STUDY.donor_of(chip).id for chip in STUDY.chip_ids]
    mates = [i for i, d in enumerate(donors) if d == donors[0]]
    assert np.mean(found[:, mates[0]] * found[:, mates[1]]) == pytest.approx(parts[1] ** 2, rel=0.5)
