"""Campaigns on record for the benchmark of the review page: one simulated whole, one of many chips written down.

Belongs here: putting them on record. Not here: their study files (review_study), measuring (review).

``simulated`` is the loop itself, as ``chiploop simulate`` runs it. ``written`` is for numbers of chips that one
plate has no room for (a study file of 300 chips is refused): the same classes of record, journal and posterior
file, readouts of a truth drawn from the prior (matched_study), and particles about that truth in place of fits,
which would take an hour. What it says of the biology means nothing; its rows are as many and as long as real ones.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.matched_study import MatchedStudy, matched_study
from benchmarks.review_server import PROJECT, START
from benchmarks.review_study import DONORS, LADDER_NM, write_study
from chiploop.campaign import learned, start
from chiploop.campaign_values import Campaign, LineDose, Proposal
from chiploop.dosing import Purpose, make_programme, remaining_ul
from chiploop.exposure import WHOLE, make_exposure
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.proposal_card import Card, goal_outlook, health_of, line_card
from chiploop.proposal_predictions import PredictedReading
from chiploop.record.actions import Intent
from chiploop.record.chain import plain
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import write_posterior
from chiploop.record.record import Record
from chiploop.report.page_parts import PARTS_FILE, parts_folder
from chiploop.study import Study, load_study
from flows.opening import RunFiles, new_run

PARTICLES = 400
INFO = CalibrationInfo(
    True, (), (), 400.0, 0.1, (-10.0, -10.1), 8, 8, 0.4, 3, {"TEER": 0.4, "CCL26": 0.5}, 3600, 0, 1000
)  # fmt: skip
BY = "benchmark"


def simulated(folder: Path, chips: int, cycles: int, seed: int) -> str:
    """Run a campaign on virtual chips into a folder of runs, once; return its run."""
    done = sorted(folder.glob(f"*_review_{chips}_chips_{cycles}_cycles_sim_*/report.html"))
    if not done:
        folder.mkdir(parents=True, exist_ok=True)
        study = write_study(folder, chips, cycles)
        command = [*START, "simulate", str(study), "--runs", str(folder), "--seed", str(seed)]
        subprocess.run(command, check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
        done = sorted(folder.glob(f"*_review_{chips}_chips_{cycles}_cycles_sim_*/report.html"))
    return done[-1].parent.name


def exactly(_: str, rate: float, volume: float) -> tuple[float, float]:
    """Return what a pump without rounding does."""
    return rate, volume


def many(folder: Path, chips: int, cycles: int) -> Study:
    """Return a study of any number of chips: that of 24, with more lines."""
    small = load_study(write_study(folder, 24, cycles))
    n = len(DONORS)
    lines = tuple(
        small.lines[0].model_copy(
            update={
                "id": f"L{line + 1:03d}",
                "chips": {f"C{n * line + i + 1:03d}": donor for i, donor in enumerate(DONORS)},
            }
        )
        for line in range(-(-chips // n))
    )
    first = tuple(float(LADDER_NM[i % len(LADDER_NM)]) for i in range(len(lines)))
    name = f"review_{chips}_chips_{cycles}_cycles"
    return small.model_copy(update={"lines": lines, "first_doses_nm": first, "name": name})


def written(folder: Path, chips: int, cycles: int, seed: int) -> str:
    """Put a campaign on record, once; return its run."""
    done = sorted(folder.glob(f"*_review_{chips}_chips_{cycles}_cycles_sim_*/whole"))
    if done:
        return done[-1].parent.name
    folder.mkdir(parents=True, exist_ok=True)
    study = many(folder, chips, cycles)
    files = new_run(study, folder, seed, True, True)
    rng = np.random.default_rng(seed)
    doses = [
        [float(nm) for nm in np.roll(np.resize(LADDER_NM, len(study.lines)), 3 * cycle)]
        for cycle in range(cycles)
    ]
    matched = matched_study(study, doses, seed)
    with (
        Record(str(folder / "record.sqlite")) as record,
        Journal(files.journal) as journal,
    ):
        write_actions(journal, study, files.run_id, doses)
        write_cycles(record, files, matched, doses, rng)
    (files.folder / "whole").touch()
    return files.run_id


def write_actions(
    journal: Journal, study: Study, run_id: str, doses: Sequence[Sequence[float]]
) -> None:
    """Write what every pump was told and did: plain medium, doses, stimulus between them."""
    full, timeline = remaining_ul(study, {}), study.timeline
    for number, line in enumerate(study.lines):
        phases: list[tuple[int, Purpose, float, float, float]] = [
            (0, "medium", 0.0, 0.0, timeline.stimulus_from_h)
        ]
        for cycle, nm in enumerate((own[number] for own in doses), start=1):
            begin = study.exposure_start_h(cycle)
            if begin > phases[-1][4]:
                phases.append((cycle - 1, "stimulus", 0.0, phases[-1][4], begin))
            phases.append((cycle, "dose", nm, begin, begin + timeline.exposure_h))
        for cycle, purpose, nm, begin, end in phases:
            programme = make_programme(study, line.id, purpose, nm, end - begin, exactly, full)
            key = f"{run_id}/{cycle}/{line.id}/{purpose}"
            intents = [
                Intent(
                    f"{key}/{step.pump}", run_id, key, step.pump, programme, step.flow_rate_ul_h,
                    step.volume_ul, 0.0, 0.01, 0, "s1", begin,
                )
                for step in programme.steps
            ]  # fmt: skip
            journal.intend(intents)
            for one in intents:
                journal.sent(one.key, begin)
                journal.started(one.key, begin, "runs")
                journal.outcome(one.key, end, one.volume_ul, one.volume_ul)


def write_cycles(
    record: Record,
    files: RunFiles,
    matched: MatchedStudy,
    doses: Sequence[Sequence[float]],
    rng: np.random.Generator,
) -> None:
    """Write the run, and of each cycle doses, decision, readouts and what stands for its fit."""
    study, run_id, cycles = files.study, files.run_id, len(doses)
    record.add_run(run_id, study, files.seed, True, {"matched": True})
    record.add_state(run_id, "running", 0.0)
    campaign = replace(start(study), schedules=matched.schedules)
    for cycle in range(1, cycles + 1):
        begin = study.exposure_start_h(cycle)
        own = [r for r in matched.readouts if r.cycle == cycle]
        proposal, card = proposed(campaign, doses[cycle - 1], own)
        told = None if card is None else plain(card.facts())
        key = record.add_proposal(run_id, cycle, asdict(proposal), told, begin - 1.0)
        record.add_decision(key, "approve", BY, "written for a benchmark")
        record.add_readouts(run_id, own)
        posterior = about(study, matched.population, 1.0 / np.sqrt(1.0 + 3.0 * cycle), rng)
        campaign = learned(campaign, own, posterior, INFO)
        path = files.folder / f"cal-{cycle:02d}" / "posterior.nc"
        path.parent.mkdir()
        write_posterior(path, posterior, INFO)
        content = {
            "time_h": study.exposure_end_h(cycle),
            "goals": [goal.facts() for goal in campaign.goals],
            "info": asdict(INFO),
            "posterior": str(path.relative_to(files.folder)),
            "particles": PARTICLES,
        }
        record.add_calibration(run_id, cycle, content)
    record.add_state(run_id, "finished", study.end_h)


def about(study: Study, truth: np.ndarray, width: float, rng: np.random.Generator) -> Posterior:
    """Return particles about a truth, ``width`` of the prior's sd wide."""
    prior = Prior.of_study(model_of(study), study)
    z = prior.standard(truth) + width * rng.standard_normal((PARTICLES, len(prior.specs)))
    units = tuple(spec.unit for spec in prior.specs)
    particles = prior.parameters(z)
    return Posterior(prior.names, units, particles, z, particles[0])


def proposed(
    campaign: Campaign, doses_nm: Sequence[float], comes: Sequence[Readout]
) -> tuple[Proposal, Card | None]:
    """Return the next cycle's doses, with a card as full as a real one but in the pilot."""
    study, left, cycle = campaign.study, remaining_ul(campaign.study, {}), campaign.cycle + 1
    doses = []
    for line, nm in zip(study.lines, doses_nm, strict=True):
        programme = make_exposure(study, line.id, nm, WHOLE, exactly, left)
        known = (0.01, 0.02) if cycle > 1 else (None, None)
        doses.append(
            LineDose(line.id, tuple(line.chips), nm, programme.delivered_nm, *known, programme)
        )
    drug = next(iter(study.drugs))
    goal, nats = study.goals[0].name, 0.5 if cycle > 1 else None
    proposal = Proposal(cycle, "goal_information", goal, drug, tuple(doses), nats, ())
    if cycle == 1:
        return proposal, None
    return proposal, Card(
        cycle=cycle,
        policy=proposal.policy,
        drug=drug,
        goal=goal_outlook(campaign, nats),
        lines=tuple(line_card(campaign, dose, left) for dose in doses),
        information_nats=nats,
        risk_limit=study.limits.overdose_probability,
        viability_limit=study.limits.viability,
        unsafe_lines_expected=0.01 * len(doses),
        parts=(),
        predicted=tuple(expected(study, r) for r in comes),
        alternatives=(),
        drug_nmol=sum(dose.programme.drug_nmol for dose in doses),
        begins_h=study.exposure_start_h(cycle),
        ends_h=study.exposure_end_h(cycle),
        health=health_of(campaign, ()),
        notes=("Written for a benchmark: no policy chose these doses.",),
    )


def expected(study: Study, one: Readout) -> PredictedReading:
    """Return a reading as if it had been foretold."""
    band = (0.8 * one.value, 1.25 * one.value)
    line = study.line_of(one.chip_id)
    return PredictedReading(
        line.id, one.chip_id, line.chips[one.chip_id], one.readout, one.unit, one.time_h,
        one.window_start_h, one.value, band, band, band, *band,
    )  # fmt: skip


def write_residuals(runs: Path, run_id: str, seed: int) -> None:
    """Give the fit page of a written campaign residuals, one a reading: particles made by hand have no review."""
    rng = np.random.default_rng(seed)
    with Record(str(runs / "record.sqlite"), create=False) as record:
        readouts, homes = record.readouts(run_id), record.chips(run_id)
        cycle = record.calibrations(run_id)[-1].cycle
    path = parts_folder(runs / run_id, cycle) / PARTS_FILE
    parts = json.loads(path.read_text(encoding="utf-8"))
    parts["residuals"] = [
        {"chip": r.chip_id, "donor": homes[r.chip_id][1], "readout": r.readout, "title": r.readout,
         "unit": r.unit, "time_h": r.time_h, "cycle": r.cycle, "residual": float(rng.standard_normal()),
         "observed": r.value, "predicted": r.value, "censored": False}
        for r in readouts
    ]  # fmt: skip
    path.write_text(json.dumps(parts), encoding="utf-8")
