"""The mechanics of an emulated syringe pump of any make: a plunger, a syringe and what left it, by study time.

Belongs here: motion, volumes, the ledger of what really flowed. Not here: commands, alarms, bytes.
Volumes "shown" are as the pump counts them with the diameter it was told; "real" ones left the
syringe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Way = Literal["I", "W"]
"""Direction: infusing or withdrawing."""
Ending = Literal["target", "stall"]


@dataclass(frozen=True)
class Stretch:
    """A stretch of constant speed, in volumes as shown."""

    way: Way
    since_h: float
    rate_ul_h: float
    real_per_shown: float
    """Real uL per shown uL: (real diameter / told diameter) squared."""
    end_h: float
    """Moment at which the plunger stops by itself; infinite where it would not."""
    end_ul: float
    """What has moved by then, exactly."""
    ends_by: Ending

    def moved_ul(self, now_h: float) -> float:
        """Return what has moved since the stretch began."""
        if now_h >= self.end_h:
            return self.end_ul
        return min(self.rate_ul_h * max(now_h - self.since_h, 0.0), self.end_ul)


class Plunger:
    """Plunger and syringe; starts full and at standstill."""

    def __init__(self, syringe_volume_ul: float, physics_h: Callable[[], float]) -> None:
        self.syringe_volume_ul = syringe_volume_ul
        self.flow_intervals: list[tuple[float, float, float]] = []
        """(start h, end h, real uL/h) of every ended stretch; withdrawing is negative."""
        self.target_done_ul = 0.0
        """Shown volume moved since the current target volume was begun, ended stretches only."""
        self._physics_h = physics_h
        self._content_ul = syringe_volume_ul
        self._delivered_ul = 0.0
        self._counter_ul: dict[Way, float] = {"I": 0.0, "W": 0.0}
        self._stretch: Stretch | None = None

    @property
    def flow_ul_h(self) -> float:
        """Real flow out of the syringe now; negative while withdrawing."""
        stretch = self._stretch
        if stretch is None or self._physics_h() >= stretch.end_h:
            return 0.0
        rate_ul_h = stretch.rate_ul_h * stretch.real_per_shown
        return rate_ul_h if stretch.way == "I" else -rate_ul_h

    @property
    def stops_at_h(self) -> float:
        """Moment at which the plunger stops by itself; infinite where it would not."""
        return math.inf if self._stretch is None else self._stretch.end_h

    @property
    def delivered_ul(self) -> float:
        """Real volume that has left the syringe, ever, up to now."""
        return self._delivered_ul + self._real_now_ul("I")

    @property
    def content_ul(self) -> float:
        """Real volume in the syringe now."""
        return self._content_ul - self._real_now_ul("I") + self._real_now_ul("W")

    def counted_ul(self, way: Way) -> float:
        """Return the counter of one direction as shown, the running stretch included."""
        return self._counter_ul[way] + self._shown_now_ul(way)

    def zero(self, *ways: Way) -> None:
        """Set counters to zero; only at standstill."""
        self._counter_ul.update(dict.fromkeys(ways, 0.0))

    def set_off(self, way: Way, rate_ul_h: float, target_ul: float, real_per_shown: float) -> None:
        """Begin a stretch now; ``target_ul`` 0 has no target, shown volumes throughout."""
        now_h = self._physics_h()
        room_ul = self._content_ul if way == "I" else self.syringe_volume_ul - self._content_ul
        room_ul = max(room_ul, 0.0) / real_per_shown
        left_ul = max(target_ul - self.target_done_ul, 0.0) if target_ul else math.inf
        end_ul = min(left_ul, room_ul)
        self._stretch = Stretch(
            way=way,
            since_h=now_h,
            rate_ul_h=rate_ul_h,
            real_per_shown=real_per_shown,
            end_h=now_h + end_ul / rate_ul_h,
            end_ul=end_ul,
            ends_by="target" if left_ul <= room_ul else "stall",
        )

    def ended_by(self) -> Ending | None:
        """Return why the plunger has stopped by itself; None where it has not."""
        stretch = self._stretch
        ended = stretch is not None and self._physics_h() >= stretch.end_h
        return stretch.ends_by if stretch is not None and ended else None

    def halt(self) -> None:
        """End the running stretch now, or at its own end where that is past; book what moved."""
        stretch = self._stretch
        if stretch is None:
            return
        end_h = min(self._physics_h(), stretch.end_h)
        rate_ul_h = stretch.rate_ul_h * stretch.real_per_shown
        if end_h > stretch.since_h:
            signed_ul_h = rate_ul_h if stretch.way == "I" else -rate_ul_h
            self.flow_intervals.append((stretch.since_h, end_h, signed_ul_h))
        shown_ul = self._shown_now_ul(stretch.way)
        content_ul, delivered_ul = self.content_ul, self.delivered_ul
        self._stretch = None
        self._content_ul, self._delivered_ul = content_ul, delivered_ul
        self._counter_ul[stretch.way] += shown_ul
        self.target_done_ul += shown_ul

    def change_syringe(self) -> None:
        """Put in a full syringe; raises ValueError while the plunger moves."""
        if self._stretch is not None:
            raise ValueError("the plunger is moving")
        self._content_ul = self.syringe_volume_ul

    def _shown_now_ul(self, way: Way) -> float:
        stretch = self._stretch
        here = stretch is not None and stretch.way == way
        return stretch.moved_ul(self._physics_h()) if stretch is not None and here else 0.0

    def _real_now_ul(self, way: Way) -> float:
        shown_ul = self._shown_now_ul(way)
        return shown_ul * self._stretch.real_per_shown if self._stretch is not None else 0.0

    def state(self) -> dict[str, Any]:
        """Return the state of plunger, syringe and ledger, ready for JSON."""
        return {
            "content_ul": self._content_ul,
            "delivered_ul": self._delivered_ul,
            "counter_ul": dict(self._counter_ul),
            "target_done_ul": self.target_done_ul,
            "flow_intervals": [list(interval) for interval in self.flow_intervals],
            "stretch": None if self._stretch is None else asdict(self._stretch),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over an exported state."""
        self._content_ul, self._delivered_ul = state["content_ul"], state["delivered_ul"]
        self._counter_ul = dict(state["counter_ul"])
        self.target_done_ul = state["target_done_ul"]
        self.flow_intervals = [(start, end, rate) for start, end, rate in state["flow_intervals"]]
        self._stretch = None if state["stretch"] is None else Stretch(**state["stretch"])
