"""Simulation-based calibration on whole virtual studies: ranks of the truth, coverage of intervals.

Belongs here: many matched studies, one row each. Not here: the studies (matched_study), the calibration.

``python -m benchmarks.calibration_ranks --seeds 200 --arm usual --out FILE`` appends a row per seed to FILE
and takes up where it stopped. Each row holds, for every population parameter, every donor's own parameters and
the leading goals, where the truth stands among the particles (0 to 1): uniform if and only if posteriors are
as wide as they should be (Talts et al. 2018, arXiv:1804.06788). ``--report FILE`` prints the verdict, and the
same for the same ranks from posteriors made 20 % too narrow, which must be rejected.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.stats import binom, chi2, norm

from benchmarks.matched_study import MatchedStudy, matched_study
from chiploop.goals import goal_values
from chiploop.inference.posterior import Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import recalibrate
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.protocols_path import protocols_folder
from chiploop.study import load_study

DOSES_NM = ((0.0, 30.0, 120.0, 480.0), (10.0, 60.0, 240.0, 960.0))
"""Cycle -> dose of each line."""
ARMS: dict[str, dict[str, float]] = {"usual": {}, "censored": {"CCL26": 80.0}}
"""Arm -> readout -> value below which it is censored."""
LEVELS = (0.5, 0.8, 0.9)
BINS = 10


def row_of(seed: int, arm: str) -> dict[str, Any]:
    """Return where the truth of one virtual study stands."""
    study = load_study(protocols_folder() / "studies" / "ad_jak_dose_finding.yaml")
    matched = matched_study(study, DOSES_NM, seed, ARMS[arm])
    likelihood = likelihood_of(study, matched.schedules, matched.readouts)
    prior = Prior.of_study(model_of(study), study)
    begin = time.perf_counter()
    posterior, info = recalibrate(likelihood, prior, np.random.default_rng([43, seed]))
    took = time.perf_counter() - begin
    return {
        "seed": seed,
        "arm": arm,
        "passed": info.passed,
        "failures": info.failures,
        "method": info.method,
        "censored": info.n_censored,
        "readouts": info.n_readouts,
        "ess": info.ess,
        "seconds": took,
        "places": places(matched, posterior),
    }


def places(matched: MatchedStudy, posterior: Posterior) -> dict[str, float]:
    """Return name -> share of the particles below the truth."""
    study = matched.study
    model = model_of(study)
    found = {}
    for j, name in enumerate(posterior.names):
        found[name] = place(posterior.particles[:, j], matched.population[j])
    varied = [spread.name for spread in model.donor_spreads]
    for k, name in enumerate(varied):
        spread = posterior.column(f"spread of {name}")
        found[f"spread of {name}"] = place(spread, matched.spreads[k])
        j = posterior.names.index(name)
        for d, donor in enumerate(posterior.donors):
            own = posterior.of_donors[:, d, j]
            found[f"{name} of {donor}"] = place(own, matched.donors[donor][j])
    some = posterior.particles[:: max(1, len(posterior.particles) // 400)]
    truth = goal_values(model, study, matched.population[None])
    for name, values in goal_values(model, study, some).items():
        found[f"goal {name}"] = place(values, float(truth[name][0]))
    return found


def place(values: np.ndarray, truth: float) -> float:
    """Return where the truth stands among values (n,): ties count half."""
    below = float((values < truth).sum()) + 0.5 * float((values == truth).sum())
    return (below + 0.5) / (len(values) + 1.0)


def rejected(places: np.ndarray) -> float:
    """Return the p value of uniformity of places (s,): chi-squared over ten bins."""
    counts = np.histogram(places, BINS, (0.0, 1.0))[0]
    expected = len(places) / BINS
    return float(chi2.sf(((counts - expected) ** 2 / expected).sum(), BINS - 1))


def spread_p(places: np.ndarray) -> float:
    """Return the two-sided p value of the squared normal scores of places (s,): too wide or too narrow."""
    squares = float((norm.ppf(places) ** 2).sum())
    low = float(chi2.cdf(squares, len(places)))
    return 2.0 * min(low, 1.0 - low)


def narrowed(places: np.ndarray, factor: float) -> np.ndarray:
    """Return where the truth would stand in posteriors ``factor`` as wide (normal scores over the factor)."""
    return np.asarray(norm.cdf(norm.ppf(places) / factor))


def report(path: Path) -> dict[str, Any]:
    """Return the verdict of a file of rows, name by name."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = list(rows[0]["places"])
    table = {}
    for name in names:
        at = np.array([row["places"][name] for row in rows])
        inside = {str(level): int((np.abs(at - 0.5) < level / 2).sum()) for level in LEVELS}
        table[name] = {
            "uniform_p": rejected(at),
            "spread_p": spread_p(at),
            "inside": inside,
            "narrow_p": spread_p(narrowed(at, 0.8)),
        }
    smallest = min(min(t["uniform_p"], t["spread_p"]) for t in table.values())
    return {
        "studies": len(rows),
        "failed": sum(not row["passed"] for row in rows),
        "censored_share": float(np.mean([row["censored"] / row["readouts"] for row in rows])),
        "seconds_median": float(np.median([row["seconds"] for row in rows])),
        "names": len(names),
        "smallest_p": smallest,
        "smallest_p_allowed": 0.01 / (2 * len(names)),
        "slack_90": [int(b) for b in binom.interval(0.99, len(rows), 0.9)],
        "narrow_rejected": sum(t["narrow_p"] < 0.01 / (2 * len(names)) for t in table.values()),
        "table": table,
    }


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--arm", choices=tuple(ARMS), default="usual")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    if asked.report:
        print(json.dumps(report(asked.report), indent=1))
        return
    if asked.out is None:
        parser.error("--out FILE is needed")
    done = set()
    if asked.out.exists():
        done = {json.loads(line)["seed"] for line in asked.out.read_text("utf-8").splitlines()}
    for seed in range(asked.first, asked.first + asked.seeds):
        if seed in done:
            continue
        row = row_of(seed, asked.arm)
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
