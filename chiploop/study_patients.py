"""The patients that donors of a study are: whose file, which drugs are weighed at its end.

Belongs here: the section ``patients`` of a study and its rules. Not here: a patient's file (twin.patient_file),
which is read when needed and never copied: nothing of it stands in a run's folder or on record but its code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from chiploop.errors import WrongUse
from chiploop.study_fields import Identifier, Part, as_tuple, problem
from chiploop.study_findings import Found, Rule, unknown
from chiploop.twin.codes import is_code
from chiploop.twin.drug_facts import drug_of_arm


def _code(value: str) -> str:
    if not is_code(value):
        raise problem(
            f'"{value}" is not a code',
            'a code holds a digit and is no date and no name, e.g. "P-0042"',
        )
    return value


def _arm(value: str) -> str:
    try:
        drug_of_arm(value)
    except WrongUse as why:
        raise problem(str(why)) from None
    return value


class DonorPatient(Part):
    """Which patient a donor is, and what the study asks for this patient at its end. Research use only."""

    patient: Annotated[Identifier, AfterValidator(_code)]
    """The code of the patient's file; who it is stands elsewhere."""
    file: str
    """The patient's file, or the folder of the store that keeps the patient. It is read at the beginning, where it
    must be right, and for each report.
    """
    drugs: Annotated[
        tuple[Annotated[str, AfterValidator(_arm)], ...],
        BeforeValidator(as_tuple),
        Field(min_length=1, max_length=6),
    ]
    """What is weighed, e.g. ``[upadacitinib:15mg, dupilumab, placebo]``: the drug on the chips by their posterior,
    the others by their priors.
    """
    week: Annotated[float, Field(ge=1, le=520)] = 16.0
    """Of treatment, at which they are compared."""
    margin_pct: Annotated[float, Field(ge=0, le=100)] = 10.0
    """Points of improvement of EASI by which one drug beats another."""
    virtual_patients: Annotated[int, Field(ge=100, le=100_000)] = 4000


def _patients_are_donors(patients: Any, donors: Any) -> Iterator[Found]:
    codes: dict[str, str] = {}
    for donor, one in patients.items():
        yield from unknown(donor, donors, ("patients", donor), "donor of this study")
        if one.patient in codes:
            yield Found(
                ("patients", donor, "patient"),
                f"{one.patient} is donor {codes[one.patient]} already; a patient is one donor",
            )
        codes.setdefault(one.patient, donor)
        twice = sorted({drug for drug in one.drugs if one.drugs.count(drug) > 1})
        if twice:
            yield Found(
                ("patients", donor, "drugs"),
                f"{', '.join(twice)} is here twice; each is named once",
            )


PATIENT_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("patients", "donors"), _patients_are_donors),
)
