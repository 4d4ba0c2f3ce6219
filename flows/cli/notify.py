"""``chiploop notify``: by which ways a bench tells people, and a message to try them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import typer

from chiploop.errors import ChiploopError, WrongUse
from flows.cli.screen import JSON_OPTION, paint, print_json

LAB = typer.Argument(help="lab.toml of the bench, with a [notify] section.")


class NotDelivered(ChiploopError):
    """A way of lab.toml by which a message did not get through."""

    exit_code = 4
    code = "CL-440"


def notify(
    lab: Path = LAB,
    is_try: bool = typer.Option(False, "--try", help="Send a test message on every way."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show by which ways a bench tells people that a run waits for them; with --try send a test message.

    Exit code 2 where lab.toml names no way, 4 where a way did not deliver. With --json: {"ok", "ways": [{"way",
    "to", "delivered", "why", "took_s"}]}; "delivered" is null without --try.
    """
    from chiploop.messages import Message
    from flows.notify import attempt
    from instruments.drivers import load_lab_settings

    ways = load_lab_settings(lab).notify.ways()
    if not ways:
        raise WrongUse(
            f"{lab} names no way to tell people: add [notify.mail], [notify.webhook] or [notify.desktop]"
        )
    told: list[dict[str, Any]] = []
    for way, settings in ways.items():
        one: dict[str, Any] = {"way": way, "to": settings.told, "delivered": None, "why": ""}
        if is_try:
            asked = f"a test of {date.today():%Y-%m-%d}; nothing has to be done"
            done = attempt(way, settings, Message("test", "test", asked))
            one |= {"delivered": done.delivered, "why": done.why, "took_s": done.took_s}
        told.append(one)
        if not as_json:
            print(_line(one))
    failed = [one["way"] for one in told if one["delivered"] is False]
    if as_json and not failed:
        print_json({"ok": True, "ways": told})
    if failed:
        reasons = "; ".join(f"{one['way']}: {one['why']}" for one in told if one["way"] in failed)
        raise NotDelivered(f"not delivered by {reasons}. Mend [notify] of {lab} and try again")


def _line(one: dict[str, Any]) -> str:
    states = {None: "not tried", True: paint("delivered", "green"), False: paint("FAILED", "red")}
    why = f": {one['why']}" if one["why"] else ""
    return f"{one['way']:<8} to {one['to']}  {states[one['delivered']]}{why}"
