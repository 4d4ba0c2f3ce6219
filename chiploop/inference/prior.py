"""Priors as maps from independent standard normals.

Belongs here: the map and its inverse. Every estimated parameter is x = map(z) with z ~ N(0, 1), so the
prior in z is N(0, I) whatever the shape in x, and bounds need no special care in the samplers. A normal
truncated at 0 keeps a positive density at 0: "no effect" is not ruled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, truncnorm

from chiploop.models.tissue_model import PriorSpec, TissueModel
from chiploop.study import Study


@dataclass(frozen=True)
class Prior:
    """Independent priors of the estimated parameters."""

    specs: tuple[PriorSpec, ...]

    @classmethod
    def of(cls, specs: Sequence[PriorSpec]) -> Prior:
        """Return the prior of these parameters, in this order."""
        return cls(tuple(specs))

    @classmethod
    def of_study(cls, model: TissueModel, study: Study) -> Prior:
        """Return the model's prior with the potency of the study's drug put in."""
        return cls(
            tuple(
                replace(
                    spec, center=study.drug.ic50_prior_median_nm, spread=study.drug.ic50_prior_ln_sd
                )
                if spec.name == model.facts.potency
                else spec
                for spec in model.estimated
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(spec.name for spec in self.specs)

    def parameters(self, z: np.ndarray) -> np.ndarray:
        """Return parameters (..., p) of standard normals z (..., p)."""
        x = np.empty_like(z)
        for j, spec in enumerate(self.specs):
            if spec.kind == "lognormal":
                x[..., j] = spec.center * np.exp(spec.spread * z[..., j])
            else:
                low, high = norm.cdf(self.bounds(spec))
                inside = low + (high - low) * norm.cdf(z[..., j])
                x[..., j] = spec.center + spec.spread * norm.ppf(inside)
        return x

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
        """Return n draws (n, p) of the parameters."""
        return self.parameters(rng.standard_normal((n, len(self.specs))))

    def interval(self, level: float) -> np.ndarray:
        """Return the central prior interval (p, 2) of each parameter."""
        z = norm.ppf([(1 - level) / 2, (1 + level) / 2])
        return self.parameters(np.repeat(z[:, None], len(self.specs), axis=1)).T
