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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chiploop.exposure import ExposureProgramme
from chiploop.inference.levels import levels_of
from chiploop.inference.likelihood import Likelihood, on_scale
from chiploop.models.tissue_model import TissueModel

FEWEST_DRAWS = 16
"""That must be predictable to the end before a dose is chosen by them."""


@dataclass(frozen=True)
class Pending:
    """Readings that are on their way: of chips already running, or assays not yet read."""

    features: np.ndarray
    """(draws, p)."""
    noise: np.ndarray
    """(p, p) covariance."""
    shared: np.ndarray
    """(p, all features of the table) covariance with the noise of the next cycle's features: what is not yet read
    of a chip or a donor moves both.
    """


@dataclass(frozen=True)
class PredictionTable:
    """Posterior draws x lines x candidate doses."""

    lines: tuple[str, ...]
    programmes: tuple[tuple[ExposureProgramme, ...], ...]
    """Per line, its feasible candidates: concentrations, each by every schedule; the first is the vehicle where it
    is feasible.
    """
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
    standard: np.ndarray | None = None
    """(draws, entries) the draws as standard normals of the prior."""
    goal_is_dose: bool = True
    """Whether the leading goal is a concentration in nM, so that a dose can be near it."""
    pending: Pending | None = None
    """Readings on their way, which will be known without the next cycle."""
    cost: tuple[np.ndarray, ...] | None = None
    """Per line (candidates,), in any one unit, above zero; None: all doses cost the same."""
    nats_per_cost: float | None = None
    """What a unit of cost must bring: batches are ranked by information - this x cost. None: by information per
    cost.
    """
    turn: int = 0
    """Batches given before this one, for policies that go round."""

    def place(self, line: int) -> slice:
        """Return where a line's features stand in ``noise``."""
        sizes = [part.shape[2] for part in self.features]
        return slice(sum(sizes[:line]), sum(sizes[: line + 1]))

    def dose_nm(self, line: int) -> np.ndarray:
        """Return (candidates,) the concentrations that a line's candidates deliver."""
        return np.array([programme.delivered_nm for programme in self.programmes[line]])

    def asked(self, chosen: Mapping[int, int]) -> tuple[dict[str, float], dict[str, str]]:
        """Return line name -> asked dose in nM, and -> schedule, of line -> candidate."""
        programmes = {self.lines[i]: self.programmes[i][k] for i, k in chosen.items()}
        return (
            {line: one.asked_nm for line, one in programmes.items()},
            {line: one.schedule for line, one in programmes.items()},
        )

    def options(self) -> tuple[np.ndarray, ...]:
        """Return per line the indices of its allowed candidates.

        Raises ValueError that names the lines without one.
        """
        options = tuple(np.flatnonzero(allowed) for allowed in self.allowed)
        empty = [
            line for line, open_to in zip(self.lines, options, strict=True) if not len(open_to)
        ]
        if empty:
            raise ValueError(f"no dose is allowed on {', '.join(empty)}")
        return options

    def predictable(self) -> PredictionTable:
        """Return the table without the draws that could not be simulated ahead at every allowed candidate.

        Raises ValueError where fewer than ``FEWEST_DRAWS`` are left.
        """
        finite = np.isfinite(self.goal)
        for features, options in zip(self.features, self.options(), strict=True):
            finite &= np.isfinite(features[:, options]).all(axis=(1, 2))
        pending = self.pending
        if pending is not None:
            finite &= np.isfinite(pending.features).all(axis=1)
        if finite.sum() < FEWEST_DRAWS:
            raise ValueError(
                f"{finite.sum()} of {len(finite)} draws can be simulated ahead at every allowed dose; "
                f"at least {FEWEST_DRAWS} are needed to choose one"
            )
        if finite.all():
            return self
        return replace(
            self,
            features=tuple(features[finite] for features in self.features),
            goal=self.goal[finite],
            standard=None if self.standard is None else self.standard[finite],
            pending=None
            if pending is None
            else replace(pending, features=pending.features[finite]),
        )

    def joint(self, chosen: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is read if each line gets its candidate, line -> candidate; pending readings come first.

        Returns
        -------
        features : (draws, k)
        noise : (k, k)
        columns : (k,)
            Where each stands among all features, those of ``pending`` in front.
        """
        before = 0 if self.pending is None else self.pending.features.shape[1]
        parts = [] if self.pending is None else [self.pending.features]
        columns = [np.arange(before)]
        for line, candidate in sorted(chosen.items()):
            parts.append(self.features[line][:, candidate])
            place = self.place(line)
            columns.append(before + np.arange(place.start, place.stop))
        at = np.concatenate(columns)
        features = np.concatenate(parts, axis=1) if parts else np.zeros((len(self.goal), 0))
        return features, self.all_noise()[np.ix_(at, at)], at

    def all_noise(self) -> np.ndarray:
        """Return the covariance of all noise, that of ``pending`` in front."""
        if self.pending is None:
            return self.noise
        own, shared = self.pending.noise, self.pending.shared
        return np.block([[own, shared], [shared.T, self.noise]])


@dataclass(frozen=True)
class LineChoice:
    """What a policy chose for one line."""

    line: str
    candidate: int
    """Index into the line's programmes."""
    information_nats: float
    """What the batch would lose without this line."""


@dataclass(frozen=True)
class Tie:
    """Another batch that can not be told from the chosen one."""

    candidates: tuple[int, ...]
    """Per line, in the table's order."""
    information_nats: float
    behind_nats: float
    """Information of the chosen batch less this one's."""
    behind_error_nats: float
    """Its Monte Carlo standard error, smaller than those of the two: they share draws and noise."""


@dataclass(frozen=True)
class Batch:
    """What a policy chose for the next cycle."""

    choices: tuple[LineChoice, ...]
    information_nats: float
    """Expected information of the whole batch about the goal, whatever the policy was after."""
    error_nats: float = 0.0
    """Its Monte Carlo standard error."""
    ties: tuple[Tie, ...] = ()
    """Batches that were compared and whose worth is within the error of the comparison; best first."""
    note: str = ""
    """What a person should know of how it was chosen; empty where there is nothing."""


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
    awaited: Sequence[tuple[int, PlannedReadout]] = (),
) -> tuple[list[list[tuple[int, PlannedReadout]]], np.ndarray, np.ndarray]:
    """Return per line its future readouts (chip, planned), what the past says of each, and their noise.

    ``past`` (draws, m) are the likelihood's own predictions of its rows, ``effects`` (draws, effects) its sampled
    effects. The second value is (draws, all features): Sigma_fp Sigma_pp^-1 mu_past, less the sampled effects.
    Readings that are ``awaited`` stand in front in both.
    """
    rows = [[(chip, plan) for plan in planned for chip in chips] for chips in line_chips]
    flat = [*awaited, *(row for line in rows for row in line)]
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
        parts.append(on_scale(values, model.readouts[plan.readout]))
    return np.stack(parts, axis=-1)
