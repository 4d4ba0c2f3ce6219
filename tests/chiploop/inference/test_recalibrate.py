"""A calibration's ways to the same posterior, its state and info, and what it does where a limit is broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, norm

from chiploop.errors import FitNotAccepted
from chiploop.inference import recalibrate as module
from chiploop.inference.posterior import Limits, Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import Effort, attempt, recalibrate, starts_of
from chiploop.inference.target import Target
from chiploop.inference.tempering import NothingSimulated
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of as likelihood_of_study
from chiploop.study import load_study
from tests.chiploop.campaigns import pilot, readings
from tests.chiploop.inference.comparison import LOOSE, QUICK, Comparison, on_grid, outcome
from tests.chiploop.inference.linear_study import (
    CHIPS,
    SCATTER,
    LinearModel,
    Shape,
    censored,
    dosed_model,
    likelihood_of,
    linear_model,
    prior_of,
    read,
    readout,
    rows,
    study,
    varied,
)

P = 5
MODEL, PRIOR = linear_model(P), prior_of(P)
STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")


# --- the same posterior on other ways


def test_tempering_from_the_prior_gives_the_posterior_of_the_bridge() -> None:
    runs = []
    few = Effort(particles=150, prior_moves=4, final_moves=4, most_final=4)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        ours = study(MODEL, rng)
        posterior, info = attempt(
            ours.target, rng, None, few, replace(LOOSE, evidence_gap=1.5), True
        )
        assert info.method == "tempered from the prior"
        runs.append((outcome((posterior, info)), ours.exact))
    found = Comparison.of(runs)
    assert found.means_are_near and found.variances_agree
    assert abs(found.evidence_errors.mean()) < 0.15
    assert not replace(found, mean_errors=found.mean_errors + 0.2).means_are_near


def warm_and_cold(previous: Posterior, seeds: range, target: Target) -> np.ndarray:
    """Return gaps (runs, dims) of the means in posterior sd, over what two claimed ESS allow."""
    gaps = []
    for seed in seeds:
        cold, warm = (
            recalibrate(
                target.likelihood, target.prior, np.random.default_rng(s), start, QUICK, LOOSE
            )
            for s, start in ((seed, None), (seed + 500, previous))
        )
        assert cold[1].passed and warm[1].passed
        assert (cold[1].starts, warm[1].starts) == (8, 4)
        sd = np.concatenate([cold[0].standard, warm[0].standard]).std(axis=0)
        allowed = np.sqrt(1 / cold[1].ess + 1 / warm[1].ess)
        gaps.append((cold[0].standard.mean(axis=0) - warm[0].standard.mean(axis=0)) / sd / allowed)
    return np.array(gaps)


def more_chips() -> Target:
    """Return a study of both donors, with a censored reading and its effects."""
    used = list(study(MODEL, np.random.default_rng(0)).likelihood.used)
    used[2] = censored("B", 24.0, 0, "left", upper=0.5)
    prior = prior_of(P, varied(1), dose_sd=0.1)
    return Target(likelihood_of(dosed_model(P), used, SCATTER), prior)


@pytest.mark.parametrize("shift", [0.0, 3.0], ids=["as it was", "far off"])
def test_a_warm_start_finds_what_a_cold_start_finds(shift: float) -> None:
    target = study(MODEL, np.random.default_rng(0)).target
    before, _ = recalibrate(
        target.likelihood, PRIOR, np.random.default_rng(1), effort=QUICK, limits=LOOSE
    )
    gaps = warm_and_cold(replace(before, standard=before.standard + shift), range(3), target)
    assert (gaps**2).sum() < chi2.isf(0.001, gaps.size)


def test_a_warm_start_may_know_less_than_is_asked_now() -> None:
    target = more_chips()
    known = study(MODEL, np.random.default_rng(0)).likelihood  # without donors, doses, effects
    before, _ = recalibrate(known, PRIOR, np.random.default_rng(1), effort=QUICK, limits=LOOSE)
    assert set(before.entries) < set(target.names)
    gaps = warm_and_cold(before, range(3), target)
    assert (gaps**2).sum() < chi2.isf(0.001, gaps.size)


def test_a_warm_start_begins_at_the_last_particles_and_elsewhere() -> None:
    target = more_chips()
    before, _ = recalibrate(
        target.likelihood, target.prior, np.random.default_rng(1), effort=QUICK, limits=LOOSE
    )
    effort = Effort(warm_starts=6)
    found = starts_of(target, np.random.default_rng(2), before, effort)
    assert found.shape == (6, target.dims)
    is_particle = [any(np.array_equal(one, p) for p in before.standard) for one in found]
    assert is_particle == [True] * 3 + [False] * 3
    fewer = replace(before, entries=("of another study", *before.entries[1:]))
    found = starts_of(target, np.random.default_rng(2), fewer, effort)
    assert not any(np.array_equal(one, p) for one in found for p in before.standard)
    assert any(np.array_equal(found[0, 1:], p[1:]) for p in before.standard)
    cold = starts_of(target, np.random.default_rng(2), None, effort)
    assert cold.shape == (effort.starts, target.dims)


# --- state and info


def test_the_same_seed_gives_the_same_particles() -> None:
    likelihood = study(MODEL, np.random.default_rng(0)).likelihood
    first, again = (
        recalibrate(likelihood, PRIOR, np.random.default_rng(8), effort=QUICK, limits=LOOSE)
        for _ in range(2)
    )
    assert np.array_equal(first[0].standard, again[0].standard)
    assert np.array_equal(first[0].particles, again[0].particles)
    assert first[1] == again[1]
    other, _ = recalibrate(likelihood, PRIOR, np.random.default_rng(9), effort=QUICK, limits=LOOSE)
    assert not np.array_equal(first[0].particles, other.particles)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tissue model itself: donors, doses, whole exposures of every chip."""
    cycle = readings(STUDY)
    cut = [
        replace(r, value=np.nan, censoring="left", upper=r.value) if i == 40 else r
        for i, r in enumerate(cycle)
    ]
    likelihood = likelihood_of_study(STUDY, pilot(STUDY).schedules, cut)
    prior = Prior.of_study(model_of(STUDY), STUDY)
    few = Effort(starts=2, particles=48, moves=1, final_moves=2, most_final=2, rounds=1)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("CHIPLOOP_THREADS", threads)
        target = Target(likelihood, prior)
        found.append(attempt(target, np.random.default_rng(3), None, few, Limits(), False))
    (one, info), (other, same) = found
    assert np.array_equal(one.standard, other.standard)
    for part in ("particles", "mode", "of_donors", "drug_factors"):
        assert np.array_equal(getattr(one, part), getattr(other, part)), part
    assert info == same
    assert one.of_donors.shape == (96, len(one.donors), len(one.names))


def test_what_the_surrogates_particles_have_in_common_counts_to_the_end() -> None:
    still = replace(
        QUICK, moves=0, final_moves=0, most_final=0, surrogate_moves=0, surrogate_final=0
    )
    target = study(MODEL, np.random.default_rng(0)).target
    posterior, info = attempt(target, np.random.default_rng(1), None, still, Limits(), False)
    assert info.ess < len(np.unique(posterior.standard, axis=0)) < len(posterior.standard)


def test_particles_stand_in_both_scales_and_in_the_priors_order() -> None:
    likelihood = study(MODEL, np.random.default_rng(0)).likelihood
    posterior, info = recalibrate(
        likelihood, PRIOR, np.random.default_rng(1), effort=QUICK, limits=LOOSE
    )
    assert posterior.names == posterior.entries == PRIOR.names
    assert posterior.particles == pytest.approx(np.exp(posterior.standard))
    assert posterior.particles.shape == (2 * QUICK.particles, P)
    assert (posterior.donors, posterior.of_donors.size) == (("d1", "d2"), 0)
    assert (posterior.lines, posterior.drug_factors.size) == ((), 0)
    assert (info.n_readouts, info.n_censored) == (24, 0)
    assert info.simulations >= 2 * QUICK.final_moves * QUICK.particles * len(CHIPS)
    assert len(info.heights) == info.starts == 8
    assert info.modes == (1.0,)
    low, high = posterior.interval(0.5).T
    inside = (posterior.particles > low) & (posterior.particles < high)
    assert inside.mean() == pytest.approx(0.5, abs=0.01)


def test_donors_and_drug_factors_follow_from_the_entries() -> None:
    target = more_chips()
    posterior, info = recalibrate(
        target.likelihood, target.prior, np.random.default_rng(1), effort=QUICK, limits=LOOSE
    )
    assert posterior.entries == target.names
    own = posterior.column("k1") + 0.5 * posterior.column("k1 of d2")
    assert posterior.of_donors[:, 1, 1] == pytest.approx(np.exp(own))
    assert np.array_equal(posterior.of_donors[:, 0, 0], posterior.particles[:, 0])
    assert posterior.lines == ("L1", "L2")
    factor = np.exp(0.1 * posterior.column("dose of L2"))
    assert posterior.drug_factors[:, 1] == pytest.approx(factor)
    chosen = np.array([3, 5])
    chips = posterior.chip_parameters(["d2", "d1", "d2"], chosen)
    assert np.array_equal(chips, posterior.of_donors[chosen][:, [1, 0, 1]])
    lines = posterior.chip_drug_factors(["L2", "L1"], chosen)
    assert lines is not None and np.array_equal(lines, posterior.drug_factors[chosen][:, [1, 0]])
    with pytest.raises(KeyError, match="d9"):
        posterior.chip_parameters(["d9"], chosen)
    assert set(info.donor_shrinkage) == {"d1", "d2"}
    assert set(info.donor_shrinkage["d1"]) == {"k1"}
    mode = target.prior.standard(posterior.mode[None])[0]
    heights = target.log_density(posterior.standard)
    assert info.heights[0] > heights.max() - 1.0
    assert np.abs(mode - posterior.standard[:, :P].mean(axis=0)).max() < 1.0


def test_without_readouts_the_posterior_is_the_prior() -> None:
    nothing = likelihood_of(dosed_model(3), [])
    prior = prior_of(3, varied(0, ln_sd=0.4), dose_sd=0.1)
    posterior, info = recalibrate(
        nothing, prior, np.random.default_rng(0), effort=QUICK, limits=LOOSE
    )
    assert info.passed
    assert np.abs(posterior.standard.mean(axis=0)).max() < 4.0 / np.sqrt(info.ess)
    assert posterior.standard.std(axis=0) == pytest.approx(1.0, abs=0.15)
    assert np.abs(info.log_evidence).max() < 0.2
    assert max(abs(s) for s in info.shrinkage.values()) < 0.15


def test_a_donor_without_readouts_is_a_draw_from_the_population() -> None:
    """d2's chips were never read: its parameter scatters around the population as donors do."""
    prior = prior_of(2, varied(0, sd=0.5))
    data = [read(place, 0.4) for place in rows() if CHIPS[place[0]] in ("A", "B")]
    likelihood = likelihood_of(linear_model(2), data, SCATTER)
    found, read_shrinkage = [], []
    for seed in range(6):
        posterior, info = recalibrate(
            likelihood, prior, np.random.default_rng(seed), effort=QUICK, limits=LOOSE
        )
        assert info.passed
        assert abs(info.donor_shrinkage["d2"]["k0"]) < 0.15
        read_shrinkage.append(info.donor_shrinkage["d1"]["k0"])
        gap = np.log(posterior.of_donors[:, 1, 0] / posterior.particles[:, 0]) / 0.5
        found.append((gap.mean() * np.sqrt(info.ess), (gap**2).mean()))
    means, squares = np.array(found).T
    assert np.mean(read_shrinkage) > 0.05
    assert chi2.cdf((means**2).sum(), 6) < 0.999
    assert squares.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / (6 * 350)))


def test_a_censored_readout_pulls_as_far_as_it_says() -> None:
    model, prior = LinearModel(np.ones((4, 2, 3, 1))), prior_of(1)
    below = censored("A", 24.0, 0, "left", upper=-1.0, sd=0.05)
    target = Target(likelihood_of(model, [below]), prior)
    posterior, info = recalibrate(target.likelihood, prior, np.random.default_rng(3))
    exact = on_grid(target, [np.linspace(-8, 8, 20001)])
    assert (exact.mean[0], info.n_censored) == (pytest.approx(-1.525, abs=0.02), 1)
    assert abs(posterior.standard.mean() - exact.mean[0]) < 4.0 * exact.sd[0] / np.sqrt(info.ess)
    assert posterior.standard.std() == pytest.approx(exact.sd[0], rel=0.1)


def test_parameters_that_can_not_be_simulated_get_no_particles() -> None:
    ok = study(MODEL, np.random.default_rng(0))
    wall = ok.exact.mean[0] + 0.3 * ok.exact.sd[0]
    model = replace(MODEL, fails=lambda z: z[..., 0] > wall)
    likelihood = likelihood_of(model, ok.likelihood.used, SCATTER)
    posterior, info = recalibrate(
        likelihood, PRIOR, np.random.default_rng(1), effort=QUICK, limits=LOOSE
    )
    assert posterior.standard[:, 0].max() <= wall
    # what is left of the posterior, cut off 0.3 sd above its mean
    share = norm.cdf(0.3)
    assert np.abs(np.array(info.log_evidence) - ok.exact.log_evidence - np.log(share)).max() < 0.25
    wanted = ok.exact.mean[0] - ok.exact.sd[0] * norm.pdf(0.3) / share
    assert abs(posterior.standard[:, 0].mean() - wanted) < 5 * ok.exact.sd[0] / np.sqrt(info.ess)


# --- tries that fail


def test_a_broken_limit_leads_to_a_harder_try_and_at_last_to_the_prior() -> None:
    likelihood = study(MODEL, np.random.default_rng(0)).likelihood
    poor = Effort(starts=2, particles=20, moves=1, final_moves=1, most_final=1, prior_moves=1)
    posterior, info = recalibrate(
        likelihood, PRIOR, np.random.default_rng(1), effort=poor, limits=Limits(ess=1e6)
    )
    assert not info.passed
    assert "effective particles, at least 1000000 needed" in info.failures[0]
    assert info.method == "tempered from the prior"
    assert info.starts == 4, "twice as many"
    assert posterior.standard.shape == (2 * 2 * 40, P), "twice as many, and twice from the prior"


def test_a_second_try_that_passes_is_the_last() -> None:
    likelihood = study(MODEL, np.random.default_rng(0)).likelihood
    poor = Effort(particles=120)
    _, info = recalibrate(
        likelihood,
        PRIOR,
        np.random.default_rng(1),
        effort=poor,
        limits=Limits(ess=300, population_gap_sd=0.4),
    )
    assert info.passed
    assert (info.starts, info.method) == (16, "bridge from the mode")


def test_searches_that_end_in_different_places_are_a_failure_of_the_bridge() -> None:
    waves = 40.0 + 17.0 * np.arange(len(CHIPS))
    design = np.broadcast_to(waves[:, None, None, None], (len(CHIPS), 2, 3, 1))
    rugged = LinearModel(design, Shape(np.sin, np.cos))
    data = [
        readout(c, 24.0, 0, float(np.sin(1.9 * w)), 0.05) for c, w in zip(CHIPS, waves, strict=True)
    ]
    target = Target(likelihood_of(rugged, data), prior_of(1))
    few = Effort(starts=3, particles=100)
    _, info = attempt(target, np.random.default_rng(0), None, few, Limits(), False)
    assert not info.passed
    assert any("searches ended at the mode, at least 2 needed" in text for text in info.failures)


def test_a_model_that_breaks_down_everywhere_is_told_and_teaches_nothing() -> None:
    broken = replace(MODEL, fails=lambda z: np.ones(z.shape[:-1], dtype=bool))
    likelihood = likelihood_of(broken, study(MODEL, np.random.default_rng(0)).likelihood.used)
    with pytest.raises(FitNotAccepted, match="none of 8 starts of the search can be simulated"):
        recalibrate(likelihood, PRIOR, np.random.default_rng(0))


def refused_tries(monkeypatch: pytest.MonkeyPatch, count: int) -> list[bool]:
    """Let the first tries find no particle that can be simulated; return from what each try began."""
    begun: list[bool] = []
    real = module.attempt

    def tried(*given: Any) -> Any:
        begun.append(given[-1])
        if len(begun) <= count:
            raise NothingSimulated("no particle of the start can be simulated")
        return real(*given)

    monkeypatch.setattr(module, "attempt", tried)
    return begun


def test_a_try_in_which_nothing_can_be_simulated_leads_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = study(MODEL, np.random.default_rng(0)).likelihood
    begun = refused_tries(monkeypatch, 1)
    _, info = recalibrate(used, PRIOR, np.random.default_rng(1), None, QUICK, LOOSE)
    assert begun == [False, False] and info.passed


def test_where_no_try_can_be_simulated_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    used = study(MODEL, np.random.default_rng(0)).likelihood
    begun = refused_tries(monkeypatch, 3)
    with pytest.raises(FitNotAccepted, match="in none of 3 tries"):
        recalibrate(used, PRIOR, np.random.default_rng(1), None, QUICK, LOOSE)
    assert begun == [False, False, True]
