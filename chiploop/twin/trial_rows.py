"""What trials found, beside what the twin says of the same arms.

Belongs here: reading a table of outcomes, which row may be called a prediction, z-scores. Not here: simulating
(trial). The table is a CSV with the columns drug, dose, week, endpoint, value, n, source; a source that does not
say "[confirmed]" is left out.

    z = (twin - trial) / sqrt(p (1 - p)/n + 5^2)      in points; for mean improvement sd^2/n with the twin's sd
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.twin.outcomes import ArmOutcome

BETWEEN_TRIALS_POINTS = 5.0
"""Sd between trials of one arm, on EASI-75: SOLO 1 and 2 differ by 7 points, ECZTRA 1 and 2 by 8."""
ENDPOINTS = ("EASI50_pct", "EASI75_pct", "EASI90_pct", "mean_pct_EASI_improvement")
DOSES = {
    "300 mg q2w": "q2w", "300 mg qw": "qw", "15 mg qd": "15mg", "30 mg qd": "30mg", "100 mg qd": "100mg",
    "200 mg qd": "200mg",
}  # fmt: skip
COLUMNS = ("drug", "dose", "week", "endpoint", "value", "n", "source")
FITTED, SAME_TRIAL, PREDICTION = "fitted", "same trial", "prediction"
FITTED_ROWS = {("SOLO 1", "placebo"), ("Measure Up 1", "upadacitinib:15mg")}
"""EASI-75 of these arms gave the two fitted terms."""
FITTED_TRIALS = {trial for trial, _ in FITTED_ROWS}


@dataclass(frozen=True)
class TrialRow:
    """One outcome of one arm, confirmed."""

    trial: str
    arm: str
    setting: str
    week: float
    endpoint: str
    value: float
    n: int
    n_from_other_week: bool

    @property
    def kind(self) -> str:
        """Whether the twin was fitted to it, to its trial, or predicts it."""
        if (self.trial, self.arm) in FITTED_ROWS and self.endpoint == "EASI75_pct":
            return FITTED
        return SAME_TRIAL if self.trial in FITTED_TRIALS else PREDICTION


@dataclass(frozen=True)
class Comparison:
    """A row, what the twin says, and how far apart they are."""

    row: TrialRow
    twin: float
    z: float


def read_trial_rows(path: Path) -> tuple[list[TrialRow], list[str]]:
    """Return the confirmed rows on EASI, and in words what was left out; FileNotValid for another table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotValid(f"{path} can not be read: {error}") from None
    if not lines or set(COLUMNS) - set(lines[0]):
        raise FileNotValid(f"{path}: a table of trials has the columns {', '.join(COLUMNS)}")
    found, left_out = [], []
    for line in lines:
        if line["endpoint"] not in ENDPOINTS:
            continue
        trial = line["source"].split(",")[0].split(";")[0].split(" (")[0]
        name = f"{trial}, {line['drug']} {line['dose']}, week {line['week']}, {line['endpoint']}"
        if "[confirmed]" not in line["source"]:
            left_out.append(f"{name}: not confirmed")
            continue
        drug, _, care = line["drug"].partition("+")
        arm = drug if drug == "placebo" else f"{drug}:{DOSES[line['dose']]}"
        setting = "topicals" if care else "monotherapy"
        found.append(
            TrialRow(
                trial, arm, setting, float(line["week"]), line["endpoint"], float(line["value"]),
                int(line["n"] or 0), False,
            )
        )  # fmt: skip
    return [with_number(row, found) for row in found], left_out


def with_number(row: TrialRow, rows: Iterable[TrialRow]) -> TrialRow:
    """Return a row with its arm's number of patients, from another week where its own has none."""
    if row.n:
        return row
    others = [r.n for r in rows if (r.trial, r.arm) == (row.trial, row.arm) and r.n]
    if not others:
        raise FileNotValid(f"{row.trial}, {row.arm}: no row says how many patients there were")
    return replace(row, n=others[0], n_from_other_week=True)


def compared(row: TrialRow, outcome: ArmOutcome) -> Comparison:
    """Return a row beside the twin's outcome of the same arm."""
    if row.endpoint == "mean_pct_EASI_improvement":
        twin = outcome.mean_improvement_pct
        variance = outcome.sd_improvement_pct**2 / row.n
    else:
        twin = outcome.responders_pct[int(row.endpoint[4:6])]
        variance = row.value * (100.0 - row.value) / row.n
    z = (twin - row.value) / np.sqrt(variance + BETWEEN_TRIALS_POINTS**2)
    return Comparison(row, twin, float(z))


def summary(comparisons: Iterable[Comparison]) -> Mapping[str, tuple[int, float, int]]:
    """Return kind of row -> number, root mean square of z, how many lie beyond 2."""
    by_kind: dict[str, list[float]] = {}
    for one in comparisons:
        by_kind.setdefault(one.row.kind, []).append(one.z)
    return {
        kind: (len(z), float(np.sqrt(np.mean(np.square(z)))), sum(abs(v) > 2.0 for v in z))
        for kind, z in by_kind.items()
    }
