"""What a study wants to know, as a number of a tissue: the concentration that halves the stimulus' effect.

Belongs here: the definition, for a fitted model and for a hidden truth alike. Not here: which dose teaches it
(policies).

The reference experiment: a wild-type chip, a day of plain medium, then stimulus and drug together for the
goal's exposure. Effect(c) = |readout with stimulus and drug c - readout without stimulus| at the end, each
readout as it stands then (a mean over the last hour for a secreted protein). The goal is the lowest c at which
Effect(c) = (1 - fraction) Effect(0): for 50 %, the EC50. It counts concentration at the inlet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chiploop.models.facts import ModelFacts
from chiploop.models.inlet import ChipInlet, chip_constants
from chiploop.models.tissue_model import TissueModel
from chiploop.study import Goal, Study

REST_H = 24.0
"""Plain medium before the stimulus in the reference experiment."""
LAST_H = 1.0
"""Over which a secreted protein is averaged at the end."""
GRID_NM = np.geomspace(0.1, 1e6, 57)
"""Concentrations at which the dose-response is computed: eight a decade."""


@dataclass(frozen=True)
class GoalEstimate:
    """A goal as a posterior sees it; an equal-tailed interval."""

    name: str
    unit: str
    median: float
    lower: float
    upper: float
    level: float
    unreached: float
    """Share of the particles in which no concentration up to the grid's end has the effect; they
    count as the grid's end."""


def reference_inlets(
    study: Study, facts: ModelFacts, exposure_h: float, concentrations_nm: np.ndarray
) -> list[ChipInlet]:
    """Return a model's reference experiment: one chip without stimulus, then one per concentration."""
    constants = chip_constants(study, facts, "wild_type")
    flow = study.perfusion.flow_rate_ul_h
    stimulus_nm = facts.stimuli_nm(study.stimulus_ng_ml)
    plain = (flow, *([0.0] * (1 + len(stimulus_nm))))
    edges = np.array([0.0, REST_H, REST_H + exposure_h])

    def inlet(name: str, during: tuple[float, ...]) -> ChipInlet:
        return ChipInlet(name, edges, np.array([plain, during]), constants)

    stimulated = [inlet(f"{c:.6g} nM", (flow, float(c), *stimulus_nm)) for c in concentrations_nm]
    return [inlet("no stimulus", plain), *stimulated]


def dose_responses(
    model: TissueModel, study: Study, exposure_h: float, parameters: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return readouts at the end of the reference experiment.

    Returns
    -------
    unstimulated : (n, readouts)
    vehicle : (n, readouts)
        With stimulus, without drug.
    treated : (n, concentrations, readouts)
        At ``GRID_NM``.
    """
    concentrations_nm = np.concatenate([[0.0], GRID_NM])
    inlets = reference_inlets(study, model.facts, exposure_h, concentrations_nm)
    end = REST_H + exposure_h
    simulated = model.simulate(parameters, inlets, np.array([end]), np.array([end - LAST_H]))
    values = simulated.readouts[:, :, 0]
    return values[:, 0], values[:, 1], values[:, 2:]


def goal_values(model: TissueModel, study: Study, parameters: np.ndarray) -> dict[str, np.ndarray]:
    """Return goal name -> (n,) concentrations in nM; infinite where no concentration has the effect."""
    names = [spec.name for spec in model.readouts]
    found: dict[str, np.ndarray] = {}
    curves: dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for goal in study.goals:
        if goal.exposure_h not in curves:
            curves[goal.exposure_h] = dose_responses(model, study, goal.exposure_h, parameters)
        rest, vehicle, treated = (
            part[..., names.index(goal.readout)] for part in curves[goal.exposure_h]
        )
        found[goal.name] = crossing(effect(rest, vehicle), effect(rest[:, None], treated), goal)
    return found


def effect(rest: np.ndarray, stimulated: np.ndarray) -> np.ndarray:
    """Return the size of the stimulus' effect."""
    return np.abs(stimulated - rest)


def crossing(vehicle: np.ndarray, treated: np.ndarray, goal: Goal) -> np.ndarray:
    """Return the first concentration (n,) where the effect falls to the goal's share of vehicle's.

    Interpolated linearly in ln effect over ln concentration between the grid's points.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.log(treated) - np.log((1.0 - goal.effect_fraction) * vehicle)[:, None]
    below = excess <= 0.0
    first = np.argmax(below, axis=1)
    ln_c = np.log(GRID_NM)
    result = np.full(len(vehicle), np.inf)
    for i in np.flatnonzero(below.any(axis=1)):
        k = first[i]
        if k == 0:
            result[i] = GRID_NM[0]
            continue
        high, low = excess[i, k - 1], excess[i, k]
        share = 1.0 if not np.isfinite(low) else high / (high - low)
        result[i] = np.exp(ln_c[k - 1] + share * (ln_c[k] - ln_c[k - 1]))
    return result


def estimate(name: str, values: np.ndarray, level: float = 0.9) -> GoalEstimate:
    """Return median and central interval of a goal over particles (n,)."""
    capped = np.minimum(values, GRID_NM[-1])
    lower, median, upper = np.quantile(capped, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return GoalEstimate(
        name,
        "nM",
        float(median),
        float(lower),
        float(upper),
        level,
        float(np.mean(~np.isfinite(values))),
    )


def estimates(values: Mapping[str, np.ndarray], level: float = 0.9) -> tuple[GoalEstimate, ...]:
    """Return every goal's estimate, in the study's order."""
    return tuple(estimate(name, one, level) for name, one in values.items())
