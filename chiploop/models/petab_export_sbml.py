"""A tissue model as SBML for all chips of a study: what a chip is given and collected are parameters.

Belongs here: what is added to the text, and which of its parameters a condition must set. Not here: libsbml
(petab_export_text), moments (petab_export_segments), tables (petab_export_tables).

Added are, with the ids that the README of the folder tells: ``segment_<k>_start_h`` and the inputs from then on;
an event per segment; ``collected_<X>``, the integral of X since the collection window began, and
``<X>_at_window_start``; a donor's parameter as ``<X>_population * exp(<X>_spread * <X>_deviation)``;
``dose_factor`` on the drug.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.prior import Prior
from chiploop.models.petab_export_parameters import Names
from chiploop.models.petab_export_segments import Segments
from chiploop.models.petab_export_text import Added, SbmlText
from chiploop.models.sbml_export import set_constants

RENAMED_BY_AMICI = ("h", "k", "p", "t", "w", "x", "y")
"""Ids that AMICI (1.0) keeps for itself: it renames those of a model, but not those of the tables."""
Setting = str | float
"""A number, or the id of a parameter of the problem."""


@dataclass(frozen=True)
class ExportedModel:
    """The SBML of a problem."""

    text: str
    settings: dict[str, dict[str, Setting]]
    """Id -> chip -> value: the condition table."""
    added: Added


def exported_model(
    sbml: SbmlText, likelihood: Likelihood, prior: Prior, segments: Segments, names: Names,
    dosed: frozenset[str],
) -> ExportedModel:  # fmt: skip
    """Return the SBML of all chips, and what their conditions set.

    ``dosed`` are lines whose drug has a factor that is estimated.
    """
    settings: dict[str, dict[str, Setting]] = {}
    chips = [one.chip for one in segments.chips]
    of_chip = {inlet.chip_id: inlet for inlet in likelihood.inlets}
    for key, symbol in likelihood.model.constant_names.items():
        values = {c: of_chip[c].constants[key] for c in chips if key in of_chip[c].constants}
        if values:
            settings[symbol] = {**dict.fromkeys(chips, sbml.symbolic.constants[symbol]), **values}
    add_estimated(sbml, prior, names)
    add_donors(sbml, likelihood, prior, names, chips, settings)
    if dosed:
        factor = sbml.add(names.dose_factor(), 1.0)
        settings[factor] = {
            c: names.dose_factor(likelihood.lines[c]) if likelihood.lines[c] in dosed else 1.0
            for c in chips
        }
    events: dict[int, dict[str, str]] = {k: {} for k in range(1, segments.most)}
    starts = {k: sbml.add(names.of(f"segment_{k + 1}_start_h"), 0.0) for k in events}
    for k, name in starts.items():
        # what a chip does not have comes after all readouts, never two at one moment
        settings[name] = {
            one.chip: float(one.starts_h[k]) if k < len(one.starts_h) else segments.end_h + k
            for one in segments.chips
        }
    add_inputs(sbml, likelihood, segments, names, bool(dosed), settings, events)
    add_collectors(sbml, likelihood, segments, names, settings, events)
    for k, values_of_event in events.items():
        sbml.happen(names.of(f"segment_{k + 1}"), starts[k], values_of_event)
    settings = {name: of for name, of in settings.items() if not settle(sbml, name, of)}
    return ExportedModel(sbml.written(), settings, sbml.added)


def own_id(sbml: SbmlText, prior: Prior, names: Names, name: str) -> str:
    """Return the id of the parameter that holds the population's value of an estimated one.

    A donor's own value has the text's name, a table of parameters sets nothing but parameters, and AMICI knows
    some by other names than the table does.
    """
    if name in {spread.name for spread in prior.donor_spreads}:
        return names.population(name)
    is_settable = sbml.model.getParameter(name) is not None and name not in RENAMED_BY_AMICI
    return name if is_settable else names.value(name)


def add_estimated(sbml: SbmlText, prior: Prior, names: Names) -> None:
    """Give the estimated parameters their priors' medians, and those that need one another id."""
    between = {spread.name for spread in prior.donor_spreads}
    for spec in prior.specs:
        own = own_id(sbml, prior, names, spec.name)
        median = float(f"{float(Prior.of([spec]).parameters(np.zeros(1))[0]):.15g}")
        if own == spec.name:
            sbml.set_value(own, median)
            continue
        sbml.add(own, median)
        if spec.name not in between:
            sbml.begin(spec.name, own)


def add_donors(
    sbml: SbmlText, likelihood: Likelihood, prior: Prior, names: Names, chips: list[str],
    settings: dict[str, dict[str, Setting]],
) -> None:  # fmt: skip
    """Let parameters that differ between donors follow from the population's and the donor's deviation."""
    for spread in prior.donor_spreads:
        sd = sbml.add(names.spread(spread.name), spread.sd)
        deviation = sbml.add(names.deviation(spread.name), 0.0)
        sbml.begin(spread.name, f"{names.population(spread.name)}*exp({sd}*{deviation})")
        settings[deviation] = {c: names.deviation(spread.name, likelihood.donors[c]) for c in chips}


def add_inputs(
    sbml: SbmlText, likelihood: Likelihood, segments: Segments, names: Names, has_factor: bool,
    settings: dict[str, dict[str, Setting]], events: dict[int, dict[str, str]],
) -> None:  # fmt: skip
    """Let inputs take the values of each segment; one that never changes on a chip is a constant."""
    facts = likelihood.model.facts
    for i, name in enumerate(facts.input_symbols):
        parameter = sbml.model.getParameter(name)
        if parameter is None or name not in sbml.symbolic.constants:
            raise FileNotValid(
                f"model {sbml.name}: {name} is an input beside it but no parameter of it that is constant"
            )
        of_chips = {one.chip: one.inputs[:, i] for one in segments.chips}
        is_given = any(values.any() for values in of_chips.values())
        factor = (
            names.dose_factor() if has_factor and is_given and name == facts.inputs.drug_nm else ""
        )
        if not factor and all((values == values[0]).all() for values in of_chips.values()):
            settings[name] = {chip: float(values[0]) for chip, values in of_chips.items()}
            continue
        sbml.keep(name)
        parameter.setConstant(False)
        for k in range(segments.most):
            own = sbml.add(names.of(f"segment_{k + 1}_{name}"), 0.0)
            settings[own] = {
                chip: float(values[min(k, len(values) - 1)]) for chip, values in of_chips.items()
            }
            formula = f"{factor}*{own}" if factor else own
            if k == 0:
                sbml.begin(name, formula)
            else:
                events[k][name] = formula


def add_collectors(
    sbml: SbmlText, likelihood: Likelihood, segments: Segments, names: Names,
    settings: dict[str, dict[str, Setting]], events: dict[int, dict[str, str]],
) -> None:  # fmt: skip
    """Add what collects over windows, emptied where one begins."""
    read = {
        (r.readout, segments.collector_of[r.chip_id, r.window_start_h, r.time_h])
        for r in likelihood.used
        if r.window_start_h is not None
    }
    readouts = likelihood.model.facts.readouts
    for collector in range(segments.collectors):
        kept: dict[int, str] = {}
        for k in events:
            flags = {
                one.chip: float(k < len(one.starts_h) and one.begins[k, collector])
                for one in segments.chips
            }
            if any(flags.values()):
                text = f"segment_{k + 1}_begins_window"
                kept[k] = sbml.add(names.numbered(text, collector), 0.0)
                settings[kept[k]] = dict(flags)
        for name in dict.fromkeys(name for name, own in sorted(read) if own == collector):
            symbol, kind = readouts[name].symbol, readouts[name].kind
            if kind == "window_mean":
                state = names.collected(symbol, collector)
                if state in sbml.added.parameters:
                    continue  # two readouts of one symbol
                sbml.add(state, 0.0, constant=False)
                sbml.grow(state, symbol)
                for k, flag in kept.items():
                    events[k][state] = f"{state}*(1 - {flag})"
            else:
                state = names.at_start(symbol, collector)
                if state in sbml.added.parameters:
                    continue
                sbml.add(state, 0.0, constant=False)
                sbml.begin(state, symbol)
                for k, flag in kept.items():
                    events[k][state] = f"{state} + {flag}*({symbol} - {state})"


def settle(sbml: SbmlText, name: str, values: dict[str, Setting]) -> bool:
    """Put the first chip's number into the text; return whether it is that of all chips."""
    first = next(iter(values.values()))
    if isinstance(first, str):
        return False
    parameter = sbml.model.getParameter(name)
    if parameter is None:
        sbml.keep(name)
        set_constants(sbml.model, sbml.symbolic, {name: first})
    else:
        sbml.set_value(name, first)
    return all(value == first for value in values.values())
