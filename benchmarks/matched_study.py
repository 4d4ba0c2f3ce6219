"""Virtual studies whose truth is drawn from the fitted model's own prior, without pumps and plates.

Belongs here: hidden truth, schedules, noise by its definition, readouts. Not here: fitting. Every scatter is
drawn as what it is (a chip's deviation, a donor's, a curve's error), not from the likelihood's covariance, so that
a mistake in the one does not hide in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.dosing import ChipSchedule, ChipSegment
from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.inlet import chip_inlet
from chiploop.models.study_model import model_of
from chiploop.next_exposure import scatter_of
from chiploop.study import Study

ASSAY_SD = {"moment": 0.02, "window_mean": 0.08, "window_loss": 0.012}
"""Kind of readout -> sd of one reading on the residual's scale, without the curve's part."""
CURVE_SD = 0.05
"""What the samples of a plate share, sd of ln(value)."""


@dataclass(frozen=True)
class MatchedStudy:
    """One virtual study and its truth."""

    study: Study
    schedules: Mapping[str, ChipSchedule]
    readouts: tuple[Readout, ...]
    population: np.ndarray
    """(entries,) the population's parameters, of several drugs each one's."""
    spreads: np.ndarray
    """(q,) standard normals of the donors' spreads."""
    donors: Mapping[str, np.ndarray]
    """Donor -> (entries,) its own parameters."""


def matched_study(
    study: Study,
    doses_nm: Sequence[Sequence[float]],
    seed: int,
    lloq: Mapping[str, float] | None = None,
    flg: Mapping[str, str] | None = None,
) -> MatchedStudy:
    """Return a study with a dose per cycle and line, its truth drawn from the prior.

    ``lloq``: readout -> value below which it is censored.
    """
    rng = np.random.default_rng([41, seed])
    model = model_of(study)
    prior = Prior.of_study(model, study)
    scatter = scatter_of(study)
    z = rng.standard_normal(len(prior.specs))
    names = list(prior.names)
    spreads = rng.standard_normal(len(prior.donor_spreads))
    donors: dict[str, np.ndarray] = {}
    for donor in study.donors:
        own = z.copy()
        for spread, deviate in zip(prior.donor_spreads, spreads, strict=True):
            j = names.index(spread.name)
            sd = spread.sd * np.exp(spread.ln_sd * deviate) / prior.specs[j].spread
            own[j] += sd * rng.standard_normal()
        donors[donor] = prior.parameters(own)
    dose_error = {
        line.id: float(np.exp(prior.dose_sd * rng.standard_normal())) for line in study.lines
    }
    noted = schedules_of(study, doses_nm)
    given = {
        chip: ChipSchedule(
            chip,
            tuple(
                ChipSegment(
                    s.start_h,
                    s.end_h,
                    s.flow_rate_ul_h,
                    s.drug_nm * dose_error[study.line_of(chip).id],
                    s.stimulus_ng_ml,
                )
                for s in schedule.segments
            ),
        )
        for chip, schedule in noted.items()
    }
    samplings = samplings_of(study, len(doses_nm))
    times = np.array([t for t, _, _ in samplings])
    starts = np.array([s for _, s, _ in samplings])
    readouts: list[Readout] = []
    values = {
        chip: model.simulate(
            prior.drugs.of_drug(
                donors[study.donor_of(chip).id], study.drug_of(study.line_of(chip).id).name
            ),
            [chip_inlet(study, given[chip])],
            times,
            starts,
        ).readouts[0, 0]
        for chip in study.chip_ids
    }
    for r, spec in enumerate(model.readouts):
        of_chip = {
            c: scatter.chip.get(spec.name, 0.0) * rng.standard_normal() for c in study.chip_ids
        }
        of_donor = {
            d: scatter.donor.get(spec.name, 0.0) * rng.standard_normal() for d in study.donors
        }
        assay = ASSAY_SD[spec.kind]
        for t, (time_h, start_h, cycle) in enumerate(samplings):
            is_window = spec.kind != "moment"
            if is_window != bool(np.isfinite(start_h)):
                continue
            curve_sd = CURVE_SD if spec.kind == "window_mean" else 0.0
            of_plate = curve_sd * rng.standard_normal()
            for chip in study.chip_ids:
                noise = assay * rng.standard_normal() + of_plate
                noise += scatter.reading.get(spec.name, 0.0) * rng.standard_normal()
                noise += of_chip[chip] + of_donor[study.donor_of(chip).id]
                clean = values[chip][t, r]
                value = clean * np.exp(noise) if spec.scale == "log" else clean + noise
                limit = (lloq or {}).get(spec.name, -np.inf)
                censored = value < limit
                readouts.append(
                    Readout(
                        chip_id=chip,
                        readout=spec.name,
                        value=np.nan if censored else float(value),
                        unit=spec.unit,
                        sd=float(np.hypot(assay, curve_sd)),
                        scale=spec.scale,
                        time_h=time_h,
                        window_start_h=float(start_h) if is_window else None,
                        censoring="left" if censored else "none",
                        upper=limit if censored else np.inf,
                        plate=f"{spec.name}_c{cycle}_{time_h:g}",
                        cycle=cycle,
                        curve=(curve_sd,) if curve_sd else (),
                    )
                )
    return MatchedStudy(study, noted, tuple(readouts), prior.parameters(z), spreads, donors)


def schedules_of(study: Study, doses_nm: Sequence[Sequence[float]]) -> dict[str, ChipSchedule]:
    """Return what every chip is noted to have got: plain medium, then a dose per cycle and turnarounds."""
    flow, time = study.perfusion.flow_rate_ul_h, study.timeline
    schedules = {}
    for chip in study.chip_ids:
        line = [line.id for line in study.lines].index(study.line_of(chip).id)
        segments = [ChipSegment(0.0, time.stimulus_from_h, flow, 0.0, {})]
        for cycle, doses in enumerate(doses_nm, start=1):
            begin = study.exposure_start_h(cycle)
            if begin > segments[-1].end_h:
                segments.append(
                    ChipSegment(segments[-1].end_h, begin, flow, 0.0, study.stimulus_ng_ml)
                )
            end = begin + time.exposure_h
            segments.append(ChipSegment(begin, end, flow, doses[line], study.stimulus_ng_ml))
        schedules[chip] = ChipSchedule(chip, tuple(segments))
    return schedules


def samplings_of(study: Study, cycles: int) -> list[tuple[float, float, int]]:
    """Return (time, start of its window or NaN, cycle) of every sampling."""
    found = [(study.timeline.stimulus_from_h, np.nan, 1)]
    for cycle in range(1, cycles + 1):
        begin = study.exposure_start_h(cycle)
        found += [(begin + after, np.nan, cycle) for after in study.sampling.teer_h]
        first, last = study.sampling.effluent_h
        found.append((begin + last, begin + first, cycle))
    return sorted(found, key=lambda one: (one[0], np.nan_to_num(one[1], nan=-1.0)))
