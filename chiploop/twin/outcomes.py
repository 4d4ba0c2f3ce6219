"""What a trial reports of an arm: responders, mean improvement, how sure.

Belongs here: counting. Not here: simulating (patient_model), trials of others (trial_rows).

A quirk of the published program is kept under ``as_published`` and mended without it: patients with any EASI of
72 or more are dropped from an arm, while the percentage of responders still divides by all of them. Mended,
nobody is dropped. A patient whose simulation gives no number is an error, never a silent non-responder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.twin.patient_model import Courses

RESPONSES = (50, 75, 90)
"""Percent of improvement that make a responder."""
LARGEST_EASI = 72.0
LEVEL = 0.95
Z_95 = 1.959964


@dataclass(frozen=True)
class ArmOutcome:
    """One arm at one week."""

    n: int
    responders_pct: dict[int, float]
    """Percent of improvement -> percent of patients who reach it."""
    mean_improvement_pct: float
    sd_improvement_pct: float
    dropped: int
    """Patients left out of the mean, by the published quirk alone."""
    easi75_interval_pct: tuple[float, float]
    """Wilson's 95 % interval of the share who reach EASI-75: Monte Carlo error alone, of n virtual patients."""


def arm_outcome(
    improvement_pct: np.ndarray, easi: np.ndarray, as_published: bool = False
) -> ArmOutcome:
    """Return the outcome of improvements (n,) with the patients' EASI (n, any) of baseline and visits.

    ValueError where a value is not a number.
    """
    if np.isnan(improvement_pct).any():
        raise ValueError(
            f"{int(np.isnan(improvement_pct).sum())} of {len(improvement_pct)} virtual patients have no course"
        )
    n = len(improvement_pct)
    is_kept = (easi < LARGEST_EASI).all(axis=1) if as_published else np.ones(n, dtype=bool)
    kept = np.asarray(is_kept)
    values = improvement_pct[kept]
    shares = {r: float((values >= r).sum()) / n for r in RESPONSES}
    return ArmOutcome(
        n,
        {r: 100.0 * share for r, share in shares.items()},
        float(values.mean()),
        float(values.std()),
        n - int(kept.sum()),
        wilson_pct(shares[75], n),
    )


def wilson_pct(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, in percent."""
    z2 = Z_95 * Z_95
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 100.0 * max(0.0, float(middle - half)), 100.0 * min(1.0, float(middle + half))


def outcome_of(courses: Courses, arm: int, week: int, as_published: bool = False) -> ArmOutcome:
    """Return the outcome of an arm at the week of this index."""
    easi = np.column_stack([courses.baseline_easi, courses.easi[:, arm]])
    return arm_outcome(courses.improvement_pct[:, arm, week], easi, as_published)
