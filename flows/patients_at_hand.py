"""The files of the patients that a study names, read when they are needed.

Belongs here: reading one, and whether its consent lets it be used today. Not here: what a file may hold
(chiploop.twin.patient_file), what it is used for (twin.donor_patient). Nothing is copied: once a patient's file is
gone, a report that is made again has no forecast for this patient any more. One who is kept in a store
(chiploop.patients) is found there by code, and each reading stands on the store's audit.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiploop.study import DonorPatient, Study
    from chiploop.twin.patient_file import Patient


def patient_at_hand(asked: DonorPatient) -> Patient:
    """Return the patient of a study's donor; FileNotValid where the file, NotAgreed where its consent, lets it not
    be used."""
    from chiploop.twin.consent import check_use
    from chiploop.twin.patient_file import patient_of

    path = Path(asked.file)
    today = datetime.date.today().isoformat()
    if path.is_dir():
        return _of_store(path, asked.patient, today)
    patient = patient_of(path)
    check_use(patient.consent.scope, patient.consent.delete_after, "study", today, str(path))
    return patient


def _of_store(folder: Path, code: str, today: str) -> Patient:
    """Return a patient of a store. Its key comes as for every command; there may be no terminal to ask on."""
    from flows.cli.patient_store import opened

    with opened(folder, None) as books:
        return books.read(books.find(code), "study", today, page=True)


def refuse_unfit_patients(study: Study) -> None:
    """Raise FileNotValid where a patient whom the study names can not be used: told before anything begins."""
    if not study.patients:
        return
    from chiploop.twin.donor_patient import as_donor

    for donor, asked in study.patients.items():
        as_donor(patient_at_hand(asked), study.donors[donor].flg, asked, donor)
