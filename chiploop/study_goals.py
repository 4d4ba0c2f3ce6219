"""What a study asks, and when it ends, as frozen values with the keys under which a file writes them.

Belongs here: fields, units, what must stand together within one part. Not here: the other parts (study_parts), how
parts must fit together (study_goal_checks), what a goal is as a number (goals), how a rule judges (stopping).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from chiploop.study_fields import (
    Duration,
    GoalValue,
    Identifier,
    Mass,
    Part,
    PositiveConcentration,
    PositivePercentage,
    ReadoutLevel,
    as_tuple,
    is_false,
    is_nothing,
    problem,
)

Measure = Literal["potency", "therapeutic_index", "target_response"]
GoalKind = Literal["potency", "therapeutic_index", "target_response", "best_drug"]
ASKED = 'a question has "above", "below" or both, or else "dose"'
"""Of every question but that for the best drug."""
POPULATION = "population"
"""Whose a goal is where it is no donor's."""


class Goal(Part):
    """What the study wants to know: one number of a tissue, about one readout."""

    name: Identifier
    kind: GoalKind = "potency"
    """``potency``: the concentration that takes ``effect`` of the stimulus' effect away.
    ``therapeutic_index``: the concentration that brings viability to its limit, over that potency.
    ``target_response``: the lowest concentration at which the readout reaches ``target``.
    ``best_drug``: how many times better the best drug is than the next one, ``by`` one of these.
    """
    by: Measure | None = Field(default=None, exclude_if=is_nothing)
    """What drugs are compared by."""
    drug: Identifier | None = Field(default=None, exclude_if=is_nothing)
    """Which drug of a study with several; absent where it has one."""
    drugs: Annotated[
        tuple[Identifier, ...] | None, BeforeValidator(as_tuple), Field(min_length=2)
    ] = Field(default=None, exclude_if=is_nothing)
    """Those that are compared; absent: all of the study."""
    readout: Identifier
    effect_fraction: PositivePercentage | None = Field(default=None, alias="effect")
    """0.5 asks for the EC50, 0.9 for the EC90; of a potency and a therapeutic index."""
    target: ReadoutLevel | None = None
    """With its unit, such as ``1000 ohm*cm2``; of a target response."""
    exposure_h: Duration = Field(alias="exposure")
    stimulus: Identifier | None = Field(default=None, exclude_if=is_nothing)
    """In which of the study's ``arms`` it is asked; absent: in the usual stimulus."""
    of: Identifier = POPULATION
    """``population`` (the typical donor, wild type), or a donor of the study."""

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Goal:
        if (self.kind == "best_drug") != (self.by is not None):
            if self.by is not None:
                raise problem(f'"by" has no meaning in a goal of kind {self.kind}')
            raise problem('"by" is missing: what the drugs are compared by', 'write "by: potency"')
        strange = "drug" if self.kind == "best_drug" else "drugs"
        if getattr(self, strange) is not None:
            raise problem(f'"{strange}" has no meaning in a goal of kind {self.kind}')
        is_target = self.measure == "target_response"
        needed, other = ("target", "effect") if is_target else ("effect", "target")
        given = {"target": self.target, "effect": self.effect_fraction}
        if given[needed] is None:
            example = "1000 ohm*cm2" if is_target else "50 %"
            raise problem(
                f'"{needed}" is missing: a goal of kind {self.kind} states it',
                f'write for example "{needed}: {example}"',
            )
        if given[other] is not None:
            raise problem(f'"{other}" has no meaning in a goal of kind {self.kind}')
        return self

    @property
    def measure(self) -> Measure:
        """What is asked of one drug."""
        return self.by if self.kind == "best_drug" and self.by is not None else self.kind  # type: ignore[return-value]

    def of_drug(self, drug: str) -> Goal:
        """Return what a ``best_drug`` asks of one of its drugs."""
        changed = {"kind": self.measure, "by": None, "drugs": None, "drug": drug}
        return self.model_copy(update=changed)

    @property
    def unit(self) -> str:
        """Unit of the answer."""
        return "nM" if self.kind in ("potency", "target_response") else "1"


class Decided(Part):
    """A question that the study answers: where a goal lies, or whether a dose will do."""

    goal: Identifier
    above: GoalValue | None = None
    below: GoalValue | None = None
    """With ``above`` as well: within both."""
    dose_nm: PositiveConcentration | None = Field(default=None, alias="dose")
    """In place of bounds: whether this dose reaches the goal and keeps viability above its limit. Of a
    ``best_drug`` neither is needed: which drug is the best is the question.
    """
    probability: PositivePercentage = 0.9
    """Answered once the answer, yes or no, has this probability."""

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Decided:
        bounds = [bound for bound in (self.above, self.below) if bound is not None]
        if bounds and self.dose_nm is not None:
            raise problem(ASKED)
        if len(bounds) == 2 and not bounds[0].value < bounds[1].value:
            raise problem(f"nothing lies above {bounds[0]} and below {bounds[1]}")
        if not self.probability > 0.5:
            raise problem(
                f"{100 * self.probability:g} % decides nothing: the probability must be above 50 %"
            )
        return self


class Costs(Part):
    """What a batch of doses costs, in any one unit; nothing where a study states nothing."""

    unit: Annotated[str, Field(max_length=20)] = ""
    """Such as ``EUR``; shown, never converted."""
    chip_hour: Annotated[float, Field(ge=0)] = 0.0
    """One chip under perfusion for an hour."""
    drug_nmol: Annotated[float, Field(ge=0)] = 0.0
    """One nmol of drug."""
    nat: Annotated[float, Field(gt=0)] | None = None
    """What a nat about the leading goal is worth; absent: batches are ranked by information per cost."""

    @model_validator(mode="after")
    def _is_whole(self) -> Costs:
        is_named = self.model_fields_set - {"unit"}
        if is_named and not (self.unit.strip() and self.chip_hour > 0.0):
            raise problem(
                "costs state their unit and what an hour of a chip costs, above 0",
                "write for example {unit: EUR, chip_hour: 0.5, drug_nmol: 0.8, nat: 300}",
            )
        return self

    @property
    def is_stated(self) -> bool:
        """Whether the study states any."""
        return self.chip_hour > 0.0


def is_free(costs: Costs) -> bool:
    """Return whether no costs are stated: resolved studies leave the key out, as before there was one."""
    return not costs.is_stated


class Stop(Part):
    """When the study knows enough, or may not go on."""

    fold: Annotated[float, Field(gt=1)] | None = None
    """Stop once upper/lower of the leading goal's 90 % interval is at most this."""
    information_nats: Annotated[float, Field(gt=0)] | None = None
    """Stop once the best batch is expected to teach less than this about the leading goal."""
    information_nats_per_chip: Annotated[float, Field(gt=0)] | None = None
    """The same for each chip that the batch exposes."""
    cost: Annotated[bool, Field(exclude_if=is_false)] = False
    """Stop once the best batch costs more than what it is expected to teach is worth (``costs.nat``)."""
    decided: Annotated[tuple[Decided, ...], BeforeValidator(as_tuple)] = ()
    """Stop once these questions are answered, each for itself."""
    needs: Literal["any", "all"] = "any"
    """Whether one of the rules above is enough, or all that are stated are needed. Those below always
    count by themselves.
    """
    nothing_is_safe: PositivePercentage | None = None
    """Stop once no dose with drug is allowed, or every dose harms with this probability."""
    cycles: Annotated[int, Field(ge=1, le=100)] | None = None
    chips: Annotated[int, Field(ge=1)] | None = None
    """Stop before more chips than this were exposed; a chip counts once in every cycle."""
    drug_ng: Mass | None = Field(default=None, alias="drug")
    """Stop once all chips together have got this much drug."""
    ask_on_misfit: bool = False
    """Where the data contradict the model a person decides about the next doses, whoever else would."""

    @model_validator(mode="after")
    def _names_a_rule(self) -> Stop:
        if self == Stop.model_construct(needs=self.needs):
            raise problem('"stop" names no rule', "write for example {fold: 2}")
        return self
