"""Wire format of the BMG CLARIOstar Plus, as public USB captures of one (firmware 1.35) show it.

Belongs here: frames, status, the run of an end-point absorbance and its data, as pure functions.
Not here: moving bytes (`clariostar`). Sources, facts only: the wire reference and the captured
frames of the BioCam fork of PyLabRobot (MIT), PyLabRobot's own driver for statuses.

A frame is ``02 | size u16 | 0c | payload | sum u24 | 0d``, big-endian, the size that of the whole
frame, the sum that of all bytes before it. ``0d`` occurs inside: only the size tells the end.

Data of a read hold one group of counts per wavelength, then two chromatic groups and the reference
group, and a (high, low) pair of calibration counts for each. OD = -log10(sample / high of the
wavelength x high of the reference / reference). The low counts are not subtracted: in a captured
read of OD 2.8 they are above the sample.

Unconfirmed: everything about the original CLARIOstar, which is driven with another run and answers
with other data (both are refused here by their size); how a refused run is answered; that a sample
count of 0 is how too little light is told; what the bytes not named here mean.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from instruments.errors import ChecksumError, FrameError

WAVELENGTHS_NM: Final = (220, 1000)
MOST_WAVELENGTHS: Final = 8
"""In one run."""
ROWS_96, COLUMNS_96 = "ABCDEFGH", 12
SATURATED, NO_NUMBER = "saturated", "no number"

STATUS: Final = bytes.fromhex("80")
HARDWARE_STATUS: Final = bytes.fromhex("81")
INITIALISE: Final = bytes.fromhex("01 00 00 10 02")
DRAWER_OUT: Final = bytes.fromhex("03 01 00 00 00 00")
DRAWER_IN: Final = bytes.fromhex("03 00 00 00 00 00")
DATA: Final = bytes.fromhex("05 02 00 00 00 00 00")
DATA_SO_FAR: Final = bytes.fromhex("05 02 ff ff ff ff 00")
STOP: Final = bytes.fromhex("0b 00")
"""Captured; what was measured is not kept."""
STATUS_TYPE, DATA_TYPE, ACCEPTED_TYPE = 0x01, 0x02, 0x03
"""First byte of the payload of an answer."""

_HEAD, _TAIL = 4, 4
_SLAS_96: Final = struct.pack(
    ">6H3B", 12776, 8548, 1438, 1124, 12776 - 1438, 8548 - 1124, COLUMNS_96, len(ROWS_96), 0
)
"""Length, width, A1 x, A1 y, H12 x, H12 y in 0.01 mm, columns, rows; as captured."""
_ALL_96: Final = b"\xff" * 12 + b"\x00" * 36
_ABSORBANCE_POINT: Final = b"\x02" + b"\x00" * 30
_SEPARATOR: Final = bytes.fromhex("27 0f 27 0f")
_REFERENCE: Final = bytes.fromhex("00 00 00 64 23 28 26 ca 00 00 00 64 00")
_BETWEEN: Final = bytes.fromhex("00 00 00  02 00 00 00 00 00 01 00 00 00 01")
_END: Final = bytes.fromhex("00 01 00")

_DATA_HEADER: Final = 36
_TEMPERATURE_AT: Final = {0x29: 23, 0xA9: 34}
"""Schema of the data -> where its header holds 0.1 deg C; 0 and 1 mean none."""


@dataclass(frozen=True)
class ReaderStatus:
    """What the reader says of itself."""

    busy: bool
    initialised: bool
    drawer_open: bool
    plate_in: bool


@dataclass(frozen=True)
class Progress:
    """How much of a run has been measured, in values of its data."""

    written: int
    expected: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing any more."""
        return self.written >= self.expected > 0


@dataclass(frozen=True)
class MeasuredPlate:
    """The data of one run."""

    absorbance: np.ndarray
    """(n_wavelengths, n_wells) OD, wells row by row; NaN where there is no number."""
    flags: dict[tuple[int, int], str]
    """(index of the wavelength, index of the well) -> `SATURATED` or `NO_NUMBER`."""
    temperature_c: float


def encode_frame(payload: bytes) -> bytes:
    """Return the frame that carries a payload."""
    begin = struct.pack(">BHB", 0x02, len(payload) + _HEAD + _TAIL, 0x0C) + payload
    return begin + sum(begin).to_bytes(3, "big") + b"\x0d"


def answer_length(received: bytes) -> int | None:
    """Return the length of the first frame by its own size field; all that came where it is none,
    for `decode_frame` to refuse."""
    if received[0] != 0x02:
        return len(received)
    if len(received) < _HEAD:
        return None
    size: int = struct.unpack_from(">H", received, 1)[0]
    if size <= _HEAD + _TAIL:
        return len(received)
    return size if len(received) >= size else None


def decode_frame(frame: bytes) -> bytes:
    """Return the payload, which is never empty; `FrameError` or `ChecksumError` where it is not
    whole."""
    if len(frame) <= _HEAD + _TAIL or frame[0] != 0x02 or frame[3] != 0x0C or frame[-1] != 0x0D:
        raise FrameError(f"{frame[:40]!r} is no frame of this reader")
    if struct.unpack_from(">H", frame, 1)[0] != len(frame):
        raise FrameError(f"frame {frame[:40]!r} says another size than its {len(frame)} bytes")
    told, computed = int.from_bytes(frame[-4:-1], "big"), sum(frame[:-4])
    if told != computed:
        raise ChecksumError(f"frame carries the sum {told:06x}, its bytes give {computed:06x}")
    return frame[_HEAD:-_TAIL]


def demand_type(payload: bytes, wanted: int) -> bytes:
    """Return the payload, or raise `FrameError` where it answers something else."""
    if payload[0] != wanted:
        raise FrameError(f"answer of type {payload[0]:02x} came where {wanted:02x} is due")
    return payload


def decode_status(payload: bytes) -> ReaderStatus:
    """Return the status flags of a status answer (16 bytes)."""
    demand_type(payload, STATUS_TYPE)
    if len(payload) != 16:
        raise FrameError(f"status of {len(payload)} bytes came where 16 are due")
    return ReaderStatus(
        busy=bool(payload[1] & 0x30),  # 20 busy, 10 running
        initialised=bool(payload[3] & 0x20),
        drawer_open=bool(payload[3] & 0x01),
        plate_in=bool(payload[3] & 0x02),
    )


def encode_run(
    wavelengths_nm: tuple[int, ...],
    *,
    direction: int = 0x8A,
    settling: int = 5,
    flashes: int = 5,
) -> bytes:
    """Return the payload that reads A1 to H12 once, in the middle of each well.

    ``direction`` is 8a for column by column, each from A down; ``settling`` counts 0.02 s after
    each move. The values that stand here are those of a captured read.
    """
    return b"".join(
        (
            b"\x04" + _SLAS_96 + _ALL_96,
            bytes([direction]) + _ABSORBANCE_POINT + _SEPARATOR,
            bytes([settling, len(wavelengths_nm)]),
            *(struct.pack(">H", 10 * wavelength_nm) for wavelength_nm in wavelengths_nm),
            _REFERENCE + _BETWEEN + struct.pack(">H", flashes) + _END,
        )
    )


def decode_progress(payload: bytes) -> Progress:
    """Return how far a run has come, from the header of its data, whole or not."""
    demand_type(payload, DATA_TYPE)
    if len(payload) < _DATA_HEADER:
        raise FrameError(f"data of {len(payload)} bytes have no header")
    expected, written = struct.unpack_from(">HH", payload, 7)
    return Progress(written=written, expected=expected)


def decode_data(payload: bytes, n_wavelengths: int, n_wells: int = 96) -> MeasuredPlate:
    """Return the OD of a complete run.

    `FrameError` for any size, count of values, of wells or of groups other than these make
    together: nothing is guessed and nothing padded.
    """
    progress = decode_progress(payload)
    n_groups = n_wavelengths + 3
    n_values = n_groups * (n_wells + 2)
    schema = payload[6]
    in_group, wells = struct.unpack_from(">HH", payload, 18)
    if schema not in _TEMPERATURE_AT:
        raise FrameError(f"data of schema {schema:02x} are not known as absorbance")
    if (progress.expected, wells, in_group) != (n_values, n_wells, 1):
        raise FrameError(
            f"data of {progress.expected} values, {wells} wells, {in_group} wavelengths a group "
            f"came where {n_values}, {n_wells}, 1 are due"
        )
    if progress.written != progress.expected or len(payload) != _DATA_HEADER + 4 * n_values:
        raise FrameError(
            f"data of {len(payload)} bytes hold {progress.written} of {progress.expected} values"
        )
    values = np.frombuffer(payload, ">u4", offset=_DATA_HEADER).astype(float)
    counts = values[: n_groups * n_wells].reshape(n_groups, n_wells)
    high = values[n_groups * n_wells :: 2]
    samples, reference = counts[:n_wavelengths], counts[-1]
    if not high[:n_wavelengths].all() or not high[-1]:
        raise FrameError("data carry a calibration of 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        transmission = samples / high[:n_wavelengths, None] * (high[-1] / reference)
        absorbance = -np.log10(transmission)
    flags: dict[tuple[int, int], str] = {}
    for wavelength, well in np.argwhere(~np.isfinite(absorbance)):
        dark = samples[wavelength, well] == 0 and reference[well] > 0
        flags[int(wavelength), int(well)] = SATURATED if dark else NO_NUMBER
    absorbance[~np.isfinite(absorbance)] = math.nan
    tenths: int = struct.unpack_from(">H", payload, _TEMPERATURE_AT[schema])[0]
    return MeasuredPlate(absorbance, flags, tenths / 10 if tenths > 1 else math.nan)
