"""What a device of each kind can do; small, structural, units in names. One contract per kind.

Belongs here: contracts and the values they pass. Not here: bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from chiploop.measurement import AbsorbancePlate, ImpedanceSpectrum

KEPT_ALARMS: Final = frozenset({"stall", "overload", "program", "phase"})
"""Alarms that a pump tells until a person has looked: what flowed may not be what was asked."""


@dataclass(frozen=True)
class PumpSettings:
    """Flow rate and target volume as the pump will really carry them out, at its own resolution."""

    flow_rate_ul_h: float
    volume_ul: float


@dataclass(frozen=True)
class PumpStatus:
    """What the pump says of itself."""

    state: Literal["idle", "infusing", "withdrawing", "paused", "alarm"]
    infused_ul: float
    """The pump's own counter since it was last cleared or switched on."""
    resolution_ul: float
    """Smallest step of the counter as reported."""
    restarts: int | None
    """How often the pump has shown since the port was opened that its power was interrupted.

    None where this make can not prove that it kept its power: a start whose answer was lost is
    then never sent again, however still the counter stands.
    """
    alarm: str = ""


class Pump(Protocol):
    """A pump that infuses a volume at a rate and stops by itself at the pump-side target."""

    name: str

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return what the pump would really do; ValueError where it can not. Sends nothing."""

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set rate and target volume, read both back; moves no liquid. Only while idle.

        DeviceAlarm while one of `KEPT_ALARMS` is not acknowledged.
        """

    def start(self) -> None:
        """Start the prepared infusion. Sent once, ever; OutcomeUnknown where the answer is lost.

        ValueError without prepare; NotSent where a stop came since prepare began.
        """

    def status(self) -> PumpStatus:
        """Return state and counter; safe to repeat."""

    def clear_counter(self) -> None:
        """Set the infused counter to zero; only while idle, and only when nothing open depends on it."""

    def stop(self) -> None:
        """Stop now; safe at any time and safe to repeat. An alarm of `KEPT_ALARMS` stays told."""

    def acknowledge(self) -> None:
        """End a kept alarm, once a person has settled what it left open; moves nothing."""


class PlateReader(Protocol):
    """A reader that gives the absorbance of the plate in its drawer."""

    name: str

    def read_absorbance(
        self, plate_id: str, wavelengths_nm: tuple[int, ...], time_h: float
    ) -> AbsorbancePlate:
        """Read a 96-well plate, end point, at each wavelength."""

    def stop(self) -> None:
        """Give up a running read; the plate stays in the drawer."""


class ImpedanceMeter(Protocol):
    """A meter that sweeps the impedance of one chip."""

    name: str

    def measure_spectrum(self, chip_id: str, time_h: float) -> ImpedanceSpectrum:
        """Sweep one chip; ValueError for a chip that has no channel in lab.toml."""

    def stop(self) -> None:
        """Abort a running sweep and switch the cell off."""


@runtime_checkable
class EntersBlanks(Protocol):
    """A meter with which cell-free chips were measured, too."""

    def cell_free_spectra(self) -> tuple[ImpedanceSpectrum, ...]:
        """Return one spectrum per cell-free chip; empty where none was measured."""


class Valve(Protocol):
    """A valve that connects its common port with one of several others."""

    name: str
    positions: int
    """Positions count from 1."""

    def position(self) -> int:
        """Return where the valve stands, as it says itself."""

    def go_to(self, position: int) -> None:
        """Turn to a position and return once the valve has confirmed that it stands there."""


@runtime_checkable
class Watched(Protocol):
    """A pump that stops by itself when nobody speaks to it."""

    watchdog_s: int
    """Real seconds of silence that it bears; 0 where the watchdog is off."""

    def heartbeat(self) -> None:
        """Speak to it; changes nothing."""
