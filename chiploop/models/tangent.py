"""A model with its own derivatives: forward sensitivities as more states.

Belongs here: the sensitivities' right-hand side. Not here: derivatives from neighbouring lanes, which are quicker
and what the house uses (``TissueModel.sensitivities``); these are their referee.

For a direction v in parameter space, s = dy/dp v obeys ds/dt = J s + (df/dp) v with s(0) = (dy0/dp) v
(Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I, I.14). Each lane of a batch can hold a
direction of its own, so that one run gives all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chiploop.models.symbolic import SymbolicModel

SLOPE = "slope_of_"
"""Before a state or formula: its derivative along the direction."""
ALONG = "along_"
"""Before a parameter: its share of the direction, 0 by default."""


def tangent_model(model: SymbolicModel, parameters: Sequence[str]) -> SymbolicModel:
    """Return the model with the derivative of every state and formula along a direction.

    Raises ValueError for a model with events, whose derivatives jump.
    """
    import sympy

    if model.events:
        raise ValueError(f"model {model.name}: derivatives across events are not written")

    def symbol(name: str) -> Any:
        return sympy.Symbol(name, real=True)

    moving = {symbol(name): symbol(SLOPE + name) for name in model.rates}
    moving |= {symbol(name): symbol(ALONG + name) for name in parameters}

    def slope(formula: Any) -> Any:
        formula = sympy.sympify(formula)
        return sympy.Add(
            *(
                sympy.diff(formula, variable) * share
                for variable, share in moving.items()
                if variable in formula.free_symbols
            )
        )

    return SymbolicModel(
        name=model.name,
        rates={**model.rates, **{SLOPE + k: slope(v) for k, v in model.rates.items()}},
        assignments={
            **model.assignments,
            **{SLOPE + k: slope(v) for k, v in model.assignments.items()},
        },
        initials={**model.initials, **{SLOPE + k: slope(v) for k, v in model.initials.items()}},
        constants={**model.constants, **{ALONG + name: 0.0 for name in parameters}},
        breakpoints=model.breakpoints,
    )
