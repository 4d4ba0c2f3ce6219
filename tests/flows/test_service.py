"""A run in a process of its own: it outlives who started it, and says how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows import service
from flows.heartbeat import Beat
from flows.service import Ended, ServiceEnded, how_it_ended, start_service
from tests.flows.conftest import SMALL_STUDY, edited


class Started:
    """A process that a test plays."""

    pid = 4711

    def __init__(self, returncode: int | None) -> None:
        self.returncode = returncode

    def poll(self) -> int | None:
        return self.returncode


def play(monkeypatch: pytest.MonkeyPatch, process: Started, *doing: str) -> list[list[str]]:
    """Let ``start_service`` start this process, whose heart tells these steps one after the other."""
    asked: list[list[str]] = []
    told = iter(doing)

    def popen(command: list[str], **more: Any) -> Started:
        assert more["start_new_session"] and more["stdin"] is subprocess.DEVNULL
        asked.append(command)
        return process

    def beat(folder: Path) -> Beat | None:
        step = next(told, None)
        return None if step is None else Beat(process.pid, 0.0, 0.0, 0.0, 0.0, 0.0, 0, step)

    monkeypatch.setattr(service.subprocess, "Popen", popen)
    monkeypatch.setattr(service, "last_beat", beat)
    monkeypatch.setattr(service.time, "sleep", lambda _: None)
    return asked


def test_a_service_is_started_once_everything_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, Started(None), "starting: model", "starting: model", "medium")
    assert start_service(tmp_path) == 4711
    assert asked == [[sys.executable, "-P", "-m", "flows.service", str(tmp_path)]]


def test_a_service_that_ends_before_tells_what_it_said_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, Started(4))
    (tmp_path / service.LOG_NAME).write_text("CL-401: of an earlier one\n")
    monkeypatch.setattr(service, "log_end", lambda folder, begin: f"from {begin}")
    with pytest.raises(ServiceEnded, match="from 26") as met:
        start_service(tmp_path)
    assert met.value.exit_code == 4


def test_a_service_that_shows_no_step_in_time_is_told_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, Started(None))
    monkeypatch.setattr(service, "START_BUDGET_S", 0.01)
    with pytest.raises(ServiceEnded, match="process 4711 .* has not opened everything .* goes on"):
        start_service(tmp_path)


def test_how_it_ended_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    assert how_it_ended(tmp_path) is None
    (tmp_path / service.ENDED_NAME).write_text('{"exit_code": 7')
    assert how_it_ended(tmp_path) is None
    (tmp_path / service.ENDED_NAME).write_text('{"exit_code": 7, "said": "held"}')
    assert how_it_ended(tmp_path) == Ended(7, "held")


@pytest.mark.slow
def test_a_detached_run_outlives_its_command_and_is_approved_from_outside(tmp_path: Path) -> None:
    study = edited(SMALL_STUDY, tmp_path, [("by: auto", "by: person")])
    runs = tmp_path / "runs"

    def chiploop(*words: str, code: int | None = 0) -> dict[str, Any]:
        run_it = "from flows.cli.main import main; main()"
        command = [sys.executable, "-c", run_it, *words, "--runs", str(runs), "--json"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
        told = json.loads(ended.stdout)
        assert "error" not in told, (words, told)
        assert code is None or ended.returncode == code, ended.stderr
        return dict(told)

    begun = chiploop("simulate", str(study), "--detach")
    run, process = begun["run"], begun["process"]
    os.kill(process, 0)
    for _ in range(2):
        until_s = time.monotonic() + 200.0
        while (now := chiploop("status", run, code=None)["runs"][0])["proposal"] is None:
            assert now["state"] == "running" and time.monotonic() < until_s, now
            time.sleep(0.5)
        chiploop("approve", run)
    until_s = time.monotonic() + 200.0
    while (now := chiploop("status", run, code=None)["runs"][0])["process"] is not None:
        assert time.monotonic() < until_s, now
        time.sleep(0.5)
    assert now["state"] == "finished"
    ended = how_it_ended(runs / run)
    assert ended is not None and ended.exit_code == 0
