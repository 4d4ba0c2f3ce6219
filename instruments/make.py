"""What a make of instrument is: its settings, its port, its driver, what of it is unconfirmed.

Belongs here: the values that one line in ``DRIVERS`` consists of. Not here: any one make, opening ports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from instruments.transport import AnswerLength, PortSettings, Transport

Kind = Literal["pump", "plate_reader", "impedance_meter", "valve"]
Wait = Callable[[float], None]
"""Lets seconds of study time pass; for the waits of a reader, never for deadlines on the wire."""
Build = Callable[[str, Transport, Any, Wait], Any]
"""(name, port, its entry in lab.toml, wait) -> driver; sends nothing."""
CheckBus = Callable[[Mapping[str, Any]], list[tuple[str, str]]]
"""Name -> entry of the pumps of one bus -> (name, what is wrong with it beside the others)."""


@dataclass(frozen=True)
class Probe:
    """How ``scan`` asks whether a device of this make is there, with a query that changes nothing."""

    query: bytes
    """Sent as it is, once."""
    answer_length: AnswerLength
    recognise: Callable[[bytes], str | None]
    """Complete answer -> what the device calls itself; None where it is not of this make."""


@dataclass(frozen=True)
class PowerProof:
    """What a make of pump has in place of a boot id: how anybody sees that its power was cut."""

    sign: str
    """What a power cut leaves that the driver looks for, in words."""
    tells: Literal["always", "as set", "never"]
    """Whether ``PumpStatus.restarts`` counts: ``as set``: where lab.toml or the device itself says that the sign
    can be relied upon."""
    when: str = ""
    """Of ``as set``: what that hangs on."""


@dataclass(frozen=True)
class Make:
    """One make of instrument, as chiploop drives it."""

    title: str
    """What people call it, e.g. ``New Era NE-1000 family``."""
    kind: Kind
    entry: type[BaseModel]
    """Settings of one such device in lab.toml."""
    build: Build
    port: PortSettings
    """How its port is opened where lab.toml says nothing else."""
    unconfirmed: tuple[str, ...] = ()
    """What no document or recording settles; told as a warning when a device is opened."""
    probe: Probe | None = None
    """None where no query is known to be harmless."""
    power_proof: PowerProof | None = None
    """Of a pump: what its counter's meaning after a lost power rests on; None for all other kinds."""
    check_bus: CheckBus | None = None
    """Says which pumps can not share a bus; None where any that have places of their own can."""
