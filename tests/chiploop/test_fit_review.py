"""A review collects what a person looks at, names what is wrong, and is silent where nothing is.

Posteriors are exact draws of linear studies: no calibration stands between a planted flaw and its sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from chiploop import fit_review as module
from chiploop.fit_review import FitReview, fit_review, parameter_pairs
from chiploop.inference.compare import compared
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.search import search
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from tests.chiploop.inference.linear_study import (
    SCATTER,
    Scatter,
    censored,
    likelihood_of,
    linear_model,
    prior_of,
    study,
    varied,
)

MODEL = linear_model(3)
PRIOR = prior_of(3, varied(1), dose_sd=0.1)
NOT_A_NUMBER: Callable[[str], Any] = lambda text: pytest.fail(f"{text} stands in the JSON")  # noqa: E731


def made(
    seed: int = 0,
    change: Callable[[list[Readout]], list[Readout]] = lambda used: used,
    scatter: Scatter = SCATTER,
) -> tuple[Likelihood, Posterior, CalibrationInfo]:
    """Return a study with a readout changed, and draws of its posterior: normal, as it is linear."""
    rng = np.random.default_rng([61, seed])
    used = change(list(study(MODEL, rng, scatter, PRIOR).likelihood.used))
    likelihood = likelihood_of(MODEL, used, scatter)
    target = Target(likelihood, PRIOR)
    mode = search(target, np.zeros((1, target.dims))).modes[0]
    draws = rng.standard_normal((1280, target.dims))
    z = mode.z + draws @ np.linalg.cholesky(mode.covariance).T
    posterior = Posterior(
        PRIOR.names, ("1",) * 3, np.exp(z[:, :3]), z, np.exp(mode.z[:3]), target.names
    )
    return likelihood, posterior, info_of(mode.height)


def info_of(height: float) -> CalibrationInfo:
    return CalibrationInfo(
        passed=True, failures=(), warnings=(), ess=1280.0, population_gap_sd=0.05,
        log_evidence=(1.0, 1.1), starts=3, starts_at_mode=2, acceptance=0.6, temperatures=3,
        predictive_p={}, n_readouts=24, n_censored=0, simulations=1000,
        heights=(height, height - 0.01, -np.inf),
    )  # fmt: skip


def reviewed(*made_of: Any, **more: Any) -> FitReview:
    likelihood, posterior, info = made_of
    return fit_review(likelihood, PRIOR, posterior, info, np.random.default_rng(5), **more)


def plain(value: Any) -> Any:
    """Return what JSON takes, as whoever writes a review does."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def test_a_right_model_gives_a_review_that_asks_for_nothing() -> None:
    found = reviewed(*made(2))
    assert found.sentences == ()
    assert [p.verdict for p in found.profiles.of_parameters] == ["learned"] * 3
    assert len(found.residuals) == len(found.left_out.k) == 24
    assert found.predictive_p.keys() == {"TEER", "CCL26", "ldh_release"}
    assert [check.name for check in found.place_checks][0] == "all readings"
    assert len(found.trends) == 9


def test_one_simulation_of_at_most_512_particles_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    plainly = Target.predicted

    def predicted(self: Target, z: np.ndarray) -> np.ndarray:
        asked.append(len(z))
        return plainly(self, z)

    monkeypatch.setattr(Target, "predicted", predicted)
    found = reviewed(*made(), with_profiles=False)
    assert asked == [512, 1] and found.particles == 512
    assert found.profiles is None


def test_it_is_plain_values_and_the_same_again() -> None:
    found, again = (plain(asdict(reviewed(*made()))) for _ in range(2))
    text = json.dumps(found, allow_nan=False)
    assert found == again
    assert json.loads(text, parse_constant=NOT_A_NUMBER)["residuals"][0]["readout"] == "TEER"


def test_intervals_of_parameters_stand_beside_their_priors() -> None:
    likelihood, posterior, info = made()
    one = reviewed(likelihood, posterior, info, with_profiles=False).parameters[0]
    assert np.log([one.prior_lower, one.prior_upper]) == pytest.approx([-1.645, 1.645], abs=1e-3)
    assert one.prior_median == 1.0
    assert (one.lower, one.upper) == pytest.approx(posterior.interval(0.9)[0])
    assert (np.exp(one.z_lower), np.exp(one.z_upper)) == pytest.approx((one.lower, one.upper))
    assert one.shrinkage == pytest.approx(1.0 - posterior.standard[:, 0].std())


def test_pairs_of_parameters_are_those_that_hang_together() -> None:
    likelihood, posterior, info = made()
    z = posterior.standard.copy()
    z[:, 2] = -0.8 * z[:, 0] + 0.1 * z[:, 2]
    first, *rest = parameter_pairs(replace(posterior, standard=z))
    assert (first.first, first.second) == ("k0", "k2") and len(rest) == 2
    assert first.correlation == pytest.approx(np.corrcoef(z[:, 0], z[:, 2])[0, 1])
    assert first.places[0] == pytest.approx(z[0, [0, 2]], abs=0.006)
    assert first.places[-1] == pytest.approx(z[-1, [0, 2]], abs=0.006)
    still = replace(posterior, standard=np.where(np.arange(z.shape[1]) == 1, 0.0, z))
    assert all(np.isfinite(pair.correlation) for pair in parameter_pairs(still))


def later_is_higher(used: list[Readout]) -> list[Readout]:
    return [
        replace(r, value=r.value * 3.0) if r.readout == "TEER" and r.time_h > 24.0 else r
        for r in used
    ]


def test_a_planted_trend_is_named() -> None:
    found = reviewed(*made(1, later_is_higher), with_profiles=False)
    assert any("TEER against time: residuals rise" in said for said in found.sentences)


def test_readings_that_scatter_more_than_is_said_are_named() -> None:
    likelihood, posterior, info = made(2)
    used = [replace(r, sd=r.sd / 3.0) for r in likelihood.used]
    kinds = (SCATTER.chip, SCATTER.donor, SCATTER.reading)
    narrow = Scatter(*({name: sd / 3.0 for name, sd in kind.items()} for kind in kinds))
    found = reviewed(*made(2, lambda _: used, narrow), with_profiles=False)
    assert any("more than the model explains" in said for said in found.sentences)
    assert any("intervals are too narrow" in said for said in found.sentences)


def test_a_parameter_that_nothing_is_said_of_is_named() -> None:
    blind = replace(MODEL, design=np.where(np.arange(3) == 2, 0.0, MODEL.design))
    likelihood, posterior, info = made()
    likelihood = likelihood_of(blind, likelihood.used, SCATTER)
    target = Target(likelihood, PRIOR)
    mode = search(target, np.zeros((1, target.dims))).modes[0]
    rng = np.random.default_rng(3)
    z = mode.z + rng.standard_normal((1280, target.dims)) @ np.linalg.cholesky(mode.covariance).T
    posterior = replace(posterior, standard=z, particles=np.exp(z[:, :3]))
    found = reviewed(likelihood, posterior, info)
    assert any(said.startswith("k2: prior-driven") for said in found.sentences)


def test_parameters_that_nothing_is_said_of_are_named_in_one_line() -> None:
    blind = replace(MODEL, design=np.where(np.arange(3) > 0, 0.0, MODEL.design))
    likelihood, posterior, info = made()
    likelihood = likelihood_of(blind, likelihood.used, SCATTER)
    target = Target(likelihood, PRIOR)
    mode = search(target, np.zeros((1, target.dims))).modes[0]
    rng = np.random.default_rng(3)
    z = mode.z + rng.standard_normal((1280, target.dims)) @ np.linalg.cholesky(mode.covariance).T
    posterior = replace(posterior, standard=z, particles=np.exp(z[:, :3]))
    said = [one for one in reviewed(likelihood, posterior, info).sentences if "prior-driven" in one]
    assert len(said) == 1 and said[0].startswith("k1, k2: prior-driven")


def test_a_search_that_missed_the_best_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.mode_of

    def wrong(*given: Any) -> Any:
        mode = right(*given)
        return replace(mode, z=mode.z + 0.5, height=mode.height - 3.0)

    monkeypatch.setattr(module, "mode_of", wrong)
    assert "the mode was missed" in reviewed(*made()).sentences[0]


def test_censored_readings_and_heavy_tails_are_reviewed_too() -> None:
    def bounded(used: list[Readout]) -> list[Readout]:
        used[8] = censored("A", 24.0, 1, "left", upper=float(np.log(used[8].value)) + 0.1)
        return used

    found = reviewed(*made(4, bounded))
    assert [row.censored for row in found.residuals].count(True) == 1
    assert all(np.isfinite(row.residual) for row in found.residuals)
    heavy = reviewed(*made(4, scatter=replace(SCATTER, chip_tails=4.0)), with_profiles=False)
    assert all(0.0 < p < 1.0 for p in heavy.predictive_p.values())


def test_particles_that_can_not_be_simulated_are_left_out() -> None:
    likelihood, posterior, info = made()
    edge = float(np.quantile(posterior.standard[:, 0], 0.95))
    broken = replace(MODEL, fails=lambda z: z[..., 0] > edge)
    found = reviewed(likelihood_of(broken, likelihood.used, SCATTER), posterior, info)
    assert 450 < found.particles < 512
    gone = replace(MODEL, fails=lambda z: z[..., 0] > -99.0)
    with pytest.raises(ValueError, match="no particle of the posterior can be simulated"):
        reviewed(likelihood_of(gone, likelihood.used, SCATTER), posterior, info)


def test_a_posterior_of_other_parameters_is_refused() -> None:
    likelihood, posterior, info = made()
    with pytest.raises(ValueError, match="not of the same parameters and chips"):
        fit_review(likelihood, prior_of(3), posterior, info, np.random.default_rng(0))


def test_two_reviews_of_the_same_readouts_can_be_compared() -> None:
    likelihood, posterior, info = made()
    found = reviewed(likelihood, posterior, info, with_profiles=False)
    one, other = (found.candidate(name, likelihood, info) for name in ("one", "other"))
    assert compared(one, other).elpd_difference == 0.0
