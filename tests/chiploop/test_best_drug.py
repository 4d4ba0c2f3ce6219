"""The better of several drugs: the comparison of draws, goals about drugs, the rule that ends a study with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import best_drug
from benchmarks.best_drug import calibration_z, covered, judged, shared, truths_of
from benchmarks.matched_study import matched_study
from chiploop.best_drug import compared
from chiploop.campaign import propose
from chiploop.goals import (
    GoalDraws,
    best_in_words,
    estimate,
    estimates,
    goal_draws,
    meaning,
    truth_of_goal,
)
from chiploop.inference.prior import Prior
from chiploop.inference.search import search
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.standing import stop_verdict
from chiploop.stopping import BestDecided, Standing
from chiploop.study import Decided, Stop
from tests.chiploop.campaigns import STUDY, exact
from tests.chiploop.campaigns import fitted as one_drug
from tests.chiploop.two_drugs import ABRO, AFTER_PILOT, FULL, TWO, UPA, fitted, posterior

ROWS = Path(__file__).parents[2] / "docs" / "best_drug_matched.jsonl"


def test_the_best_of_each_draw_counts_and_equals_share_it() -> None:
    values = {"a": np.array([1.0, 2.0, 5.0, 4.0]), "b": np.array([2.0, 1.0, 5.0, 8.0])}
    found = compared(values, higher_is_better=False)
    assert found.best == {"a": 2.5 / 4, "b": 1.5 / 4}
    assert found.pair == ("a", "b")
    assert found.ratio.tolist() == [2.0, 0.5, 1.0, 2.0], "how many times better a is"
    higher = compared(values, higher_is_better=True)
    assert (higher.best, higher.pair) == ({"a": 1.5 / 4, "b": 2.5 / 4}, ("b", "a"))
    assert higher.ratio.tolist() == [2.0, 0.5, 1.0, 2.0]


def test_the_two_that_lead_are_compared_and_of_equally_unlikely_ones_the_better() -> None:
    values = {"c": np.array([9.0, 9.0]), "b": np.array([2.0, 3.0]), "a": np.array([1.0, 1.0])}
    found = compared(values, higher_is_better=False)
    assert found.best == {"c": 0.0, "b": 0.0, "a": 1.0}
    assert found.pair == ("a", "b")
    asked = compared(values, False, pair=("b", "c"))
    assert asked.ratio == pytest.approx([4.5, 3.0])
    assert asked.best == found.best, "all are compared whatever pair is asked for"
    with pytest.raises(ValueError, match="a alone can not be compared"):
        compared({"a": np.ones(2)}, False)


def test_the_ratio_is_that_of_the_drugs_own_potencies_each_from_its_own_parameters() -> None:
    model = model_of(TWO)
    particles = posterior(IC50_upadacitinib=30.0, IC50_abrocitinib=90.0).particles[:20]
    particles[:] = particles[0]  # one tissue
    names = Prior.of_study(model, TWO).names
    for parameter in ("h", "TC50", "ktox"):  # and alike in all but potency
        value = particles[:, names.index(f"{parameter}[{UPA}]")]
        particles[:, names.index(f"{parameter}[{ABRO}]")] = value
    drawn = goal_draws(model, TWO, particles)
    assert drawn["best"].pair == (UPA, ABRO)
    assert drawn["best"].best == {UPA: 1.0, ABRO: 0.0}
    ratio = drawn["EC50_abro"].values / drawn["EC50_upa"].values
    assert drawn["best"].values == pytest.approx(ratio)
    assert ratio == pytest.approx(3.0, rel=0.02), "as their IC50: all else is alike"
    turned = best_drug.swapped(TWO, particles)
    assert goal_draws(model, TWO, turned)["best"].pair == (ABRO, UPA)
    assert goal_draws(model, TWO, shared(TWO, particles))["best"].values == pytest.approx(1.0)


def test_a_drug_that_never_has_the_effect_is_told_and_is_not_the_best() -> None:
    model = model_of(TWO)
    particles = posterior(20, IC50_abrocitinib=1e9, TC50_abrocitinib=1e9).particles
    one = estimates(goal_draws(model, TWO, particles))[0]
    assert one.best == {UPA: 1.0, ABRO: 0.0}
    assert one.unreached == 1.0


def test_an_estimate_says_which_two_and_how_probably() -> None:
    draws = GoalDraws(
        "1", np.array([2.0, 4.0]), np.array([2.0, 4.0]), ("a", "b"), {"a": 0.9, "b": 0.1}
    )
    found = estimate("best", draws)
    assert best_in_words(found.facts()) == "a over b; P(best): a 90 %, b 10 %"
    plain = estimate("EC50", np.array([1.0, 2.0]))
    assert set(asdict(plain)) - set(plain.facts()) == {"pair", "best"}, "on record as before"
    assert best_in_words(plain.facts()) == ""


def test_the_truth_is_that_of_the_pair_that_an_estimate_compares() -> None:
    truths = {"best": 3.0, f"best[{UPA}]": 100.0, f"best[{ABRO}]": 300.0, "EC50_upa": 100.0}
    for pair, wanted in (((UPA, ABRO), 3.0), ((ABRO, UPA), 1 / 3)):
        assert truth_of_goal(TWO, {"name": "best", "pair": pair}, truths) == pytest.approx(wanted)
    assert truth_of_goal(TWO, {"name": "EC50_upa"}, truths) == 100.0
    assert truth_of_goal(TWO, {"name": "best", "pair": (UPA, ABRO)}, {}) is None


def test_a_goal_is_said_with_its_drug() -> None:
    said = [meaning(TWO, goal) for goal in TWO.goals]
    assert said[0].startswith(
        "how many times better the best of upadacitinib or abrocitinib is than"
    )
    assert said[1].startswith("upadacitinib at the inlet that")
    assert said[2].startswith("abrocitinib at the inlet that")


def test_a_study_ends_once_one_drug_is_surely_the_best() -> None:
    rule = BestDecided("best", 0.95)
    for share, stops in ((0.94, False), (0.96, True)):
        draws = GoalDraws("1", np.ones(2), np.ones(2), ("a", "b"), {"a": share, "b": 1 - share})
        verdict = rule.judge(Standing(draws={"best": draws}))
        assert verdict.stops == stops
        assert "a is the best by best" in verdict.sentence
        assert not rule.judge(Standing(draws={"best": draws}, passed=False)).stops
    assert not rule.judge(Standing()).stops
    study = TWO.model_copy(update={"stop": Stop(decided=(Decided(goal="best", probability=0.95),))})
    far = fitted(study, IC50_upadacitinib=30.0, IC50_abrocitinib=900.0)
    near = fitted(study, IC50_upadacitinib=30.0, IC50_abrocitinib=30.0)
    assert stop_verdict(far).stops and "upadacitinib is the best" in stop_verdict(far).sentence
    assert not stop_verdict(near).stops


def test_information_policies_work_on_the_ratio() -> None:
    found = propose(fitted(), exact, FULL, AFTER_PILOT, np.random.default_rng(0))
    assert (found.policy, found.goal) == ("goal_information", "best")
    assert found.eig_nats is not None and found.eig_nats > 0.0
    assert {TWO.drug_of(dose.line).name for dose in found.doses if dose.asked_nm} == {UPA, ABRO}


def test_one_drug_is_proposed_for_as_before() -> None:
    campaign = one_drug()
    assert all("pair" not in goal.facts() for goal in campaign.goals)
    assert [goal.drug for goal in STUDY.goals] == [None, None]


# --- over many virtual studies


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    """Rows of 24 matched studies by Laplace's approximation: what is tested is the drugs, not the sampler."""
    study = best_drug.alike()
    model = model_of(study)
    prior = Prior.of_study(model, study)
    found = []
    for seed in range(100, 124):
        matched = matched_study(study, best_drug.DOSES_NM, seed)
        target = Target(likelihood_of(study, matched.schedules, matched.readouts), prior)
        rng = np.random.default_rng([48, seed])
        mode = search(target, 0.5 * rng.standard_normal((2, target.dims))).modes[0]
        z = rng.multivariate_normal(mode.z, mode.covariance, size=120, method="cholesky")
        particles = prior.parameters(z[:, : target.unknowns.p])
        truths = truths_of(study, matched)
        row = judged(study, particles, truths)
        row["swapped"] = judged(study, best_drug.swapped(study, particles), truths)
        row["shared"] = judged(study, shared(study, particles), truths)
        found.append(row)
    return found


def test_the_best_drug_is_named_as_often_rightly_as_is_said(rows: list[dict[str, object]]) -> None:
    assert abs(calibration_z(rows)) < 2.6
    turned = [row["swapped"] for row in rows]
    assert calibration_z(turned) < -6.0, "drugs in each other's place are told apart"  # type: ignore[arg-type]


def test_the_interval_of_the_ratio_holds_the_truth_and_not_that_of_mixed_drugs(
    rows: list[dict[str, object]],
) -> None:
    low, high = binom.ppf([0.01, 0.99], len(rows), best_drug.LEVEL)
    for goal in ("best", "EC50_upa", "EC50_abro"):
        assert low <= covered(rows, goal) <= high, goal
    for wrong in ("swapped", "shared"):
        mixed = [row[wrong] for row in rows]
        assert covered(mixed, "best") < low, wrong  # type: ignore[arg-type]
        assert covered(mixed, "EC50_abro") < low, wrong  # type: ignore[arg-type]


def test_the_rows_of_whole_calibrations_say_the_same() -> None:
    """``docs/best_drug_matched.jsonl``: 60 studies by the sampler, the truth drawn from the prior."""
    kept = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    assert len(kept) == 60
    assert abs(calibration_z(kept)) < 2.6
    assert calibration_z([row["swapped"] for row in kept]) < -10.0
    low, high = binom.ppf([0.005, 0.995], len(kept), best_drug.LEVEL)
    for goal in ("best", "EC50_upa", "EC50_abro"):
        assert low <= covered(kept, goal) <= high, goal
        assert covered([row["swapped"] for row in kept], goal) < low, goal
