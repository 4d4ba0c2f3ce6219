"""The rounding of a laboratory's pumps without opening a port: what they would make of a rate and a volume.

Belongs here: drivers that are built from lab.toml and never reach their device. Not here: the rounding itself
(each driver), programmes (chiploop.dosing).

Whoever scores an edited dose is often another process than the one that holds the ports.
"""

from __future__ import annotations

from typing import Any, NoReturn

from chiploop.dosing import Quantise
from instruments.calibrated import CalibratedPump
from instruments.delivery import quantise_with
from instruments.drivers import DRIVERS
from instruments.lab_settings import LabSettings, PumpEntry
from instruments.port_turn import NotSent


class NoPort:
    """A port that is not there: whatever is to be sent is refused."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise NotSent."""
        raise NotSent(f"{self.name} is not open here: only its rounding is asked; nothing was sent")

    exchange = read_answer = send_now = drain = garbled = owned = reopen = refuse

    def close(self) -> None:
        """Do nothing; nothing is open."""


def rounding_of(settings: LabSettings) -> Quantise:
    """Return the rounding of every pump of a lab.toml, as the bench that has opened them rounds."""
    pumps: dict[str, Any] = {}
    for name, entry in settings.pumps.items():
        assert isinstance(entry, PumpEntry)
        pump = DRIVERS[entry.make].build(name, NoPort(entry.bus), entry, lambda _: None)
        pumps[name] = CalibratedPump(pump, entry.calibration) if entry.calibration != 1.0 else pump
    return quantise_with(pumps)
