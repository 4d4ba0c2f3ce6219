"""How text and age in a patient's file are read: words of lists, codes, days, references; no free text.

Belongs here: how one field is read. Not here: which part has which field (patient_file), what looks like a name,
a date or a number of a person (codes).
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from chiploop.study_fields import Identifier, problem
from chiploop.twin.codes import OLDEST_YEARS, looks_like, why_no_code

KNOWN_MODIFIERS = (
    "stress", "sleep", "climate", "season", "smoking", "alcohol", "diet", "exercise", "bathing", "emollient",
    "allergen", "pets", "pollution", "infection", "work", "cycle", "other_1", "other_2", "other_3",
)  # fmt: skip
"""A word of one's own could be a name."""
TERMS = (
    "Research use only; not for clinical decisions.",
    "Use it for this purpose alone, and give it to nobody else.",
    "Do not try to find out who it is, and join it with no other data that might tell.",
    "Delete it after the day of deletion, and earlier when the giver says that the patient was deleted.",
)
"""Of every data-use note."""
REFERENCE = re.compile(
    r"(doi:\s?10\.\d{4,9}/[\w.()/;:-]+|pmid:?\s?\d+|pmc\d+|nct\d{8}|arxiv:\d{4}\.\d{4,5}|run [\w.-]+)",
    re.IGNORECASE,
)


def _code(value: str) -> str:
    if why := why_no_code(value):
        raise problem(
            f'"{value}" is not a code: {why}',
            'a code holds a digit and is no date and no name, e.g. "P-0042"',
        )
    return value


def _day(value: str) -> str:
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        raise problem(f'"{value}" is not a day', "write it as 2030-12-31") from None
    if not re.fullmatch(r"20\d\d-\d\d-\d\d", value):
        raise problem(f'"{value}" is not a day', "write it as 2030-12-31")
    return value


def age_of(value: Any) -> Any:
    """Return an age as it is kept: "90+" is 90, and what is above is refused."""
    # 45 CFR 164.514(b)(2)(i)(C): ages over 89 may only be given as one group
    if value == f"{OLDEST_YEARS}+":
        return OLDEST_YEARS
    if isinstance(value, int) and value > OLDEST_YEARS:
        raise problem(
            f"an age of {value} may say who it is and is refused",
            f'ages over 89 are one group: write "{OLDEST_YEARS}+"',
        )
    return value


def reference(value: str) -> str:
    """Return a reference to a source; a problem for free text, which could hold a name."""
    if value and not REFERENCE.fullmatch(value):
        raise problem(
            f'"{value}" is no reference, and free text may hold a name',
            "write doi:10.1234/abc, PMID 123, PMC123, NCT01234567, arXiv:2101.00001 or run RUN",
        )
    return value


def institution(value: str) -> str:
    """Return who receives values, as it may be written down; a problem for what looks like a person's data."""
    looks = looks_like(value)
    if looks or not re.fullmatch(r"[^\W_][\w .,&()/-]{1,79}", value):
        raise problem(
            f'"{value}" can not be a recipient' + (f": it looks like {looks}" if looks else ""),
            "name the institution: letters, digits and . , & ( ) / -, 80 at most",
        )
    return value


def plain_login(value: str) -> str:
    """Return a login that says no address and no number of a person; a problem for one that does."""
    if looks := looks_like(value):
        raise problem(f'"{value}" looks like {looks}', "leave it out")
    return value


Code = Annotated[
    Identifier,
    AfterValidator(_code),
    WithJsonSchema({"type": "string", "pattern": "^(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}),
]
Age = Annotated[
    int,
    Field(ge=0, le=OLDEST_YEARS),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": OLDEST_YEARS},
                {"const": f"{OLDEST_YEARS}+"},
            ]
        }
    ),
]
Day = Annotated[
    str,
    AfterValidator(_day),
    WithJsonSchema(
        {"type": "string", "pattern": r"^20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"}
    ),
]
Positive = Annotated[float, Field(gt=0)]
Score = Annotated[float, Field(ge=-6, le=6)]
