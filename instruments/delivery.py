"""A programme onto the pumps of a line, each intent at most once.

Belongs here: the order of journal and wire, and what is done after a lost answer, a crash or a
failed pump. Not here: what a counter proves (chiploop.record.reconcile), limits (chiploop.safety),
bytes (instruments.pumps).

Order: idle and counter read; rate and target volume set and read back (moves nothing); limits
checked again; the intents of ALL pumps of the programme on disk; then for each pump, plain liquid
first: "sent" on disk, the one start command, "started" on disk. A start command is never resent
blindly: the pump's counter decides, and where it can not, the line is held: its drug pump stops,
plain medium or stimulus goes on, other lines go on, a person looks.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from chiploop.dosing import PumpProgramme, PumpStep, Quantise
from chiploop.errors import SafetyRefusal, WaitingForPerson
from chiploop.record.actions import Action, Intent, JournalTotals, action_key
from chiploop.record.chain import RecordConflict
from chiploop.record.journal import Journal
from chiploop.record.progress import ProgrammeProgress, programme_progress, pump_progress
from chiploop.record.reconcile import PumpObservation, Reconciled, match_tolerance_ul, reconcile
from chiploop.study_schedules import STIMULUS
from instruments.contracts import Pump, PumpSettings, PumpStatus
from instruments.errors import CounterFull, DeviceAlarm, DeviceRejected, InstrumentError
from instruments.fault_points import fault
from instruments.pumps.readiness import StoppedSince
from instruments.transport import NotSent

Guard = Callable[[PumpProgramme, JournalTotals, float], None]
"""(programme, what the run's pumps moved before it, study time) -> None; raises SafetyRefusal. It
is ``chiploop.safety.check_before_wire`` with the study filled in."""
LookAgain = Callable[[], None]
"""Lets time pass between two looks at a pump that may not have started."""

_SESSIONS: WeakKeyDictionary[Pump, str] = WeakKeyDictionary()
MAX_START_LAG_FRACTION = 0.02
"""Largest delay between the starts of two pumps of one programme, as a part of its duration."""
MAX_START_LAG_H = 0.1
"""The same in hours: the last pump of a programme flows alone for as long at its end."""
LOOKS = 3
"""How often a pump is asked before it counts as silent: a port that comes back needs a second look."""
STOP_RATE_SLACK = 1.05
"""How much faster than asked a pump that was stopped may have run by the computer's clock: clocks differ."""
STOP_TIME_SLACK_H = 0.02
"""How long after the time on record of its stop a pump may have run: a silent port is asked more than once."""
SILENT = "runs to its own target and does not answer"
_SETTING_SLACK = 1e-6
_FINE_COUNTER_STEPS = 250.0
"""A counter is cleared before a dose that it would show in fewer steps than these."""
_COARSEST_COUNTER_STEPS = 8.0
"""A target volume must be at least this many steps of the pump's counter, or the counter proves
nothing.
"""


_log = logging.getLogger(__name__)


def _one_second() -> None:
    time.sleep(1.0)


def session_of(pump: Pump) -> str:
    """Return the name of an opened driver in the intents; each opening of a bench makes new drivers,
    and what one has heard of its pump is no news to the next."""
    return _SESSIONS.setdefault(pump, uuid.uuid4().hex)


def quantise_with(pumps: Mapping[str, Pump]) -> Quantise:
    """Return the rounding of a bench's pumps as ``chiploop.dosing`` asks for it. Sends nothing."""

    def quantise(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
        if pump not in pumps:
            raise ValueError(f"there is no pump {pump} in lab.toml")
        settings = pumps[pump].quantise(flow_rate_ul_h, volume_ul)
        return settings.flow_rate_ul_h, settings.volume_ul

    return quantise


def start_programme(
    journal: Journal,
    pumps: Mapping[str, Pump],
    run_id: str,
    programme_key: str,
    programme: PumpProgramme,
    time_h: float,
    guard: Guard,
    look_again: LookAgain = _one_second,
) -> ProgrammeProgress:
    """Start the pumps of a programme, each at most once ever; returns as soon as they run.

    With the same key again it sends nothing that was sent before: it is :func:`resume_programme`,
    and the programme on record stands.

    Raises
    ------
    SafetyRefusal
        From the guard; nothing was sent.
    RecordConflict
        The key is on record with another dose.
    WaitingForPerson
        A pump of this programme has another action that is still open.
    InstrumentError
        A pump did not answer, is not idle or did not take its settings; nothing was started.
    ValueError
        No such pump on the bench.
    """
    if journal.programme(programme_key):
        on_record = programme_progress(journal, programme_key).programme
        if (on_record.purpose, on_record.asked_nm) != (programme.purpose, programme.asked_nm):
            raise RecordConflict(
                f"{programme_key} is on record as {on_record.purpose} at {on_record.asked_nm:g} "
                "nM, not as "
                f"{programme.purpose} at {programme.asked_nm:g} nM"
            )
        return resume_programme(journal, pumps, run_id, programme_key, time_h, guard, look_again)
    for step in programme.steps:
        if step.pump not in pumps:
            raise ValueError(f"there is no pump {step.pump} in lab.toml")
        for action in journal.open_on(step.pump):
            raise WaitingForPerson(
                f"{step.pump} has an open action, {action.intent.key}: "
                f"{action.held or 'not finished'}. "
                "It starts nothing else before that one is finished, or a person has said what "
                "happened"
            )
    guard(programme, journal.totals(run_id), time_h)
    intents = [
        _make_ready(journal, pumps[step.pump], run_id, programme_key, programme, step, time_h)
        for step in sorted(programme.steps, key=lambda step: _is_drug(programme, step))
    ]
    fault("before_intent")
    journal.intend(intents)
    fault("after_intent")
    return _start_waiting(journal, pumps, programme_key, time_h, look_again)


def resume_programme(
    journal: Journal,
    pumps: Mapping[str, Pump],
    run_id: str,
    programme_key: str,
    time_h: float,
    guard: Guard,
    look_again: LookAgain = _one_second,
) -> ProgrammeProgress:
    """Take up a programme after a restart: adopt what runs, finish what is done, start what never
    started.

    What the counters can not decide is held. ValueError where the programme is not on record.
    """
    actions = journal.programme(programme_key)
    if not actions:
        raise ValueError(f"{programme_key} is not in the journal")
    _settle_all(journal, pumps, programme_key, time_h, look_again)
    progress = programme_progress(journal, programme_key)
    if progress.held or not any(pump.state == "waiting" for pump in progress.pumps):
        return progress
    if any(action.stood_h is not None for action in actions):
        reason = "one pump was stopped before another had begun: the mix would not be the dose"
        return hold_programme(journal, pumps, programme_key, time_h, reason)
    waiting = {pump.pump for pump in progress.pumps if pump.state == "waiting"}
    begun = [a.sent_h[-1] for a in actions if a.intent.pump not in waiting]
    lag_h = time_h - min(begun, default=time_h)
    if lag_h > min(MAX_START_LAG_FRACTION * progress.programme.duration_h, MAX_START_LAG_H):
        reason = (
            f"one pump began {lag_h:.3g} h ago and another did not: the mix would not be the dose"
        )
        return hold_programme(journal, pumps, programme_key, time_h, reason)
    try:
        guard(progress.programme, journal.totals(run_id, without=programme_key), time_h)
    except SafetyRefusal as refusal:
        return hold_programme(journal, pumps, programme_key, time_h, str(refusal))
    return _start_waiting(journal, pumps, programme_key, time_h, look_again)


def finish_programme(
    journal: Journal,
    pumps: Mapping[str, Pump],
    programme_key: str,
    time_h: float,
    look_again: LookAgain = _one_second,
    *,
    patient: bool = False,
) -> ProgrammeProgress:
    """Record the outcome of every pump that has reached its target volume; call it once the end has
    come.

    ``patient``: a pump that was seen running and does not answer now stays ``running``, noted in
    the journal; it ends by its own target, and who watches it decides how long to wait. Otherwise
    it holds its line. Safe to repeat. A pump that still runs stays ``running``; one whose counter
    does not agree holds the line. ValueError where the programme is not on record.
    """
    if not journal.programme(programme_key):
        raise ValueError(f"{programme_key} is not in the journal")
    _settle_all(journal, pumps, programme_key, time_h, look_again, patient)
    progress = programme_progress(journal, programme_key)
    if not progress.held and any(pump.state == "waiting" for pump in progress.pumps):
        return hold_programme(journal, pumps, programme_key, time_h, "a pump never started")
    return progress


def look_at_programme(
    journal: Journal,
    pumps: Mapping[str, Pump],
    programme_key: str,
    time_h: float,
    look_again: LookAgain = _one_second,
) -> ProgrammeProgress:
    """Return where a programme stands by its pumps, silent ones left to their targets; outcomes,
    silence and its end are on record then. ValueError where the programme is not on record.
    """
    before = {a.intent.key: len(a.silent_h) for a in journal.programme(programme_key)}
    finish_programme(journal, pumps, programme_key, time_h, look_again, patient=True)
    for action in journal.programme(programme_key):
        key, looks = action.intent.key, len(action.silent_h)
        if action.open and looks and looks == before[key]:
            journal.note(action.intent.run_id, key, time_h, "it answers again")
    return programme_progress(journal, programme_key)


def hold_programme(
    journal: Journal,
    pumps: Mapping[str, Pump],
    programme_key: str,
    time_h: float,
    reason: str,
    *,
    in_doubt: Collection[str] = (),
    stop_all: bool = False,
) -> ProgrammeProgress:
    """Stop the drug pump of a programme and hold its line; plain medium or stimulus that runs goes
    on.

    What the drug pump delivered stays open until a person has said what happened. Whether it says
    that it stands is on record; repeat it until it does (``may_run`` of the progress is empty then).

    ``in_doubt``: plain pumps that are held as well and not stopped; ``stop_all``: all are stopped.
    """
    for action in journal.programme(programme_key):
        if not action.open:
            continue
        # A drug pump also where nothing was sent: one that runs all the same must not.
        to_stop = stop_all or action.may_run or _is_drug(action.intent.programme, _step_of(action))
        reason_here, status = reason, None
        if to_stop and action.stood_h is None:
            pump = pumps[action.intent.pump]
            reason_here, status = _stop_and_read(journal, pump, action, time_h, reason)
        waiting = pump_progress(action).state == "waiting"
        if action.held is None and (to_stop or waiting or action.intent.pump in in_doubt):
            counter_ul = None if status is None else status.infused_ul
            fault("before_held")
            journal.ambiguous(action.intent.key, time_h, reason_here, counter_ul)
            fault("after_held")
    return programme_progress(journal, programme_key)


def stop_again(
    journal: Journal, pumps: Mapping[str, Pump], programme_key: str, time_h: float
) -> ProgrammeProgress:
    """Tell those pumps of a programme to stop that were told and have not said that they stand."""
    for action in journal.programme(programme_key):
        if action.open and action.may_run:
            pump = pumps[action.intent.pump]
            _stop_and_read(journal, pump, action, time_h, "told to stop again")
    return programme_progress(journal, programme_key)


def stop_plain(
    journal: Journal, pumps: Mapping[str, Pump], programme_key: str, time_h: float, reason: str
) -> ProgrammeProgress:
    """Stop the plain pumps of a programme that has lost its drug; each counter says what flowed
    until then, or the pump is held as well. Safe to repeat.
    """
    return _stop_counted(journal, pumps, programme_key, time_h, reason, with_drug=False)


def stop_programme(
    journal: Journal, pumps: Mapping[str, Pump], programme_key: str, time_h: float, reason: str
) -> ProgrammeProgress:
    """Stop every pump of a programme before its end, drug first; each counter says what flowed until then, or the
    pump is held. Safe to repeat.
    """
    return _stop_counted(journal, pumps, programme_key, time_h, reason, with_drug=True)


def _stop_counted(
    journal: Journal,
    pumps: Mapping[str, Pump],
    programme_key: str,
    time_h: float,
    reason: str,
    *,
    with_drug: bool,
) -> ProgrammeProgress:
    actions = journal.programme(programme_key)
    for action in sorted(actions, key=lambda a: not _is_drug(a.intent.programme, _step_of(a))):
        is_drug = _is_drug(action.intent.programme, _step_of(action))
        if (is_drug and not with_drug) or not action.open or action.stood_h is not None:
            continue
        key, pump = action.intent.key, pumps[action.intent.pump]
        text, status = _stop_and_read(journal, pump, action, time_h, reason, counted=True)
        fault("after_stop")
        if action.held is not None:
            continue
        given_ul = None if status is None else _given_until_stopped(action, pump, status)
        if status is not None and given_ul is not None:
            journal.outcome(key, time_h, given_ul, status.infused_ul)
        else:
            counter_ul = None if status is None else status.infused_ul
            journal.ambiguous(key, time_h, text, counter_ul)
    return programme_progress(journal, programme_key)


def refuse_when_busy(journal: Journal, pumps: Mapping[str, Pump], programme: PumpProgramme) -> None:
    """Raise what would bar a programme's pumps from starting now; queries only.

    WaitingForPerson for an open action, InstrumentError for a pump that is silent or not idle.
    """
    for step in programme.steps:
        for action in journal.open_on(step.pump):
            raise WaitingForPerson(
                f"{step.pump} has an open action, {action.intent.key}: "
                f"{action.held or 'not finished'}"
            )
        status = pumps[step.pump].status()
        if status.state not in ("idle", "paused"):
            raise InstrumentError(f"{step.pump} is {status.state} {status.alarm}".strip())


def _make_ready(
    journal: Journal,
    pump: Pump,
    run_id: str,
    programme_key: str,
    programme: PumpProgramme,
    step: PumpStep,
    time_h: float,
) -> Intent:
    """Return the intent of one idle pump that has taken its settings; moves no liquid."""
    status = pump.status()
    if status.state == "alarm" and _settled_by_a_person(journal, step.pump):
        pump.acknowledge()
        status = pump.status()
    if status.state == "paused":
        pump.stop()
        status = pump.status()
    if status.state != "idle":
        if _is_drug(programme, step):
            pump.stop()
        raise InstrumentError(
            f"{step.pump} is {status.state} {status.alarm} before {programme_key}, though "
            "nothing is open on it; "
            f"nothing was started{', the pump was told to stop' if _is_drug(programme, step) else ''}"
        )

    def clear() -> None:
        key = action_key(programme_key, step.pump)
        journal.note(run_id, key, time_h, "counter cleared", counter_ul=status.infused_ul)
        fault("before_clear")
        pump.clear_counter()
        fault("after_clear")

    # Cleared only where its few digits are used up: a counter above zero is what shows a power cut
    # that nobody else tells.
    if step.volume_ul < _FINE_COUNTER_STEPS * _step_then_ul(status, step.volume_ul):
        clear()
    fault("before_prepare")
    try:
        settings = _set_and_read_back(pump, step.flow_rate_ul_h, step.volume_ul)
    except CounterFull:
        clear()
        settings = _set_and_read_back(pump, step.flow_rate_ul_h, step.volume_ul)
    fault("after_prepare")
    status = pump.status()
    if status.state != "idle":
        raise InstrumentError(f"{step.pump} is {status.state} {status.alarm} after its settings")
    if step.volume_ul < _COARSEST_COUNTER_STEPS * status.resolution_ul:
        raise InstrumentError(
            f"{step.pump} counts in steps of {status.resolution_ul:g} uL, too coarse for "
            f"{step.volume_ul:g} uL"
        )
    return Intent(
        key=action_key(programme_key, step.pump),
        run_id=run_id,
        programme_key=programme_key,
        pump=step.pump,
        programme=programme,
        flow_rate_ul_h=settings.flow_rate_ul_h,
        volume_ul=settings.volume_ul,
        counter_ul=status.infused_ul,
        resolution_ul=status.resolution_ul,
        restarts=status.restarts,
        session=session_of(pump),
        time_h=time_h,
    )


def _settled_by_a_person(journal: Journal, pump: str) -> bool:
    """Return whether a person has said what became of the pump's last action: its alarm is known."""
    last = journal.last_on(pump)
    return last is not None and last.end is not None and last.end.kind == "abandoned"


def _step_then_ul(status: PumpStatus, volume_ul: float) -> float:
    """Return the step in which a counter of four digits will show its sum with a volume."""
    digits = math.floor(math.log10(status.infused_ul + volume_ul)) - 3
    return max(status.resolution_ul, 10.0**digits)


def _start_waiting(
    journal: Journal,
    pumps: Mapping[str, Pump],
    programme_key: str,
    time_h: float,
    look_again: LookAgain,
) -> ProgrammeProgress:
    """Start every pump of the programme that is proven not to have started, plain liquid first."""
    for action in journal.programme(programme_key):
        if pump_progress(action).state != "waiting":
            continue
        _start_once(journal, pumps[action.intent.pump], action, time_h, look_again)
        progress = programme_progress(journal, programme_key)
        if progress.held:
            return hold_programme(
                journal, pumps, programme_key, time_h, f"the programme stopped: {progress.reason}"
            )
    return programme_progress(journal, programme_key)


def _start_once(
    journal: Journal, pump: Pump, action: Action, time_h: float, look_again: LookAgain
) -> None:
    """Send the start command of a pump that has not started; where the answer is lost, its counter
    decides.

    Settings are set and read back right before: a pump whose power was cut since the intent may
    have come back with another diameter, or without its target volume.
    """
    key = action.intent.key
    tries_left = LOOKS
    while True:
        try:
            _set_and_read_back(pump, action.intent.flow_rate_ul_h, action.intent.volume_ul)
        except InstrumentError as problem:
            journal.ambiguous(key, time_h, f"it did not take its settings: {problem}", None)
            return
        fault("before_sent")
        journal.sent(key, time_h)
        fault("after_sent")
        try:
            pump.start()
        except (DeviceRejected, DeviceAlarm) as problem:
            journal.ambiguous(key, time_h, f"it refused to start: {problem}", None)
            return
        except NotSent as problem:
            tries_left -= 1
            if isinstance(problem, StoppedSince):  # somebody wants this pump to stand
                tries_left = 0
            if not tries_left:
                journal.ambiguous(key, time_h, f"it could not be told to start: {problem}", None)
                return
            look_again()
            continue
        except InstrumentError:
            if _settle(journal, pump, key, time_h, look_again) != "not started":
                return
            continue
        fault("after_start")
        journal.started(key, time_h, "the pump's answer")
        fault("after_started")
        return


def _settle_all(
    journal: Journal,
    pumps: Mapping[str, Pump],
    programme_key: str,
    time_h: float,
    look_again: LookAgain,
    patient: bool = False,
) -> None:
    """Bring the journal up to what the pumps of a programme say; a pump that can not tell holds the
    line.
    """
    for action in journal.programme(programme_key):
        if action.open and action.held is None:
            pump = pumps[action.intent.pump]
            _settle(journal, pump, action.intent.key, time_h, look_again, patient)
    progress = programme_progress(journal, programme_key)
    if progress.held:
        hold_programme(
            journal, pumps, programme_key, time_h, f"the programme stopped: {progress.reason}"
        )


def _settle(
    journal: Journal,
    pump: Pump,
    key: str,
    time_h: float,
    look_again: LookAgain,
    patient: bool = False,
) -> str:
    """Record what the pump's counter proves about an open intent; return the verdict."""
    action = journal.action(key)
    assert action is not None, key
    earlier_ul: float | None = None
    while True:
        try:
            status = _status_in_the_end(pump, look_again)
        except InstrumentError as problem:
            if patient and action.started_h is not None:
                _note_once(journal, action, time_h, f"{SILENT}: {problem}")
                return "silent"
            journal.ambiguous(key, time_h, f"it does not answer: {problem}", None)
            return "unknown"
        found = reconcile(action.intent, _observation(action, pump, status, earlier_ul))
        if action.is_counted and action.stood_h is not None and found.verdict != "running":
            # whoever stopped it died before its outcome was on record
            given_ul = _given_until_stopped(action, pump, status)
            if given_ul is None and _had_no_time(action, status):
                given_ul = 0.0
            if given_ul is not None and given_ul > _most_until_stopped_ul(action, status):
                moved = "the counter moved further than the pump could until it was stopped"
                found = Reconciled("unknown", moved, given_ul)
            elif given_ul is not None:
                found = Reconciled("delivered", "its counter since it was stopped", given_ul)
        if found.verdict != "look again":
            break
        earlier_ul = status.infused_ul
        look_again()
    if found.verdict == "delivered":
        fault("before_outcome")
        journal.outcome(key, time_h, max(found.delivered_ul, 0.0), status.infused_ul)
        fault("after_outcome")
    elif found.verdict == "running":
        journal.started(key, time_h, found.reason)
    elif found.verdict == "unknown":
        reason = (
            f"{found.reason} (asked {action.intent.volume_ul:g} uL, "
            f"counter {action.intent.counter_ul:g} -> {status.infused_ul:g} uL)"
        )
        journal.ambiguous(key, time_h, reason, status.infused_ul)
    return found.verdict


def _status_in_the_end(pump: Pump, look_again: LookAgain) -> PumpStatus:
    """Return the pump's status; a pump that does not answer is asked again after a while."""
    for _ in range(LOOKS - 1):
        try:
            return pump.status()
        except InstrumentError:
            look_again()
    return pump.status()


def _note_once(journal: Journal, action: Action, time_h: float, text: str) -> None:
    """Note, once a look, that a running pump is silent: how often and how long decides later."""
    if not action.silent_h:
        _log.warning("%s %s", action.intent.pump, text)
    journal.note(action.intent.run_id, action.intent.key, time_h, text, silent=True)


def _observation(
    action: Action, pump: Pump, status: PumpStatus, earlier_ul: float | None
) -> PumpObservation:
    return PumpObservation(
        state=status.state,
        counter_ul=status.infused_ul,
        resolution_ul=status.resolution_ul,
        restarts=status.restarts,
        session=session_of(pump),
        sends=len(action.sent_h),
        started=action.started_h is not None,
        earlier_counter_ul=earlier_ul,
        alarm=status.alarm,
    )


def _set_and_read_back(pump: Pump, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
    """Set rate and target volume; InstrumentError where the pump reads back others. Moves no
    liquid.
    """
    settings = pump.prepare(flow_rate_ul_h, volume_ul)
    pairs = ((settings.flow_rate_ul_h, flow_rate_ul_h), (settings.volume_ul, volume_ul))
    if any(abs(read_back - asked) > _SETTING_SLACK * asked for read_back, asked in pairs):
        raise InstrumentError(
            f"{pump.name} was asked for {volume_ul:g} uL at {flow_rate_ul_h:g} uL/h and read back "
            f"{settings.volume_ul:g} uL at {settings.flow_rate_ul_h:g} uL/h; it was not started"
        )
    return settings


def _stop_and_read(
    journal: Journal,
    pump: Pump,
    action: Action,
    time_h: float,
    reason: str,
    *,
    counted: bool = False,
) -> tuple[str, PumpStatus | None]:
    """Tell a pump to stop; whether it says that it stands is on record then.

    ``counted``: so that its counter says what flowed until then, which is on record as well.

    Returns the reason with what the pump then says, and its status where it tells that.
    """
    stands, status = False, None
    try:
        pump.stop()
        stands = True
        status = pump.status()
        stands = status.state not in ("infusing", "withdrawing")
        text = f"{reason}; stopped at counter {status.infused_ul:g} uL"
        if not stands:
            text = f"{reason}; it was told to stop and is {status.state}"
    except InstrumentError as problem:
        text = f"{reason}; it was told to stop and did not answer: {problem}"
        if stands:
            text = f"{reason}; it stands still and does not tell its counter: {problem}"
    if stands or not action.may_run:  # a repeated failure is nothing new
        why = {"counted": True} if counted else {}
        journal.note(action.intent.run_id, action.intent.key, time_h, text, stands=stands, **why)
    return text, status if stands else None


def _given_until_stopped(action: Action, pump: Pump, status: PumpStatus) -> float | None:
    """Return what a pump gave until it was stopped, in uL; None where its counter can not tell.

    It is asked as if that had been its target: all that makes a counter worthless is looked at.
    """
    given_ul = status.infused_ul - action.intent.counter_ul
    most_ul = action.intent.volume_ul + match_tolerance_ul(action.intent, status.resolution_ul)
    if given_ul > most_ul:
        return None
    seen = replace(
        _observation(action, pump, status, status.infused_ul),
        state="alarm" if status.state == "alarm" else "idle",
        started=False,
    )
    found = reconcile(replace(action.intent, volume_ul=max(given_ul, 0.0)), seen)
    return max(given_ul, 0.0) if found.verdict in ("delivered", "not started") else None


def _most_until_stopped_ul(action: Action, status: PumpStatus) -> float:
    """Return the most that a pump can have given until it was stopped, in uL.

    What its counter shows beyond, a hand at its keys has moved since.
    """
    assert action.stood_h is not None, action.intent.key
    slack_ul = match_tolerance_ul(action.intent, status.resolution_ul)
    for_h = max(action.stood_h - min(action.sent_h, default=action.stood_h), 0.0)
    return action.intent.flow_rate_ul_h * (STOP_RATE_SLACK * for_h + STOP_TIME_SLACK_H) + slack_ul


def _had_no_time(action: Action, status: PumpStatus) -> bool:
    """Return whether a pump stood so soon after its start that it can not have moved what its counter would show.

    A counter that stood at zero and does so still proves nothing by itself: its power may have been cut.
    """
    intent = action.intent
    if status.state == "alarm" or abs(status.infused_ul - intent.counter_ul) > intent.resolution_ul:
        return False
    assert action.stood_h is not None, intent.key
    for_h = action.stood_h - min(action.sent_h, default=action.stood_h)
    return 0.0 <= intent.flow_rate_ul_h * for_h <= intent.resolution_ul


def _step_of(action: Action) -> PumpStep:
    return next(s for s in action.intent.programme.steps if s.pump == action.intent.pump)


def _is_drug(programme: PumpProgramme, step: PumpStep) -> bool:
    """Return whether a pump gives anything but plain medium and the stimulus that the programme names."""
    return step.stock not in ("medium", STIMULUS, programme.arm)
