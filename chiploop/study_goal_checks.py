"""How what a study asks, and when it ends, must fit its other parts.

Belongs here: one short rule per fact. Not here: what must stand together within one goal or stop rule
(study_goals), the other parts (study_checks).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chiploop.study_findings import Found, Rule, unknown
from chiploop.study_goals import ASKED, POPULATION
from chiploop.study_yaml import Place


def _goals_are_of_the_model(goals: Any, tissue: Any) -> Iterator[Found]:
    for position, goal in enumerate(goals):
        place: Place = ("goals", position, "readout")
        what = f"readout of {tissue.model} that a stimulus changes"
        yield from unknown(goal.readout, tissue.goal_readouts, place, what)


def _goals_are_measured(goals: Any, assays: Any) -> Iterator[Found]:
    measured = ("TEER", *assays)
    for position, goal in enumerate(goals):
        if goal.readout not in measured:
            yield Found(
                ("goals", position, "readout"),
                f'"{goal.readout}" is not measured in this study',
                f"measured: {', '.join(measured)}",
            )


def _goal_names_are_unique(goals: Any) -> Iterator[Found]:
    names = [goal.name for goal in goals]
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Found(("goals", position, "name"), f'goal "{name}" is here twice')


def _goal_exposure_is_given(goals: Any, timeline: Any) -> Iterator[Found]:
    for position, goal in enumerate(goals):
        if goal.exposure_h > timeline.exposure_h:
            yield Found(
                ("goals", position, "exposure"),
                f"{goal.exposure_h:g} h is longer than one exposure, {timeline.exposure_h:g} h",
            )


def _goal_targets_are_of_their_readout(goals: Any, tissue: Any) -> Iterator[Found]:
    for position, goal in enumerate(goals):
        spec = tissue.study_readouts.get(goal.readout)
        if goal.target is not None and spec is not None and goal.target.unit != spec.unit:
            yield Found(
                ("goals", position, "target"),
                f"{goal.readout} is in {spec.unit}; {goal.target} is no value of it",
            )


def _goals_are_of_known_donors(goals: Any, donors: Any, lines: Any) -> Iterator[Found]:
    on_chips = {donor for line in lines for donor in line.chips.values()}
    for position, goal in enumerate(goals):
        if goal.of == POPULATION:
            continue
        if goal.of not in donors:
            yield Found(
                ("goals", position, "of"),
                f'"{goal.of}" is neither {POPULATION} nor a donor of this study',
                f"known: {', '.join((POPULATION, *donors))}",
            )
        elif goal.of not in on_chips:
            yield Found(
                ("goals", position, "of"),
                f"donor {goal.of} is on no chip: nothing can be learned of it",
            )


def _goals_are_of_a_drug(goals: Any, drug: Any, further_drugs: Any) -> Iterator[Found]:
    known = [one.name for one in (drug, *further_drugs)]
    for position, goal in enumerate(goals):
        place: Place = ("goals", position)
        if goal.kind == "best_drug":
            if not further_drugs:
                message = f"the study has one drug, {drug.name}: there is nothing to compare"
                yield Found((*place, "kind"), message)
                continue
            for at, name in enumerate(goal.drugs or ()):
                yield from unknown(name, known, (*place, "drugs", at), "drug of this study")
                if name in goal.drugs[:at]:
                    yield Found((*place, "drugs", at), f"{name} is here twice")
        elif further_drugs and goal.drug is None:
            message = f'"drug" is missing: {goal.name} is about one of several drugs'
            yield Found(place, message, f"one of: {', '.join(known)}")
        elif further_drugs:
            yield from unknown(goal.drug, known, (*place, "drug"), "drug of this study")
        elif goal.drug is not None:
            message = f"the study has one drug, {drug.name}; a goal names none"
            yield Found((*place, "drug"), message, "leave it out")


def _questions_are_about_goals(stop: Any, goals: Any) -> Iterator[Found]:
    known = {goal.name: goal for goal in goals}
    for position, asked in enumerate(stop.decided):
        place: Place = ("stop", "decided", position)
        if asked.goal not in known:
            yield Found(
                (*place, "goal"), f'there is no goal "{asked.goal}"', f"known: {', '.join(known)}"
            )
            continue
        goal = known[asked.goal]
        nothing = asked.dose_nm is None and asked.above is None and asked.below is None
        if nothing and goal.kind != "best_drug":
            yield Found(place, ASKED)
        if asked.dose_nm is not None and goal.unit != "nM":
            yield Found((*place, "dose"), f"{goal.name} is a ratio; no dose reaches it")
        for key, bound in (("above", asked.above), ("below", asked.below)):
            if bound is not None and bound.unit != goal.unit:
                said = "a plain number" if goal.unit == "1" else "a concentration with its unit"
                yield Found((*place, key), f"{goal.name} is {said}; {bound} is none")


def _budget_is_enough_for_one_cycle(stop: Any, lines: Any) -> Iterator[Found]:
    chips = sum(len(line.chips) for line in lines)
    if stop.chips is not None and stop.chips < chips:
        yield Found(
            ("stop", "chips"), f"{stop.chips} is less than the {chips} chips that one cycle exposes"
        )


def _misfit_can_be_asked_about(stop: Any, timeline: Any) -> Iterator[Found]:
    if stop.ask_on_misfit and timeline.cycles == 1:
        yield Found(("stop", "ask_on_misfit"), "with one cycle no doses are proposed from a fit")


def _cost_can_be_set_against_what_is_learned(stop: Any, costs: Any) -> Iterator[Found]:
    if stop.cost and costs.nat is None:
        yield Found(
            ("stop", "cost"),
            "what a nat is worth is not stated",
            "add for example costs: {unit: EUR, chip_hour: 0.5, nat: 300}",
        )


GOAL_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("stop", "costs"), _cost_can_be_set_against_what_is_learned),
    (("goals", "tissue"), _goals_are_of_the_model),
    (("goals", "assays"), _goals_are_measured),
    (("goals",), _goal_names_are_unique),
    (("goals", "timeline"), _goal_exposure_is_given),
    (("goals", "tissue"), _goal_targets_are_of_their_readout),
    (("goals", "donors", "lines"), _goals_are_of_known_donors),
    (("goals", "drug", "further_drugs"), _goals_are_of_a_drug),
    (("stop", "goals"), _questions_are_about_goals),
    (("stop", "lines"), _budget_is_enough_for_one_cycle),
    (("stop", "timeline"), _misfit_can_be_asked_about),
)
"""Parts that a rule needs -> the rule."""
