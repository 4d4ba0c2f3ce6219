"""What people are told: each thing once, with what it takes to act, and nothing of donors or readouts."""

from __future__ import annotations

from typing import Any

from chiploop import messages
from chiploop.messages import decision_line, risk_line

DOSES: list[dict[str, Any]] = [
    {"line": "L1", "asked_nm": 60.0, "risk": 0.02, "chips": ["C01"], "note": "Mrs Smith"},
    {"line": "L2", "asked_nm": 240.0, "risk": 0.12, "programme": {"schedule": "pulses"}},
    {"line": "L3", "asked_nm": 0.0, "risk": 0.0, "chips": ["C03"]},
]


def decide(given: list[str], needs: int, near: bool = False) -> list[messages.Message]:
    return messages.decide("run-1", "run-1/c02/p1", DOSES, given, needs, "6 h", near, " --runs x")


def test_a_decision_is_told_with_doses_risk_end_and_command() -> None:
    (one,) = decide([], 1)
    assert one.key == "decide/c02/p1" and "a person must decide" in one.asked
    assert one.decision == "L1 60 nM, L2 240 nM by pulses, L3 vehicle"
    assert one.risk == "at most 12 % (line L2)" and one.until == "6 h"
    assert one.command == "chiploop propose run-1 --runs x"
    assert "Smith" not in one.text and "C01" not in one.text


def test_the_second_person_and_the_end_of_time_are_questions_of_their_own() -> None:
    keys = [one.key for one in decide(["alice"], 2, near=True)]
    assert keys == ["decide/c02/p1", "second/c02/p1", "near/c02/p1"]
    assert "2 persons" in decide(["alice"], 2)[0].asked
    assert "alice approved" in decide(["alice"], 2)[1].asked
    assert [one.key for one in decide([], 2)] == ["decide/c02/p1"]


def test_an_unknown_risk_is_said_to_be_unknown_and_a_vehicle_has_none() -> None:
    assert risk_line([{**DOSES[0], "risk": None}]) == "not known before the first fit"
    assert risk_line([DOSES[2]]) == "vehicle alone"
    assert decision_line([{**DOSES[0], "drug": "upadacitinib"}]) == "L1 60 nM of upadacitinib"


def test_a_failure_says_its_code_and_how_to_go_on_and_nothing_that_it_said_itself() -> None:
    one = messages.failed("run-1", 2, "CL-400", 4, "")
    assert one.key == "failed/2" and "CL-400" in one.asked and "FAILED" in one.asked
    assert one.command == "chiploop resume run-1"
    assert "waits for a person" in messages.failed("run-1", 1, "CL-700", 7, "").asked


def test_a_subject_is_one_line_and_simulated_runs_say_so() -> None:
    one = messages.Message("k", "run-1", "two\nlines", simulated=True)
    assert one.subject == "SIMULATED chiploop run-1: two lines" and "SIMULATED" in one.text
    assert one.facts()["text"].startswith("SIMULATED")
