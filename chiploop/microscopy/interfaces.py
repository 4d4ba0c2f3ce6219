"""The interfaces between neighbouring cells, and which share of each is covered by junction.

Belongs here: the table of interfaces. Not here: where junctions are (junctions), what cells are (cells), what
an uncertainty is (place_scatter).

An interface is the border of one pair of cells. Whether it is covered is asked at points along it, each across
the border, up to ``REACH_UM`` to both sides. The last ``CORNER_UM`` before a corner is not asked: there the
junctions of the neighbours shine in. The share found between counts for the whole length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from chiploop.microscopy.cells import CELL_GRID
from chiploop.microscopy.junctions import COVERED_FROM, JunctionMask
from chiploop.microscopy.working_grid import to_pixels

REACH_UM = 1.3
CORNER_UM = 1.6
HIGHEST_OF_NOISE = 3.0
"""Sds of the background's noise that the highest of an interface's points lies above the truth: 1.4 sds, of a
noise that is about twice as large where there is more light."""


@dataclass(frozen=True)
class Interfaces:
    """The borders between neighbouring cells of one field."""

    cells: np.ndarray
    """(n, 2) numbers of the two cells."""
    middle_px: np.ndarray
    """(n, 2) row and column in the image."""
    length_um: np.ndarray
    """(n,) along the chord."""
    share: np.ndarray
    """(n,) covered share; NaN where the interface is too short to be asked."""
    points_px: np.ndarray
    """(m, 2) the points that were asked, for the overlay."""
    points_covered: np.ndarray
    """(m,) bool"""


def interfaces(found: JunctionMask, cells: np.ndarray) -> Interfaces:
    """Return the interfaces between cells and their covered shares."""
    # places between two pixels of different cells: side by side, and one above the other
    row, column = np.nonzero(cells[:, :-1] != cells[:, 1:])
    row2, column2 = np.nonzero(cells[:-1] != cells[1:])
    place = np.concatenate([np.stack([row, column + 0.5], 1), np.stack([row2 + 0.5, column2], 1)])
    one = np.concatenate([cells[row, column], cells[row2, column2]]).astype(np.int64)
    other = np.concatenate([cells[row, column + 1], cells[row2 + 1, column2]]).astype(np.int64)
    upright = np.arange(len(place)) < len(row)
    # At the image's edge a cell whose seed lies outside is given to its neighbours, and so are its borders.
    edge = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
    at_edge = np.zeros(int(cells.max(initial=0)) + 1, dtype=bool)
    at_edge[edge] = True
    known = (one > 0) & (other > 0) & ~(at_edge[one] & at_edge[other])
    place, one, other, upright = place[known], one[known], other[known], upright[known]
    base = int(max(one.max(initial=0), other.max(initial=0))) + 1
    key = np.minimum(one, other) * base + np.maximum(one, other)
    pairs, pair = np.unique(key, return_inverse=True)
    n = len(pairs)
    count = np.bincount(pair, minlength=n)
    middle = np.stack([np.bincount(pair, place[:, i], n) / np.maximum(count, 1) for i in (0, 1)], 1)
    along = _directions(place - middle[pair], pair, n)
    # An upright step adds its part along the chord, a level one too: a staircase gets its chord's length.
    step = np.where(upright, np.abs(along[pair, 0]), np.abs(along[pair, 1]))
    length = np.bincount(pair, step, n)
    s = np.sum((place - middle[pair]) * along[pair], axis=1)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, pair, s)
    np.maximum.at(high, pair, s)
    cell_um = CELL_GRID * found.working_um
    corner = CORNER_UM / cell_um
    asked = (s - low[pair] >= corner) & (high[pair] - s >= corner)
    points = to_pixels(place[asked], CELL_GRID)
    normal = along[pair[asked]][:, ::-1] * [1.0, -1.0]
    covered = _covered(found, points, normal, pair[asked], n)
    weight = np.bincount(pair[asked], step[asked], n)
    with np.errstate(invalid="ignore"):
        share = np.bincount(pair[asked], step[asked] * covered, n) / np.where(
            weight > 0, weight, np.nan
        )
    return Interfaces(
        np.stack([pairs // base, pairs % base], axis=1),
        to_pixels(to_pixels(middle, CELL_GRID), found.across),
        length * cell_um,
        share,
        to_pixels(points, found.across),
        covered,
    )


def _directions(off: np.ndarray, pair: np.ndarray, n: int) -> np.ndarray:
    """Return the unit vector along each interface: the main axis of its points."""
    yy, xx, xy = (
        np.bincount(pair, weights, n)
        for weights in (off[:, 0] ** 2, off[:, 1] ** 2, off[:, 0] * off[:, 1])
    )
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _covered(
    found: JunctionMask, points: np.ndarray, normal: np.ndarray, pair: np.ndarray, n: int
) -> np.ndarray:
    """Return which points have a junction across the border within reach.

    A junction ends at half of the highest response of its own interface: pale ones keep their length, and
    gaps in bright ones too. That height is held between half and one and a half of an intact junction's.
    """
    steps = int(np.ceil(REACH_UM / found.working_um))
    highest = np.full(len(points), -np.inf)
    for offset in np.linspace(-1.0, 1.0, 2 * steps + 1) * REACH_UM / found.working_um:
        at = points + offset * normal
        value = map_coordinates(found.response, at.T, order=1, mode="nearest", prefilter=False)
        np.maximum(highest, value, out=highest)
    highest /= found.level * found.light.at(points, found.response.shape)
    own = np.full(n, -np.inf)
    np.maximum.at(own, pair, highest)
    own = np.clip(own - HIGHEST_OF_NOISE / found.contrast, found.faintest / COVERED_FROM, 1.5)
    return np.asarray(highest > COVERED_FROM * own[pair])
