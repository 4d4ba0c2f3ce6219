"""The long table as a file: CSV for people and every program, Parquet for large ones; both read back.

Belongs here: cells. Not here: columns (long_table).

CSV (RFC 4180): UTF-8, commas, the columns always the same. An empty cell is a number that is not known, an
open bound, or no text; numbers have as many digits as they need to come back as they were; times are UTC;
lists stand as ``a; b`` with ``;`` and backslashes in their parts escaped by a backslash.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a return for a formula and may
carry it out. Text that begins so (a person's reason, a name in a vendor's file) gets an apostrophe before it, and
so does text that begins with an apostrophe: one is taken off again on reading. Numbers are left as they are.

The same record gives the same bytes of CSV.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from chiploop import __version__
from chiploop.errors import FileNotValid, WrongUse
from chiploop.record.long_table import COLUMNS, LISTS, OPEN_ENDS, Kind, LongRow

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")
TABLE = "chiploop long table 2"
"""Name and version of the columns, kept in a Parquet file."""


def write_csv(rows: Iterable[LongRow], path: Path) -> None:
    """Write the table as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        _write(rows, file)


def csv_text(rows: Iterable[LongRow]) -> str:
    """Return the table as the text of a CSV file."""
    text = io.StringIO(newline="")
    _write(rows, text)
    return text.getvalue()


def _write(rows: Iterable[LongRow], file: Any) -> None:
    writer = csv.writer(file, lineterminator="\r\n")  # which is why either of them alone is quoted
    writer.writerow(COLUMNS)
    makers = [(name, _CELLS[kind]) for name, kind in COLUMNS.items()]
    writer.writerows([make(plain(row, name)) for name, make in makers] for row in rows)


def plain(row: LongRow, name: str) -> Any:
    """Return a cell as one value: lists as text, None for a number that is not known and for an open bound."""
    value = getattr(row, name)
    if name in LISTS:
        return joined(value)
    if COLUMNS[name] == "number" and not math.isfinite(value):
        return None
    return value


def joined(parts: Sequence[str]) -> str:
    """Return a list as one text from which ``parted`` gets it back."""
    return "; ".join(re.sub(r"([\\;])", r"\\\1", part) for part in parts)


def parted(text: str) -> tuple[str, ...]:
    """Return the list that a text holds."""
    parts, begin, i = [], 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 2
        elif text[i] == ";":
            parts.append(text[begin:i])
            i = begin = i + 2
        else:
            i += 1
    parts.append(text[begin:])
    return tuple(re.sub(r"\\([\\;])", r"\1", part) for part in parts) if text else ()


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


_CELLS: dict[Kind, Callable[[Any], str]] = {
    "text": guarded,
    "number": lambda value: "" if value is None else repr(float(value)),
    "whole": str,
    "flag": lambda value: "true" if value else "false",
}
"""What a column holds -> its cell."""
_VALUES: dict[Kind, Callable[[str], Any]] = {
    "text": lambda cell: cell.removeprefix("'"),
    "number": lambda cell: float(cell) if cell else None,
    "whole": int,
    "flag": {"true": True, "false": False}.__getitem__,
}


def read_csv(path: Path) -> tuple[LongRow, ...]:
    """Return the rows of a CSV file that ``write_csv`` wrote; FileNotValid for another file."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            if tuple(next(lines, ())) != tuple(COLUMNS):
                raise FileNotValid(f"{path} has not the columns of a {TABLE}")
            kinds = list(COLUMNS.values())
            return tuple(
                _row([_VALUES[kind](cell) for kind, cell in zip(kinds, line, strict=True)])
                for line in lines
            )
        except (csv.Error, ValueError, KeyError) as problem:
            raise FileNotValid(f"{path}, line {lines.line_num}: {problem}") from problem


def _row(values: Iterable[Any]) -> LongRow:
    cells: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    for name, value in cells.items():
        if name in LISTS:
            cells[name] = parted(value)
        elif value is None:
            cells[name] = OPEN_ENDS.get(name, math.nan)
    return LongRow(**cells)


def write_parquet(rows: Sequence[LongRow], path: Path) -> None:
    """Write the table as Parquet. WrongUse where the library for it is not installed."""
    pa, parquet = _pyarrow()
    types = {"text": pa.string(), "number": pa.float64(), "whole": pa.int64(), "flag": pa.bool_()}
    schema = pa.schema(
        [pa.field(name, types[kind], nullable=kind == "number") for name, kind in COLUMNS.items()],
        metadata={"table": TABLE, "chiploop": __version__},
    )
    columns = [[plain(row, name) for row in rows] for name in COLUMNS]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
    parquet.write_table(table, path)


def read_parquet(path: Path) -> tuple[LongRow, ...]:
    """Return the rows of a Parquet file that ``write_parquet`` wrote; FileNotValid for another file."""
    pa, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as problem:
        raise FileNotValid(f"{path}: {problem}") from problem
    if table.column_names != list(COLUMNS):
        raise FileNotValid(f"{path} has not the columns of a {TABLE}")
    return tuple(
        _row(values) for values in zip(*(c.to_pylist() for c in table.columns), strict=True)
    )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as missing:
        raise WrongUse(
            "Parquet needs pyarrow. Install it with: pip install 'chiploop[parquet]'; CSV needs nothing"
        ) from missing
    return pyarrow, pyarrow.parquet
