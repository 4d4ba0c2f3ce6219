"""The keys of patients: one small file each, sealed by the store's key, which a passphrase or a key file seals.

Belongs here: making, opening, erasing keys; how the store's key is protected. Not here: values (store), asking a
person for a passphrase (flows.cli).

No backup of chiploop takes this folder (``record.backup``): otherwise a key would outlive its deletion in each of
them. ``protection`` none leaves the store's key in the open: a deletion destroys as well, but who has the disk
reads the patients.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from chiploop.errors import FileNotValid, WrongUse
from chiploop.patients.erasing import erase, write_private
from chiploop.patients.fault_points import passed
from chiploop.patients.sealing import (
    SALT_BYTES,
    SCRYPT_COST,
    NotOpened,
    key_of_key_file,
    key_of_passphrase,
    new_key,
    seal,
    unseal,
)

FOLDER, SEAL, OLD_SEAL = "patient-keys", "seal.json", "seal.old"
FORMAT = "chiploop patient keys 1"
Protection = Literal["none", "passphrase", "key-file"]
PROTECTIONS: tuple[Protection, ...] = get_args(Protection)
Ask = Callable[[Protection], bytes]
"""Kind of protection -> the passphrase as UTF-8, or the content of the key file; asked only where it is needed."""
SHORTEST_PASSPHRASE, SHORTEST_KEY_FILE = 12, 32
ABOUT = b"chiploop patients: key of the store"


class KeysNotOpened(WrongUse):
    """The passphrase or key file is not the one of these keys."""

    code = "CL-220"


class NoKey(FileNotValid):
    """A patient whose key is not here: deleted, or brought back by a backup, which holds no keys."""

    code = "CL-361"


class KeyFolder:
    """The keys below the folder of a store. Nothing is made until ``make``."""

    def __init__(self, store: Path, cost: int = SCRYPT_COST) -> None:
        self.folder = store / FOLDER
        self.cost = cost
        """Of a new passphrase; tests take less."""
        self._store_key: bytes | None = None

    def protection(self) -> Protection | None:
        """Return how the keys are protected; None where there are none."""
        content = self._seal()
        return None if content is None else content["protection"]

    def make(self, protection: Protection, ask: Ask) -> None:
        """Make the store's key, protected so; nothing where there is one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if self.protection() is None:
            self._store_key = new_key()
            write_private(self.folder / SEAL, self._sealed(protection, ask))

    def protect(self, protection: Protection, old: Ask, new: Ask) -> None:
        """Protect the store's key otherwise; the older seal is erased."""
        self.unlock(old)
        sealed = self._sealed(protection, new)
        os.replace(self.folder / SEAL, self.folder / OLD_SEAL)
        write_private(self.folder / SEAL, sealed)
        passed("patient_keys_sealed_anew")
        erase(self.folder / OLD_SEAL)

    def finish(self) -> None:
        """Finish what a process left that died in ``protect`` or while it wrote."""
        if not self.folder.is_dir():
            return
        if (self.folder / SEAL).exists():
            erase(self.folder / OLD_SEAL)
        elif (self.folder / OLD_SEAL).exists():
            os.replace(self.folder / OLD_SEAL, self.folder / SEAL)
        for draft in self.folder.glob("*.tmp"):
            erase(draft)

    def unlock(self, ask: Ask) -> None:
        """Open the store's key. KeysNotOpened for another passphrase or key file, NoKey where there is none."""
        if self._store_key is not None:
            return
        content = self._seal()
        if content is None:
            raise NoKey(
                f"{self.folder} has no {SEAL}: without it no patient of this store can be read. A backup of "
                "chiploop holds no keys; bring this folder back from where you keep it"
            )
        sealed, protection = base64.b64decode(content["key"]), content["protection"]
        if protection == "none":
            self._store_key = sealed
            return
        salt = base64.b64decode(content["salt"])
        try:
            outer = _outer(protection, ask(protection), salt, int(content["cost"]))
            self._store_key = unseal(outer, sealed, ABOUT)
        except NotOpened:
            raise KeysNotOpened(
                f"the keys of {self.folder.parent} are sealed by a {protection}, and this is another one. "
                "Nothing was read"
            ) from None

    def new(self, patient_id: str) -> bytes:
        """Make a patient's key, on disk on return."""
        assert self._store_key is not None, "unlock comes first"
        key = new_key()
        write_private(self._path(patient_id), seal(self._store_key, key, patient_id.encode()))
        return key

    def key(self, patient_id: str) -> bytes:
        """Return a patient's key; NoKey where it is not here or was altered."""
        assert self._store_key is not None, "unlock comes first"
        try:
            sealed = self._path(patient_id).read_bytes()
            return unseal(self._store_key, sealed, patient_id.encode())
        except FileNotFoundError:
            raise NoKey(
                f"patient {patient_id}: its key is not in {self.folder}; its values can not be read"
            ) from None
        except NotOpened:
            raise NoKey(
                f"patient {patient_id}: its key in {self.folder} is not what was written"
            ) from None

    def has(self, patient_id: str) -> bool:
        """Return whether a patient's key is here."""
        return self._path(patient_id).exists()

    def files_of(self, patient_id: str) -> list[Path]:
        """Return what is here of a patient, drafts as well."""
        return sorted(self.folder.glob(f"{patient_id}*"))

    def _path(self, patient_id: str) -> Path:
        return self.folder / patient_id

    def _seal(self) -> dict[str, Any] | None:
        path = self.folder / SEAL
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["protection"] not in PROTECTIONS:
                raise ValueError("another format")
            return content
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as problem:
            raise FileNotValid(f"{path} can not be read: {problem}") from None

    def _sealed(self, protection: Protection, ask: Ask) -> bytes:
        """Return the content of the seal's file for a protection."""
        assert self._store_key is not None, "made or unlocked before"
        content: dict[str, Any] = {"format": FORMAT, "protection": protection}
        key = self._store_key
        if protection != "none":
            salt = os.urandom(SALT_BYTES)
            secret = _long_enough(protection, ask(protection))
            key = seal(_outer(protection, secret, salt, self.cost), key, ABOUT)
            content |= {"salt": base64.b64encode(salt).decode(), "cost": self.cost}
        content["key"] = base64.b64encode(key).decode()
        return (json.dumps(content) + "\n").encode()


def _outer(protection: Protection, secret: bytes, salt: bytes, cost: int) -> bytes:
    if protection == "key-file":
        return key_of_key_file(secret, salt)
    return key_of_passphrase(secret.decode("utf-8"), salt, cost)


def _long_enough(protection: Protection, secret: bytes) -> bytes:
    """Return a new secret; WrongUse for one that is soon guessed."""
    if protection == "key-file" and len(secret) < SHORTEST_KEY_FILE:
        raise WrongUse(
            f"the key file has {len(secret)} bytes; a key file has {SHORTEST_KEY_FILE} random ones or more"
        )
    if protection == "passphrase" and len(secret.decode("utf-8")) < SHORTEST_PASSPHRASE:
        raise WrongUse(
            f"the passphrase has {len(secret.decode('utf-8'))} characters; {SHORTEST_PASSPHRASE} are needed"
        )
    return secret
