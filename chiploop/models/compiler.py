"""From a model text to machine code, kept on disk.

Belongs here: symbolic model -> programs -> IR -> object, the cache. Not here: reading a text (sbml), running
(batch), IR (lanes).

Everything is compiled when a model is loaded, once on a computer, and never in a thread that simulates. A file
of the cache is named by the hash of all that its content hangs on: the text, what is read out, this generator,
the processor. A start with a full cache needs neither sympy nor a compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs

from chiploop.errors import FileNotValid
from chiploop.models import driver, lanes
from chiploop.models.batch import CompiledModel
from chiploop.models.model_plan import ModelPlan, model_plan
from chiploop.models.symbolic import SymbolicModel

GENERATOR = 7
"""Raised whenever the machine code changes for an unchanged model text."""
METHOD = "rodas5p"
CODE = (*driver.FUNCTIONS, "moments")
"""Functions of a model's object file."""


def compile_model(
    text: str,
    name: str,
    inputs: Sequence[str],
    observed: Sequence[str],
    integrals: Sequence[str],
    cache_folder: Path | None = None,
    *,
    method: str = METHOD,
    engine: str | None = None,
    model: SymbolicModel | None = None,
) -> CompiledModel:
    """Return the compiled model; the second time from the cache.

    Parameters
    ----------
    text
        Antimony or SBML.
    inputs
        Constants of the text that a schedule sets.
    observed
        States or formulas to read out, or ``integral_<one of integrals>``.
    engine
        "lanes", or "scalar" for the reference and fallback (``scalar``); None for CHIPLOOP_ENGINE, or lanes.
    model
        The text as formulas, where it is read already and changed since.

    Raises
    ------
    FileNotValid
        For a text that can not be used.
    """
    if engine is None and not os.environ.get("CHIPLOOP_ENGINE"):
        try:
            return compile_model(
                text, name, inputs, observed, integrals, cache_folder,
                method=method, engine="lanes", model=model,
            )  # fmt: skip
        except LanesUnavailable as problem:
            reason = str(problem).strip().split("\n")[0]
            warnings.warn(
                f"model {name}: lanes can not be used here ({reason}); the scalar engine runs "
                "instead, some five times slower",
                RuntimeWarning,
                stacklevel=2,
            )
            engine = "scalar"
    engine = engine or os.environ.get("CHIPLOOP_ENGINE")
    if engine not in ("lanes", "scalar"):
        raise ValueError(f"engine {engine!r} is not one of lanes, scalar")
    digest = hashlib.sha256(text.encode()).hexdigest()
    changed = "" if model is None else repr(model)
    names = (tuple(inputs), tuple(observed), tuple(integrals))
    machine = lanes.machine() if engine == "lanes" else None
    hangs_on = (GENERATOR, digest, changed, names, method, engine, machine, versions(engine))
    key = hashlib.sha256(repr(hangs_on).encode()).hexdigest()[:20]
    folder = cache_folder or default_cache()
    facts_path = folder / f"model_{key}.json"
    code_path = folder / f"model_{key}{'.o' if engine == 'lanes' else '.py'}"
    with COMPILING:
        kept = kept_model(facts_path, code_path)
        if kept is None:
            if model is None:
                from chiploop.models.sbml import read_model

                model = read_model(text, name)
            check_names(model, inputs, observed, integrals)
            plan = model_plan(model, inputs, observed, integrals, method)
            content = code_of(plan, engine)
            facts = {**plan.facts, "code_sha256": hashlib.sha256(content).hexdigest()}
            keep(code_path, content)
            keep(facts_path, json.dumps(facts).encode())
        else:
            facts, content = kept
        if engine == "lanes":
            try:
                addresses = lanes.load_object(content, CODE, lanes.machine())
            except RuntimeError as problem:
                raise LanesUnavailable(str(problem)) from problem
        else:
            from chiploop.models.scalar import load_source

            addresses = load_source(content, code_path, CODE)
        drive = drive_function()
    return CompiledModel(
        name=name,
        states=tuple(facts["states"]),
        parameters=tuple(facts["parameters"]),
        defaults=dict(zip(facts["parameters"], facts["defaults"], strict=True)),
        inputs=tuple(inputs),
        observed=tuple(observed),
        watched=tuple(facts["watched"]),
        n_steady=facts["n_steady"],
        n_dense=facts["n_dense"],
        events=tuple(facts["events"]),
        n_breakpoints=facts["n_breakpoints"],
        clock=facts["clock"],
        flops_per_step=facts["flops_per_step"],
        text_sha256=digest,
        engine=engine,
        width=lanes.machine().width if engine == "lanes" else 1,
        code=addresses,
        drive=drive,
    )


class LanesUnavailable(RuntimeError):
    """LLVM does not make or take the machine code of lanes on this computer."""


COMPILING = threading.RLock()
"""One model at a time: libraries below are not made for more, and what the first one makes serves the next."""


def versions(engine: str) -> tuple[str, ...]:
    """Return the versions of what reads a text and makes machine code of it; nothing is imported for that."""
    packages = ["llvmlite", "sympy", "python-libsbml", "antimony"]
    packages += ["numba"] if engine == "scalar" else []
    return tuple(version(package) for package in packages)


def code_of(plan: ModelPlan, engine: str) -> bytes:
    """Return the content of the file that holds a model's functions."""
    if engine == "lanes":
        text = lanes.module_text(plan, lanes.machine().width)
        try:
            return lanes.compile_object(text, lanes.machine())
        except RuntimeError as problem:
            raise LanesUnavailable(str(problem)) from problem
    from chiploop.models.scalar import module_source

    return module_source(plan).encode()


def kept_model(facts_path: Path, code_path: Path) -> tuple[dict[str, Any], bytes] | None:
    """Return facts and code of a model in the cache; None where it is not there or not whole."""
    try:
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        content = code_path.read_bytes()
    except (OSError, ValueError):
        return None
    if (
        not isinstance(facts, dict)
        or facts.get("code_sha256") != hashlib.sha256(content).hexdigest()
    ):
        return None
    return facts, content


def check_names(
    model: SymbolicModel, inputs: Sequence[str], observed: Sequence[str], integrals: Sequence[str]
) -> None:
    """Raise FileNotValid where a name beside the text is not in it, or can not be used so."""
    missing = [s for s in inputs if s not in model.constants]
    quantities = {*model.assignments, *model.rates, *(f"integral_{s}" for s in integrals)}
    missing += [s for s in (*observed, *integrals) if s not in quantities]
    if missing:
        raise FileNotValid(
            f"model {model.name}: {', '.join(missing)} is named beside it but not in it"
        )
    for state, start in model.initials.items():
        if any(str(symbol) in inputs for symbol in start.free_symbols):
            raise FileNotValid(
                f"model {model.name}: the initial value of {state} depends on an input; "
                "inputs are set by the perfusion and have no value before it"
            )
    for moment in (*(event.time for event in model.events), *model.breakpoints):
        if any(str(symbol) in inputs for symbol in moment.free_symbols):
            raise FileNotValid(
                f"model {model.name}: the moment {moment} of an event or a switch depends on an input; "
                "it has to be known before the simulation begins"
            )


def default_cache() -> Path:
    """Return the folder of machine code."""
    return Path(platformdirs.user_cache_dir("chiploop")) / "models"


@lru_cache(maxsize=1)
def drive_function() -> Callable[..., None]:
    """Return the driver of lanes, compiled once on a computer."""
    target = lanes.machine()
    key = hashlib.sha256(repr((driver.source_digest(), target)).encode()).hexdigest()[:20]
    path = default_cache() / f"driver_{key}.o"
    digest_path = path.with_suffix(".sha256")
    try:
        content = path.read_bytes()
        is_whole = hashlib.sha256(content).hexdigest() == digest_path.read_text("ascii")
    except OSError:
        is_whole = False
    if not is_whole:
        content = driver.driver_object(target)
        keep(path, content)
        keep(digest_path, hashlib.sha256(content).hexdigest().encode())
    address = lanes.load_object(content, ["chiploop_drive"], target)["chiploop_drive"]
    function: Callable[..., None] = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(driver.ARRAYS))(
        address
    )
    return function


def keep(path: Path, content: bytes) -> None:
    """Write a file of the cache so that no reader ever sees half of it; warn where it can not be written."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as problem:
        warnings.warn(
            f"{path.parent} can not be written ({problem.strerror or problem}); models are compiled "
            "anew at every start",
            RuntimeWarning,
            stacklevel=2,
        )
