"""Fits of several runs through the Prefect flow: the same files as one by one, and nothing left behind.

Belongs here: whole processes with Prefect's server and Dask's workers. Not here: the command's words
(cli/test_fit), jobs without Prefect (test_fit_many).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.flows import fit_jobs
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.dask_cluster import PROJECT, dask_cluster
from tests.flows.run_checks import is_alive

pytestmark = pytest.mark.slow
LONGEST_S = 240.0
COMMAND = "import sys; from flows.cli.main import main; main()"
BUSY = """
import sys
from pathlib import Path
from flows.cli.fit import fit_jobs
from flows.fit_many import Job
from tests.flows import fit_jobs as jobs

folder = Path(sys.argv[1])
asked = [
    Job(name, jobs.busy, {"begun": str(folder / name), "seconds": 300.0}) for name in ("a", "b")
]
if __name__ == "__main__":
    try:
        fit_jobs(asked, 2, None, print)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture(scope="module")
def runs(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs."""
    folder = tmp_path_factory.mktemp("fit") / "runs"
    for seed in ("1", "2"):
        ended = warm.run("simulate", SMALL_STUDY, "--runs", folder, "--seed", seed, "--json")
        assert ended.code == 0, ended.err
    return folder


def fits(runs: Path, out: Path, *options: str, **variables: str) -> dict[str, bytes]:
    """Fit every run in a process of its own; return the files that it writes."""
    environment = {k: v for k, v in os.environ.items() if "PREFECT" not in k} | variables
    command = [sys.executable, "-c", COMMAND, "fit", "--all", "--runs", str(runs)]
    ended = subprocess.run(
        [*command, "--cycle", "1", "--out", str(out), *options],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert ended.returncode in (0, 6), ended.stderr
    said = [line for line in ended.stderr.splitlines() if "_sim_" not in line]
    assert said == [], ended.stderr
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def one_by_one(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files that one process writes."""
    found = fits(runs, tmp_path_factory.mktemp("one") / "out")
    assert len(found) == 4
    return found


def test_two_workers_write_the_files_of_one_bit_by_bit(
    runs: Path, one_by_one: dict[str, bytes], tmp_path: Path
) -> None:
    assert fits(runs, tmp_path / "out", "--workers", "2") == one_by_one


def test_a_cluster_named_by_the_variable_writes_the_same_files(
    runs: Path, one_by_one: dict[str, bytes], tmp_path: Path
) -> None:
    with dask_cluster(tmp_path, workers=3) as address:
        assert fits(runs, tmp_path / "out", CHIPLOOP_SCHEDULER=address) == one_by_one


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process whose two workers are in the middle of their jobs."""
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    environment = {k: v for k, v in os.environ.items() if "PREFECT" not in k}
    environment["PYTHONPATH"] = str(PROJECT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a terminal's Ctrl-C goes to the whole group; a suite in the background hands on an ignored one
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # type: ignore[arg-type]
    )
    until_s = time.monotonic() + LONGEST_S
    while not all((tmp_path / name).exists() for name in ("a", "b")):
        if process.poll() is not None or time.monotonic() > until_s:
            process.kill()
            pytest.fail(f"the workers did not begin: {process.communicate()[0]}")
        time.sleep(0.05)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.parametrize("how", ["ctrl-c", "kill -9"])
def test_nothing_listens_outside_loopback_and_nothing_is_left_however_it_ends(
    busy: subprocess.Popen[str], how: str
) -> None:
    tree = [psutil.Process(busy.pid), *psutil.Process(busy.pid).children(recursive=True)]
    assert len(tree) >= 4
    assert set().union(*map(fit_jobs.listened_at, tree)) == {"127.0.0.1"}
    if how == "ctrl-c":
        os.killpg(busy.pid, signal.SIGINT)
        printed, _ = busy.communicate(timeout=60.0)
        assert busy.returncode == 130, printed
        assert printed == ""
    else:
        busy.kill()
        busy.communicate(timeout=60.0)
    until_s = time.monotonic() + 30.0
    while left := [p.pid for p in tree if is_alive(p.pid)]:
        assert time.monotonic() < until_s, left
        time.sleep(0.05)
