"""The few fields of OME-XML that a measure needs: pixel size, channels, time, and which page is which plane.

Belongs here: reading them from the text in a file's first page. Not here: pixels. Sets of several files are not
followed: nothing outside the file that was named is ever opened.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from chiploop.errors import FileNotValid
from chiploop.exports.safe_xml import Element, parse

UM_PER: Final = {
    "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "micron": 1.0, "nm": 1e-3, "pm": 1e-6, "mm": 1e3, "cm": 1e4,
    "m": 1e6, "\u00c5": 1e-4, "\u212b": 1e-4, "in": 25_400.0,
}  # fmt: skip
ROOT: Final = re.compile(rb"<(?:\w+:)?OME[\s>]")
MOST_ELEMENTS: Final = 400_000
ORDERS: Final = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")


@dataclass(frozen=True)
class OmeImage:
    """The first image of an OME-XML."""

    columns: int
    rows: int
    sizes: dict[str, int]
    """Planes along ``Z``, ``C`` (of one plane each) and ``T``."""
    order: str
    """``Z``, ``C`` and ``T`` in the order of pages, the quickest first."""
    first_ifd: int
    pixel_size_um: float | None
    """None where the text names none, or none in a unit of length."""
    channels: tuple[str, ...]
    """Names, empty where the text gives none."""
    acquired: str
    """As written; empty where the text gives none."""
    title: str = ""
    """Name of the image; empty where the text gives none."""

    def page(self, channel: int, z: int, t: int) -> int:
        """Return the number of a plane's page, from 0; all places from 0."""
        at = {"C": channel, "Z": z, "T": t}
        number, stride = 0, 1
        for axis in self.order:
            number += at[axis] * stride
            stride *= self.sizes[axis]
        return self.first_ifd + number


def read_ome(description: bytes, name: str) -> OmeImage | None:
    """Return the image that OME-XML describes; None where the description is no OME-XML.

    Raises
    ------
    FileNotValid : OME-XML that is damaged, describes no image, several files, or pixels that are not square.
    """
    if not ROOT.search(description[:4000]) or not description[:400].lstrip().startswith(b"<"):
        return None
    try:
        text = description.decode("utf-8")
    except UnicodeDecodeError as trouble:
        raise FileNotValid(f"{name}: its OME-XML is not UTF-8 ({trouble.reason})") from None
    if text.count("<") > MOST_ELEMENTS:
        raise FileNotValid(f"{name}: more than {MOST_ELEMENTS} elements in its OME-XML")
    root = parse(text, f"{name}, OME-XML")
    image = _child(root, "Image")
    pixels = _child(image, "Pixels") if image is not None else None
    if image is None or pixels is None:
        raise FileNotValid(f"{name}: its OME-XML describes no image")
    names = _children(pixels, "Channel")
    samples = [_whole(one, "SamplesPerPixel", name, 1) for one in names] or [1]
    sizes = {axis: _whole(pixels, f"Size{axis}", name) for axis in "ZCT"}
    sizes["C"] = max(1, sizes["C"] // max(samples))
    order = pixels.attributes.get("DimensionOrder", "XYZCT")
    if order not in ORDERS:
        raise FileNotValid(f"{name}: DimensionOrder '{order}'; allowed are {', '.join(ORDERS)}")
    data = _children(pixels, "TiffData")
    own = root.attributes.get("UUID", "")
    for one in data:
        uuid = _child(one, "UUID")
        if uuid is not None and uuid.text.strip() not in ("", own):
            raise FileNotValid(
                f"{name}: it is one of several files ({uuid.attributes.get('FileName', 'no name')}, ...); "
                "a set is not followed. Export each place as one OME-TIFF."
            )
    _refuse_own_order(data, sizes, order[2:], name)
    acquired = _child(image, "AcquisitionDate")
    return OmeImage(
        _whole(pixels, "SizeX", name),
        _whole(pixels, "SizeY", name),
        sizes,
        order[2:],
        _whole(data[0], "IFD", name, 0, lowest=0) if data else 0,
        _pixel_size_um(pixels, name),
        tuple(one.attributes.get("Name", "") for one in names),
        acquired.text.strip() if acquired is not None else "",
        image.attributes.get("Name", ""),
    )


def _refuse_own_order(data: list[Element], sizes: dict[str, int], order: str, name: str) -> None:
    """Raise where the text gives pages in another order than the one that it names."""
    stride, strides = 1, {}
    for axis in order:
        strides[axis] = stride
        stride *= sizes[axis]
    first = _whole(data[0], "IFD", name, 0, lowest=0) if data else 0
    for one in data if len(data) > 1 else []:
        wanted = sum(
            _whole(one, f"First{axis}", name, 0, lowest=0) * strides[axis] for axis in "ZCT"
        )
        if _whole(one, "IFD", name, 0, lowest=0) - first != wanted:
            raise FileNotValid(
                f"{name}: its OME-XML puts page {one.attributes.get('IFD')} out of the order {order}; "
                "only pages in order are read"
            )


def _pixel_size_um(pixels: Element, name: str) -> float | None:
    found = []
    for axis in "XY":
        text = pixels.attributes.get(f"PhysicalSize{axis}")
        if text is None:
            return None
        unit = pixels.attributes.get(f"PhysicalSize{axis}Unit", "\u00b5m")
        if unit not in UM_PER:
            return None
        try:
            value = float(text) * UM_PER[unit]
        except ValueError:
            value = math.nan
        if not 0.0 < value < math.inf:
            raise FileNotValid(f"{name}: PhysicalSize{axis} '{text}'; allowed are numbers above 0")
        found.append(value)
    if abs(found[0] / found[1] - 1.0) > 0.01:
        raise FileNotValid(
            f"{name}: pixels of {found[0]:g} x {found[1]:g} um; measures need square ones"
        )
    return found[0]


def _whole(
    element: Element, attribute: str, name: str, default: int | None = None, lowest: int = 1
) -> int:
    text = element.attributes.get(attribute, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= lowest):
        raise FileNotValid(
            f"{name}: {attribute} '{text}' in its OME-XML; allowed are whole numbers from {lowest}"
        )
    return int(text)


def _local(element: Element) -> str:
    return element.tag.rpartition(":")[2]


def _children(element: Element, tag: str) -> list[Element]:
    return [child for child in element.children if _local(child) == tag]


def _child(element: Element, tag: str) -> Element | None:
    return next(iter(_children(element, tag)), None)
