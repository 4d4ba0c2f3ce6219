"""The virtual population: 51 log-normal parameters, and draws of it.

Belongs here: the distributions, drawing, shifting. Not here: what a patient does (patient_model), what is known of
one (patient_twin).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.study_yaml import read_yaml

DISTRIBUTIONS = Path(__file__).parent / "atopic_dermatitis.yaml"
STANDARD_CARE = "k3"
"""Parameter of placebo and standard care; a trial without topicals has less of it."""


@dataclass(frozen=True)
class Population:
    """Independent normal distributions of the logarithms of a model's parameters."""

    names: tuple[str, ...]
    mean: np.ndarray
    """(n_parameters,) of the logarithm."""
    sd: np.ndarray
    """(n_parameters,) of the logarithm."""

    @cached_property
    def place(self) -> dict[str, int]:
        """Name -> column."""
        return {name: i for i, name in enumerate(self.names)}

    def shifted(self, shifts: Mapping[str, float]) -> Population:
        """Return the population with these additions to means of logarithms."""
        mean = self.mean.copy()
        for name, shift in shifts.items():
            mean[self.place[name]] += shift
        return Population(self.names, mean, self.sd)

    def values(self, standard: np.ndarray) -> np.ndarray:
        """Return parameters (n, n_parameters) of standard normal draws of the same shape."""
        return np.exp(self.mean + self.sd * standard)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return parameters (n, n_parameters) of n virtual patients."""
        return self.values(rng.standard_normal((n, len(self.names))))


@lru_cache(maxsize=1)
def published_population() -> Population:
    """Return the published population; it is one of patients who use topicals as well (docs/twin.md)."""
    text = read_yaml(DISTRIBUTIONS)
    if text.problems:
        raise FileNotValid(f"{DISTRIBUTIONS}: {text.problems[0].message}")
    rows = text.values["parameters"]
    return Population(
        tuple(rows),
        np.array([float(row["mean"]) for row in rows.values()]),
        np.array([float(row["sd"]) for row in rows.values()]),
    )
