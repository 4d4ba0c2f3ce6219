"""A calibration beside its data in ArviZ's groups: prior, predictive draws, observed values, log likelihood.

Belongs here: what stands in which group. Not here: the posterior's own groups and the file
(record.posterior_file).

All groups about data share the dimension ``reading``, one entry per reading that was learned from, with
coordinates that name it (chip, readout, donor, line, time_h, cycle, unit): a variable per readout would need a
dimension per readout, since chips are read at different times. Values are in the readout's own unit. A
censored reading is NaN in observed_data; constant_data has its bounds, the scale and the sd.

Readings of the run that were not learned from are no data of the calibration; the group left_out lists them with
who left each out and why (nobody, where it failed by itself).

log_likelihood is that of one reading given the parameters and all other readings, since readings of a chip,
donor or plate err together (``conditionals``): its exponential mean is what leave-one-out needs; its sum over
readings is not the joint log likelihood. It is the density on the readout's own scale (that of ln y where
``scale`` is log).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chiploop.inference.conditionals import conditionals
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from chiploop.record.posterior_file import by_chain, safe_names
from chiploop.record.unexplained import left_out_by

if TYPE_CHECKING:
    import xarray as xr

PRIOR_DRAWS = 1000
PREDICTED_DRAWS = 200
"""Of the prior that are simulated."""
VALUE = "y"
"""Name of the readings' variable in every group about them."""


@dataclass(frozen=True)
class DataGroups:
    """What stands beside the posterior's own groups."""

    groups: Mapping[str, xr.Dataset]
    constants: xr.Dataset


def data_groups(
    likelihood: Likelihood,
    prior: Prior,
    posterior: Posterior,
    chains: int,
    rng: np.random.Generator,
) -> DataGroups:
    """Return prior, predictive draws, data and log likelihood of a calibration.

    Raises ValueError where the posterior is of other parameters or chips than the likelihood.
    """
    import xarray as xr

    target = Target(likelihood, prior)
    if (posterior.entries or posterior.names) != target.names:
        raise ValueError("the posterior and the readings are not of the same parameters and chips")
    z, at_effects = posterior.standard, target.unknowns.at_effects
    means = likelihood.means(target.predicted(z), z[:, at_effects])
    density = conditionals(likelihood, means, z[:, at_effects]).log_density
    names = reading_coordinates(likelihood)
    z_prior = rng.standard_normal((PREDICTED_DRAWS, target.dims))
    before = likelihood.means(target.predicted(z_prior), z_prior[:, at_effects])

    def sampled(values: np.ndarray, chains: int, **attrs: str) -> xr.Dataset:
        variable = (("chain", "draw", "reading"), by_chain(values, chains), attrs)
        axes = {"chain": np.arange(chains), "draw": np.arange(len(values) // chains)}
        return xr.Dataset({VALUE: variable}, coords={**axes, **names})

    y = np.array([r.value if r.censoring == "none" else np.nan for r in likelihood.used])
    groups = {
        "prior": prior_group(prior, rng),
        "posterior_predictive": sampled(replicates(likelihood, means, rng), chains),
        "prior_predictive": sampled(replicates(likelihood, before, rng), 1),
        "log_likelihood": sampled(density, chains, given="parameters and all other readings"),
        "observed_data": xr.Dataset({VALUE: (("reading",), y)}, coords=names),
    }
    return DataGroups(groups, constants_of(likelihood))


def prior_group(prior: Prior, rng: np.random.Generator) -> xr.Dataset:
    """Return draws of the population's parameters before any reading."""
    import xarray as xr

    draws = prior.draw(PRIOR_DRAWS, rng)
    return xr.Dataset(
        {
            key: (("chain", "draw"), draws[None, :, j], {"name": spec.name, "units": spec.unit})
            for j, (key, spec) in enumerate(zip(safe_names(prior.names), prior.specs, strict=True))
        },
        coords={"chain": [0], "draw": np.arange(len(draws))},
    )


def replicates(likelihood: Likelihood, means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one set of readings (n, m) per row of means, in the readouts' units, drawn as the likelihood says.

    What readings share is drawn together. A censored reading stands as it would have been read without limits.
    """
    n = len(means)
    noise = rng.standard_normal((n, likelihood.n_exact))
    tails = likelihood.scatter.chip_tails
    if tails is not None:  # a chip's residuals are a multivariate t
        for at in likelihood.exact_of_chips:
            noise[:, at] *= np.sqrt(tails / rng.chisquare(tails, n))[:, None]
    y, begin = means.copy(), 0
    for block in likelihood.blocks:
        own = noise[:, begin : begin + len(block.rows)]
        y[:, block.rows] += own @ block.factor.T
        begin += len(block.rows)
    bounds = likelihood.bounds
    y[:, bounds.rows] += rng.standard_normal((n, len(bounds.rows))) * bounds.sd
    with np.errstate(over="ignore"):  # far out in a prior
        return np.where(likelihood.rows.log_scale, np.exp(y), y)


def reading_coordinates(likelihood: Likelihood) -> dict[str, tuple[str, list[Any]]]:
    """Return what names each reading."""
    used = likelihood.used
    columns: dict[str, list[Any]] = {
        "chip": [r.chip_id for r in used],
        "readout": [r.readout for r in used],
        "donor": [likelihood.donors[r.chip_id] for r in used],
        "line": [likelihood.lines[r.chip_id] for r in used],
        "time_h": [float(r.time_h) for r in used],
        "cycle": [int(r.cycle) for r in used],
        "unit": [r.unit for r in used],
    }
    return {"reading": ("reading", list(range(len(used))))} | {
        name: ("reading", values) for name, values in columns.items()
    }


def left_out_group(likelihood: Likelihood, readouts: Sequence[Readout]) -> xr.Dataset | None:
    """Return the readings that were not learned from, with who left them out and why; None where all were."""
    import xarray as xr

    used = {id(r) for r in likelihood.used}
    out = [r for r in readouts if id(r) not in used]
    if not out:
        return None
    who = [left_out_by(r) for r in out]
    columns: dict[str, list[Any]] = {
        "chip": [r.chip_id for r in out],
        "readout": [r.readout for r in out],
        "time_h": [float(r.time_h) for r in out],
        "cycle": [int(r.cycle) for r in out],
        "unit": [r.unit for r in out],
        "excluded_by": [by for by, _ in who],
        "why": [
            why or "; ".join(r.reasons) or "not a reading of this model"
            for r, (_, why) in zip(out, who, strict=True)
        ],
    }
    names = {name: ("left_out", values) for name, values in columns.items()}
    y = np.array([r.value if r.censoring == "none" else np.nan for r in out])
    return xr.Dataset({VALUE: (("left_out",), y)}, coords=names)


def constants_of(likelihood: Likelihood) -> xr.Dataset:
    """Return what is known of each reading besides its value."""
    import xarray as xr

    used = likelihood.used
    starts = [np.nan if r.window_start_h is None else r.window_start_h for r in used]
    columns = {
        "lower": [r.lower if r.censoring != "none" else np.nan for r in used],
        "upper": [r.upper if r.censoring != "none" else np.nan for r in used],
        "sd": [r.sd for r in used],
        "window_start_h": starts,
        "censoring": [r.censoring for r in used],
        "scale": ["log" if log else "linear" for log in likelihood.rows.log_scale],
    }
    variables = {name: (("reading",), values) for name, values in columns.items()}
    return xr.Dataset(variables, coords=reading_coordinates(likelihood))
