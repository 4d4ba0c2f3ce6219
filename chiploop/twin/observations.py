"""What a measurement says of a patient's state, and how sure: every link here is ASSUMED.

Belongs here: state -> expected measurement, noise, likelihood. Not here: who the patients are (patient_twin). The
published model has no TEWL, no serum markers and no transcriptome; the links below are our own, monotone in the
state that each marker stands for, with wide noise. What was not measured adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chiploop.twin.patient_model import STATES

EASI_LN_SD = 0.15
"""Between assessors and days, on the logarithm. ASSUMED."""
EASI_FLOOR = 0.3
"""Added before the logarithm, so that a clear skin can be measured."""


@dataclass(frozen=True)
class Link:
    """A measurement at baseline."""

    expected: Callable[[dict[str, np.ndarray]], np.ndarray]
    """States by name -> what is measured, on the scale of the noise."""
    sd: float
    is_log: bool
    """Whether the file's value is the exponential of that scale."""


def ln_easi(easi: np.ndarray | float) -> np.ndarray:
    """Return the scale on which EASI is measured."""
    return np.log(np.asarray(easi) + EASI_FLOOR)


# mean and sd of the logarithms are those of 20,000 patients of the published population
LINKS: dict[str, Link] = {
    "easi": Link(lambda s: ln_easi(36.0 * (s["p"] + 1.0 - s["s"])), EASI_LN_SD, False),
    "tewl_g_m2_h": Link(lambda s: np.log(8.0 + 45.0 * (1.0 - s["s"])), 0.3, True),
    "serum_ccl17_pg_ml": Link(
        lambda s: np.log(1200.0) + 2.0 * (np.log(s["I4"] + s["I13"]) - 4.28), 0.6, True
    ),
    "th2_score": Link(lambda s: (0.5 * np.log(s["I4"] * s["I13"]) - 3.539) / 0.389, 0.7, False),
    "th17_score": Link(lambda s: (np.log(s["I17"]) - 1.377) / 0.789, 0.7, False),
    "th22_score": Link(lambda s: (np.log(s["I22"]) - 0.676) / 0.915, 0.7, False),
    "microbiome_score": Link(lambda s: (np.log(s["p"]) + 1.709) / 0.45, 1.0, False),
}
"""Key of a file's baseline -> its link."""


def expected_at_baseline(states: np.ndarray) -> dict[str, np.ndarray]:
    """Return every measurement (n,) that patients with these states (n, 14) would show without noise."""
    named = {name: states[:, i] for i, name in enumerate(STATES)}
    return {name: link.expected(named) for name, link in LINKS.items()}


def on_scale(name: str, value: float) -> float:
    """Return a file's value on the scale of its noise."""
    if name == "easi":
        return float(ln_easi(value))
    return float(np.log(value)) if LINKS[name].is_log else value


def log_likelihood(
    expected: dict[str, np.ndarray],
    measured: dict[str, float],
    easi_at_visits: np.ndarray,
    easi_measured: np.ndarray,
) -> np.ndarray:
    """Return (n,) how likely the measurements are.

    Parameters
    ----------
    measured
        By name, on the scale of the noise; what is missing is not there.
    easi_at_visits : (n, visits)
    easi_measured : (visits,)
        NaN where it is missing.
    """
    n = len(easi_at_visits)
    found = np.zeros(n)
    for name, value in measured.items():
        found -= 0.5 * ((expected[name] - value) / LINKS[name].sd) ** 2
    seen = ~np.isnan(easi_measured)
    if seen.any():
        apart = ln_easi(easi_at_visits[:, seen]) - ln_easi(easi_measured[seen])
        found -= 0.5 * (apart**2).sum(axis=1) / EASI_LN_SD**2
    return np.where(np.isnan(found), -np.inf, found)
