"""``chiploop plate``: every real file, the JSON object, CSV and figure, layouts, exit codes, odd input."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.curves import write_plate
from chiploop.errors import WrongUse
from chiploop.protocols_path import protocols_folder
from flows.cli.main import command_line
from flows.cli.plate import read_dilutions

GEN5 = "gen5_absorbance_stdcurve_singleplate.txt"
MSD = "msd_workbench_test_2.csv"
SOFTMAX = "softmax_pro_absorbance_endpoint_example01.txt"
METHODICAL_MIND = "msd_methodical_mind_test_1.txt"
WITHOUT = (
    "gen5_fluorescence_endpoint_singleplate.txt", "luminex_intelliflex_v2_2.csv",
    "luminex_xponent_example02.csv", "luminex_xponent_nan_and_not_reported.csv",
    METHODICAL_MIND, "softmax_pro_fluorescence_endpoint_example06.txt",
)  # fmt: skip


def told(
    capsys: pytest.CaptureFixture[str], path: Path, *more: str, code: int = 0
) -> dict[str, Any]:
    assert command_line(["plate", str(path), *more, "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def layout_of(path: Path, *lines: str, head: str = "well,role,sample,concentration,anchor") -> Path:
    path.write_text("\n".join([head, *lines, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", WITHOUT)
def test_a_file_without_standards_is_refused_with_what_it_holds(
    name: str, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["plate", str(shared_data / "vendor_exports" / name)]) == 3
    error = capsys.readouterr().err
    assert "no standard with a concentration" in error and "--layout FILE" in error


@pytest.mark.parametrize(
    ("name", "analytes", "samples"), [(GEN5, 1, 24), (MSD, 1, 16), (SOFTMAX, 2, 24)]
)
def test_a_file_with_standards_is_judged_and_reads_within_100_columns(
    name: str, analytes: int, samples: int, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "vendor_exports" / name
    found = told(capsys, path, "--model", "4pl")
    assert found["ok"] and len(found["results"]) == analytes
    for one in found["results"]:
        assert len(one["samples"]) == samples and len(one["calibrators"]) == 7
        free = one["curve"]["covariance"]["of"]
        assert free == ["lower", "upper", "ln_location", "ln_hill"]
        assert len(one["curve"]["covariance"]["values"]) == 4
        for sample in one["samples"]:
            assert (sample["value"] is None) == (sample["censoring"] != "none")
            assert len(sample["curve"]) == 4 and sample["sd_ln"] > 0.0
    assert command_line(["plate", str(path), "--model", "4pl"]) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "LLOQ" in text and "all judged, no anchors" in text


def test_a_dilution_series_of_the_file_is_judged(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, shared_data / "vendor_exports" / GEN5, "--model", "4pl")
    series = found["results"][0]["series"]
    assert [one["sample"] for one in series] == [f"SPL{i}" for i in range(1, 7)]
    for one in series:
        assert one["dilutions"] == [1.0, 2.0, 4.0, 8.0]
        assert one["parallel"] and one["linear"] and not one["hooked"]


def test_csv_holds_bounds_and_numbers_and_is_not_written_over(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, plot = tmp_path / "out.csv", tmp_path / "out.svg"
    path = shared_data / "vendor_exports" / MSD
    asked = ["plate", str(path), "--model", "4pl", "--csv", str(table), "--plot", str(plot)]
    assert command_line(asked) == 0
    assert plot.read_text(encoding="utf-8").startswith("<?xml")
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    assert len(rows) == 16
    above = rows[0]
    assert (above["sample"], above["value"], above["censoring"]) == ("U001", "", "right")
    assert (above["lower"], above["upper"], above["reasons"]) == ("100", "", "above ULOQ")
    number = next(row for row in rows if row["sample"] == "U004")
    assert float(number["lower"]) < float(number["value"]) < float(number["upper"])
    capsys.readouterr()
    assert command_line(asked) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_layout_gives_standards_to_a_file_that_has_none(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "vendor_exports" / METHODICAL_MIND
    export = path.read_text(encoding="utf-8")
    assert "22M0TALA85N" in export
    # The eight wells of a plate that rise, called a ladder: only the order matters here.
    ladder = [f"A{i},standard,S{i},{4000 / 2**i:g} pg/mL," for i in range(1, 9)]
    layout = layout_of(tmp_path / "layout.csv", *ladder, "B1:B2,sample,X,,")
    found = told(capsys, path, "--layout", str(layout), "--falling", code=3)
    assert "does not fit its layout" in found["error"]["message"]
    assert command_line(["plate", str(path), "--layout", str(layout)]) in (3, 6, 0)


def test_a_layout_that_differs_is_told_and_taken(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "vendor_exports" / GEN5
    agrees = layout_of(tmp_path / "a.csv", "A1:A3,standard,STD1,2000 pg/mL,yes")
    found = told(capsys, path, "--model", "4pl", "--layout", str(agrees))
    one = found["results"][0]
    assert one["unit"] == "pg/mL" and one["uloq"] == 666.67
    assert [level["anchor"] for level in one["calibrators"]] == [False] * 6 + [True]
    assert one["calibrators"][-1]["passed"] is None
    assert not any("the layout is taken" in note for note in found["notes"])
    differs = layout_of(tmp_path / "d.csv", "A4:A6,blank,,,")
    found = told(capsys, path, "--model", "4pl", "--layout", str(differs), code=6)
    (note,) = [one for one in found["notes"] if "the layout is taken" in one]
    assert "the layout says blank, the file sample, in A4, A5, A6" in note
    # blanks of 2 OD leave no curve that calculates back
    assert found["results"][0]["qc"] == "fail"


def test_rules_of_ones_own_are_taken_by_their_path(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (protocols_folder() / "acceptance" / "ligand_binding.yaml").read_text(encoding="utf-8")
    own = tmp_path / "ours.yaml"
    text = text.replace("anchors: []", "anchors: [STD7]").replace("name: ligand", "name: our")
    own.write_text(text, encoding="utf-8")
    path = shared_data / "vendor_exports" / GEN5
    found = told(capsys, path, "--model", "4pl", "--rules", str(own))
    assert found["rules"] == "our_binding"
    assert found["results"][0]["lloq"] == 8.2305 and found["results"][0]["calibrators"][0]["anchor"]


def test_a_dilution_that_a_person_names_is_taken_and_told(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "vendor_exports" / MSD
    plain = told(capsys, path, "--model", "4pl")["results"][0]["samples"]
    asked = told(capsys, path, "--model", "4pl", "--dilution", "4", "--dilution", "U004=10")
    found = asked["results"][0]["samples"]
    for before, after in zip(plain, found, strict=True):
        times = 10.0 if after["sample"] == "U004" else 4.0
        assert after["dilution"] == times
        key = "lower" if before["value"] is None else "value"
        assert after[key] == pytest.approx(times * before[key])
    strange = told(capsys, path, "--model", "4pl", "--dilution", "nobody=4")
    assert "no sample is called nobody; no dilution was set for it" in strange["notes"]


def test_a_multiplex_plate_takes_its_kits_table_and_one_analyte_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plate.csv"
    levels = write_plate(path)
    names = ["A01", "A02"]
    table = tmp_path / "standards.csv"
    rows = [f"{s}," + ",".join(f"{of[n]:.9g}" for n in names) for s, of in levels.items()]
    table.write_text("\n".join(["sample," + ",".join(names), *rows, ""]), encoding="utf-8")
    asked = ("--standards", str(table), "--model", "4pl", "--analyte", "A01")
    found = told(capsys, path, *asked)
    assert [one["analyte"] for one in found["results"]] == ["A01"]
    assert len(found["results"][0]["samples"]) == 31
    assert found["results"][0]["samples"][0]["beads"] >= 35
    # An analyte that the table does not have is named, not left out in silence.
    found = told(capsys, path, *asked, "--analyte", "A03")
    assert found["without_standards"] == ["1, A03"]
    assert command_line(["plate", str(path), "--analyte", "TNF"]) == 2
    assert "has A01, A02" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0.5", "x", "A=", "A=0", "A=nan", "=inf", ""])
def test_a_word_that_is_no_dilution_is_refused(text: str) -> None:
    with pytest.raises(WrongUse, match="write 4 for all samples"):
        read_dilutions([text])


def test_dilutions_are_read_by_sample() -> None:
    assert read_dilutions(["4", "a=b=2.5"]) == {"": 4.0, "a=b": 2.5}
    with pytest.raises(WrongUse):
        read_dilutions(["A=2", "A=3"])


WORDS = st.sampled_from(
    ["", "standard", "blank", "sample", "control", "empty", "S1", "A1", "A1:H12", "H12:A1", "B2",
     "500 pg/mL", "2 ng/mL", "0 pg/mL", "-5 pg/mL", "1e300 pg/mL", "1", "0.5", "yes", "no", "é", "=1",
     "24 h", "nan"]
)  # fmt: skip
HEADS = st.permutations(
    ["well", "role", "sample", "concentration", "dilution", "replicate", "chip", "time", "anchor"]
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(head=HEADS, rows=st.lists(st.lists(WORDS, min_size=9, max_size=9), max_size=5))
def test_no_layout_ends_in_a_traceback(
    shared_data: Path, head: list[str], rows: list[list[str]]
) -> None:
    path = shared_data / "vendor_exports" / METHODICAL_MIND
    with tempfile.TemporaryDirectory() as folder:
        layout = layout_of(
            Path(folder) / "layout.csv", *(",".join(row) for row in rows), head=",".join(head)
        )
        assert command_line(["plate", str(path), "--layout", str(layout)]) in (0, 2, 3, 6)


LADDERS = st.lists(
    st.tuples(
        st.sampled_from(["standard", "blank", "sample", "control"]),
        st.sampled_from([1e-9, 0.5, 1.0, 8.0, 64.0, 512.0, 4096.0, 1e12]),
        st.sampled_from([1.0, 2.0, 1000.0]),
    ),
    min_size=1,
    max_size=24,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(wells=LADDERS, model=st.sampled_from(["auto", "3pl", "4pl", "5pl"]), falling=st.booleans())
def test_no_plan_of_a_plate_ends_in_a_traceback(
    shared_data: Path, wells: list[tuple[str, float, float]], model: str, falling: bool
) -> None:
    path = shared_data / "vendor_exports" / METHODICAL_MIND
    lines = []
    for i, (role, level, times) in enumerate(wells):
        known = f"{level:g} pg/mL" if role in ("standard", "control") else ""
        lines.append(f"{'ABCDEFGH'[i % 8]}{i // 8 + 1},{role},N{i // 2},{known},{times:g}")
    with tempfile.TemporaryDirectory() as folder:
        layout = layout_of(
            Path(folder) / "layout.csv", *lines, head="well,role,sample,concentration,dilution"
        )
        asked = ["plate", str(path), "--layout", str(layout), "--model", model, "--json"]
        assert command_line([*asked, *(["--falling"] if falling else [])]) in (0, 3, 6)
