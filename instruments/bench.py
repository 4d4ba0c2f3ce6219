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
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from chiploop.errors import ChiploopError
from instruments.contracts import ImpedanceMeter, PlateReader, Pump
from instruments.errors import InstrumentError
from instruments.impedance_meters.emstat_pico import EmStatPico
from instruments.lab_settings import (
    ImpedanceMeterEntry,
    LabSettings,
    PlateReaderEntry,
    PumpEntry,
)
from instruments.lab_settings import load_lab_settings as _load_lab_settings
from instruments.plate_readers.spectramax import SpectraMax
from instruments.pumps.new_era_ne1000 import NewEraNE1000
from instruments.transport import SerialTransport, Transport
from instruments.wire_recorder import WireRecorder

HOLDS: Final = (ChiploopError,)
"""Leaving by one of these is a hold: nothing is stopped."""

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


Wait = Callable[[float], None]


def _new_era_ne1000(name: str, port: Transport, entry: PumpEntry, wait_s: Wait) -> NewEraNE1000:
    return NewEraNE1000(
        name,
        port,
        address=entry.address,
        syringe_diameter_mm=entry.syringe_diameter_mm,
        syringe_volume_ul=1000 * entry.syringe_volume_ml,
        min_flow_rate_ul_h=entry.min_flow_rate_ul_h,
        max_flow_rate_ul_h=entry.max_flow_rate_ul_h or math.inf,
        safe_mode=entry.safe_mode,
        watchdog_s=entry.watchdog_s if entry.safe_mode else 0,
    )


def _spectramax(name: str, port: Transport, entry: PlateReaderEntry, wait_s: Wait) -> SpectraMax:
    return SpectraMax(name, port, read_limit_s=entry.read_limit_s, wait_s=wait_s)


def _emstat_pico(
    name: str, port: Transport, entry: ImpedanceMeterEntry, wait_s: Wait
) -> EmStatPico:
    return EmStatPico(
        name,
        port,
        channels=entry.channels,
        sweep=entry.sweep(),
        multiplexer=entry.multiplexer,
        zim_sign=entry.zim_sign,
    )


DRIVERS: Final[dict[str, Callable[[str, Transport, Any, Wait], Any]]] = {
    "new_era_ne1000": _new_era_ne1000,
    "spectramax": _spectramax,
    "emstat_pico": _emstat_pico,
}
"""Make in lab.toml -> (name, port, its settings, wait) -> driver."""


def load_lab_settings(path: Path | str) -> LabSettings:
    """Return the settings of one lab.toml; `FileNotValid` with every problem, unknown makes among
    them."""
    return _load_lab_settings(path, frozenset(DRIVERS))


@dataclass(frozen=True)
class Bench:
    """The opened instruments by name."""

    pumps: dict[str, Pump]
    readers: dict[str, PlateReader]
    meters: dict[str, ImpedanceMeter]
    ports: dict[str, Transport] = field(default_factory=dict)
    """Pump name -> the port of its bus."""

    def stop_all(self) -> None:
        """Stop every pump, whatever the others say; a lost port is opened anew once.

        `InstrumentError` afterwards, naming every pump that did not confirm that it stands still.
        """
        unconfirmed = []
        for name, pump in self.pumps.items():
            try:
                pump.stop()
            except Exception:  # whatever one pump does, the others must hear the stop
                unconfirmed.append(name)
        failed = []
        for name in unconfirmed:
            try:
                if name in self.ports:
                    self.ports[name].reopen()
                self.pumps[name].stop()
            except Exception as trouble:
                failed.append(f"{name}: {trouble}")
        if failed:
            raise InstrumentError("not every pump confirmed the stop:\n  " + "\n  ".join(failed))


@contextmanager
def open_bench(
    settings: LabSettings, wire_dir: Path | str, clock: Clock | None = None
) -> Iterator[Bench]:
    """Open every instrument of ``settings``; bytes are recorded as ``wire_dir/<port name>.jsonl``.

    Opening stops no pump and clears no counter. `InstrumentError` naming EVERY port and device that
    failed, with nothing left open. See the file's rules for what leaving does. With a ``clock`` a
    plate reader's waits pass in study time; without, in real time. Heartbeats and deadlines are
    always real time.
    """
    wire_dir = Path(wire_dir)
    wait_s = _waiting(clock)
    recorders: list[WireRecorder] = []
    transports: dict[tuple[str, str], SerialTransport] = {}
    drivers: dict[tuple[str, str], Driver] = {}
    failed: list[tuple[str, InstrumentError]] = []

    def port(kind: str, name: str, url: str, baudrate: int) -> SerialTransport | None:
        try:
            recorder = WireRecorder(wire_dir / f"{name}.jsonl")
        except OSError as trouble:
            failed.append(
                (
                    name,
                    InstrumentError(f"{wire_dir}: no record can be written ({trouble.strerror})"),
                )
            )
            return None
        recorders.append(recorder)
        try:
            transport = SerialTransport(url, baudrate=baudrate, recorder=recorder)
        except InstrumentError as trouble:
            failed.append((name, trouble))
            return None
        transports[kind, name] = transport
        return transport

    def device(kind: str, name: str, on: Transport | None, entry: Any) -> None:
        if on is None:
            return
        driver = DRIVERS[entry.make](name, on, entry, wait_s)
        try:
            driver.open()
        except InstrumentError as trouble:
            failed.append((name, trouble))
        else:
            drivers[kind, name] = driver

    beating = threading.Event()
    threads: list[threading.Thread] = []
    bench: Bench | None = None
    try:
        for name, bus in settings.buses.items():
            if port("buses", name, bus.url, bus.baudrate) is None:
                behind = [pump for pump, entry in settings.pumps.items() if entry.bus == name]
                failed[-1] = (f"{name} (with pumps {', '.join(behind) or 'none'})", failed[-1][1])
        for name, pump in settings.pumps.items():
            device("pumps", name, transports.get(("buses", pump.bus)), pump)
        for name, reader in settings.plate_readers.items():
            device("readers", name, port("readers", name, reader.url, reader.baudrate), reader)
        for name, meter in settings.impedance_meters.items():
            device("meters", name, port("meters", name, meter.url, meter.baudrate), meter)
        if failed:
            raise _not_opened(failed)
        bench = Bench(
            pumps={name: d for (kind, name), d in drivers.items() if kind == "pumps"},  # type: ignore[misc]
            readers={name: d for (kind, name), d in drivers.items() if kind == "readers"},  # type: ignore[misc]
            meters={name: d for (kind, name), d in drivers.items() if kind == "meters"},  # type: ignore[misc]
            ports={name: transports["buses", pump.bus] for name, pump in settings.pumps.items()},
        )
        threads = _start_heartbeats(settings, drivers, beating)
        yield bench
    except HOLDS as reason:
        _close(drivers, threads, beating, transports, recorders, failing=reason)
        raise
    except BaseException as reason:
        if bench is not None:
            try:
                bench.stop_all()
            except InstrumentError as trouble:
                reason.add_note(str(trouble))
        _close(drivers, threads, beating, transports, recorders, failing=reason)
        raise
    else:
        _close(drivers, threads, beating, transports, recorders, failing=None)


def _close(
    drivers: dict[tuple[str, str], Driver],
    threads: list[threading.Thread],
    beating: threading.Event,
    transports: dict[tuple[str, str], SerialTransport],
    recorders: list[WireRecorder],
    *,
    failing: BaseException | None,
) -> None:
    """Leave every device to itself, then close every port; tells all that failed, without hiding
    ``failing``."""
    beating.set()
    for thread in threads:
        thread.join()
    troubles = []
    for driver in drivers.values():
        try:
            driver.close()
        except InstrumentError as trouble:
            troubles.append(str(trouble))
    for transport in transports.values():
        transport.close()
    for recorder in recorders:
        recorder.close()
    if not troubles:
        return
    told = "closing the bench, some devices did not take leave:\n  " + "\n  ".join(troubles)
    if failing is None:
        raise InstrumentError(told)
    failing.add_note(told)


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


def _start_heartbeats(
    settings: LabSettings, drivers: dict[tuple[str, str], Driver], beating: threading.Event
) -> list[threading.Thread]:
    """Start one thread per bus that has pumps with a watchdog; each pump is asked every quarter of
    the shortest."""
    threads = []
    for bus in settings.buses:
        watched = [
            (driver, settings.pumps[name].watchdog_s)
            for (_, name), driver in drivers.items()
            if isinstance(driver, NewEraNE1000)
            and settings.pumps[name].bus == bus
            and settings.pumps[name].safe_mode
        ]
        if watched:
            period_s = min(watchdog_s for _, watchdog_s in watched) / 4
            pumps = [driver for driver, _ in watched]
            thread = threading.Thread(
                target=_beat, args=(pumps, period_s, beating), name=f"heartbeat {bus}", daemon=True
            )
            thread.start()
            threads.append(thread)
    return threads


def _beat(pumps: list[NewEraNE1000], period_s: float, ended: threading.Event) -> None:
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
