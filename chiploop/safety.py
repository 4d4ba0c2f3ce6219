"""May this dose be given: yes, or why not. Refuses, never clips.

Belongs here: rules over a programme, the study's limits and what the pumps have moved. Not here:
which dose is wanted (policies), how it is made (dosing), the pumps (instruments).

Each rule looks at the same facts and returns None or a sentence with the limit and the value. The
concentration, vehicle and flow that the rules judge are worked out again from the steps: what a
programme says of itself is not believed. Two tables of rules: ``PROPOSAL_RULES`` for a proposed
dose, and ``WIRE_RULES`` between approval and wire, which know nothing of the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chiploop.dosing import (
    MAX_DOSE_DEVIATION,
    MAX_END_DEVIATION,
    PumpProgramme,
    mixed_nm,
    mixed_vehicle_fraction,
    pump_name,
    remaining_ul,
    stock_concentration_nm,
    usable_ul,
)
from chiploop.errors import SafetyRefusal
from chiploop.record.actions import JournalTotals

if TYPE_CHECKING:
    from chiploop.study import Study

_SLACK = 1e-9
"""Relative slack of comparisons, for rounding of floating-point numbers only."""
_MIXING_SLACK = 1e-6
"""Relative difference allowed between what a programme claims and what its steps make."""


@dataclass(frozen=True)
class SafetyVerdict:
    """Whether a dose may be given."""

    allowed: bool
    reasons: tuple[str, ...]
    """One sentence per rule that refuses, with limit and value; empty where allowed."""


@dataclass(frozen=True)
class DoseFacts:
    """What the rules look at."""

    study: Study
    programme: PumpProgramme
    totals: JournalTotals
    start_h: float
    """Study time at which the programme would begin."""
    concentration_nm: float
    """Worked out from the steps."""
    vehicle_fraction: float
    flow_rate_ul_h: float
    """Per chip."""
    highest_read_nm: float | None = None
    """Highest dose whose readouts are in; None before the first."""
    overdose_risk: float | None = None
    """P(viability < limit) by the fit; None where nobody has computed it."""


Rule = Callable[[DoseFacts], str | None]


def check_dose(
    study: Study,
    programme: PumpProgramme,
    *,
    highest_read_nm: float | None,
    overdose_risk: float | None,
    start_h: float,
    totals: JournalTotals | None = None,
) -> SafetyVerdict:
    """Return whether a proposed programme may be given.

    Parameters
    ----------
    highest_read_nm : highest dose already read out in this study; None at the cold start, where
    only the
        study's first doses are allowed, without a fit.
    overdose_risk : P(viability < limit) at this dose; where it is missing after the cold start, a
    dose with
        drug is refused.
    start_h : study time at which the programme would begin.
    totals : what the run's pumps have moved; None for a run that has moved nothing.
    """
    facts = _facts(
        study, programme, totals or JournalTotals(), start_h, highest_read_nm, overdose_risk
    )
    return _judge(facts, PROPOSAL_RULES)


def check_before_wire(
    study: Study, programme: PumpProgramme, totals: JournalTotals, start_h: float
) -> None:
    """Raise SafetyRefusal where the approved programme breaks a limit; the last look before the
    pumps.

    Knows the programme, the study's limits and the journal's totals, nothing of the optimiser.
    ``totals`` leave out this programme's own intents.
    """
    verdict = _judge(_facts(study, programme, totals, start_h, None, None), WIRE_RULES)
    if not verdict.allowed:
        raise SafetyRefusal(
            f"line {programme.line}, {programme.purpose} {programme.asked_nm:g} nM: "
            + "; ".join(verdict.reasons)
            + ". Nothing was sent to the pumps"
        )


def drug_limit_ng(study: Study) -> float:
    """Return the most drug that one chip may get in a study, in ng.

    The concentration limit, at the study's flow rate, over all planned exposures: doses given more
    often or longer than planned reach it, planned ones do not.
    """
    exposed_ul = study.perfusion.flow_rate_ul_h * study.timeline.exposure_h * study.timeline.cycles
    return _drug_ng(study, study.limits.concentration_nm, exposed_ul)


def _drug_ng(study: Study, concentration_nm: float, volume_ul: float) -> float:
    # nM x uL = 1e-15 mol; times g/mol = 1e-15 g = 1e-6 ng
    return concentration_nm * volume_ul * study.drug.molecular_weight_g_mol * 1e-6


def _facts(
    study: Study,
    programme: PumpProgramme,
    totals: JournalTotals,
    start_h: float,
    highest_read_nm: float | None,
    overdose_risk: float | None,
) -> DoseFacts:
    known = {"medium", "stimulus", *study.stocks}
    steps = tuple(step for step in programme.steps if step.stock in known)
    return DoseFacts(
        study=study,
        programme=programme,
        totals=totals,
        start_h=start_h,
        concentration_nm=mixed_nm(study, steps),
        vehicle_fraction=mixed_vehicle_fraction(study, steps),
        flow_rate_ul_h=sum(step.flow_rate_ul_h for step in programme.steps)
        / len(study.line(programme.line).chips),
        highest_read_nm=highest_read_nm,
        overdose_risk=overdose_risk,
    )


def _judge(facts: DoseFacts, rules: tuple[Rule, ...]) -> SafetyVerdict:
    reasons = tuple(reason for rule in rules if (reason := rule(facts)) is not None)
    return SafetyVerdict(allowed=not reasons, reasons=reasons)


def _above(value: float, limit: float) -> bool:
    """Return whether a value passes a limit; a value that is no number does."""
    return not value <= limit * (1.0 + _SLACK)


def _steps_are_sound(facts: DoseFacts) -> str | None:
    """A programme is what it says, on pumps of its own line."""
    programme = facts.programme
    for step in programme.steps:
        if step.stock not in {"medium", "stimulus", *facts.study.stocks}:
            return f"{step.pump} holds {step.stock}, which is no stock of the study"
        if step.pump != pump_name(programme.line, step.stock):
            return f"{step.pump} is not the pump of {step.stock} in line {programme.line}"
        if not (0.0 < step.flow_rate_ul_h < math.inf and 0.0 < step.volume_ul < math.inf):
            return f"{step.pump} is asked for {step.volume_ul:g} uL at {step.flow_rate_ul_h:g} uL/h"
        lasts_h = step.volume_ul / step.flow_rate_ul_h
        if not abs(lasts_h - programme.duration_h) <= MAX_END_DEVIATION * programme.duration_h * (
            1.0 + _SLACK
        ):
            return (
                f"{step.pump} would run for {lasts_h:.3g} h in a programme of "
                f"{programme.duration_h:g} h"
            )
    if not programme.steps or len({step.pump for step in programme.steps}) < len(programme.steps):
        return "a programme needs at least one pump, and each of its pumps once"
    claimed, made = programme.delivered_nm, facts.concentration_nm
    if not abs(claimed - made) <= _MIXING_SLACK * max(made, 1.0):
        return f"the programme says {claimed:g} nM and its steps make {made:g} nM"
    if programme.purpose != "dose" and made > 0.0:
        return f"a {programme.purpose} phase carries no drug, its steps make {made:g} nM"
    if not abs(made - programme.asked_nm) <= MAX_DOSE_DEVIATION * programme.asked_nm + _SLACK:
        return f"{programme.asked_nm:g} nM was approved and the steps make {made:g} nM"
    return None


def _concentration(facts: DoseFacts) -> str | None:
    """No dose above the study's concentration limit."""
    limit_nm = facts.study.limits.concentration_nm
    highest_nm = max(facts.concentration_nm, facts.programme.asked_nm)
    if _above(highest_nm, limit_nm):
        return f"concentration {highest_nm:g} nM is above the limit of {limit_nm:g} nM"
    return None


def _vehicle(facts: DoseFacts) -> str | None:
    limit = facts.study.limits.vehicle_fraction
    if _above(facts.vehicle_fraction, limit):
        return (
            f"vehicle {100 * facts.vehicle_fraction:.3g} % is above the limit of "
            f"{100 * limit:.3g} %"
        )
    return None


def _flow_rate(facts: DoseFacts) -> str | None:
    limit_ul_h = facts.study.limits.flow_rate_ul_h
    if _above(facts.flow_rate_ul_h, limit_ul_h):
        return (
            f"flow {facts.flow_rate_ul_h:g} uL/h per chip is above the limit of {limit_ul_h:g} uL/h"
        )
    return None


def _is_first_dose(facts: DoseFacts) -> bool:
    asked_nm = facts.programme.asked_nm
    return any(
        math.isclose(asked_nm, first_nm, rel_tol=_SLACK) for first_nm in facts.study.first_doses_nm
    )


def _fold_step(facts: DoseFacts) -> str | None:
    """No dose far above what has been read out; at the cold start only the named first doses."""
    return _fold_above(facts, facts.highest_read_nm, "read out")


def _fold_step_on_record(facts: DoseFacts) -> str | None:
    """The same without the optimiser: against the highest dose that the journal shows as delivered.

    The first doses stay allowed: lines that are late may begin theirs after others have ended.
    """
    if _is_first_dose(facts):
        return None
    return _fold_above(facts, facts.totals.highest_dose_nm, "delivered")


def _fold_above(facts: DoseFacts, highest_nm: float | None, done: str) -> str | None:
    dose_nm, fold = facts.concentration_nm, facts.study.limits.fold_step
    if dose_nm == 0.0:
        return None
    if highest_nm is None or not highest_nm > 0.0:
        if _is_first_dose(facts):
            return None
        first = ", ".join(f"{first_nm:g}" for first_nm in facts.study.first_doses_nm)
        return (
            f"no dose has been {done} yet: only the first doses ({first} nM) are allowed, not "
            f"{dose_nm:g} nM"
        )
    if _above(dose_nm, fold * highest_nm):
        return (
            f"{dose_nm:g} nM is {dose_nm / highest_nm:.3g} times the highest dose {done} "
            f"({highest_nm:g} nM), "
            f"the limit is {fold:g} times"
        )
    return None


def _overdose(facts: DoseFacts) -> str | None:
    """P(viability < limit) stays within the accepted risk; where nobody has computed it, the answer
    is no.
    """
    limits = facts.study.limits
    if facts.concentration_nm == 0.0:
        return None
    if facts.overdose_risk is None:
        if facts.highest_read_nm is None and _is_first_dose(facts):
            return None
        return f"the overdose risk is not known; the limit is {limits.overdose_probability:g}"
    if not 0.0 <= facts.overdose_risk <= 1.0 or _above(
        facts.overdose_risk, limits.overdose_probability
    ):
        return (
            f"overdose risk {facts.overdose_risk:.3g} (viability below {limits.viability:g}) is "
            "above the limit "
            f"of {limits.overdose_probability:g}"
        )
    return None


def _syringe(facts: DoseFacts) -> str | None:
    """Every step fits into what its syringe holds, less the reserve."""
    left_ul = remaining_ul(facts.study, facts.totals.drawn_ul)
    for step in facts.programme.steps:
        if step.stock not in facts.study.perfusion.syringes:
            return f"there is no syringe of {step.stock} in the study"
        usable = usable_ul(facts.study, step.stock, left_ul.get(step.pump, 0.0))
        if _above(step.volume_ul, max(usable, 0.0)):
            return (
                f"{step.pump} needs {step.volume_ul:g} uL, its syringe has {max(usable, 0.0):g} "
                "uL to give"
            )
    return None


def _drug_mass(facts: DoseFacts) -> str | None:
    """No chip gets more drug in all than the planned exposures at the concentration limit would
    give.
    """
    study, line = facts.study, facts.study.line(facts.programme.line)
    given_ng = sum(
        _drug_ng(
            study,
            stock.concentration_nm,
            facts.totals.delivered_ul.get(pump_name(line.id, name), 0.0),
        )
        for name, stock in study.stocks.items()
    )
    asked_ng = sum(
        _drug_ng(study, stock_concentration_nm(study, step.stock), step.volume_ul)
        for step in facts.programme.steps
        if step.stock in study.stocks
    )
    chip_ng, limit_ng = (given_ng + asked_ng) / len(line.chips), drug_limit_ng(study)
    if asked_ng > 0.0 and _above(chip_ng, limit_ng):
        return f"{chip_ng:.4g} ng drug per chip in all is above the limit of {limit_ng:.4g} ng"
    return None


def _interval(facts: DoseFacts) -> str | None:
    """A dose begins no earlier than the turnaround after the line's last dose."""
    last_h = facts.totals.last_dose_end_h.get(facts.programme.line)
    if facts.programme.purpose != "dose" or last_h is None:
        return None
    # Rounding may end a dose a little late; as much as dosing allows is left for it.
    timeline = facts.study.timeline
    earliest_h = last_h + timeline.turnaround_h - MAX_END_DEVIATION * timeline.exposure_h
    if facts.start_h < earliest_h:
        return (
            f"{facts.start_h - last_h:.3g} h after the line's last dose, "
            f"the shortest interval is {timeline.turnaround_h:g} h"
        )
    return None


_ALWAYS: tuple[Rule, ...] = (
    _steps_are_sound,
    _concentration,
    _vehicle,
    _flow_rate,
    _syringe,
    _drug_mass,
    _interval,
)
PROPOSAL_RULES: tuple[Rule, ...] = (*_ALWAYS, _fold_step, _overdose)
"""What a proposed dose must meet."""
WIRE_RULES: tuple[Rule, ...] = (*_ALWAYS, _fold_step_on_record)
"""What an approved dose must meet again, at the pumps."""
