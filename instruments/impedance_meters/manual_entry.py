"""A meter that no cable reaches (EVOM, Millicell and others): a person reads it and enters the
number.

Belongs here: taking the entered number for a chip at a time, or asking for it. Not here: the file
of entries (teer_entries), the command that takes one (flows.cli.enter_teer).

No serial protocol of these meters is published, so none is spoken. A resistance becomes a spectrum
of one frequency: the meter tells no phase, so the point stands on the real axis. EVOM meters send a
square wave of 12.5 Hz, says their maker; for any other meter lab.toml must say the frequency.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import Field, model_validator

from chiploop.errors import WaitingForPerson
from chiploop.measurement import ImpedanceSpectrum
from instruments.errors import InstrumentError
from instruments.impedance_meters.teer_entries import TeerEntry, read_entries, standing
from instruments.lab_settings import ImpedanceMeterEntry, LabSettings
from instruments.make import Make, Wait
from instruments.transport import PortSettings, Transport

FREQUENCY_HZ: Final[dict[str, float]] = {"evom": 12.5}
"""Meter -> frequency as its maker states it."""
REPEATS_WITHIN_H: Final = 0.25
"""Readings of a chip this close to its newest one are repeats of it."""


class ManualTeerEntry(ImpedanceMeterEntry):
    """Settings of one meter that a person reads; it has no ``url``."""

    url: Literal[""] = ""
    baudrate: None = None
    instrument: Literal["evom", "other"]
    frequency_hz: float | None = Field(None, gt=0, le=1e6, allow_inf_nan=False)
    """Of the meter's current; only for a meter whose frequency is not known here."""
    entries: str = Field("teer_entries.csv", min_length=1)
    """File of the entered readings; a name that is not absolute is in the run's folder."""
    reading_age_h: float = Field(2.0, gt=0, le=6)
    """How old a reading may be and still count for now; planned readings lie further apart."""
    lowest_ohm: float = Field(1.0, gt=0)
    highest_ohm: float = Field(1e6, gt=0, allow_inf_nan=False)
    """A resistance outside these is refused when it is entered."""

    @model_validator(mode="after")
    def _frequency_and_range(self) -> ManualTeerEntry:
        if self.frequency_hz is None and self.instrument not in FREQUENCY_HZ:
            raise ValueError(
                "frequency_hz is missing: the manual of the meter says it; a value without its "
                "frequency can not be judged"
            )
        if not self.lowest_ohm < self.highest_ohm:
            raise ValueError("lowest_ohm must be below highest_ohm")
        return self

    def used_frequency_hz(self) -> float:
        """Return the frequency at which the meter measures."""
        return FREQUENCY_HZ[self.instrument] if self.frequency_hz is None else self.frequency_hz


class ManualMeter:
    """Meter that a person reads: gives what was entered for a chip, or asks for it."""

    def __init__(
        self,
        name: str,
        entries: Path,
        *,
        channels: Mapping[str, int],
        frequency_hz: float,
        reading_age_h: float = 2.0,
    ) -> None:
        self.name = name
        self._path = entries
        self._channels = dict(channels)
        self._frequency_hz = frequency_hz
        self._age_h = reading_age_h

    def open(self) -> None:
        """Look whether the entries can be read; asks nobody."""
        if not self._path.is_absolute():
            raise InstrumentError(
                f"{self.name}: entries {self._path} stand in the folder of a run, and this is none"
            )
        if not self._path.parent.is_dir():
            raise InstrumentError(f"{self.name}: there is no folder {self._path.parent}")
        read_entries(self._path)

    def close(self) -> None:
        """Do nothing: there is nobody to take leave of."""

    def stop(self) -> None:
        """Do nothing: no current flows on our word."""

    def measure_spectrum(self, chip_id: str, time_h: float) -> ImpedanceSpectrum:
        """Return the newest reading of a chip, and its repeats, as points at one frequency.

        ``time_h`` of the spectrum is when the person read the meter.

        Raises
        ------
        ValueError : a chip that the meter does not serve.
        WaitingForPerson : no reading of the last ``reading_age_h``; names every command to type.
        """
        if chip_id not in self._channels:
            raise ValueError(
                f"chip {chip_id} is not among the channels of {self.name}; known: "
                f"{', '.join(self._channels)}"
            )
        entries = standing(read_entries(self._path))
        recent = [e for e in entries if not e.blank and self._is_recent(e, time_h)]
        mine = [entry for entry in recent if entry.chip == chip_id]
        if not mine:
            there = {entry.chip for entry in recent}
            raise self._asking([chip for chip in self._channels if chip not in there], time_h)
        newest_h = max(entry.time_h for entry in mine)
        return self._spectrum([e for e in mine if e.time_h >= newest_h - REPEATS_WITHIN_H])

    def cell_free_spectra(self) -> tuple[ImpedanceSpectrum, ...]:
        """Return one spectrum per cell-free chip that was entered (``--blank``); newest readings."""
        blanks = [entry for entry in standing(read_entries(self._path)) if entry.blank]
        newest_h = {e.chip: e.time_h for e in sorted(blanks, key=lambda e: e.time_h)}
        return tuple(
            self._spectrum(
                [e for e in blanks if e.chip == chip and e.time_h >= last_h - REPEATS_WITHIN_H]
            )
            for chip, last_h in newest_h.items()
        )

    def _is_recent(self, entry: TeerEntry, time_h: float) -> bool:
        return time_h - self._age_h <= entry.time_h <= time_h + REPEATS_WITHIN_H

    def _spectrum(self, entries: list[TeerEntry]) -> ImpedanceSpectrum:
        entries = sorted(entries, key=lambda e: (e.time_h, e.entry))
        resistance_ohm = np.array([entry.resistance_ohm for entry in entries])
        return ImpedanceSpectrum(
            entries[-1].chip,
            entries[-1].time_h,
            np.full(len(entries), self._frequency_hz),
            resistance_ohm + 0j,
            (0,) * len(entries),
        )

    def _asking(self, chips: list[str], time_h: float) -> WaitingForPerson:
        run = shlex.quote(str(self._path.parent))
        commands = "\n".join(
            f'  chiploop instruments enter-teer {run} --chip {chip} --resistance "... ohm"'
            for chip in chips
        )
        return WaitingForPerson(
            f"{self.name}: at {time_h:.2f} h no resistance of {', '.join(chips)} from the last "
            f"{self._age_h:g} h is entered. The chips are perfused as before. Measure them, type\n"
            f"{commands}\nand start again with: chiploop resume {run}"
        )


def in_run_folder(settings: LabSettings, folder: Path) -> LabSettings:
    """Return the settings with every file of entries by its whole path: in the folder of a run,
    where lab.toml does not name another place."""
    meters = {
        name: entry.model_copy(update={"entries": str(entries_path(entry, folder))})
        if isinstance(entry, ManualTeerEntry)
        else entry
        for name, entry in settings.impedance_meters.items()
    }
    return settings.model_copy(update={"impedance_meters": meters})


def entries_path(entry: ManualTeerEntry, folder: Path) -> Path:
    """Return where the entries of a run are."""
    return folder.resolve() / entry.entries


def _build(name: str, port: Transport | None, entry: ManualTeerEntry, wait_s: Wait) -> ManualMeter:
    """``port`` and ``wait_s`` are left alone: there is no cable."""
    return ManualMeter(
        name,
        Path(entry.entries),
        channels=entry.channels,
        frequency_hz=entry.used_frequency_hz(),
        reading_age_h=entry.reading_age_h,
    )


MAKE: Final = Make(
    title="Meter read by a person (EVOM and others)",
    kind="impedance_meter",
    entry=ManualTeerEntry,
    build=_build,
    port=PortSettings(9600),
    unconfirmed=(
        "one frequency: electrode and medium resistance are not separated from the barrier's",
        "the resistance is taken for the magnitude of the impedance at the meter's frequency",
    ),
)
