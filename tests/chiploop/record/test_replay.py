"""What the chips got is what the journal says that the pumps counted, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.dosing import PumpProgramme, make_programme, remaining_ul
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of
from chiploop.study import load_study

STUDY = load_study(Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def programme(line: str, asked_nm: float, hours: float, purpose: str = "dose") -> PumpProgramme:
    return make_programme(
        STUDY,
        line,
        purpose,  # type: ignore[arg-type]
        asked_nm,
        hours,
        lambda _, rate, volume: (rate, volume),
        remaining_ul(STUDY, {}),
    )


def intended(
    journal: Journal, one: PumpProgramme, cycle: int, begin_h: float, run: str = "r"
) -> list[Intent]:
    """Put the intents of a programme on record as sent and started."""
    key = programme_key(run, cycle, one.line, one.purpose)
    intents = [
        Intent(
            key=action_key(key, step.pump),
            run_id=run,
            programme_key=key,
            pump=step.pump,
            programme=one,
            flow_rate_ul_h=step.flow_rate_ul_h,
            volume_ul=step.volume_ul,
            counter_ul=0.0,
            resolution_ul=1.0,
            restarts=0,
            session="s",
            time_h=begin_h,
        )
        for step in one.steps
    ]
    journal.intend(intents)
    for intent in intents:
        journal.sent(intent.key, begin_h)
        journal.started(intent.key, begin_h, "answer")
    return intents


def delivered(
    journal: Journal,
    one: PumpProgramme,
    cycle: int,
    begin_h: float,
    share: float = 1.0,
    run: str = "r",
) -> None:
    for intent in intended(journal, one, cycle, begin_h, run):
        volume = share * intent.volume_ul
        journal.outcome(intent.key, begin_h + one.duration_h, volume, volume)


def test_an_empty_journal_is_chips_that_got_nothing(journal: Journal) -> None:
    found = schedules_of(journal, STUDY, "r")
    assert tuple(found) == STUDY.chip_ids
    assert all(schedule.segments == () for schedule in found.values())


def test_phases_come_back_in_time_order_with_the_counted_volumes(journal: Journal) -> None:
    delivered(journal, programme("L2", 30.0, 48.0), 1, 24.0, share=0.98)
    delivered(journal, programme("L2", 0.0, 24.0, "medium"), 0, 0.0)
    found = schedules_of(journal, STUDY, "r")
    for chip in STUDY.line("L2").chips:
        medium, dose = found[chip].segments
        assert (medium.start_h, medium.end_h, medium.stimulus_ng_ml["IL-4"]) == (0.0, 24.0, 0.0)
        assert (dose.start_h, dose.end_h) == (24.0, pytest.approx(72.0))
        assert dose.flow_rate_ul_h == pytest.approx(0.98 * 60.0)
        assert dose.drug_nm == pytest.approx(30.0)
        assert dose.stimulus_ng_ml["IL-13"] == 1.0
    assert found["C01"].segments == ()


def test_a_pump_that_counted_less_changes_the_concentration(journal: Journal) -> None:
    one = programme("L3", 120.0, 48.0)
    for intent in intended(journal, one, 1, 24.0):
        share = 0.9 if intent.pump == "L3-low" else 1.0
        journal.outcome(intent.key, 72.0, share * intent.volume_ul, 0.0)
    segment = schedules_of(journal, STUDY, "r")["C07"].segments[0]
    drug, rest = 0.9 * 36.0, 144.0
    assert segment.drug_nm == pytest.approx(600.0 * drug / (drug + rest))


def test_a_programme_that_still_runs_is_not_yet_part_of_it(journal: Journal) -> None:
    delivered(journal, programme("L1", 0.0, 24.0, "medium"), 0, 0.0)
    first, second = intended(journal, programme("L1", 30.0, 48.0), 1, 24.0)
    journal.outcome(first.key, 72.0, first.volume_ul, first.volume_ul)
    assert len(schedules_of(journal, STUDY, "r")["C01"].segments) == 1
    journal.outcome(second.key, 72.0, second.volume_ul, second.volume_ul)
    assert len(schedules_of(journal, STUDY, "r")["C01"].segments) == 2


def test_a_volume_that_a_person_told_counts_and_one_that_nobody_knows_does_not(
    journal: Journal,
) -> None:
    for line, told in (("L1", 500.0), ("L2", None)):
        for intent in intended(journal, programme(line, 0.0, 24.0, "medium"), 0, 0.0):
            journal.ambiguous(intent.key, 24.0, "the counter is back at zero", 0.0)
            journal.abandon(intent.key, 24.0, "a person", "the tubing had come off", told)
    found = schedules_of(journal, STUDY, "r")
    assert found["C01"].segments[0].flow_rate_ul_h == pytest.approx(500.0 / 24.0 / 3.0)
    assert found["C04"].segments == ()


def test_a_dose_given_up_early_ends_where_a_person_ended_it(journal: Journal) -> None:
    dose = programme("L1", 30.0, 48.0)
    for intent in intended(journal, dose, 1, 24.0):
        journal.ambiguous(intent.key, 36.0, "the pump stalled", None)
        journal.abandon(intent.key, 36.0, "a person", "stalled", 0.25 * intent.volume_ul)
    delivered(journal, programme("L1", 0.0, 12.0, "medium"), 2, 36.0)
    first, second = schedules_of(journal, STUDY, "r")["C01"].segments
    assert (first.start_h, first.end_h) == (24.0, pytest.approx(36.0))
    assert first.flow_rate_ul_h == pytest.approx(60.0)
    assert first.drug_nm == pytest.approx(30.0)
    assert (second.start_h, second.drug_nm) == (36.0, 0.0)


def test_medium_that_kept_a_held_line_alive_begins_where_the_dose_had_stopped(
    journal: Journal,
) -> None:
    dose = programme("L1", 30.0, 48.0)
    intents = intended(journal, dose, 1, 24.0)
    delivered(journal, programme("L1", 0.0, 12.0, "medium"), 1, 36.0)
    for intent in intents:
        journal.abandon(intent.key, 50.0, "a person", "settled later", 0.25 * intent.volume_ul)
    first, second = schedules_of(journal, STUDY, "r")["C01"].segments
    assert (first.start_h, first.end_h, second.start_h) == (24.0, 36.0, 36.0)
    assert first.flow_rate_ul_h == pytest.approx(60.0)


def test_other_runs_in_the_same_journal_do_not_mix_in(journal: Journal) -> None:
    delivered(journal, programme("L1", 0.0, 24.0, "medium"), 0, 0.0, run="other")
    assert schedules_of(journal, STUDY, "r")["C01"].segments == ()
    assert len(schedules_of(journal, STUDY, "other")["C01"].segments) == 1


def test_a_stimulus_that_went_on_beside_plain_medium_is_mixed_with_it_in_its_own_time(
    journal: Journal,
) -> None:
    dose = programme("L1", 240.0, 24.0)
    stimulus, drug = sorted(intended(journal, dose, 1, 30.0), key=lambda i: i.pump != "L1-stimulus")
    delivered(journal, programme("L1", 0.0, 21.6, "medium"), 1, 32.4)
    journal.outcome(stimulus.key, 54.0, stimulus.volume_ul, stimulus.volume_ul)
    journal.abandon(drug.key, 32.4, "a person", "read at the syringe", 0.1 * drug.volume_ul)
    first, second = schedules_of(journal, STUDY, "r")["C01"].segments
    assert (first.start_h, first.end_h) == (30.0, pytest.approx(32.4))
    assert (first.flow_rate_ul_h, first.drug_nm) == (pytest.approx(60.0), pytest.approx(240.0))
    assert (second.start_h, second.end_h) == (first.end_h, pytest.approx(54.0))
    assert (second.flow_rate_ul_h, second.drug_nm) == (pytest.approx(96.0), 0.0)
    assert second.stimulus_ng_ml["IL-4"] == pytest.approx(
        36.0 / 96.0 * STUDY.stimulus_ng_ml["IL-4"]
    )


def test_a_stimulus_that_was_stopped_flowed_until_then(journal: Journal) -> None:
    dose = programme("L1", 240.0, 24.0)
    for intent in intended(journal, dose, 1, 30.0):
        journal.note("r", intent.key, 36.0, "stopped", stands=True)
        if intent.pump == "L1-stimulus":
            journal.outcome(intent.key, 36.0, 0.25 * intent.volume_ul, 0.0)
        else:
            journal.ambiguous(intent.key, 36.0, "stalled", None)
            journal.abandon(intent.key, 80.0, "a person", "settled later", 0.25 * intent.volume_ul)
    delivered(journal, programme("L1", 0.0, 18.0, "medium"), 1, 36.0)
    first, second = schedules_of(journal, STUDY, "r")["C01"].segments
    assert (first.start_h, first.end_h, second.start_h) == (30.0, 36.0, 36.0)
    assert (first.flow_rate_ul_h, first.drug_nm) == (pytest.approx(60.0), pytest.approx(240.0))
    assert second.flow_rate_ul_h == pytest.approx(60.0)


def test_a_volume_that_a_person_told_never_flowed_faster_than_its_pump(journal: Journal) -> None:
    (intent,) = intended(journal, programme("L1", 0.0, 24.0, "medium"), 0, 0.0)
    journal.note("r", intent.key, 0.5, "no answer", stands=False)
    journal.abandon(intent.key, 0.5, "a person", "it ran on", 0.5 * intent.volume_ul)
    (segment,) = schedules_of(journal, STUDY, "r")["C01"].segments
    assert (segment.start_h, segment.end_h) == (0.0, pytest.approx(12.0))
