"""The files that hold patients' values, one for each version, sealed with the patient's key.

Belongs here: their names and form. Not here: keys (key_folder), when a version counts (store).

A file is one line of JSON that anybody may read (id, version, scope of the consent, day of deletion: so that what
is due can be found without a key) and the sealed values. The line is what the sealing is about: altered, or put in
another patient's or version's place, they do not open.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from chiploop.errors import FileNotValid
from chiploop.patients.erasing import write_private
from chiploop.patients.sealing import NotOpened, commitment, seal, unseal
from chiploop.study_fields import FROM_FILE
from chiploop.twin.patient_file import Patient

FOLDER = "values"
FORMAT = "chiploop patient values 1"
ID = re.compile(r"[0-9a-f]{32}")


def by_patient(*folders: Path) -> dict[str, list[Path]]:
    """Return id -> every file of it in the folders of keys and of values, drafts as well."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        if named := ID.match(path.name):
            found.setdefault(named.group(), []).append(path)
    return found


class ValuesAltered(FileNotValid):
    """Values that are not what was written: altered, exchanged or of an older version."""

    code = "CL-362"


@dataclass(frozen=True)
class Heading:
    """What stands in the open before sealed values."""

    id: str
    version: int
    scope: tuple[str, ...]
    delete_after: str
    format: str = FORMAT

    def line(self) -> bytes:
        """Return it as the file has it."""
        return (json.dumps(asdict(self), sort_keys=True) + "\n").encode()


class ValuesFolder:
    """The values below the folder of a store."""

    def __init__(self, store: Path) -> None:
        self.folder = store / FOLDER

    def path(self, patient_id: str, version: int) -> Path:
        """Return the file of a version."""
        return self.folder / f"{patient_id}.{version}"

    def files_of(self, patient_id: str) -> list[Path]:
        """Return every file of a patient, drafts as well."""
        return sorted(self.folder.glob(f"{patient_id}*"))

    def drafts(self) -> list[Path]:
        """Return what a process left that died while it wrote."""
        return sorted(self.folder.glob("*.tmp"))

    def write(self, patient_id: str, version: int, patient: Patient, key: bytes) -> str:
        """Write a version, on disk on return; return the keyed digest for the audit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        plain = json.dumps(
            patient.model_dump(mode="json", exclude_none=True), sort_keys=True
        ).encode()
        agreed = patient.consent
        line = Heading(patient_id, version, tuple(agreed.scope), agreed.delete_after).line()
        write_private(self.path(patient_id, version), line + seal(key, plain, line))
        return commitment(key, plain)

    def heading(self, patient_id: str, version: int) -> Heading | None:
        """Return what stands in the open; None where there is no such file. Unproven until the values open."""
        try:
            with self.path(patient_id, version).open("rb") as file:
                content = json.loads(file.readline())
            content["scope"] = tuple(content["scope"])
            return Heading(**content)
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError):
            raise self._altered(patient_id, version) from None

    def read(self, patient_id: str, version: int, key: bytes, committed: str) -> Patient:
        """Return a patient; ValuesAltered where the file is not what the audit was told of."""
        try:
            line, _, sealed = self.path(patient_id, version).read_bytes().partition(b"\n")
            plain = unseal(key, sealed, line + b"\n")
            content = json.loads(plain)
            heading = json.loads(line)
        except FileNotFoundError:
            raise ValuesAltered(
                f"patient {patient_id}: its values are not in {self.folder}"
            ) from None
        except (NotOpened, ValueError):
            raise self._altered(patient_id, version) from None
        named = (heading.get("id"), heading.get("version"))
        if named != (patient_id, version) or commitment(key, plain) != committed:
            raise self._altered(patient_id, version)
        try:
            return Patient.model_validate(content, context=FROM_FILE)
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise FileNotValid(
                f"patient {patient_id}: this chiploop does not know what is kept of it: {place}: {first['msg']}"
            ) from None

    def _altered(self, patient_id: str, version: int) -> ValuesAltered:
        return ValuesAltered(
            f"patient {patient_id}: {self.path(patient_id, version)} is not what was written. Nothing was read; "
            "bring the file back from a backup, or delete the patient"
        )
