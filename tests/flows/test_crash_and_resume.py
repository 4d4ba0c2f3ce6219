"""A run that is killed and resumed, as processes that are started by hand: what a warm start leaves out.

Belongs here: the start itself, the Prefect server, the network. Not here: where a run may be killed and what must
be as if nothing had happened (test_crash_matrix).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import SMALL_STUDY
from tests.flows.run_checks import (
    alive_of,
    check_volumes,
    only_run,
    wait_until_nobody_is_left,
)

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

KILLED = -9


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


@pytest.mark.slow
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
