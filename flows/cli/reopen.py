"""``chiploop reopen``: a person lets doses be given again that harm had closed."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from chiploop.study_limits import concentration_limit_nm
from chiploop.units import UnitProblem, parse_quantity
from flows.cli.decide import RUN, RUNS, os_login
from flows.cli.screen import JSON_OPTION, print_json

UP_TO = typer.Option(..., "--up-to", help="Highest dose that may be given again, e.g. 300nM.")
DRUG = typer.Option("", "--drug", help="Which drug, of a study with several.")
WHY = typer.Option(..., "--why", help="Reason, kept on record.")


def reopen(
    run: str = RUN,
    up_to: str = UP_TO,
    why: str = WHY,
    drug: str = DRUG,
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let doses be proposed again that harm had closed, up to one, in the name of the person logged in.

    Counts for proposals made from now on, for harm that is on record by now, until harm is read anew; every other
    limit stays. Of several drugs --drug says which; the others stay closed. Moves no liquid. Exit code 2 for a
    dose that can not be read or is above the study's limit, and for a drug that is not in it. With --json: {"ok",
    "run", "up_to_nm", "by", "lifts"}, and "drug" where there are several.
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
        known = list(files.study.drugs) if files.study.further_drugs else []
        if drug not in (known or [""]):
            allowed = (
                f"--drug is one of {', '.join(known)}"
                if known
                else "the study has one drug: leave --drug out"
            )
            raise WrongUse(f"{allowed}. Nothing was changed")
        top = concentration_limit_nm(files.study, drug or None)
        if not 0.0 < up_to_nm <= top:
            raise WrongUse(
                f"--up-to {up_to_nm:g} nM: above 0 and up to the study's limit of {top:g} nM is allowed. Nothing "
                "was changed"
            )
        by = os_login()
        readouts = books.record.readouts(books.run_id)
        schedules = schedules_by(books.journal.actions(books.run_id), files.study)
        harms = shown_toxicities(files.study, schedules, readouts)
        reopened = Reopened(
            up_to_nm,
            max((readout.time_h for readout in readouts), default=0.0),
            frozenset((harm.chip_id, harm.time_h) for harm in harms),
            drug,
        )
        lifted = [harm for harm in harms if reopened.lifts(harm)]
        of_drug = {"drug": drug} if drug else {}
        books.record.add_event(
            books.run_id,
            "reopened",
            reopened.at_h,
            {
                "up_to_nm": up_to_nm,
                "by": by,
                "why": why,
                "seen": sorted([harm.chip_id, harm.time_h] for harm in harms),
                **of_drug,
            },
        )
    told = [
        f"{harm.chip_id} at {harm.dose_nm:.4g} nM, viability {harm.viability:.2f} by {harm.time_h:g} h"
        for harm in lifted
    ]
    if as_json:
        facts = {"run": files.run_id, "up_to_nm": up_to_nm, "by": by, "lifts": told, **of_drug}
        print_json({"ok": True, **facts})
        return
    simulated = "  SIMULATED" if files.simulated else ""
    of = f" of {drug}" if drug else ""
    print(f"{files.run_id}: doses{of} up to {up_to_nm:g} nM reopened by {by}{simulated}")
    for one in told or [
        "nothing that was read closed such doses; what the fit alone closed is open"
    ]:
        print(f"  {one}")
    print(
        "  every other limit stays: right after a cycle that harmed no dose steps up, whoever reopened what"
    )
