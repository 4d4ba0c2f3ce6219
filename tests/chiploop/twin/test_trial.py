"""Trials on virtual patients, and negative controls that could prove the twin wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid, WrongUse
from chiploop.twin.chip_shift import FLG_DOSE, parameters, shifts_of
from chiploop.twin.drug_effect import effect_of
from chiploop.twin.outcomes import ArmOutcome
from chiploop.twin.patient_model import simulate
from chiploop.twin.population import published_population
from chiploop.twin.trial import as_json, run_trial
from chiploop.twin.trial_rows import FITTED, PREDICTION, SAME_TRIAL, compared, read_trial_rows
from tests.chiploop.twin.patients import patient

N = 4000


def share(arms: list[str], **options: object) -> list[float]:
    found = run_trial(arms, n=N, **options)  # type: ignore[arg-type]
    return [arm.outcome.responders_pct[75] for arm in found]


def test_fitted_rows_are_met_within_binomial_error() -> None:
    placebo, upadacitinib = share(["placebo", "upadacitinib"], seed=8)
    assert abs(placebo - 15.0) < 330 * np.sqrt(0.15 * 0.85 / N)
    assert abs(upadacitinib - 69.6) < 330 * np.sqrt(0.696 * 0.304 / N)


def test_more_of_a_jak_inhibitor_helps_more() -> None:
    arms = ["upadacitinib:15mg", "upadacitinib:30mg", "abrocitinib:100mg", "abrocitinib:200mg"]
    low, high, less, more = share(arms)
    assert low < high and less < more


def test_topicals_help_placebo() -> None:
    assert share(["placebo"], setting="topicals")[0] > share(["placebo"])[0] + 5.0


def test_filaggrin_does_not_tell_who_responds_to_dupilumab() -> None:
    population = published_population()
    effect = effect_of("dupilumab", N, 1)
    standard = np.random.default_rng(4).standard_normal((N, len(population.names) + 2))
    found, repair = {}, {}
    for genotype in FLG_DOSE:
        values = parameters(population, shifts_of(patient(flg=genotype)), standard)
        repair[genotype] = values[:, population.place["k1"]].mean()
        improvement = simulate(values, [effect], np.array([16.0])).improvement_pct
        found[genotype] = float((improvement >= 75).mean())
    # the genotype does reach the patients, or its having no effect would say nothing
    assert repair["null"] < repair["heterozygous"] < 0.9 * repair["wild_type"]
    for genotype in ("heterozygous", "null"):
        assert abs(found[genotype] - found["wild_type"]) < 0.10


def test_same_seed_gives_the_same_trial_and_arms_share_their_patients() -> None:
    alone = run_trial(["dupilumab"], n=500, seed=3)
    beside = run_trial(["placebo", "dupilumab"], n=500, seed=3)
    assert alone[0].outcome == beside[1].outcome


def test_json_has_the_keys_that_were_agreed() -> None:
    found = as_json(run_trial(["placebo", "upadacitinib"], n=500))
    keys = {"EASI50_pct", "EASI75_pct", "EASI90_pct", "mean_pct_EASI_improvement", "interval"}
    assert {name: set(arm) for name, arm in found.items()} == dict.fromkeys(found, keys)
    low, high = found["upadacitinib"]["interval"]
    assert low < found["upadacitinib"]["EASI75_pct"] < high
    # what the potency leaves open is far more than what 500 patients do
    assert high - low > 2 * (found["placebo"]["interval"][1] - found["placebo"]["interval"][0])


@pytest.mark.parametrize(
    "options",
    [{"setting": "hospital"}, {"n": 3}, {"week": 0.0}, {"arms": []}, {"arms": ["placebo"] * 2}],
)
def test_a_trial_that_is_not_possible_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(WrongUse):
        run_trial(**{"arms": ["placebo"], **options})  # type: ignore[arg-type]


HEAD = "drug,target,dose,week,endpoint,value,sd_or_ci,n,source\n"


def test_rows_say_what_may_be_called_a_prediction(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(
        HEAD
        + 'upadacitinib,JAK1,15 mg qd,16,EASI75_pct,69.6,,281,"Measure Up 1; table [confirmed]"\n'
        + 'upadacitinib,JAK1,30 mg qd,16,EASI75_pct,79.7,,285,"Measure Up 1; table [confirmed]"\n'
        + 'dupilumab+TCS,IL-4Ra,300 mg qw,16,EASI75_pct,63.9,,319,"CHRONOS (+TCS), x [confirmed]"\n'
        + 'dupilumab+TCS,IL-4Ra,300 mg qw,52,EASI75_pct,64.1,,,"CHRONOS (+TCS), x [confirmed]"\n'
        + 'placebo,none,qw,16,EASI75_pct,11.9,,236,"SOLO 2, x [MEMORY-unconfirmed]"\n'
    )
    rows, left_out = read_trial_rows(table)
    assert [row.kind for row in rows] == [FITTED, SAME_TRIAL, PREDICTION, PREDICTION]
    assert [row.setting for row in rows] == ["monotherapy"] * 2 + ["topicals"] * 2
    assert (rows[3].n, rows[3].n_from_other_week) == (319, True)
    assert left_out == ["SOLO 2, placebo qw, week 16, EASI75_pct: not confirmed"]
    outcome = ArmOutcome(1000, {50: 80.0, 75: 70.0, 90: 30.0}, 75.0, 20.0, 0, (67.0, 73.0))
    expected = (70.0 - 63.9) / np.sqrt(63.9 * 36.1 / 319 + 25.0)
    assert compared(rows[2], outcome).z == pytest.approx(expected)


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FileNotValid, match="columns drug, dose"):
        read_trial_rows(tmp_path / "other.csv")
