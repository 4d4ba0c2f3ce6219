"""Fits of one run side by side, as their files say: two models, or one model with other readings, cycles or seeds.

Belongs here: which fits a run's folder has, rows of two of them. Not here: fitting, which model the readings speak
for (inference.compare, whose words stand in a file of the fit), places of dots (observed_predicted), markup.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiploop.review.fits_again import FIT_FILE, written_s
from chiploop.review.run_view import digits
from chiploop.review.side_by_side import PairRow

REVIEW_FILE, COMPARISON_FILE = "review.json", "comparison.json"
AGAINST = "against-"
MOST_FITS = 60


@dataclass(frozen=True)
class FitOnFile:
    """One fit that can be shown."""

    key: str
    """Its folder below the run's ``fit``: ``c02-seed1``, ``c02-seed1/against-other``."""
    told: Mapping[str, Any]
    review: Mapping[str, Any]
    """What was worked out for a person to look at."""

    @property
    def name(self) -> str:
        """What it is called in lists and on top of columns."""
        told = self.told
        return f"{told['model']}, cycle {told['cycle']}, seed {told['seed']}"


@dataclass(frozen=True)
class FitPair:
    """Two fits beside each other."""

    names: tuple[str, str]
    verdict: str
    """Which one the readings speak for, in the words of the comparison that was made; empty where none was."""
    why_none: str
    """Why there is no verdict."""
    scores: tuple[PairRow, ...]
    """What fits are compared by."""
    made: tuple[PairRow, ...]
    """Model, readings, diagnostics."""
    goals: tuple[PairRow, ...]
    parameters: tuple[PairRow, ...]


def fits_on_file(folder: Path) -> tuple[FitOnFile, ...]:
    """Return the fits of a run's folder that were reviewed, newest first; what can not be read is passed over."""
    own = folder / "fit"
    paths = [*own.glob(f"*/{FIT_FILE}"), *own.glob(f"*/{AGAINST}*/{FIT_FILE}")]
    found = []
    for path in sorted(paths, key=written_s, reverse=True)[:MOST_FITS]:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            review = json.loads(path.with_name(REVIEW_FILE).read_text(encoding="utf-8"))
            one = FitOnFile(path.parent.relative_to(own).as_posix(), told, review)
            pair_of(folder, one, one)  # whatever is not of this form is told here
            found.append(one)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            continue
    return tuple(found)


def pair_of(folder: Path, one: FitOnFile, other: FitOnFile) -> FitPair:
    """Return two fits beside each other. KeyError, TypeError ... for files of another form."""
    verdict = verdict_of(folder, one, other)
    same = seen(one) == seen(other)
    why_none = ""
    if not verdict and one.key != other.key:
        why_none = (
            "These two were not fitted against each other; fit with the other model below for a verdict."
            if same
            else "These two have not learned from the same readings; their scores can not be compared."
        )
    return FitPair(
        (one.name, other.name),
        verdict,
        why_none,
        rows(scores(one), scores(other)),
        rows(made(one), made(other)),
        rows(goals(one), goals(other)),
        rows(parameters(one), parameters(other)),
    )


def verdict_of(folder: Path, one: FitOnFile, other: FitOnFile) -> str:
    """Return the words of the comparison of two fits; empty where none stands on file."""
    for first, second in ((one, other), (other, one)):
        if second.key.startswith(f"{first.key}/{AGAINST}"):
            path = folder / "fit" / second.key / COMPARISON_FILE
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                return ""
            refused = ", ".join(told["not_accepted"])
            return (f"NOT ACCEPTED: {refused}. " if refused else "") + str(told["verdict"])
    return ""


def seen(one: FitOnFile) -> list[tuple[object, ...]]:
    """Return the readings that a fit learned from."""
    return sorted(
        (r["readout"], r["chip"], r["time_h"], r["observed"]) for r in one.review["residuals"]
    )


def rows(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[PairRow, ...]:
    """Return what both have, the first one's order first."""
    names = dict.fromkeys([*one, *other])
    return tuple(PairRow(name, one.get(name, "–"), other.get(name, "–")) for name in names)


def scores(one: FitOnFile) -> dict[str, str]:
    """Return what models of the same readings are compared by."""
    evidence = [float(value) for value in one.told["diagnostics"]["log_evidence"]]
    left_out = one.review["left_out"]
    residuals = one.review["residuals"]
    squares = sum(float(r["residual"]) ** 2 for r in residuals)
    return {
        "log evidence (mean of populations)": number(log_mean(evidence), 1),
        "expected log predictive density (elpd)": (
            f"{number(left_out['elpd'], 1)} (se {number(left_out['standard_error'], 1)})"
        ),
        "sum of squared residuals": f"{squares:.1f} of {len(residuals)} readings",
    }


def log_mean(values: Iterable[float]) -> float:
    """Return the log of a mean that is given by its logs."""
    known = list(values)
    top = max(known)
    return top + math.log(sum(math.exp(one - top) for one in known) / len(known))


def made(one: FitOnFile) -> dict[str, str]:
    """Return what was fitted, and whether it can be trusted."""
    told, found = one.told, one.told["diagnostics"]
    return {
        "model": f"{told['model']}, sha256 {told['model_sha256'][:12]}",
        "cycle": str(told["cycle"]),
        "seed": str(told["seed"]),
        "readings used": str(told["readouts"]["used"]),
        "readings left out": str(told["readouts"]["left_out"]),
        "accepted": "yes" if told["passed"] else f"NO: {'; '.join(told['failures'])}",
        "effective particles": f"{found['ess']:.0f}",
        "searches at the best mode": f"{found['starts_at_mode']} of {found['starts']}",
        "warnings": "; ".join(str(w).partition(":")[0] for w in told["warnings"]) or "none",
        "chiploop": str(told["chiploop"]),
    }


def goals(one: FitOnFile) -> dict[str, str]:
    """Return goals with their intervals."""
    return {
        f"{name}, {goal['unit']}": interval(goal["median"], goal["lower"], goal["upper"])
        for name, goal in one.told["goals"].items()
    }


def parameters(one: FitOnFile) -> dict[str, str]:
    """Return parameters with their intervals, and how far the readings have narrowed them."""
    found = {}
    for name, p in one.told["parameters"].items():
        unit = f", {p['unit']}" if p["unit"] not in ("", "1") else ""
        told = interval(p["median"], p["lower"], p["upper"])
        found[f"{name}{unit}"] = f"{told}, narrowed {100.0 * p['shrinkage']:.0f} %"
    return found


def interval(median: float | None, lower: float | None, upper: float | None) -> str:
    """Return a median with its interval."""
    if median is None or lower is None or upper is None:
        return "not known"
    return f"{digits(median)} ({digits(lower)} to {digits(upper)})"


def number(value: float | None, digits: int) -> str:
    """Return a number, or that there is none."""
    return "not known" if value is None else f"{value:.{digits}f}"
