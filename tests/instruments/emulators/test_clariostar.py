"""CLARIOstar emulator: published frames, a read from start to data, refusals, garbage."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.clariostar import ClarioStar, ClarioStarSettings
from tests.instruments.emulators.bench_clock import Clocks
from tests.instruments.serial_rows import rows

PLATE = {450: np.arange(96.0).reshape(8, 12) / 40, 570: np.full((8, 12), -0.0012)}
PLATE[450][0, 1] = math.nan
PLATE[450][7, 11] = 4.1


def framed(payload: bytes) -> bytes:
    """Return a frame, summed here and not by the emulator."""
    body = struct.pack(">BHB", 0x02, len(payload) + 8, 0x0C) + payload
    return body + sum(body).to_bytes(3, "big") + b"\x0d"


def payload_of(answer: bytes) -> bytes:
    assert framed(answer[4:-4]) == answer
    return answer[4:-4]


STATUS, INITIALISE = framed(b"\x80"), framed(bytes.fromhex("01000010 0200"))
OPEN, CLOSE = framed(bytes.fromhex("030100000000")), framed(bytes.fromhex("030000000000"))
DATA, PROGRESS = framed(bytes.fromhex("05020000000000")), framed(bytes.fromhex("0502ffffffff00"))
STOP = framed(b"\x0b\x00")
ALL_WELLS = b"\xff" * 12
COLUMN_1 = bytes.fromhex("800800800800800800800800")
SPECTRUM = bytes.fromhex(
    "0200900c0431e82164059e04642c4a1d000c0800"
    + "ff" * 12
    + "00" * 36
    + "0a02"
    + "00" * 30
    + "270f270f05000bb81b580032232826ca0000006400000000020000000000010000000100050001000013740d"
)
"""A captured run of a spectrum."""


def run(*wavelengths_nm: int, wells: bytes = ALL_WELLS, **changes: bytes) -> bytes:
    """Return a run command as the published layout has it."""
    parts = {
        "plate": bytes.fromhex("31e82164059e04642c4a1d00"),
        "size": bytes([12, 8, 0]),
        "direction": b"\x0a",
        "optic": b"\x02",
        "shaking": bytes(30),
        "separator": bytes.fromhex("270f270f"),
        "scan": b"",
        "settling": b"\x05",
        "flashes": b"\x00\x05",
        "cycles": b"\x01",
    } | changes
    nm = b"".join(struct.pack(">H", nm * 10) for nm in wavelengths_nm)
    return framed(
        b"\x04" + parts["plate"] + parts["size"] + wells.ljust(48, b"\x00")
        + parts["direction"] + parts["optic"] + parts["shaking"] + parts["separator"]
        + parts["scan"] + parts["settling"] + bytes([len(wavelengths_nm)]) + nm
        + bytes.fromhex("00000064232826ca0000006400" "000000" "02000000000001000000")
        + parts["cycles"] + parts["flashes"] + bytes.fromhex("000100")
    )  # fmt: skip


def reader(clocks: Clocks | None = None, **changes: object) -> ClarioStar:
    link = clocks or Clocks()
    asked = ClarioStarSettings(**{"measure_s": 1.0, **changes})  # type: ignore[arg-type]
    device = ClarioStar(lambda nm: PLATE[nm], lambda: link.physics_h, lambda: link.wall_s, asked)
    device.receive(INITIALISE)
    return device


def flags(device: ClarioStar) -> str:
    return payload_of(device.receive(STATUS))[:5].hex()


def optical_density(answer: bytes, wavelengths: int) -> np.ndarray:
    """Return the published formula's OD, (wavelengths, wells); without light infinite."""
    payload = payload_of(answer)
    wells = int.from_bytes(payload[20:22], "big")
    numbers = np.frombuffer(payload[36:], dtype=">u4").astype(float)
    groups = numbers[: wells * (wavelengths + 3)].reshape(-1, wells)
    pairs = numbers[groups.size :].reshape(-1, 2)
    assert len(pairs) == len(groups)
    transmitted = groups[:wavelengths] / pairs[:wavelengths, :1] * pairs[-1, 0] / groups[-1]
    with np.errstate(divide="ignore"):
        return -np.log10(transmitted)


def finished(device: ClarioStar, clocks: Clocks, *wavelengths_nm: int) -> ClarioStar:
    device.receive(run(*wavelengths_nm))
    clocks.wall_s += 1.0
    return device


def finished_original() -> ClarioStar:
    clocks = Clocks()
    return finished(reader(clocks, keeps_busy=True), clocks, 450)


ROWS: dict[str, tuple[Callable[[], ClarioStar], int, int]] = {
    "status query": (reader, 0x01, 24),
    "hw status query": (reader, 0x09, 114),
    "get data final": (reader, 0x02, 44),
    "get data progressive": (reader, 0x02, 44),
    "initialise (PLR payload)": (reader, 0x01, 24),
    "tray out (PLR payload)": (reader, 0x01, 24),
    "tray in (PLR payload)": (reader, 0x01, 24),
}
"""Meaning of a row without an answer -> a reader, the type and the size of what it answers."""
FINISHED = "status frame: measurement finished, busy bit set (PLR waits for exactly this)"


def test_every_row_is_judged(shared_data: Path) -> None:
    assert {meaning for _, _, meaning in rows(shared_data, "CLARIOstar")} == {*ROWS, FINISHED}


@pytest.mark.parametrize("meaning", ROWS)
def test_published_commands_are_answered(shared_data: Path, meaning: str) -> None:
    ((sent, _),) = (r[:2] for r in rows(shared_data, "CLARIOstar") if r[2] == meaning)
    new_reader, kind, size = ROWS[meaning]
    answer = new_reader().receive(sent)
    assert (payload_of(answer)[0], len(answer)) == (kind, size)
    device = new_reader()
    assert b"".join(device.receive(bytes([byte])) for byte in sent) == answer


def test_recorded_status_of_a_finished_read(shared_data: Path) -> None:
    (recorded,) = (r[1] for r in rows(shared_data, "CLARIOstar") if r[2] == FINISHED)
    device = finished_original()
    assert device.receive(STATUS) == recorded
    device.receive(DATA)
    assert flags(device) == "0105002200"


@pytest.mark.parametrize(
    ("commands", "captured"),
    [
        ((), "0200180c010500220000000000000000000000c000010e0d"),
        ((OPEN,), "0200180c010500210000000000000000000000c000010d0d"),
    ],
)
def test_captured_status_frames(commands: tuple[bytes, ...], captured: str) -> None:
    device = reader()
    for command in commands:
        device.receive(command)
    assert device.receive(STATUS) == bytes.fromhex(captured)


def test_captured_firmware_answer() -> None:
    assert reader().receive(framed(bytes.fromhex("05090000000000"))) == bytes.fromhex(
        "0200270c0a050024000005464e6f7620323020323032300031313a35313a32310000010004ec0d"
    )


def test_a_read_goes_from_accepted_over_busy_to_unread_data() -> None:
    clocks = Clocks()
    device = reader(clocks)
    accepted = device.receive(run(450))
    assert (payload_of(accepted)[0], len(accepted)) == (0x03, 53)
    clocks.wall_s = 0.5
    assert flags(device) == "0125042e00" and device.reading
    clocks.wall_s = 1.0
    assert flags(device) == "0105012200" and not device.reading
    assert len(device.receive(DATA)) == 1612
    assert flags(device) == "0105002200"


def test_the_numbers_of_a_read_grow_while_it_goes_on() -> None:
    clocks = Clocks()
    device = reader(clocks)
    device.receive(run(450))
    begun = payload_of(device.receive(PROGRESS))
    assert begun[:5].hex() == "0225042e00"
    assert struct.unpack(">HH", begun[7:11]) == (392, 0)
    assert begun[11:23].hex() == "001dffe20220030001006001"
    clocks.wall_s = 0.5
    answer = device.receive(PROGRESS)
    half = payload_of(answer)
    assert struct.unpack(">HH", half[7:11]) == (392, 196)
    assert any(half[36 + 195 * 4 : 36 + 196 * 4]) and not any(half[36 + 196 * 4 :])
    clocks.wall_s = 1.0
    whole = device.receive(PROGRESS)
    assert struct.unpack(">HH", payload_of(whole)[7:11]) == (392, 392)
    assert payload_of(device.receive(DATA))[5:] == payload_of(whole)[5:]


def test_optical_densities_follow_from_the_counts_by_the_published_formula() -> None:
    clocks = Clocks()
    device = finished(reader(clocks), clocks, 450, 570)
    found = optical_density(device.receive(DATA), 2).reshape(2, 8, 12)
    expected = PLATE[450].copy()
    expected[0, 1], expected[7, 11] = 0.04, math.inf
    assert found[0] == pytest.approx(expected, abs=1e-3)
    assert found[1] == pytest.approx(PLATE[570], abs=1e-5)


def test_only_masked_wells_are_read_row_by_row() -> None:
    clocks = Clocks()
    device = reader(clocks)
    device.receive(run(450, wells=COLUMN_1))
    clocks.wall_s = 1.0
    answer = device.receive(DATA)
    assert optical_density(answer, 1)[0] == pytest.approx(PLATE[450][:, 0], abs=1e-3)
    order = payload_of(device.receive(framed(bytes.fromhex("051d0000000000"))))
    assert len(order) == 38 and order[22:26] == bytes([1, 1, 2, 1])


def test_one_well_makes_the_smallest_documented_answer() -> None:
    clocks = Clocks()
    device = reader(clocks)
    device.receive(run(450, wells=b"\x80"))
    clocks.wall_s = 1.0
    assert len(device.receive(DATA)) == 92


def test_the_dialect_with_dark_counts() -> None:
    clocks = Clocks()
    device = finished(reader(clocks, dark_subtraction=True), clocks, 570)
    numbers = np.frombuffer(payload_of(device.receive(DATA))[36:], dtype=">u4").astype(float)
    sample, reference, pairs = numbers[:96], numbers[288:384], numbers[384:].reshape(4, 2)
    (full, dark), (reference_full, reference_dark) = pairs[0], pairs[3]
    light = (sample - dark) / full / ((reference - reference_dark) / reference_full)
    assert -np.log10(light) == pytest.approx([-0.0012] * 96, abs=1e-5)


@pytest.mark.parametrize(
    "command",
    [
        run(), run(*[450] * 9), run(219), run(1001), run(450, cycles=b"\x02"),
        run(450, separator=bytes(4)), run(450, size=bytes([24, 16, 0])), run(450, optic=b"\x00"),
        run(450, flashes=bytes(2)), run(450, flashes=b"\x00\xc9"), run(450, scan=b"\x00"),
        run(450, shaking=b"\x02".rjust(30, b"\x00")), run(450, wells=b""),
        run(450, wells=b"\xff" * 13), run(450, direction=b"\x08"), SPECTRUM,
    ],
)  # fmt: skip
def test_another_measurement_is_not_accepted(command: bytes) -> None:
    answer = reader().receive(command)
    assert (payload_of(answer)[0], len(answer)) == (0x01, 24)


def test_other_ways_of_scanning_a_well_are_accepted() -> None:
    field = bytes.fromhex("0203029200")
    assert payload_of(reader().receive(run(450, optic=b"\x32", scan=field)))[0] == 0x03
    assert payload_of(reader().receive(run(450, direction=b"\x8a")))[0] == 0x03


def test_no_read_before_initialising_or_with_the_drawer_open_or_during_a_read() -> None:
    clocks = Clocks()
    fresh = ClarioStar(lambda nm: PLATE[nm], lambda: 0.0, lambda: clocks.wall_s)
    assert payload_of(fresh.receive(run(450)))[:5].hex() == "0105000200"
    device = reader(clocks)
    device.receive(OPEN)
    assert device.drawer_open
    assert payload_of(device.receive(run(450)))[0] == 0x01
    device.receive(CLOSE)
    assert payload_of(device.receive(run(450)))[0] == 0x03
    assert payload_of(device.receive(run(450)))[0] == 0x01
    device.receive(OPEN)
    assert not device.drawer_open


def test_the_reader_is_busy_while_it_initialises_and_moves_the_drawer() -> None:
    clocks = Clocks()
    device = reader(clocks, initialise_s=3.0, drawer_s=2.0)
    assert flags(device) == "0125002200"
    clocks.wall_s = 3.0
    assert payload_of(device.receive(OPEN))[:5].hex() == "0125002100"
    clocks.wall_s = 5.0
    assert flags(device) == "0105002100"


def test_a_stopped_read_saves_nothing() -> None:
    clocks = Clocks()
    device = reader(clocks, shows_running=True)
    device.receive(run(450))
    assert flags(device) == "0135042e00"
    device.receive(STOP)
    assert flags(device) == "0105002200"
    answer = device.receive(DATA)
    assert len(answer) == 44 and struct.unpack(">HH", payload_of(answer)[7:11]) == (0, 0)


def test_temperatures_stand_in_the_status_while_the_sensors_are_on() -> None:
    clocks = Clocks()
    device = reader(clocks)

    def temperatures() -> tuple[int, ...]:
        return struct.unpack(">HH", payload_of(device.receive(STATUS))[11:15])

    assert temperatures() == (0, 0)
    for tenths, shown in ((1, (245, 245)), (370, (370, 375)), (451, (370, 375)), (0, (0, 0))):
        device.receive(framed(b"\x06" + struct.pack(">H", tenths)))
        assert temperatures() == shown
    plain = payload_of(finished(device, clocks, 450).receive(DATA))
    assert (plain[6], int.from_bytes(plain[23:25], "big")) == (0x29, 245)
    device.receive(framed(b"\x06\x01\x72"))
    warm = payload_of(device.receive(DATA))
    assert (warm[6], *struct.unpack(">H9xH", warm[23:36])) == (0xA9, 1, 370)


def test_broken_frames_and_unknown_families_are_not_answered() -> None:
    device = reader()
    for at in range(len(STATUS)):
        broken = bytearray(STATUS)
        broken[at] ^= 0x10
        clean = reader()
        assert clean.receive(bytes(broken)) == b""
    assert device.receive(framed(b"\x7f")) == device.receive(framed(b"\x05\x7f")) == b""
    assert len(device.receive(b"\x02\x0d\x0d" + STATUS)) == 24
    assert len(device.receive(STATUS + STATUS)) == 48


def test_a_partial_frame_is_dropped_after_a_while() -> None:
    clocks = Clocks()
    device = reader(clocks)
    device.receive(run(450)[:50])
    assert device.receive(STATUS) == b""
    clocks.wall_s = 1.0
    assert len(device.receive(STATUS)) == 24


def test_data_survive_a_new_process_but_not_a_power_cut() -> None:
    clocks = Clocks()
    device = finished(reader(clocks), clocks, 450)
    other = reader(clocks)
    other.restore(json.loads(json.dumps(device.state())))
    answer = other.receive(DATA)
    assert len(answer) == 1612 and answer == device.receive(DATA)
    device.receive(OPEN)
    device.power_cycle()
    assert flags(device) == "0105000100"
    assert len(device.receive(DATA)) == 44


FRAMES = st.sampled_from([STATUS, INITIALISE, OPEN, CLOSE, DATA, PROGRESS, STOP, run(450), run(9)])


@settings(max_examples=60, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=30), FRAMES), max_size=15))
def test_no_bytes_whatever_make_the_reader_raise(chunks: list[bytes]) -> None:
    clocks = Clocks()
    device = reader(clocks)
    for chunk in chunks:
        device.receive(chunk)
        clocks.wall_s += 0.3
        reader(clocks).restore(json.loads(json.dumps(device.state())))
    clocks.wall_s += 1.0
    assert len(device.receive(STATUS)) == 24
