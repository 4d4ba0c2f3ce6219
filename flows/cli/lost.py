"""``chiploop lost``: a person says that the file of a plate will not come, or comes later; the study goes on."""

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
    comes_later: bool = typer.Option(
        False,
        "--comes-later",
        help="It will be read later: go on without it now, learn from it when it is there.",
    ),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Say that the file of a plate will not come, in the name of the person logged in.

    A run that waits for it goes on without its readouts (one that has ended: with `chiploop resume`); no value
    takes their place, and doses are refused where they would need them. It can not be taken back. With
    --comes-later the file is taken when it is there, by the fit of the cycle that runs then; until then the next
    doses count on what it will say, and it can still be given up.
    Exit code 2 where no plate is awaited, or several and none is named. With --json: {"ok", "run", "plate", "by",
    "comes_later"}.
    """
    from flows.late_plates import LATE, LOST, NOTED
    from flows.record_place import place_of

    if not why.strip():
        raise WrongUse("a plate that is given up needs the reason: --why TEXT")
    with place_of(runs).open_known() as record:
        recorded = known_run(record, run, runs)
        read = {readout.plate for readout in record.readouts(run)}
        gone = {event.content["plate"] for event in record.events(run, LOST)}
        if comes_later:
            gone |= {event.content["plate"] for event in record.events(run, LATE)}
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
        if comes_later and "cycle" not in sent[meant[0]].content:
            raise WrongUse(
                f"{meant[0]} was sent away by an older chiploop, which noted no cycle: it can be waited for, or "
                "given up without --comes-later. Nothing was changed"
            )
        by = os_login()
        time_h = max(event.time_h for event in record.events(run))
        content = {"plate": meant[0], "by": by, "why": why}
        kind = LATE if comes_later else LOST
        record.add_event(run, kind, time_h, content, key=sent[meant[0]].content["label"])
    if as_json:
        told = {"ok": True, "run": run, "plate": meant[0], "by": by, "comes_later": comes_later}
        print_json(told)
        return
    simulated = "  SIMULATED" if recorded.simulated else ""
    how = "comes later, by word of" if comes_later else "is given up by"
    print(f"{run}: the file of {meant[0]} {how} {by}{simulated}")
