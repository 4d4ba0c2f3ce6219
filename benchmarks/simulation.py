"""The batch simulator beside its peers: ``python -m benchmarks.simulation [--json] [--quick] [--figures]``.

One study of skin_chip: twelve different chips (doses, donors), segments of constant inputs, samples within
segments and at their ends, collection windows; parameter sets spread by 0.4 in ln. Every simulator solves the
states that the readouts need over a row of tolerances, on one core of one process, and is compared with our own
solution at rtol 1e-11, which is itself compared with Radau. The rate counts processor time, so that a busy machine
disturbs it less. Ratios are at equal error: at each one's loosest tolerance within 1e-5, and at exactly 1e-5
between its tolerances. After that: threads, starts, the processor's limit, exponents, derivatives. ``--figures``
also measures how time and memory grow, and writes docs/figures. Nothing here is a test; another machine gives
other figures.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulation_engine as engine
from benchmarks.simulation_peers import Lsoda, Peer, missing, peers
from benchmarks.simulation_study import (
    N_SEGMENTS,
    chips,
    model_at,
    parameter_sets,
    simulated,
    timed,
    with_engine,
)
from benchmarks.work_precision import Point, errors, loosest_within, rate_at, slope
from chiploop.models import lanes

EQUAL_ERROR = 1e-5
REFERENCE_RTOL = 1e-11
OURS = "chiploop"
OUR_RTOLS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6, 1e-7, 1e-8)
BARS = {"libRoadRunner": 80.0, "SciPy": 450.0}
"""Peer -> how many times quicker we want to be at equal error."""
BAR_THREADS, BAR_COLD_S, BAR_WARM_S, BAR_EXPONENTS = 1.8, 15.0, 0.5, 1.8
ONE_CORE = {
    "CHIPLOOP_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
SEEN_MB = 0.5
"""Memory below this is lost in what the allocator had left over."""
FIGURES = Path(__file__).parents[1] / "docs" / "figures"


def ours(n_sets: int) -> list[Peer]:
    """Return our own ways; their batches are larger than what is compared."""
    inlets, lanes_5 = chips(), model_at(1e-4)
    more = parameter_sets(lanes_5, n_sets)
    models = {OURS: lanes_5, "chiploop, Rodas4": with_engine(lanes_5, method="rodas4")}
    if importlib.util.find_spec("chiploop.models.scalar") is not None:
        models["chiploop, scalar"] = with_engine(lanes_5, engine="scalar")
    return [
        Peer(
            name,
            lambda rtol, sets, m=model: simulated(
                m, np.concatenate([sets, more[len(sets) :]]), inlets, rtol
            ),
            OUR_RTOLS,
            OURS,
        )
        for name, model in models.items()
    ]


def curve(peer: Peer, sets: np.ndarray, reference: np.ndarray, budget_s: float) -> list[Point]:
    """Return a peer's work and precision over its tolerances."""
    peer.run(peer.rtols[0], sets[:1])
    points = []
    for rtol in peer.rtols:
        found = peer.run(rtol, sets)
        largest, percentile = errors(found[: len(sets)], reference)
        spent = timed(lambda r=rtol: peer.run(r, sets), budget_s)
        n = found.shape[0] * found.shape[1]
        points.append(Point(rtol, largest, percentile, n / spent.cpu_s, n / spent.wall_s))
    return points


def work_precision(is_quick: bool) -> dict[str, Any]:
    """Return every simulator's curve, and the ratios at equal error."""
    inlets, tight = chips(), model_at(REFERENCE_RTOL)
    sets = parameter_sets(tight, 4 if is_quick else 16)
    reference = simulated(tight, sets, inlets, REFERENCE_RTOL)
    radau = Lsoda(inlets).by_solve_ivp(REFERENCE_RTOL, sets[:1], "Radau")
    known = [*ours(64 if is_quick else 512), *peers(inlets, is_quick)]
    budget = 0.2 if is_quick else 2.0
    curves = {peer.name: curve(peer, sets, reference, budget) for peer in known}
    families = {peer.name: peer.family for peer in known}
    return {
        "compared": f"{len(sets)} parameter sets x {len(inlets)} chips",
        "segments": N_SEGMENTS,
        "reference_against_radau": errors(radau, reference[:1])[0],
        "equal_error": EQUAL_ERROR,
        "missing": missing(),
        "curves": {name: [asdict(p) for p in points] for name, points in curves.items()},
        "at_equal_error": {
            name: compared(points, curves[OURS], BARS.get(families[name]))
            for name, points in curves.items()
        },
    }


def compared(points: Sequence[Point], best: Sequence[Point], bar: float | None) -> dict[str, Any]:
    """Return a peer's rates at equal error and how many times quicker we are."""
    grid, our_grid = loosest_within(points, EQUAL_ERROR), loosest_within(best, EQUAL_ERROR)
    exact, our_exact = rate_at(points, EQUAL_ERROR), rate_at(best, EQUAL_ERROR)
    on_grid = our_grid.per_s / grid.per_s if grid and our_grid else None
    exactly = our_exact / exact if exact and our_exact else None
    return {
        "rtol": grid.rtol if grid else None,
        "error": grid.largest_error if grid else None,
        "per_s": grid.per_s if grid else None,
        "per_s_at_exactly": exact,
        "ratio": on_grid,
        "ratio_at_exactly": exactly,
        "bar": bar,
        "reached": None if bar is None or exactly is None else exactly >= bar,
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    except OSError:
        pass
    versions = {}
    for name in ("numpy", "scipy", "numba", "llvmlite", "libroadrunner", "diffrax", "jax"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "lanes": lanes.machine().width,
        "lanes_for": lanes.machine().cpu,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
    }


def measured(is_quick: bool, with_growth: bool) -> dict[str, Any]:
    """Return everything."""
    n_sets, budget = (64, 0.5) if is_quick else (512, 6.0)
    found: dict[str, Any] = {"machine": machine(), **work_precision(is_quick)}
    found["threads"] = engine.threads(n_sets * 4, budget)
    found["starts"] = engine.starts(1 if is_quick else 5)
    found["limit"] = engine.limit(n_sets, budget / 3)
    found["exponents"] = engine.exponents(n_sets, budget)
    found["sensitivities"] = engine.sensitivities(n_sets // 8, budget)
    if with_growth:
        chip_counts = [1, 10, 100] if is_quick else [1, 3, 10, 30, 100, 300, 1000]
        counts = [100, 1000, 10_000] if is_quick else [100, 1000, 10_000, 100_000, 1_000_000]
        found["growth"] = with_slopes(engine.growth(chip_counts, counts))
    return found


def with_slopes(growth: dict[str, Any]) -> dict[str, Any]:
    """Return the growth with its slopes; that of memory is of what a run adds to the process."""
    slopes = {}
    for series, size in (("chips", "chips"), ("trajectories", "trajectories")):
        rows = growth[series]
        slopes[f"time_over_{series}"] = slope([r[size] for r in rows], [r["cpu_s"] for r in rows])
        added = [(r[size], r["peak_mb"] - r["before_mb"]) for r in rows]
        large = [(n, mb) for n, mb in added if mb >= SEEN_MB]
        if len(large) > 1:
            slopes[f"memory_over_{series}"] = slope(*zip(*large, strict=True))
    return {**growth, "slopes": slopes}


def verdict(value: float, bar: float, is_least: bool) -> str:
    """Return whether a bar is reached."""
    reached = value >= bar if is_least else value <= bar
    return f"bar {'>=' if is_least else '<='} {bar:g}: {'reached' if reached else 'NOT reached'}"


def number(value: float | None, form: str) -> str:
    """Return a number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def report(found: dict[str, Any]) -> None:
    """Print everything for people."""
    facts = found["machine"]
    print(
        f"{facts['processor']}, {facts['cores']} cores, {facts['lanes']} lanes ({facts['lanes_for']}), "
        f"load {number(facts['load'], '.1f')}"
    )
    print(", ".join(f"{k} {facts[k]}" for k in ("python", "numpy", "scipy", "numba", "llvmlite")))
    print(", ".join(f"{k} {facts[k]}" for k in ("libroadrunner", "diffrax", "jax")))
    print(
        f"12 chips, {found['segments']} segments, {found['compared']} compared; our reference is within"
    )
    print(f"{found['reference_against_radau']:.1e} of Radau at the same tolerance")
    print(
        f"\n{'':24} {'rtol':>8} {'largest':>9} {'99 %':>9} {'traj./s/core':>13} {'by the wall':>12}"
    )
    for name, points in found["curves"].items():
        for i, p in enumerate(points):
            print(
                f"{name if i == 0 else '':24} {p['rtol']:8.0e} {p['largest_error']:9.1e} "
                f"{p['error_99']:9.1e} {p['per_s']:13,.0f} {p['per_s_of_wall']:12,.0f}"
            )
    print(
        f"\nAt a largest error of {found['equal_error']:g}: loosest tolerance within | exactly there"
    )
    for name, one in found["at_equal_error"].items():
        line = (
            f"{name:24} rtol {number(one['rtol'], '.0e'):>5} {number(one['per_s'], '12,.0f')}/s "
            f"ratio {number(one['ratio'], '7.1f')} | {number(one['per_s_at_exactly'], '10,.0f')}/s "
            f"ratio {number(one['ratio_at_exactly'], '7.1f')}"
        )
        if one["bar"] and one["ratio_at_exactly"]:
            line += "  " + verdict(one["ratio_at_exactly"], one["bar"], True)
        print(line)
    for name in found["missing"]:
        print(f"{name:24} is not installed")
    report_engine(found)


def report_engine(found: dict[str, Any]) -> None:
    """Print what has no peer."""
    two, limit, power = found["threads"], found["limit"], found["exponents"]
    cold, warm = found["starts"]["cold"], found["starts"]["warm"]
    print(
        f"\nTwo threads: {two['trajectories_per_s_2']:,.0f} trajectories/s, {two['gain']:.2f} x one "
        f"({verdict(two['gain'], BAR_THREADS, True)}); two plain processes did {two['machine_gain']:.2f} x one"
    )
    print(
        f"Start of Python to the first result, empty cache: {cold['first_result_s']:.2f} s, "
        f"{cold['cpu_s']:.2f} s of processor ({verdict(cold['first_result_s'], BAR_COLD_S, False)})"
    )
    print(
        f"Start of Python to the model, full cache: {warm['model_s']:.2f} s, to the first result "
        f"{warm['first_result_s']:.2f} s, {warm['cpu_s']:.2f} s of processor "
        f"({verdict(warm['first_result_s'], BAR_WARM_S, False)})"
    )
    print(
        f"Limit: {limit['flops_per_step']:.0f} flops a step x {limit['steps_per_trajectory']:.0f} steps at "
        f"{limit['peak_gflops']:.0f} Gflop/s = {limit['limit_us']:.1f} us; we take {limit['us']:.1f} us, "
        f"{limit['times_the_limit']:.1f} times the limit"
    )
    print(
        f"A free Hill exponent instead of a number: {power['one_free']:.2f} x the time "
        f"({verdict(power['one_free'], BAR_EXPONENTS, False)}); six free ones: {power['six_free']:.2f} x"
    )
    slopes = found["sensitivities"]
    print(
        f"Sensitivities to {slopes['parameters']:.0f} parameters: {slopes['jacobians_per_s']:,.0f} Jacobians/s, "
        f"{slopes['cost_in_trajectories']:.1f} trajectories each; tangent system "
        f"{slopes['tangent_jacobians_per_s']:,.0f}/s, {slopes['tangent_cost_in_trajectories']:.1f} each"
    )
    print(
        f"  largest difference from the tangent system at rtol 1e-10: {slopes['difference_at_usual_rtol']:.0e} "
        f"at rtol {engine.RTOL:g}, {slopes['difference_at_1e-9']:.0e} at 1e-9"
    )
    if "growth" in found:
        told = ", ".join(
            f"{k.replace('_', ' ')} {v:.2f}" for k, v in found["growth"]["slopes"].items()
        )
        print(f"Growth, slope in logarithms: {told}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--quick", action="store_true", help="fewer sets and repeats: a first look")
    parser.add_argument("--figures", action="store_true", help="measure growth, write docs/figures")
    parser.add_argument("--from", dest="source", type=Path, help="print a --json file again")
    parser.add_argument(
        "--segments", type=int, choices=(4, 5), default=5, help="4 leaves the wash-out out"
    )
    given = parser.parse_args()
    wanted = {**ONE_CORE, "CHIPLOOP_BENCH_SEGMENTS": str(given.segments)}
    if any(os.environ.get(k) != v for k, v in wanted.items()):
        # libraries read these when they are loaded, so Python begins again with them set
        command = [sys.executable, "-m", "benchmarks.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **wanted})
    warnings.filterwarnings("ignore", message="builtin type .* has no __module__ attribute")
    if given.source:
        found = json.loads(given.source.read_text("utf-8"))
    else:
        found = measured(given.quick, given.figures)
    if given.figures:
        from benchmarks.simulation_figures import write_figures

        write_figures(found, FIGURES)
    if given.json:
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        report(found)


if __name__ == "__main__":
    main()
