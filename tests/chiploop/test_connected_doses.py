"""Which connection the next doses are for: by what they teach, no simulation twice, and none by accident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chiploop import connected_doses, next_exposure
from chiploop.campaign import Suggestion, suggest
from chiploop.campaign_values import Campaign
from chiploop.connected_doses import best_connection
from chiploop.connections import Connection, connections_of, line_in
from chiploop.dosing import remaining_ul
from chiploop.errors import SafetyRefusal
from chiploop.kept_predictions import KeptPredictions
from chiploop.models.tissue_model import TissueModel
from chiploop.policies.nested_information import NestedEstimate
from chiploop.record.actions import JournalTotals
from tests.chiploop.campaigns import STUDY, exact, fitted

VALVED = STUDY.model_copy(update={"valves": {"C03": ("L2",), "C06": ("L1",)}})
FULL = remaining_ul(VALVED, {})
TOTALS = JournalTotals(last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(next_exposure, "DRAWS", 24)
    yield


@pytest.fixture(scope="module")
def valved() -> Campaign:
    return fitted(study=VALVED)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """Every chip that was simulated, with what reached it."""
    found: list[tuple[str, bytes]] = []
    real = TissueModel.simulate

    def counted(self: TissueModel, parameters: Any, inlets: Any, *more: Any, **named: Any) -> Any:
        found.extend((one.chip_id, one.edges_h.tobytes() + one.inputs.tobytes()) for one in inlets)
        return real(self, parameters, inlets, *more, **named)

    monkeypatch.setattr(TissueModel, "simulate", counted)
    return found


@pytest.fixture(scope="module")
def ready(valved: Campaign) -> dict[str, Suggestion]:
    """The doses of every connection, by where it has C03 and C06."""
    kept = KeptPredictions()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(next_exposure, "DRAWS", 24)
        return {
            where(one): ask(valved, connection=one, kept=kept) for one in connections_of(VALVED, {})
        }


def where(connection: Connection) -> str:
    """Return the lines that feed C03 and C06."""
    return f"{line_in(VALVED, connection, 'C03')}{line_in(VALVED, connection, 'C06')}"


def ask(campaign: Campaign, **more: Any) -> Suggestion:
    return suggest(
        campaign, exact, FULL, TOTALS, np.random.default_rng(0), begin_h=76.0, **more
    )  # fmt: skip


def chips_of(found: Suggestion) -> dict[str, tuple[str, ...]]:
    return {dose.line: dose.chips for dose in found.proposal.doses}


def test_no_chip_is_simulated_twice_over_all_connections(
    valved: Campaign, simulated: list[tuple[str, bytes]]
) -> None:
    found = ask(valved)
    chips = [one for one in simulated if one[0] in VALVED.chip_ids]  # goals have chips of their own
    assert len(chips) > 100
    assert len(set(chips)) == len(chips)
    assert "connections compared" in found.proposal.notes[-1]


def test_an_edit_keeps_the_connection_and_simulates_nothing_again(
    valved: Campaign, simulated: list[tuple[str, bytes]]
) -> None:
    kept = KeptPredictions()
    ask(valved, kept=kept)
    simulated.clear()
    own = {"L1": 0.0, "L2": 71.0, "L3": 220.0, "L4": 950.0}
    found = ask(valved, kept=kept, own_nm=own, connection={"C03": "L2"})
    assert simulated == []
    assert chips_of(found)["L2"] == ("C03", "C04", "C05", "C06")
    flow = sum(s.flow_rate_ul_h for s in found.proposal.doses[1].programme.parts[0].steps)
    assert flow == pytest.approx(240.0)


def test_doses_of_a_connection_are_for_its_chips_and_the_card_is_of_it(valved: Campaign) -> None:
    found = ask(valved, connection={"C06": "L1"})
    assert chips_of(found)["L1"] == ("C01", "C02", "C03", "C06")
    assert found.campaign.study.line_of("C06").id == "L1"
    stay = found.campaign.schedules["C06"].stays[-1]
    assert (stay.line, stay.from_h) == ("L1", 76.0)
    # what stands in L1's tubing then is what L1 gave last, stimulus without drug
    assert [s.drug_nm for s in stay.tubing][-1] == 0.0
    assert len(found.table.features[0][0, 0]) == 4 * len(found.table.features[3][0, 0]) / 3


def with_worth(monkeypatch: pytest.MonkeyPatch, nats: dict[str, float], error: float) -> None:
    """Let connections be worth what a test says, by the line that feeds C03, with an error of their difference."""
    rng = np.random.default_rng(1)
    shape = rng.standard_normal(24)
    shape = (shape - shape.mean()) / shape.std(ddof=1) * np.sqrt(24)

    def of(cls: Any, connection: Any, found: Suggestion) -> Any:
        noise = shape * error * (where(connection) != "L1L2")
        return cls(connection, found, NestedEstimate(nats.get(where(connection), 0.0), noise))

    monkeypatch.setattr(connected_doses.Scored, "of", classmethod(of))


@pytest.mark.parametrize(
    ("nats", "error", "line_of_c03"),
    [
        ({"L1L2": 0.50, "L2L2": 0.60}, 0.04, "L2"),
        ({"L1L2": 0.50, "L2L2": 0.60}, 0.06, "L1"),  # within twice its error
        ({"L1L2": 0.50, "L2L2": 0.60, "L2L1": 0.70}, 0.01, "L2"),
    ],
)
def test_a_valve_turns_only_for_what_is_worth_more_than_the_error(
    nats: dict[str, float],
    error: float,
    line_of_c03: str,
    ready: dict[str, Suggestion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_worth(monkeypatch, nats, error)
    found = best_connection(VALVED, {}, (), lambda one: ready[where(one)])
    assert "C03" in chips_of(found)[line_of_c03]
    assert ("C06" in chips_of(found)["L1"]) == ("L2L1" in nats)


def test_while_the_model_is_in_doubt_no_valve_turns(ready: dict[str, Suggestion]) -> None:
    asked: list[Any] = []

    def choose(connection: Any) -> Suggestion:
        asked.append(connection)
        own = ready[where(connection)]
        return replace(own, proposal=replace(own.proposal, policy="spread_out"))

    found = best_connection(VALVED, {}, (), choose)
    assert asked == [{}]
    assert "while the model is in doubt none is measured" in found.proposal.notes[-1]


def test_where_the_present_connection_can_have_no_dose_another_one_is_taken(
    ready: dict[str, Suggestion],
) -> None:
    def choose(connection: Any) -> Suggestion:
        if connection != {"C03": "L2"}:
            raise SafetyRefusal("no dose is allowed on L1")
        return ready[where(connection)]

    found = best_connection(VALVED, {}, (), choose)
    assert "as it stands now no dose can be given" in found.proposal.notes[-1]
    with pytest.raises(SafetyRefusal, match="no dose is allowed on L1"):
        best_connection(VALVED, {}, ("L2",), choose)


def test_without_valves_nothing_is_drawn_and_nothing_is_said() -> None:
    plain = fitted()
    rng, beside = np.random.default_rng(0), np.random.default_rng(0)
    first = suggest(plain, exact, FULL, TOTALS, rng, begin_h=76.0)
    again = suggest(plain, exact, FULL, TOTALS, beside, begin_h=76.0, connection_now={"C03": "L2"})
    assert first.proposal == again.proposal
    assert rng.bit_generator.state == beside.bit_generator.state
    assert not any("valve" in note for note in first.proposal.notes)
