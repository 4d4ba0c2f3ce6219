"""What was found and measured, as rows of text: goals, parameters, readouts, files.

Belongs here: what stands in which column, and how numbers are written. Not here: doses (dose_tables), markup
(report.html.j2), judging (verdicts), figures.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.goals import best_in_words, meaning, truth_of_goal
from chiploop.inference.posterior import Posterior
from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.tissue_model import TissueModel
from chiploop.record.exclusions import is_excluded
from chiploop.record.rows import RawFile
from chiploop.refit import LEARNED
from chiploop.report.predictions import LEVEL
from chiploop.report.svg import axis_of
from chiploop.study import Goal, Study


@dataclass(frozen=True)
class GoalRow:
    """The answer to one goal."""

    name: str
    meaning: str
    median: str
    interval: str
    fold: str
    unreached: str
    truth: str
    inside: bool | None
    """None where there is no hidden truth."""


@dataclass(frozen=True)
class ParameterRow:
    """One estimated parameter."""

    name: str
    meaning: str
    unit: str
    median: str
    cv: str
    interval: str
    prior: str
    shrink: str
    learned: bool
    change: str


def number(value: float | None, digits: int = 3) -> str:
    """Return a number in few digits, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0.0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    rounded = float(f"{value:.{digits}g}")
    return (
        f"{rounded:,.0f}".replace(",", " ")
        if abs(rounded) >= 10 ** (digits - 1)
        else f"{rounded:g}"
    )


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as a percentage, a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def utc(stamp: str) -> str:
    """Return a stamp of the record to the second."""
    return f"{stamp[:10]} {stamp[11:19]} UTC" if stamp else "–"


def goal_meaning(study: Study, goal: Goal) -> str:
    """Return a goal as a sentence's end."""
    title = axis_of(goal.readout, study.tissue.study_readouts[goal.readout].unit).title
    return meaning(study, goal, title)


def with_unit(text: str, unit: str) -> str:
    """Return numbers with their unit; a ratio has none."""
    return text if unit == "1" else f"{text} {unit}"


def goal_rows(
    study: Study, goals: Sequence[Mapping[str, Any]], truths: Mapping[str, float]
) -> tuple[GoalRow, ...]:
    """Return the answer to every goal."""
    by_name = {goal.name: goal for goal in study.goals}
    rows = []
    for one in goals:
        truth = truth_of_goal(study, one, truths)
        best = best_in_words(one)
        rows.append(
            GoalRow(
                name=one["name"],
                meaning=goal_meaning(study, by_name[one["name"]]) + (f". {best}" if best else ""),
                median=with_unit(number(one["median"]), one["unit"]),
                interval=with_unit(
                    f"{number(one['lower'])} to {number(one['upper'])}", one["unit"]
                ),
                fold=f"{one['upper'] / one['lower']:.2f}",
                unreached=percent(one["unreached"], 1),
                truth="–" if truth is None else with_unit(number(truth), one["unit"]),
                inside=None if truth is None else one["lower"] <= truth <= one["upper"],
            )
        )
    return tuple(rows)


def parameter_rows(
    model: TissueModel, study: Study, posterior: Posterior, previous: Posterior | None
) -> tuple[ParameterRow, ...]:
    """Return every estimated parameter with its prior and what was learned of it."""
    prior = Prior.of_study(model, study)
    intervals, priors = posterior.interval(LEVEL), prior.interval(LEVEL)
    median, mean, sd = (f(posterior.particles, axis=0) for f in (np.median, np.mean, np.std))
    shrink = 1.0 - posterior.standard.std(axis=0)
    meanings = comments(model.text)
    rows = []
    for j, name in enumerate(posterior.names):
        change = "–"
        if previous is not None and name in previous.names:
            before = previous.standard[:, previous.names.index(name)]
            moved = np.median(posterior.standard[:, j]) - np.median(before)
            change = f"{round(moved / before.std(), 1) + 0.0:+.1f}".replace("-", "−")
        rows.append(
            ParameterRow(
                name=name,
                meaning=meanings.get(name.split("[")[0], ""),
                unit={"1": "", "ohm*cm2": "Ω cm²"}.get(posterior.units[j], posterior.units[j]),
                median=number(median[j]),
                cv=f"{100 * sd[j] / mean[j]:.0f} %",
                interval=f"{number(intervals[j, 0])} to {number(intervals[j, 1])}",
                prior=f"{number(priors[j, 0])} to {number(priors[j, 1])}",
                shrink=f"{shrink[j]:.2f}".replace("-", "−"),
                learned=bool(shrink[j] >= LEARNED),
                change=change,
            )
        )
    return tuple(rows)


def comments(model_text: str) -> dict[str, str]:
    """Return parameter -> what the model file says beside it, without unit and mark of origin."""
    found = {}
    for name, text in re.findall(r"(?m)^\s*(\w+)\s*=[^/\n]*//\s*(.+)$", model_text):
        plain = re.sub(r"\s*\[.*$", "", text)
        found[name] = re.sub(r"^(1/h|nM|pg/\S+|ohm cm2|uL\S*|cm2),\s*", "", plain).strip()
    return found


def readout_counts(readouts: Sequence[Readout]) -> list[dict[str, Any]]:
    """Return per kind of readout how many there are, censored, warned and failed."""
    kinds = list(dict.fromkeys(r.readout for r in readouts))
    rows = []
    for kind in kinds:
        own = [r for r in readouts if r.readout == kind]
        methods = Counter(re.sub(r";.*", "", r.method) for r in own)
        rows.append(
            {
                "readout": kind,
                "unit": axis_of(kind, own[0].unit).unit,
                "n": len(own),
                "used": sum(r.qc != "fail" for r in own),
                "censored": sum(r.censoring != "none" for r in own),
                "warned": sum(r.qc == "warn" for r in own),
                "failed": sum(r.qc == "fail" for r in own),
                "method": "; ".join(sorted(methods)),
            }
        )
    return rows


def excluded_of_chips(readouts: Sequence[Readout]) -> dict[str, int]:
    """Return chip -> how many of its readouts people have left out."""
    return dict(Counter(r.chip_id for r in readouts if is_excluded(r)))


def unusual_readouts(readouts: Sequence[Readout]) -> list[dict[str, str]]:
    """Return every readout that failed, warns or is only a bound, with its reasons."""
    rows = []
    for r in readouts:
        if r.qc == "ok" and r.censoring == "none":
            continue
        kind = {"left": "below", "right": "above", "interval": "between", "none": ""}[r.censoring]
        bounds = " and ".join(number(b, 4) for b in (r.lower, r.upper) if math.isfinite(b))
        rows.append(
            {
                "chip": r.chip_id,
                "readout": r.readout,
                "time": f"{r.time_h:g}",
                "value": f"{kind} {bounds}" if kind else number(r.value, 4),
                "state": {"fail": "failed, left out", "warn": "warning", "ok": "censored"}[r.qc],
                "reasons": "; ".join(r.reasons) or "–",
            }
        )
    return rows


def file_rows(folder: Path, calibrations: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the files that this report was made from, with their digests."""
    models = sorted(f"model/{path.name}" for path in (folder / "model").glob("*.*"))
    names = ["study.yaml", "study.json", *models, "lab.toml"]
    names += [c["posterior"] for c in calibrations]
    rows = []
    for name in names:
        path = folder / name
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        rows.append({"name": name, "sha256": digest})
    return rows


def raw_file_kinds(files: Sequence[RawFile]) -> list[dict[str, Any]]:
    """Return per kind of raw file how many there are and their size in kB."""
    kinds = list(dict.fromkeys(f.kind for f in files))
    return [
        {
            "kind": kind,
            "n": sum(f.kind == kind for f in files),
            "kb": f"{sum(f.size_bytes for f in files if f.kind == kind) / 1000:.1f}",
        }
        for kind in kinds
    ]
