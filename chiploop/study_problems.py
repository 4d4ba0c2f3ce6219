"""What pydantic says of a file, in words for the person who wrote it.

Belongs here: wording and places of shape problems. Not here: rules between parts (study_checks).
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from chiploop.errors import Problem
from chiploop.study_fields import FROM_FILE
from chiploop.study_yaml import Place, YamlText, field_name

WORDING: dict[str, str] = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number without a unit",
    "bool_type": "must be true or false",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
    "tuple_type": "must be a list, e.g. [a, b]",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "too_short": "needs at least {min_length}, has {actual_length}",
    "too_long": "takes at most {max_length}, has {actual_length}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must have {discriminator} {expected_tags}, not '{tag}'",
    "union_tag_not_found": "needs the key {discriminator}",
}
"""Error type of pydantic -> what to say; the places in braces come from the error."""


NOT_KEYS = ("[key]", "lognormal", "truncated_normal")
"""Marks that pydantic puts into a place: a key itself is meant, or which kind of part."""


def problems_of(error: ValidationError, model: type[BaseModel], text: YamlText) -> list[Problem]:
    """Return one problem for each error, with its line in the file."""
    problems: list[Problem] = []
    for found in error.errors(include_url=False):
        place: Place = tuple(key for key in found["loc"] if key not in NOT_KEYS)
        problem = _problem(found, place, model, text)
        if problem not in problems:
            problems.append(problem)
    return problems


def _problem(found: Any, place: Place, model: type[BaseModel], text: YamlText) -> Problem:
    context = found.get("ctx", {})
    kind = found["type"]
    hint = str(context.get("hint", ""))
    if kind == "missing" and place and isinstance(place[-1], int):
        message = "a list entry is missing"
    elif kind == "missing":
        message = f'"{place[-1]}" is missing'
    elif kind == "extra_forbidden":
        message = f'"{place[-1]}" is not a key here'
        hint = _nearest(str(place[-1]), _keys_at(model, place[:-1]))
    elif kind in WORDING:
        shown = "nothing" if found["input"] is None else _shown(found["input"])
        message = f"{shown} stands here; it {WORDING[kind].format_map(context)}"
    else:
        message = str(found["msg"])
    return Problem(text.line(place), field_name(place), message, hint)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _nearest(written: str, known: list[str]) -> str:
    close = difflib.get_close_matches(written, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(sorted(known))}" if known else ""


def _keys_at(model: type[BaseModel], place: Place) -> list[str]:
    """Return the keys that a file may write at a place."""
    annotation: Any = model
    for key in place:
        fields = _model_in(annotation)
        if fields is not None:
            by_key = {field.alias or name: field for name, field in fields.model_fields.items()}
            if key not in by_key:
                return []
            annotation = by_key[str(key)].annotation
        # A dict or list of parts: the parts' own model is inside, whatever the key.
    inside = _model_in(annotation)
    if inside is None:
        return []
    return [field.alias or name for name, field in inside.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def valid_parts(
    error: ValidationError, model: type[BaseModel], values: dict[str, Any]
) -> dict[str, Any]:
    """Return the top-level parts that are right by themselves, for the rules between parts."""
    wrong = {found["loc"][0] for found in error.errors(include_url=False) if found["loc"]}
    parts: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in wrong:
            continue
        if key in values:
            annotation: Any = field.annotation
            if field.metadata:
                annotation = Annotated[annotation, *field.metadata]
            parts[name] = TypeAdapter(annotation).validate_python(
                values[key], context=FROM_FILE, by_alias=True, by_name=False
            )
        elif not field.is_required():
            parts[name] = field.get_default(call_default_factory=True)
    return parts
