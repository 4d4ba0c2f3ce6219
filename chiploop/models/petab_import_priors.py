"""Priors of a PEtab parameter table as those of a chiploop model.

Belongs here: which prior is which. Not here: where it is written.
"""

from __future__ import annotations

import math
from typing import Any

LN = {"log": 1.0, "log10": math.log(10.0)}
"""Logarithmic scale -> what a value on it is multiplied with to be a natural logarithm."""


def known_prior(row: Any) -> dict[str, Any]:
    """Return the prior of a row of the parameter table as the model's file writes it.

    Raises ValueError, with what the table says, for one that chiploop does not have.
    """
    kind, numbers, scale = cells(row)
    if kind == "logNormal" or (kind == "parameterScaleNormal" and scale in LN):
        factor = LN[scale] if kind == "parameterScaleNormal" else 1.0
        median = math.exp(factor * numbers[0])
        return {"kind": "lognormal", "median": median, "ln_sd": factor * numbers[1]}
    if kind == "normal" or (kind == "parameterScaleNormal" and scale == "lin"):
        low, high = float(row.get("lowerBound", "nan")), float(row.get("upperBound", "nan"))
        if not low < high:
            raise ValueError(f"{said(row)}, without bounds")
        mean, sd = numbers
        return {"kind": "truncated_normal", "mean": mean, "sd": sd, "low": low, "high": high}
    raise ValueError(said(row))


def cells(row: Any) -> tuple[str, tuple[float, ...], str]:
    """Return type, parameters and scale of a row; an empty type is a uniform prior within the bounds."""
    kind, told = row.get("objectivePriorType"), row.get("objectivePriorParameters")
    scale = row.get("parameterScale")
    numbers = tuple(float(n) for n in told.split(";")) if isinstance(told, str) and told else ()
    return (
        kind if isinstance(kind, str) and kind else "",
        numbers,
        scale if isinstance(scale, str) and scale else "lin",
    )


def said(row: Any) -> str:
    """Return what the table says of a parameter, in words."""
    kind, numbers, scale = cells(row)
    low, high = row.get("lowerBound"), row.get("upperBound")
    prior = f"{kind} {';'.join(f'{n:g}' for n in numbers)}" if kind else "no prior"
    return f"{prior}, bounds {low:g} to {high:g}, scale {scale}"


def written(value: float) -> str:
    """Return a number as a person would write it: without the last digit that a logarithm leaves."""
    return f"{value:.15g}"
