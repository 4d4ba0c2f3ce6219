"""Prefect's server dies or hangs in mid-campaign: doses begin when they would have, the run ends the same."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from flows.prefect_keeper import Keeper
from tests.flows.conftest import SMALL_STUDY, edited
from tests.flows.run_checks import (
    alive_of,
    check_volumes,
    journal_of,
    only_run,
    science,
    wait_until_nobody_is_left,
)
from tests.flows.test_crash_and_resume import CHIPLOOP, PROJECT

AWAY_S = 30.0
"""The server is away for at least so long while the run has work to do."""


def begins(runs: Path, run_id: str) -> dict[str, float]:
    """Return for every pump's part of a programme the study time at which it was begun."""
    with journal_of(runs, run_id) as journal:
        return {e.key: float(e.body["time_h"]) for e in journal.events() if e.kind == "sent"}


def servers(folder: Path) -> list[int]:
    """Return the Prefect servers of a run."""
    return [int(line.split(":")[0]) for line in alive_of(folder) if "prefect_server" in line]


@contextmanager
def killed_again_and_again(folder: Path) -> Iterator[None]:
    """Kill every server of the run for the length of a ``with`` block, also those that follow."""
    ends = threading.Event()

    def kill() -> None:
        while not ends.wait(0.1):
            for pid in servers(folder):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


@contextmanager
def hanging(folder: Path) -> Iterator[None]:
    """Let the run's server hang for the length of a ``with`` block: it takes what comes and answers nothing."""
    (pid,) = servers(folder)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # ended with the run
            os.kill(pid, signal.SIGCONT)


@contextmanager
def undisturbed(folder: Path) -> Iterator[None]:
    """Leave the run alone."""
    yield


def carried_out(folder: Path, trouble: Callable[[Path], object], lasts: bool) -> tuple[Path, str]:
    """Carry out a study with trouble from the middle of its first dose on, to its end or for a while.

    The next doses are approved half a minute later, so that the server is away while much is asked and told.
    """
    folder.mkdir()
    study = edited(SMALL_STUDY, folder, [("by: auto", "by: person")])
    runs, errors = folder / "runs", folder / "err"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(PROJECT), "NO_COLOR": "1"}

    def command(*arguments: str | Path) -> list[str]:
        return [*CHIPLOOP, *map(str, arguments), "--runs", str(runs)]

    def said(what: str, times: int = 1) -> None:
        until_s = time.monotonic() + 180.0
        while errors.read_text().count(what) < times:
            assert process.poll() is None and time.monotonic() < until_s, errors.read_text()
            time.sleep(0.01)

    def approve() -> None:
        subprocess.run(
            command("approve", only_run(runs), "--why", "as planned"),
            env=environment, cwd=folder, check=True, capture_output=True,
        )  # fmt: skip

    with errors.open("w") as err:
        process = subprocess.Popen(
            command("simulate", study),
            env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=err,
        )  # fmt: skip
    try:
        said("WAITING FOR A PERSON")
        approve()
        said("dosing L1")
        run_folder = runs / only_run(runs)
        with trouble(run_folder):  # type: ignore[attr-defined]
            said("WAITING FOR A PERSON", 2)
            if trouble is not undisturbed:
                time.sleep(AWAY_S)
            approve()
            said("dosing", 2)
            if lasts:
                assert process.wait(timeout=240) == 0, errors.read_text()
        assert process.wait(timeout=240) == 0, errors.read_text()
    finally:
        process.kill()
        process.wait()
    wait_until_nobody_is_left(run_folder)
    return runs, run_folder.name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run whose server nobody touched."""
    return carried_out(tmp_path_factory.mktemp("alone") / "run", undisturbed, lasts=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("trouble", "lasts"), [(killed_again_and_again, True), (hanging, True), (killed_again_and_again, False)]
)  # fmt: skip
def test_a_server_that_dies_or_hangs_delays_no_dose_and_changes_nothing_on_record(
    trouble: Callable[[Path], object], lasts: bool, alone: tuple[Path, str], tmp_path: Path
) -> None:
    runs, run_id = carried_out(tmp_path / "run", trouble, lasts)
    assert begins(runs, run_id) == begins(*alone)
    assert check_volumes(runs, run_id) == check_volumes(*alone)
    assert science(runs, run_id) == science(*alone)
    log = (runs / run_id / "run.log").read_text()
    assert ("server is gone" in log) == (trouble is killed_again_and_again)


class Mortal:
    """A server that dies and comes back when it is started."""

    def __init__(self) -> None:
        self.is_gone, self.started = False, 0

    def start_again(self) -> bool:
        self.started += 1
        self.is_gone = self.started < 3
        return not self.is_gone


def test_a_server_that_died_is_started_until_it_lives_and_not_while_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.prefect_keeper.LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("flows.prefect_keeper.FIRST_WAIT_S", 0.001)
    server = Mortal()
    keeper = Keeper(server)
    keeper.start()
    time.sleep(0.05)
    assert server.started == 0
    server.is_gone = True
    until_s = time.monotonic() + 10.0
    while server.is_gone and time.monotonic() < until_s:
        time.sleep(0.001)
    keeper.stop()
    assert server.started == 3
