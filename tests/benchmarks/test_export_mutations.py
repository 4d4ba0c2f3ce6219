"""Real files, spoiled: fewer or other numbers are refused or said, and nothing breaks the readers."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.export_mutation_kinds import KINDS, STANDARD_COLUMNS, WholeFile, whole_file
from benchmarks.export_mutations import (
    PLATE_OUTCOMES,
    compare,
    outcome,
    random_mutation,
    random_outcomes,
    whole_files,
)
from benchmarks.exports import thirty_plex
from chiploop.errors import ChiploopError
from chiploop.exports import read_export_bytes

COUNTS = {
    "gen5_absorbance_stdcurve_singleplate.txt": 381,
    "gen5_fluorescence_endpoint_singleplate.txt": 576,
    "luminex_intelliflex_v2_2.csv": 1320,
    "luminex_xponent_example02.csv": 52,
    "luminex_xponent_nan_and_not_reported.csv": 1536,
    "msd_methodical_mind_test_1.txt": 192,
    "msd_workbench_test_2.csv": 464,
    "softmax_pro_absorbance_endpoint_example01.txt": 856,
    "softmax_pro_fluorescence_endpoint_example06.txt": 1656,
}
NAME_STANDARDS = {name for name in COUNTS if "stdcurve" in name or "workbench" in name}
"""Files that say which wells are standards, small ones."""
BYTES_PER_BYTE = 150
"""Of memory for each byte of a file, the bound that docs/exports.md states."""


@pytest.fixture(scope="module")
def files(shared_data: Path) -> list[WholeFile]:
    return whole_files(shared_data / "vendor_exports")


def test_every_real_file_is_read_whole(files: list[WholeFile]) -> None:
    assert {file.name: len(file.export.rows) for file in files} == COUNTS


@pytest.mark.parametrize("kind", KINDS)
def test_no_spoiled_file_gives_fewer_or_other_numbers_in_silence(
    files: list[WholeFile], kind: str
) -> None:
    n_spoiled = 0
    for file in files:
        outcomes = Counter(outcome(data, file) for data in KINDS[kind](file))
        assert set(outcomes) <= {"refused", "flagged", "same"}, (file.name, outcomes)
        if kind.startswith("cut"):
            assert "same" not in outcomes, file.name
        if kind.startswith("1000 x"):
            assert (set(outcomes) == {"flagged"}) == (file.name in STANDARD_COLUMNS), file.name
        n_spoiled += outcomes.total()
    assert n_spoiled >= len(STANDARD_COLUMNS)


def test_the_comparison_sees_what_is_silent(files: list[WholeFile]) -> None:
    whole = files[0].export
    assert compare(whole, whole) == "same"
    assert compare(replace(whole, rows=whole.rows[:-1]), whole) == "SILENT"
    assert compare(replace(whole, rows=whole.rows[:-1], notes=("a row is missing",)), whole) == (
        "flagged"
    )
    last = whole.rows[-1]
    other = replace(last, readout=replace(last.readout, value=last.readout.value + 1.0))
    assert compare(replace(whole, rows=(*whole.rows[:-1], other)), whole) == "SILENT"
    told = replace(other, readout=replace(other.readout, reasons=("doubtful",)))
    assert compare(replace(whole, rows=(*whole.rows[:-1], told)), whole) == "flagged"


def test_random_mutations_end_in_our_own_kinds_of_trouble(files: list[WholeFile]) -> None:
    outcomes = random_outcomes(files, 2_000)
    assert set(outcomes) == {"read", "refused"}, outcomes


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_100000_random_mutations_end_in_our_own_kinds_of_trouble(files: list[WholeFile]) -> None:
    outcomes = random_outcomes(files, 100_000, seed=2, as_plates=True)
    assert set(outcomes) <= {"read", "refused", *PLATE_OUTCOMES}, outcomes
    assert sum(outcomes[name] for name in PLATE_OUTCOMES) == outcomes["read"]


def test_random_mutations_that_are_read_are_judged_or_refused_as_plates(
    files: list[WholeFile],
) -> None:
    with_standards = [file for file in files if file.name in NAME_STANDARDS]
    outcomes = random_outcomes(with_standards, 250, seed=5, as_plates=True)
    assert set(outcomes) <= {"read", "refused", *PLATE_OUTCOMES}, outcomes
    assert outcomes["judged, accepted"]


@given(data=st.data())
def test_any_bytes_in_a_real_file_are_read_or_refused_by_name(
    files: list[WholeFile], data: st.DataObject
) -> None:
    file = data.draw(st.sampled_from(files))
    at = data.draw(st.integers(0, len(file.data)))
    removed = data.draw(st.integers(0, 200))
    added = data.draw(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
    spoiled = file.data[:at] + added + file.data[at + removed :]
    try:
        read_export_bytes(spoiled, file.name)
    except ChiploopError as trouble:
        assert file.name in str(trouble)


def test_memory_is_bounded_by_the_size_of_the_file(files: list[WholeFile]) -> None:
    rng = random.Random(3)
    for file in files:
        for data in (file.data, *(random_mutation(file.data, rng) for _ in range(5))):
            tracemalloc.start()
            try:
                read_export_bytes(data, file.name)
            except ChiploopError:
                pass
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < BYTES_PER_BYTE * len(data) + 1_000_000, (file.name, peak / len(data))


def test_memory_is_bounded_for_files_that_are_made_to_fill_it(files: list[WholeFile]) -> None:
    texts = {file.export.format: file.export.file for file in files}
    whole = {file.name: file.data for file in files}
    csv_file = whole[texts["msd_workbench"]]
    made = {
        "blank lines": csv_file + b"\n" * 60_000,
        "empty cells": csv_file + b"," * 60_000 + b"\n",
        "one character a number": thirty_plex(one_digit=True),
        "elements": b"<a:BioPlexManager>" + b"<b/>" * 40_000 + b"</a:BioPlexManager>",
        "short lines": whole[texts["luminex_xponent"]].replace(
            b"Results", b"a\r\n" * 40_000 + b"Results", 1
        ),
    }
    for what, data in made.items():
        tracemalloc.start()
        try:
            read_export_bytes(data, what)
        except ChiploopError:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < BYTES_PER_BYTE * len(data) + 1_000_000, (what, peak / len(data))


def test_a_spoiled_file_keeps_the_line_ends_of_the_whole_one(files: list[WholeFile]) -> None:
    for file in files:
        assert whole_file(file.name, file.data, file.export).joined(list(file.lines)) == file.data
