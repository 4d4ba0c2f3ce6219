"""The virtual microscope's files: bytes that an independent library and the reader of images both understand."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tifffile

from chiploop.errors import FileNotValid
from chiploop.exports.trouble import ExportIncomplete, FormatNotKnown
from chiploop.microscopy.field_file import read_field
from instruments.emulators.image_files import ome_tiff, ome_tiff_files

RNG = np.random.default_rng(3)
PLANES = [RNG.integers(0, 4096, (40, 56)).astype(np.uint16) for _ in range(2)]
CONTENT = ome_tiff("CLX C01 1", ["ZO-1", "nuclei"], PLANES, 0.325)


def test_tifffile_reads_every_pixel_and_its_place() -> None:
    with tifffile.TiffFile(io.BytesIO(CONTENT)) as tiff:
        assert tiff.is_ome and len(tiff.pages) == 2
        assert tiff.series[0].axes == "CYX"
        for page, plane in zip(tiff.pages, PLANES, strict=True):
            assert np.array_equal(page.asarray(), plane)
        assert 'Creator="SIMULATED"' in str(tiff.ome_metadata)


def test_the_reader_of_images_finds_name_channels_pixels_and_their_size() -> None:
    found = read_field(CONTENT, "x.ome.tiff")
    assert (found.title, list(found.planes), found.pixel_size_um, found.flags) == (
        "CLX C01 1", ["ZO-1", "nuclei"], 0.325, (),
    )  # fmt: skip
    for plane, read in zip(PLANES, found.planes.values(), strict=True):
        assert np.array_equal(plane, read)


@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_a_file_that_was_cut_anywhere_is_never_read(part: float) -> None:
    with pytest.raises((ExportIncomplete, FileNotValid)):
        read_field(CONTENT[: int(part * len(CONTENT))], "x.ome.tiff")


def test_another_kind_of_file_in_the_same_folder_is_none_of_the_images() -> None:
    with pytest.raises(FormatNotKnown):
        read_field(b"\xff\xfe#\x00#\x00", "plate.txt")


@dataclass
class Seen:
    """A picture of one place."""

    junctions: np.ndarray
    nuclei: np.ndarray
    settings: Any = field(default_factory=lambda: type("S", (), {"pixel_size_um": 0.325}))


class Tissue:
    """Shows the chip's number and the place in every pixel."""

    def monolayer(self, chip: str, time_h: float, place: int) -> Seen:
        """Return it."""
        return Seen(*(np.full((8, 8), 10 * int(chip[1:]) + place, np.uint16) for _ in range(2)))


def test_a_set_is_one_file_for_each_chip_and_place_under_its_name() -> None:
    chips = ["C01", "C01", "C02"]
    asked = {
        "wells": [{"chip": chip, "window_h": [72.0, 72.0]} for chip in chips],
        "names": ["CLX C01 1", "CLX C01 2", "CLX C02 1"],
        "channels": ["ZO-1", "nuclei"],
    }
    files = dict(ome_tiff_files(asked, Tissue()))
    assert list(files) == [f"CLX_{c}_{p}.ome.tiff" for c, p in zip(chips, (1, 2, 1), strict=True)]
    read = [read_field(data, name) for name, data in files.items()]
    assert [one.title for one in read] == asked["names"]
    assert [int(one.planes["ZO-1"][0, 0]) for one in read] == [11, 12, 21]
    other = next(iter(ome_tiff_files(asked, Tissue(), "other label")))
    assert read_field(other[1], other[0]).title not in asked["names"]
