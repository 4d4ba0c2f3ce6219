"""Lines of an impedance table to points: the rules that all formats share.

Belongs here: numbers, tokens, repeated and missing frequencies, signs, contradictions, the end. Not
here: where a format has its table and columns (impedance_gamry and its neighbours).

Refused, with the line: a word that is no number and no token, a frequency that is none, a line twice,
points that begin anew (a second sweep), |Z| or phase that contradict real and imaginary part, an
imaginary part that is inductive over most of the spectrum, a last line that may be cut. Flagged: a
frequency twice with other values, fewer points than declared, a sweep that ends early.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.exports.cells import Cell, NumberStyle, number_style, read_cell
from chiploop.exports.csv_lines import TableLine
from chiploop.exports.decoding import DecodedText
from chiploop.exports.impedance_file import MARKED_BAD, NO_NUMBER, Column, PointTable
from chiploop.exports.trouble import ExportIncomplete

SAME_FREQUENCY = 1e-3
"""Relative, between points of one file."""
MODULUS_SLACK = 0.01
"""Relative; programs print |Z| with as many digits as its parts."""
PHASE_SLACK_DEG = 1.0
INDUCTIVE_PART = 0.5
"""Of the points that are not all but ohmic; where more are inductive, the sign is taken for wrong."""
OHMIC = 0.02
"""|Z''| over |Z| of a point that has no say in the sign."""
LARGEST_OHM = 1e15
LARGEST_HZ = 1e12


def points_of(
    table: PointTable, name: str
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], tuple[str, ...], tuple[str, ...]]:
    """Return frequency (n,), impedance (n,), status, notes and flags of a table.

    Raises
    ------
    FileNotValid : see the file's rules; with the line.
    """
    if not table.lines:
        raise ExportIncomplete(
            f"{name}: no point below line {table.header_line}; the measurement may not have begun."
        )
    for line in table.lines:
        if len(line.cells) < table.n_cells:
            raise ExportIncomplete(
                f"{name}, line {line.number}: {len(line.cells)} cells, the others have "
                f"{table.n_cells}; the file may be cut. Export it again."
            )
    style = number_style(_cells(table), name)
    notes = ["numbers have a decimal comma"] if style == "comma" else []
    values: dict[str, list[float]] = {column.role: [] for column in table.columns}
    for line in table.lines:
        for column in table.columns:
            values[column.role].append(_number(line, column, name, style, notes))
    hz = np.array(values["frequency"])
    z = _impedance(values, table, name, notes)
    status = tuple(
        (0 if np.isfinite(one) else NO_NUMBER) | (MARKED_BAD if line.number in table.marked else 0)
        for one, line in zip(z, table.lines, strict=True)
    )
    flags = _repeats(hz, table, name) + _ending(hz, table)
    _refuse_inductive(z, table, name)
    return hz, z, status, tuple(notes), flags


def _cells(table: PointTable) -> Iterator[Cell]:
    for line in table.lines:
        for column in table.columns:
            yield Cell(line.number, column.index + 1, line.cells[column.index])


def _number(
    line: TableLine, column: Column, name: str, style: NumberStyle, notes: list[str]
) -> float:
    cell = Cell(line.number, column.index + 1, line.cells[column.index])
    said = read_cell(cell, name, style)
    value = said.value * column.factor
    limit = LARGEST_HZ if column.role == "frequency" else LARGEST_OHM
    if abs(value) > limit:
        raise FileNotValid(
            f"{name}, {cell.address}: {cell.text.strip()} is larger than any {column.role} here"
        )
    if column.role == "frequency" and not value > 0.0:
        raise FileNotValid(
            f"{name}, {cell.address}: read {cell.text.strip()!r}; a frequency is a number above 0"
        )
    if column.role == "modulus" and value < 0.0:
        raise FileNotValid(f"{name}, {cell.address}: |Z| is {cell.text.strip()}, which is below 0")
    if not math.isfinite(value):
        why = said.reasons[0] if said.reasons else "missing"
        notes.append(f"{cell.address}: {cell.text.strip()!r} ({why}); the point does not count")
    return value


def _impedance(
    values: dict[str, list[float]], table: PointTable, name: str, notes: list[str]
) -> np.ndarray:
    """Return Z from its parts, or from |Z| and phase; FileNotValid where they contradict."""
    of_polar = None
    modulus = np.array(values["modulus"]) if "modulus" in values else None
    phase = np.array(values["phase"]) if "phase" in values else None
    if modulus is not None and phase is not None:
        of_polar = modulus * np.exp(1j * np.radians(phase))
    if "real" not in values or "imaginary" not in values:
        assert of_polar is not None
        return of_polar
    z = np.array(values["real"]) + 1j * np.array(values["imaginary"])
    size = np.abs(z)
    if modulus is not None:
        _refuse_where(np.abs(modulus - size) > MODULUS_SLACK * size, "|Z|", table, name)
    if phase is not None:
        wrong = _turned(z, phase) > PHASE_SLACK_DEG
        title = next((c.title for c in table.columns if c.sign_by_phase), None)
        other = _turned(z.conj(), phase) > PHASE_SLACK_DEG
        if title and np.sum(other) < np.sum(wrong):
            z, wrong = z.conj(), other
            notes.append(f"column {title!r} holds the negative of what it says, by the phase")
        _refuse_where(wrong, "phase", table, name)
    return z


def _turned(z: np.ndarray, phase_deg: np.ndarray) -> np.ndarray:
    """Return how far each phase is off, in degrees."""
    return np.abs(np.angle(z * np.exp(-1j * np.radians(phase_deg)), deg=True))


def _refuse_where(wrong: np.ndarray, what: str, table: PointTable, name: str) -> None:
    at = np.flatnonzero(wrong)
    if at.size:
        raise FileNotValid(
            f"{name}, line {table.lines[int(at[0])].number}: {what} is not that of the real and "
            f"imaginary part ({at.size} of {wrong.size} lines). Columns: "
            + ", ".join(column.title for column in table.columns)
        )


def _repeats(hz: np.ndarray, table: PointTable, name: str) -> tuple[str, ...]:
    """Return what is said of repeated frequencies; FileNotValid for a line twice or a second sweep."""
    seen: dict[tuple[str, ...], int] = {}
    for line in table.lines:
        first = seen.setdefault(tuple(cell.strip() for cell in line.cells), line.number)
        if first != line.number:
            raise FileNotValid(
                f"{name}, line {line.number}: the same as line {first}; a line stands twice"
            )
    if np.ptp(hz) <= SAME_FREQUENCY * float(hz.max()):
        return ()  # one frequency, measured again and again
    again = [
        (i, int(np.flatnonzero(np.abs(hz[:i] - hz[i]) <= SAME_FREQUENCY * hz[i])[0]))
        for i in range(1, hz.size)
        if np.any(np.abs(hz[:i] - hz[i]) <= SAME_FREQUENCY * hz[i])
    ]
    # The last point may be an earlier frequency measured again: that is the drift check.
    inner = [(i, first) for i, first in again if i < hz.size - 1]
    if len(again) > 3 and len(again) > 0.3 * hz.size:
        i, first = again[0]
        raise FileNotValid(
            f"{name}, line {table.lines[i].number}: {hz[i]:g} Hz stands in line "
            f"{table.lines[first].number} already, and {len(again)} of {hz.size} lines repeat a "
            "frequency: more than one sweep. Export them one by one."
        )
    return tuple(
        f"line {table.lines[i].number}: {hz[i]:g} Hz stands in line {table.lines[first].number} already"
        for i, first in inner
    )


def _ending(hz: np.ndarray, table: PointTable) -> tuple[str, ...]:
    flags = []
    if table.expected_points is not None and table.expected_points != hz.size:
        flags.append(
            f"line {table.lines[-1].number}: {hz.size} of {table.expected_points} points that the "
            "file declares: the sweep ended early, or the file is cut"
        )
    elif table.expected_last_hz and not _reaches(hz, table.expected_last_hz):
        flags.append(
            f"line {table.lines[-1].number}: the sweep ends at {hz[-1]:g} Hz, the file declares "
            f"{table.expected_last_hz:g} Hz: it ended early, or the file is cut"
        )
    return tuple(flags)


def _reaches(hz: np.ndarray, last_hz: float) -> bool:
    """Return whether the sweep comes within a step of its declared end."""
    steps = np.abs(np.diff(np.log(hz)))
    step = float(np.median(steps)) if steps.size else 0.0
    return bool(np.min(np.abs(np.log(hz / last_hz))) <= 0.75 * step + 1e-3)


def _refuse_inductive(z: np.ndarray, table: PointTable, name: str) -> None:
    good = np.isfinite(z) & (np.abs(z) > 0)
    telling = good & (np.abs(z.imag) > OHMIC * np.where(good, np.abs(z), 1.0))
    wrong = telling & (z.imag > 0)
    if np.sum(telling) >= 3 and np.sum(wrong) > INDUCTIVE_PART * np.sum(telling):
        first = int(np.flatnonzero(wrong)[0])
        title = next(
            (c.title for c in table.columns if c.role in ("imaginary", "phase")), "imaginary part"
        )
        raise FileNotValid(
            f"{name}, line {table.lines[first].number}: {np.sum(wrong)} of {np.sum(telling)} points are "
            f"inductive, which no barrier is; the sign of column {title!r} is probably the other one. "
            "Say so with --imaginary negated, if that is what the file means."
        )


_SHAPE = re.compile(r"[0-9]")


def refuse_cut_line(decoded: DecodedText, lines: tuple[TableLine, ...], name: str) -> None:
    """Raise ExportIncomplete where the last line has no end and its last cell may be cut.

    Some programs leave the end off. Such a line is whole where its last cell has as many digits behind
    the point as every one above it.
    """
    if decoded.text.endswith(("\n", "\r")) or not lines:
        return
    endings = set()
    for line in lines:
        cells = [cell.strip() for cell in line.cells if cell.strip()]
        point = re.search(r"[.,][0-9]+([eE][+-]?[0-9]+)?$", cells[-1]) if cells else None
        endings.add(_SHAPE.sub("0", point.group().replace("-", "+")) if point else None)
    if len(lines) < 3 or len(endings) > 1 or None in endings:
        raise ExportIncomplete(
            f"{name}: incomplete: line {lines[-1].number} has no end, so it may be cut within a "
            "number. Export it again."
        )
