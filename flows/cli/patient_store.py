"""What every command on a store of patients shares: which store, which key, who, and a patient of either kind.

Belongs here: options and asking. Not here: the store (chiploop.patients), the commands.

A passphrase is asked for on the terminal, or taken from CHIPLOOP_PATIENT_PASSPHRASE (a new one from
CHIPLOOP_PATIENT_NEW_PASSPHRASE); a key file is the one of
--key-file or of CHIPLOOP_PATIENT_KEY. Neither is ever an argument: the list of processes shows those.
"""

from __future__ import annotations

import datetime
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import os_login

if TYPE_CHECKING:
    from chiploop.patients.key_folder import Ask, Protection
    from chiploop.patients.store import PatientStore
    from chiploop.twin.patient_file import Patient

PASSPHRASE, KEY = "CHIPLOOP_PATIENT_PASSPHRASE", "CHIPLOOP_PATIENT_KEY"
NEW_PASSPHRASE = "CHIPLOOP_PATIENT_NEW_PASSPHRASE"
STORE = typer.Option(Path("runs/patients"), "--store", help="Folder of the store of patients.")
KEY_FILE = typer.Option(
    None, "--key-file", help=f"Key file of the store; otherwise the one of {KEY}."
)
WHO = typer.Argument(metavar="PATIENT", help="Id (six characters will do) or code.")


def today() -> str:
    """Return today's date, e.g. 2030-12-31."""
    return datetime.date.today().isoformat()


def login() -> str:
    """Return who is logged in, without the spaces that no login has."""
    return os_login().replace(" ", "-")


def asking(key_file: Path | None, again: bool = False) -> Ask:
    """Return what gives the secret of a store; ``again``: a new passphrase is typed twice."""

    def ask(protection: Protection) -> bytes:
        if protection == "key-file":
            return _key_file(key_file)
        return _passphrase(again).encode("utf-8")

    return ask


@contextmanager
def opened(store: Path, key_file: Path | None, create: bool = False) -> Iterator[PatientStore]:
    """Yield a store, alone with it; what an earlier command had left is told on standard error."""
    from chiploop.patients.store import open_store

    with open_store(store, login(), asking(key_file), create) as books:
        for told in books.finished:
            print(told, file=sys.stderr)
        yield books


def patient_for(
    named: str, store: Path, key_file: Path | None, use: str, page: bool = False
) -> Patient:
    """Return the patient of a file, or of the store by id or code, for a use that was agreed to.

    One of the store stands on its audit afterwards. NotAgreed where the consent has not the use or its time is
    over.
    """
    from chiploop.patients.audit import AUDIT_FILE
    from chiploop.twin.consent import check_use
    from chiploop.twin.patient_file import patient_of

    path = Path(named)
    is_file = path.exists() or path.suffix in (".yaml", ".yml") or path.name != named
    if not is_file and (store / AUDIT_FILE).exists():
        with opened(store, key_file) as books:
            return books.read(books.find(named), use, today(), page=page)
    patient = patient_of(path)
    check_use(patient.consent.scope, patient.consent.delete_after, use, today(), named)
    return patient


def _key_file(named: Path | None) -> bytes:
    path = named or (Path(os.environ[KEY]) if os.environ.get(KEY) else None)
    if path is None:
        raise WrongUse(f"the store is sealed by a key file: name it with --key-file or {KEY}")
    try:
        return path.read_bytes()
    except OSError as problem:
        raise WrongUse(f"key file {path} can not be read: {problem.strerror}") from None


def _passphrase(again: bool) -> str:
    variable = NEW_PASSPHRASE if again else PASSPHRASE
    if named := os.environ.get(variable):
        return named
    if not sys.stdin.isatty():
        wanted = "a new passphrase is needed" if again else "the store is sealed by a passphrase"
        raise WrongUse(f"{wanted}, and there is no terminal to ask on: set {variable}")
    first = getpass.getpass(f"{'new ' if again else ''}passphrase of the patients: ")
    if again and getpass.getpass("once more: ") != first:
        raise WrongUse("the two passphrases differ. Nothing was changed")
    return first
