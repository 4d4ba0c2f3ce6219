"""``chiploop instruments list``: what can be driven, what a bench consists of, who holds its ports.

Belongs here: tables. Not here: asking a port (instruments_scan), or a device (instruments_check).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flows.cli import instruments_lab as shared
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from instruments.lab_settings import DeviceEntry, LabSettings
    from instruments.make import Make

KINDS = {
    "pump": "Pumps",
    "plate_reader": "Plate readers",
    "impedance_meter": "TEER and impedance meters",
    "valve": "Valves",
}
WIDTH = 100


def list_instruments(
    lab: Path | None = typer.Argument(
        None, metavar="[LAB]", help="lab.toml; without it, the makes that can be driven."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show the makes that can be driven or, with a lab.toml, its devices and who holds their ports.

    Opens no port and sends nothing. With --json: {"ok", "makes": [...]} or {"ok", "devices": [...]}.
    """
    if lab is None:
        _list_makes(as_json)
    else:
        _list_devices(lab, as_json)


def _list_makes(as_json: bool) -> None:
    from instruments.drivers import DRIVERS

    if as_json:
        print_json({"ok": True, "makes": [_make_as_json(n, m) for n, m in DRIVERS.items()]})
        return
    print("Makes for lab.toml. What is marked with - nobody has confirmed on a real device yet.")
    width = max(map(len, DRIVERS))
    for kind, title in KINDS.items():
        here = {name: make for name, make in DRIVERS.items() if make.kind == kind}
        if here:
            print(f"\n{title}")
        for name, make in here.items():
            print(
                f"  {paint(name, 'cyan')}{'':<{width - len(name)}}  {make.title}: {_port_told(make)}"
            )
            for unconfirmed in make.unconfirmed:
                print(textwrap.fill(unconfirmed, WIDTH, initial_indent="    - ", **_HANGING))
    print(
        "\nOpened no port. Next: chiploop instruments scan finds what is connected; "
        "chiploop instruments\nemulate MAKE serves a simulated one to practise with."
    )


_HANGING: dict[str, Any] = {"subsequent_indent": "      "}


def _port_told(make: Make) -> str:
    from instruments.scan import is_on_a_port

    if not is_on_a_port(make):
        return "no serial port"
    port = make.port
    flow = " RTS/CTS" if port.rtscts else ""
    told = f"{port.baudrate} baud {port.bytesize}{port.parity}{port.stopbits:g}{flow}"
    return told if make.probe is not None else f"{told}, not found by scan"


def _make_as_json(name: str, make: Make) -> dict[str, Any]:
    port = make.port
    return {
        "make": name,
        "title": make.title,
        "kind": make.kind,
        "baudrate": port.baudrate,
        "framing": f"{port.bytesize}{port.parity}{port.stopbits:g}",
        "rtscts": port.rtscts,
        "scanned_for": make.probe is not None,
        "unconfirmed": list(make.unconfirmed),
        "required_keys": [n for n, f in make.entry.model_fields.items() if f.is_required()],
    }


def _list_devices(lab: Path, as_json: bool) -> None:
    from instruments.drivers import DRIVERS, load_lab_settings

    settings = load_lab_settings(lab)
    devices = [
        _device(settings, section, name, entry) for section, name, entry in settings.devices()
    ]
    if as_json:
        print_json({"ok": True, "devices": devices})
        return
    rows = [
        (d["name"], DRIVERS[d["make"]].title, f"{d['port']}{d['place']}", d["holds"], _state(d))
        for d in devices
    ]
    _print_table(rows)
    held = sum(bool(d["held_by"]) for d in devices)
    print(
        f"\n{shared.counted(len(devices), 'device')} in {lab}, {held} held by a program. Opened no "
        f"port.\nDo they answer? chiploop instruments test {lab}"
    )


def _device(settings: LabSettings, section: str, name: str, entry: DeviceEntry) -> dict[str, Any]:
    from instruments.lab_settings import PortEntry, PumpEntry
    from instruments.scan import holder, is_held, told_holder

    url, place, holds = "", "", ""
    if isinstance(entry, PumpEntry):
        url, place = settings.buses[entry.bus].url, f", {entry.place()}"
        diameter_mm = entry.diameter_mm()
        holds = f"{entry.content_ul() / 1000:g} mL" + (
            f", {diameter_mm:g} mm" if diameter_mm else ""
        )
    elif isinstance(entry, PortEntry):
        url = entry.url
    held = holder(url, shared.LOCKS) if url else None
    by = told_holder(held) if held else ""
    if not by and url and is_held(url, shared.LOCKS):
        by = "a program that does not say who it is"
    return {
        "section": section,
        "name": name,
        "make": entry.make,
        "port": url or "no port",
        "place": place,
        "holds": holds,
        "held_by": by,
    }


def _state(device: dict[str, Any]) -> str:
    return paint(f"held by {device['held_by']}", "yellow") if device["held_by"] else "free"


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
