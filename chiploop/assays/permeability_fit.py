"""The clearance of a barrier from what a receiver showed: weighted least squares with a lag.

Belongs here: the fit and its errors. Not here: the transport itself (tracer_transport), what a person
needs to judge it by (permeability), blanks (cells_permeability).

    C_R,i = C_D,0 g_i(P A, lag) + e_i,     sd(e_i) = s shape(C_D,0 g_i) / sqrt(wells)

Weights are taken at the fitted concentrations and renewed until they stand; s is known from the
residuals (of this chip, or pooled over chips). P A may come out below 0 and the lag too: clipping
either would bias what is left. Errors of what stands outside of the residuals (the curve, the donor's
concentration) reach P A by the implicit derivative of the minimum,

    dP A/dphi = (J'J)^-1 J' (dC_R/dphi - g dC_D,0/dphi) / sd

where the slope of a curve that read donor and receiver alike cancels, as it must. The 95 % interval
is that of t, with Satterthwaite's degrees of freedom for the two parts, symmetric in P A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy.stats import t as student

from chiploop.assays.nonlinear_fit import minimise, refine
from chiploop.assays.tracer_curve import TracerNoise

LEAST_SAMPLES = 4
"""After the lag: fewer tell no slope."""
ROUNDS = 12
STEP = 1e-30
"""Along the imaginary axis: derivatives to the last digit."""


class Transport(Protocol):
    """What a fit asks of a design."""

    @property
    def ends_h(self) -> np.ndarray:
        """(n,) end of each observation, h since the donor was loaded."""

    @property
    def donor_ul(self) -> float:
        """Volume of the donor; inf where its concentration is kept."""

    def predict(self, clearance_ul_h: np.ndarray, lag_h: np.ndarray) -> np.ndarray:
        """Return (m, n) concentrations over the donor's at the start."""

    @property
    def covers_all(self) -> bool:
        """Return whether all that passed is seen."""

    @property
    def largest_part(self) -> float:
        """Return the part of the donor's tracer that can pass."""

    def passed(self, concentration: np.ndarray) -> float:
        """Return the amount that has passed, from the concentrations of all observations."""

    def one_shot_ul_h(self, concentration: np.ndarray, donor: float, lag_h: float) -> float:
        """Return the clearance by the usual formula from the last observation."""


@dataclass(frozen=True)
class Donor:
    """Concentration of the donor when it was loaded."""

    concentration: float
    sd: float = 0.0
    """As stated, or of its dilution; without the scatter of wells and the curve's part."""
    wells: int = 0
    """Wells that it was read in, which scatter as the samples do; 0 where it is only stated."""
    curve: tuple[float, ...] = ()
    """What it leans on each independent error of the curve."""

    def well_sd(self, noise: TracerNoise) -> float:
        """Return the sd of its wells' mean per unit of the scale."""
        return noise.cv * self.concentration / math.sqrt(self.wells) if self.wells else 0.0


@dataclass(frozen=True)
class ReceiverSamples:
    """What the receiver showed."""

    concentration: np.ndarray
    """(n,); below 0 where noise made it so, NaN where there is no number."""
    wells: np.ndarray
    """(n,) replicates behind each."""
    curve: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(n, k) what each leans on the independent errors of the curve; (0, 0) without one."""


@dataclass(frozen=True)
class ClearanceFit:
    """P A of one chip with its errors."""

    clearance_ul_h: float
    lag_h: float
    clearance_pull: float
    """sd of the clearance from the samples' scatter, per unit of the scale, uL/h."""
    lag_pull: float
    """The same of the lag, h; 0 where the lag was stated."""
    donor_pull: float
    """Of the clearance by the donor's concentration."""
    donor: Donor
    noise: TracerNoise
    curve: tuple[float, ...]
    """What the clearance leans on each error of the curve, uL/h."""
    scale: float
    """s of the noise."""
    degrees_of_freedom: float
    """That s is known from: of this chip, or of the pool."""
    rss: float
    """Weighted, of this chip."""
    own_degrees: int
    fitted: np.ndarray
    """(n,) concentrations by the fit."""
    shape: np.ndarray
    """(n,) of the noise of each sample by the fit; times the scale its sd."""
    used: np.ndarray
    """(n,) bool: in the fit."""
    n_after_lag: int
    failure: str = ""

    @property
    def lag_sd_h(self) -> float:
        """Return the sd of the lag."""
        return self.scale * self.lag_pull

    @property
    def residual_sd(self) -> float:
        """Return the part of the sd that comes from the scatter of samples and donor wells, uL/h."""
        wells = self.donor_pull * self.donor.well_sd(self.noise)
        return self.scale * math.hypot(self.clearance_pull, wells)

    @property
    def other_variance(self) -> float:
        """Return the variance that comes from the stated error of the donor and from the curve."""
        return (self.donor_pull * self.donor.sd) ** 2 + sum(c * c for c in self.curve)

    @property
    def sd_ul_h(self) -> float:
        """Return the sd of the clearance."""
        return math.sqrt(self.residual_sd**2 + self.other_variance)

    def quantile(self, level: float = 0.95) -> float:
        """Return the half-width of the interval over its sd."""
        total = self.residual_sd**2 + self.other_variance
        if self.residual_sd <= 0.0:
            return float(student.ppf(0.5 + level / 2.0, self.degrees_of_freedom))
        degrees = self.degrees_of_freedom * (total / self.residual_sd**2) ** 2
        return float(student.ppf(0.5 + level / 2.0, degrees))

    def interval_ul_h(self, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of the clearance; its lower end may lie below 0."""
        half = self.quantile(level) * self.sd_ul_h
        return self.clearance_ul_h - half, self.clearance_ul_h + half


def fit_clearance(
    transport: Transport,
    samples: ReceiverSamples,
    donor: Donor,
    lag_h: float | None = None,
    steady_from_h: float = 0.0,
    noise: TracerNoise | None = None,
) -> ClearanceFit:
    """Return the fit; one with a ``failure`` has no numbers.

    Parameters
    ----------
    lag_h : None to fit it, or a stated one, such as 0.
    steady_from_h : samples before it (a profile that still builds up) do not enter, though their
        volume counts.

    Raises
    ------
    ValueError : arrays of different lengths, or a donor without tracer.
    """
    noise = noise or TracerNoise()
    observed, ends = np.asarray(samples.concentration, float), transport.ends_h
    if not observed.size == ends.size == samples.wells.size:
        raise ValueError(
            f"{observed.size} concentrations, {samples.wells.size} numbers of wells and {ends.size} "
            "moments: as many of each"
        )
    if not donor.concentration > 0.0:
        raise ValueError(f"the donor's concentration, {donor.concentration:g}, is not above 0")
    used = np.isfinite(observed) & (ends >= steady_from_h)
    y, wells = observed[used], samples.wells[used]
    free = [0] if lag_h is not None else [0, 1]
    later = np.sort(ends[used])
    if later.size < max(LEAST_SAMPLES, len(free) + 1):
        return _failed(
            observed, used, f"{later.size} samples in the fit; a slope needs {LEAST_SAMPLES}"
        )
    highest = float(np.max(y))
    if not highest > 0.0:
        return _failed(observed, used, "no sample of the receiver lies above the background")
    # In its own size: P A of the sink formula from the last sample.
    unit = _size(transport, donor, used, highest)
    last = float(later[-1])
    # One sample before the lag less than the slope needs; a lag that is longer leaves no slope.
    longest = float(later[-LEAST_SAMPLES]) - 1e-9 * last if lag_h is None else math.inf
    bounds = (np.array([-np.inf, -last])[free], np.array([np.inf, longest])[free])

    def at(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lag = lag_h if lag_h is not None else float(parameters[1])
        steps = np.eye(2)[free] * STEP
        clearance = np.full(len(free), parameters[0] * unit) + 1j * unit * steps[:, 0]
        g = transport.predict(clearance, np.full(len(free), lag) + 1j * steps[:, 1])[:, used]
        return g[0].real, (g.imag / STEP).T

    sd = noise.sd(y, highest) / np.sqrt(wells)
    starts = _starts(ends[used], y, longest, last)[: 3 if lag_h is None else 1]
    found = np.zeros(0)
    for _ in range(ROUNDS):
        fixed = sd

        def residuals(parameters: np.ndarray, sd: np.ndarray = fixed) -> np.ndarray:
            return np.asarray((y - donor.concentration * at(parameters)[0]) / sd)

        def jacobian(parameters: np.ndarray, sd: np.ndarray = fixed) -> np.ndarray:
            return np.asarray(-donor.concentration * at(parameters)[1] / sd[:, None])

        if not found.size:
            end = minimise(residuals, jacobian, [one[free] for one in starts], bounds)
            if end is None:
                return _failed(observed, used, "the search for a clearance found no end")
            found = end.parameters
        else:
            found = refine(residuals, jacobian, found, bounds)
        before, sd = sd, noise.sd(donor.concentration * at(found)[0], highest) / np.sqrt(wells)
        if np.max(np.abs(sd / before - 1.0)) < 1e-8:
            break
    g, slopes = at(found)
    left = (y - donor.concentration * g) / sd
    rss, degrees = float(left @ left), int(y.size - len(free))
    scaled = donor.concentration * slopes / sd[:, None]
    lag = lag_h if lag_h is not None else float(found[1])
    if np.linalg.matrix_rank(scaled) < len(free):
        return _failed(observed, used, "the samples do not tell a clearance (and lag) apart")
    inverse = np.linalg.inv(scaled.T @ scaled)
    pull = inverse @ scaled.T / sd  # (parameters, n) by each concentration
    by_curve: tuple[float, ...] = ()
    if samples.curve.size:
        donors = np.array(donor.curve) if donor.curve else np.zeros(samples.curve.shape[1])
        shift = pull @ (samples.curve[used] - np.outer(g, donors))
        by_curve = tuple(float(one) for one in unit * shift[0])
    all_g = transport.predict(np.array([found[0] * unit]), np.array([lag]))[0]
    fitted = donor.concentration * all_g
    return ClearanceFit(
        clearance_ul_h=float(found[0] * unit),
        lag_h=lag,
        clearance_pull=unit * math.sqrt(inverse[0, 0]),
        lag_pull=math.sqrt(inverse[1, 1]) if lag_h is None else 0.0,
        donor_pull=unit * abs(float((pull @ g)[0])),
        donor=donor,
        noise=noise,
        curve=by_curve,
        scale=math.sqrt(rss / degrees),
        degrees_of_freedom=degrees,
        rss=rss,
        own_degrees=degrees,
        fitted=fitted,
        shape=noise.sd(fitted, highest) / np.sqrt(samples.wells),
        used=used,
        n_after_lag=int(np.sum(ends[used] > max(lag, 0.0))),
    )


def with_pooled_scale(fits: list[ClearanceFit]) -> list[ClearanceFit]:
    """Return the fits with one scale of the noise, learned from the residuals of all."""
    good = [one for one in fits if not one.failure]
    degrees = sum(one.own_degrees for one in good)
    if not degrees:
        return fits
    scale = math.sqrt(sum(one.rss for one in good) / degrees)
    return [
        one if one.failure else replace(one, scale=scale, degrees_of_freedom=degrees)
        for one in fits
    ]


def _size(transport: Transport, donor: Donor, used: np.ndarray, highest: float) -> float:
    """Return a clearance that brings the highest sample about where it is."""
    tried = np.geomspace(1e-4, 1e5, 55)
    top = donor.concentration * transport.predict(tried, np.zeros(tried.size))[:, used].max(axis=1)
    return float(tried[np.argmin(np.abs(np.log(np.maximum(top, 1e-300) / highest)))])


def _starts(ends: np.ndarray, y: np.ndarray, longest: float, last: float) -> list[np.ndarray]:
    """Return (clearance in its size, lag): where a line through the later samples meets 0, and 0."""
    order = np.argsort(ends)[-max(LEAST_SAMPLES, ends.size // 2) :]
    slope, foot = np.polyfit(ends[order], y[order], 1)
    meets = float(np.clip(-foot / slope if slope > 0.0 else 0.0, -0.5 * last, 0.99 * longest))
    middle = 0.5 * max(min(longest, last), 0.0)
    return [np.array([1.0, lag]) for lag in (0.0 if longest > 0.0 else -0.1 * last, meets, middle)]


def _failed(observed: np.ndarray, used: np.ndarray, why: str) -> ClearanceFit:
    nothing, nan = np.full(observed.shape, math.nan), math.nan
    return ClearanceFit(
        nan, nan, nan, nan, nan, Donor(nan), TracerNoise(), (), nan, 0, nan, 0, nothing, nothing,
        used, 0, why,
    )  # fmt: skip
