"""A chip's readout from the images of it that people have not left out.

Belongs here: the mean of what stands on record of a set's images, without some. Not here: measuring an image
(field_images), who left which one out (record.well_exclusions).

What an image says hangs on no other image, so nothing is measured again: the rows of the set, as they were first
derived, are all that is needed. An image that is left out keeps its number, as a row that failed with who and why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chiploop.assays.field_images import readout_of_places
from chiploop.measurement import Derivation, Measurement, Quality, Readout

NO_IMAGE = "no image is left"


def place_of(row: Measurement) -> str:
    """Return what a person calls an image of a set: chip and place, ``C01/2``."""
    return f"{row.chip_id}/{row.replicate}"


def without_images(
    rows: Sequence[Measurement], left_out: Mapping[str, str]
) -> tuple[Derivation, list[Readout]]:
    """Return the rows of a set of images and the readout of every chip, without the images left out.

    Parameters
    ----------
    rows
        As they were first derived, in their order.
    left_out
        Chip and place -> who left it out and why.
    """
    keyed = [replace(row, key=f"{row.plate}/image/{place_of(row)}") for row in rows]
    readouts = []
    for chip in dict.fromkeys(row.chip_id for row in keyed):
        own = [row for row in keyed if row.chip_id == chip]
        used = [row for row in own if place_of(row) not in left_out]
        out = tuple(
            f"image {place_of(row)} {left_out[place_of(row)]}"
            for row in own
            if place_of(row) in left_out
        )
        whole = readout_of_places([(row, _readout_of(row)) for row in used or own])
        if not used:
            whole = replace(
                whole, value=math.nan, sd=math.nan, n=0, qc="fail", reasons=(*out, NO_IMAGE),
                raw_sha256="",
            )  # fmt: skip
        elif out:
            qc: Quality = "fail" if whole.qc == "fail" else "warn"
            whole = replace(whole, qc=qc, reasons=(*out, *whole.reasons))
        readouts.append(whole)
    marked = tuple(
        replace(row, qc="fail", reasons=(*row.reasons, left_out[place_of(row)]))
        if place_of(row) in left_out
        else row
        for row in keyed
    )
    return Derivation(marked), readouts


def _readout_of(row: Measurement) -> Readout:
    """Return what one image says, as it did when it was measured."""
    return Readout(
        chip_id=row.chip_id,
        readout=row.readout,
        value=row.value,
        unit=row.unit,
        sd=row.sd,
        scale=row.scale,
        time_h=row.time_h,
        qc=row.qc,
        reasons=row.reasons,
        method=row.method,
        raw_sha256=row.raw_sha256,
        cycle=row.cycle,
    )
