"""What must be true of a TIFF before a byte of its pixels is read: sizes, kinds, tiles and strips, lost pages.

Belongs here: limits, and what is said where they are broken. Not here: reading (tiff_file).
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Final

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.exports.trouble import ExportIncomplete, LibraryMissing
from chiploop.microscopy.ome import OmeImage
from chiploop.microscopy.tiff_structure import TiffPage

MOST_PIXELS: Final = 2_000_000_000
"""Of a plane."""
MOST_SEGMENT_BYTES: Final = 256 * 2**20
"""Of one tile or strip, decoded."""
MOST_INFLATED: Final = 1100
"""Bytes that one byte of deflate can give; the format allows 1032."""
DEFLATE: Final = frozenset({8, 32946})
JPEG: Final = 7
WITH_LIBRARY: Final = {5: "LZW", JPEG: "JPEG", 32773: "PackBits"}
IMAGEJ_PLANES: Final = re.compile(rb"^images=(\d{1,9})\s*$", re.MULTILINE)
TYPES: Final = {
    (1, 8): "u1",
    (1, 16): "u2",
    (1, 32): "u4",
    (2, 16): "i2",
    (2, 32): "i4",
    (3, 32): "f4",
}


def refuse_page(page: TiffPage, name: str, n_bytes: int) -> None:
    """Raise for a page that can not be read, or whose claims can not be true of a file of that size."""
    told = f"{name}, page {page.number}"
    rows, columns = page.shape
    height, width = page.segment_shape
    if min(rows, columns, height, width) < 1 or rows * columns > MOST_PIXELS:
        raise FileNotValid(
            f"{told}: {rows} x {columns} pixels; allowed are 1 to {MOST_PIXELS} pixels"
        )
    bits = {*page.integers.get("BitsPerSample", (1,))}
    kind = page.one("SampleFormat", 1), page.bits
    if len(bits) > 1 or kind not in TYPES or page.samples > 4:
        raise FileNotValid(
            f"{told}: {page.samples} values of {page.bits} bits a pixel, sample format {kind[0]}; allowed are "
            "1 to 4 whole numbers of 8, 16 or 32 bits, or real ones of 32"
        )
    if page.one("PhotometricInterpretation", 1) not in (1, 2, 6):
        raise FileNotValid(
            f"{told}: photometric interpretation {page.one('PhotometricInterpretation', 1)} (1: black is 0, "
            "2: red, green, blue, 6: JPEG's colours are allowed); export it as grey or colour values"
        )
    compression = page.one("Compression", 1)
    if compression in WITH_LIBRARY:
        if importlib.util.find_spec("imagecodecs") is None:
            raise LibraryMissing(
                f"{told}: packed by {WITH_LIBRARY[compression]}, which needs a library that is not installed: "
                "pip install imagecodecs; or export it without compression or with Deflate (ZIP)"
            )
    elif compression not in {1, *DEFLATE}:
        raise FileNotValid(
            f"{told}: compression {compression}; allowed are none, Deflate, {', '.join(WITH_LIBRARY.values())}"
        )
    segments = page.segments
    decoded = height * width * page.samples * page.bits // 8
    if decoded > MOST_SEGMENT_BYTES and not page.stored_by_rows:
        raise FileNotValid(
            f"{told}: tiles or strips of {decoded / 2**20:.0f} MiB; allowed are {MOST_SEGMENT_BYTES // 2**20} "
            "MiB. Export it in tiles or short strips."
        )
    if len(segments) != page.segments_wanted:
        raise ExportIncomplete(
            f"{told}: incomplete: {len(segments)} tiles or strips, {rows} x {columns} pixels ask for "
            f"{page.segments_wanted}"
        )
    lost = sum(count == 0 or offset == 0 for offset, count in segments)
    if lost:
        raise ExportIncomplete(
            f"{told}: incomplete: {lost} of {len(segments)} tiles or strips hold no data"
        )
    end = max(offset + count for offset, count in segments)
    if end > n_bytes:
        raise ExportIncomplete(
            f"{told}: incomplete: its pixels would end at byte {end}, the file has {n_bytes}. "
            "Copy or export it again."
        )
    packed = sum(count for _, count in segments)
    if page.bytes_decoded > packed * (1 if compression == 1 else MOST_INFLATED):
        raise FileNotValid(
            f"{told}: it claims {page.bytes_decoded} bytes of pixels and has {packed} bytes for them"
        )


def refuse_lost_ome(path: Path, pages: list[TiffPage], ome: OmeImage | None, name: str) -> None:
    if ome is None:
        if path.name.lower().endswith((".ome.tif", ".ome.tiff", ".ome.btf")):
            raise ExportIncomplete(
                f"{name}: incomplete: an OME-TIFF without OME-XML; it stands at the end of such files, so this "
                "one may be cut. Copy or export it again."
            )
        return
    if pages[0].shape != (ome.rows, ome.columns):
        raise FileNotValid(
            f"{name}: its OME-XML says {ome.rows} x {ome.columns} pixels, page 1 has "
            f"{pages[0].shape[0]} x {pages[0].shape[1]}"
        )
    planes = ome.first_ifd + int(np.prod(list(ome.sizes.values()), dtype=object))
    if planes > len(pages):
        raise ExportIncomplete(
            f"{name}: incomplete: its OME-XML tells of {planes} planes, the file holds {len(pages)} pages"
        )


def refuse_lost_pages(pages: list[TiffPage], name: str) -> None:
    """Raise where ImageJ wrote more planes than the file has pages (stacks above 4 GB have one page for all)."""
    said = IMAGEJ_PLANES.search(pages[0].description)
    if pages[0].description.startswith(b"ImageJ=") and said and int(said[1]) > len(pages):
        raise FileNotValid(
            f"{name}: ImageJ tells of {int(said[1])} planes, the file lists {len(pages)}; save it as OME-TIFF"
        )
