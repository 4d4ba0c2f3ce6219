"""Water flux: nothing of the surroundings may be left out, and it is never taken for skin on a chip."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from chiploop.assays.tewl import ON_CHIP, AmbientLimits, TewlReading, tewl_readout

READING = TewlReading("C01", 48.0, (12.0, 12.4, 11.9, 12.1), 50.0, 21.0, 20.0, "closed", "skin")


def test_a_reading_in_its_surroundings_is_one_for_a_likelihood() -> None:
    one = tewl_readout(READING, cycle=1)
    assert one.value == pytest.approx(12.1) and one.sd == 0.02 and one.qc == "ok"
    assert (one.readout, one.unit, one.scale, one.n) == ("TEWL", "g/m2/h", "log", 4)
    assert "closed chamber" in one.method and "50 % RH" in one.method
    wide = tewl_readout(replace(READING, flux_g_m2_h=(10.0, 12.0, 14.0)))
    assert wide.sd == pytest.approx(2.0 / 12.0 / math.sqrt(3))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("relative_humidity_percent", 62.0, "relative humidity 62 %"),
        ("relative_humidity_percent", 30.0, "outside 40 to 60"),
        ("temperature_c", 37.0, "room temperature 37"),
        ("settling_min", 5.0, "settled 5 min"),
        ("flux_g_m2_h", (300.0, 301.0, 302.0), "above 200"),
    ],
)
def test_surroundings_outside_of_the_stated_range_are_flagged(
    field: str, value: Any, told: str
) -> None:
    changed: dict[str, Any] = {field: value}
    one = tewl_readout(replace(READING, **changed))
    assert one.qc == "warn" and told in " ".join(one.reasons)


def test_a_persons_own_range_is_taken() -> None:
    incubator = AmbientLimits(humidity_percent=(80.0, 99.0), temperature_c=(36.0, 38.0))
    warm = replace(READING, relative_humidity_percent=90.0, temperature_c=37.0)
    assert tewl_readout(warm, incubator).qc == "ok"


@pytest.mark.parametrize("surface", ["chip", "insert"])
def test_on_a_chip_it_is_water_flux_and_said_so(surface: Any) -> None:
    one = tewl_readout(replace(READING, surface=surface))
    assert one.readout == "water_flux" and ON_CHIP in one.reasons


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("relative_humidity_percent", None),
        ("relative_humidity_percent", math.nan),
        ("temperature_c", None),
        ("settling_min", None),
        ("probe", "ring"),
        ("surface", ""),
        ("flux_g_m2_h", ()),
        ("flux_g_m2_h", (math.nan,)),
    ],
)
def test_a_reading_that_leaves_something_out_is_refused(field: str, value: Any) -> None:
    changed: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match="TEWL of C01 at 48 h"):
        replace(READING, **changed)


def test_a_flux_below_zero_is_no_number_and_not_clipped() -> None:
    one = tewl_readout(replace(READING, flux_g_m2_h=(-0.4, -0.2, -0.3)))
    assert one.qc == "fail" and math.isnan(one.value) and "-0.3" in " ".join(one.reasons)
