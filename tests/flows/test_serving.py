"""A schedule that is kept: it begins a recalibration by itself, says so, and ends when it is asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from flows.serving_place import facts
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import only_run
from tests.flows.test_crash_and_resume import CHIPLOOP, PROJECT

EVERY_MINUTE = "* * * * *"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_schedule_fits_an_open_run_at_its_time_and_ends_with_its_process(
    warm: Warm, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    killed = warm.run("simulate", SMALL_STUDY, "--runs", runs, CHIPLOOP_FAULT="posterior_written")
    assert killed.code == -9, killed.err
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "TZ": "UTC"}
    command = [*CHIPLOOP, "serve", "--recalibrate-at", EVERY_MINUTE, "--runs", str(runs)]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until_s = time.monotonic() + 400.0
        while (told := facts(runs)) is None or told["last"] is None:
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < until_s, (tmp_path / "out").read_text()
            time.sleep(0.2)
        assert told["process"] == process.pid and told["scheduled"] == f"by cron {EVERY_MINUTE}"
        (one,) = told["last"]["runs"]
        assert (one["run"], one["state"]) == (only_run(runs), "fitted")
        assert (Path(one["told"]) / "review.html").is_file()
        assert json.loads((Path(one["told"]) / "fit.json").read_text())["same_as_loop"] is False
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0, (tmp_path / "out").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    ended = facts(runs)
    assert ended is not None and ended["scheduled"] is None
