"""What a person reads in a model text: its title, its equations as they stand there, the comments beside numbers.

Belongs here: words and lines. Not here: what they mean to a computer (sbml), what stands beside the text (facts).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from chiploop.models.sbml_text import ANTIMONY, without_comments

_DEFINED = re.compile(r"(?:^|;)\s*(?:(?:const|var|species|compartment)\s+)*\$?([A-Za-z_]\w*)\s*:?=")
_RATE = re.compile(r"\$?([A-Za-z_]\w*)\s*'\s*=(?!=)")
_EVENT = re.compile(r"(?:\w+\s*:(?!=)\s*)?at\b")
_START = re.compile(r"\$?[A-Za-z_]\w*\s*=(?![=>])")
_BLOCK = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Equations:
    """Statements of a model text, in its order and spelling, comments apart."""

    rates: tuple[str, ...]
    """``X' = ...``."""
    formulas: tuple[str, ...]
    """``X := ...``."""
    reactions: tuple[str, ...]
    events: tuple[str, ...]
    starts: tuple[str, ...]
    """Where the states of rate rules begin."""


def is_sbml(text: str) -> bool:
    """Return whether a model text is SBML; it is Antimony otherwise."""
    return text.lstrip("\ufeff").lstrip().startswith("<")


def title_of(text: str) -> str:
    """Return the comment that an Antimony text begins with, or the name that SBML gives the model; else ''."""
    if is_sbml(text):
        named = re.search(r"<model\b[^>]*?\bname\s*=\s*(\"[^\"]*\"|'[^']*')", text)
        return " ".join(unescape(named[1][1:-1]).split()) if named else ""
    first = next((line.strip() for line in text.lstrip("\ufeff").splitlines() if line.strip()), "")
    return first.lstrip("/#* ").rstrip("*/ ") if first.startswith(("//", "#", "/*")) else ""


def comments_of(text: str) -> dict[str, str]:
    """Return the comment on the line where each name gets its value, for names that have one."""
    if is_sbml(text):
        return {}
    # a block over several lines is no comment beside a number
    blanked = _BLOCK.sub(
        lambda block: (
            "\n" * block.group().count("\n")
            if "\n" in block.group()
            else "//" + block.group()[2:-2]
        ),
        text,
    )
    found: dict[str, str] = {}
    for line in blanked.splitlines():
        code, mark, comment = _split(line)
        if mark and comment.strip():
            for name in _DEFINED.findall(code):
                found.setdefault(name, comment.strip())
    return found


def _split(line: str) -> tuple[str, str, str]:
    """Return code, comment mark and comment of a line."""
    parts = re.split(r"(//|#)", line, maxsplit=1)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (line, "", "")


def equations_of(antimony_text: str) -> Equations:
    """Return the statements of an Antimony text that say how things change."""
    groups: dict[str, list[str]] = {
        kind: [] for kind in ("rates", "formulas", "reactions", "events")
    }
    starts: list[tuple[str, str]] = []
    states: set[str] = set()
    for statement in _statements(without_comments(antimony_text)):
        rate = _RATE.match(statement)
        if _EVENT.match(statement):
            groups["events"].append(statement)
        elif rate:
            states.add(rate[1])
            groups["rates"].append(statement)
        elif _is_reaction(statement):
            groups["reactions"].append(statement)
        elif ":=" in statement:
            groups["formulas"].append(statement)
        elif _START.match(statement):
            starts.append((statement.partition("=")[0].strip(" $"), statement))
    kept = tuple(statement for name, statement in starts if name in states)
    return Equations(**{kind: tuple(lines) for kind, lines in groups.items()}, starts=kept)


def _statements(code: str) -> list[str]:
    """Return statements, a reaction with its rate, each without its last semicolon."""
    found: list[str] = []
    for line in code.splitlines():
        pieces = [" ".join(piece.split()) for piece in line.split(";")]
        awaits_rate = False
        for piece in pieces:
            if awaits_rate and piece:
                found[-1] += f"; {piece}"
                awaits_rate = False
            elif piece:
                found.append(piece)
                awaits_rate = _is_reaction(piece) and not _EVENT.match(piece)
    return found


def _is_reaction(statement: str) -> bool:
    return bool(re.search(r"->|=>", statement))


def state_count(text: str) -> int | None:
    """Return how many rate rules an Antimony text holds; None where that is not all of its states.

    Reactions and SBML make states that can be counted only by reading the text (sbml.read_model).
    """
    if is_sbml(text):
        return None
    equations = equations_of(text)
    if equations.reactions or re.search(r"(?m)(?:^|;)\s*(?:import|species)\b", text):
        return None
    return len(equations.rates)


def as_antimony(text: str) -> str:
    """Return a model text as Antimony, for reading; '' where libantimony makes none of it."""
    if not is_sbml(text):
        return text
    import antimony

    with ANTIMONY:
        antimony.clearPreviousLoads()
        told = ""
        if antimony.loadSBMLString(text) >= 0:
            told = antimony.getAntimonyString(antimony.getMainModuleName()) or ""
        antimony.clearPreviousLoads()
    return told
