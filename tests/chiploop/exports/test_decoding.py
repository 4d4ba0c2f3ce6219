"""Which alphabet a file is written in: marks, UTF-8, code pages, and what is said of it."""

from __future__ import annotations

import codecs

import pytest

from chiploop.errors import FileNotValid
from chiploop.exports.decoding import decode, opening


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "utf-8"),
    ],
)
def test_a_byte_order_mark_decides_and_leaves_no_trace(mark: bytes, encoding: str) -> None:
    decoded = decode(mark + "50 µL".encode(encoding), "f.txt")
    assert (decoded.text, decoded.encoding, decoded.notes) == ("50 µL", encoding, ())
    assert opening(mark + "50".encode(encoding)) == "50"


def test_a_latin_micro_sign_is_read_with_the_declared_code_page_and_said() -> None:
    decoded = decode(b"a\n50\xb5l", "f.csv", default_code_page="cp1252")
    assert decoded.text == "a\n50µl"
    assert decoded.by_code_page
    assert "0xB5 at line 2, byte 3" in decoded.notes[0]
    assert "cp1252 (the default of this format)" in decoded.notes[0]


def test_the_code_page_that_the_caller_names_goes_before_the_default() -> None:
    decoded = decode(b"\xe6", "f.csv", code_page="cp437", default_code_page="cp1252")
    assert decoded.text == "µ"
    assert "named by the caller" in decoded.notes[0]


def test_bytes_without_any_declared_code_page_are_refused() -> None:
    with pytest.raises(FileNotValid, match="--code-page"):
        decode(b"50\xb5l", "f.csv")


def test_a_byte_that_the_code_page_does_not_know_is_refused() -> None:
    with pytest.raises(FileNotValid, match="cp1252"):
        decode(b"50\x81\xb5l", "f.csv", default_code_page="cp1252")


def test_a_code_page_that_does_not_exist_is_refused() -> None:
    with pytest.raises(FileNotValid, match="no code page 'latin-99'"):
        decode(b"50\xb5l", "f.csv", code_page="latin-99")


def test_a_file_cut_within_a_character_is_refused() -> None:
    with pytest.raises(FileNotValid, match="cut or damaged"):
        decode(codecs.BOM_UTF16_LE + b"a\x00b", "f.txt")


def test_a_character_that_was_lost_before_is_said_and_left_alone() -> None:
    decoded = decode("a\n50\ufffdl".encode(), "f.csv")
    assert decoded.text == "a\n50\ufffdl"
    assert "line 2: 1 character(s) were already lost" in decoded.notes[0]
