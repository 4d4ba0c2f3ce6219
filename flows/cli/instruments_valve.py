"""``chiploop instruments valve``: where a valve stands, and turning it by hand, on record.

Belongs here: options and the question to the person. Not here: bytes (the valve's driver).
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli import instruments_lab as shared
from flows.cli.screen import JSON_OPTION, print_json


def valve(
    lab: Path = shared.LAB,
    valve: str = typer.Option(..., "--valve", help="Valve, by its name in lab.toml."),
    to: int | None = typer.Option(
        None, "--to", help="Position to turn to, from 1; without it, only where it stands."
    ),
    yes: bool = typer.Option(False, "--yes", help="Nothing flows through it; do not ask me."),
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Say where a valve stands, or turn it to a position that it then confirms.

    On its way a valve passes the positions in between: liquid under pressure goes there, too. With
    --json: {"ok", "valve", "position"}.
    """
    from chiploop.record.journal import Journal
    from flows.cli.decide import os_login
    from instruments.bench import open_bench
    from instruments.drivers import load_lab_settings

    settings = load_lab_settings(lab)
    if valve not in settings.valves:
        known = ", ".join(settings.valves) or "none"
        raise WrongUse(f"{lab} has no valve {valve}; its valves: {known}. Nothing was sent")
    if to is not None and not yes:
        shared.ask_yes(
            f"{valve} will turn to {to}, past the positions in between. Does nothing flow through it?",
            "add --yes once nothing flows through it",
        )
    with (
        shared.remarks() as remarks,
        open_bench(
            shared.only(settings, [valve]), shared.wire_folder(runs), lock_dir=shared.LOCKS
        ) as bench,
    ):
        driver = bench.valves[valve]
        if to is not None:
            with Journal(runs / shared.JOURNAL) as journal:
                key, by = f"{shared.BENCH_RUN}/valve/{valve}", os_login()
                journal.note(shared.BENCH_RUN, key, 0.0, f"turns to {to}", by=by)
                try:
                    driver.go_to(to)
                except ValueError as problem:
                    raise WrongUse(f"{problem}. The valve did not turn") from problem
                journal.note(shared.BENCH_RUN, key, 0.0, f"stands at {to}", by=by)
        position = driver.position()
    if as_json:
        print_json({"ok": True, "valve": valve, "position": position})
        return
    for remark in dict.fromkeys(remarks):
        print(f"note: {remark}", file=sys.stderr)
    print(f"{valve} stands at {position} of {driver.positions}.")
