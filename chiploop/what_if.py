"""What a model says would happen: chips side by side, without a study, a line or a laboratory.

Belongs here: which chips stand side by side, the values they get, bands over prior draws. Not here: reading
what a person wrote (the command line), drawing (report), the loop with its virtual laboratory (virtual_lab).

What is named reaches the chip's inlet at that moment: there is no tubing here and no noise of a measurement.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from chiploop.errors import FileNotValid, WrongUse
from chiploop.inference.prior import Prior
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import ReadoutSpec, TissueModel

MOST_VALUES = 20_000_000
"""Of one call: chips x draws x times x readouts; 160 MB."""
LEVEL = 0.9
"""Of the band."""


@dataclass(frozen=True)
class Question:
    """What is to be simulated."""

    hours: float = 168.0
    every_h: float = 6.0
    """Between two values; also the length of a collection window."""
    flow_rate_ul_h: float | None = None
    """None: as in the text."""
    stimulus_nm: Mapping[str, float] = field(default_factory=dict)
    """Stimulus of the model -> concentration at the inlet."""
    stimulus_from_h: float = 24.0
    drugs_nm: tuple[float, ...] = ()
    """One chip for each."""
    drug_from_h: float = 48.0
    values: Mapping[str, float] = field(default_factory=dict)
    """Constant of the text, or its name in a chip's, donor's or drug's file -> value."""
    draws: int = 0
    """Of the prior; 0: the text's own values."""
    seed: int = 1


@dataclass(frozen=True)
class WhatIf:
    """Readouts of the chips over time."""

    model: str
    sha256: str
    chips: tuple[str, ...]
    times_h: np.ndarray
    """(t,)"""
    readouts: tuple[ReadoutSpec, ...]
    value: np.ndarray
    """(chips, t, readouts), of the text's values or the median of the draws; NaN for a window at its beginning."""
    low: np.ndarray
    """Lower end of the 90 % band; NaN without draws."""
    high: np.ndarray
    failed: tuple[int, ...]
    """Draws of each chip that did not simulate; they are left out."""
    flow_rate_ul_h: float
    stimulus: str
    """In words, as mass and as amount; '' without one."""


def what_if(model: TissueModel, question: Question) -> WhatIf:
    """Simulate an untouched chip, one with the stimulus, and one more for each concentration of drug.

    Raises WrongUse for what the model does not know or can not be given, FileNotValid where it does not
    simulate.
    """
    _refuse(model, question)
    estimated, constants, factors = _values(model, question.values)
    flow_rate_ul_h = question.flow_rate_ul_h
    if flow_rate_ul_h is None:
        flow_rate_ul_h = _text_value(model, model.facts.inputs.flow_rate_ul_h)
    inlets = [
        _inlet(model, question, flow_rate_ul_h, name, is_stimulated, drug_nm, constants)
        for name, is_stimulated, drug_nm in chips_of(question)
    ]
    times = sampling_times(question.hours, question.every_h)
    starts = np.concatenate([[np.nan], times[:-1]])
    own = [_text_value(model, name) for name in model.estimated_names]
    parameters = np.array([own], dtype=float)
    if question.draws:
        rng = np.random.default_rng(question.seed)
        parameters = Prior.of(model.estimated).draw(question.draws, rng)
    for name, value in estimated.items():
        parameters[:, model.estimated_names.index(name)] = value
    if len(inlets) * len(parameters) * len(times) * max(1, len(model.readouts)) > MOST_VALUES:
        raise WrongUse(
            f"{len(inlets)} chips x {len(parameters)} draws x {len(times)} times are too many for one call; "
            "ask for fewer draws or a longer --every"
        )
    chip_factors = {name: np.full(len(inlets), factor) for name, factor in factors.items()}
    try:
        ran = model.simulate(parameters, inlets, times, starts, chip_factors=chip_factors)
    except ValueError as trouble:  # two events of the text at one moment
        raise FileNotValid(f"model {model.name} can not be simulated: {trouble}") from None
    failed = tuple(int(count) for count in (ran.trouble > 0).sum(axis=0))
    names = tuple(inlet.chip_id for inlet in inlets)
    for name, count in zip(names, failed, strict=True):
        if count == len(parameters):
            raise FileNotValid(
                f'model {model.name}: chip "{name}" does not simulate with these values: a value that is not '
                "a number was met, or too many steps were needed"
            )
    middle, low, high = _bands(ran.readouts, ran.trouble, bool(question.draws))
    return WhatIf(
        model.name, model.sha256, names, times, model.readouts, middle, low, high, failed, flow_rate_ul_h,
        stimulus_in_words(model, question),
    )  # fmt: skip


def stimulus_in_words(model: TissueModel, question: Question) -> str:
    """Return what the stimulus holds, each in ng/mL and nM."""
    kda = {name: s.molar_mass_g_mol / 1000.0 for name, s in model.facts.stimuli.items()}
    return ", ".join(
        f"{name} {nm * kda[name]:.3g} ng/mL ({nm:.3g} nM)"
        for name, nm in question.stimulus_nm.items()
    )


def chips_of(question: Question) -> list[tuple[str, bool, float]]:
    """Return name, whether it gets the stimulus, and drug in nM of the chips side by side."""
    chips: list[tuple[str, bool, float]] = [("control", False, 0.0)]
    is_stimulated = bool(question.stimulus_nm)
    if is_stimulated:
        chips.append(("stimulus", True, 0.0))
    before = "stimulus + " if is_stimulated else ""
    chips += [(f"{before}{nm:.6g} nM", is_stimulated, nm) for nm in question.drugs_nm]
    return chips


def sampling_times(hours: float, every_h: float) -> np.ndarray:
    """Return 0, every multiple of ``every_h`` and the end, which may come earlier than the next multiple."""
    count = math.ceil(hours / every_h - 1e-9)
    return np.minimum(np.arange(count + 1) * every_h, hours)


def rows(told: WhatIf) -> Iterator[tuple[float, str, str, float, str, float, float]]:
    """Yield time, chip, readout, value, unit, low, high; a window that has not begun is left out."""
    for c, chip in enumerate(told.chips):
        for r, spec in enumerate(told.readouts):
            for t, time_h in enumerate(told.times_h):
                value = float(told.value[c, t, r])
                if math.isfinite(value):
                    low, high = float(told.low[c, t, r]), float(told.high[c, t, r])
                    yield float(time_h), chip, spec.name, value, spec.unit, low, high


def _refuse(model: TissueModel, question: Question) -> None:
    facts = model.facts
    if not model.readouts:
        raise FileNotValid(f"model {model.name} names no readout; there is nothing to show")
    if not 0.0 < question.hours <= 20_000.0:
        raise WrongUse(
            f"{question.hours:g} hours were asked; allowed is more than 0 and up to 20000"
        )
    if not 0.0 < question.every_h <= question.hours:
        raise WrongUse(
            f"a value every {question.every_h:g} h was asked; allowed is more than 0 and up to the "
            f"{question.hours:g} h that are simulated"
        )
    if question.hours / question.every_h > MOST_VALUES:
        raise WrongUse(f"a value every {question.every_h:g} h is too often")
    for name in question.stimulus_nm:
        if not facts.stimuli:
            raise WrongUse(f"{name} was asked; model {model.name} knows no stimulus")
        if name not in facts.stimuli:
            raise WrongUse(
                f"{name} is no stimulus of model {model.name}; allowed: {', '.join(facts.stimuli)}"
            )
    if question.drugs_nm and facts.inputs.drug_nm is None:
        raise WrongUse(
            f"a drug was asked; model {model.name} knows none (inputs.drug_nm is absent)"
        )
    if len(set(question.drugs_nm)) < len(question.drugs_nm):
        raise WrongUse("one concentration of drug was asked twice; each gives one chip")
    starts = [("the stimulus", question.stimulus_from_h)] if question.stimulus_nm else []
    starts += [("the drug", question.drug_from_h)] if question.drugs_nm else []
    for what, from_h in starts:
        if not 0.0 <= from_h < question.hours:
            raise WrongUse(
                f"{what} begins at {from_h:g} h; allowed is from 0 to before the end at {question.hours:g} h"
            )


def _text_value(model: TissueModel, name: str) -> float:
    """Return what a constant is in the text."""
    if name in model.compiled.defaults:
        return model.compiled.defaults[name]
    from chiploop.models.model_files import formulas_of

    return formulas_of(model.text, model.name).constants[name]


def _inlet(
    model: TissueModel,
    question: Question,
    flow_rate_ul_h: float,
    name: str,
    is_stimulated: bool,
    drug_nm: float,
    constants: Mapping[str, float],
) -> ChipInlet:
    """Return what one chip gets."""
    facts = model.facts
    begins: dict[str, float] = {}
    levels = dict.fromkeys(facts.input_symbols, 0.0)
    levels[facts.inputs.flow_rate_ul_h] = flow_rate_ul_h
    if is_stimulated:
        for stimulus, nm in question.stimulus_nm.items():
            levels[facts.stimuli[stimulus].input] = nm
            begins[facts.stimuli[stimulus].input] = question.stimulus_from_h
    if drug_nm > 0.0 and facts.inputs.drug_nm is not None:
        levels[facts.inputs.drug_nm] = drug_nm
        begins[facts.inputs.drug_nm] = question.drug_from_h
    edges = np.unique([0.0, *begins.values(), question.hours])
    inputs = [
        [level if begins.get(symbol, 0.0) <= start else 0.0 for symbol, level in levels.items()]
        for start in edges[:-1]
    ]
    return ChipInlet(name, edges, np.array(inputs), constants)


def _values(
    model: TissueModel, asked: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Return the asked values as estimated parameters, constants of a chip, and factors on the rest."""
    estimated: dict[str, float] = {}
    constants: dict[str, float] = {}
    factors: dict[str, float] = {}
    files = {symbol: name for name, symbol in model.constant_names.items()}
    specs = {spec.name: spec for spec in model.estimated}
    for name, value in asked.items():
        if not math.isfinite(value):
            raise WrongUse(f"{name}: {value} is not a number that can be used")
        if name in specs:
            spec = specs[name]
            low, high = (0.0, math.inf) if spec.kind == "lognormal" else (spec.low, spec.high)
            if not low <= value <= high or (spec.kind == "lognormal" and value == 0.0):
                said = "above 0" if math.isinf(high) else f"{low:g} to {high:g}"
                raise WrongUse(f"{name} = {value:g} was asked; its prior allows {said}")
            estimated[name] = value
        elif name in model.constant_names or name in files:
            constants[name if name in model.constant_names else files[name]] = value
        elif name in model.compiled.defaults:
            default = model.compiled.defaults[name]
            if default == 0.0 and value != 0.0:
                raise WrongUse(
                    f"{name} is 0 in the text and neither estimated nor set by a chip, donor or drug; it can "
                    "be changed in the text alone"
                )
            if value != default:
                factors[name] = value / default
        else:
            raise WrongUse(_unknown(model, name))
    return estimated, constants, factors


def _unknown(model: TissueModel, name: str) -> str:
    if name in model.facts.input_symbols:
        return (
            f"{name} is an input of model {model.name}: it is set by --flow, --drug or --stimulus"
        )
    allowed = [*model.estimated_names, *model.constant_names]
    others = [p for p in model.compiled.parameters if p not in allowed]
    others = [p for p in others if p not in model.constant_names.values()]
    close = difflib.get_close_matches(name, [*allowed, *others], n=1, cutoff=0.6)
    said = f"; did you mean {close[0]}?" if close else "."
    return (
        f"{name} is no constant of model {model.name}{said} Allowed: {', '.join(allowed)}; "
        f"and of the text: {', '.join(others)}"
    )


def _bands(
    readouts: np.ndarray, trouble: np.ndarray, is_drawn: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return median, lower and upper end (chips, times, readouts) over the draws that simulated."""
    nothing = np.full(readouts.shape[1:], np.nan)
    if not is_drawn:
        return readouts[0], nothing, nothing
    parts = [
        np.quantile(
            readouts[trouble[:, c] == 0, c], [0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0
        )
        for c in range(readouts.shape[1])
    ]
    bands = np.stack(parts, axis=1)
    return bands[0], bands[1], bands[2]
