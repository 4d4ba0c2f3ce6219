"""What a run reserves on the bench, and what others have: from lab.toml and the record of the laboratory.

Belongs here: which device a name of lab.toml is, which runs live, making, moving and releasing a reservation. Not
here: when a study needs what (chiploop.timetable), who is in whose way (chiploop.reservations), waiting for a
reader (flows.turns).

A device is known by the computer and its port, whatever two files call it: pumps of one bus are one device, since
one process has the whole wire. What is not shared is reserved alone from the first minute to the last, because
a run holds its port so long. The locks of the ports stay the last word; a reservation is so that people hear of it
before.
"""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiploop.errors import FileNotValid, InstrumentTrouble
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.reservations import (
    RecordedReservation,
    release,
    reservations_on,
    reserve,
)
from chiploop.record.sessions import RecordAway
from chiploop.reservations import Conflict, Reservation, Stretch, conflicts
from chiploop.timetable import Need, ReadingTimes, needs_of
from flows.hands import begun_exposures_h
from flows.laboratory import reserve_nothing
from instruments.bench import BenchPort, bench_ports
from instruments.drivers import load_lab_settings
from instruments.lab_settings import LabSettings
from instruments.port_identity import device_at, lock_name_now
from instruments.port_lock import held_ports, process_started, same_process

if TYPE_CHECKING:
    from flows.clock import Clock
    from flows.opening import RunFiles

TURN = "instrument turn"
"""Kind of the event that a shared instrument was used, with how long that took."""


IN_VAIN = "instrument not free"
"""Kind of the event that a reading has waited for as long as it may."""
LAST_READINGS = 20
"""Readings that are looked back at to see how long one takes."""

_log = logging.getLogger(__name__)


class InstrumentReserved(InstrumentTrouble):
    """Another run has an instrument that this one needs for itself."""

    code = "CL-405"


@dataclass(frozen=True)
class Standing:
    """A reservation of another run as it is now."""

    recorded: RecordedReservation
    left: bool
    """True where the run has not ended and no process of this computer works on it."""
    now_s: float

    @property
    def reservation(self) -> Reservation:
        """Return it as conflicts are reckoned."""
        one = self.recorded
        return Reservation(one.run_id, one.stretches, one.since, self.left).now(self.now_s)


def device_of(port: BenchPort) -> str:
    """Return which device stands behind a port: computer, and the port as it is plugged in now."""
    return device_at(port.url)


def reading_times(record: Record | None, settings: LabSettings) -> ReadingTimes:
    """Return how long readings take: the longest of the last ones on record with this bench's devices, otherwise
    as long as lab.toml lets a plate take.
    """
    reader_s = max((r.read_limit_s for r in settings.plate_readers.values()), default=0.0)
    times = ReadingTimes()
    if reader_s:
        times = replace(times, plate_s=reader_s)
    if record is None:
        return times
    devices = {device_of(port) for port in bench_ports(settings)}
    measured: dict[str, list[float]] = {}
    for run in record.runs():
        for event in record.events(run.run_id, TURN):
            if event.content["device"] in devices and not run.simulated:
                per = event.content["took_s"] / event.content["readings"]
                measured.setdefault(event.content["kind"], []).append(per)
    longest = {kind: max(found[-LAST_READINGS:]) for kind, found in measured.items()}
    return replace(
        times,
        spectrum_s=longest.get("impedance_meter", times.spectrum_s),
        plate_s=longest.get("plate_reader", times.plate_s),
    )


def stretches_of(settings: LabSettings, needs: Sequence[Need], begun_s: float) -> list[Stretch]:
    """Return what a run needs by the clock; ``begun_s`` is when its study time began, in seconds since 1970."""

    def at_s(time_h: float) -> float:
        return begun_s + 3600.0 * time_h

    pumps = [need for need in needs if need.kind == "pump"]
    from_s = at_s(min((need.from_h for need in pumps), default=0.0))
    to_s = at_s(max((need.to_h for need in pumps), default=0.0))
    found = []
    for port in bench_ports(settings):
        device = device_of(port)
        name = _called(port)
        kinds = {d["kind"] for d in port.devices.values()}
        if not port.shared:
            found.append(Stretch(device, name, from_s, to_s, True, "the whole run"))
            continue
        found += [
            Stretch(
                device, name, at_s(n.from_h), at_s(n.to_h), False, n.what, 3600.0 * n.may_wait_h
            )
            for n in needs
            if n.kind in kinds
        ]
    return found


def _called(port: BenchPort) -> str:
    """Return what people call a port: its bus with its pumps, or its only device."""
    names = list(port.devices)
    if names == [port.name]:
        return port.name
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"bus {port.name} ({shown})"


def standing(record: Record, now_s: float, but: str = "") -> list[Standing]:
    """Return what other runs have reserved on this record; a run that has ended has nothing any more."""
    found = []
    for one in reservations_on(record):
        run = record.run(one.run_id)
        if one.run_id == but or (run is not None and run.state == "finished"):
            continue
        left = one.host == platform.node() and not same_process(one.pid, one.process_started)
        found.append(Standing(one, left, now_s))
    return found


def held_unreserved(settings: LabSettings, others: Sequence[Standing]) -> tuple[str, ...]:
    """Return the ports of a bench that programs hold just now whose run has not reserved them on this record: of
    another record, or an older chiploop.
    """
    known = {one.recorded.run_id for one in others}
    ports = {lock_name_now(port.url): port for port in bench_ports(settings) if not port.shared}
    found = []
    for held in held_ports():
        run = Path(str(held.about.get("run", ""))).name
        if held.name in ports and run not in known:
            whose = f"run {run}, which is not on this record" if run else "another program"
            found.append(f"{_called(ports[held.name])}: process {held.pid}, {whose}")
    return tuple(found)


def conflicts_with(
    mine: Sequence[Stretch], others: Sequence[Standing], simulated: bool = False
) -> tuple[Conflict, ...]:
    """Return the conflicts of a run with others; virtual instruments are in nobody's way but virtual ones'."""
    real = [one.reservation for one in others if one.recorded.simulated == simulated]
    return conflicts(mine, real)


def reserve_or_refuse(
    record: Record,
    files: RunFiles,
    settings: LabSettings,
    begun_s: float,
    now_s: float,
    begun_h: Mapping[int, float],
) -> None:
    """Reserve what a run needs from now on.

    Raises InstrumentReserved where a run that reserved before has an instrument alone, or this one wants that for
    itself. Of two that begin at once one is refused: each is on record before it looks at the other.
    """
    now_h = (now_s - begun_s) / 3600.0
    times = reading_times(record, settings)
    needs = needs_of(files.study, times, begun_h, now_h, by_hand(settings))
    mine = stretches_of(settings, needs, begun_s)
    reserve(record, files.run_id, now_h, mine, who(files))
    (own,) = (one for one in reservations_on(record) if one.run_id == files.run_id)
    before = [
        one for one in standing(record, now_s, files.run_id) if one.recorded.since < own.since
    ]
    barred = [one for one in conflicts_with(mine, before, files.simulated) if one.alone]
    alike = () if files.simulated else named_alike(settings, files.runs, before)
    if barred or alike:
        release(record, files.run_id, now_h, "chiploop", "refused: reserved by another run")
        if barred:
            raise InstrumentReserved(told_refusal(barred, before))
        raise InstrumentReserved(f"nothing was sent to any instrument: {'; '.join(alike)}")


@contextmanager
def reserved(
    record: Record, journal: Journal, files: RunFiles, settings: LabSettings, clock: Clock
) -> Iterator[Callable[[], None]]:
    """Reserve what a run needs for the length of a block; yield what moves that to what it needs from then on.

    It is released where the run has finished, or has never told a pump anything; otherwise its chips stand on its
    pumps, and these stay reserved. A simulated run reserves only where it shares: nobody else can have the rest.

    Raises InstrumentReserved.
    """
    if files.simulated and not any(port.shared for port in bench_ports(settings)):
        yield reserve_nothing
        return
    begun_s = float(getattr(clock, "begun_s", 0.0))
    now_s = begun_s + 3600.0 * clock.now_h()
    begun_h = begun_exposures_h(journal.actions(files.run_id))
    reserve_or_refuse(record, files, settings, begun_s, now_s, begun_h)

    def move() -> None:
        now_h = clock.now_h()
        begun_h = begun_exposures_h(journal.actions(files.run_id))
        try:
            needs = needs_of(
                files.study, reading_times(record, settings), begun_h, now_h, by_hand(settings)
            )
            reserve(record, files.run_id, now_h, stretches_of(settings, needs, begun_s), who(files))
        except RecordAway as trouble:
            _log.warning("what the run has reserved could not be moved: %s", trouble)

    try:
        yield move
    finally:
        try:
            run = record.run(files.run_id)
            has_ended = run is not None and run.state == "finished"
            if has_ended or not journal.actions(files.run_id):
                why = "the run has finished" if has_ended else "no pump was told anything"
                release(record, files.run_id, clock.now_h(), "chiploop", why)
        except RecordAway as trouble:
            _log.warning("what the run has reserved could not be released: %s", trouble)


def by_hand(settings: LabSettings) -> bool:
    """Return whether a person reads TEER."""
    return any(entry.make == "manual_teer" for entry in settings.impedance_meters.values())


def who(files: RunFiles) -> dict[str, Any]:
    """Return what a reservation says of whom it is."""
    return {
        "simulated": files.simulated,
        "host": platform.node(),
        "pid": os.getpid(),
        "process_started": process_started(os.getpid()) or 0.0,
        "folder": str(files.folder),
    }


def named_alike(settings: LabSettings, runs: Path, others: Sequence[Standing]) -> tuple[str, ...]:
    """Return which runs that have not ended have pumps of the same names as a bench, in words.

    The runs of a folder have one journal, which knows a pump by its name: what one run has open on it would bar
    the other's doses.
    """
    found = []
    for one in others:
        folder = Path(one.recorded.folder)
        if one.recorded.simulated or folder.parent != runs.resolve():
            continue
        try:
            theirs = load_lab_settings(folder / "lab.toml").pumps
        except FileNotValid:
            continue  # its folder is not here
        alike = [name for name in settings.pumps if name in theirs]
        if alike:
            names = ", ".join(alike[:3]) + (f" and {len(alike) - 3} more" if len(alike) > 3 else "")
            found.append(
                f"run {one.recorded.run_id} has pumps of the same names ({names}) in the same folder of runs: "
                "give this study's lines other names, or use another folder with --runs"
            )
    return tuple(found)


def told_refusal(barred: Sequence[Conflict], others: Sequence[Standing]) -> str:
    """Return why a run can not begin, and what a person can do."""
    left = {one.recorded.run_id for one in others if one.left}
    lines = [f"\n  {told(one, one.other in left)}" for one in barred]
    names = ", ".join(dict.fromkeys(one.other for one in barred))
    return (
        f"an instrument is reserved by another run; nothing was sent:{''.join(lines)}\n"
        f"Wait for {names}, use other instruments, or, where its chips are off the bench: "
        f"chiploop stop RUN, then chiploop reservations --release RUN --why TEXT"
    )


def told(one: Conflict, left: bool = False) -> str:
    """Return a conflict in words."""

    def clock(at_s: float) -> str:
        if math.isinf(at_s):
            return "nobody knows when"
        return f"{datetime.fromtimestamp(at_s):%Y-%m-%d %H:%M}"

    nobody = ", WHICH NOBODY WORKS ON" if left else ""
    if one.alone:
        hours = "" if math.isinf(one.overlap_s) else f", {one.overlap_s / 3600.0:.2f} h"
        until = f"until {clock(one.until_s)}" if math.isinf(one.until_s) else ""
        return (
            f"{one.name}: run {one.other}{nobody} has it ({one.other_what}), from {clock(one.from_s)} to "
            f"{clock(one.to_s)}{hours}{'; ' + until if until else ''}"
        )
    late = f"{one.late_s / 60.0:.1f} min late, {one.may_wait_s / 60.0:.0f} min are allowed"
    whose = f"{one.other_what} of run {one.other}" if one.whose_late else one.what
    behind = one.what if one.whose_late else f"{one.other_what} of run {one.other}"
    return f"{one.name}: {clock(one.from_s)} {whose} stands behind {behind} and is {late}"
