"""``chiploop instruments emulate``: one simulated device on a port, to practise and to test with.

Belongs here: options, the banner, serving until it ends. Not here: what the device does
(instruments.emulators), a whole virtual laboratory (``chiploop simulate``).
"""

from __future__ import annotations

import json
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import paint

if TYPE_CHECKING:
    from instruments.emulators.faults import Fault


@runtime_checkable
class _Ledger(Protocol):
    """A pump's judge: what really left it."""

    @property
    def delivered_ul(self) -> float: ...

    @property
    def starts(self) -> int: ...


def emulate(
    make: str = typer.Argument(
        metavar="MAKE", help="As in lab.toml; see chiploop instruments list."
    ),
    pty: bool = typer.Option(
        False, "--pty", help="On a serial port of this computer (not Windows)."
    ),
    tcp: bool = typer.Option(False, "--tcp", help="On TCP, as a serial server would."),
    tcp_port: int = typer.Option(
        0, "--tcp-port", min=0, max=65535, help="TCP port; 0 takes a free one."
    ),
    faults: str | None = typer.Option(
        None,
        "--faults",
        metavar="PLAN",
        help='What goes wrong on the wire: a file, or e.g. "drop_reply:skip=3,times=1".',
    ),
    speed: float = typer.Option(1.0, "--speed", help="Study time passes so much faster."),
    seconds: float | None = typer.Option(None, "--seconds", min=0, help="End after so long."),
    as_json: bool = typer.Option(
        False, "--json", help="Print one JSON object with the ports when it serves."
    ),
) -> None:
    """Serve one SIMULATED device until Ctrl-C; no liquid moves, nothing is read.

    It is as it would be just after it was switched on. Readers hold a fixed plate, meters a fixed
    resistor beside a capacitor. With --json, at once: {"ok", "simulated", "make", "tcp", "pty",
    "lab_toml"}.
    """
    from instruments.drivers import DRIVERS
    from instruments.emulators.catalogue import EMULATORS, NOT_EMULATED
    from instruments.emulators.fault_plan import read_plan
    from instruments.emulators.faults import FaultyWire
    from instruments.emulators.serve import HAS_PTYS, Switchboard
    from instruments.scan import lab_snippet

    if make not in EMULATORS:
        why = f": {NOT_EMULATED[make]}" if make in NOT_EMULATED else ""
        raise WrongUse(f"{make} is not emulated{why}; emulated are {', '.join(EMULATORS)}")
    if not 0.0 < speed < 1e7:
        raise WrongUse(f"--speed {speed:g} is no speed; 1 is real time, 3600 an hour a second")
    if pty and not HAS_PTYS:
        raise WrongUse("this system has no ptys; use --tcp")
    plan = read_plan(faults) if faults else ()
    emulated, begun_s = EMULATORS[make], time.monotonic()
    device = emulated.build(lambda: (time.monotonic() - begun_s) * speed / 3600.0, time.monotonic)
    wire = FaultyWire(device, time.monotonic)
    for fault in plan:
        wire.arm(fault)
    board = Switchboard()
    try:
        try:
            address = board.add_device(make, wire, with_pty=pty or not tcp, tcp_port=tcp_port)
        except OSError as problem:
            raise WrongUse(f"TCP port {tcp_port} can not be used ({problem.strerror})") from problem
        url = address.pty if address.pty and not (tcp and not pty) else address.tcp
        about = DRIVERS.get(make)
        snippet = (
            lab_snippet(make, about, url, name=_name(about.kind), values=emulated.lab)
            if about
            else ""
        )
        title = about.title if about else make
        both = bool(address.pty) and (pty == tcp)
        urls = {
            "tcp": address.tcp if both or url == address.tcp else None,
            "pty": address.pty if both or url == address.pty else None,
        }
        if as_json:
            shown: dict[str, Any] = {"ok": True, "simulated": True, "make": make, **urls}
            print(json.dumps({**shown, "lab_toml": snippet}), flush=True)
        else:
            _show_begin(title, urls, snippet, plan, speed)
        _serve(board, seconds)
    finally:
        board.close()
    if not as_json:
        _show_end(title, device)


def _name(kind: str) -> str:
    return f"emulated-{kind.replace('_', '-')}"


def _serve(board: Any, seconds: float | None) -> None:
    timer = threading.Timer(seconds, board.stop) if seconds is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        board.run()
    except KeyboardInterrupt:
        pass
    finally:
        if timer is not None:
            timer.cancel()


def _show_begin(
    title: str,
    urls: dict[str, str | None],
    snippet: str,
    plan: tuple[Fault, ...],
    speed: float,
) -> None:
    from instruments.emulators.fault_plan import tell

    print(f"{paint('SIMULATED', 'magenta')}  {title}. No liquid moves, nothing is measured.\n")
    for word, url in (("serial port", urls["pty"]), ("network", urls["tcp"])):
        if url:
            print(f"  {word:<11}  {paint(url, 'cyan')}")
    if speed != 1.0:
        print(f"  speed        one second is {speed:g} s of the study")
    for fault in plan:
        print(f"  fault        {tell(fault)}")
    if snippet:
        print(f"\nFor lab.toml:\n\n{textwrap.indent(snippet, '  ')}")
    print("Ends with Ctrl-C.", flush=True)


def _show_end(title: str, device: Any) -> None:
    if isinstance(device, _Ledger):
        print(
            f"\nSIMULATED  {title} was started {device.starts} times and gave "
            f"{device.delivered_ul:.6g} uL."
        )
    else:
        print(f"\nSIMULATED  {title} has ended.")
    sys.stdout.flush()
