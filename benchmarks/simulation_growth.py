"""One size of simulation in a process of its own: ``python -m benchmarks.simulation_growth CHIPS SETS``.

Prints one JSON object: seconds and the peak memory of the process. Called by benchmarks.simulation.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from benchmarks.simulation_study import TIMES_H, WINDOWS_H, chips, model_at, parameter_sets, timed

RTOL = 1e-4


def peak_mb() -> float:
    """Return the largest memory that this process has held.

    Linux hands a new process the peak of the one that started it, so there it is read from the kernel's own
    count of this one.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii")
        return float(status.split("VmHWM:")[1].split()[0]) / 1024.0
    except (OSError, IndexError):
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return kilobytes / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)


def main() -> None:
    """Simulate, and print what it took."""
    n_chips, n_sets = int(sys.argv[1]), int(sys.argv[2])
    model, inlets = model_at(RTOL), chips(n_chips)
    model.simulate(parameter_sets(model, 8), inlets[:1], TIMES_H, WINDOWS_H)
    before = peak_mb()
    sets = parameter_sets(model, n_sets)
    # repeats of a small size share its first call's memory, so they do not add to the peak
    spent = timed(lambda: model.simulate(sets, inlets, TIMES_H, WINDOWS_H), 0.2)
    print(
        json.dumps(
            {
                "chips": n_chips,
                "trajectories": n_chips * n_sets,
                "cpu_s": spent.cpu_s,
                "wall_s": spent.wall_s,
                "before_mb": before,
                "peak_mb": peak_mb(),
            }
        )
    )


if __name__ == "__main__":
    main()
