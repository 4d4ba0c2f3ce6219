"""``chiploop image``: junctions, nuclei or thickness in a TIFF, with an overlay to judge it by.

Belongs here: options, the text, the JSON object. Not here: reading (microscopy.tiff_file), measures
(chiploop.microscopy), readouts (assays.microscopy), the picture (report.image_figure).
"""

from __future__ import annotations

import hashlib
import math
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from chiploop.errors import FileNotValid, FitNotAccepted, WrongUse
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chiploop.measurement import Readout
    from chiploop.microscopy.tiff_file import ImageFile, TiffPlane

PICTURES = (".png", ".svg")


class MeasureName(StrEnum):
    """What may stand behind --measure."""

    junctions = "junctions"
    nuclei = "nuclei"
    thickness = "thickness"


def image(
    file: Path = typer.Argument(help="TIFF or OME-TIFF."),
    measure: MeasureName = typer.Option(..., "--measure", help="What is measured."),
    channel: str | None = typer.Option(
        None, "--channel", metavar="N", help="Channel to measure: its number from 1, or its name."
    ),
    nuclei_channel: str | None = typer.Option(
        None,
        "--nuclei-channel",
        metavar="N",
        help="For junctions: cells are grown from its nuclei.",
    ),
    labels: Path | None = typer.Option(
        None,
        "--labels",
        metavar="LABELS.tif",
        help="Nuclei, cells or layer found elsewhere; 0 is none.",
    ),
    pixel_size: str | None = typer.Option(
        None, "--pixel-size", metavar="0.325um", help="For a file whose OME-XML does not say."
    ),
    z: int | None = typer.Option(None, "--z", help="Plane of a stack, from 1."),
    frame: int | None = typer.Option(None, "--frame", help="Time point, from 1."),
    junction_level: float | None = typer.Option(
        None,
        "--junction-level",
        help="Of an intact junction, as a control image of this staining gave it.",
    ),
    overlay: Path | None = typer.Option(
        None, "--overlay", metavar="OUT.png|.svg", help="Draw what was found on the image."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure junction coverage, nuclei or epidermal thickness in an image.

    The sd is from place to place within the image. Exit code 6 where nothing could be measured. With --json:
    {"ok", "file", "sha256", "measure", "pixel_size_um", "rows", "columns", "channels", "acquired", "readouts":
    [{"readout", "value", "sd", "unit", "qc", "reasons", "method"}], "details": {...}}; null stands for what is no
    number.
    """
    refuse_existing([overlay], force)
    if overlay is not None and overlay.suffix.lower() not in PICTURES:
        raise WrongUse(f"{overlay}: an overlay is written as {' or '.join(PICTURES)}")
    if junction_level is not None and not 0.0 < junction_level < math.inf:
        raise WrongUse(f"--junction-level {junction_level:g}; allowed are numbers above 0")
    for option, given in (
        ("--nuclei-channel", nuclei_channel),
        ("--junction-level", junction_level),
    ):
        if given is not None and measure is not MeasureName.junctions:
            raise WrongUse(f"{option} goes with --measure junctions")
    if nuclei_channel is not None and labels is not None:
        raise WrongUse("cells come from --nuclei-channel or from --labels, not from both")

    from chiploop.microscopy.pixel_size import declared_size_um
    from chiploop.microscopy.tiff_file import open_image

    declared = declared_size_um(pixel_size) if pixel_size is not None else None
    with ExitStack() as stack:
        opened = stack.enter_context(open_image(file, declared))
        found = stack.enter_context(open_image(labels, no_size=True)).plane() if labels else None
        if found is not None and found.dtype.kind == "f":
            raise FileNotValid(f"{found.file.name}: real numbers; labels are whole ones, 0 is none")
        sha256 = _sha256(file)
        try:
            if measure is MeasureName.junctions:
                plane = opened.plane(channel, z, frame)
                nuclei = opened.plane(nuclei_channel, z, frame) if nuclei_channel else None
                readouts, details, picture = _junctions(
                    opened, plane, nuclei, found, junction_level, sha256
                )
            elif measure is MeasureName.nuclei:
                plane = opened.plane(channel, z, frame)
                readouts, details, picture = _nuclei(opened, plane, found, sha256)
            else:
                plane = opened.colour()
                readouts, details, picture = _thickness(opened, plane, found, sha256)
        except ValueError as trouble:
            raise FileNotValid(f"{opened.name}: {trouble}") from None
        if overlay is not None:
            from chiploop.report.image_figure import write_overlay

            write_to(overlay, lambda path: write_overlay(picture, path))
        about = {
            "file": str(file),
            "sha256": sha256,
            "measure": measure.value,
            "pixel_size_um": opened.pixel_size_um,
            "rows": plane.shape[0],
            "columns": plane.shape[1],
            "channels": list(opened.channels),
            "acquired": opened.ome.acquired or None if opened.ome else None,
        }
    failed = readouts[0].qc == "fail"
    if as_json:
        print_json(
            {
                "ok": not failed,
                **about,
                "readouts": [_as_json(one) for one in readouts],
                "details": details,
            }
        )
        if failed:
            raise typer.Exit(FitNotAccepted.exit_code)
        return
    print(
        f"{file.name}: {plane.shape[1]} x {plane.shape[0]} pixels of {about['pixel_size_um']:g} um"
    )
    for one in readouts:
        if one.qc != "fail":
            print(f"  {one.readout:20s} {one.value:.4g} {one.unit}, sd {one.sd:.2g}  [{one.qc}]")
    for name, value in details.items():
        print(
            f"  {name:20s} {'-' if value is None else f'{value:.4g}' if isinstance(value, float) else value}"
        )
    for reason in readouts[0].reasons if not failed else ():
        print(f"  {readouts[0].qc}: {reason}")
    if overlay is not None:
        print(f"written: {overlay}")
    if failed:
        raise FitNotAccepted(f"{file.name}: nothing was measured: {'; '.join(readouts[0].reasons)}")


def _junctions(
    opened: ImageFile,
    plane: TiffPlane,
    nuclei: TiffPlane | None,
    labels: TiffPlane | None,
    level: float | None,
    sha256: str,
) -> tuple[list[Readout], dict[str, Any], Any]:
    from chiploop.assays.microscopy import junction_readouts
    from chiploop.microscopy.junction_measure import measure_junctions

    measured = measure_junctions(plane, opened.pixel_size_um, nuclei, labels, level)
    readouts = junction_readouts(
        measured, "", math.nan, level is not None, flags=opened.flags, raw_sha256=sha256
    )
    details = {
        "cells": measured.n_cells,
        "cells_from": measured.cells_from,
        "interfaces": int(measured.length_um.size),
        "border_um": float(measured.length_um.sum()),
        "border_judged": measured.judged,
        "junction_level": _plain(measured.level),
        "contrast": _plain(measured.contrast),
        "junction_width_um": _plain(measured.width_um),
    }

    def picture() -> Figure:
        from chiploop.report.image_figure import junction_figure

        return junction_figure(plane, measured, opened.pixel_size_um, readouts[0])

    return list(readouts), details, picture


def _nuclei(
    opened: ImageFile, plane: TiffPlane, labels: TiffPlane | None, sha256: str
) -> tuple[list[Readout], dict[str, Any], Any]:
    from chiploop.assays.microscopy import nuclei_readout
    from chiploop.microscopy.nuclei_measure import measure_nuclei

    measured = measure_nuclei(plane, opened.pixel_size_um, labels)
    readout = nuclei_readout(
        measured, "", math.nan, labels is not None, flags=opened.flags, raw_sha256=sha256
    )
    any_there = measured.count_in_frame > 0
    details = {
        "nuclei": measured.count,
        "nuclei_in_frame": measured.count_in_frame,
        "median_area_um2": float(np.median(measured.area_um2)) if any_there else None,
        "median_elongation": float(np.median(measured.elongation)) if any_there else None,
    }

    def picture() -> Figure:
        from chiploop.report.image_figure import nuclei_figure

        return nuclei_figure(plane, measured, opened.pixel_size_um, readout)

    return [readout], details, picture


def _thickness(
    opened: ImageFile, plane: TiffPlane, labels: TiffPlane | None, sha256: str
) -> tuple[list[Readout], dict[str, Any], Any]:
    from chiploop.assays.microscopy import thickness_readout
    from chiploop.microscopy.thickness import MOST_PIXELS, measure_thickness

    rows, columns = plane.shape
    if rows * columns > MOST_PIXELS:
        raise FileNotValid(
            f"{opened.name}: {rows} x {columns} pixels; a section of at most {MOST_PIXELS} pixels is measured. "
            "Export the part with the epidermis, or a smaller level of the slide"
        )
    rgb = plane.read(0, rows, 0, columns)
    layer = labels.read(0, labels.shape[0], 0, labels.shape[1]) if labels is not None else None
    measured = measure_thickness(rgb, opened.pixel_size_um, layer)
    readout = thickness_readout(
        measured, "", math.nan, labels is not None, flags=opened.flags, raw_sha256=sha256
    )
    details = {
        "thickness_5_percent_um": _plain(measured.low_um),
        "thickness_95_percent_um": _plain(measured.high_um),
        "length_um": _plain(measured.length_um),
    }

    def picture() -> Figure:
        from chiploop.report.image_figure import thickness_figure

        return thickness_figure(rgb, measured, opened.pixel_size_um, readout)

    return [readout], details, picture


def _as_json(one: Readout) -> dict[str, Any]:
    return {
        "readout": one.readout,
        "value": _plain(one.value),
        "sd": _plain(one.sd),
        "unit": one.unit,
        "qc": one.qc,
        "reasons": list(one.reasons),
        "method": one.method,
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
