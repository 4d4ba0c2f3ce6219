"""What is told of a run from outside."""

from __future__ import annotations

from flows.run_status import why_it_ended


def test_why_a_process_ended_is_told_without_the_steps_and_warnings_of_its_log() -> None:
    log = "warning: pump (ne1000): unconfirmed\nday  0.00  cycle 1/2  dosing L1 60 nM\n"
    trouble = "CL-400: L1-low does not answer\nOnce that is mended, go on with: chiploop resume r"
    assert why_it_ended(log + trouble) == trouble
    assert why_it_ended("CL-300: earlier\n" + log + trouble) == trouble
    assert why_it_ended(log + "Killed") == log + "Killed"
    assert why_it_ended("") == "it said nothing"
