"""What a line gets in one exposure: parts with drug and parts without, each a programme of its pumps.

Belongs here: a concentration and a schedule as programmes, and which of them a line can make. Not here: one
programme (dosing), the hours of a schedule (study_schedules), whether it may be given (safety).

Every part is a dose to the pumps, as the vehicle is: a part without drug is stimulus alone, and its volume counts
for the limits of a dose. All parts with drug take the same stock, so that the vehicle does not change within an
exposure; what earlier parts draw from a syringe is not there for later ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from chiploop.dosing import (
    PumpProgramme,
    PumpStep,
    Quantise,
    RefusedDose,
    drug_stocks,
    make_programme,
    programme_from_dict,
)
from chiploop.errors import DoseNotFeasible
from chiploop.study_schedules import (
    WHOLE,
    SchedulePart,
    arm_of,
    study_parts,
    vehicle_by,
    vehicle_schedules,
)

if TYPE_CHECKING:
    from chiploop.study import Study


@dataclass(frozen=True)
class ExposureProgramme:
    """What the pumps of a line do in one exposure."""

    schedule: str
    """Name of the study's schedule; ``whole`` where drug flows from the beginning to the end."""
    parts: tuple[PumpProgramme, ...]
    """One after the other, from the beginning of the exposure to its end."""

    @property
    def line(self) -> str:
        """The line of all parts."""
        return self.parts[0].line

    @property
    def arm(self) -> str:
        """The stimulus of all parts."""
        return self.parts[0].arm

    @property
    def asked_nm(self) -> float:
        """Drug concentration that was asked for, while there is drug."""
        return max(part.asked_nm for part in self.parts)

    @property
    def delivered_nm(self) -> float:
        """Highest concentration that the rounded volumes of a part make."""
        return max(part.delivered_nm for part in self.parts)

    @property
    def duration_h(self) -> float:
        """Of all parts together."""
        return sum(part.duration_h for part in self.parts)

    @property
    def drug_h(self) -> float:
        """Hours with drug."""
        return sum(part.duration_h for part in self.parts if part.delivered_nm > 0.0)

    @property
    def vehicle_fraction(self) -> float:
        """Highest of any part."""
        return max(part.vehicle_fraction for part in self.parts)

    @property
    def drug_nmol(self) -> float:
        """Drug that all parts bring into the line."""
        # nM times uL is 1e-6 nmol
        return 1e-6 * sum(
            part.delivered_nm * sum(step.volume_ul for step in part.steps) for part in self.parts
        )

    @property
    def steps(self) -> tuple[PumpStep, ...]:
        """What each pump gives in all parts together, at its highest rate."""
        found: dict[str, PumpStep] = {}
        for part in self.parts:
            for step in part.steps:
                before = found.get(step.pump, replace(step, volume_ul=0.0))
                found[step.pump] = replace(
                    before,
                    flow_rate_ul_h=max(before.flow_rate_ul_h, step.flow_rate_ul_h),
                    volume_ul=before.volume_ul + step.volume_ul,
                )
        return tuple(found.values())

    def timed(self) -> Iterator[tuple[float, PumpProgramme]]:
        """Yield (hours from the beginning of the exposure, part)."""
        begins_h = 0.0
        for part in self.parts:
            yield begins_h, part
            begins_h += part.duration_h


def make_exposure(
    study: Study,
    line_id: str,
    asked_nm: float,
    schedule: str,
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
) -> ExposureProgramme:
    """Return the programmes that give a line a concentration by a schedule of the study.

    The weakest stock that can make every part with drug is taken. Without drug it is one part from the beginning
    to the end, by the first schedule of its stimulus (``whole`` of the usual one).

    Raises
    ------
    DoseNotFeasible
        Naming every stock and why it does not fit.
    KeyError
        The study has no such schedule.
    """
    hours, arm = study_parts(study, schedule), arm_of(study, schedule)
    if asked_nm == 0.0 or len(hours) == 1:
        exposure_h = study.timeline.exposure_h
        one = make_programme(
            study, line_id, "dose", asked_nm, exposure_h, quantise, remaining_ul, arm=arm
        )
        return ExposureProgramme(
            schedule if asked_nm > 0.0 else vehicle_by(study, schedule), (one,)
        )
    stocks = drug_stocks(study, line_id, arm)
    if not stocks:
        raise DoseNotFeasible(f"line {line_id} has no stock of its drug in {arm}")
    reasons = []
    for stock in stocks:
        try:
            parts = _parts(study, line_id, asked_nm, hours, stock, quantise, remaining_ul)
        except DoseNotFeasible as problem:
            reasons.append(str(problem))
            continue
        return ExposureProgramme(schedule, parts)
    raise DoseNotFeasible(f"schedule {schedule}: " + "; ".join(reasons))


def _parts(
    study: Study,
    line_id: str,
    asked_nm: float,
    hours: tuple[SchedulePart, ...],
    stock: str,
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
) -> tuple[PumpProgramme, ...]:
    left_ul = dict(remaining_ul)
    parts = []
    for start_h, end_h, has_drug in hours:
        nm = asked_nm if has_drug else 0.0
        lasts_h = end_h - start_h
        part = make_programme(
            study,
            line_id,
            "dose",
            nm,
            lasts_h,
            quantise,
            left_ul,
            (stock,),
            study.arm_of_stock(stock),
        )
        for step in part.steps:
            left_ul[step.pump] = left_ul.get(step.pump, 0.0) - step.volume_ul
        parts.append(part)
    return tuple(parts)


def feasible_exposures(
    study: Study,
    line_id: str,
    candidates_nm: Iterable[float],
    quantise: Quantise,
    remaining_ul: Mapping[str, float],
) -> tuple[tuple[ExposureProgramme, ...], tuple[RefusedDose, ...]]:
    """Return what a line can make of every concentration with every schedule of the study, and the others with
    their reasons.

    Both tuples keep the order of ``candidates_nm``, then of the study; the vehicle is there once for each
    stimulus. Schedules of a stimulus that the line has no pump of are not looked at.
    """
    programmes: list[ExposureProgramme] = []
    refused: list[RefusedDose] = []
    arms = study.arms_of(line_id)
    own = [name for name, schedule in study.schedules.items() if schedule.arm in arms]
    for asked_nm in candidates_nm:
        for schedule in own if asked_nm > 0.0 else vehicle_schedules(study, line_id):
            try:
                programmes.append(
                    make_exposure(study, line_id, asked_nm, schedule, quantise, remaining_ul)
                )
            except DoseNotFeasible as problem:
                refused.append(RefusedDose(asked_nm, str(problem), line_id, schedule))
    return tuple(programmes), tuple(refused)


def exposure_from_dict(content: Mapping[str, Any]) -> ExposureProgramme:
    """Return the exposure that ``dataclasses.asdict`` wrote, or a programme alone, as older records have it."""
    if "parts" not in content:
        return ExposureProgramme(WHOLE, (programme_from_dict(content),))
    parts = tuple(programme_from_dict(part) for part in content["parts"])
    return ExposureProgramme(str(content["schedule"]), parts)
