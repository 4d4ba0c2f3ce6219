"""Which serial ports this computer has, who holds them, and what answers on them.

Belongs here: listing ports, asking a free one with the harmless queries of the makes (`Make.probe`),
a piece of lab.toml for what was found. Not here: whether to ask at all (a person decides), drivers.

A query of one make may reach a device of another, at its own baud rate too: so a port is asked only
where a person has named it and nobody holds it, each query goes out once (twice where a strange
answer came), and all of it takes at most `LONGEST_S`. A make without a probe is never asked for: no
query is known to leave it as it is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from serial.tools import list_ports

from instruments import port_identity
from instruments.errors import InstrumentError
from instruments.lab_settings import SECTION_OF, ImpedanceMeterEntry, PumpEntry
from instruments.make import Make
from instruments.port_identity import lock_name_now
from instruments.port_lock import HeldPort, held_port, is_locked, lock_directory
from instruments.transport import NotSent, PortSettings, SerialTransport
from instruments.wire_recorder import WireRecorder

BY_ID: Final = Path("/dev/serial/by-id")
ANSWER_S: Final = 0.6
"""How long a device may take to answer a query, as far as a scan is concerned."""
LONGEST_S: Final = 30.0
"""Most that one port may take."""
NO_PROBE: Final = (
    "no query is known to leave it as it is (any answer may acknowledge the alarm that proves a "
    "power cut)"
)
NO_PORT: Final = "it is on no serial port"


@dataclass(frozen=True)
class FoundPort:
    """One serial port of this computer, or one that a person named."""

    url: str
    """What lab.toml should say: what stays the same when the plug is moved, where there is that."""
    device: str
    """Its path now; the url where it is no local port."""
    by_id: str = ""
    """Linux's name for it that stays; empty elsewhere."""
    usb: str = ""
    """``usb://VID:PID:SERIAL``; empty for a port that is not on USB."""
    product: str = ""
    """What the adapter calls itself."""


@dataclass(frozen=True)
class Found:
    """A device that answered."""

    make: str
    says: str
    """What it calls itself."""
    settings: PortSettings


@dataclass(frozen=True)
class Asked:
    """What came of asking one port."""

    found: Found | None
    trouble: str = ""
    """Why the port could not be asked, or not to the end; empty where it was."""
    asked_for: tuple[str, ...] = ()
    """Makes whose query went out."""
    something: bool = False
    """Bytes came, but of no make that was asked for."""


def serial_ports() -> list[FoundPort]:
    """Return every serial port of this computer, USB ones first. Sends nothing."""
    names = _by_id()
    usb = {port.device: port for port in port_identity.usb_ports()}
    found = []
    for port in list_ports.comports():
        device = str(port.device)
        by_id = names.get(os.path.realpath(device), "")
        on_usb = usb.get(device)
        identity = str(on_usb.identity) if on_usb else ""
        stays = identity if on_usb and on_usb.identity.serial else by_id
        product = (
            on_usb.product if on_usb else str(port.description or "").replace("n/a", "").strip()
        )
        found.append(FoundPort(stays or device, device, by_id, identity, product))
    return sorted(found, key=lambda port: (not port.usb, port.device))


def named_port(url: str, ports: Iterable[FoundPort]) -> FoundPort:
    """Return the port that a person named, with all that is known of it."""
    for port in ports:
        if url in (port.url, port.device, port.by_id) or url.lower() == port.usb.lower():
            return port
    with suppress(InstrumentError):  # not there now: told when it is asked
        return FoundPort(url, port_identity.resolve(url))
    return FoundPort(url, url)


def is_on_a_port(make: Make) -> bool:
    """Return whether a make is spoken to over a serial port; some are read by a person, or by
    another library."""
    url = make.entry.model_fields.get("url")
    return url is None or url.is_required()


def holder(url: str, directory: Path | None = None) -> HeldPort | None:
    """Return which process holds a port now, by its lock file; None where nobody does. Sends
    nothing."""
    path = _lock_path(url, directory)
    held = held_port(path)
    return held if held is not None and is_locked(path) else None


def is_held(url: str, directory: Path | None = None) -> bool:
    """Return whether anybody holds a port, also where its lock file does not say who."""
    return is_locked(_lock_path(url, directory))


def told_holder(held: HeldPort) -> str:
    """Return who holds a port, for people."""
    run = str(held.about.get("run") or "")
    return f"process {held.pid}" + (f", run {Path(run).name}" if run else "")


def ask_port(
    url: str,
    makes: Mapping[str, Make],
    record: Path,
    *,
    lock_dir: Path | None = None,
    answer_s: float = ANSWER_S,
    longest_s: float = LONGEST_S,
) -> Asked:
    """Ask a port for each make that has a probe, slowest baud rate first, until one answers.

    A serial server behind ``socket://`` keeps its own baud rate, so there
    one connection serves all. Bytes are recorded in ``record``. Never raises for what a port does.
    """
    end_s = time.monotonic() + longest_s
    asked_for: list[str] = []
    heard = _Ear()
    try:
        recorder = WireRecorder(record)
    except OSError as trouble:
        return Asked(None, f"its record {record} can not be written ({trouble.strerror})")
    try:
        for settings, names in _by_settings(url, makes):
            with _opened(url, settings, recorder, lock_dir) as port:
                for name in names:
                    left_s = end_s - time.monotonic()
                    if left_s <= 0:
                        told = f"not asked to the end: it took longer than {longest_s:g} s"
                        return Asked(None, told, tuple(asked_for), heard.something)
                    asked_for.append(name)
                    says = _ask(port, makes[name], min(answer_s, left_s), heard)
                    if says is not None:
                        return Asked(Found(name, says, settings), "", tuple(asked_for), True)
    except InstrumentError as trouble:
        return Asked(None, str(trouble), tuple(asked_for), heard.something)
    finally:
        recorder.close()
    return Asked(None, "", tuple(asked_for), heard.something)


def lab_snippet(
    make: str,
    about: Make,
    url: str,
    *,
    name: str,
    values: Mapping[str, Any] | None = None,
    says: str = "",
) -> str:
    """Return a piece of lab.toml for one device; what nobody can know here stands as a comment.

    ``values`` are keys of its entry that are known; a key that it wants besides is named.
    """
    values = dict(values or {})
    section = SECTION_OF[about.kind]
    lines = [f"# {about.title}{': ' + says if says else ''}"]
    if issubclass(about.entry, PumpEntry):
        bus = f"{name}-bus"
        lines += [f"[buses.{bus}]", f"url = {_toml(url)}", "", f"[{section}.{name}]"]
        lines += [f"make = {_toml(make)}", f"bus = {_toml(bus)}"]
    else:
        lines += [f"[{section}.{name}]", f"make = {_toml(make)}", f"url = {_toml(url)}"]
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines += [f"{key} = {_toml(value)}" for key, value in values.items() if key not in tables]
    for key, known in about.entry.model_fields.items():
        if known.is_required() and key not in {"make", "bus", "url", *values}:
            lines.append(f"# {key} = ...   {_HINTS.get(key, 'fill this in')}")
    for key, table in tables.items():
        lines += ["", f"[{section}.{name}.{key}]"]
        lines += [f"{inner} = {_toml(value)}" for inner, value in table.items()]
    if issubclass(about.entry, ImpedanceMeterEntry) and "channels" not in tables:
        lines[-1] = f"# [{section}.{name}.channels]   fill in: chip = channel, from 0"
    return "\n".join(lines) + "\n"


_HINTS: Final = {
    "syringe_diameter_mm": "inner diameter of the barrel: a wrong one is a wrong dose",
    "syringe_volume_ml": "what a full syringe holds",
    "min_flow_rate_ul_h": "smallest steady flow, by the pump's manual for this syringe",
    "dialect": "which pump it is; see the make's page in docs/instruments",
    "tubing_id_mm": "inner diameter of the tubing: a wrong one is a wrong dose",
    "calibrated_on": "day of the last calibration with this tubing, e.g. 2026-01-31",
}


class _opened:
    """A port for the length of a block; its lock is given back at the end."""

    def __init__(
        self, url: str, settings: PortSettings, recorder: WireRecorder, lock_dir: Path | None
    ) -> None:
        about = {"scan": True}
        self._port = SerialTransport(
            url, settings=settings, recorder=recorder, lock_dir=lock_dir, about=about
        )

    def __enter__(self) -> SerialTransport:
        return self._port

    def __exit__(self, *_: object) -> None:
        self._port.close()


@dataclass
class _Ear:
    """Whether a device has said anything at all."""

    something: bool = False


def _ask(port: SerialTransport, make: Make, answer_s: float, heard: _Ear) -> str | None:
    """Return what the device says; None where it is silent or of another make.

    A strange answer is asked for once more: the first query may have ended a line that the query of
    another make had begun.
    """
    probe = make.probe
    assert probe is not None
    for _ in range(2):
        came = _Ear()

        def length(received: bytes, came: _Ear = came) -> int | None:
            came.something = heard.something = True
            return probe.answer_length(received)

        with port.owned():
            try:
                answer = port.exchange(
                    probe.query, length, deadline_s=answer_s, inter_byte_s=answer_s / 2
                )
                says = probe.recognise(answer)
            except NotSent:
                raise
            except (InstrumentError, ValueError, ArithmeticError, LookupError):
                says = None
            if says is None:
                port.drain(quiet_s=0.05, limit_s=answer_s)
        if says is not None or not came.something:
            return says
    return None


def _by_settings(url: str, makes: Mapping[str, Make]) -> list[tuple[PortSettings, list[str]]]:
    """Return how a port is to be opened and for which makes, slow before fast; those whose query is
    a line come before binary ones, which would be left standing at the begin of a line."""
    probed = [name for name, make in makes.items() if make.probe is not None]
    probed.sort(key=lambda name: not _is_line(makes[name]))
    if url.lower().startswith("socket://"):
        return [(makes[probed[0]].port, probed)] if probed else []
    groups: dict[PortSettings, list[str]] = {}
    for name in probed:
        groups.setdefault(makes[name].port, []).append(name)
    return sorted(groups.items(), key=lambda group: (group[0].baudrate, group[0].stopbits))


def _is_line(make: Make) -> bool:
    return make.probe is not None and make.probe.query.endswith((b"\r", b"\n"))


def _lock_path(url: str, directory: Path | None) -> Path:
    return (directory or lock_directory()) / f"{lock_name_now(url)}.lock"


def _by_id() -> dict[str, str]:
    """Return device path -> its name in Linux's by-id folder."""
    if not BY_ID.is_dir():
        return {}
    return {os.path.realpath(link): str(link) for link in sorted(BY_ID.iterdir())}


def _toml(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value)
