"""A model as formulas: what every reader of model texts returns and every compiler takes.

Belongs here: the values, and what can be asked of them. Not here: reading a text (sbml), machine code (compiler).
Formulas are sympy expressions in real symbols named as in the text, ``TIME`` being the time. Sympy is not
imported here: a model that is compiled already starts without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TIME = "time_"
"""Name of the symbol of time in formulas; no identifier of a text may be the same."""


@dataclass(frozen=True)
class TimedEvent:
    """States set at a moment that is known before the simulation begins."""

    name: str
    time: Any
    """Formula of the moment in constants alone."""
    assignments: dict[str, Any]
    """State -> its value right after, in states and constants as they are right before."""


@dataclass(frozen=True)
class SymbolicModel:
    """The parts of a model text as sympy expressions."""

    name: str
    rates: dict[str, Any]
    """State -> its time derivative, in states, constants and TIME; assignments are put in."""
    assignments: dict[str, Any]
    """Every name that a formula defines at all times -> that formula in states, constants and TIME."""
    initials: dict[str, Any]
    """State -> its value at the start, in constants."""
    constants: dict[str, float]
    """Everything that has one value during a simulation, with its default."""
    events: tuple[TimedEvent, ...] = ()
    breakpoints: tuple[Any, ...] = ()
    """Formulas, in constants, of the moments at which a rate may jump (piecewise in time)."""

    def needed_states(self, quantities: Sequence[str]) -> tuple[str, ...]:
        """Return the states that these quantities depend on, directly or not, in the text's order.

        A state that nothing read out depends on is left out: it costs time and steers the step size.
        """
        waiting, needed = list(quantities), set()
        while waiting:
            name = waiting.pop()
            if name in self.rates:
                if name in needed:
                    continue
                needed.add(name)
                expressions = [self.rates[name]]
                expressions += [e.assignments[name] for e in self.events if name in e.assignments]
            else:
                expressions = [self.assignments[name]] if name in self.assignments else []
            for expression in expressions:
                waiting += [str(symbol) for symbol in expression.free_symbols]
        return tuple(name for name in self.rates if name in needed)
