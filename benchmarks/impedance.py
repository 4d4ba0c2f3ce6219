"""How well a spectrum gives its barrier: ``python -m benchmarks.impedance``.

error      R over a grid of geometries, barriers and sweeps, noise on real and imaginary part each; beside
           it the smallest sd that any unbiased method can have (Cramer-Rao)
field      channel electrodes: the field in the circuit, against a lumped circuit whose total is inverted
coverage   share of 95 % intervals of TEER that hold the truth, with a blank that is a draw
alarms     of the Kramers-Kronig check and of a repeated point: sound spectra, and drift of R by its size
speed      fits and whole analyses a second; beside the package ``impedance`` where it can be imported
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from chiploop.assays.barrier_analysis import BarrierAnalysis, BarrierSetup, analyse_barrier
from chiploop.assays.barrier_blank import BarrierBlank
from chiploop.assays.barrier_circuit import circuit, fit_barrier
from chiploop.assays.electrode_geometry import ChannelElectrodes
from chiploop.measurement import ImpedanceSpectrum

AREA_CM2, SERIES_OHM, CPE_PER_CM2, ALPHA = 0.33, 100.0, 2e-6, 0.9
GEOMETRIES: dict[str, ChannelElectrodes | None] = {
    "uniform": None,
    "one end, 10 x 1 x 0.2 mm": ChannelElectrodes("one_end", 10.0, 1.0, 0.2, 67.0),
    "middle, 10 x 1 x 0.2 mm": ChannelElectrodes("middle", 10.0, 1.0, 0.2, 67.0),
    "both ends, 20 x 1 x 0.1 mm": ChannelElectrodes("both_ends", 20.0, 1.0, 0.1, 60.0),
}
TEERS = (100.0, 300.0, 1000.0, 5000.0, 20000.0)
SWEEPS = {
    "31 points, 1 Hz to 100 kHz": np.logspace(5, 0, 31),
    "21 points, 10 Hz to 100 kHz": np.logspace(5, 1, 21),
}


def truth(geometry: ChannelElectrodes | None, teer: float) -> tuple[np.ndarray, float, float]:
    """Return parameters of the circuit, area and k."""
    area = geometry.area_cm2 if geometry else AREA_CM2
    k = geometry.channel_ohm if geometry else 0.0
    logs = [math.log(SERIES_OHM), math.log(teer / area), math.log(CPE_PER_CM2 * area)]
    return np.array([*logs, ALPHA]), area, k


def drawn(
    parameters: np.ndarray,
    k: float,
    hz: np.ndarray,
    noise: float,
    rng: np.random.Generator,
    drift: float = 0.0,
) -> ImpedanceSpectrum:
    """Return a spectrum with noise in proportion to |Z|; R rises by ``drift`` from first to last point."""
    log_jw = np.log(2.0 * math.pi * hz) + 0.5j * math.pi
    z = circuit(parameters, log_jw, k)[0]
    if drift:
        for i, moment in enumerate(np.linspace(0.0, 1.0, hz.size)):
            moved = parameters + [0.0, math.log1p(drift * moment), 0.0, 0.0]
            z[i] = circuit(moved, log_jw[i : i + 1], k)[0][0]
    error = rng.normal(size=hz.size) + 1j * rng.normal(size=hz.size)
    return ImpedanceSpectrum("chip", 0.0, hz, z + noise * np.abs(z) * error)


def smallest_sd(parameters: np.ndarray, k: float, hz: np.ndarray, noise: float) -> float:
    """Return the Cramer-Rao bound of ln R."""
    z, jacobian = circuit(parameters, np.log(2.0 * math.pi * hz) + 0.5j * math.pi, k)
    relative = jacobian / np.abs(z)[:, None] / noise
    stacked = np.concatenate([relative.real, relative.imag])
    return math.sqrt(float(np.linalg.inv(stacked.T @ stacked)[1, 1]))


def error_rows(draws: int, noise: float) -> list[dict[str, Any]]:
    """Return one row per sweep, geometry and TEER."""
    rows = []
    for sweep, hz in SWEEPS.items():
        for name, geometry in GEOMETRIES.items():
            for teer in TEERS:
                parameters, area, k = truth(geometry, teer)
                rng = np.random.default_rng([1, int(teer), len(name)])
                errors = []
                for _ in range(draws):
                    fit = fit_barrier(drawn(parameters, k, hz, noise, rng), None, k)
                    if fit.qc != "fail":
                        errors.append(math.log(fit.resistance_ohm * area / teer))
                found = np.array(errors)
                rows.append(
                    {
                        "sweep": sweep,
                        "geometry": name,
                        "teer_ohm_cm2": teer,
                        "fitted": len(errors) / draws,
                        "bias": float(found.mean()),
                        "rms": float(np.sqrt(np.mean(found**2))),
                        "smallest_sd": smallest_sd(parameters, k, hz, noise),
                        "within_1_percent": float(np.mean(np.abs(found) < 0.01)),
                    }
                )
    return rows


def field_rows() -> list[dict[str, Any]]:
    """Return what a lumped circuit makes of clean spectra of channel electrodes."""
    rows = []
    for name, geometry in GEOMETRIES.items():
        if geometry is None:
            continue
        for teer in TEERS:
            parameters, area, k = truth(geometry, teer)
            rng = np.random.default_rng(0)
            spectrum = drawn(parameters, k, SWEEPS["31 points, 1 Hz to 100 kHz"], 0.0, rng)
            ours, lumped = fit_barrier(spectrum, None, k), fit_barrier(spectrum)
            inverted = geometry.barrier_ohm(max(lumped.total_ohm - SERIES_OHM, 1e-3))[0]
            rows.append(
                {
                    "geometry": name,
                    "teer_ohm_cm2": teer,
                    "apparent_over_true": geometry.apparent_ohm(teer / area) * area / teer,
                    "field_in_circuit": ours.resistance_ohm * area / teer - 1.0,
                    "lumped_then_inverted": inverted * area / teer - 1.0,
                    "lumped_area_rule": lumped.resistance_ohm * area / teer - 1.0,
                    "lumped_residual": lumped.residual,
                }
            )
    return rows


def coverage_rows(draws: int, noise: float) -> list[dict[str, Any]]:
    """Return the share of intervals that hold TEER; the membrane is 20 ohm cm2, its lot's sd 10 %."""
    rows = []
    hz = SWEEPS["31 points, 1 Hz to 100 kHz"]
    for name, geometry in GEOMETRIES.items():
        for teer in TEERS:
            parameters, area, k = truth(geometry, teer + 20.0)
            rng = np.random.default_rng([2, int(teer), len(name)])
            inside, given = 0, 0
            for _ in range(draws):
                spectrum = drawn(parameters, k, hz, noise, rng)
                sd = 2.0 / area
                blank = BarrierBlank(20.0 / area + sd * rng.normal(), sd)
                found = analyse_barrier(spectrum, BarrierSetup(area, 0.0, blank, geometry)).teer
                given += math.isfinite(found.value)
                inside += found.lower <= teer <= found.upper
            rows.append(
                {"geometry": name, "teer_ohm_cm2": teer, "n": given, "held": inside / given}
            )
    return rows


def alarm_rows(draws: int) -> list[dict[str, Any]]:
    """Return how often each check flags, by noise and drift, without and with a repeated point."""
    up, down = np.logspace(0, 5, 31), np.logspace(5, 0, 31)
    sweeps = {
        "31 points down, no repeat": down,
        "31 points up, 1 Hz again": np.append(up, up[0]),
        "31 points down, 100 kHz again": np.append(down, down[0]),
        "21 points from 100 kHz to 10 Hz": SWEEPS["21 points, 10 Hz to 100 kHz"],
    }
    rows = []
    parameters, area, k = truth(None, 1000.0)
    for sweep, hz in sweeps.items():
        for noise in (0.002, 0.01, 0.02):
            for drift in (0.0, 0.05, 0.1, 0.3, 0.5):
                rng = np.random.default_rng([3, round(1e4 * noise), round(100 * drift), hz.size])
                found = [
                    analyse_barrier(drawn(parameters, k, hz, noise, rng, drift), BarrierSetup(area))
                    for _ in range(draws)
                ]
                rows.append(
                    {
                        "sweep": sweep,
                        "noise": noise,
                        "drift": drift,
                        "kramers_kronig": _share(
                            found, lambda a: a.kramers_kronig.verdict == "flag"
                        ),
                        "drift_column_alone": _share(
                            found, lambda a: a.kramers_kronig.drift_p < 0.01 / 3
                        ),
                        "repeated_point": _share(found, lambda a: a.drift.verdict == "flag"),
                        "estimate": float(np.mean([a.kramers_kronig.drift for a in found])),
                        "estimate_sd": float(np.std([a.kramers_kronig.drift for a in found])),
                        "kk_rms": float(np.mean([a.kramers_kronig.rms for a in found])),
                    }
                )
    return rows


def _share(found: list[BarrierAnalysis], flagged: Callable[[BarrierAnalysis], bool]) -> float:
    return sum(flagged(one) for one in found) / len(found)


def speed_rows(n: int) -> list[dict[str, Any]]:
    """Return fits and analyses a second, best of three; beside another package where it is there."""
    hz, rows = SWEEPS["31 points, 1 Hz to 100 kHz"], []
    for name in ("uniform", "one end, 10 x 1 x 0.2 mm"):
        parameters, area, k = truth(GEOMETRIES[name], 1000.0)
        rng = np.random.default_rng(4)
        spectra = [drawn(parameters, k, hz, 0.02, rng) for _ in range(n)]
        setup = BarrierSetup(area, geometry=GEOMETRIES[name])
        fits = _per_second(lambda one, k=k: fit_barrier(one, None, k), spectra)
        whole = _per_second(lambda one, setup=setup: analyse_barrier(one, setup), spectra)
        rows.append({"what": name, "fits_per_s": fits, "analyses_per_s": whole})
    try:
        from impedance.models.circuits import CustomCircuit  # type: ignore[import-not-found]
    except ImportError as missing:
        rows.append({"what": f"impedance: not imported ({missing})"})
        return rows
    parameters, _, _ = truth(None, 1000.0)
    rng = np.random.default_rng(4)
    spectra = [drawn(parameters, 0.0, hz, 0.02, rng) for _ in range(max(n // 5, 3))]
    guess = [120.0, 2000.0, 1e-6, 0.85]

    def other(one: ImpedanceSpectrum) -> Any:
        return CustomCircuit("R0-p(R1,CPE1)", initial_guess=guess).fit(
            one.frequency_hz, one.impedance_ohm, weight_by_modulus=True
        )

    try:
        rows.append(
            {"what": "impedance, one start given", "fits_per_s": _per_second(other, spectra)}
        )
    except Exception as trouble:  # another project's code, in whatever version is there
        rows.append({"what": f"impedance: {type(trouble).__name__}: {trouble}"})
    return rows


def _per_second(
    work: Callable[[ImpedanceSpectrum], Any], spectra: list[ImpedanceSpectrum]
) -> float:
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        for one in spectra:
            work(one)
        best = min(best, time.perf_counter() - start)
    return len(spectra) / best


def _table(rows: list[dict[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
    for row in rows:
        cells = [row.get(key, "") for key in keys]
        lines.append(
            "| " + " | ".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print tables; ``--json FILE`` keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=("error", "field", "coverage", "alarms", "speed"))
    asked = parser.parse_args()
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "error": lambda: error_rows(asked.draws, asked.noise),
        "field": field_rows,
        "coverage": lambda: coverage_rows(asked.draws, asked.noise),
        "alarms": lambda: alarm_rows(asked.draws),
        "speed": lambda: speed_rows(60),
    }
    found = {}
    for part, measure in parts.items():
        if asked.part in (None, part):
            found[part] = measure()
            print(f"\n{part}\n{_table(found[part])}", flush=True)
    if "coverage" in found:
        n = sum(row["n"] for row in found["coverage"])
        held = sum(row["n"] * row["held"] for row in found["coverage"]) / n
        print(f"\n{100 * held:.1f} % of {n} intervals of 95 % hold the truth")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
