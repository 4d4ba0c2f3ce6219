"""``chiploop impedance``: the value and its flags, exit codes, what is wrong in an option or a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.cli.main import command_line
from tests.chiploop.assays.spectra import a_spectrum
from tests.chiploop.exports import impedance_texts as texts

CHANNEL = ["--channel", "10mm x 1mm x 0.2mm", "--resistivity", "67 ohm*cm"]


def a_file(folder: Path, name: str = "chip.csv", **spectrum: Any) -> Path:
    one = a_spectrum(**{"noise": 0.01, "hz": np.append(np.logspace(0, 5, 31), 1.0), **spectrum})
    rows = [
        f"{hz:.7g},{z.real:.8g},{z.imag:.8g}"
        for hz, z in zip(one.frequency_hz, one.impedance_ohm, strict=True)
    ]
    path = folder / name
    path.write_text("\n".join(["frequency_hz,z_real_ohm,z_imag_ohm", *rows]) + "\n")
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    assert command_line(["impedance", *map(str, arguments), "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def test_teer_comes_with_interval_circuit_checks_and_flags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(
        capsys, a_file(tmp_path), "--area", "0.33cm2", "--blank", "100 ohm", "--blank-sd", "2 ohm",
        "--blank-of", "membrane", "--temperature", "37",
    )  # fmt: skip
    teer = found["teer"]
    assert teer["lower"] < 2900 * 0.33 < teer["upper"] and teer["unit"] == "ohm cm2"
    assert found["resistance_ohm"]["value"] == pytest.approx(3000, rel=0.02)
    assert found["series_ohm"]["value"] == pytest.approx(200, rel=0.02)
    assert set(found["capacitance_f"]) == {"Hsu-Mansfeld", "Brug"}
    assert (found["kramers_kronig"]["verdict"], found["drift"]["verdict"]) == ("ok", "ok")
    assert [flag["code"] for flag in found["flags"]] == ["geometry"] and found["qc"] == "ok"


def test_a_drifting_chip_is_flagged_and_still_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, a_file(tmp_path, drift=0.3), "--area", "0.33cm2")
    assert (found["kramers_kronig"]["verdict"], found["drift"]["verdict"]) == ("flag", "flag")
    assert found["ok"] and found["qc"] == "warn"
    assert {"drift", "kramers_kronig"} <= {f["code"] for f in found["flags"] if f["serious"]}


def test_the_field_of_a_channel_is_taken_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path, r=2000.0, rs=30.0, q=2e-7, k=67000.0)
    found = told(capsys, path, "--geometry", "one-end", *CHANNEL)
    assert found["teer"]["value"] == pytest.approx(200.0, rel=0.03)
    assert "geometry" not in {flag["code"] for flag in found["flags"]}
    plain = told(capsys, path, "--area", "0.1cm2")
    assert plain["teer"]["value"] > 800.0


def test_a_table_and_a_blank_file_serve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "g.csv"
    rows = "".join(f"{teer},{200 + 2 * teer}\n" for teer in (0, 100, 1000, 10000))
    table.write_text("teer_ohm_cm2,resistance_ohm\n" + rows)
    blank = a_file(tmp_path, "blank.csv", r=60.0)
    found = told(capsys, a_file(tmp_path), "--geometry", table, "--blank", blank)
    assert found["teer"]["value"] == pytest.approx(1470.0, rel=0.02)
    assert "geometry by table g.csv" in found["method"]
    assert "cell-free blank.csv, sd assumed 5 %" in found["method"]


def test_one_frequency_is_flagged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_file(tmp_path, hz=np.full(3, 12.5))
    found = told(capsys, path, "--area", "0.33cm2")
    assert found["qc"] == "warn" and found["resistance_ohm"]["value"] is None
    assert "single_frequency" in {flag["code"] for flag in found["flags"]}


def test_a_spectrum_without_a_value_ends_with_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, a_file(tmp_path, noise=0.3), "--area", "0.33cm2", code=6)
    assert found["ok"] is False and found["teer"]["value"] is None
    assert command_line(["impedance", str(a_file(tmp_path, noise=0.3))]) == 6
    assert "no value; the reasons stand above" in capsys.readouterr().err


def test_a_vendor_file_is_read_and_a_cut_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.DTA"
    path.write_bytes(texts.gamry(np.logspace(5, 0, 21)).encode("latin-1"))
    found = told(capsys, path)
    assert (found["format"], found["points"], found["teer"]["unit"]) == ("gamry", 21, "ohm")
    path.write_bytes(path.read_bytes()[:-20])
    assert told(capsys, path, code=3)["error"]["code"] == "CL-300"


def test_the_text_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "out.svg"
    assert command_line(
        ["impedance", str(a_file(tmp_path)), "--area", "0.33cm2", "--plot", str(plot)]
    ) == 0  # fmt: skip
    text = capsys.readouterr().out
    for word in ("TEER", "Rs", "CPE", "lin-KK", "drift", "geometry not corrected", "no blank"):
        assert word in text
    drawing = plot.read_text(encoding="utf-8")
    assert "Nyquist" not in drawing and "frequency (Hz)" in drawing and "chip.csv" in drawing
    assert command_line(["impedance", str(a_file(tmp_path)), "--plot", str(plot)]) == 2


def test_a_figure_is_drawn_of_a_spectrum_that_failed_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "out.png"
    told(capsys, a_file(tmp_path, noise=0.3), "--plot", plot, code=6)
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--area", "0.33"], "--area"),
        (["--area", "0 cm2"], "above 0"),
        (["--area-sd", "0.1 cm2"], "needs --area"),
        (["--blank", "100 ohm"], "--blank-of is needed"),
        (["--blank", "none.csv"], "no such file"),
        (["--blank-of", "total"], "need --blank"),
        (["--geometry", "corner"], "none of area, one-end"),
        (["--geometry", "one-end"], "needs --channel"),
        (["--geometry", "one-end", "--channel", "1mm", "--resistivity", "67 ohm*cm"], "length x width"),
        (["--geometry", "one-end", "--channel", "0mm x 1mm x 1mm", "--resistivity", "67 ohm*cm"], "above 0"),
        (["--geometry", "one-end", *CHANNEL, "--area", "0.33 cm2"], "length times width"),
        (CHANNEL, "need --geometry"),
        (["--temperature", "300"], "between 0 and 60"),
        (["--temperature-coefficient", "2 %"], "needs --temperature"),
        (["--level", "95"], "between 0 and 1"),
        (["--plot", "a.pdf"], ".svg or .png"),
    ],
)  # fmt: skip
def test_a_wrong_option_ends_with_2_and_says_what_is_allowed(
    arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["impedance", str(a_file(tmp_path)), *arguments]) == 2
    assert why in capsys.readouterr().err
