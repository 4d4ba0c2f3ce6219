"""Commands for the tests of the flow: a warm start that forks them, and a small study.

Belongs here: fixtures. Not here: what a command must have done (run_checks).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.prefect_server import PrefectServer
from tests.flows.run_checks import is_alive

SMALL_STUDY = Path(__file__).with_name("small_study.yaml")
LONGEST_S = 90.0


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    """Negative where a signal ended it."""
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which is one JSON object and nothing else."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Running:
    """A command that was started and not waited for."""

    warm: Warm
    pid: int
    folder: Path

    def wait(self, timeout_s: float = LONGEST_S) -> Ended:
        """Return what came out; fails where it runs on after the time."""
        code = self.warm.ask(do="wait", pid=self.pid, timeout_s=timeout_s)["code"]
        if code is None:
            self.kill()
            self.warm.ask(do="wait", pid=self.pid, timeout_s=5.0)
            pytest.fail(f"the command runs on after {timeout_s:g} s:\n{self.text('err')}")
        return Ended(code, self.text("out"), self.text("err"))

    def text(self, stream: str) -> str:
        """Return what was written so far: ``out`` or ``err``."""
        with suppress(FileNotFoundError):
            return (self.folder / f"{self.pid}.{stream}").read_text(encoding="utf-8")
        return ""

    @property
    def ended(self) -> bool:
        """True once it is no more than a name that waits to be read."""
        return not is_alive(self.pid)

    def wait_until(self, said: str, timeout_s: float = LONGEST_S) -> None:
        """Return once the command has said something on standard error."""
        until_s = time.monotonic() + timeout_s
        while said not in self.text("err"):
            if time.monotonic() > until_s:
                pytest.fail(f"{said!r} was not said in {timeout_s:g} s:\n{self.text('err')}")
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self.send(signal.SIGKILL)


@dataclass(frozen=True)
class Warm:
    """The process that forks commands."""

    process: subprocess.Popen[str]
    folder: Path
    pids: list[int] = field(default_factory=list)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request; return the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def start(self, *arguments: str | Path, **environment: str | Path) -> Running:
        """Start a command and return at once."""
        told = {name: str(value) for name, value in environment.items()}
        pid = self.ask(
            do="start",
            arguments=[str(argument) for argument in arguments],
            environment={"NO_COLOR": "1", **told},
            folder=str(self.folder),
        )["pid"]
        return Running(self, pid, self.folder)

    def run(self, *arguments: str | Path, **environment: str | Path) -> Ended:
        """Carry out a command."""
        return self.start(*arguments, **environment).wait()


@pytest.fixture(scope="session")
def warm(prefect_api: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process that has loaded everything and forks chiploop commands."""
    if not hasattr(os, "fork"):
        pytest.skip("this system can not fork; the slow crash tests run whole processes")
    with warm_start(tmp_path_factory.mktemp("warm")) as process:
        yield process


@contextmanager
def warm_start(folder: Path) -> Iterator[Warm]:
    """Yield a process that has loaded everything and forks commands; a Prefect server must run already."""
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.flows.warm_chiploop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        ) as process,
    ):
        assert process.stdout is not None and process.stdin is not None
        ready = process.stdout.readline()
        assert ready, (folder / "log").read_text()
        yield Warm(process, folder)
        process.stdin.close()


def edited(study: Path, into: Path, changes: Sequence[tuple[str, str]]) -> Path:
    """Write a study with some of its text replaced; each must be there."""
    text = study.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = into / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path
