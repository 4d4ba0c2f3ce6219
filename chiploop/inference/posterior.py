"""What a calibration returns: particles, and what a person needs to judge them.

Belongs here: values and their summaries. Not here: how they are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from chiploop.inference.drug_entries import ONE_DRUG, DrugEntries

NORMAL_POINTS = ndtri((np.arange(51) + 0.5) / 51)
"""Equally likely points of a standard normal, for bands without random numbers: the ends of a 90 % interval lie
within 1 % of where they should.
"""
FROM_MODE, FROM_PRIOR = "bridge from the mode", "tempered from the prior"
"""How a calibration was found; only of the first must several searches agree."""


@dataclass(frozen=True)
class Posterior:
    """Equally weighted particles of the posterior."""

    names: tuple[str, ...]
    """The population's parameters."""
    units: tuple[str, ...]
    particles: np.ndarray
    """(n_particles, n_parameters) of the population, in the parameters' own units."""
    standard: np.ndarray
    """(n_particles, n_entries) everything that was estimated, as standard normals of the prior."""
    mode: np.ndarray
    """(n_parameters,) best point found, in the parameters' own units."""
    entries: tuple[str, ...] = ()
    """Names of ``standard``; empty for the parameters alone."""
    donors: tuple[str, ...] = ()
    of_donors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))
    """(n_particles, n_donors, n_parameters) of each donor; empty where donors do not differ."""
    lines: tuple[str, ...] = ()
    drug_factors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """(n_particles, n_lines) given dose over noted dose; empty where doses are taken as noted."""
    drugs: DrugEntries = ONE_DRUG
    """Which of the parameters are one drug's, where there are several."""

    def interval(self, level: float) -> np.ndarray:
        """Return central (equal-tailed) intervals (n_parameters, 2) of the population's parameters."""
        return intervals(self.particles, level)

    def chip_parameters(
        self, donors: Sequence[str], chosen: np.ndarray, drugs: Sequence[str] = ()
    ) -> np.ndarray:
        """Return the model's parameters of chips with these donors and drugs at the chosen particles.

        (n, model's parameters) where chips do not differ, otherwise (n, chips, model's parameters); of a
        calibration of several drugs each chip's must be named. KeyError for a donor who had no part in the
        calibration, ValueError for a drug.
        """
        if not self.of_donors.size and not self.drugs.drugs:
            return self.particles[chosen]
        if not self.drugs.drugs:
            return self.donor_entries(donors, chosen)
        own = self.donor_entries(donors, chosen)
        at = [
            self.drugs.of_drug(own[:, c], drug)
            for c, drug in zip(range(len(donors)), drugs, strict=True)
        ]
        return np.stack(at, axis=1)

    def donor_entries(self, donors: Sequence[str], chosen: np.ndarray) -> np.ndarray:
        """Return every drug's parameters (n, donors, n_parameters) of donors at the chosen particles."""
        if not self.of_donors.size:
            return np.repeat(self.particles[chosen][:, None], len(donors), axis=1)
        place = {donor: d for d, donor in enumerate(self.donors)}
        return self.of_donors[chosen][:, [place[donor] for donor in donors]]

    def chip_drug_factors(self, lines: Sequence[str], chosen: np.ndarray) -> np.ndarray | None:
        """Return the factor (n, chips) of each chip's drug; None where doses are taken as noted."""
        if not self.lines:
            return None
        place = {line: d for d, line in enumerate(self.lines)}
        return self.drug_factors[chosen][:, [place[line] for line in lines]]

    def effects(self, names: Sequence[str], chosen: np.ndarray) -> np.ndarray:
        """Return sampled effects (n, effects) by name at the chosen particles.

        One that had no part in the calibration, since other readouts were censored then, is 0: its prior mean.
        """
        known = self.entries or self.names
        found = np.zeros((len(chosen), len(names)))
        for k, name in enumerate(names):
            if name in known:
                found[:, k] = self.column(name)[chosen]
        return found

    def column(self, entry: str) -> np.ndarray:
        """Return (n_particles,) standard normals of one entry; KeyError where there is none."""
        names = self.entries or self.names
        if entry not in names:
            raise KeyError(entry)
        return self.standard[:, names.index(entry)]


def intervals(values: np.ndarray, level: float) -> np.ndarray:
    """Return central (equal-tailed) intervals (..., 2) of values (n, ...)."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    return np.moveaxis(np.quantile(values, tails, axis=0), 0, -1)


@dataclass(frozen=True)
class Limits:
    """Where a calibration counts as failed."""

    ess: float = 400.0
    """Fewest effective particles of the worst entry, both populations together."""
    population_gap_sd: float = 0.2
    """Largest gap between the means of two independent populations, of the population's parameters, in
    posterior sd."""
    evidence_gap: float = 0.4
    """Largest gap between their log evidences."""
    starts_at_mode: int = 2
    """Fewest searches that ended at the best point."""
    acceptance: float = 0.1
    """Least share of the last moves that was accepted."""
    predictive_p: float = 0.005
    """Below this (or above one minus it) a readout is said to misfit: a warning, not a failure."""


@dataclass(frozen=True)
class Misfit:
    """Whether the data contradict the model itself."""

    fires: bool
    p_value: float
    """P(a contradiction as large | the model is right)."""
    threshold: float
    """It fires at or below this p value."""
    sentences: tuple[str, ...]
    """For a scientist."""
    tests: dict[str, float]
    """Suspicion -> its own p value, smallest first."""


@dataclass(frozen=True)
class CalibrationInfo:
    """Diagnostics of one calibration; ``passed`` is false where any limit is broken."""

    passed: bool
    failures: tuple[str, ...]
    """Each broken limit with its number."""
    warnings: tuple[str, ...]
    ess: float
    population_gap_sd: float
    log_evidence: tuple[float, ...]
    """One per population."""
    starts: int
    starts_at_mode: int
    acceptance: float
    """Of the last moves."""
    temperatures: int
    """Steps of the bridge."""
    predictive_p: dict[str, float]
    """Readout -> posterior predictive p of its summed squared residuals."""
    n_readouts: int
    n_censored: int
    simulations: int
    """Trajectories computed."""
    method: str = FROM_MODE
    """Or ``FROM_PRIOR``."""
    heights: tuple[float, ...] = ()
    """Log posterior at each search's end, highest first: the waterfall."""
    modes: tuple[float, ...] = ()
    """Laplace share of each mode that was bridged from."""
    shrinkage: dict[str, float] = field(default_factory=dict)
    """Parameter -> 1 - posterior sd / prior sd as standard normals: 0 is prior-driven, 1 is learned."""
    donor_shrinkage: dict[str, dict[str, float]] = field(default_factory=dict)
    """Donor -> parameter -> 1 - posterior sd / prior sd of its deviation from the population."""
    misfit: Misfit | None = None
    """The gate that proposals ask; None where the model can not be suspected of anything."""
    readings: str = ""
    """Digest of the readings it was found with (``Likelihood.digest``); empty in files of before it was kept."""
