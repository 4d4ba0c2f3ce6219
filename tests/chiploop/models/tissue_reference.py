"""The tissue model a second time, in plain numpy and SciPy: what the compiled solver is held against.

Belongs here: equations written down from the model's description (docs/model.md), not from its text file.
Not here: tests. Nothing of chiploop's compiler or solver is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.integrate import solve_ivp

DEFAULTS: dict[str, float] = {
    "phi": 1.0,
    "V_ch": 30.0,
    "V_t": 10.0,
    "A": 0.33,
    "PS_drug": 100.0,
    "PS_lig": 10.0,
    "V_w": 300.0,
    "PS_w": 15.0,
    "K_pw": 3.0,
    "fu": 1.0,
    "k_c4": 0.10,
    "k_c13": 0.15,
    "EC4": 0.10,
    "EC13": 0.40,
    "IC50": 30.0,
    "h": 1.0,
    "kp": 20.0,
    "kdp": 6.0,
    "ks": 0.35,
    "S0": 1.0,
    "kM": 0.012,
    "kF": 0.03,
    "Fmax": 0.85,
    "KF": 0.15,
    "kB": 0.025,
    "Bmax": 0.6,
    "KB": 0.15,
    "wF": 0.5,
    "ktox": 0.02,
    "TC50": 20000.0,
    "s26": 60.0,
    "K26": 0.3,
    "s17": 12.0,
    "sT": 1.2,
    "bT": 0.2,
    "KT": 0.3,
    "s8": 25.0,
    "b8": 1.0,
    "R_leak": 80.0,
    "R_max": 1500.0,
    "P_open": 2e-5,
    "k_P": 5.0,
    "J_closed": 0.95,
    "J_loss": 0.5,
}
STATES = (
    *("drug_channel", "drug_tissue", "drug_wall", "il4_channel", "il4_tissue"),
    *("il13_channel", "il13_tissue", "pstat6", "socs", "maturation", "filaggrin", "barrier"),
    *("viable", "ccl26", "ccl17", "tslp", "il8"),
)
Segment = tuple[float, float, float, float, float, float]
"""Start h, end h, flow uL/h, drug nM, IL-4 nM, IL-13 nM."""


def rates(y: np.ndarray, inflow: Sequence[float], k: Mapping[str, float]) -> np.ndarray:
    """Return dy/dt (18,); the last entry is the running integral of CCL26."""
    d_ch, d_t, d_w, i4_ch, i4_t, i13_ch, i13_t, p, s, m, f, b, v, c26, c17, tslp, il8 = y[:17]
    flow, drug_in, il4_in, il13_in = inflow
    across = k["PS_drug"] * (d_ch - d_t)
    into_wall = k["PS_w"] * (d_ch - d_w / k["K_pw"])
    bound4, bound13 = k["PS_lig"] * (i4_ch - i4_t), k["PS_lig"] * (i13_ch - i13_t)
    u = i4_t / k["EC4"] + i13_t / k["EC13"]
    blocked = (max(d_t, 0.0) * k["fu"] / k["IC50"]) ** k["h"]
    on = k["kp"] * u / (1 + u) / (1 + blocked) * (1 - p) / (1 + k["S0"] * s)
    signal = max(p, 0.0)
    lost_f = k["Fmax"] * signal**1.5 / (signal**1.5 + k["KF"] ** 1.5)
    lost_b = k["Bmax"] * p / (p + k["KB"])
    tox = d_t**2 / (d_t**2 + k["TC50"] ** 2)
    secreted = 1000 * k["A"] * v / k["V_ch"]
    washed = flow / k["V_ch"]
    return np.array(
        [
            (flow * (drug_in - d_ch) - across - into_wall) / k["V_ch"],
            across / k["V_t"],
            into_wall / k["V_w"],
            (flow * (il4_in - i4_ch) - bound4) / k["V_ch"],
            bound4 / k["V_t"] - k["k_c4"] * i4_t,
            (flow * (il13_in - i13_ch) - bound13) / k["V_ch"],
            bound13 / k["V_t"] - k["k_c13"] * i13_t,
            on - k["kdp"] * p,
            k["ks"] * (p / (p + 0.2) - s),
            k["kM"] * (1 - m),
            k["kF"] * (k["phi"] * (1 - lost_f) - f),
            k["kB"] * ((1 - lost_b) * (1 - k["wF"] + k["wF"] * f) - b),
            -k["ktox"] * tox * v,
            secreted * k["s26"] * p / (p + k["K26"]) - washed * c26,
            secreted * k["s17"] * p / (p + k["K26"]) - washed * c17,
            secreted * k["sT"] * (k["bT"] + p / (p + k["KT"]) + 1 - b) - washed * tslp,
            secreted * (k["s8"] * (k["b8"] * (1 - b) + 0.2) + 200 * tox) - washed * il8,
            c26,
        ]
    )


def start(k: Mapping[str, float]) -> np.ndarray:
    """Return the state (18,) of a chip as it is mounted: most of the maturation behind it."""
    y = np.zeros(18)
    y[9], y[10], y[12] = 0.85, k["phi"], 1.0
    y[11] = 1 - k["wF"] + k["wF"] * k["phi"]
    return y


def trajectory(
    segments: Sequence[Segment], times_h: np.ndarray, method: str = "LSODA", **changed: float
) -> np.ndarray:
    """Return states (times, 18); each segment is integrated on its own, rtol 1e-9, atol 1e-12."""
    k = {**DEFAULTS, **changed}
    y, found = start(k), np.full((len(times_h), 18), np.nan)
    found[times_h <= segments[0][0]] = y
    for begin, end, *inflow in segments:
        at = (times_h > begin) & (times_h <= end)
        wanted = np.unique([*times_h[at], end])
        solved = solve_ivp(
            lambda _, state, inflow=inflow: rates(state, inflow, k),
            (begin, end),
            y,
            method,
            wanted,
            rtol=1e-9,
            atol=1e-12,
        )
        assert solved.success, solved.message
        found[at] = solved.y.T[np.searchsorted(wanted, times_h[at])]
        y = solved.y[:, -1]
    return found


def teer(states: np.ndarray, k: Mapping[str, float]) -> np.ndarray:
    """Return TEER in ohm cm2 of states (..., 18)."""
    integrity = states[..., 9] * states[..., 11] * states[..., 12]
    return np.asarray(k["R_leak"] + k["R_max"] * np.maximum(integrity, 0.0) ** 1.5)


def p_app(states: np.ndarray, k: Mapping[str, float]) -> np.ndarray:
    """Return P_app of the tracer in cm/s of states (..., 18)."""
    integrity = states[..., 9] * states[..., 11] * states[..., 12]
    return np.asarray(k["P_open"] / np.exp(k["k_P"] * integrity))


def coverage(states: np.ndarray, k: Mapping[str, float]) -> np.ndarray:
    """Return the covered share of the cell borders of states (..., 18)."""
    lost = k["J_loss"] * (1 - states[..., 11] * states[..., 12])
    return np.asarray(k["J_closed"] - k["J_closed"] * lost)
