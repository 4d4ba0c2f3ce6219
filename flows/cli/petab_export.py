"""``chiploop petab export``: the calibration of a run as a folder that any program for PEtab reads.

Belongs here: which run is meant, what is shown. Not here: the problem (chiploop.models.petab_export), its files
(chiploop.models.petab_export_files). Reads the run; writes the folder alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.output_files import FORCE, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.models.petab_export import ExportedProblem
    from flows.opening import RunFiles

STUDY_FILES = (".yaml", ".yml")


def export(
    run: str = typer.Argument(
        metavar="RUN_OR_STUDY", help="Run id, folder of a run, or a study file that was run once."
    ),
    out: Path = typer.Option(..., "--out", help="Folder that is made for the problem."),
    cycle: int | None = typer.Option(
        None, "--cycle", help="With what was read up to this cycle; default: the last one read."
    ),
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs."),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write the calibration of a run as a PEtab problem (version 1), checked by PEtab's linter.

    Each chip is a condition. Censored readouts can not be said in PEtab version 1: they are left out and
    listed in censored.tsv; those with qc "fail" in failed.tsv. README.md of the folder tells what ids mean
    and by what constant the objective differs from chiploop's. Exit code 0, or 3 for a run that PEtab can not
    express. With --json: {"ok", "run", "cycle", "folder", "files", "chips", "measurements", "observables",
    "parameters", "effects", "censored", "failed", "measurement_constant", "truncation_constant", "notices"}.
    """
    from chiploop.models.petab_export_files import write_problem
    from chiploop.models.petab_export_readme import notices
    from flows.opening import known_run

    refuse_filled(out, force)
    files = known_run(run_of(run, runs), runs)
    problem, of_cycle = problem_of_run(files, cycle)
    written: list[Path] = []
    write_to(out, lambda folder: written.extend(write_problem(folder, problem)))
    told = export_as_json(problem, files, of_cycle, out, written)
    if as_json:
        print_json(told)
        return
    print(
        f"{files.run_id}, cycle {of_cycle}: {told['chips']} chips, {told['measurements']} measurements, "
        f"{told['parameters']} estimated parameters ({told['effects']} of them effects that readings share)"
    )
    for notice in notices(problem):
        print(f"{paint('note:', 'yellow', sys.stdout)} {notice}")
    print(
        f"chiploop's log posterior = PEtab's objective + {problem.measurement_constant:.6f}, see README.md"
    )
    print(f"written: {out}; PEtab's linter finds nothing wrong with it")


def refuse_filled(folder: Path, force: bool) -> None:
    """Raise WrongUse where a folder holds anything that nobody wants to be written over."""
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"{folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise WrongUse(f"{folder} is not empty; name another folder, or add --force")


def run_of(asked: str, runs: Path) -> str:
    """Return the run that is meant: itself, or the only one of a study file."""
    path = Path(asked)
    if path.suffix not in STUDY_FILES or not path.is_file():
        return asked
    from chiploop.study import STUDY_FILE, load_study
    from flows.opening import FACTS_FILE

    name = load_study(path).name
    found = [
        folder.parent.name
        for folder in sorted(runs.glob(f"*/{FACTS_FILE}"))
        if load_study(folder.parent / STUDY_FILE).name == name
    ]
    if len(found) == 1:
        return found[0]
    several = f"it has {len(found)} runs in {runs}: {', '.join(found)}; name one of them"
    none = f"it has no run in {runs}, and without readouts there is nothing to fit"
    raise WrongUse(f"{path} is the study {name}; {several if found else none}")


def problem_of_run(files: RunFiles, cycle: int | None) -> tuple[ExportedProblem, int]:
    """Return the calibration of a run after a cycle as a problem, and the cycle."""
    from chiploop.inference.prior import Prior
    from chiploop.models.petab_export import petab_export
    from chiploop.models.study_model import model_of
    from chiploop.next_exposure import likelihood_of
    from chiploop.refit import study_of
    from flows.fit import case_of_run

    case = case_of_run(files, cycle, None)
    study = study_of(case.files)
    readouts = [readout for evidence in case.evidence for readout in evidence.readouts]
    last = case.evidence[-1]
    likelihood = likelihood_of(study, last.schedules, readouts)
    failed = [readout for readout in readouts if readout.qc == "fail"]
    problem = petab_export(likelihood, Prior.of_study(model_of(study), study), failed)
    return problem, last.cycle


def export_as_json(
    problem: ExportedProblem, files: RunFiles, cycle: int, out: Path, written: list[Path]
) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    from chiploop.models.petab_export_readme import notices

    return {
        "ok": True,
        "run": files.run_id,
        "cycle": cycle,
        "folder": str(out),
        "files": [path.name for path in written],
        "chips": len(problem.chips),
        "measurements": len(problem.measurements),
        "observables": len(problem.observables),
        "parameters": len(problem.parameters),
        "effects": len(problem.effects),
        "censored": len(problem.censored),
        "failed": len(problem.failed),
        "measurement_constant": problem.measurement_constant,
        "truncation_constant": problem.truncation_constant,
        "notices": notices(problem),
    }
