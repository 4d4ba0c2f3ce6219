"""``chiploop reopen``: a person lets doses be given again that harm had closed."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from chiploop.units import UnitProblem, parse_quantity
from flows.cli.decide import RUN, RUNS, os_login
from flows.cli.screen import JSON_OPTION, print_json

UP_TO = typer.Option(..., "--up-to", help="Highest dose that may be given again, e.g. 300nM.")
WHY = typer.Option(..., "--why", help="Reason, kept on record.")


def reopen(
    run: str = RUN,
    up_to: str = UP_TO,
    why: str = WHY,
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let doses be proposed again that harm had closed, up to one, in the name of the person logged in.

    Counts for proposals made from now on, for harm that is on record by now, until harm is read anew; every other
    limit stays. Moves no liquid. Exit code 2 for a dose that can not be read or is above the study's limit. With
    --json: {"ok", "run", "up_to_nm", "by", "lifts"}.
    """
    from chiploop.record.replay import schedules_by
    from chiploop.toxicity_closures import Reopened, shown_toxicities
    from flows.cli.edit import opened

    if not why.strip():
        raise WrongUse("reopening doses that did harm needs its reason: --why TEXT")
    try:
        up_to_nm = parse_quantity(up_to, "concentration_nm")
    except UnitProblem as problem:
        raise WrongUse(f"--up-to: {problem}. Nothing was changed") from None
    with opened(run, runs) as (files, books):
        top = files.study.limits.concentration_nm
        if not 0.0 < up_to_nm <= top:
            raise WrongUse(
                f"--up-to {up_to_nm:g} nM: above 0 and up to the study's limit of {top:g} nM is allowed. Nothing "
                "was changed"
            )
        by = os_login()
        harms = shown_toxicities(
            files.study,
            schedules_by(books.journal.actions(books.run_id), files.study),
            books.record.readouts(books.run_id),
        )
        reopened = Reopened(
            up_to_nm,
            max((harm.time_h for harm in harms), default=0.0),
            frozenset((harm.chip_id, harm.time_h) for harm in harms),
        )
        lifted = [harm for harm in harms if reopened.lifts(harm)]
        books.record.add_event(
            books.run_id,
            "reopened",
            reopened.at_h,
            {
                "up_to_nm": up_to_nm,
                "by": by,
                "why": why,
                "seen": sorted([harm.chip_id, harm.time_h] for harm in harms),
            },
        )
    told = [
        f"{harm.chip_id} at {harm.dose_nm:.4g} nM, viability {harm.viability:.2f} by {harm.time_h:g} h"
        for harm in lifted
    ]
    if as_json:
        print_json({"ok": True, "run": files.run_id, "up_to_nm": up_to_nm, "by": by, "lifts": told})
        return
    simulated = "  SIMULATED" if files.simulated else ""
    print(f"{files.run_id}: doses up to {up_to_nm:g} nM reopened by {by}{simulated}")
    for one in told or [
        "nothing that was read closed such doses; what the fit alone closed is open"
    ]:
        print(f"  {one}")
    print(
        "  every other limit stays: right after a cycle that harmed no dose steps up, whoever reopened what"
    )
