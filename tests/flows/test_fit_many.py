"""Jobs side by side give what they give one after the other, and one that fails costs the others nothing.

Belongs here: jobs, workers, a scheduler of others. Not here: fits (test_fit), the command (cli/test_fit).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import LocalCluster

from chiploop.errors import WrongUse
from flows import fit_many as many
from flows.fit_many import ExtraMissing, Job, Outcome, WorkersLost, fit_many, local_cluster
from tests.flows import fit_jobs
from tests.flows.dask_cluster import dask_cluster

JOBS = [
    Job("three", fit_jobs.drawn, {"seed": 3, "count": 30}),
    Job("damaged", fit_jobs.damaged),
    Job("bug", fit_jobs.divides, {"by": 0}),
    Job("one", fit_jobs.drawn, {"seed": 1, "count": 80}),
    Job("unfit to travel", fit_jobs.gives_what_can_not_travel),
    Job("surroundings", fit_jobs.surroundings),
    Job("temporary", fit_jobs.temporary_folder),
    Job("two", fit_jobs.drawn, {"seed": 2, "count": 10}),
]


@pytest.fixture(scope="module")
def side_by_side() -> list[Outcome]:
    """What two workers make of the jobs."""
    return fit_many(JOBS, workers=2)


@pytest.fixture(scope="module")
def one_by_one() -> list[Outcome]:
    return fit_many(JOBS)


def by_key(outcomes: list[Outcome]) -> dict[str, Outcome]:
    return {outcome.key: outcome for outcome in outcomes}


def test_outcomes_stand_in_the_order_of_the_jobs(
    side_by_side: list[Outcome], one_by_one: list[Outcome]
) -> None:
    assert [outcome.key for outcome in side_by_side] == [job.key for job in JOBS]
    assert [outcome.key for outcome in one_by_one] == [job.key for job in JOBS]


def test_two_workers_find_what_one_process_finds_bit_by_bit(
    side_by_side: list[Outcome], one_by_one: list[Outcome]
) -> None:
    for key in ("one", "two", "three"):
        here, there = by_key(one_by_one)[key], by_key(side_by_side)[key]
        assert here.value.tobytes() == there.value.tobytes()
    assert by_key(side_by_side)["one"].value.shape == (80, 80)


def test_one_worker_is_this_process_and_two_are_others(
    side_by_side: list[Outcome], one_by_one: list[Outcome]
) -> None:
    assert {outcome.process for outcome in one_by_one} == {os.getpid()}
    assert os.getpid() not in {outcome.process for outcome in side_by_side}


@pytest.mark.parametrize("way", ["side_by_side", "one_by_one"])
def test_a_job_that_raises_is_told_and_the_others_have_their_values(
    way: str, request: pytest.FixtureRequest
) -> None:
    found = by_key(request.getfixturevalue(way))
    ours, bug = found["damaged"].failure, found["bug"].failure
    assert ours is not None and bug is not None
    assert (ours.code, ours.exit_code) == ("CL-300", 3)
    assert ours.message == "study.json is damaged"
    assert (bug.code, bug.exit_code) == ("CL-100", 1)
    assert "ZeroDivisionError" in bug.message and "divides" in bug.details
    failed = {key for key, outcome in found.items() if outcome.failure is not None}
    assert failed - {"unfit to travel"} == {"damaged", "bug"}


def test_a_value_that_can_not_travel_is_the_failure_of_its_job(
    side_by_side: list[Outcome],
) -> None:
    failure = by_key(side_by_side)["unfit to travel"].failure
    assert failure is not None and "pickle" in failure.message


def test_workers_have_one_thread_leave_ctrl_c_alone_and_listen_on_loopback_only(
    side_by_side: list[Outcome],
) -> None:
    variables, hears, addresses = by_key(side_by_side)["surroundings"].value
    assert variables["CHIPLOOP_THREADS"] == "1"
    assert variables["OPENBLAS_NUM_THREADS"] == "1"
    assert not hears
    assert addresses == {"127.0.0.1"}


def test_what_a_worker_writes_for_itself_goes_with_it(side_by_side: list[Outcome]) -> None:
    written = Path(by_key(side_by_side)["temporary"].value)
    assert "chiploop-workers-" in str(written)
    assert not written.exists()


def test_a_cluster_leaves_no_process_and_no_variable_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHIPLOOP_THREADS", "2")
    before = dict(os.environ)
    with local_cluster(2) as cluster:
        workers = [psutil.Process(nanny.pid) for nanny in cluster.workers.values()]
        assert len(workers) == 2
        assert fit_jobs.listened_at(psutil.Process()) <= {"127.0.0.1"}
    assert dict(os.environ) == before
    assert [p for p in workers if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def test_a_function_that_other_processes_can_not_find_is_refused() -> None:
    with pytest.raises(ValueError, match="is no function of a module"):
        Job("here", lambda: 1)


@pytest.mark.parametrize("package", ["dask", "distributed"])
def test_a_missing_extra_is_named_with_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = many.find_spec
    monkeypatch.setattr(many, "find_spec", lambda name: None if name == package else there(name))
    with pytest.raises(ExtraMissing, match=rf'{package}: pip install "chiploop\[dask\]"') as told:
        fit_many(JOBS, workers=2)
    assert told.value.exit_code == 3
    assert fit_many(JOBS[:1])[0].failure is None


# --- schedulers of others


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    with dask_cluster(tmp_path_factory.mktemp("dask"), workers=2) as address:
        yield address


@pytest.mark.slow
def test_a_cluster_of_others_finds_the_same_and_is_left_running(
    scheduler: str, one_by_one: list[Outcome]
) -> None:
    for _ in range(2):
        found = by_key(fit_many(JOBS, scheduler=scheduler))
        for key in ("one", "two", "three"):
            assert found[key].value.tobytes() == by_key(one_by_one)[key].value.tobytes()
        assert os.getpid() not in {outcome.process for outcome in found.values()}


class WorkersElsewhere:
    """A client of two workers, the second of which has another numpy."""

    def run(self, asked: Callable[[], dict[str, str]]) -> dict[str, dict[str, str]]:
        """Return what each says."""
        return {"tcp://a:1": asked(), "tcp://b:1": {**asked(), "numpy": "1.0"}}


def test_workers_with_other_versions_are_refused_by_name() -> None:
    with pytest.raises(WrongUse, match=rf"tcp://b:1: numpy 1\.0, here {np.__version__}") as told:
        many.refuse_other_versions(WorkersElsewhere(), "tcp://s:1")  # type: ignore[arg-type]
    assert "tcp://a:1" not in str(told.value)


def test_a_scheduler_that_does_not_answer_is_told_and_nothing_is_fitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(many, "CONNECT_S", 0.3)
    with pytest.raises(WorkersLost, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        fit_many(JOBS, scheduler="tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "CONNECT_S", 1.0)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(WorkersLost, match="has no workers"),
    ):
        fit_many(JOBS, scheduler=cluster.scheduler_address)


@pytest.mark.slow
def test_a_worker_that_dies_is_the_failure_of_its_job_alone() -> None:
    jobs = [JOBS[0], Job("dies", fit_jobs.dies), JOBS[3]]
    first, dead, last = fit_many(jobs, workers=2)
    assert dead.failure is not None and dead.failure.code == "CL-120"
    assert first.value is not None and last.value is not None
    assert np.isfinite(first.value).all()
