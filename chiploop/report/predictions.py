"""What a posterior says about the chips as they were really dosed, as bands to draw readings over.

Belongs here: bands of the mean and of single readings, chips' own lines, readings moved to a goal's reference
experiment. Not here: drawing (figures, chip_figures), the fit (inference), the goal's definition (goals).

The mean's band is the credible interval of the model's prediction. The predictive band is for one reading of a
chip and donor not seen before: around each draw's mean lies a normal, on the readout's own scale, of the study's
scatter between chips, donors and readings and of the assay's own sd. The normal enters by equally likely points,
so nothing here is random. Every interval is equal-tailed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.connections import dose_unit
from chiploop.dosing import ChipSchedule
from chiploop.goal_curves import GRID_NM
from chiploop.goals import curves_of, donor_tissues, goal_level
from chiploop.inference.levels import levels_of
from chiploop.inference.likelihood import Likelihood, on_scale, scaled
from chiploop.inference.posterior import NORMAL_POINTS, Posterior
from chiploop.measurement import Readout
from chiploop.models.facts import ReadoutSpec
from chiploop.models.study_model import model_of
from chiploop.next_exposure import drugs_of_chips, expected_sd, likelihood_of, scatter_of
from chiploop.plan import exposure_read
from chiploop.study import Goal, Study

LEVEL = 0.9
"""Of every interval in the report."""
DRAWS = 200
"""Posterior draws behind a band."""
STEP_H = 4.0
"""Between the points of a drawn course."""


@dataclass(frozen=True)
class Band:
    """An equal-tailed interval with its median; all of one shape, in the readout's unit."""

    lower: np.ndarray
    median: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True)
class Course:
    """One chip's readout over time."""

    chip_id: str
    readout: str
    times_h: np.ndarray
    """(t,)."""
    mean: Band
    """(t,) of the model's mean for this schedule and genotype."""
    predictive: Band
    """(t,) of one reading."""
    own: np.ndarray
    """(t,) median of the mean, moved by what this chip and its donor have shown."""


@dataclass(frozen=True)
class Predicted:
    """One reading that was learned from, beside what the model says of it."""

    reading: Readout
    drug_nm: float
    """At the inlet when it was taken."""
    lower: float
    median: float
    upper: float
    """Of the mean."""
    predictive_lower: float
    predictive_upper: float
    own: float
    """Median of the mean, moved by what this chip and its donor have shown."""

    @property
    def inside(self) -> bool | None:
        """Whether it lies in its predictive band; None where it is censored."""
        if self.reading.censoring != "none":
            return None
        return self.predictive_lower <= self.reading.value <= self.predictive_upper


@dataclass(frozen=True)
class MovedReading:
    """A reading moved to the reference experiment: the curve plus the reading's own deviation."""

    chip_id: str
    cycle: int
    drug_nm: float
    value: float


@dataclass(frozen=True)
class DoseResponse:
    """The curve of a goal's reference experiment, with the chips' readings moved to it."""

    goal: Goal
    concentrations_nm: np.ndarray
    """(c,)."""
    mean: Band
    """(c,) of the curve."""
    predictive: Band
    """(c,) of one reading of a new wild-type chip."""
    unstimulated: float
    """Median without stimulus."""
    vehicle: Band
    """() of the mean with stimulus and no drug."""
    vehicle_predictive: Band
    """() of one reading of a new wild-type chip without drug."""
    half: np.ndarray
    """Median readout at which the goal's share of the effect is gone."""
    readings: tuple[MovedReading, ...]
    censored: int
    """Readings left out because only a bound is known."""


def some_particles(posterior: Posterior) -> np.ndarray:
    """Return the places (n,) of up to ``DRAWS`` particles, evenly from all populations."""
    at = np.linspace(0, len(posterior.particles) - 1, min(DRAWS, len(posterior.particles)))
    return at.round().astype(int)


def band(values: np.ndarray) -> Band:
    """Return the interval over the first axis of values (n, ...); draws that failed are left out."""
    tails = [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]
    finite = values[np.isfinite(values).reshape(len(values), -1).all(axis=1)]
    if not len(finite):
        raise ValueError("no posterior draw could be simulated")
    return Band(*np.quantile(finite, tails, axis=0))


def predictive_band(mean: np.ndarray, sd: float | np.ndarray, spec: ReadoutSpec) -> Band:
    """Return the interval of one reading around means (n, ...) with a sd on the readout's own scale."""
    centre = on_scale(mean, spec)
    spread = np.multiply.outer(NORMAL_POINTS, np.broadcast_to(sd, centre.shape[1:]))
    values = (centre[:, None] + spread).reshape(-1, *centre.shape[1:])
    return band(np.exp(values) if spec.scale == "log" else values)


class Predictions:
    """Everything that the figures of one calibration need; simulated once."""

    def __init__(
        self,
        study: Study,
        schedules: Mapping[str, ChipSchedule],
        readouts: Sequence[Readout],
        posterior: Posterior,
    ) -> None:
        self.study = study
        self.schedules = schedules
        self.model = model_of(study)
        self.names = [spec.name for spec in self.model.readouts]
        self.scatter = scatter_of(study)
        chosen = some_particles(posterior)
        self.particles = posterior.particles[chosen]
        """(n, entries) of the population."""
        self.donors = donor_tissues(study, posterior, chosen)
        """Of the donors that goals are about."""
        self.of_chips = posterior.chip_parameters(
            [study.donor_of(chip).id for chip in study.chip_ids],
            chosen,
            list(drugs_of_chips(study).values()),
        )
        """(n, p), or (n, chips, p) where chips differ."""
        self.drug_factors = posterior.chip_drug_factors(
            [dose_unit(study, chip) for chip in study.chip_ids], chosen
        )
        self.likelihood: Likelihood = likelihood_of(study, schedules, readouts)
        """Of every reading that was learned from."""
        self.at_readings = self.model.simulate(
            self.of_chips,
            self.likelihood.inlets,
            self.likelihood.times_h,
            self.likelihood.window_starts_h,
            drug_factors=self.drug_factors,
        ).readouts
        """(n, chips, sampling times, readouts)."""
        self.effects = posterior.effects([e.name for e in self.likelihood.effects], chosen)

    def spec_of(self, readout: str) -> ReadoutSpec:
        """Return how a readout is taken from the model."""
        return self.model.readouts[self.names.index(readout)]

    def assay_sd(self, readout: str) -> float:
        """Return the typical assay sd of a readout on its own scale."""
        sds = [r.sd for r in self.likelihood.used if r.readout == readout and r.censoring == "none"]
        return float(np.median(sds)) if sds else expected_sd(self.spec_of(readout))

    def reading_sd(self, readout: str, assay_sd: float | None = None) -> float:
        """Return the sd of one reading of a new chip and donor around the model's mean."""
        own = self.assay_sd(readout) if assay_sd is None else assay_sd
        return float(np.sqrt(self.scatter.variance(readout) + own**2))

    def own_shift(self, readout: str) -> np.ndarray:
        """Return what a chip's and its donor's readings say of its own level (n, chips), on the own scale.

        The best linear prediction of the chip's deviation from the mean; constant over time.
        """
        r = self.names.index(readout)
        rows = self.likelihood.rows
        past = self.at_readings[:, rows.chip, rows.time, rows.readout]
        gaps = rows.value - self.likelihood.means(past, self.effects)
        levels = levels_of(self.likelihood, r, range(len(self.likelihood.chips)))
        return levels.expected(gaps, self.effects)

    def courses(self) -> dict[str, dict[str, Course]]:
        """Return readout -> chip -> its course, for readouts that have a value at every moment."""
        inlets = self.likelihood.inlets
        begin = max(inlet.edges_h[0] for inlet in inlets)
        end = min(inlet.edges_h[-1] for inlet in inlets)
        edges = np.unique(np.concatenate([inlet.edges_h for inlet in inlets]))
        times = np.union1d(np.arange(begin, end, STEP_H), edges)
        times = times[(times >= begin) & (times <= end)]
        simulated = self.model.simulate(
            self.of_chips, inlets, times, drug_factors=self.drug_factors
        ).readouts
        found: dict[str, dict[str, Course]] = {}
        for r, spec in enumerate(self.model.readouts):
            if spec.kind != "moment":
                continue
            shift = self.own_shift(spec.name)
            log_scale = spec.scale == "log"
            sd = self.reading_sd(spec.name)
            for c, inlet in enumerate(inlets):
                mean = simulated[:, c, :, r]
                own = band(on_scale(mean, spec) + shift[:, c, None]).median
                found.setdefault(spec.name, {})[inlet.chip_id] = Course(
                    inlet.chip_id,
                    spec.name,
                    times,
                    band(mean),
                    predictive_band(mean, sd, spec),
                    np.exp(own) if log_scale else own,
                )
        return found

    def at(self, reading: Readout) -> np.ndarray:
        """Return the model's means (n,) of one reading."""
        lik = self.likelihood
        starts = lik.window_starts_h
        same_window = (
            np.isnan(starts)
            if reading.window_start_h is None
            else np.isclose(starts, reading.window_start_h)
        )
        time = int(np.flatnonzero(np.isclose(lik.times_h, reading.time_h) & same_window)[0])
        chip = [inlet.chip_id for inlet in lik.inlets].index(reading.chip_id)
        return np.asarray(self.at_readings[:, chip, time, self.names.index(reading.readout)])

    def readings(self) -> tuple[Predicted, ...]:
        """Return every reading that was learned from beside its prediction."""
        found = []
        shifts = {name: self.own_shift(name) for name in {r.readout for r in self.likelihood.used}}
        chips = [inlet.chip_id for inlet in self.likelihood.inlets]
        for reading in self.likelihood.used:
            mean = self.at(reading)
            inner = band(mean)
            spec = self.spec_of(reading.readout)
            shift = shifts[reading.readout][:, chips.index(reading.chip_id)]
            own = float(band(on_scale(mean, spec) + shift).median)
            sd = self.reading_sd(reading.readout, reading.sd)
            outer = predictive_band(mean, sd, spec)
            drug_nm = self.dose_at(reading.chip_id, reading.time_h)
            found.append(
                Predicted(
                    reading,
                    drug_nm,
                    float(inner.lower),
                    float(inner.median),
                    float(inner.upper),
                    float(outer.lower),
                    float(outer.upper),
                    float(np.exp(own)) if spec.scale == "log" else own,
                )
            )
        return tuple(found)

    def dose_at(self, chip_id: str, time_h: float) -> float:
        """Return the concentration in nM that a chip got up to a study time."""
        for segment in reversed(self.schedules[chip_id].segments):
            if segment.start_h < time_h - 1e-6:
                return segment.drug_nm
        return 0.0

    def dose_response(self, goal: Goal) -> DoseResponse:
        """Return a goal's curve, of one drug, and the last reading of every exposure moved to it.

        A reading is moved by its own prediction: on the readout's scale, curve + (reading - prediction for
        this chip's genotype, schedule and collection window).
        """
        r = self.names.index(goal.readout)
        spec = self.spec_of(goal.readout)
        log_scale = spec.scale == "log"
        curves = curves_of(self.model, self.study, goal, self.particles, self.donors)
        rest, vehicle, treated = (
            part[..., r] for part in (curves.rest, curves.vehicle, curves.treated)
        )
        curve = band(treated)
        base = band(vehicle)
        moved, censored = [], 0
        last: dict[tuple[str, int], Readout] = {}
        for reading in self.likelihood.used:
            key = (reading.chip_id, exposure_read(reading))
            stimulated = reading.time_h > self.study.timeline.stimulus_from_h + 1e-6
            met = drugs_of_chips(self.study).get(reading.chip_id)
            if reading.readout == goal.readout and stimulated and met in (None, goal.drug):
                if key not in last or reading.time_h > last[key].time_h:
                    last[key] = reading
        for (chip_id, cycle), reading in last.items():
            if reading.censoring != "none":
                censored += 1
                continue
            drug_nm = self.dose_at(chip_id, reading.time_h)
            level = float(
                np.interp(np.log(drug_nm), np.log(GRID_NM), curve.median)
                if drug_nm > 0.0
                else base.median
            )
            predicted = float(np.median(on_scale(self.at(reading), spec)))
            gap = scaled(reading.value, log_scale) - predicted
            value = level * np.exp(gap) if log_scale else level + gap
            moved.append(MovedReading(chip_id, cycle, drug_nm, float(value)))
        return DoseResponse(
            goal=goal,
            concentrations_nm=GRID_NM,
            mean=curve,
            predictive=predictive_band(treated, self.reading_sd(goal.readout), spec),
            unstimulated=float(np.median(rest)),
            vehicle=base,
            vehicle_predictive=predictive_band(vehicle, self.reading_sd(goal.readout), spec),
            half=np.median(goal_level(goal, rest, vehicle)),
            readings=tuple(moved),
            censored=censored,
        )
