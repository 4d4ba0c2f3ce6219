"""Ways in which a vendor file is spoiled on its way: cut, doubled, re-saved, shifted.

Belongs here: bytes of a real file to bytes of a spoiled one. Not here: what a reader makes of it
(export_mutations). Where lines and columns of numbers stand is taken from the whole file as read.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from chiploop.exports.export import Export

CUTS: Final = (30, 60, 90, 97)
MOST_VARIANTS: Final = 24
"""Of one kind and file: lines and columns are taken evenly over the file."""
DECIMAL: Final = re.compile(r"(?<=[0-9])\.(?=[0-9])")


@dataclass(frozen=True)
class WholeFile:
    """A real file, and where its numbers stand."""

    name: str
    data: bytes
    encoding: str
    end: str
    """Line end."""
    lines: tuple[str, ...]
    separator: str
    export: Export

    @property
    def number_lines(self) -> tuple[int, ...]:
        """Return the lines that hold numbers, from 0."""
        return tuple(sorted({row.line - 1 for row in self.export.rows}))

    def tables(self) -> list[tuple[int, range, tuple[int, ...]]]:
        """Return (header line, its lines, number columns) of every table, all from 0."""
        numbers = set(self.number_lines)
        gen5 = self.export.format == "gen5"
        found: dict[tuple[int, str], tuple[set[int], set[int]]] = {}
        for row in self.export.rows:
            header = row.line - 2
            while header in numbers or (gen5 and self.split(self.lines[header])[1] != "1"):
                header -= 1
            sections = self.export.format in ("softmax_pro", "luminex_xponent")
            key = (header, row.statistic if sections else "")
            lines, columns = found.setdefault(key, (set(), set()))
            lines.add(row.line - 1)
            columns.add(row.column - 1)
        return [
            (header, range(header + 1, max(lines) + 1), tuple(sorted(columns)))
            for (header, _), (lines, columns) in found.items()
        ]

    def joined(self, lines: list[str]) -> bytes:
        """Return lines as bytes, with the mark that the whole file has."""
        mark = {"utf-16-le": b"\xff\xfe"}.get(self.encoding, b"")
        return mark + self.end.join(lines).encode(self.encoding)

    def split(self, line: str) -> list[str]:
        """Return the cells of a line as written, quotes taken off."""
        if self.separator == ",":
            return next(csv.reader([line])) if line else []
        return line.split("\t")

    def join(self, cells: list[str], separator: str | None = None) -> str:
        """Return cells as a line, quoted where they must be."""
        if self.separator != ",":
            return (separator or "\t").join(cells)
        text = io.StringIO()
        csv.writer(text, delimiter=separator or ",", lineterminator="").writerow(cells)
        return text.getvalue()


def whole_file(name: str, data: bytes, export: Export) -> WholeFile:
    """Return a real file ready to be spoiled."""
    text = data.decode("utf-16" if export.encoding == "utf-16-le" else export.encoding)
    end = "\r\n" if "\r\n" in text else "\n"
    separator = "," if name.endswith(".csv") else "\t"
    return WholeFile(name, data, export.encoding, end, tuple(text.split(end)), separator, export)


def _some(items: list[Any], most: int = MOST_VARIANTS) -> list[Any]:
    step = max(1, -(-len(items) // most))
    return items[::step]


def _cut(percent: int) -> Callable[[WholeFile], Iterator[bytes]]:
    def cut(file: WholeFile) -> Iterator[bytes]:
        size = len(file.data) * percent // 100
        yield file.data[: size - size % 2 if file.encoding == "utf-16-le" else size]
        # The same cut at the end of a line: a copy that stopped between two writes.
        end = file.end.encode(file.encoding)
        yield file.data[: file.data.rfind(end, 0, size) + len(end)]

    return cut


def _row_twice(file: WholeFile) -> Iterator[bytes]:
    for i in _some(list(file.number_lines)):
        lines = list(file.lines)
        lines.insert(i, lines[i])
        yield file.joined(lines)


def _row_missing(file: WholeFile) -> Iterator[bytes]:
    last = file.number_lines[-1:]
    for i in dict.fromkeys((*_some(list(file.number_lines)), *last)):
        yield file.joined([*file.lines[:i], *file.lines[i + 1 :]])


def _utf_16(file: WholeFile) -> Iterator[bytes]:
    text = file.end.join(file.lines)
    yield b"\xff\xfe" + text.encode("utf-16-le")
    yield b"\xfe\xff" + text.encode("utf-16-be")
    yield text.encode("utf-16-le")


def _decimal_comma(file: WholeFile) -> Iterator[bytes]:
    numbers = [
        i for i in file.number_lines if any(DECIMAL.search(cell) for cell in _number_cells(file, i))
    ]
    if not numbers:
        return
    for separator in (None, ";"):
        if separator and file.separator != ",":
            continue
        lines = list(file.lines)
        for i, line in enumerate(lines):
            cells = file.split(line)
            if i in set(file.number_lines):
                cells = _with_commas(file, i, cells)
            lines[i] = file.join(cells, separator) if line else line
        yield file.joined(lines)
    for i in _some(numbers, 10):  # one line alone: two styles side by side
        lines = list(file.lines)
        lines[i] = file.join(_with_commas(file, i, file.split(lines[i])))
        yield file.joined(lines)


def _number_columns(file: WholeFile, line: int) -> list[int]:
    return sorted({row.column - 1 for row in file.export.rows if row.line - 1 == line})


def _number_cells(file: WholeFile, line: int) -> list[str]:
    cells = file.split(file.lines[line])
    return [cells[column] for column in _number_columns(file, line)]


def _with_commas(file: WholeFile, line: int, cells: list[str]) -> list[str]:
    columns = set(_number_columns(file, line))
    return [DECIMAL.sub(",", c) if i in columns else c for i, c in enumerate(cells)]


def _overflow(text: str) -> Callable[[WholeFile], Iterator[bytes]]:
    def overflow(file: WholeFile) -> Iterator[bytes]:
        for row in _some([row for row in file.export.rows if math.isfinite(row.readout.value)], 20):
            lines = list(file.lines)
            cells = file.split(lines[row.line - 1])
            cells[row.column - 1] = text
            lines[row.line - 1] = file.join(cells)
            yield file.joined(lines)

    return overflow


def _swapped(parts: tuple[str, ...]) -> Callable[[WholeFile], Iterator[bytes]]:
    def swapped(file: WholeFile) -> Iterator[bytes]:
        for header, numbers, columns in file.tables():
            pairs = [(a, b) for a, b in zip(columns, columns[1:], strict=False) if b == a + 1]
            for a, b in _some(pairs, 6):
                lines = list(file.lines)
                moved = [header] * ("headings" in parts) + list(numbers) * ("numbers" in parts)
                for i in moved:
                    cells = file.split(lines[i])
                    if len(cells) > b:
                        cells[a], cells[b] = cells[b], cells[a]
                        lines[i] = file.join(cells)
                if lines != list(file.lines):
                    yield file.joined(lines)

    return swapped


def _heading_missing(file: WholeFile) -> Iterator[bytes]:
    for header, _, columns in file.tables():
        for column in dict.fromkeys((*_some(list(columns), 6), columns[-1])):
            lines = list(file.lines)
            cells = file.split(lines[header])
            if len(cells) > column and cells[column].strip():
                cells[column] = ""
                lines[header] = file.join(cells)
                yield file.joined(lines)


STANDARD_COLUMNS: Final = {
    "gen5_absorbance_stdcurve_singleplate.txt": ("Layout", "Conc/Dil", "STD"),
    "msd_workbench_test_2.csv": ("Concentration", "Test Assay 1.0", "S"),
    "softmax_pro_absorbance_endpoint_example01.txt": (
        "Group Standards",
        "Standard Value ng/mL",
        "",
    ),
}
"""File -> statistic, analyte and prefix of the samples that hold the standards it declares; the
other files declare none."""


def _standards(which: str) -> Callable[[WholeFile], Iterator[bytes]]:
    def standards(file: WholeFile) -> Iterator[bytes]:
        if file.name not in STANDARD_COLUMNS:
            return
        statistic, analyte, prefix = STANDARD_COLUMNS[file.name]
        rows = [
            row
            for row in file.export.rows
            if (row.statistic, row.readout.analyte) == (statistic, analyte)
            and row.readout.sample.startswith(prefix)
            and row.readout.value > 0.0
        ]
        levels = list(dict.fromkeys(row.readout.sample for row in rows))
        for level in levels if which == "one" else [""]:
            lines = list(file.lines)
            for row in rows:
                if level in ("", row.readout.sample):
                    cells = file.split(lines[row.line - 1])
                    cells[row.column - 1] = f"{row.readout.value * 1000.0:.10g}"
                    lines[row.line - 1] = file.join(cells)
            yield file.joined(lines)

    return standards


KINDS: Final[dict[str, Callable[[WholeFile], Iterator[bytes]]]] = {
    **{f"cut at {percent} %": _cut(percent) for percent in CUTS},
    "a row twice": _row_twice,
    "a row missing": _row_missing,
    "UTF-16": _utf_16,
    "decimal comma": _decimal_comma,
    "overflow text": _overflow("OVRFLW"),
    "overflow text, unknown word": _overflow("OVER!"),
    "swapped columns, whole": _swapped(("headings", "numbers")),
    "swapped columns, headings": _swapped(("headings",)),
    "a heading missing": _heading_missing,
    "1000 x standards, one level": _standards("one"),
    "1000 x standards, all": _standards("all"),
}
"""Kind -> all its variants of one file."""
BEYOND_THE_FILE: Final[dict[str, Callable[[WholeFile], Iterator[bytes]]]] = {
    "swapped columns, numbers": _swapped(("numbers",)),
}
"""What leaves a file that is whole in itself: seen only where the file repeats its numbers."""
