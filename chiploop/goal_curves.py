"""The reference experiment of a goal: what one tissue would show over concentration.

Belongs here: the experiment, its simulation, where a curve crosses a level. Not here: what a goal asks of it
(goals).

A day of plain medium, then stimulus and drug together for the goal's exposure. Each readout counts as it stands
at the end (a mean over the last hour for a secreted protein), and concentration is that at the inlet. The
population's tissue is wild type; a donor's is of the donor's own genotype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from chiploop.models.facts import ModelFacts
from chiploop.models.inlet import ChipInlet, chip_constants
from chiploop.models.tissue_model import TissueModel
from chiploop.study import Drug, Study
from chiploop.study_schedules import STIMULUS

REST_H = 24.0
"""Plain medium before the stimulus in the reference experiment."""
LAST_H = 1.0
"""Over which a secreted protein is averaged at the end."""
GRID_NM = np.geomspace(0.1, 1e6, 57)
"""Concentrations at which the dose-response is computed: eight a decade."""


@dataclass(frozen=True)
class Tissue:
    """Whose tissue the experiment is done on."""

    parameters: np.ndarray
    """(n, parameters), one set a particle."""
    flg: str = "wild_type"
    """Filaggrin genotype."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Parameter -> factor on it, of a hidden truth whose donors differ so."""


@dataclass(frozen=True)
class ReferenceCurves:
    """What the reference experiment shows at its end."""

    rest: np.ndarray
    """(n, readouts) without stimulus and drug."""
    vehicle: np.ndarray
    """(n, readouts) with stimulus, without drug."""
    treated: np.ndarray
    """(n, concentrations, readouts) at ``GRID_NM``."""
    viability: np.ndarray
    """(n, concentrations) viable fraction at ``GRID_NM``."""


def reference_inlets(
    study: Study,
    facts: ModelFacts,
    exposure_h: float,
    concentrations_nm: np.ndarray,
    flg: str = "wild_type",
    drug: Drug | None = None,
    stimulus: str = STIMULUS,
) -> list[ChipInlet]:
    """Return a model's reference experiment: one chip without stimulus, then one per concentration.

    ``drug`` None is the study's only one; ``stimulus`` is one of its arms.
    """
    constants = chip_constants(study, facts, flg, drug)
    flow = study.perfusion.flow_rate_ul_h
    stimulus_nm = facts.stimuli_nm(study.arms_ng_ml[stimulus])
    plain = (flow, *([0.0] * (1 + len(stimulus_nm))))
    edges = np.array([0.0, REST_H, REST_H + exposure_h])

    def inlet(name: str, during: tuple[float, ...]) -> ChipInlet:
        return ChipInlet(name, edges, np.array([plain, during]), constants)

    stimulated = [inlet(f"{c:.6g} nM", (flow, float(c), *stimulus_nm)) for c in concentrations_nm]
    return [inlet("no stimulus", plain), *stimulated]


def reference_curves(
    model: TissueModel,
    study: Study,
    exposure_h: float,
    tissue: Tissue,
    drug: Drug | None = None,
    stimulus: str = STIMULUS,
) -> ReferenceCurves:
    """Return the reference experiment of a tissue, which has the model's parameters for this drug.

    ``drug`` None is the study's only one; ``stimulus`` is one of its arms.
    """
    concentrations_nm = np.concatenate([[0.0], GRID_NM])
    inlets = reference_inlets(
        study, model.facts, exposure_h, concentrations_nm, tissue.flg, drug, stimulus
    )
    end = REST_H + exposure_h
    own = {name: np.full(len(inlets), factor) for name, factor in tissue.factors.items()}
    simulated = model.simulate(
        tissue.parameters,
        inlets,
        np.array([end]),
        np.array([end - LAST_H]),
        chip_factors=own or None,
    )
    values = simulated.readouts[:, :, 0]
    return ReferenceCurves(values[:, 0], values[:, 1], values[:, 2:], simulated.viability[:, 2:, 0])


def first_at_or_below(excess: np.ndarray) -> np.ndarray:
    """Return the first concentration (n,) at which an excess (n, concentrations) has fallen to zero.

    Interpolated linearly over ln concentration between the grid's points; the grid's beginning where it is
    so low already there, infinite where it never falls so low. A value that is no number has not.
    """
    below = excess <= 0.0
    first = np.argmax(below, axis=1)
    ln_c = np.log(GRID_NM)
    result = np.full(len(excess), np.inf)
    for i in np.flatnonzero(below.any(axis=1)):
        k = first[i]
        if k == 0:
            result[i] = GRID_NM[0]
            continue
        high, low = excess[i, k - 1], excess[i, k]
        share = 1.0 if not np.isfinite(low) else high / (high - low)
        result[i] = np.exp(ln_c[k - 1] + share * (ln_c[k] - ln_c[k - 1]))
    return result
