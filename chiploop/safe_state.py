"""What is done about each line when nobody works on a run any more: drug stops, plain medium keeps tissue alive.

Belongs here: the decision, as a pure function of what the journal says. Not here: who has died (flows.supervisor),
pumps (instruments).

Pumps have target volumes of their own, so a dose ends by itself; what ends with it is the flow, and tissue dies
without. A dose is ended at once unless the line says otherwise: nobody would read what it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

OnDeath = Literal["plain_medium", "finish_dose", "stop"]
ENDS_SOON_H = 0.05
"""What flows for less than this counts as ended: plain medium follows without a gap."""


@dataclass(frozen=True)
class LineFlow:
    """What flows in a line, by the journal and the pumps."""

    line: str
    programmes: tuple[str, ...]
    """Keys of what has no end on record."""
    carries_dose: bool
    """Whether one of them is a dose or a stimulus: anything but plain medium."""
    until_h: float
    """Study time at which the last of them ends; -inf where nothing flows."""


@dataclass(frozen=True)
class SafeStep:
    """What is to be done about a line now."""

    line: str
    stop: tuple[str, ...]
    """Programmes to stop, in this order."""
    plain_medium: bool
    """Whether plain medium is to flow then."""
    why: str


def safe_steps(
    flows: Sequence[LineFlow], now_h: float, on_death: Mapping[str, OnDeath]
) -> tuple[SafeStep, ...]:
    """Return what is to be done now about every line that needs anything; ``on_death`` (line -> what its owner
    wants), plain medium where a line is not in it.
    """
    steps = []
    for flow in flows:
        wanted = on_death.get(flow.line, "plain_medium")
        flowing = flow.until_h > now_h + ENDS_SOON_H
        if wanted == "stop":
            if flow.programmes and flowing:
                steps.append(SafeStep(flow.line, flow.programmes, False, "all of it stops"))
        elif not flowing:
            steps.append(SafeStep(flow.line, (), True, "nothing flows"))
        elif flow.carries_dose and wanted == "plain_medium":
            steps.append(SafeStep(flow.line, flow.programmes, True, "its dose or stimulus stops"))
    return tuple(steps)
