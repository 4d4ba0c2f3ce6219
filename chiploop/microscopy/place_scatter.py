"""The uncertainty of a measure of one image from how it differs from place to place in it.

Belongs here: blocks of an image, the delete-one jackknife of a ratio. Not here: what is measured.

What such an sd covers: that another part of the same tissue, imaged in the same way, would have given another
value, and all noise of the image. What it can not cover: a difference between chips, stainings or exposures, and
loss in patches larger than a block. Images of several places of one chip say more than one image can.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student

BLOCKS_ACROSS = 4
FEWEST_BLOCKS = 4


def block_of(place_px: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the number of the block, of 4 x 4, in which each place (n, 2) lies."""
    if not len(place_px):
        return np.zeros(0, dtype=int)
    part = np.floor(place_px / np.array(shape) * BLOCKS_ACROSS).astype(int)
    part = np.clip(part, 0, BLOCKS_ACROSS - 1)
    return np.asarray(part[:, 0] * BLOCKS_ACROSS + part[:, 1])


def ratio_sd(above: np.ndarray, below: np.ndarray) -> float:
    """Return the sd of sum(above) / sum(below) over blocks; NaN for fewer than four that hold anything.

    Widened so that plus and minus 1.96 sds hold as much as Student's t with the blocks' degrees of freedom.
    """
    holds = below > 0.0
    above, below = above[holds], below[holds]
    n = above.size
    if n < FEWEST_BLOCKS:
        return math.nan
    without = (above.sum() - above) / (below.sum() - below)
    jackknife = math.sqrt((n - 1) / n * float(np.sum((without - without.mean()) ** 2)))
    return jackknife * float(student.ppf(0.975, n - 1)) / 1.959964
