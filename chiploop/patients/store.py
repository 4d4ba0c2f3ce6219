"""A store of patients: added, read for what was agreed, changed, deleted; each on the audit.

Belongs here: the order of steps, so that a death in between loses and leaves nothing. Not here: ciphers (sealing),
files (key_folder, values), the chain (audit), proof of a deletion (proof), giving away (data_use).

Order: the audit announces; then key and values; then the audit says that it is so. A version counts once the audit
names it. A deletion is told before anything is erased and again after nothing is left; what a death leaves in
between is finished by the next one who opens the store.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chiploop.errors import WrongUse
from chiploop.patients.audit import AUDIT_FILE, PatientAudit, Standing, standing_of
from chiploop.patients.erasing import NotErased, erase
from chiploop.patients.fault_points import passed
from chiploop.patients.key_folder import Ask, KeyFolder, Protection
from chiploop.patients.sealing import SCRYPT_COST
from chiploop.patients.values import ValuesAltered, ValuesFolder, by_patient
from chiploop.record.chain import utc_now
from chiploop.record.disk import full, is_full
from chiploop.twin.consent import check_use
from chiploop.twin.patient_file import Patient

LOCK_FILE = "patients.lock"
LOCK_TIMEOUT_S = 20.0
SHORTEST_ID = 6
"""Characters by which a patient's id may be named."""
WHY_DELETED = ("withdrawn", "retention-over", "request", "study-ended", "error")
"""Words for the audit: a reason in free text could name the patient."""


@dataclass(frozen=True)
class Kept:
    """What can be told of a patient without its key."""

    standing: Standing
    scope: tuple[str, ...] = ()
    delete_after: str = ""
    """Empty where the values are not here."""
    trouble: str = ""
    """Why it can not be read; empty where it can."""


@dataclass(frozen=True)
class Deletion:
    """What a deletion did."""

    patient_id: str
    files: int
    """Overwritten and removed."""
    row: int
    """Of the audit, where its end stands."""
    hash: str
    """Link of that row."""
    standing: Standing
    """As it was before: to whom values were given, how many pages were written."""


class PatientStore:
    """An open store; :func:`open_store` opens it under its lock."""

    def __init__(
        self, folder: Path, login: str, ask: Ask, now_utc: Callable[[], str], cost: int
    ) -> None:
        self.folder = folder
        self.login = login
        self.ask = ask
        self.keys = KeyFolder(folder, cost)
        self.values = ValuesFolder(folder)
        self.audit = PatientAudit(folder / AUDIT_FILE, now_utc)
        self.finished: list[str] = []
        """What an earlier process had left and this one finished, in words."""

    # -- asking

    def standings(self) -> dict[str, Standing]:
        """Return what the audit says of each patient."""
        return standing_of(self.audit.entries())

    def kept(self) -> list[Kept]:
        """Return every patient that is kept, without its key."""
        return [self._kept(one) for one in self.standings().values() if one.state == "kept"]

    def find(self, named: str) -> Standing:
        """Return the patient of an id (its first six characters will do) or a code; WrongUse where there is none.

        For a code the values of all patients are opened: the code stands nowhere else.
        """
        standings = self.standings()
        if len(named) >= SHORTEST_ID:
            known = [one for key, one in standings.items() if key.startswith(named.lower())]
            if len(known) > 1:
                raise WrongUse(f"{named} begins the ids of {len(known)} patients; write more of it")
            if known and known[0].state == "kept":
                return known[0]
            if known:
                raise WrongUse(
                    f"patient {known[0].patient_id} was {known[0].state} on {known[0].ended_utc[:10]}; "
                    f"`chiploop twin proof {known[0].patient_id[:8]}` shows it"
                )
        for one in standings.values():
            if one.state == "kept" and not self._kept(one).trouble:
                if self._values(one).patient == named:
                    return one
        raise WrongUse(
            f"{self.folder} has no patient {named}; `chiploop twin list` names those there are"
        )

    def read(self, of: Standing, use: str, today: str, **more: Any) -> Patient:
        """Return a patient for a use that was agreed to, and put the use on the audit; NotAgreed otherwise."""
        patient = self.checked(of, use, today)
        self.audit.add(of.patient_id, "used", self.login, use=use, **more)
        return patient

    def checked(self, of: Standing, use: str, today: str) -> Patient:
        """Return a patient for a use that was agreed to; NotAgreed otherwise. The caller puts it on the audit."""
        heading = self.values.heading(of.patient_id, of.version)
        told = f"patient {of.patient_id}"
        if heading is not None:  # before any key is asked for
            check_use(heading.scope, heading.delete_after, use, today, told)
        patient = self._values(of)
        check_use(patient.consent.scope, patient.consent.delete_after, use, today, told)
        return patient

    def code(self, of: Standing) -> str:
        """Return a patient's code, for a list."""
        return self._values(of).patient

    # -- changing

    def add(self, patient: Patient, today: str) -> str:
        """Keep a patient; return the random id. WrongUse where its code is kept already."""
        agreed = patient.consent
        check_use(agreed.scope, agreed.delete_after, "change", today, "the file")
        self.keys.unlock(self.ask)
        for one in self.standings().values():
            if one.state != "kept" or self._kept(one).trouble:
                continue
            if self._values(one).patient == patient.patient:
                raise WrongUse(
                    f"the store has {patient.patient} already, as {one.patient_id[:8]}; visits come by "
                    "`chiploop twin visit`. Nothing was added"
                )
        patient_id = secrets.token_hex(16)
        self.audit.add(patient_id, "adding", self.login)
        passed("patient_announced")
        key = self.keys.new(patient_id)
        passed("patient_key_written")
        digest = self.values.write(patient_id, 1, patient, key)
        passed("patient_values_written")
        self.audit.add(patient_id, "added", self.login, version=1, commitment=digest)
        return patient_id

    def change(self, of: Standing, patient: Patient, what: str) -> None:
        """Keep other values of a patient in place of those there are, which are erased; ``what`` is a word."""
        self.keys.unlock(self.ask)
        key, version = self.keys.key(of.patient_id), of.version + 1
        digest = self.values.write(of.patient_id, version, patient, key)
        passed("patient_values_written")
        self.audit.add(
            of.patient_id, "changed", self.login, what=what, version=version, commitment=digest
        )
        passed("patient_change_told")
        erase(self.values.path(of.patient_id, of.version))

    def delete(self, of: Standing, why: str) -> Deletion:
        """Destroy key and values of a patient. No key is needed. NotErased where a file can not be overwritten."""
        if why not in WHY_DELETED:
            raise WrongUse(f"{why} is no reason for the audit; known: {', '.join(WHY_DELETED)}")
        self.audit.add(of.patient_id, "deleting", self.login, why=why)
        passed("patient_deletion_told")
        return self._destroy(of, "by the one who asked")

    def protect(self, protection: Protection, new: Ask) -> None:
        """Protect the keys otherwise, or make them where there are none yet."""
        if self.keys.protection() is None:
            self.keys.make(protection, new)
            self.audit.add("", "made", self.login, protection=protection)
            return
        self.keys.protect(protection, self.ask, new)
        self.audit.add("", "protected", self.login, protection=protection)

    def finish(self) -> None:
        """Finish what a process left that died; told in ``finished``."""
        self.keys.finish()
        for draft in self.values.drafts():
            erase(draft)
        there = by_patient(self.keys.folder, self.values.folder)
        for one in self.standings().values():
            short, left = one.patient_id[:8], there.get(one.patient_id, [])
            if one.state == "deleting":
                self._destroy(one, "finished at a later start")
                self.finished.append(f"the deletion of {short} was broken off and is finished now")
            elif one.state == "deleted" and left:
                self._destroy(one, "files had come back")
                self.finished.append(
                    f"{len(left)} files of {short}, which was deleted, had come back; erased"
                )
            elif one.state == "adding" or (one.state == "given up" and left):
                for path in left:
                    erase(path)
                self.audit.add(one.patient_id, "given up", self.login)
                self.finished.append(
                    f"adding {short} was broken off: nothing of it is kept. Add it again"
                )
            elif one.state == "kept":
                counts = self.values.path(one.patient_id, one.version)
                values = [path for path in left if path.parent == self.values.folder]
                for path in values if counts in values else ():
                    if path != counts:
                        erase(path)

    # -- parts

    def _destroy(self, of: Standing, how: str) -> Deletion:
        """Erase the key first: from then on nobody reads the values, wherever copies of them are."""
        left, files = self.keys.files_of(of.patient_id), 0
        files += sum(erase(path) for path in left)
        passed("patient_key_erased")
        files += sum(erase(path) for path in self.values.files_of(of.patient_id))
        passed("patient_values_erased")
        if remain := self._left(of.patient_id):
            raise NotErased(f"{remain[0]} is still there; the next command on this store erases it")
        end = self.audit.add(of.patient_id, "deleted", self.login, how=how, files=files, left=0)
        return Deletion(of.patient_id, files, end.seq, end.hash, of)

    def _left(self, patient_id: str) -> list[Path]:
        return self.keys.files_of(patient_id) + self.values.files_of(patient_id)

    def _values(self, of: Standing) -> Patient:
        self.keys.unlock(self.ask)
        return self.values.read(
            of.patient_id, of.version, self.keys.key(of.patient_id), of.commitment
        )

    def _kept(self, of: Standing) -> Kept:
        try:
            heading = self.values.heading(of.patient_id, of.version)
        except ValuesAltered:
            return Kept(of, trouble="its values were altered")
        if heading is None:
            return Kept(of, trouble="its values are not here")
        trouble = "" if self.keys.has(of.patient_id) else "its key is not here"
        return Kept(of, heading.scope, heading.delete_after, trouble)


@contextmanager
def open_store(
    folder: Path,
    login: str,
    ask: Ask,
    create: bool = False,
    now_utc: Callable[[], str] = utc_now,
    cost: int = SCRYPT_COST,
) -> Iterator[PatientStore]:
    """Yield a store, alone with it, after what an earlier process left is finished.

    Raises
    ------
    WrongUse
        There is no store in the folder and none is to be made, or another process works on it.
    RecordBroken
        Rows of the audit were cut.
    """
    if not create and not (folder / AUDIT_FILE).exists():
        raise WrongUse(
            f"{folder} is no store of patients; `chiploop twin add` makes one, --store names another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        lock.acquire(timeout=LOCK_TIMEOUT_S)
    except Timeout:
        raise WrongUse(
            f"another command works on {folder} since {LOCK_TIMEOUT_S:g} s; try again. Nothing was done"
        ) from None
    except OSError as problem:
        raise WrongUse(
            f"{folder} can not be used: {problem.strerror or problem}. Nothing was done"
        ) from None
    try:
        store = PatientStore(folder, login, ask, now_utc, cost)
        try:
            store.finish()
            yield store
        except OSError as problem:
            raise _refused(folder, problem) from problem
        finally:
            store.audit.close()
    finally:
        lock.release()


def _refused(folder: Path, problem: OSError) -> Exception:
    """Return what to tell where the system refuses to read or write in a store; other trouble as it is."""
    if is_full(problem):
        return full(folder)
    if folder not in Path(str(problem.filename or "")).parents:
        return problem
    return WrongUse(
        f"{problem.filename} can not be used: {problem.strerror}. What was begun is finished, or given up, by the "
        "next command on this store"
    )
