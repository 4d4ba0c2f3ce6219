"""A study with valves from end to end: chips get what the line gives that its valve lets through, also after a
kill.

Belongs here: whole simulated runs. Not here: one turn (tests/instruments/test_valve_turn), what is refused
(test_valve_turns), replay (tests/chiploop/record/test_turns).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chiploop.connections import connected, connection_of
from chiploop.record.replay import schedules_of
from chiploop.study import load_study
from instruments.fault_points import VALVE_FAULT_POINTS
from tests.flows.conftest import Warm
from tests.flows.run_checks import (
    check_volumes,
    journal_of,
    only_run,
    science,
    wait_until_nobody_is_left,
)
from tests.flows.warm_chiploop import PASSAGES

STUDY = Path(__file__).with_name("small_valve_study.yaml")
KILLED = -9


@dataclass(frozen=True)
class Whole:
    """A run that nobody interrupted."""

    science: dict[str, Any]
    intents: int
    passages: Counter[str]
    runs: Path


def valve_states(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the durable states of the emulated valves of a run."""
    parts = json.loads((folder / "virtual_lab" / "state.json").read_text())["parts"]
    return {
        name.removeprefix("valve of "): state
        for name, state in parts.items()
        if name.startswith("valve of ")
    }


@pytest.fixture(scope="module")
def whole(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    runs = tmp_path_factory.mktemp("whole")
    ended = warm.run("simulate", STUDY, "--runs", runs, **{PASSAGES: runs / "passages"})
    assert ended.code == 0, ended.err
    run_id = only_run(runs)
    passages = Counter((runs / "passages").read_text().split())
    return Whole(science(runs, run_id), check_volumes(runs, run_id), passages, runs)


def test_valves_turn_between_exposures_and_every_turn_is_confirmed(whole: Whole) -> None:
    run_id = only_run(whole.runs)
    with journal_of(whole.runs, run_id) as journal:
        turns, connection = journal.turns(run_id), journal.connection(run_id)
        actions = journal.actions(run_id)
    assert all(turn.stands == turn.asked.to_line for turn in turns)
    assert {t.asked.key.split("/")[1] for t in turns} == {"c00", "c02"}
    moved = [t for t in turns if t.asked.from_line not in (None, t.asked.to_line)]
    assert moved
    for turn in moved:  # nothing of its lines was open then
        own = [a for a in actions if a.intent.programme.line in turn.asked.lines]
        before = [a for a in own if a.seq < turn.seq]
        assert all(a.end is not None and a.end.seq < turn.seq for a in before)
    for chip, state in valve_states(whole.runs / run_id).items():
        ports = {t.asked.to_line: t.asked.port for t in turns if t.asked.chip == chip}
        assert state["port"] == ports[str(connection[chip])]
        assert state["moves"] == sum(t.asked.chip == chip for t in moved)


def test_lines_flow_for_the_chips_that_they_feed_and_the_proposal_names_them(whole: Whole) -> None:
    run_id = only_run(whole.runs)
    study = load_study(whole.runs / run_id / "study.json")
    with journal_of(whole.runs, run_id) as journal:
        actions = journal.actions(run_id)
        now = connected(study, journal.connection(run_id))
        schedules = schedules_of(journal, study, run_id)
    assert connection_of(now)
    (proposal,) = [content for cycle, content in whole.science["proposals"] if cycle == 2]
    assert {d["line"]: tuple(d["chips"]) for d in proposal["doses"]} == {
        line.id: tuple(line.chips) for line in now.lines
    }
    for line in now.lines:
        doses = [
            a.intent for a in actions if a.intent.programme_key.endswith(f"c02/{line.id}/dose")
        ]
        flow = sum(intent.flow_rate_ul_h for intent in doses)
        assert flow == pytest.approx(60.0 * len(line.chips), rel=0.01)
        asked = {d["line"]: d["delivered_nm"] for d in proposal["doses"]}[line.id]
        for chip in line.chips:
            last = schedules[chip].segments[-1]
            assert last.flow_rate_ul_h == pytest.approx(60.0, rel=0.01)
            assert last.drug_nm == pytest.approx(asked, rel=0.01)
            assert schedules[chip].stays[-1].line == line.id


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(f"{point}@{passage}", marks=pytest.mark.slow)
        for point in VALVE_FAULT_POINTS
        for passage in (1, 3)
    ],
)
def test_killed_in_a_turn_the_valve_is_looked_at_again_and_the_study_ends_as_if_undisturbed(
    place: str, warm: Warm, whole: Whole, tmp_path: Path
) -> None:
    """The third turn is the first that moves: between it and the dose nobody but the valve knows."""
    point, _, passage = place.partition("@")
    assert whole.passages[point] >= int(passage)
    ended = warm.run("simulate", STUDY, "--runs", tmp_path, CHIPLOOP_FAULT=place)
    assert ended.code == KILLED, ended.err
    run_id = only_run(tmp_path)
    wait_until_nobody_is_left(tmp_path / run_id)
    ended = warm.run("resume", run_id, "--runs", tmp_path)
    assert ended.code == 0, ended.err
    assert check_volumes(tmp_path, run_id) == whole.intents
    assert science(tmp_path, run_id) == whole.science
    assert valve_states(tmp_path / run_id) == valve_states(whole.runs / only_run(whole.runs))
