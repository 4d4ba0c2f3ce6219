"""``chiploop export``: what is on record of a run, as a file for other programs. Changes nothing.

Belongs here: options, the table of targets. Not here: what stands in a file; each target has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, known_run
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.record.record import Record


@dataclass(frozen=True)
class Target:
    """One kind of file that a run can be exported to."""

    suffix: str
    """Of the file, where none is named."""
    write: Callable[[Record, str, Path], dict[str, Any]]
    """(record, run id, file) -> what was written, in plain values."""


def _csv(record: Record, run_id: str, path: Path) -> dict[str, Any]:
    from chiploop.record.long_table import long_table
    from chiploop.record.long_table_files import write_csv

    rows = long_table(record, run_id)
    write_to(path, lambda file: write_csv(rows, file))
    return {"rows": len(rows)}


def _parquet(record: Record, run_id: str, path: Path) -> dict[str, Any]:
    from chiploop.record.long_table import long_table
    from chiploop.record.long_table_files import write_parquet

    rows = long_table(record, run_id)
    write_to(path, lambda file: write_parquet(rows, file))
    return {"rows": len(rows)}


TARGETS: dict[str, Target] = {
    "csv": Target(".csv", _csv),
    "parquet": Target(".parquet", _parquet),
}
"""``--to`` -> what it writes; another target is another line."""

TO = typer.Option(..., "--to", help=f"What to write: {', '.join(TARGETS)}.")


def export(
    run: str = RUN,
    to: str = TO,
    out: Path | None = typer.Option(
        None, "--out", help="File to write; by default <run> with the target's ending, here."
    ),
    runs: Path = RUNS,
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write what is on record of a run as a file for other programs.

    csv and parquet: one long table with every raw, calibrated and derived value, each with the rows that it comes
    from; superseded, failed and excluded ones are there and say so. The same record gives the same bytes of CSV.
    Exit code 2 where there is no such run or target, or the file is there already. With --json: {"ok", "run",
    "to", "file", "simulated"} and what the target tells ("rows").
    """
    from flows.record_place import place_of

    target = TARGETS.get(to)
    if target is None:
        raise WrongUse(f"--to {to} is not known; allowed are {', '.join(TARGETS)}")
    with place_of(runs).open_known(create=False) as record:
        simulated = known_run(record, run, runs).simulated
        path = out or Path(f"{run}{target.suffix}")
        refuse_existing([path], force)
        told = target.write(record, run, path)
    if as_json:
        facts = {"ok": True, "run": run, "to": to, "file": str(path), "simulated": simulated}
        print_json(facts | told)
        return
    said = ", ".join(f"{count} {what}" for what, count in told.items())
    print(f"{'SIMULATED  ' if simulated else ''}{run}: {said} written to {path}")
