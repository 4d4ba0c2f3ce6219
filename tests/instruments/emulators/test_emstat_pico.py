"""EmStat Pico emulator: scripts, packages, the multiplexer, the cell, aborting."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.emstat_pico import EmStatPico, EmStatPicoSettings
from instruments.emulators.methodscript import package_value
from tests.instruments.emulators.bench_clock import Clocks

SWEEP = """e
var f
var r
var j
set_pgstat_chan 0
set_pgstat_mode 3
set_gpio_cfg 0x0Fi 1
set_gpio {channel}i
set_autoranging ba 1u 1
cell_on
meas_loop_eis f r j 10m 100k 10 {points} 0m
pck_start
pck_add f
pck_add r
pck_add j
pck_end
endloop
on_finished:
cell_off

"""
PREFIX = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, " ": 1.0, "k": 1e3, "M": 1e6, "f": 1e-15}


def capacitor(channel: int, hz: np.ndarray) -> np.ndarray:
    """100 ohm * channel in series with 1 uF."""
    return 100.0 * channel + 1 / (2j * math.pi * hz * 1e-6)


def meter(clocks: Clocks | None = None, seconds_per_point: float = 0.0) -> EmStatPico:
    link = clocks or Clocks()
    point = EmStatPicoSettings(seconds_per_point=seconds_per_point)
    return EmStatPico(capacitor, lambda: link.wall_s, point)


def points_of(answer: bytes) -> list[list[float]]:
    packages = re.findall(r"^P(.*)$", answer.decode(), re.MULTILINE)
    return [
        [(int(v[2:9], 16) - 2**27) * PREFIX[v[9]] for v in package.split(";")]
        for package in packages
    ]


def test_sweep_is_log_spaced_and_a_capacitor_is_negative() -> None:
    device = meter()
    answer = device.receive(SWEEP.format(channel=3, points=5).encode())
    assert answer.startswith(b"e\nM000D\nP") and answer.endswith(b"*\n\n")
    points = np.array(points_of(answer))
    assert points[:, 0] == pytest.approx([1e5, 1e4, 1e3, 1e2, 1e1], rel=1e-6)
    assert points[:, 1] == pytest.approx([300.0] * 5, rel=1e-6)
    assert points[:, 2] == pytest.approx(-1 / (2 * math.pi * points[:, 0] * 1e-6), rel=1e-6)
    assert not device.cell_on


def test_pins_that_are_no_outputs_do_not_choose_a_channel() -> None:
    script = SWEEP.format(channel=9, points=2).replace("0x0Fi 1", "0b0001i 1")
    device = meter()
    device.receive(script.encode())
    assert device.channel == 1


@pytest.mark.parametrize(
    ("wrong", "right", "answer"),
    [
        ("cell_on", "cell_in", b"e!4001: Line 9, Col 1\n"),
        ("10m", "1.5m", b"e!4002: Line 10, Col 21\n"),
        ("pck_add j", "pck_add q", b"e!4008: Line 14, Col 9\n"),
        ("set_pgstat_chan 0", "set_pgstat_chan", b"e!4006: Line 4, Col 1\n"),
    ],
)
def test_a_script_that_is_not_understood_names_the_place_and_runs_nothing(
    wrong: str, right: str, answer: bytes
) -> None:
    device = meter()
    script = SWEEP.format(channel=0, points=5).replace(wrong, right)
    assert device.receive(script.encode()) == answer
    assert not device.cell_on


@pytest.mark.parametrize("missing", ["cell_on\n", "set_pgstat_mode 3\n"])
def test_measuring_needs_the_cell_and_a_mode(missing: str) -> None:
    script = SWEEP.format(channel=0, points=5).replace(missing, "")
    answer = meter().receive(script.encode())
    assert re.fullmatch(rb"e\n![0-9A-F]{4}: Line \d+, Col \d+\n\n", answer)


def test_cell_stays_on_where_the_script_does_not_switch_it_off() -> None:
    device = meter()
    device.receive(SWEEP.format(channel=0, points=2).replace("cell_off\n", "").encode())
    assert device.cell_on


def test_points_come_as_time_passes_and_abort_switches_the_cell_off() -> None:
    clocks = Clocks()
    device = meter(clocks, seconds_per_point=1.0)
    said = device.receive(SWEEP.format(channel=0, points=5).encode())
    assert len(points_of(said)) == 1 and device.cell_on
    clocks.wall_s = 1.0
    assert len(points_of(device.poll())) == 1
    assert device.receive(b"Z\n") == b"Z\n*\n\n"
    assert not device.cell_on
    clocks.wall_s = 9.0
    assert device.poll() == b""
    assert device.receive(b"Z\n") == b"Z!0006\n"


def test_an_open_circuit_has_no_number_and_says_so() -> None:
    device = EmStatPico(lambda channel, hz: np.full(hz.shape, complex(math.inf)), lambda: 0.0)
    answer = device.receive(SWEEP.format(channel=0, points=1).encode()).decode()
    assert "cc     nan,14" in answer


@pytest.mark.parametrize(("ohm", "status"), [(1.0, "12"), (1e3, "10"), (1e9, "14")])
def test_currents_out_of_range_are_flagged(ohm: float, status: str) -> None:
    device = EmStatPico(lambda channel, hz: np.full(hz.shape, complex(ohm)), lambda: 0.0)
    answer = device.receive(SWEEP.format(channel=0, points=1).encode()).decode()
    assert re.findall(r"cc.{8},(\w\w)", answer) == [status]


def test_version_has_two_lines_and_ends_with_a_star() -> None:
    assert meter().receive(b"t\n").startswith(b"tespico")
    assert meter().receive(b"t\n").count(b"\n") == 2
    assert meter().receive(b"t\n").endswith(b"*\n")
    assert meter().receive(b"?\n") == b"?!0001\n"


def test_bytes_may_come_one_at_a_time() -> None:
    script = SWEEP.format(channel=2, points=4).encode()
    device = meter()
    assert b"".join(device.receive(bytes([b])) for b in script) == meter().receive(script)


@given(value=st.floats(-1e17, 1e17))
def test_package_values_keep_seven_digits(value: float) -> None:
    text = package_value("cc", value)
    scale = {**PREFIX, "a": 1e-18, "G": 1e9}[text[9]]
    assert (int(text[2:9], 16) - 2**27) * scale == pytest.approx(value, rel=1e-5, abs=1e-18)


LINES = st.sampled_from(
    [*SWEEP.format(channel=1, points=3).encode().splitlines(True), b"Z\n", b"t\n"]
)


@settings(max_examples=150, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=20), LINES), max_size=30))
def test_no_bytes_whatever_make_the_meter_raise(chunks: list[bytes]) -> None:
    clocks = Clocks()
    device = meter(clocks, seconds_per_point=0.1)
    for chunk in chunks:
        device.receive(chunk)
        clocks.wall_s += 0.1
        device.poll()
    fresh = meter(clocks)
    fresh.restore(json.loads(json.dumps(device.state())))
    fresh.power_cycle()
    assert fresh.channel == 0
