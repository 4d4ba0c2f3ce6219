"""What happens to lanes between their steps: loading, sampling, segment after segment, ending.

Belongs here: the bookkeeping of lanes, written for numba, and its machine code. Not here: steps (lanes).

Numba compiles ``drive`` once on a computer; its machine code is kept in a file, so that a start with a full cache
needs neither numba nor a compiler. The function gets addresses only and allocates nothing.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import FunctionType
from typing import Any

from chiploop.models.lanes import (
    ACTIVE,
    BEGAN,
    LONGEST,
    SAMPLE,
    SIZE,
    STEPS,
    TAKEN,
    TIME,
    TROUBLE,
    UNTIL,
    Machine,
    compile_object,
)

FUNCTIONS = ("advance", "prepare", "initial", "observe", "jump")
"""Machine code of the model, in the order of ``code``."""
SIZES = (
    *("width", "n_states", "n_parameters", "n_inputs", "n_watched", "n_dense", "n_observed"),
    *(
        "n_grid",
        "n_changes",
        "n_segments",
        "max_steps",
        "steered",
        "first",
        "last",
        "restarts",
        "clock",
    ),
)
"""Entries of ``sizes``."""
ARRAYS = {
    "code": "int64",
    "sizes": "int64",
    # what is simulated
    "rows": "int64",  # (items,) row of ``parameters`` of each trajectory
    "chips": "int64",  # (items,) its chip
    "parameters": "float64",  # (rows, n_parameters)
    "change_index": "int64",  # (n_changes,) parameters that a chip sets for itself
    "change_value": "float64",  # (chips, n_changes); not a number where the chip leaves it
    "change_factor": "float64",  # (chips, n_changes)
    "edges": "float64",  # (chips, n_segments + 1)
    "inputs": "float64",  # (chips, n_segments, n_inputs)
    "input_factor": "float64",  # (rows, n_inputs) factor of each row of ``parameters`` on its chip's inputs
    "segments": "int64",  # (chips,)
    "jumps": "int64",  # (chips, n_segments) event at a segment's beginning, -1 for none
    "grid": "float64",  # (n_grid,) sampling times, ascending
    "watched": "int64",  # (n_watched,)
    "settings": "float64",  # first step of a segment that follows a switch
    "begin": "float64",  # (items, n_states) where to begin, where restarts is not 0
    # work space, rows of lanes
    "y": "float64",
    "p": "float64",
    "u": "float64",
    "q": "float64",
    "absolute": "float64",
    "relative": "float64",
    "table": "float64",
    "dense": "float64",
    "spare": "float64",  # (n_states,) and (n_observed,) rows
    "out": "float64",
    "place": "int64",  # (3, width): item, segment, next sample
    # results
    "observed": "float64",  # (items, n_grid, n_observed)
    "end": "float64",  # (items, n_states)
    "steps": "int64",  # (items,)
    "trouble": "int64",  # (items,) 0, or what stopped it
}
"""Arguments of ``drive`` and what they point at."""


def call(*_: Any) -> int:
    """Stand for ``calling()``, which takes this place where ``drive`` is compiled."""
    raise RuntimeError("only machine code calls an address")


def drive(  # type: ignore[no-untyped-def]
    code, sizes, rows, chips, parameters, change_index, change_value, change_factor, edges, inputs,
    input_factor, segments, jumps, grid, watched, settings, begin, y, p, u, q, absolute, relative, table, dense,
    spare, out, place, observed, end, steps, trouble,
):  # fmt: skip
    """Run items first .. last - 1; where steered, each row of lanes is one group of items."""
    width, n, n_p, n_u = sizes[0], sizes[1], sizes[2], sizes[3]
    n_watched, n_dense, n_observed, n_grid = sizes[4], sizes[5], sizes[6], sizes[7]
    n_changes, n_segments, max_steps, steered = sizes[8], sizes[9], sizes[10], sizes[11]
    following, last, restarts, clock = sizes[12], sizes[13], sizes[14], sizes[15]
    first_size = settings[0]
    for lane in range(width):
        place[lane] = -1
        table[ACTIVE * width + lane] = 0.0
        table[TROUBLE * width + lane] = 0.0
        table[UNTIL * width + lane] = 1.0
        table[SAMPLE * width + lane] = 1e300
        table[TIME * width + lane] = 0.0
        table[SIZE * width + lane] = 1.0
        table[LONGEST * width + lane] = 1.0
    running = 0
    mask = (1 << width) - 1
    while True:
        is_changed = False
        # 1. samples that a step has passed, lane by lane until none is due
        while True:
            due = 0
            for lane in range(width):
                if (
                    not (mask >> lane) & 1
                    or place[lane] < 0
                    or table[TROUBLE * width + lane] != 0.0
                ):
                    continue
                k = place[2 * width + lane]
                if k >= n_grid or grid[k] > table[TIME * width + lane]:
                    continue
                if (
                    grid[k] >= table[UNTIL * width + lane]
                ):  # a jump comes before what is read with it
                    c, s = chips[place[lane]], place[width + lane] + 1
                    if s < segments[c] and jumps[c * n_segments + s] >= 0:
                        continue
                due |= 1 << lane
                theta = 1.0
                if table[TAKEN * width + lane] > 0.0:
                    theta = (grid[k] - table[BEGAN * width + lane]) / table[TAKEN * width + lane]
                for w in range(n_watched):
                    i = watched[w]
                    if theta >= 1.0 or table[TAKEN * width + lane] <= 0.0:
                        spare[i * width + lane] = y[i * width + lane]
                        continue
                    sum_ = 0.0
                    for m in range(n_dense - 1, -1, -1):
                        sum_ = sum_ * theta + dense[((2 + m) * n_watched + w) * width + lane]
                    old, new = dense[w * width + lane], dense[(n_watched + w) * width + lane]
                    spare[i * width + lane] = (1.0 - theta) * old + theta * (
                        new + (1.0 - theta) * sum_
                    )
            if due == 0:
                break
            call(code[3], spare, p, u, out, out, out, 0, 0)
            for lane in range(width):
                if not (due >> lane) & 1:
                    continue
                k = place[2 * width + lane]
                for r in range(n_observed):
                    observed[(place[lane] * n_grid + k) * n_observed + r] = out[r * width + lane]
                place[2 * width + lane] = k + 1
                table[SAMPLE * width + lane] = grid[k + 1] if k + 1 < n_grid else 1e300
        # 2. ends of segments and of trajectories
        wants_jump = False
        for lane in range(width):
            if not (mask >> lane) & 1 or place[lane] < 0:
                continue
            item = place[lane]
            c = chips[item]
            if table[TROUBLE * width + lane] != 0.0:
                steps[item] = int(table[STEPS * width + lane])
                trouble[item] = int(table[TROUBLE * width + lane])
            elif table[TIME * width + lane] >= table[UNTIL * width + lane]:
                s = place[width + lane] + 1
                if s < segments[c]:
                    place[width + lane] = s
                    if jumps[c * n_segments + s] >= 0:
                        wants_jump = True
                    continue
                steps[item] = int(table[STEPS * width + lane])
                for i in range(n):
                    end[item * n + i] = y[i * width + lane]
            else:
                continue
            place[lane] = -1
            table[ACTIVE * width + lane] = 0.0
            table[UNTIL * width + lane] = 1e300
            table[SAMPLE * width + lane] = 1e300
            running -= 1
        # 3. free lanes take the next trajectories; a group of steered lanes goes on together
        is_loaded = False
        if steered == 0 or running == 0:
            for lane in range(width):
                if place[lane] >= 0 or following >= last:
                    continue
                item = following
                following += 1
                running += 1
                is_loaded = True
                place[lane] = item
                place[width + lane] = -1
                for j in range(n_p):
                    p[j * width + lane] = parameters[rows[item] * n_p + j]
                for j in range(n_changes):
                    i = change_index[j]
                    value = change_value[chips[item] * n_changes + j]
                    if value == value:
                        p[i * width + lane] = value
                    p[i * width + lane] *= change_factor[chips[item] * n_changes + j]
                for j in range(n_u):
                    factor = input_factor[rows[item] * n_u + j]
                    u[j * width + lane] = factor * inputs[chips[item] * n_segments * n_u + j]
        if running == 0:
            break
        if is_loaded:
            call(code[2], p, spare, spare, spare, spare, spare, 0, 0)
            for lane in range(width):
                if place[lane] < 0 or place[width + lane] >= 0:
                    continue
                item = place[lane]
                c = chips[item]
                place[width + lane] = 0
                for i in range(n):
                    y[i * width + lane] = (
                        begin[item * n + i] if restarts else spare[i * width + lane]
                    )
                start = edges[c * (n_segments + 1)]
                if clock >= 0:
                    y[clock * width + lane] = start
                table[TIME * width + lane] = start
                table[BEGAN * width + lane] = start
                table[TAKEN * width + lane] = 0.0
                table[STEPS * width + lane] = 0.0
                table[TROUBLE * width + lane] = 0.0
                table[SIZE * width + lane] = first_size
                table[UNTIL * width + lane] = -1e300  # no segment yet
                place[2 * width + lane] = 0
                table[SAMPLE * width + lane] = grid[0] if n_grid else 1e300
                if jumps[c * n_segments] >= 0:
                    wants_jump = True
                mask |= 1 << lane
        # 4. states that jump at the beginning of a segment
        if wants_jump:
            call(code[4], y, p, u, spare, spare, spare, 0, 0)
            for lane in range(width):
                if not (mask >> lane) & 1 or place[lane] < 0:
                    continue
                c, s = chips[place[lane]], place[width + lane]
                t = table[TIME * width + lane]
                which = jumps[c * n_segments + s]
                if which >= 0 and t == edges[c * (n_segments + 1) + s]:
                    for i in range(n):
                        y[i * width + lane] = spare[(which * n + i) * width + lane]
                    table[TAKEN * width + lane] = 0.0
        # 5. the next segment's inputs
        due_at_start = 0
        for lane in range(width):
            if not (mask >> lane) & 1 or place[lane] < 0:
                continue
            c, s, row = chips[place[lane]], place[width + lane], rows[place[lane]]
            at = c * (n_segments + 1) + s
            if (
                table[TIME * width + lane] == edges[at]
                and table[UNTIL * width + lane] != edges[at + 1]
            ):
                is_changed = True
                for j in range(n_u):
                    given = inputs[(c * n_segments + s) * n_u + j]
                    u[j * width + lane] = input_factor[row * n_u + j] * given
                table[UNTIL * width + lane] = edges[at + 1]
                table[LONGEST * width + lane] = edges[at + 1] - edges[at]
                table[ACTIVE * width + lane] = 1.0
                if table[SIZE * width + lane] > first_size:
                    table[SIZE * width + lane] = first_size
                k = place[2 * width + lane]
                if k < n_grid and grid[k] <= table[TIME * width + lane]:
                    due_at_start |= 1 << lane
        if is_changed:
            call(code[1], p, u, q, q, q, q, 0, 0)
        if due_at_start:
            mask = due_at_start
            continue
        mask = call(code[0], y, q, absolute, relative, table, dense, max_steps, steered)


def source_digest() -> str:
    """Return what changes whenever the driver's machine code would."""
    from importlib.metadata import version

    rows = (ACTIVE, BEGAN, LONGEST, SAMPLE, SIZE, STEPS, TAKEN, TIME, TROUBLE, UNTIL)
    text = Path(__file__).read_text("utf-8") + repr((rows, version("numba"), version("llvmlite")))
    return hashlib.sha256(text.encode()).hexdigest()


def driver_object(target: Machine) -> bytes:
    """Return the machine code of ``drive``, exported as ``chiploop_drive(arrays...)``."""
    import llvmlite.binding as llvm
    import numba
    from numba import types

    signature = types.void(*[types.CPointer(getattr(types, kind)) for kind in ARRAYS.values()])
    bound = FunctionType(drive.__code__, {**globals(), "call": calling()}, "drive")
    compiled = numba.njit(signature, error_model="numpy", nogil=True)(bound)
    text = compiled.inspect_llvm(compiled.signatures[0])
    module = llvm.parse_assembly(text)
    inner = [f.name for f in module.functions if not f.is_declaration and "drive" in f.name]
    inner = [name for name in inner if not name.startswith(("cfunc.", "_ZN7cpython"))]
    (name,) = inner
    pointers = ", ".join(f"ptr %a{i}" for i in range(len(ARRAYS)))
    shim = (
        f"define void @chiploop_drive({pointers}) {{\n"
        "  %result = alloca ptr\n  %trouble = alloca ptr\n"
        f'  %status = call i32 @"{name}"(ptr %result, ptr %trouble, {pointers})\n  ret void\n}}\n'
    )
    for function in module.functions:
        if not function.is_declaration and function.name != name:
            function.linkage = "internal"
    kept = re.sub(r"^@llvm\.global_ctors.*$", "", str(module), flags=re.MULTILINE)
    return compile_object(kept + shim, target)


def calling() -> Any:
    """Return a numba intrinsic that calls a function at an address."""
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def call(context, address, a, b, c, d, e, f, i, j):  # type: ignore[no-untyped-def]
        signature = types.int64(address, a, b, c, d, e, f, i, j)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            whole = ir.IntType(64)
            pointers = arguments[1:7]
            numbers = [
                context.cast(builder, value, kind, types.int64)
                for value, kind in zip(arguments[7:], signature.args[7:], strict=True)
            ]
            kinds = [p.type for p in pointers] + [whole, whole]
            target = ir.FunctionType(whole, kinds)
            function = builder.inttoptr(arguments[0], target.as_pointer())
            return builder.call(function, [*pointers, *numbers])

        return signature, generate

    return call
