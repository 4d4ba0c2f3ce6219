"""The page of a what-if: both figures stand, it is marked, it says for what it may be used."""

from __future__ import annotations

from chiploop.report.twin_page import twin_page
from chiploop.twin.patient_what_if import what_if
from tests.chiploop.twin.patients import patient


def test_the_page_holds_figures_numbers_mark_and_the_use_it_is_for() -> None:
    told = what_if(patient(baseline={"easi": 30.0}), ["dupilumab", "tralokinumab"], n=300)
    text = twin_page(told)
    assert text.count("<svg") == 2 and "could not be drawn" not in text
    assert "SIMULATED" in text and text.count("Research use only; not for clinical decisions.") >= 2
    assert f"{100 * told.pairs[0].probability:.0f}</td>" in text
    assert f"The twin holds for this patient:</b> {told.applicability.sentence}" in text
    assert all(warning in text for warning in told.warnings) and told.warnings
    assert told.measurements[0][0] in text and "P-0001" in text
    assert twin_page(told) == text
    assert "<script" not in text
