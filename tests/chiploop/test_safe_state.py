"""What is done about each line when nobody works on a run any more."""

from __future__ import annotations

import math

from chiploop.safe_state import LineFlow, SafeStep, safe_steps

DOSE = LineFlow("L1", ("r/c02/L1/dose",), True, 40.0)
STIMULUS = LineFlow("L2", ("r/c02/L2/hold",), True, 31.0)
PLAIN = LineFlow("L3", ("r/c02/L3/supervised-1-plain",), False, 36.0)
NOTHING = LineFlow("L4", (), False, -math.inf)


def test_dose_and_stimulus_stop_for_plain_medium_and_a_dry_line_gets_it() -> None:
    found = safe_steps([DOSE, STIMULUS, PLAIN, NOTHING], 30.0, {})
    assert [(s.line, s.stop, s.plain_medium) for s in found] == [
        ("L1", DOSE.programmes, True),
        ("L2", STIMULUS.programmes, True),
        ("L4", (), True),
    ]


def test_once_plain_medium_flows_nothing_is_to_be_done_until_it_ends() -> None:
    assert safe_steps([PLAIN], 30.0, {}) == ()
    assert safe_steps([PLAIN], 35.9, {}) == ()
    assert safe_steps([PLAIN], 35.96, {}) == (SafeStep("L3", (), True, "nothing flows"),)


def test_a_line_may_be_left_its_dose_to_the_end() -> None:
    wanted = {"L1": "finish_dose"}
    assert safe_steps([DOSE], 30.0, wanted) == ()  # type: ignore[arg-type]
    (after,) = safe_steps([DOSE], 40.0, wanted)  # type: ignore[arg-type]
    assert after.plain_medium and not after.stop


def test_a_line_may_be_left_to_stand() -> None:
    (found,) = safe_steps([DOSE], 30.0, {"L1": "stop"})
    assert found.stop == DOSE.programmes and not found.plain_medium
    assert safe_steps([NOTHING], 30.0, {"L4": "stop"}) == ()
