"""``chiploop exclude``: a person takes readouts or wells out of the fits, or in again, with the reason."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, known_run, os_login
from flows.cli.exclude_wells import exclude_wells
from flows.cli.screen import JSON_OPTION, print_json


def exclude(
    run: str = RUN,
    chip: str = typer.Argument("", help="Chip id; none with --well."),
    well: list[str] = typer.Option(
        [],
        "--well",
        metavar="PLATE:WELL",
        help="A single well, such as ad-CCL26-cycle1:B07; can be given several times for one plate.",
    ),
    image: list[str] = typer.Option(
        [],
        "--image",
        metavar="SET:CHIP/PLACE",
        help="A single image, such as ad-junction_coverage-cycle1:C01/2; can be given several times for one set.",
    ),
    readout: str = typer.Option(
        "", "--readout", help="Kind of readout, such as TEER; all by default."
    ),
    time: float | None = typer.Option(
        None, "--time", min=0.0, help="Study time of the reading in hours; all by default."
    ),
    why: str = typer.Option(..., "--why", help="Reason, kept on record."),
    take_back: bool = typer.Option(False, "--take-back", help="Take the readouts in again."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Leave readouts of a chip, single wells or single images out of every later fit, by the person logged in.

    They stay in the record with who and why, and --take-back undoes it. Fits that were made stay as they
    were: `chiploop fit RUN` shows what the run says without them. Without a well the plate is calculated again
    from the others (curve, controls, replicates), as `chiploop revise` does; a reading of which it was the only
    well is missing then, and that is told. What was read in the well stays on record. Without an image its chip's
    value is the mean of the others, in the same way. Exit code 2 where nothing is hit or nothing would change, 5
    where wells or images would take away harm that closes doses. With --json: {"ok", "run", "excluded",
    "readouts", "by"}, of wells and images also {"plate", "wells", "revision", "missing"}; `readouts` are then
    those that changed.
    """
    from chiploop.record.chain import RecordConflict
    from chiploop.record.exclusions import ANY_TIME, Exclusion
    from flows.record_place import place_of

    if not why.strip():
        raise WrongUse("an exclusion needs its reason: --why TEXT")
    if well or image:
        if chip or readout or time is not None or (well and image):
            raise WrongUse(
                "name a chip (with --readout, --time), or wells with --well, or images with --image, not both"
            )
        exclude_wells(run, well, why.strip(), take_back, runs, as_json, image)
        return
    if not chip:
        raise WrongUse(
            "name the chip whose readouts are meant, wells with --well PLATE:WELL or images with --image "
            "SET:CHIP/PLACE"
        )
    with place_of(runs).open_known() as record:
        recorded = known_run(record, run, runs)
        by = os_login()
        at = ANY_TIME if time is None else time
        exclusion = Exclusion(chip, readout, at, not take_back, by, why)
        known = record.readouts(run)
        try:
            record.add_exclusion(run, exclusion, max((r.time_h for r in known), default=0.0))
        except RecordConflict as problem:
            raise WrongUse(str(problem)) from None
        hit = [r for r in known if exclusion.covers(r)]
    if as_json:
        print_json(
            {"ok": True, "run": run, "excluded": not take_back, "readouts": len(hit), "by": by}
        )
        return
    what = "taken in again" if take_back else "excluded from every later fit"
    simulated = "  SIMULATED" if recorded.simulated else ""
    print(f"{run}: {len(hit)} readouts {what} by {by}{simulated}")
    for one in hit:
        print(f"  {one.chip_id}  {one.readout}  {one.time_h:g} h")
