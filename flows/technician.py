"""The hands that no pump has: collecting effluent and pipetting a plate.

Belongs here: asking for a plate to be laid out and put into the reader. Not here: which wells (assays).
"""

from __future__ import annotations

from typing import Any, Protocol

from instruments.emulators.control import ControlChannel


class Technician(Protocol):
    """Whoever pipettes."""

    def load_plate(self, plate: dict[str, Any]) -> None:
        """Return once the plate (``plate_map.plate_to_dict``) stands in the reader."""


class VirtualTechnician:
    """Pipettes in the virtual lab."""

    def __init__(self, control: ControlChannel) -> None:
        self.control = control

    def load_plate(self, plate: dict[str, Any]) -> None:
        """Lay the plate out as asked and put it into the virtual reader."""
        self.control.call("load_plate", plate=plate)


class PersonAtTheBench:
    """A person who has said with ``chiploop done`` that the plate stands in the reader (``flows.hands``)."""

    def load_plate(self, plate: dict[str, Any]) -> None:
        """Return at once: nothing is read before a person has said so."""
