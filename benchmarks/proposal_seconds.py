"""How long a proposal takes for 12 chips over 47 concentrations by 4 schedules: the table, and what follows.

Belongs here: wall time on this machine, in one process as the flow has it. Not here: whether the doses are good
(proposal).

The study is the shipped ``ad_jak_dose_finding``, 4 lines of 3 chips, with the schedules of ``ad_jak_pulses``
besides the whole exposure, after its pilot on virtual chips whose truth is drawn from the prior. Bar: under 5 s
after the table and under 20 s with it, on two cores.

    python -m benchmarks.proposal_seconds
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.matched_study import matched_study
from chiploop import campaign as loop
from chiploop import next_exposure
from chiploop.campaign_values import Campaign
from chiploop.dosing import remaining_ul
from chiploop.protocols_path import protocols_folder
from chiploop.record.actions import JournalTotals
from chiploop.study import Study, load_study
from chiploop.study_schedules import WHOLE, Schedule

CONCENTRATIONS = 47
REPEATS = 3
"""After a first proposal, which compiles."""


def study() -> Study:
    """Return the study with four schedules."""
    folder: Path = protocols_folder() / "studies"
    plain, pulses = (load_study(folder / f"ad_jak_{n}.yaml") for n in ("dose_finding", "pulses"))
    return plain.model_copy(update={"schedules": {WHOLE: Schedule(), **pulses.schedules}})


def candidates_nm(study: Study, drug: str) -> tuple[float, ...]:
    """Return the vehicle and 46 concentrations up to the limit of the study, which has one drug."""
    grid = np.geomspace(next_exposure.LOWEST_NM, study.limits.concentration_nm, CONCENTRATIONS - 1)
    return (0.0, *(float(f"{nm:.3g}") for nm in grid))


def exact(_: str, rate: float, volume: float) -> tuple[float, float]:
    """Return rate and volume as they are."""
    return rate, volume


def proposal_seconds(campaign: Campaign, totals: JournalTotals) -> tuple[float, float, int]:
    """Return the seconds of the table, of the whole proposal, and how many candidates all lines have."""
    took_s: list[float] = []
    count = 0

    def timed(*arguments: object) -> object:
        nonlocal count
        begun_s = time.perf_counter()
        found = next_exposure.prediction_table(*arguments)  # type: ignore[arg-type]
        took_s.append(time.perf_counter() - begun_s)
        count = sum(len(line) for line in found[0].programmes)
        return found

    full = remaining_ul(campaign.study, {})
    with mock.patch.object(loop, "prediction_table", timed):
        begun_s = time.perf_counter()
        loop.propose(campaign, exact, full, totals, np.random.default_rng(1))
        all_s = time.perf_counter() - begun_s
    return took_s[0], all_s, count


def after_pilot(study: Study) -> Campaign:
    """Return the campaign after the pilot was read and fitted."""
    matched = matched_study(study, [study.first_doses_nm], seed=1)
    begun = replace(loop.start(study), schedules=matched.schedules)
    return loop.observe(begun, matched.readouts, np.random.default_rng(0))[0]


def main() -> None:
    """Print the table's seconds and those after it."""
    own = study()
    campaign = after_pilot(own)
    assert campaign.posterior is not None
    totals = JournalTotals(
        last_dose_end_h=dict.fromkeys(own.line_ids, own.exposure_end_h(1)), highest_dose_nm=480.0
    )
    with mock.patch.object(next_exposure, "candidates_nm", candidates_nm):
        proposal_seconds(campaign, totals)
        runs = [proposal_seconds(campaign, totals) for _ in range(REPEATS)]
    table_s = statistics.median(table for table, _, _ in runs)
    after_s = statistics.median(whole - table for table, whole, _ in runs)
    draws = min(next_exposure.DRAWS, len(campaign.posterior.particles))
    print(
        f"{len(own.chip_ids)} chips on {len(own.lines)} lines, {CONCENTRATIONS} concentrations by "
        f"{len(own.schedules)} schedules: {runs[0][2]} feasible candidates, {draws} draws"
    )
    print(f"table {table_s:.1f} s, after it {after_s:.1f} s, together {table_s + after_s:.1f} s")


if __name__ == "__main__":
    main()
