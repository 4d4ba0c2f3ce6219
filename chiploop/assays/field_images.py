"""Images of places of a study's chips, to one junction coverage per chip.

Belongs here: which places are imaged, what their images are called, their way to readouts. Not here: pixels
(microscopy.field_file), one image's measure and sd (microscopy).

An image is asked for by chip and place. Each that was measured is a calibrated row of the long table that names
its raw file; the chip's readout is their mean and names these rows. Chips stay alive: the stain is taken to be
one that living tissue bears.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chiploop.assays.microscopy import junction_readouts, mean_of_places
from chiploop.assays.plate_map import PlateMap, PlateWell, lay_out
from chiploop.errors import FileNotValid
from chiploop.measurement import Derivation, Measurement, Readout
from chiploop.microscopy.field_file import FieldFile
from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.study_parts import Kit


@dataclass(frozen=True)
class FieldImage:
    """One image of a chip: junctions and nuclei of the same place."""

    name: str
    """What the file calls it: label, chip and place."""
    junctions: np.ndarray
    nuclei: np.ndarray
    pixel_size_um: float
    flags: tuple[str, ...]
    """What a person should know of its file."""
    raw_sha256: str


def field_image(content: FieldFile, name: str, kit: Kit) -> FieldImage:
    """Return a file's image by the channels of a kit.

    Raises
    ------
    FileNotValid : a channel that is not there.
    """
    assert kit.imaging is not None
    wanted = (kit.imaging.junctions, kit.imaging.nuclei)
    missing = [channel for channel in wanted if channel not in content.planes]
    if missing:
        raise FileNotValid(
            f"{name}: no channel {' and '.join(missing)}; the file has {', '.join(content.planes)}"
        )
    junctions, nuclei = (content.planes[channel] for channel in wanted)
    return FieldImage(name, junctions, nuclei, content.pixel_size_um, content.flags, content.sha256)


@dataclass(frozen=True)
class ImageSet:
    """The images of one cycle that are there."""

    plate_id: str
    """Name of the set, where a plate would have its own."""
    label: str
    images: tuple[FieldImage, ...]


def image_places(
    chips: Sequence[str],
    window_h: tuple[float, float],
    kit: Kit,
    replicates: int,
    dilution: float,
    rng: np.random.Generator,
) -> PlateMap:
    """Return what is imaged, ``replicates`` places of each chip at the end of the window, as ``image`` wells."""
    end_h = float(window_h[1])
    one = {"kind": "image", "window_h": (end_h, end_h)}
    return lay_out([{**one, "chip": chip} for chip in chips for _ in range(replicates)], [], rng)


def image_names(label: str, plate_map: PlateMap) -> dict[str, PlateWell]:
    """Return what the image of each place is called -> the place: ``<label> <chip> <place>``, places from 1."""
    counts: Counter[str] = Counter()
    names = {}
    for one in plate_map:
        chip = str(one.chip)
        counts[chip] += 1
        names[f"{label} {chip} {counts[chip]}"] = one
    return names


def readouts_from_images(
    signal: ImageSet, plate_map: PlateMap, kit: Kit, cycle: int
) -> tuple[Derivation, list[Readout]]:
    """Return how the coverage of every chip with an image came about, and one readout of each.

    A chip whose images are all missing has no readout.
    """
    places = image_names(signal.label, plate_map)
    measured: dict[str, list[tuple[Measurement, Readout]]] = {}
    for image in signal.images:
        place = places[image.name]
        assert place.chip is not None and place.window_h is not None
        number = int(image.name.rsplit(" ", 1)[1])
        readout = coverage_of(image, place.chip, place.window_h[1], cycle)
        row = _row(signal, image, readout, number, kit)
        measured.setdefault(place.chip, []).append((row, readout))
    rows, readouts = [], []
    for chip in dict.fromkeys(str(one.chip) for one in plate_map):
        own = measured.get(chip, [])
        if not own:
            continue
        rows += [row for row, _ in own]
        readouts.append(readout_of_places(own))
    return Derivation(tuple(rows)), readouts


def readout_of_places(own: Sequence[tuple[Measurement, Readout]]) -> Readout:
    """Return the readout of a chip from its images, each with its row; it names these rows."""
    row, first = own[0]
    whole = mean_of_places([one for _, one in own])
    is_one = len(own) == 1
    return replace(
        whole,
        readout=row.readout,
        plate=row.plate,
        raw_sha256=first.raw_sha256 if is_one else "",
        channel="membrane",
        sd_kind="tech",
        method=whole.method if is_one else f"mean of {whole.n} places, each as its own row says",
        parents=tuple(row.key for row, _ in own),
    )


def coverage_of(image: FieldImage, chip_id: str, time_h: float, cycle: int) -> Readout:
    """Return the coverage of one image."""
    measure = measure_junctions(image.junctions, image.pixel_size_um, image.nuclei)
    return junction_readouts(
        measure, chip_id, time_h, flags=image.flags, raw_sha256=image.raw_sha256, cycle=cycle
    )[0]


def _row(
    signal: ImageSet, image: FieldImage, readout: Readout, number: int, kit: Kit
) -> Measurement:
    same: dict[str, Any] = {
        name: getattr(readout, name)
        for name in ("value", "unit", "time_h", "chip_id", "scale", "qc", "reasons", "raw_sha256")
    }
    return Measurement(
        key=f"{signal.plate_id}/image/{readout.chip_id}/{number}",
        stage="calibrated",
        readout=kit.readout,
        quantity="covered share of the cell borders",
        channel="membrane",
        role="image",
        replicate=number,
        sd=readout.sd if math.isfinite(readout.sd) else math.nan,
        sd_kind="tech",
        method=readout.method,
        plate=signal.plate_id,
        locator=image.name,
        cycle=readout.cycle,
        **same,
    )
