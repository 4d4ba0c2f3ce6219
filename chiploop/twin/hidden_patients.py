"""Patients whose truth is hidden from the twin: the files it would be given, and what happens to them.

Belongs here: making such patients, forecasts for them by the code that a user's patient takes, how often the truth
lies inside. Not here: the twin (patient_twin), which cohorts are looked at (benchmarks.twin_populations). Persons
in plasma and potencies are others than the twin's own, drawn from what the twin takes to be possible, unless a
cohort says how it differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chiploop.twin.chip_shift import MOVED, parameters, shifts_of
from chiploop.twin.drug_effect import PotencyDraws, effect_of
from chiploop.twin.drug_facts import drug_of_arm
from chiploop.twin.observations import EASI_FLOOR, EASI_LN_SD, LINKS, expected_at_baseline, ln_easi
from chiploop.twin.patient_file import Baseline, Chip, Patient, Visit
from chiploop.twin.patient_model import before_treatment, simulate
from chiploop.twin.patient_twin import Twin, new_twin, replace_visits, updated
from chiploop.twin.patient_what_if import QUANTILES, courses
from chiploop.twin.population import published_population
from chiploop.twin.trial import settings_shift

NOTHING, BASELINE = "nothing measured", "baseline"
"""With nothing measured the file has no genotype and no chips either. The ratios of the chips, which shift these
patients, make them a little wider than the population, so that a blank file is a little too sure of them.
"""
PERSONS_SEED = 977
"""Of their persons in plasma; the twin's is another."""
KNOWN_SHARE = 0.6
"""How often each measurement and each ratio stands in a file."""
VISIT_MISSED = 0.1
ROUNDS = 300
"""Of drawing n patients, until n of them are of the cohort."""


@dataclass(frozen=True)
class Cohort:
    """Patients alike in one respect."""

    name: str
    file: Mapping[str, Any] = field(default_factory=dict)
    """What stands in the file of each."""
    shifts: Mapping[str, float] = field(default_factory=dict)
    """Parameter -> addition to the mean of its logarithm that is true and that the twin does not know."""
    exposure: float = 1.0
    """True factor on every concentration, unknown to the twin."""
    easi: tuple[float, float] = (0.0, 72.0)
    """Of the true EASI before treatment; who lies outside is not of the cohort."""


@dataclass(frozen=True)
class Hidden:
    """Patients, what their files say, what happens."""

    files: tuple[Patient, ...]
    """Without visits."""
    visits: tuple[tuple[Visit, ...], ...]
    """The same weeks in each."""
    improvement_pct: np.ndarray
    """(n,) true fall of EASI at the last week, without the noise of measuring."""
    drug: str
    week: float


@dataclass(frozen=True)
class Foreseen:
    """Forecasts beside the truth, by what was known."""

    stages: tuple[str, ...]
    covered: np.ndarray
    """(stages, n) whether the truth lies in the 90 % band."""
    place: np.ndarray
    """(stages, n) share of the virtual patients below the truth: uniform where the twin is right."""
    width: np.ndarray
    """(stages, n) of the band, in points."""
    missed_by: np.ndarray
    """(stages, n) median minus truth, in points."""
    refused: int
    """Patients for whom no virtual patient could show what they show; counted as not covered from there on."""


def hidden_patients(
    cohort: Cohort,
    drug: str,
    n: int,
    rng: np.random.Generator,
    week: float = 16.0,
    visit_weeks: Sequence[float] = (2.0, 4.0, 8.0),
) -> Hidden:
    """Return n patients of a cohort under a drug.

    ValueError where too few of the population are of the cohort.
    """
    files, values = _drawn(cohort, drug, n, rng)
    started = before_treatment(values)
    facts = drug_of_arm(drug)
    potency = None
    if facts is not None:
        prior, draws = facts[0].potency, rng.standard_normal((2, n))
        potency = PotencyDraws(
            prior.median_nm * np.exp(prior.ln_sd * draws[0]),
            prior.hill * np.exp(prior.hill_ln_sd * draws[1]),
            "hidden",
        )
    effect = effect_of(
        drug, n, PERSONS_SEED, potency, dose_factor=cohort.exposure, potency_of=np.arange(n)
    )
    easi = simulate(values, [effect], np.array([*visit_weeks, week]), started=started).easi[:, 0]
    expected = expected_at_baseline(started[0])
    known = {name: rng.random(n) < KNOWN_SHARE for name in LINKS}
    shown = {
        name: expected[name] + link.sd * rng.standard_normal(n) for name, link in LINKS.items()
    }
    noise = EASI_LN_SD * rng.standard_normal(easi.shape)
    seen = np.clip(np.exp(ln_easi(easi) + noise) - EASI_FLOOR, 0.0, 72.0)
    came = rng.random(easi.shape) >= VISIT_MISSED
    told, visits = [], []
    for i, file in enumerate(files):
        measured = {name: in_file(name, float(shown[name][i])) for name in LINKS if known[name][i]}
        told.append(file.model_copy(update={"baseline": Baseline.model_validate(measured)}))
        visits.append(
            tuple(
                Visit(week=w, easi=float(seen[i, j]) if came[i, j] else None)
                for j, w in enumerate(visit_weeks)
            )
        )
    true = 100.0 * (1.0 - easi[:, -1] / started[1])
    return Hidden(tuple(told), tuple(visits), true, drug, week)


def in_file(name: str, value: float) -> float:
    """Return a value on the scale of its noise as it stands in a file, within what a file may hold."""
    if name == "easi":
        return float(np.clip(np.exp(value) - EASI_FLOOR, 0.01, 72.0))
    return float(np.exp(value)) if LINKS[name].is_log else float(np.clip(value, -6.0, 6.0))


def _drawn(
    cohort: Cohort, drug: str, n: int, rng: np.random.Generator
) -> tuple[list[Patient], np.ndarray]:
    """Return files without measurements, and true parameters (n, 51)."""
    files: list[Patient] = []
    found: list[np.ndarray] = []
    for _ in range(ROUNDS):
        made: list[Patient] = []
        values: list[np.ndarray] = []
        for _ in range(n):
            file = _file(cohort, drug, len(files) + len(made), rng)
            shifts = shifts_of(file)
            population = published_population().shifted(
                {
                    name: settings_shift(file.setting).get(name, 0.0) + cohort.shifts.get(name, 0.0)
                    for name in {*settings_shift(file.setting), *cohort.shifts}
                }
            )
            standard = rng.standard_normal((1, len(population.names) + 1 + len(shifts)))
            made.append(file)
            values.append(parameters(population, shifts, standard)[0])
        easi = before_treatment(np.array(values))[1]
        inside = (easi >= cohort.easi[0]) & (easi <= cohort.easi[1])
        files += [file for file, is_in in zip(made, inside, strict=True) if is_in]
        found += [row for row, is_in in zip(values, inside, strict=True) if is_in]
        if len(files) >= n:
            return files[:n], np.array(found[:n])
    raise ValueError(f"{cohort.name}: {len(files)} of {ROUNDS * n} of the population are of it")


def _file(cohort: Cohort, drug: str, number: int, rng: np.random.Generator) -> Patient:
    ratios = {
        name: {"ratio": float(np.exp(0.4 * rng.standard_normal())), "ln_sd": 0.2}
        for name in MOVED
        if rng.random() < KNOWN_SHARE
    }
    return Patient.model_validate(
        {
            "chiploop": 1,
            "patient": f"V-{number:04d}",
            "consent": {"scope": ["research"], "delete_after": "2099-12-31"},
            "treatment": drug.partition(":")[0],
            "chip": ratios,
            **cohort.file,
        }
    )


def forecast(twin: Twin, drug: str, week: float) -> np.ndarray:
    """Return the fall of EASI in each virtual patient (n,), as a what-if has it."""
    return courses(twin.evened(), [drug], np.array([week]))[2][:, 0]


def foreseen(hidden: Hidden, n_virtual: int, seed: int) -> Foreseen:
    """Return forecasts for every patient: nothing known, after the baseline, after each visit.

    Each patient goes the way of a user's: ``new_twin``, ``updated`` visit by visit, ``courses`` of the evened
    twin.
    """
    weeks = [f"week {visit.week:g}" for visit in hidden.visits[0]]
    stages = (NOTHING, BASELINE, *weeks)
    shape = (len(stages), len(hidden.files))
    covered, refused = np.zeros(shape, dtype=bool), 0
    place, width, missed = (np.full(shape, np.nan) for _ in range(3))
    for i, (file, visits) in enumerate(zip(hidden.files, hidden.visits, strict=True)):
        rng = np.random.default_rng([seed, i])
        nothing = file.model_copy(update={"baseline": Baseline(), "chip": Chip(), "flg": None})
        twin: Twin | None = None
        for stage in range(len(stages)):
            try:
                if stage < 2:
                    start = (nothing, replace_visits(file, ()))[stage]
                    twin, _ = new_twin(start, rng, n=n_virtual)
                elif twin is not None:
                    twin, _ = updated(twin, (visits[stage - 2],), rng)
            except ValueError:
                twin, refused = None, refused + 1
            if twin is None:
                continue
            values, true = forecast(twin, hidden.drug, hidden.week), hidden.improvement_pct[i]
            low, middle, high = np.quantile(values, QUANTILES)
            covered[stage, i] = low <= true <= high
            place[stage, i] = (values < true).mean()
            width[stage, i], missed[stage, i] = high - low, middle - true
    return Foreseen(stages, covered, place, width, missed, refused)
