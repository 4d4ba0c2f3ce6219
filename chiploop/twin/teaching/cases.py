"""A case: a virtual patient drawn from the model's population, its history, and what every test would show.

Belongs here: drawing, and what a learner sees of it. Not here: answers (play), points (score). The same seed and
number give the same case: everything random is drawn here, in one order, whatever is asked for later.

Genotype and ratios of chips are drawn first, then the patient as the twin says of one with such a file: the
population, shifted by them. So a file with all results is judged by exactly what made the patient.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from chiploop.errors import WrongUse
from chiploop.twin.chip_shift import MOVED, parameters, shifts_of
from chiploop.twin.drug_effect import PotencyDraws, effect_of
from chiploop.twin.drug_facts import JAK_INHIBITOR, drug_facts, drug_of_arm
from chiploop.twin.observations import (
    EASI_FLOOR,
    EASI_LN_SD,
    LINKS,
    expected_at_baseline,
)
from chiploop.twin.patient_file import Patient
from chiploop.twin.patient_model import Effect
from chiploop.twin.population import published_population
from chiploop.twin.teaching.paths import Cohort, along, cohort_of
from chiploop.twin.teaching.rules import END_WEEK, OPTIONS, TOPICALS, VISITS
from chiploop.twin.teaching.words import IC50, severity
from chiploop.twin.trial import settings_shift

LARGEST_SEED, LARGEST_NUMBER = 2**32 - 1, 9999
EASI_RANGE = (16.0, 60.0)
"""Before treatment, without noise: moderate to severe disease, as the trials ask."""
FLG_SHARES = {"wild_type": 0.63, "heterozygous": 0.23, "null": 0.14}
"""Of 285 patients on dupilumab (BioDay, Clabbers 2024)."""
RATIO_LN_SD = 0.35
"""Between donors, of each ratio of chips. ASSUMED."""
RATIO_ERROR_LN_SD = 0.1
IC50_ERROR_LN_SD = 0.25
"""Of an IC50 on a patient's own chips. ASSUMED."""
AGES = ("18 to 29", "30 to 44", "45 to 64", "65 or more")
JAK_CLOSED_SHARE = 0.25
EARLIER_WEEKS = VISITS[1] - VISITS[0]
"""How long the treatment of the history was given."""
EARLIER_SHARES = {"none": 0.3, TOPICALS: 0.45, "drug": 0.25}
EARLIER_DRUGS = ("dupilumab", "tralokinumab", "nemolizumab")
TESTED = {
    "tewl": ("tewl_g_m2_h",),
    "ccl17": ("serum_ccl17_pg_ml",),
    "microbiome": ("microbiome_score",),
    "scores": ("th2_score", "th17_score", "th22_score"),
    "flg": ("flg",),
}
"""Test -> keys of its results in a patient's file; chips have the ratios, and an IC50 for each tablet."""


@dataclass(frozen=True)
class Earlier:
    """A treatment of the history, from the same untreated state."""

    option: str
    easi_before: float
    easi_after: float


@dataclass(frozen=True, eq=False)  # one object per seed and number
class TeachingCase:
    """A patient with a hidden truth."""

    seed: int
    number: int
    age_band: str
    """Has no part in the model; told so at the end."""
    easi: float
    """As measured at the first visit."""
    earlier: Earlier | None
    jak_closed: bool
    """Whether JAK inhibitors are not offered, for a thrombosis in the history."""
    results: dict[str, dict[str, float | str]]
    """Test -> key -> what it would show."""
    noise: tuple[float, ...]
    """Of EASI at each visit after the first and at the end, standard normal."""
    truth: Cohort
    """The patient; n = 1."""
    noise_free: dict[str, float | str]
    """Key of a result -> what it would be without noise."""

    @property
    def code(self) -> str:
        """What the patient is called."""
        return f"T{self.seed}-{self.number}"

    @property
    def options(self) -> tuple[str, ...]:
        """Treatments that are offered."""
        return tuple(
            name
            for name, option in OPTIONS.items()
            if not (self.jak_closed and option.kind == JAK_INHIBITOR)
        )

    def measured_easi(self, visit: int, easi: float) -> float:
        """Return what is read at a visit (week) of a true EASI."""
        weeks = (*VISITS[1:], END_WEEK)
        return with_noise(easi, self.noise[weeks.index(visit)])


def with_noise(easi: float, standard: float) -> float:
    """Return EASI as measured, with one decimal."""
    measured = (easi + EASI_FLOOR) * math.exp(EASI_LN_SD * standard) - EASI_FLOOR
    return round(min(max(measured, 0.0), 72.0), 1)


@lru_cache(maxsize=32)
def case_of(seed: int, number: int) -> TeachingCase:
    """Return a case; WrongUse for a seed or number that is none."""
    if not 0 <= seed <= LARGEST_SEED:
        raise WrongUse(f"seed {seed} was asked for; allowed: 0 to {LARGEST_SEED}")
    if not 1 <= number <= LARGEST_NUMBER:
        raise WrongUse(f"case {number} was asked for; allowed: 1 to {LARGEST_NUMBER}")
    rng = np.random.default_rng([seed, number])
    while True:
        flg = str(rng.choice(list(FLG_SHARES), p=list(FLG_SHARES.values())))
        ratios = np.exp(RATIO_LN_SD * rng.standard_normal(len(MOVED)))
        truth, person = _drawn(flg, dict(zip(MOVED, ratios.tolist(), strict=True)), rng)
        if EASI_RANGE[0] <= truth.easi[0] <= EASI_RANGE[1]:
            break
    noise_free, results = _results(truth, person, flg, ratios, rng)
    easi = with_noise(float(truth.easi[0]), rng.standard_normal())
    noise = tuple(rng.standard_normal(len(VISITS)).tolist())
    return TeachingCase(
        seed=seed,
        number=number,
        age_band=str(rng.choice(AGES)),
        easi=max(easi, 0.1),
        earlier=_earlier(truth, rng),
        jak_closed=bool(rng.random() < JAK_CLOSED_SHARE),
        results=results,
        noise=noise,
        truth=truth,
        noise_free=noise_free,
    )


def patient_with(case_code: str, told: dict[str, float | str], easi: float | None) -> Patient:
    """Return the file of a patient of whom this much is known."""
    file: dict[str, Any] = {
        "chiploop": 1,
        "patient": case_code,
        "consent": {"scope": ("research", "teaching"), "delete_after": "2099-12-31"},
        "baseline": {key: told[key] for key in LINKS if key in told},
        "chip": {
            key: {"ratio": told[key], "ln_sd": RATIO_ERROR_LN_SD} for key in MOVED if key in told
        },
    }
    if easi is not None:
        file["baseline"]["easi"] = easi
    if "flg" in told:
        file["flg"] = told["flg"]
    return Patient.model_validate(file)


def _drawn(flg: str, ratios: dict[str, float], rng: np.random.Generator) -> tuple[Cohort, int]:
    """Return one patient with this genotype and these ratios, and the seed of how drugs are in this person."""
    patient = patient_with("T-0", {"flg": flg, **ratios}, None)
    shifts = shifts_of(patient)
    population = published_population().shifted(settings_shift("monotherapy"))
    standard = rng.standard_normal((1, len(population.names) + 1 + len(shifts)))
    # the ratios are the donor's own; how wrong a chip reads them is drawn with the results
    for i, shift in enumerate(shifts):
        if shift.name in MOVED:
            standard[0, len(population.names) + 1 + i] = 0.0
    person = int(rng.integers(2**31))
    values = parameters(population, shifts, standard)
    return cohort_of(values, lambda arm: effect_in_person(arm, person)), person


@lru_cache(maxsize=256)
def effect_in_person(arm: str, person: int) -> Effect:
    """Return what an arm does in one person; the doses of a drug have the same uptake and potency."""
    return effect_of(arm, 1, person, potency_in_person(arm, person))


def potency_in_person(arm: str, person: int) -> PotencyDraws | None:
    """Return the one potency of an arm's drug in this person, drawn from the drug's prior; None for no drug."""
    found = drug_of_arm(arm)
    if found is None:
        return None
    drug = found[0]
    rng = np.random.default_rng([person, 1, zlib.crc32(drug.name.encode())])
    first, second = rng.standard_normal(2)
    prior = drug.potency
    half = prior.median_nm * np.exp(prior.ln_sd * first)
    hill = prior.hill * np.exp(prior.hill_ln_sd * second)
    return PotencyDraws(np.array([half]), np.array([hill]), "this patient")


def _results(
    truth: Cohort, person: int, flg: str, ratios: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, float | str], dict[str, dict[str, float | str]]]:
    """Return the noise-free values, and what every test would show."""
    expected = {key: float(value[0]) for key, value in expected_at_baseline(truth.states).items()}
    free: dict[str, float | str] = {"flg": flg}
    seen: dict[str, float | str] = {"flg": flg}
    for key, link in LINKS.items():
        shown = expected[key] + link.sd * rng.standard_normal()
        if key == "easi":
            continue
        for values, value in ((free, expected[key]), (seen, shown)):
            values[key] = _rounded(math.exp(value)) if link.is_log else round(_score(value), 2)
    for key, ratio in zip(MOVED, ratios.tolist(), strict=True):
        free[key] = _rounded(ratio)
        seen[key] = _rounded(ratio * math.exp(RATIO_ERROR_LN_SD * rng.standard_normal()))
    for drug in drug_facts().values():
        if drug.kind != JAK_INHIBITOR:
            continue
        own = potency_in_person(drug.name, person)
        assert own is not None
        half = float(own.half_nm[0])
        free[f"{IC50}{drug.name}"] = _rounded(half)
        shown = half * math.exp(IC50_ERROR_LN_SD * rng.standard_normal())
        seen[f"{IC50}{drug.name}"] = _rounded(shown)
    keys = TESTED | {"chip": (*MOVED, *(key for key in seen if key.startswith(IC50)))}
    return free, {test: {key: seen[key] for key in own} for test, own in keys.items()}


def _score(value: float) -> float:
    """Return a score within what a patient's file takes."""
    return min(max(value, -6.0), 6.0)


def _rounded(value: float) -> float:
    """Return a positive number with three digits."""
    return float(f"{value:.3g}")


def _earlier(truth: Cohort, rng: np.random.Generator) -> Earlier | None:
    kind = str(rng.choice(list(EARLIER_SHARES), p=list(EARLIER_SHARES.values())))
    drug = str(rng.choice(EARLIER_DRUGS))
    first, second = rng.standard_normal(2)
    if kind == "none":
        return None
    option = TOPICALS if kind == TOPICALS else drug
    after = float(along(truth, (option,))[0, EARLIER_WEEKS - 1])
    return Earlier(option, with_noise(float(truth.easi[0]), first), with_noise(after, second))


def history(case: TeachingCase) -> list[str]:
    """Return the case as it is told, in plain words."""
    told = [
        f"Patient {case.code}, {case.age_band} years old, atopic dermatitis since childhood.",
        f"EASI today {case.easi:.1f} ({severity(case.easi)}), under emollient alone for a long time.",
    ]
    if case.earlier is None:
        told.append("Nothing but emollient was ever tried.")
    else:
        before, after = case.earlier.easi_before, case.earlier.easi_after
        how = (
            "Two years ago topical steroids"
            if case.earlier.option == TOPICALS
            else f"Two years ago {case.earlier.option} in a trial"
        )
        told.append(
            f"{how}, for {EARLIER_WEEKS} weeks: EASI went from {before:.1f} to {after:.1f}; afterwards the "
            "skin became again what it had been."
        )
    if case.jak_closed:
        told.append("Had a thrombosis of a vein: JAK inhibitors are not offered in this case.")
    told.append("FLG is not tested, and no other measurement was made.")
    return told
