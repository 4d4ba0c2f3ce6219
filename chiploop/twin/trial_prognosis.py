"""What the twin foretells of each patient of a trial without the treatment, from what was known before it.

Belongs here: baseline columns of a trial's file -> prognosis and its sd. Not here: the rest of that file
(trial_data), what is done with a prognosis (control_arm).

One bank of virtual patients under placebo serves all patients of one genotype: for each patient the bank is
weighed by how likely this patient's baseline is (observations). What was not measured weighs nothing. The
prognosis is of what would be measured: the fall is counted from the patient's own measured EASI where there is
one. Age moves nothing.

Research use only; not for clinical decisions.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from chiploop.errors import FileNotValid, WrongUse
from chiploop.study_problems import problems_of
from chiploop.study_yaml import YamlText
from chiploop.twin.chip_shift import FLG_DOSE, FLG_LOWEST, Shift, parameters
from chiploop.twin.observations import (
    EASI_FLOOR,
    EASI_LN_SD,
    expected_at_baseline,
    log_likelihood,
    on_scale,
)
from chiploop.twin.patient_file import Baseline
from chiploop.twin.patient_model import PLACEBO, before_treatment, simulate
from chiploop.twin.population import published_population
from chiploop.twin.trial import settings_shift

OUTCOMES = ("improvement_pct", "EASI", "EASI50", "EASI75", "EASI90")
"""What the column ``outcome`` holds: fall of EASI in percent, EASI itself, or a response as 0 and 1."""
BANK = 4000
FEW = 50.0
"""Fewest effective virtual patients behind a prognosis that is not warned of."""


class TrialBaseline(Baseline):
    """What was measured of one patient of a trial before treatment, by the columns' names."""

    age_years: float | None = None
    flg: str | None = None


COLUMNS = tuple(TrialBaseline.model_fields)


@dataclass(frozen=True)
class Prognoses:
    """Of each patient of a trial, without the treatment."""

    mean: np.ndarray
    """(n,) in the outcome's unit; of a response its probability."""
    sd: np.ndarray
    """(n,) of what would be measured of this patient."""
    effective: np.ndarray
    """(n,) effective number of virtual patients."""
    known: dict[str, int]
    """Baseline column -> in how many patients it is known."""


def read_baselines(path: Path, patients: Sequence[str]) -> list[TrialBaseline]:
    """Return the baseline of each of these patients from the columns of a trial's file; an empty cell is missing.

    Raises FileNotValid, with line and column, for values that can not be, and where there is no such column.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    head = [name.strip() for name in rows[0]]
    columns = [name for name in COLUMNS if name in head]
    if not columns:
        raise FileNotValid(
            f"{path} has no column that the twin can foretell from; such are {', '.join(COLUMNS)}"
        )
    found: dict[str, TrialBaseline] = {}
    problems: list[str] = []
    for line, cells in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(head, (cell.strip() for cell in cells), strict=True))
        code = row["patient"]
        try:
            values = {n: row[n] if n == "flg" else float(row[n]) for n in columns if row[n]}
            if values.get("flg", "wild_type") not in FLG_DOSE:
                raise ValueError(f'flg "{values["flg"]}"; known: {", ".join(FLG_DOSE)}')
            found[code] = TrialBaseline.model_validate(values)
        except ValidationError as error:
            told = problems_of(error, TrialBaseline, YamlText(path))
            problems += [f"line {line}, {one.field}: {one.message}" for one in told]
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        raise FileNotValid(f"{path}: {len(problems)} problems\n  " + "\n  ".join(problems[:20]))
    return [found[code] for code in patients]


def check_outcomes(path: Path, patients: Sequence[str], values: np.ndarray, outcome: str) -> None:
    """Raise FileNotValid where the outcomes of a file can not be what they are said to be."""
    if outcome == "improvement_pct":
        fits, allowed = values <= 100.0, "100 at most"
    elif outcome == "EASI":
        fits, allowed = (values >= 0.0) & (values <= 72.0), "0 to 72"
    else:
        fits, allowed = (values == 0.0) | (values == 1.0), "0 or 1"
    if not fits.all():
        i = int(np.argmin(fits))
        raise FileNotValid(
            f"{path}: the outcome of {patients[i]} is {values[i]:g}, which is no {outcome} (allowed: {allowed}); "
            f"{int((~fits).sum())} of {len(fits)} patients"
        )


@dataclass(frozen=True)
class Bank:
    """Virtual patients under placebo."""

    expected: dict[str, np.ndarray]
    """Baseline measurements without noise."""
    baseline: np.ndarray
    """(n,) EASI before treatment."""
    measured: np.ndarray
    """(n,) EASI that would be measured at the week."""


def bank_of(flg: str | None, setting: str, week: float, rng: np.random.Generator, n: int) -> Bank:
    """Return virtual patients of a genotype in a kind of trial."""
    population = published_population().shifted(settings_shift(setting))
    dose = FLG_DOSE[flg or "wild_type"]
    shifts = [Shift("flg", "k1", float(np.log(dose)), 0.0, True, float(np.log(FLG_LOWEST)))]
    values = parameters(population, shifts, rng.standard_normal((n, len(population.names) + 2)))
    started = before_treatment(values)
    easi = simulate(values, [PLACEBO], np.array([week]), started=started).easi[:, 0, 0]
    whole = np.isfinite(easi) & np.isfinite(started[1])
    noise = np.exp(EASI_LN_SD * rng.standard_normal(n))
    measured = np.maximum((easi + EASI_FLOOR) * noise - EASI_FLOOR, 0.0)
    return Bank(
        {name: one[whole] for name, one in expected_at_baseline(started[0]).items()},
        started[1][whole],
        measured[whole],
    )


def prognoses(
    baselines: Sequence[TrialBaseline],
    outcome: str,
    setting: str = "monotherapy",
    week: float = 16.0,
    seed: int = 1,
    n: int = BANK,
) -> Prognoses:
    """Return the prognosis of each patient; WrongUse for an outcome, a setting or a week that is not possible."""
    if outcome not in OUTCOMES:
        raise WrongUse(f"outcome {outcome!r} can not be foretold; known: {', '.join(OUTCOMES)}")
    if not 1.0 <= week <= 520.0:
        raise WrongUse(f"week {week:g} was asked for; allowed: 1 to 520")
    # the same random numbers for every genotype: they differ by the genotype alone
    kinds = {one.flg for one in baselines}
    banks = {f: bank_of(f, setting, week, np.random.default_rng(seed), n) for f in kinds}
    rows = [one_prognosis(one, banks[one.flg], outcome) for one in baselines]
    mean, sd, effective = (np.array(column) for column in zip(*rows, strict=True))
    known = {name: sum(getattr(one, name) is not None for one in baselines) for name in COLUMNS}
    return Prognoses(mean, sd, effective, {name: k for name, k in known.items() if k})


def one_prognosis(baseline: TrialBaseline, bank: Bank, outcome: str) -> tuple[float, float, float]:
    """Return mean, sd and effective number of one patient."""
    measured = {
        name: on_scale(name, value)
        for name in Baseline.model_fields
        if (value := getattr(baseline, name)) is not None
    }
    m = len(bank.baseline)
    none = np.zeros((m, 0))
    told = log_likelihood(bank.expected, measured, none, np.zeros(0)) if measured else np.zeros(m)
    weights = np.exp(told - told.max())
    weights /= weights.sum()
    values = outcome_of(bank, baseline.easi, outcome)
    mean = float(weights @ values)
    sd = float(np.sqrt(weights @ (values - mean) ** 2))
    return mean, sd, float(1.0 / np.square(weights).sum())


def outcome_of(bank: Bank, easi: float | None, outcome: str) -> np.ndarray:
    """Return the outcome (n,) of the bank's patients, counted from a measured EASI where there is one."""
    if outcome == "EASI":
        return bank.measured
    fall = 100.0 * (1.0 - bank.measured / (bank.baseline if easi is None else easi))
    if outcome == "improvement_pct":
        return fall
    return np.asarray(fall >= float(outcome.removeprefix("EASI")), dtype=float)
