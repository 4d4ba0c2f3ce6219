"""The files of the patients that a study names, read when they are needed.

Belongs here: reading one, and whether its consent lets it be used today. Not here: what a file may hold
(chiploop.twin.patient_file), what it is used for (twin.donor_patient). Nothing is copied: once a patient's file is
gone, a report that is made again has no forecast for this patient any more.
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
    patient = patient_of(path)
    today = datetime.date.today().isoformat()
    check_use(patient.consent.scope, patient.consent.delete_after, "study", today, str(path))
    return patient


def refuse_unfit_patients(study: Study) -> None:
    """Raise FileNotValid where a patient whom the study names can not be used: told before anything begins."""
    if not study.patients:
        return
    from chiploop.twin.donor_patient import as_donor

    for donor, asked in study.patients.items():
        as_donor(patient_at_hand(asked), study.donors[donor].flg, asked, donor)
