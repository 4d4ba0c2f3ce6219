"""Many calculations side by side: in this process, in processes of this computer, or on a Dask cluster.

Belongs here: jobs and their outcomes, workers from their start to their end. Not here: which fits (flows.fit),
what is fitted (chiploop).

A job is a function of a module and plain values, so that it means the same in every process; what it returns
hangs on these alone, never on the number of workers or their order. A job that raises is an outcome like any
other. Dask is an extra and is imported where it is asked for.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import chiploop
from chiploop.errors import ChiploopError, WrongUse

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

HOST = "127.0.0.1"
EXTRA = 'pip install "chiploop[dask]"'
DASK = ("dask", "distributed")
CONNECT_S = 10.0
"""How long a scheduler's answer is waited for."""
OF_A_WORKER = {"CHIPLOOP_THREADS": "1"}
"""Variables of a worker: one thread each, as there is a worker for every core."""
BEFORE_NUMPY = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Variables that a worker must have before it imports numpy."""

IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What a worker of this computer does first: Ctrl-C is for the process that started it."""


class ExtraMissing(ChiploopError):
    """A package that only several workers need is not installed."""

    exit_code = 3
    code = "CL-121"


class WorkersLost(ChiploopError):
    """Workers or their scheduler can not be reached, or died; no instrument is concerned."""

    code = "CL-120"


@dataclass(frozen=True)
class Job:
    """One call of a function of a module."""

    key: str
    """What it is called in outcomes and messages."""
    function: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Plain values: numbers, texts, arrays, dataclasses of these; nothing compiled."""

    def __post_init__(self) -> None:
        name = getattr(self.function, "__qualname__", "")
        home = import_module(self.function.__module__)
        if getattr(home, name, None) is not self.function:
            raise ValueError(
                f"job {self.key}: {self.function!r} is no function of a module; other processes "
                "can not find it"
            )


@dataclass(frozen=True)
class Failure:
    """Why a job has no value, in words that pass between processes."""

    code: str
    exit_code: int
    message: str
    details: str = ""
    """The traceback, for a log."""


@dataclass(frozen=True)
class Outcome:
    """What became of one job."""

    key: str
    value: Any = None
    failure: Failure | None = None
    """None where it has a value."""
    wall_s: float = 0.0
    process: int = 0
    """Id of the process that carried it out."""


def failure_of(problem: BaseException) -> Failure:
    """Return an error as a failure; what is not ours counts as a bug."""
    details = "".join(traceback.format_exception(problem))
    if isinstance(problem, ChiploopError):
        return Failure(problem.code, problem.exit_code, str(problem), details)
    message = f"this should not have happened ({type(problem).__name__}: {problem})"
    return Failure(ChiploopError.code, ChiploopError.exit_code, message, details)


def carry_out(job: Job) -> Outcome:
    """Carry out one job; what it raises is its outcome."""
    begun = time.monotonic()
    try:
        value, failure = job.function(**job.arguments), None
    except Exception as problem:
        value, failure = None, failure_of(problem)
    return Outcome(job.key, value, failure, time.monotonic() - begun, os.getpid())


def carry_out_packed(packed: bytes) -> bytes:
    """Carry out a pickled job and return its pickled outcome: as bytes nothing on the way looks into them."""
    job: Job = pickle.loads(packed)
    outcome = carry_out(job)
    try:
        return pickle.dumps(outcome)
    except Exception as problem:
        return pickle.dumps(Outcome(job.key, failure=failure_of(problem)))


def fit_many(jobs: Sequence[Job], workers: int = 1, scheduler: str | None = None) -> list[Outcome]:
    """Carry out jobs and return their outcomes, in the jobs' order.

    Parameters
    ----------
    workers
        Processes of this computer, of one thread each; 1 is this process itself, without Dask.
    scheduler
        Address of a Dask scheduler, e.g. ``tcp://10.0.0.5:8786``, whose workers are used instead.

    Raises
    ------
    ExtraMissing
        Dask is not installed.
    WrongUse
        The workers of the scheduler hold another version of chiploop, or none.
    WorkersLost
        The scheduler does not answer or has no workers.
    """
    if scheduler is None and workers <= 1:
        return [carry_out(job) for job in jobs]
    with open_workers(workers, scheduler) as client:
        return on_workers(client, jobs)


def on_workers(client: Client, jobs: Sequence[Job]) -> list[Outcome]:
    """Carry out jobs on workers that are open already; return their outcomes in the jobs' order."""
    futures = [client.submit(carry_out_packed, pickle.dumps(job), pure=False) for job in jobs]
    return [outcome_of(job.key, future) for job, future in zip(jobs, futures, strict=True)]


def outcome_of(key: str, future: Any) -> Outcome:
    """Return what a future holds; a worker that died is the failure of its job alone."""
    try:
        outcome: Outcome = pickle.loads(future.result())
    except Exception as problem:
        told = failure_of(problem)
        message = f"its worker was lost ({type(problem).__name__}: {problem})"
        return Outcome(
            key, failure=Failure(WorkersLost.code, WorkersLost.exit_code, message, told.details)
        )
    return outcome


@contextmanager
def open_workers(workers: int, scheduler: str | None = None) -> Iterator[Client]:
    """Yield a client of Dask workers: those of a scheduler, or processes of this computer that end with it.

    Raises as ``fit_many``.
    """
    need(*DASK)
    from distributed import Client

    with ExitStack() as stack:
        if scheduler is None:
            cluster = stack.enter_context(local_cluster(workers))
            yield stack.enter_context(Client(cluster, set_as_default=False))
            return
        try:
            client = Client(scheduler, set_as_default=False, timeout=CONNECT_S)
        except (OSError, ValueError) as problem:
            raise WorkersLost(
                f"no Dask scheduler answers at {scheduler} ({problem}); nothing was fitted"
            ) from problem
        with client:
            try:
                client.wait_for_workers(1, timeout=CONNECT_S)
            except TimeoutError:
                raise WorkersLost(
                    f"the Dask scheduler at {scheduler} has no workers; nothing was fitted"
                ) from None
            refuse_other_versions(client, scheduler)
            yield client


@contextmanager
def local_cluster(workers: int) -> Iterator[LocalCluster]:
    """Yield processes of this computer with one thread each, on loopback and behind keys of their own.

    They do not hear Ctrl-C, which is for this process alone, and are killed where it leaves by an error.
    """
    need(*DASK)
    import dask
    from distributed import LocalCluster

    before = dict(os.environ)
    settings = {f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in BEFORE_NUMPY.items()}
    anywhere = f"{HOST}:0"
    try:
        with (
            # What a worker writes for itself goes with it, however it ends.
            TemporaryDirectory(prefix="chiploop-workers-", ignore_cleanup_errors=True) as folder,
            dask.config.set(settings),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host=HOST,
                dashboard_address=anywhere,
                worker_dashboard_address=anywhere,
                security=True,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                local_directory=folder,
                env={**OF_A_WORKER, "TMPDIR": folder},
                preload=[IGNORE_CTRL_C],
            ) as cluster,
        ):
            try:
                yield cluster
            except BaseException:
                kill_workers(cluster)
                raise
    finally:
        # Dask puts the workers' variables into this process too.
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def need(*packages: str) -> None:
    """Raise ExtraMissing where a package of the extra is not installed; make Dask quiet.

    What a person reads is chiploop's own output, so Dask's loggers are set before it is loaded.
    """
    for package in packages:
        try:
            is_there = find_spec(package) is not None
        except ValueError:
            is_there = False
        if not is_there:
            raise ExtraMissing(f"several workers need the package {package}: {EXTRA}")
    import dask

    dask.config.set({"logging": {"distributed": "critical", "distributed.client": "critical"}})


def kill_workers(cluster: LocalCluster) -> None:
    """End the worker processes at once: a fit in the middle of it would be waited for."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        with suppress(OSError):
            if nanny.pid:
                os.kill(nanny.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


def versions_here() -> dict[str, str]:
    """Return, in the process that is asked, the versions on which a result hangs, and what carries it."""
    found = {"python": ".".join(map(str, sys.version_info[:2])), "chiploop": chiploop.__version__}
    for package in ("numpy", "scipy", "llvmlite", "distributed", "prefect"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def refuse_other_versions(client: Client, scheduler: str) -> None:
    """Raise WrongUse where what the workers of a scheduler have installed is not what is here."""
    try:
        found: dict[str, dict[str, str]] = client.run(versions_here)
    except Exception as problem:
        raise WrongUse(
            f"the workers of {scheduler} can not use chiploop ({type(problem).__name__}: {problem}); "
            f"each needs chiploop {chiploop.__version__}: {EXTRA}"
        ) from problem
    here = versions_here()
    other = [
        f"\n  {place}: {name} {theirs[name]}, here {here[name]}"
        for place, theirs in sorted(found.items())
        for name in here
        if theirs[name] != here[name]
    ]
    if other:
        raise WrongUse(
            f"workers of {scheduler} would not find what this computer finds; install the same "
            f"requirements.lock there:{''.join(other)}"
        )
