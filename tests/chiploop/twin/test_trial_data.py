"""A trial's table: what is taken, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.twin.trial_data import read_trial

GOOD = """patient,arm,outcome,prognosis,easi
P01,treated,70,40,25
P02,control,35.5,30,31
P03,Treated,66,45,22
P04,control,,33,28
P05,control,41,38,30
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "trial.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_patients_with_an_outcome_are_taken_and_the_others_are_named(tmp_path: Path) -> None:
    found = read_trial(written(tmp_path, GOOD), ["easi"])
    assert found.patients == ("P01", "P02", "P03", "P05") and found.left_out == ("P04",)
    assert (found.n_treated, found.n_control) == (2, 2)
    np.testing.assert_array_equal(found.outcome, [70.0, 35.5, 66.0, 41.0])
    np.testing.assert_array_equal(found.adjusted_for[:, 0], [40.0, 30.0, 45.0, 38.0])
    np.testing.assert_array_equal(found.adjusted_for[:, 1], [25.0, 31.0, 22.0, 30.0])


def test_without_a_prognosis_there_is_none(tmp_path: Path) -> None:
    text = "patient,arm,outcome\nP1,treated,1\nP2,treated,0\nP3,control,0\n"
    found = read_trial(written(tmp_path, text))
    assert found.prognosis is None and found.adjusted_for.shape == (3, 0)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("P02,control", "P01,control", "line 3, patient: P01 stands twice"),
        ("P02,control", "Jo Doe,control", 'line 3, patient: "Jo Doe" is no code'),
        ("P02,control", "P02,placebo", 'line 3, arm: "placebo"; allowed are treated and control'),
        ("35.5", "35,5", "line 3: 6 cells, 5 columns"),
        ("35.5", "n/a", 'line 3, outcome: "n/a" is no number'),
        ("35.5", "inf", 'line 3, outcome: "inf" is no number'),
        (",30,31", ",,31", 'line 3, prognosis: "" is no number'),
        ("prognosis,easi", "Last Name,easi", "only codes are taken"),
        ("prognosis,easi", "date_of_birth,easi", "only codes are taken"),
        ("prognosis,easi", "patient_name,easi", "only codes are taken"),
        ("prognosis,easi", "tel,easi", "only codes are taken"),
        ("P02,control", "Anna,control", 'line 3, patient: "Anna" is no code'),
        ("P02,control", "1984-03-12,control", 'line 3, patient: "1984-03-12" is no code'),
        ("prognosis,easi", "prognosis,age", "has no column easi"),
        ("prognosis,easi", "easi,easi", "has the column easi twice"),
        ("P03,Treated", "P03,control", "1 treated patients"),
    ],
)
def test_what_can_not_be_used_is_refused_with_its_place(
    before: str, after: str, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, GOOD.replace(before, after, 1))
    with pytest.raises(FileNotValid) as refused:
        read_trial(path, ["easi"])
    assert said in str(refused.value) and "trial.csv" in str(refused.value)


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="can not be read"):
        read_trial(tmp_path / "none.csv")
    with pytest.raises(FileNotValid, match="is empty"):
        read_trial(written(tmp_path, ""))
    with pytest.raises(FileNotValid, match="can not be a covariate"):
        read_trial(written(tmp_path, GOOD), ["prognosis"])
