"""A dose is a step up from what was given for as long."""

from __future__ import annotations

from chiploop.dosing import ChipSchedule, ChipSegment
from chiploop.given_exposures import GivenExposure, given_exposures, highest_as_long


def schedule(*drug: tuple[float, float, float]) -> ChipSchedule:
    return ChipSchedule("C01", tuple(ChipSegment(a, b, 60.0, nm, {}) for a, b, nm in drug))


def hours(found: frozenset[GivenExposure]) -> dict[float, float]:
    return {one.dose_nm: one.hours for one in found}


def test_hours_of_pulses_add_up_within_an_exposure_and_not_beyond() -> None:
    pulses = [(24.0, 32.0, 120.0), (32.0, 40.0, 0.0), (40.0, 48.0, 121.0), (48.0, 76.0, 0.0)]
    later = (76.0, 124.0, 30.0)
    found = hours(given_exposures([schedule(*pulses, later)], 48.0))
    assert found == {120.0: 16.0, 121.0: 16.0, 30.0: 48.0}
    assert hours(given_exposures([schedule((0.0, 30.0, 50.0), (30.0, 60.0, 50.0))], 48.0)) == {
        50.0: 48.0
    }


def test_a_higher_dose_counts_as_the_lower_one_too() -> None:
    found = given_exposures([schedule((0.0, 24.0, 30.0), (24.0, 48.0, 120.0))], 48.0)
    assert hours(found) == {30.0: 48.0, 120.0: 24.0}


def test_the_highest_as_long_leaves_short_ones_out_but_for_rounding() -> None:
    given = [GivenExposure(500.0, 24.0), GivenExposure(100.0, 47.6)]
    assert highest_as_long(given, 48.0) == 100.0
    assert highest_as_long(given, 24.0) == 500.0
    assert highest_as_long(given[:1], 48.0) is None
