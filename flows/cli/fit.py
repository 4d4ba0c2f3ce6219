"""``chiploop fit``: a run's calibration made again from its record, for one run or for many side by side.

Belongs here: options, the table, exit codes. Not here: what is fitted (chiploop.refit, flows.fit), workers
(flows.fit_many). Heavy libraries are imported inside the functions.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import ChiploopError, FitNotAccepted, WrongUse
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.inference.compare import Candidate
    from chiploop.inference.posterior import CalibrationInfo
    from chiploop.refit import RefitCase
    from flows.fit_many import Failure, Job, Outcome
    from flows.opening import RunFiles

SCHEDULER_VARIABLE = "CHIPLOOP_SCHEDULER"
ADDRESS = re.compile(r"(tcp|tls)://[^/:\s]+:\d{1,5}")


@dataclass(frozen=True)
class Asked:
    """One run that is to be fitted."""

    files: RunFiles
    case: RefitCase
    folder: Path
    """Where its fit is written."""
    other: RefitCase | None = None
    """The same readouts with the model that the run's own is compared with."""

    @property
    def other_key(self) -> str:
        """The name of the job that fits the other model."""
        return f"{self.files.run_id} with the other model"

    def jobs(self) -> list[Job]:
        """Return what is to be carried out for this run."""
        from chiploop.refit import refit
        from flows.fit_many import Job

        own = Job(self.files.run_id, refit, {"case": self.case})
        if self.other is None:
            return [own]
        return [own, Job(self.other_key, refit, {"case": self.other})]


@dataclass
class Fitted:
    """What becomes of one run while the command goes on."""

    asked: Asked | None
    """None where it can not be fitted."""
    told: dict[str, Any] = field(default_factory=dict)
    """What ``--json`` shows of it."""
    info: CalibrationInfo | None = None
    candidate: Candidate | None = None
    """What the run's own model is compared with another one by."""


def fit(
    runs_asked: list[str] = typer.Argument(
        None, metavar="RUN", help="Run ids, or folders of runs."
    ),
    every: bool = typer.Option(False, "--all", help="Every run of the folder."),
    cycle: int | None = typer.Option(
        None, "--cycle", help="Fit what was read up to this cycle; default: the last one read."
    ),
    seed: int | None = typer.Option(
        None, "--seed", min=0, help="Seed of the statistics; default: the run's own."
    ),
    review: bool = typer.Option(
        True, "--review/--no-review", help="Work out what to look at, with figures (review.html)."
    ),
    against: str | None = typer.Option(
        None, "--against", metavar="MODEL", help="Compare the run's model with this one."
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Folder for the files of the fit; default: fit/ in the run's."
    ),
    force: bool = FORCE,
    workers: int | None = typer.Option(
        None, "--workers", min=1, help="Fit runs side by side in so many processes; default: 1."
    ),
    scheduler: str | None = typer.Option(
        None,
        "--scheduler",
        help=f"Address of a Dask scheduler, tcp://HOST:PORT; default: {SCHEDULER_VARIABLE}.",
    ),
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Fit runs again from what stands on record; touches no instrument and decides nothing.

    With the run's own seed it finds what the loop found, to the last bit. Writes posterior.nc,
    fit.json and, to be looked at, review.html. Exit code 0 where every fit passed its diagnostics,
    6 where one did not, 3 where a run can not be fitted. With --json: {"ok", "run", "cycle",
    "passed", "failures", "warnings", "parameters", "goals", "diagnostics", "review", ...}; of
    several runs {"ok", "runs": [...]}.
    """
    if bool(runs_asked) == every:
        raise WrongUse("name the runs to fit, or --all for every run of the folder")
    if against is not None and not review:
        raise WrongUse("--against compares by what the review works out; leave --no-review out")
    text = other_text(against)
    address = scheduler_of(scheduler, workers)
    names = run_names(runs) if every else list(dict.fromkeys(runs_asked))
    single = not every and len(names) == 1
    fits: dict[str, Fitted] = {}
    for name in names:
        try:
            asked = prepared(name, runs, cycle, seed, out, single, review, text)
            refuse_written(asked.folder, out, force)
            fits[asked.files.run_id] = Fitted(asked)
        except ChiploopError as problem:
            if single:
                raise
            fits[name] = Fitted(None, failed_as_json(name, problem))
    carry_all_out(fits, workers or 1, address, tells=not (single or as_json))
    if single:
        (only,) = fits.values()
        if "error" in only.told:
            raise Refused(only.told["error"])
    show(list(fits.values()), single, as_json)
    code = exit_code([one.told for one in fits.values()])
    if code:
        raise typer.Exit(code)


class Refused(ChiploopError):
    """What a fit raised in another place, told as it was there."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["message"])
        self.code, self.exit_code = told["code"], told["exit_code"]


def scheduler_of(asked: str | None, workers: int | None) -> str | None:
    """Return the address of the cluster that is meant, None for this computer.

    The option goes before --workers, and --workers before the variable of the environment.
    """
    if asked is not None and workers is not None:
        raise WrongUse("--workers are processes of this computer; a scheduler brings its own")
    address = asked or (os.environ.get(SCHEDULER_VARIABLE, "") if workers is None else "")
    if address and not ADDRESS.fullmatch(address):
        raise WrongUse(f"{address} is no address of a scheduler; one is tcp://10.0.0.5:8786")
    return address or None


def run_names(runs: Path) -> list[str]:
    """Return every run of a folder; WrongUse where there is none."""
    from flows.opening import FACTS_FILE

    names = sorted(path.parent.name for path in runs.glob(f"*/{FACTS_FILE}"))
    if not names:
        raise WrongUse(f"there are no runs in {runs}; name the folder of your runs with --runs")
    return names


def other_text(against: str | None) -> Path | None:
    """Return the text of the model to compare with; FileNotValid where there is none."""
    from chiploop.models.facts import model_path

    return None if against is None else model_path(against)


def prepared(
    name: str,
    runs: Path,
    cycle: int | None,
    seed: int | None,
    out: Path | None,
    single: bool,
    review: bool,
    against: Path | None,
) -> Asked:
    """Return a run with its case and where its fit goes."""
    from chiploop.refit import with_model
    from flows.fit import case_of_run, fit_folder
    from flows.opening import known_run

    files = known_run(name, runs)
    case = replace(case_of_run(files, cycle, seed), is_reviewed=review)
    other = None if against is None else with_model(case, against)
    folder = fit_folder(files, case)
    if out is not None:
        folder = out if single else out / files.run_id
    return Asked(files, case, folder, other)


def refuse_written(folder: Path, named: Path | None, force: bool) -> None:
    """Raise WrongUse where a folder that a person named holds a fit already."""
    from flows.fit import FIT_FILE, POSTERIOR_FILE

    if named is not None and folder.is_dir():
        refuse_existing([folder / POSTERIOR_FILE, folder / FIT_FILE], force)


def carry_all_out(
    fits: dict[str, Fitted], workers: int, scheduler: str | None, tells: bool
) -> None:
    """Fit every run that has a case, write what was found, and put it beside the run."""
    from flows.cli.fit_table import verdict

    places = {
        job.key: one for one in fits.values() if one.asked is not None for job in one.asked.jobs()
    }

    def take(outcome: Outcome) -> None:
        one = places[outcome.key]
        assert one.asked is not None
        told = (take_other if outcome.key == one.asked.other_key else take_own)(one, outcome)
        if tells:
            print(f"{outcome.key}: {verdict(told)}", file=sys.stderr, flush=True)

    jobs = [job for one in fits.values() if one.asked is not None for job in one.asked.jobs()]
    fit_jobs(jobs, workers, scheduler, take)


def take_own(one: Fitted, outcome: Outcome) -> dict[str, Any]:
    """Keep, write and return what the fit of a run's own model found."""
    from flows.fit import fit_as_json, write_fit

    assert one.asked is not None
    asked = one.asked
    if outcome.failure is not None:
        keep_traceback(outcome.failure)
        one.told = failed_as_json(outcome.key, outcome.failure)
        return one.told
    found = outcome.value
    one.info, one.candidate = found.info, found.candidate
    one.told = told = fit_as_json(asked.files, asked.case, found)
    write_to(asked.folder, lambda folder: write_fit(folder, asked.case, found, told))
    return told


def take_other(one: Fitted, outcome: Outcome) -> dict[str, Any]:
    """Compare a run's own model with the other one, which was fitted after it; write and return what was found."""
    from chiploop.inference.compare import compared
    from flows.fit import fit_as_json, plain, write_comparison, write_fit

    assert one.asked is not None and one.asked.other is not None
    asked, case = one.asked, one.asked.other
    if "error" in one.told:
        return one.told
    if outcome.failure is not None:
        keep_traceback(outcome.failure)
        one.told["comparison"] = failed_as_json(one.told["run"], outcome.failure)
        one.told["ok"] = False
        return dict(one.told["comparison"])
    found = outcome.value
    told = fit_as_json(asked.files, case, found)
    folder = asked.folder / f"against-{Path(told['model']).stem}"
    write_to(folder, lambda folder: write_fit(folder, case, found, told))
    assert one.candidate is not None
    comparison = compared(one.candidate, found.candidate)
    refused = [fit["model"] for fit in (one.told, told) if not fit["passed"]]
    beside = {"ok": not refused, "not_accepted": refused, **plain(asdict(comparison))}
    write_to(folder, lambda folder: write_comparison(folder, beside))
    one.told["comparison"] = beside
    one.told["ok"] = not refused
    return told


def fit_jobs(
    jobs: list[Job], workers: int, scheduler: str | None, take: Callable[[Outcome], None]
) -> None:
    """Carry out jobs here one after the other, or side by side where that is asked for."""
    from flows.fit import fit_side_by_side
    from flows.fit_many import carry_out
    from flows.prefect_server import FlowEngineTrouble

    if not jobs:
        return
    if scheduler is None and workers == 1:
        for job in jobs:
            take(carry_out(job))
        return
    home, is_wanted = Path(tempfile.mkdtemp(prefix="chiploop-fit-")), False
    try:
        fit_side_by_side(jobs, min(workers, len(jobs)), scheduler, home, take)
    except FlowEngineTrouble:
        is_wanted = True  # its message names the log there
        raise
    finally:
        if not is_wanted:
            shutil.rmtree(home, ignore_errors=True)


def keep_traceback(failure: Failure) -> None:
    """Put the traceback of what should not have happened into the log."""
    from flows.cli.screen import log_path

    if failure.code == ChiploopError.code and failure.details:
        path = log_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{failure.details}\n")


def failed_as_json(run: str, problem: ChiploopError | Failure) -> dict[str, Any]:
    """Return what is told of a run that was not fitted."""
    message = str(problem) if isinstance(problem, ChiploopError) else problem.message
    error = {"code": problem.code, "exit_code": problem.exit_code, "message": message}
    return {"ok": False, "run": run, "error": error}


def exit_code(told: list[dict[str, Any]]) -> int:
    """Return 0 where all passed, the code of the first that was not fitted, or that of a fit not accepted.

    A model that a run's own was compared with counts as well.
    """
    everything = [each for one in told for each in (one, one.get("comparison", {"ok": True}))]
    for one in everything:
        if "error" in one:
            return int(one["error"]["exit_code"])
    return 0 if all(one["ok"] for one in everything) else FitNotAccepted.exit_code


def show(fits: list[Fitted], single: bool, as_json: bool) -> None:
    """Print what was found and where it stands."""
    told = [one.told for one in fits]
    if as_json:
        print_json(told[0] if single else {"ok": all(one["ok"] for one in told), "runs": told})
        return
    from rich.console import Console

    from flows.cli.fit_table import line, mark, show_fit, show_runs
    from flows.fit import PAGE_FILE

    console = Console(highlight=False)
    if single:
        show_fit(console, told[0], fits[0].info)
    else:
        show_runs(console, told)
    for one in fits:
        if one.asked is None or "error" in one.told:
            continue
        folder = one.asked.folder
        line(console, f"{mark(one.told)}Fit: {folder}")
        if one.told["review"] is not None:
            line(console, f"{mark(one.told)}To look at: {folder / PAGE_FILE}")
