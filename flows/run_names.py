"""What steps and doses are called on Prefect's timeline.

Belongs here: names alone. Not here: what is shown below them (timeline_pages), sending any of it (timeline).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from chiploop.dosing import PumpProgramme
from chiploop.record.actions import is_part_of_dose
from chiploop.study_schedules import STIMULUS

PHASES = {"medium": "plain medium", "stimulus": "stimulus without drug"}
"""Purpose of a programme without drug -> its name."""


def run_name(run_id: str, simulated: bool) -> str:
    """Return what a run is called."""
    return f"SIMULATED {run_id}" if simulated else run_id


def run_tag(run_id: str, token: str) -> str:
    """Return the tag that everything of a run carries; runs of one name on two computers have two."""
    return f"run {run_id} {token}".strip()


def step_of(run: str, cycle: int, what: str) -> str:
    """Return the name of a step of a run."""
    return f"{run} · {f'cycle {cycle}' if cycle else 'before the doses'} · {what}"


def step_name(what: str) -> Any:
    """Return what names a task's runs after the run and cycle that it is called with.

    Any: Prefect asks for a type of its own here.
    """

    def name(parameters: dict[str, Any]) -> str:
        try:
            lab = parameters["lab"]
            told = f"{what} {parameters['assay']}" if "assay" in parameters else what
            return step_of(run_name(lab.run_id, lab.simulated), cycle_in_call(parameters), told)
        except (KeyError, AttributeError):  # a name must never end a step
            return what

    assert (
        "parameters" in inspect.signature(name).parameters
    )  # by this name Prefect hands them over
    return name


def cycle_in_call(parameters: Mapping[str, Any]) -> int:
    """Return the cycle that a task's call is about: the given one, or that of the doses it makes."""
    if "cycle" in parameters:
        return int(parameters["cycle"])
    if "made" in parameters:
        return int(parameters["made"].proposal.cycle)
    return int(parameters["campaign"].cycle) + 1


def programme_name(programme: PumpProgramme, key: str) -> str:
    """Return what a programme of a line is called: ``dose L1 62 nM``."""
    phase = key.rsplit("/", 1)[-1]
    if is_part_of_dose(key):
        number = phase.removeprefix("dose").removeprefix("-")
        part = f", part {number}" if number else ""
        by = "" if programme.arm == STIMULUS else f" in {programme.arm}"
        dose = f"{programme.asked_nm:.3g} nM" if programme.asked_nm else "vehicle"
        return f"dose {programme.line} {dose}{by}{part}"
    told = PHASES.get(programme.purpose, programme.purpose)
    turn = re.search(r"-(\d+)$", phase)
    return f"{told} {programme.line}{f', turn {turn.group(1)}' if turn else ''}"
