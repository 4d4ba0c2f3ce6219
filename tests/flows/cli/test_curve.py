"""``chiploop curve``: the JSON object, exit codes, what is wrong in a file with its column and row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.cli.main import command_line

LEVELS = [1000.0 / 2.0**i for i in range(9)]


def signal(concentration: float, foot: float = 0.05) -> float:
    if not concentration:
        return foot
    return foot + (3.0 - foot) / (1.0 + (200.0 / concentration) ** 1.2)


def a_file(path: Path, extra: str = "", foot: float = 0.05) -> Path:
    rng = np.random.default_rng(4)
    lines = ["plate,conc,od,name,times"]
    for plate in ("P1", "P2"):
        for concentration in [*LEVELS, 0.0]:
            for _ in range(2):
                value = signal(concentration, foot) * (1.0 + 0.01 * rng.normal())
                lines.append(f"{plate},{concentration},{value:.6f},,")
        lines += [f"{plate},,{signal(100.0, foot):.6f},S1,2"] * 2
        lines.append(f"{plate},,{signal(100.0, foot):.6f},S2,4")
    path.write_text("\n".join(lines) + "\n" + extra, encoding="utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> dict[str, Any]:
    assert command_line(["curve", *arguments, "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def with_columns(path: Path, *more: str) -> list[str]:
    return [str(path), "--x", "conc", "--y", "od", "--group", "plate", *more]


@pytest.mark.parametrize("weights", ["none", "1/y2", "power", "floor_and_cv"])
@pytest.mark.parametrize("model", ["3pl", "4pl", "5pl"])
def test_the_object_holds_a_fit_per_group(
    model: str, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv", foot=0.0 if model == "3pl" else 0.05)
    found = told(capsys, with_columns(path, "--model", model, "--weights", weights))
    assert [fit["group"] for fit in found["fits"]] == ["P1", "P2"] and found["ok"] is True
    for fit in found["fits"]:
        assert fit["model"] == model and fit["weights"].split()[0].split(",")[0] in (
            weights,
            "floor",
        )
        assert {"lower", "upper", "ec50", "hill"} <= set(fit["parameters"])
        assert ("asymmetry" in fit["parameters"]) == (model == "5pl")
        assert fit["parameters"]["upper"]["estimate"] == pytest.approx(3.0, rel=0.1)
        assert fit["parameters"]["ec50"]["estimate"] == pytest.approx(200.0, rel=0.15)
        assert fit["parameters"]["ec50"]["se"] > 0.0
        assert (fit["parameters"]["lower"]["se"] is None) == (model == "3pl")
        assert fit["df"] == fit["n"] - int(model[0]) == 20 - int(model[0])
        assert fit["sigma"] == pytest.approx((fit["rss"] / fit["df"]) ** 0.5)


def test_numbers_are_those_of_the_reference(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "reference_curves" / "dnase_elisa.csv"
    found = told(capsys, [str(path), "--x", "conc", "--y", "density", "--group", "Run"])
    assert len(found["fits"]) == 11
    one = found["fits"][0]
    of = one["parameters"]
    assert of["upper"]["estimate"] == pytest.approx(2.377239, abs=5e-7)
    assert of["upper"]["se"] == pytest.approx(0.109516, abs=5e-7)
    assert of["lower"]["se"] == pytest.approx(0.017200, abs=5e-7)
    assert np.log(of["ec50"]["estimate"]) == pytest.approx(1.507403, abs=5e-7)
    assert of["ec50"]["se"] / of["ec50"]["estimate"] == pytest.approx(0.102080, abs=5e-7)
    assert 1.0 / of["hill"]["estimate"] == pytest.approx(1.062579, abs=5e-7)
    assert one["sigma"] == pytest.approx(0.01981, abs=5e-6)
    assert one["rss"] == pytest.approx(0.0047073, abs=5e-8)


def test_a_falling_curve_has_a_hill_below_zero_and_both_errors(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "reference_curves" / "ryegrass.csv"
    of = told(capsys, [str(path), "--x", "conc", "--y", "rootl"])["fits"][0]["parameters"]
    assert of["hill"]["estimate"] == pytest.approx(-2.98222, rel=1e-5)
    assert of["hill"]["se_observed_hessian"] == pytest.approx(0.46506, rel=1e-4)
    assert of["ec50"]["se_observed_hessian"] == pytest.approx(0.18573, rel=1e-4)
    assert of["lower"]["estimate"] < of["upper"]["estimate"]


def test_auto_keeps_four_where_the_asymmetry_is_not_known_and_a_named_five_is_warned_of(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        str(shared_data / "reference_curves" / "ryegrass.csv"),
        "--x",
        "conc",
        "--y",
        "rootl",
    ]
    auto = told(capsys, [*arguments, "--model", "auto"])["fits"][0]
    assert (
        auto["model"] == "4pl" and "5pl refused: the asymmetry is not identified" in auto["choice"]
    )
    named = told(capsys, [*arguments, "--model", "5pl"])["fits"][0]
    assert (named["model"], named["qc"]) == ("5pl", "warn")
    assert "0.468" in named["reasons"][0]


def test_unknowns_are_replicates_by_name_with_dilution_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv")
    found = told(capsys, with_columns(path, "--sample", "name", "--dilution", "times"))
    first, second = found["fits"][0]["unknowns"]
    assert (first["sample"], first["n"], first["dilution"]) == ("S1", 2, 2.0)
    assert first["estimate"] == pytest.approx(200.0, rel=0.05)
    assert first["lower"] < 200.0 < first["upper"] and first["censoring"] == "none"
    assert (second["n"], second["rows"]) == (1, [23])
    assert second["estimate"] == pytest.approx(400.0, rel=0.05)
    assert second["upper"] / second["lower"] > first["upper"] / first["lower"]


def test_without_names_every_row_is_an_unknown_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, with_columns(a_file(tmp_path / "plate.csv")))
    assert [one["sample"] for one in found["fits"][0]["unknowns"]] == ["row 21", "row 22", "row 23"]


def test_rules_censor_on_the_scale_of_the_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv", "P1,,0.0501,low,10\nP1,,2.999,high,10\n")
    found = told(
        capsys,
        with_columns(path, "--sample", "name", "--dilution", "times", "--rules", "ligand_binding",
                     "--weights", "power"),
    )  # fmt: skip
    fit = found["fits"][0]
    low, high = fit["unknowns"][-2:]
    assert (low["censoring"], low["estimate"], low["upper"]) == ("left", None, 10.0 * fit["lloq"])
    assert (high["censoring"], high["estimate"], high["lower"]) == ("right", None, 10 * fit["uloq"])
    assert high["upper"] is None and len(fit["levels"]) == 9


def test_points_without_a_curve_end_with_6_and_no_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("conc,od\n1,0.1\n2,0.2\n,0.15\n", encoding="utf-8")
    found = told(capsys, [str(path), "--x", "conc", "--y", "od"], code=6)
    fit = found["fits"][0]
    assert (
        found["ok"] is False
        and fit["qc"] == "fail"
        and "2 levels and 2 points" in fit["reasons"][0]
    )
    assert fit["parameters"]["ec50"]["estimate"] is None and fit["rss"] is None
    assert fit["unknowns"][0]["estimate"] is None
    assert command_line(["curve", str(path), "--x", "conc", "--y", "od"]) == 6
    assert "CL-600" in capsys.readouterr().err


WRONG_CELLS = [
    ("P1,x,0.4,,\n", "row 47, column 'conc': 'x' is not a number; allowed are numbers with"),
    ("P1,-2,0.4,,\n", "row 47, column 'conc': -2 is below 0"),
    ("P1,10,,,\n", "row 47, column 'od': the cell is empty"),
    ("P1,10,OVRFLW,,\n", "row 47, column 'od': 'OVRFLW' is not a number"),
    ("P1,10,nan,,\n", "row 47, column 'od': 'nan' is not a number"),
    ("P1,10,1_0,,\n", "row 47, column 'od': '1_0' is not a number"),
    ('P1,10,"0,4",,\n', "a decimal comma is not read"),
    ("P1,10,0,4,,\n", "row 47: 6 cells, the header has 5; is it a decimal comma?"),
    (",10,0.4,,\n", "row 47, column 'plate': the group is empty"),
    ("P3,,0.4,,1\n", "no row of group 'P3' has a concentration"),
    ("P1,,0.4,a,0.5\n", "row 47, column 'times': 0.5; allowed are 1"),
]


@pytest.mark.parametrize(
    ("line", "message"), WRONG_CELLS, ids=[line[:-1] for line, _ in WRONG_CELLS]
)
def test_what_is_wrong_in_a_file_is_told_with_column_and_row(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv", line)
    assert command_line(["curve", *with_columns(path, "--dilution", "times"), "--json"]) == 3
    captured = capsys.readouterr()
    assert message in captured.err and "plate.csv" in captured.err
    assert json.loads(captured.out)["error"]["code"] == "CL-300"


def test_weights_by_observed_signals_need_signals_above_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv", "P1,0,-0.01,,\n")
    arguments = with_columns(path, "--weights", "1/y2", "--weights-at", "observed")
    assert command_line(["curve", *arguments]) == 3
    assert "the lowest is -0.01" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--x", "dose", "--y", "od"], "there is no column 'dose'; allowed are plate, conc, od"),
        (["--x", "conc", "--y", "od", "--level", "95"], "allowed are levels between 0 and 1"),
        (["--x", "conc", "--y", "od", "--plot", "a.pdf"], "a plot is written as .svg or .png"),
        (["--x", "conc", "--y", "od", "--model", "6pl"], "6pl"),
    ],
)
def test_wrong_use_ends_with_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv")
    assert command_line(["curve", str(path), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"conc,od\n", "no row below the header"),
        (b"conc,od,od\n1,2,3\n", "column 'od' stands in the header more than once"),
        (b"conc,od\n1,\xb5\n", "is not UTF-8"),
    ],
)
def test_files_that_are_none_are_refused(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    assert command_line(["curve", str(path), "--x", "conc", "--y", "od"]) == 3
    assert message in capsys.readouterr().err
    assert command_line(["curve", str(tmp_path / "none.csv"), "--x", "conc", "--y", "od"]) == 3


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_marks_are_read(
    separator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "plate.csv")
    plain = told(capsys, with_columns(path))["fits"]
    text = path.read_text(encoding="utf-8").replace(",", separator)
    path.write_text(text, encoding="utf-16")
    assert told(capsys, with_columns(path))["fits"] == plain


def test_the_plot_is_the_same_every_time_and_never_written_over_by_accident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, plot = a_file(tmp_path / "plate.csv"), tmp_path / "curve.svg"
    arguments = ["curve", *with_columns(path, "--plot", str(plot))]
    assert command_line(arguments) == 0
    assert "P1: 4pl, 20 points, weights none" in capsys.readouterr().out
    drawn = plot.read_bytes()
    assert b"<svg" in drawn and b">P2<" in drawn and b"unknowns, 95% interval" in drawn
    assert command_line(arguments) == 2
    assert command_line([*arguments, "--force"]) == 0
    assert plot.read_bytes() == drawn
