"""The crash matrix as a page: ``python -m tests.flows.crash_matrix_page --write docs/crash_matrix.md``.

Belongs here: carrying cases and planted bugs out, their tables. Not here: cases (crash_matrix), bugs (mutants).
Without ``--write`` the page goes to standard output; names of places after it carry out those alone. With
``--keep FILE`` outcomes are kept as they come, and what is kept there is not carried out again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flows.prefect_server import prefect_server
from instruments.drivers import DRIVERS
from tests.conftest import PREFECT_HOME
from tests.flows.conftest import warm_start
from tests.flows.crash_matrix import CASES, FOUND_BY, POINTS, SCENARIOS, Case, Matrix
from tests.flows.mutants import MUTANTS

FAILED = "FAILED"
HEAD = """\
# The crash matrix

Whole simulated studies are killed (`kill -9`) at every place that the code names, taken up again, and held
against the same study undisturbed. Made by

    python -m tests.flows.crash_matrix_page --write docs/crash_matrix.md

and held by `tests/flows/test_crash_matrix.py`: a sample in every test run, all of it with `make test-all`; a
place in the code that is not in the table below, or the other way round, fails. The lists are in
`flows/fault_points.py`, `instruments/fault_points.py` and `chiploop/fault_points.py`.

The first process that passes the place is killed; where it is passed more often, the process that takes the run
up is killed again at a later passage, in the middle of what is left; the next one goes on to the end. What must
hold:

- the same record as undisturbed, bit by bit: readouts, measurements, raw files, calibrations, proposals,
  decisions, events, and every intent of the journal with its volume, its time and its outcome. Left out are
  time stamps of the wall clock, how often the run's state changed, when a person held it, how long fits took;
- no dose twice, none lost: the emulated pumps' own counts of starts and of what left the syringe agree with the
  journal;
- what nobody can know is held, its pump stands, and a person is asked;
- every dose has the approval of all who must approve it;
- chains, guards, mirror and kept raw files are whole.

Pumps, plate reader and impedance meter are emulated in a process of their own. That process ends with the run's
and keeps its state on disk, so no virtual hour passes while nobody works on the run; pumps that go on meanwhile
are in [the fault matrix](fault_matrix.md) and in the row `supervised`. The command is forked from a warm
process and its fits hardly look (`tests/flows/warm_chiploop.py` says what else differs from a start by hand).

Where a line is held, its chip has another record and the fits learn other things: the whole record is held
against the same hold without a further kill, and the other line's, up to the first fit, against the study in
which nothing was held.

Not here: power loss of the computer (whether a disk that says "written" has written), a real pump, messages
that were sent and not noted as sent (they are sent again).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the matrix; return 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="crash_matrix_page")
    parser.add_argument("--write", type=Path, help="Page to write.")
    parser.add_argument("places", nargs="*", help="Places; all where none is named.")
    parser.add_argument("--keep", type=Path, help="File of outcomes, one JSON line each.")
    told = parser.parse_args(arguments)
    kept = Outcomes(told.keep)
    wanted = [case for case in CASES if not told.places or case.point in told.places]
    with matrix_of_this_process() as matrix:
        outcomes = {c: kept.of(c.name, partial(outcome_of, matrix, c)) for c in wanted}
        names = [] if told.places else list(MUTANTS)
        bugs = {name: kept.of(name, partial(found_by, matrix, name)) for name in names}
    page = page_of(outcomes, bugs, kept.seconds)
    if told.write is None:
        print(page)
    else:
        told.write.write_text(page, encoding="utf-8")
    return int(any(FAILED in said for said in (*outcomes.values(), *bugs.values())))


class Outcomes:
    """What came out, by name, in a file where one is named; and how long it took."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.known, self.seconds = path, dict[str, str](), 0.0
        for line in [] if path is None or not path.exists() else path.read_text().splitlines():
            row = json.loads(line)
            self.known[row["name"]] = row["said"]
            self.seconds += row["seconds"]

    def of(self, name: str, carry_out: Callable[[], str]) -> str:
        """Return what came out; it is carried out where that is not known."""
        if name not in self.known:
            begun = time.monotonic()
            said = self.known[name] = carry_out()
            took = time.monotonic() - begun
            self.seconds += took
            print(f"{name}: {said} ({took:.1f} s)", file=sys.stderr, flush=True)
            if self.path is not None:
                with self.path.open("a") as file:
                    row = {"name": name, "said": said, "seconds": round(took, 1)}
                    file.write(json.dumps(row) + "\n")
        return self.known[name]


@contextmanager
def matrix_of_this_process() -> Iterator[Matrix]:
    """Yield a matrix with a Prefect server and a warm start of its own."""
    with tempfile.TemporaryDirectory(prefix="crash-matrix-") as name:
        folder = Path(name)
        (folder / "warm").mkdir()
        with prefect_server(PREFECT_HOME), warm_start(folder / "warm") as warm:
            yield Matrix(warm, folder)


def outcome_of(matrix: Matrix, case: Case) -> str:
    """Return what came out of a case, in words."""
    try:
        return matrix.carry_out(case)
    except BaseException as problem:  # pytest's own failures are no Exception
        if isinstance(problem, KeyboardInterrupt):
            raise
        return f"{FAILED}: {' '.join(str(problem).split())[:600]}"


def found_by(matrix: Matrix, name: str) -> str:
    """Return how the matrix finds a planted bug, in words."""
    case = FOUND_BY[name]
    planted = Matrix(matrix.warm, matrix.folder / f"planted-{name.replace(' ', '-')}", name)
    planted.known |= matrix.known
    try:
        planted.carry_out(case)
    except AssertionError as problem:
        said = f"found at {case.name}: {str(problem).splitlines()[0][:200]}"
    else:
        said = f"{FAILED}: not found at {case.name}"
    return said.replace("|", "/")


def page_of(outcomes: Mapping[Case, str], bugs: Mapping[str, str], seconds: float) -> str:
    """Return the page."""
    good = sum(FAILED not in said for said in outcomes.values())
    lines = [
        HEAD,
        f"{len(POINTS)} places, {len(outcomes)} cases, {good} of them as they must be, {len(bugs)} planted bugs; "
        f"{seconds / 60.0:.0f} minutes in all, on two cores that others used too.\n",
        "| study | what happens in it |",
        "|---|---|",
        *(f"| {name} | {scenario.title} |" for name, scenario in SCENARIOS.items()),
        "",
        "| place | study | killed | what is left behind | what follows | outcome |",
        "|---|---|---|---|---|---|",
        *(row_of(case, said) for case, said in outcomes.items()),
        "",
        "## Planted bugs",
        "",
        "Planted into the killed processes by the tests (`tests/flows/mutants.py`); the matrix fails with each.",
        "",
        "| bug | what it does | how it is found |",
        "|---|---|---|",
        *(f"| {name} | {MUTANTS[name].what} | {said} |" for name, said in bugs.items()),
        "",
        *power_proofs(),
    ]
    return "\n".join(lines)


def row_of(case: Case, said: str) -> str:
    """Return a row of the table."""
    place = POINTS[case.point]
    who = "the run" if case.command == "run" else f"`{case.command}`"
    said = said.replace("|", "/")
    return f"| {case.point} | {case.scenario} | {who} | {place.left} | {place.then} | {said} |"


def power_proofs() -> list[str]:
    """Return the section on what stands for a boot id, as the makes say."""
    lines = [
        "## Boot ids",
        "",
        "No pump here tells a boot id. What a lost power leaves in its place, by make (`power_proof` of each",
        "`MAKE`). Where nothing tells it, a start whose answer was lost is never sent again: its line is held and",
        "a person is asked. A counter lower than at the intent is held with every make.",
        "",
        "| make | sign of a power cut | told |",
        "|---|---|---|",
    ]
    for name, make in DRIVERS.items():
        if make.power_proof is not None:
            proof = make.power_proof
            when = f": {proof.when}" if proof.when else ""
            lines.append(f"| {name} ({make.title}) | {proof.sign} | {proof.tells}{when} |")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main())
