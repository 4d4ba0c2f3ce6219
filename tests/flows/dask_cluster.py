"""A Dask cluster as others would run one: a scheduler and workers that know nothing of the test's process.

Belongs here: its start and its end. Not here: tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_S = 60.0


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[str]:
    """Yield the address of a scheduler on loopback whose workers have joined."""
    place = folder / "scheduler.json"
    environment = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    environment |= {"DASK_LOGGING__DISTRIBUTED": "critical", "CHIPLOOP_THREADS": "1"}
    options = ["--scheduler-file", str(place), "--host", "127.0.0.1", "--no-dashboard"]
    worker = ["dask_worker", *options, "--nthreads", "1", "--local-directory", str(folder)]
    processes = []
    try:
        for name, *given in [["dask_scheduler", *options, "--port", "0"], *[worker] * workers]:
            command = [sys.executable, "-m", f"distributed.cli.{name}", *given]
            with (folder / "log").open("ab") as log:
                processes.append(
                    subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
                )
            until_s = time.monotonic() + LONGEST_S
            while not place.exists():
                assert time.monotonic() < until_s, (folder / "log").read_text()
                time.sleep(0.05)
        address: str = json.loads(place.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=LONGEST_S)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(LONGEST_S)
