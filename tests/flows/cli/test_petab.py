"""``chiploop petab``: one JSON object, a small table, exit codes, and one line where it fails."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from flows.cli.main import command_line
from tests.chiploop.models.petab_texts import DECAY, write_problem

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

KEYS = ["ok", "file", "engine", "reason", "measurements", "llh", "chi2", "simulations"]


def case(shared_data: Path, number: str) -> str:
    return str(shared_data / "petab_test_suite" / "v1_sbml" / number / f"_{number}.yaml")


def test_json_holds_the_likelihood_and_a_simulation_table(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["petab", "evaluate", case(shared_data, "0018"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == KEYS
    assert (told["engine"], told["reason"], told["measurements"]) == ("chiploop", None, 4)
    assert told["llh"] == pytest.approx(-6.3898204, abs=1e-6)
    assert told["simulations"][3] == {
        "observableId": "obs_b",
        "preequilibrationConditionId": "preeq_c0",
        "simulationConditionId": "c0",
        "time": 0.0,
        "simulation": pytest.approx(2 / 3, rel=1e-6),
    }


def test_the_text_form_has_a_row_per_observable(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["petab", "evaluate", case(shared_data, "0007")]) == 0
    captured = capsys.readouterr()
    assert "_0007.yaml: 2 measurements, 1 condition(s), 4 estimated parameter(s)" in captured.out
    assert "engine: chiploop\n" in captured.out
    assert "obs_a" in captured.out and "-1.37894" in captured.out
    assert captured.err == ""


def test_given_parameters_take_the_place_of_nominal_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problem(tmp_path, DECAY)
    values = tmp_path / "values.json"
    found = []
    for k in (0.5, 0.6):
        values.write_text(json.dumps({"k": k}), encoding="utf-8")
        command = ["petab", "evaluate", str(path), "--parameters", str(values), "--json"]
        assert command_line(command) == 0
        found.append(json.loads(capsys.readouterr().out)["llh"])
    half_square = [0.5 * (2 * math.exp(-k) - 1) ** 2 for k in (0.5, 0.6)]
    assert found[1] - found[0] == pytest.approx(half_square[0] - half_square[1], abs=1e-8)


def test_the_fallback_is_said_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_problem(tmp_path, DECAY + "; at (A < 1): A = 3"))
    assert command_line(["petab", "evaluate", path]) == 0
    assert "engine: libroadrunner, since ours does not support it" in capsys.readouterr().out
    assert command_line(["petab", "evaluate", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["engine"] == "libroadrunner" and "trigger" in told["reason"]


def test_a_time_without_end_is_a_word_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at_rest = "observableId simulationConditionId time measurement\no c0 inf 1"
    path = str(write_problem(tmp_path, DECAY, measurements=at_rest))
    assert command_line(["petab", "evaluate", path, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["simulations"]
    assert row["time"] == "inf" and row["simulation"] == pytest.approx(0.0, abs=1e-6)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Exit code 3, one line on standard error, the same in JSON."""
    assert command_line(["petab", "evaluate", *arguments, "--json"]) == 3
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    told = json.loads(captured.out)
    assert told["ok"] is False and line.endswith(told["error"]["message"])
    return line


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.yaml" in refused([str(tmp_path / "nowhere.yaml")], capsys)
    path = write_problem(tmp_path, DECAY)
    values = str(tmp_path / "nowhere.tsv")
    assert "nowhere.tsv" in refused([str(path), "--parameters", values], capsys)
    (tmp_path / "model.xml").unlink()
    assert "sbml_files names model.xml" in refused([str(path)], capsys)


def test_an_unknown_parameter_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_problem(tmp_path, DECAY)
    values = tmp_path / "values.tsv"
    values.write_text("parameterId\tnominalValue\nkk\t1\n", encoding="utf-8")
    line = refused([str(path), "--parameters", str(values)], capsys)
    assert "it has no parameter kk; allowed are k" in line


def test_a_missing_extra_is_one_line_that_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_problem(tmp_path, DECAY)
    monkeypatch.setitem(sys.modules, "petab", None)
    assert 'pip install "chiploop[petab]"' in refused([str(path)], capsys)
