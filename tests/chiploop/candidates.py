"""Candidate tables without a model, for the tests of what a batch must meet.

Belongs here: values that look like a prediction table to safety. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.dosing import PumpProgramme


@dataclass(frozen=True)
class FakeTable:
    """What safety looks at of a prediction table."""

    lines: tuple[str, ...]
    programmes: tuple[tuple[PumpProgramme, ...], ...]
    allowed: tuple[np.ndarray, ...]
    risk: tuple[np.ndarray, ...]


def programme(line: str, nm: float) -> PumpProgramme:
    """Return a programme that gives a dose, without steps."""
    return PumpProgramme(line, "dose", nm, nm, 48.0, (), 0.0, 1.0)


def fake_table(
    doses_nm: Sequence[float],
    risk: Sequence[Sequence[float]],
    allowed: Sequence[Sequence[bool]] | None = None,
) -> FakeTable:
    """Return lines L1, L2 ... with these candidates, one row of risks a line."""
    lines = tuple(f"L{i + 1}" for i in range(len(risk)))
    return FakeTable(
        lines,
        tuple(tuple(programme(line, nm) for nm in doses_nm) for line in lines),
        tuple(np.array(row, dtype=bool) for row in allowed)
        if allowed is not None
        else tuple(np.ones(len(doses_nm), dtype=bool) for _ in lines),
        tuple(np.array(row, dtype=float) for row in risk),
    )
