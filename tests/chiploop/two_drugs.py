"""A campaign of two drugs on virtual chips, without pumps, plates or a sampler.

Belongs here: the study, posteriors made by hand. Not here: tests.
"""

from __future__ import annotations

import numpy as np

from chiploop.campaign import learned
from chiploop.campaign_values import Campaign
from chiploop.dosing import remaining_ul
from chiploop.inference.posterior import Posterior
from chiploop.inference.prior import Prior
from chiploop.models.study_model import model_of
from chiploop.protocols_path import protocols_folder
from chiploop.record.actions import JournalTotals
from chiploop.study import Study, load_study
from tests.chiploop.campaigns import PASSED, pilot, readings

TWO = load_study(protocols_folder() / "studies" / "ad_jak_two_drugs.yaml")
UPA, ABRO = TWO.drugs
FULL = remaining_ul(TWO, {})
PILOT_NM = dict(zip(TWO.line_ids, TWO.first_doses_nm, strict=True))
AFTER_PILOT = JournalTotals(
    last_dose_end_h=dict.fromkeys(TWO.line_ids, 72.0),
    highest_dose_nm=1920.0,
    highest_dose_of_nm=PILOT_NM,
)


def posterior(n: int = 120, width: float = 0.3, seed: int = 0, **fixed: float) -> Posterior:
    """Return particles around the prior's middle; ``fixed``, such as ``IC50_upadacitinib``, have one value."""
    prior = Prior.of_study(model_of(TWO), TWO)
    z = width * np.random.default_rng(seed).standard_normal((n, len(prior.specs)))
    particles = prior.parameters(z)
    for name, value in fixed.items():
        parameter, drug = name.split("_", 1)
        particles[:, prior.names.index(f"{parameter}[{drug}]")] = value
    units = tuple(spec.unit for spec in prior.specs)
    return Posterior(prior.names, units, particles, z, particles[0], drugs=prior.drugs)


def fitted(study: Study = TWO, **fixed: float) -> Campaign:
    """Return the campaign after the first cycle's readouts, with a posterior made by hand."""
    return learned(pilot_of_two(study), readings(study), posterior(**fixed), PASSED)


def pilot_of_two(study: Study = TWO) -> Campaign:
    """Return the campaign after the first doses."""
    return pilot(study)
