"""L-stable Rosenbrock methods, and one step of them for one model as a straight-line program.

Belongs here: the methods' numbers, the step, elimination in the order that fills in least. Not here: machine
code (lanes, scalar), who takes how large a step when (lanes, driver).

A method is given in the transformed form that needs no product with the Jacobian (Hairer & Wanner, Solving
Ordinary Differential Equations II, 2nd ed., IV.7): with W = I/(h gamma) - J,

    W k_s = f(y + sum_j a_sj k_j) + sum_j (c_sj / h) k_j,
    y_new = (last stage's point) + k_last,    error = k_last,

which is stiffly accurate. Inputs are constant within a segment and time is a state, so every system is
autonomous. Between steps y(t + theta h) = (1-theta) y + theta (y_new + (1-theta)(K_1 + theta (K_2 + theta K_3))),
K_m = sum_j dense_mj k_j. The linear systems are solved by an elimination that is written out for the model's own
sparsity, without pivoting: the diagonal 1/(h gamma) dominates at every step that the error control accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chiploop.models.straight_line import Formulas, Program, shared_formulas


@dataclass(frozen=True)
class Method:
    """A stiffly accurate Rosenbrock method in transformed form."""

    name: str
    order: int
    gamma: float
    a: tuple[tuple[float, ...], ...]
    """Row s: weights of k_1 .. k_s in the point of stage s + 2; later stages add the last k with weight 1."""
    c: tuple[tuple[float, ...], ...]
    """Row s: weights of k_1 .. k_s, over h, in stage s + 2."""
    dense: tuple[tuple[float, ...], ...]
    """Row m: weights of k_1 .. in K_m."""

    @property
    def stages(self) -> int:
        """Return the number of stages."""
        return len(self.c) + 1


RODAS4 = Method(
    name="rodas4",
    order=4,
    gamma=0.25,
    # Hairer & Wanner, code RODAS, coefficients of its first method.
    a=(
        (1.544,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
    ),
    c=(
        (-5.6688,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
        (
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ),
    ),
    dense=(
        (
            10.12623508344586,
            -7.487995877610167,
            -34.80091861555747,
            -7.992771707568823,
            1.025137723295662,
        ),
        (
            -0.6762803392801253,
            6.087714651680015,
            16.43084320892478,
            24.76722511418386,
            -6.594389125716872,
        ),
    ),
)
RODAS5P = Method(
    name="rodas5p",
    order=5,
    gamma=0.21193756319429014,
    # Steinebach, Construction of Rosenbrock-Wanner method Rodas5P, BIT Numerical Mathematics 63 (2023) 27,
    # 10.1007/s10543-023-00967-x, transformed coefficients as published in OrdinaryDiffEq.jl.
    a=(
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        (
            -7.502846399306121,
            2.561846144803919,
            -11.627539656261098,
            -0.18268767659942256,
            0.030198172008377946,
        ),
    ),
    c=(
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (
            24.854864614690072,
            -3.0009227002832186,
            47.4931110020768,
            5.5814197821558125,
            -0.6610691825249471,
        ),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    ),
    dense=(
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993626266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
)
METHODS: dict[str, Method] = {method.name: method for method in (RODAS4, RODAS5P)}


@dataclass(frozen=True)
class Step:
    """One step of one model as operations: what goes in by name of its array, what comes out by number.

    Loads: ``y`` (n,), ``p``, ``u``, ``h`` (1,), ``absolute`` (n,) and ``relative`` (1,) tolerances.
    """

    program: Program
    method: Method
    new: tuple[int, ...]
    """(n,) state after the step."""
    error: int
    """Mean square of the error estimate in units of what is tolerated."""
    dense: tuple[tuple[int, ...], ...]
    """Row m: K_m of every watched state."""
    watched: tuple[int, ...]
    """Indices of the states that can be read between steps."""

    @property
    def results(self) -> tuple[int, ...]:
        """Return the numbers that every step computes; the dense output is wanted only now and then."""
        return (*self.new, self.error)


def step_program(
    method: Method,
    rates: Sequence[Any],
    jacobian: Mapping[tuple[int, int], Any],
    states: Sequence[str],
    names: Mapping[str, tuple[str, int]],
    watched: Sequence[int],
    uncontrolled: frozenset[int] = frozenset(),
) -> Step:
    """Return one step of the method for dy/dt = rates.

    Parameters
    ----------
    rates
        (n,) formulas in the names of ``states`` and ``names``.
    jacobian
        (i, j) -> d rate_i / d state_j, where it is not zero.
    names
        Parameter or input -> (array, index).
    uncontrolled
        States whose error is not looked at (time, which is exact).
    """
    n = len(states)
    program = Program()
    steady = {name: program.load(array, i, varies=False) for name, (array, i) in names.items()}
    y = [program.load("y", i, varies=True) for i in range(n)]
    h = program.load("h", 0, varies=True)
    over_h = program.reciprocal(h)
    shared, reduced = shared_formulas([*rates, *jacobian.values()])

    def evaluated(point: Sequence[int], wanted: Sequence[Any]) -> list[int]:
        """Return what is wanted at a point; shared formulas that it does not need come to nothing."""
        formulas = Formulas(program, {**steady, **dict(zip(states, point, strict=True))})
        later = dict(shared)

        def number(expression: Any) -> int:
            for symbol in sorted(expression.free_symbols, key=str):
                name = str(symbol)
                if name in later and name not in formulas.names:
                    formulas.names[name] = number(later[name])
            return formulas.number(expression)

        return [number(expression) for expression in wanted]

    first = evaluated(y, reduced)
    slopes, entries = first[:n], dict(zip(jacobian, first[n:], strict=True))
    elimination = Elimination(
        program, n, entries, program.multiply(over_h, program.constant(1.0 / method.gamma))
    )
    k: list[list[int]] = []
    point = list(y)
    for stage in range(method.stages):
        if stage:
            if stage <= len(method.a):
                weights = method.a[stage - 1]
                point = [weighted(program, y[i], weights, k, i) for i in range(n)]
            else:
                point = [program.add(point[i], k[-1][i]) for i in range(n)]
            slopes = evaluated(point, reduced[:n])
        right = slopes
        if stage:
            c = [program.multiply(over_h, program.constant(w)) for w in method.c[stage - 1]]
            right = [
                program.sum([slopes[i], *(program.multiply(c[j], k[j][i]) for j in range(stage))])
                for i in range(n)
            ]
        k.append(elimination.solve(right))
    new = [program.add(point[i], k[-1][i]) for i in range(n)]
    relative = program.load("relative", 0, varies=False)
    squares = []
    for i in range(n):
        if i in uncontrolled:
            continue
        size = program.apply("max", program.apply("abs", y[i]), program.apply("abs", new[i]))
        tolerated = program.add(
            program.load("absolute", i, varies=False), program.multiply(relative, size)
        )
        part = program.multiply(k[-1][i], program.reciprocal(tolerated))
        squares.append(program.multiply(part, part))
    error = program.multiply(program.sum(squares), program.constant(1.0 / max(1, len(squares))))
    dense = tuple(
        tuple(weighted(program, program.constant(0.0), row, k, i) for i in watched)
        for row in method.dense
    )
    return Step(program, method, tuple(new), error, dense, tuple(watched))


def weighted(
    program: Program, start: int, weights: Sequence[float], k: Sequence[Sequence[int]], i: int
) -> int:
    """Return start + sum_j weights_j k_j of state i."""
    for j, weight in enumerate(weights):
        start = program.add(start, program.multiply(program.constant(weight), k[j][i]))
    return start


class Elimination:
    """W = d I - J factored in a program, for as many right-hand sides as come."""

    def __init__(
        self, program: Program, n: int, jacobian: Mapping[tuple[int, int], int], d: int
    ) -> None:
        self.program, self.n = program, n
        self.order, filled = elimination_order(n, set(jacobian))
        self.filled = filled
        self.place = {k: q for q, k in enumerate(self.order)}
        zero = program.constant(0.0)
        m = {}
        for i, j in sorted(filled):
            entry = program.negate(jacobian[i, j]) if (i, j) in jacobian else zero
            m[i, j] = program.add(d, entry) if i == j else entry
        self.over_pivot = {}
        for k in self.order:
            self.over_pivot[k] = program.reciprocal(m[k, k])
            below = [i for i in range(n) if self.place[i] > self.place[k] and (i, k) in filled]
            right = [j for j in range(n) if self.place[j] > self.place[k] and (k, j) in filled]
            for i in below:
                m[i, k] = program.multiply(m[i, k], self.over_pivot[k])
                for j in right:
                    m[i, j] = program.subtract(m[i, j], program.multiply(m[i, k], m[k, j]))
        self.m = m

    def solve(self, right: Sequence[int]) -> list[int]:
        """Return x with W x = right, as numbers of operations."""
        program, x = self.program, list(right)
        for k in self.order:
            for i in range(self.n):
                if self.place[i] > self.place[k] and (i, k) in self.filled:
                    x[i] = program.subtract(x[i], program.multiply(self.m[i, k], x[k]))
        for k in reversed(self.order):
            for j in range(self.n):
                if self.place[j] > self.place[k] and (k, j) in self.filled:
                    x[k] = program.subtract(x[k], program.multiply(self.m[k, j], x[j]))
            x[k] = program.multiply(x[k], self.over_pivot[k])
        return x


def elimination_order(
    n: int, pattern: set[tuple[int, int]]
) -> tuple[list[int], set[tuple[int, int]]]:
    """Return an order of elimination with little fill, and the pattern with its fill.

    Greedy minimum local fill on the unsymmetric pattern (diagonal pivots).
    """
    filled = set(pattern) | {(i, i) for i in range(n)}
    left = set(range(n))
    order: list[int] = []
    while left:
        _, pivot = min((fill_of(k, left, filled), k) for k in left)
        order.append(pivot)
        left.discard(pivot)
        for i in left:
            if (i, pivot) in filled:
                filled |= {(i, j) for j in left if (pivot, j) in filled}
    return order, filled


def fill_of(k: int, left: set[int], filled: set[tuple[int, int]]) -> tuple[int, int]:
    """Return how many entries eliminating k would fill in, and how many it would touch."""
    rows = [i for i in left if i != k and (i, k) in filled]
    columns = [j for j in left if j != k and (k, j) in filled]
    return sum((i, j) not in filled for i in rows for j in columns), len(rows) * len(columns)
