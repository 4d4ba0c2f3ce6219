"""Resistances that a person read off a meter, as a file that only grows.

Belongs here: the file of entries, its rows and what they mean together. Not here: who asks for an
entry (manual_entry), the command that takes one (flows.cli), tables of other programs (exports).

One CSV file per run, in its folder, one row per reading. A row is never altered: a correction is a
new row that names the one it replaces. Rows are appended together, written to the disk before the
command says so, and checked as a whole whenever the file is read: whoever edits it by hand is told
where it is no longer what was entered.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Final

from filelock import FileLock

from chiploop.errors import FileNotValid

LOCK_WAIT_S: Final = 10.0


@dataclass(frozen=True)
class TeerEntry:
    """One resistance that a person entered."""

    entry: int
    """From 1, in the order of the file."""
    chip: str
    time_h: float
    """When it was read off the meter, in hours since the study began."""
    resistance_ohm: float
    blank: bool
    """True for a cell-free chip."""
    replaces: int
    """Number of the entry that this one corrects; 0 for none."""
    as_written: str
    """What the person wrote, with its unit."""
    entered_utc: str
    by: str
    """Login of the person at the operating system."""


COLUMNS: Final = tuple(field.name for field in fields(TeerEntry))
_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_DECIMAL = re.compile(r"[0-9]{1,17}(?:\.[0-9]{1,17})?(?:e[+-][0-9]{2})?")


def encode_entries(entries: Sequence[TeerEntry]) -> bytes:
    """Return the lines of these entries; ValueError for a text that would break its line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for entry in entries:
        for told in (entry.chip, entry.as_written, entry.entered_utc, entry.by):
            if not told.isprintable():
                raise ValueError(f"{told!r} can not stand in one line")
        writer.writerow(
            [int(v) if isinstance(v, bool) else repr(v) if isinstance(v, float) else v
             for v in astuple(entry)]
        )  # fmt: skip
    return text.getvalue().encode()


def read_entries(path: Path) -> tuple[TeerEntry, ...]:
    """Return all entries of a file, those that were replaced among them; none where there is no
    file.

    Raises
    ------
    FileNotValid : a line that no command has written, with its number.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as trouble:
        raise FileNotValid(f"{path} can not be read ({trouble.strerror})") from trouble
    return _decoded(path, data)


def _decoded(path: Path, data: bytes) -> tuple[TeerEntry, ...]:
    try:
        text = data.decode()
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as trouble:
        raise FileNotValid(f"{path} is no file of entered resistances: {trouble}") from trouble
    if not rows or tuple(rows[0]) != COLUMNS:
        raise FileNotValid(
            f"{path} is no file of entered resistances: its first line is not {','.join(COLUMNS)}"
        )
    if not text.endswith("\n"):
        raise FileNotValid(
            f"{path}, line {len(rows)}: the line is not whole, so no command has confirmed it; look "
            "at it, remove it, and enter the reading again"
        )
    entries: list[TeerEntry] = []
    for line, row in enumerate(rows[1:], start=2):
        entry = _entry(path, line, row)
        wrong = _misplaced(entry, entries)
        if wrong:
            raise FileNotValid(f"{path}, line {line}: {wrong}")
        entries.append(entry)
    return tuple(entries)


def _entry(path: Path, line: int, row: list[str]) -> TeerEntry:
    def wrong(what: str) -> FileNotValid:
        return FileNotValid(
            f"{path}, line {line}: {what}; this file is written by chiploop instruments enter-teer "
            "alone"
        )

    if len(row) != len(COLUMNS):
        raise wrong(f"{len(row)} cells, not {len(COLUMNS)}")
    cell = dict(zip(COLUMNS, row, strict=True))
    for name, pattern in (
        ("entry", _INTEGER),
        ("time_h", _DECIMAL),
        ("resistance_ohm", _DECIMAL),
        ("blank", re.compile("[01]")),
        ("replaces", _INTEGER),
        ("chip", re.compile(".+")),
        ("by", re.compile(".+")),
    ):
        if not pattern.fullmatch(cell[name]):
            raise wrong(f"{name} reads {cell[name]!r}")
    return TeerEntry(
        entry=int(cell["entry"]),
        chip=cell["chip"],
        time_h=float(cell["time_h"]),
        resistance_ohm=float(cell["resistance_ohm"]),
        blank=cell["blank"] == "1",
        replaces=int(cell["replaces"]),
        as_written=cell["as_written"],
        entered_utc=cell["entered_utc"],
        by=cell["by"],
    )


def _misplaced(entry: TeerEntry, before: Sequence[TeerEntry]) -> str:
    """Return why an entry can not follow those before it; empty where it can."""
    if entry.entry != len(before) + 1:
        return f"entry {entry.entry} stands where {len(before) + 1} belongs"
    if not entry.replaces:
        return ""
    if not entry.replaces <= len(before):
        return f"it replaces entry {entry.replaces}, which there is not"
    old = before[entry.replaces - 1]
    if (old.chip, old.blank) != (entry.chip, entry.blank):
        return f"it replaces entry {old.entry}, which is of {old.chip}{' (blank)' * old.blank}"
    if later := [e.entry for e in before if e.replaces == old.entry]:
        return f"entry {old.entry} was replaced before, by entry {later[0]}"
    return ""


def standing(entries: Sequence[TeerEntry]) -> tuple[TeerEntry, ...]:
    """Return the entries that no later one replaces."""
    replaced = {entry.replaces for entry in entries}
    return tuple(entry for entry in entries if entry.entry not in replaced)


def append_entries(path: Path, new: Sequence[TeerEntry]) -> tuple[TeerEntry, ...]:
    """Append entries, all or none, and return them with their numbers once they are on the disk.

    Raises
    ------
    FileNotValid : the file is damaged, or an entry repeats or contradicts what stands in it.
    """
    with FileLock(f"{path}.lock", timeout=LOCK_WAIT_S):
        entries = list(read_entries(path))
        known = {(e.chip, e.blank, e.time_h, e.resistance_ohm): e.entry for e in standing(entries)}
        numbered = []
        for entry in new:
            entry = replace(entry, entry=len(entries) + 1)
            same = known.get((entry.chip, entry.blank, entry.time_h, entry.resistance_ohm))
            wrong = _misplaced(entry, entries)
            if same is not None and same != entry.replaces:
                wrong = f"it was entered before, as entry {same}"
            if wrong:
                raise FileNotValid(
                    f"{entry.chip} at {entry.time_h:.3f} h, {entry.as_written}: {wrong}. "
                    "Nothing was entered"
                )
            entries.append(entry)
            numbered.append(entry)
        head = (",".join(COLUMNS) + "\n").encode()
        data = encode_entries(numbered)
        if _decoded(path, head + encode_entries(entries)) != tuple(entries):
            raise ValueError(f"{numbered} can not be read back")
        fresh = not path.exists()
        if fresh:
            data = head + data
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if fresh and os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    return tuple(numbered)
