"""The search against certified minima: NIST StRD, from both starts of each set.

Read from the shared data are Misra1a, Rat42, MGH09, Thurber, Hahn1 and Kirby2. Typed in here from
NIST's public-domain pages are BoxBOD, DanWood, MGH10, Rat43 and Eckerle4; the 154 points of Bennett5
stand in nist_bennett5.csv, and give the certified sum of squares at the certified values. No variable is
rescaled by hand: the search scales by the columns of J.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.curve_fit import fit_curve
from chiploop.assays.logistic_curve import FREE, HILL, LOCATION, LOWER, UPPER
from chiploop.assays.nonlinear_fit import minimise
from tests.chiploop.assays.reference_curves import columns, rows_of

Curve = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
LEAST_DIGITS = 6.0


def ratio(n_above: int) -> Curve:
    def curve(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_below = len(b) - n_above
        above = sum(b[i] * x**i for i in range(n_above))
        below = 1.0 + sum(b[n_above + i] * x ** (i + 1) for i in range(n_below))
        y = above / below
        slopes = [x**i / below for i in range(n_above)]
        slopes += [-y * x ** (i + 1) / below for i in range(n_below)]
        return y, np.column_stack(slopes)

    return curve


def misra1a(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e = np.exp(-b[1] * x)
    return b[0] * (1.0 - e), np.column_stack([1.0 - e, b[0] * x * e])


def rat42(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e = np.exp(b[1] - b[2] * x)
    d = 1.0 + e
    return b[0] / d, np.column_stack([1.0 / d, -b[0] * e / d**2, b[0] * x * e / d**2])


def mgh09(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    above, below = x * x + x * b[1], x * x + x * b[2] + b[3]
    y = b[0] * above / below
    return y, np.column_stack([above / below, b[0] * x / below, -y * x / below, -y / below])


def danwood(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = x ** b[1]
    return b[0] * p, np.column_stack([p, b[0] * p * np.log(x)])


def mgh10(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = x + b[2]
    e = np.exp(b[1] / d)
    return b[0] * e, np.column_stack([e, b[0] * e / d, -b[0] * b[1] * e / d**2])


def rat43(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    e = np.exp(b[1] - b[2] * x)
    y = b[0] * (1.0 + e) ** (-1.0 / b[3])
    by_exponent = -y / b[3] * e / (1.0 + e)
    return y, np.column_stack(
        [y / b[0], by_exponent, -x * by_exponent, y * np.log1p(e) / b[3] ** 2]
    )


def eckerle4(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = (x - b[2]) / b[1]
    e = np.exp(-0.5 * z * z) / b[1]
    return b[0] * e, np.column_stack([e, b[0] * e * (z * z - 1.0) / b[1], b[0] * e * z / b[1]])


def bennett5(b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    base = np.maximum(b[1] + x, 1e-9)  # a step may go where the power has no value
    y = b[0] * base ** (-1.0 / b[2])
    return y, np.column_stack([y / b[0], -y / (b[2] * base), y * np.log(base) / b[2] ** 2])


IN_SHARED_DATA: dict[str, Curve] = {
    "Misra1a": misra1a,
    "Rat42": rat42,
    "MGH09": mgh09,
    "Thurber": ratio(4),
    "Hahn1": ratio(4),
    "Kirby2": ratio(3),
}
RAT43_Y = [
    16.08, 33.83, 65.80, 97.20, 191.55, 326.20, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56,
    689.96, 637.56, 717.41,
]  # fmt: skip
RAT43 = (6.9964151270e02, 5.2771253025e00, 7.5962938329e-01, 1.2792483859e00)
ECKERLE4_X = [
    *range(400, 436, 5), 436.5, 438, 439.5, 441, 442.5, 444, 445.5, 447, 448.5, 450, 451.5, 453, 454.5,
    456, 457.5, 459, 460.5, 462, 463.5, *range(465, 501, 5),
]  # fmt: skip
ECKERLE4_Y = [
    0.0001575, 0.0001699, 0.0002350, 0.0003102, 0.0004917, 0.0008710, 0.0017418, 0.0046400, 0.0065895,
    0.0097302, 0.0149002, 0.0237310, 0.0401683, 0.0712559, 0.1264458, 0.2073413, 0.2902366, 0.3445623,
    0.3698049, 0.3668534, 0.3106727, 0.2078154, 0.1164354, 0.0616764, 0.0337200, 0.0194023, 0.0117831,
    0.0074357, 0.0022732, 0.0008800, 0.0004579, 0.0002345, 0.0001586, 0.0001143, 0.0000710,
]  # fmt: skip
TYPED = {
    "BoxBOD": (
        misra1a,
        [1, 2, 3, 5, 7, 10],
        [109, 149, 149, 191, 213, 224],
        [(1, 1), (100, 0.75)],
        (2.1380940889e02, 5.4723748542e-01),
    ),
    "DanWood": (
        danwood,
        [1.309, 1.471, 1.490, 1.565, 1.611, 1.680],
        [2.138, 3.421, 3.597, 4.340, 4.882, 5.660],
        [(1, 5), (0.7, 4)],
        (7.6886226176e-01, 3.8604055871e00),
    ),
    "MGH10": (
        mgh10,
        list(range(50, 126, 5)),
        [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820,
         3307, 2872],
        [(2, 400000, 25000), (0.02, 4000, 250)],
        (5.6096364710e-03, 6.1813463463e03, 3.4522363462e02),
    ),
    "Rat43": (
        rat43,
        list(range(1, 16)),
        RAT43_Y,
        [(100, 10, 1, 1), (700, 5, 0.75, 1.3)],
        RAT43,
    ),
    "Eckerle4": (
        eckerle4,
        ECKERLE4_X,
        ECKERLE4_Y,
        [(1, 10, 500), (1.5, 5, 450)],
        (1.5543827178e00, 4.0888321754e00, 4.5154121844e02),
    ),
}  # fmt: skip


def digits(curve: Curve, x: np.ndarray, y: np.ndarray, start: np.ndarray, certified: np.ndarray):  # type: ignore[no-untyped-def]
    """Return the correct digits of the worst parameter, and the end."""
    end = minimise(
        lambda b: curve(b, x)[0] - y, lambda b: curve(b, x)[1], [start], max_evaluations=5000
    )
    assert end is not None
    worst = float(np.max(np.abs(end.parameters / certified - 1.0)))
    return -math.log10(max(worst, 1e-16)), end


@pytest.mark.parametrize("start", ["start1", "start2"])
@pytest.mark.parametrize("name", IN_SHARED_DATA)
def test_certified_values_are_met_from_both_starts(
    name: str, start: str, shared_data: Path
) -> None:
    points = [row for row in rows_of(shared_data, "nist_strd_data.csv") if row["dataset"] == name]
    rows = [
        row for row in rows_of(shared_data, "nist_strd_certified.csv") if row["dataset"] == name
    ]
    of = {row["quantity"]: row for row in rows}
    names = [quantity for quantity in of if quantity.startswith("b")]
    x, y = columns(points, "x", "y")
    certified = np.array([float(of[b]["certified"]) for b in names])
    met, end = digits(
        IN_SHARED_DATA[name], x, y, np.array([float(of[b][start]) for b in names]), certified
    )
    assert met >= LEAST_DIGITS, f"{name} from {start}: {met:.1f} digits"
    assert end.sum_of_squares == pytest.approx(float(of["rss"]["certified"]), rel=1e-8)
    # Certified standard deviations are those of J'J.
    scale = end.sum_of_squares / (len(y) - len(names))
    lengths = np.linalg.norm(end.jacobian, axis=0)
    inverse = np.linalg.inv(np.linalg.qr(end.jacobian / lengths, mode="r"))
    sd = np.sqrt(scale * np.sum(inverse**2, axis=1)) / lengths
    assert sd == pytest.approx([float(of[b]["certified_sd"]) for b in names], rel=1e-5)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", TYPED)
def test_certified_values_of_further_sets_are_met_from_both_starts(name: str, start: int) -> None:
    curve, x, y, starts, certified = TYPED[name]
    met, _ = digits(
        curve,
        np.array(x, float),
        np.array(y, float),
        np.array(starts[start], float),
        np.array(certified),
    )
    assert met >= LEAST_DIGITS, f"{name} from start {start + 1}: {met:.1f} digits"


BENNETT5 = np.array([-2.5235058043e03, 4.6736564644e01, 9.3218483193e-01])
BENNETT5_RSS = 5.2404744073e-04


@pytest.mark.parametrize("start", [(-2000.0, 50.0, 0.8), (-1500.0, 45.0, 0.85)])
def test_certified_values_of_bennett5_are_met_from_both_starts(start: tuple[float, ...]) -> None:
    text = Path(__file__).with_name("nist_bennett5.csv").read_text(encoding="utf-8")
    y, x = np.array([line.split(",") for line in text.split()[1:]], dtype=float).T
    assert x.size == 154
    at_certified = float(np.sum((bennett5(BENNETT5, x)[0] - y) ** 2))
    assert at_certified == pytest.approx(BENNETT5_RSS, rel=1e-9)  # the points are NIST's
    met, end = digits(bennett5, x, y, np.array(start), BENNETT5)
    assert met >= LEAST_DIGITS, f"from {start}: {met:.1f} digits"
    assert end.sum_of_squares == pytest.approx(BENNETT5_RSS, rel=1e-8)


def test_three_parameters_are_the_certified_ones_of_rat42(shared_data: Path) -> None:
    points = [
        row for row in rows_of(shared_data, "nist_strd_data.csv") if row["dataset"] == "Rat42"
    ]
    x, y = columns(points, "x", "y")
    rows = rows_of(shared_data, "nist_strd_certified.csv")
    b = [float(row["certified"]) for row in rows if row["dataset"] == "Rat42"][:3]
    curve = fit_curve(
        np.exp(x - 50.0), y, "3pl"
    ).curve  # ln concentration is x, moved to stay finite
    ours = [curve.upper, curve.hill * (curve.parameters[LOCATION] + 50.0), curve.hill]
    assert ours == pytest.approx(b, rel=1e-6)


def test_five_parameters_with_lower_held_are_the_certified_ones_of_rat43() -> None:
    x = np.arange(1.0, 16.0)
    fit = fit_curve(np.exp(x), np.array(RAT43_Y), "5pl", held={LOWER: 0.0})
    curve = fit.curve
    ours = [
        curve.upper,
        curve.hill * curve.parameters[LOCATION],
        curve.hill,
        1.0 / curve.asymmetry,
    ]
    assert ours == pytest.approx(RAT43, rel=1e-6)
    assert len(fit.free) == 4 and set(FREE["5pl"]) - set(fit.free) == {LOWER}
    assert fit.standard_errors[LOWER] == 0.0 < fit.standard_errors[UPPER]
    assert fit.standard_errors[HILL] > 0.0


def test_the_lowest_of_several_ends_is_taken_and_starts_that_agree_are_counted() -> None:
    # x^4 - 2 x^2 + x/4 as a sum of squares has two minima; the lower one is at -1.03.
    def residuals(p: np.ndarray) -> np.ndarray:
        return np.array([p[0] ** 2 - 1.0, math.sqrt(0.25) * (p[0] + 1.1)])

    def jacobian(p: np.ndarray) -> np.ndarray:
        return np.array([[2.0 * p[0]], [math.sqrt(0.25)]])

    ends = [minimise(residuals, jacobian, [np.array([s])]) for s in (1.5, -1.5)]
    assert ends[0] is not None and ends[1] is not None
    assert ends[0].sum_of_squares > ends[1].sum_of_squares + 0.1
    both = minimise(residuals, jacobian, [np.array([s]) for s in (1.5, -1.5, -2.0)])
    assert both is not None and both.parameters[0] == pytest.approx(ends[1].parameters[0])
    assert both.starts_at_best == 2


def test_a_start_that_is_not_finite_is_no_end() -> None:
    def residuals(p: np.ndarray) -> np.ndarray:
        return np.array([math.nan, p[0]])

    assert minimise(residuals, lambda p: np.ones((2, 1)), [np.array([1.0])]) is None
