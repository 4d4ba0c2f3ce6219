"""Patients have codes: which keys, values and comments would say who a person is.

Belongs here: what looks like a name, a date, a number of a person. Not here: files and tables (patient_file,
trial_data).

The list follows the eighteen identifiers of 45 CFR 164.514(b)(2)(i): names, places smaller than a state, dates
but for the year, numbers of telephones, records and insurances, addresses of mail and web, and ages over 89. A
code must not be made from anything known of the person (164.514(c)); that nobody can see from the code alone:
what is found here is what is plain to see.
"""

from __future__ import annotations

import re

IDENTIFYING = re.compile(
    r"name|birth|dob|address|e[-_]?mail|phone|^tel$|insurance|initials|hospital|passport|postcode|postal|"
    r"(^|[^a-z])(born|mrn|ssn|nhs|zip|city|street|photo|url)($|[^a-z])",
    re.IGNORECASE,
)
"""Keys and columns that no file of patients may hold."""
OLDEST_YEARS = 90
"""Ages over 89 are one group: "90+"."""
NEUTRAL_WORDS = frozenset(
    {"case", "code", "demo", "donor", "patient", "simulated", "site", "study", "subj", "subject", "teaching"}
    | {"test", "trial", "virtual"}
)  # fmt: skip
"""Longer words that a code may hold; any other one may be a name."""
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_YEAR, _MONTH, _DAY = r"(19|20)\d\d", r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
_SHORT = r"(0?[1-9]|[12]\d|3[01])"

IN_ANY_TEXT: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (r"[^\s@]@[^\s@]", "an e-mail address"),
        (r"https?:|www\.", "a web address"),
        (rf"(?<!\d){_YEAR}[-./_ ]?{_MONTH}[-./_ ]?{_DAY}(?!\d)", "a date"),
        (rf"(?<!\d){_DAY}[-./_ ]?{_MONTH}[-./_ ]?{_YEAR}(?!\d)", "a date"),
        (rf"(?<!\d){_SHORT}[-./]{_SHORT}[-./]((19|20)?\d\d)(?!\d)", "a date"),
        (rf"(?<!\d)\d{{1,4}}[-./_ ]?({_MONTHS})[a-z]*[-./_ ]?\d{{1,4}}(?!\d)", "a date"),
        (r"(\d[-./_ ()]{0,2}){8}\d", "a number of a telephone, a record or an insurance"),
        (r"\d{6}", "a number of a record or a date"),
    )
)
"""What is refused in codes and in comments of a file."""
IN_CODES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^[A-Z]{1,2}\d[A-Z\d]?[-_. ]?\d[A-Z]{2}$", re.IGNORECASE), "a postcode"),
    (re.compile(r"^((DE?|FR?|IT?|ES|US)-)?\d{5}(-\d{4})?$", re.IGNORECASE), "a postcode"),
    (
        re.compile(r"(?<![A-Z])[A-Z]{2,3}(19\d\d|20[01]\d)(?!\d)", re.IGNORECASE),
        "initials with a year",
    ),
)
"""What is refused in codes alone: a comment may well say "80331 cells"."""
_NAMED_IN_COMMENT = re.compile(r"\b(name|surname|born|birth\w*|dob|mrn|ssn)\s*[:=]", re.IGNORECASE)


def is_code(value: str) -> bool:
    """Return whether a text is a code, as ``why_no_code`` tells."""
    return not why_no_code(value)


def why_no_code(value: str) -> str:
    """Return why a text is no code, e.g. "it looks like a date"; empty for one that is.

    A code holds a digit, no word of four letters or more that might be a name, no date, and no number long enough
    to be one of a hospital, an insurance or a telephone.
    """
    if not any(c.isdigit() for c in value):
        return "it holds no digit, as names do"
    looks = looks_like(value) or next(
        (said for pattern, said in IN_CODES if pattern.search(value)), ""
    )
    if looks:
        return f"it looks like {looks}"
    words = re.findall(r"[^\W\d_]{4,}", value)
    if unknown := [word for word in words if word.lower() not in NEUTRAL_WORDS]:
        return f'"{unknown[0]}" may be a name'
    return ""


def looks_like(text: str) -> str:
    """Return what of a person a text looks like; empty where nothing of it does."""
    return next((said for pattern, said in IN_ANY_TEXT if pattern.search(text)), "")


def of_comment(comment: str) -> str:
    """Return what of a person a comment in a file looks like; empty where nothing of it does."""
    if named := _NAMED_IN_COMMENT.search(comment):
        return f'a person\'s "{named.group(1)}"'
    return looks_like(comment)
