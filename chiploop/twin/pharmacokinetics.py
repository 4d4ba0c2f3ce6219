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
AFTER_A_DOSE = {"d": (1.0, 4.0, 12.0), "h": (0.1, 0.3, 0.8, 2.0, 5.0, 11.0)}
"""Unit of time -> where the mean over time begins a new piece after each dose: a tablet's peak is minutes wide."""
NODES = {"d": 3, "h": 5}
"""Gauss-Legendre points of each piece."""
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
    share: np.ndarray
    """(t,) of the time that each point stands for; sums to one: a mean over time is ``values @ share``."""


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


def pieces(drug: DrugFacts, regimen: Regimen, given: Schedule, begin: float) -> np.ndarray:
    """Return the edges of the pieces of time between which a concentration is smooth, from ``begin`` on."""
    until = float(given.edges[-1])
    doses_at = regimen.every * np.arange(np.ceil(until / regimen.every))
    after = (doses_at[:, None] + np.array(AFTER_A_DOSE[drug.time])).ravel()
    # of an antibody's doses, minutes against weeks, the switches change nothing that a mean over time would show
    switches = given.edges if drug.time == "h" else doses_at
    edges = np.concatenate([[begin, until], switches, after])
    return np.unique(np.round(edges[(edges >= begin) & (edges <= until)], 9))


def gauss_points(edges: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (t,) of a Gauss-Legendre rule on each piece, and the share of the time each stands for."""
    place, weight = np.polynomial.legendre.leggauss(nodes)
    half = 0.5 * np.diff(edges)
    time = (edges[:-1] + half)[:, None] + half[:, None] * place
    return time.ravel(), (half[:, None] * weight).ravel() / (edges[-1] - edges[0])


def even_points(begin: float, until: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spaced points (t,) with the shares of the trapezoidal rule."""
    share = np.full(points, 1.0 / (points - 1))
    share[[0, -1]] *= 0.5
    return np.linspace(begin, until, points), share


def exposure(
    drug: DrugFacts,
    regimen: Regimen,
    n: int = 1,
    rng: np.random.Generator | None = None,
    as_patients: bool = True,
    points: int | None = None,
) -> Exposure:
    """Return plasma concentrations: of an antibody from week 1 to 16, of a tablet over the tenth day.

    ``points``: so many, evenly spaced, in place of those of the rule for means over time.
    """
    model, until = kinetic_model(), OBSERVED_UNTIL[drug.time]
    rows = model.parameter_rows(n, persons(drug, regimen, n, rng, as_patients))
    begin = 7.0 if drug.time == "d" else until - regimen.every
    given = doses(drug, regimen, until)
    if points is None:
        time, share = gauss_points(pieces(drug, regimen, given, begin), NODES[drug.time])
    else:
        time, share = even_points(begin, until, points)
    found = model.run(rows, [given], time, rtol=RTOL)
    concentration = found.observed[:, 0, :, 0]
    if np.isnan(concentration).any():
        raise ValueError(f"{drug.name}: the kinetics of some persons gave no number")
    return Exposure(time, np.maximum(concentration, 0.0), share)
