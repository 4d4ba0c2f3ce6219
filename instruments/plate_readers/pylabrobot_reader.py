"""Plate readers that PyLabRobot (MIT, the extra ``chiploop[pylabrobot]``) drives, behind our contract.

Belongs here: one end-point absorbance of a 96-well plate through a backend of PyLabRobot, and what
it gave as a plate. Not here: bytes. PyLabRobot opens the port itself, over USB: so there is no
record of the bytes, no replay and no stop at the device, and the port is held by our lock beside it
only. Where a make has a driver of its own here and a serial port, that driver is the better one.

PyLabRobot's calls are asynchronous; they run on one private event loop per reader, each under a
deadline in real seconds. A call that had to be given up leaves the link in a state that nobody
knows: the next read begins with a new connection. Written against PyLabRobot 0.2.2.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from chiploop.measurement import AbsorbancePlate
from instruments import port_identity
from instruments.errors import FrameError, InstrumentError, TransportTimeout
from instruments.lab_settings import PlateReaderEntry
from instruments.make import Make, Wait
from instruments.plate_readers.wavelengths import check_wavelengths
from instruments.port_lock import PortLock
from instruments.transport import PortSettings, Transport

ReaderName = Literal["cytation", "synergy_h1", "tecan_infinite_200_pro"]
SETUP_LIMIT_S: Final = 120.0
GIVE_UP_S: Final = 5.0
"""How long a call that was given up may take to come to its end, beyond its limit."""
ROWS_96, COLUMNS_96 = "ABCDEFGH", 12
SATURATED, NO_NUMBER = "saturated", "no number"


@dataclass(frozen=True)
class Wrapped:
    """One backend of PyLabRobot."""

    backend: Callable[[str], Any]
    """(device id) -> its object, not yet connected."""
    wavelengths_nm: tuple[int, int]
    ceiling_od: float = math.inf
    """OD at which PyLabRobot cuts values off; from there on there is no number."""
    by_device_id: bool = True
    """Whether lab.toml must name the USB serial number: without it PyLabRobot opens whichever FTDI
    adapter it finds alone, were it that of a pump."""


def _plate_reading() -> Any:
    try:
        return import_module("pylabrobot.plate_reading")
    except ImportError as missing:
        raise InstrumentError(
            f"PyLabRobot can not be loaded ({missing}); install the extra: "
            'pip install "chiploop[pylabrobot]"; nothing was sent'
        ) from missing


def _cytation(device_id: str) -> Any:
    return _plate_reading().CytationBackend(device_id=device_id)


def _synergy_h1(device_id: str) -> Any:
    return _plate_reading().SynergyH1Backend(device_id=device_id)


def _tecan_infinite_200_pro(device_id: str) -> Any:
    return _plate_reading().ExperimentalTecanInfinite200ProBackend()


READERS: Final[dict[ReaderName, Wrapped]] = {
    "cytation": Wrapped(_cytation, (230, 999)),
    "synergy_h1": Wrapped(_synergy_h1, (230, 999)),
    "tecan_infinite_200_pro": Wrapped(
        _tecan_infinite_200_pro, (230, 1000), ceiling_od=4.0, by_device_id=False
    ),
}
"""``reader`` in lab.toml -> backend."""


def flat_96_well_plate(plate_id: str) -> Any:
    """Return PyLabRobot's plate: 96 wells of 360 uL with a flat bottom, by ANSI SLAS."""
    resources: Any = import_module("pylabrobot.resources")
    return resources.cor_96_wellplate_360uL_Fb(name=plate_id)


Call = Callable[[], Coroutine[Any, Any, Any]]
"""Begins an asynchronous call."""


class _Loop:
    """An event loop on a thread of its own; one call at a time."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._running: concurrent.futures.Future[Any] | None = None
        self._starting = threading.Lock()
        self._given_up = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, begin: Call, limit_s: float) -> Any:
        """Return the result of a call; TimeoutError after ``limit_s``, CancelledError where
        `give_up` ended it, whatever it raises otherwise."""

        async def in_turn() -> Any:
            async with self._turn:  # a call that was given up ends before the next begins
                return await asyncio.wait_for(begin(), limit_s)

        with self._starting:
            if self._given_up:
                raise concurrent.futures.CancelledError
            self._running = asyncio.run_coroutine_threadsafe(in_turn(), self._loop)
        try:
            return self._running.result(limit_s + GIVE_UP_S)
        finally:
            self._running.cancel()

    def give_up(self) -> None:
        """Cancel the running call, from any thread, and begin no other before `go_on`."""
        with self._starting:
            self._given_up = True
            if self._running is not None:
                self._running.cancel()

    def go_on(self) -> None:
        """Take calls again after `give_up`."""
        self._given_up = False

    def close(self) -> None:
        """End the loop; a call that blocks it keeps its thread until the program ends."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GIVE_UP_S)
        if not self._thread.is_alive():
            self._loop.close()


class PyLabRobotReader:
    """Absorbance reader behind a backend of PyLabRobot."""

    def __init__(
        self,
        name: str,
        wrapped: Wrapped,
        *,
        device_id: str = "",
        locks: tuple[str, ...] = (),
        read_limit_s: float = 300.0,
        plate: Callable[[str], Any] = flat_96_well_plate,
        lock_dir: Path | None = None,
    ) -> None:
        self.name = name
        self._wrapped = wrapped
        self._device_id = device_id
        self._lock_names = locks
        self._read_limit_s = read_limit_s
        self._plate = plate
        self._lock_dir = lock_dir
        self._locks: list[PortLock] = []
        self._loop: _Loop | None = None
        self._backend: Any = None
        self._connected = False

    def open(self) -> None:
        """Take the lock and connect. What that moves is PyLabRobot's to say: a Tecan Infinite
        initialises itself."""
        try:
            for lock in self._lock_names:
                self._locks.append(PortLock(port_identity.resolve(lock), self._lock_dir))
            self._backend = self._make()
            self._loop = _Loop(f"pylabrobot {self.name}")
            self._call(self._backend.setup, SETUP_LIMIT_S, "opening")
            self._connected = True
        except BaseException:
            self._let_go()
            raise

    def close(self) -> None:
        """Disconnect and give the lock back; `InstrumentError` where PyLabRobot fails to."""
        try:
            if self._loop is not None and self._connected:
                self._loop.go_on()
                self._call(self._backend.stop, SETUP_LIMIT_S, "taking leave")
        finally:
            self._let_go()

    def read_absorbance(
        self, plate_id: str, wavelengths_nm: tuple[int, ...], time_h: float
    ) -> AbsorbancePlate:
        """Read the plate in the drawer once at each wavelength.

        ``absorbance`` is (8, 12) OD per wavelength, NaN with a flag where there is no number;
        ``raw_sha256`` stays empty: PyLabRobot keeps the bytes to itself. ValueError for
        wavelengths; `InstrumentError` for whatever PyLabRobot raises, `TransportTimeout` after the
        limit, which counts per wavelength, `FrameError` for a result that is not such a plate.
        """
        check_wavelengths(self.name, plate_id, wavelengths_nm, self._wrapped.wavelengths_nm)
        if self._loop is None:
            raise InstrumentError(f"{self.name} is not open")
        self._loop.go_on()
        if not self._connected:
            self._connect_anew()
        plate = self._plate(plate_id)
        absorbance, flags, temperature_c = {}, {}, math.nan
        for wavelength_nm in wavelengths_nm:
            given = self._call(
                partial(self._read, plate, wavelength_nm),
                self._read_limit_s,
                f"plate {plate_id} at {wavelength_nm} nm",
            )
            try:
                values, missing, temperature_c = decode_result(
                    given, wavelength_nm, self._wrapped.ceiling_od
                )
            except FrameError as trouble:
                raise FrameError(f"{self.name}, plate {plate_id}: {trouble}") from trouble
            absorbance[wavelength_nm] = values
            flags.update({(wavelength_nm, well): reason for well, reason in missing.items()})
        return AbsorbancePlate(
            plate_id=plate_id,
            time_h=time_h,
            absorbance=absorbance,
            flags=flags,
            temperature_c=temperature_c,
        )

    def stop(self) -> None:
        """Give up a running read. The reader itself may finish it: PyLabRobot has no stop for
        that."""
        if self._loop is not None:
            self._loop.give_up()

    def _make(self) -> Any:
        try:
            return self._wrapped.backend(self._device_id)
        except InstrumentError:
            raise
        except Exception as trouble:  # a library for USB that is missing is a RuntimeError there
            raise InstrumentError(f"{self.name} can not be set up: {_told(trouble)}") from trouble

    def _connect_anew(self) -> None:
        """Connect after a call that failed: a link in an unknown state is not gone on with."""
        with suppress(InstrumentError):
            self._call(self._backend.stop, SETUP_LIMIT_S, "taking leave")
        self._call(self._backend.setup, SETUP_LIMIT_S, "opening")
        self._connected = True

    def _read(self, plate: Any, wavelength_nm: int) -> Any:
        return self._backend.read_absorbance(
            plate=plate, wells=plate.get_all_items(), wavelength=wavelength_nm
        )

    def _call(self, begin: Call, limit_s: float, what: str) -> Any:
        if self._loop is None:
            raise InstrumentError(f"{self.name} is not open")
        connected, self._connected = self._connected, False
        try:
            given = self._loop.call(begin, limit_s)
        except concurrent.futures.CancelledError as end:
            raise InstrumentError(f"{self.name}, {what}: stopped") from end
        except TimeoutError as silence:
            raise TransportTimeout(
                f"{self.name}, {what}: {_told(silence)}; allowed were {limit_s:g} s; look at the "
                "reader"
            ) from silence
        except InstrumentError:
            raise
        except Exception as trouble:  # PyLabRobot raises whatever its libraries and asserts raise
            raise InstrumentError(f"{self.name}, {what}: {_told(trouble)}") from trouble
        self._connected = connected
        return given

    def _let_go(self) -> None:
        self._connected = False
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        for lock in self._locks:
            lock.release()
        self._locks = []


def decode_result(
    given: Any, wavelength_nm: int, ceiling_od: float = math.inf
) -> tuple[np.ndarray, dict[str, str], float]:
    """Return ((8, 12) OD, flag of each well that has no number, deg C) of a result of
    ``read_absorbance``; `FrameError` unless it is one whole plate at that wavelength, row by row."""
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], dict):
        raise FrameError(f"{str(given)[:80]} is not one measurement")
    if given[0].get("wavelength") != wavelength_nm:
        raise FrameError(
            f"a measurement at {given[0].get('wavelength')} nm came where {wavelength_nm} is due"
        )
    rows = given[0].get("data")
    if not isinstance(rows, list) or len(rows) != len(ROWS_96):
        raise FrameError(f"{str(rows)[:80]} is not {len(ROWS_96)} rows")
    values = np.full((len(ROWS_96), COLUMNS_96), math.nan)
    flags: dict[str, str] = {}
    for row, wells in enumerate(rows):
        if not isinstance(wells, list) or len(wells) != COLUMNS_96:
            raise FrameError(f"row {ROWS_96[row]} {str(wells)[:80]} is not {COLUMNS_96} wells")
        for column, od in enumerate(wells):
            well = f"{ROWS_96[row]}{column + 1}"
            if od is not None and (isinstance(od, bool) or not isinstance(od, (int, float))):
                raise FrameError(f"well {well} holds {od!r}, which is no number")
            if od is None or not math.isfinite(od):
                flags[well] = NO_NUMBER
            elif od >= ceiling_od:
                flags[well] = SATURATED
            else:
                values[row, column] = od
    temperature_c = given[0].get("temperature")
    if isinstance(temperature_c, bool) or not isinstance(temperature_c, (int, float)):
        temperature_c = math.nan
    return values, flags, float(temperature_c)


def _told(trouble: BaseException) -> str:
    return f"{type(trouble).__name__}: {trouble}" if str(trouble) else type(trouble).__name__


class PyLabRobotEntry(PlateReaderEntry):
    """A reader of PyLabRobot in lab.toml; it has no ``url``, PyLabRobot finds it on USB."""

    url: Literal[""] = ""
    baudrate: None = None
    reader: ReaderName
    device_id: str = Field("", pattern=r"^[A-Za-z0-9_-]*$")
    """USB serial number; an Infinite has none to name."""
    port: str = ""
    """Its name as a serial port, where it has one: held, so that no other program opens it."""

    @model_validator(mode="after")
    def _device_id_is_known(self) -> PyLabRobotEntry:
        if bool(self.device_id) != READERS[self.reader].by_device_id:
            wanted = "takes no" if self.device_id else "wants a"
            raise ValueError(f"{self.reader} {wanted} device_id (the USB serial number)")
        return self

    def locks(self) -> tuple[str, ...]:
        """Return the names that are held while the reader is open."""
        return (
            f"pylabrobot://{self.reader}.{self.device_id or 'only'}",
            *filter(None, [self.port]),
        )


def _build(
    name: str, port: Transport | None, entry: PyLabRobotEntry, wait_s: Wait
) -> PyLabRobotReader:
    """``port`` and ``wait_s`` are left alone: PyLabRobot has its own port and its own clock."""
    return PyLabRobotReader(
        name,
        READERS[entry.reader],
        device_id=entry.device_id,
        locks=entry.locks(),
        read_limit_s=entry.read_limit_s,
    )


MAKE: Final = Make(
    title=f"PyLabRobot ({', '.join(get_args(ReaderName))})",
    kind="plate_reader",
    entry=PyLabRobotEntry,
    build=_build,
    port=PortSettings(9600),
    unconfirmed=(
        "PyLabRobot drives this reader: no byte is on record, and what it gives is taken as it is",
        "a stop gives up the call; the reader itself may go on to the end of its read",
        "the plate is taken for a flat 96-well plate of 360 uL",
    ),
)
