"""BioTek Synergy H1 or Cytation absorbance reader. Its bytes are in `biotek_wire`.

Belongs here: one end-point absorbance of the 96-well plate in the drawer per wavelength. Not here:
other modes: the fields of their read definitions are not known well enough to write one.
Source: recorded bytes in PyLabRobot (MIT), ``agilent/biotek``. Not tried on the real device.

The reader pushes the body of a read by itself when it is done; the wait for it is a row of short
looks, so that a stop finds the port free and a study's clock goes on.
"""

from __future__ import annotations

import hashlib
import logging
import math
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
from instruments.plate_readers.biotek_wire import (
    END,
    SLAS_96,
    WAVELENGTHS_NM,
    ack_length,
    answer_length,
    decode_absorbance,
    decode_ack,
    decode_answer,
    decode_body,
    decode_temperature_c,
    encode_read_definition,
)
from instruments.plate_readers.wavelengths import check_wavelengths
from instruments.transport import NotSent, PortSettings, Transport

RETRY: Final[dict[str, Literal["safe", "never"]]] = {
    "C": "safe",  # serial number
    "e": "safe",  # firmware
    "h": "safe",  # temperature
    "y": "never",  # plate geometry; a second letter would be taken for its parameter
    "D": "never",  # read definition; as above
    "O": "never",  # run
}
"""Verb -> whether a lost or garbled answer lets us ask once more; ``x`` (abort) has no answer."""
RECORDED_NM: Final = 580
"""Wavelength of the only read definition of absorbance that was recorded."""
LOOK_S: Final = 0.1
"""One look for the body of a read, real seconds."""
PAUSE_IN_BODY_S: Final = 30.0
"""Longest silence inside a body: the reader may write row by row as it reads."""

_log = logging.getLogger(__name__)


class BioTek:
    """Absorbance reader with one drawer for a 96-well plate."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        other_wavelengths: bool = False,
        plate_geometry: Literal["as_set", "slas_96"] = "as_set",
        read_limit_s: float = 300.0,
        answer_deadline_s: float = 10.0,
        wait_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._transport = transport
        self._other_wavelengths = other_wavelengths
        self._plate_geometry = plate_geometry
        self._read_limit_s = read_limit_s
        self._deadline_s = answer_deadline_s
        self._wait_s = wait_s
        self._stopped = False
        self.identity = ""
        """What the reader said of itself when the bench was opened."""
        self._serial_number = ""
        self._met_at: int | None = None

    def open(self) -> None:
        """Ask for serial number, firmware and temperature; moves nothing."""
        with self._transport.owned():
            self._meet()
            firmware = " ".join(self._ask("e").split())
            self.identity = f"serial number {self._serial_number}, firmware {firmware}"
            self._temperature_c()

    def close(self) -> None:
        """Send nothing: the reader is left as it is."""

    def read_absorbance(
        self, plate_id: str, wavelengths_nm: tuple[int, ...], time_h: float
    ) -> AbsorbancePlate:
        """Read the plate in the drawer once at each wavelength, 230..999 nm.

        ``absorbance`` is (8, 12) OD per wavelength, NaN with a flag where the reader gave no
        number; negative OD is a number. ``raw_sha256`` is of the bodies, in the order of
        ``wavelengths_nm``. ValueError for wavelengths; `DeviceRejected`, `FrameError` or
        `TransportTimeout` otherwise.
        """
        check_wavelengths(self.name, plate_id, wavelengths_nm, WAVELENGTHS_NM)
        unknown = [w for w in wavelengths_nm if w != RECORDED_NM]
        if unknown and not self._other_wavelengths:
            raise ValueError(
                f"{self.name} is asked for {unknown} nm; the read definition is recorded at "
                f"{RECORDED_NM} nm only. Try others at the bench first, then set "
                "other_wavelengths = true in lab.toml"
            )
        self._stopped = False
        temperature_c: float | None = None
        absorbance, flags, raw = {}, {}, b""
        for wavelength_nm in wavelengths_nm:
            self._refuse_if_stopped(plate_id)
            with self._transport.owned():  # what a stop or a lost port breaks sends nothing more
                if self._met_at != self._transport.generation:
                    self._meet()
                if temperature_c is None:  # also shows that no earlier read still writes
                    temperature_c = self._temperature_c()
                    if self._plate_geometry == "slas_96":
                        self._set("y", SLAS_96.encode() + END)
                self._set("D", encode_read_definition(wavelength_nm))
                self._ask("O")
            body = self._wait_for_body(plate_id)
            raw += body
            try:
                absorbance[wavelength_nm], missing = decode_absorbance(decode_body(body))
            except (FrameError, DeviceRejected) as trouble:
                raise type(trouble)(
                    f"{self.name}, plate {plate_id} at {wavelength_nm} nm: {trouble}"
                ) from trouble
            flags.update({(wavelength_nm, well): reason for well, reason in missing.items()})
        return AbsorbancePlate(
            plate_id=plate_id,
            time_h=time_h,
            absorbance=absorbance,
            flags=flags,
            temperature_c=math.nan if temperature_c is None else temperature_c,
            raw_sha256=hashlib.sha256(raw).hexdigest(),
        )

    def stop(self) -> None:
        """Give up a running read; the plate stays in the drawer. Safe to repeat, also while nothing
        runs."""
        self._stopped = True
        with self._transport.owned(urgent=True):
            self._transport.send_now(b"x")
            self._transport.drain(quiet_s=0.3, limit_s=3.0)  # what it answers is not known

    def _meet(self) -> None:
        """Ask who is there; `InstrumentError` where it is another reader than before."""
        generation = self._transport.generation
        serial_number = self._ask("C").strip()
        if self._serial_number not in ("", serial_number):
            raise InstrumentError(
                f"{self.name} was the reader with serial number {self._serial_number} and is now "
                f"{serial_number}; open the bench again"
            )
        self._serial_number, self._met_at = serial_number, generation

    def _temperature_c(self) -> float:
        try:
            return decode_temperature_c(self._ask("h"))
        except DeviceRejected as refusal:  # a reader without incubator still reads plates
            _log.warning("%s gives no temperature: %s", self.name, refusal)
            return math.nan

    def _wait_for_body(self, plate_id: str) -> bytes:
        waited_s, step_s = 0.0, 0.1
        while True:
            try:
                first = self._transport.read_answer(
                    ack_length, deadline_s=LOOK_S, inter_byte_s=LOOK_S
                )
                break
            except Interrupted:
                raise
            except TransportTimeout as silence:
                self._refuse_if_stopped(plate_id)
                if waited_s >= self._read_limit_s:
                    raise TransportTimeout(
                        f"{self.name} gave nothing for plate {plate_id} in {waited_s:.0f} s; look "
                        "at the reader"
                    ) from silence
            self._wait_s(step_s)
            waited_s, step_s = waited_s + LOOK_S + step_s, min(2 * step_s, 2.0)
        rest = self._transport.read_answer(
            answer_length,
            deadline_s=self._read_limit_s,
            inter_byte_s=min(PAUSE_IN_BODY_S, self._read_limit_s),
        )
        self._refuse_if_stopped(plate_id)
        return first + rest

    def _refuse_if_stopped(self, plate_id: str) -> None:
        if self._stopped:
            raise InstrumentError(f"{self.name}: the read of plate {plate_id} was stopped")

    def _ask(self, verb: str) -> str:
        """Send a verb without parameter; return the payload of its answer."""
        return self._transact(verb, lambda: decode_answer(self._exchange(verb.encode())))

    def _set(self, verb: str, parameter: bytes) -> str:
        """Send a verb and, once it is acknowledged, its parameter."""

        def sent() -> str:
            decode_ack(self._exchange(verb.encode(), ack_length))
            return decode_answer(self._exchange(parameter), to_parameter=True)

        return self._transact(verb, sent)

    def _exchange(
        self, sent: bytes, length: Callable[[bytes], int | None] = answer_length
    ) -> bytes:
        return self._transport.exchange(sent, length, deadline_s=self._deadline_s, inter_byte_s=2.0)

    def _transact(self, verb: str, once: Callable[[], str]) -> str:
        attempts = 2 if RETRY[verb] == "safe" else 1
        with self._transport.owned():
            while True:
                attempts -= 1
                try:
                    return once()
                except (NotSent, Interrupted):
                    raise
                except DeviceRejected as refusal:
                    raise DeviceRejected(f"{self.name} refused {verb}: {refusal}") from refusal
                except (TransportTimeout, FrameError) as trouble:
                    self._transport.garbled(trouble)
                    with suppress(InstrumentError):
                        self._transport.drain(quiet_s=0.1, limit_s=2.0)
                    if not attempts:
                        raise type(trouble)(f"{self.name} on {verb}: {trouble}") from trouble


class BioTekEntry(PlateReaderEntry):
    """A BioTek reader in lab.toml."""

    other_wavelengths: bool = False
    """Whether the recorded read definition is sent with other wavelengths than the recorded one."""
    plate_geometry: Literal["as_set", "slas_96"] = "as_set"
    """Whether the reader keeps the plate it was last told of, or is told of a standard plate."""


def _build(name: str, port: Transport, entry: BioTekEntry, wait_s: Wait) -> BioTek:
    return BioTek(
        name,
        port,
        other_wavelengths=entry.other_wavelengths,
        plate_geometry=entry.plate_geometry,
        read_limit_s=entry.read_limit_s,
        wait_s=wait_s,
    )


def _recognise(answer: bytes) -> str | None:
    try:
        return f"BioTek reader, serial number {decode_answer(answer).strip()}"
    except InstrumentError:
        return None


MAKE: Final = Make(
    title="BioTek Synergy / Cytation",
    kind="plate_reader",
    entry=BioTekEntry,
    build=_build,
    port=PortSettings(baudrate=9600, stopbits=2, rtscts=True),
    unconfirmed=(
        "the read definition is recorded at 580 nm only; other_wavelengths = true changes its 4 "
        "digits of wavelength and the checksum, nothing else",
        'with plate_geometry = "as_set" the reader uses the plate it was last told of; compare one '
        "plate with Gen5",
        "what statuses other than 0000 mean, and what the reader answers to an abort (x)",
        "that the 3 digits of a body are a temperature; the record keeps the answer to h",
        "some readers talk at 38461 baud: set baudrate",
    ),
    probe=Probe(query=b"C", answer_length=answer_length, recognise=_recognise),
)
