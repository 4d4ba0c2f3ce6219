"""Where a programme of a line stands, by the journal alone.

Belongs here: reading intents and outcomes as progress. Not here: asking pumps
(instruments.delivery).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from chiploop.dosing import PumpProgramme
from chiploop.record.actions import Action
from chiploop.record.journal import Journal

PumpState = Literal["waiting", "running", "delivered", "held", "abandoned"]


@dataclass(frozen=True)
class PumpProgress:
    """Where one pump of a programme stands."""

    pump: str
    state: PumpState
    delivered_ul: float
    """By the pump's counter; what a person said where it was abandoned, NaN where nobody knows."""
    reason: str = ""
    may_run: bool = False
    """It was told to stop and has not said that it stands still; a person must stop it by hand."""
    silent_h: tuple[float, ...] = ()
    """Study times of the last looks, one after another, at which it did not answer while it ran."""


@dataclass(frozen=True)
class ProgrammeProgress:
    """Where a programme of a line stands."""

    programme_key: str
    programme: PumpProgramme
    """As it is on record; after a restart this one stands, whatever would be planned now."""
    begins_h: float
    """Study time of the first start."""
    ends_h: float
    """Study time at which the last pump reaches its target volume."""
    pumps: tuple[PumpProgress, ...]

    @property
    def held(self) -> bool:
        """True where a person must look before this line gets another dose."""
        return any(pump.state == "held" for pump in self.pumps)

    @property
    def running(self) -> bool:
        """True where a pump has not reached its target volume yet."""
        return any(pump.state == "running" for pump in self.pumps)

    @property
    def may_run(self) -> tuple[str, ...]:
        """Pumps that were told to stop and have not said that they stand still."""
        return tuple(pump.pump for pump in self.pumps if pump.may_run)

    @property
    def done(self) -> bool:
        """True where every pump's outcome is on record."""
        return all(pump.state == "delivered" for pump in self.pumps)

    @property
    def known(self) -> bool:
        """True where the volume of every pump is known, by its counter or by a person's word."""
        return all(
            pump.state in ("delivered", "abandoned") and math.isfinite(pump.delivered_ul)
            for pump in self.pumps
        )

    @property
    def delivered_ul(self) -> dict[str, float]:
        """Pump -> volume in uL, of those pumps whose volume is known."""
        return {p.pump: p.delivered_ul for p in self.pumps if math.isfinite(p.delivered_ul)}

    @property
    def reason(self) -> str:
        """Why the line is held; empty where it is not."""
        return "; ".join(f"{p.pump}: {p.reason}" for p in self.pumps if p.state == "held")


def programme_progress(journal: Journal, programme_key: str) -> ProgrammeProgress:
    """Return where a programme stands by the journal alone; asks no pump. ValueError where it is
    not on record.
    """
    actions = journal.programme(programme_key)
    if not actions:
        raise ValueError(f"{programme_key} is not in the journal")
    begins_h = [a.sent_h[-1] if a.sent_h else a.intent.time_h for a in actions]
    ends_h = [
        begin_h + a.intent.volume_ul / a.intent.flow_rate_ul_h
        for begin_h, a in zip(begins_h, actions, strict=True)
    ]
    return ProgrammeProgress(
        programme_key=programme_key,
        programme=actions[0].intent.programme,
        begins_h=min(begins_h),
        ends_h=max(ends_h),
        pumps=tuple(pump_progress(action) for action in actions),
    )


def pump_progress(action: Action) -> PumpProgress:
    """Return where one pump stands by the journal alone."""
    pump = action.intent.pump
    if action.end is not None:
        delivered_ul = action.end.body["delivered_ul"]
        known_ul = math.nan if delivered_ul is None else float(delivered_ul)
        if action.end.kind == "outcome":
            return PumpProgress(pump, "delivered", known_ul)
        return PumpProgress(pump, "abandoned", known_ul, str(action.end.body["reason"]))
    if action.held is not None:
        return PumpProgress(pump, "held", math.nan, action.held, action.may_run)
    state: PumpState = "running" if action.started_h is not None else "waiting"
    return PumpProgress(pump, state, math.nan, "", action.may_run, action.silent_h)
