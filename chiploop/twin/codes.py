"""Patients have codes: which keys and values would say who a person is."""

from __future__ import annotations

import re

IDENTIFYING = re.compile(
    r"name|birth|dob|address|e[-_]?mail|phone|^tel$|insurance|initials", re.IGNORECASE
)
"""Keys and columns that no file of patients may hold."""
DATE = re.compile(r"(19|20)\d\d-?\d\d-?\d\d")


def is_code(value: str) -> bool:
    """Return whether a text holds a digit and no date, as codes do and names do not."""
    return any(c.isdigit() for c in value) and not DATE.search(value)
