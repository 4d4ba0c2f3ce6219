"""A pump that gives another volume than it shows, by a factor that was weighed at the bench.

Belongs here: scaling between what a pump shows and what really leaves it. Not here: the weighing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from instruments.contracts import PumpSettings, PumpStatus


class CalibratedPump:
    """A pump in real volumes: asked for less or more, read by the same factor; else as it is.

    ``factor`` is what was weighed over what the pump showed: 0.98 gives 2 % less than it shows.
    """

    def __init__(self, pump: Any, factor: float) -> None:
        self._pump, self._factor = pump, factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pump, name)

    def quantise(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Return what would really flow; ValueError where the pump can not."""
        return self._real(
            self._pump.quantise(flow_rate_ul_h / self._factor, volume_ul / self._factor)
        )

    def prepare(self, flow_rate_ul_h: float, volume_ul: float) -> PumpSettings:
        """Set rate and target volume so that these really flow; moves no liquid."""
        return self._real(
            self._pump.prepare(flow_rate_ul_h / self._factor, volume_ul / self._factor)
        )

    def status(self) -> PumpStatus:
        """Return state, and the counter in real volume."""
        told: PumpStatus = self._pump.status()
        return replace(
            told,
            infused_ul=self._factor * told.infused_ul,
            resolution_ul=self._factor * told.resolution_ul,
        )

    def _real(self, shown: PumpSettings) -> PumpSettings:
        return PumpSettings(self._factor * shown.flow_rate_ul_h, self._factor * shown.volume_ul)
