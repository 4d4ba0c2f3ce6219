"""Readouts and a prior to a posterior: search, then a bridge from the modes to the posterior.

Belongs here: the order of steps, and what is tried where diagnostics fail. Not here: the steps (search, tempering,
diagnostics), the likelihood.

(1) Trust-region least squares from several starts. (2) Polynomials of the readouts are learned around the mode,
and where they say that the posterior is. (3) Two independent populations begin in a multivariate t around the
mode, are tempered to the posterior of the polynomials, which costs no simulation, and from there to the
model's own: two, because one can not tell that it is wrong. Where there are several modes both begin around
all of them, and every step is simulated. What breaks a limit is tried again with more effort, and then
tempered from the prior. The last posterior moves the starts of the search, nothing else: the result is that of
a cold start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from chiploop.errors import FitNotAccepted
from chiploop.fault_points import passed
from chiploop.inference.bridge import Bridge, Points, SurrogateBridge, fitted
from chiploop.inference.diagnostics import diagnose
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.misfit_of_fit import misfit_of
from chiploop.inference.posterior import (
    FROM_MODE,
    FROM_PRIOR,
    CalibrationInfo,
    Limits,
    Misfit,
    Posterior,
)
from chiploop.inference.prior import Prior
from chiploop.inference.search import Mode, Search, search
from chiploop.inference.starts import ModeStart, PriorStart, SurrogateStart
from chiploop.inference.surrogate import Surrogate
from chiploop.inference.target import Target
from chiploop.inference.tempering import NothingSimulated, Pace, Population, temper, tempered
from chiploop.models.batch import thread_count
from chiploop.models.tissue_model import TissueModel


@dataclass(frozen=True)
class Effort:
    """How hard to look."""

    starts: int = 8
    warm_starts: int = 4
    """Where the last posterior is known."""
    particles: int = 560
    """Per population."""
    moves: int = 1
    """After each tempering step but the last."""
    final_moves: int = 6
    """After the last, at least."""
    most_final: int = 14
    """After the last, at most; they end where particles are no longer like what they were resampled from."""
    leaps: int = 10
    """Of an orbit; they cost little beside the simulation at its end.

    Some 1.5 times a quarter of a normal's period: with a quarter the slow tails of the benchmark posterior came
    out 4 to 5 % narrower.
    """
    keep: float = 0.5
    """Effective share of the particles that one tempering step must keep."""
    surrogate_moves: int = 3
    """After each tempering step to the surrogate."""
    surrogate_final: int = 8
    """After the last, at least; at most three times as many."""
    rounds: int = 3
    """At most, in which the surrogate is learned."""
    even: float = 0.15
    """Effective share of the surrogate's particles at which it is good enough."""
    prior_moves: int = 6
    """After each tempering step from the prior."""

    def pace(self) -> Pace:
        """Return how particles are moved."""
        return Pace(
            self.particles,
            self.moves,
            self.final_moves,
            self.most_final,
            self.leaps,
            keep=self.keep,
            # the surrogate's error refuses orbits of any size: short ones would only not get far
            acceptance=0.4,
        )

    def in_dimensions(self, dims: int) -> Effort:
        """Return the effort for so many entries: particles are moved more often the more there are."""
        return replace(
            self,
            most_final=self.most_final + 4 * (dims // 40),
            surrogate_moves=self.surrogate_moves + dims // 30,
            surrogate_final=self.surrogate_final + dims // 15,
        )

    def surrogate_pace(self) -> Pace:
        """Return how particles are moved where nothing is simulated."""
        return Pace(
            self.particles,
            self.surrogate_moves,
            self.surrogate_final,
            3 * self.surrogate_final,
            self.leaps,
            keep=self.keep,
            acceptance=0.8,
            memory=0.03,
        )

    def learning_pace(self) -> Pace:
        """Return how particles are moved that only show where the surrogate must be good."""
        return Pace(self.particles, 1, 2, 2, self.leaps, keep=0.3, acceptance=0.8)

    def prior_pace(self) -> Pace:
        """Return how particles are moved from the prior: nothing near a mode is known there."""
        final = 2 * self.final_moves
        return Pace(2 * self.particles, self.prior_moves, final, final, self.leaps)

    def harder(self) -> Effort:
        """Return twice the effort."""
        return replace(
            self,
            starts=2 * self.starts,
            warm_starts=2 * self.starts,
            particles=2 * self.particles,
            moves=self.moves + 1,
            final_moves=2 * self.final_moves,
            most_final=2 * self.most_final,
            keep=0.7,
            surrogate_moves=2 * self.surrogate_moves,
            surrogate_final=2 * self.surrogate_final,
        )


USUAL_EFFORT = Effort()
USUAL_LIMITS = Limits()


def recalibrate(
    likelihood: Likelihood,
    prior: Prior,
    rng: np.random.Generator,
    previous: Posterior | None = None,
    effort: Effort = USUAL_EFFORT,
    limits: Limits = USUAL_LIMITS,
) -> tuple[Posterior, CalibrationInfo]:
    """Return the posterior given the readouts, and the diagnostics.

    What still breaks a limit after every try is returned with ``passed`` false.

    Raises
    ------
    FitNotAccepted
        Where no start of the search, or no particle of any try, can be simulated: there is nothing to show.
    """
    target = Target(likelihood, prior)
    tries = (
        (effort, False),
        (effort.harder(), False),
        (effort.harder(), True),
    )
    found: tuple[Posterior, CalibrationInfo] | None = None
    for tried, from_prior in tries:
        try:
            found = attempt(target, rng, previous, tried, limits, from_prior)
        except NothingSimulated:  # the next try begins elsewhere, with more
            continue
        if found[1].passed:
            break
    if found is None:
        raise FitNotAccepted(
            f"in none of {len(tries)} tries could a single particle be simulated, from the prior's neither: the "
            "model breaks down where the readouts point. Nothing was learned and nothing is proposed; see "
            "chiploop model check"
        )
    return found


def attempt(
    target: Target,
    rng: np.random.Generator,
    previous: Posterior | None,
    effort: Effort,
    limits: Limits,
    from_prior: bool,
) -> tuple[Posterior, CalibrationInfo]:
    """Return one try at the posterior."""
    found = search(target, starts_of(target, rng, previous, effort))
    if not found.modes:
        raise FitNotAccepted(
            f"none of {len(found.heights)} starts of the search can be simulated: the model breaks down "
            "over its whole prior. Nothing was learned and nothing is proposed; see chiploop model check"
        )
    passed("modes_found")
    if from_prior:
        populations = side_by_side(
            rng, lambda stream: temper(target, PriorStart(target.dims), stream, effort.prior_pace())
        )
    else:
        populations = bridged(target, found.modes, rng, effort)
    posterior = posterior_of(target, found, populations)
    method = FROM_PRIOR if from_prior else FROM_MODE
    info = diagnose(target, found, populations, limits, method)
    return posterior, with_misfit(info, target, found.modes[0], rng)


def with_misfit(
    info: CalibrationInfo, target: Target, mode: Mode, rng: np.random.Generator
) -> CalibrationInfo:
    """Return the diagnostics with the misfit gate's verdict: a warning where it fires, a failure without one."""
    if not isinstance(target.likelihood.model, TissueModel) or not target.likelihood.n_exact:
        return info
    try:
        verdict = misfit_of(target, mode, rng)
    except FitNotAccepted as trouble:
        return replace(info, passed=False, failures=(*info.failures, f"misfit gate: {trouble}"))
    misfit = Misfit(
        verdict.fires, verdict.p_value, verdict.threshold, verdict.sentences, verdict.test_p
    )
    told = ("misfit gate: " + " ".join(verdict.sentences),) if verdict.fires else ()
    return replace(info, misfit=misfit, warnings=(*info.warnings, *told))


def bridged(
    target: Target, modes: Sequence[Mode], rng: np.random.Generator, effort: Effort
) -> list[Population]:
    """Return two populations bridged from the modes, over a surrogate where one can be had."""
    start = ModeStart(modes)
    effort = effort.in_dimensions(target.dims)
    pace = effort.pace()
    learned = learn_surrogate(target, start, rng, effort) if len(modes) == 1 else None
    if learned is None:
        return side_by_side(rng, lambda stream: temper(target, start, stream, pace))
    surrogate, simulated = learned

    def one(stream: np.random.Generator) -> Population:
        cheap = tempered(SurrogateBridge(target, start, surrogate), stream, effort.surrogate_pace())
        alike = len(cheap.z) / cheap.ess
        begin = SurrogateStart(surrogate, cheap.z, cheap.log_evidence, alike)
        between = Bridge(target, begin, surrogate, simulated)
        return tempered(between, stream, replace(pace, size=cheap.size, longest=cheap.size))

    return side_by_side(rng, one)


def learn_surrogate(
    target: Target, start: ModeStart, rng: np.random.Generator, effort: Effort
) -> tuple[Surrogate, list[tuple[Points, np.ndarray]]] | None:
    """Return a surrogate that is near the posterior, and the points it was learned from.

    It is fitted around the mode first, then where it says that the posterior is, until the weights of the model
    over the surrogate are even enough. None where there are too few points for one.
    """
    between = Bridge(target, start)
    between.points(start.around(effort.particles, rng))
    for _ in range(effort.rounds):
        surrogate = fitted(target, between.simulated, 1.0)
        if surrogate is None:
            return None
        cheap = tempered(SurrogateBridge(target, start, surrogate), rng, effort.learning_pace())
        at = between.points(cheap.z)
        ratio = at.log_target - surrogate.log_posterior(cheap.z)[0]
        weights = np.exp(ratio - ratio.max())
        if weights.sum() ** 2 > effort.even * len(weights) * (weights @ weights):
            break
    refitted = fitted(target, between.simulated, 1.0)
    return None if refitted is None else (refitted, between.simulated)


def side_by_side(
    rng: np.random.Generator, one: Callable[[np.random.Generator], Population]
) -> list[Population]:
    """Return two independent populations, made side by side where more than one thread is to be used."""
    with ThreadPoolExecutor(min(2, thread_count())) as threads:
        return list(threads.map(one, rng.spawn(2)))


def starts_of(
    target: Target, rng: np.random.Generator, previous: Posterior | None, effort: Effort
) -> np.ndarray:
    """Return starts (s, dims): from the prior, and half of them from the last posterior where there is one.

    Entries that the last posterior did not know start from the prior.
    """
    if previous is None:
        return rng.standard_normal((effort.starts, target.dims))
    starts = rng.standard_normal((effort.warm_starts, target.dims))
    chosen = rng.integers(len(previous.standard), size=effort.warm_starts // 2)
    known = previous.entries or previous.names
    for j, entry in enumerate(target.names):
        if entry in known:
            starts[: chosen.size, j] = previous.column(entry)[chosen]
    return starts


def posterior_of(target: Target, found: Search, populations: list[Population]) -> Posterior:
    """Return the particles of both populations as parameters."""
    unknowns, prior = target.unknowns, target.prior
    z = np.concatenate([population.z for population in populations])
    p = unknowns.p
    empty = np.zeros((0, 0))
    return Posterior(
        names=prior.names,
        units=tuple(spec.unit for spec in prior.specs),
        particles=prior.parameters(z[:, :p]),
        standard=z,
        mode=prior.parameters(found.modes[0].z[None, :p])[0],
        entries=target.names,
        donors=unknowns.donors,
        of_donors=np.zeros((0, 0, 0))
        if not unknowns.q
        else prior.parameters(unknowns.donor_standard(z)),
        lines=unknowns.lines,
        drug_factors=np.exp(prior.dose_sd * z[:, unknowns.at_doses]) if unknowns.lines else empty,
        drugs=prior.drugs,
    )
