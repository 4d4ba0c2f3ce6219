"""What is known of a drug in patients: kinetics, dose, target, potency where no chip has told it.

Belongs here: reading the facts, names of arms. Not here: courses in blood (pharmacokinetics), what a drug does
(drug_effect).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chiploop.errors import FileNotValid, WrongUse
from chiploop.study_yaml import read_yaml

FACTS = Path(__file__).parent / "drug_facts.yaml"
JAK_INHIBITOR = "jak_inhibitor"
PLACEBO_ARM = "placebo"


@dataclass(frozen=True)
class Regimen:
    """Doses of a drug; times in the drug's own unit."""

    name: str
    first_mg: float
    second_mg: float
    mg: float
    every: float


@dataclass(frozen=True)
class Potency:
    """Prior of a concentration of half effect (IC50 or Kd) and of the slope."""

    median_nm: float
    ln_sd: float
    hill: float
    hill_ln_sd: float


@dataclass(frozen=True)
class DrugFacts:
    """One drug in patients."""

    name: str
    kind: str
    time: str
    """Unit of its kinetics: d or h."""
    molar_mass_kda: float
    free_fraction: float
    """Free share in plasma; 1 for antibodies."""
    blocks: dict[str, float]
    """Signal -> how many times the concentration of half effect it takes."""
    kinetics: dict[str, Any]
    """As in the file."""
    potency: Potency
    regimens: dict[str, Regimen]
    """The first one is meant where none is named."""
    source: str


@lru_cache(maxsize=1)
def drug_facts() -> dict[str, DrugFacts]:
    """Return the facts of every drug that the twin knows."""
    text = read_yaml(FACTS)
    if text.problems:
        raise FileNotValid(f"{FACTS}: {text.problems[0].message}")
    found = {}
    for name, facts in text.values.items():
        regimens = {
            key: Regimen(
                key, r["first_mg"], r.get("second_mg", r["mg"]), r["mg"], float(r["every"])
            )
            for key, r in facts["regimens"].items()
        }
        found[name] = DrugFacts(
            name=name,
            kind=facts["kind"],
            time=facts["time"],
            molar_mass_kda=facts["molar_mass_kda"],
            free_fraction=facts.get("free_fraction", 1.0),
            blocks=facts["blocks"],
            kinetics=facts,
            potency=Potency(**facts["potency"]),
            regimens=regimens,
            source=facts["source"],
        )
    return found


def drug_of_arm(arm: str) -> tuple[DrugFacts, Regimen] | None:
    """Return drug and doses of an arm such as ``upadacitinib`` or ``upadacitinib:30mg``; None for placebo.

    WrongUse for a drug or dose that is not known.
    """
    name, _, regimen = arm.partition(":")
    if name == PLACEBO_ARM:
        if regimen:
            raise WrongUse(f"arm {arm!r}: placebo has no dose")
        return None
    known = drug_facts()
    if name not in known:
        raise WrongUse(f"arm {arm!r} is not known; known: {PLACEBO_ARM}, {', '.join(known)}")
    drug = known[name]
    if regimen and regimen not in drug.regimens:
        raise WrongUse(
            f"arm {arm!r}: {name} has no dose {regimen!r}; known: {', '.join(drug.regimens)}"
        )
    return drug, drug.regimens[regimen or next(iter(drug.regimens))]
