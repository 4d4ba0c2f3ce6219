"""EmStat4 emulator: where it differs from the Pico, and that the cell is off when a script ends."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.emulators.emstat4 import EmStat4, EmStat4Settings
from tests.instruments.emulators.bench_clock import Clocks

SCRIPT = """e
var f
var r
var j
set_gpio_cfg 0x0Fi 1
set_gpio {channel}i
set_pgstat_chan 0
set_pgstat_mode 3
set_max_bandwidth 200k
set_range ba 2u
set_autoranging ba {ranges}
set_e 0m
cell_on
meas_loop_eis f r j {amplitude} {first} {last} {points} 0m
pck_start
pck_add f
pck_add r
pck_add j
pck_end
endloop
on_finished:
cell_off

"""
PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, " ": 1.0, "k": 1e3, "M": 1e6}


def script(**changes: object) -> bytes:
    fields = {"channel": 2, "ranges": "1p 1", "amplitude": "10m"}
    fields |= {"first": "100k", "last": "10", "points": 5}
    return SCRIPT.format(**{**fields, **changes}).encode()


def chip(channel: int, hz: np.ndarray) -> np.ndarray:
    """1 kohm * channel in series with 1 uF."""
    return 1e3 * channel + 1 / (2j * math.pi * hz * 1e-6)


def meter(clocks: Clocks | None = None, **changes: object) -> EmStat4:
    link = clocks or Clocks()
    return EmStat4(chip, lambda: link.wall_s, EmStat4Settings(**changes))  # type: ignore[arg-type]


def points_of(answer: bytes) -> np.ndarray:
    packages = re.findall(r"^P(.*)$", answer.decode(), re.MULTILINE)
    return np.array(
        [
            [(int(v[2:9], 16) - 2**27) * PREFIX[v[9]] for v in package.split(";")]
            for package in packages
        ]
    )


def test_a_sweep_with_all_ranges_leaves_the_cell_off() -> None:
    device = meter()
    answer = device.receive(script())
    assert answer.startswith(b"e\nM000D\nP") and answer.endswith(b"*\n\n")
    points = points_of(answer)
    assert points[:, 0] == pytest.approx([1e5, 1e4, 1e3, 1e2, 1e1], rel=1e-6)
    assert points[:, 1] == pytest.approx([2e3] * 5, rel=1e-6)
    assert points[:, 2] == pytest.approx(-1 / (2 * math.pi * points[:, 0] * 1e-6), rel=1e-6)
    assert not device.cell_on


def test_one_frequency_is_a_sweep_of_one_point() -> None:
    points = points_of(meter().receive(script(first="1k", last="1k", points=1)))
    assert points.shape == (1, 3)
    assert points[0, 0] == pytest.approx(1e3)


def test_packages_carry_status_range_and_noise() -> None:
    (package,) = re.findall(r"^P.*$", meter().receive(script(points=1)).decode(), re.MULTILINE)
    value = r"[0-9A-F]{7}[afpnumkMG ]"
    metadata = ",10,20F,40"
    assert re.fullmatch(f"Pdc{value};cc{value}{metadata};cd{value}{metadata}", package)


@pytest.mark.parametrize(
    ("wrong", "right", "answer"),
    [
        (b"cell_on", b"cell_in", b"e!4001: Line 12, Col 1\n"),
        (b"10m", b"1.5m", b"e!4205: Line 13, Col 21\n"),
        (b"pck_add j", b"pck_add q", b"e!420B: Line 17, Col 9\n"),
        (b"set_pgstat_chan 0", b"set_pgstat_chan", b"e!420A: Line 6, Col 1\n"),
    ],
)
def test_a_script_that_is_not_understood_names_the_place_and_runs_nothing(
    wrong: bytes, right: bytes, answer: bytes
) -> None:
    device = meter()
    assert device.receive(script().replace(wrong, right)) == answer
    assert not device.cell_on


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"last": "9m"}, b"e\n!0011: Line 13\n\n"),
        ({"first": "201k"}, b"e\n!0011: Line 13\n\n"),
        ({"amplitude": "901m"}, b"e\n!0012: Line 13\n\n"),
        ({"amplitude": "0"}, b"e\n!0012: Line 13\n\n"),
        ({"points": 0}, b"e\n!4205: Line 13\n\n"),
    ],
)
def test_what_can_not_be_measured_is_refused_at_run_and_leaves_the_cell_on(
    change: dict[str, object], answer: bytes
) -> None:
    device = meter()
    assert device.receive(script(**change)) == answer
    assert device.cell_on
    lenient = meter(finishes_after_error=True)
    assert lenient.receive(script(**change)) == answer
    assert not lenient.cell_on


@pytest.mark.parametrize(
    ("line", "replacement", "code"),
    [
        (b"cell_on\n", b"", b"4027"),
        (b"mode 3", b"mode 2", b"0023"),
        (b"mode 3", b"mode 9", b"0021"),
        (b"ba 1p 1", b"ba 1 1p", b"4205"),
    ],
)
def test_an_order_that_does_not_fit_the_state_is_refused_at_run(
    line: bytes, replacement: bytes, code: bytes
) -> None:
    answer = meter().receive(script().replace(line, replacement))
    assert re.fullmatch(rb"e\n!%s: Line \d+\n\n" % code, answer)


def test_a_current_above_the_range_that_the_script_allows_is_an_overload() -> None:
    def statuses(ranges: str) -> list[str]:
        answer = meter().receive(script(ranges=ranges, last="1k", points=3)).decode()
        return re.findall(r"cc.{8},1(\w)", answer)

    assert statuses("100n 2m") == ["0", "0", "0"]
    assert statuses("100n 1u") == ["2", "2", "2"]


def test_abort_ends_the_loop_and_carries_out_on_finished() -> None:
    clocks = Clocks()
    device = meter(clocks, seconds_per_point=1.0)
    assert len(points_of(device.receive(script()))) == 1
    assert device.cell_on
    clocks.wall_s = 2.0
    assert len(points_of(device.poll())) == 2
    assert device.receive(b"Z\n") == b"Z\n*\n\n"
    assert not device.cell_on
    clocks.wall_s = 9.0
    assert device.poll() == b""


def test_after_a_refusal_the_meter_is_deaf_for_a_while() -> None:
    clocks = Clocks()
    device = meter(clocks)
    assert device.receive(b"Z\n") == b"Z!0006\n"
    clocks.wall_s = 0.04
    assert device.receive(b"t\n") == b""
    clocks.wall_s = 0.05
    assert device.receive(b"t\n") == b"tes4_hr1100#Jan 28 2022 11:04:43\nR*\n"


def test_unknown_requests_and_a_script_during_a_script_are_refused() -> None:
    assert meter().receive(b"q\n") == b"q!0003\n"
    device = meter(seconds_per_point=1.0)
    device.receive(script())
    assert device.receive(b"e\n") == b"e!0006\n"


def test_the_sign_of_the_imaginary_part_is_a_dialect() -> None:
    usual = points_of(meter().receive(script()))
    turned = points_of(meter(imaginary_sign=-1.0).receive(script()))
    assert np.all(turned == usual * [1, 1, -1])


def test_bytes_may_come_one_at_a_time() -> None:
    device = meter()
    assert b"".join(device.receive(bytes([b])) for b in script()) == meter().receive(script())


def test_a_power_cut_switches_the_cell_off() -> None:
    device = meter(seconds_per_point=1.0)
    device.receive(script())
    assert device.cell_on
    device.power_cycle()
    assert not device.cell_on and device.channel == 0


LINES = st.sampled_from([*script().splitlines(True), b"Z\n", b"t\n", b"q\n"])


@settings(max_examples=100, deadline=None)
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
