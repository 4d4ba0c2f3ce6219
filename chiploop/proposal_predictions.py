"""What the readings of a proposed exposure are expected to be, and what each of them teaches.

Belongs here: bands and information from a prediction table. Not here: choosing (policies), the card
(proposal_card).

Bands are of a reading with all its noise; the model's own band, without, stands beside them, so that nobody takes
the narrower one for what a reading will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from chiploop.inference.posterior import NORMAL_POINTS
from chiploop.policies.linear_gaussian import LinearGaussian
from chiploop.policies.prediction_table import FutureReading, PredictionTable

INNER, OUTER = 0.5, 0.9
"""Levels of the bands; equal-tailed."""


@dataclass(frozen=True)
class PredictedReading:
    """One reading that the exposure will give, in the model's unit."""

    line: str
    chip: str
    donor: str
    readout: str
    unit: str
    time_h: float
    """Study time."""
    window_start_h: float | None
    """None for a reading of a moment."""
    median: float
    inner: tuple[float, float]
    """50 % predictive band."""
    outer: tuple[float, float]
    """90 % predictive band."""
    model: tuple[float, float]
    """90 % band of the model's mean, without noise."""
    if_low: float
    """Median where the goal lies in the lowest third of what is thought possible."""
    if_high: float
    """The same for the highest third: the two explanations that the reading separates."""


@dataclass(frozen=True)
class InformationPart:
    """What all readings of one readout at one time teach."""

    readout: str
    time_h: float
    nats: float
    """That the batch would lose without them."""
    share: float
    """Of the sum over all parts."""
    separation: float
    """Largest distance between the two explanations, in sd of a reading's noise."""


def predicted_readings(
    table: PredictionTable, chosen: Mapping[int, int], donors: Mapping[str, str]
) -> tuple[PredictedReading, ...]:
    """Return every reading of the chosen candidates (line -> candidate); ``donors`` are chip -> donor."""
    low, high = outer_thirds(table.goal)
    found = []
    for i, k in sorted(chosen.items()):
        place = table.place(i)
        means = table.features[i][:, k] + shown(table)[place]
        sds = np.sqrt(np.diag(table.noise)[place])
        for j, reading in enumerate(table.readings[i]):
            mean = means[:, j]
            mean = mean[np.isfinite(mean)]
            if not mean.size:  # in no draw can it be simulated: the card says so
                continue
            noisy = (mean[:, None] + sds[j] * NORMAL_POINTS).ravel()
            found.append(
                PredictedReading(
                    line=table.lines[i],
                    chip=reading.chip,
                    donor=donors[reading.chip],
                    readout=reading.readout,
                    unit=reading.unit,
                    time_h=reading.time_h,
                    window_start_h=None
                    if np.isnan(reading.window_start_h)
                    else reading.window_start_h,
                    median=in_unit(reading, np.median(noisy)),
                    inner=ends(reading, noisy, INNER),
                    outer=ends(reading, noisy, OUTER),
                    model=ends(reading, mean, OUTER),
                    if_low=in_unit(reading, median(means[low, j], mean)),
                    if_high=in_unit(reading, median(means[high, j], mean)),
                )
            )
    return tuple(found)


def information_parts(
    table: PredictionTable, chosen: Mapping[int, int]
) -> tuple[InformationPart, ...]:
    """Return what each readout at each time teaches about the goal, the most first."""
    low, high = outer_thirds(table.goal)
    everything = only(table, chosen, lambda _: True)
    whole = information(everything)
    kinds = list(
        dict.fromkeys((r.readout, r.time_h) for i in sorted(chosen) for r in table.readings[i])
    )
    found = []
    for kind in kinds:
        rest = only(table, chosen, lambda r, kind=kind: (r.readout, r.time_h) != kind)  # type: ignore[misc]
        distances = [
            apart(table.features[i][:, k, j], low, high) / np.sqrt(table.noise[at, at])
            for i, k in chosen.items()
            for j, at in enumerate(range(table.place(i).start, table.place(i).stop))
            if (table.readings[i][j].readout, table.readings[i][j].time_h) == kind
        ]  # fmt: skip
        lost = max(0.0, whole - information(rest))
        found.append(InformationPart(*kind, lost, 0.0, float(max(distances))))
    total = sum(part.nats for part in found) or 1.0
    shared = [replace(part, share=part.nats / total) for part in found]
    return tuple(sorted(shared, key=lambda part: -part.nats))


def only(
    table: PredictionTable, chosen: Mapping[int, int], is_kept: Callable[[FutureReading], bool]
) -> PredictionTable:
    """Return the table with the chosen candidates and the features that are kept alone."""
    lines = sorted(chosen)
    kept = [[j for j, r in enumerate(table.readings[i]) if is_kept(r)] for i in lines]
    at = [table.place(i).start + j for i, js in zip(lines, kept, strict=True) for j in js]
    return PredictionTable(
        lines=tuple(table.lines[i] for i in lines),
        programmes=tuple((table.programmes[i][chosen[i]],) for i in lines),
        allowed=tuple(np.ones(1, dtype=bool) for _ in lines),
        risk=tuple(table.risk[i][[chosen[i]]] for i in lines),
        features=tuple(
            table.features[i][:, [chosen[i]]][:, :, js] for i, js in zip(lines, kept, strict=True)
        ),
        noise=table.noise[np.ix_(at, at)],
        goal=table.goal,
    )


def apart(means: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return how far the medians of means (n,) lie apart between two groups of draws; 0 where one has none."""
    finite = np.isfinite(means)
    if not (finite & low).any() or not (finite & high).any():
        return 0.0
    return float(abs(np.median(means[finite & low]) - np.median(means[finite & high])))


def median(values: np.ndarray, otherwise: np.ndarray) -> float:
    """Return the median of what is finite of values (n,), or of the others where nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite if finite.size else otherwise))


def information(table: PredictionTable) -> float:
    """Return the information of a table with one candidate per line; 0 where no feature is left."""
    if not table.noise.size:
        return 0.0
    return LinearGaussian(table.predictable()).information(
        dict.fromkeys(range(len(table.lines)), 0)
    )


def outer_thirds(goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which draws (n,) lie in the lowest and in the highest third of the goal."""
    lower, upper = np.quantile(goal, [1 / 3, 2 / 3])
    return goal <= lower, goal >= upper


def shown(table: PredictionTable) -> np.ndarray:
    """Return what past readings add to each feature (all features,)."""
    return np.zeros(len(table.noise)) if table.shown is None else table.shown


def in_unit(reading: FutureReading, value: float) -> float:
    """Return a value of the feature's scale in the reading's unit."""
    return float(np.exp(value) if reading.is_log else value)


def ends(reading: FutureReading, values: np.ndarray, level: float) -> tuple[float, float]:
    """Return the equal-tailed interval of values (n,) in the reading's unit."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return in_unit(reading, low), in_unit(reading, high)
