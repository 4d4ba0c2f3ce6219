"""A study's calibration as a PEtab problem (version 1): likelihood and prior in, tables and SBML out.

Belongs here: the problem as a whole, and by what constant its objective differs from chiploop's own. Not here: its
parts (petab_export_*), files (petab_export_files).

Each chip is one condition. What PEtab version 1 can not say is left out and listed (censored readouts), or
refused by name (Student's t, bounded parameters that differ between donors); nothing is put in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.likelihood import LOG_TWO_PI, Likelihood
from chiploop.inference.prior import Prior
from chiploop.inference.unknowns import Unknowns
from chiploop.measurement import Readout
from chiploop.models.facts import facts_path
from chiploop.models.petab_export_parameters import (
    ExportedParameter,
    Names,
    exported_parameters,
)
from chiploop.models.petab_export_sbml import ExportedModel, SbmlText, exported_model, own_id
from chiploop.models.petab_export_segments import segments_of
from chiploop.models.petab_export_tables import (
    Measurement,
    Observable,
    log_jacobian,
    readout_tables,
)


@dataclass(frozen=True)
class ExportedProblem:
    """A PEtab problem as values.

    For a vector z of chiploop's standard normals and effects e, with PEtab's objective (log-likelihood, and each
    prior's log density over the parameter on its scale) at ``values(z, e)``:

        log posterior of z, before effects are integrated out
            = objective + ``measurement_constant`` + ``truncation_constant`` + ``log_slope(z)``

    The first two are constant. The third turns a density over the exported parameters into one over z; it is
    constant too unless a parameter has a truncated normal prior.
    """

    model: ExportedModel
    model_name: str
    facts_text: str
    """The file beside the model text."""
    chips: tuple[str, ...]
    conditions: dict[str, str]
    """Chip -> id of its condition."""
    observables: tuple[Observable, ...]
    measurements: tuple[Measurement, ...]
    parameters: tuple[ExportedParameter, ...]
    unknowns: Unknowns
    censored: tuple[Readout, ...]
    """Left out: PEtab version 1 knows no bounds of a measurement."""
    failed: tuple[Readout, ...]
    """Left out: chiploop does not learn from them either."""

    @property
    def effects(self) -> tuple[ExportedParameter, ...]:
        """The parameters that chiploop integrates out."""
        return tuple(one for one in self.parameters if one.column is None)

    def values(self, z: np.ndarray, effects: np.ndarray | None = None) -> dict[str, float]:
        """Return parameter -> linear value for one vector (dims,) and effects (k,); no effects: all 0."""
        given = iter(np.zeros(len(self.effects)) if effects is None else effects)
        return {
            one.name: one.value(float(next(given) if one.column is None else z[one.column]))
            for one in self.parameters
        }

    @cached_property
    def measurement_constant(self) -> float:
        """PEtab takes the density of a value, chiploop that of its logarithm: the sum of ln(value) between."""
        return log_jacobian(self.measurements)

    @property
    def truncation_constant(self) -> float:
        """What a prior's bounds cut off; 0 for a program that makes up for it, as the library ``petab`` does."""
        return -sum(one.log_share for one in self.parameters)

    def log_slope(self, z: np.ndarray) -> float:
        """Return what a log density over z (dims,) has more than one over the exported parameters.

        With it is the prior of what does not stand in the problem since no readout hangs on it, such as a donor
        without readouts.
        """
        columns = {one.column: one for one in self.parameters if one.column is not None}
        idle = [column for column in range(self.unknowns.dims) if column not in columns]
        slopes = sum(one.log_slope(float(z[column])) for column, one in columns.items())
        return slopes - 0.5 * float((z[idle] ** 2).sum()) - 0.5 * len(idle) * LOG_TWO_PI


def petab_export(
    likelihood: Likelihood, prior: Prior, failed: Sequence[Readout] = ()
) -> ExportedProblem:
    """Return a calibration as a PEtab problem.

    ``failed`` are readouts that did not enter the likelihood, to be listed.

    Raises FileNotValid for what PEtab version 1 can not express.
    """
    if likelihood.scatter.chip_tails is not None:
        raise FileNotValid(
            f"residuals of a chip follow a Student t with {likelihood.scatter.chip_tails:g} degrees of freedom "
            "(chip_tails of the study); noise in PEtab version 1 is normal or Laplace"
        )
    if prior.drugs.drugs:
        raise FileNotValid(
            f"the study compares {', '.join(prior.drugs.drugs)}, each with parameters of its own; an export has "
            "those of one drug only, so that another program would fit another model"
        )
    censored = tuple(r for r in likelihood.used if r.censoring != "none")
    exact = exact_part(likelihood)
    if not exact.used:
        raise FileNotValid(
            "no readout is left: all are censored or failed, and PEtab takes neither"
        )
    segments = segments_of(exact)
    chips = tuple(one.chip for one in segments.chips)
    unknowns = Unknowns.of(prior, exact.chips, exact.donors, exact.lines)
    facts = exact.model.facts
    drug = None if facts.inputs.drug_nm is None else facts.input_symbols.index(facts.inputs.drug_nm)
    dosed = frozenset(
        exact.lines[one.chip]
        for one in segments.chips
        if unknowns.lines and drug is not None and one.inputs[:, drug].any()
    )
    sbml = SbmlText(exact)
    names = Names(sbml.ids())
    parameters = exported_parameters(
        prior,
        unknowns,
        names,
        lambda name: own_id(sbml, prior, names, name),
        {exact.donors[chip] for chip in chips},
        dosed,
    )
    model = exported_model(sbml, exact, prior, segments, names, dosed)
    tables = readout_tables(exact, segments, names)
    condition_names = Names(())
    return ExportedProblem(
        model,
        exact.model.name,
        facts_path(Path(facts.path)).read_text(encoding="utf-8"),
        chips,
        {chip: condition_names.of(chip) for chip in chips},
        tables.observables,
        tables.measurements,
        (*parameters, *tables.effects),
        unknowns,
        censored,
        tuple(failed),
    )


def exact_part(likelihood: Likelihood) -> Likelihood:
    """Return the likelihood of the readouts that are not censored."""
    if not likelihood.n_censored:
        return likelihood
    return Likelihood(
        likelihood.model,
        likelihood.inlets,
        likelihood.donors,
        [r for r in likelihood.used if r.censoring == "none"],
        likelihood.scatter,
        likelihood.lines,
    )
