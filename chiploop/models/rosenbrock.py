"""Source text of an L-stable Rosenbrock step for one model, and of the driver around it.

Belongs here: the method and its emission as straight-line Python for numba. Not here: reading a model
(compiler), arrays of chips and parameters (tissue_model).

The method is RODAS, order 4(3), stiffly accurate: Hairer & Wanner, Solving Ordinary Differential
Equations II, 2nd ed., IV.7 and the coefficients of their code RODAS, in the transformed form that
needs no product with the Jacobian. Inputs are constant within a segment, so the system is autonomous.
The linear systems are solved by an elimination that is written out for the model's own sparsity,
without pivoting: the diagonal 1/(h gamma) dominates at every step that the error control accepts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

GAMMA = 0.25
# a[s][j]: stage points; c[s][j]: coupling, both of RODAS in transformed form.
STAGE_A: dict[int, tuple[float, ...]] = {
    2: (1.544,),
    3: (0.9466785280815826, 0.2557011698983284),
    4: (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    5: (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
}
STAGE_C: dict[int, tuple[float, ...]] = {
    2: (-5.6688,),
    3: (-2.430093356833875, -0.2063599157091915),
    4: (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    5: (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    6: (
        8.083246795921522,
        -7.981132988064893,
        -31.52159432874371,
        16.31930543123136,
        -6.058818238834054,
    ),
}

Lines = list[tuple[str, str]]


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


def factor_lines(
    n: int, jacobian: set[tuple[int, int]], order: Sequence[int], filled: set[tuple[int, int]]
) -> Lines:
    """Return the lines that factor d I - J in place, d = 1/(h gamma)."""
    lines: Lines = []
    for i, j in sorted(filled):
        entry = f"-J_{i}_{j}" if (i, j) in jacobian else ""
        lines.append((f"M_{i}_{j}", f"d{entry}" if i == j else entry or "0.0"))
    place = {k: q for q, k in enumerate(order)}
    for k in order:
        lines.append((f"R_{k}", f"1.0/M_{k}_{k}"))
        below = [i for i in range(n) if place[i] > place[k] and (i, k) in filled]
        right = [j for j in range(n) if place[j] > place[k] and (k, j) in filled]
        for i in below:
            lines.append((f"M_{i}_{k}", f"M_{i}_{k}*R_{k}"))
            lines += [(f"M_{i}_{j}", f"M_{i}_{j}-M_{i}_{k}*M_{k}_{j}") for j in right]
    return lines


def solve_lines(n: int, order: Sequence[int], filled: set[tuple[int, int]], vector: str) -> Lines:
    """Return the lines that solve the factored system in place on ``{vector}0 .. {vector}n-1``."""
    place = {k: q for q, k in enumerate(order)}
    lines: Lines = []
    for k in order:
        for i in range(n):
            if place[i] > place[k] and (i, k) in filled:
                lines.append((f"{vector}{i}", f"{vector}{i}-M_{i}_{k}*{vector}{k}"))
    for k in reversed(order):
        terms = "".join(
            f"-M_{k}_{j}*{vector}{j}" for j in range(n) if place[j] > place[k] and (k, j) in filled
        )
        lines.append((f"{vector}{k}", f"({vector}{k}{terms})*R_{k}"))
    return lines


def step_source(
    n: int,
    rhs: Lines,
    rhs_results: Sequence[str],
    jacobian: Lines,
    jacobian_pattern: set[tuple[int, int]],
) -> str:
    """Return the source of ``step(y, p, u, h, z, e)``: new state z and error estimate e, each (n,).

    ``rhs`` and ``jacobian`` are assignments in the names y0.., p[..], u[..]; ``rhs_results`` names the
    n derivatives; the Jacobian's entries are named J_i_j.
    """
    order, filled = elimination_order(n, jacobian_pattern)
    names = {name for name, _ in rhs}

    body: Lines = [(f"y{i}", f"y[{i}]") for i in range(n)]
    body += jacobian
    body += factor_lines(n, jacobian_pattern, order, filled)
    for stage in range(1, 7):
        if stage == 1:
            state = [f"y{i}" for i in range(n)]
        elif stage < 6:
            state = [f"s{stage}_{i}" for i in range(n)]
            for i in range(n):
                terms = "".join(f"+({a!r})*k{j}_{i}" for j, a in enumerate(STAGE_A[stage], start=1))
                body.append((state[i], f"y{i}{terms}"))
        else:
            state = [f"s6_{i}" for i in range(n)]
            body += [(state[i], f"s5_{i}+k5_{i}") for i in range(n)]
        body += rename(rhs, names, stage, state)
        for i in range(n):
            terms = "".join(
                f"+({c!r}*hi)*k{j}_{i}" for j, c in enumerate(STAGE_C.get(stage, ()), start=1)
            )
            body.append((f"k{stage}_{i}", f"{rhs_results[i]}_{stage}{terms}"))
        body += solve_lines(n, order, filled, f"k{stage}_")
    text = ["def step(y, p, u, h, z, e):", "    hi = 1.0/h", f"    d = 1.0/(h*{GAMMA!r})"]
    text += [f"    {name} = {value}" for name, value in body]
    text += [f"    z[{i}] = s6_{i}+k6_{i}" for i in range(n)]
    text += [f"    e[{i}] = k6_{i}" for i in range(n)]
    return "\n".join(text) + "\n"


def rename(lines: Lines, names: set[str], stage: int, state: Sequence[str]) -> Lines:
    """Return right-hand-side lines evaluated at a stage: own temporaries, the stage's state."""
    word = re.compile(r"\b[A-Za-z_]\w*\b")

    def swap(match: re.Match[str]) -> str:
        name = match.group(0)
        if name in names:
            return f"{name}_{stage}"
        if name[0] == "y" and name[1:].isdigit():
            return state[int(name[1:])]
        return name

    return [(f"{name}_{stage}", word.sub(swap, value)) for name, value in lines]


DRIVER = '''
def trajectory(p, y, edges, inputs, grid, rtol, atol, max_steps, z, e, out):
    """One chip: segments (k,), inputs (k, m), states at grid (g,) into out (g, n). Return steps, < 0 on failure.

    edges (k+1,) are the segment boundaries; y (n,) is the start and is left at the last edge.
    """
    t = edges[0]
    steps = 0
    k = 0
    while k < grid.shape[0] and grid[k] <= t:
        for i in range(N_STATES):
            out[k, i] = y[i]
        k += 1
    h = H_FIRST
    for s in range(inputs.shape[0]):
        end = edges[s + 1]
        u = inputs[s]
        h = min(h, H_FIRST)
        while t < end:
            target = end
            if k < grid.shape[0] and grid[k] < end:
                target = grid[k]
            left = target - t
            hit = False
            step_h = h
            if step_h >= 0.999 * left:
                step_h = left
                hit = True
            elif step_h > 0.5 * left:
                step_h = 0.5 * left
            step(y, p, u, step_h, z, e)
            steps += 1
            error = 0.0
            for i in range(N_STATES):
                scale = atol[i] + rtol * max(abs(y[i]), abs(z[i]))
                error += (e[i] / scale) ** 2
            error = math.sqrt(error / N_STATES)
            if not error < 1e18 or steps > max_steps:
                return -steps
            factor = min(6.0, max(0.15, 0.9 * (error + 1e-12) ** -0.25))
            if error <= 1.0:
                t = target if hit else t + step_h
                for i in range(N_STATES):
                    y[i] = z[i]
                proposed = step_h * factor
                h = max(h, proposed) if hit else proposed
                if hit and k < grid.shape[0] and grid[k] <= t:
                    while k < grid.shape[0] and grid[k] <= t:
                        for i in range(N_STATES):
                            out[k, i] = y[i]
                        k += 1
            else:
                h = step_h * factor
                if h < 1e-9:
                    return -steps
    return steps


def batch(p, y, edges, inputs, segments, grid, rtol, atol, max_steps, out, observed, steps):
    """All chips of all parameter sets: p (n, c, n_p), y (n, c, n_y) in and out, observed (n, c, g, n_r)."""
    z = np.empty(N_STATES)
    e = np.empty(N_STATES)
    for i in range(p.shape[0]):
        for c in range(p.shape[1]):
            m = segments[c]
            done = trajectory(p[i, c], y[i, c], edges[c, : m + 1], inputs[c, :m], grid, rtol, atol,
                              max_steps, z, e, out)
            steps[i, c] = done
            for g in range(grid.shape[0]):
                if done > 0:
                    observe(out[g], p[i, c], inputs[c, m - 1], observed[i, c, g])
                else:
                    for r in range(N_OBSERVED):
                        observed[i, c, g, r] = math.nan
'''
