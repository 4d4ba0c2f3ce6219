"""TIFF and OME-TIFF, opened lazily and read region by region; what is damaged is refused, with page and place.

Belongs here: one file's planes. Not here: what must hold before a byte of pixels is read (tiff_checks), tags
(tiff_structure), OME-XML (ome), the pixel size (pixel_size).

Memory: opening takes a few times the directories, which are held against the file's size; a region takes its own
pixels and one decoded tile or strip of at most ``tiff_checks.MOST_SEGMENT_BYTES``. Nothing else is allocated,
whatever a header claims.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np

from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports.trouble import ExportIncomplete
from chiploop.microscopy.ome import OmeImage, read_ome
from chiploop.microscopy.pixel_size import settle_pixel_size, tagged_size_um
from chiploop.microscopy.tiff_checks import (
    DEFLATE,
    JPEG,
    TYPES,
    refuse_lost_ome,
    refuse_lost_pages,
    refuse_page,
)
from chiploop.microscopy.tiff_log import heard_from_tifffile
from chiploop.microscopy.tiff_structure import TiffPage, walk

JPEG_END: Final = b"\xff\xd9"
COLOURS: Final = ("red", "green", "blue")


@dataclass(frozen=True)
class ImageFile:
    """An open TIFF."""

    name: str
    pages: tuple[TiffPage, ...]
    ome: OmeImage | None
    pixel_size_um: float
    flags: tuple[str, ...]
    """What a person should know of the file."""
    _file: BinaryIO = field(repr=False)
    _tiff: Any = field(repr=False)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of channels, as the file gives them, or their numbers from 1."""
        if self.ome is not None and self.pages[0].samples == 1:
            names = (*self.ome.channels, *[""] * self.ome.sizes["C"])[: self.ome.sizes["C"]]
            return tuple(name or str(i) for i, name in enumerate(names, start=1))
        if self.pages[0].samples > 1:
            return COLOURS
        return tuple(str(page.number) for page in self.full_pages)

    @property
    def full_pages(self) -> tuple[TiffPage, ...]:
        """Pages without the smaller copies that slide scanners keep."""
        return tuple(page for page in self.pages if not page.one("NewSubfileType", 0) & 1)

    def plane(
        self, channel: str | None = None, z: int | None = None, t: int | None = None
    ) -> TiffPlane:
        """Return one grey plane.

        Parameters
        ----------
        channel : its name, or its number from 1; needed where the file has several.
        z, t : from 1; needed where the file has several.

        Raises
        ------
        WrongUse : a plane that is not there, or not named where there are several.
        FileNotValid : a page that can not be read whole.
        """
        number = self._channel(channel)
        if self.pages[0].samples > 1:
            return TiffPlane(self, self._checked(0), number)
        if self.ome is None:
            if z is not None or t is not None:
                raise WrongUse(
                    f"{self.name}: without OME-XML pages have no depth or time; name the page by --channel"
                )
            return TiffPlane(self, self._checked(self.full_pages[number].number - 1), 0)
        places = [self._place(axis, asked) for axis, asked in (("Z", z), ("T", t))]
        return TiffPlane(self, self._checked(self.ome.page(number, *places)), 0)

    def colour(self) -> TiffPlane:
        """Return the first page with red, green and blue; FileNotValid where it has not three of 8 bits."""
        page = self._checked(0)
        if page.samples < 3 or page.bits != 8:
            raise FileNotValid(
                f"{self.name}, page 1: {page.samples} values of {page.bits} bits a pixel; a stained section "
                "is a colour image, 3 values of 8 bits"
            )
        return TiffPlane(self, page, None)

    def _channel(self, channel: str | None) -> int:
        names = self.channels
        if channel is None:
            if len(names) > 1:
                raise WrongUse(
                    f"{self.name}: it has {len(names)} channels ({_listed(names)}); name one by --channel"
                )
            return 0
        if channel in names:
            if names.count(channel) > 1:
                raise WrongUse(
                    f"{self.name}: channel '{channel}' stands there more than once; give its number"
                )
            return names.index(channel)
        if channel.isascii() and channel.isdigit() and 1 <= int(channel[:9]) <= len(names):
            return int(channel) - 1
        raise WrongUse(
            f"{self.name}: there is no channel '{channel}'; allowed are 1 to {len(names)} ({_listed(names)})"
        )

    def _place(self, axis: str, asked: int | None) -> int:
        assert self.ome is not None
        size = self.ome.sizes[axis]
        option = {"Z": "--z", "T": "--frame"}[axis]
        if asked is None and size > 1:
            raise WrongUse(f"{self.name}: {size} planes along {axis}; name one by {option}")
        if asked is not None and not 1 <= asked <= size:
            raise WrongUse(f"{self.name}: {option} {asked}; allowed are 1 to {size}")
        return (asked or 1) - 1

    def _checked(self, index: int) -> TiffPage:
        page = self.pages[index]
        refuse_page(page, self.name, self._n_bytes)
        return page

    @property
    def _n_bytes(self) -> int:
        return self._file.seek(0, 2)


@dataclass(frozen=True)
class TiffPlane:
    """One plane of an open file, read region by region."""

    file: ImageFile
    page: TiffPage
    sample: int | None
    """Which of a pixel's values; None for all three colours."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.page.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return _type(self.page)

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Return the values of a region; FileNotValid where its bytes are damaged."""
        page = self.page
        height, width = page.segment_shape
        across = -(-page.shape[1] // width)
        down = -(-page.shape[0] // height)
        apart = page.samples > 1 and page.one("PlanarConfiguration", 1) == 2
        wanted = range(3) if self.sample is None else (self.sample,)
        out = np.empty((bottom - top, right - left, len(wanted)), dtype=_type(page))
        if not apart and page.stored_by_rows:
            out[...] = self._rows(top, bottom, left, right)[..., list(wanted)]
            return self._finite(out)
        for row in range(top // height, (bottom - 1) // height + 1):
            for column in range(left // width, (right - 1) // width + 1):
                for place, sample in enumerate(wanted) if apart else ((slice(None), 0),):
                    index = (sample if apart else 0) * across * down + row * across + column
                    values = self._segment(index)
                    values = values[..., :1] if apart else values[..., list(wanted)]
                    y, x = row * height, column * width
                    y0, y1 = max(top, y), min(bottom, y + values.shape[0])
                    x0, x1 = max(left, x), min(right, x + values.shape[1])
                    part = values[y0 - y : y1 - y, x0 - x : x1 - x]
                    out[y0 - top : y1 - top, x0 - left : x1 - left, place] = (
                        part[..., 0] if apart else part
                    )
        return self._finite(out)

    def _finite(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise FileNotValid(
                f"{self._where}: values that are no numbers; allowed are finite ones"
            )
        return values if self.sample is None else values[..., 0]

    def _rows(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Return unpacked rows straight from the file: one strip is often the whole plane."""
        page = self.page
        height, width = page.segment_shape
        pixel_bytes = page.samples * page.bits // 8
        parts = []
        for row in range(top, bottom):
            offset, count = page.segments[row // height]
            start = (row % height) * width * pixel_bytes
            if start + width * pixel_bytes > count:
                raise ExportIncomplete(
                    f"{self._where}, row {row + 1}: incomplete: its strip has {count} bytes, the row would end at "
                    f"{start + width * pixel_bytes}"
                )
            self.file._file.seek(offset + start + left * pixel_bytes)
            parts.append(self.file._file.read((right - left) * pixel_bytes))
        order: Literal["<", ">"] = "<" if page.byte_order == "<" else ">"
        stored = np.frombuffer(b"".join(parts), _type(page).newbyteorder(order))
        return stored.reshape(bottom - top, right - left, page.samples)

    @property
    def _where(self) -> str:
        return f"{self.file.name}, page {self.page.number}"

    def _segment(self, index: int) -> np.ndarray:
        """Return (rows, columns, samples) of one tile or strip."""
        offset, count = self.page.segments[index]
        self.file._file.seek(offset)
        data = self.file._file.read(count)
        told = f"{self._where}, part {index + 1} of {self.page.segments_wanted}"
        self._refuse_wrong_length(data, index, told)
        with heard_from_tifffile() as heard:
            try:
                page = self.file._tiff.pages[self.page.number - 1]
                values, _, shape = page.decode(data, index)
            except MemoryError:
                raise
            except Exception as trouble:  # whatever a decoder says of bytes that it can not read
                raise FileNotValid(
                    f"{told}: damaged: {type(trouble).__name__}: {trouble}. Copy or export it again."
                ) from None
        if heard or values is None:
            raise FileNotValid(f"{told}: damaged: {heard[0] if heard else 'it holds no data'}")
        rows, columns = shape[1], shape[2]
        return np.asarray(values[0, :rows, :columns])

    def _refuse_wrong_length(self, data: bytes, index: int, told: str) -> None:
        """Raise before a decoder allocates more, or fills with zeros what is less, than the part must have."""
        page = self.page
        height, width = page.segment_shape
        samples = 1 if page.one("PlanarConfiguration", 1) == 2 else page.samples
        rows = height
        if "TileWidth" not in page.integers:
            strips = -(-page.shape[0] // height)
            rows = min(height, page.shape[0] - (index % strips) * height)
        least, most = (n * width * samples * page.bits // 8 for n in (rows, height))
        compression = page.one("Compression", 1)
        length = len(data)
        if compression in DEFLATE:
            unpacker = zlib.decompressobj()
            try:
                length = len(unpacker.decompress(data, most + 1))
            except zlib.error as trouble:
                raise FileNotValid(
                    f"{told}: damaged: {trouble}. Copy or export it again."
                ) from None
        elif compression == JPEG and not data.rstrip(b"\0").endswith(JPEG_END):
            raise FileNotValid(f"{told}: damaged: its JPEG has no end. Copy or export it again.")
        elif compression != 1:
            return
        if not least <= length <= most:
            raise FileNotValid(
                f"{told}: damaged: {length} bytes of pixels, its size asks for {least}. Copy or export it again."
            )


@contextmanager
def open_image(
    path: Path, declared_um: float | None = None, no_size: bool = False
) -> Iterator[ImageFile]:
    """Open a TIFF, look at all that it claims, and yield it.

    Parameters
    ----------
    declared_um : size of a pixel for a file that does not say.
    no_size : a label image, whose pixels are those of another file.

    Raises
    ------
    WrongUse : there is no such file, or it can not be opened.
    FileNotValid : it is no TIFF, damaged, or its pixel size is not known.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise WrongUse(f"{path} can not be read: {error.strerror or error}") from None
    with file, image_of(file, path.name, declared_um, no_size) as image:
        yield image


@contextmanager
def image_of(
    file: BinaryIO, name: str, declared_um: float | None = None, no_size: bool = False
) -> Iterator[ImageFile]:
    """Look at all that an open file claims, and yield it; otherwise as ``open_image``."""
    import tifffile

    n_bytes = file.seek(0, 2)
    pages = walk(file, name, n_bytes)
    ome = read_ome(pages[0].description, name)
    refuse_lost_ome(Path(name), pages, ome, name)
    refuse_lost_pages(pages, name)
    size = 1.0
    flags: tuple[str, ...] = ()
    if not no_size:
        tags = tagged_size_um(
            pages[0].resolution, pages[0].one("ResolutionUnit", 2), pages[0].description
        )
        from_ome = ome.pixel_size_um if ome is not None else None
        size, flags = settle_pixel_size(name, from_ome, tags, declared_um)
    if pages[0].one("Compression", 1) == JPEG:
        flags = (
            *flags,
            "JPEG: fine structure is lost in it and damage within may go unnoticed; export without loss",
        )
    file.seek(0)
    with heard_from_tifffile() as heard:
        try:
            # series are never asked for: they would open further files that OME-XML names
            tiff = tifffile.TiffFile(file, name=name)
        except Exception as trouble:
            raise FileNotValid(f"{name}: damaged: {type(trouble).__name__}: {trouble}") from None
    if heard:
        raise FileNotValid(f"{name}: damaged: {heard[0]}")
    with tiff:
        yield ImageFile(name, tuple(pages), ome, size, flags, file, tiff)


def _type(page: TiffPage) -> np.dtype[Any]:
    return np.dtype(TYPES[page.one("SampleFormat", 1), page.bits])


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
