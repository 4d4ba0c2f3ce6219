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
