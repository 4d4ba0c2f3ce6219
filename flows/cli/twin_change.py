"""``chiploop twin visit``, ``update``, ``consent``: what changes of a patient who is kept.

Belongs here: what may change, and what may not get lost by it. Not here: versions and their erasing
(chiploop.patients.store). A twin is updated and never reset: visits are added, none is taken away.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid, WrongUse
from flows.cli.patient_store import KEY_FILE, STORE, WHO, opened, today
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.twin.patient_file import Patient


def visit(
    patient: str = WHO,
    week: float = typer.Option(..., "--week", help="Weeks since treatment began."),
    easi: float | None = typer.Option(None, "--easi", help="EASI; leave out where not scored."),
    treatment: str = typer.Option("", "--treatment", help="Where the patient has none yet."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Add a visit to a patient of the store.

    The values take a new version; the older one is erased. Exit code 2 for an unknown patient or a second
    treatment, 3 for a visit that is not possible. With --json: {"ok", "id", "visits"}.
    """
    with opened(store, key_file) as books:
        standing = books.find(patient)
        found = books.checked(standing, "change", today())
        if treatment and found.treatment not in (None, treatment):
            raise WrongUse(
                f"the patient is under {found.treatment}; a twin knows one treatment. Nothing was changed"
            )
        changes: dict[str, Any] = {"treatment": treatment} if treatment else {}
        seen = {"week": week} if easi is None else {"week": week, "easi": easi}
        visits = [one.model_dump(exclude_none=True) for one in found.visits]
        new = changed(found, {**changes, "visits": [*visits, seen]})
        books.change(standing, new, "visit")
    if as_json:
        print_json({"ok": True, "id": standing.patient_id, "visits": len(new.visits)})
        return
    print(f"{standing.patient_id[:8]}: {len(new.visits)} visits")


def update(
    patient: str = WHO,
    file: Path = typer.Argument(metavar="NEW.yaml", help="A patient's file of the same code."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Take what a file says of a patient into the store: what was measured since, also on chips.

    What the file does not say stays; what it says otherwise is replaced. Consent and visits have commands of their
    own and must not differ. Exit code 2 for another patient, consent or visits, 3 for a file that is not valid.
    With --json: {"ok", "id", "changed"}.
    """
    from chiploop.twin.patient_file import patient_of

    told = patient_of(file)
    with opened(store, key_file) as books:
        standing = books.find(patient)
        found = books.checked(standing, "change", today())
        new, fields = merged(found, told)
        if fields:
            books.change(standing, new, "update")
    if as_json:
        print_json({"ok": True, "id": standing.patient_id, "changed": fields})
        return
    print(f"{standing.patient_id[:8]}: {', '.join(fields) or 'nothing'} changed")


def consent(
    patient: str = WHO,
    scope: str = typer.Option("", "--scope", metavar="A,B", help="The whole new scope."),
    delete_after: str = typer.Option("", "--delete-after", help="The new last day."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Change what a patient agreed to; one who withdraws it all is deleted (`chiploop twin delete`).

    Exit code 2 for an unknown patient, 3 for a scope or day that is none. With --json: {"ok", "id", "scope",
    "delete_after", "exports"}.
    """
    if not scope and not delete_after:
        raise WrongUse("name the new --scope or --delete-after")
    with opened(store, key_file) as books:
        standing = books.find(patient)
        found = books.checked(standing, "change", today())
        agreed = {
            "scope": [one.strip() for one in scope.split(",")] if scope else found.consent.scope,
            "delete_after": delete_after or found.consent.delete_after,
        }
        new = changed(found, {"consent": agreed})
        books.change(standing, new, "consent")
    if as_json:
        told = {"ok": True, "id": standing.patient_id, "scope": list(new.consent.scope)}
        print_json(
            {**told, "delete_after": new.consent.delete_after, "exports": list(standing.exports)}
        )
        return
    print(
        f"{standing.patient_id[:8]}: {', '.join(new.consent.scope)} until {new.consent.delete_after}"
    )
    for one in standing.exports:
        print(f"  {one['recipient']} has values as {one['export']} for {one['purpose']}: tell them")


def merged(found: Patient, told: Patient) -> tuple[Patient, list[str]]:
    """Return a patient with what a file says of it, and the names of what changed.

    WrongUse where the file is of another patient, or has another consent, treatment or other visits.
    """
    if told.patient != found.patient:
        raise WrongUse("the file is of another code than the patient. Nothing was changed")
    if told.consent != found.consent:
        raise WrongUse(
            "the file has another consent; `chiploop twin consent` changes it. Nothing was changed"
        )
    if told.visits not in ((), found.visits) or told.treatment not in (None, found.treatment):
        raise WrongUse(
            "the file has another treatment or other visits; `chiploop twin visit` adds one. Nothing was changed"
        )
    parts: dict[str, Any] = told.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    old = found.model_dump(mode="json", exclude_none=True)
    content = {
        key: {**old.get(key, {}), **value} if isinstance(value, dict) else value
        for key, value in parts.items()
        if key not in ("visits", "treatment")
    }
    new = changed(found, content)
    before = found.model_dump(mode="json")
    after = new.model_dump(mode="json")
    return new, [key for key in after if after[key] != before[key]]


def changed(patient: Patient, parts: dict[str, Any]) -> Patient:
    """Return a patient with other parts; FileNotValid where they are not possible."""
    from pydantic import ValidationError

    from chiploop.study_fields import FROM_FILE
    from chiploop.twin.patient_file import Patient

    content = patient.model_dump(mode="json", exclude_none=True) | parts
    try:
        return Patient.model_validate(content, context=FROM_FILE)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise FileNotValid(
            f"{place + ': ' if place else ''}{first['msg']}. Nothing was changed"
        ) from None
