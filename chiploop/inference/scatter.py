"""What scatters besides the assay, and which readings share it.

Belongs here: covariance of readings, their independent groups, effects that must be sampled. Not here: what the
model says (likelihood).

Readings of one kind have, on the residual's scale, the covariance

    Sigma = diag(assay sd^2 + reading sd^2) + chip sd^2 [same chip] + donor sd^2 [same donor] + C C' [same plate]

with C the readings' loadings on their plate's standard curve: all samples that are read off one curve err
together. Sigma does not hang on the parameters, so it is integrated out once. Where a censored value is among
readings that share something, the integral has no closed form: what it shares becomes an effect with an N(0,
1) prior, which is sampled with the parameters, and given it the censored value is independent of all other
readings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

LEAST_OWN = 1e-4
"""Of a reading's assay variance is its own, whatever its curve's part: readings that err as one alone can not
be."""


@dataclass(frozen=True)
class Scatter:
    """What scatters besides the assay: readout name -> sd on the residual's scale; absent means 0."""

    chip: Mapping[str, float]
    """Between chips, the same in every sample of a chip."""
    donor: Mapping[str, float]
    """Between donors, the same in every sample of a donor's chips."""
    reading: Mapping[str, float]
    """Between readings of one chip."""
    chip_tails: float | None = None
    """Degrees of freedom of Student's t for each chip's residuals; None for a Gaussian."""

    def variance(self, readout: str) -> float:
        """Return the summed variance of one reading."""
        return sum(sd.get(readout, 0.0) ** 2 for sd in (self.chip, self.donor, self.reading))


@dataclass(frozen=True)
class Reading:
    """What the scatter of one reading hangs on."""

    chip: str
    donor: str
    plate: str
    """Empty where no standard curve stands behind it."""
    sd: float
    """Of the assay, with the curve's part."""
    curve: tuple[float, ...]
    is_censored: bool


@dataclass(frozen=True)
class Shared:
    """One cause that several readings of one kind share."""

    name: str
    rows: np.ndarray
    """(k,) readings."""
    loadings: np.ndarray
    """(k,) what one sd of the cause does to each."""


@dataclass(frozen=True)
class Spread:
    """How the readings of one kind scatter."""

    sd: np.ndarray
    """(m,) each reading's own, without what it shares."""
    integrated: tuple[Shared, ...]
    """Causes that stand in the covariance."""
    sampled: tuple[Shared, ...]
    """Causes that are sampled, each an effect."""

    def covariance(self) -> np.ndarray:
        """Return (m, m) of the readings given the sampled effects."""
        matrix = np.diag(self.sd**2)
        for cause in self.integrated:
            matrix[np.ix_(cause.rows, cause.rows)] += np.outer(cause.loadings, cause.loadings)
        return matrix


def spread_of(scatter: Scatter, readout: str, readings: Sequence[Reading]) -> Spread:
    """Return how these readings of one kind scatter."""
    curve = [np.array(r.curve) for r in readings]
    own = np.array([r.sd**2 - float(c @ c) for r, c in zip(readings, curve, strict=True)])
    least = LEAST_OWN * np.array([r.sd**2 for r in readings])
    own = np.maximum(own, least) + scatter.reading.get(readout, 0.0) ** 2
    causes: list[Shared] = []

    def add(name: str, rows: Sequence[int], loadings: Sequence[float] | np.ndarray) -> None:
        values = np.asarray(loadings, dtype=float)
        if len(rows) == 1:  # shared with nobody: the reading's own
            own[rows[0]] += float(values[0]) ** 2
        elif (values != 0.0).any():
            causes.append(Shared(name, np.array(rows), values))

    for kind, sds in (("chip", scatter.chip), ("donor", scatter.donor)):
        sd = sds.get(readout, 0.0)
        for who in sorted({getattr(r, kind) for r in readings}) if sd > 0.0 else ():
            rows = [i for i, r in enumerate(readings) if getattr(r, kind) == who]
            add(f"{readout} of {kind} {who}", rows, np.full(len(rows), sd))
    for plate in sorted({r.plate for r in readings if r.curve}):
        rows = [i for i, r in enumerate(readings) if r.plate == plate and r.curve]
        for k in range(max(len(readings[i].curve) for i in rows)):
            found = [readings[i].curve[k] if k < len(readings[i].curve) else 0.0 for i in rows]
            add(f"{readout} curve {k + 1} of {plate}", rows, found)
    censored = np.array([r.is_censored for r in readings], dtype=bool)
    # given the causes of the censored readings all others are jointly Gaussian: their causes stay integrated
    integrated: list[Shared] = []
    sampled: list[Shared] = []
    for cause in causes:
        (sampled if censored[cause.rows].any() else integrated).append(cause)
    return Spread(np.sqrt(own), tuple(integrated), tuple(sampled))


def groups(m: int, causes: Sequence[Shared]) -> np.ndarray:
    """Return a label (m,) of each reading: those of different groups are independent."""
    first = np.concatenate([np.full(len(c.rows), c.rows[0]) for c in causes] or [np.zeros(0, int)])
    other = np.concatenate([c.rows for c in causes] or [np.zeros(0, int)])
    graph = coo_array((np.ones(len(first)), (first.astype(int), other.astype(int))), shape=(m, m))
    return np.asarray(connected_components(graph, directed=False)[1])
