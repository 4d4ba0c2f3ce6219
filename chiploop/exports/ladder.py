"""Standards of a plate: do their concentrations stand on one ladder, and does the curve agree?

Belongs here: what a decimal point that was taken for a thousands separator looks like. Not here:
curves (assays), the kit's own list (protocols). Nothing is set right: what is 1000 times off is
flagged with its wells and left as it is.

The case is real: a public xPONENT export holds 30 of 480 standards exactly 1000 times too large,
every one that has three decimals.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from chiploop.exports.export import ExportRow

NEAR: Final = 0.35
"""Decades from a factor of 1000 that still count as that factor: ladders have round steps."""
OFF: Final = "standard 1000 times off its ladder"
ALL_OFF: Final = "standards and curve differ 1000 times"


@dataclass(frozen=True)
class Standard:
    """One level of a ladder."""

    label: str
    """As the file names it, ``STD1``."""
    concentration: float


def off_the_ladder(ladder: Sequence[Standard]) -> tuple[Standard, ...]:
    """Return the levels that are about 1000 times (up or down) from where the others put them.

    Parameters
    ----------
    ladder : in the order in which the file numbers its standards; levels of zero are left out.
    """
    levels = [one for one in ladder if one.concentration > 0.0]
    if len(levels) < 4:
        return ()
    logs = [math.log10(one.concentration) for one in levels]
    step = median(b - a for a, b in zip(logs, logs[1:], strict=False))
    # Each level's offset from the one straight line of all: the median is not moved by a few.
    offsets = [log - i * step for i, log in enumerate(logs)]
    middle = median(offsets)
    return tuple(
        one
        for one, offset in zip(levels, offsets, strict=True)
        if abs(abs(offset - middle) - 3.0) < NEAR
    )


def off_the_list(ladder: Iterable[Standard], kit: Collection[float]) -> tuple[Standard, ...]:
    """Return the levels that are 1000 times a level of the kit's own list, and none of it."""
    known = [level for level in kit if level > 0.0]
    return tuple(
        one
        for one in ladder
        if one.concentration > 0.0
        and not any(math.isclose(one.concentration, level, rel_tol=0.02) for level in known)
        and any(
            math.isclose(one.concentration, level * factor, rel_tol=0.02)
            for level in known
            for factor in (1000.0, 0.001)
        )
    )


def curve_disagrees(pairs: Iterable[tuple[float, float]]) -> bool:
    """Return True where (nominal, back-calculated) concentrations differ 1000 times as a whole."""
    ratios = [math.log10(back / nominal) for nominal, back in pairs if nominal > 0.0 and back > 0.0]
    return bool(ratios) and abs(abs(median(ratios)) - 3.0) < NEAR


def flag_ladder(
    rows: Sequence[ExportRow],
    nominal: tuple[str, str],
    back: tuple[str, str] | None,
    standards: Sequence[str],
) -> tuple[list[ExportRow], tuple[str, ...]]:
    """Return the rows with those of doubtful standards flagged as failed, and notes of them.

    Parameters
    ----------
    rows : of one plate and analyte, or one whose analytes share their standards.
    nominal : (statistic, analyte) of the concentrations that the standards have by declaration.
    back : (statistic, analyte) of those that the file's own curve gives back; None without.
    standards : names of the standards in the order of the ladder; samples are not looked at.
    """
    known = set(standards)
    levels: dict[str, set[float]] = {}
    calculated: dict[str, list[float]] = {}
    for row in rows:
        one, key = row.readout, (row.statistic, row.readout.analyte)
        if one.sample in known and math.isfinite(one.value):
            if key == nominal:
                levels.setdefault(one.sample, set()).add(one.value)
            elif key == back:
                calculated.setdefault(one.sample, []).append(one.value)
    ladder = [
        Standard(label, level)
        for label in standards
        for level in sorted(levels.get(label, ()), reverse=True)[:1]
    ]
    doubtful = {one.label for one in off_the_ladder(ladder)}
    # A level that is written differently in two wells of one standard is doubtful by itself.
    doubtful |= {label for label, found in levels.items() if len(found) > 1}
    every = [(one.concentration, c) for one in ladder for c in calculated.get(one.label, ())]
    reasons = dict.fromkeys(doubtful, OFF)
    notes = [
        f"standard {label} is declared as {' and '.join(f'{v:g}' for v in sorted(levels[label]))}"
        f", {'two levels' if len(levels[label]) > 1 else 'about 1000 times off the ladder'}; "
        "nothing was set right"
        for label in standards
        if label in doubtful
    ]
    if curve_disagrees(every):
        reasons = dict.fromkeys(known, ALL_OFF)
        notes.append(
            "the declared standards and what the file's own curve gives back differ about 1000 "
            "times; nothing was set right"
        )
    if not reasons:
        return list(rows), ()
    flagged = []
    for row in rows:
        reason = reasons.get(row.readout.sample)
        if reason is not None:
            one = replace(row.readout, qc="fail", reasons=(*row.readout.reasons, reason))
            row = replace(row, readout=one)
        flagged.append(row)
    return flagged, tuple(notes)
