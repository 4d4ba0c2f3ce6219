"""Mutated TIFFs: read whole, or refused by one of our own errors, within bounded memory.

Uncompressed pixels carry no check of their own: a changed value in them can not be noticed by any reader, so what
is asked of a mutated file is a typed refusal or an image of the right shape, never another exception.
"""

from __future__ import annotations

import tracemalloc
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chiploop.errors import ChiploopError
from chiploop.microscopy.tiff_file import open_image
from chiploop.microscopy.tiff_structure import walk
from tests.chiploop.microscopy.image_files import two_channels, write_ome

MOST_MEMORY = 48 * 2**20
"""Of files of some 20 kB: 1,100 times as many pixels as bytes, twice, and a little."""
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "packed": {"compression": "zlib", "rowsperstrip": 16},
    "tiles": {"compression": "zlib", "tile": (32, 32), "predictor": True},
    "big": {"bigtiff": True},
}


@cache
def original(kind: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return write_ome(Path(folder) / "a.ome.tif", two_channels(), **KINDS[kind]).read_bytes()


def outcome(path: Path) -> str:
    """Return ``read`` or the kind of our own error; anything else is raised."""
    try:
        with open_image(path, 0.325) as opened:
            for channel in range(len(opened.channels)):
                plane = opened.plane(
                    str(channel + 1), 1 if opened.ome else None, 1 if opened.ome else None
                )
                assert plane.read(0, *plane.shape[:1], 0, plane.shape[1]).shape == plane.shape
        return "read"
    except ChiploopError as trouble:
        assert path.name in str(trouble)
        return type(trouble).__name__


@settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    place=st.floats(0.0, 1.0),
    length=st.integers(1, 40),
    how=st.sampled_from(["cut", "zero", "ones", "random", "double"]),
    seed=st.integers(0, 2**16),
    structure=st.booleans(),
)
@example(kind="plain", place=0.0, length=8, how="ones", seed=0, structure=True)
def test_a_mutated_file_is_read_or_refused_by_our_own_errors(
    kind: str, place: float, length: int, how: str, seed: int, structure: bool, tmp_path: Path
) -> None:
    data = original(kind)
    # half of the mutations fall on the first directory and what stands around it
    span = 400 if structure else len(data)
    start = min(int(place * span), len(data) - 1)
    some = data[start : start + length]
    new = {
        "cut": None,
        "zero": bytes(len(some)),
        "ones": b"\xff" * len(some),
        "random": np.random.default_rng(seed).bytes(len(some)),
        "double": some + some,
    }[how]
    mutated = data[:start] if new is None else data[:start] + new + data[start + len(some) :]
    path = tmp_path / "mutated.tif"
    path.write_bytes(mutated)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        try:
            found = outcome(path)
            assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        finally:
            tracemalloc.stop()
    if how == "cut":
        assert found != "read" or start >= len(data) - 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_not_mutated_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.ome.tif"
    path.write_bytes(original(kind))
    assert outcome(path) == "read"


@pytest.mark.parametrize("kind", ["packed", "tiles"])
def test_no_change_within_packed_pixels_goes_unnoticed(kind: str, tmp_path: Path) -> None:
    data = original(kind)
    rng = np.random.default_rng(6)
    path = tmp_path / "mutated.tif"
    path.write_bytes(data)
    with tifffile.TiffFile(path) as tiff:
        spans = [
            (offset, count)
            for page in tiff.pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    for offset, count in spans[:: max(1, len(spans) // 8)]:
        mutated = bytearray(data)
        at = offset + int(rng.integers(2, count - 4))
        mutated[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(mutated))
        assert outcome(path) == "FileNotValid"


def test_the_walk_costs_no_more_than_a_few_times_the_file(tmp_path: Path) -> None:
    """65,535 directories that each claim four million offsets within one small file."""
    path = tmp_path / "walk.tif"
    path.write_bytes(original("plain"))
    data = bytearray(original("plain"))
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            pages = walk(file, "walk.tif", len(data))
        assert len(pages) == 2
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data)
    finally:
        tracemalloc.stop()
