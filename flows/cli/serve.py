"""``chiploop serve``: the open runs of a folder are fitted again at a time of day.

Belongs here: options and what is printed. Not here: keeping the schedule (flows.serving).
"""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, print_json


def serve(
    at: str = typer.Option(
        "02:00", "--recalibrate-at", metavar="TIME", help="Time of day, or five fields of cron."
    ),
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs."),
    workers: int = typer.Option(
        1, "--workers", min=1, help="Fit runs side by side in so many processes."
    ),
    api: str = typer.Option(
        "", "--api", metavar="URL", help="A standing Prefect server, http://HOST:PORT/api."
    ),
    pool: str = typer.Option("", "--pool", help="Work pool of that server that carries it out."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Fit every open run again at its time, from what is on record; never touches an instrument.

    Keeps the schedule until Ctrl-C (exit code 0), with a Prefect server of its own; `chiploop status` says when
    and what came out. With --api and --pool the schedule is handed to a standing Prefect server, and the command
    ends; with --json then {"ok", "deployment", "api", "pool"}. Exit code 2 for a time that is none, 4 where
    another process keeps the schedule of the folder.
    """
    from flows.serving import hand_to_pool, keep_schedule

    if bool(api) != bool(pool):
        raise WrongUse("--api and --pool belong together: a pool is one of a standing server")
    if not api:
        keep_schedule(runs, at, workers, lambda said: print(said, flush=True))
        return
    name = hand_to_pool(api, pool, runs, at, workers)
    if as_json:
        print_json({"ok": True, "deployment": name, "api": api, "pool": pool})
    else:
        print(
            f"{name} is on {api}; workers of {pool} carry it out. Now: prefect deployment run '{name}'"
        )
