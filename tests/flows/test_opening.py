"""Run folders: made once, known by their id, owned by one process, and frozen against the study's file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chiploop.errors import FileNotValid, WrongUse
from chiploop.study import load_study
from flows.opening import RunFiles, known_run, new_run
from flows.run_owner import RunInUse, only_owner
from tests.flows.conftest import SMALL_STUDY

OWN_AND_DIE = """
import os, sys
from pathlib import Path
from flows.run_owner import only_owner
with only_owner(Path(sys.argv[1])):
    print(os.getpid(), flush=True)
    if sys.stdin.readline() == "die\\n":
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return new_run(load_study(SMALL_STUDY), tmp_path / "runs", 7, True, False)


def test_every_run_gets_a_folder_of_its_own(files: RunFiles, tmp_path: Path) -> None:
    other = new_run(files.study, tmp_path / "runs", 7, True, False)
    assert files.run_id.endswith("_small_sim_1")
    assert other.run_id.endswith("_small_sim_2")


def test_a_run_is_known_again_with_all_that_was_decided(files: RunFiles) -> None:
    assert known_run(files.run_id, files.runs) == files
    assert known_run(str(files.folder), Path("elsewhere")) == files


def test_a_study_file_that_changes_afterwards_changes_no_run(
    files: RunFiles, tmp_path: Path
) -> None:
    copy = tmp_path / "study.yaml"
    shutil.copyfile(SMALL_STUDY, copy)
    run = new_run(load_study(copy), tmp_path / "runs", 7, True, False)
    copy.write_text("gone")
    assert known_run(run.run_id, run.runs).study == run.study
    assert (run.folder / "study.yaml").read_bytes() == SMALL_STUDY.read_bytes()


def test_a_study_named_from_the_working_folder_is_found_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(SMALL_STUDY, tmp_path / "study.yaml")
    monkeypatch.chdir(tmp_path)
    run = new_run(load_study("study.yaml"), Path("runs"), 7, True, False)
    monkeypatch.chdir("/")
    assert Path(known_run(run.run_id, run.runs).study.source_path) == tmp_path / "study.yaml"


def test_an_unknown_run_is_wrong_use_and_those_there_are_are_named(files: RunFiles) -> None:
    for name in ("r9", "", "..", "."):
        with pytest.raises(WrongUse, match=files.run_id):
            known_run(name, files.runs)


@pytest.mark.parametrize("content", ["", "[]", '{"seed": 1}', "{"])
def test_damaged_facts_of_a_run_are_named(content: str, files: RunFiles) -> None:
    (files.folder / "run.json").write_text(content)
    with pytest.raises(FileNotValid, match="run.json"):
        known_run(files.run_id, files.runs)


def test_a_run_has_one_owner_who_is_named_and_whom_the_system_forgets_with_its_process(
    files: RunFiles,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWN_AND_DIE, str(files.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    ) as owner:
        assert owner.stdout is not None and owner.stdin is not None
        pid = owner.stdout.readline().strip()
        with pytest.raises(RunInUse, match=f"process {pid}"), only_owner(files.folder):
            pass
        owner.stdin.write("die\n")
        owner.stdin.flush()
        owner.wait()
    with only_owner(files.folder):
        pass
    with only_owner(files.folder):  # and it is given back on the way out
        pass
