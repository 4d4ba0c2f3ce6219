"""Standard curve of a tracer: a straight line above its background, as far as the line is straight.

Belongs here: the line, its covariance, where the inner filter bends it, signals to concentrations.
Not here: immunoassay curves (curve_fit), what a concentration says of a barrier (permeability).

    signal = background + slope * concentration,      sd of a well = s sqrt(floor^2 + (cv net)^2)

At a high concentration a fluorescent tracer takes up its own light (inner filter): the signal falls
behind the line. Standards at the top that read lower than the line of those below them by more than
`INNER_FILTER` are left out, one after the other; the highest that is left is the limit up to which a
sample counts. Beyond it there is no concentration, only the advice to dilute.

All samples of a plate share the errors of its line. ``leans`` gives what a concentration leans on two
independent errors of unit size, so that their part of a ratio (receiver over donor) can cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from chiploop.measurement import Quality

INNER_FILTER = 0.10
"""Part by which a standard at the top may read below the line of the others."""
LEAST_LEVELS = 3
"""Of concentrations above 0 that a line needs."""
RECOVERY = 0.20
"""Distance of a back-calculated standard from its nominal value beyond which it is told."""
BEYOND_NOISE = 3.0
"""sd by which a standard at the top must miss the line, besides `INNER_FILTER`."""
ROUNDS = 12


@dataclass(frozen=True)
class TracerNoise:
    """Shape of the scatter: sd in proportion to sqrt((floor * highest)^2 + (cv * value)^2).

    Each fit finds the scale itself, so only the ratio of the two counts.
    """

    cv: float = 0.05
    floor: float = 0.01
    """As a part of the highest value of the same data."""

    def sd(self, value: np.ndarray | float, highest: float) -> np.ndarray:
        """Return the shape at values, of data whose highest value is ``highest``."""
        return np.hypot(self.floor * highest, self.cv * np.maximum(value, 0.0))


@dataclass(frozen=True)
class TracerCurve:
    """The line of one plate or reading session."""

    background: float
    """Signal without tracer."""
    slope: float
    """Signal per unit of concentration."""
    covariance: np.ndarray
    """(2, 2) of (background, slope), with the scatter of the standards in it."""
    scale: float
    """Scatter of the standards over the shape of the noise."""
    degrees_of_freedom: int
    linear_to: float
    """Highest concentration up to which the line was found straight."""
    unit: str
    noise: TracerNoise
    highest_net: float
    """Signal above the background of the highest standard that is left."""
    left_out: tuple[float, ...] = ()
    """Concentrations at the top that fell behind the line."""
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out."""

    @property
    def detection_limit(self) -> float:
        """Return the concentration 3.3 sd of a well above the background."""
        return 3.3 * self.scale * float(self.noise.sd(0.0, self.highest_net)) / self.slope

    def concentration(self, signal: np.ndarray, dilution: np.ndarray | float = 1.0) -> np.ndarray:
        """Return concentrations before dilution; below the background they are negative."""
        return np.asarray((np.asarray(signal, float) - self.background) / self.slope * dilution)

    def is_beyond(self, signal: np.ndarray) -> np.ndarray:
        """Return where a signal lies above the straight part, beyond what noise explains."""
        top = self.background + self.slope * self.linear_to
        room = 2.0 * self.scale * float(self.noise.sd(top - self.background, self.highest_net))
        return np.asarray(np.asarray(signal, float) > top + room)

    def leans(self, read: np.ndarray, dilution: np.ndarray | float = 1.0) -> np.ndarray:
        """Return (..., 2) what concentrations lean on two independent errors of the line.

        ``read`` are those in the wells; the answer is on the scale of the samples.
        """
        by_background = -np.ones_like(read) * dilution / self.slope
        by_slope = -np.asarray(read) * dilution / self.slope
        size, direction = np.linalg.eigh(self.covariance)
        wide = widening(self.degrees_of_freedom)
        both = np.stack([by_background, by_slope], axis=-1) @ direction
        return np.asarray(wide * both * np.sqrt(np.maximum(size, 0.0)))


def widening(degrees_of_freedom: float) -> float:
    """Return by how much an sd from so few data is widened, so that 1.96 of it reach the t interval."""
    return float(student.ppf(0.975, degrees_of_freedom) / 1.959963984540054)


def tracer_curve(
    concentration: np.ndarray,
    signal: np.ndarray,
    unit: str = "",
    noise: TracerNoise | None = None,
    inner_filter: float = INNER_FILTER,
) -> TracerCurve:
    """Return the line of standards; a concentration of 0 is the background.

    Raises
    ------
    ValueError : no background, fewer than 3 levels above it, or a line that does not rise.
    """
    noise = noise or TracerNoise()
    x, y = np.asarray(concentration, float), np.asarray(signal, float)
    if not np.any(x == 0.0):
        raise ValueError(
            "the standards have no background (concentration 0); a tracer's signal counts from it"
        )
    levels = np.unique(x[x > 0.0])
    if levels.size < LEAST_LEVELS:
        raise ValueError(
            f"the standards have {levels.size} concentrations above 0; a straight line needs "
            f"{LEAST_LEVELS}"
        )
    kept = np.ones(x.size, dtype=bool)
    left_out: list[float] = []
    while levels.size > LEAST_LEVELS:
        top = x == levels[-1]
        below = _line(x[kept & ~top], y[kept & ~top], noise)
        read = below.concentration(np.array([y[top].mean()]))[0]
        sd = below.scale * float(noise.sd(below.slope * levels[-1], below.highest_net))
        missed = below.slope * (levels[-1] - read)
        sd_mean = math.hypot(sd / math.sqrt(int(top.sum())), _line_sd(below, levels[-1]))
        if read >= (1.0 - inner_filter) * levels[-1] or missed < BEYOND_NOISE * sd_mean:
            break
        kept &= ~top
        left_out.append(float(levels[-1]))
        levels = levels[:-1]
    line = _line(x[kept], y[kept], noise)
    reasons, notes = [], []
    if left_out:
        shown = ", ".join(f"{one:g}" for one in left_out)
        notes.append(
            f"inner filter: standards {shown} {unit} read more than {inner_filter:.0%} below the line; "
            f"counted up to {levels[-1]:g} {unit}".replace("  ", " ").strip()
        )
    for level in levels:
        read = line.concentration(np.array([y[kept & (x == level)].mean()]))[0]
        clear = level > 3.0 * line.detection_limit
        if clear and abs(read / level - 1.0) > RECOVERY:
            reasons.append(f"standard {level:g} {unit} reads back as {read:.3g}".rstrip())
    return TracerCurve(
        line.background, line.slope, line.covariance, line.scale, line.degrees_of_freedom,
        float(levels[-1]), unit, noise, line.highest_net, tuple(left_out),
        "warn" if reasons else "ok", tuple(reasons), tuple(notes),
    )  # fmt: skip


def _line(x: np.ndarray, y: np.ndarray, noise: TracerNoise) -> TracerCurve:
    design = np.column_stack([np.ones_like(x), x])
    start = float(y[x == 0.0].mean())
    highest = float(max(y[x == x.max()].mean() - start, 0.0))
    if highest <= 0.0:
        raise ValueError("the standards' signal does not rise above the background")
    net = np.maximum(y - start, 0.0)
    for _ in range(ROUNDS):
        sd = noise.sd(net, highest)
        (background, slope), *_ = np.linalg.lstsq(design / sd[:, None], y / sd, rcond=None)
        if slope <= 0.0:
            raise ValueError("the standards' signal does not rise with concentration")
        before, net = net, slope * x
        if np.max(np.abs(net - before)) <= 1e-10 * highest:
            break
    sd = noise.sd(net, highest)
    left = (y - design @ np.array([background, slope])) / sd
    degrees = x.size - 2
    variance = float(left @ left) / degrees
    scaled = design / sd[:, None]
    covariance = variance * np.linalg.inv(scaled.T @ scaled)
    return TracerCurve(
        float(background), float(slope), covariance, math.sqrt(variance), degrees,
        float(x.max()), "", noise, highest,
    )  # fmt: skip


def _line_sd(line: TracerCurve, concentration: float) -> float:
    at = np.array([1.0, concentration])
    return math.sqrt(float(at @ line.covariance @ at))
