"""Everything that is wrong with a model's two files, and what is only strange.

Belongs here: what is checked, in which order, and what to say. Not here: rules of the text (sbml) and of the
file beside it (facts), which are asked.

A problem makes the model useless; a note does not. The text is read element by element, so that several wrong
ones are told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiploop.errors import FileNotValid, Problem
from chiploop.models.facts import (
    ModelFacts,
    TruncatedNormal,
    facts_path,
    read_model_facts,
)
from chiploop.models.model_files import formulas_of, text_of
from chiploop.models.sbml_text import refuse_deep
from chiploop.models.symbolic import TIME, SymbolicModel
from chiploop.study_yaml import Place, YamlText, field_name, read_yaml

if TYPE_CHECKING:
    from chiploop.models.tissue_model import TissueModel

DAY_H = 24.0
WINDOW_H = 6.0
WANTED_BESIDE = (
    "model: NAME                      the name of both files",
    "inputs: {flow_rate_ul_h: SYMBOL, drug_nm: SYMBOL}   constants that the perfusion sets",
    "readouts: {TEER: {symbol: SYMBOL, kind: moment, unit: ohm*cm2, scale: log}}",
    "                                 kind: moment, window_mean or window_loss",
    "viability: SYMBOL                state or formula: the viable fraction, 0 to 1",
    'estimated: {SYMBOL: {kind: lognormal, median: 1, ln_sd: 0.5, unit: "1"}}',
    "and, where the model has them: stimuli, donor, chip, drug, potency, virtual_truth,",
    "between_donors (SYMBOL: {sd, ln_sd}, how estimated parameters differ between donors);",
    "skin_chip.yaml of chiploop is an example",
)
"""What the file beside a text must hold, for whoever writes one."""


@dataclass(frozen=True)
class FileProblem:
    """A problem of one of the two files."""

    file: str
    """Name of the file, without its folder."""
    problem: Problem


@dataclass(frozen=True)
class DefaultDay:
    """What came of simulating one day with the text's own numbers."""

    steps: int
    fastest_h: float | None = None
    """Shortest time scale at the end of that day; None where it was not calculated."""
    slowest_h: float | None = None
    """Longest finite one."""

    @property
    def stiffness(self) -> float | None:
        """Longest over shortest time scale."""
        if self.fastest_h is None or self.slowest_h is None:
            return None
        return self.slowest_h / self.fastest_h


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    name: str
    path: Path
    problems: tuple[FileProblem, ...]
    notes: tuple[str, ...]
    symbolic: SymbolicModel | None
    """None where the text can not be used."""
    facts: ModelFacts | None
    """None where the file beside it can not be used."""
    day: DefaultDay | None
    """None where it was not simulated."""


def check_model(path: Path) -> Checked:
    """Read both files of a model, compile it, simulate a day; return all that was found."""
    name, problems, notes = path.stem, [], list[str]()
    symbolic: SymbolicModel | None = None
    facts: ModelFacts | None = None
    day: DefaultDay | None = None
    try:
        text = text_of(path)
    except FileNotValid as refusal:
        told = str(refusal).removeprefix(f"{path} ")
        problems.append(FileProblem(path.name, Problem(_line(told), "", told)))
        return Checked(name, path, tuple(problems), (), None, None, None)
    symbolic, refusals = read_all(text, name)
    problems += [FileProblem(path.name, problem) for problem in refusals]
    beside = facts_path(path)
    if not beside.is_file():
        problems.append(missing_beside(path))
    else:
        facts, wrong = read_model_facts(path)
        problems += [FileProblem(beside.name, problem) for problem in wrong]
        if facts is None and symbolic is not None:
            notes.append(f"{beside.name} was not compared with the formulas; mend the above first")
    if symbolic is not None and facts is not None:
        yaml = read_yaml(beside)
        found = [_at(yaml, place, said) for place, said in wrong_symbols(facts, symbolic)]
        problems += [FileProblem(beside.name, problem) for problem in found]
        if not found:
            day, refusal_of_day = simulate_a_day(path, symbolic)
            if refusal_of_day:
                problems.append(FileProblem(path.name, Problem(None, "", refusal_of_day)))
        notes += strange(facts, symbolic)
        for_study = read_model_facts(path, for_study=True)[1]
        notes += [f"no study can take it: {_told(problem)}" for problem in for_study]
    return Checked(name, path, tuple(problems), tuple(notes), symbolic, facts, day)


def missing_beside(path: Path) -> FileProblem:
    """Return the problem of a text that stands alone."""
    beside = facts_path(path).name
    return FileProblem(
        beside, Problem(None, "", f"there is no {beside} beside {path.name}; it says what is read")
    )


def _at(yaml: YamlText, place: Place, message: str) -> Problem:
    return Problem(yaml.line(place), field_name(place), message)


def _told(problem: Problem) -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def _line(message: str) -> int | None:
    found = re.search(r"\bline (\d+)", message)
    return int(found[1]) if found else None


def _without_line(message: str) -> str:
    """Return a message of the text without its line, which is told apart."""
    message = re.sub(r" \(line \d+\)", "", message, count=1)
    return re.sub(r"^(?:Error in model string, )?line \d+: ", "", message)


def read_all(text: str, name: str) -> tuple[SymbolicModel | None, list[Problem]]:
    """Return the formulas of a text, or every element of it that is refused."""
    try:
        return formulas_of(text, name), []
    except FileNotValid as refusal:
        first = str(refusal)
    refusals = [first, *_more_refusals(text, name)]
    told = [message.removeprefix(f"model {name}, ").removeprefix(f"model {name}: ")
            for message in dict.fromkeys(refusals)]  # fmt: skip
    problems = [Problem(_line(message), "", _without_line(message)) for message in told]
    return None, sorted(problems, key=lambda problem: problem.line or 0)


def _more_refusals(text: str, name: str) -> Iterator[str]:
    """Yield what is refused of a text besides the first; nothing where it is no model at all."""
    from chiploop.models.sbml import plain_quantities, read_quantity
    from chiploop.models.sbml_parts import begin
    from chiploop.models.sbml_species import read_reactions, read_species
    from chiploop.models.sbml_text import read_source

    try:
        refuse_deep(text, name)
        reading = begin(read_source(text, name))
    except (FileNotValid, RecursionError, UnicodeDecodeError):
        return
    readers: list[Callable[[], Any]] = [
        lambda part=part: read_quantity(reading, *part)  # type: ignore[misc]
        for part in plain_quantities(reading.source)
    ]
    fluxes: dict[str, Any] = {}
    readers.append(lambda: fluxes.update(read_reactions(reading)))
    model = reading.source.model
    readers += [
        lambda i=i: read_species(reading, model.getSpecies(i), fluxes)  # type: ignore[misc]
        for i in range(model.getNumSpecies())
    ]
    for read in readers:
        try:
            read()
        except FileNotValid as refusal:
            yield str(refusal)
        except RecursionError:  # told by the first reading
            continue


def wrong_symbols(facts: ModelFacts, symbolic: SymbolicModel) -> Iterator[tuple[Place, str]]:
    """Yield names beside the text that are something else in it than they should be."""
    constants, states = symbolic.constants, symbolic.rates

    def kind(name: str) -> str:
        if name in states:
            return "a state"
        return "a formula" if name in symbolic.assignments else "not defined"

    places: list[tuple[Place, str]] = [(("inputs", "flow_rate_ul_h"), facts.inputs.flow_rate_ul_h)]
    if facts.inputs.drug_nm is not None:
        places.append((("inputs", "drug_nm"), facts.inputs.drug_nm))
    places += [(("stimuli", n, "input"), s.input) for n, s in facts.stimuli.items()]
    for part in ("donor", "chip", "drug"):
        places += [((part, key), symbol) for key, symbol in getattr(facts, part).items()]
    for part in ("estimated", "varies"):
        places += [((part, symbol), symbol) for symbol in getattr(facts, part)]
    for place, symbol in places:
        if symbol not in constants:
            yield place, f"{symbol} is {kind(symbol)} in the text; it must be a constant (X = 1)"
    read = [(("readouts", n, "symbol"), r.symbol, r.kind) for n, r in facts.readouts.items()]
    inputs = set(facts.input_symbols) & set(constants)
    for place, symbol, how in (*read, (("viability",), facts.viability, "moment")):
        if symbol in constants:
            yield place, f"{symbol} is a constant in the text; a state or formula can be read"
        elif symbol not in states and symbol not in symbolic.assignments:
            yield place, f"{symbol} is not defined in the text"
        elif how != "window_mean" and symbol in symbolic.assignments:
            used = inputs & {str(s) for s in symbolic.assignments[symbol].free_symbols}
            if used:
                yield (
                    place,
                    f"{symbol} depends on the input {', '.join(sorted(used))} directly, which jumps; "
                    "read a state instead",
                )
    for state, start in symbolic.initials.items():
        used = inputs & {str(s) for s in start.free_symbols}
        if used:
            yield (
                ("inputs",),
                f"the text starts {state} from the input {', '.join(sorted(used))}, "
                "which has no value before the perfusion begins",
            )
    if facts.potency is not None and facts.potency in facts.estimated:
        unit = facts.estimated[facts.potency].unit
        if unit != "nM":
            yield (
                ("estimated", facts.potency, "unit"),
                f'"{unit}" stands here; the potency takes the prior of a drug\'s file, in nM',
            )


def strange(facts: ModelFacts, symbolic: SymbolicModel) -> list[str]:
    """Return what is allowed and rarely meant."""
    quantities = [facts.viability, *(readout.symbol for readout in facts.readouts.values())]
    known = [q for q in quantities if q in symbolic.rates or q in symbolic.assignments]
    needed = symbolic.needed_states(known)
    notes = []
    idle = [state for state in symbolic.rates if state not in needed]
    if idle:
        notes.append(f"no readout needs the state {', '.join(idle)}: left out of the simulation")
    used = used_symbols(symbolic, known, needed)
    unread = [name for name in facts.estimated if name not in used]
    if unread:
        notes.append(f"estimated, but no readout depends on it: {', '.join(unread)}")
    unused = [name for name in facts.input_symbols if name not in used]
    if unused:
        notes.append(f"an input that changes no readout: {', '.join(unused)}")
    idle_constants = [
        name
        for name in symbolic.constants
        if name not in used and name not in facts.estimated and name not in facts.input_symbols
    ]
    if idle_constants:
        notes.append(f"constants that no readout depends on: {', '.join(idle_constants)}")
    for name, prior in facts.estimated.items():
        value = symbolic.constants.get(name)
        if value is None:
            continue
        if isinstance(prior, TruncatedNormal):
            if not prior.low <= value <= prior.high:
                notes.append(
                    f"{name} = {value:g} in the text, outside its prior's {prior.low:g} to {prior.high:g}"
                )
        elif value <= 0.0:
            notes.append(f"{name} = {value:g} in the text; its lognormal prior is above 0")
    if not facts.readouts:
        notes.append("nothing is read out: readouts is empty")
    return notes


def used_symbols(
    symbolic: SymbolicModel, quantities: Sequence[str], needed: Sequence[str]
) -> set[str]:
    """Return every name that these quantities hang on, directly or not."""
    formulas = [symbolic.rates[state] for state in needed]
    formulas += [symbolic.initials[state] for state in needed if state in symbolic.initials]
    formulas += [symbolic.assignments[q] for q in quantities if q in symbolic.assignments]
    for event in symbolic.events:
        touched = [formula for name, formula in event.assignments.items() if name in needed]
        formulas += [*touched, event.time] if touched else []
    formulas += symbolic.breakpoints
    return {str(symbol) for formula in formulas for symbol in formula.free_symbols}


def simulate_a_day(path: Path, symbolic: SymbolicModel) -> tuple[DefaultDay | None, str]:
    """Return what came of one day with the text's own numbers, and why it failed where it did."""
    import numpy as np

    from chiploop.models.inlet import ChipInlet
    from chiploop.models.lanes import STEP_LIMIT
    from chiploop.models.tissue_model import TissueModel

    try:
        model = TissueModel(path.stem, path)
        defaults = symbolic.constants
        inputs = np.array([[defaults[name] for name in model.facts.input_symbols]])
        inlet = ChipInlet("default", np.array([0.0, DAY_H]), inputs, {})
        times = np.arange(WINDOW_H, DAY_H + 0.1, WINDOW_H)
        own = np.array([[defaults[name] for name in model.estimated_names]])
        ran = model.simulate(own, [inlet], times, times - WINDOW_H)
    except FileNotValid as refusal:
        return None, str(refusal).removeprefix(f"model {path.stem}: ")
    except RecursionError:
        return None, "one of its formulas is too long to be compiled; split the state in parts"
    except ValueError as refusal:  # two events at one moment
        return None, str(refusal)
    if ran.failed:
        met = (
            "too many steps were needed"
            if ran.trouble[0, 0] == STEP_LIMIT
            else "a value that is not a number was met, or the steps became too small"
        )
        return None, (
            f"a default day (inputs and constants as in the text) does not simulate: {met} "
            f"after {ran.steps} steps"
        )
    if not np.all(np.isfinite(ran.readouts)):
        names = [
            spec.name
            for r, spec in enumerate(model.readouts)
            if not np.all(np.isfinite(ran.readouts[..., r]))
        ]
        return None, f"after a default day {', '.join(names)} is not a number"
    fastest, slowest = time_scales(symbolic, model, ran.states[0, 0])
    return DefaultDay(ran.steps, fastest, slowest), ""


def time_scales(
    symbolic: SymbolicModel, model: TissueModel, states: Any
) -> tuple[float | None, float | None]:
    """Return the shortest and the longest time scale of the equations at a state, in hours.

    They are the inverse sizes of the Jacobian's eigenvalues; those that are zero are left out.
    """
    import numpy as np
    import sympy

    from chiploop.models.model_plan import jacobian_of

    names = [name for name in model.compiled.states if name in symbolic.rates]
    variables = [sympy.Symbol(name, real=True) for name in names]
    entries = jacobian_of([symbolic.rates[name] for name in names], variables)
    values = {**symbolic.constants, TIME: DAY_H}
    values |= dict(zip(model.compiled.states, map(float, states), strict=True))
    needed = sorted({str(s) for entry in entries.values() for s in entry.free_symbols})
    arguments = [sympy.Symbol(name, real=True) for name in needed]
    function = sympy.lambdify(arguments, list(entries.values()), modules="numpy")
    jacobian = np.zeros((len(names), len(names)))
    with np.errstate(all="ignore"):
        told = function(*(np.float64(values[name]) for name in needed))
    for place, entry in zip(entries, told, strict=True):
        jacobian[place] = entry
    if not np.all(np.isfinite(jacobian)):
        return None, None
    sizes = np.abs(np.linalg.eigvals(jacobian))
    sizes = sizes[sizes > 1e-12 * max(1e-300, sizes.max(initial=0.0))]
    if not sizes.size:
        return None, None
    return float(1.0 / sizes.max()), float(1.0 / sizes.min())
