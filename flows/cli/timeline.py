"""``chiploop timeline``: Prefect's own pages of a run, while it goes on or long after.

Belongs here: which address, and keeping a server while somebody looks. Not here: what is shown (flows.timeline).
"""

from __future__ import annotations

import threading
from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, print_json


def timeline(
    run_id: str = typer.Argument(metavar="RUN", help="Run id, or the run's folder."),
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Say where Prefect's pages of a run are: its doses, holds and fits over time.

    Of a run on instruments that is at work they are there already. Otherwise a server is started for them, on this
    computer alone, until Ctrl-C. With --json: {"ok", "run", "url"}. Touches no instrument.
    """
    from flows.heartbeat import last_beat
    from flows.opening import PREFECT_FOLDER, known_run
    from flows.prefect_server import pages_address, prefect_server

    files = known_run(run_id, runs)
    home = files.folder / PREFECT_FOLDER
    beat, address = last_beat(files.folder), pages_address(home)
    is_at_work = beat is not None and beat.is_alive

    def tell(url: str) -> None:
        if as_json:
            print_json({"ok": True, "run": files.run_id, "url": url})
        else:
            print(f"{'SIMULATED  ' if files.simulated else ''}{files.run_id}: {url}", flush=True)

    if address:
        tell(address)
        return
    if is_at_work:
        raise WrongUse(
            f"{files.run_id} is at work with a server that has no pages, as simulated runs have; "
            f"chiploop watch {files.run_id} shows it, chiploop timeline once it has ended"
        )
    if not home.is_dir():
        raise WrongUse(f"{files.run_id} has not begun; it has no timeline yet")
    with prefect_server(home, pages=True) as server:
        tell(f"http://127.0.0.1:{server.port}")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
