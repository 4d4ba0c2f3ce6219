"""``chiploop petab fit``: one JSON object, a table, files that fit together, and one line where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import command_line
from tests.chiploop.inference.petab_lines import line, line_problem
from tests.chiploop.models.petab_texts import DECAY, write_problem

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

KEYS = [
    "ok", "file", "engine", "reason", "seed", "hops", "llh", "found_best", "found_on", "redrawn",
    "starts", "parameters", "identifiability",
]  # fmt: skip
OF_START = [
    "llh", "start_llh", "climb_llh", "converged", "iterations", "reason", "hops_kept", "redrawn",
]  # fmt: skip
OF_PARAMETER = [
    "estimate", "scale", "estimate_on_scale", "se", "lower_bound", "upper_bound", "at_bound",
]  # fmt: skip
OF_PROFILE = [
    "lower", "upper", "lower_on_scale", "upper_on_scale", "lower_open", "upper_open", "points",
]  # fmt: skip
QUICK = ["--starts", "3", "--hops", "1"]
CUT = "a lin -10 10 1 1\nb lin -0.1 10 0.5 1"


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert command_line(["petab", "fit", *arguments, *QUICK, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found: dict[str, Any] = json.loads(captured.out)
    return found


def test_json_holds_starts_and_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told([str(line_problem(tmp_path)), "--seed", "5"], capsys)
    assert list(found) == KEYS
    assert (found["ok"], found["file"], found["engine"]) == (True, "problem.yaml", "chiploop")
    assert (found["seed"], found["hops"], found["found_best"], found["redrawn"]) == (5, 1, 3, 0)
    assert [list(each) for each in found["starts"]] == [OF_START] * 3
    heights = [each["llh"] for each in found["starts"]]
    assert heights == sorted(heights, reverse=True) and heights[0] == pytest.approx(found["llh"])
    assert list(found["parameters"]) == ["a", "b", "sd"]
    assert all(list(each) == OF_PARAMETER for each in found["parameters"].values())
    sd = found["parameters"]["sd"]
    assert (sd["scale"], sd["lower_bound"], sd["upper_bound"]) == ("log10", 0.001, 1000.0)
    assert 10.0 ** sd["estimate_on_scale"] == pytest.approx(sd["estimate"], rel=1e-12)
    assert sd["estimate"] == pytest.approx(line().sd, rel=1e-6)
    assert sd["at_bound"] is None and sd["se"] > 0


def test_a_parameter_at_its_bound_is_said_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(line_problem(tmp_path, "0.5", CUT))
    found = told([path], capsys)
    assert found["parameters"]["b"]["at_bound"] == "lower"
    assert found["parameters"]["b"]["se"] is None
    assert "at a bound: b" in found["identifiability"]
    assert command_line(["petab", "fit", path, *QUICK]) == 0
    (row,) = [r for r in capsys.readouterr().out.splitlines() if r.startswith("  b ")]
    assert row.split() == ["b", "-0.1", "lin", "-0.1000", "lower"]


def test_profiles_have_their_ends_and_say_why_one_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told([str(line_problem(tmp_path)), "--profiles"], capsys)
    assert list(found) == [*KEYS, "profiles"]
    assert all(list(each) == OF_PROFILE for each in found["profiles"].values())
    sd = found["profiles"]["sd"]
    assert 10.0 ** sd["upper_on_scale"] == pytest.approx(sd["upper"])
    assert sd["lower"] < line().sd < sd["upper"] and sd["lower_open"] is None
    assert "3 of 3 parameters on both sides" in found["identifiability"]
    path = str(line_problem(tmp_path / "cut", "0.5", CUT))
    b = told([path, "--profiles"], capsys)["profiles"]["b"]
    assert (b["lower"], b["lower_on_scale"]) == (None, None)
    assert b["lower_open"] == "the bound is met" and b["upper"] is not None


def test_written_parameters_give_the_same_likelihood_and_leave_the_problem_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = line_problem(tmp_path), tmp_path / "found"
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    found = told([str(path), "--profiles", "--out", str(out)], capsys)
    assert {f.name for f in out.iterdir()} == {"parameters.tsv", "profiles.svg", "waterfall.svg"}
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()} == before
    values = str(out / "parameters.tsv")
    assert command_line(["petab", "evaluate", str(path), "--parameters", values, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["llh"] == found["llh"]
    for name in ("profiles.svg", "waterfall.svg"):
        text = (out / name).read_text(encoding="utf-8")
        assert "<svg" in text and "problem" in text


def test_files_are_not_written_over_unless_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = line_problem(tmp_path), tmp_path / "found"
    out.mkdir()
    (out / "waterfall.svg").write_text("mine", encoding="utf-8")
    assert command_line(["petab", "fit", str(path), *QUICK, "--out", str(out)]) == 2
    assert "waterfall.svg is there already" in capsys.readouterr().err
    assert (out / "waterfall.svg").read_text(encoding="utf-8") == "mine"
    assert command_line(["petab", "fit", str(path), *QUICK, "--out", str(out), "--force"]) == 0
    assert f"written: {out / 'waterfall.svg'}" in capsys.readouterr().out
    assert "<svg" in (out / "waterfall.svg").read_text(encoding="utf-8")


def test_the_text_says_how_many_starts_found_it_and_what_data_determine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["petab", "fit", str(line_problem(tmp_path)), *QUICK, "--profiles"]) == 0
    out = capsys.readouterr().out
    assert "problem.yaml: 10 measurements, 3 estimated parameter(s), 3 start(s), seed 1\n" in out
    assert "found by 3 of 3 start(s) (within 0.1); 3 of them by the first climb alone" in out
    assert "95 % from" in out
    last = out.strip().splitlines()[-1]
    assert last.startswith("The data determine 3 of 3 parameters on both sides")
    assert max(len(line) for line in out.splitlines()) < 160


def test_the_same_seed_gives_the_same_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(line_problem(tmp_path))
    assert told([path], capsys) == told([path], capsys)
    assert told([path], capsys) != told([path, "--seed", "2"], capsys)


def test_with_priors_the_posterior_is_named_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = line_problem(tmp_path, "1")
    head, a, b = (tmp_path / "parameters.tsv").read_text(encoding="utf-8").splitlines()
    head += "\tobjectivePriorType\tobjectivePriorParameters"
    table = f"{head}\n{a}\tnormal\t0;1\n{b}\t\t\n"
    (tmp_path / "parameters.tsv").write_text(table, encoding="utf-8")
    found = told([str(path)], capsys)
    (first, *_) = found["starts"]
    assert found["log_posterior"] < found["llh"]
    assert list(first)[:3] == ["log_posterior", "start_log_posterior", "climb_log_posterior"]
    assert first["log_posterior"] == pytest.approx(found["log_posterior"], abs=1e-9)
    assert command_line(["petab", "fit", str(path), *QUICK]) == 0
    out = capsys.readouterr().out
    assert f"log posterior {found['log_posterior']:.5f}, found by 3 of 3" in out
    assert f"the log-likelihood there is {found['llh']:.5f}" in out


REFUSED = {
    "no file": ("", "", "nowhere.yaml"),
    "nothing estimated": (DECAY, "k lin 0 10 0.5 0", "it estimates no parameter"),
    "no end of the bounds": (DECAY, "k lin 0 inf 0.5 1", "k has the bounds 0 and inf"),
    "nothing to simulate": ("A = 9; k = 1; A' = k*A^2", "k lin 1 10 2 1", "can not be simulated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_fitted_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    model, parameters, message = REFUSED[name]
    path = tmp_path / "nowhere.yaml"
    if model:
        path = write_problem(tmp_path, model, parameters=parameters)
    assert command_line(["petab", "fit", str(path), "--json"]) == 3
    captured = capsys.readouterr()
    (line_,) = captured.err.splitlines()
    error = json.loads(captured.out)["error"]
    assert message in line_ and line_.endswith(error["message"]) and error["exit_code"] == 3


@pytest.mark.parametrize("option", [["--starts", "0"], ["--hops", "-1"], ["--seed", "x"]])
def test_a_number_that_makes_no_sense_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert command_line(["petab", "fit", str(tmp_path / "problem.yaml"), *option]) == 2
    assert option[0] in capsys.readouterr().err
