"""Everything that a person looks at to judge a calibration, from one simulation of its particles and its profiles.

Belongs here: which checks are made and in which order they are read. Not here: the checks (inference), figures
(report.fit_figures), whether a calibration may propose doses (inference.diagnostics).

What is found here warns; it refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from chiploop.inference.compare import Candidate
from chiploop.inference.conditionals import conditionals, whitened
from chiploop.inference.leave_one_out import LeftOut, left_out
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import CalibrationInfo, Limits, Posterior, intervals
from chiploop.inference.predictive_checks import (
    NULL_DRAWS,
    PlaceCheck,
    null_scores,
    p_text,
    place_checks,
    places,
    predictive_p,
)
from chiploop.inference.prior import Prior
from chiploop.inference.profiles import BETTER, Profiles, profiles
from chiploop.inference.residual_table import ResidualRow, Trend, residual_rows, trends
from chiploop.inference.search import Mode, search
from chiploop.inference.target import Target

PARTICLES = 512
"""That are simulated."""
LEVEL = 0.9
"""Of the intervals of parameters; equal-tailed."""
PAIRS, PAIR_PLACES = 3, 96
"""Pairs of parameters that are kept, and particles of each."""


@dataclass(frozen=True)
class ParameterInterval:
    """A parameter before and after the readouts; medians and equal-tailed intervals of ``LEVEL``."""

    name: str
    unit: str
    prior_median: float
    prior_lower: float
    prior_upper: float
    median: float
    lower: float
    upper: float
    shrinkage: float
    """1 - posterior sd / prior sd, both as standard normals of the prior."""
    z_median: float
    z_lower: float
    z_upper: float
    """The posterior's as standard normals of the prior: 0 is the prior's median."""


@dataclass(frozen=True)
class ParameterPair:
    """Two parameters in the same particles, both as standard normals of their priors."""

    first: str
    second: str
    correlation: float
    places: np.ndarray
    """(n, 2) of some particles, to a hundredth."""


@dataclass(frozen=True)
class FitReview:
    """What a person looks at; ``dataclasses.asdict`` leaves numbers, texts and arrays."""

    heights: tuple[float, ...]
    """Log posterior at each search's end, highest first."""
    starts_at_mode: int
    parameters: tuple[ParameterInterval, ...]
    pairs: tuple[ParameterPair, ...]
    """Those that hang together most, the strongest first."""
    residuals: tuple[ResidualRow, ...]
    trends: tuple[Trend, ...]
    place_checks: tuple[PlaceCheck, ...]
    predictive_p: Mapping[str, float]
    """Readout -> posterior predictive p of its summed squared residuals."""
    left_out: LeftOut
    profiles: Profiles | None
    particles: int
    """That were simulated."""
    simulations: int
    """Trajectories computed."""
    sentences: tuple[str, ...]
    """What to look at, the gravest first; empty where nothing asks for a look."""

    def candidate(self, name: str, likelihood: Likelihood, info: CalibrationInfo) -> Candidate:
        """Return this calibration under a name, to be compared with another one of the same readouts."""
        return Candidate(name, likelihood.used, info.log_evidence, self.left_out)


def fit_review(
    likelihood: Likelihood,
    prior: Prior,
    posterior: Posterior,
    info: CalibrationInfo,
    rng: np.random.Generator,
    with_profiles: bool = True,
) -> FitReview:
    """Return what a person needs to judge a calibration.

    Parameters
    ----------
    likelihood, prior
        That the posterior was found with.
    rng
        For the places of censored readings and the studies of a right model that places are compared with.
    with_profiles
        Whether to make the profiles, which cost more than everything else together.

    Raises
    ------
    ValueError
        Where the posterior is of other parameters, or nothing of it can be simulated.
    """
    target = Target(likelihood, prior)
    if (posterior.entries or posterior.names) != target.names:
        raise ValueError(
            "the posterior and the likelihood are not of the same parameters and chips"
        )
    z, predicted = simulated(target, posterior)
    effects = z[:, target.unknowns.at_effects]
    means = likelihood.means(predicted, effects)
    mode = mode_of(target, z, likelihood.residuals(predicted, effects))
    one = conditionals(likelihood, means, effects)
    efficiency = min(1.0, info.ess / len(posterior.standard))
    loo, weights = left_out(one, efficiency)
    place = places(one, weights, rng)
    checks = place_checks(likelihood, place, null_scores(likelihood, mode, NULL_DRAWS, rng))
    at_mode = likelihood.means(
        target.predicted(mode.z[None]), mode.z[None, target.unknowns.at_effects]
    )[0]
    shrinkage = 1.0 - posterior.standard[:, : target.unknowns.p].std(axis=0)
    found = FitReview(
        heights=info.heights,
        starts_at_mode=info.starts_at_mode,
        parameters=parameter_intervals(prior, posterior, shrinkage),
        pairs=parameter_pairs(posterior),
        residuals=residual_rows(likelihood, predicted, place, loo.k),
        trends=trends(likelihood, mode, at_mode),
        place_checks=checks,
        predictive_p=predictive_p(likelihood, whitened(likelihood, means)),
        left_out=loo,
        profiles=profiles(target, mode, shrinkage.tolist()) if with_profiles else None,
        particles=len(z),
        simulations=target.simulations,
        sentences=(),
    )
    return replace(found, sentences=sentences(found))


def simulated(target: Target, posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Return up to ``PARTICLES`` particles (n, dims) evenly from all populations, and predictions (n, m) there."""
    n = len(posterior.standard)
    chosen = np.linspace(0, n - 1, min(PARTICLES, n)).round().astype(int)
    z = posterior.standard[chosen]
    predicted = target.predicted(z)
    good = np.isfinite(predicted).all(axis=1)
    if not good.any():
        raise ValueError("no particle of the posterior can be simulated")
    return z[good], predicted[good]


def mode_of(target: Target, z: np.ndarray, r: np.ndarray) -> Mode:
    """Return the mode that a search from the best of the particles z (n, dims), with residuals r, ends at."""
    best = int(np.argmax(target.log_posterior(r, z)))
    found = search(target, z[best : best + 1])
    if not found.modes:
        raise ValueError("the best particle can not be simulated with its derivatives")
    return found.modes[0]


def parameter_intervals(
    prior: Prior, posterior: Posterior, shrinkage: np.ndarray
) -> tuple[ParameterInterval, ...]:
    """Return every population parameter before and after the readouts."""
    before, after = prior.interval(LEVEL), posterior.interval(LEVEL)
    z = posterior.standard[:, : len(prior.specs)]
    z_after, z_median = intervals(z, LEVEL), np.median(z, axis=0)
    middle = prior.parameters(np.zeros((1, len(prior.specs))))[0]
    median = np.median(posterior.particles, axis=0)
    return tuple(
        ParameterInterval(
            name,
            posterior.units[j],
            float(middle[j]),
            float(before[j, 0]),
            float(before[j, 1]),
            float(median[j]),
            float(after[j, 0]),
            float(after[j, 1]),
            float(shrinkage[j]),
            float(z_median[j]),
            float(z_after[j, 0]),
            float(z_after[j, 1]),
        )
        for j, name in enumerate(posterior.names)
    )


def parameter_pairs(posterior: Posterior) -> tuple[ParameterPair, ...]:
    """Return the ``PAIRS`` pairs of population parameters that are correlated most."""
    z = posterior.standard[:, : len(posterior.names)]
    gaps = z - z.mean(axis=0)
    spread = np.sqrt((gaps**2).sum(axis=0))
    scaled = gaps / np.where(spread > 0.0, spread, 1.0)
    correlation = scaled.T @ scaled
    chosen = np.linspace(0, len(z) - 1, min(PAIR_PLACES, len(z))).round().astype(int)
    above = zip(*np.triu_indices(len(posterior.names), 1), strict=True)
    strongest = sorted(above, key=lambda pair: -abs(correlation[pair]))[:PAIRS]
    return tuple(
        ParameterPair(
            posterior.names[i],
            posterior.names[j],
            float(correlation[i, j]),
            z[np.ix_(chosen, [i, j])].round(2),
        )
        for i, j in strongest
    )


def sentences(review: FitReview) -> tuple[str, ...]:
    """Return what to look at, the gravest first."""
    said = []
    if review.profiles is not None and review.profiles.better_by > BETTER:
        said.append(
            f"A profile came upon a better fit than the search (log posterior higher by "
            f"{review.profiles.better_by:.2g}): the mode was missed; fit again with more starts."
        )
    low = Limits().predictive_p
    for name, p in review.predictive_p.items():
        if not low <= p <= 1.0 - low:
            way = "more than the model explains" if p < low else "less than the study assumes"
            said.append(f"{name} scatters {way} (posterior predictive p {p_text(p)}).")
    said += [f"{check.sentence}." for check in review.place_checks if not check.is_good]
    said += [f"{trend.sentence}." for trend in review.trends if trend.is_seen]
    if len(review.left_out.doubtful):
        said.append(f"{review.left_out.sentence}.")
    if review.profiles is not None:
        blind = [one for one in review.profiles.of_parameters if one.verdict == "prior-driven"]
        if len(blind) > 1:
            said.append(
                f"{', '.join(one.name for one in blind)}: prior-driven. From one end of their priors to the other "
                "the data rule out nothing."
            )
        said += [one.sentence for one in blind] if len(blind) == 1 else []
    return tuple(said)
