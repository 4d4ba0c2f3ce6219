"""Observables of a PEtab problem, and how likely a measurement is.

Belongs here: observable and noise formulas, scales, noise distributions. Not here: tables and conditions
(petab_problem), simulating (petab_simulation).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chiploop.errors import FileNotValid

LN10 = float(np.log(10.0))
SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "lin": (lambda x: x, lambda x: x, np.zeros_like),
    "log": (np.log, np.exp, lambda x: -np.log(x)),
    "log10": (np.log10, lambda x: 10.0**x, lambda x: -np.log(x * LN10)),
}
"""Scale -> to it, back from it, logarithm of its derivative."""
DENSITIES: dict[str, Callable[[Any, Any], Any]] = {
    "normal": lambda residual, sd: -0.5 * np.log(2 * np.pi * sd**2) - 0.5 * residual**2,
    "laplace": lambda residual, sd: -np.log(2 * sd) - np.abs(residual),
}
"""Noise distribution -> log density of a residual in units of the noise parameter."""
PLACEHOLDER = re.compile(r"(observable|noise)Parameter([0-9]+)_(.+)")
Lookup = Callable[[str], Any]
"""Name in a formula -> its value, (n, measurements) or what broadcasts to it."""


@dataclass(frozen=True)
class Formula:
    """A formula as a function of arrays."""

    names: tuple[str, ...]
    function: Callable[..., Any]

    def __call__(self, lookup: Lookup) -> Any:
        return self.function(*(lookup(name) for name in self.names))


@dataclass(frozen=True)
class Observable:
    """One row of the observable table."""

    name: str
    formula: Formula
    noise: Formula
    scale: str
    distribution: str

    def names(self) -> set[str]:
        """Return what the formulas refer to, in the model or in tables."""
        return {
            name
            for name in (*self.formula.names, *self.noise.names)
            if name != "time" and not PLACEHOLDER.fullmatch(name)
        }

    def predicted(self, lookup: Lookup, measured: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return simulation, the same on the observable's scale, and noise, each (n, measurements).

        NaN where noise or a value on a logarithmic scale is not positive.
        """
        with np.errstate(all="ignore"):
            simulated = np.asarray(self.formula(lookup), dtype=float) + 0.0 * measured
            sd = np.asarray(self.noise(lookup), dtype=float) + 0.0 * simulated
            sd = np.where(sd > 0, sd, np.nan)
            on_scale = np.asarray(SCALES[self.scale][0](simulated), dtype=float)
        return simulated, np.where(np.isfinite(on_scale), on_scale, np.nan), sd

    def likelihood(
        self, on_scale: np.ndarray, sd: np.ndarray, measured: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log density and squared residual of what was predicted, each (n, measurements)."""
        to_scale, _, log_slope = SCALES[self.scale]
        with np.errstate(all="ignore"):
            residual = (on_scale - to_scale(measured)) / sd
            residual = np.where(np.isfinite(residual), residual, np.nan)
            density = DENSITIES[self.distribution](residual, sd) + log_slope(measured)
        return density, residual**2


def read_formula(text: Any, place: str) -> Formula:
    """Return a formula of an observable table; FileNotValid where it is none."""
    import sympy
    from petab.v1.math import sympify_petab

    try:
        expression = sympify_petab(text)
    except (ValueError, TypeError, AttributeError) as problem:
        reason = " ".join(str(problem).split())
        raise FileNotValid(f"{place} {text!r} is no formula: {reason}") from None
    symbols = sorted(expression.free_symbols, key=str)
    function = sympy.lambdify(symbols, expression, "numpy", dummify=True)
    return Formula(tuple(str(s) for s in symbols), function)


def read_observable(name: str, row: Mapping[str, Any]) -> Observable:
    """Return an observable; FileNotValid for what PEtab does not know."""
    place = f"observable {name}:"
    scale = given(row.get("observableTransformation"), "lin")
    distribution = given(row.get("noiseDistribution"), "normal")
    for said, allowed in ((scale, SCALES), (distribution, DENSITIES)):
        if said not in allowed:
            raise FileNotValid(f"{place} {said!r} is not one of {', '.join(allowed)}")
    return Observable(
        name,
        read_formula(row["observableFormula"], f"{place} observableFormula"),
        read_formula(row["noiseFormula"], f"{place} noiseFormula"),
        scale,
        distribution,
    )


def given(cell: Any, otherwise: str) -> str:
    """Return the word in a cell of a table, or what an empty one means."""
    return cell if isinstance(cell, str) and cell else otherwise
