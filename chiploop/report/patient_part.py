"""The end of a report: which drug for each patient who is a donor of the study.

Belongs here: what the part holds, one patient after the other, each by itself: one that can not be made leaves the
others and the rest of the report. Not here: the answer (chiploop.twin), figures (twin_page), markup
(patient_part.html.j2).

Its figures are simulated patients whatever the run was, and are marked so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chiploop.errors import ChiploopError, FileNotValid
from chiploop.report.svg import Drawn
from chiploop.report.twin_page import figures_of
from chiploop.study import DonorPatient
from chiploop.twin.donor_patient import ChipsTold, as_donor, what_if_of_donor
from chiploop.twin.patient_what_if import WhatIf

if TYPE_CHECKING:
    from chiploop.report.html_report import RunEvidence


@dataclass(frozen=True)
class PatientPart:
    """One patient in the report."""

    donor: str
    patient: str
    told: WhatIf | None
    by_chips: list[ChipsTold]
    figures: dict[str, Drawn]
    problem: str
    """Why there is no forecast; empty where there is one."""
    chips: int
    """Of this donor."""

    @property
    def at(self) -> str:
        """What begins the ids of this patient on the page."""
        return f"patient-{self.donor}-"


def patient_parts(run: RunEvidence) -> list[PatientPart]:
    """Return the parts of all patients whom the study names, in its order."""
    return [patient_part(run, donor, asked) for donor, asked in run.study.patients.items()]


def patient_part(run: RunEvidence, donor: str, asked: DonorPatient) -> PatientPart:
    """Return the part of one patient, or what kept it from being made."""
    chips = sum(own == donor for line in run.study.lines for own in line.chips.values())
    try:
        told, by_chips = answer_of(run, donor, asked)
    except Exception as problem:  # one broken twin leaves the rest of the report standing
        named = "" if isinstance(problem, ChiploopError) else f"{type(problem).__name__}: "
        return PatientPart(donor, asked.patient, None, [], {}, f"{named}{problem}", chips)
    figures = figures_of(told, f"patient-{donor}-")
    return PatientPart(donor, asked.patient, told, by_chips, figures, "", chips)


def answer_of(run: RunEvidence, donor: str, asked: DonorPatient) -> tuple[WhatIf, list[ChipsTold]]:
    """Return the what-if by the last calibration and what chips told; FileNotValid where nothing may be said."""
    if run.info is None:
        raise FileNotValid("no calibration is on record, so the chips have told nothing yet")
    if run.refused:
        raise FileNotValid(
            f"the last calibration failed ({'; '.join(run.info['failures'])}); a twin takes nothing from it"
        )
    if run.read_patient is None:
        raise FileNotValid(f"the file of {asked.patient} is not read here")
    patient = as_donor(run.read_patient(asked), run.study.donors[donor].flg, asked, donor)
    given = {name: drug.drug_class for name, drug in run.study.drugs.items()}
    run_id, seed = run.run.run_id, run.run.seed
    return what_if_of_donor(patient, asked, run.posterior, given, donor, run_id, seed)
