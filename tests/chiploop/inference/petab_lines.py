"""PEtab problems whose best fit is known on paper: straight lines, through the engine as anything else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.chiploop.models.petab_texts import write_problem

LINE = "A = a; a = 1; b = 0.5; A' = b"
"""A(t) = a + b t."""
NOISE = (0.31, -0.42, 0.05, 0.77, -0.64, 0.18, -0.29, 0.36, -0.51, 0.12)
TIMES = np.arange(len(NOISE), dtype=float)
MEASURED = 1.7 - 0.4 * TIMES + np.array(NOISE)
KNOWN_SD = 0.5
LINE_PARAMETERS = "a lin -10 10 1 1\nb lin -10 10 0.5 1"


def rows(measured: np.ndarray, times: np.ndarray = TIMES) -> str:
    lines = ["observableId simulationConditionId time measurement"]
    lines += [f"o c0 {t!r} {m!r}" for t, m in zip(times.tolist(), measured.tolist(), strict=True)]
    return "\n".join(lines)


def line_problem(
    folder: Path, noise: str = "sd", parameters: str = "", distribution: str = "normal"
) -> Path:
    """Write a straight line with noise that is estimated, or known."""
    found = LINE_PARAMETERS + ("\nsd log10 0.001 1000 1 1" if noise == "sd" else "")
    return write_problem(
        folder,
        LINE,
        observables="observableId observableFormula noiseFormula noiseDistribution\n"
        f"o A {noise} {distribution}",
        measurements=rows(MEASURED),
        parameters=parameters or found,
    )


@dataclass(frozen=True)
class Line:
    """Least squares on paper."""

    estimate: np.ndarray
    """(2,)"""
    inverse: np.ndarray
    """(2, 2) of the sum of squares of the design."""
    squares: float
    """Sum of squared residuals."""

    @property
    def sd(self) -> float:
        """Noise of the highest likelihood."""
        return math.sqrt(self.squares / len(TIMES))


def line() -> Line:
    design = np.stack([np.ones_like(TIMES), TIMES], axis=1)
    estimate = np.linalg.lstsq(design, MEASURED, rcond=None)[0]
    residuals = MEASURED - design @ estimate
    return Line(estimate, np.linalg.inv(design.T @ design), float(residuals @ residuals))
