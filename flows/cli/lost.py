"""``chiploop lost``: a person says that the file of a plate will not come; the study goes on without it."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, known_run, os_login
from flows.cli.screen import JSON_OPTION, print_json


def lost(
    run: str = RUN,
    plate: str = typer.Option("", "--plate", help="Plate or its label; not needed for one alone."),
    why: str = typer.Option(..., "--why", help="Reason, kept on record."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Say that the file of a plate will not come, in the name of the person logged in.

    A run that waits for it goes on without its readouts (one that has ended: with `chiploop resume`); no value
    takes their place, and doses are refused where they would need them. It can not be taken back.
    Exit code 2 where no plate is awaited, or several and none is named. With --json: {"ok", "run", "plate", "by"}.
    """
    from flows.awaited_files import LOST, NOTED
    from flows.record_place import place_of

    if not why.strip():
        raise WrongUse("a plate that is given up needs the reason: --why TEXT")
    with place_of(runs).open_known() as record:
        recorded = known_run(record, run, runs)
        read = {readout.plate for readout in record.readouts(run)}
        gone = {event.content["plate"] for event in record.events(run, LOST)}
        sent = {event.content["plate"]: event for event in record.events(run, NOTED)}
        awaited = {name: event for name, event in sent.items() if name not in read | gone}
        meant = [
            name for name, event in awaited.items() if plate in ("", name, event.content["label"])
        ]
        if len(meant) != 1:
            there = ", ".join(f"{n} ({e.content['label']})" for n, e in awaited.items()) or "none"
            raise WrongUse(
                f"{plate or 'no plate'} was named; {run} waits for files of: {there}. Nothing was changed"
            )
        by = os_login()
        time_h = max(event.time_h for event in record.events(run))
        content = {"plate": meant[0], "by": by, "why": why}
        record.add_event(run, LOST, time_h, content, key=sent[meant[0]].content["label"])
    if as_json:
        print_json({"ok": True, "run": run, "plate": meant[0], "by": by})
        return
    simulated = "  SIMULATED" if recorded.simulated else ""
    print(f"{run}: the file of {meant[0]} is given up by {by}{simulated}")
