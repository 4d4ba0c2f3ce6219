"""Giving a patient's values to somebody: under a note, only what was agreed, and on the audit.

Belongs here: what leaves and what stands in the note. Not here: whether it may be written there (flows.cli).

What leaves is a patient's file that chiploop reads, with another code than the patient has here, the purpose as
its whole consent, and the note. Who gets it, under which code, stands in the audit: so that a deletion can name
whom to tell (Article 19 of the GDPR).
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from io import StringIO
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from chiploop.errors import WrongUse
from chiploop.patients.audit import Standing
from chiploop.patients.store import PatientStore
from chiploop.twin import RESEARCH_USE
from chiploop.twin.codes import looks_like
from chiploop.twin.consent import NotAgreed
from chiploop.twin.patient_fields import TERMS
from chiploop.twin.patient_file import Patient

_ALWAYS = ("chiploop", "setting")
PARTS = tuple(
    name
    for name in Patient.model_fields
    if name not in (*_ALWAYS, "patient", "consent", "data_use")
)
"""What may be left out of an export."""
PURPOSES = ("research", "teaching")


def export(
    store: PatientStore,
    of: Standing,
    purpose: str,
    recipient: str,
    today: str,
    parts: Sequence[str] = PARTS,
) -> tuple[str, str]:
    """Return the text of the file and the code of the export, which is on the audit on return.

    Raises
    ------
    WrongUse
        For a purpose, a recipient or parts that are not possible.
    NotAgreed
        Where the consent has not ``sharing``, or not the purpose.
    """
    if purpose not in PURPOSES:
        raise WrongUse(f"{purpose} is no purpose; known: {', '.join(PURPOSES)}")
    if unknown := [part for part in parts if part not in PARTS]:
        raise WrongUse(f"{unknown[0]} is no part of a patient; known: {', '.join(PARTS)}")
    if "visits" in parts and "treatment" not in parts:
        raise WrongUse("visits say nothing without their treatment; name treatment too")
    patient = store.checked(of, "export", today)
    if purpose not in patient.consent.scope:
        raise NotAgreed(
            f"patient {of.patient_id}: the consent is for {', '.join(patient.consent.scope)}; nobody may be given "
            f"the values for {purpose}"
        )
    code = new_code()
    content = patient.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    given: dict[str, Any] = {
        "chiploop": 1,
        "patient": code,
        "consent": {"scope": [purpose], "delete_after": patient.consent.delete_after},
        "data_use": {
            "export": code,
            "purpose": purpose,
            "recipient": recipient,
            "given_on": today,
            **({} if looks_like(store.login) else {"given_by": store.login}),
            "terms": list(TERMS),
        },
    }
    given |= {key: content[key] for key in (*_ALWAYS, *parts) if key in content}
    try:
        Patient.model_validate(given)
    except ValidationError as problem:
        raise WrongUse(
            f"nothing was given away: {problem.errors(include_url=False)[0]['msg']}"
        ) from None
    text = as_yaml(given)
    store.audit.add(
        of.patient_id, "exported", store.login,
        export=code, purpose=purpose, recipient=recipient,
    )  # fmt: skip
    return text, code


def new_code() -> str:
    """Return a random code that says nothing of the patient's code here."""
    pairs = (
        secrets.choice(string.ascii_lowercase) + secrets.choice(string.digits) for _ in "12345"
    )
    return "X-" + "".join(pairs)


def as_yaml(content: dict[str, Any]) -> str:
    """Return a patient's file as text, headed by what it is."""
    into, writer = StringIO(), YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.sort_base_mapping_type_on_output = False, False  # type: ignore[assignment]
    writer.width = 110
    writer.dump(content, into)
    return f"# {RESEARCH_USE}\n{into.getvalue()}"
