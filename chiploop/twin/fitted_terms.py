"""The two numbers that were fitted to trials, and the one that may replace a published factor.

Belongs here: the numbers, what each was fitted to. Not here: the fit (`python -m benchmarks.twin_trials --fit`).
"""

from __future__ import annotations

TOPICALS_SHIFT = -0.582
"""Of ln k3 in trials without topical steroids. Fitted to the EASI-75 of placebo in SOLO 1 alone; the published
population, shift 0, is one that uses them.
"""
SCRATCH_POWER = 44.7
"""w in: share left of the barrier's loss by scratching = mean over time of (1 - e(t))^w, e the block of JAK1's
signal. Fitted to the EASI-75 of upadacitinib 15 mg in Measure Up 1 alone, with the potency of no chip. So high
since between doses the block comes down; the row holds it loosely (docs/twin_trials.md).
"""
TRALOKINUMAB_AS_PUBLISHED = 0.4396
"""Of its block of IL-13; fitted by the authors of the disease model: the antibody keeps IL-13 off the decoy
receptor IL-13Ra2 too, so that the tissue's own clearance is lost.
"""
TRALOKINUMAB_AS_CALIBRATED = 0.521
"""The same factor fitted to the EASI-75 of ECZTRA 1 and 2 together; never used unless it is asked for by name."""
DECOY_FACTORS = {"published": TRALOKINUMAB_AS_PUBLISHED, "calibrated": TRALOKINUMAB_AS_CALIBRATED}
"""Name -> factor of tralokinumab."""
SETTINGS = {"monotherapy": TOPICALS_SHIFT, "topicals": 0.0}
"""Kind of trial -> shift of ln k3."""
