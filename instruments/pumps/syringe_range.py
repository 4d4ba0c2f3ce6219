"""What may be asked of a syringe pump, for every make.

Belongs here: flow range and syringe content, before any byte. Not here: how a make rounds numbers.
"""

from __future__ import annotations

import math


def check_asked(
    pump: str,
    flow_rate_ul_h: float,
    volume_ul: float,
    range_ul_h: tuple[float, float],
    syringe_volume_ul: float,
) -> None:
    """Raise ValueError for a flow outside the pump's range, or a volume that its syringe lacks."""
    low, high = range_ul_h
    if not low <= flow_rate_ul_h <= high or math.isinf(flow_rate_ul_h):
        raise ValueError(
            f"flow rate {flow_rate_ul_h:g} uL/h is outside {low:g}..{high:g} of {pump}"
        )
    if not 0 < volume_ul <= syringe_volume_ul:
        raise ValueError(
            f"volume {volume_ul:g} uL is outside 0..{syringe_volume_ul:g} uL, the syringe of {pump}"
        )


def check_rounded(
    pump: str, flow_rate_ul_h: float, held_ul_h: float, range_ul_h: tuple[float, float]
) -> None:
    """Raise ValueError where the pump's own digits take a flow above the range."""
    if held_ul_h > range_ul_h[1]:
        raise ValueError(
            f"flow rate {flow_rate_ul_h:g} uL/h becomes {held_ul_h:g}, above {range_ul_h[1]:g} of "
            f"{pump}"
        )
