"""The suite's own rule about shared data, tried on a project of one test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def run_suite_of_one(folder: Path, shared_data_is: str) -> str:
    """Return what pytest prints for a project in `folder` whose one test reads shared data."""
    tests = folder / "project" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(PROJECT / "tests" / "conftest.py", tests)
    (tests / "test_one.py").write_text(
        "def test_one(shared_data):\n    assert shared_data.is_dir()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", str(tests)],
        cwd=folder / "project",
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "CHIPLOOP_SHARED_DATA": shared_data_is,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("shared_data_is", "closing_line"), [("", "1 skipped"), ("required", "1 error")]
)
def test_missing_shared_data_skips_with_a_notice_and_fails_where_required(
    tmp_path: Path, shared_data_is: str, closing_line: str
) -> None:
    printed = run_suite_of_one(tmp_path, shared_data_is)
    assert closing_line in printed.splitlines()[-1]
    assert "../shared/data" in printed


def test_shared_data_beside_the_project_is_found(tmp_path: Path) -> None:
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert "1 passed" in run_suite_of_one(tmp_path, "required")
