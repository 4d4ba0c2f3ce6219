"""What the review page needs and is long in the making, each in a process of its own.

Belongs here: the parts of a calibration, and the run fitted again. Not here: when it is started and how it stands
(review_hands), what is drawn (chiploop.report.page_parts).

    python -P -m flows.review_jobs parts|refit|signals|against RUN RUNS [DETAIL...]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded
NOT_ACCEPTED = 6
"""Fitted, and not accepted: an outcome, not a failure."""


def write_page_parts(run_id: str, runs: Path) -> None:
    """Write what the page shows of the last calibration of a run."""
    from chiploop.record.journal import Journal
    from chiploop.report.html_report import RunEvidence
    from chiploop.report.page_parts import write_parts
    from flows.opening import known_run
    from flows.record_place import place_of

    files = known_run(run_id, runs)
    with place_of(runs).open(create=False) as record, Journal(files.journal) as journal:
        write_parts(RunEvidence(record, journal, files.study, files.run_id, files.folder))


def write_signals(run_id: str, runs: Path, cycle: str, chip: str = "", page: str = "1") -> None:
    """Draw a page of the raw signals behind the readouts of a cycle, or of one chip in it."""
    from chiploop.assays.barrier_analysis import BarrierSetup
    from chiploop.assays.barrier_blank import blank_of_lot, geometry_of_chip
    from chiploop.record.raw_files import RawFileStore
    from chiploop.report.signal_parts import Signals, write_signal_parts
    from flows.opening import known_run
    from flows.record_place import place_of

    files = known_run(run_id, runs)
    with place_of(runs).open(create=False) as record:
        store, kind = RawFileStore(files.folder / "raw"), files.study.chip
        setup = BarrierSetup(
            area_cm2=kind.area_cm2, blank=blank_of_lot(kind), geometry=geometry_of_chip(kind)
        )
        signals = Signals(record, store, files.run_id, files.study, setup)
        write_signal_parts(signals, files.folder, files.simulated, int(cycle), chip, int(page))


def fit_again(run_id: str, runs: Path, model: str = "") -> int:
    """Fit a run again from its record, and with another model where one is named; return the exit code.

    What the command refuses goes where trouble is read from.
    """
    from chiploop.errors import WrongUse
    from flows.review_hands import MOST_SAID, answer_of
    from flows.review_models import models_of

    words = ["fit", run_id, "--runs", str(runs), "--json"]
    if model:
        known = models_of(runs)
        if model not in known:
            raise WrongUse(f"there is no model {model}; there are: {', '.join(known)}")
        words += ["--against", str(known[model])]
    answer = answer_of(words)
    if answer.exit_code not in (0, NOT_ACCEPTED):
        said = answer.refusal
        print(said if len(said) < MOST_SAID else f"{said[: MOST_SAID - 10]} ...", file=sys.stderr)
    return answer.exit_code


def main(arguments: list[str]) -> int:
    """Carry out one job; return its exit code."""
    from chiploop.errors import ChiploopError

    name, run_id, runs, *detail = arguments
    try:
        if name in ("refit", "against"):
            return fit_again(run_id, Path(runs), *detail)
        if name == "parts":
            write_page_parts(run_id, Path(runs))
        else:
            write_signals(run_id, Path(runs), *detail)
    except (ChiploopError, ValueError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
