"""What every test may ask for, and what no test may inherit from the computer that it runs on.

Belongs here: fixtures of more than one folder, and how the suite treats missing shared data.
Not here: fixtures of one device, model or flow; those stand beside their tests.

The variable CHIPLOOP_SHARED_DATA=required (set by .ci/run where the folder exists) turns a skipped
test that asked for shared data into a failure: a suite that skips its references proves nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from flows.prefect_server import PrefectServer, prefect_server
from flows.prefect_settings import HOST, prefect_environment

PROJECT = Path(__file__).resolve().parents[1]
SHARED_DATA = PROJECT.parent / "shared" / "data"
PREFECT_HOME = Path(tempfile.mkdtemp(prefix="chiploop-tests-"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _keep_prefect_private() -> None:
    """Point Prefect away from the user's settings and server, before a test file imports it."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        del os.environ[name]
    os.environ.update(prefect_environment(PREFECT_HOME, _free_port()))


_keep_prefect_private()
os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # as the command line sets it, before numpy is loaded
settings.register_profile("untimed", deadline=None)  # no test here is timed
settings.load_profile("untimed")


def pytest_unconfigure() -> None:
    shutil.rmtree(PREFECT_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of reference data made by others, beside the project; never copied into it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            "shared data is not beside this checkout (../shared/data); nothing was compared"
        )
    return SHARED_DATA


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    asked_for_data = "shared_data" in getattr(item, "fixturenames", ())
    is_required = os.environ.get("CHIPLOOP_SHARED_DATA") == "required"
    if report.skipped and asked_for_data and is_required and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but shared data is required here: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[PrefectServer]:
    """A running Prefect server for flows in this process; a whole command is run as its own."""
    with prefect_server(PREFECT_HOME) as server:
        yield server
