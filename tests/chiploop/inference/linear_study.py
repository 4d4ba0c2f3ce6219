"""A 'tissue' whose readouts are linear in the prior's standard normals, so that every answer is known.

Belongs here: the stub model, its chips and data, the exact posterior. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chiploop.inference.likelihood import Likelihood
from chiploop.inference.prior import Prior
from chiploop.inference.scatter import Scatter
from chiploop.inference.target import Target
from chiploop.inference.unknowns import Unknowns
from chiploop.measurement import Readout
from chiploop.models.facts import DonorSpread
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import PriorSpec, ReadoutSpec, Simulation

TIMES_H = (24.0, 48.0)
CHIPS = ("A", "B", "C", "D")
DONORS = {"A": "d1", "B": "d1", "C": "d2", "D": "d2"}
LINES = {"A": "L1", "B": "L2", "C": "L1", "D": "L2"}
INLETS = tuple(ChipInlet(c, np.array([0.0, 48.0]), np.zeros((1, 4)), {}) for c in CHIPS)
READOUTS = (
    ReadoutSpec("TEER", "moment", "ohm*cm2", "log"),
    ReadoutSpec("CCL26", "window_mean", "pg/mL", "log"),
    ReadoutSpec("ldh_release", "window_loss", "1", "linear"),
)
SCATTER = Scatter({"TEER": 0.3, "CCL26": 0.2}, {"TEER": 0.2, "CCL26": 0.4}, {"TEER": 0.1})
NO_SCATTER = Scatter({}, {}, {})
Place = tuple[int, int, int]
"""Chip, time, readout of one reading."""


def prior_of(p: int, spreads: Sequence[DonorSpread] = (), dose_sd: float = 0.0) -> Prior:
    """Return the prior under which ln(parameters) are the standard normals themselves."""
    return Prior.of(
        [PriorSpec(f"k{j}", "lognormal", "1", 1.0, 1.0) for j in range(p)], spreads, dose_sd
    )


def varied(*parameters: int, sd: float = 0.5, ln_sd: float = 0.0) -> tuple[DonorSpread, ...]:
    """Return parameters that differ between donors; by default it is known how much, so all stays linear."""
    return tuple(DonorSpread(f"k{j}", sd, ln_sd) for j in parameters)


@dataclass(frozen=True)
class Shape:
    """What bends the readouts, and its slope."""

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


STRAIGHT = Shape(lambda x: x, np.ones_like)
SQUARE = Shape(np.square, lambda x: 2.0 * x)
SINE = Shape(np.sin, np.cos)
EXPONENTIAL = Shape(
    lambda x: np.exp(np.minimum(x, 6.0)), lambda x: np.where(x < 6.0, np.exp(np.minimum(x, 6.0)), 0)
)
"""Bounded: a log readout is the exponential of it once more."""


@dataclass(frozen=True)
class LinearModel:
    """Readouts on the residual's scale: shape(design @ z + by_drug x ln(factor)) with z = ln(parameters)."""

    design: np.ndarray
    """(chips, times, readouts, p)."""
    shape: Shape = STRAIGHT
    by_drug: np.ndarray | None = None
    """(chips, times, readouts), by ln of the factor of the chip's drug; None for 0."""
    name: str = "linear"
    readouts: tuple[ReadoutSpec, ...] = READOUTS
    fails: Callable[[np.ndarray], np.ndarray] = field(
        default=lambda z: np.zeros(z.shape[:-1], bool)
    )
    """(n, chips, p) -> (n, chips) which can not be simulated."""

    def simulate(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None = None,
        *,
        drug_factors: np.ndarray | None = None,
    ) -> Simulation:
        """Return what a tissue model would; the window of a time plays no part."""
        values, z, _ = self.bent(parameters, times_h, drug_factors)
        n, c, t = values.shape[:3]
        failed = int(np.broadcast_to(self.fails(z), (n, c)).sum())
        return Simulation(values, np.zeros((n, c, 0)), np.ones((n, c, t)), failed, n * c)

    def sensitivities(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None = None,
        *,
        drug_factors: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return readouts and their derivatives, as a tissue model would."""
        values, z, slope = self.bent(parameters, times_h, drug_factors)
        at = self.at(times_h)
        by_own = slope[..., None] * self.design[:, at]
        by_own = by_own / np.exp(z)[:, :, None, None]
        if drug_factors is None:
            return values, by_own
        by_drug = np.zeros(self.design.shape[:3]) if self.by_drug is None else self.by_drug
        by_factor = slope * by_drug[:, at] / drug_factors[:, :, None, None]
        return values, np.concatenate([by_own, by_factor[..., None]], axis=-1)

    def bent(
        self, parameters: np.ndarray, times_h: np.ndarray, drug_factors: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return readouts (n, chips, times, readouts), z (n, chips, p), slopes of readouts by what is bent."""
        # a parameter far out is 0 or infinite in its own unit: still a place
        z = np.log(np.clip(np.atleast_2d(parameters), 1e-300, 1e300))
        if z.ndim == 2:
            z = np.repeat(z[:, None], len(self.design), axis=1)
        at = self.at(times_h)
        straight = np.einsum("ctrp,ncp->nctr", self.design[:, at], z)
        if drug_factors is not None and self.by_drug is not None:
            straight += self.by_drug[:, at] * np.log(drug_factors)[:, :, None, None]
        values, slope = self.shape.value(straight), self.shape.slope(straight)
        for r, spec in enumerate(self.readouts):
            if spec.scale == "log":
                with np.errstate(over="ignore"):  # far out, as a tissue model would
                    values[..., r] = np.exp(values[..., r])
                    slope[..., r] *= values[..., r]
        lost = np.broadcast_to(self.fails(z), z.shape[:2])
        values[lost], slope[lost] = np.nan, np.nan
        return values, z, slope

    @staticmethod
    def at(times_h: np.ndarray) -> list[int]:
        """Return the place of each time in the design."""
        return [TIMES_H.index(float(t)) for t in times_h]


def linear_model(p: int = 5, seed: int = 0, size: float = 0.6) -> LinearModel:
    """Return a stub with a random design: chips, times and readouts all see something else."""
    rng = np.random.default_rng([7, seed])
    return LinearModel(size * rng.standard_normal((len(CHIPS), len(TIMES_H), len(READOUTS), p)))


def dosed_model(p: int = 5, seed: int = 0, size: float = 0.6) -> LinearModel:
    """Return the stub whose readouts feel the drug too."""
    rng = np.random.default_rng([8, seed])
    by_drug = rng.standard_normal((len(CHIPS), len(TIMES_H), len(READOUTS)))
    return replace(linear_model(p, seed, size), by_drug=by_drug)


def readout(
    chip: str, time_h: float, r: int, value: float, sd: float = 0.1, **more: object
) -> Readout:
    """Return one readout; ``value`` is on the residual's scale."""
    spec = READOUTS[r]
    start = None if spec.kind == "moment" else time_h - 24.0
    number = float(np.exp(value)) if spec.scale == "log" else value
    return Readout(
        chip,
        spec.name,
        number,
        spec.unit,
        sd,
        spec.scale,
        time_h,
        start,
        **more,  # type: ignore[arg-type]
    )


def censored(
    chip: str,
    time_h: float,
    r: int,
    kind: str,
    lower: float = -np.inf,
    upper: float = np.inf,
    sd: float = 0.1,
    **more: object,
) -> Readout:
    """Return one censored readout; the bounds are on the residual's scale."""
    is_log = READOUTS[r].scale == "log"
    low, high = (float(np.exp(b)) if is_log and np.isfinite(b) else b for b in (lower, upper))
    one = readout(chip, time_h, r, 0.0, sd, **more)
    return replace(one, value=np.nan, censoring=kind, lower=low, upper=high)  # type: ignore[arg-type]


def rows() -> list[Place]:
    """Return (chip, time, readout) of every reading, in the order of a likelihood's blocks."""
    return [
        (c, t, r)
        for r in range(len(READOUTS))
        for c in range(len(CHIPS))
        for t in range(len(TIMES_H))
    ]


def curve_of(place: Place) -> tuple[float, ...]:
    """Return how a reading of CCL26 leans on its plate's curve (a plate per time); no other kind has one."""
    c, t, r = place
    return (0.04 + 0.01 * c, 0.02 * (1 - 2 * (c % 2)) * (1 + t)) if r == 1 else ()


def covariance(
    scatter: Scatter, sd: float = 0.1, places: Sequence[Place] | None = None, curves: bool = False
) -> np.ndarray:
    """Return the covariance of readings, entry by entry from its definition."""
    places = rows() if places is None else places
    matrix = np.zeros((len(places), len(places)))
    for i, (c, t, r) in enumerate(places):
        name = READOUTS[r].name
        for j, (other, time, kind) in enumerate(places):
            if kind != r:
                continue
            if i == j:
                matrix[i, j] += sd**2 + scatter.reading.get(name, 0.0) ** 2
            if c == other:
                matrix[i, j] += scatter.chip.get(name, 0.0) ** 2
            if DONORS[CHIPS[c]] == DONORS[CHIPS[other]]:
                matrix[i, j] += scatter.donor.get(name, 0.0) ** 2
            if curves and i != j and t == time:  # the reading's own part stands in its sd
                matrix[i, j] += sum(
                    a * b for a, b in zip(curve_of(places[i]), curve_of(places[j]), strict=True)
                )
    return matrix


def design_of(
    model: LinearModel, prior: Prior, unknowns: Unknowns, places: Sequence[Place]
) -> np.ndarray:
    """Return (m, dims): the readings' means are this times z, where it is known how much donors differ."""
    design = np.zeros((len(places), unknowns.dims))
    names = list(unknowns.names)
    for i, (c, t, r) in enumerate(places):
        by_own = model.design[c, t, r]
        design[i, : len(by_own)] = by_own
        for spread in prior.donor_spreads:
            assert spread.ln_sd == 0.0
            j = prior.names.index(spread.name)
            entry = names.index(f"{spread.name} of {DONORS[CHIPS[c]]}")
            design[i, entry] = spread.sd * by_own[j]
        if prior.dose_sd and model.by_drug is not None:
            entry = names.index(f"dose of {LINES[CHIPS[c]]}")
            design[i, entry] = prior.dose_sd * model.by_drug[c, t, r]
    return design


@dataclass(frozen=True)
class Exact:
    """The posterior in closed form."""

    mean: np.ndarray
    covariance: np.ndarray
    log_evidence: float

    @property
    def sd(self) -> np.ndarray:
        """Return the sd of each entry."""
        return np.sqrt(np.diag(self.covariance))


def exact_posterior(design: np.ndarray, values: np.ndarray, noise: np.ndarray) -> Exact:
    """Return the posterior of z ~ N(0, I) given values = design @ z + N(0, noise)."""
    p = design.shape[1]
    information = design.T @ np.linalg.solve(noise, design)
    spread = np.linalg.inv(np.eye(p) + information)
    marginal = noise + design @ design.T
    log_evidence = -0.5 * np.linalg.slogdet(marginal)[1] - 0.5 * len(values) * np.log(2 * np.pi)
    log_evidence -= 0.5 * values @ np.linalg.solve(marginal, values)
    return Exact(spread @ design.T @ np.linalg.solve(noise, values), spread, float(log_evidence))


@dataclass(frozen=True)
class LinearStudy:
    """Data drawn from the prior, and what follows from them."""

    likelihood: Likelihood
    prior: Prior
    exact: Exact
    truth: np.ndarray
    """(dims,) standard normals that made the data."""
    values: np.ndarray
    """(m,) in the order of ``rows``."""

    @property
    def target(self) -> Target:
        """Return the posterior as a function."""
        return Target(self.likelihood, self.prior)


def study(
    model: LinearModel,
    rng: np.random.Generator,
    scatter: Scatter = SCATTER,
    prior: Prior | None = None,
    curves: bool = False,
) -> LinearStudy:
    """Return a study with data drawn from the prior of a model, with the exact posterior."""
    prior = prior_of(model.design.shape[-1]) if prior is None else prior
    places = rows()
    unknowns = Unknowns.of(prior, CHIPS, DONORS, LINES)
    design = design_of(model, prior, unknowns, places)
    truth = rng.standard_normal(unknowns.dims)
    noise = covariance(scatter, places=places, curves=curves)
    values = design @ truth + np.linalg.cholesky(noise) @ rng.standard_normal(len(places))
    readings = [read(place, float(v), curves) for place, v in zip(places, values, strict=True)]
    likelihood = likelihood_of(model, readings, scatter)
    return LinearStudy(likelihood, prior, exact_posterior(design, values, noise), truth, values)


def read(place: Place, value: float, curves: bool = False) -> Readout:
    """Return the reading of a place."""
    c, t, r = place
    curve = curve_of(place) if curves else ()
    return readout(CHIPS[c], TIMES_H[t], r, value, curve=curve, plate=f"p{t}" if curve else "")


def likelihood_of(
    model: LinearModel, readings: Sequence[Readout], scatter: Scatter = NO_SCATTER
) -> Likelihood:
    """Return the likelihood of readings of these chips."""
    return Likelihood(model, INLETS, DONORS, readings, scatter, LINES)  # type: ignore[arg-type]
