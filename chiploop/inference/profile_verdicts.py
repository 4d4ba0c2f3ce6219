"""What a profile says of a parameter, in words: learned, partly learned, prior-driven.

Belongs here: the verdict and its sentence. Not here: the profile (profiles).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import chi2

LEARNED = 0.5
"""Shrinkage from which a parameter counts as learned: its sd is at most half of the prior's."""
RISE = float(chi2.ppf(0.9, 1)) / 2.0
"""Fall of the data's profile at the end of its 90 % interval; where neither side reaches it, it is flat."""
LEANS = 3.5
"""Prior sd: a parameter whose sd would be larger with flat priors on all is held by the others' priors."""

Word = Literal["learned", "partly learned", "prior-driven"]


@dataclass(frozen=True)
class Interval:
    """Where a profile lies within the fall that chi-squared with one degree of freedom allows."""

    level: float
    lower: float | None
    """In the parameter's unit; None where the profile does not fall far enough within ``FARTHEST`` prior sd."""
    upper: float | None


def verdict_of(shrinkage: float, interval: Interval) -> Word:
    """Return the verdict on one parameter, with the data's own 90 % interval."""
    rises = [side for side in (interval.lower, interval.upper) if side is not None]
    if not rises:
        return "prior-driven"
    return "learned" if len(rises) == 2 and shrinkage >= LEARNED else "partly learned"


def in_words(
    name: str,
    word: Word,
    interval: Interval,
    data_fall: np.ndarray,
    alone_sd: float,
    partner: str,
) -> str:
    """Return the verdict as a sentence."""
    if word == "prior-driven":
        most = float(data_fall[np.isfinite(data_fall)].max())
        return (
            f"{name}: prior-driven. From one end of its prior to the other the data rule out nothing "
            f"(log likelihood falls by {most:.1f} at most, {RISE:.2f} would tell)."
        )
    if word == "learned":
        said = [f"{name}: learned from the data."]
    elif interval.lower is None or interval.upper is None:
        side, kept = (
            ("above", interval.upper) if interval.lower is None else ("below", interval.lower)
        )
        said = [
            f"{name}: partly learned. The data rule out values {side} {kept:.3g}; "
            "on the other side only its prior holds it."
        ]
    else:
        said = [f"{name}: partly learned. The data narrow its prior by less than half."]
    if alone_sd > LEANS:
        held = (
            f"its sd would be {alone_sd:.1f} times its prior's"
            if np.isfinite(alone_sd)
            else "nothing would hold it"
        )
        said.append(f"It leans on the priors of other parameters: were all flat, {held}.")
    if partner:
        said.append(f"It trades with {partner}.")
    return " ".join(said)
