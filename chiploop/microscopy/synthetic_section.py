"""A stained section whose truth is known: an epidermis of given thickness between dermis and stratum corneum.

Belongs here: how such an image is made, and its truth. Not here: how thickness is measured. What comes out is
SYNTHETIC. The layer is all that lies within half its thickness of a curved middle line, so thickness is across
the layer at every place, however it lies in the image. Colours are optical densities of haematoxylin and eosin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
"""Densities of red, green, blue; Ruifrok and Johnston (2001)."""


@dataclass(frozen=True)
class SectionSettings:
    """What a section and its image are like."""

    shape: tuple[int, int] = (600, 1000)
    """Rows, columns."""
    pixel_size_um: float = 1.0
    thickness_um: float = 80.0
    roughness: float = 0.12
    """Sd of the thickness along the layer, of ``thickness_um``."""
    bend_um: float = 40.0
    """Amplitude of the middle line's slow wave."""
    tilt_deg: float = 8.0
    corneum_um: float = 18.0
    stain: float = 1.0
    """Strength of both stains."""
    noise: float = 3.0
    """Sd of a colour value of 255."""


@dataclass(frozen=True)
class Section:
    """A SYNTHETIC stained section and its truth."""

    rgb: np.ndarray
    """(rows, columns, 3) uint8"""
    thickness_um: np.ndarray
    """(n,) along the layer within the image, at even steps."""
    middle_px: np.ndarray
    """(n, 2) row and column of the layer's middle there."""
    layer: np.ndarray
    """(rows, columns) bool: the epidermis."""
    settings: SectionSettings


def section(rng: np.random.Generator, settings: SectionSettings | None = None) -> Section:
    """Return a synthetic section; the same generator state gives the same image."""
    settings = settings or SectionSettings()
    rows, columns = settings.shape
    size = settings.pixel_size_um
    width = columns * size
    x = np.arange(-0.5 * width, 1.5 * width, 1.0)
    middle = rows * size * 0.5 + np.tan(np.deg2rad(settings.tilt_deg)) * (x - 0.5 * width)
    middle = middle + settings.bend_um * np.sin(2.0 * np.pi * (x / (0.8 * width) + rng.uniform()))
    rough = gaussian_filter(rng.standard_normal(x.size), 40.0)
    thickness = settings.thickness_um * (1.0 + settings.roughness * rough / rough.std())
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1) * size
    away, nearest = cKDTree(np.stack([middle, x], axis=1)).query(grid.reshape(-1, 2))
    away, nearest = away.reshape(rows, columns), nearest.reshape(rows, columns)
    below = grid[..., 0] > middle[nearest]
    half = 0.5 * thickness[nearest]
    layer = away <= half
    corneum = ~below & ~layer & (away <= half + settings.corneum_um)
    dermis = below & ~layer
    nuclei = np.where(layer, _nuclei(rng, settings, 9.0), dermis * _nuclei(rng, settings, 28.0))
    haematoxylin = 0.22 * layer + 0.03 * dermis + 0.65 * nuclei
    eosin = 0.25 * layer + 0.22 * dermis + 0.35 * corneum
    blur = 0.6 / size
    densities = [gaussian_filter(settings.stain * one, blur) for one in (haematoxylin, eosin)]
    absorbed = densities[0][..., None] * HAEMATOXYLIN + densities[1][..., None] * EOSIN
    rgb = 244.0 * 10.0**-absorbed + rng.normal(0.0, settings.noise, (rows, columns, 3))
    inside = (x >= 0.0) & (x <= width)
    return Section(
        np.clip(np.rint(rgb), 0, 255).astype(np.uint8),
        thickness[inside],
        np.stack([middle, x], axis=1)[inside] / size,
        layer,
        settings,
    )


def _nuclei(rng: np.random.Generator, settings: SectionSettings, apart_um: float) -> np.ndarray:
    """Return discs of 5 um at about a distance from each other, as 0 and 1."""
    rows, columns = settings.shape
    size = settings.pixel_size_um
    count = int(rows * columns * size**2 / apart_um**2)
    centres = rng.uniform(0.0, 1.0, (count, 2)) * [rows * size, columns * size]
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1) * size
    away = cKDTree(centres).query(grid.reshape(-1, 2), distance_upper_bound=3.0)[0]
    return (away.reshape(rows, columns) <= 2.5).astype(float)
