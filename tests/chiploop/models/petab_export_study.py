"""A study whose chips differ in everything that a PEtab export must carry, and its objective by the library.

Belongs here: chips, readouts, the sum of a problem's likelihood and priors, what integrates effects out. Not here:
tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chiploop.inference.likelihood import Likelihood
from chiploop.inference.prior import Prior
from chiploop.inference.scatter import Scatter
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.models.petab_export import ExportedProblem
from chiploop.models.petab_import import ImportedModel
from chiploop.models.petab_problem import PetabProblem
from chiploop.models.petab_tables import library_problem
from chiploop.models.tissue_model import MODELS, TissueModel

RTOL = 1e-9
DONORS = {"A": "D-1", "B": "D-1", "C": "D_1", "D": "D_1"}
"""Two donors whose ids become one where every other letter becomes _."""
LINES = {"A": "L1", "B": "L2", "C": "L1", "D": "L2"}
FLG = {"A": 1.0, "B": 1.0, "C": 0.5, "D": 0.5}
GIVEN = {
    "L1": (
        (0.0, 10.0, 24.5, 48.0, 60.0, 72.0),
        (
            (60, 0, 0, 0),
            (60, 0, 0.03, 0.08),
            (60, 100, 0.03, 0.08),
            (40, 100, 0.03, 0.08),
            (0, 0, 0, 0),
        ),
    ),
    "L2": ((0.0, 12.0, 30.0, 80.0), ((60, 0, 0, 0), (60, 0, 0.03, 0.08), (60, 400, 0.03, 0.08))),
}
"""Line -> edges in h, and (flow, drug, IL-4, IL-13) between them."""
SCATTER = Scatter(
    chip={"TEER": 0.10, "CCL26": 0.15, "ldh_release": 0.02},
    donor={"TEER": 0.15, "CCL26": 0.20},
    reading={"TEER": 0.03, "CCL26": 0.05},
)
NO_SCATTER = Scatter({}, {}, {})
WINDOWS = {
    "A": ((0.0, 24.0), (24.0, 48.0), (30.0, 72.0)),
    "B": ((24.0, 48.0), (48.0, 72.0)),
    "C": ((24.0, 48.0), (52.0, 72.0)),
    "D": ((24.0, 48.0),),
}
"""They begin where another ends, overlap, begin with the simulation."""


def model() -> TissueModel:
    """Return skin_chip with the readouts of the demo study."""
    return TissueModel("skin_chip", MODELS["skin_chip"], RTOL, ("TEER", "CCL26", "ldh_release"))


def inlets(chips: str = "ABCD") -> list[ChipInlet]:
    """Return what the chips are given."""
    return [
        ChipInlet(
            chip,
            np.array(GIVEN[LINES[chip]][0]),
            np.array(GIVEN[LINES[chip]][1], dtype=float),
            {"flg_dose": FLG[chip], "free_fraction": 0.9},
        )
        for chip in chips
    ]


def readouts(chips: str = "ABCD", curve: bool = True) -> list[Readout]:
    """Return readings near what an average chip shows; nothing hangs on their values."""
    rng = np.random.default_rng(5)
    found = []
    for chip in chips:
        for time in (24.0, 48.0, 72.0):
            value = 900.0 * np.exp(0.1 * rng.standard_normal())
            found.append(Readout(chip, "TEER", value, "ohm*cm2", 0.02, "log", time))
        for begin, end in WINDOWS[chip]:
            value = 60.0 * np.exp(0.3 * rng.standard_normal())
            loadings = (0.04, 0.01 * (1 + rng.random())) if curve else ()
            found.append(
                Readout(
                    chip, "CCL26", value, "pg/mL", 0.08 + 0.01 * rng.random(), "log", end, begin,
                    plate=f"p{end:g}", curve=loadings,
                )
            )  # fmt: skip
            value = 0.01 * rng.standard_normal()
            found.append(Readout(chip, "ldh_release", value, "1", 0.012, "linear", end, begin))
    return found


def likelihood_of(
    own: TissueModel,
    read: Sequence[Readout],
    scatter: Scatter = SCATTER,
    chips: str = "ABCD",
) -> Likelihood:
    """Return the likelihood of readouts of these chips."""
    return Likelihood(own, inlets(chips), DONORS, read, scatter, LINES)


def prior_of(own: TissueModel) -> Prior:
    """Return the model's prior, with an error of the doses."""
    return Prior.of(own.estimated, own.donor_spreads, 0.05)


def censored(readout: Readout) -> Readout:
    """Return a readout as one below its limit."""
    return replace(readout, value=np.nan, censoring="left", upper=20.0)


def log_prior(path: Path, values: Mapping[str, float]) -> float:
    """Return the sum of the table's priors, each a density over its parameter on the parameter's scale."""
    from petab.v1.parameters import scale
    from petab.v1.priors import Prior as LibraryPrior

    total = 0.0
    for name, row in library_problem(path).parameter_df.iterrows():
        prior = LibraryPrior.from_par_dict(dict(row), type_="objective")
        on_scale = scale(values[str(name)], row["parameterScale"])
        total += float(np.log(prior.pdf(on_scale, x_scaled=True, rescale=True)))
    return total


def log_density_of_effects(
    problem: PetabProblem, exported: ExportedProblem, values: Mapping[str, float]
) -> float:
    """Return ln of the density of the effects in ``values``, given the readings and all else.

    Readings are linear in effects on their scale, so it is a normal in closed form, from predictions of the
    exported problem at effects of 0 and at one effect of 1 after the other.
    """
    names = [one.name for one in exported.effects]
    k = len(names)
    rows = {name: np.full(k + 1, value) for name, value in values.items()}
    for i, name in enumerate(names):
        rows[name] = np.eye(k + 1)[1 + i]
    found = problem.batch(rows)
    table = problem.tables.measurements
    measured = np.array([row["measurement"] for row in table])
    is_log = np.array(
        [problem.observables[row["observableId"]].scale == "log" for row in table], dtype=bool
    )
    measured = np.where(is_log, np.log(np.where(is_log, measured, 1.0)), measured)
    sd = found.sd[0]
    loadings = ((found.on_scale[1:] - found.on_scale[0]) / sd).T
    precision = np.eye(k) + loadings.T @ loadings
    mean = np.linalg.solve(precision, loadings.T @ ((measured - found.on_scale[0]) / sd))
    gap = np.array([values[name] for name in names]) - mean
    log_volume = 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * k * np.log(2 * np.pi)
    return float(log_volume - 0.5 * gap @ precision @ gap)


def vectors(
    exported: ExportedProblem, count: int, size: float = 0.5
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return vectors of chiploop's standard normals and effects."""
    rng = np.random.default_rng(8)
    return [
        (
            size * rng.standard_normal(exported.unknowns.dims),
            rng.standard_normal(len(exported.effects)),
        )
        for _ in range(count)
    ]


def put(found: ImportedModel, where: Path) -> Path:
    """Write an imported model and return its text's path."""
    where.mkdir(exist_ok=True)
    text = where / f"{found.name}.xml"
    text.write_text(found.text, encoding="utf-8")
    text.with_suffix(".yaml").write_text(found.facts_text, encoding="utf-8")
    return text
