"""BioTek emulator: the recorded exchanges byte for byte, then times, refusals, gaps and garbage."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.biotek import BioTek, BioTekSettings
from instruments.emulators.biotek_wire import Definition, body, read_definition, shown
from tests.instruments.emulators.bench_clock import Clocks
from tests.instruments.serial_rows import rows

ABSORBANCE = b"D004701010108120001200100001100100000106000080580113\x03"
"""580 nm, A1 to H12, as the source of the recorded exchanges sends it."""
FLUORESCENCE = (
    b"D0084010101081200012001000011001000001350001002002000485000052800000000000000000021001119\x03"
)
LUMINESCENCE = (
    b"D008401010107010001200100001100100000123000020200200-001000-00300000000000000000001351086"
)
DEFINED = b"\x060350000000000000010000000000490300000\x03"
PLATE = np.arange(96.0).reshape(8, 12) / 100


def reader(
    clocks: Clocks | None = None, plate: np.ndarray | None = None, **changes: object
) -> BioTek:
    link = clocks or Clocks()
    values = PLATE if plate is None else plate
    return BioTek(
        lambda nm: values,
        lambda: link.physics_h,
        lambda: link.wall_s,
        BioTekSettings(**{"measure_s": 1.0, **changes}),  # type: ignore[arg-type]
        counts=lambda nm: values,
    )


def read(device: BioTek, definition: bytes) -> bytes:
    """Return what comes after the read is accepted."""
    assert device.receive(definition) == DEFINED
    answer = device.receive(b"O")
    assert answer.startswith(b"\x060000\x03")
    return answer.removeprefix(b"\x060000\x03")


def plate_of(recorded: bytes) -> np.ndarray:
    """Return the values of a recorded body, wherever its triplets stand."""
    plate = np.full((8, 12), math.nan)
    for row, column, value in re.findall(rb"(?<=,)(\d\d),(\d\d),([-+.\d]{7})", recorded):
        plate[int(row) - 1, int(column) - 1] = float(value)
    return plate


def defined(verb: bytes) -> Callable[[], BioTek]:
    def new() -> BioTek:
        device = reader()
        assert device.receive(verb) == b"\x06"
        return device

    return new


def ready() -> BioTek:
    device = reader()
    device.receive(ABSORBANCE)
    return device


JUDGED: dict[str, Callable[[], BioTek]] = {
    "firmware": reader,
    "temperature 23.6 C": reader,
    "run accepted": ready,
    "focus 7.5 mm": defined(b"t"),
    "fluorescence 485/528": defined(b"D"),
}
"""Meaning of a row -> a reader in the state before it; its letter of a parameter is sent."""
BODIES: dict[str, tuple[bytes, dict[str, float], str]] = {
    "96-well body (1394 bytes), trailer checksum 041": (
        ABSORBANCE, {"temperature_c": 22.8}, "041",
    ),
    "96-well body (1394 bytes), trailer checksum 091": (
        FLUORESCENCE, {"temperature_c": 22.7, "end_temperature_c": 22.8}, "091",
    ),
    "luminescence body, trailer checksum 132": (LUMINESCENCE, {"temperature_c": 23.7}, "132"),
}  # fmt: skip
"""Meaning of a row -> the read that it answers, the reader's temperatures, the checksum."""
NOT_JUDGED = {
    "absorbance 580 nm, A1-H12; cs 13": (
        "six characters are permuted against the source that it names (its checksum, a plain sum,"
        " does not see that): the definition of the source is judged instead"
    )
}


def test_every_row_is_judged_or_says_why_not(shared_data: Path) -> None:
    meanings = {meaning for _, _, meaning in rows(shared_data, "BioTek")}
    assert meanings == {*JUDGED, *BODIES, *NOT_JUDGED}


@pytest.mark.parametrize("meaning", JUDGED)
def test_reader_answers_as_recorded(shared_data: Path, meaning: str) -> None:
    ((sent, received),) = (r[:2] for r in rows(shared_data, "BioTek") if r[2] == meaning)
    assert JUDGED[meaning]().receive(sent) == received
    device = JUDGED[meaning]()
    assert b"".join(device.receive(bytes([byte])) for byte in sent) == received


@pytest.mark.parametrize("meaning", BODIES)
def test_recorded_bodies_are_sent_byte_for_byte(shared_data: Path, meaning: str) -> None:
    (recorded,) = (r[1] for r in rows(shared_data, "BioTek") if r[2] == meaning)
    definition, temperatures, checksum = BODIES[meaning]
    clocks = Clocks()
    device = reader(clocks, plate_of(recorded), **temperatures)
    assert read(device, definition) == b""
    clocks.wall_s = 1.0
    sent = device.poll()
    assert sent == recorded
    assert sent[-9:] == f"{checksum}\x1a0000\x03".encode()


def test_the_mistaken_row_is_refused(shared_data: Path) -> None:
    ((sent, _),) = (r[:2] for r in rows(shared_data, "BioTek") if r[2] in NOT_JUDGED)
    answer = reader().receive(b"D" + sent)
    assert re.fullmatch(rb"\x06\d{4}\x03", answer) and answer != b"\x060000\x03"


@pytest.mark.parametrize(
    ("definition", "meant"),
    [
        (ABSORBANCE, Definition("absorbance", 580, (1, 1), (8, 12))),
        (FLUORESCENCE, Definition("fluorescence", 528, (1, 1), (8, 12))),
        (LUMINESCENCE, Definition("luminescence", 0, (1, 1), (7, 1))),
    ],
)
def test_recorded_definitions_are_understood(definition: bytes, meant: Definition) -> None:
    text = definition[1:].rstrip(b"\x03").decode()
    assert read_definition(text) == meant
    assert read_definition(text[:-1] + str(9 - int(text[-1]))) is None


def absorbance(wells: str, wavelength: str) -> bytes:
    text = f"004701{wells}000120010000110010000010600008{wavelength}1"
    return f"D{text}{sum(text.encode()) % 100:02d}\x03".encode()


def test_a_rectangle_is_read_as_a_snake_that_begins_at_its_left() -> None:
    clocks = Clocks()
    device = reader(clocks)
    read(device, absorbance("02020403", "0450"))
    clocks.wall_s = 1.0
    text = device.poll().decode()
    assert re.findall(r"(\d\d,\d\d),([-+.\d]+)", text[22:]) == [
        ("02,02", "+0.1300"), ("02,03", "+0.1400"), ("03,03", "+0.2600"), ("03,02", "+0.2500"),
        ("04,02", "+0.3700"), ("04,03", "+0.3800"),
    ]  # fmt: skip


def test_another_recorded_luminescence_body_with_its_checksum() -> None:
    counts = np.zeros((8, 12))
    counts[1:7, 1:3] = [[43, 14], [12, 14], [11, 14], [10, 10], [11, 27], [10, 9]]
    definition = Definition("luminescence", 0, (2, 2), (7, 3))
    assert body(counts, definition, (23.7, 23.7), "0000") == (
        b"01,1,\r000:00:00.0,237,02,02,0000043,02,03,0000014\r\n,03,03,0000014,03,02,0000012"
        b"\r\n,04,02,0000011,04,03,0000014\r\n,05,03,0000010,05,02,0000010\r\n,06,02,0000011,"
        b"06,03,0000027\r\n,07,03,0000009,07,02,0000010\r\n237\x1a160\x1a0000\x03"
    )


@pytest.mark.parametrize(
    ("value", "mode", "text"),
    [
        (0.19166, "absorbance", "+0.1917"), (-0.0012, "absorbance", "-0.0012"),
        (4.0, "absorbance", "+4.0000"), (4.1, "absorbance", "*******"),
        (math.nan, "absorbance", "*******"), (-12.0, "absorbance", "*******"),
        (3.4, "luminescence", "0000003"), (-3.0, "fluorescence", "*******"),
        (1e7, "fluorescence", "*******"), (math.inf, "luminescence", "*******"),
    ],
)  # fmt: skip
def test_values_are_seven_characters_wide(value: float, mode: str, text: str) -> None:
    assert shown(value, mode) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wells_and_nm",
    [("01010912", "0580"), ("01010813", "0580"), ("00010812", "0580"), ("03010201", "0580"),
     ("01010812", "0229"), ("01010812", "1000")],
)  # fmt: skip
def test_a_definition_that_no_plate_has_is_refused(wells_and_nm: tuple[str, str]) -> None:
    device = reader()
    assert device.receive(absorbance(*wells_and_nm)) == b"\x060101\x03"
    assert device.receive(b"O") == b"\x060301\x03"


def test_a_read_with_the_drawer_open_is_refused() -> None:
    device = ready()
    assert device.receive(b"J") == b"\x060000\x03"
    assert device.receive(b"O") == b"\x060201\x03"
    assert not device.reading
    assert device.receive(b"A") == b"\x060000\x03"
    assert device.receive(b"O") == b"\x060000\x03"


def test_the_drawer_answers_when_it_has_arrived() -> None:
    clocks = Clocks()
    device = reader(clocks, drawer_s=2.0)
    assert device.receive(b"J") == b"\x06"
    assert device.drawer_open
    clocks.wall_s = 2.0
    assert device.poll() == b"0000\x03"
    assert device.receive(b"J") == b"\x060000\x03"


def test_other_verbs_wait_until_the_read_is_done() -> None:
    clocks = Clocks()
    device = reader(clocks)
    read(device, ABSORBANCE)
    assert device.receive(b"h") == device.receive(b"D") == device.receive(b"O") == b"\x060401\x03"
    clocks.wall_s = 1.0
    assert device.poll().endswith(b"\x1a0000\x03")
    assert device.receive(b"h") == b"\x062360000\x03"


def test_a_read_that_is_given_up_sends_no_body() -> None:
    clocks = Clocks()
    device = reader(clocks)
    read(device, ABSORBANCE)
    assert device.receive(b"x") == b"\x060000\x03"
    clocks.wall_s = 5.0
    assert device.poll() == b""
    assert device.receive(b"O") == b"\x060000\x03"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"C", b"\x0600000000        0000\x03"), (b"ix", b"\x060000\x03"), (b"iy", b"\x060101\x03"),
        (b"&S0", b"\x060000\x03"), (b"&S2", b"\x060101\x03"), (b"g46000", b"\x060101\x03"),
        (b"g37000h", b"\x060000\x03\x063700000\x03"), (b"t321720\x03", b"\x060000\x03"),
        (b"g37000g00000\x03h", b"\x060000\x03\x060000\x03\x062360000\x03"),
        (b"t121720\x03", b"\x060101\x03"), (b"?", b"\x15"), (b"\x03", b""),
        (b"y08120112207434014351135308559127881772\x03", b"\x060000\x03"),
        (b"y16240112207434014351135308559127881772\x03", b"\x060101\x03"),
        (b"iJy\x03J", b"\x060101\x03\x060101\x03\x060000\x03"),
    ],
)  # fmt: skip
def test_verbs_and_their_parameters(sent: bytes, answer: bytes) -> None:
    assert reader().receive(sent) == answer


def test_a_power_cut_forgets_the_read_but_leaves_the_drawer() -> None:
    clocks = Clocks()
    device = reader(clocks)
    device.receive(b"g37000")
    read(device, ABSORBANCE)
    device.power_cycle()
    clocks.wall_s = 5.0
    assert device.poll() == b""
    assert device.receive(b"Oh") == b"\x060301\x03\x062360000\x03"
    device.receive(b"J")
    device.power_cycle()
    assert device.drawer_open


def test_a_definition_is_answered_at_its_end_and_luminescence_without_one() -> None:
    for definition in (ABSORBANCE, FLUORESCENCE):
        device = reader()
        assert device.receive(definition[:-1]) == b"\x06"
        assert device.receive(b"\x03") == DEFINED[1:]
    assert reader().receive(LUMINESCENCE) == DEFINED


def test_without_counts_only_absorbance_is_read() -> None:
    device = BioTek(lambda nm: PLATE, lambda: 0.0, lambda: 0.0)
    device.receive(FLUORESCENCE)
    assert device.receive(b"O") == b"\x060101\x03"


PIECES = st.sampled_from(
    [
        ABSORBANCE,
        FLUORESCENCE,
        LUMINESCENCE,
        b"D",
        b"O",
        b"x",
        b"J",
        b"A",
        b"h",
        b"y",
        b"g",
        b"\x03",
    ]
)


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=30), PIECES), max_size=20))
def test_no_bytes_whatever_make_the_reader_raise(chunks: list[bytes]) -> None:
    clocks = Clocks()
    device = reader(clocks)
    for chunk in chunks:
        device.receive(chunk)
        clocks.wall_s += 0.4
        device.poll()
        reader(clocks).restore(json.loads(json.dumps(device.state())))
