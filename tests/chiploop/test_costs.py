"""What doses cost enters the choice and the end of a study, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import Suggestion, suggest
from chiploop.campaign_values import Campaign
from chiploop.proposal_card import card_of
from chiploop.record.actions import JournalTotals
from chiploop.standing import stop_verdict
from chiploop.study import Costs, Stop, Study
from tests.chiploop.campaigns import FULL, STUDY, exact, fitted

TOTALS = JournalTotals(last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0)
DEAR = {"unit": "EUR", "chip_hour": 0.5, "drug_nmol": 40.0}


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(next_exposure, "DRAWS", 96)
    yield


def costing(stop: dict[str, Any] | None = None, **costs: Any) -> Study:
    changed: dict[str, Any] = {"costs": Costs.model_validate(costs)}
    if stop is not None:
        changed["stop"] = Stop.model_validate(stop)
    return STUDY.model_copy(update=changed)


def proposed(study: Study) -> tuple[Campaign, Suggestion]:
    campaign = replace(fitted(), study=study)
    return campaign, suggest(campaign, exact, FULL, TOTALS, np.random.default_rng(0))


def test_a_batch_costs_its_chips_hours_and_its_drug() -> None:
    campaign, found = proposed(costing(**DEAR))
    proposal = found.proposal
    hours, chips = STUDY.timeline.exposure_h, len(STUDY.chip_ids)
    drug = sum(dose.programme.drug_nmol for dose in proposal.doses)
    assert proposal.cost == pytest.approx(0.5 * chips * hours + 40.0 * drug)
    card = card_of(campaign, proposal, found.table, 76.0, FULL)
    assert card.cost == f"{proposal.cost:.4g} EUR"
    campaign, free = proposed(costing())
    assert free.proposal.cost is None and free.table.cost is None
    assert card_of(campaign, free.proposal, free.table, 76.0, FULL).cost is None


def test_dear_drug_makes_the_batch_spend_less_of_it() -> None:
    def drug_nmol(study: Study) -> float:
        return sum(dose.programme.drug_nmol for dose in proposed(study)[1].proposal.doses)

    cheap = drug_nmol(costing(unit="EUR", chip_hour=0.5, drug_nmol=1e-6, nat=1e6))
    dear = drug_nmol(costing(unit="EUR", chip_hour=0.5, drug_nmol=1e4, nat=1.0))
    assert cheap > 0.0
    assert dear == 0.0, "no drug is worth its price"


@pytest.mark.parametrize(("nat", "outcome"), [(1.0, "stop"), (1e6, "go on")])
def test_a_study_ends_once_a_batch_costs_more_than_it_teaches(nat: float, outcome: str) -> None:
    campaign, found = proposed(costing({"cost": True}, **DEAR, nat=nat))
    verdict = stop_verdict(campaign, found.proposal)
    assert verdict.outcome == outcome
    assert "EUR" in verdict.sentence and "nats" in verdict.sentence


def test_what_is_not_stated_is_on_record_as_before_there_were_costs() -> None:
    plain = STUDY.model_copy(update={"stop": Stop.model_validate({"fold": 2})}).model_dump_json()
    assert "costs" not in plain and '"cost"' not in plain
