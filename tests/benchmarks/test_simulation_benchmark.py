"""The simulation benchmark's parts: peers solve the same study, figures give the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulation_figures import spread, write_figures
from benchmarks.simulation_peers import Lsoda, roadrunner_events, roadrunner_restarted
from benchmarks.simulation_study import (
    GRID_H,
    TIMES_H,
    WINDOWS_H,
    chips,
    model_at,
    parameter_sets,
    readouts_on_grid,
    simulated,
)
from benchmarks.work_precision import errors

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")


def test_a_window_readout_is_a_difference_on_the_grid() -> None:
    observed = np.stack([GRID_H, 2.0 * GRID_H, 1.0 - 1e-3 * GRID_H], axis=-1)
    found = readouts_on_grid(observed)
    windowed = np.isfinite(WINDOWS_H)
    assert found[:, 0].tolist() == TIMES_H.tolist()
    assert found[windowed, 1] == pytest.approx(2.0)
    assert found[windowed, 2] == pytest.approx(1e-3 * (TIMES_H - WINDOWS_H)[windowed])
    assert np.isnan(found[~windowed, 1:]).all()


@pytest.mark.slow
@pytest.mark.parametrize("peer", ["restarts", "events", "odeint", "solve_ivp"])
def test_a_peer_solves_the_same_study(peer: str) -> None:
    model, inlets = model_at(1e-9), chips()[:2]
    sets = parameter_sets(model, 2)
    run = {
        "restarts": lambda: roadrunner_restarted(inlets),
        "events": lambda: roadrunner_events(inlets),
        "odeint": lambda: Lsoda(inlets).by_odeint,
        "solve_ivp": lambda: Lsoda(inlets).by_solve_ivp,
    }[peer]()
    # twice: what one run leaves behind does not reach the next
    for _ in range(2):
        assert errors(run(1e-9, sets), simulated(model, sets, inlets, 1e-9))[0] < 1e-6


def test_figures_give_the_same_bytes(tmp_path: Path) -> None:
    point = {"rtol": 1e-5, "largest_error": 1e-6, "error_99": 1e-7, "per_s": 1e4}
    looser = {"rtol": 1e-4, "largest_error": 1e-5, "error_99": 1e-6, "per_s": 3e4}
    rows = [
        {"chips": n, "trajectories": 10 * n, "cpu_s": n, "before_mb": 100.0, "peak_mb": 100.0 + n}
        for n in (1, 10)
    ]
    found = {
        "equal_error": 1e-5,
        "curves": {"chiploop": [looser, point]},
        "growth": {"sets_per_chip": 16, "chips": rows, "trajectories": rows, "slopes": {}},
    }
    for folder in ("first", "second"):
        write_figures(found, tmp_path / folder)
    for name in ("simulation_work_precision.svg", "simulation_scaling.svg"):
        first, second = ((tmp_path / f / name).read_bytes() for f in ("first", "second"))
        assert first == second
        assert b"dc:date" not in first


def test_labels_are_moved_apart_and_no_further() -> None:
    assert spread([1.0, 5.0], 1.0) == [1.0, 5.0]
    assert spread([1.0, 1.0], 1.0) == pytest.approx([0.5, 1.5])
