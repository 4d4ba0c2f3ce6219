"""What a model's file says of itself beside its equations, read without compiling anything.

Belongs here: finding and reading the ``.yaml`` beside a model text. Not here: its parts (facts_parts), its rules
(facts_rules), equations (compiler), priors as distributions (inference).

A model is two files: a text (Antimony ``.ant`` or SBML ``.xml``) and a ``.yaml`` of the same name beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chiploop.errors import FileNotValid, Problem
from chiploop.models.facts_parts import (
    AT_THE_END,
    COVERAGE,
    MODELS,
    P_APP,
    RELEASE,
    STUDY_NAMES,
    SUFFIXES,
    TEER,
    DonorSpread,
    Lognormal,
    ModelFacts,
    ModelText,
    PriorSpec,
    ReadoutSpec,
    TruncatedNormal,
    facts_path,
)
from chiploop.models.facts_rules import broken_rules, unmeasured, words_of
from chiploop.study_fields import FROM_FILE
from chiploop.study_problems import problems_of
from chiploop.study_yaml import field_name, read_yaml

__all__ = [
    "AT_THE_END",
    "COVERAGE",
    "MODELS",
    "P_APP",
    "RELEASE",
    "STUDY_NAMES",
    "SUFFIXES",
    "TEER",
    "DonorSpread",
    "Lognormal",
    "ModelFacts",
    "PriorSpec",
    "ReadoutSpec",
    "TruncatedNormal",
    "facts_path",
    "model_facts",
    "model_path",
    "read_model_facts",
    "truth_of",
    "words_of",
]


def model_path(name: str) -> Path:
    """Return the text of a model by its name (``MODELS``) or path; FileNotValid for another kind of file."""
    path = MODELS.get(name, Path(name))
    if path.suffix not in SUFFIXES:
        raise FileNotValid(
            f"model {name!r} is not one of {', '.join(MODELS)} and not an .ant or .xml file"
        )
    return path


def model_facts(text_path: Path, for_study: bool = False) -> ModelFacts:
    """Return what stands beside a model text; FileNotValid with every problem and its line.

    ``for_study`` asks as well that every readout is one that the instruments of a study give, in their unit and
    scale.
    """
    for needed in (text_path, facts_path(text_path)):
        if not needed.is_file():
            raise FileNotValid(
                f"model {text_path.stem}: there is no file {needed.name} in {text_path.parent}"
            )
    facts, problems = read_model_facts(text_path, for_study)
    if facts is None or problems:
        told = "; ".join(
            (f"line {p.line}, " if p.line else "")
            + (f"{p.field}: " if p.field else "")
            + p.message
            + (f" ({p.hint})" if p.hint else "")
            for p in problems
        )
        raise FileNotValid(f"model {text_path.stem}: {facts_path(text_path)}: {told}")
    return facts


def read_model_facts(
    text_path: Path, for_study: bool = False
) -> tuple[ModelFacts | None, list[Problem]]:
    """Return what stands beside a model text, or every problem of that file with its line.

    The text itself is not parsed; names that it does not even mention are problems. ``for_study`` asks as
    well that every readout is one that the instruments of a study give.
    """
    beside = facts_path(text_path)
    try:
        content = text_path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return None, [Problem(None, "", f"{text_path} can not be read: {error}")]
    yaml = read_yaml(beside)
    if yaml.problems or not yaml.values:
        return None, yaml.problems
    try:
        written = ModelText.model_validate(
            yaml.values, context=FROM_FILE, by_alias=True, by_name=False
        )
    except ValidationError as error:
        return None, problems_of(error, ModelText, yaml)
    parts: dict[str, Any] = {name: getattr(written, name) for name in ModelText.model_fields}
    digest = hashlib.sha256((content + beside.read_text(encoding="utf-8")).encode()).hexdigest()
    facts = ModelFacts(**parts, path=str(text_path.resolve()), sha256=digest)
    broken = list(broken_rules(facts, text_path, words_of(content, text_path.suffix)))
    broken += unmeasured(facts) if for_study else ()
    problems = [Problem(yaml.line(place), field_name(place), message) for place, message in broken]
    return (None if problems else facts), sorted(problems, key=lambda p: p.line or 0)


def truth_of(facts: ModelFacts, measured: Collection[str]) -> tuple[ModelFacts | None, str]:
    """Return the hidden truth of virtual chips, or None and why there is none.

    ``measured`` are the readouts, by the model's names, that the chips must show.
    """
    path = facts.truth_path()
    if path is None:
        return None, f"model {facts.model} names no virtual_truth"
    truth = model_facts(path)
    missing = [*(set(facts.stimuli) - set(truth.stimuli)), *(set(measured) - set(truth.readouts))]
    missing += ["drug_nm"] if truth.inputs.drug_nm is None else []
    if missing:
        return None, f"{truth.model}, the virtual_truth, has no {', '.join(sorted(missing))}"
    return truth, ""
