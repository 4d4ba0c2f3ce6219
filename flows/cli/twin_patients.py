"""``chiploop twin add``, ``list``, ``show``: patients in their store.

Belongs here: those who are there. Not here: what changes of one (twin_change), deleting and proof (twin_delete),
giving away (twin_export).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flows.cli.patient_store import KEY_FILE, STORE, WHO, opened, today
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.patients.store import Kept

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
