"""The course of a drug in the plasma of virtual persons, on the engine that simulates chips.

Belongs here: typical values and spread between persons -> concentrations. Not here: facts (drug_facts), what a
concentration does (drug_effect).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from chiploop.models.batch import CompiledModel, Schedule
from chiploop.models.compiler import compile_model
from chiploop.models.model_files import text_of
from chiploop.twin.drug_facts import DrugFacts, Regimen

TEXT = Path(__file__).parent / "pharmacokinetics.ant"
GIVEN_WITHIN = {"d": 0.01, "h": 0.02}
"""Unit of time -> how long a dose takes to reach the depot."""
OBSERVED_UNTIL = {"d": 112.0, "h": 240.0}
"""16 weeks of an antibody; ten days of a tablet, of which the last one is looked at."""
WEIGHT_LN_SD = 0.2
"""Of body weight between persons. ASSUMED."""
RTOL = 1e-6


@dataclass(frozen=True)
class Exposure:
    """Plasma concentrations of persons."""

    time: np.ndarray
    """(t,) in the drug's unit."""
    plasma_mg_l: np.ndarray
    """(persons, t) total."""


@lru_cache(maxsize=1)
def kinetic_model() -> CompiledModel:
    """Return the compiled model of kinetics."""
    return compile_model(text_of(TEXT), "pharmacokinetics", ("to_depot", "to_central"), ("C",), ())


def persons(
    drug: DrugFacts, regimen: Regimen, n: int, rng: np.random.Generator | None, as_patients: bool
) -> dict[str, np.ndarray]:
    """Return the kinetic constants of n persons; without ``rng`` all are the typical one."""
    facts = drug.kinetics
    values = {**facts.get("structure", {}), **facts.get("clearance", {})}
    if as_patients:
        for name, factor in facts.get("in_patients", {}).items():
            values[name] = values[name] * factor
        if "dose_exponent" in facts:
            absorbed = values["F"] * regimen.mg / facts["dose_exponent"]["absorbed_mg"]
            values["CL"] *= absorbed ** facts["dose_exponent"]["CL"]
    found = {name: np.full(n, float(value)) for name, value in values.items()}
    if rng is not None:
        spread = facts["spread"]
        (a, sd_a), (b, sd_b) = [(k, v) for k, v in spread.items() if k != "correlation"]
        r = spread["correlation"]
        first, second = rng.standard_normal((2, n))
        found[a] = found[a] * np.exp(sd_a * first)
        found[b] = found[b] * np.exp(sd_b * (r * first + np.sqrt(1 - r * r) * second))
        heavier = np.exp(WEIGHT_LN_SD * rng.standard_normal(n))
        for name, power in facts["weight_exponents"].items():
            found[name] = found[name] * heavier**power
    if "CL" in found:
        clearance, volume = found.pop("CL"), found["V"]
        flow, peripheral = found.pop("Q"), found.pop("Vp")
        found |= {"ke": clearance / volume, "kcp": flow / volume, "kpc": flow / peripheral}
    return found


def doses(drug: DrugFacts, regimen: Regimen, until: float) -> Schedule:
    """Return what is given from time 0 on."""
    given_within = GIVEN_WITHIN[drug.time]
    limit = drug.kinetics.get("first_order_mg", np.inf)
    rate = drug.kinetics.get("zero_order_mg_h", 1.0)
    edges, inputs = [0.0], []
    for i in range(int(np.ceil(until / regimen.every))):
        mg = (regimen.first_mg, regimen.second_mg)[i] if i < 2 else regimen.mg
        start, rest = i * regimen.every, max(0.0, mg - limit)
        inputs.append((min(mg, limit) / given_within, rate if rest else 0.0))
        edges.append(start + given_within)
        if rest / rate > given_within:
            inputs.append((0.0, rate))
            edges.append(start + rest / rate)
        inputs.append((0.0, 0.0))
        edges.append(min(until, start + regimen.every))
    return Schedule(np.array(edges), np.array(inputs))


def exposure(
    drug: DrugFacts,
    regimen: Regimen,
    n: int = 1,
    rng: np.random.Generator | None = None,
    as_patients: bool = True,
    points: int = 97,
) -> Exposure:
    """Return plasma concentrations: of an antibody from week 1 to 16, of a tablet over the tenth day."""
    model, until = kinetic_model(), OBSERVED_UNTIL[drug.time]
    rows = model.parameter_rows(n, persons(drug, regimen, n, rng, as_patients))
    begin = 7.0 if drug.time == "d" else until - regimen.every
    time = np.linspace(begin, until, points)
    found = model.run(rows, [doses(drug, regimen, until)], time, rtol=RTOL)
    concentration = found.observed[:, 0, :, 0]
    if np.isnan(concentration).any():
        raise ValueError(f"{drug.name}: the kinetics of some persons gave no number")
    return Exposure(time, np.maximum(concentration, 0.0))
