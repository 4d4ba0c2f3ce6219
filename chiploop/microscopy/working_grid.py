"""From the camera's pixels to the coarser ones that a measure works on.

Belongs here: how many pixels become one, and their mean. Not here: what is measured on them. Structures of
skin cells are many pixels wide in usual images; a measure that works on pixels of its own size is as exact,
several times faster, and behaves alike at all magnifications.
"""

from __future__ import annotations

import numpy as np


def pixels_across(pixel_size_um: float, wanted_um: float) -> int:
    """Return how many pixels across become one, so that it is at most ``wanted_um`` wide (at least 1)."""
    return max(1, int(wanted_um / pixel_size_um + 1e-6))


def coarse(image: np.ndarray, across: int) -> np.ndarray:
    """Return means of ``across`` x ``across`` pixels in float32; an incomplete last row or column is left out."""
    if across == 1:
        return image.astype(np.float32)
    rows, columns = (size // across for size in image.shape)
    trimmed = image[: rows * across, : columns * across]
    total = np.zeros((rows, columns), dtype=np.float32)
    for down in range(across):
        for right in range(across):
            total += trimmed[down::across, right::across]
    total *= np.float32(1.0 / across**2)
    return total


def to_pixels(place: np.ndarray, across: int) -> np.ndarray:
    """Return where places on the coarse grid lie on the fine one."""
    return place * across + 0.5 * (across - 1)
