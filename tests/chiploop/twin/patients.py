"""Patients for tests."""

from __future__ import annotations

from typing import Any

from chiploop.twin.patient_file import Patient

BLANK: dict[str, Any] = {
    "chiploop": 1,
    "patient": "P-0001",
    "consent": {"scope": ["research"], "delete_after": "2030-12-31"},
}


def patient(**more: Any) -> Patient:
    """Return a patient with these parts."""
    return Patient.model_validate({**BLANK, **more})
