"""A straight-line program as LLVM IR on rows of lanes, and the loop of steps around it.

Belongs here: IR text, its compilation to an object, loading of objects. Not here: formulas (straight_line), the
method (rosenbrock), what happens to a lane between steps (driver), files (compiler).

A lane is one trajectory: its own parameters, its own time and its own step size. Lanes share nothing but the
instructions, so a trajectory comes out the same whatever runs beside it, and one that fails costs its
neighbours nothing. Arrays are rows of lanes: element i of lane l stands at ``i * width + l``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chiploop.models.lane_math import functions, splat
from chiploop.models.model_plan import ModelPlan, RowProgram, steady_boundary, tolerance_loads
from chiploop.models.rosenbrock import Step
from chiploop.models.straight_line import FUNCTIONS, Program

TIME, SIZE, UNTIL, SAMPLE, ACTIVE, STEPS, BEGAN, TAKEN, TROUBLE, LONGEST = range(10)
"""Rows of the lane table: time, size of the next step, end of the segment, next sampling time, 1 where the lane
runs, steps tried, start and size of the last step, 0 or what stopped the lane, the largest size allowed."""
TABLE_ROWS = 10
POINTERS = 6
STEP_LIMIT, STEP_TOO_SMALL = 1, 2
"""Values of TROUBLE."""
SAFETY, SHRINK, GROW = 0.9, 0.2, 8.0
"""Of the step-size control: share of the step that the error would allow, and the bounds of one change."""
FLAGS = "reassoc contract arcp nsz"
"""No nnan and no ninf: a trajectory that fails is known by values that are not numbers."""
PREDICATES = {"lt": "olt", "le": "ole", "eq": "oeq", "ne": "une"}
BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}


@dataclass(frozen=True)
class Machine:
    """What objects are made for."""

    triple: str
    cpu: str
    features: str
    width: int
    """Lanes of one row: doubles in the widest register."""


@lru_cache(maxsize=1)
def machine() -> Machine:
    """Return this machine; CHIPLOOP_LANES sets another number of lanes."""
    import llvmlite.binding as llvm

    # llvmlite 0.44 and newer initialise themselves; older ones ask for it, newer ones refuse it
    features = llvm.get_host_cpu_features()
    width = 8 if features.get("avx512f") else 4 if features.get("avx") else 2
    flat = features.flatten() + (",-prefer-256-bit" if features.get("avx512f") else "")
    return Machine(
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        flat,
        int(os.environ.get("CHIPLOOP_LANES") or width),
    )


class RowPrinter:
    """Prints operations of a program as IR on rows of lanes."""

    def __init__(self, program: Program, width: int, prefix: str) -> None:
        self.program, self.width, self.prefix = program, width, prefix
        self.row = f"<{width} x double>"
        self.truth = f"<{width} x i1>"
        self.lines: list[str] = []
        self.names: dict[int, str] = {}

    def name(self, number: int) -> str:
        """Return the operand that stands for an operation."""
        value = self.program.value(number)
        if value is not None:
            return splat(value, self.width)
        return self.names[number]

    def print(self, numbers: Sequence[int]) -> None:
        """Print these operations, all of whose operands are printed already or among them."""
        for number in numbers:
            if number in self.names or self.program.value(number) is not None:
                continue
            self.lines += self.lines_of(number)

    def lines_of(self, number: int) -> list[str]:
        kind, *operands = self.program.operations[number]
        target = f"%{self.prefix}{number}"
        self.names[number] = target
        row, width = self.row, self.width
        if kind == "load":
            return self.load(target, f"%{operands[0]}", operands[1])
        terms = [self.name(o) for o in operands]
        if kind in BINARY:
            return [f"  {target} = {BINARY[kind]} {FLAGS} {row} {terms[0]}, {terms[1]}"]
        if kind == "neg":
            return [f"  {target} = fneg {FLAGS} {row} {terms[0]}"]
        if kind in PREDICATES:
            return [f"  {target} = fcmp {PREDICATES[kind]} {row} {terms[0]}, {terms[1]}"]
        if kind in ("and", "or"):
            return [f"  {target} = {kind} {self.truth} {terms[0]}, {terms[1]}"]
        if kind == "not":
            ones = "<" + ", ".join(["i1 true"] * width) + ">"
            return [f"  {target} = xor {self.truth} {terms[0]}, {ones}"]
        if kind == "select":
            return [
                f"  {target} = select {self.truth} {terms[0]}, {row} {terms[1]}, {row} {terms[2]}"
            ]
        if kind in ("max", "min"):
            # written as a comparison, so that a value that is not a number in either place is kept
            order = "uge" if kind == "max" else "ule"
            return [
                f"  {target}c = fcmp {order} {row} {terms[0]}, {terms[1]}",
                f"  {target}d = fcmp uno {row} {terms[1]}, {terms[1]}",
                f"  {target}e = select {self.truth} {target}d, {row} {terms[1]}, {row} {terms[0]}",
                f"  {target} = select {self.truth} {target}c, {row} {target}e, {row} {terms[1]}",
            ]
        if kind in ("exp", "log", "pow"):
            called = f"@lane_{kind}"
        elif kind in ("abs", "sqrt"):
            called = f"@llvm.{'fabs' if kind == 'abs' else kind}.v{width}f64"
        else:
            return self.lane_by_lane(target, kind, terms[0])
        return [f"  {target} = call {row} {called}({', '.join(f'{row} {t}' for t in terms)})"]

    def lane_by_lane(self, target: str, kind: str, operand: str) -> list[str]:
        lines, value = [], f"{self.row} poison"
        for lane in range(self.width):
            part, result = f"{target}x{lane}", f"{target}f{lane}"
            lines.append(f"  {part} = extractelement {self.row} {operand}, i32 {lane}")
            lines.append(f"  {result} = call double @{kind}(double {part})")
            name = target if lane == self.width - 1 else f"{target}v{lane}"
            lines.append(f"  {name} = insertelement {value}, double {result}, i32 {lane}")
            value = f"{self.row} {name}"
        return lines

    def load(self, target: str, array: str, index: int) -> list[str]:
        place = f"{target}p"
        return [
            f"  {place} = getelementptr inbounds double, ptr {array}, i64 {index * self.width}",
            f"  {target} = load {self.row}, ptr {place}, align {self.width * 8}",
        ]

    def store(self, array: str, index: int, value: str, label: str) -> list[str]:
        place = f"%{label}{index}"
        return [
            f"  {place} = getelementptr inbounds double, ptr {array}, i64 {index * self.width}",
            f"  store {self.row} {value}, ptr {place}, align {self.width * 8}",
        ]


def declarations(width: int) -> str:
    """Return what every module of lanes needs: intrinsics, library functions, exp, log and power."""
    row = f"<{width} x double>"
    unary = [f"declare {row} @llvm.{f}.v{width}f64({row})" for f in ("fabs", "sqrt", "trunc")]
    unary += [f"declare double @{f}(double)" for f in sorted(FUNCTIONS)]
    return "\n".join([*unary, functions(width)])


def row_function(function: RowProgram, width: int) -> str:
    """Return ``i64 name(arrays..., out, ...)``: every lane's results, in their order, into ``out``.

    All functions of a model take six pointers and two numbers, so that one way of calling fits them.
    """
    printer = RowPrinter(function.program, width, "v")
    printer.print(function.program.needed(function.results))
    for i, result in enumerate(function.results):
        printer.lines += printer.store("%out", i, printer.name(result), "o")
    unused = [f"unused{i}" for i in range(POINTERS - 1 - len(function.arrays))]
    arguments = ", ".join(f"ptr noalias %{array}" for array in (*function.arrays, "out", *unused))
    head = f"define i64 @{function.name}({arguments}, i64 %a, i64 %b) {{"
    return "\n".join([head, *printer.lines, "  ret i64 0", "}", ""])


def varying(program: Program, results: Sequence[int]) -> list[int]:
    """Return the operations of these results that change from step to step."""
    return [number for number in program.needed(results) if program.varies[number]]


def advance_function(step: Step, width: int) -> str:
    """Return ``i64 advance(y, q, absolute, relative, lane, dense, max_steps, steered)``.

    Steps every lane until at least one needs attention: it has passed its next sampling time, reached the
    end of its segment, or can not go on. Returns these lanes as bits. ``q`` holds what is steady, ``dense``
    takes y before the step, y after it and K_1 .. of the watched states. Where ``steered`` is not 0, the first
    lane's error alone controls the common step: then differences between lanes are derivatives of the
    numerical solution itself.
    """
    n, row, truth = len(step.new), f"<{width} x double>", f"<{width} x i1>"
    printer = RowPrinter(step.program, width, "v")
    program, out = step.program, printer.lines
    out += [
        "define i64 @advance(ptr noalias %y, ptr noalias %q, ptr noalias %absolute, "
        "ptr noalias %relative, ptr noalias %lane, ptr noalias %dense, i64 %max_steps, i64 %steered) {",
        "entry:",
        "  %is_steered = icmp ne i64 %steered, 0",
        "  %limit_one = sitofp i64 %max_steps to double",
        f"  %limit_in = insertelement {row} poison, double %limit_one, i32 0",
        f"  %limit = shufflevector {row} %limit_in, {row} poison, <{width} x i32> zeroinitializer",
    ]
    for i, number in enumerate(steady_boundary(step)):
        printer.names[number] = f"%v{number}"
        out += printer.load(f"%v{number}", "%q", i)
    printer.print(tolerance_loads(step))
    out += ["  br label %loop", "loop:"]
    for label, index in (("t", TIME), ("size", SIZE), ("until", UNTIL), ("sample", SAMPLE)):
        out += printer.load(f"%{label}", "%lane", index)
    for label, index in (("active", ACTIVE), ("steps", STEPS), ("longest", LONGEST)):
        out += printer.load(f"%{label}", "%lane", index)
    number_of = {name: program.known[("load", name, 0)] for name in ("h",)}
    printer.names[number_of["h"]] = "%h"
    out += [
        f"  %rest = fsub {row} %until, %t",
        f"  %stretched = fmul {row} %size, {splat(1.000001, width)}",
        f"  %hits = fcmp oge {row} %stretched, %rest",
        f"  %double = fadd {row} %size, %size",
        f"  %is_near = fcmp ogt {row} %double, %rest",
        f"  %half = fmul {row} %rest, {splat(0.5, width)}",
        f"  %not_hit = select {truth} %is_near, {row} %half, {row} %size",
        f"  %h = select {truth} %hits, {row} %rest, {row} %not_hit",
    ]
    printer.print(varying(program, step.results))
    exponent = -0.5 / step.method.order
    error = printer.name(step.error)
    out += [
        f"  %first_error = shufflevector {row} {error}, {row} poison, <{width} x i32> zeroinitializer",
        f"  %error = select i1 %is_steered, {row} %first_error, {row} {error}",
        f"  %accepted = fcmp ole {row} %error, {splat(1.0, width)}",
        f"  %error_up = fadd {row} %error, {splat(1e-24, width)}",
        f"  %ln = call {row} @lane_log({row} %error_up)",
        f"  %scaled = fmul {row} %ln, {splat(exponent, width)}",
        f"  %root = call {row} @lane_exp({row} %scaled)",
        f"  %wished = fmul {row} %root, {splat(SAFETY, width)}",
        f"  %may_grow = fcmp olt {row} %wished, {splat(GROW, width)}",
        f"  %below_top = select {truth} %may_grow, {row} %wished, {row} {splat(GROW, width)}",
        f"  %may_shrink = fcmp ogt {row} %wished, {splat(SHRINK, width)}",
        f"  %factor = select {truth} %may_shrink, {row} %below_top, {row} {splat(SHRINK, width)}",
        f"  %after = fadd {row} %t, %h",
        f"  %landed = select {truth} %hits, {row} %until, {row} %after",
        f"  %t_new = select {truth} %accepted, {row} %landed, {row} %t",
        f"  %proposed = fmul {row} %h, %factor",
        # a step cut short by the segment's end says nothing against the size that was meant
        f"  %was_cut = and {truth} %hits, %accepted",
        f"  %is_smaller = fcmp olt {row} %proposed, %size",
        f"  %kept = and {truth} %was_cut, %is_smaller",
        f"  %size_free = select {truth} %kept, {row} %size, {row} %proposed",
        f"  %too_long = fcmp ogt {row} %size_free, %longest",
        f"  %size_new = select {truth} %too_long, {row} %longest, {row} %size_free",
        f"  %steps_new = fadd {row} %steps, {splat(1.0, width)}",
        f"  %t_size = call {row} @llvm.fabs.v{width}f64({row} %t)",
        f"  %t_floor = fadd {row} %t_size, {splat(1e-6, width)}",
        f"  %smallest = fmul {row} %t_floor, {splat(1e-15, width)}",
        f"  %is_tiny = fcmp olt {row} %size_new, %smallest",
        f"  %rejected = fcmp ugt {row} %error, {splat(1.0, width)}",
        f"  %stuck = and {truth} %is_tiny, %rejected",
        f"  %over = fcmp oge {row} %steps_new, %limit",
        f"  %trouble_steps = select {truth} %over, {row} {splat(float(STEP_LIMIT), width)}, "
        f"{row} zeroinitializer",
        f"  %trouble = select {truth} %stuck, {row} {splat(float(STEP_TOO_SMALL), width)}, "
        f"{row} %trouble_steps",
        f"  %sampled = fcmp oge {row} %t_new, %sample",
        f"  %ended = fcmp oge {row} %t_new, %until",
        f"  %passed = or {truth} %sampled, %ended",
        f"  %moved = and {truth} %passed, %accepted",
        f"  %failed = or {truth} %stuck, %over",
        f"  %wants = or {truth} %moved, %failed",
        f"  %runs = fcmp oeq {row} %active, {splat(1.0, width)}",
        f"  %attention = and {truth} %wants, %runs",
    ]
    for index, value in (
        (TIME, "%t_new"),
        (SIZE, "%size_new"),
        (STEPS, "%steps_new"),
        (BEGAN, "%t"),
        (TAKEN, "%h"),
        (TROUBLE, "%trouble"),
    ):
        out += printer.store("%lane", index, value, "l")
    for i in range(n):
        y_now = printer.name(program.known[("load", "y", i)])
        out.append(
            f"  %y_next{i} = select {truth} %accepted, {row} {printer.name(step.new[i])}, {row} {y_now}"
        )
        out += printer.store("%y", i, f"%y_next{i}", "y")
    out += [
        f"  %mask_bits = bitcast {truth} %attention to i{width}",
        f"  %mask = zext i{width} %mask_bits to i64",
        "  %none = icmp eq i64 %mask, 0",
        "  br i1 %none, label %loop, label %leave",
        "leave:",
    ]
    printer.print(varying(program, [v for row_ in step.dense for v in row_]))
    place = 0
    before = [printer.name(program.known[("load", "y", i)]) for i in step.watched]
    after = [printer.name(step.new[i]) for i in step.watched]
    for values in (before, after, *([printer.name(v) for v in row_] for row_ in step.dense)):
        for value in values:
            out += printer.store("%dense", place, value, "d")
            place += 1
    out += ["  ret i64 %mask", "}", ""]
    return "\n".join(out)


def module_text(plan: ModelPlan, width: int) -> str:
    """Return the IR text of all functions of a model."""
    functions_ = [row_function(function, width) for function in plan.functions]
    return "\n".join([declarations(width), advance_function(plan.step, width), *functions_])


def compile_object(text: str, target: Machine) -> bytes:
    """Return the machine code of IR text as an object file."""
    import llvmlite.binding as llvm

    prepare_llvm()
    module = llvm.parse_assembly(text)
    module.verify()
    host = target_machine(target)
    module.triple = target.triple
    module.data_layout = str(host.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_unrolling = False
    builder = llvm.create_pass_builder(host, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(host.emit_object(module))


def target_machine(target: Machine) -> Any:
    import llvmlite.binding as llvm

    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        jit=True,
        reloc="default",
        codemodel="jitdefault",
    )


@lru_cache(maxsize=1)
def prepare_llvm() -> None:
    import llvmlite.binding as llvm

    try:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    except RuntimeError:
        return  # newer llvmlite initialises itself and says so


LOADING = threading.Lock()
LOADED: list[Any] = []
"""Engines that hold machine code in use; it lives as long as the process."""


def load_object(machine_code: bytes, names: Sequence[str], target: Machine) -> dict[str, int]:
    """Return the addresses of these functions of an object file."""
    import llvmlite.binding as llvm

    with LOADING:
        prepare_llvm()
        module = llvm.parse_assembly("")
        module.triple = target.triple
        engine = llvm.create_mcjit_compiler(module, target_machine(target))
        engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
        engine.finalize_object()
        LOADED.append(engine)
        addresses = {name: int(engine.get_function_address(name)) for name in names}
    missing = [name for name, address in addresses.items() if not address]
    if missing:
        raise RuntimeError(f"machine code without {', '.join(missing)}")
    return addresses
