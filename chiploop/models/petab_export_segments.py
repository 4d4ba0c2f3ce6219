"""What each chip is given and when it is collected, as numbered segments that all chips share.

Belongs here: moments at which an input changes or a collection window begins. Not here: SBML (petab_export_sbml),
tables (petab_export_tables).

PEtab knows no schedule and reads a model at moments alone. So a chip's time is cut at each such moment, the SBML
holds one event per cut, and each chip, a condition, says when and to what. A window is read from a state that
collects and is emptied where the window begins: a collector. A moment that ends one window and begins the next
would empty it just as it is read, so windows that touch or overlap are given to different collectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.likelihood import Likelihood
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet

SAME_H = 1e-9
"""Moments closer than this are one."""
APART_H = 1e-6
"""A collector is not emptied again earlier than this after it was read."""

Window = tuple[str, float, float]
"""Chip, start, end."""


@dataclass(frozen=True)
class ChipSegments:
    """One chip from the start to its last readout."""

    chip: str
    starts_h: np.ndarray
    """(k,) ascending, the first 0."""
    inputs: np.ndarray
    """(k, inputs) in the order of the model's inputs."""
    begins: np.ndarray
    """(k, collectors) whether a window of the collector begins with the segment."""
    until_h: float
    """The chip's last readout."""


@dataclass(frozen=True)
class Segments:
    """All chips that have a readout, and which collector collects each window."""

    chips: tuple[ChipSegments, ...]
    collector_of: dict[Window, int]

    @property
    def most(self) -> int:
        """How many segments the SBML needs."""
        return max(len(chip.starts_h) for chip in self.chips)

    @property
    def collectors(self) -> int:
        """How many collectors the SBML needs."""
        return 1 + max(self.collector_of.values(), default=-1)

    @property
    def end_h(self) -> float:
        """The last readout of all."""
        return max(chip.until_h for chip in self.chips)


def segments_of(likelihood: Likelihood) -> Segments:
    """Return the segments of every chip that has a readout.

    Raises FileNotValid where a chip's perfusion does not begin at 0 h, as every simulation of PEtab does.
    """
    collector_of: dict[Window, int] = {}
    read: dict[str, list[Readout]] = {}
    for readout in likelihood.used:
        read.setdefault(readout.chip_id, []).append(readout)
    for chip, readouts in read.items():
        windows = {(r.window_start_h, r.time_h) for r in readouts if r.window_start_h is not None}
        for (start, end), collector in collected(sorted(windows)).items():
            collector_of[chip, start, end] = collector
    count = 1 + max(collector_of.values(), default=-1)
    chips = []
    for inlet in likelihood.inlets:
        if inlet.chip_id not in read:
            continue
        if inlet.edges_h[0] != 0.0:
            raise FileNotValid(
                f"{inlet.chip_id} is perfused from {inlet.edges_h[0]:g} h on; a simulation of PEtab begins at 0 h"
            )
        begins: list[list[float]] = [[] for _ in range(count)]
        for (chip, start, _), collector in collector_of.items():
            if chip == inlet.chip_id:
                begins[collector].append(start)
        until = max(r.time_h for r in read[inlet.chip_id])
        chips.append(cut(inlet, begins, until))
    return Segments(tuple(chips), collector_of)


def collected(windows: Sequence[tuple[float, float]]) -> dict[tuple[float, float], int]:
    """Return a collector for each window (start, end), ascending; none is begun before it was read."""
    free_from: list[float] = []
    found = {}
    for start, end in windows:
        fitting = [c for c, free in enumerate(free_from) if start > free + APART_H]
        collector = fitting[0] if fitting else len(free_from)
        free_from[collector : collector + 1] = [end]
        found[start, end] = collector
    return found


def cut(inlet: ChipInlet, begins: Sequence[Sequence[float]], until_h: float) -> ChipSegments:
    """Return a chip's segments up to a moment, cut where an input changes and where a window begins."""
    edges = inlet.edges_h[:-1]
    starts = [float(edge) for edge in edges if edge < until_h]
    for moment in sorted({start for of_collector in begins for start in of_collector}):
        if min(abs(moment - start) for start in starts) > SAME_H:
            starts.append(moment)
    starts.sort()
    times = np.array(starts)
    segment = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 1)
    flags = np.zeros((len(times), len(begins)), dtype=bool)
    for collector, moments in enumerate(begins):
        for moment in moments:
            flags[int(np.argmin(np.abs(times - moment))), collector] = True
    return ChipSegments(inlet.chip_id, times, inlet.inputs[segment], flags, until_h)
