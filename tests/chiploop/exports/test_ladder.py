"""Ladders of standards: what a comma locale makes of three decimals, and honest ladders."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from chiploop.exports.ladder import Standard, curve_disagrees, off_the_ladder, off_the_list


def ladder(*levels: float) -> list[Standard]:
    return [Standard(f"S{i + 1}", level) for i, level in enumerate(levels)]


@pytest.mark.parametrize(
    "levels",
    [
        (2000.0, 666.67, 222.22, 74.074, 24.691, 8.2305, 2.7435),
        (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 0.0),
        (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4),
        (1e6, 1e3, 1.0, 1e-3, 1e-6),
        (10000.0, 2500.0, 625.0, 156.25, 39.0625, 9.765625),
        (500.0, 400.0, 300.0, 200.0, 100.0),
        (5.0, 5.0),
    ],
)
def test_an_honest_ladder_is_left_alone(levels: tuple[float, ...]) -> None:
    assert off_the_ladder(ladder(*levels)) == ()


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_one_level_off_1000_times_is_found_wherever_it_stands(place: int, factor: float) -> None:
    levels = [862.5 / 2**i for i in range(6)]
    levels[place] *= factor
    assert [one.label for one in off_the_ladder(ladder(*levels))] == [f"S{place + 1}"]


def test_the_levels_that_a_spreadsheet_spoiled_in_a_real_export_are_found(
    shared_data: Path,
) -> None:
    by_analyte: dict[str, list[Standard]] = defaultdict(list)
    spoiled: set[tuple[str, str]] = set()
    with (shared_data / "reference_curves" / "luminex_ladder_corrupted.csv").open() as file:
        for row in csv.DictReader(file):
            level = float(row["conc_as_in_file"])
            by_analyte[row["analyte"]].append(Standard(row["standard"], level))
            if level > 500.0 * float(row["conc_by_ladder"]):
                spoiled.add((row["analyte"], row["standard"]))
    assert (len(by_analyte), len(spoiled)) == (30, 30)
    found = {
        (analyte, one.label)
        for analyte, levels in by_analyte.items()
        for one in off_the_ladder(levels)
    }
    assert found == spoiled


def test_a_ladder_off_as_a_whole_needs_the_list_of_the_kit_or_the_curve() -> None:
    levels = [1000.0 * 500.0 / 2**i for i in range(7)]
    assert off_the_ladder(ladder(*levels)) == ()
    kit = [500.0 / 2**i for i in range(7)]
    assert len(off_the_list(ladder(*levels), kit)) == 7
    assert off_the_list(ladder(*kit), kit) == ()
    assert curve_disagrees((level, level / 1000.0 * 1.1) for level in levels)
    assert not curve_disagrees((level, level * 1.2) for level in levels)
    assert not curve_disagrees([])
