"""The session of docs/teaching.md is what the program says to its answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.cli.main import command_line
from tests.docs.test_site import DOCS, blocks

PAGE = DOCS / "teaching.md"
NUMBER = re.compile(r"\d+\.\d+|\d+(?= %)")
LAST_DIGIT = 1.0
"""How far a number may lie from the page's on another computer, in units of its last digit."""


def same(shown: str, told: str) -> bool:
    """Return whether two lines say the same, their numbers within the last digit; bars aside."""
    plain = [re.sub(r"[▁-█]+", "", NUMBER.sub("#", line)).split() for line in (shown, told)]
    if plain[0] != plain[1]:
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(told), strict=True)
    return all(
        abs(float(one) - float(other)) <= 1.01 * LAST_DIGIT * (0.1 if "." in one else 1.0)
        for one, other in pairs
    )


def test_the_session_of_the_page_is_what_the_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (answers,) = blocks(PAGE, "text")
    (session,) = blocks(PAGE, "console")
    (tmp_path / "answers.txt").write_text(answers, encoding="utf-8")
    command, *shown = session.splitlines()
    assert command_line(command.split()[2:]) == 0
    told = iter(capsys.readouterr().out.splitlines())
    for line in shown:
        if line and line != "...":
            assert any(same(line, other) for other in told), line
    assert len([line for line in shown if line]) > 40


def test_a_line_that_says_another_thing_is_not_the_same() -> None:
    assert same("dupilumab  3.7 █▂", "dupilumab  3.8 █▁")
    assert not same("dupilumab  3.7", "dupilumab  3.9")
    assert not same("dupilumab  3.7", "lebrikizumab  3.7")
