"""Priors as maps from independent standard normals.

Belongs here: the maps, their inverse, their slope. Not here: who shares what (unknowns). Every estimated parameter
is x = map(z) with z ~ N(0, 1), so the prior in z is N(0, I) whatever the shape in x, and bounds need no special
care in the samplers. A normal truncated at 0 keeps a positive density at 0: "no effect" is not ruled out.

A donor's own value is map(z + s e) with e ~ N(0, 1): ln(value) of a log-normal parameter scatters around the
population's with sd s x ln_sd, and a bounded one stays within its bounds. s is itself known up to a log-normal
factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, truncnorm

from chiploop.inference.drug_entries import ONE_DRUG, DrugEntries, drug_entries
from chiploop.models.facts import DonorSpread
from chiploop.models.tissue_model import PriorSpec, TissueModel
from chiploop.study import Study


@dataclass(frozen=True)
class Prior:
    """Independent priors of the estimated parameters."""

    specs: tuple[PriorSpec, ...]
    donor_spreads: tuple[DonorSpread, ...] = ()
    """Parameters that differ between donors."""
    dose_sd: float = 0.0
    """sd of ln(given dose / noted dose), the same for all doses of a line."""
    drugs: DrugEntries = ONE_DRUG
    """Which entries are one drug's, where there are several."""

    @classmethod
    def of(
        cls,
        specs: Sequence[PriorSpec],
        donor_spreads: Sequence[DonorSpread] = (),
        dose_sd: float = 0.0,
    ) -> Prior:
        """Return the prior of these parameters, in this order.

        Raises ValueError where a parameter differs between donors that is not among them.
        """
        strange = {spread.name for spread in donor_spreads} - {spec.name for spec in specs}
        if strange:
            raise ValueError(
                f"{', '.join(sorted(strange))} differ between donors, but have no prior"
            )
        return cls(tuple(specs), tuple(donor_spreads), dose_sd)

    @classmethod
    def of_study(cls, model: TissueModel, study: Study) -> Prior:
        """Return the model's prior with the potency of each of the study's drugs put in."""
        potencies = {
            name: (drug.ic50_prior_median_nm, drug.ic50_prior_ln_sd)
            for name, drug in study.drugs.items()
        }
        drugs = drug_entries(model, study)
        specs = [
            replace(spec, center=potencies[drug][0], spread=potencies[drug][1])
            if spec.name == model.facts.potency
            else spec
            for spec, drug in specs_of(model, drugs, study.drug.name)
        ]
        prior = cls.of(named(specs, drugs), donor_spreads_of(model, drugs), study.variation.dose)
        return replace(prior, drugs=drugs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(spec.name for spec in self.specs)

    @property
    def per_chip(self) -> int:
        """Number of parameters that one chip has: those of the model, with its own drug's."""
        return self.drugs.places.shape[1] if self.drugs.drugs else len(self.specs)

    def parameters(self, z: np.ndarray) -> np.ndarray:
        """Return parameters (..., p) of standard normals z (..., p)."""
        return self.mapped(z)[0]

    def mapped(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return parameters (..., p) of standard normals z (..., p), and their slopes dx/dz (..., p)."""
        x, slope = np.empty_like(z), np.empty_like(z)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows fails as a simulation
            self.fill(z, x, slope)
        return x, slope

    def fill(self, z: np.ndarray, x: np.ndarray, slope: np.ndarray) -> None:
        """Put parameters and slopes (..., p) of z (..., p) in place."""
        for j, spec in enumerate(self.specs):
            if spec.kind == "lognormal":
                x[..., j] = spec.center * np.exp(spec.spread * z[..., j])
                slope[..., j] = spec.spread * x[..., j]
                continue
            low, high = norm.cdf(self.bounds(spec))
            inside = norm.ppf(low + (high - low) * norm.cdf(z[..., j]))
            x[..., j] = spec.center + spec.spread * inside
            # d inside / dz = share x phi(z) / phi(inside), as one exponential: safe where both are tiny
            slope[..., j] = spec.spread * (high - low) * np.exp(0.5 * (inside**2 - z[..., j] ** 2))

    def standard(self, x: np.ndarray) -> np.ndarray:
        """Return the standard normals z (..., p) of parameters x (..., p)."""
        z = np.empty_like(x)
        for j, spec in enumerate(self.specs):
            if spec.kind == "lognormal":
                z[..., j] = np.log(x[..., j] / spec.center) / spec.spread
            else:
                low, high = self.bounds(spec)
                z[..., j] = norm.ppf(truncnorm.cdf(x[..., j], low, high, spec.center, spec.spread))
        return z

    @staticmethod
    def bounds(spec: PriorSpec) -> tuple[float, float]:
        """Return the truncation bounds in units of the untruncated sd."""
        return (spec.low - spec.center) / spec.spread, (spec.high - spec.center) / spec.spread

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n draws (n, p) of the population's parameters."""
        return self.parameters(rng.standard_normal((n, len(self.specs))))

    def interval(self, level: float) -> np.ndarray:
        """Return the central prior interval (p, 2) of each parameter."""
        z = norm.ppf([(1 - level) / 2, (1 + level) / 2])
        return self.parameters(np.repeat(z[:, None], len(self.specs), axis=1)).T


def specs_of(model: TissueModel, drugs: DrugEntries, only: str) -> list[tuple[PriorSpec, str]]:
    """Return the model's prior of every entry, and the drug whose it is; ``only`` where there is one."""
    if not drugs.drugs:
        return [(spec, only) for spec in model.estimated]
    return [
        (model.estimated[j], drugs.drug_of(entry) or only)
        for entry, j in enumerate(drugs.parameter)
    ]


def named(specs: Sequence[PriorSpec], drugs: DrugEntries) -> tuple[PriorSpec, ...]:
    """Return the priors under their entries' names."""
    if not drugs.drugs:
        return tuple(specs)
    return tuple(replace(spec, name=name) for spec, name in zip(specs, drugs.names, strict=True))


def donor_spreads_of(model: TissueModel, drugs: DrugEntries) -> tuple[DonorSpread, ...]:
    """Return how entries differ between donors: in each drug's parameters donors differ by themselves.

    A donor on whom one drug works well need not be one on whom another does.
    """
    if not drugs.drugs:
        return model.donor_spreads
    names = model.estimated_names
    return tuple(
        replace(spread, name=drugs.names[entry])
        for entry, j in sorted(enumerate(drugs.parameter), key=lambda one: one[0] >= len(names))
        for spread in model.donor_spreads
        if spread.name == names[j]
    )
