"""What derivatives cost with AMICI, pyPESTO's own simulator: ``python -m benchmarks.recalibration --amici``.

Belongs here: one chip of the study as an AMICI model, built, compared with ours, timed. Not here: sampling with
it; a chain takes hours at its price, and its rate follows from that of the same chain on our engine.

AMICI turns the model into C++ and needs a compiler and swig. The chip's schedule is events of the exported SBML;
forward sensitivities, as they serve all 60 readouts at once, by all estimated parameters.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recalibration_study import MODEL
from benchmarks.recalibration_target import Target
from chiploop.models.sbml_export import InputSchedule, to_sbml
from chiploop.models.tissue_model import MODELS

RTOL = 1e-6
"""Of AMICI: its usual one is 1e-8; at 1e-6 its error is about that of our engine at its usual tolerance."""
PROTEINS = ("C26", "C17", "TSLP", "IL8")
CHIP = 4
"""Index of the chip that stands for all twelve: they differ in numbers only."""


def is_installed() -> bool:
    """Return whether there is AMICI."""
    return importlib.util.find_spec("amici") is not None


def measured_with_amici(target: Target, budget_s: float = 3.0) -> dict[str, float]:
    """Return the seconds of the build, those of one gradient by either engine, and how far the two differ."""
    inlet = target.inlets[CHIP]
    constants = {target.model.constant_names[k]: v for k, v in inlet.constants.items()}
    names = target.model.compiled.inputs
    schedule = InputSchedule(inlet.edges_h, names, inlet.inputs, constants, PROTEINS)
    sbml = to_sbml(MODELS[MODEL].read_text("utf-8"), MODEL, schedule)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model = built(sbml, target.names, Path(folder))
        build_s = time.perf_counter() - began
        return {"build_s": build_s, **timed_gradient(model, target, budget_s)}


def built(sbml: str, estimated: tuple[str, ...], folder: Path) -> Any:
    """Return the AMICI model; what is neither estimated nor changed by an event is a number in it."""
    import amici
    import amici.sim.sundials
    import libsbml
    from amici.importers.sbml import SbmlImporter
    from amici.importers.utils import MeasurementChannel

    # swig comes with AMICI, beside Python
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    path = folder / "chip.xml"
    path.write_text(sbml, "utf-8")
    document = libsbml.readSBMLFromString(sbml)
    fixed = [
        parameter.getId()
        for parameter in document.getModel().getListOfParameters()
        if parameter.getConstant() and parameter.getId() not in estimated
    ]
    seen = ["TEER", *(f"integral_{name}" for name in PROTEINS), "V"]
    SbmlImporter(str(path)).sbml2amici(
        "chiploop_chip",
        folder / "built",
        fixed_parameters=fixed,
        observation_model=[MeasurementChannel(id_=f"seen_{name}", formula=name) for name in seen],
    )
    return amici.import_model_module("chiploop_chip", folder / "built").get_model()


def timed_gradient(model: Any, target: Target, budget_s: float) -> dict[str, float]:
    """Return the time of derivatives, and the largest differences from ours."""
    from amici.sim.sundials import SensitivityMethod, SensitivityOrder, run_simulation

    ids = list(model.get_free_parameter_ids())
    # AMICI renames what C++ or its own names forbid
    places = [ids.index(name if name in ids else f"amici_{name}") for name in target.names]
    times = target.study.times_h
    grid = np.unique(np.concatenate([times, times - 24.0]))
    point = target.study.truth[None]
    x = target.parameters(point)
    values = np.array(model.get_free_parameters())
    values[places] = x[0]
    model.set_free_parameters(values)
    model.set_timepoints(grid)
    model.set_parameter_list(places)
    solver = model.create_solver()
    solver.set_relative_tolerance(RTOL)
    solver.set_absolute_tolerance(1e-3 * RTOL)
    solver.set_sensitivity_order(SensitivityOrder.first)
    solver.set_sensitivity_method(SensitivityMethod.forward)
    found = run_simulation(model, solver)
    if found.status != 0:
        raise SystemExit(f"AMICI could not simulate the chip: status {found.status}")
    one_s = processor_s(lambda: run_simulation(model, solver), budget_s)
    our_s = processor_s(lambda: target.gradient(point), budget_s)
    ours, slopes = target.model.sensitivities(x, [target.inlets[CHIP]], times, times - 24.0)
    # (grid, p, seen) -> (grid, seen, p)
    theirs_slopes = readouts(np.swapaxes(np.array(found.sy), 1, 2), grid, times)
    return {
        "gradient_s": one_s * len(target.inlets),
        "our_gradient_s": our_s,
        "readouts_differ_by": apart(readouts(np.array(found.y), grid, times), ours[0, 0]),
        "slopes_differ_by": apart(theirs_slopes, slopes[0, 0]),
    }


def processor_s(call: Callable[[], Any], budget_s: float) -> float:
    """Return the seconds of processor time of a call."""
    call()
    began, calls = time.process_time(), 0
    while time.process_time() - began < budget_s:
        call()
        calls += 1
    return (time.process_time() - began) / calls


def readouts(seen: np.ndarray, grid: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the six readouts (times, 6, ...) of what is seen (grid, 6, ...), in the study's order."""
    now, before = seen[np.searchsorted(grid, times)], seen[np.searchsorted(grid, times - 24.0)]
    change = now - before
    teer, ccl26, ccl17, tslp, il8, viable = range(6)
    means = {k: change[:, k] / 24.0 for k in (ccl26, ccl17, tslp, il8)}
    return np.stack(
        [now[:, teer], means[ccl26], -change[:, viable], means[ccl17], means[tslp], means[il8]],
        axis=1,
    )


def apart(found: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference (times, readouts, ...) in units of its column's largest value."""
    scale = np.abs(reference).max(axis=0)
    return float((np.abs(found - reference) / np.where(scale > 0, scale, 1.0)).max())
