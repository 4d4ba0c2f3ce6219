"""What can be checked of a store without a key: its audit, its files, and that a deleted patient is gone.

Belongs here: reading only. Not here: finishing or deleting (store).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chiploop.patients.audit import AUDIT_FILE, Standing, standing_of, verify_chain
from chiploop.patients.key_folder import KeyFolder
from chiploop.patients.values import ValuesFolder, by_patient
from chiploop.record.chain import ChainFault, ChainReport


@dataclass(frozen=True)
class Proof:
    """What speaks for a patient having been deleted, and what against."""

    standing: Standing
    chain: ChainReport
    files: tuple[Path, ...]
    """Files of this patient that are still there."""
    searched: int
    """Files whose every byte was looked at."""
    searched_bytes: int
    found: tuple[tuple[Path, str], ...]
    """Where one of the texts was found."""

    @property
    def against(self) -> list[str]:
        """Return what speaks against it, in words."""
        said = [fault.message for fault in self.chain.faults]
        if self.standing.state != "deleted":
            said.append(f"the audit says {self.standing.state}, not deleted")
        said += [f"{path} is there" for path in self.files]
        return said + [f'{path} holds "{text}"' for path, text in self.found]


def proof_of(
    folder: Path, named: str, texts: Sequence[str] = (), elsewhere: Iterable[Path] = ()
) -> Proof:
    """Return the proof for the patient of an id; the texts are looked for in every byte below the folders.

    KeyError where the audit knows no such id, or several that begin so. RecordUnreadable where there is no audit.
    """
    chain, entries = verify_chain(folder / AUDIT_FILE)
    known = [one for key, one in standing_of(entries).items() if key.startswith(named.lower())]
    if len(known) != 1:
        raise KeyError(f"{len(known)} patients of the audit have an id that begins with {named}")
    of = known[0].patient_id
    files = tuple(KeyFolder(folder).files_of(of) + ValuesFolder(folder).files_of(of))
    wanted = [(text, text.encode("utf-8")) for text in texts]
    found, searched, size = [], 0, 0
    for path in sorted(p for place in (folder, *elsewhere) for p in place.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        searched, size = searched + 1, size + len(content)
        found += [(path, text) for text, raw in wanted if raw in content]
    return Proof(known[0], chain, files, searched, size, tuple(found))


def verify_store(folder: Path) -> ChainReport:
    """Return what is wrong with a store: its chain, files of deleted patients, files that nobody put there.

    Needs no key. A key that is not here is no fault: a backup holds none.
    """
    report, entries = verify_chain(folder / AUDIT_FILE)
    standings, values = standing_of(entries), ValuesFolder(folder)
    there = by_patient(KeyFolder(folder).folder, values.folder)
    faults: list[ChainFault] = []
    for one in standings.values():
        short, left = one.patient_id[:8], there.get(one.patient_id, [])
        if one.state in ("deleted", "given up") and left:
            told = f"{short} was {one.state}, and {left[0]} is here"
            faults.append(ChainFault("inserted", "patients", one.patient_id, told))
        elif one.state == "kept" and not values.path(one.patient_id, one.version).exists():
            told = f"the values of {short}, version {one.version}, are gone"
            faults.append(ChainFault("deleted", "patients", one.patient_id, told))
    for patient_id, files in there.items():
        if patient_id not in standings:
            told = f"{files[0]} belongs to no patient of the audit"
            faults.append(ChainFault("inserted", "patients", patient_id, told))
    return replace(report, faults=report.faults + tuple(faults))
