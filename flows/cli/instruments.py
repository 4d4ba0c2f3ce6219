"""``chiploop instruments``: the verbs for whoever stands at the bench.

Belongs here: the table of verbs. Not here: what a verb does; see the files ``instruments_*.py`` and
``stop.py``. Nothing heavy is imported before a verb is carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from flows.cli.enter_teer import enter_teer
from flows.cli.instruments_check import ask_devices, confirm
from flows.cli.instruments_emulate import emulate
from flows.cli.instruments_list import list_instruments
from flows.cli.instruments_prime import prime
from flows.cli.instruments_scan import scan
from flows.cli.instruments_valve import valve
from flows.cli.stop import stop_lab

instruments_app = typer.Typer(
    help="Find, test, prime and stop the instruments; serve simulated ones.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@instruments_app.callback()
def _instruments() -> None:
    """Find, test, prime and stop the instruments; serve simulated ones."""


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "list": (list_instruments, "Show makes, or a bench and who holds it."),
    "scan": (scan, "Find what is connected; asks you first."),
    "test": (ask_devices, "Ask every device who and how it is."),
    "confirm": (confirm, "Set pumps for the syringes you looked at."),
    "prime": (prime, "Fill the tubing of one pump. MOVES LIQUID."),
    "valve": (valve, "Say where a valve stands, or turn it."),
    "enter-teer": (enter_teer, "Enter a resistance that a person read."),
    "stop": (stop_lab, "Stop the pumps of a bench now."),
    "emulate": (emulate, "Serve one SIMULATED device."),
}
"""Verb -> what carries it out, and one line for help; in the order of a bench's life."""

for _name, (_verb, _line) in VERBS.items():
    instruments_app.command(_name, short_help=_line)(_verb)
