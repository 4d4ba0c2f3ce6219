"""The one door of vendor files: what is no export, what is damaged, what is not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports import LARGEST_FILE_BYTES, READERS, read_export

SOFTMAX = "softmax_pro_absorbance_endpoint_example01.txt"
XPONENT = "luminex_xponent_example02.csv"
EXAMPLES = (
    SOFTMAX,
    "softmax_pro_fluorescence_endpoint_example06.txt",
    XPONENT,
    "luminex_xponent_nan_and_not_reported.csv",
)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "export.txt"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("percent", [30, 60, 90, 97])
def test_a_file_that_is_cut_short_is_refused(
    shared_data: Path, tmp_path: Path, name: str, percent: int
) -> None:
    data = (shared_data / "vendor_exports" / name).read_bytes()
    with pytest.raises(FileNotValid):
        read_export(written(tmp_path, data[: len(data) * percent // 100]))


@pytest.mark.parametrize("name", [SOFTMAX, XPONENT])
def test_a_file_that_is_cut_after_any_line_but_its_last_is_refused(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    data = (shared_data / "vendor_exports" / name).read_bytes()
    encoding = "utf-16" if data.startswith(b"\xff\xfe") else "utf-8"
    lines = data.decode(encoding).split("\r\n")
    kept = len(lines) - 2  # the last line and the empty piece behind it
    for end in range(0, kept, 7):
        with pytest.raises(FileNotValid):
            read_export(written(tmp_path, "\r\n".join(lines[:end]).encode(encoding)))


@pytest.mark.parametrize("name", [SOFTMAX, XPONENT])
@pytest.mark.parametrize("change", ["doubled", "removed"])
def test_a_row_of_numbers_that_is_doubled_or_removed_is_refused(
    shared_data: Path, tmp_path: Path, name: str, change: str
) -> None:
    data = (shared_data / "vendor_exports" / name).read_bytes()
    encoding = "utf-16" if data.startswith(b"\xff\xfe") else "utf-8"
    lines = data.decode(encoding).split("\r\n")
    separator, width = ("\t", 9) if name == SOFTMAX else (",", 3)
    rows = [
        i
        for i, line in enumerate(lines)
        if line.count(separator) >= width
        and not line.startswith(("Plate:", "Sample\t", "Group", '"Location', '"Sample"'))
        and "Temperature" not in line
        and not line.startswith("\t\t1\t2\t")
    ]
    if name == XPONENT:
        rows = [i for i in rows if "DataType" in "".join(lines[: i + 1]) and "Unknown" in lines[i]]
    assert len(rows) > 10
    for i in rows:
        copy = lines.copy()
        copy[i : i + 1] = [lines[i]] * (2 if change == "doubled" else 0)
        with pytest.raises(FileNotValid):
            read_export(written(tmp_path, "\r\n".join(copy).encode(encoding)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"PK\x03\x04\x14\x00", "workbook"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "binary"),
        (b"well;od\nA1;0,3\n", "not a format that is read"),
        (b"\xff\xfe#\x00#\x00B", "cut or damaged|not a format"),
    ],
)
def test_what_is_no_export_is_told_in_one_message(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(FileNotValid, match=said):
        read_export(written(tmp_path, data))


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="no such file"):
        read_export(tmp_path / "plate.txt")
    with pytest.raises(FileNotValid, match="is a folder"):
        read_export(tmp_path)


def test_a_file_above_the_bound_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the file was read"))
    with pytest.raises(FileNotValid, match="8000001 bytes"):
        read_export(path)


def test_every_export_carries_the_digest_of_its_bytes(shared_data: Path) -> None:
    export = read_export(shared_data / "vendor_exports" / XPONENT)
    assert export.sha256 == "f364d84068e679db9193e4d48fa2fa953e4b5f8dc12eeb6302e6f9898054cf57"
    assert export.format in READERS
