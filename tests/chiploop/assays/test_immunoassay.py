"""ELISA plates: accepted or not, concentrations with honest intervals, censoring."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from chiploop.assays.immunoassay import estimate_concentration, readouts_from_elisa_plate
from chiploop.assays.plate_map import elisa_plate_map
from chiploop.errors import FileNotValid
from chiploop.measurement import AbsorbancePlate
from tests.chiploop.assays.kits import ELISA, elisa_plate

WINDOW = (48.0, 72.0)


def layout(chips: list[str], dilution: float = 2.0):  # type: ignore[no-untyped-def]
    return elisa_plate_map(chips, WINDOW, ELISA, 2, dilution, np.random.default_rng(5))


def with_signal(plate: AbsorbancePlate, wells: dict[str, float]) -> AbsorbancePlate:
    signal = plate.absorbance[450].copy()
    for well, value in wells.items():
        signal["ABCDEFGH".index(well[0]), int(well[1:]) - 1] = value + 0.04
    return replace(plate, absorbance={**plate.absorbance, 450: signal})


def test_a_clean_plate_gives_back_what_was_put_in() -> None:
    truth = {"C01": 60.0, "C02": 300.0, "C03": 1200.0}
    plate_map = layout(list(truth))
    curve, readouts = readouts_from_elisa_plate(
        elisa_plate(plate_map, truth, np.random.default_rng(0)), plate_map, ELISA, cycle=3
    )
    assert curve.qc == "ok"
    assert (curve.lloq, curve.uloq) == (7.8125, 1000.0)
    assert [one.passed for one in curve.levels] == [True] * 8
    for one in readouts:
        assert abs(math.log(one.value / truth[one.chip_id])) < 3.5 * one.sd
        assert 0.01 < one.sd < 0.25
        assert (one.readout, one.unit, one.scale, one.n) == ("CCL26", "pg/mL", "log", 2)
        assert (one.window_start_h, one.time_h, one.cycle) == (48.0, 72.0, 3)
        assert (one.plate, one.raw_sha256, len(one.wells)) == ("P1", "00ff", 2)
        assert "dilution 2" in one.method


def test_the_interval_of_a_mid_range_sample_covers_and_a_narrow_one_does_not() -> None:
    n_plates = 200
    plate_map = layout(["C01"])
    scores = []
    for seed in range(n_plates):
        plate = elisa_plate(plate_map, {"C01": 300.0}, np.random.default_rng(seed))
        curve, (one,) = readouts_from_elisa_plate(plate, plate_map, ELISA)
        assert curve.qc == "ok" and one.censoring == "none"
        scores.append(math.log(one.value / 300.0) / one.sd)
    slack = 3 * math.sqrt(0.9 * 0.1 / n_plates)
    limit = norm.ppf(0.95)
    assert abs(np.mean(np.abs(scores) <= limit) - 0.9) < slack
    assert abs(np.mean(np.abs(scores) <= 0.6 * limit) - 0.9) > slack


def test_below_lloq_and_above_uloq_are_censored_on_the_scale_of_the_sample() -> None:
    truth = {"C01": 3.0, "C02": 9000.0}
    plate_map = layout(list(truth))
    plate = elisa_plate(plate_map, truth, None)
    curve, readouts = readouts_from_elisa_plate(plate, plate_map, ELISA)
    low, high = readouts
    assert math.isnan(low.value) and math.isnan(high.value)
    assert (low.censoring, low.upper, low.reasons) == ("left", 2 * curve.lloq, ("below LLOQ",))
    assert (high.censoring, high.lower, high.reasons) == ("right", 2 * curve.uloq, ("above ULOQ",))
    assert low.sd >= 0 and high.sd >= 0


def test_a_saturated_replicate_is_right_censored_not_averaged() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, np.random.default_rng(1))
    well = next(one.well for one in plate_map if one.kind == "sample")
    _, (one,) = readouts_from_elisa_plate(
        replace(plate, flags={(450, well): "saturated"}), plate_map, ELISA
    )
    assert (one.censoring, one.qc) == ("right", "warn")
    assert "saturated" in one.reasons


def test_a_missing_replicate_leaves_one_and_two_leave_nothing() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, np.random.default_rng(1))
    wells = [one.well for one in plate_map if one.kind == "sample"]
    _, (one,) = readouts_from_elisa_plate(
        replace(plate, flags={(450, wells[0]): "masked"}), plate_map, ELISA
    )
    assert (one.n, one.qc, one.reasons) == (1, "warn", ("masked",))
    _, (none,) = readouts_from_elisa_plate(
        replace(plate, flags={(450, well): "masked" for well in wells}), plate_map, ELISA
    )
    assert (none.qc, none.censoring) == ("fail", "none") and math.isnan(none.value)


def test_replicates_that_differ_are_flagged_and_widen_the_interval() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, np.random.default_rng(1))
    curve, (calm,) = readouts_from_elisa_plate(plate, plate_map, ELISA)
    wild = estimate_concentration(curve, [0.6, 1.4], 2.0)
    assert wild.qc == "warn" and "replicates differ" in wild.reasons[0]
    assert wild.sd_ln > 3 * calm.sd
    assert 0.0 < np.linalg.norm(wild.curve) < wild.sd_ln
    assert len(wild.replicates) == 2 and wild.replicates[0] < wild.value < wild.replicates[1]
    assert wild.cv == pytest.approx(np.std(wild.replicates, ddof=1) / np.mean(wild.replicates))
    assert wild.cv_signal == pytest.approx(np.std([0.6, 1.4], ddof=1))  # their mean is 1
    assert wild.interval[0] < wild.replicates[0] and wild.interval[1] > wild.replicates[1]


def test_a_plate_whose_standards_fail_gives_no_number_and_says_why() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, np.random.default_rng(1))
    standards = [one.well for one in plate_map if one.kind == "standard"]
    rng = np.random.default_rng(2)
    plate = with_signal(plate, {well: float(rng.uniform(0.2, 2.0)) for well in standards})
    curve, (one,) = readouts_from_elisa_plate(plate, plate_map, ELISA)
    assert curve.qc == "fail" and curve.reasons
    assert one.qc == "fail" and math.isnan(one.value)
    assert one.reasons[0] == "standard curve failed"


def test_a_plate_turned_by_180_degrees_fails_clearly() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, np.random.default_rng(1))
    turned = {key: value[::-1, ::-1] for key, value in plate.absorbance.items()}
    curve, (one,) = readouts_from_elisa_plate(replace(plate, absorbance=turned), plate_map, ELISA)
    assert (curve.qc, one.qc) == ("fail", "fail")


def test_a_top_standard_that_hooks_is_left_out_and_said() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, None)
    top = [one.well for one in plate_map if one.concentration == 1000.0]
    curve, (one,) = readouts_from_elisa_plate(
        with_signal(plate, dict.fromkeys(top, 1.2)), plate_map, ELISA
    )
    assert curve.uloq == 500.0
    assert "hook effect: standards from 1000" in curve.reasons[0]
    assert one.qc == "warn" and "hook effect" in one.reasons[-1]


def test_a_plate_read_at_another_wavelength_is_refused() -> None:
    plate_map = layout(["C01"])
    plate = elisa_plate(plate_map, {"C01": 300.0}, None)
    with pytest.raises(FileNotValid, match="needs 450 and 570"):
        readouts_from_elisa_plate(
            replace(plate, absorbance={450: plate.absorbance[450]}), plate_map, ELISA
        )


def test_samples_of_a_plate_share_what_their_curve_errs_in() -> None:
    plate_map = layout(["C01", "C02"])
    truth = {"C01": 40.0, "C02": 600.0}
    plate = elisa_plate(plate_map, truth, np.random.default_rng(1))
    curve, (low, high) = readouts_from_elisa_plate(plate, plate_map, ELISA)
    degrees, logistic = curve.fit.degrees_of_freedom, curve.fit.curve
    gradients = [
        logistic.ln_concentration_gradient(float(logistic.signal(one.value / 2.0)))[1][:4]
        for one in (low, high)
    ]
    for one, first in ((low, gradients[0]), (high, gradients[1])):
        for other, second in ((low, gradients[0]), (high, gradients[1])):
            shared = first @ curve.covariance @ second * degrees / (degrees - 2.0)
            assert np.dot(one.curve, other.curve) == pytest.approx(shared, rel=1e-6)
    assert np.dot(low.curve, low.curve) < low.sd**2
