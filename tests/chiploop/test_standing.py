"""What stop rules look at is what the campaign knows, and the study's own rules are asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import propose
from chiploop.campaign_values import Campaign
from chiploop.inference.posterior import Misfit
from chiploop.record.actions import JournalTotals
from chiploop.standing import NO_RULE, exposures, given_ng, looks_ahead, standing_of, stop_verdict
from chiploop.study import Stop
from chiploop.study_limits import drug_ng
from tests.chiploop.campaigns import FAILED, FULL, PASSED, STUDY, exact, fitted

FIRES = Misfit(True, 0.01, 0.07, ("TEER lags behind",), {"TEER lags": 0.01})
AFTER_PILOT = JournalTotals(
    last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0
)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    yield


@pytest.fixture(scope="module")
def usual() -> Campaign:
    return fitted()


def with_stop(campaign: Campaign, **keys: Any) -> Campaign:
    """Return the campaign of a study with this stop rule, as its file would write it."""
    stop = Stop.model_validate(keys, context={"from_file": True}, by_alias=True)
    return replace(campaign, study=campaign.study.model_copy(update={"stop": stop}))


def test_a_study_without_rules_goes_on(usual: Campaign) -> None:
    assert usual.study.stop is None
    assert stop_verdict(usual) is NO_RULE
    assert not looks_ahead(usual)


def test_the_fold_of_a_study_means_what_it_always_did(usual: Campaign) -> None:
    goal = usual.goals[0]
    fold = goal.upper / goal.lower
    assert stop_verdict(with_stop(usual, fold=fold * 1.001)).stops
    assert not stop_verdict(with_stop(usual, fold=fold * 0.999)).stops
    beyond = replace(usual, goals=(replace(goal, unreached=0.001), *usual.goals[1:]))
    assert not stop_verdict(with_stop(beyond, fold=fold * 1.001)).stops


def test_a_failed_fit_does_not_end_a_study(usual: Campaign) -> None:
    assert not stop_verdict(with_stop(replace(usual, info=FAILED), fold=1e6)).stops
    assert stop_verdict(with_stop(replace(usual, info=FAILED), cycles=1)).stops


def test_chips_and_drug_are_counted_from_what_was_given(usual: Campaign) -> None:
    assert exposures(usual) == 12
    # 3 chips of each line for 48 h at 60 uL/h
    expected = 3 * sum(drug_ng(STUDY.drug, nm, 60.0 * 48.0) for nm in STUDY.first_doses_nm)
    assert given_ng(usual) == pytest.approx(expected)
    assert stop_verdict(with_stop(usual, chips=23)).stops
    assert not stop_verdict(with_stop(usual, chips=24)).stops
    assert stop_verdict(with_stop(usual, drug=f"{expected * 0.999:.3f} ng")).stops
    assert not stop_verdict(with_stop(usual, drug=f"{expected * 1.001:.3f} ng")).stops


def test_questions_are_answered_by_the_posterior(usual: Campaign) -> None:
    goal = usual.goals[0]
    for bound, stops in ((goal.upper * 1.5, True), (goal.median, False), (goal.lower / 1.5, True)):
        asked = {"goal": goal.name, "below": f"{bound:.4f} nM"}
        assert stop_verdict(with_stop(usual, decided=[asked])).stops == stops
    asked = {"goal": goal.name, "dose": f"{goal.upper * 1.5:.1f} nM"}
    safe = stop_verdict(with_stop(usual, decided=[asked]))
    assert "and is safe with probability" in safe.sentence
    poison = stop_verdict(with_stop(fitted(TC50=1.0, ktox=1.0), decided=[asked]))
    assert "is safe is ruled out" in poison.sentence


def test_the_next_batch_is_looked_at_only_where_a_rule_asks(usual: Campaign) -> None:
    asking = with_stop(usual, information_nats=1e3, nothing_is_safe="90 %")
    assert looks_ahead(asking)
    assert not stop_verdict(asking).stops, "without a proposal nothing is known of it"
    proposal = propose(asking, exact, FULL, AFTER_PILOT, np.random.default_rng(0))
    assert stop_verdict(asking, proposal).stops
    assert not stop_verdict(with_stop(usual, information_nats=1e-6), proposal).stops
    assert standing_of(asking, proposal).allowed_share == proposal.allowed_share


def test_where_nothing_may_be_given_nothing_is_safe(usual: Campaign) -> None:
    asking = with_stop(usual, nothing_is_safe="90 %")
    assert stop_verdict(asking, refused=True).stops
    poison = fitted(TC50=1.0, ktox=1.0)
    poison = with_stop(poison, nothing_is_safe="90 %")
    only_vehicle = propose(poison, exact, FULL, AFTER_PILOT, np.random.default_rng(0))
    assert only_vehicle.allowed_share == 0.0
    assert "no dose with drug is allowed" in stop_verdict(poison, only_vehicle).sentence


def test_a_firing_misfit_asks_a_person_and_a_met_rule_stops_all_the_same(usual: Campaign) -> None:
    doubted = replace(usual, info=replace(PASSED, misfit=FIRES))
    asked = stop_verdict(with_stop(doubted, ask_on_misfit=True))
    assert (asked.outcome, "TEER lags behind" in asked.sentence) == ("ask", True)
    assert stop_verdict(with_stop(doubted, ask_on_misfit=True, cycles=1)).stops
    assert stop_verdict(with_stop(usual, ask_on_misfit=True)).outcome == "go on"
