"""``chiploop timeline``: where Prefect's pages of a run are, and who keeps them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from chiploop.study import load_study
from flows.cli.main import command_line
from flows.opening import PREFECT_FOLDER, RunFiles, new_run
from flows.prefect_server import ADDRESS_NAME, PrefectServer, pages_address, tell_address
from tests.flows.conftest import SMALL_STUDY
from tests.flows.test_crash_and_resume import CHIPLOOP, PROJECT


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return new_run(load_study(SMALL_STUDY), tmp_path / "runs", 7, True, False)


def test_a_server_that_has_pages_is_named_one_without_is_not_and_a_dead_one_is_none(
    tmp_path: Path, prefect_api: PrefectServer
) -> None:
    assert pages_address(tmp_path) is None
    tell_address(tmp_path, prefect_api.port, True)
    assert pages_address(tmp_path) == f"http://127.0.0.1:{prefect_api.port}"
    tell_address(tmp_path, prefect_api.port, False)
    assert pages_address(tmp_path) == ""
    (tmp_path / ADDRESS_NAME).write_text(json.dumps({"process": 1, "port": 1, "pages": True}))
    assert pages_address(tmp_path) is None


def test_a_run_at_work_with_pages_is_named_and_no_server_is_started(
    files: RunFiles, prefect_api: PrefectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    home = files.folder / PREFECT_FOLDER
    home.mkdir()
    tell_address(home, prefect_api.port, True)
    assert command_line(["timeline", files.run_id, "--runs", str(files.runs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["url"] == f"http://127.0.0.1:{prefect_api.port}" and told["run"] == files.run_id


def test_a_run_that_has_not_begun_has_none(files: RunFiles) -> None:
    assert command_line(["timeline", files.run_id, "--runs", str(files.runs)]) == 2


@pytest.mark.slow
def test_pages_of_a_run_that_has_ended_are_served_until_ctrl_c(files: RunFiles) -> None:
    (files.folder / PREFECT_FOLDER).mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    process = subprocess.Popen(
        [*CHIPLOOP, "timeline", files.run_id, "--runs", str(files.runs)],
        env=environment | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith(f"SIMULATED  {files.run_id}: http://127.0.0.1:")
        with urllib.request.urlopen(said.split()[-1], timeout=30.0) as page:
            text = page.read().decode()
        assert page.status == 200 and "<html" in text.lower() and "prefect" in text.lower()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
