"""``chiploop fit`` as a person and as a program see it.

Belongs here: what is printed and written, exit codes, runs that can not be fitted. Not here: workers
(test_fit_many), Prefect (flows/test_fit), what a case holds (chiploop/test_refit).

The small study is simulated once, with fits that hardly look; the command fits in the same way.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop import campaign as loop
from chiploop.models.facts import MODELS, facts_path
from chiploop.record.posterior_file import read_posterior
from flows import fit_many as many
from flows.cli.fit import exit_code, scheduler_of
from flows.cli.main import command_line
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import only_run
from tests.flows.warm_chiploop import quick_recalibrate

CYCLES = 2
KB = re.compile(r"kB: +{kind: lognormal, median: ([0-9.e]+)")


@pytest.fixture(scope="module")
def original(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run."""
    runs = tmp_path_factory.mktemp("fit") / "runs"
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, "--json")
    assert ended.code == 0, ended.err
    return runs


@pytest.fixture
def runs(original: Path, tmp_path: Path) -> Path:
    """A copy of it, to be fitted and damaged."""
    copy = tmp_path / "runs"
    shutil.copytree(original, copy)
    return copy


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "recalibrate", quick_recalibrate)


def fitted(
    capsys: pytest.CaptureFixture[str], runs: Path, *arguments: str, code: int = 0
) -> dict[str, Any]:
    """Return what ``fit --json`` prints, without a review unless the arguments ask for one."""
    capsys.readouterr()
    wanted = () if {"--review", "--against"} & set(arguments) else ("--no-review",)
    got = command_line(["fit", *arguments, *wanted, "--runs", str(runs), "--json"])
    printed = capsys.readouterr()
    assert got == code, printed.err
    told: dict[str, Any] = json.loads(printed.out)
    return told


def what_is_kept(runs: Path) -> dict[str, str]:
    """Return a digest of every row of record and journal, and of every other file but those of fits."""
    found = {}
    for path in sorted(runs.rglob("*")):
        if not path.is_file() or path.suffix in (".sqlite-shm", ".sqlite-wal"):
            continue
        name = str(path.relative_to(runs))
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as database:
                content = "\n".join(database.iterdump()).encode()
        else:
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
    return {name: digest for name, digest in found.items() if "/fit/" not in name}


@pytest.mark.parametrize("cycle", [1, 2])
def test_a_fit_finds_the_posterior_of_the_loop_to_the_last_bit(
    runs: Path, cycle: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    told = fitted(capsys, runs, run, "--cycle", str(cycle))
    assert told["same_as_loop"] is True
    own, own_info = read_posterior(runs / run / f"cal-{cycle:02d}" / "posterior.nc")
    folder = runs / run / "fit" / f"c{cycle:02d}-seed1"
    again, info = read_posterior(folder / "posterior.nc")
    for part in ("particles", "standard", "mode"):
        assert getattr(own, part).tobytes() == getattr(again, part).tobytes()
    assert info == own_info
    assert json.loads((folder / "fit.json").read_text()) == told


def test_posteriors_of_the_loop_that_are_gone_are_found_again(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    own, _ = read_posterior(runs / run / "cal-02" / "posterior.nc")
    shutil.rmtree(runs / run / "cal-01")
    shutil.rmtree(runs / run / "cal-02")
    assert fitted(capsys, runs, run)["same_as_loop"] is None
    again, _ = read_posterior(runs / run / "fit" / "c02-seed1" / "posterior.nc")
    assert own.particles.tobytes() == again.particles.tobytes()


def test_a_posterior_that_differs_from_the_loops_is_told(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    shutil.copyfile(runs / run / "cal-01" / "posterior.nc", runs / run / "cal-02" / "posterior.nc")
    assert fitted(capsys, runs, run)["same_as_loop"] is False
    assert command_line(["fit", run, "--runs", str(runs)]) == 0
    assert "NOT the loop's own posterior" in capsys.readouterr().out


def test_the_json_of_a_fit_holds_what_programs_rely_on(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    told = fitted(capsys, runs, run)
    assert (told["ok"], told["run"], told["cycle"], told["passed"]) == (True, run, CYCLES, True)
    assert told["simulated"] is True and told["seed"] == 1
    assert told["failures"] == [] and isinstance(told["warnings"], list)
    assert {frozenset(one) for one in told["parameters"].values()} == {
        frozenset(("unit", "median", "lower", "upper", "prior_lower", "prior_upper", "shrinkage"))
    }
    with (runs / run / "study.json").open() as study:
        assert list(told["goals"]) == [goal["name"] for goal in json.load(study)["goals"]]
    for goal in told["goals"].values():
        assert goal["lower"] <= goal["median"] <= goal["upper"]
    assert told["diagnostics"]["passed"] is True
    assert told["diagnostics"]["limits"]["ess"] > 0
    assert told["readouts"]["used"] == told["diagnostics"]["n_readouts"]


def test_another_seed_gives_another_posterior_beside_the_first(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    own = fitted(capsys, runs, run)
    other = fitted(capsys, runs, run, "--seed", "5")
    assert other["seed"] == 5 and other["same_as_loop"] is None
    assert own["goals"] != other["goals"]
    assert {p.name for p in (runs / run / "fit").iterdir()} == {"c02-seed1", "c02-seed5"}


def test_a_fit_changes_nothing_of_the_run_and_a_second_one_writes_the_same(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    before = what_is_kept(runs)
    fitted(capsys, runs, run)
    folder = runs / run / "fit" / "c02-seed1"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    fitted(capsys, runs, run)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert set(first) == {"posterior.nc", "fit.json"}
    assert what_is_kept(runs) == before
    assert len(before) > 20


def test_a_fit_that_fails_its_diagnostics_is_written_and_leaves_with_6(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any) -> Any:
        posterior, info = quick_recalibrate(*arguments)
        return posterior, replace(info, passed=False, failures=("7 effective particles",))

    monkeypatch.setattr(loop, "recalibrate", refused)
    run = only_run(runs)
    told = fitted(capsys, runs, run, code=6)
    assert (told["ok"], told["passed"]) == (False, False)
    assert told["failures"] == ["7 effective particles"]
    assert (runs / run / "fit" / "c02-seed1" / "posterior.nc").is_file()
    assert command_line(["fit", run, "--runs", str(runs)]) == 6
    assert "FIT NOT ACCEPTED: 7 effective particles" in capsys.readouterr().out


def test_the_table_marks_simulated_chips_and_says_what_the_readouts_taught(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    assert command_line(["fit", run, "--runs", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"SIMULATED  {run}, cycle 2, seed 1: ")
    assert "the loop's own posterior, to the last bit" in printed
    rows = {row.split()[0]: row for row in printed.splitlines() if row.strip()}
    told = json.loads((runs / run / "fit" / "c02-seed1" / "fit.json").read_text())
    for name, one in told["parameters"].items():
        row = rows[name if one["unit"] == "1" else f"{name},"]
        assert row.split()[-1] == ("learned" if one["shrinkage"] >= 0.5 else "prior")
        assert f"{one['shrinkage']:.2f}" in row
    assert "effective particles" in printed and "at least 400" in printed
    tables = [
        row
        for row in printed.splitlines()
        if run not in row and not row.startswith(("warning:", "look:"))
    ]
    assert max(map(len, tables)) <= 80


# --- what a person looks at


def test_a_review_is_written_with_its_page_and_told_in_short(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    told = fitted(capsys, runs, run, "--review")
    folder = runs / run / "fit" / "c02-seed1"
    whole = json.loads((folder / "review.json").read_text())
    assert whole["sentences"] == told["review"]["look_at"]
    assert len(whole["residuals"]) == told["readouts"]["used"]
    assert {one["name"] for one in whole["profiles"]["of_parameters"]} == set(told["parameters"])
    page = (folder / "review.html").read_text()
    assert page.count("<svg") == 6 and "SIMULATED" in page and "could not be drawn" not in page
    assert all(html.escape(said) in page for said in told["review"]["look_at"])
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert command_line(["fit", run, "--runs", str(runs)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    printed = capsys.readouterr().out
    assert all(f"look: {said}" in printed for said in told["review"]["look_at"])
    assert "review.html" in printed.splitlines()[-1]


def another_model(folder: Path, turnover: str) -> Path:
    """Return the shipped model under another name, with another prior of the barrier's turnover."""
    text = folder / "my_skin.ant"
    text.write_text(MODELS["skin_chip"].read_text())
    beside = facts_path(MODELS["skin_chip"]).read_text()
    was = KB.search(beside)
    assert was is not None
    changed = beside[: was.start(1)] + turnover + beside[was.end(1) :]
    text.with_suffix(".yaml").write_text(changed.replace("model: skin_chip", "model: my_skin"))
    return text


@pytest.mark.parametrize(
    ("median", "favoured"),
    [pytest.param("0.025", "neither", marks=pytest.mark.slow), ("2.5", "first")],
)
def test_another_model_is_compared_by_the_same_readouts(
    runs: Path, tmp_path: Path, median: str, favoured: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, text = only_run(runs), another_model(tmp_path, median)
    told = fitted(capsys, runs, run, "--against", str(text))
    assert told["same_as_loop"] is True and told["model"] == "skin_chip"
    found = told["comparison"]
    assert (found["first"], found["second"]) == ("skin_chip", "my_skin")
    assert found["evidence_favours"] == favoured, found["verdict"]
    folder = runs / run / "fit" / "c02-seed1" / "against-my_skin"
    assert json.loads((folder / "comparison.json").read_text()) == found
    other = json.loads((folder / "fit.json").read_text())
    assert (other["model"], other["cycle"]) == ("my_skin", 2)
    assert other["readouts"] == told["readouts"] and other["same_as_loop"] is None


def test_a_comparison_says_which_fit_was_not_accepted(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(likelihood: Any, *arguments: Any) -> Any:
        posterior, info = quick_recalibrate(likelihood, *arguments)
        own = likelihood.model.name == "skin_chip"
        return posterior, replace(info, passed=not own, failures=("7 left",) if own else ())

    monkeypatch.setattr(loop, "recalibrate", refused)
    run, text = only_run(runs), another_model(tmp_path, "0.025")
    told = fitted(capsys, runs, run, "--against", str(text), code=6)
    assert told["ok"] is False and told["comparison"]["ok"] is False
    assert told["comparison"]["not_accepted"] == ["skin_chip"]
    assert command_line(["fit", run, "--against", str(text), "--runs", str(runs)]) == 6
    assert "THE FIT OF skin_chip WAS NOT ACCEPTED" in capsys.readouterr().out
    # a fit without a review leaves none of an earlier one beside it
    fitted(capsys, runs, run, code=6)
    folder = runs / run / "fit" / "c02-seed1"
    assert not (folder / "review.html").exists() and not (folder / "review.json").exists()


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("unit: ohm*cm2, scale: log}", "unit: ohm*cm2, scale: linear}", "scale"),
        ("kind: window_mean, unit: pg/mL, scale: log}", "kind: window_mean, unit: ng/mL, scale: log}", "ng/mL"),
        ("model: my_skin", "model: my_skin # edited", None),
    ],
)  # fmt: skip
def test_a_model_that_reads_out_in_another_way_is_refused(
    runs: Path, tmp_path: Path, was: str, becomes: str, said: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    text = another_model(tmp_path, "0.025")
    beside = text.with_suffix(".yaml")
    assert was in beside.read_text()
    beside.write_text(beside.read_text().replace(was, becomes, 1))
    if said is not None:
        told = fitted(capsys, runs, only_run(runs), "--against", str(text), code=3)
        assert said in told["error"]["message"]
        return
    same = tmp_path / "skin_chip.ant"
    same.write_text(text.read_text())
    same.with_suffix(".yaml").write_text(beside.read_text().replace("my_skin", "skin_chip"))
    told = fitted(capsys, runs, only_run(runs), "--against", str(same), code=3)
    assert "give it a name of its own" in told["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--against", "nothing.ant"], 3, "there is no file nothing.ant"),
        (["--against", "nothing"], 3, "not one of"),
        (["--against", "psoriasis_chip"], 3, "can not be fitted with"),
        (["--against", "skin_chip", "--no-review"], 2, "leave --no-review out"),
    ],
)
def test_a_model_that_can_not_be_compared_is_refused_before_anything_is_fitted(
    runs: Path,
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = only_run(runs)
    told = fitted(capsys, runs, run, *arguments, code=code)
    assert said in told["error"]["message"]
    assert not (runs / run / "fit").exists()


def test_files_that_a_person_named_are_not_written_over_without_force(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = only_run(runs), tmp_path / "out"
    fitted(capsys, runs, run, "--out", str(out))
    first = (out / "posterior.nc").read_bytes()
    (out / "posterior.nc").write_bytes(b"mine")
    told = fitted(capsys, runs, run, "--out", str(out), code=2)
    assert "is there already" in told["error"]["message"]
    assert (out / "posterior.nc").read_bytes() == b"mine"
    fitted(capsys, runs, run, "--out", str(out), "--force")
    assert (out / "posterior.nc").read_bytes() == first


# --- runs that can not be fitted


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nobody"], 2, "there is no run nobody"),
        (["RUN", "--cycle", "9"], 2, "has 1 to 2"),
        (["RUN", "--cycle", "0"], 2, "has 1 to 2"),
        ([], 2, "name the runs to fit, or --all"),
        (["RUN", "--all"], 2, "name the runs to fit, or --all"),
        (["RUN", "--workers", "2", "--scheduler", "tcp://a:1"], 2, "brings its own"),
        (["RUN", "--scheduler", "localhost"], 2, "tcp://10.0.0.5:8786"),
    ],
)
def test_what_can_not_be_asked_is_told_with_what_can(
    runs: Path,
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [only_run(runs) if one == "RUN" else one for one in arguments]
    assert said in fitted(capsys, runs, *named, code=code)["error"]["message"]


def without_study(runs: Path, run: str) -> None:
    (runs / run / "study.json").write_text("{")


def without_record(runs: Path, run: str) -> None:
    (runs / "record.sqlite").unlink()


def without_journal(runs: Path, run: str) -> None:
    (runs / run / "journal.sqlite").unlink()


def with_another_model(runs: Path, run: str) -> None:
    text = runs / run / "model" / "skin_chip.ant"
    text.write_text(text.read_text() + "\n// edited\n")


def without_model(runs: Path, run: str) -> None:
    (runs / run / "model" / "skin_chip.ant").unlink()


def with_a_cut_posterior(runs: Path, run: str) -> None:
    (runs / run / "cal-01" / "posterior.nc").write_bytes(b"CDF")


def without_readouts(runs: Path, run: str) -> None:
    with closing(sqlite3.connect(runs / "record.sqlite")) as database:
        for (guard,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {guard}")
        database.execute("DELETE FROM readouts")
        database.commit()


def with_failed_readouts(runs: Path, run: str) -> None:
    with closing(sqlite3.connect(runs / "record.sqlite")) as database:
        for (guard,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {guard}")
        database.execute("UPDATE readouts SET qc = 'fail'")
        database.commit()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_study, "study.json"),
        (without_record, "record.sqlite"),
        (without_journal, "journal.sqlite"),
        (with_another_model, "sha256"),
        (without_model, "skin_chip.ant"),
        (with_a_cut_posterior, "is damaged"),
        (without_readouts, "has no readouts of cycle 1"),
        (with_failed_readouts, "readouts failed or were excluded; nothing was fitted"),
    ],
)
def test_a_run_that_can_not_be_used_leaves_with_3_and_nothing_is_written(
    runs: Path, damage: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_run(runs)
    damage(runs, run)
    told = fitted(capsys, runs, run, code=3)
    assert told["ok"] is False and said in told["error"]["message"]
    assert not (runs / run / "fit").exists()
    assert not (runs / "record.sqlite").exists() or damage is not without_record


# --- many runs


@pytest.fixture(scope="module")
def original_two(original: Path, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs of other seeds."""
    runs = tmp_path_factory.mktemp("fits") / "runs"
    shutil.copytree(original, runs)
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, "--seed", "2", "--json")
    assert ended.code == 0, ended.err
    return runs


@pytest.fixture
def two_runs(original_two: Path, tmp_path: Path) -> Path:
    """A copy of it, to be fitted and damaged."""
    copy = tmp_path / "runs"
    shutil.copytree(original_two, copy)
    return copy


def test_one_run_that_can_not_be_fitted_costs_the_others_nothing(
    two_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted(path.parent.name for path in two_runs.glob("*/run.json"))
    without_study(two_runs, first)
    told = fitted(capsys, two_runs, "--all", code=3)
    assert told["ok"] is False
    broken, fine = told["runs"]
    assert (broken["run"], broken["ok"]) == (first, False)
    assert broken["error"]["exit_code"] == 3 and "study.json" in broken["error"]["message"]
    assert (fine["run"], fine["ok"], fine["same_as_loop"]) == (second, True, True)
    assert command_line(["fit", "--all", "--runs", str(two_runs)]) == 3
    printed = capsys.readouterr()
    assert f"{first}: CL-310" in printed.out
    assert f"SIMULATED  {second}, cycle 2: passed" in printed.out
    assert f"{second}: passed" in printed.err


def test_all_is_every_run_and_each_is_what_it_is_alone(
    two_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.parent.name for path in two_runs.glob("*/run.json"))
    told = fitted(capsys, two_runs, "--all", "--out", str(tmp_path / "out"))
    assert [one["run"] for one in told["runs"]] == names and told["ok"] is True
    assert told["runs"][0]["goals"] != told["runs"][1]["goals"]
    for name, one in zip(names, told["runs"], strict=True):
        assert fitted(capsys, two_runs, name) == one
        assert (tmp_path / "out" / name / "posterior.nc").is_file()
    by_name = fitted(capsys, two_runs, *reversed(names))
    assert by_name["runs"] == told["runs"][::-1]


def test_a_run_that_raises_in_its_fit_is_told_and_the_next_is_fitted(
    two_runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIPLOOP_LOG", str(two_runs / "log"))
    seen: list[int] = []

    def first_fails(*arguments: Any) -> Any:
        seen.append(1)
        if len(seen) == 1:
            raise np.linalg.LinAlgError("not positive definite")
        return quick_recalibrate(*arguments)

    monkeypatch.setattr(loop, "recalibrate", first_fails)
    told = fitted(capsys, two_runs, "--all", code=1)
    assert "LinAlgError" in told["runs"][0]["error"]["message"]
    assert told["runs"][1]["passed"] is True
    assert "first_fails" in (two_runs / "log").read_text()


def test_a_missing_extra_is_named_and_leaves_with_3(
    two_runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = many.find_spec
    monkeypatch.setattr(
        many, "find_spec", lambda name: None if name == "prefect_dask" else there(name)
    )
    told = fitted(capsys, two_runs, "--all", "--workers", "2", code=3)
    assert 'prefect_dask: pip install "chiploop[dask]"' in told["error"]["message"]
    fitted(capsys, two_runs, "--all")


def test_an_empty_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = fitted(capsys, tmp_path, "--all", code=2)
    assert "there are no runs" in told["error"]["message"]


def test_the_option_goes_before_the_variable_and_workers_before_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHIPLOOP_SCHEDULER", "tcp://there:8786")
    assert scheduler_of(None, None) == "tcp://there:8786"
    assert scheduler_of("tls://here:1", None) == "tls://here:1"
    assert scheduler_of(None, 2) is None
    monkeypatch.delenv("CHIPLOOP_SCHEDULER")
    assert scheduler_of(None, None) is None


def test_the_exit_code_is_that_of_the_first_run_without_a_fit_then_of_a_fit_not_accepted() -> None:
    passed, failed = {"ok": True}, {"ok": False}
    broken = {"ok": False, "error": {"exit_code": 3}}
    assert exit_code([passed, passed]) == 0
    assert exit_code([passed, failed]) == 6
    assert exit_code([failed, broken, passed]) == 3
    assert exit_code([{**passed, "comparison": failed}]) == 6
    assert exit_code([{**passed, "comparison": broken}, failed]) == 3
