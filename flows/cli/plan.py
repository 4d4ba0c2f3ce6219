"""``chiploop plan``: timetable, volumes and plate maps as text or JSON. Touches nothing."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import InstrumentTrouble, SafetyRefusal, WrongUse
from flows.cli.check import files_awaited
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.plan import StudyPlan, SyringeUse, TimetableRow
    from chiploop.study import Study
    from flows.cli.reservations import Fit


def plan(
    file: Path = typer.Argument(help="Study file (YAML)."),
    cycle: int = typer.Option(1, "--cycle", min=1, help="Show the plate maps of this cycle."),
    lab: Path | None = typer.Option(
        None, "--lab", help="lab.toml: tell conflicts with the runs that use its instruments."
    ),
    start: str = typer.Option(
        "",
        "--start",
        metavar="TIME",
        help='When it shall begin, e.g. 18:30 or "2026-11-24 18:30"; default: now.',
    ),
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs, for --lab."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what a study will do and use before anything moves.

    Timetable, volume of every syringe, plate maps; with --lab, which instrument another run has then, and the
    earliest start without conflict. Exit code 3 for a file that is not valid, 5 where a limit would be passed, 4
    where an instrument is not to be had. With --json: {"ok", "study", "end_h", "timetable", "syringes", "plates",
    "teer_readings", "plate_reads", "plates_from_files", "refusals", "notes"}, with --lab "instruments": {"start",
    "earliest_start", "conflicts": [{"name", "other", "from_s", "to_s", "overlap_h", "alone", "bars", ...}]}.
    """
    from chiploop.plan import notes, plan_study
    from chiploop.study import load_study

    study = load_study(file)
    if cycle > study.timeline.cycles:
        raise WrongUse(f"cycle {cycle} was asked; {study.name} has {study.timeline.cycles}")
    if start and lab is None:
        raise WrongUse("--start is for conflicts with other runs: name the instruments with --lab")
    fit = None if lab is None else _fit(study, lab, runs, start)
    planned = plan_study(study, plates_of_cycle=cycle)
    noted = (*notes(study), *files_awaited(study))
    if as_json:
        told = _as_json(study, planned, noted)
        if fit is not None:
            told |= {"ok": told["ok"] and not fit.is_barred, "instruments": fit.facts()}
        print_json(told)
    else:
        print("\n".join(_text(study, planned, noted)))
        if fit is not None:
            print("\n".join(["", *fit.lines()]))
    if planned.refusals:
        raise typer.Exit(SafetyRefusal.exit_code)
    if fit is not None and fit.is_barred:
        raise typer.Exit(InstrumentTrouble.exit_code)
    if not as_json:
        print(f"\nNext: chiploop simulate {file}")


def _fit(study: Study, lab: Path, runs: Path, start: str) -> Fit:
    from flows.cli.reservations import fit_of, start_time_s
    from flows.opening import fits_the_study
    from instruments.drivers import load_lab_settings

    start_s = start_time_s(start, time.time())
    settings = load_lab_settings(lab)
    fits_the_study(settings, study, lab)
    return fit_of(study, settings, runs, start_s)


def _as_json(study: Study, planned: StudyPlan, noted: tuple[str, ...]) -> dict[str, Any]:
    return {
        "ok": not planned.refusals,
        "study": study.name,
        "end_h": planned.end_h,
        "timetable": [asdict(row) for row in planned.timetable],
        "syringes": [asdict(use) | {"left_ul": use.left_ul} for use in planned.syringes],
        "plates": [plate.as_json() for plate in planned.plates],
        "teer_readings": planned.teer_readings,
        "plate_reads": planned.plate_reads,
        "plates_from_files": planned.plates_from_files,
        "refusals": list(planned.refusals),
        "notes": list(noted),
    }


def _text(study: Study, planned: StudyPlan, noted: tuple[str, ...]) -> list[str]:
    from chiploop.plan import plate_picture

    lines = [f"{study.name}: {study.title}" if study.title else study.name, ""]
    lines += ["Timetable, hours since start", *_timetable(planned.timetable, study.line_ids), ""]
    lines += ["Volumes, mL", *_volumes(planned.syringes), ""]
    for plate in planned.plates:
        assay = study.assays[plate.assay]
        lines += [
            f"Images {plate.plate_id}, {assay.kit.title or assay.kit.name}: {len(plate.wells)}"
            if assay.kit.method == "microscopy"
            else f"Plate {plate.plate_id}, {assay.kit.title or assay.kit.name}: "
            f"{len(plate.wells)} wells, samples diluted {assay.dilution:g} times",
            plate_picture(plate),
            "",
        ]
    lines += [
        "S standard, B blank, X maximal release, U untreated, D dead, T donor, . empty. Samples are at",
        "random, in every cycle elsewhere: --cycle 2 shows the next plates.",
        f"Meter: {planned.teer_readings} spectra. Reader: "
        f"{planned.plate_reads - planned.plates_from_files} plates"
        + (f", {planned.plates_from_files} from files." if planned.plates_from_files else "."),
    ]
    lines += [f"note: {note}" for note in noted]
    if planned.refusals:
        lines += ["", paint("This study would pass a limit; it can not start:", "red")]
        lines += [f"  {number}. {why}" for number, why in enumerate(planned.refusals, start=1)]
    return lines


def _timetable(rows: tuple[TimetableRow, ...], all_lines: tuple[str, ...]) -> list[str]:
    shown = []
    for row in rows:
        until = "" if row.end_h is None else f"to {row.end_h:g}"
        where = "all lines" if row.lines == all_lines else ", ".join(row.lines)
        shown.append(f"  {row.time_h:>6g} {until:<9} {row.who:<9} {row.what} ({where})")
    return shown


def _volumes(uses: tuple[SyringeUse, ...]) -> list[str]:
    width = max(4, *(len(use.pump) for use in uses))
    shown = [f"  {'pump':<{width}} {'filled':>7} {'needed':>7} {'left':>7}"]
    for use in uses:
        mark = paint("  too little", "red") if use.over else ""
        shown.append(
            f"  {use.pump:<{width}} {use.filled_ul / 1000:>7.1f} {use.needed_ul / 1000:>7.2f} "
            f"{use.left_ul / 1000:>7.2f}{mark}"
        )
    shown += [
        "  Stocks: the first doses; later ones are proposed and checked one by one.",
        "  Stimulus: the first doses, then every line without drug, which takes most.",
    ]
    return shown
