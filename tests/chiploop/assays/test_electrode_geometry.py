"""The field of channel electrodes against a ladder network and the numbers of the reference; tables."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiploop.assays.electrode_geometry import (
    ChannelElectrodes,
    GeometryTable,
    apparent_ohm,
    barrier_ohm,
    field_factor,
    read_geometry_table,
)
from chiploop.errors import FileNotValid

CHIP = ChannelElectrodes("one_end", 10.0, 1.0, 0.2, 67.0)
PLAIN = settings(max_examples=120, deadline=None, derandomize=True, database=None)


def ladder(barrier: float, channel: float, n: int = 2000) -> float:
    """Return the resistance of n rungs of n times the barrier, n pieces of channel between them."""
    z = math.inf
    for _ in range(n):
        z = 1.0 / (1.0 / (n * barrier) + 1.0 / (z + channel / n))
    return z + channel / n / 2.0


@pytest.mark.parametrize(
    ("teer", "one_end", "middle"),
    [(200.0, 5.79, 2.91), (1000.0, 2.62, 1.505), (5000.0, 1.41, 1.109), (20000.0, 1.11, 1.028)],
)
def test_apparent_over_true_is_that_of_the_ladder_and_of_the_reference(
    teer: float, one_end: float, middle: float
) -> None:
    true = teer / CHIP.area_cm2
    assert CHIP.apparent_ohm(true) / true == pytest.approx(one_end, rel=2e-3)
    assert CHIP.apparent_ohm(true) == pytest.approx(ladder(true, CHIP.channel_ohm), rel=2e-6)
    for position in ("middle", "both_ends"):
        other = ChannelElectrodes(position, 10.0, 1.0, 0.2, 67.0)
        assert other.apparent_ohm(true) / true == pytest.approx(middle, rel=2e-3)
        halves = ladder(2 * true, CHIP.channel_ohm / 2) / 2
        assert other.apparent_ohm(true) == pytest.approx(halves, rel=2e-6)
    assert ChannelElectrodes("full_length", 10.0, 1.0, 0.2, 67.0).apparent_ohm(true) == true


def test_the_closed_form_as_it_is_written_in_lengths() -> None:
    r = 2.0 * 67.0 / (0.1 * 0.02)
    lam = math.sqrt(1000.0 / (0.1 * r))
    assert CHIP.apparent_ohm(1000.0 / 0.1) == pytest.approx(
        r * lam / math.tanh(1.0 / lam), rel=1e-12
    )


@PLAIN
@given(ln_barrier=st.floats(-12.0, 25.0), ln_channel=st.floats(-10.0, 20.0))
def test_the_inverse_gives_back_the_barrier_and_its_derivative(
    ln_barrier: float, ln_channel: float
) -> None:
    true, k = math.exp(ln_barrier), math.exp(ln_channel)
    apparent = apparent_ohm(true, k)
    found, slope = barrier_ohm(apparent, k)
    # a rounding of the apparent value is slope times as large here
    assert found == pytest.approx(true, rel=1e-11)
    step = 1e-4
    numeric = (
        barrier_ohm(apparent * (1 + step), k)[0] - barrier_ohm(apparent * (1 - step), k)[0]
    ) / (2 * step * apparent)
    assert slope == pytest.approx(numeric, rel=1e-5)


def test_the_derivative_of_a_complex_barrier_is_the_numeric_one() -> None:
    barrier = np.array([1e3 - 2e3j, 1e5 - 10j, 3.0 - 4.0j, 1e12 - 1e11j])
    k, step = 5e3, 1e-6
    slope = field_factor(np.sqrt(k / barrier))[1]

    def z(b: np.ndarray) -> np.ndarray:
        return np.asarray(b * field_factor(np.sqrt(k / b))[0])

    numeric = (z(barrier * (1 + step)) - z(barrier * (1 - step))) / (2 * step * barrier)
    assert np.allclose(slope, numeric, rtol=1e-5)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_sizes_and_resistances_that_can_not_be_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ChannelElectrodes("one_end", 10.0, wrong, 0.2, 67.0)
    with pytest.raises(ValueError, match="above 0"):
        barrier_ohm(wrong, 100.0)
    with pytest.raises(ValueError, match="allowed are one_end"):
        ChannelElectrodes("corner", 10.0, 1.0, 0.2, 67.0)  # type: ignore[arg-type]


def a_table(rows: int = 25) -> GeometryTable:
    teer = np.geomspace(10.0, 1e5, rows)
    ohm = [CHIP.apparent_ohm(one / CHIP.area_cm2) for one in teer]
    return GeometryTable(tuple(teer.tolist()), tuple(ohm), "run 3")


def test_a_table_gives_back_what_it_was_made_of_and_is_not_extrapolated() -> None:
    table = a_table()
    for teer in (123.0, 4567.0, 89012.0):
        ohm = CHIP.apparent_ohm(teer / CHIP.area_cm2)
        found, slope = table.teer(ohm)
        assert found == pytest.approx(teer, rel=0.02)
        numeric = (table.teer(ohm * 1.0001)[0] - table.teer(ohm * 0.9999)[0]) / (2e-4 * ohm)
        assert slope == pytest.approx(numeric, rel=1e-3)
    with pytest.raises(ValueError, match="not extrapolated"):
        table.teer(1.0)


@pytest.mark.parametrize(
    ("teer", "ohm", "why"),
    [
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), "at least 4"),
        ((1.0, 2.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0), "row 3 of the table: TEER 2 does not rise"),
        (
            (1.0, 2.0, 3.0, 4.0),
            (1.0, 3.0, 2.0, 4.0),
            "row 3 of the table: resistance 2 does not rise",
        ),
        ((1.0, 2.0, 3.0, math.nan), (1.0, 2.0, 3.0, 4.0), "finite"),
        ((-1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0), "0 or above"),
    ],
)
def test_a_table_without_an_inverse_is_refused(
    teer: tuple[float, ...], ohm: tuple[float, ...], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        GeometryTable(teer, ohm)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("teer,ohm\n1,2\n", "line 1"),
        ("teer_ohm_cm2,resistance_ohm\n1,2\n2,x\n", "line 3"),
        ("teer_ohm_cm2,resistance_ohm\n1,2\n2,3,4\n", "line 3"),
        ("teer_ohm_cm2,resistance_ohm\n1,2\n2,1\n3,4\n5,6\n", "row 2 of the table: resistance 1"),
        ('teer_ohm_cm2,resistance_ohm\n"1,2\n', "commas"),
        ("", "line 1"),
    ],
)
def test_a_table_file_that_is_wrong_is_refused_with_its_row(text: str, why: str) -> None:
    with pytest.raises(FileNotValid, match=why):
        read_geometry_table(text.encode(), "g.csv")


def test_a_table_file_is_read(tmp_path: Path) -> None:
    table = read_geometry_table(b"teer_ohm_cm2,resistance_ohm\n1,20\n2,30\n3,40\n4,50\n", "g.csv")
    assert table.teer(25.0)[0] == pytest.approx(1.5)
    assert table.told == "geometry by table g.csv"
