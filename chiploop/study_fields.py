"""How one field of a file is read: a quantity with its unit, an id, a word of a short list.

Belongs here: annotations for pydantic fields, each with its JSON schema. Not here: which part has
which field (study_parts).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from chiploop.units import KINDS, UnitProblem, parse_quantity

FROM_FILE = {"from_file": True}
"""Validation context of a file: quantities must be text with a unit."""


class Part(BaseModel):
    """A frozen part of a study; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def problem(message: str, hint: str = "") -> PydanticCustomError:
    """Return an error for pydantic; the text goes in as a value since braces are places to fill."""
    return PydanticCustomError("chiploop", "{message}", {"message": message, "hint": hint})


@dataclass(frozen=True)
class Quantity:
    """Annotation of a float field that a file writes as text with a unit."""

    kind: str
    """A key of ``chiploop.units.KINDS``."""
    above: float | None = None
    """Must be larger than this, canonical unit."""
    at_most: float | None = None
    """Must not be larger than this, canonical unit."""
    bare: bool = False
    """True where a file may also write the plain number (fractions from 0 to 1)."""

    def read(self, value: Any, info: ValidationInfo) -> float:
        """Return the canonical number, from text in a file and from a number elsewhere."""
        from_file = bool(info.context and info.context.get("from_file"))
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and (not from_file or self.bare):
            number = float(value)
        elif from_file:
            try:
                number = parse_quantity(value, self.kind)
            except UnitProblem as trouble:
                raise problem(trouble.message, trouble.hint) from None
        else:
            raise problem(f"{value!r} is not a number")
        self._check_range(number, value)
        return number

    def _check_range(self, number: float, written: Any) -> None:
        quantity = KINDS[self.kind].quantity
        if self.above is not None and not number > self.above:
            raise problem(f"{written} is not possible: the {quantity} must be above {self.above:g}")
        if self.at_most is not None and not number <= self.at_most:
            said = f"{self.at_most:g}"
            if self.kind == "fraction":
                said = "1 (that is 100 %)" if self.bare else f"{100 * self.at_most:g} %"
            raise problem(f"{written} is not possible: the {quantity} must be {said} or less")
        if number < 0 and not KINDS[self.kind].signed:
            raise problem(f"{written} is below zero; a {quantity} is zero or more")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(float)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        text = {
            "type": "string",
            "examples": [f"1 {unit}" for unit in KINDS[self.kind].units],
            "pattern": _pattern(self.kind),
        }
        if not self.bare:
            return text
        return {"anyOf": [text, {"type": "number", "minimum": 0, "maximum": 1}]}


def _pattern(kind: str) -> str:
    """Return what an editor lets pass; the loader says more than an editor can."""
    micro = "[u\u00b5\u03bc]"
    units = [
        re.escape(name).replace("u", micro).replace("/", " ?/ ?") for name in KINDS[kind].units
    ]
    sign = "[+-]?" if KINDS[kind].signed else ""
    return rf"^\s*{sign}([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*({'|'.join(units)})\s*$"


FlowRate = Annotated[float, Quantity("flow_rate_ul_h", above=0.0)]
Volume = Annotated[float, Quantity("volume_ul", above=0.0)]
Concentration = Annotated[float, Quantity("concentration_nm")]
PositiveConcentration = Annotated[float, Quantity("concentration_nm", above=0.0)]
Mass = Annotated[float, Quantity("mass_ng", above=0.0)]
MassConcentration = Annotated[float, Quantity("mass_concentration_ng_ml")]
Time = Annotated[float, Quantity("time_h")]
Duration = Annotated[float, Quantity("time_h", above=0.0)]
Percentage = Annotated[float, Quantity("fraction", at_most=1.0)]
PositivePercentage = Annotated[float, Quantity("fraction", above=0.0, at_most=1.0)]
Fraction01 = Annotated[float, Quantity("fraction", at_most=1.0, bare=True)]


def _identifier(value: Any) -> str:
    if not isinstance(value, str):
        shown = "nothing" if value is None else f"{value}"
        raise problem(f"{shown} is not text; a name or id is text", f'write "{shown}" in quotes')
    if not value or len(value) > 64 or not value[0].isascii() or not value[0].isalnum():
        raise problem(f'"{value}" is not a name: it begins with a letter or digit, 64 at most')
    strange = sorted({c for c in value if not (c.isascii() and (c.isalnum() or c in "._-"))})
    if strange:
        shown = " ".join("space" if c == " " else c for c in strange)
        raise problem(f'"{value}" holds {shown}', "use letters, digits, '.', '_' and '-'")
    return value


class Amount(Part):
    """A value whose unit is one of several, in the canonical unit of its kind."""

    value: float
    unit: str
    """Canonical: one of ``AMOUNT_UNITS``, or 1 for a plain number."""

    def __str__(self) -> str:
        return f"{self.value:g}" if self.unit == "1" else f"{self.value:g} {self.unit}"


AMOUNT_UNITS = {
    "concentration_nm": "nM",
    "area_resistance_ohm_cm2": "ohm*cm2",
    "mass_concentration_pg_ml": "pg/mL",
}
"""Kind of ``chiploop.units.KINDS`` -> its canonical unit."""


@dataclass(frozen=True)
class AmountOf:
    """Annotation of an ``Amount`` that a file writes as text with a unit of any of these kinds."""

    kinds: tuple[str, ...]
    """Keys of ``AMOUNT_UNITS``."""
    bare: bool = False
    """True where a plain number is meant as well, of unit 1."""

    def read(self, value: Any, info: ValidationInfo) -> Any:
        """Return the amount, from text in a file; elsewhere what is given."""
        if not (info.context and info.context.get("from_file")):
            return value
        if self.bare and isinstance(value, (int, float)) and not isinstance(value, bool):
            return Amount(value=float(value), unit="1")
        troubles = []
        for kind in self.kinds:
            try:
                return Amount(value=parse_quantity(value, kind), unit=AMOUNT_UNITS[kind])
            except UnitProblem as trouble:
                troubles.append(trouble)
        first = troubles[0]
        if len({trouble.message for trouble in troubles}) == 1:
            raise problem(first.message, first.hint)
        allowed = [unit for kind in self.kinds for unit in KINDS[kind].units]
        raise problem(
            f"{value} is no number with a unit that can stand here; allowed: {', '.join(allowed)}"
        )

    def json_schema(self) -> dict[str, Any]:
        """Return what an editor lets pass."""
        texts: list[dict[str, Any]] = [
            {
                "type": "string",
                "examples": [f"1 {unit}" for unit in KINDS[kind].units],
                "pattern": _pattern(kind),
            }
            for kind in self.kinds
        ]
        return {"anyOf": [*texts, *([{"type": "number"}] if self.bare else [])]}


_LEVEL = AmountOf(("area_resistance_ohm_cm2", "mass_concentration_pg_ml"))
_GOAL_VALUE = AmountOf(("concentration_nm",), bare=True)
ReadoutLevel = Annotated[Amount, BeforeValidator(_LEVEL.read), WithJsonSchema(_LEVEL.json_schema())]
"""A value that a readout can have."""
GoalValue = Annotated[
    Amount, BeforeValidator(_GOAL_VALUE.read), WithJsonSchema(_GOAL_VALUE.json_schema())
]
"""A value that a goal can have: a concentration, or a plain ratio."""

Identifier = Annotated[
    str,
    BeforeValidator(_identifier),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}),
]
Login = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s,/]+$", strict=True)]
"""Name with which a person is logged in, as the operating system tells it."""
Count = Annotated[int, Field(ge=1, le=1000)]
Number = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class OneOf:
    """Annotation of a text field or key with a few allowed words."""

    words: tuple[str, ...]

    def read(self, value: Any) -> str:
        """Return the word; a problem that names the allowed ones otherwise."""
        if isinstance(value, str) and value in self.words:
            return value
        same = [word for word in self.words if word.lower() == str(value).lower()]
        raise problem(
            f"{value} is not known here; known: {', '.join(self.words)}",
            f'did you mean "{same[0]}"?' if same else "",
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}


def is_false(value: Any) -> bool:
    """Return whether a switch is off: resolved studies leave it out, as they were before there was one."""
    return value is False


def is_none(value: Any) -> bool:
    """Return whether a key was left out, where an empty list says something."""
    return value is None


def is_nothing(value: Any) -> bool:
    """Return whether a key says nothing: resolved studies leave it out, as they were before there was one."""
    return value is None or value == () or value == {}


def as_tuple(value: Any) -> Any:
    """Return a YAML list as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value
