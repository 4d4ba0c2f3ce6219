"""The raw signals behind the readouts of a cycle as figures: spectra with their fits, plates, images.

Belongs here: which signals are shown, the index of their files. Not here: the pictures (impedance_figure,
plate_signal_figure, permeability_figure, image_figure), the page (chiploop.review).

Drawn from the raw files by their digests, and calculated again as when the readout was derived, without the wells
that people have left out since. Where the laboratory had blanks of its own a spectrum's blank stands in its
readout's method, and here the lot's is used. Of a whole cycle each chip is shown once, on the page that has it,
with the plates that hold a well of it; one chip can be asked for with all it has, page after page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from chiploop.assays.barrier_analysis import BarrierSetup, analyse_barrier
from chiploop.assays.field_images import FieldImage, field_image
from chiploop.assays.left_out_images import place_of
from chiploop.assays.microscopy import junction_readouts, nuclei_readout
from chiploop.assays.perfused_tracer import readouts_from_perfused_tracer
from chiploop.assays.permeability import Permeability
from chiploop.assays.plate_map import PlateMap, plate_from_dict
from chiploop.errors import FileNotValid
from chiploop.measurement import AbsorbancePlate, ImpedanceSpectrum, Measurement, Readout
from chiploop.microscopy.field_file import read_field
from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.microscopy.nuclei_measure import measure_nuclei
from chiploop.plan import perfused_chip
from chiploop.plates_on_record import map_on_record, signal_on_record
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.record.signal_index import (
    MOST_IMAGES,
    MOST_SPECTRA,
    index_name,
    signal_leaf,
    signals_seen,
)
from chiploop.record.well_exclusions import wells_left_out
from chiploop.report.image_figure import junction_figure, nuclei_figure, write_overlay
from chiploop.report.impedance_figure import impedance_figure
from chiploop.report.page_parts import picture
from chiploop.report.permeability_figure import permeability_figure
from chiploop.report.plate_signal_figure import (
    controls_figure,
    plate_map_figure,
    raw_signals,
    standards_figure,
)
from chiploop.report.svg import drawn
from chiploop.study import Study
from chiploop.study_parts import Kit

DOTS_PER_INCH = 144
"""Of an image's picture: enough to judge single borders on a screen of twice the usual dots."""
SHOWN_UM = 100.0
"""Across what is shown of an image; the picture has the same number of dots whatever the image has."""
MARKS = {"standard": "S", "blank": "B", "sample": "", "max_release": "M", "donor": "D "}


@dataclass(frozen=True)
class Signal:
    """One figure."""

    name: str
    """Of its file."""
    title: str
    caption: str
    draw: Callable[[], Figure]
    plate: str = ""
    is_image: bool = False
    """Drawn in dots, for a photograph has no lines."""
    image: tuple[str, str] = ("", "")
    """Set and place of the image that can be left out beside this figure."""


@dataclass(frozen=True)
class Signals:
    """Where the signals of a run stand."""

    record: Record
    store: RawFileStore
    run_id: str
    study: Study
    setup: BarrierSetup

    @property
    def kept(self) -> tuple[RawFile, ...]:
        """Its raw files."""
        return self.record.raw_files(self.run_id)


def signals_folder(run_folder: Path) -> Path:
    """Return where the figures of a run's signals are."""
    return run_folder / "page" / "signals"


def write_signal_parts(
    run: Signals, run_folder: Path, simulated: bool, cycle: int, chip: str = "", page: int = 1
) -> Path:
    """Draw a page of the signals of a cycle (of one chip of it) and return the index of their files."""
    shown_here = signal_leaf(run.record, run.run_id, cycle, chip, page)
    chips, part = shown_here.chips, shown_here.leaf.page if chip else 0
    seen = signals_seen(run.record, run.run_id)
    folder = signals_folder(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for group, found in (
        ("Plates", plates(run, cycle, chips)),
        ("Spectra", spectra(run, cycle, chips, part)),
        ("Images", images(run, cycle, chips, part)),
    ):
        for one in found:
            shown = photograph(one, folder, simulated) if one.is_image else None
            shown = shown or picture(drawn(one.name, one.title, one.draw, simulated), folder)
            told = {
                "title": one.title, "caption": one.caption, "plate": one.plate, "image": one.image,
            }  # fmt: skip
            figures.append({**shown, **told, "group": group})
    index = folder / index_name(cycle, chip, shown_here.leaf.page)
    draft = index.with_name(f"{index.name}.unfinished")
    content = {"seen": seen, "cycle": cycle, "chip": chip, "figures": figures}
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(index)
    return index


def photograph(one: Signal, folder: Path, simulated: bool) -> dict[str, Any]:
    """Draw a figure in dots and return how the page shows it, or why it can not be drawn."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", one.name)
    size: list[float] = []

    def sized() -> Figure:
        figure = one.draw()
        size[:] = figure.get_size_inches()
        return figure

    try:
        draft = folder / f"{name}.unfinished.png"
        write_overlay(sized, draft, simulated, DOTS_PER_INCH)
        draft.replace(folder / f"{name}.png")
    except Exception as problem:  # the other signals stand without it
        said = f"{type(problem).__name__}: {problem}"
        return {"name": name, "src": "", "svg": "", "problem": said}
    width, height = (round(72.0 * inches) for inches in size)
    return {
        "name": name,
        "src": f"{name}.png",
        "label": one.title,
        "width": width,
        "height": height,
        "problem": "",
    }


def spectra(run: Signals, cycle: int, chips: Sequence[str], part: int = 0) -> Iterator[Signal]:
    """Yield the last spectrum of every chip in a cycle; with a part (from 1) that part of all spectra."""
    files = {one.sha256: one for one in run.kept if one.kind == "impedance spectrum"}
    own = [
        one
        for one in sorted(run.record.readouts(run.run_id, cycle, chips), key=lambda one: one.time_h)
        if one.readout == "TEER" and one.raw_sha256 in files
    ]
    shown = list({one.chip_id: one for one in own}.values())
    if part:
        shown = own[(part - 1) * MOST_SPECTRA : part * MOST_SPECTRA]
    for readout in shown:
        title = f"TEER of {readout.chip_id} at {readout.time_h:g} h"
        caption = (
            f"Impedance spectrum with the fit that gives TEER. {readout.method}. Raw file "
            f"{files[readout.raw_sha256].name}, sha256 {readout.raw_sha256[:16]}."
        )
        name = f"spectrum-c{cycle:02d}-{readout.chip_id}-{readout.time_h:g}h"
        yield Signal(name, title, caption, partial(spectrum_figure, run, readout, title))


def spectrum_figure(run: Signals, readout: Readout, title: str) -> Figure:
    """Return the spectrum behind a readout with its fit."""
    values = json.loads(run.store.get(readout.raw_sha256))
    pairs = np.array(values["impedance_ohm"], dtype=float)
    spectrum = ImpedanceSpectrum(
        readout.chip_id,
        float(values["time_h"]),
        np.array(values["frequency_hz"], dtype=float),
        pairs[:, 0] + 1j * pairs[:, 1],
        tuple(values.get("status", ())),
    )
    return impedance_figure(spectrum, analyse_barrier(spectrum, run.setup), title)


def plates(run: Signals, cycle: int, chips: Sequence[str]) -> Iterator[Signal]:
    """Yield every plate with these chips: its wells, and how its readings follow from standards or controls."""
    readouts = run.record.readouts(run.run_id, cycle, chips)
    said = run.record.well_exclusions(run.run_id)
    for plate_id in dict.fromkeys(one.plate for one in readouts if one.plate):
        asked = map_on_record(run.store, run.kept, plate_id)
        kit = None if asked is None else run.study.assays[asked["assay"]].kit
        if asked is None or kit is None or kit.method == "microscopy":
            continue
        try:
            plate = signal_on_record(run.store, run.kept, asked, kit)
        except FileNotValid:  # a plate of a record that has no signals
            continue
        plate = replace(plate, left_out=wells_left_out(said, plate_id))
        yield from plate_signals(run, plate, plate_from_dict(asked), kit, asked, cycle)


def plate_signals(
    run: Signals,
    plate: AbsorbancePlate,
    wells: PlateMap,
    kit: Kit,
    asked: dict[str, Any],
    cycle: int,
) -> Iterator[Signal]:
    """Yield the two figures of a plate."""
    name, told = f"{asked['assay']} plate, cycle {cycle}", "wells left out: none"
    if plate.left_out:
        told = f"left out: {', '.join(f'{well} ({why})' for well, why in plate.left_out.items())}"
    words = {one.well: f"{MARKS.get(one.kind, '')}{one.chip or ''}" for one in wells}
    is_light = kit.excitation_wavelength_nm is not None
    main = round(kit.wavelength_nm)
    unit = f"fluorescence at {main} nm" if is_light else f"OD at {main} nm"
    if kit.reference_wavelength_nm is not None:
        unit += f" less {round(kit.reference_wavelength_nm)} nm"
    caption = (
        f"As read: {unit}; S standard, B blank, M complete release, D donor, otherwise the chip. Darker is "
        f"more; {told}. {plate.plate_id}, sha256 {plate.raw_sha256[:16]}."
    )
    file = f"c{cycle:02d}-{asked['assay']}"
    draw = partial(plate_map_figure, raw_signals(plate, kit), words, unit, plate.left_out)
    yield Signal(f"plate-{file}", name, caption, draw, plate.plate_id)
    if kit.method == "elisa":
        caption = (
            "Standards with the fitted curve, its limits, and every sample read back from it at the mean of its "
            "wells; an arrow is a sample beyond a limit, which is told as a bound and never as a number."
        )
        draw = partial(standards_figure, plate, wells, kit)
        yield Signal(f"curve-{file}", f"{name}: curve", caption, draw, plate.plate_id)
    elif kit.method == "tracer_permeability":
        caption = "Tracer in the collected samples of each chip with the fit that gives P_app."
        draw = partial(tracer_figure, run, plate, wells, kit, cycle)
        yield Signal(f"tracer-{file}", f"{name}: tracer over time", caption, draw, plate.plate_id)
    else:
        caption = "Every well by what it holds; samples are read between the means of the controls."
        draw = partial(controls_figure, plate, wells, kit)
        yield Signal(f"controls-{file}", f"{name}: controls", caption, draw, plate.plate_id)


def tracer_figure(
    run: Signals, plate: AbsorbancePlate, wells: PlateMap, kit: Kit, cycle: int
) -> Figure:
    """Return the tracer of every chip over time with its fit."""
    judged, _ = readouts_from_perfused_tracer(plate, wells, kit, cycle, perfused_chip(run.study))
    found: tuple[Permeability, ...] = judged.found
    return permeability_figure(found, "pg/mL")


def images(run: Signals, cycle: int, chips: Sequence[str], part: int = 0) -> Iterator[Signal]:
    """Yield the first image of every chip in a cycle with what was found in it; with a part that part of all."""
    rows = [
        one
        for one in run.record.measurements(run.run_id)
        if one.role == "image" and one.cycle == cycle and one.chip_id in chips
    ]
    shown = list({one.chip_id: one for one in reversed(rows)}.values())[::-1]
    if part:
        shown = rows[(part - 1) * MOST_IMAGES : part * MOST_IMAGES]
    for row in shown:
        place = f"{row.chip_id}, place {row.replicate}"
        file = f"c{cycle:02d}-{row.chip_id}-{row.replicate}"
        caption = f"Image {row.locator}, sha256 {row.raw_sha256[:16]}."
        for name, title, told, draw in (
            (
                "junctions",
                "covered cell borders",
                "Left the image, right the places along cell borders that were asked: dots where there is stain, "
                "crosses where there is none.",
                junctions_drawn,
            ),
            (
                "nuclei",
                "nuclei",
                "Left the image, right what was counted as a nucleus.",
                nuclei_drawn,
            ),
        ):
            yield Signal(
                f"{name}-{file}", f"{place}, cycle {cycle}: {title}", f"{told} {caption}",
                partial(draw, run, row), is_image=True,
                image=(row.plate, place_of(row)) if name == "junctions" else ("", ""),
            )  # fmt: skip


def image_of(run: Signals, row: Measurement) -> FieldImage:
    """Return the image of a row from its raw file."""
    content = read_field(run.store.get(row.raw_sha256), row.locator)
    return field_image(content, row.locator, run.study.assays[row.readout].kit)


def junctions_drawn(run: Signals, row: Measurement) -> Figure:
    """Return an image with its cell borders, measured again."""
    image = image_of(run, row)
    measured = measure_junctions(image.junctions, image.pixel_size_um, image.nuclei)
    readout, _ = junction_readouts(measured, row.chip_id, row.time_h, flags=image.flags)
    return junction_figure(image.junctions, measured, image.pixel_size_um, readout, SHOWN_UM)


def nuclei_drawn(run: Signals, row: Measurement) -> Figure:
    """Return an image with its nuclei, found again."""
    image = image_of(run, row)
    measured = measure_nuclei(image.nuclei, image.pixel_size_um)
    readout = nuclei_readout(measured, row.chip_id, row.time_h, flags=image.flags)
    return nuclei_figure(image.nuclei, measured, image.pixel_size_um, readout)
