"""Which pixel belongs to which cell: from nuclei, from a label image made elsewhere, or from junctions alone.

Belongs here: seeds and the partition. Not here: interfaces and their cover.

From each seed a cell grows up to the junctions around it; where there are none it grows to the middle between
seeds. So the partition does not hang on a closed net of junctions, as long as the seeds do not.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter

from chiploop.microscopy.junctions import JunctionMask
from chiploop.microscopy.working_grid import coarse

CELL_GRID = 2
"""Working pixels across one pixel of the grid of cells."""
DISTANCE_WEIGHT = 0.3
"""Of the distance from the nearest seed (in typical cell radii) against the response."""
RESPONSE_FROM, RESPONSE_TO = 0.1, 0.4
"""Of the level: less is noise and draws no border, more draws none that is higher."""
MOST_NUMBER = 10_000_000
FILLED = 0.85
"""Of the field: labels that fill more are cells already, not seeds."""


def grid_shape(found: JunctionMask) -> tuple[int, int]:
    """Return rows and columns of the grid of cells."""
    rows, columns = found.response.shape
    return rows // CELL_GRID, columns // CELL_GRID


def seeds_of_nuclei(found: JunctionMask, centre_px: np.ndarray) -> np.ndarray:
    """Return seeds on the grid of cells: number i + 1 at the centre of nucleus i."""
    across = found.across * CELL_GRID
    shape = grid_shape(found)
    seeds = np.zeros(shape, dtype=np.int32)
    place = np.rint((centre_px - 0.5 * (across - 1)) / across).astype(int)
    place = np.clip(place, 0, np.array(shape) - 1)
    seeds[place[:, 0], place[:, 1]] = np.arange(1, len(place) + 1)
    return seeds


def seeds_of_labels(found: JunctionMask, labels: np.ndarray) -> np.ndarray:
    """Return seeds on the grid of cells from a label image of the field's own size."""
    across = found.across * CELL_GRID
    rows, columns = grid_shape(found)
    sampled = labels[across // 2 :: across, across // 2 :: across][:rows, :columns]
    return renumbered(sampled)


def renumbered(labels: np.ndarray) -> np.ndarray:
    """Return labels numbered from 1 without holes; what is 0 or below stays none."""
    highest = int(labels.max(initial=0))
    if highest > MOST_NUMBER:
        known, number = np.unique(labels, return_inverse=True)
        number = number.reshape(labels.shape) + 1 - int(np.count_nonzero(known <= 0))
        return np.asarray(np.maximum(number, 0)).astype(np.int32)
    labels = np.maximum(labels, 0).astype(np.int32)
    there = np.bincount(labels.ravel(), minlength=highest + 1) > 0
    there[0] = False
    return np.asarray((np.cumsum(there) * there).astype(np.int32)[labels])


def seeds_of_junctions(found: JunctionMask) -> np.ndarray:
    """Return seeds on the grid of cells where the next junction is far.

    Cells that share no junction at all may count as one; then their lost border is not seen.
    """
    mask = coarse(found.mask, CELL_GRID) > 0.25
    away = gaussian_filter(distance_transform_edt(~mask).astype(np.float32), 1.0)
    typical = float(np.median(away[maximum_filter(away, 5) == away]))
    size = 2 * max(1, round(0.6 * typical)) + 1
    peaks = (maximum_filter(away, size) == away) & (away > 0.4 * typical)
    return np.asarray(label(peaks, np.ones((3, 3)))[0]).astype(np.int32)


def cell_labels(found: JunctionMask, seeds: np.ndarray) -> np.ndarray:
    """Return the number of its cell for each pixel of the grid of cells; 0 where labels left a hole."""
    from skimage.segmentation import watershed

    if np.count_nonzero(seeds) > FILLED * seeds.size:
        return seeds
    lit = found.level * found.light.map(found.response.shape)
    ridge = coarse(found.response / lit, CELL_GRID)
    np.clip(ridge, RESPONSE_FROM, RESPONSE_TO, out=ridge)
    away = distance_transform_edt(seeds == 0)
    n_seeds = max(int(seeds.max(initial=0)), 1)
    radius = np.sqrt(seeds.size / n_seeds / np.pi)
    return np.asarray(watershed(ridge / RESPONSE_TO + DISTANCE_WEIGHT * away / radius, seeds))
