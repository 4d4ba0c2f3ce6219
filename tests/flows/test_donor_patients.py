"""A study whose donors are patients, from bytes to which drug for each: the answer hangs on the hidden cells.

Belongs here: the whole way through emulated instruments. Not here: what the part of the report says
(tests/chiploop/report), the twin (tests/chiploop/twin).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chiploop.models.facts import MODELS
from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study
from chiploop.virtual_lab import VirtualLab
from tests.flows.conftest import SMALL_STUDY, Warm, edited
from tests.flows.run_checks import only_run

EXAMPLE = protocols_folder() / "studies" / "ad_jak_patient.yaml"
SEED = 5
"""Of it the cells of D1 need ten times the drug that those of D2 need."""
ASKED = "drugs: [upadacitinib:15mg, placebo], virtual_patients: 400"
DONORS = [
    ("model: skin_chip\n", "model: skin_chip.ant\n"),
    (
        "donors: [protocols/donors/D1.yaml]",
        "donors: [protocols/donors/D1.yaml, protocols/donors/D2.yaml]\n"
        f"patients:\n  D1: {{patient: P-1, file: P-1.yaml, {ASKED}}}\n"
        f"  D2: {{patient: P-2, file: P-2.yaml, {ASKED}}}",
    ),
    ("{C01: D1}", "{C01: D1, C03: D2}"),
    ("{C02: D1}", "{C02: D1, C04: D2}"),
    ("cycles: 2", "cycles: 1"),
]
# hidden cells of donors that differ far more than those of the shipped model, and a fit that allows it
WIDER = {
    "virtual_skin_chip": (
        "IC50:  {between_chips: 0.05, between_donors: 0.10}",
        "IC50:  {between_chips: 0.05, between_donors: 1.0}",
    ),
    "skin_chip": ("IC50: {sd: 0.15, ln_sd: 0.4}", "IC50: {sd: 1.0, ln_sd: 0.4}"),
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two donors who are patients of whom the same is known but for their chips."""
    for name, (old, new) in WIDER.items():
        for suffix in (".ant", ".yaml"):
            text = MODELS[name].with_suffix(suffix).read_text(encoding="utf-8")
            assert suffix == ".ant" or old in text
            (tmp_path / f"{name}{suffix}").write_text(text.replace(old, new), encoding="utf-8")
    for code in ("P-1", "P-2"):
        (tmp_path / f"{code}.yaml").write_text(
            f'chiploop: 1\npatient: {code}\nconsent: {{scope: [research], delete_after: "2099-12-31"}}\n'
            "baseline: {easi: 28.0}\n",
            encoding="utf-8",
        )
    return edited(SMALL_STUDY, tmp_path, DONORS)


def falls(told: list[dict[str, Any]], drug: int) -> list[float]:
    """Return the median fall of EASI of each patient under one of the drugs."""
    return [float(one["drugs"][drug]["improvement_pct"]["median"]) for one in told]


def test_two_patients_who_differ_in_hidden_cells_alone_get_different_answers(
    study: Path, warm: Warm, tmp_path: Path
) -> None:
    lab = VirtualLab(load_study(study), SEED, False)
    hidden = dict(zip(lab.chips, lab.factors["IC50"], strict=True))
    assert hidden["C01"] > 8 * hidden["C03"]
    runs = tmp_path / "runs"
    ended = warm.run("simulate", study, "--runs", runs, "--seed", str(SEED), "--json")
    assert ended.code == 0, ended.err
    told = ended.json["patients"]
    assert [one["patient"] for one in told] == ["P-1", "P-2"]
    assert all(one["problem"] == "" and one["research_use_only"] for one in told)
    # a twin that did not listen to the chips would say the same of both, to the last bit
    insensitive, sensitive = falls(told, 0)
    assert sensitive > insensitive + 1.5
    assert abs(falls(told, 1)[0] - falls(told, 1)[1]) < 3.0  # no drug: the chips say little
    run_id = only_run(runs)
    assert told[0]["drugs"][0]["potency"] == run_id

    text = (runs / run_id / "report.html").read_text(encoding="utf-8")
    assert 'id="patient-D1-answer"' in text and 'id="patient-D2-answer"' in text
    for frozen in (runs / run_id / "study.json", runs / run_id / "study.yaml"):
        assert "28.0" not in frozen.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [("patient: P-2", "patient: P-3", "is the file of P-3"),
     ("baseline", "flg: heterozygous\nbaseline", "it is one person"),
     ("2099", "2020", "was to be deleted")],
)  # fmt: skip
def test_a_patient_who_can_not_be_used_is_told_before_anything_begins(
    study: Path, warm: Warm, tmp_path: Path, old: str, new: str, words: str
) -> None:
    edited_file = tmp_path / "P-2.yaml"
    edited_file.write_text(edited_file.read_text().replace(old, new), encoding="utf-8")
    ended = warm.run("simulate", study, "--runs", tmp_path / "runs")
    assert ended.code == 3 and words in " ".join(ended.err.split())
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_shipped_example_ends_in_a_what_if_that_the_command_makes_again(
    warm: Warm, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    ended = warm.run("simulate", EXAMPLE, "--runs", runs, "--json")
    assert ended.code == 0, ended.err
    (told,) = ended.json["patients"]
    assert [one["name"] for one in told["drugs"]][0] == "upadacitinib:15mg"
    run_id = only_run(runs)
    report = runs / run_id / "report.html"
    first = report.read_bytes()
    assert warm.run("report", run_id, "--runs", runs).code == 0
    assert report.read_bytes() == first and len(first) < 1_000_000
    file = protocols_folder() / "patients" / "P-0107.yaml"
    asked = ("twin", "whatif", file, "--run", run_id, "--runs", runs, "--json")
    again = warm.run(*asked).json
    for one, other in zip(told["drugs"], again["drugs"], strict=True):
        assert one["improvement_pct"] == other["improvement_pct"]
    other_patient = tmp_path / "other.yaml"
    shutil.copy(file, other_patient)
    other_patient.write_text(file.read_text().replace("P-0107", "P-0108"), encoding="utf-8")
    refused = warm.run("twin", "whatif", other_patient, "--run", run_id, "--runs", runs, "--json")
    assert refused.code == 3 and "does not say which donor P-0108 is" in json.dumps(refused.json)
