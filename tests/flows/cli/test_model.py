"""``chiploop model`` as a person and as a program see it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.inference.prior import Prior
from chiploop.models.facts import MODELS, model_facts
from chiploop.models.sbml import read_model
from chiploop.models.tissue_model import load_model
from flows.cli.main import command_line

PLAIN = """# A plain model, without drug and stimulus
model plain
  Q = 50;    // uL/h, flow
  k = 0.02;  // 1/h, decay [ours]
  x = 1; v = 1;
  x' = -k*x*Q/50; v' = 0;
end
"""
BESIDE = """model: plain
inputs: {flow_rate_ul_h: Q}
readouts:
  TEER: {symbol: x, kind: moment, unit: ohm*cm2, scale: log}
viability: v
estimated:
  k: {kind: lognormal, median: 0.02, ln_sd: 0.5, unit: 1/h}
"""
STIMULATED = ("--stimulus", "IL-4=0.5ng/mL", "--stimulus", "IL-13=1ng/mL")


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.ant"
    path.write_text(PLAIN, encoding="utf-8")
    path.with_suffix(".yaml").write_text(BESIDE, encoding="utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Return what a command prints, after its exit code was looked at."""
    assert command_line(["model", *arguments]) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.out if code == 0 else shown.out + shown.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert command_line(["model", *arguments, "--json"]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_the_list_names_every_model_and_fits_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = said(capsys, "list")
    assert all(f"\n{name}  " in f"\n{shown}" for name in MODELS)
    assert "hidden truth of virtual chips for skin_chip" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    models = {model["name"]: model for model in as_json(capsys, "list")["models"]}
    assert models["skin_chip"]["states"] == 17
    assert models["skin_chip"]["stimuli"] == ["IL-4", "IL-13"]
    assert models["skin_chip"]["hidden_truth_of"] == []
    assert models["virtual_skin_chip"]["hidden_truth_of"] == ["skin_chip"]


def test_the_list_compiles_nothing() -> None:
    code = (
        "import sys\n"
        "from flows.cli.main import command_line\n"
        "assert command_line(['model', 'list', '--json']) == 0\n"
        "print(sorted({'numpy', 'sympy', 'llvmlite', 'scipy', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", MODELS)
def test_priors_that_are_shown_are_those_that_are_fitted(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = as_json(capsys, "show", name)
    facts = model_facts(MODELS[name])
    assert told["sha256"] == facts.sha256
    prior = Prior.of([prior.spec(symbol) for symbol, prior in facts.estimated.items()])
    draws = prior.draw(40_000, np.random.default_rng(1))
    for one, column in zip(told["estimated"], draws.T, strict=True):
        low, median, high = np.quantile(column, [0.05, 0.5, 0.95])
        assert [one["low_90"], one["median"], one["high_90"]] == pytest.approx(
            [low, median, high], rel=0.06
        )


def test_show_has_inputs_readouts_priors_and_marks_of_origin(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = said(capsys, "show", "skin_chip")
    words = " ".join(shown.split())
    assert "I4_in stimulus IL-4 (nM, 15 kDa)" in words
    assert "CCL26 pg/mL, log scale: C26, mean of the effluent over a collection window" in words
    assert "EC4 0.1 (0.0268 to 0.373) nM IL-4 at half occupancy [order]" in words
    assert "V_ch 30 [chip: channel_volume_ul] uL, channel [geometry]" in words
    assert "17 states" in words and "d D_t/dt" not in words
    assert "R_max 1500 (" in words
    assert max(map(len, shown.splitlines()[2:-1])) <= 80


def test_equations_are_shown_as_they_stand_in_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "show", "skin_chip", "--equations")
    assert "d D_t/dt = PS_drug*(D_ch - D_t)/V_t" in shown
    assert "u := I4_t/EC4 + I13_t/EC13" in shown
    assert "B = 1 - wF + wF*phi" in shown


def test_sbml_is_written_once_and_over_a_file_only_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "skin_chip.xml"
    assert f"written: {path}" in said(capsys, "show", "skin_chip", "--sbml", str(path))
    written = path.read_text(encoding="utf-8")
    wanted = read_model(MODELS["skin_chip"].read_text(encoding="utf-8"), "skin_chip")
    found = read_model(written, "skin_chip")
    assert found.constants == wanted.constants and list(found.rates) == list(wanted.rates)
    path.write_text("kept", encoding="utf-8")
    told = said(capsys, "show", "skin_chip", "--sbml", str(path), code=2)
    assert "is there already" in told and path.read_text(encoding="utf-8") == "kept"
    said(capsys, "show", "skin_chip", "--sbml", str(path), "--force")
    assert path.read_text(encoding="utf-8") == written
    no_folder = str(tmp_path / "none" / "a.xml")
    assert "no folder" in said(capsys, "show", "skin_chip", "--sbml", no_folder, code=2)


def test_sbml_is_shown_with_its_equations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "skin_chip.xml"
    said(capsys, "show", "skin_chip", "--sbml", str(path))
    assert "There is no skin_chip.yaml beside it" in said(capsys, "show", str(path))
    facts = MODELS["skin_chip"].with_suffix(".yaml").read_text(encoding="utf-8")
    path.with_suffix(".yaml").write_text(facts, encoding="utf-8")
    told = as_json(capsys, "show", str(path))
    assert len(told["equations"]["rates"]) == 17 and len(told["estimated"]) == 21
    assert said(capsys, "check", str(path)).startswith("ok  skin_chip: 17 states")


def test_a_text_without_a_yaml_is_shown_and_what_is_missing_is_said(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain.with_suffix(".yaml").unlink()
    shown = said(capsys, "show", str(plain))
    assert "There is no plain.yaml beside it" in shown and "viability: SYMBOL" in shown
    assert "decay [ours]" in shown and "2 states  x, v" in shown
    assert as_json(capsys, "show", str(plain))["facts"] is False
    shown = said(capsys, "check", str(plain), code=3)
    assert "viability: SYMBOL" in shown and "the text is read:  plain: 2 states" in shown
    shown = said(capsys, "simulate", str(plain), code=3)
    assert f"chiploop model check {plain}" in shown


def test_check_of_a_right_model_says_the_next_command(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(capsys, "check", str(plain))
    assert shown.startswith("ok  plain: 2 states, 2 constants, 1 estimated, 1 readout\n")
    assert shown.endswith(f"Next: chiploop model simulate {plain}\n")
    told = as_json(capsys, "check", str(plain))
    assert told["ok"] is True and told["day"]["fastest_h"] == pytest.approx(50.0)


def test_every_problem_of_a_model_is_one_line_with_file_and_line(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain.write_text(PLAIN.replace("v' = 0;", "v' = floor(v);"), encoding="utf-8")
    beside = plain.with_suffix(".yaml")
    beside.write_text(
        BESIDE.replace("median: 0.02", "median: -1").replace("scale: log", "scale: lgo")
    )
    shown = said(capsys, "check", str(plain), code=3)
    found = [
        line for line in shown.splitlines() if re.match(r"  plain\.(ant|yaml), line \d+", line)
    ]
    assert shown.startswith("3 problems in model plain\n") and len(found) == 3
    told = as_json(capsys, "check", str(plain), code=3)
    assert [(p["file"], p["line"]) for p in told["problems"]] == [
        *(("plain.ant", 6), ("plain.yaml", 4), ("plain.yaml", 7))
    ]
    assert told["ok"] is False and told["day"] is None


HOPELESS: dict[str, bytes] = {
    "empty.ant": b"",
    "binary.ant": bytes(range(256)) * 20,
    "latin.xml": "<sbml>µ</sbml>".encode("latin-1"),
    "page.xml": b"<html><body>no</body></html>",
    "words.ant": "é µ hello".encode(),
    "cut.xml": b"<sbml><model><listOfRules>",
    "deep.xml": b"<sbml>" + b"<a>" * 30_000,
    "brackets.ant": b"model a\n x' = " + b"(" * 30_000 + b"\nend",
}


@pytest.mark.parametrize("name", HOPELESS)
@pytest.mark.parametrize("verb", ["check", "show", "simulate"])
def test_no_file_makes_a_traceback(
    verb: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(HOPELESS[name])
    path.with_suffix(".yaml").write_text(BESIDE.replace("plain", path.stem), encoding="utf-8")
    shown = said(capsys, verb, str(path), code=3)
    assert "this should not have happened" not in shown


@pytest.mark.parametrize("verb", ["check", "show", "simulate"])
def test_a_name_that_is_no_model_lists_those_that_are(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(capsys, verb, "skinchip", code=3)
    assert all(name in shown for name in MODELS)


def test_chips_stand_side_by_side_in_a_narrow_table_that_says_simulated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = said(capsys, "simulate", "skin_chip", *STIMULATED, "--drug", "100nM", "--drug", "1uM")
    assert shown.startswith("SIMULATED  skin_chip, the text's own values\n")
    assert "IL-4 0.5 ng/mL (0.0333 nM), IL-13 1 ng/mL (0.0794 nM) from 24 h" in shown
    teer = shown.split("\n\n")[1].splitlines()
    assert teer[0] == "TEER, ohm*cm2, at the moment"
    assert teer[1].split() == ["42", "h", "84", "h", "126", "h", "168", "h"]
    assert [line.split("  ")[1] for line in teer[2:]] == [
        *("control", "stimulus", "stimulus + 100 nM", "stimulus + 1000 nM")
    ]
    assert max(map(len, shown.splitlines())) <= 80


def test_a_table_with_bands_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--draws", "20", "--drug", "1uM", *STIMULATED)
    shown = said(capsys, "simulate", "skin_chip", *asked)
    assert "90 % at the end" in shown and "median of 20 draws of the prior, seed 1" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert said(capsys, "simulate", "skin_chip", *asked) == shown


def test_json_holds_what_the_csv_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.csv"
    asked = ["--hours", "36", "--every", "12h", "--from", "0h", *STIMULATED, "--draws", "9"]
    told = as_json(capsys, "simulate", "skin_chip", *asked, "--csv", str(path))
    assert told["simulated"] is True and told["times_h"] == [0, 12, 24, 36]
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["time_h", "chip", "readout", "value", "unit", "low", "high"]
    readouts = {one["name"]: one for one in told["readouts"]}
    assert readouts["CCL26"]["value"][0][0] is None
    for row in found:
        c, t = told["chips"].index(row["chip"]), told["times_h"].index(float(row["time_h"]))
        one = readouts[row["readout"]]
        assert row["unit"] == one["unit"]
        for key in ("value", "low", "high"):
            assert float(row[key]) == pytest.approx(one[key][c][t], rel=1e-8, abs=1e-12)
    assert len(found) == 2 * (3 * 4 + 5 * 3)  # three readouts of a moment, five of a window
    assert "is there already" in said(capsys, "simulate", "skin_chip", "--csv", str(path), code=2)


def test_a_csv_without_draws_has_no_band(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = plain.with_suffix(".csv")
    said(capsys, "simulate", str(plain), "--hours", "12", "--csv", str(path))
    assert path.read_text(encoding="utf-8").splitlines()[1] == "0,control,TEER,1,ohm*cm2,,"


def test_a_model_without_drug_and_stimulus_is_simulated(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--hours", "10", "--every", "10h", "--flow", "1.5 uL/min", "--set", "k=0.1 1/h")
    told = as_json(capsys, "simulate", str(plain), *asked)
    assert told["chips"] == ["control"] and told["flow_rate_ul_h"] == 90.0
    end = told["readouts"][0]["value"][0][-1]
    assert end == pytest.approx(np.exp(-0.1 * 90 / 50 * 10), rel=1e-3)
    assert "note:" not in said(capsys, "simulate", str(plain))
    assert "knows none" in said(capsys, "simulate", str(plain), "--drug", "1nM", code=2)
    asked = ("--stimulus", "TNF=1nM")
    assert "it knows none" in said(capsys, "simulate", str(plain), *asked, code=2)


WRONG = [
    (("--stimulus", "IL-5=1ng/mL"), "allowed: IL-4, IL-13"),
    (("--stimulus", "IL-4"), "is not NAME=VALUE, such as IL-4=0.5ng/mL"),
    (("--stimulus", "IL-4=1uL"), '"uL" is a volume'),
    (("--stimulus", "IL-4=1nM", "--stimulus", "IL-4=2nM"), "IL-4 is named twice"),
    (("--drug", "1,5 uM"), "a decimal comma is not read"),
    (("--drug", "100"), "has no unit; a concentration is written in nM"),
    (("--every", "6"), "has no unit; a time is written in h"),
    (("--flow", "60 uL"), "not a unit of flow rate"),
    (("--set", "IC50=30uM"), '"30uM" is not a number, in nM'),
    (("--set", "IC50=inf"), "not a number that can be used"),
    (("--set", "IC5O=30"), "did you mean IC50"),
    (("--plot", "out.pdf"), "a plot is written as .svg or .png"),
    (("--hours", "12", *STIMULATED), "the stimulus begins at 24 h"),
]


@pytest.mark.parametrize(("asked", "wanted"), WRONG)
def test_what_is_asked_wrongly_is_told_with_what_is_allowed(
    asked: tuple[str, ...], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted in said(capsys, "simulate", "skin_chip", *asked, code=2)


def test_an_unknown_constant_lists_all_that_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "simulate", "skin_chip", "--set", "none=1", code=2)
    model = load_model("skin_chip")
    for name in (*model.estimated_names, *model.constant_names, "S0", "kp"):
        assert re.search(rf"\b{name}\b", shown)


def test_the_plot_is_marked_and_names_every_line_and_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*STIMULATED, "--drug", "100nM", "--hours", "96", "--draws", "5"]
    path = tmp_path / "out.svg"
    said(capsys, "simulate", "skin_chip", *asked, "--plot", str(path))
    drawn = path.read_text(encoding="utf-8")
    assert drawn.count(">SIMULATED</text>") == 2
    for words in (
        "TEER",
        "Viability lost",
        "Ω cm²",
        "pg/mL",
        "time (h)",
        "control",
        "+ 100 nM",
    ):
        assert f">{words}</text>" in drawn
    assert drawn.count(">control</text>") == 8
    again = tmp_path / "again.svg"
    said(capsys, "simulate", "skin_chip", *asked, "--plot", str(again))
    assert again.read_bytes() == path.read_bytes()


def test_a_plot_of_one_readout_is_written_as_png(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plain.with_suffix(".png")
    said(capsys, "simulate", str(plain), "--plot", str(path))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_no_color_is_heeded(tmp_path: Path) -> None:
    start = "from flows.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", start, "model", "list"],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
        timeout=60,
        check=True,
    )
    assert "\x1b" not in done.stdout
