"""The noise of a camera's pixels, from one image, and what is left of it after smoothing.

Belongs here: estimates for white noise. Not here: what stands out of it.
"""

from __future__ import annotations

import math

import numpy as np

MOST_ROWS = 128


def pixel_noise_sd(image: np.ndarray) -> float:
    """Return the sd of a pixel's noise, from what neither planes nor lines along the grid contribute to.

    The median over the image: of dark places, where most pixels are.
    """
    every = max(3, image.shape[0] // MOST_ROWS)
    rows = (image.shape[0] - 3) // every * every + 1
    a, b, c = (image[i : rows + i : every].astype(np.float32) for i in range(3))
    bent = a - 2.0 * b + c
    twice = bent[:, :-2] - 2.0 * bent[:, 1:-1] + bent[:, 2:]
    # sum of squares of (1, -2, 1) x (1, -2, 1) is 36
    return 1.4826 / 6.0 * float(np.median(np.abs(twice))) if twice.size else 0.0


def gaussian_gain(sigma: float) -> float:
    """Return the sd that white noise of sd 1 keeps after a Gaussian; right from a sigma of about 0.7 pixels."""
    return 1.0 / (2.0 * math.sqrt(math.pi) * sigma)


def laplacian_gain(sigma: float) -> float:
    """Return the sd that white noise of sd 1 has after a Laplacian of Gaussian; right from about 1 pixel."""
    return math.sqrt(1.0 / (2.0 * math.pi * sigma**6))
