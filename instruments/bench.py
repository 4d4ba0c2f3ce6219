"""All instruments of one laboratory bench: opened together, stopped together, closed together.

Belongs here: which driver serves which make, ports, heartbeats, stop. Not here: bytes (the
drivers), doses (delivery).

Leaving `open_bench` by an exception that nobody foresaw stops every pump. Leaving it normally, or
by trouble that has a name (`HOLDS`: a person must decide, a plate file is wrong, a meter is
silent), stops none: what runs was approved and ends at the target volume that each pump holds by
itself, and tissue dies without flow; which drug pump must stop was decided where the trouble was.
Their watchdogs are switched off on the way out, since nobody is left to feed them. A process that
dies without leaving (``kill -9``) feeds no watchdog either, and pumps in safe mode stop within
``watchdog_s``.

A stop from another process (`stop_desk`) stops every pump at once and for good: what this bench is
asked to send afterwards is `NotSent`, until it is left; and this process opens no bench for the same
run again, so that no retry can start what a person has stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from chiploop.errors import ChiploopError
from instruments.calibrated import CalibratedPump
from instruments.contracts import ImpedanceMeter, PlateReader, Pump, Valve, Watched
from instruments.drivers import DRIVERS
from instruments.errors import InstrumentError, SyringeDiffers
from instruments.lab_settings import (
    SECTION_OF,
    LabSettings,
    PortEntry,
    PumpEntry,
    SharedEntry,
)
from instruments.make import Wait
from instruments.shared import SharedInstrument, SharedMeter, SharedPort, SharedReader
from instruments.stop_desk import StopDesk, Stopped, StopRequest, stop_pumps
from instruments.transport import NotSent, PortSettings, SerialTransport, Transport
from instruments.wire_recorder import WireRecorder
from instruments.wire_troubles import TroubleBook

HOLDS: Final = (ChiploopError,)
"""Leaving by one of these is a hold: nothing is stopped."""

_stopped_runs: dict[Path, str] = {}
"""Folders of runs of this process that were stopped from outside -> by whom."""

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """The clock of the study; a reader's waits go through it, wire deadlines do not."""

    def now_h(self) -> float:
        """Return hours since the study began."""

    def wait_until_h(self, time_h: float) -> None:
        """Return once the study has come to that time."""


class Driver(Protocol):
    """What the bench itself asks of every driver."""

    name: str

    def open(self) -> None:
        """Meet the device; moves nothing."""

    def close(self) -> None:
        """Leave the device to itself."""


@dataclass
class Halt:
    """Whether somebody has stopped a bench from outside."""

    by: str = ""
    """Who and why, for people; empty while nobody has."""


@dataclass(frozen=True)
class Bench:
    """The opened instruments by name."""

    pumps: dict[str, Pump]
    readers: dict[str, PlateReader]
    meters: dict[str, ImpedanceMeter]
    valves: dict[str, Valve] = field(default_factory=dict)
    plumbed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Valve -> line -> its port, as lab.toml has it."""
    ports: dict[str, Transport] = field(default_factory=dict)
    """Pump name -> the port of its bus."""
    halt: Halt = field(default_factory=Halt)
    troubles: TroubleBook = field(default_factory=TroubleBook)
    """What goes wrong on its wires."""

    @property
    def halted(self) -> str:
        """Who stopped this bench from outside, and why; empty while nobody has. Nothing but its
        end can follow."""
        return self.halt.by

    def stop_all(self) -> None:
        """Stop every pump, whatever the others say; a lost port is opened anew once.

        `InstrumentError` afterwards, naming every pump that did not confirm that it stands still.
        """
        may_still_run = stop_pumps(self.pumps, self.ports).may_still_run
        if may_still_run:
            told = "".join(f"\n  {name}: {why}" for name, why in may_still_run.items())
            raise InstrumentError(f"not every pump confirmed the stop:{told}")


@dataclass(frozen=True)
class BenchPort:
    """One port of a bench, before it is opened."""

    name: str
    """Of the bus, or of the only device on it."""
    url: str
    settings: PortSettings
    devices: dict[str, dict[str, Any]]
    """Name -> ``make``, ``kind`` and ``entry`` (its settings), ready for JSON."""
    shared: bool = False
    """True where it is held for the length of a reading alone."""


def bench_ports(settings: LabSettings) -> list[BenchPort]:
    """Return every port of a bench with what stands behind it; a bus without pumps is none."""
    behind: dict[str, dict[str, dict[str, Any]]] = {}
    urls: dict[str, tuple[str, PortSettings]] = {}
    shared: set[str] = set()
    for _, name, entry in settings.devices():
        if isinstance(entry, PumpEntry) and entry.bus:
            port, bus = entry.bus, settings.buses[entry.bus]
            urls[port] = (bus.url, port_settings(entry.make, bus.baudrate))
        elif isinstance(entry, PortEntry) and entry.url:
            port = name
            urls[port] = (entry.url, port_settings(entry.make, entry.baudrate))
            if isinstance(entry, SharedEntry) and entry.shared:
                shared.add(port)
        else:
            continue  # opens a port of its own
        behind.setdefault(port, {})[name] = {
            "make": entry.make,
            "kind": DRIVERS[entry.make].kind,
            "entry": entry.model_dump(mode="json"),
        }
    return [
        BenchPort(port, *urls[port], devices, port in shared) for port, devices in behind.items()
    ]


@contextmanager
def open_bench(
    settings: LabSettings,
    wire_dir: Path | str,
    clock: Clock | None = None,
    *,
    confirm_syringes: bool = False,
    run: Path | None = None,
    simulated: bool = False,
    lock_dir: Path | None = None,
) -> Iterator[Bench]:
    """Open every instrument of ``settings``; bytes are recorded as ``wire_dir/<port name>.jsonl``.

    Opening stops no pump and clears no counter. A pump that is set for another syringe than
    lab.toml names fails, unless ``confirm_syringes`` says that somebody has looked at them all:
    then it is set, where it is idle. `InstrumentError` naming EVERY port and device that
    failed, with nothing left open. See the file's rules for what leaving does. With a ``clock`` a
    plate reader's waits pass in study time; without, in real time. Heartbeats and deadlines are
    always real time.

    ``run`` (its folder) and ``simulated`` (the instruments are emulators that end with this
    process) stand in the lock files, for whoever wants to stop this bench from outside.
    """
    if run is not None and run.resolve() in _stopped_runs:
        raise NotSent(
            f"{_stopped_runs[run.resolve()]}; nothing was sent. Look at the bench, then take the "
            "run up again by a new command"
        )
    wire_dir = Path(wire_dir)
    wait_s = _waiting(clock)
    opened = _Opened(run)
    failed: list[tuple[str, InstrumentError]] = []
    about = {
        "bench": str(wire_dir.absolute()),
        "run": str(run.absolute()) if run else "",
        "simulated": simulated,
    }
    bench: Bench | None = None
    try:
        ports = {port.name: port for port in bench_ports(settings)}
        for port in ports.values():
            if port.shared:
                continue
            try:
                opened.open(port, wire_dir, about, lock_dir)
            except InstrumentError as trouble:
                pumps = [name for name, d in port.devices.items() if d["kind"] == "pump"]
                behind = f" (with pumps {', '.join(pumps)})" if pumps else ""
                failed.append((port.name + behind, trouble))
        for section, name, entry in settings.devices():
            if isinstance(entry, SharedEntry) and entry.shared:
                try:
                    opened.share(section, entry, ports[name], wire_dir, about, wait_s, lock_dir)
                except InstrumentError as trouble:
                    failed.append((name, trouble))
                continue
            if isinstance(entry, PumpEntry):
                on = opened.transports.get(entry.bus)
            elif isinstance(entry, PortEntry):
                on = opened.transports.get(name)
            else:
                raise TypeError(f"{section}.{name} has neither bus nor port")
            if on is None and (isinstance(entry, PumpEntry) or entry.url):
                continue  # its port has failed and is told
            driver: Any = DRIVERS[entry.make].build(name, on, entry, wait_s)  # type: ignore[arg-type]
            if isinstance(entry, PumpEntry) and entry.calibration != 1.0:
                driver = CalibratedPump(driver, entry.calibration)
            try:
                _meet(driver, confirm_syringes)
            except InstrumentError as trouble:
                failed.append((name, trouble))
            else:
                opened.drivers[section, name] = driver
                opened.port_of[section, name] = on
        if failed:
            raise _not_opened(failed)
        tell_unconfirmed(settings)
        of = {
            section: {
                n: driver for (place, n), driver in opened.drivers.items() if place == section
            }
            for section in SECTION_OF.values()
        }
        bench = Bench(
            pumps=of["pumps"],  # type: ignore[arg-type]
            readers=of["plate_readers"],  # type: ignore[arg-type]
            meters=of["impedance_meters"],  # type: ignore[arg-type]
            valves=of["valves"],  # type: ignore[arg-type]
            plumbed={name: dict(settings.valves[name].lines) for name in of["valves"]},
            ports={name: opened.transports[settings.pumps[name].bus] for name in of["pumps"]},
            halt=opened.halt,
            troubles=opened.troubles,
        )
        opened.heartbeats = _start_heartbeats(settings, opened.drivers, opened.ending)
        opened.listen(bench, lock_dir)
        yield bench
    except HOLDS as reason:
        opened.close(failing=reason)
        raise
    except BaseException as reason:
        if bench is not None:
            try:
                bench.stop_all()
            except InstrumentError as trouble:
                reason.add_note(str(trouble))
        opened.close(failing=reason)
        raise
    else:
        opened.close(failing=None)


@dataclass
class _Opened:
    """What has been opened so far, and how it is left."""

    run: Path | None = None
    recorders: list[WireRecorder] = field(default_factory=list)
    transports: dict[str, SerialTransport] = field(default_factory=dict)
    drivers: dict[tuple[str, str], Driver] = field(default_factory=dict)
    port_of: dict[tuple[str, str], SerialTransport | None] = field(default_factory=dict)
    """None for a device that has no port of ours: a person reads it, or another library."""
    heartbeats: list[threading.Thread] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    halt: Halt = field(default_factory=Halt)
    troubles: TroubleBook = field(default_factory=TroubleBook)
    desk: StopDesk | None = None

    def open(
        self, port: BenchPort, wire_dir: Path, about: dict[str, Any], lock_dir: Path | None
    ) -> None:
        """Open one port with its record."""
        try:
            recorder = WireRecorder(wire_dir / f"{port.name}.jsonl")
        except OSError as trouble:
            raise InstrumentError(
                f"{wire_dir}: no record can be written ({trouble.strerror})"
            ) from trouble
        self.recorders.append(recorder)
        self.transports[port.name] = SerialTransport(
            port.url,
            settings=port.settings,
            recorder=recorder,
            lock_dir=lock_dir,
            about={**about, "devices": port.devices},
            count=partial(self.troubles.count, port.name),
        )

    def share(
        self,
        section: str,
        entry: SharedEntry,
        port: BenchPort,
        wire_dir: Path,
        about: dict[str, Any],
        wait_s: Wait,
        lock_dir: Path | None,
    ) -> None:
        """Add a device that is opened for each of its readings; it is met once now where nobody else has it."""

        def open_port(recorder: WireRecorder) -> SerialTransport:
            return SerialTransport(
                port.url,
                settings=port.settings,
                recorder=recorder,
                lock_dir=lock_dir,
                about={**about, "devices": port.devices},
                count=partial(self.troubles.count, port.name),
            )

        kind = SharedReader if section == "plate_readers" else SharedMeter
        one = kind(
            port.name,
            SharedPort(
                port.url,
                60.0 * entry.longest_wait_min,
                open_port,
                lambda on: DRIVERS[entry.make].build(port.name, on, entry, wait_s),
                wire_dir / f"{port.name}.jsonl",
                self.run.name if self.run else "",
                lock_dir,
            ),
        )
        one.open()
        self.drivers[section, port.name] = one
        self.port_of[section, port.name] = None

    @property
    def shared(self) -> list[SharedInstrument]:
        """The devices that are opened for each of their readings."""
        return [one for one in self.drivers.values() if isinstance(one, SharedInstrument)]

    def listen(self, bench: Bench, lock_dir: Path | None) -> None:
        """Be there for stops from outside, from now on."""
        transports = list(self.transports.values())

        def act(request: StopRequest) -> Stopped:
            """Send nothing more but stops; then stop every pump."""
            why = f": {request.why}" if request.why else ""
            self.halt.by = self.halt.by or f"stopped by {request.asked_by}{why}"
            if self.run is not None:
                _stopped_runs[self.run.resolve()] = self.halt.by
            for transport in transports:
                transport.refuse(self.halt.by)
            for one in self.shared:
                one.refuse(self.halt.by)
            self.ending.set()
            for transport in transports:
                transport.note(f"stop asked by {request.asked_by}{why}")
            stopped = stop_pumps(bench.pumps, bench.ports)
            # Devices without a port of ours can not be refused: they are told.
            stops = [one.stop for name, one in bench.readers.items() if name not in self.transports]
            stops += [one.stop for name, one in bench.meters.items() if name not in self.transports]
            for stop in stops:
                with suppress(InstrumentError):
                    stop()
            for name, trouble in stopped.may_still_run.items():
                _log.error("%s MAY STILL RUN: %s", name, trouble)
            return stopped

        def held() -> set[str]:
            in_turn = (name for one in self.shared for name in one.lock_names)
            return {*(t.lock_name for t in transports), *in_turn}

        self.desk = StopDesk(held, act, lock_dir)
        self.desk.start()

    def close(self, *, failing: BaseException | None) -> None:
        """Leave every device to itself, then close every port; tells all that failed, without
        hiding ``failing``."""
        self.ending.set()
        for thread in self.heartbeats:
            thread.join()
        troubles = []
        for place, driver in self.drivers.items():
            # A good-bye is let through a stop from outside, on this thread alone.
            port = self.port_of[place]
            with port.owned(urgent=True) if port and self.halt.by else nullcontext():
                try:
                    driver.close()
                except InstrumentError as trouble:
                    troubles.append(str(trouble))
        if self.desk is not None:
            self.desk.close()
        for transport in self.transports.values():
            transport.close()
        for recorder in self.recorders:
            recorder.close()
        if not troubles:
            return
        told = "closing the bench, some devices did not take leave:\n  " + "\n  ".join(troubles)
        if failing is None:
            raise InstrumentError(told)
        failing.add_note(told)


def _meet(driver: Driver, confirm_syringes: bool) -> None:
    try:
        driver.open()
    except SyringeDiffers:
        if not confirm_syringes:
            raise
        driver.confirm_syringe()  # type: ignore[attr-defined]


def _not_opened(failed: list[tuple[str, InstrumentError]]) -> InstrumentError:
    """Return one error for all: of their own kind where all agree, so that its code still tells
    something."""
    kinds = {type(trouble) for _, trouble in failed}
    told = "\n".join(f"  {name}: {trouble}" for name, trouble in failed)
    message = f"the bench did not open; {len(failed)} failed:\n{told}"
    only = kinds.pop()
    with suppress(TypeError):  # a kind that wants more than a message
        if not kinds:
            return only(message)
    return InstrumentError(message)


def _waiting(clock: Clock | None) -> Wait:
    if clock is None:
        return time.sleep

    def wait_s(seconds: float) -> None:
        clock.wait_until_h(clock.now_h() + seconds / 3600)

    return wait_s


def port_settings(make: str, baudrate: int | None) -> PortSettings:
    """Return how the port of a make is opened; lab.toml may give another baud rate."""
    usual = DRIVERS[make].port
    return usual if baudrate is None else replace(usual, baudrate=baudrate)


def tell_unconfirmed(settings: LabSettings) -> None:
    """Warn, once per make, of what nobody has confirmed about it."""
    of_make: dict[str, list[str]] = {}
    for _, name, entry in settings.devices():
        of_make.setdefault(entry.make, []).append(name)
    for make, names in of_make.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        for unconfirmed in DRIVERS[make].unconfirmed:
            _log.warning("%s%s (%s): unconfirmed: %s", names[0], others, make, unconfirmed)


def _start_heartbeats(
    settings: LabSettings, drivers: dict[tuple[str, str], Driver], beating: threading.Event
) -> list[threading.Thread]:
    """Start one thread per bus that has pumps with a watchdog; each pump is asked every quarter of
    the shortest."""
    threads = []
    for bus in settings.buses:
        watched = [
            driver
            for (section, name), driver in drivers.items()
            if section == "pumps"
            and settings.pumps[name].bus == bus
            and isinstance(driver, Watched)
            and driver.watchdog_s
        ]
        if watched:
            period_s = min(driver.watchdog_s for driver in watched) / 4
            thread = threading.Thread(
                target=_beat,
                args=(watched, period_s, beating),
                name=f"heartbeat {bus}",
                daemon=True,
            )
            thread.start()
            threads.append(thread)
    return threads


def _beat(pumps: list[Watched], period_s: float, ended: threading.Event) -> None:
    while not ended.wait(period_s):
        for pump in pumps:
            if ended.is_set():
                return
            try:
                pump.heartbeat()
            except (
                Exception
            ) as trouble:  # a heartbeat goes on; whoever asks the pump next tells people
                _log.warning("heartbeat: %s", trouble)
