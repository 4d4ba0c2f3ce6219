"""What the rows of the journal say: intents, what became of them, totals per pump and line.

Belongs here: values and pure functions over rows. Not here: the file (journal), what a pump's
counter proves (reconcile), where a programme stands (progress).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Literal

from chiploop.connections import Connection
from chiploop.dosing import PumpProgramme, Purpose, programme_from_dict
from chiploop.record.turns import Turn, connection_at

EventKind = Literal[
    "intent", "sent", "started", "outcome", "ambiguous", "abandoned", "refill", "note",
    "turn", "turned", "turn_unknown", "turn_settled",
]  # fmt: skip
ENDS: tuple[EventKind, ...] = ("outcome", "abandoned")
"""What closes an intent: the pump's counter agreed, or a person said what happened."""


@dataclass(frozen=True)
class Intent:
    """What one pump is about to be told, and what its counter said before."""

    key: str
    """``<run>/<cycle>/<line>/<phase>/<pump>``."""
    run_id: str
    programme_key: str
    """The key without its last part: the intents of all pumps of one programme share it."""
    pump: str
    programme: PumpProgramme
    flow_rate_ul_h: float
    volume_ul: float
    """Target volume as the pump read it back."""
    counter_ul: float
    """The pump's own counter before."""
    resolution_ul: float
    restarts: int | None
    """How often the pump had told of a power interruption since its port was opened; None where its
    make can not prove that it kept its power.
    """
    session: str
    """Names the opened driver that was asked; another session has heard other alarms."""
    time_h: float
    """Study time."""


@dataclass(frozen=True)
class Event:
    """One row of the journal."""

    seq: int
    at_utc: str
    run_id: str
    key: str
    kind: EventKind
    body: dict[str, Any]


@dataclass(frozen=True)
class Action:
    """An intent and everything that happened to it."""

    seq: int
    """Number of the intent's row."""
    intent: Intent
    sent_h: tuple[float, ...]
    """Study times at which the start command was about to be sent; more than one where it was sent
    again.
    """
    started_h: float | None
    """Study time at which the pump confirmed that it runs."""
    held: str | None
    """Why a person must look; None where nothing is ambiguous."""
    end: Event | None
    """The outcome, or a person's word; None while open."""
    stood_h: float | None = None
    """Study time at which the pump, told to stop, said that it stands still; None where it was not
    told or has not said so.
    """
    may_run: bool = False
    """It was told to stop and has not said that it stands still."""
    is_counted: bool = False
    """It was told to stop so that its counter says what flowed until then: that alone is no reason to hold it."""
    silent_h: tuple[float, ...] = ()
    """Study times of the last looks, one after another, at which it ran and did not answer."""
    connection: Connection = field(default_factory=dict, hash=False)
    """Chips whose valve was turned before it -> line that fed them; None where nobody knows."""

    @property
    def open(self) -> bool:
        """True until the outcome, or a person's word, is on record."""
        return self.end is None

    @property
    def charged_ul(self) -> float:
        """Volume that limits count for it: the measured one, and all of it as long as that is not
        known.
        """
        delivered_ul = None if self.end is None else self.end.body.get("delivered_ul")
        return self.intent.volume_ul if delivered_ul is None else float(delivered_ul)

    @property
    def begun_h(self) -> float:
        """Study time at which the pump began, or was to begin where nothing was sent."""
        return self.sent_h[-1] if self.sent_h else self.intent.time_h


@dataclass(frozen=True)
class Moved:
    """A volume that a pump brought into its line at a steady rate."""

    purpose: Purpose
    begin_h: float
    """Study time."""
    end_h: float
    """When the volume is through at the pump's own rate."""
    volume_ul: float
    """Of the whole line."""
    stood_h: float = math.inf
    """When the pump is known to stand still: its outcome, its stop, a person's word."""
    pump: str = ""
    cycle: int | None = None
    """Whose phase brought it; None where its key tells none."""
    connection: Connection = field(default_factory=dict, hash=False)
    """As that of its action: who got it."""

    def until(self, time_h: float) -> Moved:
        """Return what of it has flowed by a study time, as if the pump stood still from then on."""
        if self.end_h <= time_h:
            return self
        share = max(time_h - self.begin_h, 0.0) / (self.end_h - self.begin_h)
        return replace(self, end_h=max(time_h, self.begin_h), volume_ul=share * self.volume_ul)


@dataclass(frozen=True)
class GivenDose:
    """One programme of a dose: an exposure, or a part of one."""

    line: str
    cycle: int | None
    delivered_nm: float
    end_h: float
    """Study time at which it ended or will end."""
    done: bool
    """Every pump's outcome is on record."""
    connection: Connection = field(default_factory=dict, hash=False)
    """As that of its actions: who got it."""


@dataclass(frozen=True)
class JournalTotals:
    """What the pumps of a run have moved so far; open and unexplained intents count in full."""

    delivered_ul: Mapping[str, float] = field(default_factory=dict)
    """Pump -> volume since the run began."""
    drawn_ul: Mapping[str, float] = field(default_factory=dict)
    """Pump -> volume since its syringe was last filled."""
    last_dose_end_h: Mapping[str, float] = field(default_factory=dict)
    """Line -> study time at which its last dose ended or will end."""
    highest_dose_nm: float | None = None
    """Highest concentration of a dose of which every pump's outcome is on record; None before the
    first.
    """
    highest_dose_of_nm: Mapping[str, float] = field(default_factory=dict)
    """Line -> the same of its own doses; absent before its first."""
    moved: Mapping[str, tuple[Moved, ...]] = field(default_factory=dict)
    """Line -> every volume of its pumps, with its time."""
    doses: tuple[GivenDose, ...] = ()
    """What ``last_dose_end_h`` and ``highest_dose_nm`` come from."""

    def before(self, cycle: int) -> JournalTotals:
        """Return the totals with ends and heights of the doses of other cycles alone: the parts of one exposure
        are one dose.
        """
        others = tuple(dose for dose in self.doses if dose.cycle != cycle)
        if len(others) == len(self.doses):
            return self
        return replace(
            self,
            last_dose_end_h=_ends_h(others),
            highest_dose_nm=_highest_nm(others),
            highest_dose_of_nm=_highest_of_nm(others),
            doses=others,
        )

    def with_programme(
        self,
        programme: PumpProgramme,
        begin_h: float,
        cycle: int,
        connection: Connection | None = None,
    ) -> JournalTotals:
        """Return the totals as if a programme had moved its volumes from a study time on; ``connection`` says whom
        it fed.
        """
        delivered_ul, drawn_ul = dict(self.delivered_ul), dict(self.drawn_ul)
        own = list(self.moved.get(programme.line, ()))
        for step in programme.steps:
            delivered_ul[step.pump] = delivered_ul.get(step.pump, 0.0) + step.volume_ul
            drawn_ul[step.pump] = drawn_ul.get(step.pump, 0.0) + step.volume_ul
            end_h = begin_h + step.volume_ul / step.flow_rate_ul_h
            own.append(
                Moved(
                    programme.purpose,
                    begin_h,
                    end_h,
                    step.volume_ul,
                    pump=step.pump,
                    cycle=cycle,
                    connection=connection or {},
                )
            )
        return replace(
            self,
            delivered_ul=delivered_ul,
            drawn_ul=drawn_ul,
            moved={**self.moved, programme.line: tuple(own)},
        )


def _ends_h(doses: Iterable[GivenDose]) -> dict[str, float]:
    """Return line -> study time at which the last of these doses ends."""
    ends_h: dict[str, float] = {}
    for dose in doses:
        ends_h[dose.line] = max(ends_h.get(dose.line, 0.0), dose.end_h)
    return ends_h


def _highest_nm(doses: Iterable[GivenDose]) -> float | None:
    """Return the highest of these doses that are done; None where none is."""
    return max((dose.delivered_nm for dose in doses if dose.done), default=None)


def _highest_of_nm(doses: Iterable[GivenDose]) -> dict[str, float]:
    """Return line -> the highest of its own doses that are done."""
    highest_nm: dict[str, float] = {}
    for dose in doses:
        if dose.done:
            highest_nm[dose.line] = max(highest_nm.get(dose.line, 0.0), dose.delivered_nm)
    return highest_nm


def part_phase(number: int) -> str:
    """Return the phase of a part of an exposure, from 1: ``dose``, ``dose-2`` ..."""
    return "dose" if number == 1 else f"dose-{number}"


def is_part_of_dose(programme_key: str) -> bool:
    """Return whether a programme is a dose, or a part of one: not the plain medium in its place."""
    return re.fullmatch(r"dose(-\d+)?", programme_key.rsplit("/", 1)[-1]) is not None


def cycle_in(programme_key: str) -> int | None:
    """Return the cycle that a programme's key names; None where it names none."""
    found = re.search(r"/c(\d+)/[^/]+/[^/]+$", programme_key)
    return None if found is None else int(found.group(1))


def programme_key(run_id: str, cycle: int, line: str, phase: str) -> str:
    """Return the key of one phase of one line: ``<run>/c<cycle>/<line>/<phase>``."""
    return f"{run_id}/c{cycle:02d}/{line}/{phase}"


def action_key(programme: str, pump: str) -> str:
    """Return the key of one pump's part of a programme."""
    return f"{programme}/{pump}"


def action_of(events: Sequence[Event]) -> Action:
    """Return what the rows of one key say; StopIteration where none of them is an intent."""
    intent = next(event for event in events if event.kind == "intent")
    held = [e.body["reason"] for e in events if e.kind == "ambiguous"]
    stops = [
        (bool(e.body["stands"]), float(e.body["time_h"])) for e in events if "stands" in e.body
    ]
    stood_h = next((time_h for stands, time_h in stops if stands), None)
    silent = takewhile(lambda e: bool(e.body.get("silent")), reversed(events))
    return Action(
        seq=intent.seq,
        intent=Intent(
            **{**intent.body, "programme": programme_from_dict(intent.body["programme"])}
        ),
        sent_h=tuple(float(e.body["time_h"]) for e in events if e.kind == "sent"),
        started_h=next((float(e.body["time_h"]) for e in events if e.kind == "started"), None),
        held=held[-1] if held else None,
        end=next((e for e in events if e.kind in ENDS), None),
        stood_h=stood_h,
        may_run=bool(stops) and stood_h is None,
        is_counted=any(e.body.get("counted") for e in events),
        silent_h=tuple(float(e.body["time_h"]) for e in silent)[::-1],
    )


def with_connection(action: Action, turns: Sequence[Turn]) -> Action:
    """Return an action with who was fed by which line when it was intended; itself where no valve ever turned."""
    return replace(action, connection=connection_at(turns, action.seq)) if turns else action


def _after_ul(action: Action, time_h: float) -> float:
    """Return what an action gives, or gave, after a study time."""
    begin_h, end_h = action.begun_h, _end_h(action)
    if end_h <= begin_h:
        return 0.0
    return action.charged_ul * min(1.0, max(0.0, (end_h - time_h) / (end_h - begin_h)))


def _end_h(action: Action) -> float:
    """Return the study time at which an action ended, or will end by its own target volume."""
    if action.end is not None and action.end.kind == "abandoned":
        return float(action.end.body["time_h"])
    return action.begun_h + action.intent.volume_ul / action.intent.flow_rate_ul_h


def _moved(action: Action) -> Moved:
    """Return the volume that limits count for an action, as fast as its pump can give it."""
    volume_ul, begin_h = action.charged_ul, action.begun_h
    end_h = begin_h + volume_ul / action.intent.flow_rate_ul_h
    stood_h = math.inf if action.stood_h is None else action.stood_h
    if action.end is not None:
        stood_h = min(stood_h, float(action.end.body["time_h"]))
    purpose, pump = action.intent.programme.purpose, action.intent.pump
    cycle = cycle_in(action.intent.programme_key)
    return Moved(purpose, begin_h, end_h, volume_ul, stood_h, pump, cycle, action.connection)


def totals_of(
    actions: Sequence[Action], refills: Iterable[Event], primed: Iterable[Action] = ()
) -> JournalTotals:
    """Return what the pumps moved in these actions; ``refills`` are rows of kind ``refill``.

    ``primed`` is what filled tubing before chips were connected: it counts against the syringe only.
    """
    filled = {event.key.rsplit("/", 1)[1]: event for event in refills}
    refilled = {pump: event.seq for pump, event in filled.items()}
    refilled_h = {
        pump: float(event.body["time_h"])
        for pump, event in filled.items()
        if event.body.get("while_running")
    }
    delivered_ul: dict[str, float] = {}
    drawn_ul: dict[str, float] = {}
    moved: dict[str, tuple[Moved, ...]] = {}
    for action in actions:
        pump, line = action.intent.pump, action.intent.programme.line
        delivered_ul[pump] = delivered_ul.get(pump, 0.0) + action.charged_ul
        moved[line] = (*moved.get(line, ()), _moved(action))
        if action.seq > refilled.get(pump, 0):
            drawn_ul[pump] = drawn_ul.get(pump, 0.0) + action.charged_ul
        elif pump in refilled_h:
            still_ul = _after_ul(action, refilled_h[pump])
            drawn_ul[pump] = drawn_ul.get(pump, 0.0) + still_ul
    for action in primed:
        pump = action.intent.pump
        if action.seq > refilled.get(pump, 0):
            drawn_ul[pump] = drawn_ul.get(pump, 0.0) + action.charged_ul
    doses = _given_doses(actions)
    return JournalTotals(
        delivered_ul,
        drawn_ul,
        _ends_h(doses),
        _highest_nm(doses),
        _highest_of_nm(doses),
        moved,
        tuple(doses),
    )


def _given_doses(actions: Sequence[Action]) -> list[GivenDose]:
    """Return the programmes of doses among these actions."""
    programmes: dict[str, list[Action]] = {}
    for action in actions:
        if action.intent.programme.purpose == "dose":
            programmes.setdefault(action.intent.programme_key, []).append(action)
    return [
        GivenDose(
            line=own[0].intent.programme.line,
            cycle=cycle_in(key),
            delivered_nm=own[0].intent.programme.delivered_nm,
            end_h=max(_end_h(action) for action in own),
            done=all(a.end is not None and a.end.kind == "outcome" for a in own),
            connection=own[0].connection,
        )
        for key, own in programmes.items()
    ]
