"""What Prefect costs: the closed loop as a flow beside the same functions called plainly, in one process.

``python -m benchmarks.orchestration [--study FILE] [--seed N] [--json]``

The flow runs as ``simulate`` runs it: with its server, the server's keeper and the timeline. Every task is timed
twice: around the call, which Prefect carries out, and around the function itself; the difference is orchestration.
Pumps are started, watched and read by plain functions, so a dose is charged with a share of all tasks; what
Prefect does beside the run (the thread of the timeline, the begin and end of the flow) is in the whole difference.
The same study and seed run as well with every task replaced by its own function. Both must end with the same
goals, or the benchmark says so and fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

STUDY = "protocols/studies/ad_jak_dose_finding.yaml"
BAR_S = 0.05
"""What a dose may cost."""


@dataclass
class Times:
    """Seconds of every task call."""

    whole: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Task -> around the call."""
    inside: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Task -> around the function."""

    def cost(self, *names: str) -> list[float]:
        """Return what orchestration of these tasks' calls took, each."""
        return [
            whole - inside
            for name in names or tuple(self.whole)
            for whole, inside in zip(self.whole[name], self.inside[name], strict=True)
        ]


@contextmanager
def tasks_as(change: Callable[[str, Any], Any]) -> Iterator[None]:
    """Replace every task of the flow's modules by what ``change(name, task)`` returns, for a block."""
    from prefect import Task

    from flows import awaited_files, tasks

    modules = (tasks, awaited_files)
    found = [
        (module, name, value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Task)
    ]
    for module, name, value in found:
        setattr(module, name, change(name, value))
    try:
        yield
    finally:
        for module, name, value in found:
            setattr(module, name, value)


def timed(times: Times) -> Callable[[str, Any], Any]:
    """Return what replaces a task by itself, timed around and inside."""

    def change(name: str, task: Any) -> Any:
        function = task.fn

        @wraps(function)  # Prefect names a task's runs by what its arguments are called
        def inside(*given: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*given, **more)
            finally:
                times.inside[name].append(time.perf_counter() - begun)

        own = task.with_options()
        own.fn = inside

        def around(*given: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            try:
                return own(*given, **more)
            finally:
                times.whole[name].append(time.perf_counter() - begun)

        return around

    return change


def run(
    study: Path, seed: int, folder: Path, loop: Callable[[Any, Any], None]
) -> tuple[float, float, Any]:
    """Return wall and CPU seconds of the loop alone, and the goals that it ended with."""
    from chiploop.models.study_model import model_of
    from chiploop.study import load_study
    from flows.laboratory import tell_nobody
    from flows.opening import new_run, open_laboratory

    files = new_run(load_study(study), folder, seed, True, False)
    model_of(files.study)
    with open_laboratory(files, None, tell_nobody) as lab:
        begun, busy = time.perf_counter(), time.process_time()
        loop(lab, files)
        wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - busy
        return wall_s, cpu_s, lab.record.calibrations(lab.run_id)[-1].content["goals"]


def measure(study: Path, seed: int) -> dict[str, Any]:
    """Return the numbers of both ways."""
    from flows.prefect_server import start_in_background

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        server = start_in_background(folder / "prefect")
        try:
            from flows.closed_loop import closed_loop
            from flows.engine import run_loop

            server.wait_ready()
            plain: list[tuple[float, float, Any]] = []
            flow: list[tuple[float, float, Any]] = []
            times = Times()
            for turn in range(2):  # the first of each warms machine code and caches
                with tasks_as(lambda name, task: task.fn):
                    plain.append(
                        run(
                            study, seed, folder / f"plain{turn}", lambda lab, _: closed_loop.fn(lab)
                        )
                    )
                times = Times()
                with tasks_as(timed(times)):
                    flow.append(
                        run(
                            study,
                            seed,
                            folder / f"flow{turn}",
                            lambda lab, files: run_loop(lab, files, server),
                        )
                    )
        finally:
            server.stop()
    (plain_s, plain_cpu_s, plain_goals), (flow_s, flow_cpu_s, flow_goals) = plain[1], flow[1]
    from chiploop.study import load_study

    asked = load_study(study)
    doses = len(asked.lines) * asked.timeline.cycles
    return {
        "study": str(study),
        "chips": len(asked.chip_ids),
        "days": asked.end_h / 24.0,
        "cycles": asked.timeline.cycles,
        "doses": doses,
        "tasks": sum(map(len, times.whole.values())),
        "per_task_ms": 1e3 * statistics.median(times.cost()),
        "per_dose_ms": 1e3 * sum(times.cost()) / doses,
        "whole_per_dose_ms": 1e3 * (flow_s - plain_s) / doses,
        "cpu_per_dose_ms": 1e3 * (flow_cpu_s - plain_cpu_s) / doses,
        "per_cycle_ms": 1e3 * sum(times.cost()) / asked.timeline.cycles,
        "flow_s": flow_s,
        "plain_s": plain_s,
        "ratio": flow_s / plain_s,
        "same_end": plain_goals == flow_goals,
    }


def main() -> int:
    """Print the comparison; exit code 1 where the two ways do not end alike."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", type=Path, default=Path(STUDY))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.getLogger("instruments").setLevel(logging.ERROR)
    found = measure(asked.study, asked.seed)
    if asked.json:
        print(json.dumps(found, indent=2))
    else:
        bar = "reached" if found["per_dose_ms"] < 1e3 * BAR_S else "NOT reached"
        print(
            f"{found['chips']} chips, {found['days']:.1f} days, {found['cycles']} cycles, {found['tasks']} tasks\n"
            f"orchestration: {found['per_task_ms']:.1f} ms a task (median), {found['per_dose_ms']:.1f} ms a dose "
            f"(bar {1e3 * BAR_S:.0f} ms: {bar}), {found['per_cycle_ms']:.0f} ms a cycle\n"
            f"with all that goes on beside: {found['whole_per_dose_ms']:.0f} ms a dose by the clock, "
            f"{found['cpu_per_dose_ms']:.0f} ms of this process' work\n"
            f"simulate as a flow {found['flow_s']:.2f} s, as plain functions {found['plain_s']:.2f} s: "
            f"{found['ratio']:.3f} x; same end: {found['same_end']}"
        )
    return 0 if found["same_end"] else 1


if __name__ == "__main__":
    sys.exit(main())
