"""What playing a teaching case is worth: one treatment for all, the twin without tests, the twin with every test.

    python -m benchmarks.teaching [--cases 100] [--seed 7]

Belongs here: the table of docs/teaching.md. Not here: rules and points (chiploop.twin.teaching).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from chiploop.twin.teaching.cases import TeachingCase, case_of
from chiploop.twin.teaching.debrief import Debrief, debrief
from chiploop.twin.teaching.play import played
from chiploop.twin.teaching.rules import TESTS
from chiploop.twin.teaching.score import calibration_points

EVERY_TEST = ", ".join(TESTS)
FOR_ALL = (
    "emollient",
    "topicals",
    "nemolizumab",
    "tralokinumab",
    "dupilumab",
    "dupilumab+topicals",
)
TABLETS = ("abrocitinib:100mg", "upadacitinib:15mg")


def results_of(case: TeachingCase) -> dict[str, tuple[float, float | None]]:
    """Return way of playing -> points of the outcome and, for the twin, of its probabilities."""
    found: dict[str, tuple[float, float | None]] = {}
    for name, tests in (("twin, no test", [""]), ("twin, every test", [EVERY_TEST, ""])):
        told = debrief(played(case, [*tests, "1", "50", *["", "1", "50"] * 2]))
        found[name] = (told.twin.points, None)
        own = debrief(played(case, [*tests, *answers_of(told)]))
        stated = [one.twin_probability for one in own.statements]
        found[name] = (
            told.twin.points,
            calibration_points(stated, [o.happened for o in own.statements]),
        )
    kept = {one.name: one.points for one in told.kept}
    found |= {
        f"{name} for all": (kept[name], None) for name in (*FOR_ALL, *TABLETS) if name in kept
    }
    return found


def answers_of(told: Debrief) -> list[str]:
    """Return the answers that give what the twin would have given."""
    first, *later = told.twin.plan
    return [first, "50", *(word for option in later for word in ("", option, "50"))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args(arguments)
    points: dict[str, list[float]] = defaultdict(list)
    calibration: dict[str, list[float]] = defaultdict(list)
    for number in range(1, asked.cases + 1):
        for name, (outcome, honest) in results_of(case_of(asked.seed, number)).items():
            points[name].append(outcome)
            if honest is not None:
                calibration[name].append(honest)
    print(
        f"{asked.cases} cases of seed {asked.seed}; points of the outcome, and of stated probabilities"
    )
    print(f"{'':<28}{'cases':>6}{'mean':>7}{'se':>6}{'least':>7}{'calibration':>13}")
    for name, values in points.items():
        se = np.std(values, ddof=1) / np.sqrt(len(values))
        honest_mean = f"{np.mean(calibration[name]):.1f}" if name in calibration else ""
        print(
            f"{name:<28}{len(values):>6}{np.mean(values):>7.1f}{se:>6.1f}{np.min(values):>7.1f}{honest_mean:>13}"
        )


if __name__ == "__main__":
    main()
