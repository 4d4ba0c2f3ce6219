"""YAML 1.2 text into plain values that remember their lines.

Belongs here: bytes to dicts, lists and scalars, and every problem of that step. Not here: what the
keys mean. Nothing is guessed: a key that comes twice, an alias, a tag and a second document are
problems.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from chiploop.errors import Problem

LARGEST_FILE_BYTES = 1_000_000
"""A study is a page or two; anything larger is another kind of file."""

DEEPEST_LEVEL = 20
"""Blocks within blocks; the deepest of ours has five."""

Key = str | int
Place = tuple[Key, ...]
"""Keys and list positions from the top of the file, e.g. ``("lines", 0, "id")``."""


@dataclass
class YamlText:
    """Values of one YAML file, the line of each, and what is wrong with its form."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    """Plain dicts, lists, str, int, float, bool and None."""
    lines: dict[Place, int] = field(default_factory=dict)
    """Place -> line from 1, of the key (in a block) or the value (in a list)."""
    problems: list[Problem] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the block around it; None for the whole file."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return None


def field_name(place: Place) -> str:
    """Return a place as people read it: ``lines[0].chips.C01``."""
    name = ""
    for key in place:
        name += f"[{key}]" if isinstance(key, int) else f".{key}" if name else key
    return name


def read_yaml(path: Path) -> YamlText:
    """Return the values and lines of a file; problems of reading and form are in ``problems``."""
    text = YamlText(path)
    try:
        _parse(_content(path), text)
    except _Unreadable as trouble:
        text.problems.append(trouble.problem)
    return text


class _Unreadable(Exception):
    """A file that gives no text, with what to tell."""

    def __init__(self, message: str, hint: str = "", line: int | None = None) -> None:
        self.problem = Problem(line, "", message, hint)


def _content(path: Path) -> str:
    """Return the text of a file; _Unreadable with the reason where there is none."""
    try:
        if path.is_dir():
            raise _Unreadable("is a folder, not a file")
        if path.exists() and path.stat().st_size > LARGEST_FILE_BYTES:
            raise _Unreadable(f"is larger than {LARGEST_FILE_BYTES} bytes: another kind of file")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _Unreadable("there is no such file", "look at the spelling of the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _Unreadable(f"can not be read: {reason}") from None
    if not raw.strip():
        raise _Unreadable("is empty")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable("is UTF-16 text", 'save it as "UTF-8"')
    if b"\x00" in raw:
        raise _Unreadable("is not a text file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _Unreadable("is not UTF-8 text here", 'save it as "UTF-8"', line) from None


def _parse(content: str, text: YamlText) -> None:
    # Not the round-trip reader: its handling of comments fails on "a:  # x" before an empty line.
    reader = YAML(typ="safe", pure=True)
    try:
        node = reader.compose(content)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        hint = "indent with spaces, not tabs" if "\\t" in said else ""
        text.problems.append(
            Problem(mark.line + 1 if mark else None, "", f"is not YAML here: {said}", hint)
        )
        return
    except (YAMLError, ValueError, RecursionError, AttributeError, TypeError) as error:
        first = (str(error).strip().splitlines() or ["the text can not be read"])[0]
        text.problems.append(Problem(None, "", f"is not YAML: {first}"))
        return
    if not isinstance(node, MappingNode):
        text.problems.append(
            Problem(1, "", "holds no keys", 'a file begins with a line such as "chiploop: 1"')
        )
        return
    values = _Walk(text).value(node, ())
    text.values = values if isinstance(values, dict) else {}


class _Walk:
    """Nodes to plain values, once each."""

    def __init__(self, text: YamlText) -> None:
        self.text = text
        self.seen: set[int] = set()

    def value(self, node: Node, place: Place) -> Any:
        """Return the plain value of a node and note the lines below it."""
        if id(node) in self.seen or len(place) > DEEPEST_LEVEL:
            deep = len(place) > DEEPEST_LEVEL
            said = "too many blocks within blocks" if deep else "an alias (*name) is not read"
            self.refuse(node, place, said, "" if deep else "write the values out")
            return None
        self.seen.add(id(node))
        if isinstance(node, MappingNode):
            return self.mapping(node, place)
        if isinstance(node, SequenceNode):
            return self.sequence(node, place)
        return self.scalar(node, place)

    def refuse(self, node: Node, place: Place, message: str, hint: str = "") -> None:
        """Note a problem on the line of a node."""
        line = node.start_mark.line + 1
        self.text.problems.append(Problem(line, field_name(place), message, hint))

    def mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        """Return a block of keys; a key that comes again is a problem and its first value stays."""
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, place)
            if key is None:
                continue
            here = (*place, key)
            if key in values:
                first = self.text.lines[here]
                self.refuse(key_node, here, f'"{key}" is here twice, first on line {first}')
                continue
            self.text.lines[here] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, here)
        return values

    def key(self, node: Node, place: Place) -> str | None:
        """Return a key, which must be text: ``1E5`` would be a number to YAML."""
        if not isinstance(node, ScalarNode):
            self.refuse(node, place, "a key must be a word")
            return None
        if str(node.tag).endswith((":str", ":merge")) and node.value != "<<":
            return str(node.value)
        self.refuse(
            node,
            place,
            f'the key "{node.value}" is not text to YAML',
            "" if node.value == "<<" else f'write it in quotes: "{node.value}"',
        )
        return None

    def sequence(self, node: SequenceNode, place: Place) -> list[Any]:
        """Return a list, with the line of each entry."""
        values = []
        for position, entry in enumerate(node.value):
            self.text.lines[(*place, position)] = entry.start_mark.line + 1
            values.append(self.value(entry, (*place, position)))
        return values

    def scalar(self, node: Node, place: Place) -> Any:
        """Return text, a whole number, a number, true/false or None."""
        kind = str(node.tag).rpartition(":")[2]
        written = str(node.value)
        if kind == "null":
            return None
        if kind == "bool":
            return written.lower() == "true"
        if kind in ("int", "float"):
            return _number(written)
        if kind in ("str", "timestamp"):
            return written
        self.refuse(node, place, f'the tag "{node.tag}" is not read')
        return None


def _number(written: str) -> int | float | str:
    """Return a number only where Python reads the same digits; otherwise the text as it stands."""
    try:
        return int(written) if written.lstrip("+-").isdecimal() else float(written)
    except ValueError:
        return written
