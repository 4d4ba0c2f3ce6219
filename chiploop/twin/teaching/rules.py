"""The rules of a teaching case: visits, treatments with their prices, tests with cost and turnaround, weights.

Belongs here: numbers and names of the game. Not here: patients (cases), what was answered (play). Every price,
cost and turnaround is a RULE OF THE GAME and no finding: the model knows no side effects, so without prices more
treatment would never be worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from chiploop.twin.drug_facts import JAK_INHIBITOR, PLACEBO_ARM, drug_facts
from chiploop.twin.fitted_terms import SETTINGS

VISITS = (0, 4, 8)
"""Weeks of treatment at which the learner decides."""
END_WEEK = 16
RESPONSE_PCT = 75.0
"""Fall of EASI in percent whose probability the learner states."""
EMOLLIENT = "emollient"
TOPICALS = "topicals"
ALIASES = {"placebo": EMOLLIENT, "emollients": EMOLLIENT, "tcs": TOPICALS, "topical": TOPICALS}
CARE_FACTOR = math.exp(SETTINGS["topicals"] - SETTINGS["monotherapy"])
"""Of topicals on the effect of standard care: the fitted difference between the two kinds of trial."""
PRICE_TOPICALS, PRICE_ANTIBODY, PRICE_TABLET, PRICE_HIGH_TABLET = 5.0, 8.0, 12.0, 16.0
"""Points of the mean fall of EASI, for 16 weeks."""
WEIGHTS = {"outcome": 0.60, "calibration": 0.25, "tests": 0.15}
"""Of the parts of the score."""
SMALLEST_RANGE = 20.0
"""Points between the best and the worst plan that count as 100 at least: where choices hardly differ, a choice
hardly costs.
"""
AWAITED_DAYS = 7
"""The first treatment begins a week after the first visit: results that take no longer are there before it."""


@dataclass(frozen=True)
class Option:
    """One treatment that can be chosen at a visit."""

    name: str
    arm: str
    """Of the twin: placebo, or a drug with its dose."""
    topicals: bool
    kind: str
    """antibody, jak_inhibitor, or empty."""
    price: float
    """Points of the mean fall of EASI, for 16 weeks."""


@dataclass(frozen=True)
class Test:
    """Something that can be measured."""

    __test__ = False  # not one of pytest's

    name: str
    title: str
    cost: float
    """Points of the part of the score for tests."""
    days: int
    """Until its result is there."""
    first_visit_only: bool = False
    """Whether it can not be made later; the others are made from what was taken and frozen at the first visit."""

    def due_week(self, week: int) -> int | None:
        """Return the visit at which a result is there that was ordered at one; None where all are before it."""
        awaited = AWAITED_DAYS if week == VISITS[0] else 0
        if self.days <= awaited:
            return week
        return next((visit for visit in VISITS if 7 * (visit - week) >= self.days), None)


TESTS: dict[str, Test] = {
    one.name: one
    for one in (
        Test("tewl", "water loss of the skin (TEWL)", 2.0, 0, first_visit_only=True),
        Test("ccl17", "serum CCL17", 4.0, 3),
        Test("microbiome", "swab: load of S. aureus", 6.0, 7),
        Test("flg", "FLG genotype", 8.0, 21),
        Test("scores", "biopsy: Th2, Th17 and Th22 scores", 15.0, 21),
        Test("chip", "chips of the patient's own skin: ratios, IC50 of tablets", 30.0, 42),
    )
}


def _options() -> dict[str, Option]:
    bare = [Option(EMOLLIENT, PLACEBO_ARM, False, "", 0.0)]
    for drug in drug_facts().values():
        if drug.kind == JAK_INHIBITOR:
            doses = list(drug.regimens)
            prices = (PRICE_TABLET, *(PRICE_HIGH_TABLET for _ in doses[1:]))
            bare += [
                Option(f"{drug.name}:{dose}", f"{drug.name}:{dose}", False, drug.kind, price)
                for dose, price in zip(doses, prices, strict=True)
            ]
        else:
            bare.append(Option(drug.name, drug.name, False, drug.kind, PRICE_ANTIBODY))
    with_topicals = [
        Option(
            TOPICALS if one.name == EMOLLIENT else f"{one.name}+{TOPICALS}",
            one.arm,
            True,
            one.kind,
            one.price + PRICE_TOPICALS,
        )
        for one in bare
    ]
    return {one.name: one for pair in zip(bare, with_topicals, strict=True) for one in pair}


OPTIONS: dict[str, Option] = _options()
"""Name -> treatment, each with and without topicals; antibodies at the first of their doses."""
