"""One patient's file: codes only, what was measured, what was agreed. YAML, told with line numbers.

Belongs here: shapes and rules of the file. Not here: what a value says of the patient (observations, chip_shift).
Every measurement may be missing; what is missing stays missing. Names and dates of birth are refused.

Research use only; not for clinical decisions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from chiploop.errors import FileNotValid, Problem
from chiploop.study_fields import FROM_FILE, Identifier, OneOf, Part, as_tuple, problem
from chiploop.study_problems import problems_of
from chiploop.study_yaml import read_yaml
from chiploop.twin.codes import IDENTIFYING, is_code
from chiploop.twin.drug_facts import PLACEBO_ARM, drug_facts
from chiploop.twin.fitted_terms import SETTINGS
from chiploop.twin.population import published_population

SCOPES = ("research", "teaching", "sharing")


def _code(value: str) -> str:
    if not is_code(value):
        raise problem(
            f'"{value}" is not a code',
            'a code holds a digit and is no date and no name, e.g. "P-0042"',
        )
    return value


def _day(value: str) -> str:
    if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", value):
        raise problem(f'"{value}" is not a day', "write it as 2030-12-31")
    return value


Code = Annotated[Identifier, AfterValidator(_code)]
Positive = Annotated[float, Field(gt=0)]
Score = Annotated[float, Field(ge=-6, le=6)]


class Consent(Part):
    """What the patient agreed to."""

    scope: Annotated[
        tuple[Annotated[str, OneOf(SCOPES)], ...], BeforeValidator(as_tuple), Field(min_length=1)
    ]
    delete_after: Annotated[str, AfterValidator(_day)]
    """Last day on which the file may be kept."""


class Baseline(Part):
    """What was measured before treatment."""

    easi: Annotated[float, Field(gt=0, le=72)] | None = None
    tewl_g_m2_h: Positive | None = None
    serum_ccl17_pg_ml: Positive | None = None
    th2_score: Score | None = None
    """Transcriptomic scores in sd of patients with moderate to severe disease."""
    th17_score: Score | None = None
    th22_score: Score | None = None
    microbiome_score: Score | None = None
    """Load of S. aureus, logarithm, in sd of patients."""


class ChipRatio(Part):
    """Donor over reference, as this patient's chips showed it."""

    ratio: Positive
    ln_sd: Annotated[float, Field(ge=0, le=2)] = 0.1


class Chip(Part):
    """What this patient's cells did on chips."""

    barrier_loss_il13: ChipRatio | None = None
    barrier_loss_il4: ChipRatio | None = None
    maturation: ChipRatio | None = None
    basal_tslp: ChipRatio | None = None


class Modifier(Part):
    """Something that may move a parameter: stress, sleep, climate."""

    parameter: str
    """Of the disease model."""
    ln_effect: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """On the logarithm of the parameter; other than 0 needs a source."""
    ln_sd: Annotated[float, Field(gt=0, le=2)] = 0.2
    source: str = ""
    """Of the effect; without one the effect is ASSUMED to be centred on none."""

    @model_validator(mode="after")
    def _is_sourced(self) -> Modifier:
        known = published_population().names
        if self.parameter not in known:
            raise problem(f"{self.parameter} is not a parameter; known: {', '.join(known)}")
        if self.ln_effect and not self.source:
            raise problem(
                f"an effect of {self.ln_effect:g} has no source",
                "name its source, or leave ln_effect out",
            )
        return self


class Visit(Part):
    """A visit under the treatment of the file."""

    week: Annotated[float, Field(gt=0, le=520)]
    easi: Annotated[float, Field(ge=0, le=72)] | None = None
    """Missing where the patient came but was not scored, or did not come."""
    serum_ccl17_pg_ml: Positive | None = None


class Patient(Part):
    """A patient's file."""

    chiploop: Literal[1]
    patient: Code
    """A code; who it is stands elsewhere."""
    consent: Consent
    setting: Annotated[str, OneOf(tuple(SETTINGS))] = "monotherapy"
    age_years: Annotated[int, Field(ge=0, le=120)] | None = None
    flg: Annotated[str, OneOf(("wild_type", "heterozygous", "null"))] | None = None
    baseline: Baseline = Baseline()
    chip: Chip = Chip()
    modifiers: dict[str, Modifier] = {}
    treatment: Annotated[str, OneOf((PLACEBO_ARM, *drug_facts()))] | None = None
    visits: Annotated[tuple[Visit, ...], BeforeValidator(as_tuple)] = ()

    @model_validator(mode="after")
    def _visits_ascend(self) -> Patient:
        weeks = [visit.week for visit in self.visits]
        if weeks != sorted(set(weeks)):
            raise problem(f"visits do not ascend: weeks {', '.join(f'{w:g}' for w in weeks)}")
        if self.visits and self.treatment is None:
            raise problem(
                "there are visits but no treatment", "write treatment: placebo, or a drug"
            )
        return self


def read_patient(path: Path) -> tuple[Patient | None, list[Problem]]:
    """Return the patient of a file, or every problem of it with its line."""
    text = read_yaml(path)
    if text.problems:
        return None, text.problems
    refused = [
        Problem(
            text.line(place), ".".join(map(str, place)), f'"{place[-1]}" may identify a person and is refused',
            "keep who it is elsewhere; here stands a code",
        )
        for place in text.lines
        if isinstance(place[-1], str) and IDENTIFYING.search(place[-1])
    ]  # fmt: skip
    if refused:
        return None, refused
    try:
        return Patient.model_validate(text.values, context=FROM_FILE), []
    except ValidationError as error:
        return None, problems_of(error, Patient, text)


def patient_of(path: Path) -> Patient:
    """Return the patient of a file; FileNotValid with every problem and its line."""
    patient, problems = read_patient(path)
    if patient is None:
        told = "; ".join(
            (f"line {p.line}, " if p.line else "") + (f"{p.field}: " if p.field else "") + p.message
            + (f" ({p.hint})" if p.hint else "")
            for p in problems
        )  # fmt: skip
        raise FileNotValid(f"{path}: {told}")
    return patient


def outside_of_population(patient: Patient) -> list[str]:
    """Return in words where the population was not built from patients like this one."""
    told: list[Any] = []
    if patient.age_years is not None and patient.age_years < 18:
        told.append(f"age {patient.age_years}: the population was built from adults")
    easi = patient.baseline.easi
    if easi is not None and not 4.0 <= easi <= 51.0:
        told.append(f"baseline EASI {easi:g}: 98 % of the population lie between 4 and 51")
    told.append(
        "ancestry: the sources of the population give none, so nothing is known of how it holds there"
    )
    return told
