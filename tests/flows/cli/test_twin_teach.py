"""``chiploop twin teach`` at a terminal, from a file and from a pipe."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chiploop.twin.teaching import advice
from flows.cli.main import command_line

TEACH = ["twin", "teach", "--seed", "3", "--case", "4"]
WHOLE = [
    "tewl, flg",
    "",
    "dupilumab",
    "60",
    "",
    "dupilumab",
    "80%",
    "none",
    "dupilumab+topicals",
    "70",
]
RESEARCH = "Research use only; not for clinical decisions."
LONGEST_S = 120.0


@pytest.fixture(autouse=True)
def few_virtual_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the twin of a case have few virtual patients: what is asked here is what is said."""
    monkeypatch.setattr(advice, "VIRTUAL", 300)


class Pipe(io.StringIO):
    """Standard input that is no terminal."""

    def isatty(self) -> bool:
        return False


def piped(monkeypatch: pytest.MonkeyPatch, lines: Sequence[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe("".join(f"{line}\n" for line in lines)))


def test_file_pipe_and_options_give_the_same_case_as_text_and_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.txt"
    path.write_text("# what I would do\n" + "\n".join(WHOLE) + "\n")
    assert command_line([*TEACH, "--answers", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["finished"] and told["research_use_only"]
    assert told["answers"] == WHOLE
    piped(monkeypatch, WHOLE)
    assert command_line([*TEACH, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    options = [f"--answer={one}" for one in WHOLE]
    assert command_line([*TEACH, *options, "--show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert command_line([*TEACH, "--answers", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"Score {told['debrief']['score']['total']:.1f} of 100" in text
    assert text.count(RESEARCH) == 2
    assert "dupilumab, from week 8 dupilumab+topicals" in text
    for one in told["debrief"]["kept"]:
        assert f"  {one['name']:<29}" in text
    assert max(len(line) for line in text.splitlines()) <= 115


def test_what_can_not_be_taken_is_asked_again_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, ["blood", *WHOLE[:2], "aspirin", *WHOLE[2:3], "0.6", *WHOLE[3:]])
    assert command_line(TEACH) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "'blood' is no test; can be ordered now: tewl" in text
    assert "'aspirin' is no treatment; offered: emollient" in text
    assert "0.6 may be a share" in text and "Score" in text


def test_answers_that_end_too_early_say_where_and_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    piped(monkeypatch, WHOLE[:3])
    assert command_line(TEACH) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "at week 0 a probability is asked for" in said
    assert (
        "chiploop twin teach --seed 3 --case 4 --answer 'tewl, flg' --answer '' --answer dupilumab"
        in said
    )


def test_wrong_use_is_told_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line([*TEACH, "--show", "--answer", "blood"]) == 2
    assert "answer 1 can not be taken: 'blood' is no test" in capsys.readouterr().err
    assert command_line([*TEACH, "--answers", str(tmp_path / "no.txt")]) == 3
    assert command_line([*TEACH, "--answers", str(tmp_path)]) == 3
    (tmp_path / "big.txt").write_bytes(b"x" * 70_000)
    assert command_line([*TEACH, "--answers", str(tmp_path / "big.txt")]) == 3
    assert command_line(["twin", "teach", "--case", "0"]) == 2
    assert command_line(["twin", "teach", "--seed", "-1"]) == 2
    assert command_line([*TEACH, "--show", "--answers", "-"]) == 2


def test_the_list_tells_each_case_and_hides_its_truth(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["twin", "teach", "--list", "--seed", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["case"] for one in told["cases"]] == list(range(1, 13))
    assert all(set(one) == {"case", "history"} for one in told["cases"])
    assert command_line(["twin", "teach", "--list", "--seed", "3"]) == 0
    assert RESEARCH in capsys.readouterr().out


def test_show_tells_what_is_asked_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line([*TEACH, "--show", "--answer", "tewl"]) == 0
    text = capsys.readouterr().out
    assert "Asked now: Tests to order" in text and "TEWL" in text and "Score" not in text


@settings(max_examples=12, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(raw=st.binary(max_size=60) | st.lists(st.sampled_from([*WHOLE, "nan", "²"])).map(
    lambda lines: "\n".join(lines).encode()))  # fmt: skip
def test_no_file_of_answers_ends_in_a_bug(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "answers.bin"
    path.write_bytes(raw)
    assert command_line([*TEACH, "--answers", str(path)]) in (0, 2)
    assert "CL-100" not in capsys.readouterr().err


def test_a_person_at_a_terminal_is_asked_and_leaves_with_ctrl_c() -> None:
    command = [sys.executable, "-c", "from flows.cli.main import main; main()", *TEACH]
    ours, theirs = pty.openpty()
    # who runs the tests in the background may have them ignore Ctrl-C, and a child inherits that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            close_fds=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    os.close(theirs)
    try:
        seen = until(ours, "go on): ")
        os.write(ours, b"blood\n")
        seen += until(ours, "no test")
        os.write(ours, b"\n")
        seen += until(ours, "number): ")
        process.send_signal(signal.SIGINT)
        seen += until(ours, "To go on")
        assert process.wait(LONGEST_S) == 130
        assert "Traceback" not in seen and "--case 4 --answer ''" in " ".join(seen.split())
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def until(terminal: int, words: str) -> str:
    """Return what a terminal shows up to some words and a little more."""
    seen, end_s = "", time.monotonic() + LONGEST_S
    while words not in seen:
        assert time.monotonic() < end_s, seen
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096).decode("utf-8", "replace")
    while select.select([terminal], [], [], 0.3)[0]:
        try:
            more = os.read(terminal, 4096)
        except OSError:
            break
        if not more:
            break
        seen += more.decode("utf-8", "replace")
    return seen
