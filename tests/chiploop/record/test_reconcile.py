"""The verdict on an intent, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.actions import Intent
from chiploop.record.reconcile import PumpObservation, match_tolerance_ul, reconcile

INTENT = Intent(
    key="r/c01/L1/dose/L1-low",
    run_id="r",
    programme_key="r/c01/L1/dose",
    pump="L1-low",
    programme=PumpProgramme(
        "L1", "dose", 480.0, 480.0, 48.0, (PumpStep("L1-low", "low", 144.0, 6912.0),), 0.0, 1.0
    ),
    flow_rate_ul_h=144.0,
    volume_ul=6912.0,
    counter_ul=100.0,
    resolution_ul=1.0,
    restarts=0,
    session="one",
    time_h=24.0,
)
SENT = PumpObservation("idle", 100.0, 1.0, 0, "two", sends=1, started=False)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"counter_ul": 7012.0}, "delivered"),
        ({"counter_ul": 7012.0 - 34.0}, "delivered"),
        ({"counter_ul": 7012.0 - 36.0}, "unknown"),
        ({"counter_ul": 7012.0 + 36.0}, "unknown"),
        ({"counter_ul": 3000.0}, "unknown"),
        ({"counter_ul": 99.0}, "unknown"),
        ({"counter_ul": 0.0}, "unknown"),
        ({"state": "infusing"}, "running"),
        ({"state": "infusing", "counter_ul": 5000.0, "started": True}, "running"),
        ({"state": "infusing", "counter_ul": 9000.0}, "unknown"),
        ({"state": "infusing", "sends": 0}, "unknown"),
        ({"state": "paused", "counter_ul": 5000.0}, "unknown"),
        ({"state": "withdrawing", "counter_ul": 5000.0}, "unknown"),
        ({"state": "alarm", "counter_ul": 7012.0, "alarm": "stall"}, "unknown"),
        ({"counter_ul": 7012.0, "restarts": 1}, "unknown"),
        ({"state": "infusing", "restarts": 1}, "unknown"),
        ({"restarts": 1, "earlier_counter_ul": 100.0}, "unknown"),
        ({"sends": 0}, "not started"),
        ({"sends": 0, "counter_ul": 120.0}, "unknown"),
        ({"sends": 0, "restarts": 1}, "unknown"),
        ({}, "look again"),
        ({"earlier_counter_ul": 100.0}, "not started"),
        ({"earlier_counter_ul": 100.0, "started": True}, "unknown"),
        ({"earlier_counter_ul": 100.0, "sends": 2}, "unknown"),
        ({"earlier_counter_ul": 99.0}, "unknown"),
    ],
)
def test_the_counter_and_the_two_proofs_decide(change: dict[str, object], verdict: str) -> None:
    found = reconcile(INTENT, replace(SENT, **change))  # type: ignore[arg-type]
    assert found.verdict == verdict, found.reason
    assert found.reason


def test_an_alarm_heard_before_the_intent_is_no_news_to_the_same_process_only() -> None:
    intent = replace(INTENT, restarts=1)
    done = replace(SENT, counter_ul=7012.0, restarts=1)
    assert reconcile(intent, replace(done, session="one")).verdict == "delivered"
    assert reconcile(intent, replace(done, session="two")).verdict == "unknown"
    unmoved = replace(SENT, restarts=1, session="one", earlier_counter_ul=100.0)
    assert reconcile(intent, unmoved).verdict == "not started"


def test_a_second_power_cut_is_heard_by_a_session_that_heard_one_before_the_intent() -> None:
    # a pump that restarts by itself, or by its keypad, shows one full target after one and a half
    intent = replace(INTENT, restarts=1)
    again = replace(SENT, counter_ul=7012.0, restarts=2, session="one")
    assert reconcile(intent, again).verdict == "unknown"


def test_the_tolerance_is_two_counter_steps_or_half_a_percent() -> None:
    assert match_tolerance_ul(INTENT, 1.0) == pytest.approx(34.56)
    assert match_tolerance_ul(INTENT, 100.0) == 200.0


NO_PROOF = replace(SENT, restarts=None)
"""The pump of a make that can not prove that it kept its power."""


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        # idle and unmoved: only a start that never left is sure not to have moved anything
        ({"sends": 0}, "not started", "never left"),
        ({"sends": 0, "earlier_counter_ul": 100.0}, "not started", "never left"),
        ({}, "look again", "seen once"),
        ({"earlier_counter_ul": 100.0}, "unknown", "nothing proves that the pump kept its power"),
        ({"earlier_counter_ul": 99.0}, "unknown", "nothing proves that the pump kept its power"),
        ({"earlier_counter_ul": 100.0, "sends": 2}, "unknown", "sent twice"),
        ({"started": True}, "unknown", "shows no movement"),
        ({"started": True, "earlier_counter_ul": 100.0}, "unknown", "shows no movement"),
        # a counter that went back to zero shows as lower wherever it stood above zero before
        ({"counter_ul": 0.0}, "unknown", "lower than before"),
        ({"counter_ul": 0.0, "started": True}, "unknown", "lower than before"),
        ({"counter_ul": 0.0, "sends": 0}, "unknown", "lower than before"),
        ({"counter_ul": 99.0, "state": "infusing"}, "unknown", "lower than before"),
        # the same volume once more from zero is 100 uL short of the counter at its target
        ({"counter_ul": 6912.0}, "unknown", "another volume"),
        ({"counter_ul": 3000.0}, "unknown", "another volume"),
        ({"counter_ul": 7012.0 + 36.0}, "unknown", "further than asked"),
        ({"counter_ul": 120.0, "sends": 0}, "unknown", "nothing was sent"),
        ({"state": "infusing", "sends": 0}, "unknown", "nothing was sent"),
        ({"state": "alarm", "counter_ul": 7012.0}, "unknown", "alarm"),
        ({"state": "paused", "counter_ul": 5000.0}, "unknown", "paused"),
        ({"state": "withdrawing", "counter_ul": 5000.0}, "unknown", "withdraws"),
        # what it shows of movement is believed
        ({"state": "infusing"}, "running", "runs"),
        ({"state": "infusing", "counter_ul": 5000.0, "started": True}, "running", "runs"),
        ({"counter_ul": 7012.0}, "delivered", "asked volume"),
        ({"counter_ul": 7012.0, "started": True}, "delivered", "asked volume"),
    ],
)
@pytest.mark.parametrize("intent", [replace(INTENT, restarts=None), INTENT], ids=["none", "int"])
def test_without_proof_of_power_a_lost_start_is_never_sent_again(
    intent: Intent, change: dict[str, object], verdict: str, reason: str
) -> None:
    found = reconcile(intent, replace(NO_PROOF, **change))  # type: ignore[arg-type]
    assert (found.verdict, reason in found.reason) == (verdict, True), found.reason


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "look again"),
        ({"earlier_counter_ul": 0.0}, "unknown"),
        ({"started": True}, "unknown"),
        ({"counter_ul": 3000.0, "started": True}, "unknown"),
        ({"counter_ul": 3000.0, "state": "infusing"}, "running"),
        ({"counter_ul": 6912.0}, "delivered"),
        ({"sends": 0}, "not started"),
    ],
)
def test_without_proof_a_counter_at_zero_before_is_never_taken_for_never_moved(
    change: dict[str, object], verdict: str
) -> None:
    at_zero = replace(INTENT, restarts=None, counter_ul=0.0)
    seen = replace(NO_PROOF, counter_ul=0.0)
    assert reconcile(at_zero, replace(seen, **change)).verdict == verdict  # type: ignore[arg-type]


def test_proof_needs_the_pumps_word_at_the_intent_and_now() -> None:
    before = replace(INTENT, restarts=None)
    unmoved = replace(SENT, earlier_counter_ul=100.0)
    assert reconcile(INTENT, unmoved).verdict == "not started"
    assert reconcile(before, unmoved).verdict == "unknown"
    assert reconcile(before, replace(SENT, counter_ul=7012.0)).verdict == "delivered"
    for session in ("one", "two"):
        cut = replace(SENT, counter_ul=7012.0, restarts=1, session=session)
        assert reconcile(before, cut).verdict == "unknown"
        assert "power" in reconcile(before, cut).reason


@pytest.mark.parametrize(
    ("counter_ul", "session", "verdict"),
    [
        (0.0, "one", "not started"),
        (0.0, "two", "unknown"),  # another session may have heard of a power cut, and died with it
        (100.0, "one", "not started"),
        (100.0, "two", "not started"),  # a power cut would have set it back
    ],
)
def test_an_unmoved_counter_at_zero_proves_something_only_to_the_session_of_the_intent(
    counter_ul: float, session: str, verdict: str
) -> None:
    intent = replace(INTENT, session="one", counter_ul=counter_ul)
    seen = replace(
        SENT, session=session, counter_ul=counter_ul, earlier_counter_ul=counter_ul, restarts=0
    )
    assert reconcile(intent, seen).verdict == verdict
