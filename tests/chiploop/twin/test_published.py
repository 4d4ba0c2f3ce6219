"""The published disease model, against its reference output and its table of 1,000 virtual patients."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from chiploop.twin.outcomes import arm_outcome, outcome_of
from chiploop.twin.patient_model import STATES, before_treatment, disease_model, simulate
from chiploop.twin.population import published_population
from chiploop.twin.published import PUBLISHED_ARMS

# arm -> mean improvement (sd), EASI-75: 1,000 virtual patients of the published program, week 16
TABLE = {
    "placebo": (50.5, 27.4, 24.4),
    "dupilumab": (75.8, 18.0, 65.3),
    "lebrikizumab": (75.5, 18.1, 64.6),
    "tralokinumab": (61.2, 23.8, 37.2),
    "secukinumab": (50.9, 27.3, 24.8),
    "tezepelumab": (54.4, 26.2, 28.3),
    "nemolizumab": (57.1, 26.0, 31.8),
    "gbr830": (58.1, 25.1, 33.5),
    "fezakinumab": (59.8, 24.8, 36.3),
    "rIFNg": (62.5, 23.2, 38.7),
}
# baseline of the same patients: mean, CV %
BASELINE = {
    "s": (0.36, 87), "p": (0.20, 40), "I4": (38, 55), "I13": (40, 59), "I17": (5.6, 101), "I22": (3.0, 116),
    "I31": (1.7, 69), "Ig": (1.6, 81), "Ts": (4.2, 70), "Ox": (9.1, 71),
}  # fmt: skip


def test_there_are_51_distributions_and_the_text_holds_their_medians() -> None:
    population = published_population()
    assert len(population.names) == 51
    defaults = [disease_model().defaults[name] for name in population.names]
    np.testing.assert_allclose(defaults, np.exp(population.mean), rtol=1e-5)


def test_reference_output_of_the_median_patient_is_met(shared_data: Path) -> None:
    lines = [
        line
        for line in (shared_data / "miyano_reference_output.csv").read_text().splitlines()
        if not line.startswith("#")
    ]
    rows = list(csv.DictReader(lines))
    weeks = np.array([float(name.removeprefix("wk")) for name in list(rows[0])[1:]])
    median = np.exp(published_population().mean)[None]
    arms = [PUBLISHED_ARMS[row["arm"]] for row in rows]
    expected = np.array([[float(v) for v in list(row.values())[1:]] for row in rows])
    found = simulate(median, arms, weeks, rtol=1e-7)
    assert found.baseline_easi[0] == pytest.approx(19.87642275, abs=1e-5)
    np.testing.assert_allclose(found.improvement_pct[0], expected, atol=1e-3)
    quick = simulate(median, arms, weeks)
    np.testing.assert_allclose(quick.improvement_pct[0], expected, atol=1e-3)


def test_virtual_population_is_that_of_the_published_program_within_monte_carlo_error() -> None:
    n, n_theirs = 4000, 1000
    patients = published_population().draw(n, np.random.default_rng(20))
    found = simulate(patients, [PUBLISHED_ARMS[arm] for arm in TABLE], np.array([16.0]))
    spread = np.sqrt(1 / n + 1 / n_theirs)
    for a, (arm, (mean, sd, easi75)) in enumerate(TABLE.items()):
        outcome = outcome_of(found, a, 0, as_published=True)
        share = easi75 / 100
        slack = 3.3 * 100 * np.sqrt(share * (1 - share)) * spread
        assert abs(outcome.responders_pct[75] - easi75) < slack, arm
        assert abs(outcome.mean_improvement_pct - mean) < 3.3 * sd * spread, arm
    assert abs(found.baseline_easi.mean() - 30.3) < 3.3 * 0.45 * 30.3 * spread
    for state, (mean, cv) in BASELINE.items():
        slack = 3.3 * 0.01 * cv * mean * spread + 0.5 * 10 ** (0 if mean >= 10 else -1)
        assert abs(found.baseline[:, STATES.index(state)].mean() - mean) < slack, state


def test_published_quirk_drops_the_worst_patients_and_still_divides_by_all() -> None:
    improvement = np.array([80.0, 80.0, 20.0, 80.0])
    easi = np.array([[30.0, 6.0], [73.0, 14.6], [30.0, 24.0], [30.0, 6.0]])
    published = arm_outcome(improvement, easi, as_published=True)
    assert (published.dropped, published.responders_pct[75]) == (1, 50.0)
    assert published.mean_improvement_pct == pytest.approx(60.0)
    mended = arm_outcome(improvement, easi)
    assert (mended.dropped, mended.responders_pct[75]) == (0, 75.0)


def test_a_patient_without_a_course_is_an_error_and_no_non_responder() -> None:
    with pytest.raises(ValueError, match="1 of 2 virtual patients"):
        arm_outcome(np.array([np.nan, 50.0]), np.ones((2, 2)))


def test_patients_begin_at_a_steady_state() -> None:
    patients = published_population().draw(200, np.random.default_rng(3))
    started, easi = before_treatment(patients)
    # without care (k3 at next to nothing) nothing moves any more
    untreated = patients.copy()
    untreated[:, published_population().place["k3"]] = 1e-12
    later = simulate(
        untreated, [PUBLISHED_ARMS["placebo"]], np.array([16.0]), started=(started, easi)
    )
    drift = np.abs(later.easi[:, 0, 0] - easi)
    assert np.quantile(drift, 0.99) < 0.05
