"""``chiploop permeability``: the JSON object, exit codes, what is wrong in a file with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop.assays.tracer_transport import PerfusedTransport, StaticTransport
from flows.cli.main import command_line

TIMES = np.array([15.0, 30.0, 60.0, 90.0, 120.0, 180.0])
STATED = [
    "--area", "1.12 cm2", "--donor-volume", "0.5 mL", "--receiver-volume", "1.5 mL",
    "--removed", "100 uL", "--replaced", "100 uL",
]  # fmt: skip
P = {"A1": 3e-6, "blank1": 2.9e-5, "blank2": 3.1e-5}


def signal(concentration: float) -> float:
    return 40.0 + 180.0 * concentration


def a_file(path: Path, signals: bool = False, lost: float = 0.0, p: dict[str, float] = P) -> Path:
    volumes = np.full(6, 100.0)
    transport = StaticTransport(TIMES / 60.0, 500.0, 1500.0, volumes, volumes)
    lines = ["insert,time_min,receiver,donor,donor_dilution"]
    shown = signal if signals else float
    dilution = 100 if signals else 1
    for name, p_app in p.items():
        clearance = np.array([p_app * 1.12 * 3.6e6])
        seen = 100.0 * transport.predict(clearance, np.array([0.2]))[0]
        left = (100.0 - transport.passed(seen) / 500.0) * (1.0 - lost)
        lines.append(f"{name},0,,{shown(100.0 / dilution)},{dilution}")
        for time, c in zip(TIMES, seen, strict=True):
            donor = f"{shown(left / dilution)},{dilution}" if time == 180.0 else ","
            lines.append(f"{name},{time:g},{shown(float(c))},{donor}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def standards(path: Path) -> Path:
    rows = [f"{c},{signal(c)}" for c in (0, 0, 0.1, 0.3, 1, 3, 10, 30)]
    path.write_text("concentration,signal\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def told(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> dict[str, Any]:
    assert command_line(["permeability", *arguments, "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("signals", [False, True])
def test_the_object_holds_every_insert(
    signals: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "inserts.csv", signals)
    more = ["--standards", str(standards(tmp_path / "std.csv"))] if signals else []
    found = told(
        capsys, [str(path), *STATED, *more, "--blank", "blank1", "--blank", "blank2", "--free-dye", "0 %"]
    )  # fmt: skip
    assert found["ok"] is True and [one["insert"] for one in found["inserts"]] == list(P)
    one = found["inserts"][0]
    assert one["p_app_cm_s"] == pytest.approx(3e-6, rel=1e-4)
    assert one["lag_h"] == pytest.approx(0.2, abs=1e-3)
    assert one["recovery"] == pytest.approx(1.0, abs=0.01)
    assert one["lower"] <= one["p_app_cm_s"] <= one["upper"] and one["qc"] == "ok"
    assert one["one_shot_cm_s"] / one["p_app_cm_s"] - 1 == pytest.approx(
        one["one_shot_error"], abs=1e-4
    )
    blank = 1 / np.sqrt(2.9e-5 * 3.1e-5)
    assert one["cells"]["p_cm_s"] == pytest.approx(1 / (1 / 3e-6 - blank), rel=1e-3)
    assert (found["standards"] is not None) == signals
    assert len(one["samples"]) == 6


def test_the_text_says_what_a_person_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "inserts.csv", lost=0.35)
    plot = tmp_path / "out.svg"
    arguments = ["permeability", str(path), *STATED, "--blank-permeability", "2e-6 cm/s"]
    assert command_line([*arguments, "--plot", str(plot)]) == 0
    out = capsys.readouterr().out
    for words in ("P_app 3e-06 cm/s", "95 %", "uL/min", "recovery", "mass balance", "sink formula",
                  "not above 0", "free dye was not checked"):  # fmt: skip
        assert words in out, words
    assert plot.read_text(encoding="utf-8").count("<svg") == 1
    assert command_line([*arguments, "--plot", str(plot)]) == 2  # it is there already


def test_a_perfused_receiver_is_read_by_its_windows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    starts = np.concatenate([[0.0], ends[:-1]])
    seen = PerfusedTransport(starts, ends, 60.0, 200.0, 20.0, 30.0).predict(
        np.array([1.2]), np.array([0.0])
    )[0]
    path = tmp_path / "chip.csv"
    rows = [
        f"{a},{b},{50 * c}," + ("50" if a == 0 else "")
        for a, b, c in zip(starts, ends, seen, strict=True)
    ]
    path.write_text("start_h,time_h,receiver,donor\n,0,,50\n" + "\n".join(rows), encoding="utf-8")
    found = told(
        capsys,
        [str(path), "--area", "0.3 cm2", "--donor-volume", "200 uL", "--receiver-volume", "20 uL",
         "--flow-rate", "60 uL/h", "--dead-volume", "30 uL", "--lag", "0 h"],
    )  # fmt: skip
    (one,) = found["inserts"]
    assert one["p_app_cm_s"] == pytest.approx(1.2 / 3.6e6 / 0.3, rel=1e-4)
    assert one["one_shot_error"] < -0.05  # the donor empties


def test_an_insert_without_enough_samples_fails_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "inserts.csv", p={"A1": 3e-6})
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(rows[:5]) + "\n", encoding="utf-8")
    found = told(capsys, [str(path), *STATED], code=6)
    assert found["ok"] is False and found["inserts"][0]["p_app_cm_s"] is None
    assert "a slope needs 4" in found["inserts"][0]["reasons"][0]


HEAD = "insert,time_min,receiver,donor,donor_dilution"
BAD_FILES = {
    "unknown column": (
        "time_min,receiver,dose\n1,2,3\n",
        ["line 1", "'dose'", "allowed are insert"],
    ),
    "no time": ("receiver\n3\n", ["line 1", "'time_h' or 'time_min'"]),
    "two times": ("time_h,time_min,receiver\n1,60,3\n", ["line 1", "time_h and time_min"]),
    "no receiver": ("time_h,donor\n1,3\n", ["line 1", "'receiver'"]),
    "a word": (f"{HEAD}\nA1,0,,100,\nA1,15,much,,\n", ["line 3", "'receiver'", "'much'"]),
    "a decimal comma": (
        "time_h;receiver;donor\n0;;100\n1;0,5;\n",
        ["line 3", "'receiver'", "decimal comma"],
    ),
    "time below 0": (f"{HEAD}\nA1,-5,1,,\n", ["line 2", "'time_min'", "-5", "allowed are 0"]),
    "dilution below 1": (
        f"{HEAD}\nA1,0,,100,0.5\n",
        ["line 2", "'donor_dilution'", "0.5", "1 and more"],
    ),
    "an empty time": (f"{HEAD}\nA1,,1,,\n", ["line 2", "'time_min'", "empty"]),
    "an empty name": (f"{HEAD}\n,5,1,,\n", ["line 2", "'insert'", "empty"]),
    "no donor": (f"{HEAD}\nA1,15,1,,\n", ["'A1'", "donor was not read at time 0"]),
    "a donor of nothing": (f"{HEAD}\nA1,0,,0,\nA1,15,1,,\n", ["line 2", "'donor'"]),
    "no sample": (f"{HEAD}\nA1,0,,100,\n", ["'A1'", "no reading of the receiver"]),
    "no row": (f"{HEAD}\n", ["no row"]),
    "a short row": (f"{HEAD}\nA1,15\n", ["row 1", "2 cells"]),
    "a thirsty sample": (
        "time_h,receiver,donor,removed_ul,replaced_ul\n0,,9,,\n1,1,,900,0\n2,1,,900,0\n",
        ["sample 2", "900 uL of the 600 uL"],
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = BAD_FILES[name]
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    assert command_line(["permeability", str(path), *STATED]) == 3
    said = capsys.readouterr().err
    for word in ("bad.csv", *words):
        assert word in said, said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("concentration,od\n1,2\n", ["line 1", "'signal'"]),
        ("concentration,signal\n1,2\n3,\n", ["line 3", "'signal'"]),
        ("concentration,signal\n-1,2\n", ["line 2", "-1", "background"]),
        ("concentration,signal\n1,2\n2,4\n3,6\n", ["background"]),
    ],
)
def test_what_is_wrong_with_standards_is_told(
    content: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "std.csv"
    path.write_text(content, encoding="utf-8")
    inserts = a_file(tmp_path / "inserts.csv", signals=True)
    assert command_line(["permeability", str(inserts), *STATED, "--standards", str(path)]) == 3
    said = capsys.readouterr().err
    for word in ("std.csv", *words):
        assert word in said, said


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--area", "1.12"], "no unit"),
        (["--area", "0 cm2"], "above 0"),
        (["--lag", "soon"], "--lag"),
        (["--donor-perfused"], "not both"),
        (["--flow-rate", "30 uL/h"], "leave --removed away"),
        (["--blank", "nobody"], "allowed are A1, blank1, blank2"),
        (["--blank", "blank1", "--blank-permeability", "3e-5 cm/s"], "not both"),
        (["--plot", "out.pdf"], ".svg or .png"),
    ],
)
def test_wrong_use_is_told(
    change: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "inserts.csv")
    assert command_line(["permeability", str(path), *STATED, *change]) == 2
    assert word in capsys.readouterr().err


def test_removed_volume_needs_what_was_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "inserts.csv")
    assert command_line(["permeability", str(path), *STATED[:-2]]) == 2
    assert '--replaced "0 uL"' in capsys.readouterr().err


def test_signals_beyond_the_straight_part_are_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path / "inserts.csv", signals=True, p={"A1": 3e-5})
    short = tmp_path / "std.csv"
    rows = [f"{c},{signal(c)}" for c in (0, 0, 0.1, 0.3, 1, 3, 10)]
    short.write_text("concentration,signal\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = told(capsys, [str(path), *STATED, "--standards", str(short)])
    one = found["inserts"][0]
    assert one["qc"] == "warn" and "dilute and read again" in " ".join(one["reasons"])
    assert [sample["concentration"] is None for sample in one["samples"]][-1]
    assert one["p_app_cm_s"] == pytest.approx(3e-5, rel=1e-3)
