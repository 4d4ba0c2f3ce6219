"""Batches: what lanes share and do not share, samples between steps, events, breakpoints, failures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from chiploop.errors import FileNotValid
from chiploop.models import lanes
from chiploop.models.batch import CompiledModel, Schedule
from chiploop.models.compiler import compile_model

PROJECT = Path(__file__).parents[3]
DECAY = "model mine\nQ = 1; k = 0.3; x = 2; x' = Q - k*x;\nend\n"
OSCILLATOR = """model mine
Q = 1; w = 2; a = 1; b = 0; a' = w*b; b' = -w*a*Q; square := a^2 + b^2;
end
"""


def compiled(
    text: str,
    folder: Path,
    observed: tuple[str, ...] = ("x",),
    integrals: tuple[str, ...] = (),
    engine: str = "lanes",
) -> CompiledModel:
    return compile_model(text, "mine", ["Q"], observed, integrals, folder, engine=engine)


def schedule(*edges: float, inputs: tuple[float, ...] = (1.0,), **constants: float) -> Schedule:
    values = np.resize(np.array(inputs, dtype=float), len(edges) - 1)
    return Schedule(np.array(edges), values[:, None], constants)


@pytest.fixture(scope="module")
def decay(tmp_path_factory: pytest.TempPathFactory) -> CompiledModel:
    """x' = Q - k x, x(0) = 2, with its integral."""
    folder = tmp_path_factory.mktemp("models")
    return compiled(DECAY, folder, ("x", "integral_x"), ("x",))


def exact_decay(k: float, t: np.ndarray) -> np.ndarray:
    """Return x and its integral (t, 2) for Q = 1."""
    x = 1.0 / k + (2.0 - 1.0 / k) * np.exp(-k * t)
    return np.stack([x, t / k + (2.0 - 1.0 / k) * (1.0 - np.exp(-k * t)) / k], axis=-1)


def test_every_lane_has_its_own_steps_and_its_own_answer(decay: CompiledModel) -> None:
    k = np.geomspace(1e-3, 1e4, 37)
    grid = np.array([0.0, 0.5, 3.0, 10.0, 24.0])
    found = decay.run(decay.parameter_rows(37, {"k": k}), [schedule(0, 24)], grid, rtol=1e-9)
    for i in range(37):
        exact = exact_decay(k[i], grid)
        assert found.observed[i, 0] == pytest.approx(exact, rel=3e-8, abs=1e-12)
    assert len(set(found.steps[:, 0])) > 10, "a stiff lane does not set its neighbours' steps"


def test_a_trajectory_is_the_same_to_the_last_bit_whatever_runs_beside_it(
    decay: CompiledModel,
) -> None:
    rows = decay.parameter_rows(53, {"k": np.geomspace(1e-2, 1e3, 53)})
    chips = [schedule(0, 7, 24, inputs=(1.0, 3.0)), schedule(0, 24)]
    grid = np.linspace(0.0, 24.0, 9)
    whole = decay.run(rows, chips, grid, rtol=1e-5, threads=1)
    split = decay.run(rows, chips, grid, rtol=1e-5, threads=2)
    assert np.array_equal(whole.observed, split.observed)
    for i in (0, 8, 52):
        alone = decay.run(rows[i : i + 1], chips[1:], grid, rtol=1e-5)
        assert np.array_equal(alone.observed[0, 0], whole.observed[i, 1])
        assert np.array_equal(alone.states[0, 0], whole.states[i, 1])
    shuffled = np.random.default_rng(1).permutation(53)
    again = decay.run(rows[shuffled], chips, grid, rtol=1e-5)
    assert np.array_equal(again.observed, whole.observed[shuffled])


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -1e6])
def test_a_failing_lane_is_reported_and_costs_its_neighbours_nothing(
    decay: CompiledModel, absurd: float
) -> None:
    good = np.geomspace(0.1, 10.0, 15)
    k = np.insert(good, 7, absurd)
    chips, grid = [schedule(0, 24)], np.array([24.0])
    found = decay.run(decay.parameter_rows(16, {"k": k}), chips, grid, rtol=1e-6)
    alone = decay.run(decay.parameter_rows(15, {"k": good}), chips, grid, rtol=1e-6)
    assert found.trouble[7, 0] == lanes.STEP_TOO_SMALL
    assert (np.delete(found.trouble, 7, axis=0) == 0).all()
    for part, same in (("observed", True), ("states", True), ("steps", False)):
        whole, others = getattr(found, part), getattr(alone, part)
        if same:
            assert np.isnan(whole[7]).all()
        assert np.array_equal(np.delete(whole, 7, axis=0), others)


def test_the_step_limit_is_a_result_of_its_own_trajectory(decay: CompiledModel) -> None:
    chips = [schedule(*range(25)), schedule(0, 24)]
    found = decay.run(
        decay.parameter_rows(3, {"k": np.array([0.1, 0.2, 0.3])}),
        chips, np.array([1.0, 24.0]), rtol=1e-6, max_steps=60,
    )  # fmt: skip
    assert (found.trouble[:, 0] == lanes.STEP_LIMIT).all()
    assert (found.trouble[:, 1] == 0).all()
    assert np.isnan(found.observed[:, 0]).all(), "no half of a failed trajectory is handed out"
    assert (found.steps[:, 0] == 60).all()


def test_samples_between_steps_are_as_good_as_the_steps(tmp_path: Path) -> None:
    model = compiled(OSCILLATOR, tmp_path, ("a", "b", "square"))
    grid = np.linspace(0.0, 20.0, 1001)
    for rtol, bound in ((1e-4, 3e-3), (1e-7, 1e-5), (1e-10, 1e-8)):
        found = model.run(model.parameter_rows(1, {}), [schedule(0, 20)], grid, rtol=rtol)
        values = found.observed[0, 0]
        assert found.steps[0, 0] < 1000, "samples do not cut steps"
        assert np.abs(values[:, 0] - np.cos(2 * grid)).max() < bound
        assert np.abs(values[:, 2] - 1.0).max() < bound
        coarse = model.run(model.parameter_rows(1, {}), [schedule(0, 20)], grid[-1:], rtol=rtol)
        assert coarse.steps[0, 0] == found.steps[0, 0]


def test_the_mean_over_a_window_is_exact_and_not_a_mean_of_samples(decay: CompiledModel) -> None:
    rows = decay.parameter_rows(1, {"k": 2.0})
    window = np.array([0.1, 0.9])
    found = decay.run(rows, [schedule(0, 5)], window, rtol=1e-9).observed[0, 0, :, 1]
    exact = exact_decay(2.0, window)[:, 1]
    assert np.diff(found) / 0.8 == pytest.approx(np.diff(exact) / 0.8, rel=1e-8)


def test_constants_and_factors_of_a_chip_hold_on_it_alone(decay: CompiledModel) -> None:
    plain = schedule(0, 24)
    own = Schedule(plain.edges, plain.inputs, {"k": 0.5}, {"k": 3.0})
    scaled = Schedule(plain.edges, plain.inputs, {}, {"k": 2.0})
    rows, grid = decay.parameter_rows(2, {"k": np.array([0.3, 0.4])}), np.array([24.0])
    found = decay.run(rows, [plain, own, scaled], grid, rtol=1e-9).observed[:, :, 0, 0]
    wanted = [[exact_decay(k, grid)[0, 0] for k in ks] for ks in ((0.3, 1.5, 0.6), (0.4, 1.5, 0.8))]
    assert found == pytest.approx(np.array(wanted), rel=1e-7)


def test_going_on_from_a_state_is_one_run_and_leaves_the_state_alone(decay: CompiledModel) -> None:
    rows = decay.parameter_rows(3, {"k": np.array([0.1, 1.0, 5.0])})
    whole = decay.run(rows, [schedule(0, 3, 9)], np.array([9.0]), rtol=1e-9)
    first = decay.run(rows, [schedule(0, 3)], np.array([3.0]), rtol=1e-9)
    kept = first.states.copy()
    rest = decay.run(rows, [schedule(3, 9)], np.array([9.0]), rtol=1e-9, states=first.states)
    assert rest.observed == pytest.approx(whole.observed, rel=1e-7)
    assert np.array_equal(first.states, kept)


EVENT = """model mine
Q = 1; k = 0.5; T = 3; x = 1; x' = -k*x;
at (time >= T): x = x + 10*Q0; Q0 = 1; y = 0; y' = x;
end
"""


@pytest.mark.parametrize("engine", ["lanes", "scalar"])
def test_an_event_comes_at_its_moment_and_is_seen_by_a_sample_there(
    tmp_path: Path, engine: str
) -> None:
    model = compiled(EVENT, tmp_path, ("x", "y"), engine=engine)
    grid = np.array([0.0, 2.0, 3.0, 4.0])
    times = np.array([3.0, 1.0, 3.0])
    rows = model.parameter_rows(3, {"T": times, "k": np.array([0.5, 0.5, 1.0])})
    found = model.run(rows, [schedule(0, 4)], grid, rtol=1e-9).observed[:, 0, :, 0]
    for i, (moment, k) in enumerate(zip(times, (0.5, 0.5, 1.0), strict=True)):
        wanted = np.exp(-k * grid) + np.where(
            grid >= moment, 10 * np.exp(-k * np.maximum(grid - moment, 0.0)), 0.0
        )
        assert found[i] == pytest.approx(wanted, rel=1e-7)


def test_an_event_at_the_very_end_is_in_the_last_sample_and_the_last_state(tmp_path: Path) -> None:
    model = compiled(EVENT, tmp_path, ("x",))
    rows = model.parameter_rows(1, {"T": 4.0})
    found = model.run(rows, [schedule(0, 4)], np.array([4.0]), rtol=1e-9)
    wanted = math.exp(-2.0) + 10.0
    assert found.observed[0, 0, 0, 0] == pytest.approx(wanted, rel=1e-7)
    assert found.states[0, 0, 0] == pytest.approx(wanted, rel=1e-7)
    after = model.run(rows, [schedule(4, 5)], np.array([5.0]), rtol=1e-9, states=found.states)
    assert after.observed[0, 0, 0, 0] == pytest.approx(wanted * math.exp(-0.5), rel=1e-7)


def test_two_events_of_one_moment_are_refused(tmp_path: Path) -> None:
    text = EVENT.replace("at (time", "S = 3; at (time >= S): y = 1; at (time")
    model = compiled(text.replace("S = 3", "S = 2"), tmp_path, ("x", "y"))
    with pytest.raises(ValueError, match=r"events \w+ and \w+ both come at 3"):
        model.run(model.parameter_rows(1, {"S": 3.0}), [schedule(0, 4)], np.array([4.0]), rtol=1e-6)


PULSE = """model mine
Q = 1; on = 5; off = 5.01; height = 100; x = 0;
x' = piecewise(height, time >= on && time < off, 0) - 0.1*x;
end
"""


@pytest.mark.parametrize("engine", ["lanes", "scalar"])
def test_a_pulse_that_is_far_shorter_than_a_step_is_not_stepped_over(
    tmp_path: Path, engine: str
) -> None:
    model = compiled(PULSE, tmp_path, engine=engine)
    on = np.array([5.0, 50.0, 90.0])
    rows = model.parameter_rows(3, {"on": on, "off": on + 0.01})
    found = model.run(rows, [schedule(0, 100)], np.array([100.0]), rtol=1e-8)
    wanted = 1000 * (np.exp(0.1 * 0.01) - 1) * np.exp(-0.1 * (100 - on))
    assert found.observed[:, 0, 0, 0] == pytest.approx(wanted, rel=1e-6)
    assert (found.steps < 400).all()


def test_a_switch_in_time_costs_no_accuracy_and_no_steps(tmp_path: Path) -> None:
    """At the usual tolerance: as good as the same switch made by an input, in as many steps."""
    switch = "model mine\nQ = 1; T = 7.3; x = 0; x' = Q*piecewise(1, time < T, 0) - 0.1*x;\nend\n"
    edge = "model mine\nQ = 1; T = 7.3; x = 0; x' = Q - 0.1*x;\nend\n"
    grid = np.array([3.0, 7.3, 20.0])
    found = []
    for text, chip in ((switch, schedule(0, 20)), (edge, schedule(0, 7.3, 20, inputs=(1.0, 0.0)))):
        model = compiled(text, tmp_path)
        found.append(model.run(model.parameter_rows(1, {}), [chip], grid, rtol=1e-4))
    exact = (
        10 * (1 - np.exp(-0.1 * np.minimum(grid, 7.3))) * np.exp(-0.1 * np.maximum(grid - 7.3, 0))
    )
    assert found[0].observed[0, 0, :, 0] == pytest.approx(exact, rel=1e-6)
    assert found[0].observed == pytest.approx(found[1].observed, rel=1e-7)
    assert abs(int(found[0].steps[0, 0]) - int(found[1].steps[0, 0])) <= 2


def test_a_derivative_by_the_moment_of_a_switch_is_refused(tmp_path: Path) -> None:
    model = compiled(PULSE, tmp_path)
    on = 5.0 + 1e-6 * np.arange(model.width)
    with pytest.raises(ValueError, match="the moment of an event or a switch hangs on one of"):
        model.run(
            model.parameter_rows(model.width, {"on": on}), [schedule(0, 100)],
            np.array([100.0]), rtol=1e-6, is_steered=True,
        )  # fmt: skip


def test_a_moment_that_hangs_on_an_input_is_refused(tmp_path: Path) -> None:
    text = "model mine\nQ = 1; x = 0; x' = piecewise(1, time < Q, 0);\nend\n"
    with pytest.raises(
        FileNotValid, match="the moment Q of an event or a switch depends on an input"
    ):
        compiled(text, tmp_path)


def test_a_switch_in_a_model_without_constants(tmp_path: Path) -> None:
    model = compile_model("x = 0; x' = piecewise(1, time < 3, 0)", "mine", [], ["x"], [], tmp_path)
    chip = Schedule(np.array([0.0, 5.0]), np.zeros((1, 0)))
    found = model.run(model.parameter_rows(2, {}), [chip], np.array([5.0]), rtol=1e-4)
    assert found.observed == pytest.approx(3.0, rel=1e-9)


@pytest.mark.parametrize("body", ["x = 1/z; z = 0; x' = Q;", "x = 1; x' = -Q; y := ln(x - 2);"])
def test_a_value_that_is_not_finite_is_trouble_even_where_the_steps_went_well(
    body: str, tmp_path: Path
) -> None:
    model = compiled(
        f"model mine\nQ = 1; {body}\nend\n", tmp_path, ("y",) if "y" in body else ("x",)
    )
    found = model.run(model.parameter_rows(1, {}), [schedule(0, 1)], np.array([0.5]), rtol=1e-6)
    assert found.trouble[0, 0] > 0
    assert np.isnan(found.observed).all() and np.isnan(found.states).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_simulates_too(tmp_path: Path) -> None:
    program = (
        "import os, numpy as np, signal\n"
        "from chiploop.models.tissue_model import load_model\n"
        "from tests.chiploop.models.chips import DEMO, inlet, parameters\n"
        "from tests.chiploop.models.test_tissue_model import STUDY\n"
        "model = load_model('skin_chip', DEMO)\n"
        "sets = np.repeat(parameters(model), 3000, axis=0)\n"
        "run = lambda: model.simulate(sets, [inlet(STUDY)], np.array([124.0])).failed\n"
        "run()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(30)\n"
        "    os._exit(run())\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CHIPLOOP_THREADS": "2"}, cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_time_in_a_rate_is_the_schedules_time(tmp_path: Path) -> None:
    model = compiled("model mine\nQ = 1; x = 0; x' = time*sin(time);\nend\n", tmp_path)
    grid = np.array([3.0, 7.0])
    found = model.run(model.parameter_rows(1, {}), [schedule(2, 7)], grid, rtol=1e-10)
    antiderivative = np.sin(grid) - grid * np.cos(grid) - (math.sin(2) - 2 * math.cos(2))
    assert found.observed[0, 0, :, 0] == pytest.approx(antiderivative, rel=1e-7)


EVERYTHING = """model mine
Q = 1; n = 2.3; x = 1; y = 0.5;
x' = -exp(-y)*x + ln(1 + y^2) + x^n/(1 + x^n) + sqrt(y^2 + 1) - min(x, y)*max(x, 0.1) + Q*tanh(y);
y' = sin(x)*cos(y) - abs(y - 0.3) - y^3 + piecewise(0.5, x > 1.2, 0.1*x) + arctan(x)/7;
end
"""


def test_lanes_and_scalar_engine_agree_on_every_kind_of_operation(tmp_path: Path) -> None:
    both = [compiled(EVERYTHING, tmp_path, ("x", "y"), engine=e) for e in ("lanes", "scalar")]
    n = np.linspace(0.5, 4.0, 13)
    grid = np.linspace(0.0, 10.0, 6)
    chips = [schedule(0, 4, 10, inputs=(1.0, 0.2)), schedule(0, 10)]
    one, other = (
        m.run(m.parameter_rows(13, {"n": n}), chips, grid, rtol=1e-8).observed for m in both
    )
    assert one == pytest.approx(other, rel=1e-6)
    assert not np.array_equal(one, other), "two ways to machine code, not one twice"


@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0, 2.5])
def test_a_hill_function_starts_from_zero(tmp_path: Path, exponent: float) -> None:
    body = "n = 1.5; x = 0; y = 0; x' = Q; y' = x^n/(1 + x^n);"
    model = compiled(f"model mine\nQ = 1; {body}\nend\n", tmp_path, ("y",))
    rows = model.parameter_rows(1, {"n": exponent})
    found = model.run(rows, [schedule(0, 2)], np.array([2.0]), rtol=1e-9).observed[0, 0, 0, 0]
    wanted, _ = quad(lambda x: x**exponent / (1 + x**exponent), 0, 2)
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_slope_without_bound_is_told_as_trouble_and_not_as_a_number(tmp_path: Path) -> None:
    text = "model mine\nQ = 1; n = 0.3; x = 0; y = 0; x' = Q; y' = x^n - y;\nend\n"
    model = compiled(text, tmp_path, ("y",))
    found = model.run(model.parameter_rows(1, {}), [schedule(0, 2)], np.array([2.0]), rtol=1e-7)
    assert found.trouble[0, 0] == lanes.STEP_TOO_SMALL
    assert np.isnan(found.observed).all()


def test_a_reading_that_hangs_on_no_state_is_read_all_the_same(tmp_path: Path) -> None:
    model = compiled("model mine\nQ = 1; k = 3; b := 2*k; x = 1; x' = -x;\nend\n", tmp_path, ("b",))
    assert model.states == ()
    found = model.run(
        model.parameter_rows(2, {}), [schedule(0, 1)], np.array([0.0, 1.0]), rtol=1e-6
    )
    assert (found.observed == 6.0).all()


def test_nothing_to_run_and_nothing_to_read_are_empty_answers(decay: CompiledModel) -> None:
    none = decay.run(decay.parameter_rows(0, {}), [schedule(0, 1)], np.array([1.0]), rtol=1e-6)
    assert none.observed.shape == (0, 1, 1, 2)
    unread = decay.run(decay.parameter_rows(2, {}), [schedule(0, 1)], np.array([]), rtol=1e-6)
    assert unread.observed.shape == (2, 1, 0, 2)
    assert np.isfinite(unread.states).all()


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ((0.0, math.nan), "edges do not ascend"),
        ((math.nan, 1.0), "edges do not ascend"),
        ((0.0, math.inf), "edges do not ascend"),
        ((0.0, 2.0, 2.0), "edges do not ascend"),
        ((2.0, 1.0), "edges do not ascend"),
        ((0.0,), r"do not fit 1 edges and 1 inputs"),
    ],
)
def test_edges_that_no_lane_would_ever_reach_are_refused(
    decay: CompiledModel, edges: tuple[float, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        decay.run(decay.parameter_rows(1, {}), [schedule(*edges)], np.array([0.5]), rtol=1e-6)


@pytest.mark.parametrize("grid", [[1.0, 0.5], [math.nan], [0.5, math.inf]])
def test_sampling_times_out_of_order_are_refused(decay: CompiledModel, grid: list[float]) -> None:
    with pytest.raises(ValueError, match="sampling times do not ascend"):
        decay.run(decay.parameter_rows(1, {}), [schedule(0, 2)], np.array(grid), rtol=1e-6)


ANOTHER_PROCESSOR = """
import json, sys
import numpy as np
from tests.chiploop.models.chips import inlet, parameters
from tests.chiploop.models.test_tissue_model import STUDY
from chiploop.models.tissue_model import load_model
model = load_model("skin_chip")
sets = parameters(model) * np.linspace(0.8, 1.0, 11)[:, None]
found = model.simulate(sets, [inlet(STUDY)], np.array([50.0, 124.0]), np.array([np.nan, 50.0]))
_, slopes = model.sensitivities(sets[:2], [inlet(STUDY)], np.array([124.0]))
print(json.dumps([model.compiled.width, found.readouts[..., :2].tolist(), slopes[..., 0, :].tolist()]))
"""


@pytest.mark.parametrize("width", ["2", "4"])
def test_the_shorter_rows_of_another_processor_give_the_same_answers(width: str) -> None:
    """In processes of their own: a wrong alignment would end one."""
    answers = []
    for lanes_of_a_row in (width, "8"):
        done = subprocess.run(
            [sys.executable, "-c", ANOTHER_PROCESSOR],
            env={**os.environ, "CHIPLOOP_LANES": lanes_of_a_row},
            cwd=PROJECT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout.replace("NaN", "null")))
    (own, readouts, slopes), (_, readouts_8, slopes_8) = answers
    assert own == int(width)
    for ours, theirs in ((readouts, readouts_8), (slopes, slopes_8)):
        one, other = np.array(ours, dtype=float), np.array(theirs, dtype=float)
        assert one == pytest.approx(other, rel=1e-6, nan_ok=True)
