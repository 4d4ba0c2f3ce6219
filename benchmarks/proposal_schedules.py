"""The second scenario: concentration and schedule. Fixed before anything was compared in it.

Belongs here: what is given when. Everything else is that of proposal_scenario: truths, noise, pilot (whole
exposures), batches, readings, horizon, and the goal, which stays the EC50 of an exposure of 48 h. So the policies
that give whole exposures alone have the very same runs in both, and stand beside these on the same seeds.

A schedule says in which of the 48 h with stimulus the drug flows; the concentration is that while it flows. The
vehicle is one candidate, so 1 + 46 x 4 = 185. A schedule's harm is judged as it is given, the step upward by
concentration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.proposal_scenario import BATCH, CANDIDATES_NM, EXPOSURE_H, Bench
from chiploop.goal_curves import REST_H
from chiploop.inference.posterior import Posterior
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import TissueModel
from chiploop.policies.goal_information import goal_information

HALF_H, PULSE_H = EXPOSURE_H / 2, 6.0
SCHEDULES: dict[str, tuple[tuple[float, float], ...]] = {
    "whole": ((0.0, EXPOSURE_H),),
    "first half": ((0.0, HALF_H),),
    "second half": ((HALF_H, EXPOSURE_H),),
    "pulses": tuple((12.0 * k, 12.0 * k + PULSE_H) for k in range(4)),
}
"""Hours of the exposure in which the drug flows."""
CANDIDATES: tuple[tuple[float, str], ...] = (
    (0.0, "whole"),
    *((nm, name) for name in SCHEDULES for nm in CANDIDATES_NM[1:]),
)


@dataclass
class ScheduleBench(Bench):
    """Chips that are given a concentration by a schedule."""

    schedules: list[str] = field(default_factory=list)
    """Of each chip."""

    @property
    def candidates(self) -> tuple[Any, ...]:
        """What a chip may be given: concentration and schedule."""
        return CANDIDATES

    @property
    def candidate_doses_nm(self) -> np.ndarray:
        """Return (candidates,) their concentrations."""
        return np.array([nm for nm, _ in CANDIDATES])

    def run(self, doses_nm: Sequence[Any]) -> None:
        """Run a batch of fresh chips, each given a (concentration, schedule), or a concentration: whole."""
        pairs = [one if isinstance(one, tuple) else (one, "whole") for one in doses_nm]
        self.schedules += [name for _, name in pairs]
        super().run([nm for nm, _ in pairs])

    def given(self, model: TissueModel, index: int, dose_nm: float) -> ChipInlet:
        """Return what reaches the chip at a place of the study; a chip to come has the whole exposure."""
        is_there = index < len(self.schedules)
        return self.inlet(model, index, dose_nm, self.schedules[index] if is_there else "whole")

    def ahead(self, model: TissueModel, index: int) -> list[ChipInlet]:
        """Return what would reach the chip at a place with each candidate."""
        return [self.inlet(model, index, nm, name) for nm, name in CANDIDATES]

    def inlet(self, model: TissueModel, index: int, dose_nm: float, schedule: str) -> ChipInlet:
        """Return what a chip gets by a schedule."""
        whole = self.tissue.inlet(model, *self.chip(index), dose_nm)
        if schedule == "whole" or dose_nm == 0.0:
            return whole
        flowing = SCHEDULES[schedule]
        edges = sorted({0.0, EXPOSURE_H, *(h for span in flowing for h in span)})
        rows = [whole.inputs[0]]
        for begin in edges[:-1]:
            row = whole.inputs[1].copy()
            row[1] = dose_nm if any(on <= begin < off for on, off in flowing) else 0.0
            rows.append(row)
        return ChipInlet(
            whole.chip_id, REST_H + np.array([-REST_H, *edges]), np.array(rows), whole.constants
        )


def by_information(
    bench: ScheduleBench, posterior: Posterior, rng: np.random.Generator
) -> list[Any]:
    """Return the default policy's batch over concentration and schedule under the bound on harm."""
    batch = goal_information(bench.table(posterior, bounded=True), rng)
    return [CANDIDATES[choice.candidate] for choice in batch.choices]


def at_random(bench: ScheduleBench, posterior: Posterior, rng: np.random.Generator) -> list[Any]:
    """Return log-uniform doses by any schedule, one in eight the vehicle."""
    return [
        CANDIDATES[0] if rng.random() < 1 / 8 else CANDIDATES[int(rng.integers(1, len(CANDIDATES)))]
        for _ in range(BATCH)
    ]


SCHEDULED = {"eig_schedules": by_information, "random_schedules": at_random}
"""Name -> policy of this scenario."""
