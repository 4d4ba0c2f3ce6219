"""The next doses of a run as a person in another process sees, edits and approves them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from chiploop.campaign_values import proposal_from_dict
from chiploop.record.record import Record
from flows.cli.card_text import card_lines
from flows.proposing import card_on_record
from tests.flows.conftest import Running, Warm
from tests.flows.run_checks import check_volumes, journal_of
from tests.flows.test_closed_loop import approve, control_of, wait_for_proposals, waiting_run


def told(warm: Warm, runs: Path, *words: str, code: int = 0) -> dict[str, Any]:
    """Return what a command says as JSON."""
    ended = warm.run(*words, "--runs", runs, "--json")
    assert ended.code == code, ended.err
    return ended.json


def doses_given(runs: Path, run_id: str, cycle: int) -> dict[str, float]:
    """Return line -> dose of a cycle that stands in the journal."""
    with journal_of(runs, run_id) as journal:
        return {
            action.intent.programme.line: action.intent.programme.asked_nm
            for action in journal.actions(run_id)
            if f"/c{cycle:02d}/" in action.intent.programme_key
            and action.intent.programme.purpose == "dose"
        }


@pytest.fixture
def second_cycle(warm: Warm, tmp_path: Path) -> tuple[Running, Path, str]:
    """A run that waits for the approval of its second doses."""
    running, runs, run_id = waiting_run(warm, tmp_path)
    pilot = told(warm, runs, "propose", run_id)
    assert (pilot["state"], pilot["card"]) == ("open", None)
    assert pilot["doses"] == {"L1": 60.0, "L2": 240.0}
    refused = told(warm, runs, "approve", run_id, "--dose", "L1=30nM", "--why", "lower", code=2)
    assert "the study file states (first_doses)" in refused["error"]["message"]
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    return running, runs, run_id


def test_an_edited_dose_is_scored_checked_logged_and_given(
    warm: Warm, second_cycle: tuple[Running, Path, str]
) -> None:
    running, runs, run_id = second_cycle
    shown = told(warm, runs, "propose", run_id)
    assert (shown["state"], shown["proposal"]) == ("open", f"{run_id}/c02/p1")
    before = shown["doses"]
    new = 90.0 if not math.isclose(before["L1"], 90.0) else 70.0
    preview = told(warm, runs, "propose", run_id, "--dose", f"L1={new:g}nM")
    assert preview["state"] == "edited, not on record"
    assert preview["doses"] == {**before, "L1": new}
    with Record(str(runs / "record.sqlite")) as record:
        assert len(record.proposals(run_id)) == 2, "a preview leaves no trace"
    # what a limit forbids changes nothing, and the study goes on waiting
    forbidden = told(warm, runs, "approve", run_id, "--dose", "L1=3900nM", "--why", "bold", code=5)
    assert "3900 nM on L1" in forbidden["error"]["message"]
    with control_of(runs / run_id) as lab:
        starts = sum(pump["starts"] for pump in lab.call("truth")["pumps"].values())
    approved = told(
        warm, runs, "approve", run_id, "--dose", f"L1={new:g}nM", "--why", "nearer the middle"
    )
    assert approved["proposal"] == f"{run_id}/c02/p2"
    ended = running.wait()
    assert ended.code == 0, ended.err
    assert starts > 0
    assert doses_given(runs, run_id, 2) == {**before, "L1": new}
    with Record(str(runs / "record.sqlite")) as record:
        _, first, edit = record.proposals(run_id)
        decisions = [record.decision_for(one.key) for one in (first, edit)]
        card = card_on_record(record, run_id, edit.key)
        assert record.verify().faults == ()
    assert [one.action for one in decisions if one is not None] == ["reject", "approve"]
    assert {one.by for one in decisions if one is not None} == {approved["by"]}
    proposal = proposal_from_dict(edit.content)
    assert (proposal.policy, proposal.edited_from) == ("own_doses", first.key)
    assert any("nearer the middle" in note for note in proposal.notes)
    assert proposal.doses[0].risk is not None and proposal.eig_nats is not None
    assert approved["edit"]["information_nats"] == proposal.eig_nats
    assert card is not None and card.lines[0].asked_nm == new
    check_volumes(runs, run_id)


def test_the_card_says_the_same_in_every_process_and_every_form(
    warm: Warm, second_cycle: tuple[Running, Path, str]
) -> None:
    running, runs, run_id = second_cycle
    shown = told(warm, runs, "propose", run_id)
    with Record(str(runs / "record.sqlite")) as record:
        latest = record.latest_proposal(run_id)
        assert latest is not None
        card = card_on_record(record, run_id, latest.key)
    assert card is not None
    proposal = proposal_from_dict(latest.content)
    # the same doses scored anew from the record, by rounding without ports
    same = [
        word
        for dose in proposal.doses
        for word in (
            "--dose",
            f"{dose.line}={dose.asked_nm!r}nM" if dose.asked_nm else f"{dose.line}=vehicle",
        )
    ]
    again = told(warm, runs, "propose", run_id, *same)
    for name in ("line", "asked_nm", "delivered_nm", "risk", "syringes"):
        lines = [[one[name] for one in card["lines"]] for card in (again["card"], shown["card"])]
        assert lines[0] == lines[1], name
    for name in ("predicted", "goal", "begins_h"):
        assert again["card"][name] == shown["card"][name], name
    text = warm.run("propose", run_id, "--runs", runs)
    assert text.code == 0
    assert text.out.startswith(f"SIMULATED  {run_id}, cycle 2: open")
    for line in card_lines(card, proposal):
        assert line in text.out
    # what the card predicted is compared with what was read then
    approve(warm, runs, run_id)
    assert running.wait().code == 0
    with Record(str(runs / "record.sqlite")) as record:
        decided = record.decision_for(f"{run_id}/c02/p1")
    assert decided is not None and decided.action == "approve"
    later = told(warm, runs, "propose", run_id)
    assert later["state"] == "not on record"
    health = later["card"]["health"]
    assert health["predicted"] == 2 * 3 and 0 <= health["inside"] <= 6
    assert json.dumps(later)


def test_an_edit_after_the_decision_is_refused(
    warm: Warm, second_cycle: tuple[Running, Path, str]
) -> None:
    running, runs, run_id = second_cycle
    approve(warm, runs, run_id)
    late = warm.run("approve", run_id, "--runs", runs, "--dose", "L1=70nM", "--why", "late")
    assert late.code == 2 and "was decided before" in late.err
    assert running.wait().code == 0


def test_doses_that_harm_closed_are_reopened_by_name(
    warm: Warm, second_cycle: tuple[Running, Path, str]
) -> None:
    running, runs, run_id = second_cycle
    far = told(warm, runs, "reopen", run_id, "--up-to", "9uM", "--why", "x", code=2)
    assert "up to the study's limit of 4000 nM is allowed" in far["error"]["message"]
    done = told(warm, runs, "reopen", run_id, "--up-to", "240nM", "--why", "a leak, not the drug")
    assert (done["up_to_nm"], done["run"]) == (240.0, run_id)
    with Record(str(runs / "record.sqlite")) as record:
        (event,) = record.events(run_id, "reopened")
    assert event.content["why"] == "a leak, not the drug"
    assert event.time_h == 36.0, "what was read until then"
    approve(warm, runs, run_id)
    assert running.wait().code == 0
