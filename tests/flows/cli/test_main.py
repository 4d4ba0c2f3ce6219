"""The command itself: quick help, exit codes, errors without tracebacks, one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from chiploop.errors import DoseNotFeasible, FitNotAccepted, InstrumentTrouble, WaitingForPerson
from flows.cli.main import VERBS, Verb, command_line

START = "import sys; from flows.cli.main import main; main()"
HEAVY = {
    "prefect",
    "matplotlib",
    "numba",
    "scipy",
    "numpy",
    "sqlalchemy",
    "pint",
    "pydantic",
    "rich",
}
MOST_CPU_S = 0.5


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys, time, typer\n"
        "from flows.cli.main import command_line\n"
        "assert command_line(['--help']) == 0\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), time.process_time())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    modules, cpu_s = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert HEAVY & set(json.loads(modules.replace("'", '"'))) == set()
    assert float(cpu_s) < MOST_CPU_S


def test_help_names_every_verb() -> None:
    shown = run("--help").stdout
    assert all(f"  {name}" in shown for name in VERBS)


def test_the_version_is_shown() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "chiploop")


def test_a_verb_with_a_typing_error_is_wrong_use_with_a_suggestion() -> None:
    done = run("chekc", "x.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "'check'" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["check"], ["check", "--nonsense", "x"]])
def test_wrong_use_leaves_with_2(arguments: list[str]) -> None:
    assert command_line(arguments) == 2


Failing = Callable[[Exception | type[BaseException]], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Failing:
    """Put a verb ``fail`` into the table that raises what it is given."""
    monkeypatch.setenv("CHIPLOOP_LOG", str(tmp_path / "logs" / "chiploop.log"))
    monkeypatch.setenv("NO_COLOR", "1")

    def put(error: Any) -> None:
        def fail(as_json: bool = typer.Option(False, "--json")) -> None:
            raise error

        monkeypatch.setitem(VERBS, "fail", Verb("Fail.", lambda: fail))

    return put


KINDS = [
    (InstrumentTrouble("pump L1-low is silent"), 4, "CL-400"),
    (DoseNotFeasible("too weak"), 5, "CL-510"),
    (FitNotAccepted("ESS 3"), 6, "CL-600"),
    (WaitingForPerson("decide"), 7, "CL-700"),
]


@pytest.mark.parametrize(("error", "exit_code", "code"), KINDS)
def test_trouble_is_told_on_standard_error_with_its_code_and_exit_code(
    failing: Failing,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    exit_code: int,
    code: str,
) -> None:
    failing(error)
    assert command_line(["fail"]) == exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"{code}: {error}\n"


@pytest.mark.parametrize(("error", "exit_code", "code"), KINDS)
def test_trouble_in_json_mode_is_one_object_on_standard_output(
    failing: Failing,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    exit_code: int,
    code: str,
) -> None:
    failing(error)
    assert command_line(["fail", "--json"]) == exit_code
    shown = capsys.readouterr()
    told = {"code": code, "exit_code": exit_code, "message": str(error)}
    assert json.loads(shown.out) == {"ok": False, "error": told}
    assert code in shown.err


def test_a_bug_shows_one_line_and_keeps_its_traceback_in_the_log(
    failing: Failing, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failing(KeyError("inside"))
    assert command_line(["fail"]) == 1
    shown = capsys.readouterr()
    log = tmp_path / "logs" / "chiploop.log"
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert "Traceback" not in shown.err
    assert str(log) in shown.err
    assert "KeyError: 'inside'" in log.read_text(encoding="utf-8")


def test_debug_shows_the_traceback_wherever_it_stands(
    failing: Failing, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(KeyError("inside"))
    for arguments in (["--debug", "fail"], ["fail", "--debug"]):
        assert command_line(arguments) == 1
        assert "Traceback" in capsys.readouterr().err


def test_a_bug_whose_log_can_not_be_written_is_still_told(
    failing: Failing,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHIPLOOP_LOG", str(tmp_path / "file" / "chiploop.log"))
    failing(KeyError("inside"))
    assert command_line(["fail"]) == 1
    assert "could not be written" in capsys.readouterr().err


def test_ctrl_c_leaves_with_130(failing: Failing) -> None:
    failing(KeyboardInterrupt)
    assert command_line(["fail"]) == 130


def test_wrong_use_in_json_mode_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["check", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "CL-200"


def test_colour_is_for_terminals_and_no_color_is_heeded(tmp_path: Path) -> None:
    assert "\x1b" not in run("check", str(tmp_path / "none.yaml"), NO_COLOR="1").stdout
    assert "\x1b" not in run("check", str(tmp_path / "none.yaml"), NO_COLOR="").stdout
