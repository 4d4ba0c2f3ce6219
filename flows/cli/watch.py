"""``chiploop watch``: a run as it goes on, in a table that is drawn anew.

Belongs here: rows and keys of that table, what Ctrl-C asks. Not here: where a run stands (run_status).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.connections import line_in
from flows.cli.status import RUNS, status_lines

if TYPE_CHECKING:
    from rich.table import Table

    from chiploop.record.record import Record
    from flows.opening import RunFiles
    from flows.run_status import RunStatus

EVERY_S = 1.0
NOTICE_S = 0.1
"""Until Ctrl-C is noticed between two looks."""
FLOW = {"medium": "plain medium", "stimulus": "stimulus", "dose": "dose"}


def watch(
    run: str = typer.Argument(metavar="RUN", help="Run id, or the run's folder."),
    runs: Path = RUNS,
    once: bool = typer.Option(False, "--once", help="Show the table once."),
) -> None:
    """Show a run as it goes on: chips with what flows and what was read last, until it ends.

    Changes nothing; Ctrl-C leaves the table and the run goes on. Where the output is no terminal each new step
    is one line. Exit codes as chiploop status.
    """
    from flows.opening import known_run

    files = known_run(run, runs)
    with suppress(KeyboardInterrupt):
        code = follow(files, runs, once)
        if code:
            raise typer.Exit(code)
        return
    print(f"{files.run_id} goes on without this table.", file=sys.stderr)


def follow(files: RunFiles, runs: Path, once: bool = False) -> int:
    """Show a run until it ends, or nobody works on it; return the exit code of its status."""
    from flows.run_status import now_s, status_of

    if once or not sys.stdout.isatty():
        show = print_steps(files, runs)
        now = status_of(files, now_s())
        if once:
            from rich.console import Console

            Console().print(table_of(files, now))
            return now.exit_code
        return until_ended(files, show, now)
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, transient=False) as live:

        def draw(one: RunStatus) -> None:
            told = Text.from_ansi("\n".join(status_lines(one, runs)))
            live.update(Group(table_of(files, one), told), refresh=True)

        return until_ended(files, draw, status_of(files, now_s()))


@contextmanager
def noticed_ctrl_c() -> Iterator[threading.Event]:
    """Yield what is set by Ctrl-C, which raises nothing meanwhile.

    Raised where it happens to come, it may meet a library's clean-up, and Python then drops it with a traceback.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def until_ended(files: RunFiles, show: Callable[[RunStatus], None], now: RunStatus) -> int:
    """Show each look at a run until it has ended; return its exit code. KeyboardInterrupt after Ctrl-C."""
    from flows.run_status import now_s, status_of

    with noticed_ctrl_c() as pressed:
        while True:
            show(now)
            if now.state in ("finished", "interrupted"):
                return now.exit_code
            until_s = time.monotonic() + EVERY_S
            while not pressed.is_set() and time.monotonic() < until_s:
                time.sleep(NOTICE_S)
            if pressed.is_set():
                raise KeyboardInterrupt
            now = status_of(files, now_s())


def print_steps(files: RunFiles, runs: Path) -> Callable[[RunStatus], None]:
    """Return what prints one line for each new step."""
    from flows.run_status import changed

    before: list[RunStatus | None] = [None]

    def show(now: RunStatus) -> None:
        if changed(before[0], now):
            mark = "SIMULATED  " if now.simulated else ""
            print(
                f"{mark}day {now.time_h / 24:5.2f}  cycle {now.cycle}/{now.cycles}  {now.state}: {now.doing}",
                flush=True,
            )
            if now.state != "running":
                print("\n".join(status_lines(now, runs)[1:]), flush=True)
        before[0] = now

    return show


def table_of(files: RunFiles, now: RunStatus) -> Table:
    """Return the table of a run's chips."""
    from rich.table import Table

    mark = "SIMULATED  " if now.simulated else ""
    table = Table(title=f"{mark}{now.run_id}", title_justify="left", expand=False)
    table.add_column("chip")
    table.add_column("donor")
    table.add_column("line")
    table.add_column("flows now")
    table.add_column("uL/h", justify="right")
    table.add_column("left", justify="right")
    table.add_column("read last", overflow="fold")
    table.add_column("note", overflow="fold")
    for row in rows_of(files, now):
        table.add_row(*row)
    return table


def rows_of(files: RunFiles, now: RunStatus) -> Iterator[tuple[str, ...]]:
    """Yield one row a chip: what the pumps of the line that feeds it give by the journal, and its newest
    readouts.
    """
    from chiploop.record.journal import Journal
    from flows.record_place import place_of

    flows: dict[str, tuple[str, float, float]] = {}
    study = files.study
    connection: dict[str, str | None] = {}
    if files.journal.exists():
        with Journal(files.journal) as journal:
            if study.valves:
                connection = journal.connection(files.run_id)
            for action in journal.actions(files.run_id):
                if not (action.open and action.sent_h):
                    continue
                programme = action.intent.programme
                what = FLOW.get(programme.purpose, programme.purpose)
                if programme.purpose == "dose":
                    what = f"{programme.asked_nm:g} nM" if programme.asked_nm else "vehicle"
                    what += "" if programme.arm == "stimulus" else f", {programme.arm}"
                _, rate, ends = flows.get(programme.line, ("", 0.0, 0.0))
                rate += action.intent.flow_rate_ul_h
                ends = max(ends, action.begun_h + programme.duration_h)
                flows[programme.line] = (what, rate, ends)
    newest: dict[str, str] = {}
    place = place_of(files.runs)
    if place.is_there():
        with place.open(create=False) as record:
            newest = newest_readouts(record, files.run_id)
    feeds = {chip: line_in(study, connection, chip) for chip in study.chip_ids}
    for chip, line in feeds.items():
        nothing = ("nothing", 0.0, now.time_h)
        what, rate, ends = flows.get(line or "", nothing)
        share = rate / list(feeds.values()).count(line)
        held = now.held_lines.get(line or "", "its valve is in doubt" if line is None else "")
        yield (
            chip,
            study.donor_of(chip).id,
            line or "?",
            what,
            f"{share:.3g}" if rate else "–",
            f"{max(0.0, ends - now.time_h):.1f} h" if rate else "–",
            newest.get(chip, "–"),
            f"HELD: {held}" if held else "",
        )


def newest_readouts(record: Record, run_id: str) -> dict[str, str]:
    """Return chip -> its newest value of each readout, for people."""
    last: dict[str, dict[str, str]] = {}
    for r in sorted(record.readouts(run_id), key=lambda one: one.time_h):
        told = f"{r.value:.3g}" if r.censoring == "none" else f"{r.censoring}-censored"
        told += "" if r.qc == "ok" else f" ({r.qc})"
        last.setdefault(r.chip_id, {})[r.readout] = f"{r.readout} {told}"
    return {chip: ", ".join(own.values()) for chip, own in last.items()}
