"""``chiploop twin trial`` as a person and as a program see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chiploop.inference.posterior import Posterior
from chiploop.record.posterior_file import write_posterior
from flows.cli.main import command_line
from tests.chiploop.campaigns import PASSED

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


def test_wrong_asking_is_told_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line([*TRIAL, "placebo,ibuprofen"]) == 2
    assert command_line([*TRIAL, "placebo", "--setting", "home"]) == 2
    assert command_line([*TRIAL, "placebo", "--decoy", "none"]) == 2
    assert command_line([*TRIAL, "upadacitinib", "--posterior", "upadacitinib"]) == 2
    assert "DRUG=RUN" in capsys.readouterr().err


def test_potency_of_a_run_narrows_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.exp(np.random.default_rng(1).normal(np.log([30.0, 1.0]), 0.08, (200, 2)))
    found = Posterior(("IC50", "h"), ("nM", "1"), values, np.log(values), values[0])
    path = tmp_path / "posterior.nc"
    write_posterior(path, found, PASSED)
    asked = [*TRIAL, "upadacitinib", "--patients", "2000", "--json"]
    width = {}
    for name, more in {"prior": [], "chip": ["--posterior", f"upadacitinib={path}"]}.items():
        assert command_line([*asked, *more]) == 0
        told = json.loads(capsys.readouterr().out)
        low, high = told["arms"]["upadacitinib"]["interval"]
        width[name] = high - low
    assert told["potency"] == {"upadacitinib": str(path)}
    (tmp_path / "run" / "cal-02").mkdir(parents=True)
    path.rename(tmp_path / "run" / "cal-02" / "posterior.nc")
    assert command_line([*asked, "--posterior", f"upadacitinib={tmp_path / 'run'}"]) == 0
    assert json.loads(capsys.readouterr().out)["arms"] == told["arms"]
    assert command_line([*asked, "--posterior", f"upadacitinib={tmp_path}"]) == 3
    assert width["chip"] < 0.5 * width["prior"]
    assert command_line([*asked, "--posterior", f"upadacitinib={tmp_path / 'none.nc'}"]) == 3
