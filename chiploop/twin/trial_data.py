"""A trial's table of patients, from CSV: arm, outcome, what the twin foretold without treatment, covariates.

Belongs here: reading and refusing. Not here: how effects are estimated (control_arm).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.twin.codes import IDENTIFYING, is_code

PATIENT, ARM, OUTCOME, PROGNOSIS = "patient", "arm", "outcome", "prognosis"
ARMS = {"treated": True, "control": False}
CODE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")


@dataclass(frozen=True)
class TrialData:
    """The patients of one trial whose outcome is known."""

    patients: tuple[str, ...]
    """(n,) codes."""
    treated: np.ndarray
    """(n,) bool; the others are controls."""
    outcome: np.ndarray
    """(n,) in one unit: a change in percent, or 0 and 1 for a response."""
    prognosis: np.ndarray | None
    """(n,) what the twin foretold for each without the treatment, in the outcome's unit; None where not given."""
    covariates: np.ndarray
    """(n, k) what else is adjusted for."""
    names: tuple[str, ...]
    """(k,) of the covariates."""
    left_out: tuple[str, ...] = ()
    """Codes of patients without an outcome."""

    @property
    def n_treated(self) -> int:
        """Number of treated patients."""
        return int(self.treated.sum())

    @property
    def n_control(self) -> int:
        """Number of controls."""
        return len(self.treated) - self.n_treated

    @property
    def adjusted_for(self) -> np.ndarray:
        """Return what an adjusted analysis has beside the arm, (n, 1 + k) or (n, k)."""
        if self.prognosis is None:
            return self.covariates
        return np.column_stack([self.prognosis, self.covariates])


def read_trial(path: Path, covariates: Sequence[str] = ()) -> TrialData:
    """Return a trial from a CSV file with the columns patient, arm, outcome and, where it is known, prognosis.

    ``arm`` is ``treated`` or ``control``. A patient without an outcome is left out and named; nothing is filled
    in.

    Raises FileNotValid, with every problem and its line, for columns that are not there or say who a person is,
    codes that come twice, and cells that hold no number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise FileNotValid(f"{path} can not be read: {problem}") from None
    if not rows:
        raise FileNotValid(f"{path} is empty; its first line names the columns")
    head = [name.strip() for name in rows[0]]
    _check_head(path, head, covariates)
    numbers = [OUTCOME, *([PROGNOSIS] if PROGNOSIS in head else []), *covariates]
    problems: list[str] = []
    seen: set[str] = set()
    left_out: list[str] = []
    kept: list[tuple[str, bool, list[float]]] = []
    for line, cells in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            problems.append(f"line {line}: {len(cells)} cells, {len(head)} columns")
            continue
        row = dict(zip(head, (cell.strip() for cell in cells), strict=True))
        code, arm = row[PATIENT], row[ARM].lower()
        if not CODE.match(code) or not is_code(code):
            problems.append(
                f'line {line}, patient: "{code}" is no code (letters, a digit, - _ . and no date)'
            )
        if code in seen:
            problems.append(f"line {line}, patient: {code} stands twice")
        seen.add(code)
        if arm not in ARMS:
            problems.append(f'line {line}, arm: "{row[ARM]}"; allowed are treated and control')
            continue
        if not row[OUTCOME]:
            left_out.append(code)
            continue
        kept.append(
            (code, ARMS[arm], [_number(row[n], f"line {line}, {n}", problems) for n in numbers])
        )
    if problems:
        raise FileNotValid(f"{path}: {len(problems)} problems\n  " + "\n  ".join(problems[:20]))
    values = np.array([one[2] for one in kept]).reshape(len(kept), len(numbers))
    has_prognosis = PROGNOSIS in head
    found = TrialData(
        patients=tuple(one[0] for one in kept),
        treated=np.array([one[1] for one in kept], dtype=bool),
        outcome=values[:, 0],
        prognosis=values[:, 1] if has_prognosis else None,
        covariates=values[:, 1 + has_prognosis :],
        names=tuple(covariates),
        left_out=tuple(left_out),
    )
    if found.n_treated < 2:
        raise FileNotValid(
            f"{path}: {found.n_treated} treated patients with an outcome; at least 2 are needed"
        )
    return found


def _check_head(path: Path, head: Sequence[str], covariates: Sequence[str]) -> None:
    personal = [name for name in head if IDENTIFYING.search(name)]
    if personal:
        raise FileNotValid(
            f"{path} has the column {', '.join(personal)}: only codes are taken, nothing that says who a person is"
        )
    twice = sorted({name for name in head if head.count(name) > 1})
    if twice:
        raise FileNotValid(f"{path} has the column {', '.join(twice)} twice")
    missing = [name for name in (PATIENT, ARM, OUTCOME, *covariates) if name not in head]
    if missing:
        raise FileNotValid(f"{path} has no column {', '.join(missing)}; it has {', '.join(head)}")
    own = {PATIENT, ARM, OUTCOME, PROGNOSIS} & set(covariates)
    if own:
        raise FileNotValid(f"{', '.join(sorted(own))} can not be a covariate")


def _number(text: str, place: str, problems: list[str]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        problems.append(f'{place}: "{text}" is no number')
    return value
