"""Stores of patients for tests: cheap to open, with values that can be looked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from chiploop.patients.key_folder import Ask, Protection
from chiploop.patients.store import PatientStore, open_store
from chiploop.twin.patient_file import Patient
from tests.chiploop.twin.patients import patient

TODAY = "2026-06-01"
CHEAP = 16
"""Cost of a passphrase, for speed."""
CODE = "P-0427"
PLANTED = (CODE, "31.4159", "2718.28", "heterozygous", "lebrikizumab", "stress")
"""Texts of ``rich()``; none of them may be found in a byte of a store."""


def secret(_: Protection) -> bytes:
    return b"correct horse battery staple, thirty-two bytes or more"


def another(_: Protection) -> bytes:
    return b"wrong horse battery staple, thirty-two bytes or more"


def nobody(_: Protection) -> bytes:
    raise AssertionError("a secret was asked for")


def rich(**more: Any) -> Patient:
    """Return a patient with something everywhere."""
    parts: dict[str, Any] = {
        "patient": CODE,
        "consent": {"scope": ["research", "sharing"], "delete_after": "2030-12-31"},
        "age_years": 47,
        "flg": "heterozygous",
        "baseline": {"easi": 31.4159, "serum_ccl17_pg_ml": 2718.28},
        "modifiers": {"stress": {"parameter": "d1"}},
        "treatment": "lebrikizumab",
        "visits": [{"week": 4.0, "easi": 15.0}],
    }
    return patient(**(parts | more))


def store(
    folder: Path, ask: Ask = secret, login: str = "anna"
) -> AbstractContextManager[PatientStore]:
    return open_store(folder, login, ask, create=True, cost=CHEAP)


def with_patient(
    folder: Path, protection: Protection = "passphrase", of: Patient | None = None
) -> str:
    """Make a store with one patient; return its id."""
    with store(folder) as books:
        books.protect(protection, secret)
        return books.add(of or rich(), TODAY)


def bytes_of(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def holding(folder: Path, *texts: str) -> list[tuple[str, str]]:
    """Return which file holds which of the texts, as plain bytes."""
    return [
        (path.name, text)
        for path, content in bytes_of(folder).items()
        for text in texts
        if text.encode() in content
    ]
