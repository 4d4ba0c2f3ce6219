"""Molecular Devices SpectraMax absorbance reader (384Plus, M2, M5). Its bytes are in
`spectramax_wire`.

Belongs here: one end-point read of the 96-well plate in the drawer. Not here: what the wells hold.
Not tried on the real device. Unconfirmed: that ``CANCEL`` ends a running read, and the line ends of
the prompts.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Literal

from chiploop.measurement import AbsorbancePlate
from instruments.errors import (
    DeviceRejected,
    FrameError,
    InstrumentError,
    TransportTimeout,
)
from instruments.lab_settings import PlateReaderEntry
from instruments.make import Make, Probe, Wait
from instruments.plate_readers.spectramax_wire import (
    TWO_PROMPTS,
    answer_length,
    decode_answer,
    decode_status,
    decode_transfer,
    encode_command,
)
from instruments.plate_readers.wavelengths import check_wavelengths
from instruments.transport import NotSent, PortSettings, Transport

WAVELENGTHS_NM: Final = (190, 1000)
"""Range of the 384Plus; an M2 or M5 that offers less refuses by itself (error 101)."""
RETRY: Final[dict[str, Literal["safe", "never"]]] = {
    "": "safe",  # wakes the reader
    "STATUS": "safe",
    "TRANSFER": "safe",
    **dict.fromkeys(
        (
            "CLEAR", "XPOS", "YPOS", "STRIP", "CSPEED", "SHAKE", "WAVELENGTH", "CALIBRATE", "MODE",
            "ORDER", "SPEED", "TAG", "NVRAM", "READTYPE", "READ", "CANCEL",
        ),
        "never",
    ),
}  # fmt: skip
"""Verb -> whether a lost or garbled answer lets us ask once more; no other verb is sent. A read of
which one line was lost begins anew."""
READ_SCRIPT: Final = (
    "CLEAR DATA",
    "XPOS 14.380 9.000 12",  # mm: A1, pitch, columns (ANSI SLAS 4)
    "YPOS 11.240 9.000 8",
    "STRIP 1 12",
    "CSPEED 8",
    "SHAKE OFF",
    "WAVELENGTH {wavelengths}",
    "CALIBRATE ONCE",
    "MODE ENDPOINT",
    "ORDER COLUMN",
    "SPEED OFF",
    "TAG OFF",
    "NVRAM CARCOL 100",
    "READTYPE ABSPLA",
    "READ",
)
"""End-point absorbance of the whole plate, as published drivers send it."""

_log = logging.getLogger(__name__)


class SpectraMax:
    """Absorbance reader with one drawer for a 96-well plate."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        read_limit_s: float = 300.0,
        answer_deadline_s: float = 10.0,
        wait_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._transport = transport
        self._read_limit_s = read_limit_s
        self._deadline_s = answer_deadline_s
        self._wait_s = wait_s
        self._stopped = False

    def open(self) -> None:
        """Wake the reader and ask for its status; moves nothing."""
        self._command("")
        decode_status(self._command("STATUS")[0])

    def close(self) -> None:
        """Send nothing: the reader is left as it is."""

    def read_absorbance(
        self, plate_id: str, wavelengths_nm: tuple[int, ...], time_h: float
    ) -> AbsorbancePlate:
        """Read the plate in the drawer at each wavelength, 190..1000 nm.

        ``absorbance`` is (8, 12) OD per wavelength, NaN with a flag where the reader gave no
        number; negative OD is a number. ValueError for wavelengths; `DeviceRejected`, `FrameError`
        or `TransportTimeout` otherwise.
        """
        check_wavelengths(self.name, plate_id, wavelengths_nm, WAVELENGTHS_NM)
        self._stopped = False
        if not decode_status(self._command("STATUS")[0]).idle:
            raise DeviceRejected(f"{self.name} is busy; plate {plate_id} was not read")
        listed = " ".join(str(wavelength_nm) for wavelength_nm in wavelengths_nm)
        for line in READ_SCRIPT:
            self._refuse_if_stopped(plate_id)
            self._command(line.format(wavelengths=listed))
        self._wait_until_idle(plate_id)
        data, raw = self._command("TRANSFER")
        plate = decode_transfer(data, wavelengths_nm)
        return AbsorbancePlate(
            plate_id=plate_id,
            time_h=time_h,
            absorbance=plate.absorbance,
            flags=plate.flags,
            temperature_c=plate.temperature_c,
            raw_sha256=hashlib.sha256(raw).hexdigest(),
        )

    def stop(self) -> None:
        """Give up a running read; the plate stays in the drawer. Safe to repeat, also while nothing
        runs."""
        self._stopped = True
        with self._transport.owned(urgent=True), suppress(DeviceRejected):
            self._command("CANCEL")  # refused where nothing runs

    def _wait_until_idle(self, plate_id: str) -> None:
        waited_s, step_s = 0.0, 0.1
        while not decode_status(self._command("STATUS")[0]).idle:
            self._refuse_if_stopped(plate_id)
            if waited_s >= self._read_limit_s:
                raise TransportTimeout(
                    f"{self.name} still reads plate {plate_id} after {waited_s:.0f} s; look at "
                    "the reader"
                )
            self._wait_s(step_s)
            waited_s, step_s = waited_s + step_s, min(2 * step_s, 2.0)
        self._refuse_if_stopped(plate_id)

    def _refuse_if_stopped(self, plate_id: str) -> None:
        if self._stopped:
            raise InstrumentError(f"{self.name}: the read of plate {plate_id} was stopped")

    def _command(self, text: str) -> tuple[str, bytes]:
        """Send one command; return (data of its second part, raw answer)."""
        verb = text.partition(" ")[0]
        prompts = 2 if verb in TWO_PROMPTS else 1
        attempts = 2 if RETRY[verb] == "safe" else 1
        with self._transport.owned():
            while True:
                attempts -= 1
                try:
                    raw = self._transport.exchange(
                        encode_command(text),
                        partial(answer_length, prompts=prompts),
                        deadline_s=self._deadline_s,
                        inter_byte_s=2.0,
                    )
                    warning, data = decode_answer(raw, prompts)
                except NotSent:
                    raise
                except DeviceRejected as refusal:
                    raise DeviceRejected(f"{self.name} refused !{text}: {refusal}") from refusal
                except (TransportTimeout, FrameError) as trouble:
                    self._transport.garbled(trouble)
                    with suppress(InstrumentError):
                        self._transport.drain(quiet_s=0.1, limit_s=2.0)
                    if attempts:
                        continue
                    raise type(trouble)(f"{self.name} on !{text}: {trouble}") from trouble
                if warning:
                    _log.warning("%s on !%s: %s", self.name, text, warning)
                return data, raw


def _build(name: str, port: Transport, entry: PlateReaderEntry, wait_s: Wait) -> SpectraMax:
    return SpectraMax(name, port, read_limit_s=entry.read_limit_s, wait_s=wait_s)


def _recognise(answer: bytes) -> str | None:
    try:
        _, data = decode_answer(answer, 2)
        decode_status(data)
    except InstrumentError:
        return None
    return f"status {' '.join(data.split())}"


MAKE: Final = Make(
    title="Molecular Devices SpectraMax",
    kind="plate_reader",
    entry=PlateReaderEntry,
    build=_build,
    port=PortSettings(9600),
    unconfirmed=(
        "that CANCEL ends a running read",
        "the line ends around the prompts, and the second part of READTYPE and SPEED",
    ),
    probe=Probe(encode_command("STATUS"), partial(answer_length, prompts=2), _recognise),
)
