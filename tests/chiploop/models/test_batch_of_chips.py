"""Batches in which every chip has its own parameters and its own share of what is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.models.batch import CompiledModel, Schedule
from chiploop.models.compiler import compile_model

TWO_INPUTS = "model mine\nQ = 1; R = 0; k = 0.3; x = 2; x' = Q - R*x - k*x;\nend\n"
GRID = np.array([0.0, 5.0, 24.0])
RISING = Schedule(np.array([0.0, 7.0, 24.0]), np.array([[1.0, 0.1], [3.0, 0.0]]))
FLAT = Schedule(np.array([0.0, 24.0]), np.array([[2.0, 0.2]]))
CHIPS = [RISING, FLAT, RISING]


def compiled(folder: Path, engine: str = "lanes", text: str = TWO_INPUTS) -> CompiledModel:
    return compile_model(text, "mine", ["Q", "R"], ("x",), (), folder, engine=engine)


@pytest.fixture(scope="module", params=["lanes", "scalar"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> CompiledModel:
    return compiled(tmp_path_factory.mktemp(request.param), request.param)


def own_rows(model: CompiledModel, n: int = 11) -> np.ndarray:
    """Return parameters (n, chips, all): each chip's k is another one."""
    k = np.geomspace(0.01, 5.0, n * len(CHIPS))
    rows = model.parameter_rows(len(k), {"k": np.random.default_rng(0).permutation(k)})
    return rows.reshape(n, len(CHIPS), -1)


def test_a_chip_with_its_own_parameters_reads_as_if_alone(model: CompiledModel) -> None:
    rows = own_rows(model)
    found = model.run(rows, CHIPS, GRID, rtol=1e-7)
    for c, chip in enumerate(CHIPS):
        alone = model.run(rows[:, c], [chip], GRID, rtol=1e-7)
        assert np.array_equal(found.observed[:, c], alone.observed[:, 0])
        assert np.array_equal(found.states[:, c], alone.states[:, 0])
        assert np.array_equal(found.steps[:, c], alone.steps[:, 0])


def test_the_same_parameters_for_every_chip_are_those_of_a_shared_set(model: CompiledModel) -> None:
    shared = own_rows(model)[:, 0]
    one = model.run(shared, CHIPS, GRID, rtol=1e-7)
    other = model.run(np.repeat(shared[:, None], 3, axis=1), CHIPS, GRID, rtol=1e-7)
    assert np.array_equal(one.observed, other.observed)


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_a_factor_on_an_input_is_another_schedule(model: CompiledModel, own: bool) -> None:
    rows = own_rows(model) if own else own_rows(model)[:, 0]
    factors = np.exp(0.3 * np.random.default_rng(1).standard_normal((len(rows), len(CHIPS), 2)))
    found = model.run(rows, CHIPS, GRID, rtol=1e-7, input_factors=factors)
    for i in range(len(rows)):
        for c, chip in enumerate(CHIPS):
            given = Schedule(chip.edges, chip.inputs * factors[i, c])
            row = rows[i : i + 1, c] if own else rows[i : i + 1]
            alone = model.run(row, [given], GRID, rtol=1e-7)
            assert np.array_equal(found.observed[i, c], alone.observed[0, 0])


def test_factors_of_one_change_no_bit(model: CompiledModel) -> None:
    rows = own_rows(model)
    plain = model.run(rows, CHIPS, GRID, rtol=1e-7)
    ones = model.run(rows, CHIPS, GRID, rtol=1e-7, input_factors=np.ones((len(rows), 3, 2)))
    assert np.array_equal(plain.observed, ones.observed)


def test_threads_change_no_bit_of_chips_with_their_own(model: CompiledModel) -> None:
    rows = own_rows(model, 40)
    factors = np.exp(0.3 * np.random.default_rng(1).standard_normal((40, 3, 2)))
    one, two = (
        model.run(rows, CHIPS, GRID, rtol=1e-6, input_factors=factors, threads=n) for n in (1, 2)
    )
    assert np.array_equal(one.observed, two.observed)


def test_going_on_from_states_takes_each_chips_own(model: CompiledModel) -> None:
    rows = own_rows(model)
    factors = np.full((len(rows), 3, 2), 1.5)
    factors[:, 1] = 0.5
    early = [Schedule(np.array([0.0, 7.0]), chip.inputs[:1]) for chip in CHIPS]
    late = [Schedule(np.array([7.0, 24.0]), chip.inputs[-1:]) for chip in CHIPS]
    whole = model.run(rows, CHIPS, GRID[-1:], rtol=1e-9, input_factors=factors)
    first = model.run(rows, early, np.array([7.0]), rtol=1e-9, input_factors=factors)
    rest = model.run(rows, late, GRID[-1:], rtol=1e-9, input_factors=factors, states=first.states)
    assert rest.observed == pytest.approx(whole.observed, rel=1e-7)


def test_an_events_moment_is_each_chips_own(tmp_path: Path) -> None:
    text = "model mine\nQ = 1; R = 0; T = 3; x = 0; x' = 0*Q*R; at (time >= T): x = x + 1;\nend\n"
    model = compiled(tmp_path, text=text)
    moments = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 30.0]])
    rows = model.parameter_rows(6, {"T": moments.ravel()}).reshape(2, 3, -1)
    grid = np.arange(0.5, 24.0, 1.0)
    found = model.run(rows, CHIPS, grid, rtol=1e-6).observed[..., 0]
    assert found == pytest.approx((grid >= moments[..., None]).astype(float))


@pytest.mark.parametrize("shape", [(4, 2, 4), (4, 3, 3), (4, 5), (4,)])
def test_parameters_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit 3 schedules and"):
        compiled(tmp_path).run(np.ones(shape), CHIPS, GRID, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 2, 2), (3, 3, 2)])
def test_factors_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = compiled(tmp_path)
    rows = model.parameter_rows(4, {})
    with pytest.raises(ValueError, match="do not fit 4 parameter sets, 3 schedules and 2 inputs"):
        model.run(rows, CHIPS, GRID, rtol=1e-6, input_factors=np.ones(shape))
