"""Which drug for each patient, at the end of a report: by the donor's chips; one broken twin breaks no other."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.report.html_report import RunEvidence, report_text
from chiploop.study import DonorPatient, Study
from chiploop.twin import RESEARCH_USE
from chiploop.twin.donor_patient import what_if_of_donor
from chiploop.twin.patient_file import Patient
from tests.chiploop.report.test_html_report import Page
from tests.chiploop.twin.patients import patient

DRUGS = ("upadacitinib:15mg", "dupilumab", "placebo")


def asked(code: str) -> DonorPatient:
    return DonorPatient(patient=code, file=f"{code}.yaml", drugs=DRUGS, virtual_patients=300)


def with_patients(study: Study) -> Study:
    return study.model_copy(update={"patients": {"D1": asked("P-1"), "D2": asked("P-2")}})


def read(one: DonorPatient) -> Patient:
    if one.patient == "P-2":
        raise FileNotValid("P-2.yaml can not be read: <gone>")
    return patient(patient=one.patient, baseline={"easi": 28.0})


def evidence(run: Any, read_patient: Any = read) -> RunEvidence:
    return RunEvidence(
        run.record, run.journal, with_patients(run.study), run.run_id, run.folder, read_patient
    )


@pytest.fixture(scope="module")
def text(hand_run: Any) -> str:
    return report_text(evidence(hand_run))


def test_the_report_ends_with_each_patient_and_is_whole_light_and_the_same_to_the_byte(
    hand_run: Any, text: str
) -> None:
    page = Page(text)
    assert page.open == [] and sorted(page.ids) == sorted(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    assert len(text.encode()) < 1_000_000 and "script" not in page.tags
    end = text[text.index('id="patients"') :]
    assert RESEARCH_USE in end and "SIMULATED" in end
    assert "IC50 of upadacitinib" in end and "without the chips" in end
    assert end.count("<svg") == 2 and text.index('id="provenance"') < text.index('id="patients"')
    again = evidence(hand_run).patients[0]
    assert again.told is not None and set(again.figures) == {"course", "falls"}
    assert all(one.svg and one.svg in text for one in again.figures.values())


def test_one_broken_twin_leaves_the_other_and_the_rest_as_they_are(
    hand_run: Any, text: str
) -> None:
    end = text[text.index('id="patient-D2-answer"') :]
    assert "There is no forecast for this patient: P-2.yaml can not be read: &lt;gone&gt;" in end

    def nobody(one: DonorPatient) -> Patient:
        raise RuntimeError("the twin is broken")

    broken = evidence(hand_run, nobody).patients
    assert [part.problem for part in broken] == ["RuntimeError: the twin is broken"] * 2
    assert "the file of P-1 is not read here" in evidence(hand_run, None).patients[0].problem
    assert 'id="provenance"' in text and text.rstrip().endswith("</html>")


def test_a_failed_calibration_tells_a_twin_nothing(other_run: Any) -> None:
    parts = evidence(other_run(passed=False)).patients
    assert [part.told for part in parts] == [None, None]
    assert "the last calibration failed" in parts[0].problem


def test_a_study_without_patients_has_no_such_part(hand_run: Any) -> None:
    assert RunEvidence(*hand_run.parts).patients == []


def test_the_donors_own_potency_is_taken_and_not_that_of_all_donors(hand_run: Any) -> None:
    run = evidence(hand_run)
    posterior = run.posterior
    of_donors = posterior.of_donors.copy()
    at = posterior.names.index("IC50")
    of_donors[:, posterior.donors.index("D1"), at] *= 20.0
    apart = replace(posterior, of_donors=of_donors)
    given = {name: drug.drug_class for name, drug in run.study.drugs.items()}
    medians = {}
    for donor in ("D1", "D2"):
        told, chips = what_if_of_donor(
            patient(patient="P-1"), asked("P-1"), apart, given, donor, "R", 3
        )
        medians[donor] = told.forecasts[0].improvement_pct[1]
        own = np.median(of_donors[:, apart.donors.index(donor), at])
        assert chips[0].name == "IC50 of upadacitinib"
        assert chips[0].median == pytest.approx(own, rel=0.1)
    assert medians["D1"] < medians["D2"] - 5.0


def test_an_antibody_takes_no_kd_from_a_run_whose_drug_is_of_another_class(hand_run: Any) -> None:
    run = evidence(hand_run)
    with pytest.raises(FileNotValid, match="another quantity"):
        what_if_of_donor(
            patient(), asked("P-1"), run.posterior, {"upadacitinib": "Antibody"}, "D1", "R", 3
        )
    with pytest.raises(FileNotValid, match="D9 had no part"):
        what_if_of_donor(patient(), asked("P-1"), run.posterior, {}, "D9", "R", 3)
