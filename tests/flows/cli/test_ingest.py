"""``chiploop ingest``: one JSON object, exit codes, and a table that a person can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli.main import command_line

EXAMPLE = "luminex_xponent_example02.csv"


def test_json_holds_every_readout_and_no_number_that_is_none(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "luminex_xponent_nan_and_not_reported.csv"
    assert command_line(["ingest", str(shared_data / "vendor_exports" / name), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["rows"], len(told["readouts"])) == ("luminex_xponent", 1536, 1536)
    first = told["readouts"][0]
    assert (first["well"], first["sample"], first["analyte"]) == ("A1", "Unknown1", "analyte1")
    assert first["value"] is None and first["lower"] is None and first["upper"] is None
    assert first["censoring"] == "none" and first["qc"] == "fail" and "nan" in first["reasons"]
    assert len(told["sha256"]) == 64


def test_the_text_form_has_a_row_per_table_and_analyte(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["ingest", str(shared_data / "vendor_exports" / EXAMPLE)]) == 0
    told = capsys.readouterr().out
    assert "52 values read, 10 flagged." in told
    assert "censored" in told and "Avg Net MFI" in told and "note:" in told


def test_a_cut_file_ends_with_3_and_one_message(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (shared_data / "vendor_exports" / EXAMPLE).read_bytes()
    path = tmp_path / "cut.csv"
    path.write_bytes(data[: len(data) // 2])
    assert command_line(["ingest", str(path), "--json"]) == 3
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["ok"], told["error"]["code"]) == (False, "CL-300")
    assert "incomplete" in captured.err and "Traceback" not in captured.err


def test_the_code_page_of_the_caller_is_used_and_said(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (shared_data / "vendor_exports" / EXAMPLE).read_text("utf-8").replace("\ufffd", "µ")
    path = tmp_path / "latin.csv"
    path.write_bytes(text.encode("latin-1"))
    assert command_line(["ingest", str(path), "--json", "--code-page", "latin-1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["encoding"] == "latin-1"
    assert "named by the caller" in told["notes"][0]


def test_a_preview_names_plates_times_and_every_flag_with_its_cells(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "vendor_exports" / "msd_workbench_test_2.csv"
    assert command_line(["ingest", str(path), "--preview"]) == 0
    told = capsys.readouterr().out
    assert "barcode TEST001" in told and "48 of 96 wells" in told
    assert "flag: nan: 8: H1 Test Assay 1.0 (line 47, column 13)" in told
    assert "464 values would be read, 10 flagged; nothing was kept." in told


def test_times_are_told_in_utc_with_the_zone_of_the_laboratory(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shared_data / "vendor_exports" / "gen5_absorbance_stdcurve_singleplate.txt")
    assert command_line(["ingest", path, "--json", "--time-zone", "Europe/Berlin"]) == 0
    (time,) = json.loads(capsys.readouterr().out)["times"]
    assert (time["text"], time["utc"]) == (
        "10/10/2022 9:00:04 PM",
        "2022-10-10T19:00:04+00:00",
    )
    assert command_line(["ingest", path, "--json"]) == 0
    (time,) = json.loads(capsys.readouterr().out)["times"]
    assert time["utc"] is None and "time zone" in time["problem"]


def test_a_watched_folder_is_taken_into_a_store_and_told_line_by_line(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    data = (shared_data / "vendor_exports" / EXAMPLE).read_bytes()
    (lab / "whole.csv").write_bytes(data)
    (lab / "cut.csv").write_bytes(data[: len(data) // 2])
    arguments = ["ingest", "--watch", str(lab), "--into", str(tmp_path / "store"), "--looks", "2",
                 "--every", "0.1", "--json"]  # fmt: skip
    assert command_line(arguments) == 0
    told = {one["file"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (told["whole.csv"]["what"], told["whole.csv"]["rows"]) == ("taken", 52)
    assert told["cut.csv"]["what"] == "waiting" and told["cut.csv"]["version"] is None
    (lab / "other.csv").write_bytes(data.replace(b'"10921.5"', b'"10921,5"'))
    assert command_line(arguments) == 3
    assert '"refused"' in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.csv", "--watch", "b"],
        ["--watch", "nowhere"],
        ["a.csv", "--date-order", "year"],
        ["a.csv", "--time-zone", "Mars"],
        ["a.csv", "--preview", "--into", "c"],
    ],
)
def test_what_does_not_go_together_is_wrong_use(arguments: list[str]) -> None:
    assert command_line(["ingest", *arguments]) == 2


def test_one_file_can_be_kept_with_its_list(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shared_data / "vendor_exports" / EXAMPLE)
    for told in ("kept as version 1", "is there already: version 1"):
        assert command_line(["ingest", path, "--into", str(tmp_path / "store"), "--json"]) == 0
        captured = capsys.readouterr()
        assert told in captured.err and json.loads(captured.out)["rows"] == 52


GEN5 = "gen5_absorbance_stdcurve_singleplate.txt"
LEVELS = (2000, 667, 222, 74, 25, 8, 3)


def layout_text(plate: str, rows: str = "ABCDEFGH", columns: tuple[int, int] = (1, 3)) -> str:
    """Return seven standards and a blank in triplicate, from the first of these rows to the last."""
    first, last = columns
    lines = [
        f"  - {{well: '{row}{first}:{row}{last}', role: standard, concentration: {level} pg/mL}}"
        for row, level in zip(rows, LEVELS, strict=False)
    ]
    lines.append(f"  - {{well: '{rows[-1]}{first}:{rows[-1]}{last}', role: blank}}")
    return f"{plate}\nplate_wells: 96\nwells:\n" + "\n".join(lines) + "\n"


def test_an_export_that_fits_its_layout_is_used_and_a_turned_one_is_not(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shared_data / "vendor_exports" / GEN5)
    layout = tmp_path / "layout.yaml"
    layout.write_text(layout_text("plate: Plate 1"))
    assert command_line(["ingest", path, "--json", "--layout", str(layout)]) == 0
    assert "no barcode on both sides" in capsys.readouterr().err
    layout.write_text(layout_text("plate: Plate 1", "HGFEDCBA", (10, 12)))
    assert command_line(["ingest", path, "--layout", str(layout)]) == 3
    told = capsys.readouterr().err
    assert "does not fit layout.yaml" in told and "turned by 180 degrees" in told


def test_a_layout_of_a_plate_that_is_not_in_the_file_is_refused(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(shared_data / "vendor_exports" / "msd_methodical_mind_test_1.txt")
    layout = tmp_path / "layout.yaml"
    layout.write_text(layout_text("barcode: X"))
    assert command_line(["ingest", path, "--layout", str(layout)]) == 3
    assert "'22M0TALA85N', '22M0TAQA86T', the layout is of 'X'" in capsys.readouterr().err
    layout.write_text(layout_text("barcode: 22M0TAQA86T"))
    assert command_line(["ingest", path, "--layout", str(layout)]) == 3
    assert "another plate or layout" in capsys.readouterr().err
