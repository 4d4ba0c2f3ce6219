"""Fits of runs made again: from run folders to cases, through a Prefect flow on Dask workers, to files.

Belongs here: what of a run a case holds, the flow, the files of a fit (``posterior.nc``, ``fit.json``,
``review.json``, ``review.html``, ``comparison.json``). Not here: the calibration (chiploop.refit), workers
(flows.fit_many), what a person sees (cli.fit).

Reads a run and writes nothing into its record or journal; touches no instrument. Nothing in Prefect's state
decides anything: outcomes come back as values, in the order of the jobs.
"""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

import chiploop
from chiploop.errors import FileNotValid, WrongUse
from chiploop.inference.posterior import Limits, Posterior
from chiploop.models.facts import facts_path
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import read_posterior, write_posterior
from chiploop.record.unexplained import decided_on_record
from chiploop.refit import Refit, RefitCase, evidence_up_to, readouts_of, study_of
from chiploop.study import MODEL_FOLDER, STUDY_FILE
from flows.fit_many import DASK, Job, Outcome, carry_out_packed, need, open_workers, outcome_of
from flows.opening import RunFiles
from flows.prefect_server import start_in_background
from flows.record_place import place_of
from flows.whole_files import write_whole

POSTERIOR_FILE, FIT_FILE = "posterior.nc", "fit.json"
REVIEW_FILE, PAGE_FILE, COMPARISON_FILE = "review.json", "review.html", "comparison.json"


def calibration_path(folder: Path, cycle: int) -> Path:
    """Return where a run keeps the posterior that its loop found after a cycle."""
    return folder / f"cal-{cycle:02d}" / POSTERIOR_FILE


def fit_folder(files: RunFiles, case: RefitCase) -> Path:
    """Return where the files of a fit go unless a person names another folder."""
    return files.folder / "fit" / f"c{case.evidence[-1].cycle:02d}-seed{case.seed}"


def case_of_run(files: RunFiles, cycle: int | None, seed: int | None) -> RefitCase:
    """Return one calibration of a run as plain values.

    ``cycle`` None: the last one that has readouts. ``seed`` None: the run's own, which gives the loop's posterior.

    Raises WrongUse for a cycle that the study does not have, FileNotValid where nothing can be fitted.
    """
    book, place = files.journal, place_of(files.runs)
    for needed in (place.file, book):
        if needed is not None and not needed.is_file():
            raise FileNotValid(f"{files.run_id} can not be fitted: there is no {needed}")
    with place.open(create=False) as record:
        if record.run(files.run_id) is None:
            raise FileNotValid(f"{place.shown} knows no run {files.run_id}")
        readouts = record.readouts(files.run_id)
        decided = decided_on_record(record, files.run_id)
    with Journal(book) as journal:
        actions = journal.actions(files.run_id)
    cycles = files.study.timeline.cycles
    if cycle is not None and not 1 <= cycle <= cycles:
        raise WrongUse(f"cycle {cycle} was asked; the study of {files.run_id} has 1 to {cycles}")
    asked = max((r.cycle for r in readouts), default=0) if cycle is None else cycle
    evidence = evidence_up_to(files.study, actions, readouts, asked, decided)
    if not evidence or not any(r.qc != "fail" for r in evidence[-1].readouts):
        earlier = [one.cycle for one in evidence if any(r.qc != "fail" for r in one.readouts)]
        failed = sum(len(one.readouts) for one in evidence[-1:])
        why = f"all its {failed} readouts failed or were excluded; " if failed else ""
        instead = f"; fit up to the one before with --cycle {earlier[-1]}" if earlier else ""
        raise FileNotValid(
            f"{files.run_id} has no readouts of cycle {asked or 1} to learn from; {why}nothing was "
            f"fitted{instead}"
        )
    return RefitCase(
        files=frozen_texts(files),
        seed=files.seed if seed is None else seed,
        evidence=evidence,
        previous=previous_posterior(files.folder, asked),
    )


def frozen_texts(files: RunFiles) -> dict[str, bytes]:
    """Return the study and the two files of the model that it fits, as the run keeps them."""
    text = Path(files.study.tissue.path)
    try:
        texts = {f"{MODEL_FOLDER}/{p.name}": p.read_bytes() for p in (text, facts_path(text))}
        return {STUDY_FILE: (files.folder / STUDY_FILE).read_bytes(), **texts}
    except OSError as problem:
        raise FileNotValid(
            f"{files.run_id} can not be fitted: {problem.filename} can not be read "
            f"({problem.strerror})"
        ) from problem


def previous_posterior(folder: Path, cycle: int) -> Posterior | None:
    """Return what the loop found before a cycle; None where it is not there and must be found again."""
    path = calibration_path(folder, cycle - 1)
    if cycle == 1 or not path.is_file():
        return None
    try:
        return read_posterior(path)[0]
    except (OSError, KeyError, ValueError, TypeError) as problem:
        raise FileNotValid(
            f"{path} is damaged ({problem}); without the file the fits before are made again"
        ) from problem


def is_of_the_loop(files: RunFiles, found: Refit) -> bool | None:
    """Return whether a fit is the loop's own to the last bit; None where it need not be or none is there."""
    path = calibration_path(files.folder, found.cycle)
    if found.seed != files.seed or not path.is_file():
        return None
    try:
        own = read_posterior(path)[0]
    except (OSError, KeyError, ValueError, TypeError):
        return None
    return all(
        np.array_equal(getattr(own, part.name), getattr(found.posterior, part.name))
        for part in fields(Posterior)
    )


def fit_as_json(files: RunFiles, case: RefitCase, found: Refit) -> dict[str, Any]:
    """Return a fit as one object of plain values."""
    readouts = readouts_of(case.evidence)
    tissue = study_of(case.files).tissue
    is_own = tissue.sha256 == files.study.tissue.sha256
    told: dict[str, Any] = plain(
        {
            "ok": found.info.passed,
            "run": files.run_id,
            "simulated": files.simulated,
            "cycle": found.cycle,
            "seed": found.seed,
            "passed": found.info.passed,
            "failures": list(found.info.failures),
            "warnings": list(found.info.warnings),
            "same_as_loop": is_of_the_loop(files, found) if is_own else None,
            "parameters": {
                one.name: {key: value for key, value in asdict(one).items() if key != "name"}
                for one in found.parameters
            },
            "goals": {goal.name: goal.facts() for goal in found.goals},
            "diagnostics": {**asdict(found.info), "limits": asdict(Limits())},
            "review": review_in_short(found),
            "readouts": {
                "used": sum(readout.qc != "fail" for readout in readouts),
                "left_out": sum(readout.qc == "fail" for readout in readouts),
            },
            "study": files.study.name,
            "model": tissue.model,
            "model_sha256": tissue.sha256,
            "chiploop": chiploop.__version__,
        }
    )
    return told


def plain(value: Any) -> Any:
    """Return plain values as JSON knows them; None for a number that is not finite."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def review_in_short(found: Refit) -> dict[str, Any] | None:
    """Return what a review asks a person to look at; None where none was asked for."""
    if found.not_reviewed:
        said = f"This fit could not be reviewed: {found.not_reviewed}."
        return {"look_at": [said], "elpd": None, "elpd_se": None, "predictive_p": {}}
    if found.review is None:
        return None
    return {
        "look_at": list(found.review.sentences),
        "elpd": found.review.left_out.elpd,
        "elpd_se": found.review.left_out.standard_error,
        "predictive_p": dict(found.review.predictive_p),
    }


def write_fit(folder: Path, case: RefitCase, found: Refit, told: dict[str, Any]) -> None:
    """Write the files of a fit, each whole or not at all. OSError where the folder can not be written."""
    folder.mkdir(parents=True, exist_ok=True)
    write_posterior(folder / POSTERIOR_FILE, found.posterior, found.info)
    write_whole(folder / FIT_FILE, as_text(told))
    for name in (REVIEW_FILE, PAGE_FILE):  # one of an earlier fit would be taken for this one's
        (folder / name).unlink(missing_ok=True)
    if found.review is not None:
        from chiploop.report.fit_page import fit_page  # draws, so it is slow to import

        write_whole(folder / REVIEW_FILE, as_text(plain(asdict(found.review))))
        page = fit_page(study_of(case.files), told["run"], told["simulated"], found)
        write_whole(folder / PAGE_FILE, page)


def write_comparison(folder: Path, comparison: dict[str, Any]) -> None:
    """Write how two models compare, as plain values. OSError where the folder can not be written."""
    write_whole(folder / COMPARISON_FILE, as_text(comparison))


def as_text(told: Any) -> str:
    """Return plain values as the text of a JSON file."""
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def fit_side_by_side(
    jobs: Sequence[Job],
    workers: int,
    scheduler: str | None,
    home: Path,
    tell: Callable[[Outcome], None],
) -> list[Outcome]:
    """Carry out jobs as tasks of a Prefect flow on Dask workers; return their outcomes in the jobs' order.

    Parameters
    ----------
    home
        Folder for the files of the Prefect server, which ends with this call as the workers do.
    tell
        Called with each outcome, in the jobs' order.

    Raises
    ------
    FlowEngineTrouble
        Prefect's server did not start.
    ExtraMissing, WrongUse, WorkersLost
        As ``fit_many``.
    """
    need(*DASK, "prefect_dask")
    server = start_in_background(home)
    # An interrupt or a lost server reaches the caller as an error; Prefect need not tell it too.
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    try:
        # The workers take Prefect's variables from this process, so they come after them.
        with open_workers(workers, scheduler) as client:
            server.wait_ready()
            from prefect import flow, task
            from prefect.cache_policies import NO_CACHE
            from prefect_dask import DaskTaskRunner

            runner: Any = DaskTaskRunner(
                address=client.scheduler_info()["address"],
                client_kwargs={"security": client.security},
            )
            step = task(cache_policy=NO_CACHE, persist_result=False)(carry_out_packed)
            outcomes: list[Outcome] = []

            @flow(name="fit runs", task_runner=runner, persist_result=False)
            def fit_runs() -> None:
                """Fit every run, each as one task."""
                futures = [
                    step.with_options(name=f"fit {job.key}").submit(pickle.dumps(job))
                    for job in jobs
                ]
                for job, future in zip(jobs, futures, strict=True):
                    outcomes.append(outcome_of(job.key, future))
                    tell(outcomes[-1])

            fit_runs()
            return outcomes
    finally:
        server.stop()
