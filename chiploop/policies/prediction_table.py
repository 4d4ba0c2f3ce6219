"""What the next cycle would show, for every posterior draw, line and candidate dose.

Belongs here: the one simulation that choosing, risk and explanation share. Not here: choosing.

What a chip will show depends on what it has shown: its deviation from the model's mean is partly known. So the
features are the future readouts less what the past residuals already say about them,
    mu_future(theta) - Sigma_fp Sigma_pp^-1 mu_past(theta),  noise  Sigma_ff - Sigma_fp Sigma_pp^-1 Sigma_pf,
which is exact for the Gaussian residuals of the likelihood; they are divided by that noise in the policies.
Effects that were sampled with the parameters, since a censored value hangs on them, are known in each draw:
they are added to its future readouts and are no noise there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.dosing import PumpProgramme
from chiploop.inference.levels import levels_of
from chiploop.inference.likelihood import Likelihood, on_scale
from chiploop.models.tissue_model import TissueModel


@dataclass(frozen=True)
class PredictionTable:
    """Posterior draws x lines x candidate doses."""

    lines: tuple[str, ...]
    programmes: tuple[tuple[PumpProgramme, ...], ...]
    """Per line, its feasible candidates; the first is the vehicle where it is feasible."""
    allowed: tuple[np.ndarray, ...]
    """Per line (candidates,): whether safety lets it be proposed."""
    risk: tuple[np.ndarray, ...]
    """Per line (candidates,): share of draws in which a chip's viability falls below the limit."""
    features: tuple[np.ndarray, ...]
    """Per line (draws, candidates, features)."""
    noise: np.ndarray
    """(all features, all features) covariance, line by line."""
    goal: np.ndarray
    """(draws,) ln of the leading goal."""
    readings: tuple[tuple[FutureReading, ...], ...] = ()
    """Per line, what its features are."""
    shown: np.ndarray | None = None
    """(all features,) what past readings add to each; see ``shown_by_past``."""

    def place(self, line: int) -> slice:
        """Return where a line's features stand in ``noise``."""
        sizes = [part.shape[2] for part in self.features]
        return slice(sum(sizes[:line]), sum(sizes[: line + 1]))


@dataclass(frozen=True)
class LineChoice:
    """What a policy chose for one line."""

    line: str
    candidate: int
    """Index into the line's programmes."""
    information_nats: float
    """What the batch would lose without this line."""


@dataclass(frozen=True)
class Batch:
    """What a policy chose for the next cycle."""

    choices: tuple[LineChoice, ...]
    information_nats: float
    """Expected information of the whole batch about the goal."""


@dataclass(frozen=True)
class PlannedReadout:
    """One readout that the next cycle will give of every chip."""

    readout: int
    """Index in the model's readouts."""
    time: int
    """Index into the table's sampling times."""
    sd: float
    """Expected assay sd on the residual's scale."""


@dataclass(frozen=True)
class FutureReading:
    """One feature of a line: a reading that its next exposure will give."""

    chip: str
    readout: str
    """As the model names it."""
    unit: str
    is_log: bool
    """Whether the feature is the natural logarithm of the reading."""
    time_h: float
    window_start_h: float
    """NaN for a reading of a moment."""


def shown_by_past(
    likelihood: Likelihood, rows: Sequence[Sequence[tuple[int, PlannedReadout]]]
) -> np.ndarray:
    """Return what the past readings add to each feature (all features,): Sigma_fp Sigma_pp^-1 y_past.

    Feature + this is a draw's expectation of the reading, with the noise of the table around it.
    """
    flat = [row for line in rows for row in line]
    found = np.zeros(len(flat))
    nothing = np.zeros((1, len(likelihood.effects)))
    for r in range(len(likelihood.model.readouts)):
        at = np.array([i for i, (_, plan) in enumerate(flat) if plan.readout == r], dtype=int)
        if at.size:
            levels = levels_of(likelihood, r, [flat[i][0] for i in at])
            found[at] = levels.expected(likelihood.rows.value[None], nothing)[0]
    return found


def future_features(
    likelihood: Likelihood,
    planned: Sequence[PlannedReadout],
    line_chips: Sequence[Sequence[int]],
    past: np.ndarray,
    effects: np.ndarray,
) -> tuple[list[list[tuple[int, PlannedReadout]]], np.ndarray, np.ndarray]:
    """Return per line its future readouts (chip, planned), what the past says of each, and their noise.

    ``past`` (draws, m) are the likelihood's own predictions of its rows, ``effects`` (draws, effects) its sampled
    effects. The second value is (draws, all features): Sigma_fp Sigma_pp^-1 mu_past, less the sampled effects.
    """
    rows = [[(chip, plan) for plan in planned for chip in chips] for chips in line_chips]
    flat = [row for line in rows for row in line]
    means = likelihood.means(past, effects)
    noise = np.zeros((len(flat), len(flat)))
    known = np.zeros((len(past), len(flat)))
    for r, spec in enumerate(likelihood.model.readouts):
        at = np.array([i for i, (_, plan) in enumerate(flat) if plan.readout == r], dtype=int)
        if not at.size:
            continue
        sd = np.array([flat[i][1].sd for i in at])
        levels = levels_of(likelihood, r, [flat[i][0] for i in at])
        own = np.diag(sd**2 + likelihood.scatter.reading.get(spec.name, 0.0) ** 2)
        noise[np.ix_(at, at)] = own + levels.learned()
        known[:, at] = -levels.expected(-means, effects)
    return rows, known, noise


def table_features(
    model: TissueModel,
    rows: Sequence[tuple[int, PlannedReadout]],
    predicted: np.ndarray,
    chips: Sequence[int],
) -> np.ndarray:
    """Return one line's future means (draws, candidates, features) on the residual's scale.

    ``predicted`` (draws, candidates, the line's chips, times, readouts).
    """
    parts = []
    for chip, plan in rows:
        values = predicted[:, :, list(chips).index(chip), plan.time, plan.readout]
        parts.append(on_scale(values, model.readouts[plan.readout].scale == "log"))
    return np.stack(parts, axis=-1)
