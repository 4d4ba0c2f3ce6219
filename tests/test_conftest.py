"""The suite's own rule about what a machine may lack, tried on a project of two tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


WITHOUT_SERVER_OR_BROWSER = """
import pytest

@pytest.fixture(scope="session")
def postgresql_server():
    pytest.skip("no server here")

def test_two(postgresql_server):
    assert False

@pytest.fixture(scope="session")
def chromium_program():
    pytest.skip("no browser here")

def test_three(chromium):
    assert False
"""


def run_suite_of_one(folder: Path, shared_data_is: str, more: str = "") -> str:
    """Return what pytest prints for a project in `folder` whose tests read shared data, and do what ``more`` says.

    ``shared_data_is`` is also what is said of a server and of a browser.
    """
    tests = folder / "project" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(PROJECT / "tests" / "conftest.py", tests)
    (tests / "test_one.py").write_text(
        "def test_one(shared_data):\n    assert shared_data.is_dir()\n" + more
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", str(tests)],
        cwd=folder / "project",
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "CHIPLOOP_SHARED_DATA": shared_data_is,
            "CHIPLOOP_POSTGRESQL": shared_data_is,
            "CHIPLOOP_CHROMIUM": shared_data_is,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("shared_data_is", "closing_line"), [("", "3 skipped"), ("required", "3 errors")]
)
def test_missing_data_server_or_browser_skips_with_a_notice_and_fails_where_required(
    tmp_path: Path, shared_data_is: str, closing_line: str
) -> None:
    printed = run_suite_of_one(tmp_path, shared_data_is, WITHOUT_SERVER_OR_BROWSER)
    assert closing_line in printed.splitlines()[-1]
    assert "../shared/data" in printed and "no server here" in printed
    assert "no browser here" in printed


def test_shared_data_beside_the_project_is_found(tmp_path: Path) -> None:
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert "1 passed" in run_suite_of_one(tmp_path, "required")
