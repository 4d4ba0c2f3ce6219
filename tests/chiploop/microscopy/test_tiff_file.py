"""Reading TIFF: every layout gives the same values; what is lost or can not be is refused, with its place."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports.trouble import ExportIncomplete, LibraryMissing
from chiploop.microscopy.tiff_file import open_image
from chiploop.microscopy.tiff_log import heard_from_tifffile
from tests.chiploop.microscopy.image_files import two_channels, write_ome

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"compression": "zlib"},
    {"tile": (32, 32)},
    {"tile": (48, 32), "compression": "zlib", "predictor": True},
    {"rowsperstrip": 16},
    {"rowsperstrip": 16, "compression": "zlib"},
    {"bigtiff": True},
    {"byteorder": ">", "compression": "zlib"},
    {"byteorder": ">"},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_layout_gives_the_same_values_whole_and_in_part(
    layout: dict[str, Any], tmp_path: Path
) -> None:
    values = two_channels()
    path = write_ome(tmp_path / "a.ome.tif", values, **layout)
    with open_image(path) as opened:
        assert opened.channels == ("ZO-1", "DAPI") and opened.pixel_size_um == 0.325
        plane = opened.plane("DAPI")
        assert plane.shape == (61, 83)
        assert np.array_equal(plane.read(0, 61, 0, 83), values[1])
        assert np.array_equal(plane.read(13, 50, 30, 77), values[1, 13:50, 30:77])
        assert np.array_equal(opened.plane("1").read(60, 61, 82, 83), values[0, 60:, 82:])


def test_depth_and_time_are_found_by_place(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (3, 2, 4, 21, 17)).astype(np.uint16)
    path = write_ome(tmp_path / "stack.ome.tif", values, "TCZYX")
    with open_image(path) as opened:
        for t in range(3):
            for c in range(2):
                for z in range(4):
                    read = opened.plane(str(c + 1), z + 1, t + 1).read(0, 21, 0, 17)
                    assert np.array_equal(read, values[t, c, z])
        with pytest.raises(WrongUse, match="4 planes along Z; name one by --z"):
            opened.plane("1", None, 1)
        with pytest.raises(WrongUse, match="--frame 4; allowed are 1 to 3"):
            opened.plane("1", 1, 4)


@pytest.mark.parametrize("layout", [{}, {"planarconfig": "separate"}, {"tile": (32, 32)}], ids=str)
def test_a_colour_image_is_read_as_colours_and_as_one_of_them(
    layout: dict[str, Any], tmp_path: Path
) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    stored = np.moveaxis(rgb, 2, 0) if layout.get("planarconfig") else rgb
    tifffile.imwrite(tmp_path / "he.tif", stored, photometric="rgb", **layout)
    with open_image(tmp_path / "he.tif", 1.0) as opened:
        assert np.array_equal(opened.colour().read(5, 50, 0, 61), rgb[5:, :61])
        assert np.array_equal(opened.plane("green").read(0, 50, 3, 70), rgb[:, 3:, 1])
        with pytest.raises(WrongUse, match="3 channels .*; name one by --channel"):
            opened.plane()


def test_pages_of_a_plain_file_are_channels_by_number(tmp_path: Path) -> None:
    values = two_channels()
    tifffile.imwrite(tmp_path / "p.tif", values, photometric="minisblack")
    with open_image(tmp_path / "p.tif", 0.5) as opened:
        assert opened.channels == ("1", "2")
        assert np.array_equal(opened.plane("2").read(0, 61, 0, 83), values[1])
        with pytest.raises(WrongUse, match="no channel '3'; allowed are 1 to 2"):
            opened.plane("3")
        with pytest.raises(FileNotValid, match="a stained section is a colour image"):
            opened.colour()


@pytest.mark.parametrize("part", [0.03, 0.3, 0.5, 0.9, 0.97, 0.999])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_cut_anywhere_is_refused(
    part: float, compression: str | None, tmp_path: Path
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", two_channels(), compression=compression)
    data = path.read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(data[: int(len(data) * part)])
    with (
        pytest.raises(ExportIncomplete, match=r"cut.tif: incomplete"),
        open_image(cut, 0.5) as opened,
    ):
        opened.plane("2").read(0, 61, 0, 83)


def test_ome_xml_lost_from_an_ome_tiff_is_no_plain_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", two_channels(), ome=False, photometric="minisblack")
    with (
        pytest.raises(ExportIncomplete, match="an OME-TIFF without OME-XML"),
        open_image(tmp_path / "a.ome.tif", 0.5),
    ):
        pass


def test_pages_that_ome_xml_tells_of_must_be_there(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", two_channels())
    data = path.read_bytes()
    more = data.replace(b'SizeC="2"', b'SizeC="9"')
    assert more != data
    path.write_bytes(more)
    with (
        pytest.raises(ExportIncomplete, match="tells of 9 planes, the file holds 2 pages"),
        open_image(path),
    ):
        pass
    path.write_bytes(data.replace(b'SizeX="83"', b'SizeX="84"'))
    with pytest.raises(FileNotValid, match="61 x 84 pixels, page 1 has 61 x 83"), open_image(path):
        pass


def test_zeroed_and_swapped_bytes_of_packed_pixels_are_refused_with_page_and_part(
    tmp_path: Path,
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", two_channels(), compression="zlib", rowsperstrip=16)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[1].dataoffsets[2]
    data = bytearray(path.read_bytes())
    data[offset + 40 : offset + 140] = bytes(100)
    path.write_bytes(bytes(data))
    with open_image(path) as opened:
        assert opened.plane("1").read(0, 61, 0, 83).shape == (61, 83)
        with pytest.raises(FileNotValid, match=r"a.ome.tif, page 2, part 3 of 4: damaged"):
            opened.plane("2").read(0, 61, 0, 83)
        assert opened.plane("2").read(0, 32, 0, 83).shape == (32, 83)  # its other parts are whole


def patched(path: Path, tag: int, value: int) -> None:
    """Write another value, as one whole number of four bytes, into a tag of the first page."""
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    for i in range(count):
        place = first + 2 + 12 * i
        if struct.unpack_from("<H", data, place)[0] == tag:
            struct.pack_into("<HII", data, place + 2, 4, 1, value)
            path.write_bytes(bytes(data))
            return
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_header_that_claims_a_huge_image_is_refused_before_anything_is_allocated(
    compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, two_channels()[0], compression=compression)
    for tag in (256, 257, 278):
        patched(path, tag, 900_000)
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(FileNotValid, match="900000 x 900000 pixels; allowed"),
    ):
        opened.plane()
    for tag in (256, 257, 278):
        patched(path, tag, 9_000)
    expected = "claims 162000000 bytes of pixels and has"
    with open_image(path, 0.5) as opened, pytest.raises(FileNotValid, match=expected):
        opened.plane()


def test_a_part_that_unpacks_to_more_than_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((100, 100), dtype=np.uint8), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    bomb = zlib.compress(bytes(50_000_000), 9)
    data = bytearray(path.read_bytes())[:offset] + bomb
    path.write_bytes(bytes(data))
    patched(path, 279, len(bomb))
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(
            FileNotValid,
            match="part 1 of 1: damaged: 10001 bytes of pixels, its size asks for 10000",
        ),
    ):
        opened.plane().read(0, 100, 0, 100)


def test_a_tile_without_data_is_no_black_tile(tmp_path: Path) -> None:
    path = tmp_path / "holes.tif"
    tiles = iter([np.ones((32, 32), np.uint8), None, np.ones((32, 32), np.uint8), None])
    tifffile.imwrite(path, tiles, shape=(64, 64), dtype=np.uint8, tile=(32, 32), compression="zlib")
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(ExportIncomplete, match="2 of 4 tiles or strips hold no"),
    ):
        opened.plane()


def test_what_can_not_be_read_says_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, np.zeros((40, 40), dtype=np.float64))
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(FileNotValid, match="64 bits .* allowed are 1 to 4 whole"),
    ):
        opened.plane()
    tifffile.imwrite(path, np.full((40, 40), np.nan, dtype=np.float32))
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(FileNotValid, match="values that are no numbers"),
    ):
        opened.plane().read(0, 40, 0, 40)
    tifffile.imwrite(path, np.zeros((40, 40), dtype=np.uint8), photometric="miniswhite")
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(FileNotValid, match="photometric interpretation 0"),
    ):
        opened.plane()
    tifffile.imwrite(path, np.zeros((40, 40), dtype=np.uint8))
    patched(path, 259, 99)
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(FileNotValid, match="compression 99; allowed are none"),
    ):
        opened.plane()


def test_lzw_without_its_library_names_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chiploop.microscopy.tiff_checks.importlib.util.find_spec", lambda _: None)
    path = tmp_path / "lzw.tif"
    tifffile.imwrite(path, np.zeros((40, 40), dtype=np.uint8))
    patched(path, 259, 5)
    with (
        open_image(path, 0.5) as opened,
        pytest.raises(LibraryMissing, match="packed by LZW.*imagecodecs"),
    ):
        opened.plane()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is no TIFF"),
        (b"II*\0", "less than the header"),
        (b"\x89PNG\r\n\x1a\n0000", "it is no TIFF: it begins with"),
        (b"II*\0" + struct.pack("<I", 0), "it holds no page"),
        (
            b"II*\0" + struct.pack("<I", 4000),
            "the directory of page 1 would end at byte 4002, the file has 8",
        ),
        (
            b"II*\0" + struct.pack("<IH", 8, 60000),
            "a directory of 60000 tags; allowed are 1 to 512",
        ),
        (
            b"II*\0" + struct.pack("<IHHHIII", 8, 1, 256, 4, 1, 5, 8),
            "its directories run in a circle",
        ),
        (
            b"II*\0" + struct.pack("<IHHHIII", 8, 1, 273, 4, 2**31, 99, 0),
            "StripOffsets of page 1 would end at",
        ),
    ],
)
def test_structures_that_can_not_be_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.tif"
    path.write_bytes(data)
    with pytest.raises(FileNotValid, match=message), open_image(path, 0.5):
        pass


def test_a_log_record_of_tifffile_counts_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", two_channels(), tile=(32, 32))
    decode = tifffile.TiffPage.decode.func  # type: ignore[attr-defined]

    def talking(page: tifffile.TiffPage) -> Any:
        logging.getLogger("tifffile").warning("<TiffPage 0> missing data are zeroed")
        return decode(page)

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(talking))
    with (
        open_image(path) as opened,
        pytest.raises(FileNotValid, match="part 1 of 6: damaged: .*are zeroed"),
    ):
        opened.plane("1").read(0, 20, 0, 20)


def test_listening_leaves_the_logger_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tifffile")
    before = (logger.level, logger.propagate, list(logger.handlers))
    logger.setLevel(logging.CRITICAL)
    with heard_from_tifffile() as heard:
        logger.warning("bottom tiles are %s", "missing")
        logger.info("nothing")
    assert heard == ["bottom tiles are missing"] and caplog.records == []
    assert logger.level == logging.CRITICAL
    logger.setLevel(before[0])
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with (
        pytest.raises(WrongUse, match="can not be read: No such file"),
        open_image(tmp_path / "no.tif"),
    ):
        pass


def test_fewer_pages_than_imagej_says_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ij.tif"
    tifffile.imwrite(path, two_channels(), imagej=True)
    data = path.read_bytes()
    assert data.count(b"images=2\n") == 1
    path.write_bytes(data.replace(b"images=2\n", b"images=7\n"))
    with (
        pytest.raises(FileNotValid, match="ImageJ tells of 7 planes, the file lists 2"),
        open_image(path, 0.5),
    ):
        pass
