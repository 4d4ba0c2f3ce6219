"""The rules that a programme must meet before its pumps may move, one function per limit.

Belongs here: what is looked at, one rule per limit, the two tables of rules. Not here: who asks
(safety), what the limits are in numbers (study_limits).

Each rule looks at the same facts and returns None or a sentence with the limit and the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chiploop.dosing import (
    MAX_DOSE_DEVIATION,
    MAX_END_DEVIATION,
    PumpProgramme,
    Purpose,
    pump_name,
    remaining_ul,
    stock_concentration_nm,
    usable_ul,
)
from chiploop.record.actions import JournalTotals, Moved
from chiploop.study_limits import (
    DAY_H,
    concentration_limit_nm,
    day_volume_limit_ul,
    dose_volume_limit_ul,
    drug_limit_ng,
    drug_ng,
    readout_age_limit_h,
    total_volume_limit_ul,
)
from chiploop.study_schedules import LATEST_START_H, STIMULUS

if TYPE_CHECKING:
    from chiploop.study import Drug, Study

_STUDY_PURPOSES: tuple[Purpose, ...] = ("medium", "stimulus", "dose")
"""What a study's phase may be; priming is never one."""
_SLACK = 1e-9
"""Relative slack of comparisons, for rounding of floating-point numbers only."""
_MIXING_SLACK = 1e-6
"""Relative difference allowed between what a programme claims and what its steps make."""
_CLOCK_SLACK_H = 0.25
"""How much before its readouts' nominal time a dose may begin: a pump's rounding ends a phase early."""


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
    volume_ul: float
    """Per chip."""
    highest_read_nm: float | None = None
    """Highest dose of the line's drug whose readouts are in; None before the first."""
    overdose_risk: float | None = None
    """P(viability < limit) by the fit; None where nobody has computed it."""
    newest_toxicity_h: float | None = None
    """Study time of the newest toxicity readout of a chip with the line's drug; None before the first."""
    cycle: int | None = None
    """Whose exposure the programme is a part of; None where it stands alone."""

    @property
    def n_chips(self) -> int:
        """Chips of the programme's line, which share what flows."""
        return len(self.study.line(self.programme.line).chips)

    @property
    def drug(self) -> Drug:
        """What the programme's line gets. What other drugs did, or did not do, says nothing about it."""
        return self.study.drug_of(self.programme.line)

    @property
    def highest_delivered_nm(self) -> float | None:
        """Highest dose of the line's drug that the journal shows as delivered; None before the first."""
        if not self.study.further_drugs:
            return self.totals.highest_dose_nm
        own = [line.id for line in self.study.lines_of(self.drug.name)]
        given = self.totals.highest_dose_of_nm
        return max((given[line] for line in own if line in given), default=None)

    @property
    def moved(self) -> tuple[Moved, ...]:
        """What the line's pumps moved so far."""
        return self.totals.moved.get(self.programme.line, ())

    @property
    def same_dose(self) -> tuple[Moved, ...]:
        """What the line's pumps moved in other parts of the same exposure."""
        if self.cycle is None or self.programme.purpose != "dose":
            return ()
        return tuple(one for one in self.moved if one.cycle == self.cycle and one.purpose == "dose")


Rule = Callable[[DoseFacts], str | None]


def _above(value: float, limit: float) -> bool:
    """Return whether a value passes a limit; a value that is no number does."""
    return not value <= limit * (1.0 + _SLACK)


def _direction(facts: DoseFacts) -> str | None:
    """Pumps only infuse: every rate and volume is above zero, and no phase asks for anything else."""
    programme = facts.programme
    if programme.purpose not in _STUDY_PURPOSES:
        return f"a phase of {programme.purpose} was asked; pumps only infuse {_or(_STUDY_PURPOSES)}"
    for step in programme.steps:
        if not (0.0 < step.flow_rate_ul_h < math.inf and 0.0 < step.volume_ul < math.inf):
            return (
                f"{step.pump} is asked for {step.volume_ul:g} uL at {step.flow_rate_ul_h:g} uL/h; "
                "pumps only infuse, volume and rate must be above 0"
            )
    return None


def _steps_are_sound(facts: DoseFacts) -> str | None:
    """A programme is what it says, on pumps of its own line."""
    programme = facts.programme
    if not math.isfinite(facts.start_h):
        return f"a programme begins at a study time, not at {facts.start_h} h"
    for step in programme.steps:
        if step.stock not in {"medium", *facts.study.arms_ng_ml, *facts.study.stocks}:
            return f"{step.pump} holds {step.stock}, which is no stock of the study"
        if step.stock not in facts.study.pump_roles(programme.line):
            what = f"no stock of {facts.drug.name}, the drug of line {programme.line}"
            if facts.study.further_arms_ng_ml:
                what = f"neither a stimulus of line {programme.line} nor {what}, in one of them"
            return f"{step.pump} holds {step.stock}, which is {what}"
        arm = {"dose": programme.arm, "medium": ""}.get(programme.purpose, STIMULUS)
        if facts.study.arm_of_stock(step.stock) != arm:
            return (
                f"{step.pump} holds {step.stock}, which is not {arm or 'plain medium'}: a {programme.purpose} is "
                "made of that alone"
            )
        if step.pump != pump_name(programme.line, step.stock):
            return f"{step.pump} is not the pump of {step.stock} in line {programme.line}"
        lasts_h = step.volume_ul / step.flow_rate_ul_h if step.flow_rate_ul_h else math.inf
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
    limit_nm = concentration_limit_nm(facts.study, facts.drug.name)
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
    """No chip gets more at once than the limit, with what the line's other programmes still bring.

    As much as rounding may lengthen a programme does not count: the next one begins at its end.
    """
    limit_ul_h = facts.study.limits.flow_rate_ul_h
    beside_ul_h = 0.0
    for one in facts.moved:
        lasts_h = one.end_h - one.begin_h
        until_h = min(one.end_h - MAX_END_DEVIATION * lasts_h, one.stood_h)
        if one.begin_h <= facts.start_h < until_h:
            beside_ul_h += one.volume_ul / lasts_h / facts.n_chips
    flow_ul_h = facts.flow_rate_ul_h + beside_ul_h
    if _above(flow_ul_h, limit_ul_h):
        beside = f", {beside_ul_h:g} of it from pumps that still run," if beside_ul_h else ""
        return f"flow {flow_ul_h:g} uL/h per chip{beside} is above the limit of {limit_ul_h:g} uL/h"
    return None


def _dose_volume(facts: DoseFacts) -> str | None:
    """No dose brings a chip more than the limit of one dose, all its parts together."""
    limit_ul = dose_volume_limit_ul(facts.study)
    before_ul = sum(one.volume_ul for one in facts.same_dose) / facts.n_chips
    volume_ul = before_ul + facts.volume_ul
    if facts.programme.purpose == "dose" and _above(volume_ul, limit_ul):
        return (
            f"the dose brings {volume_ul:g} uL to each chip, the limit is {limit_ul:g} uL "
            "in one dose"
        )
    return None


def _within_exposure(facts: DoseFacts) -> str | None:
    """The parts of one dose are over after one exposure, but for rounding and a late start."""
    if not facts.same_dose:
        return None
    exposure_h = facts.study.timeline.exposure_h
    begun_h = min(one.begin_h for one in facts.same_dose)
    last_h = facts.start_h + facts.programme.duration_h - begun_h
    if not last_h <= exposure_h * (1.0 + MAX_END_DEVIATION) + LATEST_START_H:
        return (
            f"this part would end {last_h:.4g} h after the begin of its dose, an exposure lasts "
            f"{exposure_h:g} h"
        )
    return None


def _day_volume(facts: DoseFacts) -> str | None:
    """No chip gets more of all liquids together than the limit in any 24 h that touch the
    programme.
    """
    limit_ul = day_volume_limit_ul(facts.study)
    most_ul = _most_in_window_ul(facts, DAY_H) / facts.n_chips
    if _above(most_ul, limit_ul):
        return f"each chip would get {most_ul:g} uL within 24 h, the limit is {limit_ul:g} uL"
    return None


def _total_volume(facts: DoseFacts) -> str | None:
    """No chip gets more in all its doses together than the limit.

    Plain liquids do not count: a chip may wait for people as long as its syringes last.
    """
    if facts.programme.purpose != "dose":
        return None
    limit_ul = total_volume_limit_ul(facts.study)
    dosed_ul = sum(moved.volume_ul for moved in facts.moved if moved.purpose == "dose")
    chip_ul = dosed_ul / facts.n_chips + facts.volume_ul
    if _above(chip_ul, limit_ul):
        return (
            f"each chip would get {chip_ul:g} uL in all doses together, the limit is {limit_ul:g} "
            "uL"
        )
    return None


def _most_in_window_ul(facts: DoseFacts, hours: float) -> float:
    """Return the most that the line gets in any window of so many hours that touches the programme.

    Rates are steady in between, so the worst window begins or ends where a pump does.
    """
    asked = [
        Moved(
            facts.programme.purpose,
            facts.start_h,
            facts.start_h + step.volume_ul / step.flow_rate_ul_h,
            step.volume_ul,
        )
        for step in facts.programme.steps
        if step.flow_rate_ul_h > 0.0
    ]
    last_h = max((one.end_h for one in asked), default=facts.start_h)
    near = [
        one
        for one in (*facts.moved, *asked)
        if one.end_h > facts.start_h - hours and one.begin_h < last_h + hours
    ]
    corners_h = {corner for one in near for corner in (one.begin_h, one.end_h)}
    ends_h = {corner + after for corner in corners_h for after in (0.0, hours)}
    return max(
        (
            _within_ul(near, end_h - hours, end_h)
            for end_h in {*ends_h, facts.start_h, last_h + hours}
            if facts.start_h <= end_h <= last_h + hours
        ),
        default=0.0,
    )


def _within_ul(moved: Sequence[Moved], from_h: float, to_h: float) -> float:
    """Return what flows from one study time to another."""
    total_ul = 0.0
    for one in moved:
        overlap_h = min(one.end_h, to_h) - max(one.begin_h, from_h)
        if overlap_h > 0.0:
            total_ul += one.volume_ul * overlap_h / (one.end_h - one.begin_h)
    return total_ul


def _is_first_dose(facts: DoseFacts) -> bool:
    asked_nm = facts.programme.asked_nm
    return any(math.isclose(asked_nm, nm, rel_tol=_SLACK) for nm in _first_doses_nm(facts))


def _first_doses_nm(facts: DoseFacts) -> tuple[float, ...]:
    """Return the first doses of the line's drug."""
    return facts.study.first_doses_of_nm(facts.drug.name)


def _only_first_doses(facts: DoseFacts, why: str) -> str | None:
    """Return why a dose that is none of the study's first doses must wait."""
    if _is_first_dose(facts):
        return None
    first = ", ".join(f"{first_nm:g}" for first_nm in _first_doses_nm(facts))
    return (
        f"{why}: only the first doses ({first} nM) are allowed, not {facts.concentration_nm:g} nM"
    )


def _readout_age(facts: DoseFacts) -> str | None:
    """A dose with drug begins only while the newest toxicity readout is young; before the first,
    only the study's first doses.
    """
    limit_h, read_h = readout_age_limit_h(facts.study), facts.newest_toxicity_h
    if facts.concentration_nm == 0.0:
        return None
    if read_h is None:
        return _only_first_doses(facts, "toxicity has not been read out yet")
    age_h = facts.start_h - read_h
    if _above(age_h, limit_h):
        return (
            f"the newest toxicity readout is {age_h:.4g} h old when the dose begins, the limit is "
            f"{limit_h:g} h"
        )
    if age_h < -_CLOCK_SLACK_H:
        return f"the newest toxicity readout is of {read_h:g} h, after the dose's begin; the clock is wrong"
    return None


def _fold_step(facts: DoseFacts) -> str | None:
    """No dose far above what has been read out; at the cold start only the named first doses."""
    done = "read out"
    if facts.study.further_arms_ng_ml:
        done += f" in {facts.programme.arm}, or so far below one of another stimulus that it is no step up"
    return _fold_above(facts, facts.highest_read_nm, done)


def _fold_step_on_record(facts: DoseFacts) -> str | None:
    """The same without the optimiser: against the highest dose that the journal shows as delivered.

    The first doses stay allowed: lines that are late may begin theirs after others have ended.
    """
    if _is_first_dose(facts):
        return None
    return _fold_above(facts, facts.highest_delivered_nm, "delivered")


def _fold_above(facts: DoseFacts, highest_nm: float | None, done: str) -> str | None:
    dose_nm, fold = facts.concentration_nm, facts.study.limits.fold_step
    if dose_nm == 0.0:
        return None
    if highest_nm is None or not highest_nm > 0.0:
        return _only_first_doses(facts, f"no dose has been {done} yet")
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
        drug_ng(
            facts.drug,
            stock.concentration_nm,
            facts.totals.delivered_ul.get(pump_name(line.id, name), 0.0),
        )
        for name, stock in study.stocks_of(line.id).items()
    )
    asked_ng = sum(
        drug_ng(facts.drug, stock_concentration_nm(study, step.stock), step.volume_ul)
        for step in facts.programme.steps
        if step.stock in study.stocks
    )
    chip_ng, limit_ng = (given_ng + asked_ng) / len(line.chips), drug_limit_ng(study, facts.drug)
    if asked_ng > 0.0 and _above(chip_ng, limit_ng):
        return f"{chip_ng:.4g} ng drug per chip in all is above the limit of {limit_ng:.4g} ng"
    return None


def _interval(facts: DoseFacts) -> str | None:
    """A dose begins no earlier than the turnaround after the line's last dose, which is none of its own parts."""
    last_h = facts.totals.last_dose_end_h.get(facts.programme.line)
    if facts.programme.purpose != "dose" or last_h is None:
        return None
    # Rounding may end a dose a little late; as much as dosing allows is left for it.
    timeline = facts.study.timeline
    earliest_h = last_h + timeline.turnaround_h - MAX_END_DEVIATION * timeline.exposure_h
    if not facts.start_h >= earliest_h:
        return (
            f"{facts.start_h - last_h:.3g} h after the line's last dose, "
            f"the shortest interval is {timeline.turnaround_h:g} h"
        )
    return None


_ALWAYS: tuple[Rule, ...] = (
    _direction,
    _steps_are_sound,
    _concentration,
    _vehicle,
    _flow_rate,
    _dose_volume,
    _day_volume,
    _syringe,
    _drug_mass,
    _interval,
    _within_exposure,
)
PROPOSAL_RULES: tuple[Rule, ...] = (*_ALWAYS, _fold_step, _overdose, _readout_age)
"""What a proposed dose must meet. The volume of all doses is none of it: what would be given if a
study that has ended went on may be told.
"""
WIRE_RULES: tuple[Rule, ...] = (*_ALWAYS, _total_volume, _fold_step_on_record, _readout_age)
"""What an approved dose must meet again, at the pumps."""


def _or(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}"
