"""A posterior as a netCDF file in ArviZ's group layout, and back to the last bit.

Belongs here: groups, dimensions, attributes. Not here: how a posterior is found. Groups, each variable with
its name in the study as attribute ``name`` where netCDF or the layout allows no such name:

    posterior                 chain (one per population), draw: the population's parameters, of several drugs
                              (attribute ``drugs``) each one's own as ``<name>[<drug>]``; with a dimension
                              donor ``<name>_of_donor`` of what differs between donors; with a dimension line
                              ``drug_factor``, given dose over noted dose
    unconstrained_posterior   everything that was estimated, as standard normals of the prior
    sample_stats              each population's log evidence; diagnostics as attributes
    constant_data             the mode

and whatever others are given, for example prior, posterior_predictive, observed_data, log_likelihood. The whole of
the diagnostics stands as JSON in the attribute ``calibration_info`` of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chiploop.fault_points import passed
from chiploop.inference.drug_entries import DrugEntries
from chiploop.inference.posterior import CalibrationInfo, Misfit, Posterior

if TYPE_CHECKING:
    import xarray as xr

OURS = ("posterior", "unconstrained_posterior", "sample_stats", "constant_data")
"""Groups that a posterior fills itself."""
RESERVED = ("chain", "draw", "donor", "line", "drug_factor")
"""Dimensions and variables of the layout."""
SHORT = ("passed", "ess", "population_gap_sd", "acceptance", "temperatures", "method")
"""Diagnostics that stand beside the sample statistics too."""


def write_posterior(
    path: Path,
    posterior: Posterior,
    info: CalibrationInfo,
    groups: Mapping[str, xr.Dataset] | None = None,
    constants: xr.Dataset | None = None,
) -> None:
    """Write the file, or replace it whole; ``groups`` are written beside the posterior's own.

    ``constants`` stand in its constant_data beside the mode.

    Raises ValueError for a group that the posterior fills itself.
    """
    import xarray as xr

    taken = set(groups or {}) & set(OURS)
    if taken:
        raise ValueError(f"{', '.join(sorted(taken))} are filled by the posterior itself")
    chains = max(1, len(info.log_evidence))
    if len(posterior.particles) % chains:
        chains = 1
    tree = xr.DataTree.from_dict(
        {
            "/posterior": parameters_group(posterior, chains),
            "/unconstrained_posterior": standard_group(posterior, chains),
            "/sample_stats": statistics_group(info, chains),
            "/constant_data": mode_group(posterior, constants),
            **{f"/{name}": group for name, group in (groups or {}).items()},
        }
    )
    tree.attrs["calibration_info"] = json.dumps(asdict(info))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".nc.unfinished")
    tree.to_netcdf(draft, engine="h5netcdf")
    passed("posterior_drafted")
    draft.replace(path)


def mode_group(posterior: Posterior, constants: xr.Dataset | None) -> xr.Dataset:
    """Return the mode, with what others hold for constant beside it."""
    import xarray as xr

    keys = safe_names(posterior.names)
    found = xr.Dataset() if constants is None else constants.copy()
    for key, name, unit, value in zip(
        keys, posterior.names, posterior.units, posterior.mode, strict=True
    ):
        found[key] = ((), value, {"name": name, "units": unit})
    return found


def parameters_group(posterior: Posterior, chains: int) -> xr.Dataset:
    """Return the particles in the parameters' own units."""
    import xarray as xr

    keys = safe_names(posterior.names)
    variables: dict[str, Any] = {}
    for j, (key, name, unit) in enumerate(zip(keys, posterior.names, posterior.units, strict=True)):
        own = {"name": name, "units": unit}
        variables[key] = (("chain", "draw"), by_chain(posterior.particles[:, j], chains), own)
        if posterior.of_donors.size and differs(posterior, j):
            values = by_chain(posterior.of_donors[:, :, j], chains)
            variables[f"{key}_of_donor"] = (("chain", "draw", "donor"), values, own)
    if posterior.lines:
        values = by_chain(posterior.drug_factors, chains)
        variables["drug_factor"] = (("chain", "draw", "line"), values, {"units": "1"})
    coords = coordinates(posterior, chains)
    if posterior.donors:
        coords["donor"] = list(posterior.donors)
    if posterior.lines:
        coords["line"] = list(posterior.lines)
    attrs: dict[str, Any] = {"donors_differ": int(posterior.of_donors.size > 0)}
    if posterior.drugs.drugs:
        attrs["drugs"] = json.dumps(posterior.drugs.drugs)
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def differs(posterior: Posterior, j: int) -> bool:
    """Return whether any donor has another value of a parameter than the population."""
    return not np.array_equal(
        posterior.of_donors[:, :, j],
        np.broadcast_to(posterior.particles[:, j, None], posterior.of_donors.shape[:2]),
    )


def standard_group(posterior: Posterior, chains: int) -> xr.Dataset:
    """Return everything that was estimated as standard normals."""
    import xarray as xr

    names = posterior.entries or posterior.names
    return xr.Dataset(
        {
            key: (("chain", "draw"), by_chain(posterior.standard[:, j], chains), {"name": name})
            for j, (key, name) in enumerate(zip(safe_names(names), names, strict=True))
        },
        coords=coordinates(posterior, chains),
        attrs={"entries_named": int(bool(posterior.entries))},
    )


def statistics_group(info: CalibrationInfo, chains: int) -> xr.Dataset:
    """Return what is known of the runs that found the posterior."""
    import xarray as xr

    per_chain = len(info.log_evidence) == chains
    return xr.Dataset(
        {"log_evidence": (("chain",), np.array(info.log_evidence))} if per_chain else {},
        coords={"chain": np.arange(chains)},
        attrs={
            name: int(value) if isinstance(value, bool) else value
            for name, value in ((name, getattr(info, name)) for name in SHORT)
        },
    )


def coordinates(posterior: Posterior, chains: int) -> dict[str, Any]:
    """Return chain and draw of each particle."""
    return {
        "chain": np.arange(chains),
        "draw": np.arange(len(posterior.particles) // chains),
    }


def by_chain(values: np.ndarray, chains: int) -> np.ndarray:
    """Return values (n, ...) as (chains, draws, ...)."""
    return values.reshape(chains, len(values) // chains, *values.shape[1:])


def safe_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return a name of each that every netCDF reader takes, no two alike, none of the layout's own."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "entry"
        plain = f"entry_{plain}" if plain[0].isdigit() else plain
        key, count = plain, 1
        while key in found or key in RESERVED or key.endswith("_of_donor"):
            count += 1
            key = f"{plain}_{count}"
        found.append(key)
    return tuple(found)


def read_posterior(path: Path) -> tuple[Posterior, CalibrationInfo]:
    """Return what ``write_posterior`` wrote; OSError where the file can not be read."""
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        group = tree["posterior"].to_dataset()
        standard = tree["unconstrained_posterior"].to_dataset()
        keys = [
            str(key)
            for key in group.data_vars
            if not str(key).endswith("_of_donor") and key != "drug_factor"
        ]
        particles = np.stack([flat(group[key]) for key in keys], axis=1)
        donors = texts(group, "donor")
        of_donors = np.zeros((0, 0, 0))
        if group.attrs["donors_differ"]:
            of_donors = np.repeat(particles[:, None], len(donors), axis=1)
            for j, key in enumerate(keys):
                if f"{key}_of_donor" in group:
                    of_donors[:, :, j] = flat(group[f"{key}_of_donor"])
        entries = tuple(str(standard[key].attrs["name"]) for key in standard.data_vars)
        names = tuple(str(group[key].attrs["name"]) for key in keys)
        found = Posterior(
            names=names,
            units=tuple(str(group[key].attrs["units"]) for key in keys),
            particles=particles,
            standard=np.stack([flat(standard[key]) for key in standard.data_vars], axis=1),
            mode=np.array([float(tree["constant_data"][key]) for key in keys]),
            entries=entries if standard.attrs["entries_named"] else (),
            donors=donors,
            of_donors=of_donors,
            lines=texts(group, "line"),
            drug_factors=flat(group["drug_factor"]) if "line" in group else np.zeros((0, 0)),
            drugs=DrugEntries.named(names, json.loads(group.attrs.get("drugs", "[]"))),
        )
        facts = json.loads(tree.attrs["calibration_info"])
    of_tuples = [one.name for one in fields(CalibrationInfo) if str(one.type).startswith("tuple")]
    facts |= {name: tuple(facts[name]) for name in of_tuples}
    if facts.get("misfit") is not None:
        facts["misfit"] = Misfit(
            **{**facts["misfit"], "sentences": tuple(facts["misfit"]["sentences"])}
        )
    return found, CalibrationInfo(**facts)


def flat(values: xr.DataArray) -> np.ndarray:
    """Return (chains, draws, ...) as (n, ...)."""
    found = np.asarray(values)
    return found.reshape(-1, *found.shape[2:])


def texts(group: xr.Dataset, name: str) -> tuple[str, ...]:
    """Return a coordinate of names; none where there is no such coordinate."""
    return tuple(str(one) for one in group[name].values) if name in group.coords else ()
