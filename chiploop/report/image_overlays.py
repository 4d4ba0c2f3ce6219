"""What was found in the images of a run, drawn on them: one per chip of the last cycle that has images.

Belongs here: which image is shown, from the record and the store. Not here: the picture (image_figure), its place
in the report (html_report).

The image is measured again from its raw file, as it was when its readout was derived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from chiploop.assays.field_images import field_image
from chiploop.assays.microscopy import junction_readouts
from chiploop.measurement import Measurement, Readout
from chiploop.microscopy.field_file import read_field
from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.models.facts import AT_THE_END
from chiploop.record.raw_files import RawFileStore
from chiploop.report.image_figure import junction_figure, overlay
from chiploop.report.svg import Drawn, axis_of
from chiploop.study_parts import Assay

SHOWN_UM = 60.0
"""Across what is shown of an image: enough to judge single borders, small enough for one page."""


@dataclass(frozen=True)
class ChipImage:
    """The image of a chip that is shown."""

    chip: str
    cycle: int
    place: int
    places: int
    """Of this chip in this cycle."""
    file: str
    """Its name in the file and the digest's first letters."""
    value: str
    drawn: Drawn


def image_of_chips(
    measurements: Sequence[Measurement],
    assays: Mapping[str, Assay],
    store: RawFileStore,
    simulated: bool,
) -> list[ChipImage]:
    """Return the first image that could be measured of each chip of the last cycle; none where there are none."""
    images = [one for one in measurements if one.role == "image"]
    last = max((one.cycle for one in images), default=0)
    of_chips: dict[str, list[Measurement]] = {}
    for one in images:
        if one.cycle == last:
            of_chips.setdefault(one.chip_id, []).append(one)
    found = []
    for chip, own in of_chips.items():
        shown = next((one for one in own if one.qc != "fail"), own[0])
        value = "not measured"
        if shown.qc != "fail":
            value = f"{100.0 * shown.value:.1f} ± {100.0 * shown.sd:.1f} %"
        picture = picture_of(shown, assays[shown.readout], store, simulated)
        told = f"{shown.locator}, sha256 {shown.raw_sha256[:16]}"
        found.append(
            ChipImage(chip, last, shown.replicate, len(own), told, value, picture),
        )
    return found


def picture_of(shown: Measurement, assay: Assay, store: RawFileStore, simulated: bool) -> Drawn:
    """Return the overlay of one image, measured again from its raw file."""
    content = read_field(store.get(shown.raw_sha256), shown.locator)
    image = field_image(content, shown.locator, assay.kit)
    measured = measure_junctions(image.junctions, image.pixel_size_um, image.nuclei)
    readout, _ = junction_readouts(measured, shown.chip_id, shown.time_h, flags=image.flags)
    draw = partial(
        junction_figure, image.junctions, measured, image.pixel_size_um, readout, SHOWN_UM
    )
    return overlay(draw, f"image-{shown.chip_id}", readout, simulated)


def end_point_rows(readouts: Sequence[Readout]) -> list[dict[str, Any]]:
    """Return every reading that is taken at the end of an exposure, with its sd, as a row of a table."""
    rows = []
    for one in readouts:
        if one.readout not in AT_THE_END:
            continue
        axis = axis_of(one.readout, one.unit)
        value = f"{axis.factor * one.value:.3g}"
        sd = f"{100.0 * one.sd:.1f} %" if one.scale == "log" else f"{axis.factor * one.sd:.2g}"
        if one.censoring == "left":
            value, sd = f"below {axis.factor * one.upper:.3g}", "–"
        if one.qc == "fail":
            value, sd = "none", "–"
        rows.append(
            {
                "readout": axis.title,
                "unit": axis.unit,
                "cycle": one.cycle,
                "chip": one.chip_id,
                "value": value,
                "sd": sd,
                "n": one.n,
                "qc": one.qc,
                "reasons": "; ".join(one.reasons),
            }
        )
    return sorted(rows, key=lambda row: (row["readout"], row["cycle"]))
