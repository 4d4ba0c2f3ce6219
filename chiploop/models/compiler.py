"""From a model text (Antimony) to a compiled right-hand side, Jacobian and solver.

Belongs here: reading the text, what it may contain, the symbolic work, the cache of generated sources.
Not here: the numerical method (rosenbrock), parameters and chips (tissue_model).

What the text may hold: parameters with numbers, rate rules, assignment rules, initial assignments.
Anything else (reactions, events, delays, time-dependent rules, algebraic rules) is refused by name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import platformdirs

from chiploop.errors import FileNotValid
from chiploop.models import rosenbrock

GENERATOR = 2
"""Raised whenever the generated source changes for an unchanged model text."""
FUNCTIONS = frozenset(
    {"exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "Abs", "Max", "Min"}
)
"""What a formula may call (sympy's names); each has a derivative that can be written out."""


@dataclass(frozen=True)
class CompiledModel:
    """A model ready to run; arrays are in the order of these names."""

    states: tuple[str, ...]
    """Model states, followed by one integral per observed quantity that is averaged over windows."""
    parameters: tuple[str, ...]
    """Every constant of the text that is no input."""
    defaults: dict[str, float]
    inputs: tuple[str, ...]
    observed: tuple[str, ...]
    text_sha256: str
    batch: Callable[..., None]
    """See ``rosenbrock.DRIVER``."""
    initial: Callable[[Any, Any], None]
    """``initial(p, y)`` writes the starting state for parameters p (n_p,) into y (n_y,)."""


@dataclass(frozen=True)
class ModelText:
    """The parts of a model text as sympy expressions."""

    rates: dict[str, Any]
    assignments: dict[str, Any]
    initials: dict[str, Any]
    constants: dict[str, float]


def read_antimony(text: str, name: str) -> ModelText:
    """Return the parts of an Antimony text.

    Raises FileNotValid where Antimony refuses it (with its line) or where it holds what is not supported.
    """
    import antimony
    import libsbml
    import sympy

    antimony.clearPreviousLoads()
    if antimony.loadAntimonyString(text) < 0:
        raise FileNotValid(f"model {name}: {antimony.getLastError().strip()}")
    document = libsbml.readSBMLFromString(antimony.getSBMLString(antimony.getMainModuleName()))
    model = document.getModel()
    refused = {
        "reaction": model.getNumReactions(),
        "event": model.getNumEvents(),
        "constraint": model.getNumConstraints(),
        "function": model.getNumFunctionDefinitions(),
    }
    for kind, count in refused.items():
        if count:
            raise FileNotValid(
                f"model {name}: it holds {count} {kind}(s); allowed are rate rules (x' = ...), "
                "assignment rules (x := ...), parameters and initial values"
            )
    symbols = {
        model.getParameter(i).getId(): sympy.Symbol(model.getParameter(i).getId(), real=True)
        for i in range(model.getNumParameters())
    }

    def expression(node: Any, place: str) -> Any:
        formula = libsbml.formulaToL3String(node).replace("^", "**")
        try:
            parsed = sympy.sympify(formula, locals=dict(symbols))
        except (sympy.SympifyError, TypeError) as problem:
            raise FileNotValid(f"model {name}, {place}: {formula} is not read: {problem}") from None
        calls = {type(call).__name__ for call in parsed.atoms(sympy.core.function.Application)}
        if not isinstance(parsed, sympy.Expr) or calls - FUNCTIONS:
            what = ", ".join(sorted(calls - FUNCTIONS)) or "a comparison"
            raise FileNotValid(
                f"model {name}, {place}: {what} is not supported; a formula may hold + - * / ^, "
                "sqrt, ln, abs, " + ", ".join(sorted(f for f in FUNCTIONS if f.islower()))
            )
        unknown = sorted(str(s) for s in parsed.free_symbols if str(s) not in symbols)
        if unknown:
            raise FileNotValid(
                f"model {name}, {place}: {', '.join(unknown)} is not a parameter or state "
                "(time-dependent rules are not supported; inputs are set by the perfusion)"
            )
        return parsed

    rates: dict[str, Any] = {}
    assignments: dict[str, Any] = {}
    for i in range(model.getNumRules()):
        rule = model.getRule(i)
        target = rule.getVariable()
        if rule.isRate():
            rates[target] = expression(rule.getMath(), f"rate of {target}")
        elif rule.isAssignment():
            assignments[target] = expression(rule.getMath(), f"{target} :=")
        else:
            raise FileNotValid(f"model {name}: an algebraic rule is not supported")
    initials: dict[str, Any] = {}
    for i in range(model.getNumInitialAssignments()):
        target = model.getInitialAssignment(i).getSymbol()
        math = model.getInitialAssignment(i).getMath()
        initials[target] = expression(math, f"initial value of {target}")
    constants: dict[str, float] = {}
    for i in range(model.getNumParameters()):
        parameter = model.getParameter(i)
        identifier = parameter.getId()
        if identifier in assignments or identifier in initials:
            continue
        if not parameter.isSetValue():
            raise FileNotValid(f"model {name}: {identifier} has no value")
        if identifier in rates:
            initials[identifier] = sympy.Float(parameter.getValue())
        else:
            constants[identifier] = float(parameter.getValue())
    # at the start every name stands for its own start, so that only constants are left
    at_start = resolve_assignments({**assignments, **initials}, name)
    derived = {target: at_start[target] for target in initials if target not in rates}
    return ModelText(
        rates=rates,
        assignments=resolve_assignments({**assignments, **derived}, name),
        initials={target: at_start[target] for target in rates},
        constants=constants,
    )


def resolve_assignments(assignments: dict[str, Any], name: str) -> dict[str, Any]:
    """Return formulas with each other put in; FileNotValid where they go in a circle."""
    resolved = dict(assignments)
    for _ in range(len(assignments) + 1):
        by_name = dict(resolved)
        changed = False
        for key, value in resolved.items():
            used = {s: by_name[str(s)] for s in value.free_symbols if str(s) in by_name}
            if used:
                resolved[key] = value.subs(used)
                changed = True
        if not changed:
            return resolved
    raise FileNotValid(f"model {name}: its assignments refer to each other in a circle")


def generate(
    text: ModelText, inputs: Sequence[str], observed: Sequence[str], integrals: Sequence[str]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the generated source, the state names and the parameter names.

    ``integrals`` are observed quantities whose running integral becomes a state of its own, so that the
    exact mean over a collection window is a difference of two values.
    """
    import sympy

    states = needed_states(
        text, [name.removeprefix("integral_") for name in (*observed, *integrals)]
    )
    parameters = tuple(name for name in text.constants if name not in inputs)
    symbols = {name: sympy.Symbol(name, real=True) for name in states}
    known = {**text.assignments, **symbols}
    known |= {f"integral_{name}": sympy.Symbol(f"integral_{name}", real=True) for name in integrals}
    assigned = {sympy.Symbol(k, real=True): v for k, v in text.assignments.items()}
    rates = [text.rates[s].subs(assigned) for s in states]
    rates += [known[name] for name in integrals]
    names = states + tuple(f"integral_{name}" for name in integrals)
    n = len(names)

    array = {
        sympy.Symbol(s, real=True): sympy.Symbol(f"y{i}", real=True) for i, s in enumerate(names)
    }
    for i, name in enumerate(parameters):
        array[sympy.Symbol(name, real=True)] = sympy.Symbol(f"p_{i}", real=True)
    for i, name in enumerate(inputs):
        array[sympy.Symbol(name, real=True)] = sympy.Symbol(f"u_{i}", real=True)
    rates = [rate.subs(array, simultaneous=True) for rate in rates]
    y = [sympy.Symbol(f"y{i}", real=True) for i in range(n)]
    jacobian = {
        (i, j): sympy.diff(rates[i], y[j])
        for i in range(n)
        for j in range(len(states))
        if rates[i].has(y[j])
    }
    jacobian = {place: entry for place, entry in jacobian.items() if entry != 0}

    rhs, results = straight_line(rates, "c")
    jac, entries = straight_line(list(jacobian.values()), "g")
    jac += [(f"J_{i}_{j}", value) for (i, j), value in zip(jacobian, entries, strict=True)]
    rhs += [(f"f{i}", value) for i, value in enumerate(results)]
    step = rosenbrock.step_source(n, rhs, [f"f{i}" for i in range(n)], jac, set(jacobian))

    watched = [sympy.sympify(known[name]).subs(array, simultaneous=True) for name in observed]
    for name, quantity in zip(observed, watched, strict=True):
        if any(str(s).startswith("u_") for s in quantity.free_symbols):
            raise FileNotValid(f"observed {name} depends on an input directly; read out a state")
    observe, values = straight_line(watched, "o")
    starts, initial = straight_line(
        [sympy.sympify(text.initials[s]).subs(array, simultaneous=True) for s in states], "b"
    )
    parts = [
        '"""Generated by chiploop from a model text; do not edit."""',
        "import math",
        "import numba",
        "import numpy as np",
        f"N_STATES = {n}",
        f"N_OBSERVED = {len(observed)}",
        "H_FIRST = 0.05",
        index_arrays(step),
        function("observe", "y, p, u, out", observe, [("out", v) for v in values], n),
        function("initial", "p, y_out", starts, [("y_out", v) for v in initial], 0)
        + f"    for i in range({len(states)}, {n}):\n        y_out[i] = 0.0\n",
        rosenbrock.DRIVER,
        COMPILE,
    ]
    return "\n".join(parts), names, parameters


def needed_states(text: ModelText, quantities: Sequence[str]) -> tuple[str, ...]:
    """Return the states that these quantities depend on, directly or not, in the text's order.

    A state that nothing read out depends on is left out: it costs time and steers the step size.
    """
    waiting, needed = list(quantities), set()
    while waiting:
        name = waiting.pop()
        if name in text.rates:
            if name in needed:
                continue
            needed.add(name)
            expression = text.rates[name]
        else:
            expression = text.assignments[name]
        found = {str(symbol) for symbol in expression.free_symbols}
        waiting += [
            s for s in found if (s in text.rates and s not in needed) or s in text.assignments
        ]
    return tuple(name for name in text.rates if name in needed)


COMPILE = """
# no nnan and no ninf: failure is detected through values that are not numbers
FLAGS = {"reassoc", "contract", "arcp", "nsz", "afn"}
OPTIONS = dict(fastmath=FLAGS, error_model="numpy", cache=True, nogil=True)
A1, A2, A3, A4 = "float64[::1]", "float64[:,::1]", "float64[:,:,::1]", "float64[:,:,:,::1]"
step = numba.njit(f"void({A1},{A1},{A1},float64,{A1},{A1})", **OPTIONS)(step)
observe = numba.njit(f"void({A1},{A1},{A1},{A1})", **OPTIONS)(observe)
initial = numba.njit(f"void({A1},{A1})", **OPTIONS)(initial)
trajectory = numba.njit(
    f"int64({A1},{A1},{A1},{A2},{A1},float64,{A1},int64,{A1},{A1},{A2})", **OPTIONS
)(trajectory)
batch = numba.njit(
    f"void({A3},{A3},{A2},{A3},int64[::1],{A1},float64,{A1},int64,{A2},{A4},int64[:,::1])", **OPTIONS
)(batch)
"""


def straight_line(expressions: list[Any], prefix: str) -> tuple[rosenbrock.Lines, list[str]]:
    """Return common subexpressions as assignments, and the expressions in terms of them."""
    import sympy

    shared, reduced = sympy.cse(
        expressions, symbols=sympy.numbered_symbols(prefix), optimizations="basic"
    )
    return [(str(name), code(value)) for name, value in shared], [code(v) for v in reduced]


def code(expression: Any) -> str:
    """Return an expression as Python source with small and half-integer powers written out."""
    from sympy.printing.pycode import PythonCodePrinter

    class Printer(PythonCodePrinter):
        def _print_Pow(self, node: Any, rational: bool = False) -> str:
            base, exponent = self._print(node.base), node.exp
            if exponent.is_number and float(2 * exponent).is_integer() and abs(exponent) <= 4:
                whole, half = divmod(abs(int(2 * exponent)), 2)
                factors = [f"({base})"] * whole + [f"math.sqrt({base})"] * half
                product = "*".join(factors)
                return f"({product})" if exponent > 0 else f"(1.0/({product}))"
            return f"math.pow({base}, {self._print(exponent)})"

        def _print_Integer(self, node: Any) -> str:
            return f"{int(node)}.0"

        def _print_Rational(self, node: Any) -> str:
            return f"({int(node.p)}.0/{int(node.q)}.0)"

    return Printer({"fully_qualified_modules": True}).doprint(expression)


def index_arrays(source: str) -> str:
    """Return source with the scalars p_3, u_0 read from their arrays."""
    return re.sub(r"\b([pu])_(\d+)\b", r"\1[\2]", source)


def function(
    name: str, arguments: str, body: rosenbrock.Lines, results: list[tuple[str, str]], n_states: int
) -> str:
    """Return the source of a function that writes its results into the named output array."""
    lines = [f"def {name}({arguments}):"]
    lines += [f"    y{i} = y[{i}]" for i in range(n_states)]
    lines += [f"    {target} = {value}" for target, value in body]
    lines += [f"    {array}[{i}] = {value}" for i, (array, value) in enumerate(results)]
    return index_arrays("\n".join(lines)) + "\n"


def compile_model(
    text: str,
    name: str,
    inputs: Sequence[str],
    observed: Sequence[str],
    integrals: Sequence[str],
    cache_folder: Path | None = None,
) -> CompiledModel:
    """Return the compiled model; the second time from the cache, without sympy or a compiler run.

    Raises FileNotValid for a text that can not be used.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()
    key = hashlib.sha256(
        repr((GENERATOR, digest, tuple(inputs), tuple(observed), tuple(integrals))).encode()
    ).hexdigest()[:20]
    folder = cache_folder or Path(platformdirs.user_cache_dir("chiploop")) / "models"
    path = folder / f"model_{key}.py"
    if not path.exists():
        parts = read_antimony(text, name)
        missing = [s for s in inputs if s not in parts.constants]
        quantities = {*parts.assignments, *parts.rates, *(f"integral_{s}" for s in integrals)}
        missing += [s for s in (*observed, *integrals) if s not in quantities]
        if missing:
            raise FileNotValid(
                f"model {name}: {', '.join(missing)} is named beside it but not in it"
            )
        for state, start in parts.initials.items():
            if any(str(symbol) in inputs for symbol in start.free_symbols):
                raise FileNotValid(
                    f"model {name}: the initial value of {state} depends on an input; "
                    "inputs are set by the perfusion and have no value before it"
                )
        source, states, parameters = generate(parts, inputs, observed, integrals)
        facts = {
            "STATES": states,
            "PARAMETERS": parameters,
            "DEFAULTS": {p: parts.constants[p] for p in parameters},
        }
        source += "".join(f"{fact} = {value!r}\n" for fact, value in facts.items())
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(
            f".{hashlib.sha256(repr(id(source)).encode()).hexdigest()[:8]}"
        )
        unfinished.write_text(source, encoding="utf-8")
        unfinished.replace(path)
    module = load_source(path)
    return CompiledModel(
        states=module.STATES,
        parameters=module.PARAMETERS,
        defaults=module.DEFAULTS,
        inputs=tuple(inputs),
        observed=tuple(observed),
        text_sha256=digest,
        batch=module.batch,
        initial=module.initial,
    )


def load_source(path: Path) -> ModuleType:
    """Return the generated module; numba keeps its machine code beside it."""
    name = f"chiploop_generated_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
