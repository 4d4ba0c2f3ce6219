"""PalmSens EmStat4 (LR and HR): settings and make. What it does is in `emstat`, its bytes in
`methodscript`.

Belongs here: what is the EmStat4's own. PalmSens' examples name it beside the Pico for the same
scripts (MSExample018, MSLoopExample012: channel 0, mode 3); it runs at 921600 baud and calls itself
``es4_lr`` or ``es4_hr``. A MultiEmStat4 (``mes4``) and a bootloader are refused. Not tried on the
real device. Unconfirmed, and therefore options of lab.toml: ``multiplexer``, ``zim_sign``,
``autoranging``.
"""

from __future__ import annotations

from typing import Final, Literal

from instruments.impedance_meters.emstat import (
    EmStat,
    EmStatEntry,
    EmStatModel,
    build_emstat,
    recognise_emstat,
)
from instruments.impedance_meters.methodscript import version_length
from instruments.make import Make, Probe, Wait
from instruments.transport import PortSettings, Transport

EMSTAT4: Final = EmStatModel("EmStat4", ("es4_lr", "es4_hr"))


class EmStat4Entry(EmStatEntry):
    """Settings of one EmStat4 in lab.toml."""

    multiplexer: Literal["gpio", "mux8r2", "none"] = "gpio"
    autoranging: Literal["1u", "1p"] = "1p"


def _build(name: str, port: Transport, entry: EmStat4Entry, wait_s: Wait) -> EmStat:
    return build_emstat(name, port, EMSTAT4, entry)


MAKE: Final = Make(
    title="PalmSens EmStat4",
    kind="impedance_meter",
    entry=EmStat4Entry,
    build=_build,
    port=PortSettings(921_600),
    unconfirmed=(
        "multiplexer: how a chip is chosen; check it with known resistors",
        "zim_sign: the sign of the imaginary part; check it with a known capacitor",
        "autoranging: which limits of the current range this firmware takes",
        "the potential range is left as the meter has it after power-up",
    ),
    probe=Probe(b"t\n", version_length, lambda answer: recognise_emstat(answer, EMSTAT4)),
)
