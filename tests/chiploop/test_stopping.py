"""Each stop rule ends the study where it should and nowhere else, and what is combined keeps its meaning."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chiploop.goal_curves import GRID_NM
from chiploop.goals import GoalDraws, GoalEstimate
from chiploop.inference.posterior import Misfit
from chiploop.stopping import (
    AllOf,
    AnyOf,
    AskOnMisfit,
    BoundDecided,
    Budget,
    DoseDecided,
    IntervalWithin,
    NoDoseIsWorthIt,
    NothingIsSafe,
    Standing,
    StopRule,
    Verdict,
    needs_proposal,
    rule_of,
)
from chiploop.study import Stop
from tests.chiploop.campaigns import STUDY

GOAL = GoalEstimate("EC50_CCL26", "nM", 100.0, 80.0, 160.0, 0.9, 0.0)
TEN = GoalDraws("nM", np.linspace(55.0, 145.0, 10), np.linspace(55.0, 145.0, 10))
FIRES = Misfit(True, 0.01, 0.07, ("TEER lags behind",), {"TEER lags": 0.01})
STANDING = Standing(
    goals=(GOAL,),
    cycles=2,
    chips=24,
    chips_per_cycle=12,
    drug_ng=900.0,
    draws={"EC50_CCL26": TEN},
    harmful_nm={"EC50_CCL26": np.full(10, 1000.0)},
    information_nats=0.3,
    allowed_share=0.5,
    least_risk=0.02,
)


def below(bound_nm: float, probability: float = 0.9) -> StopRule:
    return BoundDecided("EC50_CCL26", -math.inf, bound_nm, probability, f"below {bound_nm:g} nM")


def dose(nm: float, probability: float = 0.9) -> StopRule:
    return DoseDecided("EC50_CCL26", nm, probability)


CASES: list[tuple[StopRule, dict[str, Any], str, str]] = [
    (IntervalWithin("EC50_CCL26", 2.0), {}, "stop", "80 to 160 nM is 2.00-fold, asked was at most 2"),
    (IntervalWithin("EC50_CCL26", 1.9), {}, "go on", "2.00-fold"),
    (IntervalWithin("EC50_CCL26", 9.0), {"goals": (replace(GOAL, unreached=0.01),)}, "go on", "1 % is beyond"),
    (IntervalWithin("EC50_TEER", 9.0), {}, "go on", "EC50_TEER is not known yet"),
    (NoDoseIsWorthIt(0.31), {}, "stop", "expected to teach 0.3 nats, asked was at least 0.31"),
    (NoDoseIsWorthIt(0.3), {}, "go on", "0.3 nats"),
    (NoDoseIsWorthIt(0.3), {"information_nats": None}, "go on", "not known yet"),
    (NoDoseIsWorthIt(0.026, per_chip=True), {}, "stop", "each chip"),
    (NoDoseIsWorthIt(0.024, per_chip=True), {}, "go on", "each chip"),
    (below(136.0), {}, "stop", "below 136 nM with probability 0.9"),
    (below(134.0), {}, "go on", "with probability 0.8: neither"),
    (below(64.0), {}, "stop", "ruled out with probability 0.9"),
    (BoundDecided("EC50_CCL26", 56.0, math.inf, 0.9, "above 56 nM"), {}, "stop", "above 56 nM"),
    (BoundDecided("EC50_CCL26", 56.0, 144.0, 0.9, "within"), {}, "go on", "0.8"),
    (dose(136.0), {}, "stop", "136 nM reaches EC50_CCL26 and is safe"),
    (dose(100.0), {}, "go on", "0.5"),
    (dose(1000.0), {}, "stop", "ruled out with probability 1"),
    (dose(999.0), {}, "stop", "999 nM reaches EC50_CCL26 and is safe with probability 1"),
    (NothingIsSafe(0.9), {}, "go on", "0.02"),
    (NothingIsSafe(0.9), {"least_risk": 0.91}, "stop", "0.91, above 0.9"),
    (NothingIsSafe(0.9), {"allowed_share": 0.0}, "stop", "no dose with drug is allowed"),
    (NothingIsSafe(0.9), {"allowed_share": None, "least_risk": 1.0}, "go on", "not known yet"),
    (Budget(cycles=2), {}, "stop", "2 of 2 cycles"),
    (Budget(cycles=3), {}, "go on", "2 of 3 cycles"),
    (Budget(chips=35), {}, "stop", "the next cycle exposes 12"),
    (Budget(chips=36), {}, "go on", "24 of 36 chips"),
    (Budget(drug_ng=900.0), {}, "stop", "900 of 900 ng"),
    (Budget(drug_ng=901.0), {}, "go on", "900 of 901 ng"),
    (Budget(cycles=9, chips=99, drug_ng=900.0), {}, "stop", "900 of 900 ng"),
    (AskOnMisfit(), {"misfit": FIRES}, "ask", "TEER lags behind. A person decides about"),
    (AskOnMisfit(), {"misfit": replace(FIRES, fires=False)}, "go on", "do not contradict"),
    (AskOnMisfit(), {}, "go on", "do not contradict"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "change", "outcome", "said"), CASES)
def test_a_rule_ends_the_study_where_it_should_and_says_why(
    rule: StopRule, change: dict[str, Any], outcome: str, said: str
) -> None:
    found = rule.judge(replace(STANDING, **change))
    assert found.outcome == outcome
    assert said in found.sentence


KNOWING = [rule for rule, change, outcome, _ in CASES if outcome == "stop" and not change
           and not isinstance(rule, Budget)]  # fmt: skip


@pytest.mark.parametrize("rule", KNOWING)
def test_a_fit_that_failed_decides_nothing(rule: StopRule) -> None:
    assert rule.judge(STANDING).stops
    found = rule.judge(replace(STANDING, passed=False))
    assert (found.outcome, "failed its diagnostics" in found.sentence) == ("go on", True)


def test_a_budget_counts_whether_or_not_the_fit_passed() -> None:
    assert Budget(cycles=2).judge(replace(STANDING, passed=False)).stops


def test_an_index_that_is_unreached_is_compared_as_the_grids_end() -> None:
    draws = GoalDraws("1", np.array([np.nan, 20.0]), np.array([1e4, 20.0]))
    rule = BoundDecided("TI", 10.0, math.inf, 0.9, "above 10")
    assert rule.judge(Standing(draws={"TI": draws})).stops


def test_a_dose_does_not_reach_a_goal_that_no_concentration_reaches() -> None:
    values = np.array([np.inf, np.inf])
    drawn = {"G": GoalDraws("nM", values, np.minimum(values, GRID_NM[-1]))}
    never = Standing(draws=drawn, harmful_nm={"G": np.full(2, np.inf)})
    assert "ruled out" in DoseDecided("G", 1e6, 0.9).judge(never).sentence


# --- combined

Say = {"stop": Budget(cycles=2), "go on": Budget(cycles=9), "ask": AskOnMisfit()}
MIXED = replace(STANDING, misfit=FIRES)
RANK = {"go on": 0, "ask": 1, "stop": 2}


@pytest.mark.parametrize("one", Say)
@pytest.mark.parametrize("other", Say)
def test_and_needs_both_and_or_needs_one(one: str, other: str) -> None:
    both, either = (Say[one] & Say[other]).judge(MIXED), (Say[one] | Say[other]).judge(MIXED)
    assert RANK[both.outcome] == min(RANK[one], RANK[other])
    assert RANK[either.outcome] == max(RANK[one], RANK[other])


def test_what_is_combined_says_what_counted() -> None:
    narrow, cheap = IntervalWithin("EC50_CCL26", 2.0), NoDoseIsWorthIt(0.1)
    assert (narrow | cheap).judge(STANDING).sentence == narrow.judge(STANDING).sentence
    missing = (narrow & cheap).judge(STANDING)
    assert missing == Verdict("go on", cheap.judge(STANDING).sentence)
    done = (narrow & Budget(cycles=2)).judge(STANDING)
    assert done.stops
    assert done.sentence.endswith("; and 2 of 2 cycles are done")


def test_combined_rules_nest() -> None:
    no, yes = Say["go on"], Say["stop"]
    assert (no & yes | yes).judge(MIXED).stops
    assert not (no & (yes | yes)).judge(MIXED).stops
    assert (no & yes) == AllOf((no, yes))
    assert (no | yes) == AnyOf((no, yes))


# --- from a study


def stop(**keys: Any) -> StopRule:
    return rule_of(Stop.model_validate(keys, context={"from_file": True}, by_alias=True), STUDY)


def test_the_fold_of_a_study_is_about_the_leading_goal() -> None:
    assert stop(fold=2) == IntervalWithin("EC50_CCL26", 2.0)


def test_all_keys_of_a_study_become_rules() -> None:
    found = stop(
        fold=2, information_nats=0.05, information_nats_per_chip=0.01, nothing_is_safe="90 %", cycles=4,
        chips=48, drug="20 ug", ask_on_misfit=True,
        decided=[{"goal": "EC50_CCL26", "above": "50 nM", "below": "0.2 uM", "probability": "95 %"},
                 {"goal": "EC50_CCL26", "dose": "1 uM"}],
    )  # fmt: skip
    flat: list[StopRule] = []

    def walk(rule: StopRule) -> None:
        assert not isinstance(rule, AllOf)
        for one in rule.rules if isinstance(rule, AnyOf) else ():
            walk(one)
        if not isinstance(rule, AnyOf):
            flat.append(rule)

    walk(found)
    assert flat == [
        IntervalWithin("EC50_CCL26", 2.0),
        NoDoseIsWorthIt(0.05),
        NoDoseIsWorthIt(0.01, per_chip=True),
        BoundDecided("EC50_CCL26", 50.0, 200.0, 0.95, "above 50 nM and below 200 nM"),
        DoseDecided("EC50_CCL26", 1000.0, 0.9),
        NothingIsSafe(0.9),
        Budget(4, 48, 20_000.0),
        AskOnMisfit(),
    ]


def test_where_all_are_needed_a_budget_still_counts_by_itself() -> None:
    found = stop(fold=2, information_nats=0.1, needs="all", cycles=9)
    assert not found.judge(STANDING).stops
    assert found.judge(replace(STANDING, information_nats=0.05)).stops
    assert found.judge(replace(STANDING, cycles=9)).stops


def test_only_rules_about_the_next_doses_need_a_proposal() -> None:
    def asks(**keys: Any) -> bool:
        return needs_proposal(Stop.model_validate(keys))

    assert not asks(fold=2.0, cycles=3, chips=40, ask_on_misfit=True)
    assert asks(information_nats=0.1)
    assert asks(information_nats_per_chip=0.1)
    assert asks(nothing_is_safe=0.9)
    assert not asks(decided=(), fold=2.0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "names no rule"),
        ({"needs": "all"}, "names no rule"),
        ({"decided": [{"goal": "G", "below": "1 nM", "dose": "1 nM"}]}, "or else"),
        ({"decided": [{"goal": "G", "above": "2 nM", "below": "1 nM"}]}, "nothing lies above 2 nM"),
        ({"decided": [{"goal": "G", "below": "1 nM", "probability": "50 %"}]}, "above 50 %"),
        ({"decided": [{"goal": "G", "below": "1 ng/mL"}]}, "ng/mL"),
    ],
)
def test_a_stop_that_means_nothing_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stop(**keys)
