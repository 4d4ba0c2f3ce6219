"""How the drugs of a study must fit its stocks, lines and limits.

Belongs here: one short rule per fact. Not here: what a drug's file holds (study_parts), the other parts
(study_checks), goals about a drug (study_goal_checks).

A line has one drug for the whole study: what a chip that met two drugs would show needs a model of both, and there
is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chiploop.study_findings import Found, Rule, unknown
from chiploop.study_yaml import Place


def _drugs_are_of_the_model(drug: Any, further_drugs: Any, tissue: Any) -> Iterator[Found]:
    for position, one in enumerate((drug, *further_drugs)):
        for name in tissue.drug:
            if name not in ("free_fraction", *one.constants):
                yield Found(
                    ("drugs", position) if further_drugs else ("drug",),
                    f"{tissue.model} asks for {name}; {one.name}.yaml does not state it",
                    f'write it there: "constants: {{{name}: ...}}"',
                )


def _their_drug(
    what: str, own: Any, drug: Any, further_drugs: Any, place: Place
) -> Iterator[Found]:
    """Yield what is wrong with the drug that a stock or line names."""
    known = [one.name for one in (drug, *further_drugs)]
    if not further_drugs and own is not None:
        message = f"the study has one drug, {drug.name}; {what} names none"
        yield Found((*place, "drug"), message, "leave it out, or name several under drugs")
    elif further_drugs and own is None:
        message = f'{what} does not say which drug it has: "drug" is missing'
        yield Found(place, message, f"one of: {', '.join(known)}")
    elif further_drugs:
        yield from unknown(own, known, (*place, "drug"), "drug of this study")


def _stocks_are_of_a_drug(drug: Any, further_drugs: Any, stocks: Any) -> Iterator[Found]:
    for name, stock in stocks.items():
        place: Place = ("stocks", name)
        yield from _their_drug(f"stock {name}", stock.drug, drug, further_drugs, place)
    for position, one in enumerate(further_drugs and (drug, *further_drugs)):
        if all(stock.drug != one.name for stock in stocks.values()):
            yield Found(("drugs", position), f"there is no stock of {one.name}")


def _lines_are_of_a_drug(drug: Any, further_drugs: Any, lines: Any) -> Iterator[Found]:
    for position, line in enumerate(lines):
        place: Place = ("lines", position)
        yield from _their_drug(f"line {line.id}", line.drug, drug, further_drugs, place)
    for position, one in enumerate(further_drugs and (drug, *further_drugs)):
        if all(line.drug != one.name for line in lines):
            yield Found(
                ("drugs", position),
                f"no line gets {one.name}",
                "a line has one drug for the whole study: no chip meets two",
            )


def _limits_are_of_a_drug(drug: Any, further_drugs: Any, limits: Any) -> Iterator[Found]:
    known = [one.name for one in (drug, *further_drugs)]
    for name, nm in limits.concentration_of_nm.items():
        place: Place = ("limits", "concentration_of", name)
        if not further_drugs:
            yield Found(place, "the study has one drug; limits.concentration is its limit")
        elif name not in known:
            yield from unknown(name, known, place, "drug of this study")
        elif nm > limits.concentration_nm:
            yield Found(
                place,
                f"{nm:g} nM is above limits.concentration, {limits.concentration_nm:g} nM, which holds "
                "for every drug",
            )


def limit_nm(limits: Any, drug: Any) -> float:
    """Return the concentration limit of a drug, by its name; None where the study has one."""
    return float(limits.concentration_of_nm.get(drug, limits.concentration_nm))


DRUG_RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("drug", "further_drugs", "tissue"), _drugs_are_of_the_model),
    (("drug", "further_drugs", "stocks"), _stocks_are_of_a_drug),
    (("drug", "further_drugs", "lines"), _lines_are_of_a_drug),
    (("drug", "further_drugs", "limits"), _limits_are_of_a_drug),
)
"""Parts that a rule needs -> the rule."""
