"""BMG CLARIOstar Plus absorbance reader. Its bytes are in `clariostar_wire`.

Belongs here: one end-point absorbance of the 96-well plate in the drawer, at up to 8 wavelengths in
one run; the drawer. Not here: other modes, incubation, shaking.
Sources: public USB captures (see `clariostar_wire`). Not tried on the real device.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal

from chiploop.measurement import AbsorbancePlate
from instruments.errors import (
    DeviceRejected,
    FrameError,
    InstrumentError,
    Interrupted,
    TransportTimeout,
)
from instruments.lab_settings import PlateReaderEntry
from instruments.make import Make, Probe, Wait
from instruments.plate_readers import clariostar_wire as wire
from instruments.plate_readers.clariostar_wire import (
    COLUMNS_96,
    MOST_WAVELENGTHS,
    ROWS_96,
    WAVELENGTHS_NM,
    ReaderStatus,
    answer_length,
    decode_data,
    decode_frame,
    decode_progress,
    decode_status,
    demand_type,
    encode_frame,
    encode_run,
)
from instruments.plate_readers.wavelengths import check_wavelengths
from instruments.transport import NotSent, PortSettings, Transport

Command = Literal["status", "data", "data so far", "initialise", "drawer", "run", "stop"]
RETRY: Final[dict[Command, Literal["safe", "verify", "never"]]] = {
    "status": "safe",
    "data": "safe",
    "data so far": "safe",
    "initialise": "verify",
    "drawer": "verify",
    "run": "never",
    "stop": "verify",
}
"""What a lost answer allows: asking again, a look at the status, nothing."""
MOST_SILENT_LOOKS: Final = 2
STOP_LOOKS, STOP_LOOK_S = 40, 0.25
"""A stopped reader stands still within about 5 s, captures show."""

_log = logging.getLogger(__name__)


class Clariostar:
    """Absorbance reader with one drawer for a 96-well plate."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        read_limit_s: float = 300.0,
        move_limit_s: float = 60.0,
        answer_deadline_s: float = 5.0,
        wait_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._transport = transport
        self._read_limit_s = read_limit_s
        self._move_limit_s = move_limit_s
        self._deadline_s = answer_deadline_s
        self._wait_s = wait_s
        self._stopped = False
        self._met_generation = transport.generation

    def open(self) -> None:
        """Ask for the status; moves nothing, so a reader that was just switched on stays as it
        is until its first read."""
        self._status()

    def close(self) -> None:
        """Send nothing: the reader is left as it is."""

    def read_absorbance(
        self, plate_id: str, wavelengths_nm: tuple[int, ...], time_h: float
    ) -> AbsorbancePlate:
        """Read the plate in the drawer at up to 8 wavelengths, 220..1000 nm, in one run.

        ``absorbance`` is (8, 12) OD per wavelength, NaN with a flag where there is no number;
        negative OD is a number. ``temperature_c`` is NaN while the reader's sensors are off.
        ValueError for wavelengths; `DeviceRejected`, `FrameError` or `TransportTimeout` otherwise.
        """
        check_wavelengths(self.name, plate_id, wavelengths_nm, WAVELENGTHS_NM)
        if len(wavelengths_nm) > MOST_WAVELENGTHS:
            raise ValueError(
                f"{len(wavelengths_nm)} wavelengths of plate {plate_id} are more than the "
                f"{MOST_WAVELENGTHS} of one read"
            )
        self._stopped = False
        with self._transport.owned():  # what a stop or a lost port breaks sends nothing more
            self._met_generation = self._transport.generation
            self._make_ready(plate_id)
            self._run(plate_id, wavelengths_nm)
        self._wait_for_data(plate_id)
        raw = self._exchange("data", wire.DATA)
        try:
            data = decode_data(decode_frame(raw), len(wavelengths_nm))
        except FrameError as trouble:
            raise type(trouble)(f"{self.name}, plate {plate_id}: {trouble}") from trouble
        return AbsorbancePlate(
            plate_id=plate_id,
            time_h=time_h,
            absorbance={
                wavelength_nm: data.absorbance[index].reshape(len(ROWS_96), COLUMNS_96)
                for index, wavelength_nm in enumerate(wavelengths_nm)
            },
            flags={
                (
                    wavelengths_nm[index],
                    f"{ROWS_96[well // COLUMNS_96]}{well % COLUMNS_96 + 1}",
                ): why
                for (index, well), why in data.flags.items()
            },
            temperature_c=data.temperature_c,
            raw_sha256=hashlib.sha256(raw).hexdigest(),
        )

    def open_drawer(self) -> None:
        """Move the drawer out and return once it is."""
        self._move("drawer", wire.DRAWER_OUT, lambda status: status.drawer_open)

    def close_drawer(self) -> None:
        """Move the drawer in and return once it is."""
        self._move("drawer", wire.DRAWER_IN, lambda status: not status.drawer_open)

    def stop(self) -> None:
        """Give up a running read, return once the reader stands still; the plate stays in the
        drawer. Safe to repeat, also while nothing runs: then nothing is sent."""
        self._stopped = True
        with self._transport.owned(urgent=True):
            self._transport.drain(quiet_s=0.1, limit_s=1.0)
            with suppress(TransportTimeout, FrameError):
                if not self._status().busy:
                    return
            self._transport.send_now(encode_frame(wire.STOP))
            silent = 0
            for _ in range(STOP_LOOKS):
                self._transport.drain(quiet_s=STOP_LOOK_S, limit_s=2 * STOP_LOOK_S)
                try:
                    if not self._status().busy:
                        return
                except (TransportTimeout, FrameError):
                    silent += 1
                    if silent == MOST_SILENT_LOOKS:
                        break  # a reader that says nothing is told to a person soon
        raise InstrumentError(f"{self.name} still runs after a stop; look at the reader")

    def _make_ready(self, plate_id: str) -> None:
        status = self._status()
        if status.busy:
            raise DeviceRejected(f"{self.name} is busy; plate {plate_id} was not read")
        if status.drawer_open:
            raise DeviceRejected(
                f"the drawer of {self.name} is open; plate {plate_id} was not read; close it"
            )
        if not status.initialised:
            status = self._move("initialise", wire.INITIALISE, lambda now: now.initialised)
        if not status.plate_in:
            _log.warning("%s sees no plate; reading %s all the same", self.name, plate_id)

    def _run(self, plate_id: str, wavelengths_nm: tuple[int, ...]) -> None:
        self._refuse_if_stopped(plate_id)
        payload = decode_frame(self._exchange("run", encode_run(wavelengths_nm)))
        if payload[0] != wire.ACCEPTED_TYPE:
            raise DeviceRejected(
                f"{self.name} did not accept the run of plate {plate_id}: it answered "
                f"{payload[:16].hex(' ')}"
            )

    def _wait_for_data(self, plate_id: str) -> None:
        """Return once the run is over: it was busy and is so no more, or all its values are
        written. Captures show a reader that stays busy with all of them written, and one that is
        asked very soon need not be busy yet."""
        has_been_busy = False

        def over(status: ReaderStatus) -> bool:
            nonlocal has_been_busy
            self._refuse_if_stopped(plate_id)
            if has_been_busy and not status.busy:
                return True
            has_been_busy = status.busy
            so_far = self._exchange("data so far", wire.DATA_SO_FAR)
            return decode_progress(decode_frame(so_far)).complete

        self._wait_until(over, self._read_limit_s, f"still reads plate {plate_id}")

    def _move(
        self, command: Command, payload: bytes, reached: Callable[[ReaderStatus], bool]
    ) -> ReaderStatus:
        """Send a move once; its lost answer is no trouble, the status tells."""
        try:
            demand_type(decode_frame(self._exchange(command, payload)), wire.STATUS_TYPE)
        except (NotSent, Interrupted):
            raise
        except (TransportTimeout, FrameError) as trouble:
            _log.warning("%s on %s: %s; looking at its status", self.name, command, trouble)
        return self._wait_until(
            lambda status: not status.busy and reached(status),
            self._move_limit_s,
            f"has not finished its move ({command})",
        )

    def _wait_until(
        self, over: Callable[[ReaderStatus], bool], limit_s: float, otherwise: str
    ) -> ReaderStatus:
        waited_s, step_s = 0.0, 0.1
        while not over(status := self._status()):
            if waited_s >= limit_s:
                raise TransportTimeout(
                    f"{self.name} {otherwise} after {waited_s:.0f} s; look at the reader"
                )
            self._wait_s(step_s)
            waited_s, step_s = waited_s + step_s, min(2 * step_s, 2.0)
        return status

    def _refuse_if_stopped(self, plate_id: str) -> None:
        if self._stopped:
            raise InstrumentError(f"{self.name}: the read of plate {plate_id} was stopped")

    def _demand_same_port(self) -> None:
        """Raise `InstrumentError` where the port was opened anew since the run began: nothing tells
        whether the same reader is behind it."""
        if self._transport.generation != self._met_generation:
            raise InstrumentError(
                f"{self.name}: its port was lost and opened again during a read; read again"
            )

    def _status(self) -> ReaderStatus:
        return decode_status(decode_frame(self._exchange("status", wire.STATUS)))

    def _exchange(self, command: Command, payload: bytes) -> bytes:
        """Send one command; return its answer, a whole frame of the type that is due."""
        due = {"status": wire.STATUS_TYPE, "data": wire.DATA_TYPE, "data so far": wire.DATA_TYPE}
        attempts = 2 if RETRY[command] == "safe" else 1
        with self._transport.owned():
            if due.get(command) == wire.DATA_TYPE:
                self._demand_same_port()
            while True:
                attempts -= 1
                try:
                    raw = self._transport.exchange(
                        encode_frame(payload),
                        answer_length,
                        deadline_s=self._deadline_s,
                        inter_byte_s=1.0,
                    )
                    answer = decode_frame(raw)
                    if command in due:
                        demand_type(answer, due[command])
                    return raw
                except (NotSent, Interrupted):
                    raise
                except (TransportTimeout, FrameError) as trouble:
                    self._transport.garbled(trouble)
                    with suppress(InstrumentError):
                        self._transport.drain(quiet_s=0.1, limit_s=1.0)
                    if not attempts:
                        raise type(trouble)(f"{self.name} on {command}: {trouble}") from trouble


def _build(name: str, port: Transport, entry: PlateReaderEntry, wait_s: Wait) -> Clariostar:
    return Clariostar(name, port, read_limit_s=entry.read_limit_s, wait_s=wait_s)


def _recognise(answer: bytes) -> str | None:
    try:
        status = decode_status(decode_frame(answer))
    except InstrumentError:
        return None
    return f"CLARIOstar, {'initialised' if status.initialised else 'not initialised'}"


MAKE: Final = Make(
    title="BMG CLARIOstar Plus",
    kind="plate_reader",
    entry=PlateReaderEntry,
    build=_build,
    port=PortSettings(125_000),
    unconfirmed=(
        "run, data and stop are known from captures of one CLARIOstar Plus, firmware 1.35; the "
        "original CLARIOstar answers otherwise and is refused",
        "how a run is refused, and how too little light is told (a sample count of 0 is taken)",
        "how moves and stops are answered: the status decides, not their answer",
        "that a plate in the drawer shows in the status before a read",
    ),
    probe=Probe(encode_frame(wire.STATUS), answer_length, _recognise),
)
