"""The twin's own prognosis of a trial's patients: from baseline alone, honest about gaps, harmless where wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid, WrongUse
from chiploop.twin.prognosis_simulation import TWINS, hidden_patients, rates_of_twin
from chiploop.twin.trial_prognosis import TrialBaseline, check_outcomes, prognoses, read_baselines

HEAD = "patient,arm,outcome,easi,serum_ccl17_pg_ml,flg,age_years\n"


def written(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "trial.csv"
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_empty_cells_stay_missing_and_patients_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = written(
        tmp_path, "P1,treated,50,28.5,1900,null,40", "", "P2,control,,,,,", "P3,control,20,31,,,55"
    )
    third, first = read_baselines(path, ("P3", "P1"))
    assert (first.easi, first.serum_ccl17_pg_ml, first.flg) == (28.5, 1900.0, "null")
    assert (third.easi, third.serum_ccl17_pg_ml, third.flg) == (31.0, None, None)


def test_every_wrong_cell_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path, "P1,treated,50,99,,,", "P2,control,40,x,,,", "P3,control,40,20,,odd,", "P4,control,4,2,,,"
    )  # fmt: skip
    with pytest.raises(FileNotValid, match="3 problems") as refused:
        read_baselines(path, ("P4",))
    assert all(f"line {n}" in str(refused.value) for n in (2, 3, 4))
    bare = written(tmp_path, "P1,treated,50", head="patient,arm,outcome\n")
    with pytest.raises(FileNotValid, match="no column that the twin can foretell from"):
        read_baselines(bare, ("P1",))


def test_what_is_not_known_leaves_the_populations_answer_and_what_is_known_narrows_it() -> None:
    rows = [
        TrialBaseline(),
        TrialBaseline(age_years=40.0),
        TrialBaseline(easi=20.0, th17_score=0.5, serum_ccl17_pg_ml=900.0),
    ]
    found = prognoses(rows, "EASI", n=1500)
    assert found.mean[0] == found.mean[1] and found.sd[0] == found.sd[1]
    assert found.effective[0] == pytest.approx(1500)
    assert found.sd[2] < 0.9 * found.sd[0] and found.effective[2] < 900
    assert found.known == {"easi": 1, "serum_ccl17_pg_ml": 1, "th17_score": 1, "age_years": 1}
    again = prognoses(rows, "EASI", n=1500)
    assert (again.mean == found.mean).all()


def test_a_response_is_a_probability_and_genotype_counts_by_its_own_bank() -> None:
    rows = [TrialBaseline(easi=28.0), TrialBaseline(easi=28.0, flg="null")]
    shares = [prognoses(rows, f"EASI{n}", n=1500).mean for n in (50, 75)]
    assert (shares[0] > shares[1]).all() and (shares[1] > 0.0).all() and (shares[0] < 1.0).all()
    assert shares[0][0] != shares[0][1]
    with pytest.raises(WrongUse, match="can not be foretold"):
        prognoses(rows, "IGA")


def test_a_prognosis_covers_hidden_patients() -> None:
    baselines, outcomes = hidden_patients(400, 0.2, "EASI", np.random.default_rng(6))
    found = prognoses(baselines, "EASI", n=2000)
    z = (outcomes - found.mean) / found.sd
    assert abs(z.mean()) < 3.0 / np.sqrt(400) + 0.05
    assert z.std() == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize("twin", TWINS)
def test_the_error_of_the_first_kind_holds_with_this_prognosis_right_or_wrong(twin: str) -> None:
    found = rates_of_twin(twin, 40, 2000, 3, hidden=500, outcome="EASI")
    assert found.type_1_error["adjusted"] <= 0.06
    if twin == "right":
        assert found.saved > 0.35
        assert found.saved > found.saved_by_easi - 0.03


def test_an_effect_is_found_more_often_with_the_twin_than_without() -> None:
    found = rates_of_twin("right", 40, 500, 3, hidden=500, outcome="EASI", effect=-4.0)
    assert found.type_1_error["adjusted"] > found.type_1_error["unadjusted"] + 0.1


@pytest.mark.parametrize(
    ("outcome", "fits", "does_not"),
    [("EASI75", (0.0, 1.0), 0.5), ("EASI", (0.0, 72.0), 72.5), ("improvement_pct", (-200.0, 100.0), 101.0)],
)  # fmt: skip
def test_an_outcome_that_can_not_be_what_it_is_said_to_be_is_refused(
    outcome: str, fits: tuple[float, ...], does_not: float
) -> None:
    path = Path("trial.csv")
    check_outcomes(path, ("P1", "P2"), np.array(fits), outcome)
    with pytest.raises(FileNotValid, match=f"P2 is {does_not:g}, which is no {outcome}"):
        check_outcomes(path, ("P1", "P2"), np.array([fits[0], does_not]), outcome)
