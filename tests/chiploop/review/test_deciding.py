"""Decisions become commands, and a field never becomes an option."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chiploop.record.exclusions import Exclusion
from chiploop.review.contracts import Answer
from tests.chiploop.review.conftest import APPROVE, FORM, ORIGIN, PROPOSAL, RUN, Page


def test_a_reason_that_looks_like_an_option_stays_a_reason(page: Page) -> None:
    page.enter()
    page.post(f"{PROPOSAL}/reject", {**FORM, "why": "--record=sqlite:///elsewhere --debug"})
    assert page.hands.asked == [
        ["reject", RUN, "--proposal=r1/c02/p1", "--why=--record=sqlite:///elsewhere --debug"]
    ]


def test_own_doses_are_scored_before_and_approved_with_their_reason(page: Page) -> None:
    page.enter()
    doses = {"dose-L1": "90 nM", "dose-L2": "60 nM", "dose-L9": "1 M"}
    page.post(f"{PROPOSAL}/score", {**FORM, **doses})
    assert page.hands.asked.pop() == ["propose", RUN, "--dose=L1=90 nM"]
    refused = page.post(APPROVE, {**FORM, **doses})
    assert "needs its reason" in refused.text and page.hands.asked == []
    page.post(APPROVE, {**FORM, **doses, "why": "nearer"})
    assert page.hands.asked == [
        ["approve", RUN, "--proposal=r1/c02/p1", "--why=nearer", "--dose=L1=90 nM"]
    ]


def test_what_a_limit_forbids_is_told_in_the_commands_own_words(page: Page) -> None:
    page.enter()
    told = {"ok": False, "error": {"exit_code": 5, "message": "5000 nM on L1: at most 4000 nM"}}
    page.hands.answer = Answer(5, told)
    answer = page.post(f"{PROPOSAL}/score", {**FORM, "dose-L1": "5000 nM"})
    assert "at most 4000 nM" in answer.text and 'role="alert"' in answer.text
    assert "Approve your doses" not in answer.text


@pytest.mark.parametrize("verb", ["score", "approve", "reject"])
@pytest.mark.parametrize("key", ["r1/c01/p1", "", " r1/c02/p1", None])
def test_doses_that_are_not_the_open_ones_are_neither_scored_nor_decided(
    page: Page, verb: str, key: str | None
) -> None:
    page.enter()
    meant = {} if key is None else {"proposal": key}
    answer = page.post(f"{PROPOSAL}/{verb}", {**meant, "why": "so", "dose-L1": "90 nM"})
    assert "not the open ones any more" in answer.text and page.hands.asked == []


def test_a_proposal_that_expired_has_no_form_to_approve_it(page: Page) -> None:
    page.enter()
    assert "Approve these doses" in page.client.get(PROPOSAL).text
    page.now["time_h"] = 13.0
    text = page.client.get(PROPOSAL).text
    assert "Expired" in text and "Approve these doses" not in text and "Reject" in text


def test_doses_that_rest_on_readings_that_were_left_out_since_say_so(page: Page) -> None:
    said = "doses and risks do not know of it"
    out = Exclusion("C01", "TEER", 48.0, True, "alice", "bubble")
    page.record.add_exclusion(RUN, replace(out, chip_id="C02"), 48.0)
    content = {"time_h": 48.0, "goals": [], "info": {"passed": True, "warnings": []}}
    page.record.add_calibration(RUN, 1, content)
    assert said not in page.enter().get(PROPOSAL).text, "the fit knew of it"
    page.record.add_exclusion(RUN, out, 48.0)
    assert said in page.client.get(PROPOSAL).text


def test_a_second_person_is_asked_for_and_the_first_can_not_be_both(page: Page) -> None:
    doses = [{"line": "L1", "asked_nm": 60.0, "risk": 0.2, "chips": ["C01"]}]
    page.record.add_decision("r1/c02/p1", "reject", "alice", "too low")
    key = page.record.add_proposal(RUN, 2, {"doses": doses, "cycle": 2})
    page.enter()
    text = page.client.get(PROPOSAL).text
    assert "Two persons must approve" in text and "L1 (20 %)" in text
    page.record.add_approval(key, "alice", "", 2, 1.0)
    text = page.client.get(PROPOSAL).text
    assert "alice has approved" in text and "Approve these doses" not in text


def test_readings_are_left_out_one_by_one_or_all_and_only_those_there_are(page: Page) -> None:
    page.enter()
    at = f"/runs/{RUN}/chips/C01"
    form = {"why": "bubble", "action": "leave out"}
    page.post(f"{at}/exclude", {**form, "readout": "TEER", "time": "24"}, at)
    page.post(f"{at}/exclude", {**form, "readout": "", "action": "take back"}, at)
    assert page.hands.asked == [
        ["exclude", RUN, "C01", "--why=bubble", "--readout=TEER", "--time=24"],
        ["exclude", RUN, "C01", "--why=bubble", "--take-back"],
    ]
    for odd in (
        {"readout": "TEER", "time": "25"},
        {"readout": "CCL26", "time": ""},
        {"time": "24"},
    ):
        assert "no such reading" in page.post(f"{at}/exclude", {**form, **odd}, at).text
    assert "needs its reason" in page.post(f"{at}/exclude", {"why": " "}, at).text
    assert page.client.post(
        f"/runs/{RUN}/chips/--take-back/exclude", data={**page.fields(at), **form}, headers=ORIGIN
    ).status_code == 404  # fmt: skip
    assert len(page.hands.asked) == 2
