"""What a TIFF claims of itself, walked before any library allocates what it claims.

Belongs here: header, directories, tags, and whether they can be true of a file of that size. Not here: pixels
(tiff_file), what tags mean for an experiment (pixel_size, ome).

Every offset and count is held against the file's size first, so a damaged or hostile file costs at most a few
times its own directories. TIFF 6.0 and BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from chiploop.errors import FileNotValid
from chiploop.exports.trouble import ExportIncomplete

MOST_PAGES: Final = 20_000
MOST_TAGS: Final = 512
MOST_VALUES: Final = 4_000_000
"""Of one tag: strips or tiles of one page."""
SIZES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
"""Type of a tag -> bytes of a value."""
INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
NAMES: Final = {
    254: "NewSubfileType", 256: "ImageWidth", 257: "ImageLength", 258: "BitsPerSample", 259: "Compression",
    262: "PhotometricInterpretation", 270: "ImageDescription", 273: "StripOffsets", 277: "SamplesPerPixel",
    278: "RowsPerStrip", 279: "StripByteCounts", 282: "XResolution", 283: "YResolution",
    284: "PlanarConfiguration", 296: "ResolutionUnit", 317: "Predictor", 322: "TileWidth", 323: "TileLength",
    324: "TileOffsets", 325: "TileByteCounts", 339: "SampleFormat",
}  # fmt: skip


@dataclass(frozen=True)
class TiffPage:
    """One directory of a TIFF, as far as it matters here."""

    number: int
    """From 1, as people count."""
    integers: dict[str, tuple[int, ...]]
    """Name of a tag -> its whole numbers."""
    resolution: tuple[float, float] | None
    """Pixels per unit along x and y; None where the page says nothing."""
    description: bytes
    byte_order: str = "<"
    """As numpy and struct write it."""

    def one(self, name: str, default: int) -> int:
        """Return the first number of a tag."""
        return self.integers.get(name, (default,))[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.one("ImageLength", 0), self.one("ImageWidth", 0)

    @property
    def samples(self) -> int:
        """Numbers of one pixel: 1 grey, 3 colour."""
        return self.one("SamplesPerPixel", 1)

    @property
    def bits(self) -> int:
        """Of one number."""
        return self.one("BitsPerSample", 1)

    @property
    def segment_shape(self) -> tuple[int, int]:
        """Rows and columns of a tile or strip."""
        rows, columns = self.shape
        if "TileWidth" in self.integers:
            return self.one("TileLength", 0), self.one("TileWidth", 0)
        return min(self.one("RowsPerStrip", rows), rows), columns

    @property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """Offset and bytes of each tile or strip."""
        kind = "Tile" if "TileWidth" in self.integers else "Strip"
        offsets = self.integers.get(f"{kind}Offsets", ())
        return tuple(zip(offsets, self.integers.get(f"{kind}ByteCounts", ()), strict=False))

    @property
    def segments_wanted(self) -> int:
        """How many tiles or strips cover the page."""
        rows, columns = self.segment_shape
        planes = self.samples if self.one("PlanarConfiguration", 1) == 2 else 1
        return -(-self.shape[0] // rows) * -(-self.shape[1] // columns) * planes

    @property
    def stored_by_rows(self) -> bool:
        """True where rows stand in the file one after the other as they are."""
        plain = self.one("Compression", 1) == 1 and self.one("Predictor", 1) == 1
        return plain and "TileWidth" not in self.integers

    @property
    def bytes_decoded(self) -> int:
        """Of the whole page."""
        return self.shape[0] * self.shape[1] * self.samples * -(-self.bits // 8)


def walk(file: BinaryIO, name: str, n_bytes: int) -> list[TiffPage]:
    """Return all pages of a TIFF.

    Raises
    ------
    ExportIncomplete : a directory or its values lie beyond the end of the file.
    FileNotValid : no TIFF, or a directory that can not be true.
    """
    return _Walk(file, name, n_bytes).pages()


class _Walk:
    def __init__(self, file: BinaryIO, name: str, n_bytes: int) -> None:
        self.file, self.name, self.n_bytes = file, name, n_bytes
        head = self.at(0, min(16, n_bytes), "the header")
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = (
            struct.unpack(self.order + "H", head[2:4])[0] if self.order and len(head) > 3 else 0
        )
        if version not in (42, 43):
            raise FileNotValid(
                f"{name}: it is no TIFF: it begins with {head[:4]!r}; allowed are II*, MM* and BigTIFF"
            )
        self.big = version == 43
        if len(head) < (16 if self.big else 8):
            raise ExportIncomplete(
                f"{name}: incomplete: {n_bytes} bytes, less than the header of a TIFF"
            )
        self.first = int(
            struct.unpack(
                self.order + ("Q" if self.big else "I"), head[8:16] if self.big else head[4:8]
            )[0]
        )

    def at(self, offset: int, count: int, what: str) -> bytes:
        if offset + count > self.n_bytes:
            raise ExportIncomplete(
                f"{self.name}: incomplete or damaged: {what} would end at byte {offset + count}, "
                f"the file has {self.n_bytes}. Copy or export it again."
            )
        self.file.seek(offset)
        return self.file.read(count)

    def pages(self) -> list[TiffPage]:
        found: list[TiffPage] = []
        seen: set[int] = set()
        offset = self.first
        while offset:
            if offset in seen or len(found) >= MOST_PAGES:
                told = (
                    "its directories run in a circle"
                    if offset in seen
                    else f"more than {MOST_PAGES} pages"
                )
                raise FileNotValid(f"{self.name}, page {len(found) + 1}: {told}")
            seen.add(offset)
            page, offset = self.page(offset, len(found) + 1)
            found.append(page)
        if not found:
            raise ExportIncomplete(
                f"{self.name}: incomplete: it holds no page. The program may not have finished writing it."
            )
        return found

    def page(self, offset: int, number: int) -> tuple[TiffPage, int]:
        told = f"the directory of page {number}"
        count_code, entry, code = ("Q", 20, "HHQ8s") if self.big else ("H", 12, "HHI4s")
        width = struct.calcsize("<" + count_code)
        count = int(struct.unpack(self.order + count_code, self.at(offset, width, told))[0])
        if not 0 < count <= MOST_TAGS:
            raise FileNotValid(
                f"{self.name}, page {number}: a directory of {count} tags; allowed are 1 to {MOST_TAGS}"
            )
        next_code = "Q" if self.big else "I"
        body = self.at(offset + width, count * entry + struct.calcsize("<" + next_code), told)
        integers: dict[str, tuple[int, ...]] = {}
        ratios: dict[str, float] = {}
        description = b""
        for i in range(count):
            tag, kind, n, inline = struct.unpack_from(self.order + code, body, i * entry)
            name = NAMES.get(tag)
            size = SIZES.get(kind)
            if size is None:
                if name is None:
                    continue
                raise FileNotValid(
                    f"{self.name}, page {number}: {name} has the unknown type {kind}"
                )
            place = f"{name or f'tag {tag}'} of page {number}"
            if n * size <= len(inline):
                raw = inline[: n * size]
            else:
                where = int(struct.unpack(self.order + next_code, inline)[0])
                if where + n * size > self.n_bytes:
                    self.at(where, n * size, place)
                if name is None:
                    continue
                if n > MOST_VALUES * (16 if name == "ImageDescription" else 1):
                    raise FileNotValid(
                        f"{self.name}: {place} has {n} values; allowed are {MOST_VALUES}"
                    )
                raw = self.at(where, n * size, place)
            if name == "ImageDescription":
                description = raw.rstrip(b"\0")
            elif name is not None and kind in INTEGERS:
                integers[name] = struct.unpack(f"{self.order}{n}{INTEGERS[kind]}", raw)
            elif name is not None and kind == 5 and n == 1:
                above, below = struct.unpack(self.order + "II", raw)
                ratios[name] = above / below if below else 0.0
        page = TiffPage(
            number, {k: v for k, v in integers.items() if v}, _both(ratios), description, self.order
        )
        return page, int(struct.unpack_from(self.order + next_code, body, count * entry)[0])


def _both(ratios: dict[str, float]) -> tuple[float, float] | None:
    x, y = ratios.get("XResolution", 0.0), ratios.get("YResolution", 0.0)
    return (x, y) if x > 0.0 and y > 0.0 else None
