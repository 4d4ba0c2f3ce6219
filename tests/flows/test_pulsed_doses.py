"""A study with pulses on virtual chips: what the pumps really gave, what the fit saw, and kills in between.

Belongs here: whole runs. Not here: parts on spoiled pumps (test_exposure_parts).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chiploop.campaign_values import schedule_in
from chiploop.record.actions import is_part_of_dose
from chiploop.record.record import Record
from chiploop.refit import evidence_of
from chiploop.study import load_study
from tests.flows.conftest import SMALL_STUDY, Warm, edited
from tests.flows.run_checks import (
    check_volumes,
    journal_of,
    only_run,
    science,
    wait_until_nobody_is_left,
)
from tests.flows.test_closed_loop import wait_for_proposals
from tests.flows.warm_chiploop import PASSAGES

PULSES = [
    (
        "first_doses: [60 nM, 240 nM]",
        "first_doses: [0 nM, 240 nM]\nschedules: {pulses: {for: 4 h, every: 8 h, times: 3}}",
    )
]
PARTS = ("dose", "dose-2", "dose-3", "dose-4", "dose-5", "dose-6")
START_H = 12.0 + 24.0 + 2.0
"""Planned begin of the exposure of cycle 2."""


@dataclass(frozen=True)
class Pulsed:
    """A run of the small study with pulses that nobody interrupted."""

    study: Path
    runs: Path
    run_id: str
    told: dict[str, Any]
    science: dict[str, Any]
    intents: int
    passages: Counter[str]
    line: str
    """A line that got drug in pulses."""


@pytest.fixture(scope="module")
def pulsed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Pulsed:
    folder = tmp_path_factory.mktemp("pulsed")
    study, runs = edited(SMALL_STUDY, folder, PULSES), folder / "runs"
    runs.mkdir()
    ended = warm.run("simulate", study, "--runs", runs, "--json", **{PASSAGES: folder / "passages"})
    assert ended.code == 0, ended.err
    run_id = only_run(runs)
    (proposal,) = [c["proposal"] for c in ended.json["cycles"][:1]]
    lines = [dose["line"] for dose in proposal["doses"] if dose["schedule"] == "pulses"]
    assert lines, "no line got drug: the study says nothing of pulses"
    return Pulsed(
        study,
        runs,
        run_id,
        ended.json,
        science(runs, run_id),
        check_volumes(runs, run_id),
        Counter((folder / "passages").read_text().split()),
        lines[0],
    )


def test_the_pumps_gave_the_pulses_at_their_times_and_the_journal_has_each_as_a_phase(
    pulsed: Pulsed,
) -> None:
    state = json.loads((pulsed.runs / pulsed.run_id / "virtual_lab" / "state.json").read_text())
    with journal_of(pulsed.runs, pulsed.run_id) as journal:
        actions = journal.actions(pulsed.run_id)
    own = [a for a in actions if f"/c02/{pulsed.line}/" in a.intent.key]
    by_phase: dict[str, dict[str, float]] = {}
    for action in own:
        *_, phase, pump = action.intent.key.split("/")
        assert action.end is not None and action.end.kind == "outcome"
        given = float(action.end.body["delivered_ul"])
        by_phase.setdefault(phase, {})[pump.split("-")[1]] = given
    assert tuple(by_phase) == PARTS
    drug = [set(pumps) - {"stimulus"} for pumps in by_phase.values()]
    assert [len(stocks) for stocks in drug] == [1, 0, 1, 0, 1, 0]
    for pumps in by_phase.values():
        assert sum(pumps.values()) == pytest.approx(60.0 * 4.0, rel=0.01)
    (stock,) = drug[0]
    begins = {a.intent.key.split("/")[-2]: a.begun_h for a in own if stock in a.intent.pump}
    assert begins == pytest.approx(
        {"dose": START_H, "dose-3": START_H + 8.0, "dose-5": START_H + 16.0}, abs=0.05
    )
    assert f"pump {pulsed.line}-{stock}" in state["parts"]


def test_the_fit_saw_the_pulses_as_the_counters_tell_them(pulsed: Pulsed) -> None:
    study = load_study(pulsed.runs / pulsed.run_id / "study.json")
    with (
        journal_of(pulsed.runs, pulsed.run_id) as journal,
        Record(str(pulsed.runs / "record.sqlite")) as record,
    ):
        readouts = record.readouts(pulsed.run_id)
        seen = evidence_of(study, journal.actions(pulsed.run_id), readouts, 2)
        (proposed,) = [p for p in record.proposals(pulsed.run_id) if p.cycle == 2]
    (dose,) = [d for d in proposed.content["doses"] if d["line"] == pulsed.line]
    (chip,) = study.line(pulsed.line).chips
    segments = [s for s in seen.schedules[chip].segments if s.start_h > START_H - 0.1]
    assert [s.drug_nm > 0.0 for s in segments] == [True, False, True, False, True, False]
    for segment in segments:
        assert segment.end_h - segment.start_h == pytest.approx(4.0, abs=0.05)
        assert segment.flow_rate_ul_h == pytest.approx(60.0, rel=0.01)
        assert segment.stimulus_ng_ml == study.stimulus_ng_ml
    for segment in segments[::2]:
        assert segment.drug_nm == pytest.approx(dose["delivered_nm"], rel=0.02)
    teer = [r.time_h for r in readouts if r.readout == "TEER" and r.cycle == 2]
    assert teer == pytest.approx([START_H + 24.0] * 2, abs=0.05)
    assert pulsed.told["cycles"][1]["diagnostics"]["n_readouts"] == 2 + 2 * 2 * 3


def test_the_calibration_on_pulses_is_made_again_from_the_record_to_the_last_bit(
    warm: Warm, pulsed: Pulsed
) -> None:
    ended = warm.run("fit", pulsed.run_id, "--runs", pulsed.runs, "--json")
    assert ended.code == 0, ended.err
    again = {name: goal["median"] for name, goal in ended.json["goals"].items()}
    with Record(str(pulsed.runs / "record.sqlite")) as record:
        last = record.calibrations(pulsed.run_id)[-1].content["goals"]
    assert again == {goal["name"]: goal["median"] for goal in last}


def test_a_person_reads_of_the_pulses_in_the_log_the_summary_and_the_plan(
    warm: Warm, pulsed: Pulsed
) -> None:
    folder = pulsed.runs / pulsed.run_id
    assert "nM, pulses: 3 x 4 h every 8 h" in (folder / "run.log").read_text()
    doses = pulsed.told["cycles"][0]["proposal"]["doses"]
    assert {dose["schedule"] for dose in doses} <= {"pulses", "whole"}
    given = {chip["line"]: chip for chip in pulsed.told["cycles"][1]["delivered"]}[pulsed.line]
    assert given["outcome"] == "delivered"
    assert given["delivered_ul"] == pytest.approx(60.0 * 24.0, rel=0.01)
    assert {pump["phase"] for pump in given["pumps"]} == set(PARTS)
    plan = warm.run("plan", pulsed.study)
    assert "by pulses (3 x 4 h every 8 h)" in " ".join(plan.out.split())


POINTS = (
    "after_intent",
    "after_start",
    "after_started",
    "before_outcome",
    "after_outcome",
    "line_started",
    "line_finished",
)


USUAL = ("after_start",)
"""The others are killed among whole exposures in every test run, and here by the slow tests."""


@pytest.mark.parametrize(
    "point",
    [pytest.param(point, marks=() if point in USUAL else pytest.mark.slow) for point in POINTS],
)
def test_killed_among_the_pulses_and_resumed_every_part_is_given_once_as_if_undisturbed(
    point: str, warm: Warm, pulsed: Pulsed, tmp_path: Path
) -> None:
    passages = pulsed.passages[point]
    first = passages - (9 if passages > 20 else 6)  # the last passages are of cycle 2's parts
    command: tuple[str | Path, ...] = ("simulate", pulsed.study)
    for place in (f"{point}@{first}", f"{point}@3"):
        ended = warm.run(*command, "--runs", tmp_path, CHIPLOOP_FAULT=place)
        assert ended.code == -9, f"{place} was not reached: {ended.code}\n{ended.err}"
        run_id = only_run(tmp_path)
        wait_until_nobody_is_left(tmp_path / run_id)
        with journal_of(tmp_path, run_id) as journal:
            assert any("/c02/" in a.intent.key for a in journal.actions(run_id)), "killed too early"
        command = ("resume", run_id)
    ended = warm.run(*command, "--runs", tmp_path)
    assert ended.code == 0, ended.err
    wait_until_nobody_is_left(tmp_path / run_id)
    assert check_volumes(tmp_path, run_id) == pulsed.intents
    assert science(tmp_path, run_id) == pulsed.science


def test_an_edit_of_one_line_leaves_the_pulses_of_the_other_and_may_name_its_own(
    warm: Warm, tmp_path: Path
) -> None:
    study = edited(SMALL_STUDY, tmp_path, [*PULSES, ("by: auto", "by: person")])
    runs = tmp_path / "runs"
    running = warm.start("simulate", study, "--runs", runs, "--json")
    wait_for_proposals(runs, 1, running)
    run_id = only_run(runs)
    assert warm.run("approve", run_id, "--runs", runs).code == 0
    wait_for_proposals(runs, 2, running)
    with Record(str(runs / "record.sqlite")) as record:
        proposed = record.proposals(run_id)[-1].content["doses"]
    kept, other = sorted(proposed, key=lambda dose: -dose["asked_nm"])
    assert schedule_in(kept) == "pulses" and other["asked_nm"] == 0.0
    command = ("approve", run_id, "--runs", runs, "--why", "to see", "--dose")
    whole = warm.run(*command, f"{other['line']}=60nM")
    assert whole.code == 2 and "no schedule is named" in whole.err
    ended = warm.run(*command, f"{other['line']}=60nM@pulses")
    assert ended.code == 0, ended.err
    assert "vehicle -> 60 nM, pulses" in ended.out
    done = running.wait()
    assert done.code == 0, done.err
    check_volumes(runs, run_id)
    with journal_of(runs, run_id) as journal:
        phases = Counter(
            action.intent.key.split("/")[2]
            for action in journal.actions(run_id)
            if "/c02/" in action.intent.key
            and is_part_of_dose(action.intent.programme_key)
            and action.intent.pump.endswith(("low", "high"))
        )
    assert phases == {"L1": 3, "L2": 3}
