"""A run of the small study written by hand: folder, journal, record. Nothing is pumped, read or fitted.

Belongs here: a run as its files keep it. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chiploop.dosing import Purpose, make_programme, remaining_ul
from chiploop.measurement import Readout
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import Study, load_study
from flows.opening import RunFiles, new_run
from tests.flows.conftest import SMALL_STUDY

DOSES_NM = ((60.0, 240.0), (0.0, 900.0))
"""Cycle -> a dose per line."""


def run_by_hand(runs: Path) -> RunFiles:
    """Make a run of two cycles that has ended; return its files."""
    files = new_run(load_study(SMALL_STUDY), runs, 1, True, False)
    study, run_id = files.study, files.run_id
    with Journal(files.journal) as journal:
        begin, end = 0.0, study.exposure_start_h(1)
        flow(journal, study, run_id, 0, "medium", [0.0, 0.0], begin, end)
        for cycle, doses in enumerate(DOSES_NM, start=1):
            begin, end = study.exposure_start_h(cycle), study.exposure_end_h(cycle)
            flow(journal, study, run_id, cycle, "dose", doses, begin, end)
            rest = end + study.timeline.turnaround_h
            flow(journal, study, run_id, cycle, "hold", [0.0, 0.0], end, rest)
    with Record(f"sqlite:///{(runs / 'record.sqlite').as_posix()}") as record:
        record.add_run(run_id, study, files.seed, files.simulated)
        record.add_readouts(run_id, readings(study))
    return files


def flow(
    journal: Journal, study: Study, run_id: str, cycle: int, phase: str, doses_nm: Sequence[float],
    begin_h: float, end_h: float,
) -> None:  # fmt: skip
    """Put on record that every line got its programme of a phase, whole."""
    purposes: dict[str, Purpose] = {"medium": "medium", "dose": "dose", "hold": "stimulus"}
    full = remaining_ul(study, {})
    for line, dose_nm in zip(study.line_ids, doses_nm, strict=True):
        programme = make_programme(
            study, line, purposes[phase], dose_nm, end_h - begin_h, lambda _, r, v: (r, v), full
        )
        key = programme_key(run_id, cycle, line, phase)
        intents = [
            Intent(
                action_key(key, step.pump), run_id, key, step.pump, programme, step.flow_rate_ul_h,
                step.volume_ul, 0.0, 1.0, 0, "s", begin_h,
            )
            for step in programme.steps
        ]  # fmt: skip
        journal.intend(intents)
        for intent in intents:
            journal.sent(intent.key, begin_h)
            journal.started(intent.key, begin_h, "answer")
            journal.outcome(intent.key, end_h, intent.volume_ul, intent.volume_ul)


def readings(study: Study) -> list[Readout]:
    """Return readings of every chip and cycle: one censored, one failed."""
    rng = np.random.default_rng(3)
    found = []
    for cycle in range(1, study.timeline.cycles + 1):
        begin_h = study.exposure_start_h(cycle)
        first, last = (begin_h + after for after in study.sampling.effluent_h)
        for chip in study.chip_ids:
            noise = np.exp(0.1 * rng.standard_normal(2))
            found += [
                Readout(chip, "TEER", 800.0 * noise[0], "ohm*cm2", 0.02, "log", last, cycle=cycle),
                Readout(
                    chip, "CCL26", 50.0 * noise[1], "pg/mL", 0.08, "log", last, first,
                    plate=f"p{cycle}", cycle=cycle,
                ),
                Readout(
                    chip, "ldh_release", 0.01, "1", 0.012, "linear", last, first,
                    plate=f"l{cycle}", cycle=cycle,
                ),
            ]  # fmt: skip
    chip = study.chip_ids[0]
    more = study.exposure_start_h(2) + 5.0
    found += [
        Readout(
            chip, "CCL26", np.nan, "pg/mL", 0.08, "log", more + 2.0, more, "left", upper=20.0,
            plate="p3", cycle=2,
        ),
        Readout(
            chip, "TEER", 5000.0, "ohm*cm2", 0.02, "log", more, qc="fail",
            reasons=("air in the chip",), cycle=2,
        ),
    ]  # fmt: skip
    return found
