"""Bytes of BMG CLARIOstar readers, as the reader reads and writes them.

Belongs here: frames, what a run command asks for, the payload of measured data. Not here: when a
reader answers (clariostar).

Frame: ``02 | size u16 | 0c | payload | sum u24 | 0d``, big-endian, size of the whole frame, plain
sum of the bytes before it. Documented and checked on published frames. The layouts of a run and of
its data are those of a community description of USB captures of a CLARIOstar Plus (firmware 1.35);
an older shape that a published driver sends to the original CLARIOstar is not understood.
UNCONFIRMED: the unexplained bytes of a data header (as captured once), that wells not yet read are
zero, that an overflow is a count of zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STX, HEADER, CR = 0x02, 0x0C, 0x0D
OVERHEAD = 8
LARGEST_FRAME = 1024
"""The reader is sent no longer one."""
ROWS, COLUMNS = 8, 12
WAVELENGTHS_NM = (220, 1000)
MOST_WAVELENGTHS = 8
POINT, SPIRAL, ORBITAL = 0x02, 0x06, 0x32
"""Optic byte of absorbance by the way a well is scanned."""
SCAN_FIELD_BYTES = 5
"""Between separator and settling, where a well is not measured at a point."""
SEPARATOR = bytes.fromhex("270f270f")
REFERENCE = bytes.fromhex("00000064232826ca0000006400")
SETTLING_FIELDS = (bytes.fromhex("000000"), bytes.fromhex("000005"))
ENDPOINT = bytes.fromhex("0200000000000100000001")
"""Ends with the number of cycles."""
LAST = bytes.fromhex("000100")
MOST_FLASHES = 200
UNEXPLAINED = bytes.fromhex("001dffe2022003")
"""Bytes 11 to 17 of a data header, as captured."""
PLAIN_SCHEMA, INCUBATED_SCHEMA = 0x29, 0xA9


def framed(payload: bytes) -> bytes:
    """Return a payload in its frame."""
    size = len(payload) + OVERHEAD
    body = bytes([STX]) + size.to_bytes(2, "big") + bytes([HEADER]) + payload
    return body + (sum(body) & 0xFFFFFF).to_bytes(3, "big") + bytes([CR])


def take_frame(buffer: bytearray) -> bytes | None:
    """Take the first whole frame out of a buffer and return its payload; drop what is none."""
    while buffer:
        size = int.from_bytes(buffer[1:3], "big")
        too_early = len(buffer) < 4
        if buffer[0] != STX or not (
            too_early or (OVERHEAD < size <= LARGEST_FRAME and buffer[3] == HEADER)
        ):
            del buffer[0]
            continue
        if too_early or len(buffer) < size:
            return None
        frame = bytes(buffer[:size])
        if framed(frame[4:-4]) != frame:
            del buffer[0]
            continue
        del buffer[:size]
        return frame[4:-4]
    return None


@dataclass(frozen=True)
class Run:
    """What a run command asks for: endpoint absorbance."""

    wells: tuple[tuple[int, int], ...]
    """Row and column from 0, row by row."""
    wavelengths_nm: tuple[int, ...]


def read_run(payload: bytes) -> Run | None:
    """Return what a run command asks for; None for another measurement or a broken command."""
    head, separator, rest = payload[:96], payload[96:100], payload[100:]
    if len(head) < 96 or separator != SEPARATOR or head[13:16] != bytes([COLUMNS, ROWS, 0]):
        return None
    mask, direction, optic, shaking = head[16:64], head[64], head[65], head[66:96]
    if not direction & 0x02 or optic not in (POINT, SPIRAL, ORBITAL) or any(shaking):
        return None
    bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8))
    chosen = np.flatnonzero(bits)
    if not chosen.size or chosen[-1] >= ROWS * COLUMNS:
        return None
    if optic != POINT:
        rest = rest[SCAN_FIELD_BYTES:]
    count = rest[1] if len(rest) > 1 else 0
    tail_at = 2 + 2 * count
    tenths = [int.from_bytes(rest[at : at + 2], "big") for at in range(2, tail_at, 2)]
    if not 1 <= count <= MOST_WAVELENGTHS or not _is_endpoint(rest[tail_at:]):
        return None
    shortest, longest = WAVELENGTHS_NM
    if any(t % 10 or not shortest <= t // 10 <= longest for t in tenths):
        return None
    wells = tuple(divmod(int(at), COLUMNS) for at in chosen)
    return Run(wells, tuple(t // 10 for t in tenths))


def _is_endpoint(tail: bytes) -> bool:
    """Return whether what follows the wavelengths is an endpoint read without pauses."""
    reference, settling, endpoint = tail[:13], tail[13:16], tail[16:27]
    flashes, last = int.from_bytes(tail[27:29], "big"), tail[29:]
    return (
        (reference, endpoint, last) == (REFERENCE, ENDPOINT, LAST)
        and settling in SETTLING_FIELDS
        and 1 <= flashes <= MOST_FLASHES
    )


@dataclass(frozen=True)
class Measured:
    """Counts of a read, group by group: wavelengths, two further channels, reference."""

    counts: np.ndarray
    """(n_groups, n_wells), unsigned."""
    full_and_dark: tuple[tuple[int, int], ...]
    """Calibration of each group."""

    @property
    def expected(self) -> int:
        """Numbers that a complete answer holds."""
        return int(self.counts.size) + 2 * len(self.full_and_dark)


def data_payload(
    measured: Measured | None,
    written: int,
    status: bytes,
    temperature_c: float,
    incubated: bool,
) -> bytes:
    """Return the answer to a request for data.

    Parameters
    ----------
    measured : None where nothing was read: a header only
    written : of the expected numbers
    status : the four status bytes
    """
    groups, wells = measured.counts.shape if measured is not None else (0, 0)
    tenths = round(temperature_c * 10).to_bytes(2, "big")
    header = bytearray(36)
    header[0:5] = bytes([0x02]) + status
    header[6] = INCUBATED_SCHEMA if incubated else PLAIN_SCHEMA
    header[7:9] = (measured.expected if measured is not None else 0).to_bytes(2, "big")
    header[9:11] = written.to_bytes(2, "big")
    header[11:18] = UNEXPLAINED
    header[18:20] = (1 if groups else 0).to_bytes(2, "big")
    header[20:22] = wells.to_bytes(2, "big")
    header[22], header[28], header[29] = 1, 1, 1
    header[23:25] = (1).to_bytes(2, "big") if incubated else tenths
    if incubated:
        header[34:36] = tenths
    if measured is None:
        return bytes(header)
    numbers = [*measured.counts.ravel().tolist(), *sum(measured.full_and_dark, ())]
    numbers[written:] = [0] * (len(numbers) - written)
    return bytes(header) + np.array(numbers, dtype=">u4").tobytes()
