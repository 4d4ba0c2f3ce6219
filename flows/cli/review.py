"""``chiploop review``: the page over the runs of a folder, served to this computer alone.

Belongs here: what the page is given (record, status, hands, login), the server, the link. Not here: pages
(chiploop.review), processes (flows.review_hands). Imports little: the server must stay small.

The page decides in the name of the login that started it, as every command does. A second person starts
a page of their own, under their own login, on the same record; nobody's name is ever typed into a form.
"""

from __future__ import annotations

import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from chiploop.errors import WrongUse
from flows.browser_link import opened_in_browser

if TYPE_CHECKING:
    from chiploop.record.record import Record
    from chiploop.review.contracts import Desk, Hands, Status

LOOPBACK = "127.0.0.1"


def review(
    run: str | None = typer.Argument(None, metavar="[RUN]", help="Run id; without it, all runs."),
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs."),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="Port; default: a free one."),
    open_it: bool = typer.Option(
        True, "--open/--no-open", help="Open the page in the browser, where there is a terminal."
    ),
    viewer: bool = typer.Option(
        False, "--viewer", help="Print a second link, which only looks and decides nothing."
    ),
) -> None:
    """Serve the page on which people look at runs and decide, until Ctrl-C.

    On this computer alone (127.0.0.1); from another one through `ssh -L`. The link holds a token and is good as
    long as the page is served. Who opens it decides in the name of the login that started this command: give it to
    nobody. A second approver starts `chiploop review` under a login of their own. Exit code 2 where there is no
    such run, or the port is taken.
    """
    from flows.record_place import option_named, place_of

    runs = runs.absolute()
    place = place_of(runs)
    if run is not None:
        run = Path(run).name
        known: list[str] = []
        if place.is_there():
            with place.open(create=False) as record:
                known = [one.run_id for one in record.runs()]
        if run not in known:
            raise WrongUse(
                f"there is no run {run} on record of {runs}; there are: {', '.join(known) or 'none'}"
            )
    listener = listen(port)
    from flows.review_hands import ProcessHands

    hands = ProcessHands(runs, option_named())
    try:
        serve(desk_of(runs, hands), listener, run or "", open_it, viewer)
    finally:
        hands.close()
        listener.close()


def listen(port: int) -> socket.socket:
    """Return a socket on loopback; WrongUse where the port is taken."""
    # the protocol is named so that asyncio sets TCP_NODELAY: without it a second reply waits 40 ms for an
    # acknowledgement
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as problem:
        listener.close()
        raise WrongUse(
            f"port {port} of this computer is taken ({problem.strerror}); name another one with --port, or none"
        ) from None
    return listener


def serve(desk: Desk, listener: socket.socket, run: str, open_it: bool, viewer: bool) -> None:
    """Serve the page on a socket until somebody ends it."""
    import uvicorn

    from chiploop.review.pages import application
    from chiploop.review.tickets import Tickets
    from chiploop.review.warm_up import warm_up

    port, tickets = int(listener.getsockname()[1]), Tickets()
    hosts = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}
    page = application(desk, tickets, hosts, port)
    warm_up(desk)
    listener.listen()  # whoever follows the link at once is heard
    at = f"http://{LOOPBACK}:{port}/enter?run={quote(run)}&token="
    print(f"{at}{tickets.links['approver']}", flush=True)
    print(f"decides as {desk.login}; Ctrl-C ends the page, runs go on", file=sys.stderr)
    if viewer:
        print(f"only looks: {at}{tickets.links['viewer']}", flush=True)
    config = uvicorn.Config(
        page,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=3,
        limit_concurrency=64,
    )
    link = f"{at}{tickets.links['approver']}"
    with opened_in_browser(link) if open_it and sys.stdout.isatty() else nullcontext():
        uvicorn.Server(config).run(sockets=[listener])


def desk_of(runs: Path, hands: Hands) -> Desk:
    """Return what the page works with, for the runs of a folder."""
    from chiploop.review.contracts import Desk
    from flows.cli.decide import os_login
    from flows.record_place import place_of
    from flows.review_models import models_for

    place = place_of(runs)
    opened: list[Record] = []
    held = HeldLines()

    def open_record() -> Record | None:
        if not opened and place.is_there():
            opened.append(place.open(create=False))
        return opened[0] if opened else None

    def journal_of(run_id: str) -> Path | None:
        facts = facts_of(runs / run_id)
        if facts is None:
            return None
        return (runs / run_id if facts["simulated"] else runs) / "journal.sqlite"

    return Desk(
        runs=runs,
        open_record=open_record,
        status_of=lambda run_id: status_of(runs, run_id, open_record(), held),
        journal_of=journal_of,
        hands=hands,
        login=os_login(),
        models=lambda run_id: models_for(runs, run_id),
        time_h=lambda run_id: study_time_h(runs / run_id),
    )


def facts_of(folder: Path) -> dict[str, Any] | None:
    """Return what was decided when a run began; None where its folder is not here."""
    import json

    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return None


def study_time_h(folder: Path) -> float:
    """Return the study time of a run now, as the commands that decide see it."""
    from flows.clock import study_time_h as time_of

    facts = facts_of(folder)
    return 0.0 if facts is None else time_of(folder, bool(facts["simulated"]))


class HeldLines:
    """Lines that are held by the journal of a run, read again only where its file is another one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[tuple[int, int]], dict[str, str]]] = {}

    def of(self, run_id: str, path: Path) -> dict[str, str]:
        """Return line -> why a person must look."""
        from chiploop.record.journal import Journal

        files = [file for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()]
        now = [(about.st_size, about.st_mtime_ns) for about in (file.stat() for file in files)]
        if self._known.get(run_id, ([], {}))[0] != now:
            with Journal(path) as journal:
                self._known[run_id] = (now, dict(journal.held(run_id)))
        return self._known[run_id][1]


def status_of(runs: Path, run_id: str, record: Record | None, held: HeldLines) -> Status | None:
    """Return where a run stands, as ``chiploop status`` says it; None where its folder is not here."""
    from chiploop.review.contracts import Status
    from flows import run_status
    from flows.heartbeat import last_beat
    from flows.holding import held_by
    from flows.service import how_it_ended

    folder = runs / run_id
    facts = facts_of(folder)
    recorded = None if record is None else record.run(run_id)
    if facts is None or record is None or recorded is None:
        return None
    timeline = record.study_content(run_id)["timeline"]
    step_h = timeline["exposure_h"] + timeline["turnaround_h"]
    end_h = timeline["stimulus_from_h"] + timeline["cycles"] * step_h - timeline["turnaround_h"]
    beat = last_beat(folder)
    alive = beat is not None and beat.is_alive
    path = (folder if facts["simulated"] else runs) / "journal.sqlite"
    held_lines = held.of(run_id, path) if path.exists() else {}
    by = held_by(record, run_id)
    is_open = run_status.open_proposal(record, run_id) is not None
    state = run_status.state_of(recorded.state, alive, by, is_open)
    ended = how_it_ended(folder)
    fitted = max((one.cycle for one in record.calibrations(run_id)), default=0)
    time_h = beat.time_h if beat is not None else 0.0
    if alive and not facts["simulated"]:
        time_h = study_time_h(folder)
    return Status(
        state=state,
        cycle=max(fitted, beat.cycle if beat is not None else 0),
        cycles=timeline["cycles"],
        time_h=time_h,
        end_h=end_h,
        doing=beat.doing if beat is not None else "",
        quiet_s=None,
        held_by=by,
        ended=f"its process ended with {ended.exit_code}"
        if ended is not None and ended.exit_code
        else "",
        held_lines=held_lines,
    )
