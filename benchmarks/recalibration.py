"""Our calibration beside emcee and pyPESTO: ``python -m benchmarks.recalibration [--json] [--quick] [--figures]``.

One posterior of skin_chip: twelve chips, ten daily samplings, six readouts each (720 in all), 19 estimated
parameters. Every sampler draws from the same density, computed by the same engine on all cores. Measured are
effective draws of the worst parameter per second of wall time, burn-in included: of chains by one estimator for
all (Vehtari et al. 2021); what our calibration claims is checked against how its means scatter over seeds, and cut
down where they scatter more. The marginals must agree within their Monte Carlo errors, parameter by parameter,
otherwise the benchmark says which do not and ends with 1. What favours the other samplers get is told in
recalibration_peers. The peers come with ``pip install 'chiploop[bench-peers]'``. Nothing here is a test; another
machine gives other figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import recalibration_ours as ours
from benchmarks.effective_sample import (
    Agreement,
    Marginals,
    agreement,
    marginals_of_chains,
)
from benchmarks.recalibration_amici import is_installed, measured_with_amici
from benchmarks.recalibration_chains import Chains, PeerFailed
from benchmarks.recalibration_peers import PACKAGES, missing, samplers, versions
from benchmarks.recalibration_report import CONVERGED, report
from benchmarks.recalibration_study import FIRST_SAMPLINGS, measured
from benchmarks.recalibration_target import Target, mode_of
from benchmarks.simulation import machine
from chiploop.inference.chains import bulk_ess, rhat

BARS = {"emcee": 20.0, "pypesto": 10.0}
"""Peer -> how many times more effective draws per second we want than its best sampler."""
ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Products of small matrices gain nothing by threads, and these would wait for those that simulate."""
FIGURES = Path(__file__).parents[1] / "docs" / "figures"


def tell(text: str) -> None:
    """Say where the benchmark stands."""
    print(text, file=sys.stderr, flush=True)


def run_row(found: ours.Repeats) -> dict[str, Any]:
    """Return what is told of repeated calibrations."""
    typical, excess = found.typical, found.excess
    return {
        "seeds": len(found.runs),
        "passed": sum(run.passed for run in found.runs),
        "failures": sorted({text for run in found.runs for text in run.failures}),
        "wall_s": typical.wall_s,
        "slowest_wall_s": max(run.wall_s for run in found.runs),
        "cpu_s": float(np.median([run.cpu_s for run in found.runs])),
        "simulations": typical.simulations,
        "claimed_ess": float(np.median(found.claimed)),
        "counted_ess": found.counted_ess,
        "excess_mean": float(excess.mean()),
        "excess_worst": float(excess.max()),
        "excess_limit": found.excess_limit,
        "ess_per_s": found.counted_ess / typical.wall_s,
        "ess_per_cpu_s": found.counted_ess / float(np.median([run.cpu_s for run in found.runs])),
    }


def peer_row(chains: Chains, peer: str) -> dict[str, Any]:
    """Return what is told of a peer's chains."""
    kept = chains.kept
    size = bulk_ess(kept)
    worst = float(size.min())
    return {
        "peer": peer,
        "chains": kept.shape[0],
        "steps": chains.draws.shape[1],
        "wall_s": chains.wall_s,
        "cpu_s": chains.cpu_s,
        "burn_in_s": chains.burn_in_s,
        "ess": worst,
        "ess_median": float(np.median(size)),
        "rhat": float(rhat(kept).max()),
        "ess_per_s": worst / chains.wall_s,
        "ess_per_cpu_s": worst / chains.cpu_s,
        "ess_per_s_after_burn_in": worst / (chains.wall_s - chains.burn_in_s),
        "growth": chains.growth(),
    }


def agreement_row(found: Agreement, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what is told of two samples beside each other."""
    return {
        "agrees": found.agrees,
        "apart": found.apart(names),
        "limit": found.limit,
        "mean_gap_sd": found.mean_gap.tolist(),
        "mean_score": found.mean_score.tolist(),
        "sd_ratio": found.sd_ratio.tolist(),
        "sd_score": found.sd_score.tolist(),
    }


def measure(
    wanted: tuple[str, ...], seconds: float, seeds: int, with_amici: bool
) -> dict[str, Any]:
    """Return everything."""
    study = measured()
    target = Target(study)
    found: dict[str, Any] = {
        "machine": {**machine(), **versions()},
        "chips": study.values.shape[0],
        "readouts": study.values.size,
        "parameters": list(target.names),
        "missing": {peer: missing(peer) for peer in wanted},
    }
    points = study.truth + 0.1 * np.random.default_rng(0).standard_normal((8, target.dims))
    both = target.log_density(points) - ours.log_density(study, points)
    found["densities_differ_by"] = float(np.ptp(both))
    found["rates"] = rates(target, points)

    tell("our calibration, in a new process with an empty cache")
    found["start"] = ours.started(study)
    first, _ = ours.calibrated(study.first(FIRST_SAMPLINGS), 0)
    tell(f"our calibration, {seeds} seeds cold and warm")
    cold, warm = ours.repeats(study, range(seeds)), ours.repeats(study, range(seeds), first)
    found["cold"], found["warm"] = run_row(cold), run_row(warm)
    known: dict[str, Marginals] = {"cold": cold.pooled()}
    compared = {"warm": warm.pooled()}

    mode = mode_of(target, np.random.default_rng(0))
    found["peers"], found["failed"] = {}, []
    for peer in wanted:
        if missing(peer):
            continue
        for name, sampler in samplers(peer).items():
            tell(f"{name}, {seconds:.0f} s")
            try:
                chains = sampler(target, mode, seconds, 1)
            except PeerFailed as reason:
                found["failed"].append(str(reason))
                continue
            found["peers"][name] = peer_row(chains, peer)
            compared[name] = marginals_of_chains(chains.kept)
    found["marginals"] = {
        name: {"mean": one.mean.tolist(), "sd": one.sd.tolist()}
        for name, one in {**known, **compared}.items()
    }
    found["agreement"] = {
        name: agreement_row(agreement(known["cold"], one), target.names)
        for name, one in compared.items()
    }
    measured_peers = sorted({row["peer"] for row in found["peers"].values()})
    found["ratios"] = {peer: ratios(found, peer) for peer in measured_peers}
    found["judged"] = judged(found)
    if with_amici:
        tell("AMICI: building one chip")
        found["amici"] = measured_with_amici(target)
    return found


def rates(target: Target, points: np.ndarray, budget_s: float = 2.0) -> dict[str, float]:
    """Return how many densities and gradients per second the engine gives on all cores."""
    found = {}
    many = np.repeat(points, 64, axis=0)
    for name, call in (
        ("densities_per_s", lambda: target.log_density(many)),
        ("densities_one_by_one_per_s", lambda: target.log_density(points[:1])),
        ("gradients_one_by_one_per_s", lambda: target.gradient(points[:1])),
    ):
        call()
        began, calls = time.perf_counter(), 0
        while time.perf_counter() - began < budget_s:
            call()
            calls += 1
        size = len(many) if name == "densities_per_s" else 1
        found[name] = calls * size / (time.perf_counter() - began)
    return found


def ratios(found: dict[str, Any], peer: str) -> dict[str, Any]:
    """Return how many times more effective draws per second we have than a peer's best sampler."""
    of_peer = {name: row for name, row in found["peers"].items() if row["peer"] == peer}
    best = max(of_peer, key=lambda name: float(of_peer[name]["ess_per_s"]))
    row, cold, warm = of_peer[best], found["cold"], found["warm"]
    return {
        "best": best,
        "cold": cold["ess_per_s"] / row["ess_per_s"],
        "warm": warm["ess_per_s"] / row["ess_per_s"],
        "cold_by_processor_time": cold["ess_per_cpu_s"] / row["ess_per_cpu_s"],
        "cold_without_its_burn_in": cold["ess_per_s"] / row["ess_per_s_after_burn_in"],
        "bar": BARS[peer],
        "reached": cold["ess_per_s"] >= BARS[peer] * row["ess_per_s"],
    }


def judged(found: dict[str, Any]) -> dict[str, Any]:
    """Return which samples disagree with ours, and which are no reference."""
    unfit = [name for name, row in found["peers"].items() if row["rhat"] > CONVERGED]
    apart = [
        name for name, row in found["agreement"].items() if not row["agrees"] and name not in unfit
    ]
    peers = [name for name in found["peers"] if name not in unfit]
    same = found["densities_differ_by"] < 1e-6
    return {
        "not_converged": unfit,
        "disagree": apart,
        "same_density": same,
        "agrees": same and not apart and (bool(peers) or not found["peers"]),
    }


def main() -> None:
    """Measure and print; end with 1 where samples disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="fewer seeds, a sixth of the time")
    parser.add_argument(
        "--peers", default=",".join(PACKAGES), help="which, with commas between; empty for none"
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="of each peer's samplers")
    parser.add_argument("--seeds", type=int, default=10, help="of our calibration, cold and warm")
    parser.add_argument(
        "--amici", action="store_true", help="time the derivatives of pyPESTO's own simulator too"
    )
    parser.add_argument("--figures", action="store_true", help="write docs/figures")
    parser.add_argument("--from", dest="source", type=Path, help="print a --json file again")
    given = parser.parse_args()
    wanted = tuple(name for name in given.peers.split(",") if name)
    strange = sorted(set(wanted) - set(PACKAGES))
    if strange:
        parser.error(f"no peer {', '.join(strange)}; there are: {', '.join(PACKAGES)}")
    if given.amici and not is_installed():
        parser.error("--amici: amici is not installed (pip install amici; it needs a C++ compiler)")
    if any(os.environ.get(k) != v for k, v in ONE_BLAS_THREAD.items()):
        # libraries read these when they are loaded, so Python begins again with them set
        command = [sys.executable, "-m", "benchmarks.recalibration", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **ONE_BLAS_THREAD})
    warnings.filterwarnings("ignore", message="builtin type .* has no __module__ attribute")
    if given.source:
        found = json.loads(given.source.read_text("utf-8"))
    else:
        share, seeds = (6.0, min(4, given.seeds)) if given.quick else (1.0, given.seeds)
        found = measure(wanted, given.seconds / share, seeds, given.amici)
    if given.figures:
        from benchmarks.recalibration_figures import write_figure

        write_figure(found, FIGURES)
    if given.json:
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        report(found)
    sys.exit(0 if found["judged"]["agrees"] else 1)


if __name__ == "__main__":
    main()
