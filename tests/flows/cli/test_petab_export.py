"""``chiploop petab export`` and ``import`` as a person and as a program see them.

Belongs here: which run is meant, what is printed and written, exit codes. Not here: what stands in the files
(chiploop/models/test_petab_export, test_petab_import).

The run is written by hand (run_folder).
"""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.inference.prior import Prior
from chiploop.inference.target import Target
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.record.record import Record
from chiploop.refit import study_of
from flows.cli.main import command_line
from flows.cli.petab_export import problem_of_run
from flows.fit import case_of_run
from flows.opening import known_run
from tests.flows.cli.run_folder import run_by_hand
from tests.flows.conftest import SMALL_STUDY
from tests.flows.run_checks import only_run

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of two cycles."""
    runs = tmp_path_factory.mktemp("petab") / "runs"
    run_by_hand(runs)
    return runs


@pytest.fixture
def runs(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(original, tmp_path / "runs"))


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> Any:
    """Return what ``petab ... --json`` prints."""
    capsys.readouterr()
    got = command_line(["petab", *(str(argument) for argument in arguments), "--json"])
    printed = capsys.readouterr()
    assert got == code, printed.err
    return json.loads(printed.out)


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> str:
    """Return what ``petab ...`` prints for a person, on either stream."""
    capsys.readouterr()
    got = command_line(["petab", *(str(argument) for argument in arguments)])
    printed = capsys.readouterr()
    assert got == code, printed.err
    return " ".join((printed.out + printed.err).split())


def kept(runs: Path) -> dict[str, bytes]:
    """Return every file of the runs, the databases by what they hold."""
    found = {}
    for path in sorted(runs.rglob("*")):
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as database:
                found[str(path)] = "\n".join(database.iterdump()).encode()
        elif path.is_file() and path.suffix not in (".sqlite-shm", ".sqlite-wal"):
            found[str(path)] = path.read_bytes()
    return found


def test_a_run_leaves_as_a_problem_with_its_readouts_and_schedules(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, before = only_run(runs), kept(runs)
    out = tmp_path / "out"
    found = told(capsys, "export", run, "--out", out, "--runs", runs)
    assert (found["ok"], found["run"], found["cycle"], found["chips"]) == (True, run, 2, 2)
    assert sorted(found["files"]) == sorted(path.name for path in out.iterdir())
    with Record(f"sqlite:///{(runs / 'record.sqlite').as_posix()}", create=False) as record:
        readouts = record.readouts(run)
    exact = [r for r in readouts if r.qc != "fail" and r.censoring == "none"]
    assert found["measurements"] == len(exact) == 12
    assert (found["censored"], found["failed"]) == (1, 1)
    with (out / "measurements.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert sorted(float(row["measurement"]) for row in rows) == sorted(r.value for r in exact)
    assert kept(runs) == before


def test_the_problem_of_a_run_is_simulated_as_its_own_fit_does(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "out", known_run(only_run(runs), runs)
    told(capsys, "export", files.run_id, "--out", out, "--runs", runs)
    case = case_of_run(files, None, None)
    study = study_of(case.files)
    readouts = [r for evidence in case.evidence for r in evidence.readouts]
    likelihood = likelihood_of(study, case.evidence[-1].schedules, readouts)
    target = Target(likelihood, Prior.of_study(model_of(study), study))
    problem, _ = problem_of_run(files, None)
    z = 0.5 * np.random.default_rng(4).standard_normal(target.dims)
    values = tmp_path / "values.json"
    values.write_text(json.dumps(problem.values(z)), encoding="utf-8")
    found = told(capsys, "evaluate", out / "problem.yaml", "--parameters", values)
    assert found["engine"] == "chiploop"
    own = {}
    for readout, value in zip(likelihood.used, target.predicted(z[None])[0], strict=True):
        own[readout.chip_id, readout.time_h, readout.readout] = value
    titles = {one.name: one.title for one in problem.observables}
    assert found["simulations"]
    for row in found["simulations"]:
        key = (row["simulationConditionId"], row["time"], titles[row["observableId"]])
        # the run's own simulation has an rtol of 1e-4
        assert row["simulation"] == pytest.approx(own[key], rel=1e-3, abs=1e-4), key


def test_an_earlier_cycle_has_its_own_readouts_alone(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    whole = told(capsys, "export", run, "--out", tmp_path / "a", "--runs", runs)
    first = told(capsys, "export", run, "--out", tmp_path / "b", "--runs", runs, "--cycle", "1")
    assert first["cycle"] == 1 and first["measurements"] < whole["measurements"]
    assert told(
        capsys, "export", run, "--out", tmp_path / "c", "--runs", runs, "--cycle", "9", code=2
    )["error"]["message"].startswith("cycle 9 was asked")


def test_what_is_left_out_is_said_where_a_person_looks(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shown = said(capsys, "export", only_run(runs), "--out", out, "--runs", runs)
    assert "1 censored readout(s) left out, see censored.tsv (1 CCL26)" in shown
    assert "PEtab version 1 has no censoring" in shown
    assert '1 readout(s) with qc "fail" left out, see failed.tsv (1 TEER)' in shown
    assert "written:" in shown and "linter finds nothing wrong" in shown
    for name in ("censored.tsv", "failed.tsv"):
        with (out / name).open(encoding="utf-8", newline="") as file:
            assert len(list(csv.DictReader(file, delimiter="\t"))) == 1
    # the first cycle has neither
    again = said(
        capsys, "export", only_run(runs), "--out", out, "--runs", runs, "--cycle", "1", "--force"
    )
    assert "left out" not in again
    assert not (out / "censored.tsv").exists() and not (out / "failed.tsv").exists()


def test_a_study_file_stands_for_its_only_run(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    found = told(capsys, "export", SMALL_STUDY, "--out", tmp_path / "out", "--runs", runs)
    assert found["run"] == run
    shutil.copytree(runs / run, runs / f"{run}1")
    shown = said(capsys, "export", SMALL_STUDY, "--out", tmp_path / "b", "--runs", runs, code=2)
    assert f"it has 2 runs in {runs}: {run}, {run}1; name one of them" in shown
    empty = tmp_path / "none"
    shown = said(capsys, "export", SMALL_STUDY, "--out", tmp_path / "b", "--runs", empty, code=2)
    assert "it has no run in" in shown and "nothing to fit" in shown
    assert not (tmp_path / "b").exists()


def test_a_folder_with_something_in_it_is_written_over_only_where_that_is_asked(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    arguments = ("export", only_run(runs), "--out", out, "--runs", runs)
    assert "is not empty" in said(capsys, *arguments, code=2)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert told(capsys, *arguments, "--force")["ok"]
    assert (out / "thesis.txt").read_text(encoding="utf-8") == "mine"
    shown = said(capsys, "export", "x", "--out", out / "thesis.txt", code=2)
    assert "is a file; name a folder" in shown


def test_a_run_that_is_not_there_is_told_before_anything_is_written(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(capsys, "export", "none", "--out", tmp_path / "out", "--runs", runs, code=2)
    assert f"there is no run none in {runs}; there are: {only_run(runs)}" in shown
    assert not (tmp_path / "out").exists()


def test_the_model_of_a_run_comes_back_complete_and_is_not_written_over(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "export", only_run(runs), "--out", tmp_path / "out", "--runs", runs)
    problem, model = tmp_path / "out" / "problem.yaml", tmp_path / "model"
    found = told(capsys, "import", problem, "--out", model)
    assert (found["ok"], found["model"], found["complete"]) == (True, "skin_chip", True)
    assert [Path(name).name for name in found["files"]] == ["skin_chip.xml", "skin_chip.yaml"]
    assert command_line(["model", "show", str(model / "skin_chip.xml")]) == 0
    assert "is there already" in said(capsys, "import", problem, "--out", model, code=2)
    shown = said(capsys, "import", problem, "--out", model, "--name", "mine")
    assert "The model is complete: chiploop model show" in shown
    assert (model / "mine.yaml").read_text(encoding="utf-8").count("model: mine") == 1


def test_what_a_person_must_fill_in_is_listed(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "export", only_run(runs), "--out", tmp_path / "out", "--runs", runs)
    (tmp_path / "out" / "model_notes.json").unlink()
    problem = tmp_path / "out" / "problem.yaml"
    found = told(capsys, "import", problem, "--out", tmp_path / "model")
    assert found["complete"] is False and len(found["fill_in"]) >= 4
    shown = said(capsys, "import", problem, "--out", tmp_path / "again")
    assert "What a person must fill in, in skin_chip.yaml" in shown
    assert f"1. {found['fill_in'][0]}" in shown
    missing = said(capsys, "import", tmp_path / "none.yaml", "--out", tmp_path / "no", code=3)
    assert "can not be read" in missing and not (tmp_path / "no").exists()
