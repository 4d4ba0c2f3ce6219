"""``chiploop twin delete``, ``proof``, ``protect``: what becomes of keys, and how it can be shown.

Belongs here: asking before, telling after. Not here: how key and values are destroyed (chiploop.patients.store).
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.patient_store import KEY_FILE, STORE, asking, opened, today
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.patients.store import Deletion

UNPROVEN_EXIT_CODE = 5
NOT_REACHED = (
    "not reached: files that were exported, pages and printouts, and copies of the folder patient-keys that "
    "somebody made. Backups of chiploop hold no keys: what they have of these patients can not be read any more"
)


def delete(
    patients: list[str] = typer.Argument(None, metavar="PATIENT...", help="Ids or codes."),
    why: str = typer.Option(
        "", "--why", help="withdrawn, retention-over, request, study-ended or error."
    ),
    due: bool = typer.Option(False, "--due", help="All whose day of deletion has passed."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Delete patients for good: key and values are overwritten and removed, the audit keeps that it was done.

    By id no key is needed. Nothing brings them back. Broken off in the middle, it is finished by the next command
    on this store. Exit code 2 for unknown patients or reasons, 4 where a file can not be overwritten. With --json:
    {"ok", "deleted": [{"id", "row", "hash", "files", "exports", "pages"}], "not_reached"}.
    """
    from chiploop.patients.store import WHY_DELETED
    from chiploop.twin.consent import is_over

    if bool(patients) == due:
        raise WrongUse("name the patients, or --due for all whose day of deletion has passed")
    reason = why or ("retention-over" if due else "")
    if reason not in WHY_DELETED:
        raise WrongUse(f"--why {why!r}: the audit takes one of {', '.join(WHY_DELETED)}")
    with opened(store, key_file) as books:
        if due:
            day = today()
            kept = [k for k in books.kept() if k.delete_after and is_over(k.delete_after, day)]
            meant = [one.standing for one in kept]
        else:
            meant = list({one.patient_id: one for one in map(books.find, patients)}.values())
        _confirm(len(meant), yes)
        done = [books.delete(one, reason) for one in meant]
    if as_json:
        print_json(
            {"ok": True, "deleted": [_as_json(one) for one in done], "not_reached": NOT_REACHED}
        )
        return
    for one in done:
        print(
            f"{one.patient_id}  deleted: key and values overwritten and removed; row {one.row} of the audit, "
            f"{one.hash[:16]}"
        )
        for gone in one.standing.exports:
            print(f"  tell {gone['recipient']}: it has values as {gone['export']}")
        if one.standing.pages:
            print(f"  pages written with it: {one.standing.pages}; delete those too")
    print(NOT_REACHED if done else "nobody is to be deleted")


def proof(
    patient: str = typer.Argument(metavar="ID", help="Id of a deleted patient."),
    store: Path = STORE,
    find: list[str] = typer.Option([], "--find", help="Text that must be nowhere, e.g. its code."),
    also_in: list[Path] = typer.Option([], "--in", help="Look for it in this folder too."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show that a patient was deleted: the audit is whole and says so, and nothing of it is there.

    Needs no key and changes nothing. With --find every byte of the store (and of the folders of --in) is searched
    for the text; a code that was typed stands in the shell's history. Exit code 5 where anything speaks against
    it.
    With --json: {"ok", "id", "state", "ended_utc", "row", "hash", "head", "searched_files", "searched_bytes",
    "against"}.
    """
    from chiploop.patients.audit import AUDIT_FILE
    from chiploop.patients.proof import proof_of

    if not (store / AUDIT_FILE).exists():
        raise WrongUse(f"{store} is no store of patients; --store names another folder")
    try:
        found = proof_of(store, patient, find, also_in)
    except KeyError as problem:
        raise WrongUse(f"{store}: {problem.args[0]}") from None
    except OSError as problem:
        raise WrongUse(f"{problem.filename} can not be searched: {problem.strerror}") from None
    end = next((e for e in reversed(found.standing.entries) if e.action == "deleted"), None)
    against = found.against
    if as_json:
        print_json(
            {
                "ok": not against,
                "id": found.standing.patient_id,
                "state": found.standing.state,
                "ended_utc": found.standing.ended_utc,
                "row": None if end is None else end.seq,
                "hash": None if end is None else end.hash,
                "head": found.chain.head,
                "searched_files": found.searched,
                "searched_bytes": found.searched_bytes,
                "against": against,
            }
        )
    else:
        print(f"{found.standing.patient_id}: {found.standing.state}")
        for entry in found.standing.entries:
            word = entry.body.get("why") or entry.body.get("use") or entry.body.get("how") or ""
            print(f"  row {entry.seq:<5} {entry.at_utc[:19]}  {entry.action} {word}  {entry.login}")
        print(
            f"{found.searched} files, {found.searched_bytes} bytes searched for {len(find)} texts"
        )
        for said in against:
            print(f"  {paint('against it', 'red')}: {said}")
        if not against:
            print(f"the audit is whole; head {found.chain.head[:16]}; keep it elsewhere too")
    if against:
        raise typer.Exit(UNPROVEN_EXIT_CODE)


def protect(
    passphrase: bool = typer.Option(False, "--passphrase", help="Seal with a passphrase."),
    new_key_file: Path | None = typer.Option(
        None, "--with-key-file", help="Seal with this file; made where it is not there."
    ),
    in_the_open: bool = typer.Option(False, "--none", help="Leave the keys in the open."),
    store: Path = STORE,
    key_file: Path | None = KEY_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Seal the keys of all patients with a passphrase or a key file, so that the disk alone tells nothing.

    Makes the store where there is none. The passphrase or key file is kept nowhere: who loses it has lost the
    patients. Exit code 2 for one that is too short, and where the store is sealed by another one. With --json:
    {"ok", "protection", "store", "were_open"}.
    """
    chosen = [passphrase, new_key_file is not None, in_the_open]
    if sum(chosen) != 1:
        raise WrongUse("name one of --passphrase, --with-key-file FILE and --none")
    protection = ("passphrase", "key-file", "none")[chosen.index(True)]
    if new_key_file is not None and not new_key_file.exists():
        _make_key_file(new_key_file, store)
    with opened(store, key_file, create=True) as books:
        were_open = books.keys.protection() == "none" and bool(books.kept())
        books.protect(protection, asking(new_key_file, again=True))  # type: ignore[arg-type]
    exposed = were_open and protection != "none"
    if as_json:
        print_json(
            {"ok": True, "protection": protection, "store": str(store), "were_open": exposed}
        )
        return
    print(
        f"{store}: keys sealed by {protection}"
        if protection != "none"
        else f"{store}: keys in the open"
    )
    if exposed:
        print(
            "until now they stood in the open; what this disk may keep of the overwritten file is not reached"
        )


def _make_key_file(path: Path, store: Path) -> None:
    """Make a key file, which only its owner reads; WrongUse within the store that it would seal."""
    if store.resolve() in path.resolve().parents:
        raise WrongUse(f"{path} is in the store that it is to seal; keep it on another disk")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(64))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise WrongUse(f"{path} can not be written: {problem.strerror}") from None


def _confirm(count: int, yes: bool) -> None:
    if yes or not count:
        return
    if not sys.stdin.isatty():
        raise WrongUse(
            f"{count} patients would be deleted for good; add --yes. Nothing was deleted"
        )
    if not typer.confirm(f"Delete {count} patients for good?"):
        raise WrongUse("nothing was deleted")


def _as_json(one: Deletion) -> dict[str, Any]:
    return {
        "id": one.patient_id,
        "row": one.row,
        "hash": one.hash,
        "files": one.files,
        "exports": list(one.standing.exports),
        "pages": one.standing.pages,
    }
