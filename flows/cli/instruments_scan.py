"""``chiploop instruments scan``: which ports there are, and what answers on those that may be asked.

Belongs here: which ports may be asked, the question to the person, tables. Not here: asking a port
(instruments.scan).
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli import instruments_lab as shared
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from instruments.scan import Asked, FoundPort

RECORD = "scan.jsonl"


def scan(
    port: list[str] = typer.Option([], "--port", help="Only this port; may be given again."),
    tcp: list[str] = typer.Option(
        [], "--tcp", metavar="HOST:PORT", help="A serial server on the network, too."
    ),
    yes: bool = typer.Option(False, "--yes", help="Ask the ports; do not ask me first."),
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """List the serial ports and, after a person agreed, ask the free ones what is on them.

    Asks only with queries that change nothing, and no port that is held or belongs to a run whose
    dose is open. Moves nothing. Without --yes and without a terminal it only lists. With --json:
    {"ok", "asked", "ports": [...], "not_asked_for": {make: reason}, "lab_toml"}.
    """
    from instruments.drivers import DRIVERS
    from instruments.scan import (
        NO_PORT,
        NO_PROBE,
        ask_port,
        is_on_a_port,
        named_port,
        serial_ports,
    )

    there = serial_ports()
    named = [*port, *(_socket(text) for text in tcp)]
    ports = [named_port(url, there) for url in dict.fromkeys(named)] if named else there
    why_not = {p.url: why for p in ports if (why := _why_not(p, runs))}
    free = [p for p in ports if p.url not in why_not]
    silent = {
        name: NO_PROBE if is_on_a_port(make) else NO_PORT
        for name, make in DRIVERS.items()
        if make.probe is None
    }
    if not as_json:
        _show_ports(ports, why_not)
    ask = bool(free) and (yes or (not as_json and _agreed(free)))
    asked: dict[str, Asked] = {}
    for one in free if ask else []:
        if not as_json and sys.stderr.isatty():
            print(f"asking {one.url} ...", file=sys.stderr)
        record = shared.wire_folder(runs) / RECORD
        asked[one.url] = ask_port(one.url, DRIVERS, record, lock_dir=shared.LOCKS)
    snippet = _snippet(asked)
    if as_json:
        shown = [_port_as_json(p, asked.get(p.url), why_not.get(p.url, "")) for p in ports]
        print_json(
            {
                "ok": True,
                "asked": ask,
                "ports": shown,
                "not_asked_for": silent,
                "lab_toml": snippet,
            }
        )
    else:
        _show_answers(asked, silent, snippet, bool(free))


def _socket(text: str) -> str:
    host, colon, number = text.removeprefix("socket://").rpartition(":")
    if not colon or not host or not number.isdigit():
        raise WrongUse(f"--tcp takes HOST:PORT, such as 192.0.2.10:4001; read {text!r}")
    return f"socket://{host}:{number}"


def _why_not(port: FoundPort, runs: Path) -> str:
    """Return why a port must not be asked; empty where it may be."""
    from instruments.port_identity import lock_name_now
    from instruments.scan import holder, is_held, told_holder

    held = holder(port.url, shared.LOCKS)
    if held is not None:
        return f"held by {told_holder(held)}"
    if is_held(port.url, shared.LOCKS):
        return "held by another program"
    run = _ports_of_open_doses(runs).get(lock_name_now(port.url))
    return f"a dose of run {run} is open on it; first: chiploop resume {run}" if run else ""


def _ports_of_open_doses(runs: Path) -> dict[str, str]:
    """Return the lock of each port behind which a dose is open -> its run."""
    from chiploop.errors import FileNotValid
    from instruments.drivers import load_lab_settings
    from instruments.port_identity import lock_name_now

    found = {}
    for run in {dose.run for dose in shared.open_doses(runs).values()}:
        try:
            settings = load_lab_settings(runs / run / "lab.toml")
        except FileNotValid as problem:
            raise WrongUse(
                f"a dose of run {run} is open, and which ports it uses can not be read ({problem}). "
                f"Nothing was asked; first: chiploop resume {run}"
            ) from problem
        found.update({lock_name_now(bus.url): run for bus in settings.buses.values()})
    return found


def _show_ports(ports: list[FoundPort], why_not: dict[str, str]) -> None:
    if not ports:
        print(
            "No serial port on this computer. Plug the adapter in, or name a serial server: --tcp"
        )
        return
    print("Ports:")
    for port in ports:
        print(f"  {paint(port.url, 'cyan')}")
        about = [port.product, f"now {port.device}" if port.device != port.url else ""]
        about += [
            port.by_id if port.by_id != port.url else "",
            port.usb if port.usb != port.url else "",
        ]
        for line in filter(None, about):
            print(f"      {line}")
        if why_not.get(port.url):
            print(f"      {paint('not asked', 'yellow')}: {why_not[port.url]}")


def _agreed(free: list[FoundPort]) -> bool:
    """Return whether a person wants these ports asked; no where there is no terminal."""
    if not sys.stdin.isatty():
        return False
    listed = "\n".join(f"  {port.url}" for port in free)
    print(
        f"\nAsking sends queries that change nothing to\n{listed}\n"
        "Leave out (--port names the others) whatever is no instrument, and every pump that may "
        "have lost its\npower during a dose: any byte may acknowledge the alarm that proves it.",
        file=sys.stderr,
    )
    return typer.confirm("Ask them?", default=False, err=True)


def _show_answers(
    asked: dict[str, Asked], silent: dict[str, str], snippet: str, any_free: bool
) -> None:
    from instruments.scan import NO_PROBE

    if not asked:
        if any_free:
            print("\nNothing was asked. Say yes in a terminal, or add --yes.")
        return
    print("\nAnswers:")
    for url, answer in asked.items():
        if answer.found is not None:
            told = paint(f"{answer.found.make}: {answer.found.says}", "green")
        elif answer.trouble:
            told = answer.trouble
        elif answer.something:
            told = "something answers, but not as any make that may be asked for"
        else:
            told = "silent"
        print(f"  {url}  {told}")
    for make in (make for make, why in silent.items() if why == NO_PROBE):
        print(f"  {make} was not asked for: {NO_PROBE}")
    print("Nothing was moved or set. Only the usual addresses and baud rates were tried.")
    if snippet:
        print(f"\nFor lab.toml:\n\n{textwrap.indent(snippet, '  ')}")


def _snippet(asked: dict[str, Asked]) -> str:
    from instruments.drivers import DRIVERS
    from instruments.scan import lab_snippet

    pieces = []
    for number, (url, answer) in enumerate(asked.items(), start=1):
        if answer.found is not None:
            make = answer.found.make
            name = f"{DRIVERS[make].kind}-{number}".replace("_", "-")
            pieces.append(lab_snippet(make, DRIVERS[make], url, name=name, says=answer.found.says))
    return "\n".join(pieces)


def _port_as_json(port: FoundPort, answer: Asked | None, why_not: str) -> dict[str, Any]:
    found = answer.found if answer else None
    return {
        "url": port.url,
        "device": port.device,
        "by_id": port.by_id,
        "usb": port.usb,
        "product": port.product,
        "asked": answer is not None,
        "why_not": why_not or (answer.trouble if answer else ""),
        "something": bool(answer and answer.something),
        "found": {"make": found.make, "says": found.says} if found else None,
    }
