"""Which estimated parameters each drug of a study has for itself, and where they stand among all entries.

Belongs here: telling a drug's parameters from the tissue's, names and places. Not here: priors (prior), what a
chip makes of them (unknowns).

A parameter is the drug's where next to nothing is seen of it without drug: potency, slope, toxicity. Such a one is
estimated for each drug by itself, whatever the model's file calls it: a toxicity that all drugs shared would
let what one drug did not harm speak for another. The model's order is the first drug's; the others follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from chiploop.models.inlet import ChipInlet, chip_constants
from chiploop.models.tissue_model import TissueModel
from chiploop.study import Study

MOVED = 0.1
"""Relative step of a parameter that is looked at."""
UNSEEN = 1e-3
"""Without drug at most this share of what is seen with drug: a power of no drug at all is rounded to 1e-7."""
DRUG_NM = (1.0, 1e2, 1e4, 1e6)
"""Concentrations at which a parameter is looked at."""
UNTIL_H = np.array([12.0, 24.0, 36.0, 72.0])
"""When is looked: stimulus comes after the second."""


@dataclass(frozen=True, eq=False)
class DrugEntries:
    """The entries of every drug; without drugs there is one, and each parameter is its own entry."""

    drugs: tuple[str, ...] = ()
    """Empty where the study has one."""
    names: tuple[str, ...] = ()
    """(entries,) such as ``EC4`` and ``IC50[upadacitinib]``."""
    parameter: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    """(entries,) the model's parameter that each is."""
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=int))
    """(drugs, parameters) the entry that is a drug's value of each of the model's parameters."""

    @classmethod
    def of(cls, parameters: Sequence[str], own: Sequence[str], drugs: Sequence[str]) -> DrugEntries:
        """Return the entries of these parameters, of which each drug has its ``own``."""
        places = np.tile(np.arange(len(parameters)), (len(drugs), 1))
        names = [f"{name}[{drugs[0]}]" if name in own else name for name in parameters]
        parameter = list(range(len(parameters)))
        for d, drug in enumerate(drugs[1:], start=1):
            for j, name in enumerate(parameters):
                if name in own:
                    places[d, j] = len(names)
                    names.append(f"{name}[{drug}]")
                    parameter.append(j)
        return cls(tuple(drugs), tuple(names), np.array(parameter, dtype=int), places)

    @classmethod
    def named(cls, names: Sequence[str], drugs: Sequence[str]) -> DrugEntries:
        """Return the entries that have these names; ``ONE_DRUG`` without drugs."""
        if not drugs:
            return ONE_DRUG
        first = f"[{drugs[0]}]"
        others = tuple(f"[{drug}]" for drug in drugs[1:])
        of_first = [name for name in names if not name.endswith(others)]
        parameters = [name.removesuffix(first) for name in of_first]
        own = [name.removesuffix(first) for name in of_first if name.endswith(first)]
        return cls.of(parameters, own, drugs)

    def of_drug(self, values: np.ndarray, drug: str | None) -> np.ndarray:
        """Return a drug's values (..., parameters) of the model's parameters from those of all entries.

        ValueError for a drug that is not there, and where none is named of several.
        """
        if not self.drugs:
            return values
        if drug not in self.drugs:
            raise ValueError(f"{drug or 'no drug'} is asked for; there are {', '.join(self.drugs)}")
        return values[..., self.places[self.drugs.index(drug)]]

    def drug_of(self, entry: int) -> str | None:
        """Return whose an entry is; None where it is every drug's."""
        whose = [d for d, own in zip(self.drugs, self.places, strict=True) if entry in own]
        return whose[0] if len(whose) == 1 else None


ONE_DRUG = DrugEntries()


def drug_entries(model: TissueModel, study: Study) -> DrugEntries:
    """Return where the parameters of the study's drugs stand; ``ONE_DRUG`` where it has one.

    Raises ValueError where the model can not be simulated at the middle of its prior.
    """
    if not study.further_drugs:
        return ONE_DRUG
    genotypes = sorted({"wild_type", *(donor.flg for donor in study.donors.values())})
    own = own_parameters(
        model,
        study.perfusion.flow_rate_ul_h,
        model.facts.stimuli_nm(study.stimulus_ng_ml),
        tuple(
            tuple(chip_constants(study, model.facts, flg, study.drug).items()) for flg in genotypes
        ),
    )
    return DrugEntries.of(model.estimated_names, own, tuple(study.drugs))


@lru_cache(maxsize=32)
def own_parameters(
    model: TissueModel,
    flow_rate_ul_h: float,
    stimuli_nm: tuple[float, ...],
    constants: tuple[tuple[tuple[str, float], ...], ...],
) -> tuple[str, ...]:
    """Return the estimated parameters of which next to nothing shows without drug, with and without stimulus.

    ``constants`` are those of each genotype. The parameter that the model calls the potency is always one.
    """
    nothing = (0.0,) * len(stimuli_nm)
    plain = (flow_rate_ul_h, 0.0, *nothing)
    without = [plain, (flow_rate_ul_h, 0.0, *stimuli_nm)]
    with_drug = [(flow_rate_ul_h, nm, *stimuli_nm) for nm in DRUG_NM]
    edges = np.array([0.0, UNTIL_H[1], UNTIL_H[-1]])
    inlets = [
        ChipInlet(f"{g} {k}", edges, np.array([plain, second]), dict(own))
        for k, second in enumerate((*without, *with_drug))
        for g, own in enumerate(constants)
    ]
    center = np.array([spec.center for spec in model.estimated])
    sets = np.tile(center, (len(center) + 1, 1))
    for j, spec in enumerate(model.estimated):
        step = MOVED * (abs(spec.center) or spec.spread)
        sets[j + 1, j] += step if not spec.center + step > spec.high else -step
    found = model.simulate(sets, inlets, UNTIL_H, UNTIL_H - 12.0)
    if found.failed:
        raise ValueError(
            f"model {model.name} can not be simulated at the middle of its prior, so that it can not be told "
            "which of its parameters are a drug's"
        )
    seen = np.concatenate([found.readouts, found.viability[..., None]], axis=3)
    size = np.maximum(np.nanmax(np.abs(seen), axis=(0, 1, 2)), 1e-300)
    moved = np.nanmax(np.abs(seen[1:] - seen[0]) / size, axis=(2, 3))
    before = len(without) * len(constants)
    alone, given = moved[:, :before].max(axis=1), moved[:, before:].max(axis=1)
    return tuple(
        spec.name
        for spec, by, with_it in zip(model.estimated, alone, given, strict=True)
        if by <= UNSEEN * with_it or spec.name == model.facts.potency
    )
