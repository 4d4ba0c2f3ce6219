"""``chiploop twin whatif`` as a person and as a program see it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chiploop.inference.posterior import Posterior
from chiploop.record.posterior_file import write_posterior
from flows.cli.main import command_line
from tests.chiploop.campaigns import FAILED, PASSED

FEW = ["--virtual-patients", "400"]
PATIENT = """chiploop: 1
patient: P-0042
consent: {scope: [research], delete_after: "2099-12-31"}
baseline: {easi: 28.0}
modifiers:
  stress: {parameter: d1}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "patient.yaml"
    found.write_text(PATIENT)
    return found


def test_text_json_and_page_tell_the_same(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    asked = ["twin", "whatif", str(path), "--drugs", "dupilumab,tralokinumab"]
    asked += FEW
    assert command_line([*asked, "--with", "stress-reduction", "--page", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["drugs"]][2] == "dupilumab without stress"
    assert told["research_use_only"] is True and told["page"] == str(page)
    assert 0.0 < told["comparisons"][0]["first_better"] <= 1.0
    assert "dupilumab without stress" in page.read_text()
    assert told["applicability"]["verdict"] == "not known"
    whole = "not known (age, ancestry, FLG)"
    assert f"The twin holds for this patient:</b> {whole}" in page.read_text()
    assert command_line([*asked]) == 0
    text = capsys.readouterr().out
    assert "Research use only; not for clinical decisions." in text
    assert f"{told['drugs'][0]['improvement_pct']['median']:.0f} %" in text
    assert f"the twin holds for this patient: {whole}" in text


def test_a_patient_outside_of_what_the_twin_was_built_from_is_told_so(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(PATIENT + 'age_years: 9\nancestry: asian\nflg: "null"\n')
    asked = ["twin", "whatif", str(path), "--drugs", "abrocitinib", *FEW]
    assert command_line([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    verdicts = {one["aspect"]: one["verdict"] for one in told["applicability"]["aspects"]}
    assert verdicts == {
        "age": "outside", "severity": "inside", "ancestry": "outside", "FLG": "not known",
        "abrocitinib": "not known",
    }  # fmt: skip
    assert told["applicability"]["verdict"] == "outside"
    assert any("age: 9 years" in warning for warning in told["warnings"])
    assert command_line(asked) == 0
    assert "this patient: outside (age, ancestry)" in capsys.readouterr().out


# what is put in place of what -> exit code, words
REFUSED = [
    ("patient: P-0042", "patient: Miller", 3, "not a code"),
    ("2099-12-31", "2020-01-01", 3, "was to be deleted"),
    ("scope: [research]", "scope: [teaching]", 3, "consent is for teaching"),
    ("easi: 28.0", "birthday: 28.0", 3, "may identify"),
]


@pytest.mark.parametrize(("old", "new", "code", "words"), REFUSED)
def test_a_file_that_may_not_be_used_is_refused(
    path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, code: int, words: str
) -> None:
    path.write_text(PATIENT.replace(old, new))
    assert command_line(["twin", "whatif", str(path), "--drugs", "dupilumab"]) == code
    assert words in " ".join(capsys.readouterr().err.split())


def test_wrong_asking_is_told_with_exit_code_2(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["twin", "whatif", str(path), "--drugs"]
    assert command_line([*asked, "aspirin"]) == 2
    assert command_line([*asked, "dupilumab", "--with", "stress"]) == 2
    assert command_line([*asked, "dupilumab", "--with", "sport-reduction"]) == 2
    assert "sport" in capsys.readouterr().err
    assert command_line([*asked, "dupilumab", "--donor", "D1"]) == 2


def test_a_donor_of_a_run_brings_the_ratios_of_its_chips(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    particles = np.exp(np.random.default_rng(1).normal(0.0, 0.05, (200, 2)))
    own = particles[:, None] * np.array([[[0.2, 1.0]]])
    found = Posterior(
        ("kB", "EC4"), ("1/h", "nM"), particles, particles, particles[0], donors=("D1",), of_donors=own
    )  # fmt: skip
    posterior = tmp_path / "posterior.nc"
    write_posterior(posterior, found, PASSED)
    asked = ["twin", "whatif", str(path), "--drugs", "dupilumab", "--json", *FEW]
    told = []
    for more in ([], ["--donor", f"{posterior}:D1"]):
        assert command_line([*asked, *more]) == 0
        told.append(json.loads(capsys.readouterr().out)["drugs"][0])
    assert told[0]["width_without_chip_pct"] is None
    assert told[1]["width_without_chip_pct"] == told[0]["width_pct"]
    assert told[1]["improvement_pct"] != told[0]["improvement_pct"]
    assert command_line([*asked, "--donor", f"{posterior}:D9"]) == 3
    assert "its donors: D1" in " ".join(capsys.readouterr().err.split())
    write_posterior(posterior, found, FAILED)
    assert command_line([*asked, "--donor", f"{posterior}:D1"]) == 6
    assert FAILED.failures[0] in " ".join("".join(capsys.readouterr()).split())
