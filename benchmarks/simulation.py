"""The batch simulator against SciPy's LSODA on the same study: ``python -m benchmarks.simulation [--json]``.

Both solve the states that skin_chip's readouts need (14 and one integral) for one study of twelve different
chips: a day of medium, then two exposures with doses of their own and a pause between. Each is run at the
loosest of a row of tolerances at which its readouts, and those of every tighter one, are within 1e-5 of a
tight reference (Radau, rtol 1e-11). LSODA (odeint, SciPy's quickest door to it) is called once per segment, as
a schedule with switches needs. Its right-hand side is compiled with numba, written by hand in this file,
without a Jacobian; so the comparison is of solvers and of the way through them, not of Python against machine
code. One core for both: compilation and the first call are not counted. Nothing here is a test; a busy machine
gives other seconds, and another ratio too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import scipy
from scipy.integrate import odeint, solve_ivp

from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import MODELS, TissueModel

EQUAL_ERROR = 1e-5
"""Largest relative error of TEER and pooled CCL26."""
TOLERANCES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 1e-8)
DOSES_NM = np.geomspace(3.0, 4000.0, 12)
STIMULUS_NM = (0.5 / 15.0, 1.0 / 12.6)
TIMES_H = np.array([48.0, 72.0, 100.0, 124.0])
WINDOWS_H = np.array([np.nan, 48.0, np.nan, 100.0])
N_SETS = 64
"""Parameter sets per timed call of the batch: what it is made for."""


def chips() -> list[ChipInlet]:
    """Return twelve chips, each with its own doses and one of three donors."""
    found = []
    for i, dose in enumerate(DOSES_NM):
        edges = np.array([0.0, 24.0, 72.0, 76.0, 124.0])
        drug = (0.0, dose, 0.0, DOSES_NM[(i + 5) % 12])
        inputs = [[60.0, nm, *(STIMULUS_NM if k else (0.0, 0.0))] for k, nm in enumerate(drug)]
        constants = {"flg_dose": (1.0, 0.5, 1.0)[i % 3]}
        found.append(ChipInlet(f"C{i + 1:02d}", edges, np.array(inputs), constants))
    return found


@numba.njit(cache=True)
def right_hand_side(t: float, y: np.ndarray, u: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return dy/dt (15,) of the fitted model; k in the order of ``CONSTANTS``."""
    ec4, ec13, ic50, h, km, kf, kb, kbh, bmax, fmax, wf, k26, s26, tc50, ktox, phi = k
    flow, drug_in, il4_in, il13_in = u
    across, wall = 100.0 * (y[0] - y[1]), 15.0 * (y[0] - y[2] / 3.0)
    l4, l13 = 10.0 * (y[3] - y[4]), 10.0 * (y[5] - y[6])
    bound = y[4] / ec4 + y[6] / ec13
    block = 1.0 + (max(y[1], 0.0) / ic50) ** h
    p = y[7]
    signal = max(p, 0.0) ** 1.5
    lost_f = fmax * signal / (signal + 0.15**1.5)
    tox = y[1] ** 2 / (y[1] ** 2 + tc50**2)
    out = np.empty(15)
    out[0] = (flow * (drug_in - y[0]) - across - wall) / 30.0
    out[1] = across / 10.0
    out[2] = wall / 300.0
    out[3] = (flow * (il4_in - y[3]) - l4) / 30.0
    out[4] = l4 / 10.0 - 0.10 * y[4]
    out[5] = (flow * (il13_in - y[5]) - l13) / 30.0
    out[6] = l13 / 10.0 - 0.15 * y[6]
    out[7] = 20.0 * bound / (1.0 + bound) / block * (1.0 - p) / (1.0 + y[8]) - 6.0 * p
    out[8] = 0.35 * (p / (p + 0.2) - y[8])
    out[9] = km * (1.0 - y[9])
    out[10] = kf * (phi * (1.0 - lost_f) - y[10])
    out[11] = kb * ((1.0 - bmax * p / (p + kbh)) * (1.0 - wf + wf * y[10]) - y[11])
    out[12] = -ktox * tox * y[12]
    out[13] = (330.0 * y[12] * s26 * p / (p + k26) - flow * y[13]) / 30.0
    out[14] = y[13]
    return out


CONSTANTS = (
    *("EC4", "EC13", "IC50", "h", "kM", "kF", "kB", "KB", "Bmax", "Fmax", "wF", "K26", "s26"),
    *("TC50", "ktox"),
)


def by_scipy(
    model: TissueModel,
    parameters: np.ndarray,
    inlets: Sequence[ChipInlet],
    method: str,
    rtol: float,
) -> np.ndarray:
    """Return TEER and pooled CCL26 (chips, times, 2) of one parameter set, chip by chip."""
    value = dict(zip(model.estimated_names, parameters, strict=True))
    found = np.full((len(inlets), len(TIMES_H), 2), np.nan)
    for c, inlet in enumerate(inlets):
        phi = inlet.constants["flg_dose"]
        k = np.array([*(value[name] for name in CONSTANTS), phi])
        y = np.zeros(15)
        y[9], y[10], y[11], y[12] = 0.85, phi, 1.0 - value["wF"] + value["wF"] * phi, 1.0
        kept = {0.0: y}
        for begin, end, u in zip(inlet.edges_h[:-1], inlet.edges_h[1:], inlet.inputs, strict=True):
            stops = np.array([*TIMES_H[(TIMES_H > begin) & (TIMES_H < end)], end])
            if method == "LSODA":
                states = odeint(
                    right_hand_side,
                    y,
                    np.array([begin, *stops]),
                    args=(u, k),
                    tfirst=True,
                    rtol=rtol,
                    atol=rtol * 1e-3,
                )[1:]
            else:
                states = solve_ivp(
                    right_hand_side,
                    (begin, end),
                    y,
                    method,
                    stops,
                    args=(u, k),
                    rtol=rtol,
                    atol=rtol * 1e-3,
                ).y.T
            y = states[-1]
            kept |= {float(t): state for t, state in zip(stops, states, strict=True)}
        for j, (t, since) in enumerate(zip(TIMES_H, WINDOWS_H, strict=True)):
            state = kept[float(t)]
            integrity = max(state[9] * state[11] * state[12], 0.0)
            found[c, j, 0] = 80.0 + value["R_max"] * integrity**1.5
            if np.isfinite(since):
                found[c, j, 1] = (state[14] - kept[float(since)][14]) / (t - since)
    return found


def by_chiploop(
    model: TissueModel, parameters: np.ndarray, inlets: Sequence[ChipInlet]
) -> np.ndarray:
    """Return TEER and pooled CCL26 (n, chips, times, 2)."""
    return model.simulate(parameters, inlets, TIMES_H, WINDOWS_H).readouts[..., :2]


def error_of(found: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest relative difference where there is a readout."""
    return float(np.nanmax(np.abs(found / reference - 1.0)))


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the median wall time of a call, after one that is not counted."""
    call()
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent)


def loosest(error: Callable[[float], float]) -> tuple[float, float]:
    """Return the loosest tolerance that meets the error together with every tighter one, and its error."""
    found = None
    for rtol in reversed(TOLERANCES):
        here = error(rtol)
        if here > EQUAL_ERROR:
            break
        found = (rtol, here)
    if found is None:
        raise SystemExit(f"a solver did not reach {EQUAL_ERROR:g} at rtol {TOLERANCES[-1]:g}")
    return found


def machine() -> dict[str, Any]:
    """Return what the seconds depend on."""
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":")[1].strip() for line in file if "model name" in line), "")
    except OSError:
        pass
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
    }


def compare(repeats: int) -> dict[str, Any]:
    """Return errors, times and their ratio."""
    os.environ["CHIPLOOP_THREADS"] = "1"
    inlets = chips()
    tight = TissueModel("skin_chip", MODELS["skin_chip"], 1e-9)
    center = np.array([spec.center for spec in tight.estimated])
    reference = by_scipy(tight, center, inlets, "Radau", 1e-11)
    agreement = error_of(by_chiploop(tight, center[None], inlets)[0], reference)

    def our_error(rtol: float) -> float:
        model = TissueModel("skin_chip", MODELS["skin_chip"], rtol)
        return error_of(by_chiploop(model, center[None], inlets)[0], reference)

    def lsoda_error(rtol: float) -> float:
        return error_of(by_scipy(tight, center, inlets, "LSODA", rtol), reference)

    ours, lsoda = loosest(our_error), loosest(lsoda_error)
    model = TissueModel("skin_chip", MODELS["skin_chip"], ours[0])
    rng = np.random.default_rng(0)
    sets = center * np.exp(0.05 * rng.standard_normal((N_SETS, center.size)))
    sets[:, [tight.estimated_names.index(n) for n in ("Bmax", "Fmax", "wF")]] = center[
        [tight.estimated_names.index(n) for n in ("Bmax", "Fmax", "wF")]
    ]
    ours_s = seconds(lambda: by_chiploop(model, sets, inlets), repeats) / N_SETS
    lsoda_s = seconds(lambda: by_scipy(tight, center, inlets, "LSODA", lsoda[0]), repeats)
    return {
        "study": "12 different chips, 124 h, 4 segments, 15 states",
        "equal_error": EQUAL_ERROR,
        "agreement_of_tight_solutions": agreement,
        "chiploop": {"rtol": ours[0], "error": ours[1], "ms_per_study": 1e3 * ours_s},
        "lsoda": {
            "rtol": lsoda[0],
            "error": lsoda[1],
            "ms_per_study": 1e3 * lsoda_s,
            "right_hand_side": "numba, no Jacobian given",
        },
        "ratio": lsoda_s / ours_s,
        "machine": machine(),
    }


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls; the median counts")
    given = parser.parse_args()
    found = compare(given.repeats)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    facts = found["machine"]
    print(f"{found['study']}; both within {found['equal_error']:g} of a tight reference, one core")
    for name in ("chiploop", "lsoda"):
        one = found[name]
        print(
            f"  {name:9} rtol {one['rtol']:<7g} error {one['error']:.1e} {one['ms_per_study']:8.3f} ms per study"
        )
    print(f"  LSODA takes {found['ratio']:.0f} times as long")
    print(
        f"{facts['processor']}, {facts['cores']} cores, {facts['system']}, "
        f"Python {facts['python']}, SciPy {facts['scipy']}, numba {facts['numba']}"
    )


if __name__ == "__main__":
    main()
