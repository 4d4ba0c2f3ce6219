"""PalmSens EmStat4 (HR) as a state machine: impedance by MethodSCRIPT, at 921600 baud.

Belongs here: in what an EmStat4 differs from an EmStat Pico. Not here: commands and scripts
(emstat_pico), their grammar (methodscript), the impedance of a chip (a callback says it), ports.

Sources: PalmSens' published scripts (``set_autoranging ba 1p 1``, mode 3 for impedance, channels of
a multiplexer on the GPIO pins) and what public drivers report of the EmStat4 protocol 1.3 and the
MethodSCRIPT manual 1.8: version text, error numbers, technique 000D, deafness of 50 ms after a
refusal, ``Z`` and the end of a script carry out ``on_finished:``, an error at run does not and names
its line only. UNCONFIRMED: everything that the Pico's emulator says is unconfirmed besides those;
that an error at run is followed by an empty line, the lowest frequency, what current a script's
range still measures, answers to ``v`` and ``i``.
"""

from __future__ import annotations

from dataclasses import dataclass

from instruments.emulators.emstat_pico import Clock, EmStatPico, EmStatPicoSettings, Impedance
from instruments.emulators.methodscript import ErrorCodes

CODES = ErrorCodes(
    unknown_request="0003",
    busy="0006",
    unknown_command="4001",
    bad_argument="4205",
    wrong_count="420A",
    unknown_variable="420B",
    out_of_place="400C",
    bad_mode="0021",
    wrong_mode="0023",
    cell_off="4027",
    bad_frequency="0011",
    bad_amplitude="0012",
)


@dataclass(frozen=True)
class EmStat4Settings(EmStatPicoSettings):
    """What is fixed about one emulated meter."""

    firmware: str = "tes4_hr1100#Jan 28 2022 11:04:43\nR*\n"
    script_version: str = "v0107\n"
    frequency_range_hz: tuple[float, float] = (0.01, 200_000.0)
    highest_amplitude_v: float = 0.9
    overload_a: float = 0.2
    obeys_ranges: bool = True
    eis_modes: frozenset[int] = frozenset({3})
    metadata: tuple[str, ...] = ("20F", "40")
    codes: ErrorCodes = CODES
    names_column_at_run: bool = False
    finishes_after_error: bool = False
    deaf_after_error_s: float = 0.05


class EmStat4(EmStatPico):
    """EmStat4; ``receive`` takes bytes, lines end with LF."""

    def __init__(
        self, impedance: Impedance, wall_s: Clock, settings: EmStat4Settings | None = None
    ) -> None:
        super().__init__(impedance, wall_s, settings or EmStat4Settings())
