"""What makes an image a worse witness: pixels at the top of the scale, uneven light, poor focus.

Belongs here: limits and what is said of them. Not here: segmentation. A flag never changes a value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class QualityLimits:
    """From where on an image is flagged."""

    saturated: float = 0.001
    """Share of pixels at the top of the scale; 0.1 % of an image is about 1 % of its junctions' pixels."""
    unevenness: float = 2.0
    """Brightest over dimmest place of a smooth surface through what is lit."""
    junction_width_um: float = 1.6
    """Of the mask, area over length of its centre lines; sharp images of 20x to 63x objectives have 1.1 to 1.3."""
    edge_um: float = 1.6
    """Sd of the blur that a nucleus' edge shows, after smoothing."""


def saturated_share(image: np.ndarray) -> float:
    """Return the share of pixels at the top of the scale of a camera of 8 to 16 bits; 0 where none is."""
    if image.dtype.kind not in "iu" or not image.size:
        return 0.0
    top = int(image.max())
    if top + 1 not in {2**bits for bits in range(8, 17)} and top != np.iinfo(image.dtype).max:
        return 0.0
    return float(np.count_nonzero(image == top)) / image.size


def quality_flags(
    saturated: float,
    unevenness: float,
    junction_width_um: float | None = None,
    edge_um: float | None = None,
    limits: QualityLimits | None = None,
) -> tuple[str, ...]:
    """Return what a person should know of an image."""
    limits = limits or QualityLimits()
    flags = []
    if saturated > limits.saturated:
        flags.append(
            f"{saturated:.2%} of pixels are at the top of the scale (warns above {limits.saturated:.2%})"
        )
    if unevenness > limits.unevenness:
        flags.append(
            f"light is uneven: {unevenness:.1f} times from dimmest to brightest place "
            f"(warns above {limits.unevenness:g})"
        )
    if junction_width_um is not None and junction_width_um > limits.junction_width_um:
        flags.append(
            f"junctions are {junction_width_um:.2f} um wide (warns above "
            f"{limits.junction_width_um:g}); is the image in focus?"
        )
    if edge_um is not None and edge_um > limits.edge_um:
        flags.append(
            f"edges of nuclei are blurred by {edge_um:.2f} um (warns above {limits.edge_um:g}); "
            "is the image in focus?"
        )
    return tuple(flags)
