"""Straight-line programs: formulas as a list of numbered operations, each done once.

Belongs here: the operations, sharing of equal ones, sympy -> operations, what they cost. Not here: what is
computed (rosenbrock), how it becomes machine code (lanes, scalar).

Operations are numbered in the order in which they must run. Equal operations get one number, so common
subexpressions are removed wherever they come from, also between the stages of a step. An operation is *steady*
when it hangs on parameters and inputs alone: it is then computed once a segment and not once a step. To make
much of a formula steady, products are split into a steady and a varying half, and x/p becomes x*(1/p).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Operation = tuple[Any, ...]
"""(kind, operand, ...): operands are numbers of earlier operations, except for the leaves:
("constant", value), ("load", array, index)."""

ARITHMETIC = {"add": 1, "sub": 1, "mul": 1, "div": 1, "neg": 0, "abs": 0, "max": 1, "min": 1}
"""Floating-point operations that count as one (a sign costs nothing)."""
COSTS = {**ARITHMETIC, "sqrt": 1, "exp": 22, "log": 20, "pow": 44}
"""Flops of a kind; comparisons and choices are not counted. exp, log and pow as lane_math writes them."""
FUNCTIONS = frozenset(
    {
        *("sin", "cos", "tan", "asin", "acos", "atan"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    }
)
"""Functions that are left to the mathematical library, lane by lane."""
TRUTHS = frozenset({"lt", "le", "eq", "ne", "and", "or", "not"})
"""Operations whose result is a truth value; never steady, because only numbers are kept for a segment."""


class Program:
    """A growing list of operations in which each stands once."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.varies: list[bool] = []
        """Whether an operation changes within a segment."""
        self.known: dict[Operation, int] = {}

    def constant(self, value: float) -> int:
        """Return the number of a constant."""
        return self.note(("constant", float(value)), False)

    def load(self, array: str, index: int, varies: bool) -> int:
        """Return the number of ``array[index]``."""
        return self.note(("load", array, index), varies)

    def value(self, number: int) -> float | None:
        """Return the value of a constant, None of anything else."""
        operation = self.operations[number]
        return operation[1] if operation[0] == "constant" else None

    def note(self, operation: Operation, varies: bool) -> int:
        """Return the number of this operation; it is added where it is new."""
        key = operation
        if operation[0] == "constant":  # 0.0 and -0.0 are equal as keys, and not as values
            key = ("constant", operation[1].hex())
        if key not in self.known:
            self.known[key] = len(self.operations)
            self.operations.append(operation)
            self.varies.append(varies)
        return self.known[key]

    def apply(self, kind: str, *operands: int) -> int:
        """Return the number of an operation on earlier ones; order does not matter where it may not."""
        if kind in ("add", "mul", "max", "min", "and", "or", "eq"):
            operands = tuple(sorted(operands))
        varies = kind in TRUTHS or any(self.varies[o] for o in operands)
        return self.note((kind, *operands), varies)

    def add(self, a: int, b: int) -> int:
        """Return a + b."""
        x, y = self.value(a), self.value(b)
        if x is not None and y is not None:
            return self.constant(x + y)
        if x == 0.0:
            return b
        if y == 0.0:
            return a
        if self.operations[b][0] == "neg":
            return self.subtract(a, self.operations[b][1])
        if self.operations[a][0] == "neg":
            return self.subtract(b, self.operations[a][1])
        return self.apply("add", a, b)

    def subtract(self, a: int, b: int) -> int:
        """Return a - b."""
        x, y = self.value(a), self.value(b)
        if x is not None and y is not None:
            return self.constant(x - y)
        if y == 0.0:
            return a
        if x == 0.0:
            return self.negate(b)
        return self.apply("sub", a, b)

    def negate(self, a: int) -> int:
        """Return -a."""
        x = self.value(a)
        if x is not None:
            return self.constant(-x)
        if self.operations[a][0] == "neg":
            return int(self.operations[a][1])
        return self.apply("neg", a)

    def multiply(self, a: int, b: int) -> int:
        """Return a * b."""
        x, y = self.value(a), self.value(b)
        if x is not None and y is not None:
            return self.constant(x * y)
        for factor, other in ((x, b), (y, a)):
            if factor == 0.0:
                return self.constant(0.0)
            if factor == 1.0:
                return other
            if factor == -1.0:
                return self.negate(other)
        return self.apply("mul", a, b)

    def reciprocal(self, a: int) -> int:
        """Return 1 / a."""
        x = self.value(a)
        if x is not None and x != 0.0:
            return self.constant(1.0 / x)
        return self.apply("div", self.constant(1.0), a)

    def sum(self, terms: Iterable[int]) -> int:
        """Return the sum of terms, steady ones first among themselves."""
        return self.gather(terms, self.add, 0.0)

    def product(self, factors: Iterable[int]) -> int:
        """Return the product of factors, steady ones first among themselves."""
        return self.gather(factors, self.multiply, 1.0)

    def gather(
        self, operands: Iterable[int], join: Callable[[int, int], int], neutral: float
    ) -> int:
        halves: dict[bool, int] = {}
        for operand in operands:
            kind = self.varies[operand]
            halves[kind] = join(halves[kind], operand) if kind in halves else operand
        if len(halves) == 2:
            return join(halves[False], halves[True])
        return next(iter(halves.values()), self.constant(neutral))

    def needed(self, results: Iterable[int]) -> list[int]:
        """Return the numbers of the operations that these results need, in their order."""
        wanted, waiting = set(), list(results)
        while waiting:
            number = waiting.pop()
            if number not in wanted:
                wanted.add(number)
                operation = self.operations[number]
                if operation[0] not in ("constant", "load"):
                    waiting += [int(o) for o in operation[1:]]
        return sorted(wanted)

    def flops(self, results: Iterable[int], steady: bool = False) -> int:
        """Return the floating-point operations of what varies (or of what does not) in these results."""
        return sum(
            COSTS.get(self.operations[n][0], 20 if self.operations[n][0] in FUNCTIONS else 0)
            for n in self.needed(results)
            if self.varies[n] is not steady
        )


class Formulas:
    """Turns sympy expressions into operations of a program, with names bound to numbers."""

    def __init__(self, program: Program, names: Mapping[str, int]) -> None:
        self.program = program
        self.names = dict(names)
        self.done: dict[Any, int] = {}

    def number(self, expression: Any) -> int:
        """Return the number of an expression; ValueError where it holds what no operation does."""
        if expression not in self.done:
            self.done[expression] = self.build(expression)
        return self.done[expression]

    def build(self, e: Any) -> int:
        import sympy

        program = self.program
        if e.is_Symbol:
            return self.names[str(e)]
        if e.is_Number or e.is_NumberSymbol:
            return program.constant(float(e))
        if e.is_Add:
            return program.sum(self.number(term) for term in e.args)
        if e.is_Mul:
            return program.product(self.number(factor) for factor in e.args)
        if e.is_Pow:
            return self.power(e.base, e.exp)
        if isinstance(e, sympy.Piecewise):
            return self.choice(e)
        if isinstance(e, sympy.logic.boolalg.Boolean):
            return self.condition(e)
        name = type(e).__name__
        if name in ("Max", "Min"):
            first, *rest = [self.number(a) for a in e.args]
            for operand in rest:
                first = program.apply(name.lower(), first, operand)
            return first
        operands = [self.number(a) for a in e.args]
        if name in ("exp", "log") and len(operands) == 1:
            return program.apply(name, *operands)
        if name == "Abs":
            return program.apply("abs", *operands)
        if name == "sign":
            return self.step_at_zero(operands[0], -1.0, 0.0)
        if name == "Heaviside":
            return self.step_at_zero(operands[0], 0.0, 0.5)
        if name in FUNCTIONS and len(operands) == 1:
            return program.apply(name, *operands)
        raise ValueError(f"{name} has no machine code: {e}")

    def step_at_zero(self, x: int, below: float, at: float) -> int:
        program = self.program
        zero = program.constant(0.0)
        low = program.apply(
            "select", program.apply("lt", x, zero), program.constant(below), program.constant(at)
        )
        return program.apply("select", program.apply("lt", zero, x), program.constant(1.0), low)

    def power(self, base: Any, exponent: Any) -> int:
        """Return base^exponent: small and half-integer ones written out, the rest through exp and log."""
        program = self.program
        if exponent.is_number and float(2 * exponent).is_integer() and abs(exponent) <= 32:
            x = self.number(base)
            whole, half = divmod(abs(int(2 * exponent)), 2)
            result = program.constant(1.0)
            square = x
            for bit in range(whole.bit_length()):
                if bit:
                    square = program.multiply(square, square)
                if whole >> bit & 1:
                    result = program.multiply(result, square)
            if half:
                result = program.multiply(result, program.apply("sqrt", x))
            return result if exponent > 0 else program.reciprocal(result)
        if str(base) == "E":
            return program.apply("exp", self.number(exponent))
        return program.apply("pow", self.number(base), self.number(exponent))

    def choice(self, e: Any) -> int:
        """Return a piecewise formula as a chain of choices; not a number where no condition holds."""
        program = self.program
        result = program.constant(float("nan"))
        for value, condition in reversed(e.args):
            if condition == True:  # noqa: E712 - sympy's true
                result = self.number(value)
                continue
            result = program.apply("select", self.condition(condition), self.number(value), result)
        return result

    def condition(self, e: Any) -> int:
        """Return a truth value."""
        import sympy

        program = self.program
        if e.is_Symbol:  # a condition that is used more than once
            return self.names[str(e)]
        if e in (sympy.true, sympy.false):
            one = program.constant(1.0)
            return program.apply("eq", one, one if e == sympy.true else program.constant(0.0))
        if isinstance(e, sympy.And | sympy.Or):
            kind = "and" if isinstance(e, sympy.And) else "or"
            first, *rest = [self.condition(a) for a in e.args]
            for operand in rest:
                first = program.apply(kind, first, operand)
            return first
        if isinstance(e, sympy.Not):
            return program.apply("not", self.condition(e.args[0]))
        if isinstance(e, sympy.core.relational.Relational):
            a, b = self.number(e.lhs), self.number(e.rhs)
            kind, swap = {
                "<": ("lt", False),
                "<=": ("le", False),
                ">": ("lt", True),
                ">=": ("le", True),
                "==": ("eq", False),
                "!=": ("ne", False),
            }[e.rel_op]
            return program.apply(kind, b, a) if swap else program.apply(kind, a, b)
        raise ValueError(f"{e} is no condition")


def with_joined_powers(expression: Any) -> Any:
    """Return a formula in which the powers of one base in a product are one power.

    Sympy writes the derivative of x^n as n x^n/x, which at x = 0 is not a number; n x^(n-1) is.
    """
    import sympy

    def joined(product: Any) -> Any:
        exponents: dict[Any, list[Any]] = {}
        for factor in product.args:
            base, exponent = factor.as_base_exp()
            exponents.setdefault(base, []).append(exponent)
        return sympy.Mul(*(sympy.Pow(base, sympy.Add(*found)) for base, found in exponents.items()))

    return expression.replace(lambda e: e.is_Mul, joined)


def shared_formulas(expressions: Sequence[Any]) -> tuple[list[tuple[str, Any]], list[Any]]:
    """Return common subexpressions in the order of their use, and the expressions in terms of them."""
    import sympy

    names = sympy.numbered_symbols("shared_", real=True)
    shared, reduced = sympy.cse(expressions, symbols=names, optimizations="basic")
    return [(str(name), value) for name, value in shared], list(reduced)
