"""The hidden truth of a tracer plate: what stands in its wells, and the light that they give.

Belongs here: signals of a virtual tracer. Not here: P_app of a virtual chip (virtual_lab), how a permeability is
found (assays: nothing of it is used here, the two meet in the plate's numbers).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

UL_H_PER_CM3_S = 3.6e6
BACKGROUND_RFU = 420.0
RFU_PER_UG_ML = 1000.0
HALF_LIGHT_UG_ML = 2000.0
"""Concentration at which the inner filter takes half of the light."""
RFU_SD = (12.0, 0.02)
"""Of one well: counts, and relative to its light above the background."""
PG_PER_UG = 1e6


def collected(
    p_app_cm_s: float,
    area_cm2: float,
    donor_ul: float,
    channel_ul: float,
    flow_rate_ul_h: float,
    edges_h: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return the windows' mean concentrations (n,) and the donor's at the end, over the donor's at the start.

    ``edges_h`` (n + 1,): hours since the donor was loaded.
    """
    clearance = p_app_cm_s * area_cm2 * UL_H_PER_CM3_S
    rates = np.array(
        [
            [-clearance / donor_ul, clearance / donor_ul, 0.0],
            [clearance / channel_ul, -(clearance + flow_rate_ul_h) / channel_ul, 0.0],
            [0.0, flow_rate_ul_h, 0.0],
        ]
    )
    states = [expm(rates * hours) @ np.array([1.0, 0.0, 0.0]) for hours in edges_h]
    amounts = np.array([state[2] for state in states])
    return np.diff(amounts) / (flow_rate_ul_h * np.diff(edges_h)), float(states[-1][0])


def light_rfu(concentration_pg_ml: float, rng: np.random.Generator) -> float:
    """Return what a reader counts of one well."""
    c = concentration_pg_ml / PG_PER_UG
    net = RFU_PER_UG_ML * c / (1.0 + c / HALF_LIGHT_UG_ML)
    noisy = net * (1.0 + RFU_SD[1] * rng.standard_normal()) + RFU_SD[0] * rng.standard_normal()
    return float(np.rint(BACKGROUND_RFU + noisy))
