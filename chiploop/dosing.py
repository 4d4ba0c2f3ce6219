"""A dose as something that the pumps of a line can really do, and what a chip really got.

Belongs here: stocks, mixing, rounding, syringe budgets, segments of a chip's schedule. Not here:
the parts of one exposure (exposure), whether a dose may be given (safety), the pumps themselves
(instruments), which dose is wanted (policies).

A line has one pump per role: ``medium``, ``stimulus``, one per further stimulus (arm) and one per stock of its
drug. What flows into its chips is concentration = sum(stock_j q_j) / sum(q_j), shared equally by the chips of the
line. Every step carries a pump-side target volume; all steps of a programme end together. Nothing is clipped:
what can not be made as asked is refused with the reason. A drug stock stands in the medium of a stimulus and is
thinned with that alone, so the stimulus is the same at every dose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from chiploop.errors import DoseNotFeasible
from chiploop.study_limits import concentration_limit_nm
from chiploop.study_schedules import STIMULUS

if TYPE_CHECKING:
    from chiploop.study import Study

Purpose = Literal["medium", "stimulus", "dose", "prime"]
"""``prime`` fills tubing while no chip is connected; no study may ask for it."""
Quantise = Callable[[str, float, float], tuple[float, float]]
"""(pump name, flow rate in uL/h, volume in uL) -> the (rate, volume) that the pump would really
carry out; ValueError where it can not, for example below its smallest steady flow. Sends
nothing."""

RESERVE_FRACTION = 0.05
"""Share of a syringe's full volume that is never planned away: priming, dead volume and the
plunger's end.
"""
MAX_DOSE_DEVIATION = 0.02
"""Largest relative difference between asked and delivered concentration that rounding may cause."""
MAX_END_DEVIATION = 0.01
"""Largest relative difference between a step's own duration (volume / rate) and the programme's."""
_FLOAT_SLACK = 1e-9


@dataclass(frozen=True)
class PumpStep:
    """One pump's part of a programme, at the pump's own resolution."""

    pump: str
    """Name in lab.toml, ``<line>-<stock>``."""
    stock: str
    """``medium``, ``stimulus`` or the name of an arm or of a drug stock of the study."""
    flow_rate_ul_h: float
    volume_ul: float


@dataclass(frozen=True)
class PumpProgramme:
    """The steps that run together in one phase of a line."""

    line: str
    purpose: Purpose
    asked_nm: float
    """Drug concentration that was asked for."""
    delivered_nm: float
    """Drug concentration that the rounded volumes make; inference uses this one or the measured
    one.
    """
    duration_h: float
    steps: tuple[PumpStep, ...]
    vehicle_fraction: float
    """Vehicle (e.g. DMSO) in the mix, as a fraction of volume."""
    stimulus_fraction: float
    """Share of the mix that is stimulus medium: 1 in a dose, 0 in plain medium."""
    arm: str = STIMULUS
    """Which stimulus a dose is given in."""


@dataclass(frozen=True)
class RefusedDose:
    """A candidate dose that the pumps of a line can not make, or that a limit forbids."""

    asked_nm: float
    reason: str
    line: str = ""
    """Empty on records of before lines were told apart."""
    schedule: str = "whole"


@dataclass(frozen=True)
class ChipSegment:
    """A stretch of constant inflow of one chip."""

    start_h: float
    """Hours since the study began."""
    end_h: float
    flow_rate_ul_h: float
    drug_nm: float
    stimulus_ng_ml: Mapping[str, float]
    """Cytokine -> concentration; one that is absent is not there."""
    line_chips: int | None = field(default=None, repr=False)
    """Chips that shared the line's flow; None where that never changes: those of the study's line."""


@dataclass(frozen=True)
class Stay:
    """A stretch in which one line feeds a chip that a valve may give to another."""

    line: str
    from_h: float
    """Study time from which the line feeds it."""
    tubing: tuple[ChipSegment, ...] = ()
    """What the line moved before, oldest first: at least as much as stands in its tubing then."""


@dataclass(frozen=True)
class ChipSchedule:
    """What one chip really got; ascending in time, without overlap. ValueError otherwise."""

    chip_id: str
    segments: tuple[ChipSegment, ...] = ()
    stays: tuple[Stay, ...] = ()
    """Which line fed it when, in time order; empty in a study without valves, where its own line always does."""

    def __post_init__(self) -> None:
        for segment in self.segments:
            if not segment.end_h > segment.start_h:
                raise ValueError(
                    f"segment of {self.chip_id} ends at {segment.end_h:g} h, "
                    f"not after its start at {segment.start_h:g} h"
                )
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            if after.start_h < before.end_h - _FLOAT_SLACK * max(1.0, before.end_h):
                raise ValueError(
                    f"segment of {self.chip_id} starts at {after.start_h:g} h, "
                    f"before the last one ended at {before.end_h:g} h"
                )

    def with_segment(self, segment: ChipSegment) -> ChipSchedule:
        """Return the schedule with one more segment at its end."""
        return replace(self, segments=(*self.segments, segment))


def pump_name(line_id: str, stock: str) -> str:
    """Return the name of the pump that holds a stock in a line, as lab.toml spells it."""
    return f"{line_id}-{stock}"


def stock_concentration_nm(study: Study, stock: str) -> float:
    """Return the drug concentration of a stock in nM; 0 for plain medium and every stimulus."""
    return 0.0 if is_drug_free(study, stock) else study.stocks[stock].concentration_nm


def stock_vehicle_fraction(study: Study, stock: str) -> float:
    """Return the vehicle fraction of a stock; 0 for plain medium and every stimulus."""
    return 0.0 if is_drug_free(study, stock) else study.stocks[stock].vehicle_fraction


def is_drug_free(study: Study, role: str) -> bool:
    """Return whether the pump of a role holds plain medium or a stimulus without drug."""
    return role == "medium" or role in study.arms_ng_ml


def usable_ul(study: Study, stock: str, remaining_ul: float) -> float:
    """Return the volume in uL that may be planned from a syringe: what is left less the reserve."""
    return remaining_ul - RESERVE_FRACTION * study.perfusion.syringes[stock].volume_ul


def remaining_ul(study: Study, drawn_ul: Mapping[str, float]) -> dict[str, float]:
    """Return what is left in the syringe of every pump of the study, in uL.

    ``drawn_ul``: pump name -> volume drawn since its syringe was filled; a pump that is absent has
    drawn nothing.
    """
    return {
        pump_name(line.id, stock): syringe.volume_ul - drawn_ul.get(pump_name(line.id, stock), 0.0)
        for line in study.lines
        for stock, syringe in study.syringes_of(line.id).items()
    }


def make_programme(
    study: Study,
    line_id: str,
    purpose: Purpose,
    asked_nm: float,
    duration_h: float,
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
    stocks: Sequence[str] = (),
    arm: str = STIMULUS,
) -> PumpProgramme:
    """Return the programme that makes a concentration on a line with the weakest stock that fits.

    The weakest stock gives the largest, steadiest rate. Drug doses take the pump of their stimulus and at
    most one drug stock, or the stock neat; ``asked_nm`` 0 takes the pump of the stimulus alone.

    Parameters
    ----------
    duration_h : how long the phase lasts; every step's volume is its rate times this.
    quantise : the pumps' own rounding; its ValueError is a reason, not an accident.
    remaining_ul : pump name -> content of its syringe in uL; a pump that is absent counts as empty.
    stocks : the drug stocks that a dose may take; empty for any.
    arm : the stimulus that a dose is given in.

    Raises
    ------
    DoseNotFeasible
        Naming every stock and why it does not fit.
    ValueError
        A concentration or duration that is negative or not finite, a drug in a phase that has none,
        no such line.
    """
    if not (math.isfinite(asked_nm) and asked_nm >= 0.0):
        raise ValueError(f"a dose of {asked_nm} nM is not a concentration")
    if not (math.isfinite(duration_h) and duration_h > 0.0):
        raise ValueError(f"a duration of {duration_h} h is not a duration")
    if purpose != "dose" and asked_nm != 0.0:
        raise ValueError(f"a {purpose} phase carries no drug, {asked_nm:g} nM was asked")
    line_flow_ul_h = study.line_flow_rate_ul_h(line_id)
    if not line_flow_ul_h:
        raise DoseNotFeasible(f"no chip is fed by line {line_id}: it stands still")

    if purpose != "dose":
        stocks = (purpose,)
    elif arm not in study.arms_of(line_id):
        raise DoseNotFeasible(f"line {line_id} has no pump of {arm}")
    elif asked_nm == 0.0:
        stocks = (arm,)
    else:
        stocks = stocks or drug_stocks(study, line_id, arm)
        if not stocks:
            raise DoseNotFeasible(f"line {line_id} has no stock of its drug in {arm}")
    reasons: list[str] = []
    for stock in stocks:
        try:
            shares_ul_h = _shares_ul_h(study, stock, asked_nm, line_flow_ul_h, arm)
            steps = _steps(line_id, shares_ul_h, duration_h, quantise)
        except ValueError as problem:
            reasons.append(f"{stock}: {problem}")
            continue
        programme = _programme(study, line_id, purpose, asked_nm, duration_h, steps, arm)
        problems = _problems(study, programme, remaining_ul)
        if not problems:
            return programme
        reasons.append(f"{stock}: " + ", ".join(problems))
    raise DoseNotFeasible(
        f"line {line_id} can not make {asked_nm:g} nM for {duration_h:g} h at {line_flow_ul_h:g} "
        "uL/h: " + "; ".join(reasons)
    )


def drug_stocks(study: Study, line_id: str, arm: str = STIMULUS) -> tuple[str, ...]:
    """Return the stocks of a line's drug in a stimulus, the weakest first."""
    return tuple(name for name in study.stocks_of(line_id) if study.arm_of_stock(name) == arm)


def delivered_segments(
    study: Study,
    programme: PumpProgramme,
    delivered_ul: Mapping[str, float],
    start_h: float,
    end_h: float,
) -> dict[str, ChipSegment]:
    """Return what each chip of the programme's line got, from the volumes that the pumps counted.

    Parameters
    ----------
    delivered_ul : pump name -> volume in uL; a pump of the programme that is absent delivered
    nothing. start_h, end_h : hours since the study began.

    Returns chip id -> segment, in the line's order. With nothing delivered the flow rate is 0 and
    so are the concentrations, which then carry no weight. ValueError for a pump that is not of this
    programme, a negative volume or an empty interval.
    """
    strangers = set(delivered_ul) - {step.pump for step in programme.steps}
    if strangers:
        raise ValueError(
            f"{_names(sorted(strangers))} is no pump of this programme of line {programme.line}"
        )
    if not end_h > start_h:
        raise ValueError(f"the interval {start_h:g}..{end_h:g} h is empty")
    if any(not volume_ul >= 0.0 for volume_ul in delivered_ul.values()):
        raise ValueError(f"a delivered volume is negative or no number: {dict(delivered_ul)}")
    given = tuple(
        PumpStep(step.pump, step.stock, 0.0, delivered_ul.get(step.pump, 0.0))
        for step in programme.steps
    )
    chips = study.line(programme.line).chips
    if not chips:  # plain medium for chips that may be on the line: nobody knows what they got
        return {}
    stimulus_ng_ml: dict[str, float] = {}
    for arm, mix in study.arms_ng_ml.items():
        share = arm_fraction(study, given, arm)
        if arm == STIMULUS or share > 0.0:
            for name, c in mix.items():
                stimulus_ng_ml[name] = stimulus_ng_ml.get(name, 0.0) + share * c
    segment = ChipSegment(
        start_h=start_h,
        end_h=end_h,
        flow_rate_ul_h=sum(step.volume_ul for step in given) / (end_h - start_h) / len(chips),
        drug_nm=mixed_nm(study, given),
        stimulus_ng_ml=stimulus_ng_ml,
        line_chips=len(chips) if study.valves else None,
    )
    return dict.fromkeys(chips, segment)


def mixed_nm(study: Study, steps: tuple[PumpStep, ...]) -> float:
    """Return the drug concentration of the steps' volumes mixed, in nM."""
    return _mix(steps, lambda stock: stock_concentration_nm(study, stock))


def arm_fraction(study: Study, steps: tuple[PumpStep, ...], arm: str) -> float:
    """Return the share of the steps' volumes that is the medium of a stimulus."""
    return _mix(steps, lambda stock: float(study.arm_of_stock(stock) == arm))


def mixed_vehicle_fraction(study: Study, steps: tuple[PumpStep, ...]) -> float:
    """Return the vehicle fraction of the steps' volumes mixed."""
    return _mix(steps, lambda stock: stock_vehicle_fraction(study, stock))


def programme_from_dict(content: Mapping[str, Any]) -> PumpProgramme:
    """Return the programme that ``dataclasses.asdict`` wrote."""
    return PumpProgramme(
        **{**content, "steps": tuple(PumpStep(**step) for step in content["steps"])}
    )


def _mix(steps: tuple[PumpStep, ...], property_of: Callable[[str], float]) -> float:
    """Return the volume-weighted mean of a property of the stocks; 0 for no volume at all."""
    total_ul = sum(step.volume_ul for step in steps)
    if total_ul <= 0.0:
        return 0.0
    return sum(property_of(step.stock) * step.volume_ul for step in steps) / total_ul


def _shares_ul_h(
    study: Study, stock: str, asked_nm: float, line_flow_ul_h: float, arm: str
) -> dict[str, float]:
    """Return stock -> unrounded flow rate in uL/h, diluent first; ValueError where the stock is too
    weak.
    """
    strength_nm = stock_concentration_nm(study, stock)
    if strength_nm == asked_nm:
        return {stock: line_flow_ul_h}
    if strength_nm < asked_nm:
        raise ValueError(f"a stock of {strength_nm:g} nM is weaker than the dose")
    drug_ul_h = line_flow_ul_h * asked_nm / strength_nm
    return {arm: line_flow_ul_h - drug_ul_h, stock: drug_ul_h}


def _steps(
    line_id: str, shares_ul_h: Mapping[str, float], duration_h: float, quantise: Quantise
) -> tuple[PumpStep, ...]:
    """Return the steps as the pumps round them: the rate first, then the volume that this rate
    gives in time.
    """
    steps = []
    for stock, asked_ul_h in shares_ul_h.items():
        pump = pump_name(line_id, stock)
        rate_ul_h, _ = quantise(pump, asked_ul_h, asked_ul_h * duration_h)
        rate_ul_h, volume_ul = quantise(pump, rate_ul_h, rate_ul_h * duration_h)
        if abs(volume_ul / rate_ul_h - duration_h) > MAX_END_DEVIATION * duration_h:
            raise ValueError(
                f"{pump} rounds {asked_ul_h:g} uL/h for {duration_h:g} h to {volume_ul:g} uL at "
                f"{rate_ul_h:g} uL/h, which ends after {volume_ul / rate_ul_h:.3g} h"
            )
        steps.append(PumpStep(pump, stock, rate_ul_h, volume_ul))
    return tuple(steps)


def _programme(
    study: Study,
    line_id: str,
    purpose: Purpose,
    asked_nm: float,
    duration_h: float,
    steps: tuple[PumpStep, ...],
    arm: str,
) -> PumpProgramme:
    return PumpProgramme(
        line=line_id,
        purpose=purpose,
        asked_nm=asked_nm,
        delivered_nm=mixed_nm(study, steps),
        duration_h=duration_h,
        steps=steps,
        vehicle_fraction=mixed_vehicle_fraction(study, steps),
        stimulus_fraction=_mix(steps, lambda stock: float(stock != "medium")),
        arm=arm,
    )


def _problems(
    study: Study, programme: PumpProgramme, remaining_ul: Mapping[str, float]
) -> list[str]:
    """Return everything that speaks against a programme that the pumps could run."""
    limits = study.limits
    limit_nm = concentration_limit_nm(study, study.drug_of(programme.line).name)
    per_chip_ul_h = sum(s.flow_rate_ul_h for s in programme.steps) / len(
        study.line(programme.line).chips
    )
    asked_nm, delivered_nm = programme.asked_nm, programme.delivered_nm
    problems = []
    if max(asked_nm, delivered_nm) > limit_nm * (1.0 + _FLOAT_SLACK):
        problems.append(f"{max(asked_nm, delivered_nm):g} nM is above the limit of {limit_nm:g} nM")
    if abs(delivered_nm - asked_nm) > MAX_DOSE_DEVIATION * asked_nm:
        problems.append(f"rounding would deliver {delivered_nm:g} nM")
    if programme.vehicle_fraction > limits.vehicle_fraction * (1.0 + _FLOAT_SLACK):
        problems.append(
            f"vehicle {100 * programme.vehicle_fraction:.3g} % is above "
            f"{100 * limits.vehicle_fraction:.3g} %"
        )
    if per_chip_ul_h > limits.flow_rate_ul_h * (1.0 + _FLOAT_SLACK):
        problems.append(f"{per_chip_ul_h:g} uL/h per chip is above {limits.flow_rate_ul_h:g} uL/h")
    for step in programme.steps:
        left_ul = usable_ul(study, step.stock, remaining_ul.get(step.pump, 0.0))
        if step.volume_ul > left_ul:
            problems.append(
                f"{step.pump} needs {step.volume_ul:g} uL and has {max(left_ul, 0.0):g} uL "
                "besides the reserve"
            )
    return problems


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
