"""Nuclei: where they are, how many, how large.

Belongs here: from an image of a nuclear stain to labels and their table. Not here: densities of a chip with
their uncertainty (assays.microscopy).

Smooth, take the background and uneven light out, Otsu's threshold, open, distance to the edge, split touching
nuclei at its saddles. On working pixels of at most ``WORKING_PIXEL_UM``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import (
    binary_fill_holes,
    binary_opening,
    distance_transform_edt,
    gaussian_filter,
    label,
    maximum_filter,
    minimum_filter,
    zoom,
)

from chiploop.microscopy.light import EVEN, Light, fit_light
from chiploop.microscopy.noise import gaussian_gain, pixel_noise_sd
from chiploop.microscopy.working_grid import coarse, pixels_across, to_pixels

WORKING_PIXEL_UM = 0.7
COARSEST_PIXEL_UM = 1.5
SMOOTH_UM = 0.8
BACKGROUND_GRID_UM = 5.0
BACKGROUND_UM = 40.0
"""Across the window whose darkest place is background."""
SMALLEST_UM2 = 8.0
"""Of a nucleus; what is smaller is debris."""
PEAK_UM = 2.6
"""Between the middles of two touching nuclei, at least."""
SADDLE = 0.95
"""Touching nuclei are split where the neck between is narrower than this part of the smaller one's width."""
EDGE = 0.44
"""Of the highest place within ``NEAR_UM``: there a nucleus ends, so pale ones keep their size. Below a half:
smoothing draws the edge of a round thing inwards."""
NEAR_UM = 2.0
FAINTEST = 0.25
"""Of the typical nucleus; what is paler is none."""
FOREGROUND_SDS = 4.0
"""How far the faintest nucleus must stand above the background, in sds of the smoothed noise."""


@dataclass(frozen=True)
class Nuclei:
    """The nuclei of one field."""

    labels: np.ndarray
    """(rows, columns) int32 on working pixels; 0 is none."""
    across: int
    """Pixels of the image, across one working pixel."""
    centre_px: np.ndarray
    """(n, 2) row and column in the image; row i is label i + 1."""
    area_um2: np.ndarray
    """(n,)"""
    elongation: np.ndarray
    """(n,) long over short axis of the ellipse with the same moments."""
    light: Light
    edge_um: float = math.nan
    """Sd of the blur that edges show, beyond the smoothing."""
    failure: str = ""
    """Why there are none; empty where there are."""


def find_nuclei(image: np.ndarray, pixel_size_um: float) -> Nuclei:
    """Return the nuclei of one field (rows, columns); ValueError for pixels too large to see them."""
    if not 0.0 < pixel_size_um <= COARSEST_PIXEL_UM:
        raise ValueError(
            f"pixel size {pixel_size_um:g} um; nuclei are measured on pixels above 0 and up to "
            f"{COARSEST_PIXEL_UM:g} um"
        )
    across = pixels_across(pixel_size_um, WORKING_PIXEL_UM)
    working_um = across * pixel_size_um
    smooth = gaussian_filter(
        coarse(image, across), SMOOTH_UM / working_um, mode="nearest", truncate=3.0
    )
    noise_sd = pixel_noise_sd(image) / across * gaussian_gain(SMOOTH_UM / working_um)
    mask, light, edge_um, failure = _foreground(smooth, working_um, noise_sd)
    mask = binary_opening(mask, np.ones((3, 3), dtype=bool))
    mask = binary_fill_holes(mask)
    found = nuclei_table(_split(mask, working_um), across, working_um)
    return replace(found, light=light, edge_um=edge_um, failure=failure)


def nuclei_table(
    labels: np.ndarray, across: int, working_um: float, smallest_um2: float = SMALLEST_UM2
) -> Nuclei:
    """Return the table of labelled nuclei, numbered anew from 1; smaller ones are debris and left out."""
    row, column = np.nonzero(labels)
    which = labels[row, column]
    area = np.bincount(which, minlength=1).astype(float)
    keep = (area > 0.0) & (area * working_um**2 >= smallest_um2)
    keep[0] = False
    number = np.cumsum(keep) * keep
    labels = number.astype(np.int32)[labels]
    which = number[which]
    row, column, which = (each[which > 0] for each in (row, column, which))
    n = int(keep.sum())
    area = np.bincount(which, minlength=n + 1)[1:].astype(float)
    y, x = (np.bincount(which, each, n + 1)[1:] / area for each in (row, column))
    off_y, off_x = row - y[which - 1], column - x[which - 1]
    yy, xx, xy = (
        np.bincount(which, each, n + 1)[1:] / area for each in (off_y**2, off_x**2, off_y * off_x)
    )
    spread = np.sqrt(0.25 * (yy - xx) ** 2 + xy**2)
    # a pixel alone has the moments of a square
    long, short = 0.5 * (yy + xx) + spread + 1 / 12, 0.5 * (yy + xx) - spread + 1 / 12
    return Nuclei(
        labels,
        across,
        to_pixels(np.stack([y, x], axis=1), across),
        area * working_um**2,
        np.sqrt(long / short),
        EVEN,
    )


def _foreground(
    smooth: np.ndarray, working_um: float, noise: float
) -> tuple[np.ndarray, Light, float, str]:
    """Return the mask of nuclei, the light, the blur of edges, and why there are none."""
    from skimage.filters import threshold_otsu

    across = pixels_across(working_um, BACKGROUND_GRID_UM)
    grid = coarse(smooth, across)
    window = max(3, round(BACKGROUND_UM / (across * working_um)))
    dark = gaussian_filter(minimum_filter(grid, window), window / 2.0, mode="nearest")
    scale = [of / size for of, size in zip(smooth.shape, dark.shape, strict=True)]
    above = smooth - zoom(dark, scale, order=1, mode="nearest", grid_mode=True)
    first = threshold_otsu(above)
    lit = above > first
    peaks = (maximum_filter(above, 3 + 2 * round(2.0 / working_um)) == above) & lit
    place = np.argwhere(peaks)
    height = above[peaks]
    light = fit_light(place, height, smooth.shape)
    flat = above / light.map(smooth.shape)
    level = float(np.median(flat[peaks])) if height.size else 0.0
    if not FAINTEST * level > FOREGROUND_SDS * noise or not level > 0.0:
        told = (
            f"no nuclei stand out: the bright places lie {level:.3g} above the background, the noise's "
            f"sd is {noise:.3g}; {FAINTEST:g} of the first must be above {FOREGROUND_SDS:g} times the second"
        )
        return np.zeros(smooth.shape, dtype=bool), light, math.nan, told
    highest = maximum_filter(flat, 1 + 2 * round(NEAR_UM / working_um))
    mask = (flat > EDGE * highest) & (highest > FAINTEST * level)
    return mask, light, _edge_um(flat, highest, mask, working_um), ""


def _edge_um(flat: np.ndarray, highest: np.ndarray, mask: np.ndarray, working_um: float) -> float:
    """Return the sd of the blur that makes edges as steep as they are, the smoothing taken out."""
    inner = mask[1:-1, 1:-1]
    row, column = np.nonzero(
        inner & ~(mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:])
    )
    if not row.size:
        return math.nan
    row, column = row + 1, column + 1
    slope = 0.5 * np.hypot(
        flat[row + 1, column] - flat[row - 1, column], flat[row, column + 1] - flat[row, column - 1]
    )
    steepness = float(np.median(slope / highest[row, column])) / working_um
    sd = 1.0 / (math.sqrt(2.0 * math.pi) * max(steepness, 1e-6))
    return math.sqrt(max(sd**2 - SMOOTH_UM**2, 0.0))


def _split(mask: np.ndarray, working_um: float) -> np.ndarray:
    """Return labels; touching nuclei are split where the neck between them is narrow."""
    from skimage.segmentation import watershed

    depth = distance_transform_edt(mask).astype(np.float32)
    depth = gaussian_filter(depth, 0.6 / working_um, truncate=2.5)
    size = 2 * max(1, round(0.5 * PEAK_UM / working_um)) + 1
    peaks = (maximum_filter(depth, size) == depth) & mask
    markers, n = label(peaks, np.ones((3, 3)))
    labels = watershed(-depth, markers, mask=mask)
    return _merge_shallow(labels, depth, n)


def _merge_shallow(labels: np.ndarray, depth: np.ndarray, n: int) -> np.ndarray:
    """Return labels with parts joined again whose neck is about as wide as the smaller part."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    peak = np.zeros(n + 1, dtype=np.float32)
    inside = labels > 0
    np.maximum.at(peak, labels[inside], depth[inside])
    pairs, necks = [], []
    for one, other, d1, d2 in (
        (labels[:, :-1], labels[:, 1:], depth[:, :-1], depth[:, 1:]),
        (labels[:-1], labels[1:], depth[:-1], depth[1:]),
    ):
        touch = (one != other) & (one > 0) & (other > 0)
        pairs.append(np.sort(np.stack([one[touch], other[touch]], axis=1), axis=1))
        necks.append(np.minimum(d1[touch], d2[touch]))
    pair, neck = np.concatenate(pairs), np.concatenate(necks)
    if not len(pair):
        return labels
    unique, which = np.unique(pair, axis=0, return_inverse=True)
    widest = np.zeros(len(unique), dtype=np.float32)
    np.maximum.at(widest, which.ravel(), neck)
    joined = widest > SADDLE * np.minimum(peak[unique[:, 0]], peak[unique[:, 1]])
    graph = coo_array(
        (np.ones(joined.sum()), (unique[joined, 0], unique[joined, 1])), shape=(n + 1, n + 1)
    )
    component = connected_components(graph, directed=False)[1]
    # 0 stands alone, as no part touches it
    return np.asarray(np.where(inside, component[labels] + 1, 0))
