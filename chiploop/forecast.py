"""How many more chips a goal may take.

Belongs here: the arithmetic of an interval and the information of a batch. Not here: when a study ends (stopping),
what a batch teaches (policies).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_CYCLES = 1000
"""More cycles than this are no forecast: the batch teaches next to nothing."""


@dataclass(frozen=True)
class Forecast:
    """How many more exposures of chips a goal may take."""

    least: int
    """If every cycle teaches as much as the next one: the width of ln goal shrinks by exp(-nats)."""
    most: int
    """If every cycle adds as much precision as the next one, so that later ones teach less: the width falls
    with the square root of their number. What all chips share (the error of a stock, say) may make it more.
    """
    factor: float

    @property
    def sentence(self) -> str:
        """Return it for people."""
        if self.most == 0:
            return f"the interval is within {self.factor:g}-fold"
        span = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"about {span} more chips to {self.factor:g}-fold"


def forecast(
    interval: tuple[float, float],
    factor: float,
    nats_per_cycle: float | None,
    chips_per_cycle: int,
) -> Forecast | None:
    """Return how many more chips bring an interval to upper / lower <= factor; None where it can not be told.

    Parameters
    ----------
    interval : of the goal; one that ends where the grid does is not known and must not be given.
    nats_per_cycle : expected information of the next batch about the goal.
    """
    lower, upper = interval
    if not (0.0 < lower <= upper < math.inf and factor > 1.0 and chips_per_cycle > 0):
        return None
    shrink = math.log(upper / lower) / math.log(factor)
    if shrink <= 1.0:
        return Forecast(0, 0, factor)
    if nats_per_cycle is None or not 0.0 < nats_per_cycle < math.inf:
        return None
    least = math.ceil(math.log(shrink) / nats_per_cycle - 1e-9)
    exponent = min(2.0 * nats_per_cycle, 700.0)
    most = math.ceil((shrink**2 - 1.0) / math.expm1(exponent) - 1e-9)
    if most > MOST_CYCLES:
        return None
    return Forecast(least * chips_per_cycle, max(least, most) * chips_per_cycle, factor)
