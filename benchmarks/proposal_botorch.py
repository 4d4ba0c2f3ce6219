"""What BoTorch would give next: Gaussian processes on log dose, on the readings that our fit gets.

Belongs here: its models and acquisition functions. Not here: the posterior of the EC50, which is ours for every
policy, and so the fairest that these two can get.

Two outcomes a chip: ln CCL26 and viability (1 - LDH release), each a ``SingleTaskGP`` with BoTorch's usual priors
and estimated noise. ``toward_the_target`` is qLogNEI: maximise -(ln CCL26 - target)^2 under viability >= the
limit, the target being half the CCL26 that the process says of the vehicle (where the EC50 is, as far as there is
little CCL26 without stimulus). ``where_unsure`` is qNegIntegratedPosteriorVariance of ln CCL26 over candidates.
Both choose their chips greedily among the candidates, the same one allowed again.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.proposal_scenario import BATCH, CANDIDATES_NM, EXPOSURE_H, VIABILITY_LIMIT, Bench
from benchmarks.proposal_schedules import HALF_H, SCHEDULES, ScheduleBench
from chiploop.inference.posterior import Posterior

CYTOKINE, TOXICITY = "CCL26", "ldh_release"
VEHICLE_BELOW = 3.0
"""The vehicle stands on the axis of ln dose this factor below the lowest dose."""


def is_installed() -> bool:
    """Return whether BoTorch is there."""
    return importlib.util.find_spec("botorch") is not None


def place(dose_nm: np.ndarray) -> np.ndarray:
    """Return doses on 0..1 in ln dose."""
    lowest = CANDIDATES_NM[1] / VEHICLE_BELOW
    ln = np.log(np.maximum(dose_nm, lowest))
    return np.asarray((ln - np.log(lowest)) / (np.log(CANDIDATES_NM[-1]) - np.log(lowest)))


def half_shares(schedule: str) -> tuple[float, float]:
    """Return the shares of the exposure's first and second half in which the drug flows."""
    return tuple(  # type: ignore[return-value]
        sum(max(min(off, end) - max(on, begin), 0.0) for on, off in SCHEDULES[schedule]) / HALF_H
        for begin, end in ((0.0, HALF_H), (HALF_H, EXPOSURE_H))
    )


def inputs(exposures: Sequence[Any]) -> np.ndarray:
    """Return exposures as rows: dose alone, or dose and shares of both halves."""
    if not isinstance(exposures[0], tuple):
        return place(np.array(exposures, dtype=float))[:, None]
    dose = place(np.array([nm for nm, _ in exposures]))
    return np.column_stack([dose, [half_shares(schedule) for _, schedule in exposures]])


def shown(bench: Bench) -> np.ndarray:
    """Return (chips, 2): ln CCL26 and viability as they were read."""
    chips = [bench.chip(i)[0] for i in range(len(bench.doses_nm))]
    at = {(readout.chip_id, readout.readout): readout.value for readout in bench.readouts}
    return np.array(
        [(np.log(at[chip, CYTOKINE]), 1.0 - at[chip, TOXICITY]) for chip in chips], dtype=float
    )


@dataclass(frozen=True)
class BatchOfBoTorch:
    """The next batch after what a bench has shown."""

    bench: Bench
    candidates: Sequence[Any]
    chips: int

    @cached_property
    def choices(self) -> Any:
        """Candidates as a tensor of inputs."""
        return tensor(inputs(self.candidates))

    @cached_property
    def baseline(self) -> Any:
        """Inputs of the chips that were run."""
        bench = self.bench
        if isinstance(bench, ScheduleBench):
            return tensor(inputs(list(zip(bench.doses_nm, bench.schedules, strict=True))))
        return tensor(inputs(bench.doses_nm))

    def fitted(self, outcomes: int) -> Any:
        """Return a Gaussian process of the first outcomes, fitted anew."""
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import ModelListGP, SingleTaskGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood, SumMarginalLogLikelihood

        values = tensor(shown(self.bench))
        parts = [
            SingleTaskGP(self.baseline, values[:, [k]], outcome_transform=Standardize(1))
            for k in range(outcomes)
        ]
        if outcomes == 1:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(parts[0].likelihood, parts[0]))
            return parts[0]
        model = ModelListGP(*parts)
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        return model

    def chosen(self, acquisition: Any) -> list[Any]:
        """Return the candidates that an acquisition function takes, one after the other."""
        from botorch.optim import optimize_acqf_discrete

        found, _ = optimize_acqf_discrete(
            acquisition, q=self.chips, choices=self.choices, unique=False
        )
        gaps = (found[:, None] - self.choices[None]).abs().sum(dim=2)
        return [self.candidates[int(k)] for k in gaps.argmin(dim=1)]

    def toward_the_target(self) -> list[Any]:
        """Return qLogNEI's batch."""
        with warnings.catch_warnings():
            # of its own deprecated parts, already on import, and of its fits
            warnings.simplefilter("ignore")
            import torch
            from botorch.acquisition.logei import qLogNoisyExpectedImprovement
            from botorch.acquisition.objective import GenericMCObjective

            model = self.fitted(2)
            with torch.no_grad():
                target = float(model.posterior(self.choices[:1]).mean[0, 0]) + np.log(0.5)
            acquisition = qLogNoisyExpectedImprovement(
                model=model,
                X_baseline=self.baseline,
                objective=GenericMCObjective(lambda y, X=None: -((y[..., 0] - target) ** 2)),
                constraints=[lambda y: VIABILITY_LIMIT - y[..., 1]],
                prune_baseline=False,
            )
            return self.chosen(acquisition)

    def where_unsure(self) -> list[Any]:
        """Return the batch that lowers the integrated variance of ln CCL26 most."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from botorch.acquisition.active_learning import qNegIntegratedPosteriorVariance

            model = self.fitted(1)
            return self.chosen(qNegIntegratedPosteriorVariance(model, mc_points=self.choices))


def tensor(values: np.ndarray) -> Any:
    """Return an array as torch's."""
    import torch

    return torch.tensor(values, dtype=torch.double)


def toward_the_target(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[Any]:
    """Return qLogNEI's doses."""
    seed_torch(rng)
    return BatchOfBoTorch(bench, bench.candidates, BATCH).toward_the_target()


def where_unsure(bench: Bench, posterior: Posterior, rng: np.random.Generator) -> list[Any]:
    """Return the doses that lower the integrated variance most."""
    seed_torch(rng)
    return BatchOfBoTorch(bench, bench.candidates, BATCH).where_unsure()


def seed_torch(rng: np.random.Generator) -> None:
    """Seed torch from the run's own generator."""
    import torch

    torch.manual_seed(int(rng.integers(2**31)))
