"""A run that is killed anywhere and resumed gives every dose once and ends as if nothing had happened.

The fault points come from the lists, so that a new point is tested without being named here. What
a warm start leaves out (the start itself, the Prefect server, the network) is seen on whole
processes at the end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.fault_points import FLOW_FAULT_POINTS
from instruments.fault_points import FAULT_POINTS
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import (
    alive_of,
    check_volumes,
    journal_of,
    only_run,
    pump_truth,
    science,
    wait_until_nobody_is_left,
)
from tests.flows.warm_chiploop import PASSAGES

PROJECT = Path(__file__).resolve().parents[2]
CHIPLOOP = (sys.executable, "-c", "from flows.cli.main import main; main()")
CONNECTION_WATCH = """
import os, socket, sys
def note(event, arguments):
    if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        line = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        line = str(arguments[0])
    else:
        return
    descriptor = os.open(os.environ["CONNECTIONS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (line + "\\n").encode())
    os.close(descriptor)
sys.addaudithook(note)
"""
"""Imported by every Python process as ``sitecustomize``: writes down whom it connects to."""

POINTS = (*FAULT_POINTS, *FLOW_FAULT_POINTS)
AFTER_SENT = "after_sent"
USUAL = ("after_intent", "after_start", "before_outcome", *FLOW_FAULT_POINTS)
"""Of the steps of one dose these three; the others are killed for every make of pump in
tests/instruments (test_kill_matrix, test_fault_matrix), and here by the slow tests."""
KILLED = -9


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody interrupted."""

    science: dict[str, Any]
    intents: int
    passages: Counter[str]
    """Fault point -> how often it is passed."""
    proven: tuple[int, ...]
    """Passages of ``after_sent`` at which the pump's counter stood above zero: there alone another
    process can know that a start command which left no answer was never carried out."""


@pytest.fixture(scope="module")
def undisturbed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run that every interrupted one must equal."""
    runs = tmp_path_factory.mktemp("undisturbed")
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, **{PASSAGES: runs / "passages"})
    assert ended.code == 0, ended.err
    passages = Counter((runs / "passages").read_text().split())
    run_id = only_run(runs)
    with journal_of(runs, run_id) as journal:
        sent = [journal.action(e.key) for e in journal.events() if e.kind == "sent"]
    proven = tuple(
        passage
        for passage, action in enumerate(sent, 1)
        if action is not None and action.intent.counter_ul >= action.intent.resolution_ul
    )
    return Undisturbed(science(runs, run_id), check_volumes(runs, run_id), passages, proven)


def kill_at(warm: Warm, place: str, runs: Path, *arguments: str | Path) -> None:
    """Carry out a command that must die at a fault point, and see that its lab ends with it."""
    ended = warm.run(*arguments, "--runs", runs, CHIPLOOP_FAULT=place)
    assert ended.code == KILLED, f"{place} was not reached: {ended.code}\n{ended.err}"
    wait_until_nobody_is_left(runs / only_run(runs))


def resume_to_the_end(warm: Warm, runs: Path, undisturbed: Undisturbed) -> None:
    """Resume the run, and hold it against the one that nobody interrupted."""
    run_id = only_run(runs)
    ended = warm.run("resume", run_id, "--runs", runs)
    assert ended.code == 0, ended.err
    wait_until_nobody_is_left(runs / run_id)
    assert check_volumes(runs, run_id) == undisturbed.intents
    assert science(runs, run_id) == undisturbed.science


def later(passages: int) -> int:
    """Return a passage in the middle of a run that a resumed one still meets."""
    return max(1, min(passages // 2 + 1, passages - 1))


def resume_to_a_held_line(warm: Warm, runs: Path) -> None:
    """Resume a run in which nobody can know whether a pump was started: its line waits for a person."""
    run_id = only_run(runs)
    ended = warm.run("resume", run_id, "--runs", runs)
    assert ended.code == 7, ended.err
    wait_until_nobody_is_left(runs / run_id)
    with journal_of(runs, run_id) as journal:
        assert "nothing proves" in " ".join(journal.held(run_id).values())
        intents = Counter(action.intent.pump for action in journal.actions(run_id))
    for pump, counted in pump_truth(runs / run_id).items():
        assert counted.starts <= intents[pump]


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in USUAL else pytest.mark.slow)
        for point in POINTS
        if point != AFTER_SENT
    ],
)
def test_killed_at_the_first_and_at_a_later_passage_the_study_finishes_as_if_undisturbed(
    point: str, warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert undisturbed.passages[point], f"the small study never passes {point}"
    kill_at(warm, point, tmp_path, "simulate", SMALL_STUDY)
    if undisturbed.passages[point] > 1:
        again = f"{point}@{later(undisturbed.passages[point])}"
        kill_at(warm, again, tmp_path, "resume", only_run(tmp_path))
    resume_to_the_end(warm, tmp_path, undisturbed)


def test_killed_right_before_a_start_goes_on_where_the_counter_proves_that_it_never_left(
    warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for passage in (undisturbed.proven[-1],):  # every one by the slow tests
        runs = tmp_path / str(passage)
        kill_at(warm, f"{AFTER_SENT}@{passage}", runs, "simulate", SMALL_STUDY)
        resume_to_the_end(warm, runs, undisturbed)


def test_killed_right_before_a_start_is_held_where_nothing_proves_that_it_never_left(
    warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert 1 not in undisturbed.proven
    kill_at(warm, AFTER_SENT, tmp_path, "simulate", SMALL_STUDY)
    resume_to_a_held_line(warm, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_passage_the_study_finishes_as_if_undisturbed(
    point: str, warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for passage in range(1, undisturbed.passages[point] + 1):
        runs = tmp_path / str(passage)
        kill_at(warm, f"{point}@{passage}", runs, "simulate", SMALL_STUDY)
        if point == AFTER_SENT and passage not in undisturbed.proven:
            resume_to_a_held_line(warm, runs)
        else:
            resume_to_the_end(warm, runs, undisturbed)


# --- whole processes


def watched(folder: Path) -> dict[str, str]:
    """Return an environment in which every connection is written into the folder."""
    (folder / "watch").mkdir(exist_ok=True)
    (folder / "watch" / "sitecustomize.py").write_text(CONNECTION_WATCH)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    path = os.pathsep.join([str(folder / "watch"), str(PROJECT)])
    return {**kept, "PYTHONPATH": path, "CONNECTIONS_LOG": str(folder / "connections.txt")}


def check_connections(folder: Path) -> None:
    """AssertionError where a process connected, or wanted to, to another computer."""
    seen = set((folder / "connections.txt").read_text().split())
    assert seen and seen <= {"127.0.0.1", "localhost", "::1", "None"}, seen


def finish(folder: Path, environment: dict[str, str], *arguments: str | Path) -> dict[str, Any]:
    """Carry out a command as a process of its own; return its JSON object."""
    done = subprocess.run(
        [*CHIPLOOP, *map(str, arguments), "--json"],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_simulate_and_its_lab_are_killed_together_and_the_study_finishes(tmp_path: Path) -> None:
    environment, runs = watched(tmp_path), tmp_path / "runs"
    with (tmp_path / "err").open("w") as err:
        command = [*CHIPLOOP, "simulate", str(SMALL_STUDY), "--runs", str(runs)]
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=err)
    until_s = time.monotonic() + 120.0
    while "fitting the model" not in (tmp_path / "err").read_text():
        assert process.poll() is None and time.monotonic() < until_s, (tmp_path / "err").read_text()
        time.sleep(0.01)
    assert "chiploop.steps" not in (tmp_path / "err").read_text(), "Prefect prints the log too"
    run_id = only_run(runs)
    family = {line.split(":")[0]: line for line in alive_of(runs / run_id)}
    (lab,) = [int(pid) for pid, line in family.items() if "lab_process" in line]
    assert any("prefect_server" in line for line in family.values())
    for pid in (lab, process.pid):
        os.kill(pid, signal.SIGKILL)
    assert process.wait() == KILLED
    wait_until_nobody_is_left(runs / run_id)
    told = finish(tmp_path, environment, "resume", run_id, "--runs", runs)
    assert (told["state"], len(told["cycles"])) == ("finished", 2)
    assert all(cycle["diagnostics"]["passed"] for cycle in told["cycles"])
    wait_until_nobody_is_left(runs / run_id)
    check_volumes(runs, run_id)
    check_connections(tmp_path)


@pytest.mark.slow
def test_a_computer_that_has_never_seen_chiploop_simulates_without_a_network(
    tmp_path: Path,
) -> None:
    kept = {k: v for k, v in watched(tmp_path).items() if not k.startswith("XDG_")}
    home = tmp_path / "home"
    home.mkdir()
    environment = {**kept, "HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    told = finish(tmp_path, environment, "simulate", SMALL_STUDY)
    assert told["state"] == "finished"
    check_connections(tmp_path)


NO_NETWORK = (
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "sh",
)
"""Begins a command in a network of its own that has loopback and nothing else; ``ip`` brings it up."""


def has_namespaces() -> bool:
    """Return whether this computer lets a user have a network of one's own."""
    try:
        tried = subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@pytest.mark.slow
def test_simulate_ends_where_there_is_no_network_at_all(tmp_path: Path) -> None:
    if not has_namespaces():
        pytest.skip("this computer gives users no network namespace (unshare --net, ip)")
    environment = watched(tmp_path)
    done = subprocess.run(
        [*NO_NETWORK, *CHIPLOOP, "simulate", str(SMALL_STUDY), "--json"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "finished"
    check_connections(tmp_path)


@pytest.mark.slow
def test_the_watch_sees_the_server_of_the_run_and_its_virtual_lab_too(tmp_path: Path) -> None:
    environment = watched(tmp_path)
    watch = tmp_path / "watch" / "sitecustomize.py"
    noted = 'open(os.environ["CONNECTIONS_LOG"] + ".processes", "a").write(" ".join(sys.orig_argv) + "\\n")\n'
    watch.write_text(CONNECTION_WATCH + noted)
    finish(tmp_path, environment, "simulate", SMALL_STUDY)
    seen = (tmp_path / "connections.txt.processes").read_text()
    assert "flows.prefect_server" in seen and "lab_process" in seen and "simulate" in seen
