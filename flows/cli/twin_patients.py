"""``chiploop twin add``, ``list``, ``show``, ``visit``, ``consent``: patients in their store.

Belongs here: those who stay. Not here: deleting and proof (twin_delete), giving away (twin_export).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid, WrongUse
from flows.cli.patient_store import KEY_FILE, STORE, WHO, opened, today
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.patients.store import Kept
    from chiploop.twin.patient_file import Patient

DUE_EXIT_CODE = 7
"""Of ``list --due`` where somebody must delete."""
IN_THE_OPEN = (
    "the keys of this store are in the open: who has the disk reads the patients. `chiploop twin protect` "
    "seals them"
)


def add(
    patient: Path = typer.Argument(metavar="PATIENT.yaml", help="A patient's file: codes only."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    erase_file: bool = typer.Option(
        False, "--erase-file", help="Overwrite and remove PATIENT.yaml once the store has it."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Keep a patient in the store, encrypted with a key of its own.

    The audit gets a random id, who, and when; no code and no value. The store is made where there is none. Exit
    code 2 where its code is kept already, 3 for a file that is not valid or whose day of deletion has passed.
    With --json: {"ok", "id", "protection", "erased"}.
    """
    from chiploop.patients.erasing import erase
    from chiploop.twin.patient_file import patient_of

    found = patient_of(patient)
    with opened(store, key_file, create=True) as books:
        if books.keys.protection() is None:
            books.protect("none", books.ask)
        patient_id, protection = books.add(found, today()), books.keys.protection()
    if erase_file:
        erase(patient)
    if as_json:
        print_json({"ok": True, "id": patient_id, "protection": protection, "erased": erase_file})
        return
    print(f"{patient_id}  {found.patient} is kept until {found.consent.delete_after}")
    if not erase_file:
        print(f"{patient} still holds the values in the open; erase it (--erase-file does)")
    if protection == "none":
        print(IN_THE_OPEN)


def list_patients(
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    due: bool = typer.Option(False, "--due", help="Only those whose day of deletion has passed."),
    codes: bool = typer.Option(False, "--codes", help="Show the codes too; needs the key."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show who is kept, for what and until when; needs no key.

    With --due: those that must be deleted, and exit code 7 where there are any. With --json: {"ok", "patients":
    [{"id", "code", "added_utc", "scope", "delete_after", "due", "trouble", "exports", "pages"}], "deleted"}.
    """
    from chiploop.twin.consent import is_over

    with opened(store, key_file) as books:
        standings, day = books.standings(), today()
        rows = [
            _row(one, bool(one.delete_after) and is_over(one.delete_after, day))
            for one in books.kept()
        ]
        rows = [row for row in rows if row["due"] or not due]
        if codes:
            for row in rows:
                row["code"] = None if row["trouble"] else books.code(standings[row["id"]])
    deleted = sum(one.state == "deleted" for one in standings.values())
    if as_json:
        print_json({"ok": True, "patients": rows, "deleted": deleted})
    else:
        for row in rows:
            said = row["trouble"] or (paint("TO BE DELETED", "red") if row["due"] else "")
            code = f"  {row['code'] or '-':<12}" if codes else ""
            print(
                f"{row['id'][:8]}{code}  until {row['delete_after'] or '?':<10}  "
                f"{','.join(row['scope']) or '?'}  {said}".rstrip()
            )
        print(f"{len(rows)} {'to be deleted' if due else 'kept'}, {deleted} deleted")
    if due and rows:
        raise typer.Exit(DUE_EXIT_CODE)


def show(
    patient: str = WHO,
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what is kept of a patient; that it was looked at stands on the audit.

    Exit code 2 for an unknown patient or another key, 3 where its day of deletion has passed or its values were
    altered. With --json: {"ok", "id", "patient", "research_use_only"}.
    """
    from chiploop.patients.data_use import as_yaml

    with opened(store, key_file) as books:
        standing = books.find(patient)
        found = books.read(standing, "show", today())
    content = found.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    content = {"chiploop": 1, **content}
    if as_json:
        told = {"ok": True, "id": standing.patient_id, "patient": content}
        print_json({**told, "research_use_only": True})
        return
    print(as_yaml(content), end="")


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


def _row(one: Kept, due: bool) -> dict[str, Any]:
    return {
        "id": one.standing.patient_id,
        "code": None,
        "added_utc": one.standing.added_utc,
        "scope": list(one.scope),
        "delete_after": one.delete_after,
        "due": due,
        "trouble": one.trouble,
        "exports": list(one.standing.exports),
        "pages": one.standing.pages,
    }
