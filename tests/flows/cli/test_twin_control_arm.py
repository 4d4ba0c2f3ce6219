"""``chiploop twin control-arm`` as a person and as a program see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flows.cli.main import command_line


def written(folder: Path, n: int = 24, controls: int = 12, effect: float = 15.0) -> Path:
    rng = np.random.default_rng(2)
    m = rng.normal(40.0, 10.0, n)
    treated = np.arange(n) < n - controls
    outcome = m + rng.normal(0.0, 6.0, n) + effect * treated
    rows = [
        f"P{i:02d},{'treated' if treated[i] else 'control'},{outcome[i]:.2f},{m[i]:.2f}"
        for i in range(n)
    ]
    path = folder / "trial.csv"
    path.write_text("\n".join(["patient,arm,outcome,prognosis", *rows, "P99,control,,30"]) + "\n")
    return path


def test_the_json_holds_every_analysis_and_why_the_others_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    assert command_line(["twin", "control-arm", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["method"] for one in told["effects"]] == ["unadjusted", "adjusted"]
    assert set(told["not_made"]) == {"borrowed", "external"}
    assert (
        told["left_out"] == ["P99"] and told["patients"] == 24 and told["research_use_only"] is True
    )
    plain, adjusted = told["effects"]
    assert adjusted["lower"] < 15.0 < adjusted["upper"]
    assert (
        told["saved"] == pytest.approx(1 - (adjusted["se"] / plain["se"]) ** 2)
        and told["saved"] > 0.3
    )
    assert told["exact_test"]["p"] <= 1e-3 and told["exact_test"]["exact"] is False
    assert told["applicability"]["verdict"] == "not known"


def test_with_the_twins_bias_it_stands_in_for_controls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    command = ["twin", "control-arm", str(path), "--bias-sd", "3", "--simulate", "--json"]
    assert command_line(command) == 0
    told = json.loads(capsys.readouterr().out)
    by_method = {one["method"]: one for one in told["effects"]}
    assert by_method["borrowed"]["se"] < by_method["unadjusted"]["se"]
    assert by_method["external"]["se"] > 3.0 and 0.0 < by_method["borrowed"]["trusted"] < 1.0
    errors = {row["twin"]: row["type_1_error"] for row in told["rates"]}
    assert max(one["adjusted"] for one in errors.values()) <= 0.06
    assert errors["shifted"]["external"] > errors["right"]["external"]


def test_a_person_reads_a_table_and_that_it_is_for_research_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["twin", "control-arm", str(written(tmp_path)), "--simulate"]) == 0
    printed = capsys.readouterr().out
    assert "not for clinical decisions" in printed and "fewer patients" in printed
    assert "the twin holds for these patients: not known (age, severity" in printed
    assert "P99" in printed and "turned in a subgroup" in printed
    assert max(len(line) for line in printed.splitlines()) <= 110


def test_a_trial_of_one_arm_has_its_twins_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, controls=0)
    assert command_line(["twin", "control-arm", str(path), "--bias-sd", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["method"] for one in told["effects"]] == ["external"]
    assert set(told["not_made"]) == {"unadjusted", "adjusted", "borrowed"}
    assert told["saved"] is None and told["exact_test"] is None


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--bias-sd", "0"], 2),
        (["--adjust", "age"], 3),
        (["--adjust", "prognosis"], 3),
        (["--seed", "-1"], 2),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["twin", "control-arm", str(written(tmp_path)), *options]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_the_twin_makes_the_prognosis_itself_from_baseline_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(4)
    easi = rng.uniform(12.0, 45.0, 30)
    rows = [
        f"P{i:02d},{'treated' if i % 2 else 'control'},{0.5 * easi[i] * np.exp(0.2 * rng.standard_normal()):.2f},"
        f"{'' if i == 7 else f'{easi[i]:.1f}'},"
        for i in range(30)
    ]
    path = tmp_path / "trial.csv"
    path.write_text("\n".join(["patient,arm,outcome,easi,flg", *rows]) + "\n")
    asked = ["twin", "control-arm", str(path), "--twin", "EASI", "--bias-sd", "4"]
    assert command_line([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["method"] for one in told["effects"]} == {
        "unadjusted", "adjusted", "borrowed", "external"
    }  # fmt: skip
    assert told["saved"] > 0.2
    severity = told["applicability"]["aspects"][1]
    assert (severity["aspect"], severity["verdict"]) == ("severity", "not known")
    assert "1 of 30 patients have none" in severity["reason"]
    patients = {one["patient"]: one for one in told["prognosis"]["patients"]}
    assert told["prognosis"]["known"] == {"easi": 29} and len(patients) == 30
    assert patients["P07"]["sd"] == max(one["sd"] for one in patients.values())
    assert command_line(asked) == 0
    assert "prognosis by the twin: EASI under placebo" in capsys.readouterr().out
    assert command_line(["twin", "control-arm", str(path), "--twin", "IGA"]) == 2
    assert command_line(["twin", "control-arm", str(path), "--twin", "EASI75"]) == 3
    assert "which is no EASI75 (allowed: 0 or 1); 30 of 30" in " ".join(
        capsys.readouterr().err.split()
    )
    assert command_line(["twin", "control-arm", str(written(tmp_path)), "--twin", "EASI"]) == 2
    assert "has a column prognosis already" in " ".join(capsys.readouterr().err.split())
