"""Which of two calibrated models the readouts speak for.

Belongs here: difference of log evidence and of predictive density, with their errors, in words. Not here: how
either is found (tempering, leave_one_out).

The two answer different questions. The evidence asks how well prior and model foretold all readings together: it
pays for wide priors. The predictive density asks how well each reading is told from the others: it hardly sees the
prior. Where they disagree, that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp
from scipy.stats import t

from chiploop.inference.leave_one_out import LeftOut
from chiploop.measurement import Readout

STRONG = 3.0
"""Difference in log evidence (20 to 1) from which a model counts as favoured."""
CLEAR = 2.0
"""Standard errors by which a difference in predictive density must stand out."""
CONFIDENCE = 0.975
"""Of Student's t for the Monte Carlo error of evidences, which two populations tell but roughly."""
SMALL_ELPD = 4.0
"""Below it neither difference nor error can be relied on (Sivula, Magnusson, Vehtari 2020, arXiv:2008.10296)."""

Favoured = Literal["first", "second", "neither"]


@dataclass(frozen=True)
class Candidate:
    """One calibrated model."""

    name: str
    readouts: tuple[Readout, ...]
    """That were learned from (``Likelihood.used``)."""
    log_evidence: tuple[float, ...]
    """One per population."""
    left_out: LeftOut
    """In the readouts' order."""


@dataclass(frozen=True)
class ModelComparison:
    """Two models beside each other; differences are first less second."""

    first: str
    second: str
    evidence_difference: float
    evidence_error: float
    """Monte Carlo, from how far populations of one model lie apart."""
    elpd_difference: float
    elpd_error: float
    """Standard error over readings."""
    doubtful: int
    """Readings whose predictive density can not be trusted in either model."""
    evidence_favours: Favoured
    elpd_favours: Favoured
    verdict: str


def compared(first: Candidate, second: Candidate) -> ModelComparison:
    """Return which of two models the readouts speak for.

    Raises ValueError where the models have not learned from the same readouts.
    """
    places = matched(first.readouts, second.readouts)
    gap = first.left_out.of_readings - second.left_out.of_readings[places]
    n = len(gap)
    elpd = float(gap.sum())
    elpd_error = float(np.sqrt(n * gap.var(ddof=1))) if n > 1 else float("inf")
    one, other = (mean_evidence(c.log_evidence) for c in (first, second))
    evidence = one[0] - other[0]
    evidence_error = float(np.hypot(one[1], other[1]))
    doubtful = np.zeros(n, dtype=bool)
    doubtful[first.left_out.doubtful] = True
    doubtful |= np.isin(places, second.left_out.doubtful)
    populations = len(first.log_evidence) + len(second.log_evidence)
    chance = float(t.ppf(CONFIDENCE, max(1, populations - 2))) * evidence_error
    by_evidence = favoured(evidence, max(STRONG, chance))
    by_elpd = favoured(elpd, max(SMALL_ELPD, CLEAR * elpd_error))
    found = ModelComparison(
        first.name,
        second.name,
        evidence,
        evidence_error,
        elpd,
        elpd_error,
        int(doubtful.sum()),
        by_evidence,
        by_elpd,
        "",
    )
    return ModelComparison(**{**vars(found), "verdict": in_words(found)})


def matched(first: Sequence[Readout], second: Sequence[Readout]) -> np.ndarray:
    """Return the place (n,) among the second's readouts of each of the first's."""
    place: dict[tuple[object, ...], list[int]] = {}
    for j, readout in enumerate(second):
        place.setdefault(key(readout), []).append(j)
    found, missing = [], 0
    for readout in first:
        same = place.get(key(readout))
        if same:
            found.append(same.pop(0))
        else:
            missing += 1
    if missing or len(first) != len(second):
        raise ValueError(
            f"the models have not learned from the same readouts: {len(first)} and {len(second)}, of which "
            f"{len(found)} are the same with their values; only models of the same data can be compared"
        )
    return np.array(found, dtype=int)


def key(readout: Readout) -> tuple[object, ...]:
    """Return what a readout says, and of what; NaN of a censored value is left out."""
    is_exact = readout.censoring == "none"
    return (
        readout.chip_id, readout.readout, readout.unit, readout.scale, readout.time_h,
        readout.window_start_h, readout.censoring,
        readout.value if is_exact else (readout.lower, readout.upper),
    )  # fmt: skip


def mean_evidence(found: Sequence[float]) -> tuple[float, float]:
    """Return the log of the mean evidence of populations, and its Monte Carlo error (infinite for one)."""
    values = np.asarray(found, dtype=float)
    mean = float(logsumexp(values) - np.log(values.size))
    if values.size < 2:
        return mean, float("inf")
    return mean, float(values.std(ddof=1) / np.sqrt(values.size))


def favoured(difference: float, least: float) -> Favoured:
    """Return which one a difference speaks for."""
    if not abs(difference) >= least:
        return "neither"
    return "first" if difference > 0.0 else "second"


def in_words(found: ModelComparison) -> str:
    """Return the verdict."""
    names = {"first": found.first, "second": found.second}
    numbers = (
        f"{found.first} against {found.second}: log evidence differs by {found.evidence_difference:+.1f} "
        f"(Monte Carlo error {found.evidence_error:.1f}), predictive density by {found.elpd_difference:+.1f} "
        f"(se {found.elpd_error:.1f})."
    )
    one, other = found.evidence_favours, found.elpd_favours
    if one == other == "neither":
        said = "The data do not tell them apart."
    elif one == other:
        said = f"The data speak for {names[one]}, by both."
    elif "neither" in (one, other):
        by, which = ("evidence", one) if other == "neither" else ("predictive density", other)
        said = f"The data speak for {names[which]} by {by} alone."
    else:
        said = (
            f"They disagree: the evidence speaks for {names[one]}, the predictive density for {names[other]}. "
            "Look at the priors."
        )
    if found.doubtful:
        said += f" The predictive density of {found.doubtful} readings can not be trusted."
    return f"{numbers} {said}"
