"""Who the twin was built from and checked on: the facts of populations.yaml, typed.

Belongs here: reading the facts. Not here: whether one patient is among them (applicability).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.study_yaml import read_yaml

FACTS = Path(__file__).parent / "populations.yaml"
DISEASE, KINETICS, TRIAL, GENOTYPE = "disease", "kinetics", "trial", "genotype"
ANCESTRIES = ("african", "asian", "european", "other")
"""Words of a patient's file, as the sources count people."""


@dataclass(frozen=True)
class Source:
    """One population; what its source does not say is None."""

    name: str
    part: str
    drug: str | None
    """None for the disease model."""
    setting: str | None
    """Of a trial."""
    age_years: tuple[float, float] | None
    """An open end is infinite."""
    easi: tuple[float, float] | None
    """Before treatment."""
    severity: str | None
    ancestry_pct: Mapping[str, float] | None
    flg_pct: Mapping[str, float] | None
    n: int | None
    status: str
    """``confirmed``, ``remembered`` or ``measured``."""
    source: str
    differs: Mapping[str, str]
    """Ancestry -> how the source says that it differs from what the twin takes."""


@dataclass(frozen=True)
class MissedRow:
    """A row of a trial that the twin misses by more than two standard errors."""

    trial: str
    arm: str
    setting: str
    endpoint: str


@dataclass(frozen=True)
class SourcePopulations:
    """All of them."""

    sources: tuple[Source, ...]
    phenotypes: Mapping[str, str]
    """Group -> how its disease is known to differ from that of the disease model."""
    missed: tuple[MissedRow, ...]

    @property
    def disease(self) -> Source:
        """The population of the disease model."""
        return next(one for one in self.sources if one.part == DISEASE)

    def of(self, part: str, drug: str) -> list[Source]:
        """Return the sources of one kind for a drug."""
        return [one for one in self.sources if (one.part, one.drug) == (part, drug)]


@lru_cache(maxsize=1)
def source_populations() -> SourcePopulations:
    """Return the facts."""
    text = read_yaml(FACTS)
    if text.problems:
        raise FileNotValid(f"{FACTS}: {text.problems[0].message}")
    values = dict(text.values)
    phenotypes, missed = values.pop("phenotypes"), values.pop("missed")
    return SourcePopulations(
        tuple(_source(name, facts) for name, facts in values.items()),
        {group: " ".join(words.split()) for group, words in phenotypes.items()},
        tuple(MissedRow(**row) for row in missed),
    )


def _source(name: str, facts: Mapping[str, Any]) -> Source:
    return Source(
        name=name,
        part=facts["part"],
        drug=facts.get("drug"),
        setting=facts.get("setting"),
        age_years=_span(facts.get("age_years")),
        easi=_span(facts.get("easi")),
        severity=facts.get("severity"),
        ancestry_pct=facts.get("ancestry_pct"),
        flg_pct=facts.get("flg_pct"),
        n=facts.get("n"),
        status=facts["status"],
        source=" ".join(facts["source"].split()),
        differs=facts.get("differs", {}),
    )


def _span(ends: Any) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = ends
    return float(low), float("inf") if high is None else float(high)
