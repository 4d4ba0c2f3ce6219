"""A tracer between two compartments, solved exactly: still, sampled, or with a perfused receiver.

Belongs here: concentrations that a permeability would give. Not here: fits (permeability), signals
(tracer_curve).

With P A the clearance and both sides well mixed

    V_D dC_D/dt = -P A (C_D - C_R),   V_R dC_R/dt = P A (C_D - C_R) - Q C_R

Without flow (Q = 0) and sampling it has the closed form
C_R = C_eq (1 - exp(-P A t (1/V_D + 1/V_R))). Taking a sample changes volume and amount, putting fresh
medium in its place dilutes: between two such moments the same form holds from the state that they
left. With flow the pair is linear: two exponentials, and what a window collects is their integral.
The usual one-shot formula P A t = V_R C_R / C_D,0 takes receiver for empty and donor for full (sink)
and reads low; `sink_error` says by how much.

Concentrations are in units of the donor's at the start. Clearance may be below zero (noise around a
tight barrier) and complex (a step along the imaginary axis gives derivatives to the last digit).
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

UL_H_PER_CM3_S = 3.6e6
"""Of a clearance: 1 cm3/s is 3.6e6 uL/h."""


def permeability_cm_s(clearance_ul_h: float, area_cm2: float) -> float:
    """Return P = clearance / area."""
    return clearance_ul_h / UL_H_PER_CM3_S / area_cm2


def sink_error(transferred: float, receiver_over_donor: float) -> float:
    """Return the relative error of the one-shot sink formula, below 0 where it reads low.

    Parameters
    ----------
    transferred : part of the donor's tracer that is found in the receiver.
    receiver_over_donor : of the volumes.

    Raises
    ------
    ValueError : more than equilibrium lets pass.
    """
    x_sink = transferred * (1.0 + 1.0 / receiver_over_donor)
    if not 0.0 <= x_sink < 1.0:
        raise ValueError(
            f"{transferred:.3g} of the donor in a receiver {receiver_over_donor:g} times as large "
            "is at or beyond equilibrium; no permeability follows from it"
        )
    return x_sink / -math.log1p(-x_sink) - 1.0 if x_sink > 0.0 else 0.0


@dataclass(frozen=True)
class StaticTransport:
    """A still insert or chip whose receiver is sampled at moments."""

    times_h: np.ndarray
    """(n,) moments of the receiver's samples since the donor was loaded, ascending, from 0."""
    donor_ul: float
    receiver_ul: float
    removed_ul: np.ndarray
    """(n,) taken from the receiver at each moment; its tracer does not come back."""
    replaced_ul: np.ndarray
    """(n,) tracer-free medium put into the receiver right after."""

    def __post_init__(self) -> None:
        """Raise ValueError for samples that can not have been taken."""
        _check_times(self.times_h)
        if not (self.donor_ul > 0.0 and self.receiver_ul > 0.0):
            raise ValueError(f"volumes {self.donor_ul:g} and {self.receiver_ul:g} uL: both above 0")
        if np.any(self.removed_ul < 0.0) or np.any(self.replaced_ul < 0.0):
            raise ValueError("a volume that was removed or replaced is below 0")
        left = self.receiver_ul - np.cumsum(self.removed_ul) + np.cumsum(self.replaced_ul)
        before = left + self.removed_ul - self.replaced_ul
        short = np.flatnonzero(before - self.removed_ul <= 0.0)
        if short.size:
            i = int(short[0])
            raise ValueError(
                f"sample {i + 1} at {self.times_h[i]:g} h takes {self.removed_ul[i]:g} uL of the "
                f"{before[i]:g} uL that are in the receiver then"
            )

    @property
    def ends_h(self) -> np.ndarray:
        """(n,) the moment of each observation."""
        return self.times_h

    def predict(self, clearance_ul_h: np.ndarray, lag_h: np.ndarray) -> np.ndarray:
        """Return C_R / C_D,0 (m, n) at the samples for m clearances and lags.

        Transport begins after the lag; one below zero began before the first moment.
        """
        pairs = zip(clearance_ul_h.tolist(), lag_h.tolist(), strict=True)
        return np.array([self._run(*pair) for pair in pairs])

    @property
    def covers_all(self) -> bool:
        """Return whether all that passed is seen."""
        return True

    @property
    def largest_part(self) -> float:
        """Return the part of the donor's tracer that can pass: all at one concentration."""
        return self.receiver_ul / (self.donor_ul + self.receiver_ul)

    def passed(self, concentration: np.ndarray) -> float:
        """Return the amount that has passed by the last sample, from all samples' concentrations."""
        earlier = float(self.removed_ul[:-1] @ concentration[:-1])
        volume = self.receiver_ul + float(np.sum((self.replaced_ul - self.removed_ul)[:-1]))
        return earlier + float(concentration[-1]) * volume

    def one_shot_ul_h(self, concentration: np.ndarray, donor: float, lag_h: float) -> float:
        """Return the clearance by the sink formula from what had passed by the last sample."""
        return self.passed(concentration) / (donor * (float(self.times_h[-1]) - lag_h))

    def _run(self, clearance_ul_h: complex, lag_h: complex) -> list[complex]:
        # Plain numbers: for some ten samples an array per step would cost more than the arithmetic.
        exp = cmath.exp if isinstance(clearance_ul_h, complex) else math.exp
        donor: complex = 1.0
        receiver: complex = 0.0
        volume = self.receiver_ul
        seen: list[complex] = []
        began: complex = lag_h if lag_h.real < 0.0 else 0.0
        for end, removed, replaced in self._steps:
            since = lag_h if lag_h.real >= began.real else began
            if since.real < end:
                exponent = -clearance_ul_h * (end - since) * (1.0 / self.donor_ul + 1.0 / volume)
                left = exp(exponent)  # type: ignore[arg-type]
                mean = (donor * self.donor_ul + receiver * volume) / (self.donor_ul + volume)
                donor, receiver = mean + (donor - mean) * left, mean + (receiver - mean) * left
                began = end
            seen.append(receiver)
            kept = volume - removed
            volume = kept + replaced
            receiver = receiver * (kept / volume)
        return seen

    @cached_property
    def _steps(self) -> list[tuple[float, float, float]]:
        columns = (self.times_h, self.removed_ul, self.replaced_ul)
        return list(zip(*(column.tolist() for column in columns), strict=True))


@dataclass(frozen=True)
class PerfusedTransport:
    """A chip whose receiver is perfused with tracer-free medium and collected in windows."""

    starts_h: np.ndarray
    """(n,) since the donor was loaded."""
    ends_h: np.ndarray
    """(n,)"""
    flow_rate_ul_h: float
    donor_ul: float
    """inf where the donor is perfused too and keeps its concentration."""
    receiver_ul: float
    """Volume of the receiver's channel."""
    dead_volume_ul: float = field(default=0.0)
    """Tubing behind the chip: what is collected left the chip so much earlier."""

    def __post_init__(self) -> None:
        """Raise ValueError for windows and volumes that can not be."""
        _check_times(self.ends_h)
        if np.any(self.starts_h < 0.0) or np.any(self.starts_h >= self.ends_h):
            raise ValueError("a collection window begins at 0 h or later and ends after its begin")
        if not (self.flow_rate_ul_h > 0.0 and self.donor_ul > 0.0 and self.receiver_ul > 0.0):
            raise ValueError("flow rate and volumes of a perfused receiver are above 0")
        if self.dead_volume_ul < 0.0:
            raise ValueError(f"dead volume {self.dead_volume_ul:g} uL is below 0")

    def predict(self, clearance_ul_h: np.ndarray, lag_h: np.ndarray) -> np.ndarray:
        """Return the mean C_out / C_D,0 (m, n) of the windows for m clearances and lags."""
        late = self.dead_volume_ul / self.flow_rate_ul_h + lag_h[:, None]
        collected = self._left_chip(clearance_ul_h, self.ends_h - late) - self._left_chip(
            clearance_ul_h, self.starts_h - late
        )
        span = self.flow_rate_ul_h * (self.ends_h - self.starts_h)
        return np.asarray(collected / span)

    @property
    def largest_part(self) -> float:
        """Return the part of the donor's tracer that can pass: all, with time."""
        return 1.0

    def passed(self, concentration: np.ndarray) -> float:
        """Return the amount that was collected, and stands in channel and tubing at the end."""
        collected = self.flow_rate_ul_h * (self.ends_h - self.starts_h) @ concentration
        return float(collected) + float(concentration[-1]) * (
            self.receiver_ul + self.dead_volume_ul
        )

    @property
    def covers_all(self) -> bool:
        """Return whether the windows follow each other from the start on."""
        begins = np.concatenate([[0.0], self.ends_h[:-1]])
        return bool(np.allclose(self.starts_h, begins, atol=1e-6))

    def one_shot_ul_h(self, concentration: np.ndarray, donor: float, lag_h: float) -> float:
        """Return Q C_out / (C_D,0 - C_out) of the last window: steady, and the donor still full."""
        last = np.array([concentration[-1]])
        return float(steady_clearance_ul_h(self.flow_rate_ul_h, last, np.array([donor]))[0])

    def _left_chip(self, clearance_ul_h: np.ndarray, hours: np.ndarray) -> np.ndarray:
        """Return what has left the receiver (m, n) until then (m, n), over C_D,0."""
        hours = np.where(hours.real > 0.0, hours, 0.0)
        fast, slow, rate = (one[:, None] for one in self._modes(clearance_ul_h))
        # C_R = rate (e^(slow t) - e^(fast t)) / (slow - fast): empty at first, then filled and emptied
        gain = rate / (slow - fast) * self.flow_rate_ul_h
        return np.asarray(gain * (_integral(slow, hours) - _integral(fast, hours)))

    def donor(self, clearance_ul_h: float, hours: float) -> float:
        """Return C_D / C_D,0 so long after transport began."""
        fast, slow, _ = self._modes(np.array([clearance_ul_h]))
        loss = clearance_ul_h / self.donor_ul
        weight = (-loss - fast) / (slow - fast)
        found = weight * np.exp(slow * hours) + (1.0 - weight) * np.exp(fast * hours)
        return float(found[0])

    def _modes(self, clearance_ul_h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return both rates (m,), 1/h and below 0 for a clearance above 0, and P A / V_R."""
        loss = clearance_ul_h / self.donor_ul
        rate = clearance_ul_h / self.receiver_ul
        gone = rate + self.flow_rate_ul_h / self.receiver_ul
        root = np.sqrt((loss + gone) ** 2 - 4.0 * loss * (gone - rate))
        fast = -(loss + gone + root) / 2.0
        slow = loss * (gone - rate) / fast  # without the difference of two near numbers
        return fast, slow, rate


def steady_clearance_ul_h(
    flow_rate_ul_h: float, outlet: np.ndarray, donor: np.ndarray
) -> np.ndarray:
    """Return Q C_out / (C_donor - C_out) (n,), the steady state of a well mixed perfused receiver.

    NaN where the outlet is not below the donor: no clearance is that large.
    """
    gap = np.asarray(donor, dtype=float) - outlet
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap > 0.0, flow_rate_ul_h * outlet / gap, np.nan)


def _integral(rate: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Return the integral of e^(rate t) from 0 to hours."""
    x = rate * hours
    small = np.abs(x) < 1e-8
    return hours * np.where(small, 1.0 + x / 2.0, np.expm1(x) / np.where(small, 1.0, x))


def _check_times(times_h: np.ndarray) -> None:
    if times_h.size == 0 or np.any(~np.isfinite(times_h)) or np.any(times_h < 0.0):
        raise ValueError("samples are taken at moments from 0 h on; at least one is needed")
    if np.any(np.diff(times_h) <= 0.0):
        raise ValueError("moments of the samples must ascend, each one later than the one before")
