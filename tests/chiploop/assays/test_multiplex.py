"""A multiplex plate from its export: curves, concentrations, beads, dilution."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curves import write_plate
from chiploop.assays.multiplex import AnalyteResult, multiplex_concentrations
from chiploop.errors import FileNotValid
from chiploop.exports import read_export


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, float]]]:
    path = tmp_path_factory.mktemp("plate") / "plate.csv"
    return path, write_plate(path)


@pytest.fixture(scope="module")
def results(plate: tuple[Path, dict[str, dict[str, float]]]) -> tuple[AnalyteResult, ...]:
    path, standards = plate
    return multiplex_concentrations(read_export(path), standards)


def truth_of(sample: str) -> float:
    """Return the concentration that the plate was written with."""
    return 40.0 * 1.2 ** (int(sample.removeprefix("Unknown")) - 1) * 3.0


def test_every_analyte_has_its_curve_and_one_exponent_serves_the_plate(
    results: tuple[AnalyteResult, ...],
) -> None:
    assert len(results) == 30
    assert len({one.curve.fit.weighting.number for one in results}) == 1
    assert sum(one.curve.qc != "fail" for one in results) >= 20
    for one in results:
        assert len(one.samples) == 31 and all(len(sample.wells) == 2 for sample in one.samples)


def test_concentrations_are_those_that_the_plate_was_written_with(
    results: tuple[AnalyteResult, ...],
) -> None:
    held, n = 0, 0
    for one in results:
        for sample in one.samples:
            estimate = sample.estimate
            if math.isfinite(estimate.value):
                n += 1
                held += estimate.interval[0] <= truth_of(sample.sample) <= estimate.interval[1]
    assert n > 400
    # Samples of an analyte share a curve: fewer independent ones than n.
    assert held / n == pytest.approx(0.95, abs=0.03)


def test_a_plate_whose_standards_fail_gives_no_numbers(
    results: tuple[AnalyteResult, ...],
) -> None:
    for one in results:
        if one.curve.qc == "fail":
            assert one.curve.reasons
            assert all(math.isnan(sample.estimate.value) for sample in one.samples)


def test_a_well_with_few_beads_is_flagged_and_kept(
    plate: tuple[Path, dict[str, dict[str, float]]], tmp_path: Path
) -> None:
    path, standards = plate
    lines = path.read_text(encoding="utf-8").splitlines()
    count = lines.index('"DataType:","Count"')
    at = next(i for i in range(count, len(lines)) if '"Unknown5"' in lines[i])
    cells = lines[at].split(",")
    cells[3] = '"12"'  # location holds a comma, then the sample, then the first analyte
    lines[at] = ",".join(cells)
    limits = ['"DataType:","Per Bead Count"']
    names = [f'"A{i + 1:02d}"' for i in range(30)]
    limits += ['"Analyte:",' + ",".join(names), '"Per Bead:",' + ",".join(['"50"'] * 30), ""]
    end = lines.index('"-- CRC --"')
    few = tmp_path / "few.csv"
    few.write_text("\r\n".join([*lines[:end], *limits, *lines[end:], ""]), encoding="utf-8")
    found = multiplex_concentrations(read_export(few), standards)
    flagged = [
        (one.analyte, sample.sample)
        for one in found
        for sample in one.samples
        if any(reason.startswith("few_beads (12 of 50)") for reason in sample.estimate.reasons)
    ]
    assert flagged == [("A01", "Unknown5")]
    (one,) = [sample for sample in found[0].samples if sample.sample == "Unknown5"]
    assert one.estimate.qc == "warn" and one.estimate.n == 2


def test_dilution_of_the_file_is_taken_back(
    plate: tuple[Path, dict[str, dict[str, float]]],
    results: tuple[AnalyteResult, ...],
    tmp_path: Path,
) -> None:
    path, standards = plate
    lines = path.read_text(encoding="utf-8").splitlines()
    first = lines.index('"DataType:","Median"')
    wells = lines[first + 2 : first + 98]
    table = ['"DataType:","Dilution Factor"', '"Location","Sample","Dilution Factor"']
    table += [
        ",".join(line.split(",")[:3]) + (',"4"' if "Unknown" in line else ',"1"') for line in wells
    ]
    end = lines.index('"-- CRC --"')
    diluted = tmp_path / "diluted.csv"
    diluted.write_text("\r\n".join([*lines[:end], *table, "", *lines[end:], ""]), encoding="utf-8")
    found = multiplex_concentrations(read_export(diluted), standards)
    compared = 0
    for one, other in zip(results, found, strict=True):
        for plain, times in zip(one.samples, other.samples, strict=True):
            assert times.dilution == 4.0
            if math.isfinite(plain.estimate.value):
                assert times.estimate.value == pytest.approx(4.0 * plain.estimate.value)
                assert np.array(times.estimate.interval) == pytest.approx(
                    4.0 * np.array(plain.estimate.interval)
                )
                compared += 1
            elif plain.estimate.censoring == "left":
                assert times.estimate.upper == pytest.approx(4.0 * plain.estimate.upper)
    assert compared > 400


def test_a_table_or_standard_that_is_not_there_is_refused(
    plate: tuple[Path, dict[str, dict[str, float]]],
) -> None:
    path, standards = plate
    export = read_export(path)
    with pytest.raises(FileNotValid, match="there is no table 'Mean' of wells; it has Median"):
        multiplex_concentrations(export, standards, "Mean")
    with pytest.raises(FileNotValid, match="no standard of A01"):
        multiplex_concentrations(export, {"Cal1": standards["Standard1"]})
