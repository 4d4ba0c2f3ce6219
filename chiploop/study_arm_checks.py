"""How the stimuli of a study fit together: arms, stocks that stand in them, schedules and lines that name them.

Belongs here: one short rule per fact. Not here: the keys (study, study_parts, study_schedules), other parts
(study_checks).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chiploop.study_findings import Found, Rule, unknown
from chiploop.study_schedules import STIMULUS


def _stimulus_is_there(stimulus_ng_ml: Any) -> Iterator[Found]:
    if not any(value > 0 for value in stimulus_ng_ml.values()):
        yield Found(
            ("stimulus",), "no cytokine is above zero; without one there is nothing to inhibit"
        )


def _stimuli_are_of_the_model(
    stimulus_ng_ml: Any, further_arms_ng_ml: Any, tissue: Any
) -> Iterator[Found]:
    what = f"stimulus of {tissue.model}"
    for name in stimulus_ng_ml:
        yield from unknown(name, tissue.stimuli, ("stimulus", name), what)
    for arm, mix in further_arms_ng_ml.items():
        for name in mix:
            yield from unknown(name, tissue.stimuli, ("arms", arm, name), what)


def _arms_have_free_names(further_arms_ng_ml: Any, stocks: Any) -> Iterator[Found]:
    for name in further_arms_ng_ml:
        if name in ("medium", STIMULUS):
            yield Found(("arms", name), f'"{name}" is the name of a pump that every line has')
        elif name in stocks:
            yield Found(("arms", name), f'"{name}" is a stock too; each pump has a name of its own')


def _arms_differ(further_arms_ng_ml: Any, stimulus_ng_ml: Any) -> Iterator[Found]:
    seen = {_mix(stimulus_ng_ml): STIMULUS}
    for name, mix in further_arms_ng_ml.items():
        if _mix(mix) in seen:
            yield Found(
                ("arms", name), f'it is the same as "{seen[_mix(mix)]}"; one of them is enough'
            )
        seen.setdefault(_mix(mix), name)


def _mix(stimulus_ng_ml: Mapping[str, float]) -> frozenset[tuple[str, float]]:
    return frozenset((name, value) for name, value in stimulus_ng_ml.items() if value > 0.0)


def _arms_are_known(
    further_arms_ng_ml: Any, stocks: Any, schedules: Any, lines: Any
) -> Iterator[Found]:
    known = list(further_arms_ng_ml)
    for name, stock in stocks.items():
        if stock.stimulus is not None:
            yield from unknown(stock.stimulus, known, ("stocks", name, "stimulus"), "name in arms")
    for name, schedule in schedules.items():
        if schedule.stimulus is not None:
            place = ("schedules", name, "stimulus")
            yield from unknown(schedule.stimulus, known, place, "name in arms")
    for position, line in enumerate(lines):
        for arm in line.arms or ():
            yield from unknown(arm, known, ("lines", position, "arms"), "name in arms")


def _goals_ask_about_known_arms(further_arms_ng_ml: Any, goals: Any) -> Iterator[Found]:
    for position, goal in enumerate(goals):
        if goal.stimulus is not None:
            place = ("goals", position, "stimulus")
            yield from unknown(goal.stimulus, list(further_arms_ng_ml), place, "name in arms")


def _arms_are_given(further_arms_ng_ml: Any, schedules: Any, lines: Any) -> Iterator[Found]:
    for name in further_arms_ng_ml:
        if not any(schedule.stimulus == name for schedule in schedules.values()):
            yield Found(
                ("arms", name),
                "no schedule gives it",
                f"write under schedules for example: in_{name}: {{stimulus: {name}}}",
            )
        if not any(line.arms is None or name in line.arms for line in lines):
            yield Found(("arms", name), "no line has it; name it under arms of a line")


def _arms_without_stimulus_are_stimulated(further_arms_ng_ml: Any, goals: Any) -> Iterator[Found]:
    for position, goal in enumerate(goals):
        if goal.stimulus in further_arms_ng_ml and not _mix(further_arms_ng_ml[goal.stimulus]):
            if goal.measure != "target_response":
                yield Found(
                    ("goals", position, "stimulus"),
                    f"{goal.stimulus} has no cytokine above zero; there is no effect to take away",
                )


def _every_pump_has_a_syringe(
    perfusion: Any, stocks: Any, further_arms_ng_ml: Any
) -> Iterator[Found]:
    needed = ("medium", STIMULUS, *further_arms_ng_ml, *stocks)
    for role in needed:
        if role not in perfusion.syringes:
            yield Found(("perfusion", "syringes"), f'the syringe of "{role}" is missing')
    for role in perfusion.syringes:
        if role not in needed:
            yield Found(
                ("perfusion", "syringes", role),
                f'"{role}" is neither medium, {STIMULUS}, an arm nor a stock'
                if further_arms_ng_ml
                else f'"{role}" is neither medium, {STIMULUS} nor a stock',
                f"known: {', '.join(needed)}",
            )


ARM_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("stimulus_ng_ml",), _stimulus_is_there),
    (("stimulus_ng_ml", "further_arms_ng_ml", "tissue"), _stimuli_are_of_the_model),
    (("further_arms_ng_ml", "stocks"), _arms_have_free_names),
    (("further_arms_ng_ml", "stimulus_ng_ml"), _arms_differ),
    (("further_arms_ng_ml", "stocks", "schedules", "lines"), _arms_are_known),
    (("further_arms_ng_ml", "goals"), _goals_ask_about_known_arms),
    (("further_arms_ng_ml", "schedules", "lines"), _arms_are_given),
    (("further_arms_ng_ml", "goals"), _arms_without_stimulus_are_stimulated),
    (("perfusion", "stocks", "further_arms_ng_ml"), _every_pump_has_a_syringe),
)
"""Parts that a rule needs -> the rule."""
