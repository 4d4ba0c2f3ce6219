"""A run that is killed anywhere and resumed gives every dose once and ends as if nothing had happened.

The fault points come from the lists, so that a new point is tested without being named here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.fault_points import FLOW_FAULT_POINTS
from instruments.fault_points import FAULT_POINTS
from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import check_volumes, only_run, science, wait_until_nobody_is_left
from tests.flows.warm_chiploop import PASSAGES

POINTS = (*FAULT_POINTS, *FLOW_FAULT_POINTS)
KILLED = -9


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody interrupted."""

    science: dict[str, Any]
    intents: int
    passages: Counter[str]
    """Fault point -> how often it is passed."""


@pytest.fixture(scope="module")
def undisturbed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The run that every interrupted one must equal."""
    runs = tmp_path_factory.mktemp("undisturbed")
    ended = warm.run("simulate", SMALL_STUDY, "--runs", runs, **{PASSAGES: runs / "passages"})
    assert ended.code == 0, ended.err
    passages = Counter((runs / "passages").read_text().split())
    run_id = only_run(runs)
    return Undisturbed(science(runs, run_id), check_volumes(runs, run_id), passages)


def kill_at(warm: Warm, place: str, runs: Path, *arguments: str | Path) -> None:
    """Carry out a command that must die at a fault point, and see that its lab ends with it."""
    ended = warm.run(*arguments, "--runs", runs, CHIPLOOP_FAULT=place)
    assert ended.code == KILLED, f"{place} was not reached: {ended.code}\n{ended.err}"
    wait_until_nobody_is_left(runs / only_run(runs))


def resume_to_the_end(warm: Warm, runs: Path, undisturbed: Undisturbed) -> None:
    """Resume the run, and hold it against the one that nobody interrupted."""
    run_id = only_run(runs)
    ended = warm.run("resume", run_id, "--runs", runs)
    assert ended.code == 0, ended.err
    wait_until_nobody_is_left(runs / run_id)
    assert check_volumes(runs, run_id) == undisturbed.intents
    assert science(runs, run_id) == undisturbed.science


def later(passages: int) -> int:
    """Return a passage in the middle of a run that a resumed one still meets."""
    return max(1, min(passages // 2 + 1, passages - 1))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_the_first_and_at_a_later_passage_the_study_finishes_as_if_undisturbed(
    point: str, warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert undisturbed.passages[point], f"the small study never passes {point}"
    kill_at(warm, point, tmp_path, "simulate", SMALL_STUDY)
    again = f"{point}@{later(undisturbed.passages[point])}"
    kill_at(warm, again, tmp_path, "resume", only_run(tmp_path))
    resume_to_the_end(warm, tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_passage_the_study_finishes_as_if_undisturbed(
    point: str, warm: Warm, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    for passage in range(1, undisturbed.passages[point] + 1):
        runs = tmp_path / str(passage)
        kill_at(warm, f"{point}@{passage}", runs, "simulate", SMALL_STUDY)
        resume_to_the_end(warm, runs, undisturbed)
