"""SpectraMax emulator: script of an endpoint read, busy times, layout, missing numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.spectramax import SpectraMax, SpectraMaxSettings
from tests.instruments.emulators.bench_clock import Clocks

SCRIPT = (
    "!CLEAR DATA", "!XPOS 14380 9000 12", "!YPOS 11240 9000 8", "!STRIP 1 12", "!CSPEED 8",
    "!SHAKE OFF", "!WAVELENGTH 450 570", "!CALIBRATE ONCE", "!MODE ENDPOINT", "!ORDER COLUMN",
    "!SPEED OFF", "!TAG OFF", "!NVRAM CARCOL 100", "!READTYPE ABSPLA", "!CLOSE", "!READ",
)  # fmt: skip
PLATE = {450: np.arange(96.0).reshape(8, 12) / 100, 570: np.full((8, 12), -0.0012)}
PLATE[450][7, 11] = 4.0001
PLATE[450][0, 1] = math.nan


def reader(clocks: Clocks, **changes: float) -> SpectraMax:
    return SpectraMax(
        lambda nm: PLATE[nm],
        lambda: clocks.physics_h,
        lambda: clocks.wall_s,
        SpectraMaxSettings(measure_s=0.4, **changes),  # type: ignore[arg-type]
    )


def ask(device: SpectraMax, *lines: str) -> str:
    answers = [device.receive(f"{line}\r".encode()).decode() for line in lines]
    return answers[-1]


def test_endpoint_read_goes_from_air_to_plate_to_idle() -> None:
    clocks = Clocks()
    device = reader(clocks)
    for line in SCRIPT:
        assert ask(device, line).startswith("OK")
    for wall_s, word in ((0.05, "AIR CAL"), (0.2, "MEASURING"), (0.5, "IDLE")):
        clocks.wall_s = wall_s
        assert word in ask(device, "!STATUS").split("\r\n")


@pytest.mark.parametrize(("wall_s", "code"), [(0.05, 105), (0.2, 106)])
def test_reader_refuses_other_commands_while_it_reads(wall_s: float, code: int) -> None:
    clocks = Clocks()
    device = reader(clocks)
    ask(device, *SCRIPT)
    clocks.wall_s = wall_s
    assert ask(device, "!TRANSFER") == f"FAIL\t {code}"
    assert ask(device, "!WAVELENGTH 600") == f"FAIL\t {code}"


def test_transfer_has_one_row_per_plate_column_and_every_wavelength() -> None:
    clocks = Clocks(physics_h=2.0)
    device = reader(clocks)
    ask(device, *SCRIPT)
    clocks.wall_s = 1.0
    answer = ask(device, "!TRANSFER")
    assert answer.startswith("OK\r\n>") and answer.endswith("\r\n>")
    lines = answer.removeprefix("OK\r\n>").removesuffix("\r\n>").split("\r\n")
    assert lines[:3] == ["7200.0\t25.1\t96-well", "L:\t450\t570", "L:\t450"]
    assert lines[3] == "1:\t0.0000\t0.1200\t0.2400\t0.3600\t0.4800\t0.6000\t0.7200\t0.8400"
    assert lines[4].split("\t")[:2] == ["2:", "0.0400"]
    assert lines[14].split("\t")[-1] == "#SAT"
    assert lines[15] == "L:\t570"
    assert lines[16] == "1:" + "\t-0.0012" * 8
    assert len(lines) == 28


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("!FLY", 100), ("STATUS", 100), ("!MODE KINETIC", 101), ("!WAVELENGTH 20", 101),
        ("!WAVELENGTH", 101), ("!STRIP 5 9", 101), ("!TEMP 46", 101), ("!READ", 101),
        ("!ORDER ROW", 101), ("!CLEAR", 101), ("!READTYPE LUM", 101), ("!SPEED", 101),
    ],
)  # fmt: skip
def test_what_the_reader_does_not_know_fails_with_a_code(line: str, code: int) -> None:
    assert ask(reader(Clocks()), line) == f"FAIL\t {code}"


def test_a_read_that_is_given_up_leaves_no_data() -> None:
    device = reader(Clocks())
    ask(device, *SCRIPT)
    assert ask(device, "!STOP") == "OK\r\n>"
    assert ask(device, "!TRANSFER").endswith("FAIL\t 107")


def test_temperature_tells_setpoint_then_actual() -> None:
    device = reader(Clocks())
    assert ask(device, "!TEMP").split() == ["OK", ">", "0.0", "25.1", ">"]
    assert ask(device, "!TEMP 37", "!TEMP").split() == ["OK", ">", "37.0", "37.0", ">"]


def test_data_survive_a_new_process_but_not_a_power_cut() -> None:
    clocks = Clocks()
    device = reader(clocks)
    ask(device, *SCRIPT)
    clocks.wall_s = 1.0
    other = reader(clocks)
    other.restore(json.loads(json.dumps(device.state())))
    assert ask(other, "!TRANSFER") == ask(device, "!TRANSFER")
    other.power_cycle()
    assert ask(other, "!TRANSFER").endswith("FAIL\t 107")


LINES = st.sampled_from([line.encode() + b"\r" for line in (*SCRIPT, "!STATUS", "!TRANSFER")])


@settings(max_examples=100, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=30), LINES), max_size=20))
def test_no_bytes_whatever_make_the_reader_raise(chunks: list[bytes]) -> None:
    clocks = Clocks()
    device = SpectraMax(lambda nm: PLATE[450], lambda: 0.0, lambda: clocks.wall_s)
    for chunk in chunks:
        device.receive(chunk)
        clocks.wall_s += 0.3
        json.dumps(device.state())
