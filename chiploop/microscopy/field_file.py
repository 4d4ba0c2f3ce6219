"""A file with one image of several grey channels, read whole into memory: an end point of a study.

Belongs here: from bytes to named planes. Not here: checks of a TIFF (tiff_file), what a plane shows.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np

from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports.trouble import FormatNotKnown
from chiploop.microscopy.tiff_file import image_of

BYTE_ORDERS = (b"II", b"MM")
"""First bytes of a TIFF."""


@dataclass(frozen=True)
class FieldFile:
    """The planes of one image."""

    title: str
    """Its name in the OME-XML; empty where there is none."""
    planes: dict[str, np.ndarray]
    """Channel -> (rows, columns)."""
    pixel_size_um: float
    flags: tuple[str, ...]
    sha256: str


def read_field(data: bytes, name: str) -> FieldFile:
    """Return all channels of an OME-TIFF with one plane each.

    Raises
    ------
    FormatNotKnown : no TIFF; another kind of file may stand in the same folder.
    FileNotValid : see ``tiff_file.open_image``; a stack, a time series, no OME-XML.
    """
    if data[:2] not in BYTE_ORDERS:
        raise FormatNotKnown(f"{name}: it is no TIFF")
    with image_of(io.BytesIO(data), name) as image:
        if image.ome is None:
            raise FileNotValid(
                f"{name}: no OME-XML; it says which image this is. Export an OME-TIFF"
            )
        if len(set(image.channels)) != len(image.channels):
            raise FileNotValid(f"{name}: channels {', '.join(image.channels)} are not told apart")
        planes = {}
        for channel in image.channels:
            try:
                plane = image.plane(channel)
            except WrongUse as trouble:
                raise FileNotValid(f"{trouble}; an end point is one plane a channel") from None
            planes[channel] = plane.read(0, plane.shape[0], 0, plane.shape[1])
        return FieldFile(
            image.ome.title, planes, image.pixel_size_um, image.flags,
            hashlib.sha256(data).hexdigest(),
        )  # fmt: skip
