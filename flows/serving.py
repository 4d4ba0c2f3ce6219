"""The nightly recalibration on a schedule: kept by this process, or handed to a work pool of a standing server.

Belongs here: the deployment, and keeping it. Not here: what it does (recalibration), options (cli.serve).

Prefect begins each recalibration as a process of its own. Instruments are no part of it: only recalibrations
are ever handed to a pool, since the loop of a run belongs to the computer with the cable.
"""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chiploop.errors import ChiploopError, InstrumentTrouble, WrongUse
from flows.prefect_keeper import kept
from flows.prefect_server import FlowEngineTrouble, start_in_background
from flows.prefect_settings import HOST
from flows.serving_place import (
    DEPLOYMENT_NAME,
    LOCK_FILE,
    SERVER_FOLDER,
    SERVING_FILE,
    tell_serving,
)

AGAIN_AFTER_S = 30.0
"""Until the schedule is kept again where Prefect gave up, as it does where its server is away for long."""

_log = logging.getLogger(__name__)


class ServedElsewhere(ChiploopError):
    """Another process keeps the schedule of this folder."""

    code = "CL-406"
    exit_code = InstrumentTrouble.exit_code


def cron_of(at: str) -> tuple[str, str]:
    """Return a time of day, or five fields of cron, as cron and in words. WrongUse where it is neither."""
    clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at.strip())
    if clock:
        hour, minute = int(clock.group(1)), int(clock.group(2))
        return f"{minute} {hour} * * *", f"every day at {hour:02d}:{minute:02d}"
    if re.fullmatch(r"[0-9a-zA-Z*,/#-]+( [0-9a-zA-Z*,/#-]+){4}", at.strip()):
        return at.strip(), f"by cron {at.strip()}"
    raise WrongUse(f"{at!r} is no time; one is 02:00, or five fields of cron: '0 2 * * mon-fri'")


def local_timezone() -> str:
    """Return the name of this computer's time zone; UTC where it can not be had."""
    link = Path("/etc/localtime")
    named = os.environ.get("TZ", "").lstrip(":")
    if not named and link.is_symlink():
        named = os.readlink(link).partition("zoneinfo/")[2]
    return named or "UTC"


def deployment_of(runs: Path, cron: str, workers: int) -> Any:
    """Return the deployment of a folder's recalibration."""
    from prefect.deployments.runner import EntrypointType
    from prefect.schedules import Cron

    from flows.recalibration import recalibrate_open_runs

    return recalibrate_open_runs.to_deployment(
        name=DEPLOYMENT_NAME,
        schedule=Cron(cron, timezone=local_timezone()),
        parameters={"runs": str(runs.resolve()), "workers": workers},
        concurrency_limit=1,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def scheduled(runs: Path, cron: str, workers: int) -> Any:
    """Return the deployment of a folder's recalibration. WrongUse where Prefect does not know its times."""
    from pydantic import ValidationError

    try:
        return deployment_of(runs, cron, workers)
    except (ValidationError, ValueError) as problem:
        raise WrongUse(f"{cron!r} is no schedule of cron: {problem}") from problem


def keep_schedule(runs: Path, at: str, workers: int, tell: Any = print) -> None:
    """Keep the schedule until Ctrl-C or SIGTERM. ServedElsewhere where another process does."""
    if not runs.is_dir():
        raise WrongUse(f"there is no folder {runs}; name the folder of your runs with --runs")
    cron, said = cron_of(at)
    lock = FileLock(runs / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ServedElsewhere(
            f"another process keeps the schedule of {runs}; chiploop status --runs {runs} names it"
        ) from None
    with lock:
        server = start_in_background(runs / SERVER_FOLDER, schedules=True)
        try:
            server.wait_ready()
            pages = f"http://{HOST}:{server.port}"
            tell_serving(runs, cron, said, pages)
            tell(
                f"Recalibration of the open runs in {runs} {said}; {pages} shows it. Ctrl-C ends it."
            )
            with kept(server):
                serve_on(scheduled(runs, cron, workers))
            (runs / SERVING_FILE).unlink(missing_ok=True)  # stays where this process is killed
        finally:
            server.stop()


def serve_on(deployment: Any) -> None:
    """Keep one deployment until this process is asked to end, however often Prefect gives up."""
    from prefect import serve

    while True:
        try:
            serve(deployment, pause_on_shutdown=False, print_starting_message=False, limit=1)
            return
        except Exception as problem:
            if type(problem).__name__ == "TerminationSignal":
                return
            _log.warning("Prefect gave the schedule up (%s); again in %g s", problem, AGAIN_AFTER_S)
            time.sleep(AGAIN_AFTER_S)


def hand_to_pool(api: str, pool: str, runs: Path, at: str, workers: int) -> str:
    """Put the recalibration on a standing server for the workers of a pool; return its name there.

    FlowEngineTrouble where the server does not answer, WrongUse where it has no such pool.
    """
    cron, _ = cron_of(at)
    os.environ |= {
        "PREFECT_API_URL": api,
        "DO_NOT_TRACK": "1",
    }  # read once, when Prefect is imported
    from prefect.exceptions import ObjectNotFound

    deployment = scheduled(runs, cron, workers)
    deployment.work_pool_name = pool
    try:
        deployment.apply()
    except Exception as problem:
        if isinstance(problem, ObjectNotFound) or "work pool" in str(problem).lower():
            raise WrongUse(
                f"{api} has no work pool {pool}: prefect work-pool create {pool} --type process"
            ) from problem
        raise FlowEngineTrouble(f"{api} did not take the deployment: {problem}") from problem
    return f"{deployment.flow_name}/{deployment.name}"
