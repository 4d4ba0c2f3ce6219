"""What a measurement says of a patient's state, and how sure: every link here is ASSUMED.

Belongs here: state -> expected measurement, noise, likelihood. Not here: who the patients are (patient_twin). The
published model has no TEWL, no serum markers and no transcriptome; the links below are our own, monotone in the
state that each marker stands for, with wide noise. What was not measured adds nothing.

Serum CCL17 under treatment falls with the model's Th2 cells T2, down to what healthy people have:

    CCL17(t)/CCL17(0) = f + (1 - f)(T2(t)/T2(0))^a        f = 0.15 ASSUMED; a fitted to one row (CCL17_POWER)

A person's level has an offset of its own, the same at baseline and at visits, so that a change tells more than a
level does.
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
CCL17 = "serum_ccl17_pg_ml"

CCL17_FLOOR = 0.15
"""Share of a patient's CCL17 that stays without Th2 cells. ASSUMED: dupilumab brings it to the level of healthy
children (PMID 39178993, abstract alone: falls of 72 to 83 %).
"""
CCL17_POWER = 4.8
"""a; fitted to the fall of 75 % under tralokinumab at week 16 of ECZTRA 1 alone (docs/twin.md)."""
CCL17_LN_SD, CCL17_READING_LN_SD = 0.6, 0.3
"""Of a level, and the part of it that is new at each reading; the rest is the person's own offset. ASSUMED."""


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
    CCL17: Link(
        lambda s: np.log(1200.0) + 2.0 * (np.log(s["I4"] + s["I13"]) - 4.28), CCL17_LN_SD, True
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
    th2_at_visits: np.ndarray | None = None,
    ln_ccl17_measured: np.ndarray | None = None,
) -> np.ndarray:
    """Return (n,) how likely the measurements are.

    Parameters
    ----------
    measured
        By name, on the scale of the noise; what is missing is not there.
    easi_at_visits : (n, visits)
    easi_measured : (visits,)
        NaN where it is missing.
    th2_at_visits : (n, visits)
        Shares of the Th2 cells before treatment.
    ln_ccl17_measured : (visits,)
        NaN where it is missing.
    """
    n = len(easi_at_visits)
    found = np.zeros(n)
    for name, value in measured.items():
        if name == CCL17:
            continue
        found -= 0.5 * ((expected[name] - value) / LINKS[name].sd) ** 2
    seen = ~np.isnan(easi_measured)
    if seen.any():
        apart = ln_easi(easi_at_visits[:, seen]) - ln_easi(easi_measured[seen])
        found -= 0.5 * (apart**2).sum(axis=1) / EASI_LN_SD**2
    apart_ccl17 = [expected[CCL17] - measured[CCL17]] if CCL17 in measured else []
    if th2_at_visits is not None and ln_ccl17_measured is not None:
        for v in np.flatnonzero(~np.isnan(ln_ccl17_measured)):
            now = expected[CCL17] + ln_ccl17_change(th2_at_visits[:, v])
            apart_ccl17.append(now - ln_ccl17_measured[v])
    if apart_ccl17:
        found += with_own_offset(np.column_stack(apart_ccl17))
    return np.where(np.isnan(found), -np.inf, found)


def ln_ccl17_change(th2: np.ndarray) -> np.ndarray:
    """Return the change of ln CCL17 where Th2 cells have come to these shares of what they were."""
    return np.log(CCL17_FLOOR + (1.0 - CCL17_FLOOR) * np.maximum(th2, 0.0) ** CCL17_POWER)


def with_own_offset(apart: np.ndarray) -> np.ndarray:
    """Return the log likelihood (n,) of residuals (n, readings) that share one person's offset.

    Normal with covariance tau^2 in all places and sigma^2 on the diagonal, tau^2 + sigma^2 that of a level.
    """
    own, new = CCL17_LN_SD**2 - CCL17_READING_LN_SD**2, CCL17_READING_LN_SD**2
    together = own / (new + own * apart.shape[1])
    return np.asarray(-0.5 * ((apart**2).sum(axis=1) - together * apart.sum(axis=1) ** 2) / new)


def own_offset(apart: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return draws (n,) of a person's own offset, given how far readings (n, any) lie from what the state says."""
    own, new = CCL17_LN_SD**2 - CCL17_READING_LN_SD**2, CCL17_READING_LN_SD**2
    kept = own / (new + own * apart.shape[1])
    sd = np.sqrt(new * kept)
    return np.asarray(kept * apart.sum(axis=1) + sd * rng.standard_normal(len(apart)))
