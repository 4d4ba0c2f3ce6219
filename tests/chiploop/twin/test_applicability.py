"""Inside of what the twin was built from, outside and why, or not known: never a guess."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.twin_populations import PAGE as POPULATIONS
from benchmarks.twin_populations import sources_table
from chiploop.twin.applicability import (
    INSIDE,
    NOT_KNOWN,
    OUTSIDE,
    Applicability,
    Aspect,
    of_patient,
    of_trial_file,
    of_virtual_patients,
)
from chiploop.twin.drug_facts import drug_facts
from chiploop.twin.patient_model import before_treatment
from chiploop.twin.population import published_population
from chiploop.twin.source_populations import ANCESTRIES, KINETICS, TRIAL, source_populations
from chiploop.twin.trial_rows import read_trial_rows
from tests.chiploop.twin.patients import patient

PAGE = Path(__file__).parents[3] / "docs" / "twin_trials.md"
# facts of a file, arms, aspect -> verdict, words
CASES = [
    ({"age_years": 40}, ["dupilumab"], "age", INSIDE, "not given by dupilumab kinetics"),
    ({"age_years": 17}, ["dupilumab"], "age", OUTSIDE, "disease model 18 or more years"),
    ({"age_years": 9}, ["placebo"], "age", OUTSIDE, "Esaki 2016"),
    ({"age_years": 80}, ["tralokinumab"], "age", INSIDE, "80 years"),
    ({"age_years": 80}, ["upadacitinib"], "age", OUTSIDE, "Measure Up 1 12 to 75"),
    ({}, ["dupilumab"], "age", NOT_KNOWN, "gives none"),
    ({"baseline": {"easi": 30.0}}, ["dupilumab"], "severity", INSIDE, "EASI 30"),
    ({"baseline": {"easi": 9.0}}, ["dupilumab"], "severity", OUTSIDE, "SOLO 1 and 2 16 to 72"),
    ({"baseline": {"easi": 9.0}}, ["nemolizumab"], "severity", INSIDE, "not given by nemolizumab"),
    ({"baseline": {"easi": 60.0}}, ["placebo"], "severity", OUTSIDE, "disease model 4 to 51"),
    ({}, ["dupilumab"], "severity", NOT_KNOWN, "no EASI"),
    ({}, ["dupilumab"], "ancestry", NOT_KNOWN, "the file gives none"),
    ({"ancestry": "european"}, ["dupilumab"], "ancestry", NOT_KNOWN, "disease model has none"),
    ({"ancestry": "asian"}, ["dupilumab"], "ancestry", NOT_KNOWN, "Noda 2015"),
    ({"ancestry": "asian"}, ["abrocitinib"], "ancestry", OUTSIDE, "1.36 times"),
    ({"ancestry": "african"}, ["dupilumab"], "ancestry", OUTSIDE, "6 % of its 1379"),
    ({"ancestry": "african"}, ["upadacitinib"], "ancestry", NOT_KNOWN, "Nomura 2020"),
    ({"flg": "null"}, ["dupilumab"], "FLG", INSIDE, "BioDay 14 % of 285"),
    ({"flg": "null"}, ["dupilumab", "upadacitinib"], "FLG", NOT_KNOWN, "upadacitinib"),
    ({}, ["dupilumab"], "FLG", NOT_KNOWN, "no genotype"),
    ({}, ["dupilumab"], "dupilumab", INSIDE, "SOLO 1 and 2"),
    ({}, ["abrocitinib"], "abrocitinib", NOT_KNOWN, "never checked"),
    ({"setting": "topicals"}, ["upadacitinib"], "upadacitinib", NOT_KNOWN, "never checked"),
    ({"setting": "topicals"}, ["tralokinumab"], "tralokinumab", OUTSIDE, "EASI-75 of ECZTRA 3"),
    ({}, ["tralokinumab"], "tralokinumab", INSIDE, "ECZTRA 1 and 2"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "arms", "aspect", "verdict", "words"), CASES)
def test_each_aspect_has_a_verdict_and_says_why(
    facts: dict[str, object], arms: list[str], aspect: str, verdict: str, words: str
) -> None:
    found = {one.aspect: one for one in of_patient(patient(**facts), arms).aspects}
    assert found[aspect].verdict == verdict, found[aspect]
    assert words in found[aspect].reason


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ((INSIDE, INSIDE), INSIDE),
        ((INSIDE, NOT_KNOWN), NOT_KNOWN),
        ((OUTSIDE, NOT_KNOWN, INSIDE), OUTSIDE),
    ],
)
def test_the_whole_is_no_better_than_its_worst_aspect(
    verdicts: tuple[str, ...], whole: str
) -> None:
    found = Applicability(tuple(Aspect(f"a{i}", v, "why") for i, v in enumerate(verdicts)))
    assert found.verdict == whole and found.sentence.startswith(whole)
    assert len(found.beware) == sum(v != INSIDE for v in verdicts)
    assert found.as_json()["verdict"] == whole


def test_what_no_source_says_is_never_taken_for_inside() -> None:
    blank = {one.aspect: one.verdict for one in of_patient(patient(), ["placebo"]).aspects}
    assert blank == dict.fromkeys(("age", "severity", "ancestry", "FLG"), NOT_KNOWN)
    for own in ANCESTRIES:
        for drug in drug_facts():
            found = {one.aspect: one for one in of_patient(patient(ancestry=own), [drug]).aspects}
            assert found["ancestry"].verdict != INSIDE
    assert of_trial_file().verdict == NOT_KNOWN


@pytest.mark.parametrize(
    ("easi", "verdict", "words"),
    [
        ((20.0, 30.0), INSIDE, "EASI before treatment 20 to 30"),
        ((20.0, None), NOT_KNOWN, "1 of 2 patients have none"),
        ((2.0, 60.0, 30.0, None), OUTSIDE, "2 of 4 patients outside; 1 of 4 patients have none"),
        ((), NOT_KNOWN, "does not say it"),
    ],
)
def test_severity_of_a_trial_is_that_of_its_patients_before_treatment(
    easi: tuple[float | None, ...], verdict: str, words: str
) -> None:
    found = {one.aspect: one for one in of_trial_file(easi, [12.0 for _ in easi]).aspects}
    assert found["severity"].verdict == verdict and words in found["severity"].reason
    assert found["age"].verdict == (OUTSIDE if easi else NOT_KNOWN)


def test_a_trial_on_virtual_patients_says_which_of_its_endpoints_are_missed() -> None:
    found = {
        one.aspect: one for one in of_virtual_patients(["upadacitinib"], "monotherapy").aspects
    }
    assert found["upadacitinib"].verdict == OUTSIDE
    assert "EASI-90 of Measure Up 1 (upadacitinib:15mg)" in found["upadacitinib"].reason
    assert "30mg" not in found["upadacitinib"].reason
    # a forecast for one patient gives no EASI-90
    own = {one.aspect: one for one in of_patient(patient(), ["upadacitinib"]).aspects}
    assert own["upadacitinib"].verdict == INSIDE


def test_missed_rows_are_those_of_the_page_of_trials() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| rows | number")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    found = {
        (row[0], row[1], row[2], row[4])
        for row in rows
        if len(row) == 9 and re.fullmatch(r"[+-]\d+\.\d\d", row[7]) and abs(float(row[7])) > 2.0
    }
    told = {(m.trial, m.arm, m.setting, m.endpoint) for m in source_populations().missed}
    assert found == told and found


def test_every_drug_and_every_trial_of_the_data_has_its_population(shared_data: Path) -> None:
    known = source_populations()
    assert all(len(known.of(KINETICS, drug)) == 1 for drug in drug_facts())
    rows, _ = read_trial_rows(shared_data / "clinical_efficacy.csv")
    names = {one.name for one in known.sources if one.part == TRIAL}
    for trial in {row.trial for row in rows}:
        stem, number = trial.rsplit(" ", 1) if " " in trial else (trial, "")
        pooled = f"{stem} 1 and 2" if number in ("1", "2") else trial
        assert trial in names or pooled in names, trial
    assert all(one.source and one.status for one in known.sources)


def test_span_of_the_disease_model_is_that_of_its_virtual_patients() -> None:
    easi = before_treatment(published_population().draw(6000, np.random.default_rng(8)))[1]
    low, high = source_populations().disease.easi or (0.0, 0.0)
    assert 0.005 < (easi < low).mean() < 0.02 and 0.005 < (easi > high).mean() < 0.02


def test_the_page_of_populations_has_the_facts_as_they_are() -> None:
    lines = POPULATIONS.read_text(encoding="utf-8").splitlines()
    table = sources_table(source_populations().sources)
    begin = lines.index(table[0])
    assert lines[begin : begin + len(table)] == table
