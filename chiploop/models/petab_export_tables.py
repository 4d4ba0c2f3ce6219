"""Readouts of a study as observables and measurements of a PEtab problem.

Belongs here: observable formulas, what readings share as estimated effects, rows of both tables. Not here:
parameters of the model (petab_export_parameters), SBML (petab_export_sbml).

In PEtab the noise of each measurement is its own. What readings of a kind share (their chip, donor, standard
curve) becomes an effect, a standard normal that is estimated: on the readout's scale it adds its loading times
itself. Loadings and ids stand in ``observableParameters`` where they differ within an observable, else in its
formula. The objective is then the joint density of readings and effects; integrated over the effects it is what
chiploop calculates in one step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chiploop.errors import FileNotValid
from chiploop.inference.likelihood import FLOOR, Likelihood
from chiploop.inference.scatter import spread_of
from chiploop.measurement import Readout
from chiploop.models.petab_export_parameters import ExportedParameter, Names
from chiploop.models.petab_export_segments import Segments

NO_EFFECT = ("0", "0")
"""Loading and effect of a reading that shares less than others of its kind."""


@dataclass(frozen=True)
class Observable:
    """One row of the observable table."""

    name: str
    title: str
    """The readout's name in chiploop."""
    formula: str
    transformation: str
    noise: str


@dataclass(frozen=True)
class Measurement:
    """One row of the measurement table."""

    observable: str
    chip: str
    value: float
    time_h: float
    observable_parameters: tuple[str, ...]
    noise_parameters: tuple[str, ...]
    is_log: bool


@dataclass(frozen=True)
class Scattered:
    """One readout with its own noise and the effects that it shares with others."""

    readout: Readout
    sd: float
    """Of its own."""
    effects: tuple[tuple[float, str], ...]
    """Loading and id of each."""


@dataclass(frozen=True)
class ReadoutTables:
    """Observables, measurements, and the effects that they hang on."""

    observables: tuple[Observable, ...]
    measurements: tuple[Measurement, ...]
    effects: tuple[ExportedParameter, ...]


def readout_tables(likelihood: Likelihood, segments: Segments, names: Names) -> ReadoutTables:
    """Return the tables of the readouts of a likelihood, none of which is censored."""
    observables: list[Observable] = []
    measurements: list[Measurement] = []
    effects: dict[str, ExportedParameter] = {}
    for name in likelihood.names:
        of_kind = scattered(likelihood, name, names, effects)
        for number, (collector, group) in enumerate(grouped(of_kind, segments)):
            own = names.numbered(f"observable {name}", number)
            observable, rows = observed(likelihood, name, own, names, collector, group)
            observables.append(observable)
            measurements += rows
    return ReadoutTables(tuple(observables), tuple(measurements), tuple(effects.values()))


def grouped(of_kind: Sequence[Scattered], segments: Segments) -> list[tuple[int, list[Scattered]]]:
    """Return the readouts of a kind in groups, each an observable, with the collector of the group.

    In a group a chip has the same effects and length of its window at all times: what hangs on time within an
    observable is allowed in PEtab, but not every program (AMICI) takes it.
    """
    groups: list[tuple[int, list[Scattered]]] = []
    cells: list[dict[str, tuple[object, ...]]] = []
    for one in of_kind:
        collector = collector_of(one.readout, segments)
        own = (collector, hours_of(one.readout), one.effects)
        fitting = [
            k
            for k, known in enumerate(cells)
            if groups[k][0] == collector and known.get(one.readout.chip_id, own) == own
        ]
        if not fitting:
            fitting = [len(groups)]
            groups.append((collector, []))
            cells.append({})
        groups[fitting[0]][1].append(one)
        cells[fitting[0]][one.readout.chip_id] = own
    return groups


def hours_of(readout: Readout) -> float | None:
    """Return how long a sample was collected; None for a reading at a moment."""
    return (
        None if readout.window_start_h is None else float(readout.time_h - readout.window_start_h)
    )


def collector_of(readout: Readout, segments: Segments) -> int:
    """Return which collector collects a readout; 0 for a reading at a moment."""
    if readout.window_start_h is None:
        return 0
    return segments.collector_of[readout.chip_id, readout.window_start_h, readout.time_h]


def scattered(
    likelihood: Likelihood, name: str, names: Names, effects: dict[str, ExportedParameter]
) -> list[Scattered]:
    """Return the readouts of a kind, chip by chip; put the effects that they share into ``effects``."""
    order = {chip: i for i, chip in enumerate(likelihood.chips)}
    used = sorted((r for r in likelihood.used if r.readout == name), key=lambda r: order[r.chip_id])
    spread = spread_of(likelihood.scatter, name, [likelihood.reading(r) for r in used])
    shared: list[list[tuple[float, str]]] = [[] for _ in used]
    for cause in spread.integrated:
        own = names.of(f"effect {cause.name}")
        effects[own] = ExportedParameter(own, cause.name, "sd", "lin", 0.0, 1.0, None)
        for row, loading in zip(cause.rows.tolist(), cause.loadings.tolist(), strict=True):
            shared[row].append((loading, own))
    found = []
    for readout, sd, own_effects in zip(used, spread.sd.tolist(), shared, strict=True):
        place = f"{name} of {readout.chip_id} at {readout.time_h:g} h"
        if not sd > 0:
            raise FileNotValid(
                f"{place} has no scatter of its own; PEtab takes readings whose noise is above 0"
            )
        if likelihood.model.facts.readouts[name].scale == "log" and not readout.value > 0:
            raise FileNotValid(
                f"{place} is {readout.value:g}; on the log scale a reading is above 0"
            )
        found.append(Scattered(readout, sd, tuple(own_effects)))
    return found


def observed(
    likelihood: Likelihood, name: str, own: str, names: Names, collector: int,
    group: Sequence[Scattered],
) -> tuple[Observable, list[Measurement]]:  # fmt: skip
    """Return one observable with the id ``own`` and its measurements."""
    facts = likelihood.model.facts.readouts[name]
    is_log = facts.scale == "log"
    cells: list[list[str]] = [[] for _ in group]

    def told(values: Sequence[str]) -> str:
        """Return a number that all measurements share, or a placeholder that each fills."""
        if len(set(values)) == 1:
            return values[0]
        for cell, value in zip(cells, values, strict=True):
            cell.append(value)
        return f"observableParameter{len(cells[0])}_{own}"

    if facts.kind == "moment":
        formula = facts.symbol
    elif facts.kind == "window_mean":
        hours = told([repr(hours_of(one.readout)) for one in group])
        formula = f"{names.collected(facts.symbol, collector)}/{hours}"
    else:
        formula = f"{names.at_start(facts.symbol, collector)} - {facts.symbol}"
    terms = []
    for k in range(max(len(one.effects) for one in group)):
        pairs = [
            (repr(one.effects[k][0]), one.effects[k][1]) if k < len(one.effects) else NO_EFFECT
            for one in group
        ]
        terms.append(f"{told([p[0] for p in pairs])}*{told([p[1] for p in pairs])}")
    if is_log:
        formula = f"max({formula}, {FLOOR!r})" + (f"*exp({' + '.join(terms)})" if terms else "")
    else:
        formula = " + ".join([formula, *terms])
    sds = [repr(one.sd) for one in group]
    is_one = len(set(sds)) == 1
    observable = Observable(
        own,
        name,
        formula,
        "log" if is_log else "lin",
        sds[0] if is_one else f"noiseParameter1_{own}",
    )
    rows = [
        Measurement(
            own,
            one.readout.chip_id,
            one.readout.value,
            one.readout.time_h,
            tuple(cell),
            () if is_one else (sd,),
            is_log,
        )
        for one, cell, sd in zip(group, cells, sds, strict=True)
    ]
    return observable, rows


def log_jacobian(measurements: Sequence[Measurement]) -> float:
    """Return the sum of ln(measurement) on the log scale.

    PEtab takes the density of the value, chiploop that of its logarithm, which is the value times as large.
    """
    return math.fsum(math.log(row.value) for row in measurements if row.is_log)
