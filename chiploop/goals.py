"""What a study wants to know, as a number of a tissue: a potency, a therapeutic index, a dose for a response.

Belongs here: the definitions, for a fitted model and for a hidden truth alike, and how they are said. Not here:
the reference experiment (goal_curves), which dose teaches a goal (policies), when it is known well
enough (stopping).

Potency: Effect(c) = |readout with stimulus and drug c - readout without stimulus|; the lowest c at which
Effect(c) = (1 - fraction) Effect(0): for 50 % the EC50, for 90 % the EC90.
Therapeutic index: the lowest c at which viability falls to the study's limit, over that potency.
Target response: the lowest c at which the readout has come to a value, from the side that the drug moves it from:
where it stands there without drug, the grid's beginning.
Best drug: how many times better, by one of these, the drug that is most probably the best is than the next
(``best_drug``); each drug is judged by a reference experiment of its own.
What no concentration up to the grid's end reaches counts as the grid's end, and its share is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from chiploop.best_drug import compared
from chiploop.goal_curves import (
    GRID_NM,
    ReferenceCurves,
    Tissue,
    first_at_or_below,
    reference_curves,
)
from chiploop.inference.drug_entries import drug_entries
from chiploop.inference.posterior import Posterior
from chiploop.models.tissue_model import TissueModel
from chiploop.study import Goal, Study
from chiploop.study_goals import POPULATION
from chiploop.study_limits import concentration_limit_nm
from chiploop.study_schedules import STIMULUS


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
    """Share of the particles in which no concentration up to the grid's end has the effect, or of a
    therapeutic index harms; they count as the grid's end."""
    pair: tuple[str, ...] = ()
    """Of a best drug: the two that are compared, the better one first."""
    best: Mapping[str, float] = field(default_factory=dict)
    """Of a best drug: drug -> probability that it is the best of all that are compared."""

    def facts(self) -> dict[str, Any]:
        """Return it for the record: what has no meaning for its kind is left out."""
        return {key: value for key, value in asdict(self).items() if value not in ((), {})}


@dataclass(frozen=True)
class GoalDraws:
    """A goal in every particle."""

    unit: str
    values: np.ndarray
    """(n,), infinite (or of a therapeutic index not a number) where the grid's end is not enough."""
    capped: np.ndarray
    """(n,), those counted as the grid's end."""
    pair: tuple[str, ...] = ()
    """Of a best drug, as in ``GoalEstimate``."""
    best: Mapping[str, float] = field(default_factory=dict)
    of_drugs: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of a best drug: drug -> (n,) what it is compared by, those counted as the grid's end."""


def goal_draws(
    model: TissueModel,
    study: Study,
    parameters: np.ndarray,
    donors: Mapping[str, Tissue] | None = None,
    pairs: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, GoalDraws]:
    """Return goal name -> its draws, in the study's order.

    ``parameters`` (n, entries) are the population's; ``donors`` their own where they differ, as ``donor_tissues``
    gives them: a donor who is not there has the population's, with its own genotype. ``pairs``: best drug's goal
    -> the two drugs whose ratio is wanted; where it is not there, those that lead in these draws.
    """
    found: dict[str, GoalDraws] = {}
    curves: dict[tuple[float, str, str, str], ReferenceCurves] = {}
    names = [spec.name for spec in model.readouts]

    def of_one(goal: Goal) -> GoalDraws:
        key = (goal.exposure_h, goal.of, goal.drug or "", goal.stimulus or STIMULUS)
        if key not in curves:
            curves[key] = curves_of(model, study, goal, parameters, donors or {})
        return goal_of_curves(goal, study, curves[key], names.index(goal.readout))

    for goal in study.goals:
        if goal.kind != "best_drug":
            found[goal.name] = of_one(goal)
            continue
        own = {drug: of_one(goal.of_drug(drug)) for drug in goal.drugs or study.drugs}
        better = compared(
            {drug: draws.capped for drug, draws in own.items()},
            higher_is_better=goal.measure == "therapeutic_index",
            pair=(pairs or {}).get(goal.name, ()),
        )
        reached = np.all([np.isfinite(own[drug].values) for drug in better.pair], axis=0)
        values = np.where(reached, better.ratio, np.nan)
        capped = {drug: draws.capped for drug, draws in own.items()}
        found[goal.name] = GoalDraws(
            goal.unit, values, better.ratio, better.pair, better.best, capped
        )
    return found


def curves_of(
    model: TissueModel,
    study: Study,
    goal: Goal,
    parameters: np.ndarray,
    donors: Mapping[str, Tissue],
) -> ReferenceCurves:
    """Return the reference experiment of a goal about one drug; arguments as of ``goal_draws``."""
    stimulus = goal.stimulus or STIMULUS
    tissue = tissue_of(study, goal.of, parameters, donors)
    if not study.further_drugs:
        return reference_curves(model, study, goal.exposure_h, tissue, stimulus=stimulus)
    if goal.drug is None:
        raise ValueError(f"{goal.name} names none of {', '.join(study.drugs)}")
    entries = drug_entries(model, study)
    own = entries.places[entries.drugs.index(goal.drug)]
    factors = {
        name: tissue.factors[entries.names[entry]]
        for name, entry in zip(model.estimated_names, own, strict=True)
        if entries.names[entry] in tissue.factors
    }
    known = {*entries.names, *factors}
    factors |= {name: factor for name, factor in tissue.factors.items() if name not in known}
    tissue = replace(tissue, parameters=tissue.parameters[..., own], factors=factors)
    drug = study.drugs[goal.drug]
    return reference_curves(model, study, goal.exposure_h, tissue, drug, stimulus)


def goal_values(
    model: TissueModel,
    study: Study,
    parameters: np.ndarray,
    donors: Mapping[str, Tissue] | None = None,
) -> dict[str, np.ndarray]:
    """Return goal name -> ``GoalDraws.values``: infinite where no concentration has the effect."""
    drawn = goal_draws(model, study, parameters, donors)
    return {name: draws.values for name, draws in drawn.items()}


def donor_tissues(
    study: Study, posterior: Posterior, chosen: np.ndarray | None = None
) -> dict[str, Tissue]:
    """Return the tissues of the donors that the study's goals are about, at the chosen particles (all: None)."""
    at = np.arange(len(posterior.particles)) if chosen is None else chosen
    found = {}
    for name in {goal.of for goal in study.goals} - {POPULATION}:
        own = posterior.donor_entries([name], at)
        found[name] = Tissue(own[:, 0], study.donors[name].flg)
    return found


def tissue_of(
    study: Study, of: str, parameters: np.ndarray, donors: Mapping[str, Tissue]
) -> Tissue:
    """Return the tissue that a goal is about."""
    if of == POPULATION:
        return Tissue(parameters)
    return donors.get(of) or Tissue(parameters, study.donors[of].flg)


def goal_of_curves(goal: Goal, study: Study, curves: ReferenceCurves, readout: int) -> GoalDraws:
    """Return a goal's draws from its reference experiment; ``readout`` is its place in the curves."""
    rest, vehicle, treated = (
        part[..., readout] for part in (curves.rest, curves.vehicle, curves.treated)
    )
    end = GRID_NM[-1]
    if goal.target is not None:
        within = concentration_limit_nm(study, goal.drug)
        values = target_nm(goal.target.value, rest, vehicle, treated, within)
        return GoalDraws(goal.unit, values, np.minimum(values, end))
    potency = crossing(effect(rest, vehicle), effect(rest[:, None], treated), goal)
    if goal.measure == "potency":
        return GoalDraws(goal.unit, potency, np.minimum(potency, end))
    harmful = harmful_nm(curves.viability, study.limits.viability)
    is_known = np.isfinite(potency) & np.isfinite(harmful)
    capped = np.minimum(harmful, end) / np.minimum(potency, end)
    return GoalDraws(goal.unit, np.where(is_known, capped, np.nan), capped)


def effect(rest: np.ndarray, stimulated: np.ndarray) -> np.ndarray:
    """Return the size of the stimulus' effect."""
    return np.abs(stimulated - rest)


def crossing(vehicle: np.ndarray, treated: np.ndarray, goal: Goal) -> np.ndarray:
    """Return the first concentration (n,) where the effect falls to the goal's share of vehicle's.

    Interpolated linearly in ln effect over ln concentration between the grid's points.
    """
    assert goal.effect_fraction is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.log(treated) - np.log((1.0 - goal.effect_fraction) * vehicle)[:, None]
    return first_at_or_below(excess)


def harmful_nm(viability: np.ndarray, limit: float) -> np.ndarray:
    """Return the first concentration (n,) at which viability (n, concentrations) has fallen to a limit."""
    return first_at_or_below(viability - limit)


def target_nm(
    target: float, rest: np.ndarray, vehicle: np.ndarray, treated: np.ndarray, within_nm: float
) -> np.ndarray:
    """Return the first concentration (n,) at which a readout has come to a target.

    It rises to it or falls to it as most particles' mean move up to ``within_nm`` says: beyond the study's
    limit a readout may turn round. A drug that moves nothing is judged by the way back to ``rest``.
    Interpolated linearly in ln readout over ln concentration.
    """
    asked = GRID_NM <= max(within_nm, GRID_NM[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        ln_treated, ln_vehicle = np.log(treated), np.log(vehicle)
        moves = np.sign(np.nanmean(ln_treated[:, asked] - ln_vehicle[:, None], axis=1))
        back = np.sign(np.log(rest) - ln_vehicle)
    rises = float(np.nansum(moves) or np.nansum(back))
    result = first_at_or_below(np.sign(rises or 1.0) * (np.log(target) - ln_treated))
    is_there = (np.sign(rises or 1.0) * (np.log(target) - ln_vehicle)) <= 0.0
    return np.where(is_there, GRID_NM[0], result)


def goal_level(goal: Goal, rest: np.ndarray, vehicle: np.ndarray) -> np.ndarray:
    """Return the readout (n,) at which a goal's concentration is read off its curve."""
    if goal.target is not None:
        return np.full(np.shape(vehicle), goal.target.value)
    assert goal.effect_fraction is not None
    return rest + (1.0 - goal.effect_fraction) * (vehicle - rest)


def meaning(study: Study, goal: Goal, readout: str | None = None) -> str:
    """Return a goal as a sentence's end; ``readout`` is what people call its readout."""
    title = readout or goal.readout
    whose = "" if goal.of == POPULATION else f", of donor {goal.of}"
    whose = whose if goal.stimulus is None else f"{whose}, in {goal.stimulus}"
    if goal.kind == "best_drug":
        drugs = " or ".join(goal.drugs or study.drugs)
        one = meaning(study, goal.of_drug("that drug"), readout)
        return f"how many times better the best of {drugs} is than the next, by: {one}"
    drug = goal.drug or study.drug.name
    if goal.target is not None:
        return (
            f"lowest {drug} at the inlet that brings {title} to {goal.target} "
            f"within {goal.exposure_h:g} h{whose}"
        )
    assert goal.effect_fraction is not None
    potency = (
        f"takes away {100 * goal.effect_fraction:g} % of the stimulus' effect on {title} "
        f"within {goal.exposure_h:g} h"
    )
    if goal.kind == "potency":
        return f"{drug} at the inlet that {potency}{whose}"
    return (
        f"{drug} that brings viability down to {100 * study.limits.viability:g} %, over the "
        f"concentration that {potency}{whose}"
    )


def best_in_words(goal: Mapping[str, Any]) -> str:
    """Return how probably each drug is the best, of an estimate as ``facts`` gives it; empty for other goals."""
    best = goal.get("best", {})
    if not best:
        return ""
    shares = sorted(best.items(), key=lambda one: -one[1])
    said = ", ".join(f"{drug} {100 * share:.3g} %" for drug, share in shares)
    first, second = goal["pair"]
    return f"{first} over {second}; P(best): {said}"


def estimate(
    name: str, values: np.ndarray | GoalDraws, level: float = 0.9, unit: str = "nM"
) -> GoalEstimate:
    """Return median and central interval of a goal over particles (n,)."""
    if not isinstance(values, GoalDraws):
        values = GoalDraws(unit, values, np.minimum(values, GRID_NM[-1]))
    tails = [(1 - level) / 2, 0.5, (1 + level) / 2]
    lower, median, upper = np.quantile(values.capped, tails)
    return GoalEstimate(
        name,
        values.unit,
        float(median),
        float(lower),
        float(upper),
        level,
        float(np.mean(~np.isfinite(values.values))),
        values.pair,
        values.best,
    )


def estimates(
    values: Mapping[str, np.ndarray] | Mapping[str, GoalDraws], level: float = 0.9
) -> tuple[GoalEstimate, ...]:
    """Return every goal's estimate, in the study's order."""
    return tuple(estimate(name, one, level) for name, one in values.items())


def truth_of_goal(
    study: Study, goal: Mapping[str, Any], truths: Mapping[str, float]
) -> float | None:
    """Return the hidden truth of what a goal's estimate (``GoalEstimate.facts``) says; None where there is none.

    Of a best drug it is that of the two drugs that the estimate compares.
    """
    pair = tuple(goal.get("pair", ()))
    if not pair:
        return truths.get(goal["name"])
    of_pair = [truths.get(f"{goal['name']}[{drug}]") for drug in pair]
    first, second = of_pair
    if first is None or second is None:
        return None
    asked = {one.name: one for one in study.goals}[goal["name"]]
    return first / second if asked.measure == "therapeutic_index" else second / first
