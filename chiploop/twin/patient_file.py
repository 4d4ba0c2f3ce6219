"""One patient's file: codes only, what was measured, what was agreed. YAML, told with line numbers.

Belongs here: shapes and rules of the file. Not here: what a value says of the patient (observations, chip_shift),
how a field is read (patient_fields), which use is agreed to (consent), where patients are kept
(chiploop.patients).
Every measurement may be missing; what is missing stays missing. There is no free text: every field is a number, a
word of a list, a code or a reference, so that no name and no date of birth finds a place.

Research use only; not for clinical decisions.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from chiploop.errors import FileNotValid, Problem
from chiploop.study_fields import FROM_FILE, Login, OneOf, Part, as_tuple, problem
from chiploop.study_problems import problems_of
from chiploop.study_yaml import read_yaml
from chiploop.twin.codes import IDENTIFYING, of_comment
from chiploop.twin.consent import SCOPES
from chiploop.twin.drug_facts import PLACEBO_ARM, drug_facts
from chiploop.twin.fitted_terms import SETTINGS
from chiploop.twin.patient_fields import (
    KNOWN_MODIFIERS,
    TERMS,
    Age,
    Code,
    Day,
    Positive,
    Score,
    age_of,
    institution,
    plain_login,
    reference,
)
from chiploop.twin.population import published_population
from chiploop.twin.source_populations import ANCESTRIES


class Consent(Part):
    """What the patient agreed to."""

    scope: Annotated[
        tuple[Annotated[str, OneOf(SCOPES)], ...], BeforeValidator(as_tuple), Field(min_length=1)
    ]
    delete_after: Day
    """Last day on which the file may be kept."""


class DataUse(Part):
    """Under which note values were given to somebody: stands in what `chiploop twin export` writes."""

    export: Code
    """Random code of this export; the giver's audit has it too."""
    purpose: Annotated[str, OneOf(SCOPES)]
    """What the recipient may do."""
    recipient: Annotated[str, AfterValidator(institution)]
    given_on: Day
    given_by: Annotated[Login, AfterValidator(plain_login)] | None = None
    """Login of who gave it; left out where it looks like an address or a number, the giver's audit has it."""
    terms: Annotated[tuple[Annotated[str, OneOf(TERMS)], ...], BeforeValidator(as_tuple)] = TERMS


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

    ratio: Annotated[float, Field(ge=0.001, le=1000)]
    """Beyond a thousandfold it is a mistake, and the disease has no numbers there."""
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
    source: Annotated[str, AfterValidator(reference)] = ""
    """Of the effect, as a reference; without one the effect is ASSUMED to be centred on none."""

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
    age_years: Annotated[Age | None, BeforeValidator(age_of)] = None
    """90 is everybody of 90 or more, "90+" in a file."""
    flg: Annotated[str, OneOf(("wild_type", "heterozygous", "null"))] | None = None
    ancestry: Annotated[str, OneOf(ANCESTRIES)] | None = None
    """Moves no number: it says whether the twin's sources hold people like this one (applicability)."""
    baseline: Baseline = Baseline()
    chip: Chip = Chip()
    modifiers: dict[Annotated[str, OneOf(KNOWN_MODIFIERS)], Modifier] = {}
    treatment: Annotated[str, OneOf((PLACEBO_ARM, *drug_facts()))] | None = None
    visits: Annotated[tuple[Visit, ...], BeforeValidator(as_tuple)] = ()
    data_use: DataUse | None = None
    """Where the file came from another laboratory."""

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


def patient_schema_text() -> str:
    """Return the JSON schema of patients' files as text; the loader refuses more than an editor can."""
    schema = Patient.model_json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "chiploop patient, format 1",
    }
    body = {key: value for key, value in schema.items() if key != "title"}
    return json.dumps(head | body, indent=2) + "\n"


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
    refused += comments_refused(path)
    if refused:
        return None, refused
    try:
        return Patient.model_validate(text.values, context=FROM_FILE), []
    except ValidationError as error:
        return None, problems_of(error, Patient, text)


def comments_refused(path: Path) -> list[Problem]:
    """Return the comments of a file that look like a date, a number or the name of a person."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        begun = re.search(r"(?:^|\s)#(.*)$", line)
        if begun and (looks := of_comment(begun.group(1))):
            told = f"the comment may identify a person: it looks like {looks}"
            found.append(Problem(number, "", told, "leave it out; a code stands for the patient"))
    return found


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
