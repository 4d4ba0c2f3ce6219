"""A 'tissue' whose readouts are linear in the prior's standard normals, so that every answer is known.

Belongs here: the stub model, its chips and data, the exact posterior. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chiploop.inference.likelihood import Likelihood, Scatter
from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import PriorSpec, ReadoutSpec, Simulation

TIMES_H = (24.0, 48.0)
CHIPS = ("A", "B", "C", "D")
DONORS = {"A": "d1", "B": "d1", "C": "d2", "D": "d2"}
INLETS = tuple(ChipInlet(c, np.array([0.0, 48.0]), np.zeros((1, 4)), {}) for c in CHIPS)
READOUTS = (
    ReadoutSpec("TEER", "moment", "ohm*cm2", "log"),
    ReadoutSpec("CCL26", "window_mean", "pg/mL", "log"),
    ReadoutSpec("ldh_release", "window_loss", "1", "linear"),
)
SCATTER = Scatter({"TEER": 0.3, "CCL26": 0.2}, {"TEER": 0.2, "CCL26": 0.4}, {"TEER": 0.1})
NO_SCATTER = Scatter({}, {}, {})


def prior_of(p: int) -> Prior:
    """Return the prior under which ln(parameters) are the standard normals themselves."""
    return Prior.of([PriorSpec(f"k{j}", "lognormal", "1", 1.0, 1.0) for j in range(p)])


@dataclass(frozen=True)
class LinearModel:
    """Readouts on the residual's scale: shape(design @ z) with z = ln(parameters)."""

    design: np.ndarray
    """(chips, times, readouts, p)."""
    shape: Callable[[np.ndarray], np.ndarray] = lambda value: value
    name: str = "linear"
    readouts: tuple[ReadoutSpec, ...] = READOUTS
    fails: Callable[[np.ndarray], np.ndarray] = field(default=lambda z: np.zeros(len(z), bool))
    """(n, p) -> (n,) which parameter sets can not be simulated."""

    def simulate(
        self,
        parameters: np.ndarray,
        inlets: object,
        times_h: np.ndarray,
        window_starts_h: np.ndarray | None = None,
    ) -> Simulation:
        """Return what a tissue model would; the window of a time plays no part."""
        z = np.log(np.atleast_2d(parameters))
        at = [TIMES_H.index(float(t)) for t in times_h]
        values = self.shape(np.einsum("ctrp,np->nctr", self.design[:, at], z))
        for r, spec in enumerate(self.readouts):
            if spec.scale == "log":
                values[..., r] = np.exp(values[..., r])
        values[self.fails(z)] = np.nan
        n, c, t = values.shape[:3]
        failed = int(self.fails(z).sum()) * c
        return Simulation(values, np.zeros((n, c, 0)), np.ones((n, c, t)), failed, n * c)


def linear_model(p: int = 5, seed: int = 0, size: float = 0.6) -> LinearModel:
    """Return a stub with a random design: chips, times and readouts all see something else."""
    rng = np.random.default_rng([7, seed])
    return LinearModel(size * rng.standard_normal((len(CHIPS), len(TIMES_H), len(READOUTS), p)))


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


def rows() -> list[tuple[int, int, int]]:
    """Return (chip, time, readout) of every reading, in the order of a likelihood's blocks."""
    return [
        (c, t, r)
        for r in range(len(READOUTS))
        for c in range(len(CHIPS))
        for t in range(len(TIMES_H))
    ]


def covariance(scatter: Scatter, sd: float = 0.1) -> np.ndarray:
    """Return the covariance of all readings, entry by entry from its definition."""
    places = rows()
    matrix = np.zeros((len(places), len(places)))
    for i, (c, t, r) in enumerate(places):
        name = READOUTS[r].name
        for j, (other, time, kind) in enumerate(places):
            if kind != r:
                continue
            if (c, t) == (other, time):
                matrix[i, j] += sd**2 + scatter.reading.get(name, 0.0) ** 2
            if c == other:
                matrix[i, j] += scatter.chip.get(name, 0.0) ** 2
            if DONORS[CHIPS[c]] == DONORS[CHIPS[other]]:
                matrix[i, j] += scatter.donor.get(name, 0.0) ** 2
    return matrix


@dataclass(frozen=True)
class Exact:
    """The posterior in closed form."""

    mean: np.ndarray
    covariance: np.ndarray
    log_evidence: float
    """Of the likelihood up to its constant, as the calibration reports it."""


def exact_posterior(design: np.ndarray, values: np.ndarray, noise: np.ndarray) -> Exact:
    """Return the posterior of z ~ N(0, I) given values = design @ z + N(0, noise)."""
    p = design.shape[1]
    information = design.T @ np.linalg.solve(noise, design)
    spread = np.linalg.inv(np.eye(p) + information)
    marginal = noise + design @ design.T
    log_evidence = -0.5 * np.linalg.slogdet(np.eye(p) + information)[1]
    log_evidence -= 0.5 * values @ np.linalg.solve(marginal, values)
    return Exact(spread @ design.T @ np.linalg.solve(noise, values), spread, float(log_evidence))


def study(
    model: LinearModel, rng: np.random.Generator, scatter: Scatter = SCATTER
) -> tuple[Likelihood, Exact, np.ndarray]:
    """Return the likelihood of data drawn from the prior, the exact posterior and the true z."""
    places = rows()
    design = np.stack([model.design[place] for place in places])
    truth = rng.standard_normal(design.shape[1])
    noise = covariance(scatter)
    values = design @ truth + np.linalg.cholesky(noise) @ rng.standard_normal(len(places))
    readings = [
        readout(CHIPS[c], TIMES_H[t], r, float(v))
        for (c, t, r), v in zip(places, values, strict=True)
    ]
    likelihood = Likelihood(model, INLETS, DONORS, readings, scatter)  # type: ignore[arg-type]
    return likelihood, exact_posterior(design, values, noise), truth
