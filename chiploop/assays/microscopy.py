"""Images to readouts: junction coverage, TiJOR, density of nuclei, thickness of the epidermis.

Belongs here: from a measure to a ``Readout`` with its sd, flags and method. Not here: how an image is measured
(chiploop.microscopy), files.

All are on the linear scale. The sd is from place to place within the image, with the method's own error: it says
how well this image tells of the tissue it shows a part of. Differences between stainings and exposures are not in
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from chiploop.measurement import Quality, Readout
from chiploop.microscopy.image_quality import QualityLimits, quality_flags
from chiploop.microscopy.junction_measure import JunctionMeasure, measure_junctions
from chiploop.microscopy.nuclei_measure import NucleiMeasure, measure_nuclei
from chiploop.microscopy.planes import Plane
from chiploop.microscopy.thickness import ThicknessMeasure, measure_thickness

VERSION = "1"
"""Of the methods here; another number means other values from the same image."""
FEWEST_CELLS = 40
FEWEST_NUCLEI = 40
LEAST_JUDGED = 0.7
"""Of the border: below, too much of it is too short to be asked."""
CELLS_UNSURE_BELOW = 0.95
"""Coverage: below, cells found by junctions alone may be several cells in one."""
NUCLEUS_UM2 = (15.0, 400.0)
"""Areas between which a median nucleus is believable."""


def junction_coverage_readout(
    image: np.ndarray | Plane,
    pixel_size_um: float,
    chip_id: str,
    time_h: float,
    nuclei: np.ndarray | Plane | None = None,
    labels: np.ndarray | Plane | None = None,
    level: float | None = None,
    raw_sha256: str = "",
    cycle: int = 0,
) -> Readout:
    """Return the covered share of the border between cells (0 to 1, linear scale) of one image.

    Parameters
    ----------
    nuclei : the nuclear stain of the same place; without it cells are found by the junctions alone.
    labels : nuclei or cells found elsewhere, in place of ``nuclei``.
    level : response of an intact junction in a control of the same staining and exposure.

    Raises
    ------
    ValueError : planes of unlike shape, pixels too large.
    """
    measured = measure_junctions(image, pixel_size_um, nuclei, labels, level)
    return junction_readouts(
        measured, chip_id, time_h, level is not None, raw_sha256=raw_sha256, cycle=cycle
    )[0]


def junction_readouts(
    measured: JunctionMeasure,
    chip_id: str,
    time_h: float,
    level_given: bool = False,
    limits: QualityLimits | None = None,
    flags: Sequence[str] = (),
    raw_sha256: str = "",
    cycle: int = 0,
) -> tuple[Readout, Readout]:
    """Return coverage and TiJOR of a measure; ``flags`` are those of its file."""
    told = [*flags]
    told += quality_flags(measured.saturated, measured.unevenness, measured.width_um, limits=limits)
    if not measured.failure:
        if measured.n_cells < FEWEST_CELLS:
            told.append(f"{measured.n_cells} cells (warns below {FEWEST_CELLS})")
        if measured.judged < LEAST_JUDGED:
            told.append(
                f"only {measured.judged:.0%} of the border was long enough to be asked (warns below "
                f"{LEAST_JUDGED:.0%})"
            )
        if measured.cells_from == "junctions" and measured.coverage < CELLS_UNSURE_BELOW:
            told.append(
                "cells were found by junctions alone: border that is lost all around a cell may not be seen, and "
                "coverage come out too high; give a nuclear channel or labels"
            )
    told += _unmeasured(measured.unmeasured_fields)
    how = (
        f"covered border by interface, Laplacian of Gaussian, cells from {measured.cells_from}, level "
        f"{measured.level:.4g} {'given' if level_given else 'of the image'}; version {VERSION}"
    )
    same: dict[str, Any] = {"raw_sha256": raw_sha256, "cycle": cycle}
    coverage = _readout(
        chip_id, "junction_coverage", measured.coverage, "1", measured.coverage_sd, time_h,
        measured.failure, told, how, **same,
    )  # fmt: skip
    tijor = _readout(
        chip_id, "TiJOR", measured.tijor_per_um, "1/um", measured.tijor_sd, time_h,
        measured.failure, told, f"crossings of growing rectangles; version {VERSION}", **same,
    )  # fmt: skip
    return coverage, tijor


def nuclei_density_readout(
    image: np.ndarray | Plane,
    pixel_size_um: float,
    chip_id: str,
    time_h: float,
    labels: np.ndarray | Plane | None = None,
    raw_sha256: str = "",
    cycle: int = 0,
) -> Readout:
    """Return nuclei per mm2 (linear scale) of one image; ValueError as ``measure_nuclei`` raises it."""
    measured = measure_nuclei(image, pixel_size_um, labels)
    return nuclei_readout(
        measured, chip_id, time_h, labels is not None, raw_sha256=raw_sha256, cycle=cycle
    )


def nuclei_readout(
    measured: NucleiMeasure,
    chip_id: str,
    time_h: float,
    labels_given: bool = False,
    limits: QualityLimits | None = None,
    flags: Sequence[str] = (),
    raw_sha256: str = "",
    cycle: int = 0,
) -> Readout:
    """Return the density of a measure; ``flags`` are those of its file."""
    edge_um = None if labels_given else measured.edge_um
    told = [*flags, *quality_flags(measured.saturated, measured.unevenness, None, edge_um, limits)]
    if not measured.failure and measured.count_in_frame < FEWEST_NUCLEI:
        told.append(f"{measured.count_in_frame} nuclei (warns below {FEWEST_NUCLEI})")
    if measured.count_in_frame:
        area = float(np.median(measured.area_um2))
        if not NUCLEUS_UM2[0] <= area <= NUCLEUS_UM2[1]:
            told.append(
                f"the median nucleus has {area:.0f} um2 (believable are {NUCLEUS_UM2[0]:g} to "
                f"{NUCLEUS_UM2[1]:g}); is the pixel size right?"
            )
    told += _unmeasured(measured.unmeasured_fields)
    how = "labels given" if labels_given else "threshold and distance split"
    return _readout(
        chip_id, "nuclei_density", measured.density_per_mm2, "1/mm2", measured.density_sd, time_h,
        measured.failure, told, f"{how}, counted in a frame; version {VERSION}",
        raw_sha256=raw_sha256, cycle=cycle,
    )  # fmt: skip


def epidermal_thickness_readout(
    rgb: np.ndarray,
    pixel_size_um: float,
    chip_id: str,
    time_h: float,
    labels: np.ndarray | None = None,
    raw_sha256: str = "",
    cycle: int = 0,
) -> Readout:
    """Return the median thickness (um, linear scale) of one section; ValueError as ``measure_thickness``."""
    measured = measure_thickness(rgb, pixel_size_um, labels)
    return thickness_readout(
        measured, chip_id, time_h, labels is not None, raw_sha256=raw_sha256, cycle=cycle
    )


def thickness_readout(
    measured: ThicknessMeasure,
    chip_id: str,
    time_h: float,
    labels_given: bool = False,
    flags: Sequence[str] = (),
    raw_sha256: str = "",
    cycle: int = 0,
) -> Readout:
    """Return the median thickness of a measure; ``flags`` are those of its file."""
    how = "labels given" if labels_given else "haematoxylin"
    return _readout(
        chip_id, "epidermal_thickness", measured.median_um, "um", measured.sd_um, time_h,
        measured.failure, flags, f"{how}, area over length of the middle; version {VERSION}",
        raw_sha256=raw_sha256, cycle=cycle,
    )  # fmt: skip


def mean_of_places(readouts: Sequence[Readout]) -> Readout:
    """Return the mean of one readout over images of several places of one chip at one time.

    From three images on the sd is of the scatter between them, widened to Student's t, and never below what
    their own sds leave over; two images keep their own sds. Images that failed are left out and told.

    Raises
    ------
    ValueError : no image, or images of unlike chips, times or readouts.
    """
    if len({(r.chip_id, r.readout, r.unit, r.time_h, r.scale) for r in readouts}) != 1:
        raise ValueError("a mean is taken of one readout of one chip at one time, in one unit")
    good = [one for one in readouts if one.qc != "fail"]
    reasons = tuple(dict.fromkeys(reason for one in readouts for reason in one.reasons))
    if not good:
        return replace(readouts[0], reasons=reasons, n=0)
    values = np.array([one.value for one in good])
    n = values.size
    own = math.sqrt(sum(one.sd**2 for one in good)) / n
    between = 0.0
    if n > 2:
        between = (
            float(values.std(ddof=1)) / math.sqrt(n) * float(student.ppf(0.975, n - 1)) / 1.959964
        )
    if n < len(readouts):
        reasons = (
            *reasons,
            f"{len(readouts) - n} of {len(readouts)} images failed and are left out",
        )
    return replace(
        good[0],
        value=float(values.mean()),
        sd=max(own, between),
        n=n,
        qc="warn" if n < len(readouts) or any(one.qc == "warn" for one in good) else "ok",
        reasons=reasons,
        raw_sha256="",
    )


def _unmeasured(fields: int) -> list[str]:
    return [f"{fields} fields of the image show nothing and are left out"] if fields else []


def _readout(
    chip_id: str,
    name: str,
    value: float,
    unit: str,
    sd: float,
    time_h: float,
    failure: str,
    flags: Sequence[str],
    method: str,
    **more: Any,
) -> Readout:
    if not failure and not math.isfinite(sd):
        failure = "the image is too small to say how the value differs from place to place"
    qc: Quality = "fail" if failure else "warn" if flags else "ok"
    return Readout(
        chip_id=chip_id,
        readout=name,
        value=math.nan if failure else value,
        unit=unit,
        sd=math.nan if failure else sd,
        scale="linear",
        time_h=time_h,
        qc=qc,
        reasons=(failure, *flags) if failure else tuple(flags),
        method=method,
        **more,
    )
