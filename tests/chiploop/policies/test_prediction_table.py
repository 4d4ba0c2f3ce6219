"""What the past says of the future: features and noise against a Gaussian conditioned by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.inference.levels import levels_of
from chiploop.inference.likelihood import Likelihood, Scatter
from chiploop.measurement import Readout
from chiploop.policies.goal_information import LinearGaussian
from chiploop.policies.prediction_table import PlannedReadout, future_features, table_features
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    INLETS,
    READOUTS,
    SCATTER,
    TIMES_H,
    linear_model,
    prior_of,
    readout,
)
from tests.chiploop.policies.tables import table_of

P = 4
MODEL = linear_model(P)
FUTURE = np.random.default_rng(3).standard_normal((len(CHIPS), 2, len(READOUTS), P)) * 0.6
"""What the next cycle's readings know of z: (chips, times, readouts, p)."""
PLANNED = (
    PlannedReadout(0, 0, 0.05),
    PlannedReadout(0, 1, 0.05),
    PlannedReadout(1, 1, 0.08),
    PlannedReadout(2, 1, 0.01),
)
LINE_CHIPS = [[0, 2], [1, 3]]
PAST = [(c, t, r) for r in (0, 1) for c in range(4) for t in range(2) if (c, t, r) != (3, 1, 0)]
"""Already read; LDH release never was, one TEER is missing."""


def past_readouts() -> list[Readout]:
    return [readout(CHIPS[c], TIMES_H[t], r, 0.2 * c - 0.1 * t, 0.1) for c, t, r in PAST]


def built(scatter: Scatter = SCATTER, past: list[Readout] | None = None, draws: int = 30):  # type: ignore[no-untyped-def]
    likelihood = Likelihood(
        MODEL,
        INLETS,
        DONORS,
        past_readouts() if past is None else past,
        scatter,  # type: ignore[arg-type]
    )
    z = np.random.default_rng(1).standard_normal((draws, P))
    nothing = np.zeros((draws, 0))
    past = likelihood.simulated(np.exp(z))
    rows, known, noise = future_features(likelihood, PLANNED, LINE_CHIPS, past, nothing)
    ahead = np.einsum("ctrp,np->nctr", FUTURE, z)
    ahead[..., :2] = np.exp(ahead[..., :2])
    features, at = [], 0
    for chips, line_rows in zip(LINE_CHIPS, rows, strict=True):
        part = table_features(MODEL, line_rows, ahead[:, None, chips], chips)  # type: ignore[arg-type]
        features.append(part - known[:, None, at : at + part.shape[2]])
        at += part.shape[2]
    return z, features, noise


def brute_force(scatter: Scatter, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features (draws, f) and noise (f, f) by conditioning one joint Gaussian on the past."""
    ahead = [(c, plan) for chips in LINE_CHIPS for plan in PLANNED for c in chips]
    kinds = [(c, r, 0.1) for c, _, r in PAST] + [(c, plan.readout, plan.sd) for c, plan in ahead]
    joint = np.zeros((len(kinds), len(kinds)))
    for i, (c, r, sd) in enumerate(kinds):
        name = READOUTS[r].name
        joint[i, i] += sd**2 + scatter.reading.get(name, 0.0) ** 2
        for j, (other, kind, _) in enumerate(kinds):
            if kind == r:
                joint[i, j] += scatter.chip.get(name, 0.0) ** 2 * (c == other)
                same = DONORS[CHIPS[c]] == DONORS[CHIPS[other]]
                joint[i, j] += scatter.donor.get(name, 0.0) ** 2 * same
    n = len(PAST)
    gain = joint[n:, :n] @ np.linalg.inv(joint[:n, :n])
    past_mean = z @ np.stack([MODEL.design[place] for place in PAST]).T
    mean = z @ np.stack([FUTURE[c, plan.time, plan.readout] for c, plan in ahead]).T
    return mean - past_mean @ gain.T, joint[n:, n:] - gain @ joint[:n, n:]


@pytest.mark.parametrize(
    "scatter",
    [
        SCATTER,
        Scatter({}, {}, {"TEER": 0.1}),
        Scatter({"TEER": 0.3, "ldh_release": 0.02}, {"CCL26": 0.4}, {}),
    ],
    ids=["all kinds", "readings only", "chips or donors"],
)
def test_features_and_noise_are_those_of_the_future_given_the_past(scatter: Scatter) -> None:
    z, features, noise = built(scatter)
    wanted, wanted_noise = brute_force(scatter, z)
    assert np.concatenate([part[:, 0] for part in features], axis=1) == pytest.approx(wanted)
    assert noise == pytest.approx(wanted_noise, abs=1e-12)
    assert np.linalg.eigvalsh(noise).min() > 0.0


def test_without_a_past_the_features_are_the_predictions_themselves() -> None:
    z, features, noise = built(past=[])
    ahead = [(c, plan) for chips in LINE_CHIPS for plan in PLANNED for c in chips]
    mean = z @ np.stack([FUTURE[c, plan.time, plan.readout] for c, plan in ahead]).T
    assert np.concatenate([part[:, 0] for part in features], axis=1) == pytest.approx(mean)
    assert noise[0, 0] == pytest.approx(0.05**2 + SCATTER.variance("TEER"))


def test_a_chip_whose_deviation_is_known_teaches_with_less_noise() -> None:
    """Read before, a chip's own deviation is known in part, so the same future says more of the dose."""
    _, _, fresh = built(past=[])
    _, _, known = built()
    assert np.all(np.diag(known) <= np.diag(fresh) + 1e-12)
    assert np.diag(known)[0] < 0.5 * np.diag(fresh)[0]


def test_what_the_past_has_taught_is_not_taught_again() -> None:
    """The posterior after a reading gives less for the same reading than the prior did."""
    design = np.array([[[1.0, 0.5]]])
    noise = np.array([[0.2]])
    rng = np.random.default_rng(0)
    z = rng.standard_normal((40_000, 2))
    spread = np.linalg.inv(np.eye(2) + design[0].T @ design[0] / noise[0, 0])
    after = z @ np.linalg.cholesky(spread).T
    gains = [
        LinearGaussian(table_of([np.einsum("np,cfp->ncf", x, design)], x[:, 0], noise)).information(
            {0: 0}
        )
        for x in (z, after)
    ]
    assert gains[1] < 0.6 * gains[0]


def test_the_assay_sd_planned_is_the_assay_sd_in_the_noise() -> None:
    likelihood = Likelihood(MODEL, INLETS, DONORS, [], SCATTER)  # type: ignore[arg-type]
    one = np.zeros((1, 0))
    by_sd = [
        future_features(likelihood, (PlannedReadout(0, 0, sd),), [[0]], one, one)[2]
        for sd in (0.0, 0.3)
    ]
    assert (by_sd[1] - by_sd[0]).item() == pytest.approx(0.09)


def test_effects_that_were_sampled_are_known_in_each_draw() -> None:
    """A censored reading's causes stand in the draws: they move the future and are no noise there."""
    past = past_readouts()
    past[0] = replace(past[0], value=float("nan"), censoring="left", upper=2.0)
    likelihood = Likelihood(MODEL, INLETS, DONORS, past, SCATTER)  # type: ignore[arg-type]
    assert [effect.name for effect in likelihood.effects] == ["TEER of chip A", "TEER of donor d1"]
    rng = np.random.default_rng(2)
    z, effects = rng.standard_normal((20, P)), rng.standard_normal((20, 2))
    predicted = likelihood.simulated(np.exp(z))
    rows, known, noise = future_features(likelihood, PLANNED, LINE_CHIPS, predicted, effects)
    flat = [(chip, plan.readout) for line in rows for chip, plan in line]
    gaps = likelihood.rows.value - likelihood.means(predicted, effects)
    for r in range(2):
        at = [i for i, (_, readout) in enumerate(flat) if readout == r]
        levels = levels_of(likelihood, r, [flat[i][0] for i in at])
        # what the past readings say themselves is the same in every draw, and left out
        expected = levels.expected(gaps, effects) + known[:, at]
        assert expected == pytest.approx(np.repeat(expected[:1], 20, axis=0))
    chip_a = flat.index((0, 0))
    plain = future_features(
        Likelihood(MODEL, INLETS, DONORS, past[1:], SCATTER),  # type: ignore[arg-type]
        PLANNED, LINE_CHIPS, predicted[:, 1:], np.zeros((20, 0)),
    )[2]  # fmt: skip
    assert noise[chip_a, chip_a] == pytest.approx(0.05**2 + 0.1**2), "chip and donor are known"
    assert plain[chip_a, chip_a] > 2 * noise[chip_a, chip_a]
    # A's effects, less what a reading of A or B said of them before, come on top of the prediction
    up = known[:, chip_a] - future_features(
        likelihood, PLANNED, LINE_CHIPS, predicted, effects + np.array([1.0, 0.0])
    )[1][:, chip_a]  # fmt: skip
    assert up == pytest.approx(np.full(20, 0.3))


def test_predictions_are_taken_to_the_residuals_scale() -> None:
    parameters = prior_of(P).draw(3, np.random.default_rng(0))
    ahead = MODEL.simulate(parameters, INLETS, np.array(TIMES_H)).readouts[:, None]
    rows = [(2, PLANNED[0]), (0, PLANNED[2]), (0, PLANNED[3])]
    found = table_features(MODEL, rows, ahead, range(4))  # type: ignore[arg-type]
    assert found[:, 0, 0] == pytest.approx(np.log(ahead[:, 0, 2, 0, 0]))
    assert found[:, 0, 1] == pytest.approx(np.log(ahead[:, 0, 0, 1, 1]))
    assert found[:, 0, 2] == pytest.approx(ahead[:, 0, 0, 1, 2])
