"""Cases: the same seed and number are the same patient, byte for byte, and nothing hidden is told."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from chiploop.errors import WrongUse
from chiploop.twin.teaching.cases import (
    EASI_RANGE,
    LARGEST_SEED,
    TESTED,
    case_of,
    history,
    patient_with,
    potency_in_person,
)
from chiploop.twin.teaching.content import content
from chiploop.twin.teaching.play import Play, played

CASES = [case_of(3, number) for number in range(1, 31)]
ASKED = """
import json
from chiploop.twin.teaching.cases import case_of
from chiploop.twin.teaching.content import content
from chiploop.twin.teaching.play import Play
case_of(5, 8)
print(json.dumps(content(Play(case_of(5, 7)))), case_of(5, 7).truth.parameters.tobytes().hex())
"""


def test_the_same_seed_and_number_are_the_same_case_to_the_last_byte_in_any_process() -> None:
    case = case_of(5, 7)
    other = subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, check=True
    )
    here = f"{json.dumps(content(Play(case)))} {case.truth.parameters.tobytes().hex()}\n"
    assert other.stdout == here
    assert history(case_of(5, 7)) != history(case_of(5, 6)) != history(case_of(6, 7))


def test_every_case_has_moderate_to_severe_disease_and_results_that_a_file_takes() -> None:
    for case in CASES:
        assert EASI_RANGE[0] <= case.truth.easi[0] <= EASI_RANGE[1]
        told = {key: value for own in case.results.values() for key, value in own.items()}
        patient = patient_with(case.code, told, case.easi)
        assert patient.flg == told["flg"]
        assert patient.baseline.tewl_g_m2_h == told["tewl_g_m2_h"]
        assert patient.chip.maturation is not None
        assert set(TESTED) | {"chip"} == set(case.results)


def test_cases_differ_in_genotype_history_and_what_is_offered() -> None:
    assert {case.results["flg"]["flg"] for case in CASES} == {"wild_type", "heterozygous", "null"}
    assert {case.earlier is None for case in CASES} == {True, False}
    closed = [case for case in CASES if case.jak_closed]
    assert 2 <= len(closed) <= 15
    for case in closed:
        assert "thrombosis" in " ".join(history(case))
        assert not [name for name in case.options if "citinib" in name]
        assert len(case.options) == 10
    assert all(len(case.options) == 18 for case in CASES if not case.jak_closed)


def test_results_lie_about_the_truth_with_the_noise_of_a_patients_file() -> None:
    # ln of what is seen over what is true, in the noise's own sd
    apart = [
        np.log(float(case.results["tewl"]["tewl_g_m2_h"]) / float(case.noise_free["tewl_g_m2_h"]))
        / 0.3
        for case in CASES
    ]
    assert abs(np.mean(apart)) < 3 / np.sqrt(len(CASES))
    assert 0.6 < np.std(apart) < 1.5
    assert all(case.results["flg"]["flg"] == case.noise_free["flg"] for case in CASES)


def test_the_doses_of_a_drug_bind_equally_in_a_person_and_drugs_differently() -> None:
    low, high = (potency_in_person(f"upadacitinib:{dose}", 4) for dose in ("15mg", "30mg"))
    other = potency_in_person("abrocitinib:100mg", 4)
    assert low is not None and high is not None and other is not None
    assert low.half_nm == high.half_nm != other.half_nm
    assert potency_in_person("placebo", 4) is None


def test_nothing_of_the_truth_is_told_before_the_end() -> None:
    case = case_of(3, 1)
    told = content(played(case, ["tewl", "", "dupilumab", "50"]))
    assert told["debrief"] is None
    assert all(test["truth"] == [] for test in told["tests"])
    shown = [test["name"] for test in told["tests"] if test["results"]]
    assert shown == ["tewl"]
    assert {reading["EASI"] for reading in told["readings"]}.isdisjoint(
        {round(float(case.truth.easi[0]), 2)}
    )


@pytest.mark.parametrize(("seed", "number"), [(-1, 1), (LARGEST_SEED + 1, 1), (1, 0), (1, 10_000)])
def test_a_seed_or_number_that_is_none_is_refused_with_what_is_allowed(
    seed: int, number: int
) -> None:
    with pytest.raises(WrongUse, match="allowed"):
        case_of(seed, number)
