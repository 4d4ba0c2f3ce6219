"""``chiploop export``: what is on record of a run, as a file for other programs. Changes nothing.

Belongs here: options, the table of targets. Not here: what stands in a file; each target has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, known_run
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.record.record import Record


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    record: Record
    run_id: str
    runs: Path
    cycle: int | None
    """None: the last one."""


@dataclass(frozen=True)
class Target:
    """One kind of file that a run can be exported to."""

    suffix: str
    """Of the file, where none is named."""
    write: Callable[[Wanted, Path], dict[str, Any]]
    """(what was asked, file) -> what was written, in plain values."""
    of_one_cycle: bool = False
    """Whether it is about one calibration."""
    is_folder: bool = False


def _csv(wanted: Wanted, path: Path) -> dict[str, Any]:
    from chiploop.record.long_table import long_table
    from chiploop.record.long_table_files import write_csv

    rows = long_table(wanted.record, wanted.run_id)
    write_to(path, lambda file: write_csv(rows, file))
    return {"rows": len(rows)}


def _parquet(wanted: Wanted, path: Path) -> dict[str, Any]:
    from chiploop.record.long_table import long_table
    from chiploop.record.long_table_files import write_parquet

    rows = long_table(wanted.record, wanted.run_id)
    write_to(path, lambda file: write_parquet(rows, file))
    return {"rows": len(rows)}


def _eln(wanted: Wanted, path: Path) -> dict[str, Any]:
    from chiploop.record.eln_archive import write_eln
    from chiploop.report.eln_run import RunPlaces, entry_of, parts_of
    from flows.evidence import evidence_of_run

    told: dict[str, Any] = {}
    with evidence_of_run(wanted.record, wanted.run_id, wanted.runs) as (journal, evidence):
        places = RunPlaces(wanted.record, journal, evidence)
        entry = entry_of(places)
        write_to(path, lambda file: told.update(write_eln(file, entry, parts_of(places))))
    return told


def _prism(wanted: Wanted, path: Path) -> dict[str, Any]:
    from chiploop.record.prism_files import write_prism
    from chiploop.record.prism_tables import prism_tables
    from chiploop.record.unexplained import LEFT_OUT, as_fitted
    from chiploop.report.dose_tables import fed_by, given_doses
    from flows.evidence import evidence_of_run

    with evidence_of_run(wanted.record, wanted.run_id, wanted.runs) as (_, one):
        given = given_doses(one.study, one.actions)
        readouts = as_fitted(one.readouts, wanted.record.events(wanted.run_id, LEFT_OUT))
        tables = prism_tables(one.study, readouts, given, fed_by(one.study, one.actions))
        write_to(path, lambda file: write_prism(tables, wanted.run_id, one.run.simulated, file))
    rows = sum(len(table.rows) for table in tables)
    return {"tables": len(tables), "rows": rows, "marks": sum(len(t.marks) for t in tables)}


def _netcdf(wanted: Wanted, path: Path) -> dict[str, Any]:
    from chiploop.errors import FileNotValid
    from chiploop.record.calibration_file import write_calibration
    from chiploop.record.posterior_file import read_posterior
    from chiploop.refit import readouts_of, study_of
    from flows.fit import calibration_path, case_of_run
    from flows.opening import known_run as files_of

    files = files_of(wanted.run_id, wanted.runs)
    case = case_of_run(files, wanted.cycle, None)
    last = case.evidence[-1]
    kept = calibration_path(files.folder, last.cycle)
    if not kept.is_file():
        raise FileNotValid(
            f"{wanted.run_id} has no calibration of cycle {last.cycle}: there is no {kept}; fit it with "
            f"`chiploop fit {wanted.run_id}`, or name an earlier one with --cycle"
        )
    posterior, info = read_posterior(kept)
    told: dict[str, Any] = {"cycle": last.cycle}

    def write(file: Path) -> None:
        readouts = readouts_of(case.evidence)
        told.update(
            write_calibration(
                file, study_of(case.files), last.schedules, readouts, posterior, info, case.seed, last.cycle
            )
        )  # fmt: skip

    try:
        write_to(path, write)
    except ValueError as problem:
        raise FileNotValid(f"{wanted.run_id} can not be exported: {problem}") from problem
    return told


def _petab(wanted: Wanted, path: Path) -> dict[str, Any]:
    from chiploop.models.petab_export_files import write_problem
    from flows.cli.petab_export import export_as_json, problem_of_run
    from flows.opening import known_run as files_of

    files = files_of(wanted.run_id, wanted.runs)
    problem, cycle = problem_of_run(files, wanted.cycle)
    written: list[Path] = []
    write_to(path, lambda folder: written.extend(write_problem(folder, problem)))
    told = export_as_json(problem, files, cycle, path, written)
    return {
        name: told[name] for name in ("cycle", "chips", "measurements", "parameters", "censored")
    }


TARGETS: dict[str, Target] = {
    "csv": Target(".csv", _csv),
    "parquet": Target(".parquet", _parquet),
    "prism": Target("_prism.zip", _prism),
    "netcdf": Target(".nc", _netcdf, of_one_cycle=True),
    "petab": Target("_petab", _petab, of_one_cycle=True, is_folder=True),
    "eln": Target(".eln", _eln),
}
"""``--to`` -> what it writes; another target is another line."""

TO = typer.Option(..., "--to", help=f"What to write: {', '.join(TARGETS)}.")
UNITS = {"cycle": "cycle {}"}
"""What is not said as a count."""


def export(
    run: str = RUN,
    to: str = TO,
    out: Path | None = typer.Option(
        None, "--out", help="File to write; by default <run> with the target's ending, here."
    ),
    cycle: int | None = typer.Option(
        None, "--cycle", help="Of netcdf and petab: which calibration; default: the last one."
    ),
    runs: Path = RUNS,
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write what is on record of a run as a file for other programs.

    csv and parquet: one long table with every raw, calibrated and derived value, each with the rows that it comes
    from; superseded, failed and excluded ones are there and say so. prism: a zip with a dose-response table per
    readout, chips side by side, and the list of cells that are marked. netcdf: one calibration in ArviZ's groups,
    with its data. petab: one calibration as a PEtab problem (a folder). eln: the whole run for a lab notebook, a
    zipped RO-Crate with report, tables, raw files and record, without secrets of lab.toml.
    The same record gives the same bytes of csv, prism and eln.
    Exit code 2 where there is no such run or target, or the file is there already; 3 where the run can not be
    written so. With --json: {"ok", "run", "to", "file", "simulated"} and what the target tells.
    """
    from flows.record_place import place_of

    target = TARGETS.get(to)
    if target is None:
        raise WrongUse(f"--to {to} is not known; allowed are {', '.join(TARGETS)}")
    if cycle is not None and not target.of_one_cycle:
        raise WrongUse(f"--to {to} is about the whole run; --cycle goes with netcdf and petab")
    with place_of(runs).open_known(create=False) as record:
        simulated = known_run(record, run, runs).simulated
        path = out or Path(f"{run}{target.suffix}")
        if target.is_folder:
            from flows.cli.petab_export import refuse_filled

            refuse_filled(path, force)
        else:
            refuse_existing([path], force)
        told = target.write(Wanted(record, run, runs, cycle), path)
    if as_json:
        facts = {"ok": True, "run": run, "to": to, "file": str(path), "simulated": simulated}
        print_json(facts | told)
        return
    said = ", ".join(UNITS.get(what, f"{{}} {what}").format(count) for what, count in told.items())
    print(f"{'SIMULATED  ' if simulated else ''}{run}: {said} written to {path}")
