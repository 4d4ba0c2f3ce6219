"""Plates on their way: which readings they are, what draws expect of them, and that they are not counted twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.campaign_values import Campaign
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of, prediction_table
from chiploop.pending_readings import Awaited, awaited_readings, samplings_of
from chiploop.policies.linear_gaussian import LinearGaussian
from chiploop.policies.prediction_table import PredictionTable
from chiploop.record.actions import JournalTotals
from tests.chiploop.campaigns import FULL, STUDY, exact, fitted, readings

MODEL = model_of(STUDY)
PLATE = (1, "CCL26")
WINDOW = STUDY.effluent_window_h(1)


def without_plate(campaign: Campaign) -> Campaign:
    left = tuple(r for r in campaign.readouts if r.readout != "CCL26")
    return replace(campaign, readouts=left)


def table(campaign: Campaign, *awaited: tuple[int, str]) -> PredictionTable:
    made, _ = prediction_table(
        campaign,
        STUDY.lines,
        exact,
        FULL,
        JournalTotals(),
        np.random.default_rng(1),
        set(),
        None,
        awaited=awaited,
    )
    return made


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return without_plate(fitted(EC4=0.1))


@pytest.fixture(scope="module")
def waiting(campaign: Campaign) -> PredictionTable:
    return table(campaign, PLATE)


def test_a_plate_that_is_on_its_way_is_one_reading_of_every_chip_over_its_window() -> None:
    (found,) = awaited_readings(STUDY, MODEL, [PLATE], ())
    assert found == Awaited([spec.name for spec in MODEL.readouts].index("CCL26"), WINDOW)
    late = Readout("C01", "ldh_release", 0.0, "1", 0.01, "linear", 73.5, 49.5, cycle=1)
    (found,) = awaited_readings(STUDY, MODEL, [PLATE], [late])
    assert found.window_h == (49.5, 73.5), "as the cycle's other plate says that it really was"
    ends, starts = samplings_of([found, found])
    assert (ends.tolist(), starts.tolist()) == ([73.5], [49.5])
    dye = replace(late, window_start_h=0.0)
    tracer = replace(late, readout="P_app", time_h=74.0, window_start_h=72.0)
    (found,) = awaited_readings(STUDY, MODEL, [PLATE], [dye, tracer])
    assert found.window_h == WINDOW, "windows of another length are none of the effluent's"


def test_a_plate_that_was_read_meanwhile_and_one_that_the_model_knows_nothing_of_are_not() -> None:
    assert awaited_readings(STUDY, MODEL, [PLATE], readings()) == ()
    assert awaited_readings(STUDY, MODEL, [(1, "photograph")], ()) == ()
    (viability,) = awaited_readings(STUDY, MODEL, [(2, "viability"), (2, "viability")], ())
    assert MODEL.readouts[viability.readout].name == "ldh_release"


def test_nothing_is_on_its_way_where_nobody_says_so(campaign: Campaign) -> None:
    assert table(campaign).pending is None


def test_every_draw_expects_of_the_plate_what_the_likelihood_would_say_of_it(
    campaign: Campaign, waiting: PredictionTable
) -> None:
    assert waiting.pending is not None
    full = likelihood_of(STUDY, campaign.schedules, readings())
    rows = [i for i, r in enumerate(full.rows.readout) if MODEL.readouts[r].name == "CCL26"]
    assert waiting.pending.features.shape[1] == len(rows) == len(STUDY.chip_ids)
    posterior = campaign.posterior
    assert posterior is not None
    chosen = np.random.default_rng(1).choice(
        len(posterior.particles), len(waiting.goal), replace=False
    )
    simulated = MODEL.simulate(
        posterior.particles[chosen], full.inlets, full.times_h, full.window_starts_h
    ).readouts
    chips, at = full.rows.chip[rows], full.rows.time[rows]
    expected = np.log(simulated[:, chips, at, full.rows.readout[rows]])
    order = np.argsort(chips)
    # CCL26 was never read before, so the past says nothing of its levels
    np.testing.assert_allclose(waiting.pending.features, expected[:, order], rtol=1e-6)


def test_its_noise_is_shared_with_the_next_readings_of_the_same_chip_and_donor(
    waiting: PredictionTable,
) -> None:
    assert waiting.pending is not None
    spread = STUDY.variation
    chip, donor = (part["CCL26"] ** 2 for part in (spread.between_chips, spread.between_donors))
    flat = [reading for line in waiting.readings for reading in line]
    for i, own in enumerate(STUDY.chip_ids):
        for j, reading in enumerate(flat):
            expected = 0.0
            if reading.readout == "CCL26":
                expected += chip * (reading.chip == own)
                expected += donor * (STUDY.donor_of(reading.chip) == STUDY.donor_of(own))
            assert waiting.pending.shared[i, j] == pytest.approx(expected, abs=1e-12)
    whole = waiting.all_noise()
    assert np.linalg.eigvalsh(whole).min() > 0.0
    np.testing.assert_array_equal(
        waiting.noise, whole[len(STUDY.chip_ids) :, len(STUDY.chip_ids) :]
    )


def test_what_the_plate_will_tell_is_not_counted_for_the_next_doses(
    campaign: Campaign, waiting: PredictionTable
) -> None:
    alone = table(campaign)
    np.testing.assert_array_equal(alone.noise, waiting.noise)
    for one, other in zip(alone.features, waiting.features, strict=True):
        np.testing.assert_array_equal(one, other)
    again = {
        i: min(range(len(own)), key=lambda k, own=own, nm=nm: abs(own[k].asked_nm - nm))
        for i, (own, nm) in enumerate(zip(alone.programmes, STUDY.first_doses_nm, strict=True))
    }
    first, second = (LinearGaussian(one).information(again) for one in (alone, waiting))
    assert second < 0.95 * first
