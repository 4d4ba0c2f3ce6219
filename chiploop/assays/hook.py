"""Hook effect: so much analyte that the signal falls again, among standards and among dilutions.

Belongs here: seeing it. Not here: what is then left out or flagged (standard_curve, dilution_series).
"""

from __future__ import annotations

import math

import numpy as np

from chiploop.assays.plate_signal import NoiseModel

HOOK_Z = 3.0
"""A higher standard hooks where its mean lies below the highest before it by this many sd."""


def hook_from(concentration: np.ndarray, signal: np.ndarray, noise: NoiseModel) -> float | None:
    """Return the lowest concentration of the run of top standards that hooks, None without one.

    Only of a rising curve; a falling (competitive) one has its top standards lowest by nature.
    """
    levels = np.unique(concentration[concentration > 0])
    means = [float(np.mean(signal[concentration == level])) for level in levels]
    counts = [int(np.sum(concentration == level)) for level in levels]
    for i in range(1, len(levels)):
        highest = max(range(i), key=means.__getitem__)
        variance = (
            noise.sd(means[i]) ** 2 / counts[i] + noise.sd(means[highest]) ** 2 / counts[highest]
        )
        # Only a fall that holds to the top is a hook; one low level in between is an outlier.
        falls = all(means[k] < means[highest] for k in range(i, len(levels)))
        if falls and means[i] < means[highest] - HOOK_Z * math.sqrt(variance):
            return float(levels[i])
    return None
