"""Readings that are on their way: effluent that was collected and whose plate is not read yet.

Belongs here: which readings those are, and what every posterior draw expects of them. Not here: whether a plate
will still come (the record says so), how a policy weighs them (policies).

They will be known without the next exposure, so what it would teach is counted beyond them
(``policies.prediction_table.Pending``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from chiploop.inference.likelihood import Likelihood, on_scale
from chiploop.measurement import Readout
from chiploop.models.facts import AT_THE_END, STUDY_NAMES, ReadoutSpec
from chiploop.models.tissue_model import TissueModel
from chiploop.policies.prediction_table import Pending, PlannedReadout
from chiploop.study import Study

SAME_WINDOW = 0.1
"""Part by which a window may be longer or shorter than planned and still be the effluent's."""
Plate = tuple[int, str]
"""(cycle, assay as the study names it)."""


@dataclass(frozen=True)
class Awaited:
    """A plate's readings of every chip."""

    readout: int
    """Index in the model's readouts."""
    window_h: tuple[float, float]
    """Study time from which to which its effluent was collected; the exposure of what is read at its end."""


def awaited_readings(
    study: Study, model: TissueModel, plates: Collection[Plate], readouts: Iterable[Readout]
) -> tuple[Awaited, ...]:
    """Return the readings of plates that are on their way; of a plate that was read meanwhile there are none.

    The window is that of the cycle's other plates, as it really was; without one, as planned.
    """
    known = list(readouts)
    names = [spec.name for spec in model.readouts]
    of_model = {STUDY_NAMES.get(name, name): name for name in names}
    found = []
    for cycle, assay in sorted(set(plates)):
        name = of_model.get(assay)
        own = [r for r in known if r.cycle == cycle]
        if name is None or any(r.readout == name for r in own):
            continue
        planned = study.effluent_window_h(cycle)
        windows = [(r.window_start_h, r.time_h) for r in own if r.window_start_h is not None]
        alike = [
            one for one in windows if _as_long(one, planned)
        ]  # not a tracer's, nor a dye's from 0 h
        window_h = max(alike, default=planned, key=lambda one: one[1])
        if name in AT_THE_END:
            begin_h = window_h[0] - study.sampling.effluent_h[0]
            window_h = (begin_h, begin_h + study.timeline.exposure_h)
        found.append(Awaited(names.index(name), window_h))
    return tuple(found)


def _as_long(window_h: tuple[float, float], planned_h: tuple[float, float]) -> bool:
    """Return whether a window is as long as the effluent is collected, but for the bench's minutes."""
    lasts, planned = window_h[1] - window_h[0], planned_h[1] - planned_h[0]
    return abs(lasts - planned) <= SAME_WINDOW * planned


def samplings_of(awaited: Collection[Awaited]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct window ends (t,) and starts (t,), ascending."""
    windows = sorted({one.window_h for one in awaited}, key=lambda one: (one[1], one[0]))
    return np.array([end for _, end in windows]), np.array([start for start, _ in windows])


def rows_of(
    model: TissueModel,
    awaited: Collection[Awaited],
    chips: int,
    expected_sd: Callable[[ReadoutSpec], float],
) -> list[tuple[int, PlannedReadout]]:
    """Return every reading as (chip, planned), ``time`` an index into ``samplings_of``; plate by plate.

    ``expected_sd``: readout -> assay sd on the residual's scale.
    """
    ends, starts = samplings_of(awaited)
    windows = list(zip(starts, ends, strict=True))
    sds = [expected_sd(spec) for spec in model.readouts]
    return [
        (chip, PlannedReadout(one.readout, windows.index(one.window_h), sds[one.readout]))
        for one in awaited
        for chip in range(chips)
    ]


def expected_of(
    model: TissueModel,
    likelihood: Likelihood,
    rows: Collection[tuple[int, PlannedReadout]],
    samplings: tuple[np.ndarray, np.ndarray],
    own: np.ndarray,
    factors: np.ndarray | None,
) -> np.ndarray:
    """Return what each draw expects of the rows (draws, rows), on the residual's scale.

    ``own`` and ``factors`` as ``TissueModel.simulate`` takes them, of the likelihood's chips.
    """
    simulated = model.simulate(own, likelihood.inlets, *samplings, drug_factors=factors).readouts
    parts = [
        on_scale(simulated[:, chip, plan.time, plan.readout], model.readouts[plan.readout])
        for chip, plan in rows
    ]
    return np.stack(parts, axis=-1)


def pending_of(features: np.ndarray, known: np.ndarray, noise: np.ndarray, count: int) -> Pending:
    """Return the first ``count`` readings of a joint table as pending ones.

    ``features`` (draws, count) as ``expected_of`` gives them, ``known`` (draws, all) and ``noise`` (all, all) as
    ``future_features`` does for them and all coming readings behind them.
    """
    return Pending(features - known[:, :count], noise[:count, :count], noise[:count, count:])
