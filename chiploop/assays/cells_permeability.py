"""Permeability of the cells alone: the cell-free insert taken off in series.

Belongs here: 1/P_cells = 1/P_app - 1/P_blank with its error. Not here: P_app itself (permeability).

Where cells and blank pass alike the difference is near 0 or below it. It stays as it is: a negative
1/P_cells is flagged and gives no permeability, and where the interval of 1/P_cells reaches 0 the
interval of P_cells is open at the top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.assays.permeability import Z95, Permeability
from chiploop.assays.tracer_curve import widening
from chiploop.measurement import Quality


@dataclass(frozen=True)
class BlankPermeability:
    """Cell-free inserts or chips of the same membrane, coating and medium."""

    p: float
    """cm/s, geometric mean."""
    sd_ln: float
    """Of the mean, with the scatter between blanks where there are several."""
    n: int
    origin: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a blank without a usable value or sd."""
        if not (self.p > 0.0 and math.isfinite(self.p) and self.sd_ln >= 0.0):
            raise ValueError(
                f"blank {self.p:g} cm/s with sd of ln {self.sd_ln:g}: above 0, with its sd"
            )


@dataclass(frozen=True)
class CellsPermeability:
    """What is left for the cells."""

    resistance: float
    """1/P_cells, s/cm; below 0 where cells pass more than the blank."""
    resistance_sd: float
    p: float
    """cm/s; NaN where the resistance is not above 0."""
    interval: tuple[float, float]
    """95 %, cm/s; inf at the top where 1/P_cells may be 0."""
    sd_ln: float
    qc: Quality
    reasons: tuple[str, ...]


def blank_of(found: Sequence[Permeability]) -> BlankPermeability:
    """Return the blank from cell-free inserts; ValueError where none gives a number."""
    good = [one for one in found if one.qc != "fail" and one.censoring == "none"]
    if not good:
        told = "; ".join(f"{one.run.chip_id}: {', '.join(one.reasons)}" for one in found)
        raise ValueError(f"no blank insert gives a permeability ({told or 'none was given'})")
    ln = np.log([one.p_app for one in good])
    within = math.sqrt(sum(one.sd_ln**2 for one in good)) / len(good)
    between = 0.0
    if len(good) > 1:
        between = float(np.std(ln, ddof=1)) / math.sqrt(len(good)) * widening(len(good) - 1)
    names = ", ".join(one.run.chip_id for one in good)
    return BlankPermeability(
        math.exp(float(np.mean(ln))), max(within, between), len(good), f"cell-free {names}"
    )


def cells_permeability(app: Permeability, blank: BlankPermeability) -> CellsPermeability:
    """Return 1/P_app - 1/P_blank and what follows; flagged, never clipped."""
    nan = math.nan
    if app.qc == "fail" or app.censoring != "none":
        why = "P_app failed" if app.qc == "fail" else "P_app is below its limit of detection"
        return CellsPermeability(nan, nan, nan, (nan, nan), nan, "fail", (why, *app.reasons))
    resistance = 1.0 / app.p_app - 1.0 / blank.p
    sd = math.hypot(app.sd_ln / app.p_app, blank.sd_ln / blank.p)
    low, high = resistance - Z95 * sd, resistance + Z95 * sd
    reasons = [] if blank.n != 1 else ["one blank insert tells nothing of how blanks differ"]
    interval = (1.0 / high if high > 0.0 else math.inf, 1.0 / low if low > 0.0 else math.inf)
    if resistance <= 0.0:
        reasons.insert(
            0,
            f"1/P_app - 1/P_blank is {resistance:.3g} s/cm, not above 0: the cells pass no less than the blank "
            f"({app.p_app:.3g} against {blank.p:.3g} cm/s)",
        )
        return CellsPermeability(resistance, sd, nan, interval, nan, "fail", tuple(reasons))
    if low <= 0.0:
        reasons.insert(0, "the blank is most of the resistance: P_cells has no upper bound")
    return CellsPermeability(
        resistance, sd, 1.0 / resistance, interval, sd / resistance, "warn" if reasons else app.qc,
        (*reasons, *app.reasons),
    )  # fmt: skip
