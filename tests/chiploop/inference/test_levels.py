"""What the past says of a chip's level, against one joint Gaussian that is conditioned by brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chiploop.inference.levels import levels_of
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.scatter import Scatter
from tests.chiploop.inference.linear_study import (
    CHIPS,
    DONORS,
    NO_SCATTER,
    SCATTER,
    TIMES_H,
    Place,
    censored,
    curve_of,
    likelihood_of,
    linear_model,
    read,
)

MODEL = linear_model()
PAST: list[Place] = [(0, 0, 1), (0, 1, 1), (1, 0, 1), (2, 0, 1), (2, 1, 1)]
"""CCL26 of A twice, of B once, of C twice; D was never read."""
BOTH = Scatter({"CCL26": 0.2}, {"CCL26": 0.4}, {"CCL26": 0.1})
OTHER = {
    "both": BOTH,
    "chips": Scatter({"CCL26": 0.3}, {}, {"CCL26": 0.1}),
    "donors": Scatter({}, {"CCL26": 0.3}, {}),
}


def built(scatter: Scatter, cut: tuple[int, ...], curves: bool) -> Likelihood:
    data = []
    for i, place in enumerate(PAST):
        one = read(place, 0.1 * i, curves)
        if i in cut:
            bound = censored(CHIPS[place[0]], TIMES_H[place[1]], 1, "left", upper=0.2)
            one = replace(bound, curve=one.curve, plate=one.plate)
        data.append(one)
    return likelihood_of(MODEL, data, scatter)


def brute_force(
    likelihood: Likelihood, scatter: Scatter, cut: tuple[int, ...], curves: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return gain (chips, exact + effects) and covariance (chips, chips) of levels given exact gaps and
    effects."""
    # independent causes: chips, donors, curves (two per plate); own errors of the readings
    chip_sd, donor_sd = scatter.chip.get("CCL26", 0.0), scatter.donor.get("CCL26", 0.0)
    donor = [0, 0, 1, 1]
    levels = np.zeros((4, 4 + 2 + 4))
    for c in range(4):
        levels[c, c], levels[c, 4 + donor[c]] = chip_sd, donor_sd
    kept = [i for i in range(len(PAST)) if i not in cut]
    past = np.zeros((len(kept), 10))
    own = np.full(len(kept), 0.1**2 + scatter.reading.get("CCL26", 0.0) ** 2)
    for row, i in enumerate(kept):
        c, t, _ = PAST[i]
        past[row] = levels[c]
        if curves:
            past[row, 6 + 2 * t : 8 + 2 * t] = curve_of(PAST[i])
            own[row] -= float(np.dot(curve_of(PAST[i]), curve_of(PAST[i])))
    place = {f"CCL26 of chip {c}": k for k, c in enumerate(CHIPS)}
    place |= {f"CCL26 of donor d{k + 1}": 4 + k for k in range(2)}
    place |= {f"CCL26 curve {k + 1} of p{t}": 6 + 2 * t + k for t in range(2) for k in range(2)}
    effects = np.zeros((len(likelihood.effects), 10))
    for k, effect in enumerate(likelihood.effects):
        effects[k, place[effect.name]] = 1.0
    seen = np.concatenate([past, effects])
    noise = np.diag([*own, *[0.0] * len(effects)])
    gain = levels @ seen.T @ np.linalg.inv(seen @ seen.T + noise)
    return gain, levels @ levels.T - gain @ seen @ levels.T


@pytest.mark.parametrize("curves", [False, True], ids=["", "curves"])
@pytest.mark.parametrize("cut", [(), (0,), (0, 1), (2,), (3,)], ids=str)
@pytest.mark.parametrize("scatter", OTHER)
def test_levels_are_those_of_a_joint_gaussian_given_past_gaps_and_sampled_effects(
    scatter: str, cut: tuple[int, ...], curves: bool
) -> None:
    likelihood = built(OTHER[scatter], cut, curves)
    levels = levels_of(likelihood, 1, range(4))
    gain, wanted = brute_force(likelihood, OTHER[scatter], cut, curves)
    assert levels.learned() == pytest.approx(wanted, abs=1e-12)
    rng = np.random.default_rng(0)
    effects = rng.standard_normal((6, len(likelihood.effects)))
    gaps = rng.standard_normal((6, len(PAST)))
    gaps[:, list(cut)] = np.nan  # a censored reading has none
    # what the effects say stands in the means already
    left = gaps.copy()
    for k, effect in enumerate(likelihood.effects):
        left[:, effect.rows] -= effects[:, k, None] * effect.loadings
    kept = [i for i in range(len(PAST)) if i not in cut]
    found = levels.expected(left, effects)
    assert found == pytest.approx(np.concatenate([gaps[:, kept], effects], axis=1) @ gain.T)


def test_a_chip_never_read_is_known_by_its_donor_alone() -> None:
    levels = levels_of(built(BOTH, (), False), 1, [3, 0])
    sd = np.sqrt(np.diag(levels.learned()))
    assert np.hypot(0.2, 0.4) > sd[0] > sd[1]
    gaps = np.zeros((1, len(PAST)))
    gaps[0, 3:] = 1.0  # C and D are of one donor
    d, a = levels.expected(gaps, np.zeros((1, 0)))[0]
    assert 0.5 < d < 1.0
    assert a == 0.0


def test_the_same_chip_may_be_asked_for_twice() -> None:
    levels = levels_of(built(BOTH, (), False), 1, [0, 0])
    learned = levels.learned()
    assert learned == pytest.approx(np.full((2, 2), learned[0, 0]))


def test_a_readout_never_read_keeps_its_spread() -> None:
    levels = levels_of(built(SCATTER, (), False), 0, range(4))
    chips = 0.3**2 * np.eye(4)
    donors = [DONORS[chip] for chip in CHIPS]
    same = np.array([[one == other for other in donors] for one in donors])
    assert levels.learned() == pytest.approx(chips + 0.2**2 * same)
    assert not levels.expected(np.ones((2, len(PAST))), np.zeros((2, 0))).any()


def test_without_scatter_every_chip_stands_at_the_mean() -> None:
    levels = levels_of(built(NO_SCATTER, (), True), 1, range(4))
    assert not levels.learned().any()
    assert not levels.expected(np.ones((2, len(PAST))), np.zeros((2, 0))).any()
