"""BMG CLARIOstar plate reader as a state machine: endpoint absorbance of a 96-well plate.

Belongs here: what the reader answers, and when. Not here: bytes of frames, run and data
(clariostar_wire), what a plate holds (a callback says it), ports.

Documented, checked on published frames: framing; the commands status, hardware status, initialise,
tray, data, stop, temperature; the flags of the status; the frame of a finished read of the original
CLARIOstar (``keeps_busy``). Taken from published drivers and a community description of USB
captures: run, data and their OD formula, answer types and sizes, temperatures in the status,
firmware and EEPROM, that a stopped read saves nothing. CHOSEN, so UNCONFIRMED: a command that can
not be carried out (not initialised, drawer open, busy, a run that is not understood) is answered with a
status; unknown families and broken frames are not answered, a partial frame is dropped after half a
second; what hardware status, focus and read order hold; the answer to a request for data where there
are none; that the data are no longer unread once given; how fast a setpoint is reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from instruments.emulators.clariostar_wire import (
    Measured,
    Run,
    data_payload,
    framed,
    read_run,
    take_frame,
)

Clock = Callable[[], float]
Absorbance = Callable[[int], np.ndarray]
"""Wavelength in nm -> (8, 12) OD of the plate in the drawer; NaN for an empty well."""

INITIALISE, TRAY, RUN, REQUEST, TEMPERATURE, POLL, STOP, STATUS, HARDWARE = (
    0x01,
    0x03,
    0x04,
    0x05,
    0x06,
    0x08,
    0x0B,
    0x80,
    0x81,
)
"""First byte of a payload."""
DATA, EEPROM, FIRMWARE, FOCUS, ORDER = 0x02, 0x07, 0x09, 0x0F, 0x1D
"""Second byte of a request."""
BUSY, RUNNING, AWAKE = 0x20, 0x10, 0x05
"""First status byte; a reader that is on always shows ``AWAKE``."""
UNREAD = 0x01
"""Second status byte."""
INITIALISED, READING_WELLS, PROBED, PLATE, DRAWER_OPEN = 0x20, 0x08, 0x04, 0x02, 0x01
"""Third status byte."""
READING_SECOND_BYTE = 0x04
"""Set while a plate is read, as captured; unexplained."""
FINISHED_TAIL = bytes.fromhex("000401000003")
"""Bytes 5 to 10 of the recorded status of a finished read; unexplained."""
FIRMWARE_ANSWER = bytes.fromhex("0a050024000005464e6f7620323020323032300031313a35313a3231000001")
"""Payload as captured: version 1.35 of Nov 20 2020."""
ACCEPTED_BYTES, HARDWARE_BYTES, EEPROM_BYTES, FOCUS_BYTES, ORDER_BYTES = 45, 106, 263, 24, 22
"""Sizes of payloads; the read order has two bytes for each well besides."""
PARTIAL_FRAME_S = 0.5
BRIGHTEST_OD, EMPTY_WELL_OD = 4.0, 0.04
"""Above this no light is counted; bare polystyrene."""
WARMEST_TENTHS = 450
SAMPLE_FULL, SAMPLE_DARK, REFERENCE_FULL, REFERENCE_DARK = 4_000_000, 600_000, 2_000_000, 5_000
OTHER_CHANNELS = ((1_500_000, 590_000), (700_000, 590_000))
"""Two further detectors that an OD does not need."""


@dataclass(frozen=True)
class ClarioStarSettings:
    """What is fixed about one emulated reader."""

    measure_s: float = 0.1
    """Wall time of a read."""
    initialise_s: float = 0.0
    drawer_s: float = 0.0
    temperature_c: float = 24.5
    """What the sensors show while the incubator is off."""
    plate: bool = True
    """Whether the sensor sees a plate while the drawer is closed."""
    keeps_busy: bool = False
    """True: busy until the data are fetched, with the status recorded from the original reader."""
    shows_running: bool = False
    """True: the running flag is set, too, while a plate is read."""
    dark_subtraction: bool = False
    """True: counts are those whose dark counts must be taken off before an OD is right."""


class ClarioStar:
    """CLARIOstar; ``receive`` takes bytes, frames are binary and end after their length."""

    def __init__(
        self,
        absorbance: Absorbance,
        physics_h: Clock,
        wall_s: Clock,
        settings: ClarioStarSettings | None = None,
    ) -> None:
        self.settings = settings or ClarioStarSettings()
        self.revision = 0
        """Grows whenever the durable state has changed."""
        self._absorbance, self._physics_h, self._wall_s = absorbance, physics_h, wall_s
        self._buffer = bytearray()
        self._heard_s = -math.inf
        self._initialised = False
        self._drawer_open = False
        self._busy_until_s = -math.inf
        self._run: Run | None = None
        self._measured: Measured | None = None
        self._read_began_s = -math.inf
        self._is_unread = False
        self._tenths = 0
        """Of a degree; 0 off, 1 sensors only."""

    @property
    def drawer_open(self) -> bool:
        """True where a hand can reach the plate."""
        return self._drawer_open

    @property
    def reading(self) -> bool:
        """True while the plate is read."""
        return self._done_fraction() < 1

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return the answers to the frames that they complete."""
        now_s, answer = self._wall_s(), b""
        if now_s - self._heard_s > PARTIAL_FRAME_S:
            self._buffer.clear()
        self._heard_s = now_s
        self._buffer += data
        while (payload := take_frame(self._buffer)) is not None:
            said = self._obey(payload)
            answer += framed(said) if said else b""
        return answer

    def poll(self) -> bytes:
        """Return nothing: the reader speaks only when asked."""
        return b""

    def power_cycle(self) -> None:
        """Interrupt the power: data and setpoint are gone, the drawer stays where it is."""
        fresh = ClarioStar(self._absorbance, self._physics_h, self._wall_s, self.settings)
        self.restore({**fresh.state(), "drawer_open": self._drawer_open})

    def _obey(self, payload: bytes) -> bytes:
        family = payload[0]
        if family == REQUEST:
            answer = _REQUESTS.get(payload[1] if len(payload) > 1 else -1)
            return answer(self) if answer is not None else b""
        if family not in _FAMILIES:
            return b""
        if self._busy() and family not in _ALWAYS:
            return self._status()
        return _FAMILIES[family](self, payload)

    # --- what the reader is doing

    def _done_fraction(self) -> float:
        elapsed_s = self._wall_s() - self._read_began_s
        return min(elapsed_s / max(self.settings.measure_s, 1e-9), 1.0)

    def _busy(self) -> bool:
        return self.reading or self._wall_s() < self._busy_until_s

    def _flags(self) -> bytes:
        """Return the four status bytes."""
        finished = self._is_unread and not self.reading
        first, second, third = AWAKE, 0, 0
        if self._busy() or (finished and self.settings.keeps_busy):
            first |= BUSY
        if self.reading or (finished and self.settings.keeps_busy):
            first |= RUNNING if self.settings.shows_running else 0
            second |= READING_SECOND_BYTE
            third |= READING_WELLS | PROBED
        elif finished:
            second |= UNREAD
        third |= INITIALISED if self._initialised else 0
        third |= DRAWER_OPEN if self._drawer_open else 0
        third |= PLATE if self.settings.plate and not self._drawer_open else 0
        return bytes([first, second, third, 0])

    def _status(self, _: bytes = b"") -> bytes:
        tail = bytes(6)
        if self._is_unread and not self.reading and self.settings.keeps_busy:
            tail = FINISHED_TAIL
        bottom = top = 0
        if self._tenths:
            bottom = self._tenths if self._tenths > 1 else round(self.settings.temperature_c * 10)
            top = bottom + (5 if self._tenths > 1 else 0)
        sensors = bottom.to_bytes(2, "big") + top.to_bytes(2, "big")
        return bytes([INITIALISE]) + self._flags() + tail + sensors + b"\xc0"

    def _temperature_c(self) -> float:
        return self._tenths / 10 if self._tenths > 1 else self.settings.temperature_c

    # --- commands

    def _initialise(self, _: bytes) -> bytes:
        self._initialised = True
        return self._move(self.settings.initialise_s)

    def _tray(self, payload: bytes) -> bytes:
        if self._initialised and len(payload) > 1 and payload[1] in (0, 1):
            is_open = payload[1] == 1
            moves = is_open != self._drawer_open
            self._drawer_open = is_open
            return self._move(self.settings.drawer_s if moves else 0.0)
        return self._status()

    def _move(self, seconds: float) -> bytes:
        self._busy_until_s = self._wall_s() + seconds
        self.revision += 1
        return self._status()

    def _start(self, payload: bytes) -> bytes:
        """Read the plate at once and tell the counts as the time of a read passes."""
        run = read_run(payload)
        if run is None or not self._initialised or self._drawer_open:
            return self._status()
        self._run, self._measured = run, self._measure(run)
        self._read_began_s, self._is_unread = self._wall_s(), True
        self.revision += 1
        return (bytes([TRAY]) + self._flags()).ljust(ACCEPTED_BYTES, b"\x00")

    def _measure(self, run: Run) -> Measured:
        rows, columns = zip(*run.wells, strict=True)
        dark = self.settings.dark_subtraction
        wobble = 1 + 0.01 * np.sin(np.arange(len(run.wells)))
        reference_dark = REFERENCE_DARK if dark else 0
        reference = np.round(REFERENCE_FULL * wobble)
        groups = []
        for nm in run.wavelengths_nm:
            plate = np.asarray(self._absorbance(nm), dtype=float)
            optical_density = np.nan_to_num(plate[rows, columns], nan=EMPTY_WELL_OD, posinf=99.0)
            light = np.where(optical_density > BRIGHTEST_OD, 0.0, 10.0**-optical_density)
            counted = light * SAMPLE_FULL * reference / REFERENCE_FULL
            groups.append(counted + SAMPLE_DARK if dark else counted)
        groups += [full * wobble for full, _ in OTHER_CHANNELS]
        groups.append(reference + reference_dark)
        calibration = (
            *((SAMPLE_FULL, SAMPLE_DARK) for _ in run.wavelengths_nm),
            *OTHER_CHANNELS,
            (REFERENCE_FULL, reference_dark),
        )
        counts = np.clip(np.round(np.array(groups)), 0, 2**32 - 1).astype(np.uint32)
        return Measured(counts, calibration)

    def _stop(self, _: bytes) -> bytes:
        if self.reading:
            self._run, self._measured, self._is_unread = None, None, False
            self._read_began_s = -math.inf
            self.revision += 1
        return self._status()

    def _incubate(self, payload: bytes) -> bytes:
        tenths = int.from_bytes(payload[1:3], "big")
        if len(payload) == 3 and tenths <= WARMEST_TENTHS:
            self._tenths = tenths
            self.revision += 1
        return self._status()

    # --- requests

    def _data(self) -> bytes:
        expected = self._measured.expected if self._measured is not None else 0
        written = int(expected * self._done_fraction())
        answer = data_payload(
            self._measured, written, self._flags(), self._temperature_c(), self._tenths > 0
        )
        if written == expected and self._is_unread:
            self._is_unread = False
            self.revision += 1
        return answer

    def _firmware(self) -> bytes:
        return FIRMWARE_ANSWER

    def _eeprom(self) -> bytes:
        answer = bytearray(EEPROM_BYTES)
        answer[0:4] = bytes([EEPROM, AWAKE, 0x00, 0x24])
        answer[11] = 1
        return bytes(answer)

    def _focus(self) -> bytes:
        return (bytes([0x17]) + self._flags()).ljust(FOCUS_BYTES, b"\x00")

    def _order(self) -> bytes:
        wells = self._run.wells if self._run is not None else ()
        head = (bytes([ORDER]) + self._flags()).ljust(ORDER_BYTES, b"\x00")
        return head + bytes(number + 1 for well in wells for number in well)

    def _hardware(self, _: bytes) -> bytes:
        return (bytes([FIRMWARE]) + self._flags()).ljust(HARDWARE_BYTES, b"\x00")

    # --- durable state

    def state(self) -> dict[str, Any]:
        """Return everything that outlives the process, ready for JSON."""
        measured, run = self._measured, self._run
        read = None
        if measured is not None and run is not None:
            read = {
                "wells": [list(well) for well in run.wells],
                "wavelengths_nm": list(run.wavelengths_nm),
                "counts": measured.counts.tolist(),
                "full_and_dark": [list(pair) for pair in measured.full_and_dark],
            }
        return {
            "initialised": self._initialised,
            "drawer_open": self._drawer_open,
            "tenths": self._tenths,
            "is_unread": self._is_unread,
            "read": read,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state; a read or move that was going on is finished."""
        self._initialised, self._drawer_open = state["initialised"], state["drawer_open"]
        self._tenths, self._is_unread = state["tenths"], state["is_unread"]
        self._run = self._measured = None
        if (read := state["read"]) is not None:
            wells = tuple((row, column) for row, column in read["wells"])
            self._run = Run(wells, tuple(read["wavelengths_nm"]))
            pairs = tuple((full, dark) for full, dark in read["full_and_dark"])
            self._measured = Measured(np.array(read["counts"], dtype=np.uint32), pairs)
        self._read_began_s = self._busy_until_s = -math.inf
        self._buffer = bytearray()
        self.revision += 1


_ALWAYS = frozenset({STATUS, POLL, HARDWARE, STOP})
"""Families that the reader takes while it is busy; requests are others."""
_FAMILIES: dict[int, Callable[[ClarioStar, bytes], bytes]] = {
    INITIALISE: ClarioStar._initialise,
    TRAY: ClarioStar._tray,
    RUN: ClarioStar._start,
    TEMPERATURE: ClarioStar._incubate,
    POLL: ClarioStar._status,
    STOP: ClarioStar._stop,
    STATUS: ClarioStar._status,
    HARDWARE: ClarioStar._hardware,
}
"""Family -> what the reader does with a payload, and answers."""
_REQUESTS: dict[int, Callable[[ClarioStar], bytes]] = {
    DATA: ClarioStar._data,
    EEPROM: ClarioStar._eeprom,
    FIRMWARE: ClarioStar._firmware,
    FOCUS: ClarioStar._focus,
    ORDER: ClarioStar._order,
}
"""What is requested -> its answer."""
