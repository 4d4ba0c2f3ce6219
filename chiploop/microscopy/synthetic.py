"""Images whose truth is known: a monolayer with junctions and nuclei.

Belongs here: how such an image is made, and its truth. Not here: how anything is measured in it. What comes
out is SYNTHETIC: it tests measures and feeds the virtual laboratory, and is never a result.

Borders are the edges of a Voronoi tessellation, drawn at sub-pixel places and then blurred. Of each border
a share is left out: whole interfaces, or gaps. Noise is that of a camera: photons and read-out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import Voronoi
from scipy.special import ndtr

STEP_PX = 0.25
"""Between drawn points of a border."""


@dataclass(frozen=True)
class MonolayerSettings:
    """What a monolayer and its image are like."""

    shape: tuple[int, int] = (1024, 1024)
    """Rows, columns."""
    pixel_size_um: float = 0.325
    cell_um: float = 13.0
    """Between the centres of neighbours."""
    disorder: float = 0.18
    """Sd of centres about a hexagonal grid, of ``cell_um``."""
    missing: float = 0.1
    """Share of the border without junction, on average over images."""
    missing_as: Literal["interfaces", "gaps"] = "interfaces"
    """Whole interfaces, or gaps of ``gap_um``."""
    gap_um: float = 2.5
    patch_um: float = 0.0
    """Above 0, loss is patchy: about this far apart patches are independent; whole interfaces only."""
    waviness_um: float = 0.0
    """Amplitude of the borders' waves (half a wave to two waves an interface)."""
    blur_um: float = 0.45
    """Sd of the microscope's blur."""
    brightness_cv: float = 0.2
    """From interface to interface, and from nucleus to nucleus."""
    vignetting: float = 0.25
    """Light lost in the corners, of that in the middle."""
    photons: float = 150.0
    """At the crest of a junction, and in a nucleus."""
    background: float = 0.15
    """Of ``photons``, everywhere."""
    nucleus_um: float = 7.0
    """Mean diameter."""
    nucleus_offset: float = 0.06
    """Sd of nuclei about the middle of their cell, of ``cell_um``."""


@dataclass(frozen=True)
class MonolayerTruth:
    """What is true of one synthetic image, not of its kind on average."""

    coverage: float
    """Covered share of the border within the image, by length."""
    border_um: float
    nuclei_px: np.ndarray
    """(n, 2) row and column of each nucleus with its centre in the image."""
    nucleus_areas_um2: np.ndarray
    """(n,)"""


@dataclass(frozen=True)
class Monolayer:
    """A SYNTHETIC image of two channels and its truth."""

    junctions: np.ndarray
    """uint16"""
    nuclei: np.ndarray
    """uint16"""
    settings: MonolayerSettings
    truth: MonolayerTruth


def monolayer(rng: np.random.Generator, settings: MonolayerSettings | None = None) -> Monolayer:
    """Return a synthetic monolayer; the same generator state gives the same image."""
    settings = settings or MonolayerSettings()
    cells = Voronoi(_centres(rng, settings))
    junctions, covered_px, border_px = _junctions(rng, settings, cells)
    nuclei, centres, areas_px = _nuclei(rng, settings, cells)
    size = settings.pixel_size_um
    return Monolayer(
        camera(rng, junctions, settings),
        camera(rng, nuclei, settings),
        settings,
        MonolayerTruth(covered_px / border_px, border_px * size, centres, areas_px * size**2),
    )


def camera(rng: np.random.Generator, signal: np.ndarray, settings: MonolayerSettings) -> np.ndarray:
    """Return what a 12-bit camera with an offset of 100 sees of a signal whose crests are about 1."""
    rows, columns = settings.shape
    y = np.linspace(-1.0, 1.0, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, columns, dtype=np.float32)[None, :]
    light = 1.0 - 0.5 * settings.vignetting * (x**2 + y**2)
    expected = settings.photons * light * (signal + np.float32(settings.background))
    noise = rng.standard_normal(settings.shape, dtype=np.float32)
    electrons = expected + np.sqrt(expected + 9.0) * noise
    gain = 1800.0 / settings.photons
    return np.clip(np.rint(100.0 + gain * electrons), 0, 4095).astype(np.uint16)


def _centres(rng: np.random.Generator, settings: MonolayerSettings) -> np.ndarray:
    """Return centres in pixels, also beyond the image, so that no border in it is open."""
    pitch = settings.cell_um / settings.pixel_size_um
    rows, columns = settings.shape
    row = np.arange(-3 * pitch, rows + 3 * pitch, pitch * np.sqrt(0.75))
    column = np.arange(-3 * pitch, columns + 3 * pitch, pitch)
    grid = np.stack(np.meshgrid(row, column, indexing="ij"), axis=-1)
    grid[1::2, :, 1] += 0.5 * pitch
    grid += rng.uniform(0.0, pitch, 2)
    return (grid + rng.normal(0.0, settings.disorder * pitch, grid.shape)).reshape(-1, 2)


def _junctions(
    rng: np.random.Generator, settings: MonolayerSettings, cells: Voronoi
) -> tuple[np.ndarray, float, float]:
    """Return the drawn borders, and covered and whole length within the image, in pixels."""
    ridges = np.array([ridge for ridge in cells.ridge_vertices if ridge[0] >= 0])
    start, end = cells.vertices[ridges[:, 0]], cells.vertices[ridges[:, 1]]
    rows, columns = settings.shape
    middle = 0.5 * (start + end)
    near = np.all((middle > -60.0) & (middle < [rows + 60.0, columns + 60.0]), axis=1)
    start, end, middle = start[near], end[near], middle[near]
    length = np.linalg.norm(end - start, axis=1)
    lost = _lost_interfaces(rng, settings, middle)
    bright = np.clip(rng.normal(1.0, settings.brightness_cv, length.size), 0.3, 2.0)
    count = np.maximum(np.ceil(length / STEP_PX).astype(int), 1)
    edge = np.repeat(np.arange(length.size), count)
    place = (np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[edge]
    unit = (end - start) / np.maximum(length, 1e-9)[:, None]
    waves = rng.choice([0.5, 1.0, 2.0], length.size)[edge]
    size = rng.choice([-1.0, 1.0], length.size)[edge] * settings.waviness_um
    aside = size / settings.pixel_size_um * np.sin(2.0 * np.pi * waves * place)
    points = start[edge] + place[:, None] * (end - start)[edge]
    points = points + aside[:, None] * unit[edge][:, ::-1] * [1.0, -1.0]
    kept = ~lost[edge]
    if settings.missing_as == "gaps":
        kept &= ~_gaps(rng, settings, length, edge, place)
    inside = np.all((points >= -0.5) & (points <= [rows - 0.5, columns - 0.5]), axis=1)
    steps = (length / count)[edge]
    # A line of one unit of light a pixel has this crest once it is blurred.
    sigma = settings.blur_um / settings.pixel_size_um
    weight = (bright[edge] * steps * np.sqrt(2.0 * np.pi) * sigma)[kept]
    image = _splat(points[kept], weight, settings.shape)
    covered = float(steps[kept & inside].sum())
    return gaussian_filter(image, sigma), covered, float(steps[inside].sum())


def _lost_interfaces(
    rng: np.random.Generator, settings: MonolayerSettings, middle: np.ndarray
) -> np.ndarray:
    if settings.missing_as == "gaps":
        return np.zeros(len(middle), dtype=bool)
    level = rng.standard_normal(len(middle))
    if settings.patch_um > 0.0:
        # a sum of random waves is a Gaussian field; half of the variance is the patch's
        waves = 200
        k = rng.normal(0.0, settings.pixel_size_um / settings.patch_um * 2.0, (waves, 2))
        phase = rng.uniform(0.0, 2.0 * np.pi, waves)
        field = np.sqrt(2.0 / waves) * np.cos(middle @ k.T + phase).sum(axis=1)
        level = np.sqrt(0.5) * (level + field)
    return np.asarray(ndtr(level) < settings.missing)


def _gaps(
    rng: np.random.Generator,
    settings: MonolayerSettings,
    length: np.ndarray,
    edge: np.ndarray,
    place: np.ndarray,
) -> np.ndarray:
    """Return which points lie in a gap: gaps and stretches between alternate from a random place."""
    gap = settings.gap_um / settings.pixel_size_um
    period = gap / max(settings.missing, 1e-9)
    # all interfaces laid end to end on one line, each from a random place
    offset = rng.uniform(0.0, period, length.size)[edge]
    return np.asarray((offset + place * length[edge]) % period < gap)


def _splat(points: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the points' weights shared among the four pixels around each."""
    corner = np.floor(points).astype(int)
    part = points - corner
    image = np.zeros((shape[0] + 2) * (shape[1] + 2))
    for down in (0, 1):
        for right in (0, 1):
            row, column = corner[:, 0] + down, corner[:, 1] + right
            share = np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1])
            inside = (row >= -1) & (row <= shape[0]) & (column >= -1) & (column <= shape[1])
            flat = (row + 1) * (shape[1] + 2) + column + 1
            image += np.bincount(flat[inside], (weight * share)[inside], image.size)
    return image.reshape(shape[0] + 2, shape[1] + 2)[1:-1, 1:-1].astype(np.float32)


def _nuclei(
    rng: np.random.Generator, settings: MonolayerSettings, cells: Voronoi
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return drawn nuclei (the brighter one where two overlap), centres within, areas in pixels."""
    rows, columns = settings.shape
    pitch = settings.cell_um / settings.pixel_size_um
    image = np.zeros(settings.shape, dtype=np.float32)
    centres, areas = [], []
    for point, region in zip(cells.points, cells.point_region, strict=True):
        corners = cells.regions[region]
        if not corners or -1 in corners:
            continue
        middle = 0.5 * (cells.vertices[corners].mean(axis=0) + point)
        centre = middle + rng.normal(0.0, settings.nucleus_offset * pitch, 2)
        radius = 0.5 * settings.nucleus_um / settings.pixel_size_um * rng.normal(1.0, 0.08)
        long = np.sqrt(rng.uniform(1.0, 1.6))
        angle = rng.uniform(0.0, np.pi)
        bright = np.clip(rng.normal(1.0, settings.brightness_cv), 0.4, 1.8)
        first = np.floor(centre - 2.0 * radius).astype(int)
        last = np.ceil(centre + 2.0 * radius).astype(int) + 1
        low, high = np.maximum(first, 0), np.minimum(last, [rows, columns])
        if np.any(low >= high):
            continue
        y = np.arange(low[0], high[0])[:, None] - centre[0]
        x = np.arange(low[1], high[1])[None, :] - centre[1]
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        within = (u / (radius * long)) ** 2 + (v / (radius / long)) ** 2 <= 1.0
        patch = image[low[0] : high[0], low[1] : high[1]]
        np.maximum(patch, np.float32(bright) * within, out=patch)
        if np.all((centre >= -0.5) & (centre < [rows - 0.5, columns - 0.5])):
            centres.append(centre)
            areas.append(np.pi * radius**2)
    sigma = settings.blur_um / settings.pixel_size_um
    return gaussian_filter(image, sigma), np.array(centres).reshape(-1, 2), np.array(areas)
