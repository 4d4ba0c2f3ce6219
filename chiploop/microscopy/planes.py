"""One grey plane of an image, read region by region, and the fields in which it is measured.

Belongs here: what a measure asks of a plane, and how a large one is cut. Not here: files (tiff_file).

Each field is measured with a margin around it, and only what lies in the field itself counts, so that fields
add up and memory hangs on the field's size, not on the plane's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

FIELD_PX = 2048
MARGIN_UM = 40.0


class Plane(Protocol):
    """Grey values, region by region."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        ...

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Return the values of rows top to bottom - 1 and columns left to right - 1."""
        ...


@dataclass(frozen=True)
class ArrayPlane:
    """A plane that is in memory already."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.values.shape[0], self.values.shape[1]

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Return a view."""
        return self.values[top:bottom, left:right]


def as_plane(image: np.ndarray | Plane) -> Plane:
    """Return an array as a plane; ValueError where it is not two-dimensional."""
    if not isinstance(image, np.ndarray):
        return image
    if image.ndim != 2 or 0 in image.shape:
        raise ValueError(
            f"an image of shape {image.shape}; one plane of rows and columns is measured"
        )
    return ArrayPlane(image)


@dataclass(frozen=True)
class Field:
    """A part of a plane and the margin that is read with it."""

    top: int
    bottom: int
    left: int
    right: int
    read_top: int
    read_bottom: int
    read_left: int
    read_right: int

    def read(self, plane: Plane) -> np.ndarray:
        """Return the values of the field with its margin."""
        return plane.read(self.read_top, self.read_bottom, self.read_left, self.read_right)

    def on_plane(self, place_px: np.ndarray) -> np.ndarray:
        """Return places (n, 2) of what was read as places on the plane."""
        return place_px + [self.read_top, self.read_left]

    def holds(self, place_px: np.ndarray) -> np.ndarray:
        """Return which places (n, 2) on the plane lie in the field itself."""
        return np.asarray(
            np.all(
                (place_px >= [self.top - 0.5, self.left - 0.5])
                & (place_px < [self.bottom - 0.5, self.right - 0.5]),
                axis=1,
            )
        )


def fields(shape: tuple[int, int], pixel_size_um: float) -> list[Field]:
    """Return the fields of a plane, row by row; one where it is small enough."""
    margin = int(np.ceil(MARGIN_UM / pixel_size_um))
    return [
        Field(
            top, bottom, left, right,
            max(0, top - margin), min(shape[0], bottom + margin),
            max(0, left - margin), min(shape[1], right + margin),
        )
        for top, bottom in _parts(shape[0])
        for left, right in _parts(shape[1])
    ]  # fmt: skip


def _parts(size: int) -> Iterator[tuple[int, int]]:
    count = max(1, -(-size // (FIELD_PX + FIELD_PX // 4)))
    ends = [round(size * i / count) for i in range(count + 1)]
    yield from zip(ends[:-1], ends[1:], strict=True)
