"""Prism tables as files: a CSV per readout and drug, the list of marked cells, and how to read them.

Belongs here: names, headings, cells, the zip. Not here: what stands in a table (prism_tables).

The same tables give the same bytes. Text is guarded against spreadsheets as in ``long_table_files``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from chiploop.record.fixed_zip import FixedZip
from chiploop.record.long_table_files import guarded
from chiploop.record.prism_tables import PrismMark, PrismTable

README_FILE, MARKS_FILE = "README.txt", "marked_cells.csv"


def prism_files(tables: Sequence[PrismTable], run_id: str, simulated: bool) -> dict[str, str]:
    """Return name -> text of every file."""
    several = len({table.drug for table in tables}) > 1
    found = {README_FILE: readme(tables, run_id, simulated)}
    for table in tables:
        found[free_name(table, several, found, simulated)] = table_text(table, simulated)
    marks = [mark for table in tables for mark in table.marks]
    names = [one.name for one in fields(PrismMark)]
    found[MARKS_FILE] = csv_text([names, *([told(getattr(m, n)) for n in names] for m in marks)])
    return found


def free_name(table: PrismTable, several: bool, taken: Mapping[str, str], simulated: bool) -> str:
    """Return a file name of a table that no other has."""
    stem = f"{table.readout}-{table.drug}" if several else table.readout
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._") or "readout"
    stem = f"SIMULATED_{stem}" if simulated else stem
    number = 1
    while (name := f"{stem}{f'_{number}' if number > 1 else ''}.csv") in taken:
        number += 1
    return name


def table_text(table: PrismTable, simulated: bool) -> str:
    """Return one XY table: the heading of X, then a column per chip."""
    mark = "SIMULATED " if simulated else ""
    heading = [f"{mark}{table.drug} (nM)"]
    heading += [f"{donor} {chip}" for donor, chip in table.columns]
    return csv_text([heading, *([repr(float(dose)), *cells] for dose, cells in table.rows)])


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV; no text of them is taken for a formula, numbers stay as they are."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([cell if is_number(cell) else guarded(cell) for cell in row] for row in rows)
    return text.getvalue()


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with or without the asterisk."""
    return re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?\*?", cell) is not None


def told(value: Any) -> str:
    """Return a value of a mark as a cell; empty for a bound that is open or does not apply."""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return str(value)


def readme(tables: Sequence[PrismTable], run_id: str, simulated: bool) -> str:
    """Return what a person must know to read the tables."""
    lines = [
        *(["SIMULATED: virtual chips; no tissue stands behind these numbers.", ""] if simulated else []),
        f"Dose-response tables of {run_id}, for GraphPad Prism (XY table, replicates side by side).",
        "",
        "X        dose in nM that reached the chips, by the pumps' counters. 0 is stimulus without drug.",
        "         For log(inhibitor) models: Analyze, Transform, X = log(X); rows of 0 have no logarithm.",
        "columns  one chip each, headed by donor and chip; the chips of a donor stand side by side.",
        "rows     one exposure of one dose. Chips are dosed again in later cycles, so the rows of a chip are",
        "         not independent of each other, and a dose that was given twice has two rows.",
        "cells    the chip's last reading of that exposure under stimulus. Empty: the chip got another dose.",
        f"*        not to be fitted; {MARKS_FILE} says why of each:",
        "         censored  the number is the bound (LLOQ or ULOQ), not a value. Leaving it out or fitting",
        "                   the bound both move the curve: chiploop's own fit uses it as a bound.",
        "         excluded  by a person, with the reason.",
        "         left out  by a fit, for nobody knows what the chip had got until then.",
        "         failed    by quality control.",
        "         A program that does not know the asterisk takes the cell for text, not for a value.",
        "",
        "A dose in parts stands by its highest concentration. What was read before the stimulus, earlier",
        "readings of an exposure and doses whose volume nobody knows are not here: they are in the long table.",
        "",
    ]  # fmt: skip
    lines += [
        f"{table.readout} ({table.unit}), {table.drug}: {len(table.rows)} rows, {len(table.columns)} chips, "
        f"{len(table.marks)} marked"
        for table in tables
    ]
    return "\n".join(lines) + "\n"


def write_prism(tables: Sequence[PrismTable], run_id: str, simulated: bool, path: Path) -> None:
    """Write all files into one zip."""
    with FixedZip(path) as archive:
        for name, text in prism_files(tables, run_id, simulated).items():
            archive.add_bytes(name, text.encode("utf-8"))
