"""One calibration of a run as a netCDF file with its data, for ArviZ and every program that reads netCDF.

Belongs here: from a study, its evidence and a posterior to the file. Not here: the groups (arviz_groups,
posterior_file).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chiploop.dosing import ChipSchedule
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.record.arviz_groups import data_groups, left_out_group
from chiploop.record.posterior_file import write_posterior
from chiploop.study import Study

EXPORT_STEP = 9
"""Tells the random numbers of an export from those of a fit."""


def write_calibration(
    path: Path,
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    readouts: Sequence[Readout],
    posterior: Posterior,
    info: CalibrationInfo,
    seed: int,
    cycle: int,
) -> dict[str, int]:
    """Write the file; return how many draws, readings and censored readings it has.

    Raises ValueError where the posterior was found with other chips or parameters, or where other readings
    stand than those that it was found with.
    """
    likelihood = likelihood_of(study, schedules, readouts)
    if len(likelihood.used) != info.n_readouts:
        raise ValueError(
            f"the posterior of cycle {cycle} was found with {info.n_readouts} readings, and "
            f"{len(likelihood.used)} stand now (some were excluded, revised or came later)"
        )
    if info.readings and likelihood.digest != info.readings:
        raise ValueError(
            f"the posterior of cycle {cycle} was found with other readings than those that stand now (some were "
            f"excluded, revised or exchanged); chiploop fit makes it again"
        )
    chains = max(1, len(info.log_evidence))
    if len(posterior.standard) % chains:
        chains = 1
    rng = np.random.default_rng([seed, cycle, EXPORT_STEP])
    prior = Prior.of_study(model_of(study), study)
    found = data_groups(likelihood, prior, posterior, chains, rng)
    out = left_out_group(likelihood, readouts)
    groups = dict(found.groups) if out is None else {**found.groups, "left_out": out}
    write_posterior(path, posterior, info, groups, found.constants)
    counts = {"draws": len(posterior.standard), "readings": len(likelihood.used)}
    return counts | {"censored": likelihood.n_censored}
