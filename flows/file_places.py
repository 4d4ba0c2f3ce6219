"""Where the files of a study are expected, in words, before anything runs.

Belongs here: notes for check and plan. Not here: waiting for files (awaited_files).
"""

from __future__ import annotations

from pathlib import Path

from chiploop.file_kinds import FILE_KINDS
from chiploop.study import Assay, Study
from flows.opening import ARRIVING_FOLDER
from instruments.drivers import load_lab_settings
from instruments.lab_settings import LabSettingsNotValid


def expected_files(study: Study) -> tuple[str, ...]:
    """Return for each assay that comes as a file what is awaited, where, and for how long."""
    return tuple(
        f"{readout}: {_what(one)} in {_place(study, one.export)}, {_called(one)} by the label that the run tells, "
        f"within {one.awaited_h:g} h of the exposure's end; then a person is asked"
        for readout, one in study.assays.items()
        if one.export is not None
    )


def _what(assay: Assay) -> str:
    assert assay.export is not None
    if assay.kit.method != "microscopy":
        return FILE_KINDS[assay.export].one
    places = "place" if assay.replicates == 1 else "places"
    return f"{FILE_KINDS[assay.export].one} of each of {assay.replicates} {places} of every chip"


def _called(assay: Assay) -> str:
    return "each named" if assay.kit.method == "microscopy" else "its plate named"


def _place(study: Study, kind: str) -> str:
    if study.instruments == "virtual":
        return f"{ARRIVING_FOLDER}/ of the run's folder (the virtual lab writes it)"
    named = f"the folder file_folders.{kind} of {study.instruments}"
    path = Path(study.instruments)
    try:
        folder = load_lab_settings(path).file_folders.get(kind) if path.is_file() else None
    except LabSettingsNotValid:
        return f"{named}, which can not be used as it is"
    if folder is None:
        return f"{named}, WHICH IS NOT NAMED THERE" if path.is_file() else named
    there = "" if Path(folder.path).is_dir() else ", WHICH IS NO FOLDER NOW"
    return f"{folder.path}{there}"
