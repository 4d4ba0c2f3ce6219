"""One intent and one end per key, on disk, unchangeable unseen, across processes."""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.actions import Intent, Moved, action_key, programme_key
from chiploop.record.chain import RecordBroken, RecordConflict, RecordUnreadable
from chiploop.record.journal import Journal, verify_journal

PROJECT = Path(__file__).parents[3]


def intent(pump: str = "low", cycle: int = 1, line: str = "L1", volume_ul: float = 100.0) -> Intent:
    name = f"{line}-{pump}"
    steps = (
        PumpStep(f"{line}-stimulus", "stimulus", 36.0, volume_ul),
        PumpStep(f"{line}-low", "low", 144.0, volume_ul),
    )
    key = programme_key("r", cycle, line, "dose")
    return Intent(
        key=action_key(key, name),
        run_id="r",
        programme_key=key,
        pump=name,
        programme=PumpProgramme(line, "dose", 480.0, 479.5, 10.0, steps, 0.0, 1.0),
        flow_rate_ul_h=10.0,
        volume_ul=volume_ul,
        counter_ul=0.0,
        resolution_ul=1.0,
        restarts=0,
        session="s",
        time_h=24.0,
    )


LOW, STIMULUS = intent("low"), intent("stimulus")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def run_through(journal: Journal, *intents: Intent, delivered_ul: float = 99.0) -> None:
    journal.intend(intents)
    for one in intents:
        journal.sent(one.key, 24.0)
        journal.started(one.key, 24.0, "answer")
        journal.outcome(one.key, 34.0, delivered_ul, delivered_ul)


def test_keys_are_the_same_every_time() -> None:
    assert LOW.key == "r/c01/L1/dose/L1-low"


def test_an_intent_comes_back_as_it_went_in(journal: Journal) -> None:
    journal.intend([STIMULUS, LOW])
    assert [action.intent for action in journal.programme("r/c01/L1/dose")] == [STIMULUS, LOW]
    assert journal.action("nothing") is None


def test_a_key_is_intended_once_and_a_programme_wholly_or_not_at_all(journal: Journal) -> None:
    journal.intend([LOW])
    with pytest.raises(RecordConflict, match="intended before"):
        journal.intend([STIMULUS, LOW])
    assert journal.action(STIMULUS.key) is None


def test_an_intent_ends_once_and_the_same_end_again_adds_nothing(journal: Journal) -> None:
    run_through(journal, LOW)
    count = len(journal.events())
    journal.outcome(LOW.key, 34.0, 99.0, 99.0)
    assert len(journal.events()) == count
    with pytest.raises(RecordConflict, match="ended before"):
        journal.abandon(LOW.key, 35.0, "lab", "spilled")
    with pytest.raises(RecordConflict, match="after its end"):
        journal.sent(LOW.key, 35.0)


@pytest.mark.parametrize("step", ["sent", "outcome"])
def test_nothing_is_recorded_about_a_key_without_an_intent(journal: Journal, step: str) -> None:
    with pytest.raises(RecordConflict, match="without an intent"):
        if step == "sent":
            journal.sent(LOW.key, 24.0)
        else:
            journal.outcome(LOW.key, 24.0, 1.0, 1.0)


def test_the_unique_indexes_hold_even_against_sql_from_outside(journal: Journal) -> None:
    run_through(journal, LOW)
    for kind in ("intent", "abandoned"):
        with (
            sqlite3.connect(journal.path) as db,
            pytest.raises(sqlite3.IntegrityError, match="UNIQUE"),
        ):
            db.execute(
                "INSERT INTO events VALUES(99, '', 'r', ?, ?, '{}', '', '')", (LOW.key, kind)
            )


@pytest.mark.parametrize("verb", ["UPDATE events SET body = '{}'", "DELETE FROM events"])
def test_rows_can_not_be_changed(journal: Journal, verb: str) -> None:
    journal.intend([LOW])
    with (
        sqlite3.connect(journal.path) as db,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        db.execute(verb)


def test_an_ambiguous_intent_holds_its_line_until_a_person_has_spoken(journal: Journal) -> None:
    journal.intend([LOW])
    journal.sent(LOW.key, 24.0)
    journal.ambiguous(LOW.key, 25.0, "counter went back", 0.0)
    assert journal.held("r") == {"L1": "L1-low: counter went back"}
    assert [action.intent.key for action in journal.open_on("L1-low")] == [LOW.key]
    journal.abandon(LOW.key, 26.0, "lab", "looked at the syringe", delivered_ul=40.0)
    assert journal.held("r") == {}
    assert journal.open_on("L1-low") == []
    assert journal.totals("r").delivered_ul == {"L1-low": 40.0}


def test_actions_of_some_lines_and_open_ones_are_those_of_all_without_the_others(
    journal: Journal,
) -> None:
    run_through(journal, intent("low"), intent("medium"))
    journal.intend([intent("low", line="L2")])
    journal.ambiguous(intent("low", line="L2").key, 1.0, "silent", None)
    run_id, every = intent().run_id, journal.actions(intent().run_id)
    assert [a.intent.programme.line for a in every] == ["L1", "L1", "L2"]
    assert journal.actions(run_id, ["L1"]) == every[:2] and journal.actions(run_id, []) == []
    assert journal.actions(run_id, ["L2", "L9"]) == every[2:]
    assert journal.open_actions(run_id) == every[2:] == journal.open_actions()
    assert journal.open_actions("another") == [] and journal.held("another") == {}
    assert list(journal.held(run_id)) == ["L2"]


def test_totals_count_what_was_measured_and_open_intents_in_full(journal: Journal) -> None:
    run_through(journal, LOW, STIMULUS)
    second = replace(intent("low", cycle=2), time_h=76.0)
    journal.intend([second])
    totals = journal.totals("r")
    assert totals.delivered_ul == {"L1-low": 199.0, "L1-stimulus": 99.0}
    assert totals.last_dose_end_h == {"L1": 86.0}
    assert totals.highest_dose_nm == 479.5
    assert journal.totals("r", without=second.programme_key).delivered_ul["L1-low"] == 99.0
    assert journal.totals("other").delivered_ul == {}


def test_a_dose_counts_as_delivered_once_every_pump_of_it_has_its_outcome(journal: Journal) -> None:
    journal.intend([LOW, STIMULUS])
    journal.sent(LOW.key, 24.0)
    journal.outcome(LOW.key, 34.0, 99.0, 99.0)
    assert journal.totals("r").highest_dose_nm is None


def test_a_refill_starts_the_syringe_anew_and_not_the_total(journal: Journal) -> None:
    run_through(journal, LOW)
    journal.refill("r", "L1-low", 60.0, "lab")
    run_through(journal, intent("low", cycle=2), delivered_ul=50.0)
    totals = journal.totals("r")
    assert totals.drawn_ul == {"L1-low": 50.0}
    assert totals.delivered_ul == {"L1-low": 149.0}


def test_the_state_survives_reopening(journal: Journal) -> None:
    run_through(journal, LOW)
    with Journal(journal.path) as again:
        assert again.events() == journal.events()
        assert again.verify().whole
        assert again.verify().rows == 4


def tamper(path: Path, *statements: str) -> None:
    """Change a journal as someone with the file at hand would."""
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER events_no_update")
        db.execute("DROP TRIGGER events_no_delete")
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE events SET body = replace(body, '99.0', '9.0') WHERE seq = 4", "edited"),
        ("UPDATE events SET at_utc = '2020-01-01' WHERE seq = 2", "edited"),
        ("DELETE FROM events WHERE seq = 2", "deleted"),
        ("DELETE FROM events WHERE seq = 4", "tail cut"),
        ("INSERT INTO events VALUES(5, '', 'r', 'k', 'note', '{}', 'x', 'y')", "edited"),
    ],
)
def test_tampering_is_found_and_named(journal: Journal, statement: str, kind: str) -> None:
    run_through(journal, LOW)
    tamper(journal.path, statement)
    faults = verify_journal(journal.path).faults
    assert kind in [fault.kind for fault in faults]
    assert "unprotected" in [fault.kind for fault in faults]


def test_a_journal_whose_tail_was_cut_takes_no_new_intent(journal: Journal) -> None:
    run_through(journal, LOW)
    tamper(journal.path, "DELETE FROM events WHERE seq = 4")
    with pytest.raises(RecordBroken, match="nothing is sent"):
        journal.intend([STIMULUS])


def test_checking_changes_nothing_and_a_missing_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordUnreadable, match="can not be read"):
        verify_journal(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database, at any rate not this one" * 100)
    with pytest.raises(RecordUnreadable):
        Journal(path)


def test_two_processes_add_to_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    script = (
        "import sys; from chiploop.record.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(25): journal.note('r', f'{sys.argv[2]}/{n}', 0.0, 'x')\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], cwd=PROJECT)
        for name in ("a", "b")
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    report = verify_journal(path)
    assert report.whole, report.faults
    assert report.rows == 50


def test_a_whole_copy_with_its_head_verifies(journal: Journal, tmp_path: Path) -> None:
    run_through(journal, LOW)
    journal.close()
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("journal.*"):
        shutil.copy(file, copy / file.name)
    assert verify_journal(copy / "journal.sqlite").whole


def test_a_pump_that_can_not_prove_its_power_comes_back_as_it_went_in(journal: Journal) -> None:
    silent = replace(LOW, restarts=None)
    journal.intend([silent])
    assert [action.intent for action in journal.programme("r/c01/L1/dose")] == [silent]


def test_every_volume_of_a_line_is_told_with_its_time_at_the_pumps_own_rate(
    journal: Journal,
) -> None:
    run_through(journal, LOW, STIMULUS)
    second = replace(intent("low", cycle=2), time_h=76.0)
    other = intent("low", line="L2")
    journal.intend([second, other])
    low = Moved("dose", 24.0, 33.9, 99.0, 34.0, "L1-low", cycle=1)
    stimulus = replace(low, pump="L1-stimulus")
    assert journal.totals("r").moved == {
        "L1": (low, stimulus, Moved("dose", 76.0, 86.0, 100.0, pump="L1-low", cycle=2)),
        "L2": (Moved("dose", 24.0, 34.0, 100.0, pump="L2-low", cycle=1),),
    }
    without = journal.totals("r", without=second.programme_key)
    assert without.moved["L1"] == (low, stimulus)
    assert journal.totals("other").moved == {}


@pytest.mark.parametrize(
    ("seen_ul", "counted"),
    [
        (None, Moved("dose", 25.0, 35.0, 100.0, 26.0, "L1-low", cycle=1)),
        (40.0, Moved("dose", 25.0, 29.0, 40.0, 26.0, "L1-low", cycle=1)),
    ],
)
def test_an_unexplained_volume_counts_in_full_and_a_persons_word_as_it_is(
    journal: Journal, seen_ul: float | None, counted: Moved
) -> None:
    journal.intend([LOW])
    journal.sent(LOW.key, 25.0)
    journal.ambiguous(LOW.key, 26.0, "counter went back", 0.0)
    open_yet = Moved("dose", 25.0, 35.0, 100.0, pump="L1-low", cycle=1)
    assert journal.totals("r").moved == {"L1": (open_yet,)}
    journal.abandon(LOW.key, 26.0, "lab", "looked at the syringe", delivered_ul=seen_ul)
    assert journal.totals("r").moved == {"L1": (counted,)}


def test_a_pump_that_was_told_to_stop_may_run_until_it_has_said_that_it_stands(
    journal: Journal,
) -> None:
    def told() -> tuple[bool, float | None, float]:
        action = journal.action(LOW.key)
        assert action is not None
        return action.may_run, action.stood_h, journal.totals("r").moved["L1"][0].stood_h

    journal.intend([LOW])
    journal.sent(LOW.key, 24.0)
    assert told() == (False, None, math.inf)
    journal.note("r", LOW.key, 26.0, "no answer", stands=False)
    assert told() == (True, None, math.inf)
    journal.note("r", LOW.key, 27.0, "stopped", stands=True)
    journal.note("r", LOW.key, 28.0, "no answer", stands=False)
    assert told() == (False, 27.0, 27.0)


def test_looks_that_met_silence_count_until_the_pump_answers(journal: Journal) -> None:
    def silent_h() -> tuple[float, ...]:
        action = journal.action(LOW.key)
        assert action is not None
        return action.silent_h

    journal.intend([LOW])
    journal.note("r", LOW.key, 25.0, "no answer", silent=True)
    journal.note("r", LOW.key, 25.5, "no answer", silent=True)
    assert silent_h() == (25.0, 25.5)
    journal.note("r", LOW.key, 26.0, "it answers again")
    assert silent_h() == ()
    journal.note("r", LOW.key, 27.0, "no answer", silent=True)
    assert silent_h() == (27.0,)


def test_what_has_flowed_by_a_time_is_its_share() -> None:
    whole = Moved("dose", 24.0, 34.0, 100.0)
    assert whole.until(29.0) == replace(whole, end_h=29.0, volume_ul=50.0)
    assert whole.until(20.0) == replace(whole, end_h=24.0, volume_ul=0.0)
    assert whole.until(40.0) == whole
