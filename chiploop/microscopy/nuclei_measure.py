"""Number, density and size of nuclei of one plane, field by field, with their scatter from place to place.

Belongs here: sums over fields, the frame in which nuclei are counted. Not here: segmentation (nuclei), readouts
(assays.microscopy).

Density counts nuclei whose middle lies in a frame set in from the plane's edge, over the frame's area: a nucleus
that the edge cuts is never counted half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chiploop.microscopy.cells import renumbered
from chiploop.microscopy.image_quality import saturated_share
from chiploop.microscopy.nuclei import Nuclei, find_nuclei, nuclei_table
from chiploop.microscopy.place_scatter import BLOCKS_ACROSS, block_of, ratio_sd
from chiploop.microscopy.planes import Plane, as_plane, fields

FRAME_UM = 8.0
"""From the plane's edge to the frame."""
METHOD_CV = 0.006
"""Of the density: the method's own error, rms over synthetic images (`python -m benchmarks.microscopy`)."""


@dataclass(frozen=True)
class NucleiMeasure:
    """Nuclei of one plane."""

    count: int
    """All that are seen, also those that the edge cuts."""
    count_in_frame: int
    density_per_mm2: float
    """NaN where it was not measured."""
    density_sd: float
    """From place to place in the plane, with the method's own."""
    area_um2: np.ndarray
    """(n,) of those in the frame."""
    elongation: np.ndarray
    """(n,) of those in the frame."""
    centre_px: np.ndarray
    """(count, 2) row and column on the plane."""
    outline_px: np.ndarray
    """(m, 2) places on the nuclei's edges, for the overlay."""
    unevenness: float
    edge_um: float
    saturated: float
    unmeasured_fields: int = 0
    failure: str = ""
    """Why nothing was measured; empty where something was."""


def measure_nuclei(
    image: np.ndarray | Plane, pixel_size_um: float, labels: np.ndarray | Plane | None = None
) -> NucleiMeasure:
    """Return the nuclei of a plane; with ``labels`` those found elsewhere, which are only counted and measured.

    Raises
    ------
    ValueError : planes of unlike shape, pixels too large, a plane with nothing within the frame.
    """
    plane = as_plane(image)
    other = as_plane(labels) if labels is not None else None
    if other is not None and other.shape != plane.shape:
        raise ValueError(
            f"the image is {plane.shape} pixels and the labels {other.shape}; both must show the same place"
        )
    inset = FRAME_UM / pixel_size_um
    frame_px = np.array(plane.shape) - 2.0 * inset
    if np.any(frame_px < 3.0 * inset):
        raise ValueError(
            f"{plane.shape} pixels of {pixel_size_um:g} um; nuclei are counted in images of at least "
            f"{5.0 * FRAME_UM:g} um across"
        )
    centre, area, elongation, outline = [], [], [], []
    lights, edges, failures, saturated, pixels = [], [], [], 0.0, 0
    parts = fields(plane.shape, pixel_size_um)
    for field in parts:
        values = field.read(plane)
        found = (
            find_nuclei(values, pixel_size_um)
            if other is None
            else _given(field.read(other), pixel_size_um)
        )
        place = field.on_plane(found.centre_px)
        here = field.holds(place)
        centre.append(place[here])
        area.append(found.area_um2[here])
        elongation.append(found.elongation[here])
        edge = field.on_plane(_outline_px(found))
        outline.append(edge[field.holds(edge)])
        lights.append(found.light.unevenness)
        edges.append(found.edge_um)
        failures += [found.failure] if found.failure else []
        saturated += saturated_share(values) * values.size
        pixels += values.size
    places = np.concatenate(centre)
    inside = np.all((places >= inset) & (places < inset + frame_px), axis=1)
    counts = np.bincount(
        block_of(places[inside] - inset, tuple(frame_px)), minlength=BLOCKS_ACROSS**2
    )
    block_mm2 = float(np.prod(frame_px)) / BLOCKS_ACROSS**2 * (pixel_size_um * 1e-3) ** 2
    failed = len(failures) == len(parts)
    density = counts.sum() / (block_mm2 * counts.size)
    scatter = ratio_sd(counts.astype(float), np.full(counts.size, block_mm2))
    return NucleiMeasure(
        count=len(places),
        count_in_frame=int(inside.sum()),
        density_per_mm2=math.nan if failed else float(density),
        density_sd=math.hypot(scatter, METHOD_CV * float(density)),
        area_um2=np.concatenate(area)[inside],
        elongation=np.concatenate(elongation)[inside],
        centre_px=places,
        outline_px=np.concatenate(outline),
        unevenness=max(lights),
        edge_um=float(np.nanmedian(edges)) if not np.all(np.isnan(edges)) else math.nan,
        saturated=saturated / pixels,
        unmeasured_fields=0 if failed else len(failures),
        failure=failures[0] if failed else "",
    )


def _given(labels: np.ndarray, pixel_size_um: float) -> Nuclei:
    """Return the table of labels found elsewhere; nothing is thresholded or split."""
    return nuclei_table(renumbered(labels), 1, pixel_size_um, 0.0)


def _outline_px(found: Nuclei) -> np.ndarray:
    labels = found.labels
    edge = np.zeros(labels.shape, dtype=bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    edge &= labels > 0
    return np.asarray(np.argwhere(edge) * found.across + 0.5 * (found.across - 1))
