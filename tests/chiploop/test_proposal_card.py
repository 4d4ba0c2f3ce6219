"""What a card says of a proposal is what its table says, in the readouts' own units.

Belongs here: bands, information by readout, alternatives, tested predictions. Not here: choosing doses (policies).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from chiploop.campaign_values import Campaign, LineDose, Proposal
from chiploop.next_exposure import prediction_table
from chiploop.policies.prediction_table import FutureReading, PredictionTable
from chiploop.proposal_alternatives import alternatives_of, is_other
from chiploop.proposal_card import Card, card_from_dict, card_of
from chiploop.proposal_predictions import (
    information_parts,
    predicted_readings,
)
from chiploop.record.actions import JournalTotals
from tests.chiploop.campaigns import FULL, STUDY, exact, fitted
from tests.chiploop.candidates import programme
from tests.chiploop.policies.tables import table_of

BEGIN_H = STUDY.exposure_start_h(2)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return fitted(EC4=0.1)


@pytest.fixture(scope="module")
def table(campaign: Campaign) -> PredictionTable:
    rng = np.random.default_rng(1)
    made, _ = prediction_table(
        campaign, STUDY.lines, exact, FULL, JournalTotals(), rng, set(), None
    )
    return made


def proposal_of(table: PredictionTable, asked_nm: tuple[float, ...]) -> Proposal:
    """Return a proposal of these doses, the table's own or the nearest of its candidates."""
    doses = []
    for i, nm in enumerate(asked_nm):
        k = int(np.argmin([abs(one.asked_nm - nm) for one in table.programmes[i]]))
        programme = table.programmes[i][k]
        doses.append(
            LineDose(
                table.lines[i],
                tuple(STUDY.line(table.lines[i]).chips),
                programme.asked_nm,
                programme.delivered_nm,
                float(table.risk[i][k]),
                0.1,
                programme,
            )
        )
    return Proposal(2, "by hand", "EC50_CCL26", "upadacitinib", tuple(doses), 0.7, ())


@pytest.fixture(scope="module")
def card(campaign: Campaign, table: PredictionTable) -> Card:
    proposal = proposal_of(table, (0.0, 100.0, 300.0, 1000.0))
    return card_of(campaign, proposal, table, BEGIN_H, FULL)


def test_a_card_is_plain_data(card: Card) -> None:
    text = json.dumps(asdict(card), allow_nan=False)
    assert json.loads(text)["lines"][1]["line"] == "L2"
    assert card.decision.startswith(f"{card.drug}: L1 vehicle, L2 ")
    assert "expected afterwards" in card.decision


def test_a_card_survives_its_record(card: Card) -> None:
    assert card_from_dict(json.loads(json.dumps(asdict(card)))) == card


def test_the_expected_interval_shrinks_by_the_information(card: Card, campaign: Campaign) -> None:
    goal = campaign.goals[0]
    assert card.goal.fold == goal.upper / goal.lower
    assert card.goal.expected_fold is not None
    width = math.log(card.goal.expected_fold) / math.log(card.goal.fold)
    assert width == pytest.approx(math.exp(-0.7))


def test_every_planned_reading_is_predicted_once_with_bands_inside_each_other(card: Card) -> None:
    keys = [(one.chip, one.readout, one.time_h) for one in card.predicted]
    per_chip = len(STUDY.sampling.teer_h) + 2
    assert len(set(keys)) == len(keys) == per_chip * len(STUDY.chip_ids)
    for one in card.predicted:
        assert one.outer[0] < one.inner[0] < one.median < one.inner[1] < one.outer[1]
        assert one.outer[0] < one.model[0] <= one.model[1] < one.outer[1]
    teer = next(one for one in card.predicted if one.readout == "TEER")
    assert teer.unit == "ohm*cm2" and 50.0 < teer.median < 5000.0


def test_a_band_holds_what_draws_with_their_noise_give(table: PredictionTable) -> None:
    rng = np.random.default_rng(0)
    chosen = {0: 0, 1: 5, 2: 9, 3: 11}
    found = predicted_readings(table, chosen, dict.fromkeys(STUDY.chip_ids, "D1"))
    lower = np.linalg.cholesky(table.noise)
    assert table.shown is not None
    drawn = table.shown + np.concatenate([table.features[i][:, k] for i, k in chosen.items()], 1)
    drawn = np.tile(drawn, (400, 1))
    drawn = drawn + rng.standard_normal(drawn.shape) @ lower.T
    for j, one in enumerate(found):
        is_log = [r for line in table.readings for r in line][j].is_log
        values = np.exp(drawn[:, j]) if is_log else drawn[:, j]
        assert np.mean((values > one.outer[0]) & (values < one.outer[1])) == pytest.approx(
            0.9, abs=0.01
        )
        assert np.mean(values < one.median) == pytest.approx(0.5, abs=0.01)


def test_a_chip_that_read_high_is_predicted_high(card: Card) -> None:
    """Readings of TEER were 30 ohm cm2 higher from chip to chip; nothing else tells them apart."""
    own = {
        chip: [one.median for one in card.predicted if (one.chip, one.readout) == (chip, "TEER")]
        for chip in STUDY.line("L2").chips
    }
    same_genotype = [
        chip for chip in own if STUDY.donor_of(chip).flg == STUDY.donor_of(min(own)).flg
    ]
    first, second = sorted(same_genotype)[:2]
    assert own[first][0] < own[second][0]


def hand_table(scale: float = 1.0) -> PredictionTable:
    """Return one line whose first readout knows the goal, the second nothing of it."""
    rng = np.random.default_rng(5)
    goal, other = rng.standard_normal((2, 400))
    features = np.stack(
        [np.stack([goal, other], axis=1), np.stack([2.0 * goal, other], axis=1)], axis=1
    )
    made = table_of([scale * features], goal, scale**2 * np.diag([1.0, 0.25]))
    readings = (
        FutureReading("C01", "TEER", "ohm*cm2", True, 10.0, math.nan),
        FutureReading("C01", "CCL26", "pg/mL", True, 48.0, 24.0),
    )
    return replace(made, readings=(readings,))


def test_information_is_told_by_readout() -> None:
    first, second = information_parts(hand_table(), {0: 1})
    assert (first.readout, second.readout) == ("TEER", "CCL26")
    # ln(1 + 4) / 2 of a reading of slope 2 and noise 1
    assert first.nats == pytest.approx(0.5 * math.log(5.0), rel=0.1)
    assert second.nats < 0.02 and first.share + second.share == pytest.approx(1.0)
    # thirds of a standard normal lie at -1.09 and 1.09 in the mean, their medians near -0.97 and 0.97
    assert first.separation == pytest.approx(2 * 2 * 0.97, rel=0.1)
    rescaled = information_parts(hand_table(30.0), {0: 1})
    assert [one.nats for one in rescaled] == pytest.approx([first.nats, second.nats], abs=1e-9)


def test_alternatives_are_allowed_differ_and_say_what_they_lose(
    campaign: Campaign, table: PredictionTable
) -> None:
    closed = [allowed.copy() for allowed in table.allowed]
    closed[3][:] = False
    closed[3][[0, 4]] = True
    tight = replace(table, allowed=tuple(closed))
    found = alternatives_of(campaign, tight, {0: 0, 1: 6, 2: 9, 3: 4})
    assert found[-1].name == "stop now" and not found[-1].doses_nm
    assert {one.name for one in found} >= {"vehicle alone", "log-spaced doses", "other doses"}
    nats = [one.information_nats for one in found[:-1]]
    assert nats == sorted(nats, reverse=True)
    open_nm = [
        {one.asked_nm for one, ok in zip(tight.programmes[i], tight.allowed[i], strict=True) if ok}
        for i in range(4)
    ]
    for one in found[:-1]:
        for i, line in enumerate(tight.lines):
            assert one.doses_nm[line] in open_nm[i]
        assert one.loss_nats == pytest.approx(found[-1].loss_nats - one.information_nats)
        assert one.loss_error_nats > 0.0
        assert one.is_tie == (abs(one.loss_nats) <= 2.0 * one.loss_error_nats)


def test_losses_are_taken_from_what_the_batch_is_said_to_teach(
    campaign: Campaign, table: PredictionTable
) -> None:
    found = alternatives_of(campaign, table, {0: 0, 1: 6, 2: 9, 3: 4}, 1.25)
    assert found[-1].loss_nats == 1.25
    for one in found[:-1]:
        assert one.information_nats == pytest.approx(1.25 - one.loss_nats)


def test_batches_that_the_batch_rules_would_change_are_no_alternatives(
    campaign: Campaign, table: PredictionTable
) -> None:
    limits = STUDY.limits.model_copy(update={"vehicle_lines": 2})
    strict = replace(campaign, study=STUDY.model_copy(update={"limits": limits}))
    chosen = {0: 0, 1: 0, 2: 9, 3: 4}
    loose = {one.name for one in alternatives_of(campaign, table, chosen)}
    found = alternatives_of(strict, table, chosen)
    assert "log-spaced doses" in loose and "log-spaced doses" not in {one.name for one in found}
    for one in found[:-1]:
        assert sum(nm == 0.0 for nm in one.doses_nm.values()) >= 2


def test_a_reading_that_can_not_be_simulated_stands_not_on_the_card_and_is_told(
    campaign: Campaign, table: PredictionTable
) -> None:
    proposal = proposal_of(table, (0.0, 100.0, 300.0, 1000.0))
    features = [part.copy() for part in table.features]
    k = [one.asked_nm for one in table.programmes[3]].index(proposal.doses[3].asked_nm)
    features[3][:, k, 0] = np.nan
    allowed = [one.copy() for one in table.allowed]
    allowed[3][k] = False
    blind = replace(table, features=tuple(features), allowed=tuple(allowed))
    whole = predicted_readings(table, {0: 0, 3: k}, dict.fromkeys(STUDY.chip_ids, "D1"))
    left = predicted_readings(blind, {0: 0, 3: k}, dict.fromkeys(STUDY.chip_ids, "D1"))
    assert len(left) == len(whole) - 1
    assert json.dumps([asdict(one) for one in left], allow_nan=False)


def test_batches_that_teach_the_same_are_told_as_ties(campaign: Campaign) -> None:
    table = hand_table()
    same = replace(table, features=(table.features[0][:, [1, 1]],))
    pairs = replace(
        same,
        programmes=(
            tuple(programme("L1", nm) for nm in (10.0, 40.0)),
        ),
    )  # fmt: skip
    other = next(
        one for one in alternatives_of(campaign, pairs, {0: 0}) if one.name == "other doses"
    )
    assert other.doses_nm == {"L1": 40.0} and other.is_tie
    assert is_other(10.0, 20.0) and not is_other(10.0, 19.0) and is_other(0.0, 3.0)


def test_a_dose_that_was_never_simulated_has_no_card(
    campaign: Campaign, table: PredictionTable
) -> None:
    proposal = proposal_of(table, (0.0, 100.0, 300.0, 1000.0))
    odd = replace(proposal, doses=(replace(proposal.doses[0], asked_nm=123.4), *proposal.doses[1:]))
    with pytest.raises(ValueError, match=r"123\.4 nM on L1 was not simulated"):
        card_of(campaign, odd, table, BEGIN_H, FULL)
