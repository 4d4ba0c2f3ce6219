"""Images as a microscope's program writes them: OME-TIFF with one page a channel.

Belongs here: bytes of a TIFF and its OME-XML. Not here: what is seen (the tissue), when a file comes
(reader_elsewhere). Written from the TIFF 6.0 and OME-XML descriptions alone: nothing of the reader is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

SHORT, LONG, ASCII = 3, 4, 2
HEADER_BYTES = 8
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
MICROMETRE = "\u00b5m"


def ome_tiff_files(
    plate: dict[str, Any], tissue: Any, fault: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Yield the image of every place of a set, as (file name, bytes)."""
    counts: dict[str, int] = {}
    for k, (well, name) in enumerate(zip(plate["wells"], plate["names"], strict=True)):
        chip = well["chip"]
        counts[chip] = counts.get(chip, 0) + 1
        seen = tissue.monolayer(chip, well["window_h"][1], counts[chip])
        title = f"0{name[1:]}" if fault == "other label" and k == 0 else name
        planes = [seen.junctions, seen.nuclei]
        content = ome_tiff(title, plate["channels"], planes, seen.settings.pixel_size_um)
        yield f"{title.replace(' ', '_')}.ome.tiff", content


def ome_tiff(
    title: str, channels: Sequence[str], planes: Sequence[np.ndarray], pixel_size_um: float
) -> bytes:
    """Return an OME-TIFF of uint16 planes, one page each, little-endian, not compressed."""
    rows, columns = planes[0].shape
    text = _ome_xml(title, channels, rows, columns, pixel_size_um).encode("utf-8")
    parts, at = [struct.pack("<2sHI", b"II", 42, HEADER_BYTES)], HEADER_BYTES
    for number, plane in enumerate(planes):
        pixels = plane.astype("<u2").tobytes()
        described = [(270, ASCII, text + b"\0")] if number == 0 else []
        entries = [
            (254, LONG, 0),
            (256, LONG, columns),
            (257, LONG, rows),
            (258, SHORT, 16),
            (259, SHORT, 1),
            (262, SHORT, 1),
            *described,
            (273, LONG, 0),
            (277, SHORT, 1),
            (278, LONG, rows),
            (279, LONG, len(pixels)),
            (305, ASCII, b"SIMULATED\0"),
            (339, SHORT, 1),
        ]
        page = _page(entries, at, pixels, is_last=number == len(planes) - 1)
        parts.append(page)
        at += len(page)
    return b"".join(parts)


def _page(entries: list[tuple[int, int, Any]], at: int, pixels: bytes, is_last: bool) -> bytes:
    """Return a directory that begins at a byte of the file, with its texts and pixels behind it."""
    behind = at + 2 + 12 * len(entries) + 4
    texts = b""
    placed: dict[int, int] = {}
    for tag, kind, value in entries:
        if kind == ASCII:
            placed[tag] = behind + len(texts)
            texts += value + b"\0" * (len(value) % 2)
    placed[273] = behind + len(texts)
    following = placed[273] + len(pixels)
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        count = len(value) if kind == ASCII else 1
        number = placed.get(tag, value)
        # a short number stands in the first two bytes of its field, which little-endian order does by itself
        directory += struct.pack("<HHII", tag, kind, count, number)
    directory += struct.pack("<I", 0 if is_last else following)
    return directory + texts + pixels


def _ome_xml(
    title: str, channels: Sequence[str], rows: int, columns: int, pixel_size_um: float
) -> str:
    named = "".join(
        f'<Channel ID="Channel:0:{k}" Name={quoteattr(name)} SamplesPerPixel="1"/>'
        for k, name in enumerate(channels)
    )
    pages = "".join(
        f'<TiffData IFD="{k}" FirstC="{k}" FirstZ="0" FirstT="0" PlaneCount="1"/>'
        for k in range(len(channels))
    )
    size = f'"{pixel_size_um:g}"'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{OME}" Creator="SIMULATED">'
        f'<Image ID="Image:0" Name={quoteattr(title)}>'
        f"<Description>{escape('SIMULATED: an image of a virtual chip')}</Description>"
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="{columns}" SizeY="{rows}" '
        f'SizeC="{len(channels)}" SizeZ="1" SizeT="1" PhysicalSizeX={size} PhysicalSizeXUnit="{MICROMETRE}" '
        f'PhysicalSizeY={size} PhysicalSizeYUnit="{MICROMETRE}">{named}{pages}</Pixels></Image></OME>'
    )
