"""The raw signals behind the last readouts of a run as figures: spectra with their fits, plates in colour.

Belongs here: which signals are shown and the picture of a plate. Not here: the picture of a spectrum
(impedance_figure), images (image_overlays), the page (chiploop.review).

Drawn from the raw files by their digests. A spectrum is fitted again as it was when its readout was derived; where
the laboratory had blanks of its own the readout's own blank stands in its method, and here the lot's is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from chiploop.assays.barrier_analysis import BarrierSetup, analyse_barrier
from chiploop.measurement import ImpedanceSpectrum
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.report.impedance_figure import impedance_figure
from chiploop.report.page_parts import picture
from chiploop.report.svg import MEAN, WIDTH_IN, drawn, set_margins

FILE = "signals.json"
MOST_SPECTRA = 24
MARKS = {"standard": "S", "blank": "B", "sample": "", "max_release": "M"}


def signals_folder(run_folder: Path) -> Path:
    """Return where the figures of a run's signals are."""
    return run_folder / "page" / "signals"


def write_signal_parts(
    record: Record,
    store: RawFileStore,
    run_id: str,
    run_folder: Path,
    simulated: bool,
    setup: BarrierSetup,
) -> Path:
    """Draw the newest signals of a run and return their folder."""
    kept = record.raw_files(run_id)
    folder = signals_folder(run_folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for cycle, title, caption, name, draw in (
        *spectra(record, store, run_id, kept, setup),
        *plates(store, kept),
    ):
        shown = picture(drawn(name, title, draw, simulated), folder)
        figures.append({**shown, "cycle": cycle, "title": title, "caption": caption})
    draft = folder / f"{FILE}.unfinished"
    draft.write_text(json.dumps({"length": len(kept), "figures": figures}), encoding="utf-8")
    draft.replace(folder / FILE)
    return folder


Signal = tuple[int, str, str, str, Any]
"""Cycle, title, caption, name, what draws it."""


def spectra(
    record: Record,
    store: RawFileStore,
    run_id: str,
    kept: Sequence[RawFile],
    setup: BarrierSetup,
) -> Iterator[Signal]:
    """Yield the last spectrum of every chip that was learned from."""
    files = {one.sha256: one for one in kept if one.kind == "impedance spectrum"}
    newest = {
        r.chip_id: r
        for r in sorted(record.readouts(run_id), key=lambda r: r.time_h)
        if r.readout == "TEER" and r.raw_sha256 in files
    }
    for chip, readout in list(newest.items())[:MOST_SPECTRA]:
        values = json.loads(store.get(readout.raw_sha256))
        pairs = np.array(values["impedance_ohm"], dtype=float)
        spectrum = ImpedanceSpectrum(
            chip,
            float(values["time_h"]),
            np.array(values["frequency_hz"], dtype=float),
            pairs[:, 0] + 1j * pairs[:, 1],
            tuple(values.get("status", ())),
        )
        title = f"TEER of {chip} at {readout.time_h:g} h"

        def draw(one: ImpedanceSpectrum = spectrum, told: str = title) -> Figure:
            return impedance_figure(one, analyse_barrier(one, setup), told)

        caption = (
            f"Impedance spectrum with the fit that gives TEER. {readout.method}. Raw file "
            f"{files[readout.raw_sha256].name}, sha256 {readout.raw_sha256[:16]}."
        )
        yield readout.cycle, title, caption, f"spectrum-{chip}", draw


def plates(store: RawFileStore, kept: Sequence[RawFile]) -> Iterator[Signal]:
    """Yield every plate of the last cycle, one picture a wavelength that was read first."""
    maps = [json.loads(store.get(one.sha256)) for one in kept if one.kind == "plate map"]
    newest = {one["plate_id"]: one for one in maps}
    last = max((int(one["cycle"]) for one in newest.values()), default=0)
    signals = {one.name.removesuffix("_od.json"): one for one in kept if one.kind == "absorbance"}
    for plate_id, asked in newest.items():
        file = signals.get(plate_id)
        if int(asked["cycle"]) != last or file is None:
            continue
        grids = json.loads(store.get(file.sha256))["absorbance"]
        nm, grid = next(iter(grids.items()))
        words = {one["well"]: MARKS.get(one["kind"], "") or one["chip"] for one in asked["wells"]}
        title = f"{asked['assay']} plate, cycle {asked['cycle']}"
        caption = (
            f"Absorbance at {nm} nm; S standard, B blank, M complete release, otherwise the chip. Darker is more. "
            f"{plate_id}, raw file {file.name}, sha256 {file.sha256[:16]}."
        )
        values = np.array(grid, dtype=float)
        draw = partial(plate_map_figure, values, words, f"OD at {nm} nm")
        yield int(asked["cycle"]), title, caption, f"plate-{asked['assay']}", draw


def plate_map_figure(values: np.ndarray, words: dict[str, str], unit: str) -> Figure:
    """Return a plate's wells, each with what it holds and what was read."""
    rows, columns = values.shape
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 0.36 * rows))
    ax = figure.subplots()
    set_margins(figure, 0.35, 0.1, 0.15, 0.45)
    high = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    ax.imshow(values, cmap="Blues", vmin=0.0, vmax=high * 1.15, aspect="auto")
    for i in range(rows):
        for j in range(columns):
            well = f"{chr(ord('A') + i)}{j + 1}"
            read = "–" if not np.isfinite(values[i, j]) else f"{values[i, j]:.2f}"
            colour = "white" if values[i, j] > 0.65 * high else "#222222"
            held = f"{words[well]}\n" if words.get(well) else ""
            ax.text(j, i, f"{held}{read}", ha="center", va="center", fontsize=6, color=colour)
    ax.set_xticks(range(columns), [str(j + 1) for j in range(columns)])
    ax.set_yticks(range(rows), [chr(ord("A") + i) for i in range(rows)])
    ax.tick_params(length=0, top=True, bottom=False, labeltop=True, labelbottom=False)
    ax.set_xlabel(unit, color=MEAN)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return figure
