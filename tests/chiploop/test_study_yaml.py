"""YAML with lines: every problem of form is told, nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.study_yaml import LARGEST_FILE_BYTES, YamlText, field_name, read_yaml


def read(folder: Path, content: str | bytes) -> YamlText:
    path = folder / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(path)


def test_values_are_plain_and_every_key_and_entry_has_its_line(tmp_path: Path) -> None:
    text = read(tmp_path, "a: 1\nb:\n  - x\n  - {c: 2.5, d: true}\ne: null\n")
    assert text.values == {"a": 1, "b": ["x", {"c": 2.5, "d": True}], "e": None}
    assert text.lines[("b", 1, "c")] == 4
    assert text.line(("b", 0, "not there")) == 3
    assert text.line(("nowhere",)) is None
    assert not text.problems


@pytest.mark.parametrize("word", ["NO", "on", "yes", "12:30", "C01", "0x", "2026-11-23"])
def test_words_that_older_yaml_turned_into_something_else_stay_text(
    tmp_path: Path, word: str
) -> None:
    assert read(tmp_path, f"a: {word}\n").values == {"a": word}


def test_a_key_that_comes_twice_is_a_problem_on_its_line_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    text = read(tmp_path, "a: 1\nb: 2\na: 3\nc: 4\n")
    assert [(p.line, p.field) for p in text.problems] == [(3, "a")]
    assert "first on line 1" in text.problems[0].message
    assert text.values == {"a": 1, "b": 2, "c": 4}


FORM = [
    ("a: &x 1\nb: *x\n", 1, "alias"),
    ("a: !!python/object:os.system 1\n", 1, "tag"),
    ("1E5: x\n", 1, "not text"),
    ("<<: {a: 1}\n", 1, "not text"),
    ("[a]: x\n", 1, "must be a word"),
    ("a: [1, 2\nb: 3\n", 2, "not YAML"),
    ("a:\n\t- 1\n", 2, "not YAML"),
    ("a: 1\n---\nb: 2\n", 2, "not YAML"),
    ("- 1\n- 2\n", 1, "no keys"),
    ("just words\n", 1, "no keys"),
    ("# nothing but a comment\n", 1, "no keys"),
]


@pytest.mark.parametrize(("content", "line", "message"), FORM)
def test_a_problem_of_form_names_its_line(
    tmp_path: Path, content: str, line: int, message: str
) -> None:
    problems = read(tmp_path, content).problems
    assert len(problems) == 1
    assert message in problems[0].message
    assert problems[0].line == line


WHOLE_FILE: list[tuple[bytes, str]] = [
    (b"", "is empty"),
    (b"  \n\n", "is empty"),
    (b"\xff\xfea\x00:\x00", "UTF-16"),
    (b"\x7fELF\x00\x01\x02", "not a text file"),
    (b"a: 1\nb: \xe9\n", "not UTF-8"),
    (b"a: " + b"x" * LARGEST_FILE_BYTES, "larger"),
]


@pytest.mark.parametrize(("content", "message"), WHOLE_FILE)
def test_a_file_that_is_no_text_is_one_clear_problem(
    tmp_path: Path, content: bytes, message: str
) -> None:
    problems = read(tmp_path, content).problems
    assert len(problems) == 1
    assert message in problems[0].message


def test_a_missing_file_and_a_folder_are_one_clear_problem_each(tmp_path: Path) -> None:
    assert "no such file" in read_yaml(tmp_path / "none.yaml").problems[0].message
    assert "is a folder" in read_yaml(tmp_path).problems[0].message


def test_a_comment_after_an_empty_key_changes_nothing(tmp_path: Path) -> None:
    text = read(tmp_path, "a:   # nothing yet\n\nb: 1\n")
    assert (text.values, text.problems) == ({"a": None, "b": 1}, [])


def test_deep_nesting_is_refused_and_does_not_crash(tmp_path: Path) -> None:
    assert read(tmp_path, "a: " + "[" * 40 + "]" * 40 + "\n").problems
    assert read(tmp_path, "a: " + "[" * 5000 + "]" * 5000 + "\n").problems


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    text = read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: x\r\n")
    assert text.values == {"a": 1, "b": "x"}
    assert text.lines[("b",)] == 2


def test_a_place_is_named_as_people_read_it() -> None:
    assert field_name(("lines", 0, "chips", "C01")) == "lines[0].chips.C01"
