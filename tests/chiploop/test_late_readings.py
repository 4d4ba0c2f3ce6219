"""A reading that was taken under the hold after its exposure is learned from where it is known what flowed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chiploop.late_readings import HoldsAsKnown
from chiploop.measurement import Readout
from chiploop.record.actions import programme_key
from chiploop.record.journal import Journal
from chiploop.record.unexplained import UNEXPLAINED
from chiploop.refit import Evidence, evidence_of
from tests.chiploop.campaigns import STUDY, readings
from tests.chiploop.test_refit import LINES, flow

END_H = STUDY.exposure_end_h(1)
LATE_H = END_H + 1.0
HOLD_H = 4.0


@pytest.fixture(scope="module")
def in_hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cycle whose exposure has ended, and the hold after it, which runs."""
    path = tmp_path_factory.mktemp("late") / "journal.sqlite"
    with Journal(path) as opened:
        flow(opened, 0, "medium", 0.0, 0.0, STUDY.exposure_start_h(1))
        flow(opened, 1, "dose", 100.0, STUDY.exposure_start_h(1), END_H)
        flow(opened, 1, "hold", 0.0, END_H, END_H + HOLD_H, ends=False)
    return path


@pytest.fixture
def journal(in_hold: Path, tmp_path: Path) -> Iterator[Journal]:
    shutil.copytree(in_hold.parent, tmp_path, dirs_exist_ok=True)
    with Journal(tmp_path / in_hold.name) as opened:
        yield opened


def read(late_h: float = LATE_H) -> list[Readout]:
    """Return the readings of the cycle, those of TEER taken late."""
    return [replace(r, time_h=late_h) if r.readout == "TEER" else r for r in readings(cycle=1)]


def seen(journal: Journal, late_h: float = LATE_H, decided: HoldsAsKnown | None = None) -> Evidence:
    return evidence_of(STUDY, journal.actions("r"), read(late_h), 1, decided)


def hold_keys(journal: Journal, line: str, phase: str = "hold") -> list[str]:
    key = programme_key("r", 1, line, phase)
    return [action.intent.key for action in journal.programme(key)]


def left_out(evidence: Evidence) -> set[str]:
    assert all(r.readout == "TEER" for r in evidence.readouts if r.qc == "fail")
    return {r.chip_id for r in evidence.readouts if UNEXPLAINED in r.reasons}


def test_what_the_hold_gave_until_the_reading_is_known_while_it_runs(journal: Journal) -> None:
    found = seen(journal)
    assert left_out(found) == set()
    for schedule in found.schedules.values():
        dose, hold = schedule.segments[-2:]
        assert hold.start_h == pytest.approx(END_H) and hold.end_h == pytest.approx(LATE_H)
        assert hold.drug_nm == 0.0 < dose.drug_nm
        assert hold.flow_rate_ul_h == pytest.approx(STUDY.perfusion.flow_rate_ul_h, rel=1e-6)
        assert hold.stimulus_ng_ml == pytest.approx(STUDY.arms_ng_ml["stimulus"])


def test_a_fit_made_again_once_the_counters_have_told_learns_from_the_same(
    journal: Journal,
) -> None:
    before = seen(journal)
    for line in LINES:
        for action in journal.programme(programme_key("r", 1, line, "hold")):
            counted_ul = action.intent.volume_ul + 0.4 * action.intent.resolution_ul
            journal.outcome(action.intent.key, END_H + HOLD_H, counted_ul, counted_ul)
    flow(journal, 1, "hold-2", 0.0, END_H + HOLD_H, END_H + 2 * HOLD_H, ends=False)
    assert seen(journal) == before


def test_where_no_reading_is_late_the_hold_is_no_part_of_it(journal: Journal) -> None:
    found = seen(journal, END_H)
    assert {s.segments[-1].end_h for s in found.schedules.values()} == {END_H}


def test_a_reading_under_the_second_hold_sees_both(journal: Journal) -> None:
    flow(journal, 1, "hold-2", 0.0, END_H + HOLD_H, END_H + 2 * HOLD_H, ends=False)
    found = seen(journal, END_H + HOLD_H + 1.0)
    assert left_out(found) == set()
    for schedule in found.schedules.values():
        assert [s.end_h for s in schedule.segments[-2:]] == pytest.approx(
            [END_H + HOLD_H, END_H + HOLD_H + 1.0]
        )


def silent(journal: Journal, key: str) -> None:
    journal.note("r", key, END_H + 0.9, "does not answer", silent=True)


def held(journal: Journal, key: str) -> None:
    journal.ambiguous(key, END_H + 2.0, "it stalled", 1.0)


def nobody_knows(journal: Journal, key: str) -> None:
    journal.ambiguous(key, END_H + 2.0, "it stalled", 1.0)
    journal.abandon(key, END_H + 3.0, "maria", "was unplugged", None)


@pytest.mark.parametrize("happens", [silent, held, nobody_knows])
def test_where_the_hold_itself_is_in_doubt_the_reading_is_left_out_and_says_why(
    journal: Journal, happens: Callable[[Journal, str], None]
) -> None:
    line = LINES[0]
    for key in hold_keys(journal, line):
        happens(journal, key)
    found = seen(journal)
    assert left_out(found) == set(STUDY.line(line).chips)
    # nor does a hold that runs well afterwards make what was before it known
    flow(journal, 1, "hold-2", 0.0, END_H + HOLD_H, END_H + 2 * HOLD_H, ends=False)
    assert left_out(seen(journal, END_H + HOLD_H + 1.0)) == set(STUDY.line(line).chips)


def test_a_reading_before_the_trouble_of_a_person_settled_hold_is_learned_from_again(
    journal: Journal,
) -> None:
    line = LINES[0]
    for key in hold_keys(journal, line):
        journal.ambiguous(key, END_H + 2.0, "it stalled", 1.0)
        volume_ul = next(
            a.intent.volume_ul
            for a in journal.programme(key.rsplit("/", 1)[0])
            if a.intent.key == key
        )
        journal.abandon(key, END_H + 2.0, "maria", "read its display", 0.5 * volume_ul)
    assert left_out(seen(journal)) == set()


def test_a_line_that_got_no_hold_is_left_out(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as opened:
        flow(opened, 0, "medium", 0.0, 0.0, STUDY.exposure_start_h(1))
        flow(opened, 1, "dose", 100.0, STUDY.exposure_start_h(1), END_H)
        assert left_out(seen(opened)) == set(STUDY.chip_ids)


def heard_again(journal: Journal, key: str) -> None:
    journal.note("r", key, END_H + 1.5, "answers again")


def stalled(journal: Journal, key: str) -> None:
    journal.ambiguous(key, END_H + 2.0, "it stalled", 1.0)


def stopped(journal: Journal, key: str) -> None:
    journal.note("r", key, END_H + 2.0, "was told to stop", stands=True)
    journal.outcome(key, END_H + 2.0, 100.0, 100.0)


def silent_since(journal: Journal, key: str) -> None:
    journal.note("r", key, END_H + 2.0, "does not answer", silent=True)


def test_a_pump_that_was_silent_at_the_first_fit_and_is_heard_since_stays_left_out(
    journal: Journal,
) -> None:
    line = LINES[0]
    for key in hold_keys(journal, line):
        silent(journal, key)
    first = seen(journal)
    assert left_out(first) == set(STUDY.line(line).chips)
    for key in hold_keys(journal, line):
        heard_again(journal, key)
    assert left_out(seen(journal)) == set()  # as the journal of today has it
    assert seen(journal, decided=first.holds) == first
    for key in hold_keys(journal, line):
        action = journal.action(key)
        assert action is not None
        journal.outcome(key, END_H + HOLD_H, action.intent.volume_ul, action.intent.volume_ul)
    assert seen(journal, decided=first.holds) == first


@pytest.mark.parametrize("happens", [stalled, stopped, silent_since])
def test_a_reading_that_was_taken_in_stays_whatever_becomes_of_the_hold(
    journal: Journal, happens: Callable[[Journal, str], None]
) -> None:
    first = seen(journal)
    assert left_out(first) == set()
    assert {r.chip_id for r in first.late} == set(STUDY.chip_ids)
    for key in hold_keys(journal, LINES[0]):
        happens(journal, key)
    assert seen(journal) != first  # as the journal of today has it
    assert seen(journal, decided=first.holds) == first


def test_what_a_person_tells_of_a_pump_goes_before_what_was_decided(journal: Journal) -> None:
    line = LINES[0]
    for key in hold_keys(journal, line):
        stalled(journal, key)
    first = seen(journal)
    assert left_out(first) == set(STUDY.line(line).chips)
    for key in hold_keys(journal, line):
        action = journal.action(key)
        assert action is not None
        journal.abandon(key, END_H + 2.0, "maria", "read it", 0.5 * action.intent.volume_ul)
    assert left_out(seen(journal, decided=first.holds)) == set()
    other = seen(journal)
    for key in hold_keys(journal, LINES[1]):
        nobody_knows(journal, key)
    assert left_out(seen(journal, decided=other.holds)) == set(STUDY.line(LINES[1]).chips)


def test_a_reading_after_all_that_were_decided_is_judged_by_what_is_known_today(
    journal: Journal,
) -> None:
    first = seen(journal)
    for key in hold_keys(journal, LINES[0]):
        silent_since(journal, key)
    assert left_out(seen(journal, LATE_H + 0.5, first.holds)) == set(STUDY.line(LINES[0]).chips)
