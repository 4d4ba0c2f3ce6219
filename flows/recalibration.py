"""Fits of every open run made again by night: which runs, the fit of each, and what came out.

Belongs here: the flow that a schedule or a worker begins, and its steps. Not here: the schedule (serving), one fit
(flows.fit), workers (flows.fit_many).

Reads runs, journals and the record, writes below ``fit/`` of each run, and opens no instrument, so it may run on
another computer that sees the folder of the runs. A run that its own service fits at this moment is left alone,
and so is one that somebody else fits again.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from chiploop.errors import ChiploopError, FitNotAccepted
from chiploop.record.chain import utc_now
from chiploop.refit import RefitCase, refit
from flows.fit import FIT_FILE, case_of_run, fit_as_json, fit_folder, write_fit, write_whole
from flows.fit_many import Job, Outcome, fit_many
from flows.heartbeat import last_beat
from flows.opening import FACTS_FILE, RunFiles, known_run
from flows.record_place import place_of
from flows.serving_place import FLOW_NAME, LAST_FILE
from flows.timeline_pages import markdown_table

STEP: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
FIT_LOCK, CASE_FILE = "fit.lock", "case.sha256"
FITS = "fitting"
"""How the loop begins to tell of its own fit."""

State = Literal["fitted", "not accepted", "nothing new", "left alone", "not fitted"]


class BeingFitted(Exception):
    """Somebody else fits a run now."""


class NotAllFitted(ChiploopError):
    """A run could not be fitted again, or its fit was not accepted; the others were."""

    code = "CL-122"
    exit_code = FitNotAccepted.exit_code


@dataclass(frozen=True)
class Refitted:
    """What became of one run."""

    run: str
    state: State
    told: str
    """The fit's folder, or why there is none."""


@dataclass(frozen=True)
class Wanted:
    """One run that is to be fitted."""

    files: RunFiles
    case: RefitCase
    folder: Path
    digest: str

    @property
    def cycle(self) -> int:
        """The last cycle that has readouts."""
        return self.case.evidence[-1].cycle

    @property
    def is_known(self) -> bool:
        """Whether this very case was fitted here before."""
        known = self.folder / CASE_FILE
        return (
            (self.folder / FIT_FILE).is_file()
            and known.is_file()
            and known.read_text(encoding="utf-8") == self.digest
        )


def open_runs(runs: Path) -> list[str]:
    """Return the runs of a folder that have begun and not ended."""
    names = sorted(path.parent.name for path in runs.glob(f"*/{FACTS_FILE}"))
    place = place_of(runs)
    if not place.is_there():
        return []
    with place.open(create=False) as record:
        states = {run.run_id: run.state for run in record.runs()}
    return [name for name in names if states.get(name, "finished") != "finished"]


def fits_now(files: RunFiles) -> bool:
    """Return whether the run's own process fits it at this moment."""
    beat = last_beat(files.folder)
    return beat is not None and beat.is_alive and beat.doing.startswith(FITS)


def case_digest(case: RefitCase) -> str:
    """Return what tells whether a run has anything new to learn from."""
    return hashlib.sha256(pickle.dumps(case)).hexdigest()


def wanted_fits(runs: Path, stack: ExitStack) -> tuple[list[Wanted], list[Refitted]]:
    """Return what is to be fitted, with its lock held by the stack, and what is not."""
    wanted, passed_over = [], []
    for run in open_runs(runs):
        try:
            files = known_run(run, runs)
            if fits_now(files):
                raise BeingFitted("its own process fits it now")
            try:
                stack.enter_context(FileLock(files.folder / FIT_LOCK, timeout=0))
            except Timeout:
                raise BeingFitted("another process fits it again now") from None
            if not has_readouts(files):
                passed_over.append(Refitted(run, "nothing new", "nothing was read yet"))
                continue
            case = replace(case_of_run(files, None, None), is_reviewed=True)
            one = Wanted(files, case, fit_folder(files, case), case_digest(case))
            if one.is_known:
                passed_over.append(Refitted(run, "nothing new", str(one.folder)))
            else:
                wanted.append(one)
        except BeingFitted as other:
            passed_over.append(Refitted(run, "left alone", str(other)))
        except (ChiploopError, OSError) as problem:
            passed_over.append(Refitted(run, "not fitted", str(problem)))
    return wanted, passed_over


def has_readouts(files: RunFiles) -> bool:
    """Return whether anything of a run was read."""
    with place_of(files.runs).open(create=False) as record:
        return bool(record.readouts(files.run_id))


def written(one: Wanted, outcome: Outcome) -> Refitted:
    """Write what a fit found beside its run, and say what became of it."""
    run = one.files.run_id
    if outcome.failure is not None:
        return Refitted(run, "not fitted", outcome.failure.message)
    told = fit_as_json(one.files, one.case, outcome.value)
    write_fit(one.folder, one.case, outcome.value, told)
    (one.folder / CASE_FILE).write_text(one.digest, encoding="utf-8")
    return Refitted(run, "fitted" if told["passed"] else "not accepted", str(one.folder))


@task(name="fit again", task_run_name="{named}", **STEP)
def fit_again(wanted: list[Wanted], workers: int, named: str) -> list[Refitted]:
    """Fit runs again, side by side where there are workers for it."""
    jobs = [Job(one.files.run_id, refit, {"case": one.case}) for one in wanted]
    outcomes = fit_many(jobs, min(workers, len(jobs)))
    return [written(one, outcome) for one, outcome in zip(wanted, outcomes, strict=True)]


@flow(
    name=FLOW_NAME,
    flow_run_name="recalibrate the open runs of {runs}",
    persist_result=False,
    log_prints=False,
)
def recalibrate_open_runs(runs: str, workers: int = 1) -> list[dict[str, str]]:
    """Fit every open run of a folder again from its record, and write fit.json and a page to look at."""
    folder = Path(runs)
    with ExitStack() as stack:
        wanted, found = wanted_fits(folder, stack)
        side_by_side = workers > 1 and len(wanted) > 1
        for group in [wanted] if side_by_side else [[one] for one in wanted]:
            names = ", ".join(f"{one.files.run_id} · cycle {one.cycle}" for one in group)
            found += fit_again(group, workers, f"{names} · fit again")
    keep_told(folder, found)
    with suppress(Exception):  # a page that can not be shown changes nothing
        rows = [(one.run, one.state, one.told) for one in found]
        text = "\n".join(markdown_table(("run", "", "where, or why not"), rows))
        create_markdown_artifact(text, key="recalibration", description=f"open runs of {runs}")
    refused = [one for one in found if one.state in ("not fitted", "not accepted")]
    if refused:
        raise NotAllFitted("; ".join(f"{one.run} {one.state}: {one.told}" for one in refused))
    return [asdict(one) for one in found]


def keep_told(runs: Path, found: list[Refitted]) -> None:
    """Keep beside the runs what came out, for ``chiploop status``."""
    told = {"at_utc": utc_now(), "runs": [asdict(one) for one in found]}
    write_whole(runs / LAST_FILE, json.dumps(told, indent=1) + "\n")
