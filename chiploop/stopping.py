"""When a study knows enough, may not go on, or has to ask a person: small rules that say why.

Belongs here: the rules, how they are combined. Not here: the keys of the study file (study_goals), what stands
after a cycle (standing), how many more chips a goal may take (forecast), who acts on a verdict (flows).

A rule is a frozen value that looks at a ``Standing`` and returns a ``Verdict``. Rules combine with ``&`` (all are
needed) and ``|`` (one is enough). What can not be told yet is no reason to stop, and a fit that failed its
diagnostics decides nothing: only budgets are judged then.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import numpy as np

from chiploop.goals import GoalDraws, GoalEstimate
from chiploop.inference.posterior import Misfit
from chiploop.study import Decided, Stop, Study

Outcome = Literal["go on", "ask", "stop"]
_WEIGHT: dict[Outcome, int] = {"go on": 0, "ask": 1, "stop": 2}


@dataclass(frozen=True)
class Verdict:
    """What a rule says, and why."""

    outcome: Outcome
    """``ask``: go on only with what a person has approved."""
    sentence: str
    """For people: what was looked at, its value and its bound."""

    @property
    def stops(self) -> bool:
        """Return whether the study ends here."""
        return self.outcome == "stop"


@dataclass(frozen=True)
class Standing:
    """What stands after a cycle."""

    goals: tuple[GoalEstimate, ...] = ()
    """In the study's order; the first leads."""
    passed: bool = True
    """Whether the fit passed its diagnostics."""
    cycles: int = 0
    """Cycles whose readouts are in."""
    chips: int = 0
    """Exposures of chips so far: a chip counts once in every cycle."""
    chips_per_cycle: int = 0
    """Chips that the next cycle would expose."""
    drug_ng: float = 0.0
    """All chips together."""
    draws: Mapping[str, GoalDraws] = field(default_factory=dict)
    """Goal -> its draws."""
    harmful_nm: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Goal -> (n,) concentration that brings viability to its limit within the goal's exposure."""
    information_nats: float | None = None
    """Expected of the next batch about the leading goal; None where nobody has computed it."""
    cost: float | None = None
    """Of the next batch, in the study's unit; None where the study states no costs."""
    allowed_share: float | None = None
    """Share of the candidates with drug that safety allows for the next batch; None where not known."""
    least_risk: float | None = None
    """Smallest P(viability below the limit) of a candidate with drug: where harm grows with dose, the
    probability that every dose harms."""
    misfit: Misfit | None = None


class StopRule(ABC):
    """A rule that can be combined; each kind says how it judges."""

    @abstractmethod
    def judge(self, standing: Standing) -> Verdict:
        """Return what the rule says of where a study stands."""

    def __and__(self, other: StopRule) -> StopRule:
        return AllOf((self, other))

    def __or__(self, other: StopRule) -> StopRule:
        return AnyOf((self, other))


@dataclass(frozen=True)
class AllOf(StopRule):
    """Every rule is needed."""

    rules: tuple[StopRule, ...]

    def judge(self, standing: Standing) -> Verdict:
        """Return the weakest verdict, and what every rule says."""
        verdicts = [rule.judge(standing) for rule in self.rules]
        outcome = min((v.outcome for v in verdicts), key=_WEIGHT.__getitem__)
        missing = [v for v in verdicts if v.outcome == "go on"]
        return Verdict(outcome, "; and ".join(v.sentence for v in missing or verdicts))


@dataclass(frozen=True)
class AnyOf(StopRule):
    """One rule is enough."""

    rules: tuple[StopRule, ...]

    def judge(self, standing: Standing) -> Verdict:
        """Return the strongest verdict, with the sentences of the rules that give it."""
        verdicts = [rule.judge(standing) for rule in self.rules]
        outcome = max((v.outcome for v in verdicts), key=_WEIGHT.__getitem__)
        given = [v.sentence for v in verdicts if v.outcome == outcome]
        return Verdict(outcome, "; ".join(given))


@dataclass(frozen=True)
class IntervalWithin(StopRule):
    """A goal's interval is narrow: upper / lower is at most a factor."""

    goal: str
    factor: float

    def judge(self, standing: Standing) -> Verdict:
        """Return whether the interval is narrow enough; one that reaches the grid's end never is."""
        found = [goal for goal in standing.goals if goal.name == self.goal]
        if not found or not standing.passed:
            return _not_yet(self.goal, standing)
        goal = found[0]
        fold = goal.upper / goal.lower
        unit = "" if goal.unit == "1" else f" {goal.unit}"
        said = (
            f"{goal.name}: {100 * goal.level:g} % interval {goal.lower:.3g} to {goal.upper:.3g}{unit} is "
            f"{fold:.2f}-fold, asked was at most {self.factor:g}-fold"
        )
        if goal.unreached > 0.0:
            return Verdict(
                "go on", f"{said}; {100 * goal.unreached:.3g} % is beyond what can be told"
            )
        return Verdict("stop" if fold <= self.factor else "go on", said)


@dataclass(frozen=True)
class NoDoseIsWorthIt(StopRule):
    """The best batch teaches too little: less than so many nats, in all or for each chip."""

    nats: float
    per_chip: bool = False

    def judge(self, standing: Standing) -> Verdict:
        """Return whether the next batch is not worth its chips."""
        if standing.information_nats is None or not standing.passed:
            return _not_yet("the information of the next batch", standing)
        chips = standing.chips_per_cycle if self.per_chip else 1
        found = standing.information_nats / max(chips, 1)
        what = "each chip of the next batch" if self.per_chip else "the next batch"
        said = f"{what} is expected to teach {found:.3g} nats, asked was at least {self.nats:g}"
        return Verdict("stop" if found < self.nats else "go on", said)


@dataclass(frozen=True)
class NoDoseIsWorthItsCost(StopRule):
    """The best batch costs more than what it teaches is worth."""

    nat: float
    """What a nat is worth."""
    unit: str

    def judge(self, standing: Standing) -> Verdict:
        """Return whether the next batch is not worth its cost."""
        if standing.information_nats is None or standing.cost is None or not standing.passed:
            return _not_yet("what the next batch teaches and costs", standing)
        worth = self.nat * standing.information_nats
        said = (
            f"the next batch is expected to teach {standing.information_nats:.3g} nats, worth {worth:.3g} "
            f"{self.unit}, and costs {standing.cost:.3g} {self.unit}"
        )
        return Verdict("stop" if worth < standing.cost else "go on", said)


@dataclass(frozen=True)
class BoundDecided(StopRule):
    """It is known whether a goal lies above, below or between bounds; yes and no both end the question."""

    goal: str
    above: float
    below: float
    probability: float
    words: str
    """Such as ``below 100 nM``."""

    def judge(self, standing: Standing) -> Verdict:
        """Return whether the answer is known well enough."""
        draws = standing.draws.get(self.goal)
        if draws is None or not standing.passed:
            return _not_yet(self.goal, standing)
        p = float(np.mean((draws.capped > self.above) & (draws.capped < self.below)))
        return _answered(f"{self.goal} is {self.words}", p, self.probability)


@dataclass(frozen=True)
class DoseDecided(StopRule):
    """It is known whether a dose reaches a goal and keeps viability above its limit, over the goal's exposure."""

    goal: str
    dose_nm: float
    probability: float

    def judge(self, standing: Standing) -> Verdict:
        """Return whether the answer is known well enough."""
        draws, harmful = standing.draws.get(self.goal), standing.harmful_nm.get(self.goal)
        if draws is None or harmful is None or not standing.passed:
            return _not_yet(self.goal, standing)
        p = float(np.mean((draws.values <= self.dose_nm) & (self.dose_nm < harmful)))
        return _answered(
            f"{self.dose_nm:g} nM reaches {self.goal} and is safe", p, self.probability
        )


@dataclass(frozen=True)
class BestDecided(StopRule):
    """It is known which drug is the best of those that a goal compares."""

    goal: str
    probability: float

    def judge(self, standing: Standing) -> Verdict:
        """Return whether one drug is the best with enough probability."""
        draws = standing.draws.get(self.goal)
        if draws is None or not draws.best or not standing.passed:
            return _not_yet(self.goal, standing)
        drug = max(draws.best, key=lambda name: draws.best[name])
        said = f"{drug} is the best by {self.goal} with probability {draws.best[drug]:.3g}"
        if draws.best[drug] >= self.probability:
            return Verdict("stop", f"{said}, asked was {self.probability:g}")
        return Verdict("go on", f"{said}: none reaches {self.probability:g}")


@dataclass(frozen=True)
class NothingIsSafe(StopRule):
    """No dose with drug is allowed, or every one harms with some probability."""

    probability: float

    def judge(self, standing: Standing) -> Verdict:
        """Return whether there is nothing left to give."""
        if standing.allowed_share is None or not standing.passed:
            return _not_yet("what may be given", standing)
        if standing.allowed_share == 0.0:
            return Verdict("stop", "no dose with drug is allowed on any line")
        if standing.least_risk is None:
            return _not_yet("the risk of the doses", standing)
        said = f"every dose harms with a probability of {standing.least_risk:.3g}"
        if standing.least_risk > self.probability:
            return Verdict("stop", f"{said}, above {self.probability:g}")
        return Verdict("go on", f"{said} at least; the study ends above {self.probability:g}")


@dataclass(frozen=True)
class Budget(StopRule):
    """What the study may use: cycles, exposures of chips, drug."""

    cycles: int | None = None
    chips: int | None = None
    drug_ng: float | None = None

    def judge(self, standing: Standing) -> Verdict:
        """Return whether another cycle would use more than there is; counts whether or not the fit passed."""
        spent: list[str] = []
        left: list[str] = []
        if self.cycles is not None:
            said = f"{standing.cycles} of {self.cycles} cycles are done"
            (spent if standing.cycles >= self.cycles else left).append(said)
        if self.chips is not None:
            said = (
                f"{standing.chips} of {self.chips} chips are exposed and the next cycle exposes "
                f"{standing.chips_per_cycle}"
            )
            over = standing.chips + standing.chips_per_cycle > self.chips
            (spent if over else left).append(said)
        if self.drug_ng is not None:
            said = f"{standing.drug_ng:.4g} of {self.drug_ng:.4g} ng drug are used"
            (spent if standing.drug_ng >= self.drug_ng else left).append(said)
        return Verdict("stop" if spent else "go on", "; ".join(spent or left))


@dataclass(frozen=True)
class AskOnMisfit(StopRule):
    """Where the data contradict the model a person decides."""

    def judge(self, standing: Standing) -> Verdict:
        """Return whether a person has to be asked."""
        misfit = standing.misfit
        if misfit is None or not misfit.fires:
            return Verdict("go on", "the data do not contradict the model")
        why = " ".join(misfit.sentences) or (
            f"The data contradict the model (p {misfit.p_value:.2g})"
        )
        return Verdict("ask", f"{why.rstrip('.')}. A person decides about the next doses")


def _not_yet(what: str, standing: Standing) -> Verdict:
    why = "is not known yet" if standing.passed else "is not known: the fit failed its diagnostics"
    return Verdict("go on", f"{what} {why}")


def _answered(statement: str, p: float, needed: float) -> Verdict:
    if p >= needed:
        return Verdict("stop", f"{statement} with probability {p:.3g}, asked was {needed:g}")
    if 1.0 - p >= needed:
        said = f"that {statement} is ruled out with probability {1.0 - p:.3g}, asked was {needed:g}"
        return Verdict("stop", said)
    return Verdict(
        "go on", f"{statement} with probability {p:.3g}: neither yes nor no reaches {needed:g}"
    )


def rule_of(stop: Stop, study: Study) -> StopRule:
    """Return the rule that a study states."""
    known: list[StopRule] = []
    if stop.fold is not None:
        known.append(IntervalWithin(study.goals[0].name, stop.fold))
    if stop.information_nats is not None:
        known.append(NoDoseIsWorthIt(stop.information_nats))
    if stop.information_nats_per_chip is not None:
        known.append(NoDoseIsWorthIt(stop.information_nats_per_chip, per_chip=True))
    if stop.cost and study.costs.nat is not None:
        known.append(NoDoseIsWorthItsCost(study.costs.nat, study.costs.unit))
    known += [_question(asked) for asked in stop.decided]
    always: list[StopRule] = []
    if stop.nothing_is_safe is not None:
        always.append(NothingIsSafe(stop.nothing_is_safe))
    if (stop.cycles, stop.chips, stop.drug_ng) != (None, None, None):
        always.append(Budget(stop.cycles, stop.chips, stop.drug_ng))
    if stop.ask_on_misfit:
        always.append(AskOnMisfit())
    if known and stop.needs == "all":
        always.insert(0, reduce(StopRule.__and__, known))
    else:
        always = [*known, *always]
    return reduce(StopRule.__or__, always)


def needs_proposal(stop: Stop) -> bool:
    """Return whether the rule looks at what would be proposed next."""
    asked = (stop.information_nats, stop.information_nats_per_chip, stop.nothing_is_safe)
    return stop.cost or any(one is not None for one in asked)


def _question(asked: Decided) -> StopRule:
    if asked.dose_nm is not None:
        return DoseDecided(asked.goal, asked.dose_nm, asked.probability)
    if asked.above is None and asked.below is None:
        return BestDecided(asked.goal, asked.probability)
    bounds = [f"{key} {b}" for key, b in (("above", asked.above), ("below", asked.below)) if b]
    return BoundDecided(
        asked.goal,
        asked.above.value if asked.above else -math.inf,
        asked.below.value if asked.below else math.inf,
        asked.probability,
        " and ".join(bounds),
    )
