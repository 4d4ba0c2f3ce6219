"""A posterior as a netCDF file in ArviZ's group layout, and back.

Belongs here: groups, dimensions, attributes. Not here: how a posterior is found. Groups:
``posterior`` and ``unconstrained_posterior`` (standard normals of the prior) with dimensions chain
(one per population) and draw, ``constant_data`` with the mode, attributes with the diagnostics.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from chiploop.inference.posterior import CalibrationInfo, Posterior

CHAINS = 2
"""Populations of a calibration."""


def write_posterior(path: Path, posterior: Posterior, info: CalibrationInfo) -> None:
    """Write the file, or replace it whole."""
    import xarray as xr

    n = len(posterior.particles)
    coords = {"chain": np.arange(CHAINS), "draw": np.arange(n // CHAINS)}

    def dataset(values: np.ndarray) -> xr.Dataset:
        shaped = values.reshape(CHAINS, n // CHAINS, -1)
        return xr.Dataset(
            {
                name: (("chain", "draw"), shaped[..., j], {"units": posterior.units[j]})
                for j, name in enumerate(posterior.names)
            },
            coords=coords,
        )

    tree = xr.DataTree.from_dict(
        {
            "/posterior": dataset(posterior.particles),
            "/unconstrained_posterior": dataset(posterior.standard),
            "/constant_data": xr.Dataset(
                {
                    name: ((), value)
                    for name, value in zip(posterior.names, posterior.mode, strict=True)
                }
            ),
        }
    )
    tree.attrs["calibration_info"] = json.dumps(asdict(info))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".nc.unfinished")
    tree.to_netcdf(draft, engine="h5netcdf")
    draft.replace(path)


def read_posterior(path: Path) -> tuple[Posterior, CalibrationInfo]:
    """Return what ``write_posterior`` wrote; OSError where the file can not be read."""
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf") as tree:
        posterior, standard = (
            tree["posterior"].to_dataset(),
            tree["unconstrained_posterior"].to_dataset(),
        )
        names = tuple(str(name) for name in posterior.data_vars)

        def matrix(group: xr.Dataset) -> np.ndarray:
            return np.stack([np.asarray(group[name]).reshape(-1) for name in names], axis=1)

        found = Posterior(
            names=names,
            units=tuple(str(posterior[name].attrs["units"]) for name in names),
            particles=matrix(posterior),
            standard=matrix(standard),
            mode=np.array([float(tree["constant_data"][name]) for name in names]),
        )
        facts = json.loads(tree.attrs["calibration_info"])
    for key in ("failures", "warnings", "log_evidence"):
        facts[key] = tuple(facts[key])
    return found, CalibrationInfo(**facts)
