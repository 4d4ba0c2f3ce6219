"""Open runs fitted again by night: as ``chiploop fit`` does, never twice at once, not beside the run's own fit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import chiploop.campaign
from chiploop.record.posterior_file import read_posterior
from flows import recalibration
from flows.cli.main import command_line
from flows.heartbeat import Beat
from flows.prefect_server import PrefectServer
from flows.recalibration import FIT_LOCK, NotAllFitted, open_runs, recalibrate_open_runs
from flows.serving import cron_of, deployment_of
from flows.serving_place import Serving, facts, last_of, lines
from instruments.port_lock import process_started
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import only_run
from tests.flows.warm_chiploop import quick_recalibrate


@pytest.fixture(scope="module")
def killed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a folder: one that was killed once its first cycle was read."""
    runs = tmp_path_factory.mktemp("killed")
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, CHIPLOOP_FAULT="posterior_written")
    assert ended.code == -9, ended.err
    return runs


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits hardly look, and can not be reviewed."""
    monkeypatch.setattr(chiploop.campaign, "recalibrate", quick_recalibrate)
    monkeypatch.setattr("chiploop.refit.review_of", no_review)


def no_review(*given: Any) -> Any:
    raise ValueError("not in this test")


def files_of(folder: Path) -> dict[str, Any]:
    """Return what a fit says but for how long it took."""
    told = json.loads((folder / "fit.json").read_text())
    told["diagnostics"].pop("wall_s", None)
    return told


def test_a_run_is_fitted_as_chiploop_fit_does_and_once_as_long_as_nothing_new_is_read(
    killed: Path, prefect_api: PrefectServer, tmp_path: Path
) -> None:
    run = only_run(killed)
    assert open_runs(killed) == [run]
    (told,) = recalibrate_open_runs(str(killed))
    assert (told["run"], told["state"]) == (run, "fitted")
    assert command_line(["fit", run, "--runs", str(killed), "--out", str(tmp_path)]) == 0
    assert files_of(Path(told["told"])) == files_of(tmp_path)
    ours, theirs = (
        read_posterior(folder / "posterior.nc")[0] for folder in (Path(told["told"]), tmp_path)
    )
    assert np.array_equal(ours.particles, theirs.particles)
    (again,) = recalibrate_open_runs(str(killed))
    assert again["state"] == "nothing new"
    last = last_of(killed)
    assert last is not None and last["runs"] == [again]


@pytest.mark.parametrize("by", ["its own process", "somebody else"])
def test_a_run_that_is_being_fitted_is_left_alone(
    by: str, killed: Path, prefect_api: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = only_run(killed)
    for file in (killed / run).glob("fit/*/case.sha256"):
        file.unlink()
    if by == "its own process":
        started = process_started(os.getpid()) or 0.0
        beat = Beat(os.getpid(), started, 0.0, 0.0, 0.0, 36.0, 1, "fitting the model to everything")
        monkeypatch.setattr(recalibration, "last_beat", lambda folder: beat)
        (told,) = recalibrate_open_runs(str(killed))
    else:
        with FileLock(killed / run / FIT_LOCK):
            (told,) = recalibrate_open_runs(str(killed))
    assert told["state"] == "left alone"


def test_a_run_that_can_not_be_fitted_fails_the_flow_and_is_named(
    killed: Path, prefect_api: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any) -> Any:
        raise OSError("the folder is gone")

    monkeypatch.setattr(recalibration, "case_of_run", broken)
    with pytest.raises(NotAllFitted, match=f"{only_run(killed)} not fitted: the folder is gone"):
        recalibrate_open_runs(str(killed))


def test_the_deployment_has_its_time_its_runs_and_one_run_at_once(tmp_path: Path) -> None:
    made = deployment_of(tmp_path, cron_of("02:00")[0], 2)
    (schedule,) = made.schedules
    assert schedule.schedule.cron == "0 2 * * *" and schedule.active
    assert made.parameters == {"runs": str(tmp_path.resolve()), "workers": 2}
    assert made.entrypoint == "flows.recalibration.recalibrate_open_runs"
    assert made.concurrency_limit == 1


@pytest.mark.parametrize(
    ("at", "cron"), [("02:00", "0 2 * * *"), ("7:30", "30 7 * * *"), ("0 2 * * mon-fri", "0 2 * * mon-fri")]
)  # fmt: skip
def test_a_time_of_day_or_a_line_of_cron_is_a_schedule(at: str, cron: str) -> None:
    assert cron_of(at)[0] == cron


@pytest.mark.parametrize("at", ["25:00", "2", "tonight", "0 2 * *", "* * * * * *"])
def test_what_is_no_time_is_refused_before_any_server_starts(at: str, tmp_path: Path) -> None:
    assert command_line(["serve", "--recalibrate-at", at, "--runs", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_schedule_another_process_keeps_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / "serving.lock"):
        assert command_line(["serve", "--runs", str(tmp_path)]) == 4
    assert not (tmp_path / "prefect").exists()


def test_status_says_who_recalibrates_and_that_nobody_does_once_it_was_killed(
    tmp_path: Path,
) -> None:
    assert facts(tmp_path) is None
    alive = Serving(
        os.getpid(), process_started(os.getpid()) or 0.0, "", "every day at 02:00", "http://x"
    )
    file = tmp_path / "serving.json"
    file.write_text(json.dumps(vars(alive)))
    told = facts(tmp_path)
    assert told is not None and told["process"] == os.getpid()
    assert lines(told) == [f"Recalibration every day at 02:00 by process {os.getpid()}; http://x"]
    file.write_text(json.dumps(vars(alive) | {"pid": 2**22 + 1}))
    told = facts(tmp_path)
    assert told is not None and told["process"] is None
    assert "NOBODY DOES IT" in lines(told)[0]
