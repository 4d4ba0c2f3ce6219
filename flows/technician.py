"""The hands that no pump has: collecting effluent and pipetting a plate.

Belongs here: asking for a plate to be laid out and put into the reader. Not here: which wells (assays).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Protocol

from chiploop.file_kinds import FILE_KINDS
from instruments.emulators.control import ControlChannel


class Technician(Protocol):
    """Whoever pipettes."""

    def load_plate(self, plate: dict[str, Any]) -> None:
        """Return once the plate (``plate_map.plate_to_dict``) stands in the reader."""

    def send_plate(self, plate: dict[str, Any], kind: str, folder: Path) -> None:
        """Have a plate read elsewhere; its file of this kind shall arrive in the folder.

        Asked again for the same plate (by its label) it is not laid out again.
        """


class VirtualTechnician:
    """Pipettes in the virtual lab."""

    def __init__(self, control: ControlChannel) -> None:
        self.control = control

    def load_plate(self, plate: dict[str, Any]) -> None:
        """Lay the plate out as asked and put it into the virtual reader."""
        self.control.call("load_plate", plate=plate)

    def send_plate(self, plate: dict[str, Any], kind: str, folder: Path) -> None:
        """Lay the plate out as asked; the virtual reader elsewhere writes its file after some hours."""
        self.control.call("send_plate", plate=plate, kind=kind, folder=str(folder))


class PersonAtTheBench:
    """A person who has said with ``chiploop done`` that the plate stands in the reader (``flows.hands``)."""

    def load_plate(self, plate: dict[str, Any]) -> None:
        """Return at once: nothing is read before a person has said so."""

    def send_plate(self, plate: dict[str, Any], kind: str, folder: Path) -> None:
        """Tell what is to be read and where its file is expected; wait for nobody."""
        if "names" in plate:
            print(told_images(plate, FILE_KINDS[kind].title, folder), file=sys.stderr)
            return
        print(
            f"Please prepare {told_plate(plate)}, and read it at "
            f"{' and '.join(map(str, plate['wavelengths_nm']))} nm. Name the plate {plate['label']} in the "
            f"reader's program, and export it as {FILE_KINDS[kind].title} into {folder}.",
            file=sys.stderr,
        )


def told_plate(plate: dict[str, Any]) -> str:
    """Return what a plate is laid out of, in words."""
    samples = sorted({well["chip"] for well in plate["wells"] if well["kind"] == "sample"})
    windows = sorted({tuple(w["window_h"]) for w in plate["wells"] if w["kind"] == "sample"})
    return (
        f"plate {plate['plate_id']}: effluent of {', '.join(samples)} collected "
        + " and ".join(f"from {a:g} to {b:g} h" for a, b in windows)
        + f", laid out as plates/{plate['plate_id']}.json says"
    )


def told_images(images: dict[str, Any], title: str, folder: Path) -> str:
    """Return what is to be imaged and what the files are called, in words."""
    chips = list(dict.fromkeys(well["chip"] for well in images["wells"]))
    places = len(images["wells"]) // len(chips)
    return (
        f"Please image {places} places of each of {', '.join(chips)} with the channels "
        f"{' and '.join(images['channels'])}, one plane each, and export every image as {title} into {folder}. "
        f"Name them {images['label']}, chip and place: {', '.join(images['names'])}."
    )
