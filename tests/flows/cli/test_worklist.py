"""People see what is due by hand and say what they did; what can not have been so is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.cli.decide import os_login
from flows.cli.main import command_line
from flows.cli.worklist import time_of
from flows.hands import HAND, said_of
from flows.opening import RunFiles, new_run
from flows.telling import due_messages
from tests.flows.cli.run_folder import flow, readings
from tests.flows.conftest import SMALL_STUDY

NOW_H = 36.6


def lab_toml() -> str:
    """Return a bench for the small study."""
    lines = ['[buses.b]\nurl = "COM1"\n']
    sizes = {
        "medium": (26.72, 60),
        "stimulus": (26.72, 60),
        "low": (19.13, 20),
        "high": (19.13, 20),
    }
    pumps = [(line, role, *size) for line in ("L1", "L2") for role, size in sizes.items()]
    for address, (line, role, bore, volume) in enumerate(pumps):
        lines.append(
            f'[pumps.{line}-{role}]\nmake = "new_era_ne1000"\nbus = "b"\naddress = {address}\n'
            f"syringe_diameter_mm = {bore}\nsyringe_volume_ml = {volume}.0\nmin_flow_rate_ul_h = 3.0\n"
        )
    return "\n".join(lines)


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """A real run 36.6 h after its begin, whose first exposure went from 12 to 36 h."""
    made = new_run(load_study(SMALL_STUDY), tmp_path / "runs", 1, False, False)
    (made.folder / "lab.toml").write_text(lab_toml(), encoding="utf-8")
    begun = {"begun_unix_s": time.time() - 3600.0 * NOW_H}
    (made.folder / "clock.json").write_text(json.dumps(begun), encoding="utf-8")
    with Journal(made.journal) as journal:
        flow(journal, made.study, made.run_id, 1, "dose", (60.0, 240.0), 12.0, 36.0)
    with Record(f"sqlite:///{made.runs}/record.sqlite") as record:
        record.add_run(made.run_id, made.study, 1, False)
    return made


def types(files: RunFiles, verb: str, *words: str) -> int:
    return command_line([verb, files.run_id, *words, "--runs", str(files.runs)])


def said(files: RunFiles) -> Sequence[Any]:
    with Record(f"sqlite:///{files.runs}/record.sqlite") as record:
        return said_of(record, files.run_id)


def states(files: RunFiles, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert types(files, "worklist", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["time_h"] == pytest.approx(NOW_H, abs=0.05)
    return {task["task"]: task["state"] for task in told["tasks"]}


def test_the_worklist_says_what_is_due_late_and_still_to_come(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    now = states(files, capsys)
    assert now["c01/collect/L1"] == "late" and now["c01/plate/CCL26"] == "due"
    assert now["c02/collect/L1"] == "open"
    assert types(files, "worklist") == 0
    assert f"chiploop done {files.run_id} TASK" in capsys.readouterr().out


def test_what_was_done_is_kept_with_login_times_and_volumes(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", "24.5 h", "--at", "36.25 h", "--volume", "950uL", "--note", "one drop lost"]
    assert types(files, "done", "c01/collect", *words) == 0
    first, second = said(files)
    assert (first.task, second.task) == ("c01/collect/L1", "c01/collect/L2")
    assert (first.by, first.why) == (os_login(), "one drop lost")
    assert (first.from_h, first.at_h, first.volumes_ul) == (24.5, 36.25, {"C01": 950.0})
    assert second.volumes_ul == {"C02": 950.0}
    assert states(files, capsys)["c01/collect/L2"] == "done"
    assert types(files, "done", "c01/collect/L1", "--volume", "C01=1.1mL", "--at", "36.2 h") == 0
    assert said(files)[-1].volumes_ul == {"C01": 1100.0}  # corrected


def test_what_is_skipped_needs_its_reason_and_is_a_state_on_record(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert types(files, "skip", "c01/collect/L2") == 2
    assert types(files, "skip", "c01/collect/L2", "--why", " ") == 2
    assert types(files, "skip", "c01/collect/L2", "--why", "the tube fell", "--chip", "C01") == 2
    assert types(files, "skip", "c01/collect/L2", "--why", "the tube fell", "--chip", "C02") == 0
    assert states(files, capsys)["c01/collect/L2"] == "skipped"
    assert [one.why for one in said(files)] == ["the tube fell"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["c01/collect/L9"], "has no task c01/collect/L9"),
        (["c02/collect/L1"], "cycle 2 has not begun"),
        (["c01/collect/L1", "--at", "40 h"], "in the future"),
        (["c01/collect/L1", "--from", "11 h"], "the exposure began at 12 h"),
        (["c01/collect/L1", "--from", "30 h", "--at", "29 h"], "a collection ends after it begins"),
        (["c01/collect/L1", "--volume", "950"], "--volume 950"),
        (["c01/collect/L1", "--volume", "C02=950uL"], "collects of C01"),
        (["c01/plate/CCL26", "--volume", "950uL"], "collects of no chip"),
        (["c01/collect/L1", "--at", "yesterday"], "is no time"),
        (["c01/plate"], "several plates; one at a time"),
    ],
)
def test_what_can_not_have_been_so_is_refused_and_nothing_is_kept(
    words: list[str], why: str, files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert types(files, "done", *words) == 2
    assert why in capsys.readouterr().err
    assert said(files) == ()


def test_one_plate_at_a_time_stands_in_the_reader(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert types(files, "done", "c01/plate/CCL26") == 0
    assert types(files, "done", "c01/plate/viability") == 2
    assert "c01/plate/CCL26 stands in the reader" in capsys.readouterr().err


def test_what_readouts_rest_on_is_not_said_anew(
    files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    with Record(f"sqlite:///{files.runs}/record.sqlite") as record:
        record.add_readouts(files.run_id, [r for r in readings(files.study) if r.cycle == 1])
    assert states(files, capsys)["c01/collect/L1"] == "done"
    for verb, *more in (["done"], ["skip", "--why", "x"]):
        assert types(files, verb, "c01/collect/L1", *more) == 2
        assert "readouts rest on it" in capsys.readouterr().err


def test_a_simulated_run_has_no_hands_to_say_anything(
    tmp_path: Path, files: RunFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = files.folder / "run.json"
    facts.write_text(facts.read_text().replace('"simulated": false', '"simulated": true'))
    with Journal(files.folder / "journal.sqlite"):
        pass
    assert types(files, "done", "c01/collect/L1") == 2
    assert "virtual technician" in capsys.readouterr().err


def test_a_refill_counts_the_syringe_as_full(
    files: RunFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from chiploop.worklist import HandTask

    task = HandTask("refill/L1-stimulus", "refill", "refill it", 36.0, 38.0, pump="L1-stimulus")
    monkeypatch.setattr("flows.hands.refill_tasks", lambda *_: (task,))
    with Journal(files.journal) as journal:
        before = journal.totals(files.run_id).drawn_ul["L1-stimulus"]
    assert types(files, "skip", "refill/L1-stimulus", "--why", "x") == 2
    assert types(files, "done", "refill/L1-stimulus", "--at", "36.5 h") == 0
    with Journal(files.journal) as journal:
        after = journal.totals(files.run_id).drawn_ul.get("L1-stimulus", 0.0)
        assert journal.verify().faults == ()
    assert before > 1000.0 and after == 0.0


def test_people_are_told_what_is_due_in_one_message_for_all_lines(files: RunFiles) -> None:
    with (
        Record(f"sqlite:///{files.runs}/record.sqlite") as record,
        Journal(files.journal) as journal,
    ):
        found = {one.key: one for one in due_messages(files, record, journal)}
        assert record.events(files.run_id, HAND) == ()  # looking changes nothing
    assert sorted(found) == ["due/c01/plate/CCL26", "due/c01/plate/viability", "late/c01/collect"]
    assert "c01/collect/L1, c01/collect/L2" in found["late/c01/collect"].asked


def test_a_time_of_day_is_the_newest_that_is_not_in_the_future(files: RunFiles) -> None:
    here = time.localtime()
    now = f"{here.tm_hour:02d}:{here.tm_min:02d}"
    assert time_of(now, files, 36.6) == pytest.approx(36.6, abs=0.02)
    assert time_of("30.25 h", files, 36.6) == 30.25
    later = time.localtime(time.time() + 7200.0)
    text = f"{later.tm_hour:02d}:{later.tm_min:02d}"
    assert time_of(text, files, 36.6) == pytest.approx(36.6 - 22.0, abs=0.02)
