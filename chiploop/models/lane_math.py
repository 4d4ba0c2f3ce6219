"""exp, log and power for a row of lanes, as LLVM IR.

Belongs here: these three functions. Not here: anything of a model.

LLVM turns a vector exp into one call of the mathematical library per lane; written out here they stay in
vector registers. All keep what IEEE 754 says of zero, infinity, numbers out of range and not-a-number.
Accuracy, checked in the tests against a multiple-precision reference: 2 units in the last place for exp and
log; a power is exp(y log|x|), whose error grows with |y log x|.
"""

from __future__ import annotations

import math
import struct

LN2_HIGH = 6.93147180369123816490e-01  # the leading 32 bits of ln 2, so that k * LN2_HIGH is exact
LN2_LOW = 1.90821492927058770002e-10
SHIFT = (
    6755399441055744.0  # 1.5 * 2^52: added and taken away again, it rounds to the nearest integer
)


def number(value: float) -> str:
    """Return a double as LLVM writes it."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def splat(value: float, width: int) -> str:
    """Return a constant vector of doubles."""
    return "<" + ", ".join([f"double {number(value)}"] * width) + ">"


def splat_bits(value: int, width: int) -> str:
    """Return a constant vector of 64-bit integers."""
    return "<" + ", ".join([f"i64 {value}"] * width) + ">"


class Body:
    """Lines of one IR function on vectors."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.real, self.bits, self.truth = (f"<{width} x {t}>" for t in ("double", "i64", "i1"))
        self.lines: list[str] = []

    def new(self, instruction: str) -> str:
        """Return the name of the value of an instruction."""
        name = f"%r{len(self.lines)}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def real_operation(self, kind: str, a: str | float, b: str | float) -> str:
        """Return a kind b, exactly as written except that a product and a sum may be fused."""
        return self.new(f"{kind} contract {self.real} {self.term(a)}, {self.term(b)}")

    def bit_operation(self, kind: str, a: str, b: str | int) -> str:
        other = b if isinstance(b, str) else splat_bits(b, self.width)
        return self.new(f"{kind} {self.bits} {a}, {other}")

    def compare(self, kind: str, a: str | float, b: str | float) -> str:
        return self.new(f"fcmp {kind} {self.real} {self.term(a)}, {self.term(b)}")

    def select(self, condition: str, a: str | float, b: str | float) -> str:
        return self.new(
            f"select {self.truth} {condition}, {self.real} {self.term(a)}, {self.real} {self.term(b)}"
        )

    def cast(self, value: str, to_bits: bool) -> str:
        source, target = (self.real, self.bits) if to_bits else (self.bits, self.real)
        return self.new(f"bitcast {source} {value} to {target}")

    def term(self, value: str | float) -> str:
        return value if isinstance(value, str) else splat(value, self.width)

    def polynomial(self, x: str, coefficients: list[float]) -> str:
        """Return sum_j coefficients_j x^j; even and odd halves run side by side."""
        square = self.real_operation("fmul", x, x)
        halves = []
        for half in (coefficients[0::2], coefficients[1::2]):
            total: str | float = half[-1]
            for coefficient in reversed(half[:-1]):
                total = self.real_operation(
                    "fadd", self.real_operation("fmul", total, square), coefficient
                )
            halves.append(total)
        return self.real_operation("fadd", self.real_operation("fmul", halves[1], x), halves[0])

    def function(self, name: str, arguments: str, result: str) -> str:
        """Return the whole function."""
        head = f"define internal {self.real} @{name}({arguments}) alwaysinline {{"
        return "\n".join([head, "entry:", *self.lines, f"  ret {self.real} {result}", "}", ""])


def exponential(width: int) -> str:
    """Return ``lane_exp``: e^x = 2^k e^r with |r| <= ln(2)/2, e^r by its series to r^13."""
    b = Body(width)
    x = b.select(b.compare("ogt", "%x", 710.0), 710.0, "%x")
    x = b.select(b.compare("olt", x, -746.0), -746.0, x)
    shifted = b.real_operation("fadd", b.real_operation("fmul", x, 1.0 / math.log(2.0)), SHIFT)
    k = b.new(f"fsub {b.real} {shifted}, {splat(SHIFT, width)}")
    r = b.real_operation("fsub", x, b.real_operation("fmul", k, LN2_HIGH))
    r = b.real_operation("fsub", r, b.real_operation("fmul", k, LN2_LOW))
    series = b.polynomial(r, [1.0 / math.factorial(j) for j in range(14)])
    # 2^k in two halves: a result below the smallest normal number is rounded once, at the end
    whole = b.bit_operation("sub", b.cast(shifted, True), b.cast(b.term(SHIFT), True))
    first = b.bit_operation("ashr", whole, 1)
    for part in (first, b.bit_operation("sub", whole, first)):
        exponent = b.bit_operation("shl", b.bit_operation("add", part, 1023), 52)
        series = b.new(f"fmul {b.real} {series}, {b.cast(exponent, False)}")
    return b.function("lane_exp", f"{b.real} %x", series)


def logarithm(width: int) -> str:
    """Return ``lane_log``: ln(2^k m) = k ln 2 + 2 artanh(s), s = (m-1)/(m+1), sqrt(1/2) <= m < sqrt(2)."""
    b = Body(width)
    is_tiny = b.compare("olt", "%x", 2.2250738585072014e-308)
    x = b.select(is_tiny, b.real_operation("fmul", "%x", 2.0**54), "%x")
    raw = b.cast(x, True)
    # subtracting the bits of sqrt(1/2) puts the carry where the mantissa passes it
    offset = struct.unpack("<q", struct.pack("<d", math.sqrt(0.5)))[0]
    k = b.bit_operation("ashr", b.bit_operation("sub", raw, offset), 52)
    m = b.cast(b.bit_operation("sub", raw, b.bit_operation("shl", k, 52)), False)
    power = b.new(f"sitofp {b.bits} {k} to {b.real}")
    power = b.real_operation("fsub", power, b.select(is_tiny, 54.0, 0.0))
    f = b.real_operation("fsub", m, 1.0)
    s = b.new(f"fdiv {b.real} {f}, {b.real_operation('fadd', f, 2.0)}")
    square = b.real_operation("fmul", s, s)
    # 2 artanh(s) = f - s (f - 2 s^2 (1/3 + s^2/5 + ...)): f is exact, so the rest may be rounded
    tail = b.polynomial(square, [2.0 / (2 * j + 3) for j in range(10)])
    rest = b.real_operation("fsub", f, b.real_operation("fmul", square, tail))
    correction = b.real_operation(
        "fsub", b.real_operation("fmul", s, rest), b.real_operation("fmul", power, LN2_LOW)
    )
    result = b.real_operation("fsub", f, correction)
    result = b.real_operation("fadd", b.real_operation("fmul", power, LN2_HIGH), result)
    result = b.select(b.compare("oeq", "%x", math.inf), math.inf, result)
    result = b.select(b.compare("oeq", "%x", 0.0), -math.inf, result)
    result = b.select(b.compare("uge", "%x", 0.0), result, math.nan)
    result = b.select(b.compare("uno", "%x", "%x"), math.nan, result)
    return b.function("lane_log", f"{b.real} %x", result)


def power(width: int) -> str:
    """Return ``lane_pow``: |x|^y with the sign of an odd whole y; not a number for x < 0 and other y."""
    b = Body(width)
    size = b.new(f"call {b.real} @llvm.fabs.v{width}f64({b.real} %x)")
    logarithm = b.new(f"call {b.real} @lane_log({b.real} {size})")
    exponent = b.real_operation("fmul", "%y", logarithm)
    result = b.new(f"call {b.real} @lane_exp({b.real} {exponent})")
    whole = b.new(f"call {b.real} @llvm.trunc.v{width}f64({b.real} %y)")
    half = b.real_operation("fmul", "%y", 0.5)
    whole_half = b.new(f"call {b.real} @llvm.trunc.v{width}f64({b.real} {half})")
    is_odd = b.compare("une", half, whole_half)
    signed = b.select(is_odd, b.new(f"fneg {b.real} {result}"), result)
    signed = b.select(b.compare("oeq", whole, "%y"), signed, math.nan)
    result = b.select(b.compare("olt", "%x", 0.0), signed, result)
    result = b.select(b.compare("oeq", "%y", 0.0), 1.0, result)
    return b.function("lane_pow", f"{b.real} %x, {b.real} %y", result)


def functions(width: int) -> str:
    """Return all of them for rows of this width."""
    return "\n".join([exponential(width), logarithm(width), power(width)])
