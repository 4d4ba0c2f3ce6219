"""What the next exposure would show: the likelihood of a study, candidate doses, and their prediction table.

Belongs here: the one simulation behind a proposal, and which candidates safety allows. Not here: which dose is
chosen (policies), the steps of the loop (campaign).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from chiploop.campaign_values import Campaign
from chiploop.connections import dose_unit
from chiploop.dosing import (
    ChipSchedule,
    ChipSegment,
    Quantise,
    RefusedDose,
)
from chiploop.errors import SafetyRefusal
from chiploop.exposure import ExposureProgramme, feasible_exposures
from chiploop.given_exposures import given_exposures, highest_as_long
from chiploop.goals import donor_tissues, goal_draws
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.scatter import Scatter
from chiploop.kept_predictions import KeptPredictions, name_of, name_of_inlet, state_of
from chiploop.measurement import Readout
from chiploop.models.facts import AT_THE_END, COVERAGE, P_APP, STUDY_NAMES, ReadoutSpec
from chiploop.models.inlet import ChipInlet, chip_inlet
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import TissueModel
from chiploop.pending_readings import (
    Plate,
    awaited_readings,
    expected_of,
    pending_of,
    rows_of,
    samplings_of,
)
from chiploop.policies.prediction_table import (
    FutureReading,
    PlannedReadout,
    PredictionTable,
    future_features,
    shown_by_past,
    table_features,
)
from chiploop.record.actions import JournalTotals
from chiploop.safety import check_exposure, newest_toxicity_h
from chiploop.study import Line, Study
from chiploop.study_limits import concentration_limit_nm
from chiploop.study_schedules import STIMULUS, WHOLE

DRAWS = 256
"""Posterior draws in the prediction table."""
CANDIDATES_PER_DECADE = 8
LOWEST_NM = 3.0
"""Lowest candidate above the vehicle."""
SAME_H = 1e-6
"""Hours that count as none."""
ARM_SLACK = 0.02
"""Relative difference up to which what a chip got counts as a stimulus of the study."""
EXPECTED_SD = {
    "moment": 0.01,
    "window_mean": 0.08,
    "window_loss": 0.01,
    P_APP: 0.08,
    COVERAGE: 0.015,
}
"""Kind of readout, or readout -> assay sd on the residual's scale that planning assumes before a plate is read."""


def expected_sd(spec: ReadoutSpec) -> float:
    """Return the assay sd of a readout that planning assumes before one was read."""
    return EXPECTED_SD.get(spec.name, EXPECTED_SD[spec.kind])


def scatter_of(study: Study) -> Scatter:
    """Return the study's variation under the model's readout names."""
    names = {STUDY_NAMES.get(name, name): name for name in study.tissue.readouts}

    def named(spread: Mapping[str, float]) -> dict[str, float]:
        return {names[name]: sd for name, sd in spread.items()}

    variation = study.variation
    return Scatter(
        chip=named(variation.between_chips),
        donor=named(variation.between_donors),
        reading=named(variation.between_readings),
        chip_tails=variation.chip_tails,
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
    lines = {chip: dose_unit(study, chip) for chip in study.chip_ids}
    drugs = drugs_of_chips(study)
    return Likelihood(model_of(study), inlets, donors, readouts, scatter_of(study), lines, drugs)


def drugs_of_chips(study: Study) -> dict[str, str]:
    """Return chip -> drug of a study with several; empty where it has one."""
    if not study.further_drugs:
        return {}
    return {chip: study.drug_of(line.id).name for line in study.lines for chip in line.chips}


def candidates_nm(study: Study, drug: str | None = None) -> tuple[float, ...]:
    """Return the vehicle and a log grid up to the study's limit for a drug, in round numbers."""
    top = concentration_limit_nm(study, drug)
    count = 1 + int(np.ceil(CANDIDATES_PER_DECADE * np.log10(top / LOWEST_NM)))
    grid = [float(f"{c:.2g}") for c in np.geomspace(LOWEST_NM, top, count)]
    return (0.0, *sorted({min(c, top) for c in grid}))


def with_own(grid_nm: tuple[float, ...], own_nm: float | None) -> tuple[float, ...]:
    """Return the grid with one more dose, in order; itself where it is there already or there is none."""
    if own_nm is None or any(np.isclose(own_nm, nm, rtol=1e-9, atol=0.0) for nm in grid_nm):
        return grid_nm
    return tuple(sorted({*grid_nm, own_nm}))


def prediction_table(
    campaign: Campaign,
    lines: Sequence[Line],
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
    totals: JournalTotals,
    rng: np.random.Generator,
    rejected: set[tuple[str, float, str]],
    begin_h: float | None,
    own_nm: Mapping[str, float] | None = None,
    kept: KeptPredictions | None = None,
    awaited: Collection[Plate] = (),
) -> tuple[PredictionTable, tuple[RefusedDose, ...]]:
    """Return what every candidate on every line would show, simulated once, and what was refused.

    ``own_nm``, line -> dose, are candidates beside those of the grid. What is ``kept`` is not simulated again.
    ``awaited`` plates are on their way: what they will tell is not counted for the next doses.
    """
    study, posterior = campaign.study, campaign.posterior
    assert posterior is not None
    model = model_of(study)
    cycle = campaign.cycle + 1
    begin = study.exposure_start_h(cycle) if begin_h is None else begin_h
    chosen = rng.choice(
        len(posterior.particles), min(DRAWS, len(posterior.particles)), replace=False
    )
    parameters = posterior.particles[chosen]
    waiting = {
        chip: waited(study, schedule, begin) for chip, schedule in campaign.schedules.items()
    }
    likelihood = likelihood_of(study, waiting, campaign.readouts)
    donor_ids = [study.donor_of(c).id for c in study.chip_ids]
    own = posterior.chip_parameters(donor_ids, chosen, list(drugs_of_chips(study).values()))
    factors = posterior.chip_drug_factors([dose_unit(study, c) for c in study.chip_ids], chosen)
    effects = posterior.effects([effect.name for effect in likelihood.effects], chosen)
    pairs = {goal.name: goal.pair for goal in campaign.goals if goal.pair}
    kept = (kept or KeptPredictions()).of(
        state_of(study, waiting, campaign.readouts, begin, pairs, (own, factors, effects))
    )
    past, states = past_and_states(model, likelihood, own, factors, kept)
    times, starts, planned = planned_readouts(study, model, begin)
    chip_index = {chip: c for c, chip in enumerate(study.chip_ids)}
    line_chips = [[chip_index[chip] for chip in line.chips] for line in lines]
    coming = awaited_readings(study, model, awaited, campaign.readouts)
    coming_rows = rows_of(model, coming, len(study.chip_ids), expected_sd)
    rows, known, noise = future_features(
        likelihood, planned, line_chips, past, effects, coming_rows
    )
    pending = None
    if coming_rows:
        count, windows = len(coming_rows), samplings_of(coming)
        features_ahead = expected_of(model, likelihood, coming_rows, windows, own, factors)
        pending = pending_of(features_ahead, known, noise, count)
        known, noise = known[:, count:], noise[count:, count:]
    programmes, allowed, risks, features = [], [], [], []
    refused: list[RefusedDose] = []
    at = 0
    for line, chips, line_rows in zip(lines, line_chips, rows, strict=True):
        feasible, out = feasible_exposures(
            study,
            line.id,
            with_own(
                candidates_nm(study, study.drug_of(line.id).name), (own_nm or {}).get(line.id)
            ),
            quantise,
            remaining_ul,
        )
        refused += out
        if not feasible:
            raise SafetyRefusal(
                f"no dose is allowed on {line.id}: " + "; ".join(one.reason for one in out[:4])
            )
        highest_nm = {
            (hours, arm): highest_read_nm(campaign, hours, line.id, arm)
            for hours, arm in {(programme.drug_h, programme.arm) for programme in feasible}
        }
        # chip by chip where other connections may ask for the same chip again
        units = [[chip] for chip in line.chips] if study.valves else [list(line.chips)]
        parts = []
        for together in units:
            at_chips = [chip_index[chip] for chip in together]
            inlets = [
                [
                    chip_inlet(study, with_exposure(study, waiting[chip], programme, begin), begin)
                    for chip in together
                ]
                for programme in feasible
            ]
            names = [name_of(line.id, programme) for programme in feasible]
            parts.append(
                simulated_ahead(
                    study,
                    model,
                    kept,
                    [name_of_inlet(inlet) for (inlet,) in inlets] if study.valves else names,
                    inlets,
                    (times, starts),
                    [row for row in line_rows if row[0] in at_chips],
                    at_chips,
                    own if own.ndim == 2 else own[:, at_chips],
                    states[:, at_chips],
                    None if factors is None else factors[:, at_chips],
                )
            )
        shown = beside_each_other(parts, line_rows, chips)
        part, viability = shown[..., :-1], shown[..., -1]
        features.append(part - known[:, None, at : at + part.shape[2]])
        at += part.shape[2]
        # a draw that can not be simulated ahead is not known to be safe
        risk = (~(viability >= study.limits.viability)).mean(axis=0)
        verdicts = [
            check_exposure(
                study,
                programme,
                highest_read_nm=highest_nm[programme.drug_h, programme.arm],
                overdose_risk=float(r),
                start_h=begin,
                newest_toxicity_h=newest_toxicity_h(study, campaign.readouts, line.id),
                totals=totals,
                cycle=cycle,
            )
            for programme, r in zip(feasible, risk, strict=True)
        ]
        refused += [
            RefusedDose(
                programme.asked_nm,
                f"line {line.id}: " + "; ".join(verdict.reasons),
                line.id,
                programme.schedule,
            )
            for programme, verdict in zip(feasible, verdicts, strict=True)
            if not verdict.allowed
        ]
        programmes.append(feasible)
        allowed.append(
            np.array(
                [
                    verdict.allowed
                    and (line.id, programme.asked_nm, programme.schedule) not in rejected
                    for programme, verdict in zip(feasible, verdicts, strict=True)
                ],
                dtype=bool,
            )
        )
        risks.append(risk)
    goal = kept.get("goal")
    if goal is None:
        donors = donor_tissues(study, posterior, chosen)
        goal = goal_draws(model, study, parameters, donors, pairs)[study.goals[0].name].capped
        kept.put("goal", goal)
    table = PredictionTable(
        lines=tuple(line.id for line in lines),
        programmes=tuple(programmes),
        allowed=tuple(allowed),
        risk=tuple(risks),
        features=tuple(features),
        noise=noise,
        goal=np.log(goal),
        readings=tuple(
            tuple(
                future_reading(study, model, chip, plan, times, starts) for chip, plan in line_rows
            )
            for line_rows in rows
        ),
        shown=shown_by_past(likelihood, rows),
        standard=posterior.standard[chosen],
        goal_is_dose=study.goals[0].unit == "nM" and not study.further_drugs,
        turn=campaign.cycle,
        pending=pending,
        cost=costs_of(study, lines, programmes),
        nats_per_cost=1.0 / study.costs.nat if study.costs.nat else None,
    )
    return table, tuple(refused)


def costs_of(
    study: Study, lines: Sequence[Line], programmes: Sequence[Sequence[ExposureProgramme]]
) -> tuple[np.ndarray, ...] | None:
    """Return per line (candidates,) what each costs: its chips' hours and its drug; None without costs."""
    costs = study.costs
    if not costs.is_stated:
        return None
    return tuple(
        np.array(
            [
                costs.chip_hour * len(line.chips) * one.duration_h + costs.drug_nmol * one.drug_nmol
                for one in own
            ]
        )
        for line, own in zip(lines, programmes, strict=True)
    )


def past_and_states(
    model: TissueModel,
    likelihood: Likelihood,
    own: np.ndarray,
    factors: np.ndarray | None,
    kept: KeptPredictions,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the draws' predictions of the past readouts (draws, m), and the chips' states (draws, chips, s)."""
    past, states = kept.get("past"), kept.get("states")
    if past is None or states is None:
        now = model.simulate(
            own,
            likelihood.inlets,
            likelihood.times_h,
            likelihood.window_starts_h,
            drug_factors=factors,
        )
        at = likelihood.rows
        past, states = now.readouts[:, at.chip, at.time, at.readout], now.states
        kept.put("past", past)
        kept.put("states", states)
    return past, states


def simulated_ahead(
    study: Study,
    model: TissueModel,
    kept: KeptPredictions,
    names: Sequence[str],
    inlets: Sequence[Sequence[ChipInlet]],
    samplings: tuple[np.ndarray, np.ndarray],
    rows: Sequence[tuple[int, PlannedReadout]],
    chips: Sequence[int],
    own: np.ndarray,
    states: np.ndarray,
    factors: np.ndarray | None,
) -> np.ndarray:
    """Return what candidates of one line show (draws, candidates, features), the lowest viability last of each.

    ``names`` and ``inlets`` (candidates, the line's chips) of each candidate; what is kept is not simulated.
    ``own`` (draws, p) or (draws, chips, p), ``states`` (draws, chips, s), ``factors`` (draws, chips) of the line.
    """
    missing = [k for k, name in enumerate(names) if kept.get(name) is None]
    if missing:
        count = len(missing)
        ahead = model.simulate(
            own if own.ndim == 2 else np.tile(own, (1, count, 1)),
            [inlet for k in missing for inlet in inlets[k]],
            *samplings,
            states=np.tile(states, (1, count, 1)),
            drug_factors=None if factors is None else np.tile(factors, (1, count)),
        )
        shape = (len(own), count, len(chips), samplings[0].size)
        parts = table_features(model, rows, ahead.readouts.reshape(*shape, -1), chips)
        worst = ahead.viability.reshape(shape).min(axis=(2, 3))
        for j, k in enumerate(missing):
            kept.put(names[k], np.concatenate([parts[:, j], worst[:, j, None]], axis=1))
    return np.stack([kept.arrays[name] for name in names], axis=1)


def beside_each_other(
    parts: Sequence[np.ndarray],
    rows: Sequence[tuple[int, PlannedReadout]],
    chips: Sequence[int],
) -> np.ndarray:
    """Return what a line's chips show, simulated one by one, in the order of its rows; the lowest viability
    last.
    """
    if len(parts) == 1:
        return parts[0]
    place = dict.fromkeys(chips, 0)
    columns = []
    for chip, _ in rows:
        columns.append(parts[list(chips).index(chip)][..., place[chip]])
        place[chip] += 1
    worst = np.min([part[..., -1] for part in parts], axis=0)
    return np.stack([*columns, worst], axis=-1)


def future_reading(
    study: Study,
    model: TissueModel,
    chip: int,
    plan: PlannedReadout,
    times_h: np.ndarray,
    starts_h: np.ndarray,
) -> FutureReading:
    """Return which reading a planned one is; ``times_h`` and ``starts_h`` (t,) are the table's samplings."""
    spec = model.readouts[plan.readout]
    return FutureReading(
        study.chip_ids[chip],
        spec.name,
        spec.unit,
        spec.scale == "log",
        float(times_h[plan.time]),
        float(starts_h[plan.time]),
    )


def waited(study: Study, schedule: ChipSchedule, until_h: float) -> ChipSchedule:
    """Return the schedule with stimulus medium without drug until a study time."""
    end = schedule.segments[-1].end_h if schedule.segments else 0.0
    if end >= until_h - 1e-9:
        return schedule
    line = study.line_of(schedule.chip_id).id
    return schedule.with_segment(stimulus_segment(study, line, 0.0, end, until_h))


def highest_read_nm(
    campaign: Campaign, drug_h: float, line_id: str, arm: str = STIMULUS
) -> float | None:
    """Return the highest dose of a line's drug whose readouts are in and that was given for as many hours.

    None where none was. A study whose doses all last the whole exposure has no shorter ones to tell apart. What
    was read in another stimulus lets a dose be as high in this one, and no higher: it counts as that dose less the
    study's fold step.
    """
    study, highest_nm = campaign.study, campaign.highest_read(line_id)
    if highest_nm is None or set(study.schedules) == {WHOLE}:
        return highest_nm
    drug = study.drug_of(line_id).name
    alike = {chip for line in study.lines_of(drug) for chip in line.chips}
    read = {r.chip_id for r in campaign.readouts if r.qc != "fail" and r.chip_id in alike}
    schedules = [campaign.schedules[chip] for chip in sorted(read)]

    def as_long(of: Sequence[ChipSchedule]) -> float:
        given = given_exposures(of, study.timeline.exposure_h)
        return min(highest_nm, highest_as_long(given, drug_h) or 0.0)

    if not study.further_arms_ng_ml:
        return as_long(schedules)
    own = as_long([in_arm(study, schedule, arm) for schedule in schedules])
    return max(own, as_long(schedules) / study.limits.fold_step)


def in_arm(study: Study, schedule: ChipSchedule, arm: str) -> ChipSchedule:
    """Return what a chip got in one stimulus alone."""
    wanted = {name: c for name, c in study.arms_ng_ml[arm].items() if c > 0.0}

    def is_own(segment: ChipSegment) -> bool:
        got = {name: c for name, c in segment.stimulus_ng_ml.items() if c > 0.0}
        return got.keys() == wanted.keys() and all(
            abs(got[name] - c) <= ARM_SLACK * c for name, c in wanted.items()
        )

    return ChipSchedule(schedule.chip_id, tuple(s for s in schedule.segments if is_own(s)))


def with_exposure(
    study: Study, schedule: ChipSchedule, exposure: ExposureProgramme, start_h: float
) -> ChipSchedule:
    """Return the schedule with an exposure's parts as they would be delivered."""
    for after_h, part in exposure.timed():
        begin_h = start_h + after_h
        schedule = schedule.with_segment(
            stimulus_segment(
                study,
                exposure.line,
                part.delivered_nm,
                begin_h,
                begin_h + part.duration_h,
                exposure.arm,
            )
        )
    return schedule


def stimulus_segment(
    study: Study, line: str, drug_nm: float, start_h: float, end_h: float, arm: str = STIMULUS
) -> ChipSegment:
    """Return a segment of a stimulus with drug at the study's flow rate, for a chip that a line feeds."""
    return ChipSegment(
        start_h,
        end_h,
        study.perfusion.flow_rate_ul_h,
        drug_nm,
        study.arms_ng_ml[arm],
        len(study.line(line).chips) if study.valves else None,
    )


def planned_readouts(
    study: Study, model: TissueModel, begin_h: float
) -> tuple[np.ndarray, np.ndarray, tuple[PlannedReadout, ...]]:
    """Return sampling times (t,), window starts (t,) and what an exposure from begin_h reads of every chip."""
    window = tuple(begin_h + after for after in study.sampling.effluent_h)
    ends = {(begin_h + study.timeline.exposure_h, np.nan)}
    if not any(spec.name in AT_THE_END for spec in model.readouts):
        ends = set()
    samplings = sorted(
        {*((begin_h + t, np.nan) for t in study.sampling.teer_h), (window[1], window[0]), *ends},
        # NaN has no order, and a set's own order hangs on where NaN stands in memory
        key=lambda one: (one[0], np.isnan(one[1])),
    )
    planned = []
    for i, (time_h, begin) in enumerate(samplings):
        for r, spec in enumerate(model.readouts):
            if is_taken(study, spec, time_h - begin_h, begin):
                planned.append(PlannedReadout(r, i, expected_sd(spec)))
    times = np.array([t for t, _ in samplings])
    return times, np.array([begin for _, begin in samplings]), tuple(planned)


def is_taken(study: Study, spec: ReadoutSpec, after_h: float, window_start_h: float) -> bool:
    """Return whether a readout is taken at a sampling so long after an exposure began; NaN is no window."""
    if spec.kind != "moment":
        return not np.isnan(window_start_h)
    hours = study.sampling.teer_h
    if spec.name in AT_THE_END:
        hours = (study.timeline.exposure_h,)
    return bool(np.isnan(window_start_h)) and any(abs(after_h - h) < SAME_H for h in hours)
