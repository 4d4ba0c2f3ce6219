"""Codes are taken; what says who a person is has no place in a patient's file, and the place is told."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from chiploop.study_fields import FROM_FILE
from chiploop.twin.codes import IDENTIFYING, is_code, looks_like, of_comment, why_no_code
from chiploop.twin.patient_fields import TERMS
from chiploop.twin.patient_file import Patient, read_patient

PLAIN = settings(max_examples=60, deadline=None, derandomize=True, database=None)
GOOD = """chiploop: 1
patient: P-0042
consent: {scope: [research], delete_after: "2031-12-31"}
baseline: {easi: 28.0}
"""


@PLAIN
@given(
    prefix=st.sampled_from(["P", "P-", "AD-", "ZRH-", "S1-P", "CASE-", "site-03-", "donor_D", "X.", "virtual-"]),
    number=st.integers(0, 9999),
    width=st.integers(1, 5),
)  # fmt: skip
def test_codes_as_laboratories_write_them_are_taken(prefix: str, number: int, width: int) -> None:
    assert why_no_code(f"{prefix}{number:0{width}d}") == ""


SEPARATORS = st.sampled_from(["", "-", ".", "_"])


@PLAIN
@given(
    day=st.dates(datetime.date(1930, 1, 1), datetime.date(2019, 12, 31)),
    separator=SEPARATORS,
    prefix=st.sampled_from(["", "P", "P-", "x_"]),
    order=st.integers(0, 2),
)
def test_no_date_of_birth_is_taken_in_any_order(day, separator, prefix, order) -> None:  # type: ignore[no-untyped-def]
    form = ("%Y{0}%m{0}%d", "%d{0}%m{0}%Y", "%d{0}%b{0}%Y")[order].format(separator)
    assert not is_code(prefix + day.strftime(form))


@PLAIN
@given(
    number=st.integers(100_000, 9_999_999_999),
    prefix=st.sampled_from(["", "MRN", "H", "NHS-", "P-"]),
)
def test_no_number_as_hospitals_and_insurances_write_them_is_taken(
    number: int, prefix: str
) -> None:
    assert not is_code(f"{prefix}{number}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Miller", "no digit"),
        ("Miller1", '"Miller" may be a name'),
        ("anna.schmidt3", "may be a name"),
        ("Müller1", "may be a name"),
        ("P-1984-03-07", "a date"),
        ("07.03.84", "a date"),
        ("3-7-1984", "a date"),
        ("P7mar1984", "a date"),
        ("JM1984", "initials with a year"),
        ("jo1@clinic.org", "an e-mail address"),
        ("123-45-6789", "a number of a telephone"),
        ("943-476-5919", "a number of a telephone"),
        ("A123456789", "a number"),
        ("MRN00412345", "a number"),
        ("SW1A1AA", "a postcode"),
        ("SW1A-1AA", "a postcode"),
        ("80331", "a postcode"),
        ("D-80331", "a postcode"),
        ("90210-1234", "a number of a telephone|a postcode"),
    ],
)
def test_what_says_who_a_person_is_is_no_code(text: str, words: str) -> None:
    assert any(word in why_no_code(text) for word in words.split("|")), why_no_code(text)


KEYS = [
    "name",
    "Last Name",
    "birthday",
    "born",
    "dob",
    "street",
    "zip",
    "home_city",
    "MRN",
    "hospital_no",
    "e-mail",
]
HARMLESS = [
    "toxicity",
    "capacity",
    "baseline",
    "easi",
    "week",
    "age_years",
    "serum_ccl17_pg_ml",
    "unborn_effect",
]


def test_keys_that_may_identify_are_found_and_harmless_ones_are_not() -> None:
    assert [key for key in KEYS if not IDENTIFYING.search(key)] == []
    assert [key for key in HARMLESS if IDENTIFYING.search(key)] == []


# what is put into the good file, in place of what -> line and words
WRONG = [
    ("patient: P-0042", "patient: JM1984", 2, "initials with a year"),
    ("patient: P-0042", 'patient: "P 42"', 2, "holds space"),
    ("patient: P-0042", "patient: P-0042  # Name: Anna Miller", 2, "the comment may identify a person"),
    ("patient: P-0042", "# born 1984-03-07\npatient: P-0042", 2, "looks like a date"),
    ("patient: P-0042", "patient: P-0042  # anna@clinic.org", 2, "an e-mail address"),
    ("baseline:", "age_years: 97\nbaseline:", 4, "an age of 97 may say who it is"),
    ("baseline:", "hospital: Kantonsspital\nbaseline:", 4, "may identify a person"),
    ("baseline:", "notes: tall\nbaseline:", 4, "notes"),
    ("baseline:", "modifiers: {miller: {parameter: d1}}\nbaseline:", 4, "not known here"),
    (
        "baseline:",
        "modifiers:\n  stress: {parameter: d1, ln_effect: 0.3, source: told by Anna Miller}\nbaseline:",
        5,
        "free text may hold a name",
    ),
    ('"2031-12-31"', '"2031-02-30"', 3, "is not a day"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), WRONG)
def test_the_place_of_what_is_refused_is_told(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    path = tmp_path / "patient.yaml"
    path.write_text(GOOD.replace(old, new))
    found, problems = read_patient(path)
    assert found is None
    assert [(p.line, words in f"{p.field} {p.message}") for p in problems] == [(line, True)]


@pytest.mark.parametrize(("written", "kept"), [('"90+"', 90), ("90", 90), ("89", 89), ("0", 0)])
def test_ages_over_89_are_one_group(tmp_path: Path, written: str, kept: int) -> None:
    path = tmp_path / "patient.yaml"
    path.write_text(GOOD + f"age_years: {written}\n")
    found, problems = read_patient(path)
    assert problems == [] and found is not None and found.age_years == kept


def test_a_comment_that_says_nothing_of_a_person_may_stand(tmp_path: Path) -> None:
    path = tmp_path / "patient.yaml"
    path.write_text(
        GOOD.replace("28.0}", "28.0}  # scored twice, 80331 cells on 2 chips; no name here")
    )
    assert read_patient(path)[1] == []
    assert (
        of_comment(" name: x") and looks_like("tel 044 123 45 67") and not looks_like("EASI 28.0")
    )


FULL: dict[str, Any] = {
    "chiploop": 1,
    "patient": "P-0042",
    "consent": {"scope": ["research"], "delete_after": "2031-12-31"},
    "setting": "monotherapy",
    "age_years": 40,
    "flg": "null",
    "ancestry": "european",
    "baseline": {
        "easi": 28.0, "tewl_g_m2_h": 30.0, "serum_ccl17_pg_ml": 900.0, "th2_score": 1.0, "th17_score": 0.0,
        "th22_score": 0.0, "microbiome_score": 0.0,
    },
    "chip": {
        name: {"ratio": 0.8, "ln_sd": 0.2}
        for name in ("barrier_loss_il13", "barrier_loss_il4", "maturation", "basal_tslp")
    },
    "modifiers": {
        "stress": {"parameter": "d1", "ln_effect": 0.3, "ln_sd": 0.2, "source": "doi:10.1000/182"}
    },
    "treatment": "dupilumab",
    "visits": [{"week": 4.0, "easi": 15.0, "serum_ccl17_pg_ml": 400.0}],
    "data_use": {
        "export": "X-a1b2c3d4e5", "purpose": "research", "recipient": "Clinic B", "given_on": "2026-01-01",
        "given_by": "anna", "terms": list(TERMS),
    },
}  # fmt: skip
"""Every field that a patient's file may have."""
Place = tuple[str | int, ...]


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            yield from leaves(one, (*place, key))
    else:
        yield place


def with_value(place: Place, value: object) -> Any:
    content = copy.deepcopy(FULL)
    inner: Any = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


def fields_of(part: BaseModel) -> Iterator[tuple[str, object]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        yield f"{type(part).__name__}.{name}", value
        inner = (
            value.values()
            if isinstance(value, dict)
            else value
            if isinstance(value, tuple)
            else (value,)
        )
        for one in inner:
            if isinstance(one, BaseModel):
                yield from fields_of(one)


def test_no_field_takes_a_name_or_a_date_of_birth() -> None:
    full = Patient.model_validate(FULL, context=FROM_FILE)
    assert [
        name for name, value in fields_of(full) if value is None
    ] == []  # a new field is tried too
    takes = [
        (place, text)
        for place in leaves(FULL)
        for text in ("Anna Miller", "1984-03-07", "anna@clinic.org")
        if valid(with_value(place, text))
    ]
    # who gets values is an institution, which nobody can tell from a name; days are of consent and of giving
    days = (("consent", "delete_after"), ("data_use", "given_on"))
    assert takes == [(("data_use", "recipient"), "Anna Miller")]
    assert all(valid(with_value(place, "2031-12-30")) for place in days)


def valid(content: Any) -> bool:
    try:
        Patient.model_validate(content, context=FROM_FILE)
    except ValidationError:
        return False
    return True
