"""Readouts of a plate calculated again: with another export, another layout, without some wells, or by this code.

Belongs here: a plate's signal and map from a run's store, a set's images, and what comes of them now. Not here:
rows that supersede (chiploop.record), the command (cli.revise). No instrument is asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chiploop.assays import derived_from_plate
from chiploop.assays.exported_plate import labelled_plate, problems_of_plate
from chiploop.assays.layout_map import map_of
from chiploop.assays.left_out_images import place_of, without_images
from chiploop.assays.plate_layout import read_plate_layout
from chiploop.assays.plate_map import PlateMap, plate_from_dict, plate_to_dict
from chiploop.errors import FileNotValid, WrongUse
from chiploop.exports import bytes_of, read_export_bytes
from chiploop.measurement import Derivation, Quality, Readout
from chiploop.plan import perfused_chip
from chiploop.plates_on_record import PLATE_MAP, map_on_record, name_in, signal_on_record
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.record.well_exclusions import WellExclusion, wells_left_out
from chiploop.worklist import RECOVERY
from flows.opening import RunFiles

LINE_HELD = "line held: "
"""Beginning of the reason under which a readout of a held line is not learned from; it stays."""


@dataclass(frozen=True)
class Revised:
    """What a plate says now."""

    readouts: tuple[Readout, ...]
    derivation: Derivation
    time_h: float
    """Study time of the plate's reading."""
    taken: tuple[RawFile, ...]
    """An export, a layout that came now: their bytes are in the store, they go on record with the revision."""
    left_out: dict[str, str]
    """Well, or chip and place of an image -> who left it out and why: what was calculated without it."""


def revised(
    files: RunFiles,
    record: Record,
    plate_id: str,
    export: Path | None = None,
    layout: Path | None = None,
    said: Sequence[WellExclusion] = (),
) -> Revised:
    """Return a plate's readouts as they come out now, without the wells that people have left out.

    Parameters
    ----------
    export : a vendor's file in place of the signal on record; None for that.
    layout : what really stood in the wells; None for what is on record: the last layout, or the plan.
    said : decisions about single wells of the plate that are carried out with it.

    Raises
    ------
    WrongUse : a plate that the run has not read, a well that it has not.
    FileNotValid : a file or layout that can not be used, or is another plate's.
    """
    store = RawFileStore(files.folder / "raw")
    kept = record.raw_files(files.run_id)
    before = {
        (r.chip_id, r.time_h): r for r in record.readouts(files.run_id) if r.plate == plate_id
    }
    asked = map_on_record(store, kept, plate_id)
    if not before or asked is None:
        known = ", ".join(dict.fromkeys(r.plate for r in record.readouts(files.run_id) if r.plate))
        raise WrongUse(
            f"{files.run_id} has read no plate {plate_id}; it has read: {known or 'none'}"
        )
    wells = plate_from_dict(asked)
    kit = files.study.assays[asked["assay"]].kit
    if kit.method == "microscopy":
        raise WrongUse(
            f"{plate_id} is a set of images; plates are calculated again. An image is left out with "
            f"chiploop exclude {files.run_id} --image {plate_id}:CHIP/PLACE"
        )
    taken = []
    if export is None:
        plate = signal_on_record(store, kept, asked, kit)
    else:
        data = bytes_of(export)
        read_h = next(iter(before.values())).time_h
        content = read_export_bytes(data, export.name)
        plate = labelled_plate(content, name_in(content, asked), plate_id, read_h, kit)
        sha256 = store.put(data)
        kind = f"reader export of {plate_id}"
        taken.append(RawFile(files.run_id, sha256, export.name, kind, len(data), read_h))
    if layout is not None:
        windows_h = {one.window_h for one in wells if one.window_h is not None}
        wells = map_of(read_plate_layout(layout), files.study.chip_ids, sorted(windows_h))
        stood = {**asked, "wells": plate_to_dict(plate_id, asked["assay"], wells)["wells"]}
        data = json.dumps(stood, sort_keys=True).encode()
        sha256 = store.put(data)
        taken.append(
            RawFile(files.run_id, sha256, f"{plate_id}.json", PLATE_MAP, len(data), plate.time_h)
        )
    refuse_unknown_wells(said, plate_id, wells)
    left_out = wells_left_out((*record.well_exclusions(files.run_id), *said), plate_id)
    plate = replace(plate, left_out=left_out)
    # a plate that was read as it stands met its map then; without some of its wells less could be told of that
    is_new = export is not None or layout is not None
    problems = problems_of_plate(plate, wells, kit) if is_new else ()
    if problems:
        raise FileNotValid(f"plate {plate_id}: {'; '.join(problems)}. Nothing was changed")
    derivation, readouts = derived_from_plate(
        plate, wells, kit, int(asked["cycle"]), perfused_chip(files.study)
    )
    marked = tuple(_still_told(one, before.get((one.chip_id, one.time_h))) for one in readouts)
    return Revised(marked, derivation, plate.time_h, tuple(taken), left_out)


def revised_images(
    files: RunFiles, record: Record, set_id: str, said: Sequence[WellExclusion]
) -> Revised:
    """Return the readouts of a set of images, without those that people have left out.

    Raises
    ------
    WrongUse : a set that the run has not, an image that it has not.
    """
    rows = record.first_images(files.run_id, set_id)
    if not rows:
        sets = dict.fromkeys(
            one.plate for one in record.measurements(files.run_id) if one.role == "image"
        )
        raise WrongUse(
            f"{files.run_id} has no set of images {set_id}; it has: {', '.join(sets) or 'none'}"
        )
    places = [place_of(row) for row in rows]
    odd = [one.well for one in said if one.plate != set_id or one.well not in places]
    if odd:
        raise WrongUse(
            f"there is no image {', '.join(odd)} of {set_id}; its images are {', '.join(places)}"
        )
    before = {(r.chip_id, r.time_h): r for r in record.readouts(files.run_id) if r.plate == set_id}
    left_out = wells_left_out((*record.well_exclusions(files.run_id), *said), set_id)
    derivation, readouts = without_images(rows, left_out)
    marked = tuple(_still_told(one, before.get((one.chip_id, one.time_h))) for one in readouts)
    return Revised(marked, derivation, rows[-1].time_h, (), left_out)


def refuse_unknown_wells(said: Sequence[WellExclusion], plate_id: str, wells: PlateMap) -> None:
    """Raise WrongUse for a well in which nothing stood."""
    known = [one.well for one in wells]
    odd = [one.well for one in said if one.plate != plate_id or one.well not in known]
    if odd:
        raise WrongUse(
            f"nothing stood in {', '.join(odd)} of plate {plate_id}; its wells are {', '.join(known)}"
        )


def _still_told(readout: Readout, before: Readout | None) -> Readout:
    """Return a readout with what the bench said of its sample, which no calculation takes back."""
    told = before.reasons if before else ()
    held = [one for one in told if one.startswith(LINE_HELD)]
    spilt = [one for one in told if one.startswith(RECOVERY)]
    if not held and not spilt:
        return readout
    qc: Quality = "fail" if held or readout.qc == "fail" else "warn"
    return replace(readout, qc=qc, reasons=(*readout.reasons, *spilt, *held))
