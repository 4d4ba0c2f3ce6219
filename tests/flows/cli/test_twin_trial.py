"""``chiploop twin trial`` as a person and as a program see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.record.posterior_file import write_posterior
from flows.cli.main import command_line
from tests.chiploop.campaigns import FAILED, PASSED

TRIAL = ["twin", "trial", "--patients", "500", "--arms"]


def test_json_and_text_tell_the_same_arms(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line([*TRIAL, "placebo,dupilumab", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["arms"]) == ["placebo", "dupilumab"]
    assert told["research_use_only"] is True and told["potency"] == {"dupilumab": "prior"}
    assert command_line([*TRIAL, "placebo,dupilumab"]) == 0
    text = capsys.readouterr().out
    assert f"{told['arms']['dupilumab']['EASI75_pct']:.1f}%" in text
    assert "Research use only; not for clinical decisions." in text
    assert told["applicability"]["verdict"] == "not known"
    assert "the twin holds for these arms: not known (ancestry, FLG)" in text


def test_wrong_asking_is_told_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line([*TRIAL, "placebo,ibuprofen"]) == 2
    assert command_line([*TRIAL, "placebo", "--setting", "home"]) == 2
    assert command_line([*TRIAL, "placebo", "--decoy", "none"]) == 2
    assert command_line([*TRIAL, "upadacitinib", "--posterior", "upadacitinib"]) == 2
    assert "DRUG=RUN" in capsys.readouterr().err


def run_of(
    folder: Path,
    info: CalibrationInfo = PASSED,
    drugs: str = "upadacitinib",
    kind: str = "JAK inhibitor",
) -> Path:
    """Make the folder of a run of drugs with a posterior of IC50; return the posterior's file."""
    values = np.exp(np.random.default_rng(1).normal(np.log([30.0, 1.0]), 0.08, (200, 2)))
    found = Posterior(("IC50", "h"), ("nM", "1"), values, np.log(values), values[0])
    path = folder / "cal-02" / "posterior.nc"
    path.parent.mkdir(parents=True)
    write_posterior(path, found, info)
    (folder / "study.json").write_text(json.dumps({"drug": {"name": drugs, "drug_class": kind}}))
    return path


def test_potency_of_a_run_narrows_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of(tmp_path / "run")
    asked = [*TRIAL, "upadacitinib", "--patients", "2000", "--json"]
    width = {}
    for name, more in {"prior": [], "chip": ["--posterior", f"upadacitinib={path}"]}.items():
        assert command_line([*asked, *more]) == 0
        told = json.loads(capsys.readouterr().out)
        low, high = told["arms"]["upadacitinib"]["interval"]
        width[name] = high - low
    assert told["potency"] == {"upadacitinib": str(path)}
    assert command_line([*asked, "--posterior", f"upadacitinib={tmp_path / 'run'}"]) == 0
    assert json.loads(capsys.readouterr().out)["arms"] == told["arms"]
    assert command_line([*asked, "--posterior", f"upadacitinib={tmp_path}"]) == 3
    assert width["chip"] < 0.5 * width["prior"]
    assert command_line([*asked, "--posterior", f"upadacitinib={tmp_path / 'none.nc'}"]) == 3


def test_a_run_of_another_drug_is_refused_and_both_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path / "run")
    for asked in ("dupilumab", "abrocitinib"):
        assert command_line([*TRIAL, asked, "--posterior", f"{asked}={tmp_path / 'run'}"]) == 3
        told = " ".join(capsys.readouterr().err.split())
        assert f"{asked} was asked for" in told and "were given upadacitinib" in told


def test_the_ic50_of_a_kinase_is_no_kd_of_an_antibody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path / "run", drugs="dupilumab", kind="JAK inhibitor")
    assert command_line([*TRIAL, "dupilumab", "--posterior", f"dupilumab={tmp_path / 'run'}"]) == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "kind antibody" in told and "class 'JAK inhibitor'" in told


def test_a_posterior_without_its_study_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of(tmp_path / "run")
    (tmp_path / "run" / "study.json").unlink()
    assert command_line([*TRIAL, "upadacitinib", "--posterior", f"upadacitinib={path}"]) == 3
    assert "no study.json" in " ".join(capsys.readouterr().err.split())


def test_a_calibration_that_failed_gives_no_potency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path / "run", FAILED)
    asked = [*TRIAL, "upadacitinib", "--posterior", f"upadacitinib={tmp_path / 'run'}", "--json"]
    assert command_line(asked) == 6
    assert FAILED.failures[0] in " ".join("".join(capsys.readouterr()).split())
