"""How the file beside a model text must fit together, and fit the text.

Belongs here: one short rule per fact, and the words of a text. Not here: shape of one part (facts_parts), what the
text itself may hold (compiler).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chiploop.models.facts_parts import (
    AT_THE_END,
    MEASURED_AS,
    RELEASE,
    STUDY_NAMES,
    TEER,
    Lognormal,
    ModelFacts,
    ModelText,
    ReadoutFacts,
    TruncatedNormal,
    facts_path,
)
from chiploop.study_yaml import Place


def words_of(content: str, suffix: str) -> set[str]:
    """Return every word of a model text besides its comments."""
    if suffix == ".xml":
        return set(re.findall(r"\w+", re.sub(r"<!--.*?-->", "", content, flags=re.DOTALL)))
    code = re.sub(r"/\*.*?\*/", "", content, flags=re.DOTALL)
    return set(re.findall(r"\w+", re.sub(r"(//|#).*", "", code)))


def symbols_of(facts: ModelText) -> Iterator[tuple[Place, str]]:
    """Yield every name of the text that the file beside it uses, with its place."""
    yield ("inputs", "flow_rate_ul_h"), facts.inputs.flow_rate_ul_h
    if facts.inputs.drug_nm is not None:
        yield ("inputs", "drug_nm"), facts.inputs.drug_nm
    for name, stimulus in facts.stimuli.items():
        yield ("stimuli", name, "input"), stimulus.input
    for part in ("donor", "chip", "drug"):
        for name, symbol in getattr(facts, part).items():
            yield (part, name), symbol
    for name, readout in facts.readouts.items():
        yield ("readouts", name, "symbol"), readout.symbol
    yield ("viability",), facts.viability
    for part in ("varies", "estimated", "between_donors"):
        for symbol in getattr(facts, part):
            yield (part, symbol), symbol


def broken_rules(
    facts: ModelFacts, text_path: Path, words: set[str]
) -> Iterator[tuple[Place, str]]:
    if facts.model != text_path.stem:
        yield ("model",), f'"{facts.model}" stands beside {text_path.name}; both have one name'
    for place, symbol in symbols_of(facts):
        if symbol not in words:
            yield (
                place,
                f"{facts_path(text_path).name} names {symbol}, which {text_path.name} does not define",
            )
    inputs = facts.input_symbols
    for name, stimulus in facts.stimuli.items():
        if inputs.count(stimulus.input) > 1:
            yield ("stimuli", name, "input"), f"{stimulus.input} is the input of something else too"
    set_by_files = {symbol: name for name, symbol in facts.constants.items()}
    for symbol in facts.estimated:
        if symbol in set_by_files:
            yield (
                ("estimated", symbol),
                f"{symbol} is set as {set_by_files[symbol]} and can not be estimated as well",
            )
        if symbol in inputs:
            yield ("estimated", symbol), f"{symbol} is an input and can not be estimated"
    for symbol in facts.between_donors:
        if symbol not in facts.estimated:
            yield (
                ("between_donors", symbol),
                f"{symbol} is not estimated, so what donors differ in can not be learned",
            )
    if facts.potency is not None and not isinstance(facts.estimated.get(facts.potency), Lognormal):
        yield (
            ("potency",),
            f"{facts.potency} is not one of the estimated parameters with a lognormal prior",
        )
    for symbol, prior in facts.estimated.items():
        for name in prior.only_for:
            if name not in facts.readouts:
                yield ("estimated", symbol, "only_for"), f"{name} is not one of the readouts"
        if isinstance(prior, TruncatedNormal) and not prior.low < prior.high:
            yield (
                ("estimated", symbol, "high"),
                f"{prior.high:g} is not above low, {prior.low:g}",
            )
    truth = facts.truth_path()
    if truth is not None and truth.resolve() == text_path.resolve():
        yield (
            ("virtual_truth",),
            "it names this model itself; a hidden truth is another model, and without one `simulate` "
            "says that it draws the chips from this one",
        )
    if facts.virtual_truth and truth is None:
        yield (
            ("virtual_truth",),
            f'"{facts.virtual_truth}" is neither a model of chiploop nor a file beside this one',
        )


def unmeasured(facts: ModelFacts) -> Iterator[tuple[Place, str]]:
    if facts.inputs.drug_nm is None:
        yield ("inputs",), "drug_nm is missing; every study gives a drug"
    if not facts.stimuli:
        yield ("stimuli",), "no stimulus stands here; every study gives one"
    if TEER not in facts.readouts:
        yield ("readouts",), f"{TEER} is missing; it is read of every chip of every study"
    for name, readout in facts.readouts.items():
        yield from _unmeasured_readout(name, readout)


def _unmeasured_readout(name: str, readout: ReadoutFacts) -> Iterator[tuple[Place, str]]:
    place: Place = ("readouts", name, "kind")
    moments = (TEER, *AT_THE_END)
    if (name in moments) != (readout.kind == "moment"):
        yield (
            place,
            f"{', '.join(moments)} and they alone are of kind moment: the impedance meter, a tracer plate and an "
            "image give them",
        )
    if (name == RELEASE) != (readout.kind == "window_loss"):
        yield place, f"{RELEASE} and it alone is of kind window_loss: the release assay gives it"
    if name in STUDY_NAMES.values():
        yield ("readouts", name), f"{name} is what studies call {RELEASE}; take that name"
    unit, scale = MEASURED_AS[name if name in AT_THE_END else readout.kind]
    if (readout.unit, readout.scale) != (unit, scale):
        yield (
            ("readouts", name),
            f"{name} is measured in {unit} on the {scale} scale, not in {readout.unit} on the "
            f"{readout.scale} scale",
        )
