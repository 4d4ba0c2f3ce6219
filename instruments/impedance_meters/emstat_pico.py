"""PalmSens EmStat Pico: settings and make. What it does is in `emstat`, its bytes in `methodscript`.

Belongs here: what is the Pico's own. Not tried on the real device. Unconfirmed, and therefore
options of lab.toml: how the multiplexer is switched (``multiplexer``), the sign of the imaginary
part (``zim_sign``), and which limits of the current range a firmware takes (``autoranging``).
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

EMSTAT_PICO: Final = EmStatModel("EmStat Pico", ("espico",))


class EmStatPicoEntry(EmStatEntry):
    """Settings of one EmStat Pico in lab.toml."""

    multiplexer: Literal["gpio", "mux16", "pico_mux16", "none"] = "gpio"
    autoranging: Literal["1u", "1p"] = "1u"


def _build(name: str, port: Transport, entry: EmStatPicoEntry, wait_s: Wait) -> EmStat:
    return build_emstat(name, port, EMSTAT_PICO, entry)


MAKE: Final = Make(
    title="PalmSens EmStat Pico",
    kind="impedance_meter",
    entry=EmStatPicoEntry,
    build=_build,
    port=PortSettings(230_400),
    unconfirmed=(
        "multiplexer: how the pins choose a chip; check it with known resistors",
        "zim_sign: the sign of the imaginary part; check it with a known capacitor",
        "autoranging: which limits of the current range this firmware takes",
    ),
    probe=Probe(b"t\n", version_length, lambda answer: recognise_emstat(answer, EMSTAT_PICO)),
)
