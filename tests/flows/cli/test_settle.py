"""A held action ends on a person's word, by name, with a volume or as unknown; nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.dosing import ChipSchedule, PumpProgramme, PumpStep
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of
from chiploop.record.turns import TurnAsked
from chiploop.study import load_study
from flows.cli.main import command_line
from flows.heartbeat import Heart
from flows.opening import RunFiles, new_run
from flows.run_owner import only_owner

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """A run whose pump L1-low is held and whose pump L2-low runs."""
    made = new_run(load_study(STUDY_FILE), tmp_path, 1, True, False)
    with Journal(made.journal) as journal:
        for line in ("L1", "L2"):
            key = programme_key(made.run_id, 1, line, "dose")
            step = PumpStep(f"{line}-low", "low", 144.0, 6912.0)
            programme = PumpProgramme(line, "dose", 480.0, 480.0, 48.0, (step,), 0.0, 1.0)
            own = action_key(key, step.pump)
            journal.intend(
                [
                    Intent(
                        key=own,
                        run_id=made.run_id,
                        programme_key=key,
                        pump=step.pump,
                        programme=programme,
                        flow_rate_ul_h=144.0,
                        volume_ul=6912.0,
                        counter_ul=0.0,
                        resolution_ul=1.0,
                        restarts=0,
                        session="one",
                        time_h=24.0,
                    )
                ]
            )
        held = action_key(programme_key(made.run_id, 1, "L1", "dose"), "L1-low")
        journal.ambiguous(held, 30.0, "it stalled", 500.0)
    return made


def schedules_of_run(files: RunFiles) -> dict[str, ChipSchedule]:
    """Return what every chip got, as the journal tells it."""
    with Journal(files.journal) as journal:
        return schedules_of(journal, files.study, files.run_id)


def settle(files: RunFiles, pump: str, delivered: str, *more: str) -> int:
    words = ["settle", files.run_id, "--pump", pump, "--delivered", delivered, *more]
    return command_line([*words, "--why", "read at the syringe", "--runs", str(files.runs)])


@pytest.mark.parametrize(("said", "volume_ul"), [("0.5 mL", 500.0), ("unknown", None)])
def test_a_held_action_ends_with_what_the_person_saw(
    files: RunFiles, said: str, volume_ul: float | None
) -> None:
    assert settle(files, "L1-low", said) == 0
    with Journal(files.journal) as journal:
        assert journal.held(files.run_id) == {}
        (action,) = (a for a in journal.actions(files.run_id) if a.intent.pump == "L1-low")
    assert action.end is not None and action.end.kind == "abandoned"
    assert action.end.body["delivered_ul"] == volume_ul
    assert action.end.body["reason"] == "read at the syringe"
    segments = schedules_of_run(files)["C01"].segments
    if volume_ul is None:
        assert segments == ()
    else:  # 500 uL of a 600 nM stock, shared by three chips, until it was held
        assert [(s.start_h, s.end_h, s.drug_nm) for s in segments] == [(24.0, 30.0, 600.0)]
        assert segments[0].flow_rate_ul_h == pytest.approx(500.0 / 6.0 / 3.0)
    assert settle(files, "L1-low", said) == 2  # nothing is held any more


def test_what_is_not_held_and_what_is_no_volume_are_refused(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settle(files, "L2-low", "1 mL") == 2
    assert "held pumps: L1-low" in capsys.readouterr().err
    assert settle(files, "L1-low", "1,5 mL") == 2
    with Journal(files.journal) as journal:
        assert set(journal.held(files.run_id)) == {"L1"}


def test_a_held_action_is_settled_while_the_run_goes_on(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_owner(files.folder), Heart(files.folder) as heart:
        heart.beat()
        assert settle(files, "L1-low", "0.5 mL") == 0
    assert "its line may go on at the next phase" in capsys.readouterr().out
    with Journal(files.journal) as journal:
        assert journal.held(files.run_id) == {}


def test_a_pump_that_has_not_said_that_it_stands_is_settled_on_a_persons_word_only(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    key = action_key(programme_key(files.run_id, 1, "L1", "dose"), "L1-low")
    with Journal(files.journal) as journal:
        journal.note(files.run_id, key, 30.0, "told to stop; no answer", stands=False)
        journal.note(files.run_id, "L2", 40.0, "the run went on")
    assert settle(files, "L1-low", "1440 uL") == 2
    assert "it MAY STILL RUN" in capsys.readouterr().err
    with Journal(files.journal) as journal:
        assert set(journal.held(files.run_id)) == {"L1"}
    assert settle(files, "L1-low", "1440 uL", "--stands-still") == 0
    with Journal(files.journal) as journal:
        action = journal.action(key)
        (note,) = (e for e in journal.events(key) if e.body.get("stands"))
    assert action is not None and not action.open and not action.may_run
    assert note.body["by"] and "read at the syringe" in note.body["text"]
    (segment,) = schedules_of_run(files)["C01"].segments  # 10 h at the pump's 144 uL/h, at least
    assert (segment.start_h, segment.end_h) == (24.0, 40.0)


def test_a_pump_that_stands_by_its_own_answer_needs_no_word_on_it(files: RunFiles) -> None:
    key = action_key(programme_key(files.run_id, 1, "L1", "dose"), "L1-low")
    with Journal(files.journal) as journal:
        journal.note(files.run_id, key, 30.0, "told to stop; no answer", stands=False)
        journal.note(files.run_id, key, 31.0, "stopped", stands=True)
    assert settle(files, "L1-low", "500 uL") == 0


@pytest.fixture
def doubtful(tmp_path: Path) -> RunFiles:
    """A run of which nobody knows where the valve of C04 stands."""
    study = load_study(STUDY_FILE.with_name("ad_jak_valves.yaml"))
    made = new_run(study, tmp_path, 1, True, False)
    key = f"{made.run_id}/c02/C04/turn"
    asked = TurnAsked(key, made.run_id, "C04", "C04", "L2", "L1", 2, ("L2", "L1"), 76.0)
    with Journal(made.journal) as journal:
        journal.turn(asked)
        journal.turn_unknown(key, 76.0, "it stalled")
    return made


def settle_valve(files: RunFiles, *words: str) -> int:
    more = ["--why", "seen at the valve", "--runs", str(files.runs)]
    return command_line(["settle", files.run_id, *words, *more])


def test_where_a_valve_stands_is_a_persons_word_and_frees_its_lines(
    doubtful: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settle_valve(doubtful, "--valve", "C04", "--at", "L1") == 0
    assert "valve at L1" in capsys.readouterr().out
    with Journal(doubtful.journal) as journal:
        assert journal.held(doubtful.run_id) == {}
        assert journal.connection(doubtful.run_id) == {"C04": "L1"}
        assert journal.events()[-1].body["by"]
    assert settle_valve(doubtful, "--valve", "C04", "--at", "L1") == 2  # nobody doubts it now


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--valve", "C04", "--at", "L3"), "has no port of line L3"),
        (("--valve", "C05", "--at", "L1"), "in doubt: C04"),
        (("--valve", "C04"), "settle what"),
        (("--valve", "C04", "--at", "L1", "--pump", "L1-high"), "settle what"),
        ((), "settle what"),
    ],
)
def test_a_word_on_a_valve_that_says_nothing_changes_nothing(
    doubtful: RunFiles,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert settle_valve(doubtful, *words) == 2
    assert message in capsys.readouterr().err
    with Journal(doubtful.journal) as journal:
        assert set(journal.held(doubtful.run_id)) == {"L1", "L2"}
