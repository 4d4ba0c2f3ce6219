"""Priors of a PEtab parameter table as part of what a fit maximises.

Belongs here: log density of the estimated parameters and its derivatives. Not here: the likelihood
(petab_problem), priors of chiploop's own models (chiploop.inference.prior).

Each prior is a density of the quantity that it names: ``parameterScale...`` of the value on the parameter's scale,
the others of the linear value, which then may be lognormal. It is not rescaled where bounds cut it. A uniform one
must reach as far as the bounds and adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.models.petab_derivatives import SLOPES, SMALLEST_RESIDUAL
from chiploop.models.petab_likelihood import DENSITIES, SCALES
from chiploop.models.petab_tables import Parameter

KINDS: dict[str, tuple[str, str]] = {
    "normal": ("normal", "lin"),
    "laplace": ("laplace", "lin"),
    "logNormal": ("normal", "log"),
    "logLaplace": ("laplace", "log"),
    "parameterScaleNormal": ("normal", ""),
    "parameterScaleLaplace": ("laplace", ""),
}
"""Type in the table -> shape, and the scale on which it has that shape; empty for the parameter's own."""
UNIFORM = ("uniform", "parameterScaleUniform")


@dataclass(frozen=True)
class Prior:
    """The prior of one estimated parameter."""

    column: int
    """Which of the estimated parameters."""
    shape: str
    """normal or laplace."""
    scale: str
    """Where it has that shape: lin, log, or empty for the parameter's own scale."""
    parameter_scale: str
    middle: float
    spread: float

    def log_density(self, on_scale: np.ndarray) -> np.ndarray:
        """Return (n,) at values (n,) on the parameter's scale."""
        with np.errstate(all="ignore"):
            linear = SCALES[self.parameter_scale][1](on_scale)
            seen = SCALES[self.scale][0](linear) if self.scale else on_scale
            residual = (seen - self.middle) / self.spread
            density = DENSITIES[self.shape](residual, np.float64(self.spread))
            return density + (SCALES[self.scale][2](linear) if self.scale else 0.0)

    def slopes(self, on_scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradient, information and curvature, each (n,), by the value on the parameter's scale."""
        with np.errstate(all="ignore"):
            linear = SCALES[self.parameter_scale][1](on_scale)
            to_linear = SLOPES[self.parameter_scale](linear)
            move, seen, own = np.ones_like(on_scale), on_scale, np.zeros_like(on_scale)
            if self.scale:
                seen = SCALES[self.scale][0](linear)
                move = to_linear / SLOPES[self.scale](linear)
            if self.scale == "log":  # the density of a lognormal value has a factor of its own
                own = -to_linear / linear
            residual, unit = (seen - self.middle) / self.spread, move / self.spread
            if self.shape == "normal":
                return own - residual * unit, unit**2, unit**2
            weight = 1.0 / np.maximum(np.abs(residual), SMALLEST_RESIDUAL)
            return own - np.sign(residual) * unit, unit**2, weight * unit**2


def read_priors(name: str, estimated: tuple[Parameter, ...]) -> tuple[Prior, ...]:
    """Return the priors that are not flat between the bounds.

    Raises FileNotValid, ``name`` being the problem's, for one that is not known or ends within the bounds.
    """
    found = []
    for column, parameter in enumerate(estimated):
        kind, _, told = parameter.prior.partition(" ")
        if not kind:
            continue
        place = f"{name}: parameter {parameter.name} has the prior {parameter.prior!r}"
        try:
            numbers = [float(number) for number in told.split(";")] if told else []
        except ValueError:
            numbers = []
        if kind in UNIFORM:
            if numbers and not is_over_bounds(kind, numbers, parameter):
                raise FileNotValid(
                    f"{place}, which ends within its bounds {parameter.lower:g} and {parameter.upper:g}; "
                    "allowed is one that reaches as far"
                )
            continue
        if kind not in KINDS:
            allowed = ", ".join((*KINDS, *UNIFORM))
            raise FileNotValid(f"{place}, which is not known; allowed are {allowed}")
        if len(numbers) != 2 or not np.isfinite(numbers).all() or numbers[1] <= 0:
            raise FileNotValid(f"{place}; allowed are a middle and a spread above 0, as in 0;1")
        shape, scale = KINDS[kind]
        found.append(Prior(column, shape, scale, parameter.scale, numbers[0], numbers[1]))
    return tuple(found)


def is_over_bounds(kind: str, ends: list[float], parameter: Parameter) -> bool:
    """Return whether a uniform prior is constant from bound to bound."""
    low, high = parameter.lower, parameter.upper
    if kind == "parameterScaleUniform":
        with np.errstate(all="ignore"):
            low, high = (float(SCALES[parameter.scale][0](np.float64(end))) for end in (low, high))
    slack = 1e-9 * (abs(low) + abs(high))
    return ends[0] <= low + slack and ends[-1] >= high - slack
