"""Events of a model text as moments that are known before the simulation begins.

Belongs here: triggers, delays, what an event sets, events that meet. Not here: other elements (sbml).

A simulation from a to b applies the events with a < time <= b. What SBML lets happen at the very start (a
trigger that is not true before it, or ``time > 0``) is therefore part of the starting values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.sbml_math import Formulas, shown, symbol, trouble_with
from chiploop.models.sbml_text import ModelSource
from chiploop.models.symbolic import TIME, TimedEvent

ALLOWED_TRIGGERS = (
    "allowed are time >= T and time > T, where T is a number or a formula in constants"
)
NEVER = -1
"""Moment of an event that does not happen; no simulation begins before 0."""


@dataclass(frozen=True)
class EventScope:
    """What is known about a model when its events are read."""

    source: ModelSource
    formulas: Formulas
    constants: Mapping[str, float]
    resolved: Callable[[Any], Any]
    """Puts the assignments into a formula."""
    amounts: Mapping[str, tuple[str, str]]
    """Species whose state is its amount -> that state, its compartment."""


@dataclass(frozen=True)
class Happening:
    """An event and what it does at the start."""

    event: TimedEvent
    place: str
    at_start: Any
    """Condition, in constants, on which it happens at time 0 already."""
    has_priority: bool


def read_events(scope: EventScope) -> list[Happening]:
    """Return the events of a model that set something; FileNotValid where one is not supported."""
    model = scope.source.model
    happenings = [
        read_event(scope, model.getEvent(i), model.getEvent(i).getId() or f"_E{i}")
        for i in range(model.getNumEvents())
    ]
    happenings = [each for each in happenings if each.event.assignments]
    refuse_meetings(happenings, scope.constants)
    return happenings


def read_event(scope: EventScope, event: Any, name: str) -> Happening:
    """Return one event: when, what it sets, and whether it happens at the start."""
    import sympy

    place = scope.source.place("event", name, event)
    moment, is_strict = trigger(scope, event, place)
    trigger_object = event.getTrigger()
    was_true = not trigger_object.isSetInitialValue() or trigger_object.getInitialValue()
    if not was_true:
        at_start = sympy.Le(moment, 0)
    elif is_strict:
        at_start = sympy.Eq(moment, 0)
    else:
        at_start = sympy.false

    delay = sympy.Integer(0)
    if event.isSetDelay():
        delay = scope.resolved(scope.formulas.number(event.getDelay().getMath(), f"{place}, delay"))
        require_constant(delay, scope, f"{place}, delay", "allowed is a delay in constants")
        if delay.is_negative:
            raise FileNotValid(f"{place}: its delay is {delay}; allowed is 0 or longer")
    happens = moment
    if delay != 0:
        if at_start != sympy.false and not delay.is_positive:
            raise FileNotValid(
                f"{place}: it may be triggered at the start and its delay {delay} may be 0; allowed "
                "there are a delay that is a number, or time >= T with initial value true"
            )
        happens = sympy.Piecewise(
            (moment + delay, sympy.Gt(moment, 0)), (delay, at_start), (NEVER, True)
        )
        at_start = sympy.false
    # before the start there is no time: what is true there already is triggered at 0
    triggered = moment if was_true else sympy.Max(moment, 0)
    now = triggered if delay == 0 else happens
    early = delay != 0 and event.getUseValuesFromTriggerTime()
    values = assigned_values(scope, event, place, triggered if early else now, early)
    if happens.is_number and happens <= 0 and at_start == sympy.false:
        values = {}  # it never happens
    return Happening(TimedEvent(name, happens, values), place, at_start, event.isSetPriority())


def trigger(scope: EventScope, event: Any, place: str) -> tuple[Any, bool]:
    """Return the moment from which a trigger is true, and whether it is true only after it."""
    import sympy

    node = event.getTrigger().getMath() if event.isSetTrigger() else None
    condition = scope.resolved(scope.formulas.condition(node, f"{place}, trigger"))
    written = f"{place}: its trigger {shown(node)}"
    if not isinstance(
        condition, sympy.Ge | sympy.Gt | sympy.Le | sympy.Lt
    ):  # also == and what is always true
        raise FileNotValid(f"{written} is not a comparison of time; {ALLOWED_TRIGGERS}")
    time = symbol(TIME)
    rising = condition.gts - condition.lts
    slope = sympy.diff(rising, time)
    if time not in rising.free_symbols:
        raise FileNotValid(f"{written} does not depend on time alone; {ALLOWED_TRIGGERS}")
    if not slope.is_number:
        raise FileNotValid(f"{written} is not linear in time; {ALLOWED_TRIGGERS}")
    if not slope.is_positive:
        raise FileNotValid(f"{written} ends with time instead of beginning; {ALLOWED_TRIGGERS}")
    moment = sympy.expand(-rising.xreplace({time: sympy.Integer(0)}) / slope)
    require_constant(moment, scope, f"{place}, trigger", ALLOWED_TRIGGERS)
    return moment, isinstance(condition, sympy.Gt | sympy.Lt)


def require_constant(expression: Any, scope: EventScope, place: str, allowed: str) -> None:
    """Raise FileNotValid where a formula depends on anything that changes during a simulation."""
    changing = sorted(str(s) for s in expression.free_symbols if str(s) not in scope.constants)
    if changing:
        names = ", ".join("time" if name == TIME else name for name in changing)
        raise FileNotValid(
            f"{place}: it depends on {names}, not a constant with a value; {allowed}"
        )
    trouble = trouble_with(expression)
    if trouble:
        raise FileNotValid(f"{place}: {trouble}; {allowed}")


def assigned_values(
    scope: EventScope, event: Any, place: str, moment: Any, early: bool
) -> dict[str, Any]:
    """Return what an event sets, in states: a concentration is told to the amount behind it.

    ``early``: the values are those of ``moment``, before the event happens.
    """
    import sympy

    values: dict[str, Any] = {}
    time = symbol(TIME)
    for i in range(event.getNumEventAssignments()):
        assignment = event.getEventAssignment(i)
        target = assignment.getVariable()
        where = f"{place}, {target} ="
        value = scope.resolved(scope.formulas.number(assignment.getMath(), where))
        if early:
            require_constant(
                value.xreplace({time: moment}),
                scope,
                where,
                "allowed are constants, since the event is delayed and uses values from the time of "
                "its trigger; or useValuesFromTriggerTime='false'",
            )
        values[target] = value.xreplace({time: moment})
    states = {name: value for name, value in values.items() if name not in scope.amounts}
    for target, value in values.items():
        if target in scope.amounts:
            amount, compartment = scope.amounts[target]
            if compartment in values:
                raise FileNotValid(
                    f"{place}: it sets the concentration {target} and the size of {compartment} at "
                    "once, which simulators read in different ways; allowed is one of them, or "
                    f"hasOnlySubstanceUnits='true' (substanceOnly) for {target}"
                )
            size = scope.resolved(symbol(compartment)).xreplace(
                {time: moment} | {symbol(name): new for name, new in states.items()}
            )
            states[amount] = value * size
    for compartment in {scope.amounts[target][1] for target in values if target in scope.amounts}:
        used = {str(s) for s in scope.resolved(symbol(compartment)).free_symbols}
        both = sorted(used & {scope.amounts[t][0] for t in values if t in scope.amounts})
        if both:
            raise FileNotValid(
                f"{place}: it sets concentrations in {compartment}, whose size depends on "
                f"{', '.join(both)}; allowed is a size that does not depend on what is set with it"
            )
    return {name: sympy.sympify(value) for name, value in states.items()}


def refuse_meetings(happenings: list[Happening], constants: Mapping[str, float]) -> None:
    """Raise FileNotValid for two events at one moment whose order matters; SBML leaves it open.

    Moments that differ in constants are compared at the values of the text.
    """
    for i, first in enumerate(happenings):
        for second in happenings[i + 1 :]:
            shared = interference(first.event, second.event)
            if not shared:
                continue
            if first.has_priority or second.has_priority:
                is_open = may_meet(first, second, None)
                hint = "a priority is not supported there; allowed are events at different times"
            else:
                is_open = may_meet(first, second, constants)
                hint = "allowed are events at different times, or on different quantities"
            if is_open:
                raise FileNotValid(
                    f"{second.place}: it may happen at the same moment as event {first.event.name} "
                    f"and both concern {', '.join(shared)}; {hint}"
                )


def joined(events: Iterable[TimedEvent]) -> tuple[TimedEvent, ...]:
    """Return the events with those of one moment, which do not concern each other, as one."""
    together: dict[Any, TimedEvent] = {}
    for event in events:
        first = together.get(event.time)
        if first is not None:
            values = {**first.assignments, **event.assignments}
            event = TimedEvent(f"{first.name}+{event.name}", event.time, values)
        together[event.time] = event
    return tuple(together.values())


def interference(first: TimedEvent, second: TimedEvent) -> list[str]:
    """Return the states through which the order of two events shows."""

    def read(event: TimedEvent) -> set[str]:
        return {str(s) for value in event.assignments.values() for s in value.free_symbols}

    one, two = set(first.assignments), set(second.assignments)
    return sorted((one & two) | (one & read(second)) | (two & read(first)))


def may_meet(first: Happening, second: Happening, constants: Mapping[str, float] | None) -> bool:
    """Return whether two events happen at one moment: at these constants, or (None) at any."""
    import sympy

    if constants is None:
        difference = sympy.expand(first.event.time - second.event.time)
        both_at_start = sympy.And(first.at_start, second.at_start)
        return both_at_start != sympy.false or not difference.is_number or difference == 0
    values = {symbol(name): value for name, value in constants.items()}
    both_at_start = sympy.And(first.at_start, second.at_start).subs(values)
    one, two = float(first.event.time.subs(values)), float(second.event.time.subs(values))
    return both_at_start == sympy.true or (one == two and one > 0)


def put_into_start(initials: dict[str, Any], happenings: list[Happening]) -> dict[str, Any]:
    """Return the starting values with those events in them that happen at the start."""
    import sympy

    started = dict(initials)
    for each in happenings:
        if each.at_start == sympy.false:
            continue
        before = {symbol(name): value for name, value in initials.items()}
        for state, value in each.event.assignments.items():
            after = value.xreplace({symbol(TIME): sympy.Integer(0)}).xreplace(before)
            started[state] = sympy.Piecewise((after, each.at_start), (started[state], True))
    return started
