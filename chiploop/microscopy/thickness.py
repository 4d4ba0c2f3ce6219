"""Thickness of the viable epidermis in a section stained with haematoxylin and eosin.

Belongs here: the layer's mask and its thickness across, along its middle. Not here: readouts (assays.microscopy).

The layer is where haematoxylin is dense once nuclei are smoothed into their cells; the stratum corneum above and
the dermis below are poor in it. Its edges lie half-way between the layer's density and that around it.
Thickness is the layer's area beside a stretch of its middle line over the stretch's length: a tilted or bent layer
is not measured slantwise, and a ragged edge makes it neither thinner nor thicker, as nearest distances would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes, gaussian_filter, gaussian_filter1d, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from chiploop.microscopy.image_quality import saturated_share
from chiploop.microscopy.working_grid import coarse, pixels_across, to_pixels

WORKING_PIXEL_UM = 1.5
COARSEST_PIXEL_UM = 4.0
SMOOTH_UM = 6.0
"""Joins nuclei to a layer."""
EDGE_SMOOTH_UM = 3.0
FAINTEST = 0.01
WINDOW_UM = 15.0
"""Of the middle, over which the layer's area is divided by its length."""
BLOCKS = 12
"""Along the layer, for the scatter."""
SHORTEST = 3.0
"""Of the layer, in thicknesses."""
MOST_PIXELS = 60_000_000
"""Of an image, which is read whole."""
METHOD_CV = 0.015
"""What the method itself errs by, rms over synthetic sections (`python -m benchmarks.microscopy`)."""


@dataclass(frozen=True)
class ThicknessMeasure:
    """Thickness of the layer in one section."""

    median_um: float
    """NaN where it was not measured."""
    sd_um: float
    """Of the median, from stretch to stretch along the layer, with the method's own."""
    low_um: float
    """5 % of the layer's length is thinner."""
    high_um: float
    """5 % of the layer's length is thicker."""
    length_um: float
    """Of the layer's middle that was measured."""
    mask: np.ndarray
    """(rows, columns) bool, on working pixels."""
    across: int
    """Pixels of the image, across one working pixel."""
    middle_px: np.ndarray
    """(n, 2) row and column in the image along the middle."""
    thickness_um: np.ndarray
    """(n,)"""
    saturated: float = 0.0
    failure: str = ""
    """Why nothing was measured; empty where something was."""


def measure_thickness(
    rgb: np.ndarray, pixel_size_um: float, labels: np.ndarray | None = None
) -> ThicknessMeasure:
    """Return the thickness of the epidermis of one section (rows, columns, 3).

    Parameters
    ----------
    labels : (rows, columns) the layer found elsewhere; what is not 0 is layer.

    Raises
    ------
    ValueError : no colour image, pixels too large, labels of another shape.
    """
    if not 0.0 < pixel_size_um <= COARSEST_PIXEL_UM:
        raise ValueError(
            f"pixel size {pixel_size_um:g} um; thickness is measured on pixels above 0 and up to "
            f"{COARSEST_PIXEL_UM:g} um"
        )
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"an image of shape {rgb.shape}; a stained section is (rows, columns, 3)")
    if labels is not None and labels.shape != rgb.shape[:2]:
        raise ValueError(
            f"the image is {rgb.shape[:2]} pixels and the labels {labels.shape}; both must show the same place"
        )
    across = pixels_across(pixel_size_um, WORKING_PIXEL_UM)
    working_um = across * pixel_size_um
    if labels is not None:
        mask, failure = coarse(labels != 0, across) >= 0.5, ""
    else:
        mask, failure = _layer(rgb, across, working_um)
    middle, thickness = np.zeros((0, 2)), np.zeros(0)
    if not failure:
        layer = _largest(mask)
        middle, thickness = _across(layer, _middle(layer), working_um)
    steps = np.linalg.norm(np.diff(middle, axis=0), axis=1) * working_um
    length = float(steps.sum())
    median = float(np.median(thickness)) if thickness.size else math.nan
    if not failure and not length >= SHORTEST * median:
        failure = (
            f"the layer found is {length:.0f} um long and {median:.0f} um thick; at least {SHORTEST:g} times "
            "as long as thick is asked for"
        )
    if failure:
        nan = math.nan
        return ThicknessMeasure(
            nan,
            nan,
            nan,
            nan,
            length,
            mask,
            across,
            to_pixels(middle, across),
            thickness,
            0.0,
            failure,
        )
    stretches = [float(np.median(part)) for part in np.array_split(thickness, BLOCKS)]
    scatter = float(np.std(stretches, ddof=1)) / math.sqrt(BLOCKS) * 2.201 / 1.96
    low, high = np.quantile(thickness, [0.05, 0.95])
    return ThicknessMeasure(
        median,
        math.hypot(scatter, METHOD_CV * median),
        float(low),
        float(high),
        length,
        mask,
        across,
        to_pixels(middle, across),
        thickness,
        saturated_share(255 - rgb),
    )


def _layer(rgb: np.ndarray, across: int, working_um: float) -> tuple[np.ndarray, str]:
    """Return the mask of the layer by its haematoxylin, and why there is none."""
    from skimage.color import rgb2hed
    from skimage.filters import threshold_otsu

    small = np.stack([coarse(rgb[..., i], across) for i in range(3)], axis=-1)
    dense = rgb2hed(np.clip(small / 255.0, 0.0, 1.0))[..., 0]
    smooth = gaussian_filter(dense, SMOOTH_UM / working_um, mode="nearest")
    if float(np.ptp(smooth)) < FAINTEST:
        return np.zeros(dense.shape, dtype=bool), (
            f"haematoxylin differs by {float(np.ptp(smooth)):.3f} over the image, at least {FAINTEST:g} is asked "
            "for; no layer stands out"
        )
    inside = smooth > threshold_otsu(smooth)
    # Nuclei count no more than what they lie in: where they cluster at the edge the layer is not thicker.
    dense = np.minimum(dense, np.median(dense[inside]))
    smooth = gaussian_filter(dense, EDGE_SMOOTH_UM / working_um, mode="nearest")
    half = 0.5 * float(np.median(smooth[inside]) + np.median(smooth[~inside]))
    return np.asarray(binary_fill_holes(_largest(smooth > half))), ""


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, n = label(mask)
    if n < 2:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


def _middle(mask: np.ndarray) -> np.ndarray:
    """Return places (n, 2) along the middle of a layer: the longest way through its skeleton."""
    from skimage.morphology import skeletonize

    # beyond the image the layer goes on: its end there is no edge
    pad = max(mask.shape) // 4
    lines = skeletonize(np.pad(mask, pad, mode="edge"))[pad:-pad, pad:-pad]
    place = np.argwhere(lines)
    if len(place) < 3:
        return np.zeros((0, 2))
    number = np.full(mask.shape, -1)
    number[lines] = np.arange(len(place))
    one, other, step = [], [], []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        to = place + [down, right]
        inside = np.all((to >= 0) & (to < mask.shape), axis=1)
        neighbour = np.full(len(place), -1)
        neighbour[inside] = number[to[inside, 0], to[inside, 1]]
        found = neighbour >= 0
        one.append(np.nonzero(found)[0])
        other.append(neighbour[found])
        step.append(np.full(int(found.sum()), math.hypot(down, right)))
    ends = np.concatenate(one), np.concatenate(other)
    graph = coo_array((np.concatenate(step), ends), shape=(len(place), len(place))).tocsr()
    parts = connected_components(graph, directed=False)[1]
    start = int(np.argmax(parts == np.argmax(np.bincount(parts))))
    before = np.zeros(0)
    for _ in range(2):
        away, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        away[np.isinf(away)] = -1.0
        start = int(np.argmax(away))
    way = []
    while start >= 0:
        way.append(start)
        start = int(before[start])
    return np.asarray(place[way])


def _across(
    mask: np.ndarray, middle: np.ndarray, working_um: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the smoothed middle without its ends, and the thickness along it in um."""
    if len(middle) < 3:
        return np.zeros((0, 2)), np.zeros(0)
    window = WINDOW_UM / working_um
    # steps from pixel to pixel zigzag, and would make the way too long
    line = gaussian_filter1d(middle.astype(float), window, axis=0, mode="nearest")
    step = np.linalg.norm(np.gradient(line, axis=0), axis=1)
    nearest = cKDTree(line).query(np.argwhere(mask))[1]
    area = np.bincount(nearest, minlength=len(line)).astype(float)
    # what lies beyond an end belongs to it alone; there the middle also runs into corners
    end = int(0.5 * area.sum() / max(step.sum(), 1.0)) + int(2.0 * window)
    inner = slice(end, len(line) - end)
    if len(line) - 2 * end < 3:
        return line, area / np.maximum(step, 1e-9) * working_um
    area, step = (gaussian_filter1d(one[inner], window, mode="nearest") for one in (area, step))
    return line[inner], area / np.maximum(step, 1e-9) * working_um
