"""A formula of a model text as a sympy expression in real symbols.

Belongs here: libsbml's formula trees, what a formula may hold, numbers that are none.
Not here: what the names in it stand for (sbml). Formulas never pass through a string: E, S or lambda are
names like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chiploop.errors import FileNotValid
from chiploop.models.symbolic import TIME

ALLOWED = (
    "allowed are + - * / ^, exp, ln, log, log10, sqrt, root, abs, min, max, piecewise, "
    "trigonometric and hyperbolic functions with their inverses, time, pi, exponentiale, avogadro"
)
LARGEST_EXACT = 2.0**53
"""Up to here a whole number is the same as integer and as float."""


def symbol(name: str) -> Any:
    """Return the symbol that stands for a name in every formula."""
    import sympy

    return sympy.Symbol(name, real=True)


def exact(value: float) -> Any:
    """Return a number for a formula: whole numbers as such, so that powers and derivatives stay simple."""
    import sympy

    if value.is_integer() and abs(value) <= LARGEST_EXACT:
        return sympy.Integer(int(value))
    return sympy.Float(value)


def trouble_with(expression: Any) -> str:
    """Return what makes an expression no real number for any values of its symbols; empty if nothing."""
    import sympy

    if expression.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        return "it divides by zero or holds an infinite value"
    for part in sympy.preorder_traversal(expression):
        if isinstance(part, sympy.Expr) and part.is_number and part.is_extended_real is False:
            return f"{part} is not a real number"
    return ""


@dataclass(frozen=True)
class Formulas:
    """Reads formula trees of one model."""

    names: Mapping[str, Any]
    """Every id that a formula may use -> its symbol."""
    functions: Mapping[str, Any]
    """Id of a function -> its lambda tree."""

    def number(self, node: Any, place: str, local: Mapping[str, Any] | None = None) -> Any:
        """Return the expression of a formula; FileNotValid, naming the place, where it can not be."""
        self._require(node, place)
        value = self._number(node, place, local or {})
        trouble = trouble_with(value)
        if trouble:
            raise FileNotValid(f"{place}: {shown(node)}: {trouble}; {ALLOWED}")
        return value

    def condition(self, node: Any, place: str) -> Any:
        """Return the sympy condition of a comparison; FileNotValid where it is none."""
        self._require(node, place)
        return self._condition(node, place, {})

    def _require(self, node: Any, place: str) -> None:
        if node is None:
            raise FileNotValid(f"{place}: it has no formula; {ALLOWED}")

    def _number(self, node: Any, place: str, local: Mapping[str, Any]) -> Any:
        import sympy

        value = self._walk(node, place, local)
        if not isinstance(value, sympy.Expr):
            raise FileNotValid(
                f"{place}: {shown(node)} is a comparison where a number is needed; "
                "allowed is piecewise(1, comparison, 0)"
            )
        return value

    def _condition(self, node: Any, place: str, local: Mapping[str, Any]) -> Any:
        import sympy

        value = self._walk(node, place, local)
        if isinstance(value, sympy.Expr):
            raise FileNotValid(
                f"{place}: {shown(node)} is a number where a comparison is needed; "
                "allowed are < <= > >= == !=, and, or, not, true, false"
            )
        return value

    def _walk(self, node: Any, place: str, local: Mapping[str, Any]) -> Any:
        import libsbml
        import sympy

        kind = node.getType()
        children = [node.getChild(i) for i in range(node.getNumChildren())]
        if kind in (
            libsbml.AST_INTEGER,
            libsbml.AST_REAL,
            libsbml.AST_REAL_E,
            libsbml.AST_RATIONAL,
        ):
            return literal(node, place)
        if kind == libsbml.AST_NAME:
            return self._name(node.getName(), place, local)
        if kind in constants():
            return constants()[kind]
        if kind == libsbml.AST_FUNCTION:
            return self._call(node, children, place, local)
        if kind == libsbml.AST_FUNCTION_PIECEWISE:
            return self._piecewise(node, children, place, local)
        if kind in logic():
            return logic()[kind](*[self._condition(child, place, local) for child in children])
        if kind in relations():
            relation = relations()[kind]
            sides = [self._number(child, place, local) for child in children]
            pairs = zip(sides[:-1], sides[1:], strict=True)
            each = [applied(relation, pair, node, place) for pair in pairs]
            return sympy.And(*each)
        if kind in operations():
            arguments = [self._number(child, place, local) for child in children]
            return applied(operations()[kind], arguments, node, place)
        raise FileNotValid(f"{place}: {called(node)} is not supported; {ALLOWED}")

    def _name(self, name: str, place: str, local: Mapping[str, Any]) -> Any:
        found = local.get(name, self.names.get(name))
        if found is None:
            raise FileNotValid(
                f"{place}: {name} is not a name of this model that a formula may use; allowed are "
                "its compartments, species, parameters, reactions and stoichiometries"
            )
        return found

    def _call(self, node: Any, children: list[Any], place: str, local: Mapping[str, Any]) -> Any:
        definition = self.functions.get(node.getName())
        if definition is None:
            raise FileNotValid(f"{place}: {node.getName()} is not supported; {ALLOWED}")
        count = definition.getNumChildren() - 1
        if count != len(children) or count < 0:
            raise FileNotValid(
                f"{place}: {shown(node)} gives {len(children)} arguments; {node.getName()} takes {count}"
            )
        given = [self._walk(child, place, local) for child in children]
        arguments = {definition.getChild(i).getName(): given[i] for i in range(count)}
        inner = Formulas({}, {k: v for k, v in self.functions.items() if k != node.getName()})
        return inner._walk(
            definition.getChild(count), f"{place}, function {node.getName()}", arguments
        )

    def _piecewise(
        self, node: Any, children: list[Any], place: str, local: Mapping[str, Any]
    ) -> Any:
        import sympy

        if len(children) % 2 == 0:
            raise FileNotValid(
                f"{place}: {shown(node)} has no value where none of its conditions holds; "
                "allowed is piecewise(value, condition, ..., otherwise)"
            )
        pieces = [
            (self._number(value, place, local), self._condition(condition, place, local))
            for value, condition in zip(children[:-1:2], children[1::2], strict=True)
        ]
        return sympy.Piecewise(*pieces, (self._number(children[-1], place, local), True))


def applied(function: Callable[..., Any], arguments: Any, node: Any, place: str) -> Any:
    """Return the function of its arguments; FileNotValid where it takes others."""
    try:
        return function(*arguments)
    except (TypeError, ValueError) as problem:
        raise FileNotValid(f"{place}: {shown(node)} is not read: {problem}; {ALLOWED}") from None


def literal(node: Any, place: str) -> Any:
    """Return the number that a leaf of a tree holds."""
    import libsbml
    import sympy

    kind = node.getType()
    if kind == libsbml.AST_INTEGER:
        return sympy.Integer(node.getInteger())
    if kind == libsbml.AST_RATIONAL and node.getDenominator():
        return sympy.Rational(node.getNumerator(), node.getDenominator())
    value = node.getReal()
    if kind == libsbml.AST_REAL_E:
        # libsbml multiplies with a power of ten, which may miss the nearest float
        value = float(f"{node.getMantissa()!r}e{node.getExponent()}")
    if not math.isfinite(value):
        raise FileNotValid(f"{place}: {value} is not a number to calculate with; {ALLOWED}")
    return exact(value)


def shown(node: Any) -> str:
    """Return a tree as a person would write it."""
    import libsbml

    formula: str = libsbml.formulaToL3String(node)
    return formula


def called(node: Any) -> str:
    """Return what a tree begins with."""
    import libsbml

    fixed = {libsbml.AST_FUNCTION_DELAY: "delay", libsbml.AST_FUNCTION_RATE_OF: "rateOf"}
    return fixed.get(node.getType()) or node.getName() or shown(node).split("(")[0]


@cache
def constants() -> dict[int, Any]:
    """Return the leaves with a fixed meaning."""
    import libsbml
    import sympy

    return {
        libsbml.AST_NAME_TIME: symbol(TIME),
        # the value that SBML level 3 prescribes, not today's exact one
        libsbml.AST_NAME_AVOGADRO: sympy.Float(6.02214179e23),
        libsbml.AST_CONSTANT_PI: sympy.pi,
        libsbml.AST_CONSTANT_E: sympy.E,
        libsbml.AST_CONSTANT_TRUE: sympy.true,
        libsbml.AST_CONSTANT_FALSE: sympy.false,
    }


@cache
def relations() -> dict[int, Callable[..., Any]]:
    """Return the comparisons."""
    import libsbml
    import sympy

    return {
        libsbml.AST_RELATIONAL_EQ: sympy.Eq,
        libsbml.AST_RELATIONAL_NEQ: sympy.Ne,
        libsbml.AST_RELATIONAL_LT: sympy.Lt,
        libsbml.AST_RELATIONAL_LEQ: sympy.Le,
        libsbml.AST_RELATIONAL_GT: sympy.Gt,
        libsbml.AST_RELATIONAL_GEQ: sympy.Ge,
    }


@cache
def logic() -> dict[int, Callable[..., Any]]:
    """Return what joins comparisons."""
    import libsbml
    import sympy

    return {
        libsbml.AST_LOGICAL_AND: sympy.And,
        libsbml.AST_LOGICAL_OR: sympy.Or,
        libsbml.AST_LOGICAL_NOT: sympy.Not,
        libsbml.AST_LOGICAL_XOR: lambda *given: sympy.Xor(*given).to_nnf(simplify=False),
        libsbml.AST_LOGICAL_IMPLIES: lambda a, b: sympy.Or(sympy.Not(a), b),
    }


@cache
def operations() -> dict[int, Callable[..., Any]]:
    """Return what makes a number of numbers."""
    import libsbml
    import sympy

    def power(base: Any, exponent: Any) -> Any:
        if base.is_Rational and exponent.is_Integer and abs(exponent) > 1000:
            base = sympy.Float(base)  # never a whole number of a million digits
        return base**exponent

    def logarithm(*arguments: Any) -> Any:
        base, value = arguments if len(arguments) == 2 else (sympy.Integer(10), *arguments)
        return sympy.log(value) / sympy.log(base)

    def root(*arguments: Any) -> Any:
        degree, value = arguments if len(arguments) == 2 else (sympy.Integer(2), *arguments)
        return value ** (1 / degree)

    def minus(first: Any, *second: Any) -> Any:
        return first - sum(second) if second else -first

    table = {
        libsbml.AST_PLUS: sympy.Add,
        libsbml.AST_TIMES: sympy.Mul,
        libsbml.AST_MINUS: minus,
        libsbml.AST_DIVIDE: lambda a, b: a / b,
        libsbml.AST_POWER: power,
        libsbml.AST_FUNCTION_POWER: power,
        libsbml.AST_FUNCTION_ROOT: root,
        libsbml.AST_FUNCTION_LOG: logarithm,
        libsbml.AST_FUNCTION_LN: sympy.log,
        libsbml.AST_FUNCTION_EXP: sympy.exp,
        libsbml.AST_FUNCTION_ABS: sympy.Abs,
        libsbml.AST_FUNCTION_MAX: sympy.Max,
        libsbml.AST_FUNCTION_MIN: sympy.Min,
    }
    pairs = [
        ("SIN", sympy.sin, sympy.asin, "CSC"),
        ("COS", sympy.cos, sympy.acos, "SEC"),
        ("TAN", sympy.tan, sympy.atan, "COT"),
        ("SINH", sympy.sinh, sympy.asinh, "CSCH"),
        ("COSH", sympy.cosh, sympy.acosh, "SECH"),
        ("TANH", sympy.tanh, sympy.atanh, "COTH"),
    ]
    for name, plain, inverse, reciprocal in pairs:
        table[getattr(libsbml, f"AST_FUNCTION_{name}")] = plain
        table[getattr(libsbml, f"AST_FUNCTION_ARC{name}")] = inverse
        table[getattr(libsbml, f"AST_FUNCTION_{reciprocal}")] = lambda x, f=plain: 1 / f(x)
        table[getattr(libsbml, f"AST_FUNCTION_ARC{reciprocal}")] = lambda x, f=inverse: f(1 / x)
    return table
