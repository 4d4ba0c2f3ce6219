"""Doses in parts, as rows of text and as what was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.dosing import PumpProgramme, remaining_ul
from chiploop.exposure import make_exposure
from chiploop.record.actions import Intent, action_key, part_phase, programme_key
from chiploop.record.journal import Journal
from chiploop.report.dose_tables import asked_text, given_doses
from chiploop.report.run_summary import delivered_facts
from chiploop.study import load_study

STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_pulses.yaml")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def exact(_: str, rate: float, volume: float) -> tuple[float, float]:
    return rate, volume


def run_through(journal: Journal, programme: PumpProgramme, phase: str, begin_h: float) -> None:
    """Put a programme on record as given to the last drop."""
    key = programme_key("r", 2, "L1", phase)
    intents = [
        Intent(
            action_key(key, step.pump), "r", key, step.pump, programme, step.flow_rate_ul_h,
            step.volume_ul, 0.0, 1.0, 0, "a session", begin_h,
        )
        for step in programme.steps
    ]  # fmt: skip
    journal.intend(intents)
    for intent in intents:
        journal.sent(intent.key, begin_h)
        journal.started(intent.key, begin_h, "the pump's answer")
        journal.outcome(
            intent.key, begin_h + programme.duration_h, intent.volume_ul, intent.volume_ul
        )


def test_what_was_given_in_pulses_is_their_concentration_and_not_the_mean_with_the_gaps(
    journal: Journal,
) -> None:
    exposure = make_exposure(STUDY, "L1", 120.0, "pulses", exact, remaining_ul(STUDY, {}))
    for number, (begin_h, part) in enumerate(exposure.timed(), 1):
        run_through(journal, part, part_phase(number), 76.0 + begin_h)
    run_through(journal, exposure.parts[1], "hold", 124.0)
    actions = journal.actions("r")
    assert given_doses(STUDY, actions) == {(2, "L1"): pytest.approx(120.0)}
    facts = {fact["chip"]: fact for fact in delivered_facts(STUDY, actions, 2)}
    assert facts["C01"]["delivered_ul"] == pytest.approx(60.0 * 48.0)
    assert facts["C01"]["drug_nM"] == pytest.approx(120.0)
    assert facts["C01"]["outcome"] == "delivered" and facts["C03"]["outcome"] == "not given"
    assert {pump["phase"] for pump in facts["C01"]["pumps"]} == {part_phase(n) for n in range(1, 7)}


def test_pulses_of_which_one_is_not_known_have_no_given_dose(journal: Journal) -> None:
    exposure = make_exposure(STUDY, "L1", 120.0, "pulses", exact, remaining_ul(STUDY, {}))
    run_through(journal, exposure.parts[0], "dose", 76.0)
    run_through(journal, exposure.parts[1], "dose-2", 84.0)
    key = programme_key("r", 2, "L1", "dose-3")
    (drug,) = [step for step in exposure.parts[2].steps if step.stock == "low"]
    journal.intend(
        [
            Intent(
                action_key(key, drug.pump), "r", key, drug.pump, exposure.parts[2],
                drug.flow_rate_ul_h, drug.volume_ul, 0.0, 1.0, 0, "a session", 92.0,
            )
        ]
    )  # fmt: skip
    assert given_doses(STUDY, journal.actions("r")) == {}


def test_a_proposed_dose_is_told_with_its_schedule_and_an_older_one_without() -> None:
    pulses = {"asked_nm": 120.0, "programme": {"schedule": "pulses", "parts": []}}
    assert asked_text(pulses, STUDY.schedules) == "120, pulses: 3 x 8 h every 16 h"
    for programme in ({"schedule": "whole", "parts": []}, {"line": "L1", "steps": []}):
        assert asked_text({"asked_nm": 120.0, "programme": programme}, STUDY.schedules) == "120"
