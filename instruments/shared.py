"""A reader or meter that several runs of one computer use in turn: its port is held for a reading, not for a run.

Belongs here: waiting in line for the port, opening the device for the length of a reading, leaving it. Not here:
the line itself (port_queue), what a device says (its driver), perfusing chips meanwhile (flows.turns).

``shared = true`` in lab.toml says so. Each turn opens the port, meets the device anew, and ends with the port
closed; what the device was asked by others in between can not matter, since nothing of it is kept. Pumps are
never shared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chiploop.measurement import AbsorbancePlate, ImpedanceSpectrum
from instruments.errors import InstrumentError, PortInUse
from instruments.port_identity import device_at, lock_name_now
from instruments.port_lock import held_port, lock_directory
from instruments.port_queue import Place, now_s
from instruments.transport import NotSent, SerialTransport
from instruments.wire_recorder import WireRecorder

LOOK_S: Final = 0.05
"""Between two tries of a caller who only waits."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedPort:
    """What opening a shared device takes."""

    url: str
    longest_wait_s: float
    """Until then somebody waits for the device before people are asked."""
    open_port: Callable[[WireRecorder], SerialTransport]
    build: Callable[[SerialTransport], Any]
    """Port -> driver; sends nothing."""
    record: Path
    run: str = ""
    """Name of the run, for whoever else waits."""
    lock_dir: Path | None = None


class SharedInstrument:
    """One shared device; closed except during a turn."""

    def __init__(self, name: str, port: SharedPort) -> None:
        self.name = name
        self.longest_wait_s = port.longest_wait_s
        self._port = port
        self._place: Place | None = None
        self._recorder: WireRecorder | None = None
        self._transport: SerialTransport | None = None
        self._driver: Any = None
        self._refused = ""

    @property
    def device(self) -> str:
        """Which device it is: this computer, and the port as it is plugged in now."""
        return device_at(self._port.url)

    @property
    def lock_names(self) -> frozenset[str]:
        """Names of the locks that are held now."""
        transport = self._transport
        return frozenset() if transport is None else frozenset({transport.lock_name})

    def open(self) -> None:
        """Meet the device once where it is free, so that what is wrong with it is told before anything
        moves; it is closed afterwards."""
        try:
            if who := self.try_turn():
                _log.warning("%s is with %s; it is met at its first reading", self.name, who)
        finally:
            self.leave()

    def try_turn(self) -> str:
        """Open the device where it is our turn; return who has it otherwise, empty once it is open.

        The first call takes a place in the line, which stays ours until `leave`. `InstrumentError` for trouble
        that waiting does not mend: then the place is left.
        """
        if self._driver is not None:
            return ""
        if self._refused:
            raise NotSent(f"{self.name}: {self._refused}; nothing was sent")
        lock = lock_name_now(self._port.url)
        if self._place is None:
            self._place = Place(lock, self._port.run, self._port.lock_dir)
        if before := self._place.before():
            return before[0].told(now_s())
        try:
            self._open()
        except PortInUse as taken:
            return self._holder(lock) or str(taken)
        except BaseException:
            self.leave()
            raise
        return ""

    def leave(self) -> None:
        """End the turn, or the waiting for one; safe to repeat."""
        driver, self._driver = self._driver, None
        try:
            if driver is not None:
                with suppress(InstrumentError):
                    driver.close()
        finally:
            if self._transport is not None:
                self._transport.close()
            if self._recorder is not None:
                self._recorder.close()
            self._transport = self._recorder = None
            if self._place is not None:
                self._place.leave()
            self._place = None

    @contextmanager
    def turn(self) -> Iterator[Any]:
        """Wait for a turn and hold it for the length of a block; one that we have is used as it is.

        `PortInUse` where somebody else has the device for longer than ``longest_wait_s``.
        """
        if self._driver is not None:
            yield self._driver
            return
        begun_s = time.monotonic()
        try:
            while who := self.try_turn():
                if time.monotonic() - begun_s > self.longest_wait_s:
                    raise PortInUse(self.told_in_vain(who))
                time.sleep(LOOK_S)
            yield self._driver
        finally:
            self.leave()

    def told_in_vain(self, who: str) -> str:
        """Return what to say when the longest wait is over."""
        return (
            f"{self.name} ({self._port.url}) was not free within {self.longest_wait_s / 60.0:.3g} min: it is with "
            f"{who}. Look whether that one still works; nothing was sent"
        )

    def refuse(self, why: str) -> None:
        """Open it no more: somebody has stopped the bench."""
        self._refused = why
        transport = self._transport
        if transport is not None:
            transport.refuse(why)

    def stop(self) -> None:
        """Give up what runs; nothing is sent where it is not our turn."""
        driver = self._driver
        if driver is not None:
            driver.stop()

    def close(self) -> None:
        """Leave the device to the others."""
        self.leave()

    def _open(self) -> None:
        try:
            self._recorder = WireRecorder(self._port.record)
        except OSError as trouble:
            raise InstrumentError(
                f"{self._port.record}: no record can be written ({trouble.strerror})"
            ) from trouble
        self._transport = self._port.open_port(self._recorder)
        driver = self._port.build(self._transport)
        driver.open()
        self._driver = driver

    def _holder(self, lock: str) -> str:
        """Return who has the port without standing in line: for a whole run, or by hand."""
        folder = self._port.lock_dir or lock_directory()
        holder = held_port(folder / f"{lock}.lock")
        if holder is None:
            return ""
        run = Path(str(holder.about.get("run", ""))).name
        whose = f"run {run}, process {holder.pid}" if run else f"process {holder.pid}"
        return f"{whose}, which does not share it"


class SharedMeter(SharedInstrument):
    """An impedance meter in turns."""

    def measure_spectrum(self, chip_id: str, time_h: float) -> ImpedanceSpectrum:
        """Sweep one chip in our turn, or in one of its own."""
        with self.turn() as meter:
            spectrum: ImpedanceSpectrum = meter.measure_spectrum(chip_id, time_h)
            return spectrum


class SharedReader(SharedInstrument):
    """A plate reader in turns."""

    def read_absorbance(
        self, plate_id: str, wavelengths_nm: tuple[int, ...], time_h: float
    ) -> AbsorbancePlate:
        """Read the plate in the drawer in our turn, or in one of its own."""
        with self.turn() as reader:
            plate: AbsorbancePlate = reader.read_absorbance(plate_id, wavelengths_nm, time_h)
            return plate
