"""Candidate tables without a model, for the tests of what a batch must meet.

Belongs here: values that look like a prediction table to safety. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.dosing import PumpProgramme
from chiploop.exposure import ExposureProgramme
from chiploop.study_schedules import WHOLE


@dataclass(frozen=True)
class FakeTable:
    """What safety looks at of a prediction table."""

    lines: tuple[str, ...]
    programmes: tuple[tuple[ExposureProgramme, ...], ...]
    allowed: tuple[np.ndarray, ...]
    risk: tuple[np.ndarray, ...]


def programme(
    line: str, nm: float, schedule: str = WHOLE, drug_h: float = 48.0
) -> ExposureProgramme:
    """Return an exposure that gives a dose for so many of 48 h, without steps."""
    parts = [PumpProgramme(line, "dose", nm, nm, drug_h, (), 0.0, 1.0)]
    if drug_h < 48.0:
        parts.append(PumpProgramme(line, "dose", 0.0, 0.0, 48.0 - drug_h, (), 0.0, 1.0))
    return ExposureProgramme(schedule, tuple(parts))


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
