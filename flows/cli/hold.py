"""``chiploop hold``: no further dose begins until ``chiploop resume``."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, os_login
from flows.cli.screen import JSON_OPTION, print_json


def hold(
    run: str = RUN,
    why: str = typer.Option("", "--why", help="Reason, kept on record."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let no further dose of a run begin, in the name of the person logged in, until chiploop resume RUN.

    What flows now goes on to the volume it was given; then chips get stimulus without drug (plain medium before
    the first dose), as while nobody decides. A pulse that would begin meanwhile is left out. To stop pumps in
    the middle of a dose: chiploop stop. Exit code 2 for an unknown run and one that has ended. With --json:
    {"ok", "run", "held_by", "new"}.
    """
    set_hold(run, runs, True, why, as_json)


def set_hold(run: str, runs: Path, on: bool, why: str, as_json: bool) -> bool:
    """Put a hold or its end on record and say so; return whether that was new."""
    from flows.holding import put_hold
    from flows.opening import known_run
    from flows.record_place import place_of
    from flows.run_status import now_s, status_of
    from flows.runs_folder import runs_option

    files = known_run(run, runs)
    now = status_of(files, now_s())
    if now.state == "finished":
        raise WrongUse(f"{files.run_id} has ended; there is nothing to hold")
    by = os_login()
    with place_of(files.runs).open() as record:
        new = put_hold(record, files.run_id, on, by, why.strip(), now.time_h)
    if as_json:
        held_by = (f"{by}: {why.strip()}" if why.strip() else by) if on else ""
        print_json({"ok": True, "run": files.run_id, "held_by": held_by, "new": new})
        return new
    mark = "  SIMULATED" if files.simulated else ""
    if on and not new:
        print(f"{files.run_id} is on hold already: {now.held_by}{mark}")
    elif on:
        print(f"{files.run_id} is on hold: no further dose begins{mark}")
        print(f"  what flows now goes on to its end. Now: {now.doing or 'nothing yet'}")
        print(f"  chiploop resume {files.run_id}{runs_option(files.runs)} lets it go on")
    else:
        print(f"{files.run_id} goes on: the hold has ended{mark}")
    return new
