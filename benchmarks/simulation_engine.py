"""What our engine does by itself: threads, starting, the processor's limit, exponents, derivatives.

Belongs here: measurements without a peer. Not here: peers (simulation_peers), one size of many
(simulation_growth).
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulation_study import (
    MODEL,
    READOUTS,
    TIMES_H,
    WINDOWS_H,
    chips,
    model_at,
    parameter_sets,
    symbolic,
    timed,
)
from chiploop.models import lanes
from chiploop.models.compiler import compile_model
from chiploop.models.lane_math import splat
from chiploop.models.tangent import ALONG, SLOPE, tangent_model
from chiploop.models.tissue_model import MODELS, TissueModel

RTOL = 1e-4
"""The model's usual tolerance."""
FMA_CHAINS = 12
FMA_ROUNDS = 20_000_000

START = """
import sys, time
began = float(sys.argv[1])
import numpy as np
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import MODELS, load_model
model = load_model(sys.argv[2], tuple(sys.argv[3:]))
loaded = time.time() - began
one = ChipInlet("C", np.array([0.0, 24.0]), np.array([[60.0, 100.0, 0.03, 0.08]]), {"flg_dose": 1.0})
center = np.array([[spec.center for spec in model.estimated]])
found = model.simulate(center, [one], np.array([24.0]))
assert found.failed == 0
print(loaded, time.time() - began, time.process_time())
"""


def started(cache: str) -> dict[str, float]:
    """Return the seconds from the start of Python to the model and to the first result, in its own process."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    command = [sys.executable, "-c", START, repr(time.time()), MODEL, *READOUTS]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    loaded, first, cpu = map(float, answer.stdout.split())
    return {"model_s": loaded, "first_result_s": first, "cpu_s": cpu}


def starts(repeats: int) -> dict[str, dict[str, float]]:
    """Return the quickest cold start (empty cache) and warm start."""
    cold, warm = [], []
    for _ in range(max(1, repeats // 2)):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(started(cache))
            warm += [started(cache) for _ in range(repeats)]
    quickest = {"cold": cold, "warm": warm}
    return {k: min(v, key=lambda s: s["first_result_s"]) for k, v in quickest.items()}


def threads(n_sets: int, budget_s: float) -> dict[str, float]:
    """Return the wall time of one batch on one and on two threads, in turns, and the gain."""
    model, inlets = model_at(RTOL), chips()
    sets = parameter_sets(model, n_sets)
    wall: dict[int, list[float]] = {1: [], 2: []}
    before = os.environ.get("CHIPLOOP_THREADS")
    try:
        for turn in range(6):
            for count in wall:
                os.environ["CHIPLOOP_THREADS"] = str(count)
                spent = timed(
                    lambda: model.simulate(sets, inlets, TIMES_H, WINDOWS_H), budget_s / 12
                )
                if turn:  # the first one starts the threads
                    wall[count].append(spent.wall_s)
    finally:
        os.environ["CHIPLOOP_THREADS"] = before or "1"
    one, two = min(wall[1]), min(wall[2])
    return {
        "machine_gain": machine_gain(),
        "trajectories_per_s_1": n_sets * len(inlets) / one,
        "trajectories_per_s_2": n_sets * len(inlets) / two,
        "gain": one / two,
    }


SPIN = (
    "import time; t = time.perf_counter(); sum(range(20_000_000)); print(time.perf_counter() - t)"
)


def machine_gain() -> float:
    """Return how much more two processes do than one: what this machine has for two threads at this moment."""

    def together(count: int) -> float:
        running = [
            subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        return max(float(process.communicate()[0]) for process in running)

    alone, both = min(together(1) for _ in range(3)), min(together(2) for _ in range(3))
    return 2.0 * alone / both


def peak_flops() -> float:
    """Return the flops per second that one core does in independent chains of fused multiply-adds."""
    target = lanes.machine()
    row = f"<{target.width} x double>"
    chains = range(FMA_CHAINS)
    lines = [
        f"declare {row} @llvm.fma.v{target.width}f64({row}, {row}, {row})",
        "define i64 @peak(ptr %out, i64 %rounds) {",
        "entry:",
        f"  %a = load {row}, ptr %out, align 64",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        *(f"  %s{k} = phi {row} [ {splat(0.1 * k, target.width)}, %entry ], [ %n{k}, %loop ]" for k in chains),
        *(f"  %n{k} = call {row} @llvm.fma.v{target.width}f64({row} %s{k}, {row} %a, {row} %a)" for k in chains),
        "  %next = add i64 %i, 1",
        "  %more = icmp ult i64 %next, %rounds",
        "  br i1 %more, label %loop, label %leave",
        "leave:",
        f"  %t0 = fadd {row} %n0, %n1",
        *(f"  %t{k - 1} = fadd {row} %t{k - 2}, %n{k}" for k in chains[2:]),
        f"  store {row} %t{FMA_CHAINS - 2}, ptr %out, align 64",
        "  ret i64 0",
        "}",
    ]  # fmt: skip
    code = lanes.compile_object("\n".join(lines), target)
    address = lanes.load_object(code, ["peak"], target)["peak"]
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(address)
    raw = np.full(target.width + 8, 0.5)
    aligned = raw[-raw.ctypes.data % 64 // 8 :]
    spent = timed(lambda: function(aligned.ctypes.data, FMA_ROUNDS), 2.0)
    return FMA_ROUNDS * FMA_CHAINS * target.width * 2 / spent.cpu_s


def limit(n_sets: int, budget_s: float) -> dict[str, float]:
    """Return how many times longer a trajectory takes than its steps' arithmetic at the core's peak."""
    model, inlets = model_at(RTOL), chips()
    sets = parameter_sets(model, n_sets)
    found = model.simulate(sets, inlets, TIMES_H, WINDOWS_H)
    n = n_sets * len(inlets)
    flops = model.compiled.flops_per_step * found.steps / n
    spent = timed(lambda: model.simulate(sets, inlets, TIMES_H, WINDOWS_H), budget_s)
    peak = peak_flops()
    return {
        "peak_gflops": peak / 1e9,
        "flops_per_step": float(model.compiled.flops_per_step),
        "steps_per_trajectory": found.steps / n,
        "limit_us": 1e6 * flops / peak,
        "us": 1e6 * spent.cpu_s / n,
        "times_the_limit": spent.cpu_s / n * peak / flops,
    }


FIXED = {"(D_free/IC50)^h": "(D_free/IC50)^1"}
FREE = {
    "P_pos^1.5": "P_pos^n_F",
    "KF^1.5": "KF^n_F",
    "D_t^2/(D_t^2 + TC50^2)": "D_free^n_tox/(D_free^n_tox + TC50^n_tox)",
    "integrity_pos^1.5": "integrity_pos^n_T",
    "P/(P + KB)": "P_pos^n_B/(P_pos^n_B + KB^n_B)",
    "P/(P + K26)": "P_pos^n_26/(P_pos^n_26 + K26^n_26)",
    "KB = 0.15;": "KB = 0.15; n_F = 1.5; n_tox = 2; n_T = 1.5; n_B = 1; n_26 = 1;",
}


def rewritten(changes: dict[str, str], folder: Path, text: str | None = None) -> TissueModel:
    """Return the model with parts of its text in another way."""
    text = text or MODELS[MODEL].read_text("utf-8")
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"{MODEL}.ant has changed: {old} is not found in it")
        text = text.replace(old, new)
    folder.mkdir()
    path = folder / f"{MODEL}.ant"
    path.write_text(text, "utf-8")
    path.with_suffix(".yaml").write_text(
        MODELS[MODEL].with_suffix(".yaml").read_text("utf-8"), "utf-8"
    )
    return TissueModel(MODEL, path, RTOL, READOUTS)


def exponents(n_sets: int, budget_s: float) -> dict[str, float]:
    """Return what free exponents cost: the time over that of the same formula with numbers in their place.

    One is free in the model as it is (the drug's Hill slope). ``six`` frees five more.
    """
    inlets = chips()
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "fixed": rewritten(FIXED, Path(folder) / "fixed"),
            "one": rewritten({}, Path(folder) / "one"),
            "six": rewritten(FREE, Path(folder) / "six"),
        }
        sets = parameter_sets(models["one"], n_sets)
        sets[:, models["one"].estimated_names.index("h")] = 1.0
        spent: dict[str, float] = {}
        for _ in range(3):
            for name, model in models.items():
                here = timed(
                    lambda m=model: m.simulate(sets, inlets, TIMES_H, WINDOWS_H), budget_s / 9
                ).cpu_s
                spent[name] = min(here, spent.get(name, here))
        steps = {
            name: model.simulate(sets, inlets, TIMES_H, WINDOWS_H).steps
            for name, model in models.items()
        }
    per_step = {name: spent[name] / steps[name] for name in models}
    return {
        "one_free": spent["one"] / spent["fixed"],
        "six_free": spent["six"] / spent["fixed"],
        "six_free_per_step": per_step["six"] / per_step["fixed"],
    }


def sensitivities(n_sets: int, budget_s: float) -> dict[str, float]:
    """Return Jacobians a second by neighbouring lanes and by the tangent system, and how well they agree."""
    model, inlets = model_at(RTOL), chips()
    sets = parameter_sets(model, n_sets)
    p = sets.shape[1]
    plain = timed(lambda: model.simulate(sets, inlets, TIMES_H, WINDOWS_H), budget_s / 4).cpu_s
    by_lanes = timed(
        lambda: model.sensitivities(sets, inlets, TIMES_H, WINDOWS_H), budget_s / 4
    ).cpu_s
    tangent = TangentModel(model)
    by_tangent = timed(lambda: tangent.jacobians(sets, RTOL), budget_s / 4).cpu_s
    few = sets[:4]
    referee = tangent.jacobians(few, 1e-10)
    scale = np.nanmax(np.abs(referee), axis=(0, 1, 2))  # of each readout by each parameter

    def difference(rtol: float) -> float:
        model.rtol = rtol
        _, slopes = model.sensitivities(few, inlets, TIMES_H, WINDOWS_H)
        moves = scale > 0.0
        return float(np.nanmax(np.abs(slopes - referee)[..., moves] / scale[moves]))

    n = n_sets * len(inlets)
    return {
        "parameters": float(p),
        "jacobians_per_s": n / by_lanes,
        "cost_in_trajectories": by_lanes / plain,
        "tangent_jacobians_per_s": n / by_tangent,
        "tangent_cost_in_trajectories": by_tangent / plain,
        "difference_at_usual_rtol": difference(RTOL),
        "difference_at_1e-9": difference(1e-9),
    }


class TangentModel:
    """The model with its own derivatives as states; each lane holds one direction."""

    def __init__(self, model: TissueModel) -> None:
        self.model = model
        names = [q.removeprefix("integral_") for q in model.compiled.observed[: len(READOUTS)]]
        self.windowed = [q.startswith("integral_") for q in model.compiled.observed]
        integrals = [SLOPE + n for n, w in zip(names, self.windowed, strict=False) if w]
        observed = [
            f"integral_{SLOPE}{n}" if w else SLOPE + n
            for n, w in zip(names, self.windowed, strict=False)
        ]
        self.compiled = compile_model(
            model.text,
            f"{model.name}_tangent",
            model.compiled.inputs,
            observed,
            integrals,
            model=tangent_model(symbolic(), model.estimated_names),
        )

    def jacobians(self, sets: np.ndarray, rtol: float) -> np.ndarray:
        """Return derivatives (n, chips, times, readouts, p)."""
        model, (n, p) = self.model, sets.shape
        values: dict[str, Any] = {
            name: np.repeat(sets[:, j], p) for j, name in enumerate(model.estimated_names)
        }
        for j, name in enumerate(model.estimated_names):
            values[ALONG + name] = np.tile(np.eye(p)[j], n)
        grid = np.unique([*TIMES_H, *WINDOWS_H[np.isfinite(WINDOWS_H)]])
        schedules = [model.schedule(inlet, {}) for inlet in chips()]
        result = self.compiled.run(
            self.compiled.parameter_rows(n * p, values), schedules, grid, rtol=rtol
        )
        found, _ = model.readings(result.observed, grid, TIMES_H, WINDOWS_H)
        return np.moveaxis(found.reshape(n, p, *found.shape[1:]), 1, -1)


def growth(chip_counts: list[int], counts: list[int]) -> dict[str, Any]:
    """Return time and memory for more chips and for more trajectories, each size in a process of its own."""
    sets_per_chip = 16
    return {
        "sets_per_chip": sets_per_chip,
        "chips": [grown(c, sets_per_chip) for c in chip_counts],
        "trajectories": [grown(12, -(-n // 12)) for n in counts],
    }


def grown(n_chips: int, n_sets: int) -> dict[str, float]:
    """Return what one size takes."""
    command = [sys.executable, "-m", "benchmarks.simulation_growth", str(n_chips), str(n_sets)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found
