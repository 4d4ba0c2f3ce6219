"""Junction coverage and TiJOR of one plane, field by field, with their scatter from place to place.

Belongs here: the order of steps, sums over fields. Not here: the steps (junctions, cells, interfaces, tijor),
readouts (assays.microscopy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chiploop.microscopy.cells import (
    cell_labels,
    seeds_of_junctions,
    seeds_of_labels,
    seeds_of_nuclei,
)
from chiploop.microscopy.image_quality import saturated_share
from chiploop.microscopy.interfaces import interfaces
from chiploop.microscopy.junctions import JunctionMask, find_junctions
from chiploop.microscopy.nuclei import find_nuclei
from chiploop.microscopy.place_scatter import BLOCKS_ACROSS, block_of, ratio_sd
from chiploop.microscopy.planes import Field, Plane, as_plane, fields
from chiploop.microscopy.tijor import crossings

FIELDS_FOR_LEVEL = 9
PIXELS_PER_LENGTH = 0.900
"""Of an 8-connected line over all directions: 2 sqrt(2) / pi."""
METHOD_SD = 0.006
"""Of coverage: what the method itself errs by, rms over synthetic images (`python -m benchmarks.microscopy`)."""


@dataclass(frozen=True)
class JunctionMeasure:
    """Junctions of one plane."""

    coverage: float
    """Covered share of the border between cells, by length; NaN where it was not measured."""
    coverage_sd: float
    """From place to place in the plane, with the method's own."""
    tijor_per_um: float
    tijor_sd: float
    middle_px: np.ndarray
    """(n, 2) of each interface, row and column on the plane."""
    length_um: np.ndarray
    """(n,)"""
    share: np.ndarray
    """(n,) covered share; NaN for interfaces too short to be asked."""
    points_px: np.ndarray
    """(m, 2) the places asked, for the overlay."""
    points_covered: np.ndarray
    """(m,) bool"""
    n_cells: int
    cells_from: str
    """``nuclei``, ``labels`` or ``junctions``."""
    level: float
    """Response of an intact junction; from a control it can be given to images of the same staining."""
    contrast: float
    """Level over the sd of noise; the lowest of all fields."""
    width_um: float
    """Of the mask: area over length of its centre lines."""
    unevenness: float
    saturated: float
    unmeasured_fields: int = 0
    """Fields of a large plane in which no junction stood out, or no cell."""
    failure: str = ""
    """Why nothing was measured; empty where something was."""

    @property
    def judged(self) -> float:
        """Share of the border, by length, whose cover was asked."""
        asked = ~np.isnan(self.share)
        whole = float(self.length_um.sum())
        return float(self.length_um[asked].sum()) / whole if whole > 0.0 else 0.0


def measure_junctions(
    image: np.ndarray | Plane,
    pixel_size_um: float,
    nuclei: np.ndarray | Plane | None = None,
    labels: np.ndarray | Plane | None = None,
    level: float | None = None,
) -> JunctionMeasure:
    """Return coverage and TiJOR of a plane.

    Parameters
    ----------
    nuclei : image of a nuclear stain of the same place; cells are grown from its nuclei.
    labels : nuclei or cells found elsewhere, in place of ``nuclei``: 0 is none.
    level : of an intact junction, from a control of the same staining and exposure.

    Raises
    ------
    ValueError : planes of unlike shape, pixels too large.
    """
    plane = as_plane(image)
    others = [as_plane(one) for one in (nuclei, labels) if one is not None]
    if any(one.shape != plane.shape for one in others):
        raise ValueError(
            f"junctions are {plane.shape} pixels and the other plane {others[0].shape}; both must "
            "show the same place"
        )
    parts = fields(plane.shape, pixel_size_um)
    if level is None and len(parts) > 1:
        level = _level_of_plane(plane, parts, pixel_size_um)
    found = [
        _Found(
            plane, field, pixel_size_um, others[0] if others else None, labels is not None, level
        )
        for field in parts
    ]
    return _joined(
        found, plane.shape, "labels" if labels is not None else "nuclei" if others else ""
    )


def _level_of_plane(plane: Plane, parts: list[Field], pixel_size_um: float) -> float | None:
    """Return the median level of fields spread over the plane, so that an empty one has no level of its own."""
    every = max(1, len(parts) // FIELDS_FOR_LEVEL)
    levels = []
    for field in parts[::every]:
        mask = find_junctions(field.read(plane), pixel_size_um)
        if not mask.failure:
            levels.append(mask.level)
    return float(np.median(levels)) if levels else None


class _Found:
    """What one field adds; arrays as large as the field are let go."""

    def __init__(
        self,
        plane: Plane,
        field: Field,
        pixel_size_um: float,
        other: Plane | None,
        is_labels: bool,
        level: float | None,
    ) -> None:
        from skimage.morphology import skeletonize

        values = field.read(plane)
        mask = find_junctions(values, pixel_size_um, level)
        self.saturated = saturated_share(values)
        self.pixels = values.size
        self.level, self.contrast, self.failure = mask.level, mask.contrast, mask.failure
        self.unevenness = mask.light.unevenness
        self.middle = self.points = np.zeros((0, 2))
        self.length = self.share = np.zeros(0)
        self.covered = np.zeros(0, dtype=bool)
        self.crossings = np.zeros((0, 2))
        self.crossing_places = np.zeros((0, 2))
        self.mask_um2 = self.lines_um = 0.0
        self.n_cells = 0
        if mask.failure:
            return
        seeds = _seeds(mask, field, other, is_labels, pixel_size_um)
        if not seeds.any():
            self.failure = "no cell was found whose border could be looked at"
            return
        table = interfaces(mask, cell_labels(mask, seeds))
        middle, points = field.on_plane(table.middle_px), field.on_plane(table.points_px)
        here, shown = field.holds(middle), field.holds(points)
        self.middle, self.length, self.share = (
            middle[here],
            table.length_um[here],
            table.share[here],
        )
        self.points, self.covered = points[shown], table.points_covered[shown]
        self.n_cells = int(np.count_nonzero(np.bincount(table.cells[here].ravel())))
        lines = skeletonize(mask.mask)
        self.mask_um2 = float(np.count_nonzero(mask.mask)) * mask.working_um**2
        self.lines_um = float(np.count_nonzero(lines)) / PIXELS_PER_LENGTH * mask.working_um
        self._cross(lines, mask, field)

    def _cross(self, lines: np.ndarray, mask: JunctionMask, field: Field) -> None:
        top, bottom, left, right = (
            max(0, -(-(edge - read) // mask.across))
            for edge, read in (
                (field.top, field.read_top), (field.bottom, field.read_top),
                (field.left, field.read_left), (field.right, field.read_left),
            )
        )  # fmt: skip
        inner = lines[top:bottom, left:right]
        rows = np.linspace(0, inner.shape[0], BLOCKS_ACROSS + 1).astype(int)
        columns = np.linspace(0, inner.shape[1], BLOCKS_ACROSS + 1).astype(int)
        found, places = [], []
        for r0, r1 in zip(rows[:-1], rows[1:], strict=True):
            for c0, c1 in zip(columns[:-1], columns[1:], strict=True):
                found.append(crossings(inner[r0:r1, c0:c1], mask.working_um))
                places.append(
                    [
                        field.top + 0.5 * (r0 + r1) * mask.across,
                        field.left + 0.5 * (c0 + c1) * mask.across,
                    ]
                )
        self.crossings, self.crossing_places = np.array(found, dtype=float), np.array(places)


def _seeds(
    mask: JunctionMask, field: Field, other: Plane | None, is_labels: bool, pixel_size_um: float
) -> np.ndarray:
    if other is None:
        return seeds_of_junctions(mask)
    values = field.read(other)
    if is_labels:
        return seeds_of_labels(mask, values)
    return seeds_of_nuclei(mask, find_nuclei(values, pixel_size_um).centre_px)


def _joined(found: list[_Found], shape: tuple[int, int], cells_from: str) -> JunctionMeasure:
    """Return the sums over fields; the blocks of the scatter are those of the whole plane."""
    middle = np.concatenate([one.middle for one in found])
    length = np.concatenate([one.length for one in found])
    share = np.concatenate([one.share for one in found])
    asked = ~np.isnan(share)
    good = [one for one in found if not one.failure]
    told = [one.failure for one in found if one.failure]
    failure = (
        "" if asked.any() else (told[0] if told else "no interface is long enough to be asked")
    )
    n_blocks = BLOCKS_ACROSS**2
    block = block_of(middle[asked], shape)
    covered = np.bincount(block, (share * length)[asked], n_blocks)
    border = np.bincount(block, length[asked], n_blocks)
    crossed = np.concatenate([one.crossings for one in found])
    places = block_of(np.concatenate([one.crossing_places for one in found]), shape)
    count, way = (
        np.bincount(places, crossed[:, i] if len(crossed) else None, n_blocks) for i in (0, 1)
    )
    lines = sum(one.lines_um for one in found)
    return JunctionMeasure(
        coverage=float(covered.sum() / border.sum()) if asked.any() else math.nan,
        coverage_sd=math.hypot(ratio_sd(covered, border), METHOD_SD),
        tijor_per_um=float(count.sum() / way.sum()) if way.sum() > 0 else math.nan,
        tijor_sd=ratio_sd(count, way),
        middle_px=middle,
        length_um=length,
        share=share,
        points_px=np.concatenate([one.points for one in found]),
        points_covered=np.concatenate([one.covered for one in found]),
        n_cells=sum(one.n_cells for one in found),
        cells_from=cells_from or "junctions",
        level=float(np.median([one.level for one in good or found])),
        contrast=min(one.contrast for one in good or found),
        width_um=sum(one.mask_um2 for one in found) / lines if lines > 0.0 else math.nan,
        unevenness=max(one.unevenness for one in found),
        saturated=sum(one.saturated * one.pixels for one in found)
        / sum(one.pixels for one in found),
        unmeasured_fields=len(told) if asked.any() else 0,
        failure=failure,
    )
