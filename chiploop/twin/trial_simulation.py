"""How often each analysis of a control arm errs, and what it saves, by simulated trials.

Belongs here: trials with a right twin and with wrong ones. Not here: the analyses (control_arm).

A patient's outcome without treatment is m + e: m is what could be foretold, with the share ``r2`` of the variance.
Units are sds of the outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from chiploop.twin.control_arm import LEVEL, TRUSTED, regression

Foretell = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(foretellable part m (trials, n), standard normals (trials, n)) -> what the twin says."""


def _right(m: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return m


def _shifted(m: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return m + 0.5


def _flattened(m: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return 0.4 * m + 0.3


def _turned_in_a_subgroup(m: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.where(noise > 0.5, -m, m) + 0.3


def _blind(m: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return noise


TWINS: dict[str, Foretell] = {
    "right": _right,
    "shifted": _shifted,
    "flattened": _flattened,
    "turned in a subgroup": _turned_in_a_subgroup,
    "blind": _blind,
}
"""Twin -> what it says. ``shifted`` is half an sd off for all; ``turned`` says the opposite for three of ten."""


@dataclass(frozen=True)
class Design:
    """One trial."""

    n_treated: int
    n_control: int
    r2: float = 0.4
    """Share of the outcome's variance that a right twin foretells."""
    effect: float = 0.0
    """In sds of the outcome."""
    bias_sd: float = 0.15
    """Of the twin's bias, as stated to the analyses that trust it, in sds of the outcome."""


@dataclass(frozen=True)
class Rates:
    """Of simulated trials."""

    twin: str
    trials: int
    rejected: dict[str, float]
    """Analysis -> share of trials whose 95 % interval leaves 0 out: with no effect the error of the first kind,
    otherwise the power."""
    saved: float
    """Mean share of patients that the adjustment saves; negative where it costs."""


def rates(design: Design, twin: str, trials: int, rng: np.random.Generator) -> Rates:
    """Return how often each analysis finds an effect in trials of one design with one kind of twin."""
    n = design.n_treated + design.n_control
    m = np.sqrt(design.r2) * rng.standard_normal((trials, n))
    e = np.sqrt(1.0 - design.r2) * rng.standard_normal((trials, n))
    foretold = TWINS[twin](m, rng.standard_normal((trials, n)))
    treated = np.broadcast_to(np.arange(n) < design.n_treated, (trials, n))
    outcome = m + e + design.effect * treated
    plain = regression(outcome, treated, np.zeros((trials, n, 0)))
    centred = foretold - foretold.mean(axis=1, keepdims=True)
    with_twin = regression(outcome, treated, centred[..., None])
    rejected = {
        "unadjusted": float((plain.p < 1 - LEVEL).mean()),
        "adjusted": float((with_twin.p < 1 - LEVEL).mean()),
        **_trusting(outcome - foretold, design),
    }
    return Rates(twin, trials, rejected, float(1.0 - ((with_twin.se / plain.se) ** 2).mean()))


def _trusting(gap: np.ndarray, design: Design) -> dict[str, float]:
    """Return how often ``control_arm.external`` and ``borrowed`` reject, of all trials at once."""
    treated, control = gap[:, : design.n_treated], gap[:, design.n_treated :]
    free = design.n_treated + design.n_control - 2
    squares = treated.var(axis=1) * design.n_treated + control.var(axis=1) * design.n_control
    variance = squares / free
    of_treated, of_control = variance / design.n_treated, variance / design.n_control
    mean_t, mean_c = treated.mean(axis=1), control.mean(axis=1)
    scale = of_treated + design.bias_sd**2
    alone = 2 * student.sf(np.abs(mean_t) / np.sqrt(scale), free * (scale / of_treated) ** 2)
    below, total = np.zeros(len(gap)), np.zeros(len(gap))
    for weight, prior in ((TRUSTED, design.bias_sd**2), (1 - TRUSTED, variance)):
        seen = of_control + prior
        density = weight * np.exp(-(mean_c**2) / (2 * seen)) / np.sqrt(seen)
        shrink = prior / seen
        sd = np.sqrt(of_treated + shrink * of_control)
        below += density * student.cdf(-(mean_t - shrink * mean_c) / sd, free)
        total += density
    below /= total
    return {
        "borrowed": float((2 * np.minimum(below, 1 - below) < 1 - LEVEL).mean()),
        "external": float((alone < 1 - LEVEL).mean()),
    }
