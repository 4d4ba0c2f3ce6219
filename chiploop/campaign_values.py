"""What a campaign knows and what it proposes, as values.

Belongs here: the values that pass between the steps of the loop. Not here: the steps (campaign).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chiploop.dosing import ChipSchedule, RefusedDose
from chiploop.exposure import ExposureProgramme, exposure_from_dict
from chiploop.goals import GoalEstimate
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.measurement import Readout
from chiploop.study import Study
from chiploop.study_schedules import WHOLE


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
    """Highest delivered dose, of any drug, whose readouts are in."""
    posterior: Posterior | None = None
    info: CalibrationInfo | None = None
    goals: tuple[GoalEstimate, ...] = ()
    """In the study's order; the first leads."""
    highest_read_of_nm: Mapping[str, float] = field(default_factory=dict)
    """Drug -> the same of its own doses, where the study has several; absent before its first."""

    def highest_read(self, line_id: str) -> float | None:
        """Return the highest dose of a line's drug whose readouts are in."""
        if not self.study.further_drugs:
            return self.highest_read_nm
        return self.highest_read_of_nm.get(self.study.drug_of(line_id).name)


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
    programme: ExposureProgramme
    """What the pumps do, with the schedule of the drug."""

    @property
    def schedule(self) -> str:
        """Name of the study's schedule."""
        return self.programme.schedule


@dataclass(frozen=True)
class TiedBatch:
    """Another batch whose information is within the error of the comparison."""

    doses_nm: Mapping[str, float]
    """Line -> asked dose."""
    behind_nats: float
    """What it is estimated to teach less."""
    behind_error_nats: float
    schedules: Mapping[str, str] = field(default_factory=dict)
    """Line -> schedule."""


@dataclass(frozen=True)
class Proposal:
    """Doses for the next exposure of every line, not yet approved."""

    cycle: int
    """The cycle that would give them."""
    policy: str
    goal: str
    drug: str
    """Of several drugs all of them: which one a line gets stands in the study, and never changes."""
    doses: tuple[LineDose, ...]
    eig_nats: float | None
    """Of the batch."""
    refused: tuple[RefusedDose, ...]
    """Candidates that the pumps can not make or that a limit forbids, with the reason."""
    notes: tuple[str, ...] = ()
    """What a person should know: why these are not the doses that would teach most."""
    allowed_share: float | None = None
    """Share of the candidates with drug, of all lines, that may be given; None in the pilot."""
    least_risk: float | None = None
    """Smallest risk among all feasible candidates with drug."""
    begin_h: float | None = None
    """Study time at which the exposure was expected to begin when this was proposed; None: as planned."""
    eig_error_nats: float | None = None
    """Monte Carlo standard error of the batch's information."""
    ties: tuple[TiedBatch, ...] = ()
    """Batches that can not be told from this one by what they teach; the best first."""
    cost: float | None = None
    """Of the batch, in the study's unit; None where it states no costs."""
    edited_from: str = ""
    """Id of the proposal whose doses a person changed; empty where nobody did."""

    @property
    def lead(self) -> LineDose:
        """The dose that teaches most; in the pilot the highest."""
        return max(self.doses, key=lambda dose: (dose.eig_nats or 0.0, dose.asked_nm))


def schedule_in(dose: Mapping[str, Any]) -> str:
    """Return the schedule of a line's dose that ``dataclasses.asdict`` wrote; older records name none."""
    return str(dose.get("programme", {}).get("schedule", WHOLE))


def proposal_from_dict(content: Mapping[str, Any]) -> Proposal:
    """Return the proposal that ``dataclasses.asdict`` wrote."""
    doses = tuple(
        LineDose(
            **{
                **dose,
                "chips": tuple(dose["chips"]),
                "programme": exposure_from_dict(dose["programme"]),
            }
        )
        for dose in content["doses"]
    )
    refused = tuple(RefusedDose(**one) for one in content["refused"])
    ties = tuple(TiedBatch(**one) for one in content.get("ties", ()))
    notes = tuple(content.get("notes", ()))
    parts = {"doses": doses, "refused": refused, "ties": ties, "notes": notes}
    return Proposal(**{**content, **parts})
