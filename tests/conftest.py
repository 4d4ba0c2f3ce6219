"""What every test may ask for, and what no test may inherit from the computer that it runs on.

Belongs here: fixtures of more than one folder, and how the suite treats missing shared data.
Not here: fixtures of one device, model or flow; those stand beside their tests.

The variable CHIPLOOP_SHARED_DATA=required (set by .ci/run where the folder exists) turns a skipped
test that asked for shared data into a failure: a suite that skips its references proves nothing.
CHIPLOOP_POSTGRESQL=required does so for tests that asked for a PostgreSQL server, CHIPLOOP_CHROMIUM=required
for those that asked for a browser.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from chiploop.report import chromium_pdf
from flows.prefect_server import PrefectServer, prefect_server
from flows.prefect_settings import HOST, prefect_environment
from tests import chromium as browsers
from tests.postgresql_server import PostgresqlServer, server_binaries

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


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL server of this test session alone."""
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("there is no PostgreSQL server here (`make test-setup` installs one)")
    server = PostgresqlServer(binaries)
    yield server
    server.close()


@pytest.fixture
def stoppable_server(postgresql_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """The same server for a test that stops it; it runs again afterwards."""
    yield postgresql_server
    postgresql_server.start()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def record_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a record that is not there yet, with its password: in a file, and on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{(tmp_path / 'record.sqlite').as_posix()}"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.new_database()


@pytest.fixture(scope="session")
def chromium_program() -> Path:
    """A browser of this computer that prints and can be driven: Chromium, Chrome or Edge."""
    found = chromium_pdf.browser()
    if found is None:
        pytest.skip("there is no Chromium here (`make test-setup` installs one)")
    return Path(found)


@pytest.fixture(scope="module")
def chromium(chromium_program: Path) -> Iterator[Any]:
    """That browser, started and without a page."""
    with browsers.started(chromium_program) as browser:
        yield browser


MARKS = {"postgresql_server": "postgres", "chromium_program": "browser"}
"""Fixture -> mark of every test that asks for it."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for a PostgreSQL server or a browser."""
    for item in items:
        for fixture in MARKS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKS[fixture])


REQUIRED = {
    "CHIPLOOP_SHARED_DATA": "shared data",
    "CHIPLOOP_POSTGRESQL": "a PostgreSQL server",
    "CHIPLOOP_CHROMIUM": "Chromium",
}
"""Variable -> what may not be missing where it says so."""


def asked_for(item: pytest.Item) -> set[str]:
    """Return the variables of what a test needs and another machine may lack."""
    asked = set()
    if "shared_data" in getattr(item, "fixturenames", ()):
        asked.add("CHIPLOOP_SHARED_DATA")
    for mark, name in (("postgres", "CHIPLOOP_POSTGRESQL"), ("browser", "CHIPLOOP_CHROMIUM")):
        if item.get_closest_marker(mark) is not None:
            asked.add(name)
    return asked


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    missed = [name for name in sorted(asked_for(item)) if os.environ.get(name) == "required"]
    if report.skipped and missed and not hasattr(report, "wasxfail"):
        what = " and ".join(REQUIRED[name] for name in missed)
        report.outcome = "failed"
        report.longrepr = f"skipped, but {what} is required here: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[PrefectServer]:
    """A running Prefect server for flows in this process; a whole command is run as its own."""
    with prefect_server(PREFECT_HOME) as server:
        yield server
