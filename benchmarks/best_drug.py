"""Is the drug that is said to be the better one the better one as often as is said? Matched virtual studies.

Belongs here: many studies of two drugs whose truth is drawn from the prior, one row each. Not here: the studies
(matched_study), the calibration.

Both drugs have one prior, so that nothing but the readings tells them apart. ``python -m benchmarks.best_drug
--seeds 24 --out FILE`` appends a row per seed and takes up where it stopped; ``--report FILE`` prints the verdict.
``--swapped`` reads every row as if the drugs' parameters stood in each other's place, and must be rejected.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.stats import norm

from benchmarks.matched_study import MatchedStudy, matched_study
from chiploop.goals import estimates, goal_draws, truth_of_goal
from chiploop.inference.drug_entries import drug_entries
from chiploop.inference.posterior import Limits
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import Effort, recalibrate
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.protocols_path import protocols_folder
from chiploop.study import Study, load_study

DOSES_NM = ((30.0, 300.0, 30.0, 300.0),)
"""Cycle -> dose of each line: each drug at the same two doses."""
CHEAP = Effort(starts=4, particles=120)
EACH_TRY = Limits(ess=0.0, population_gap_sd=9.0, evidence_gap=99.0, starts_at_mode=1)
"""Of every study the first try counts, so that none is left out for what it found."""
LEVEL = 0.9


def alike() -> Study:
    """Return the shipped study of two drugs, both with the first one's constants and prior."""
    study = load_study(protocols_folder() / "studies" / "ad_jak_two_drugs.yaml")
    other = study.drug.model_copy(update={"name": study.further_drugs[0].name})
    return study.model_copy(update={"further_drugs": (other,)})


def truths_of(study: Study, matched: MatchedStudy) -> dict[str, float]:
    """Return goal (and goal[drug] of a best drug) -> its truth."""
    drawn = goal_draws(model_of(study), study, matched.population[None])
    found = {name: float(draws.values[0]) for name, draws in drawn.items()}
    for name, draws in drawn.items():
        found |= {f"{name}[{drug}]": float(own[0]) for drug, own in draws.of_drugs.items()}
    return found


def judged(study: Study, particles: np.ndarray, truths: dict[str, float]) -> dict[str, Any]:
    """Return what particles (n, entries) say of each goal beside its truth."""
    drawn = goal_draws(model_of(study), study, particles)
    goals = {
        one.name: {
            "median": one.median,
            "lower": one.lower,
            "upper": one.upper,
            "truth": truth_of_goal(study, one.facts(), truths),
        }
        for one in estimates(drawn, LEVEL)
    }
    best = dict(drawn["best"].best)
    first = max(best, key=lambda drug: best[drug])
    merits = {drug: 1.0 / truths[f"best[{drug}]"] for drug in study.drugs}
    return {
        "goals": goals,
        "probability": best[first],
        "right": max(merits, key=lambda drug: merits[drug]) == first,
    }


def swapped(study: Study, particles: np.ndarray) -> np.ndarray:
    """Return particles (n, entries) with the two drugs' own parameters in each other's place."""
    first, second = drug_entries(model_of(study), study).places
    result = particles.copy()
    result[:, first], result[:, second] = particles[:, second], particles[:, first]
    return result


def shared(study: Study, particles: np.ndarray) -> np.ndarray:
    """Return particles (n, entries) in which the second drug has the first one's parameters."""
    first, second = drug_entries(model_of(study), study).places
    result = particles.copy()
    result[:, second] = particles[:, first]
    return result


def row_of(seed: int) -> dict[str, Any]:
    """Return what one virtual study says of its drugs, and what it would say with them in each other's place."""
    study = alike()
    model = model_of(study)
    matched = matched_study(study, DOSES_NM, seed)
    likelihood = likelihood_of(study, matched.schedules, matched.readouts)
    prior = Prior.of_study(model, study)
    rng = np.random.default_rng([47, seed])
    posterior, info = recalibrate(likelihood, prior, rng, effort=CHEAP, limits=EACH_TRY)
    truths = truths_of(study, matched)
    return {
        "seed": seed,
        "ess": info.ess,
        "simulations": info.simulations,
        **judged(study, posterior.particles, truths),
        "swapped": judged(study, swapped(study, posterior.particles), truths),
    }


def calibration_z(rows: Sequence[dict[str, Any]]) -> float:
    """Return by how many sd the named drug is right more often than is said (Poisson-binomial)."""
    p = np.array([row["probability"] for row in rows])
    right = np.array([row["right"] for row in rows], dtype=float)
    # a drug said to be the best with all but certainty would otherwise allow no miss at all
    p = np.clip(p, 0.5, 1.0 - 1.0 / (2.0 * 2 * CHEAP.particles))
    return float((right - p).sum() / np.sqrt((p * (1.0 - p)).sum()))


def covered(rows: Sequence[dict[str, Any]], goal: str) -> int:
    """Return in how many rows a goal's interval holds the truth."""
    found = [row["goals"][goal] for row in rows]
    return sum(one["lower"] <= one["truth"] <= one["upper"] for one in found)


def told(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the verdict over studies."""
    z = calibration_z(rows)
    right = sum(row["right"] for row in rows)
    said = sum(row["probability"] for row in rows)
    return [
        f"the named drug is the better one in {right} of {len(rows)}, said was {said:.1f}: {z:+.2f} sd, "
        f"p {2 * norm.sf(abs(z)):.2g}",
        *(
            f"{goal}: the {100 * LEVEL:g} % interval held the truth in {covered(rows, goal)} of {len(rows)}"
            for goal in rows[0]["goals"]
        ),
    ]


def main() -> None:
    """Make rows, or tell what they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--swapped", action="store_true")
    asked = parser.parse_args()
    if asked.report:
        rows = [json.loads(line) for line in asked.report.read_text().splitlines()]
        print("\n".join(told([row["swapped"] for row in rows] if asked.swapped else rows)))
        return
    done = asked.out.read_text().splitlines() if asked.out.exists() else []
    seeds = {json.loads(line)["seed"] for line in done}
    for seed in sorted(set(range(asked.seeds)) - seeds):
        row = row_of(seed)
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"seed {seed}: P {row['probability']:.2f}, right {row['right']}", flush=True)


if __name__ == "__main__":
    main()
