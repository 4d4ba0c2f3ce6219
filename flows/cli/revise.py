"""``chiploop revise``: a plate of a run calculated again; the readouts before stay and are superseded."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, os_login
from flows.cli.decide import known_run as run_on_record
from flows.cli.screen import JSON_OPTION, print_json


def revise(
    run: str = RUN,
    plate: str = typer.Option(..., "--plate", help="Plate, as `chiploop export` names it."),
    file: Path | None = typer.Option(
        None, "--file", help="Export that was made again; by default the signal on record."
    ),
    layout: Path | None = typer.Option(
        None,
        "--layout",
        help="What really stood in the wells (CSV or YAML); default: the last that was named, or the plan.",
    ),
    why: str = typer.Option(..., "--why", help="Reason, kept on record."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Calculate the readouts of a plate again, in the name of the person logged in.

    Nothing on record is altered: rows are added that supersede those before, with who and why. Later fits read
    them; fits that were made stay as they were, and a run that is under way learns of them when it is resumed.
    Wells that `chiploop exclude --well` has left out stay out.
    Exit code 2 for a plate that was not read, 3 for a file that is another plate's, 5 where it would take away
    harm that closes doses, 1 (CL-320) where nothing would change. With --json: {"ok", "run", "plate", "revision",
    "readouts", "by"}.
    """
    from flows.opening import known_run
    from flows.record_place import place_of
    from flows.revising import revised
    from flows.standing_harm import refuse_to_take_harm_away

    if not why.strip():
        raise WrongUse("a revision needs its reason: --why TEXT")
    place = place_of(runs)
    if not place.is_there():
        raise WrongUse(f"there is no record in {runs}; name the folder of your runs with --runs")
    files = known_run(run, runs)
    with place.open() as record:
        recorded = run_on_record(record, files.run_id, runs)
        found = revised(files, record, plate, file, layout)
        refuse_to_take_harm_away(files, record, found.readouts, "calculated so")
        by = os_login()
        number = record.revise_readouts(
            files.run_id,
            found.readouts,
            found.derivation,
            by,
            why,
            found.time_h,
            found.taken,
            left_out=found.left_out,
        )
    if as_json:
        facts = {"ok": True, "run": files.run_id, "plate": plate, "revision": number}
        print_json(facts | {"readouts": len(found.readouts), "by": by})
        return
    simulated = "  SIMULATED" if recorded.simulated else ""
    print(f"{files.run_id}: {plate} is revision {number} by {by}{simulated}")
    for one in found.readouts:
        value = f"{one.value:.4g} {one.unit}" if one.censoring == "none" else one.censoring
        print(f"  {one.chip_id}  {one.readout}  {value}  {one.qc}")
