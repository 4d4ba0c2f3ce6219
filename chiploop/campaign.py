"""The loop as pure functions: start, observe, propose. The same record replays to the same proposal.

Belongs here: what is known after each cycle and what follows from it. Not here: pumps, ports, clocks, people;
numbers of the statistics (inference, policies).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chiploop.dosing import (
    ChipSchedule,
    ChipSegment,
    PumpProgramme,
    Quantise,
    RefusedDose,
    feasible_doses,
    make_programme,
    programme_from_dict,
)
from chiploop.errors import FitNotAccepted, SafetyRefusal
from chiploop.goals import GRID_NM, GoalEstimate, estimates, goal_values
from chiploop.inference.likelihood import Likelihood, Scatter
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import USUAL_EFFORT, Effort, recalibrate
from chiploop.measurement import Readout
from chiploop.models.inlet import chip_inlet
from chiploop.models.tissue_model import TissueModel, load_model
from chiploop.policies import POLICIES
from chiploop.policies.prediction_table import (
    PlannedReadout,
    PredictionTable,
    future_features,
    table_features,
)
from chiploop.record.actions import JournalTotals
from chiploop.safety import check_dose
from chiploop.study import Line, Study

DRAWS = 256
"""Posterior draws in the prediction table."""
CANDIDATES_PER_DECADE = 8
LOWEST_NM = 3.0
"""Lowest candidate above the vehicle."""
EXPECTED_SD = {"TEER": 0.01, "CCL26": 0.08, "ldh_release": 0.01}
"""Assay sd on the residual's scale that planning assumes before a plate is read."""
STUDY_NAMES = {"viability": "ldh_release"}
"""Readout name in a study's ``variation`` -> in the model, where they differ."""


@dataclass(frozen=True)
class Campaign:
    """Everything that the next decision needs."""

    study: Study
    cycle: int
    """Cycles whose readouts are in."""
    schedules: Mapping[str, ChipSchedule]
    """Chip -> what it really got so far."""
    readouts: tuple[Readout, ...]
    highest_read_nm: float | None
    """Highest delivered dose whose readouts are in."""
    posterior: Posterior | None = None
    info: CalibrationInfo | None = None
    goals: tuple[GoalEstimate, ...] = ()
    """In the study's order; the first leads."""


@dataclass(frozen=True)
class LineDose:
    """The dose proposed for one line."""

    line: str
    chips: tuple[str, ...]
    asked_nm: float
    delivered_nm: float
    """What the pumps' rounding makes of it."""
    risk: float | None
    """P(viability below the study's limit); None in the pilot, which has no fit."""
    eig_nats: float | None
    """Information about the leading goal that the batch would lose without this line."""
    programme: PumpProgramme


@dataclass(frozen=True)
class Proposal:
    """Doses for the next exposure of every line, not yet approved."""

    cycle: int
    """The cycle that would give them."""
    policy: str
    goal: str
    drug: str
    doses: tuple[LineDose, ...]
    eig_nats: float | None
    """Of the batch."""
    refused: tuple[RefusedDose, ...]
    """Candidates that the pumps can not make or that a limit forbids, with the reason."""

    @property
    def lead(self) -> LineDose:
        """The dose that teaches most; in the pilot the highest."""
        return max(self.doses, key=lambda dose: (dose.eig_nats or 0.0, dose.asked_nm))


def proposal_from_dict(content: Mapping[str, Any]) -> Proposal:
    """Return the proposal that ``dataclasses.asdict`` wrote."""
    doses = tuple(
        LineDose(
            **{
                **dose,
                "chips": tuple(dose["chips"]),
                "programme": programme_from_dict(dose["programme"]),
            }
        )
        for dose in content["doses"]
    )
    refused = tuple(RefusedDose(**one) for one in content["refused"])
    return Proposal(**{**content, "doses": doses, "refused": refused})


def start(study: Study) -> Campaign:
    """Return the campaign before anything has happened."""
    return Campaign(study, 0, {chip: ChipSchedule(chip) for chip in study.chip_ids}, (), None)


def observe(
    campaign: Campaign,
    readouts: Sequence[Readout],
    rng: np.random.Generator,
    effort: Effort = USUAL_EFFORT,
) -> tuple[Campaign, CalibrationInfo]:
    """Return the campaign with one more cycle's readouts learned from, and the diagnostics.

    ``info.passed`` false: the posterior is kept to be shown, and ``propose`` refuses it.
    """
    study = campaign.study
    everything = (*campaign.readouts, *readouts)
    model = load_model(study.model)
    likelihood = likelihood_of(study, campaign.schedules, everything)
    prior = Prior.of_study(model, study)
    posterior, info = recalibrate(likelihood, prior, rng, campaign.posterior, effort)
    return learned(campaign, readouts, posterior, info), info


def learned(
    campaign: Campaign,
    readouts: Sequence[Readout],
    posterior: Posterior,
    info: CalibrationInfo,
) -> Campaign:
    """Return the campaign with a cycle's readouts and the posterior that was found with them."""
    study = campaign.study
    values = goal_values(load_model(study.model), study, posterior.particles)
    read = {r.chip_id for r in (*campaign.readouts, *readouts) if r.qc != "fail"}
    given = [segment.drug_nm for chip in read for segment in campaign.schedules[chip].segments]
    return replace(
        campaign,
        cycle=campaign.cycle + 1,
        readouts=(*campaign.readouts, *readouts),
        highest_read_nm=max(given, default=None),
        posterior=posterior,
        info=info,
        goals=estimates(values),
    )


def scatter_of(study: Study) -> Scatter:
    """Return the study's variation under the model's readout names."""

    def named(spread: Mapping[str, float]) -> dict[str, float]:
        return {STUDY_NAMES.get(name, name): sd for name, sd in spread.items()}

    variation = study.variation
    return Scatter(
        chip=named(variation.between_chips),
        donor=named(variation.between_donors),
        reading=named(variation.between_readings),
    )


def likelihood_of(
    study: Study, schedules: Mapping[str, ChipSchedule], readouts: Sequence[Readout]
) -> Likelihood:
    """Return the likelihood of these readouts under the study's model."""
    donors = {chip: study.donor_of(chip).id for chip in study.chip_ids}
    last = max((readout.time_h for readout in readouts), default=0.0)
    ends = [schedule.segments[-1].end_h for schedule in schedules.values() if schedule.segments]
    inlets = [
        chip_inlet(study, schedules[chip], until_h=max([last, *ends])) for chip in study.chip_ids
    ]
    return Likelihood(load_model(study.model), inlets, donors, readouts, scatter_of(study))


def first_proposal(
    campaign: Campaign, quantise: Quantise, remaining_ul: Mapping[str, float]
) -> Proposal:
    """Return the pilot ladder that the study file names, one dose per line.

    Raises SafetyRefusal where a limit forbids one, DoseNotFeasible where a line can not make it.
    """
    study = campaign.study
    doses = []
    for line, asked in zip(study.lines, study.first_doses_nm, strict=True):
        programme = make_programme(
            study, line.id, "dose", asked, study.timeline.exposure_h, quantise, remaining_ul
        )
        verdict = check_dose(
            study,
            programme,
            highest_read_nm=None,
            overdose_risk=None,
            start_h=study.exposure_start_h(1),
        )
        if not verdict.allowed:
            raise SafetyRefusal(f"first dose of line {line.id}: " + "; ".join(verdict.reasons))
        doses.append(
            LineDose(
                line.id, tuple(line.chips), asked, programme.delivered_nm, None, None, programme
            )
        )
    return Proposal(1, "pilot", study.goals[0].name, study.drug.name, tuple(doses), None, ())


def propose(
    campaign: Campaign,
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
    totals: JournalTotals,
    rng: np.random.Generator,
    *,
    begin_h: float | None = None,
    without_lines: Collection[str] = (),
    rejected: Collection[tuple[str, float]] = (),
    policy: str = "goal_information",
) -> Proposal:
    """Return doses for the next exposure.

    ``begin_h`` is when the exposure will begin (None: as planned). ``without_lines`` are held and get
    none; ``rejected`` (line, asked nM) were refused by a person for this cycle and are not proposed again.

    Raises
    ------
    FitNotAccepted
        Where the last calibration failed its diagnostics: it proposes nothing.
    SafetyRefusal
        Where no dose, not even the vehicle, may be given to some line.
    """
    study = campaign.study
    if campaign.posterior is None or campaign.info is None:
        raise FitNotAccepted("nothing has been read out yet, so there is nothing to propose from")
    if not campaign.info.passed:
        raise FitNotAccepted(
            f"the calibration of cycle {campaign.cycle} failed its diagnostics and proposes nothing: "
            + "; ".join(campaign.info.failures)
        )
    lines = tuple(line for line in study.lines if line.id not in without_lines)
    if not lines:
        raise SafetyRefusal("every line is held until a person has looked; nothing can be dosed")
    table, refused = prediction_table(
        campaign, lines, quantise, remaining_ul, totals, rng, set(rejected), begin_h
    )
    try:
        batch = POLICIES[policy](table)
    except ValueError as problem:
        raise SafetyRefusal(f"{problem}: " + "; ".join(r.reason for r in refused[:4])) from None
    doses = []
    for i, choice in enumerate(batch.choices):
        programme = table.programmes[i][choice.candidate]
        doses.append(
            LineDose(
                line=choice.line,
                chips=tuple(study.line(choice.line).chips),
                asked_nm=programme.asked_nm,
                delivered_nm=programme.delivered_nm,
                risk=float(table.risk[i][choice.candidate]),
                eig_nats=choice.information_nats,
                programme=programme,
            )
        )
    return Proposal(
        campaign.cycle + 1,
        policy,
        study.goals[0].name,
        study.drug.name,
        tuple(doses),
        batch.information_nats,
        refused,
    )


def candidates_nm(study: Study) -> tuple[float, ...]:
    """Return the vehicle and a log grid up to the study's limit, in round numbers."""
    top = study.limits.concentration_nm
    count = 1 + int(np.ceil(CANDIDATES_PER_DECADE * np.log10(top / LOWEST_NM)))
    grid = [float(f"{c:.2g}") for c in np.geomspace(LOWEST_NM, top, count)]
    return (0.0, *sorted({min(c, top) for c in grid}))


def prediction_table(
    campaign: Campaign,
    lines: Sequence[Line],
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
    totals: JournalTotals,
    rng: np.random.Generator,
    rejected: set[tuple[str, float]],
    begin_h: float | None,
) -> tuple[PredictionTable, tuple[RefusedDose, ...]]:
    """Return what every candidate on every line would show, simulated once, and what was refused."""
    study, posterior = campaign.study, campaign.posterior
    assert posterior is not None
    model = load_model(study.model)
    cycle = campaign.cycle + 1
    begin = study.exposure_start_h(cycle) if begin_h is None else begin_h
    end = begin + study.timeline.exposure_h
    chosen = rng.choice(
        len(posterior.particles), min(DRAWS, len(posterior.particles)), replace=False
    )
    parameters = posterior.particles[chosen]
    waiting = {
        chip: waited(study, schedule, begin) for chip, schedule in campaign.schedules.items()
    }
    likelihood = likelihood_of(study, waiting, campaign.readouts)
    now = model.simulate(
        parameters, likelihood.inlets, likelihood.times_h, likelihood.window_starts_h
    )
    times, starts, planned = planned_readouts(study, model, begin)
    chip_index = {chip: c for c, chip in enumerate(study.chip_ids)}
    line_chips = [[chip_index[chip] for chip in line.chips] for line in lines]
    rows, known, noise = future_features(
        likelihood,
        scatter_of(study),
        {c: study.donor_of(c).id for c in study.chip_ids},
        planned,
        line_chips,
        now.readouts,
    )
    programmes, allowed, risks, features = [], [], [], []
    refused: list[RefusedDose] = []
    at = 0
    for line, chips, line_rows in zip(lines, line_chips, rows, strict=True):
        feasible, out = feasible_doses(
            study, line.id, candidates_nm(study), end - begin, quantise, remaining_ul
        )
        refused += out
        if not feasible:
            raise SafetyRefusal(
                f"no dose is allowed on {line.id}: " + "; ".join(one.reason for one in out[:4])
            )
        inlets = [
            chip_inlet(study, with_dose(study, waiting[chip], programme, begin, end), begin)
            for programme in feasible
            for chip in line.chips
        ]
        ahead = model.simulate(
            parameters,
            inlets,
            times,
            starts,
            states=np.tile(now.states[:, chips], (1, len(feasible), 1)),
        )
        n, shape = len(parameters), (len(feasible), len(chips))
        predicted = ahead.readouts.reshape(n, *shape, times.size, -1)
        part = table_features(model, line_rows, predicted, chips)
        features.append(part - known[:, None, at : at + part.shape[2]])
        at += part.shape[2]
        viability = ahead.viability.reshape(n, *shape, times.size).min(axis=(2, 3))
        # a draw that can not be simulated ahead is not known to be safe
        risk = (~(viability >= study.limits.viability)).mean(axis=0)
        verdicts = [
            check_dose(
                study,
                programme,
                highest_read_nm=campaign.highest_read_nm,
                overdose_risk=float(r),
                start_h=begin,
                totals=totals,
            )
            for programme, r in zip(feasible, risk, strict=True)
        ]
        refused += [
            RefusedDose(programme.asked_nm, f"line {line.id}: " + "; ".join(verdict.reasons))
            for programme, verdict in zip(feasible, verdicts, strict=True)
            if not verdict.allowed
        ]
        programmes.append(feasible)
        allowed.append(
            np.array(
                [
                    verdict.allowed and (line.id, programme.asked_nm) not in rejected
                    for programme, verdict in zip(feasible, verdicts, strict=True)
                ],
                dtype=bool,
            )
        )
        risks.append(risk)
    lead = goal_values(model, study, parameters)[study.goals[0].name]
    table = PredictionTable(
        lines=tuple(line.id for line in lines),
        programmes=tuple(programmes),
        allowed=tuple(allowed),
        risk=tuple(risks),
        features=tuple(features),
        noise=noise,
        goal=np.log(np.minimum(lead, GRID_NM[-1])),
    )
    return table, tuple(refused)


def waited(study: Study, schedule: ChipSchedule, until_h: float) -> ChipSchedule:
    """Return the schedule with stimulus medium without drug until a study time."""
    end = schedule.segments[-1].end_h if schedule.segments else 0.0
    if end >= until_h - 1e-9:
        return schedule
    return schedule.with_segment(stimulus_segment(study, 0.0, end, until_h))


def with_dose(
    study: Study, schedule: ChipSchedule, programme: PumpProgramme, start_h: float, end_h: float
) -> ChipSchedule:
    """Return the schedule with a programme's dose as it would be delivered."""
    return schedule.with_segment(stimulus_segment(study, programme.delivered_nm, start_h, end_h))


def stimulus_segment(study: Study, drug_nm: float, start_h: float, end_h: float) -> ChipSegment:
    """Return a segment of stimulus medium with drug at the study's flow rate."""
    return ChipSegment(
        start_h,
        end_h,
        study.perfusion.flow_rate_ul_h,
        drug_nm,
        study.stimulus_ng_ml.get("IL-4", 0.0),
        study.stimulus_ng_ml.get("IL-13", 0.0),
    )


def planned_readouts(
    study: Study, model: TissueModel, begin_h: float
) -> tuple[np.ndarray, np.ndarray, tuple[PlannedReadout, ...]]:
    """Return sampling times (t,), window starts (t,) and what an exposure from begin_h reads of every chip."""
    window = tuple(begin_h + after for after in study.sampling.effluent_h)
    names = [spec.name for spec in model.readouts]
    samplings = sorted(
        {*((begin_h + after, np.nan) for after in study.sampling.teer_h), (window[1], window[0])}
    )
    planned = []
    for i, (_, begin) in enumerate(samplings):
        for r, name in enumerate(names):
            is_window = model.readouts[r].kind != "moment"
            if is_window != bool(np.isnan(begin)):
                planned.append(PlannedReadout(r, i, EXPECTED_SD[name]))
    times = np.array([t for t, _ in samplings])
    return times, np.array([begin for _, begin in samplings]), tuple(planned)
