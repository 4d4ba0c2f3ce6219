"""``chiploop ingest``: what a vendor file holds, to the last cell. Reads one file; changes nothing.

Belongs here: how the content of an export is shown. Not here: how a format is read (exports).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid, WrongUse
from flows.cli.ingest_preview import show_flags, show_notes
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.exports.export import Export, ExportRow
    from chiploop.exports.times import DateOrder
    from chiploop.measurement import WellReadout

SHOWN_ROWS = 12
"""Of the table's first rows, in the text form; --json has all."""


def ingest(
    file: Path | None = typer.Argument(
        None,
        metavar="[FILE]",
        help="Export of a plate or multiplex reader; docs/exports.md lists the programs.",
        show_default=False,
    ),
    watch: Path | None = typer.Option(
        None, "--watch", metavar="DIR", help="Take the exports of a folder as they are finished."
    ),
    into: Path | None = typer.Option(
        None,
        "--into",
        metavar="STORE",
        help="Keep copies by digest and their list there [with --watch: ./ingested].",
    ),
    preview: bool = typer.Option(
        False, "--preview", help="Show what would be read with all its flags; keep nothing."
    ),
    layout: Path | None = typer.Option(
        None,
        "--layout",
        metavar="FILE",
        help="Plate layout (CSV, YAML): is the export of this plate, and the right way round?",
    ),
    falling: bool = typer.Option(
        False, "--falling", help="With --layout: more analyte gives less signal."
    ),
    as_json: bool = JSON_OPTION,
    code_page: str | None = typer.Option(
        None, "--code-page", help="Code page of a file that is not UTF, for example cp1252."
    ),
    time_zone: str | None = typer.Option(
        None,
        "--time-zone",
        envvar="CHIPLOOP_TIME_ZONE",
        help="Of the clock in the laboratory, for example Europe/Berlin; files name none.",
    ),
    date_order: str | None = typer.Option(
        None, "--date-order", help="day-month or month-day, for dates that do not tell."
    ),
    every_s: float = typer.Option(5.0, "--every", help="Seconds between two looks.", min=0.1),
    looks: int | None = typer.Option(
        None, "--looks", help="End after so many looks [default: until Ctrl-C].", min=2
    ),
) -> None:
    """Read a vendor file completely and show its numbers, or say why it is not used.

    Nothing is repaired: a file that is cut short, contradicts itself or holds a word that is not
    understood is refused. Exit code 0, or 3 for a file that is not valid. With --json: {"ok",
    "file", "sha256", "format", "encoding", "rows", "notes", "times": [{"what", "text", "utc",
    "problem"}], "plates", "readouts": [{"plate", "statistic", "well", "sample", "analyte",
    "value", "unit", "censoring", "lower", "upper", "qc", "reasons"}]}; a value that is no number
    and a bound that is infinite are null.

    With --layout barcode, size and the places of blanks and standards are compared; exit code 3
    where they do not fit, as for a plate that was turned round.

    With --watch a file is taken when its size and time stayed the same over two looks and its end
    is there; a copy is kept under its digest and read. A file that is exported again is a new
    version; the lab's own files are never moved or deleted. With --json one object a line. Exit
    code 3 where a file was refused.
    """
    if (file is None) == (watch is None):
        raise WrongUse("name one file, or --watch and a folder")
    orders: dict[str | None, DateOrder | None] = {
        None: None,
        "day-month": "day-month",
        "month-day": "month-day",
    }
    if date_order not in orders:
        raise WrongUse(f"--date-order {date_order}; allowed are day-month and month-day")
    if watch is not None and layout is not None:
        raise WrongUse("--layout is of one plate; name one file with it")
    if preview and into is not None:
        raise WrongUse("--preview keeps nothing; leave out --into, or --preview")
    read = _reading(code_page, time_zone, orders[date_order])
    if watch is not None:
        from flows.cli.ingest_watch import watch_folder

        store = None if preview else into or Path("ingested")
        refused = watch_folder(watch, store, read, every_s, looks, as_json)
        raise typer.Exit(3 if refused else 0)
    assert file is not None
    from chiploop.exports import bytes_of

    data = bytes_of(file)
    export = read(data, file.name)
    if layout is not None:
        _demand_fit(export, layout, falling)
    if into is not None:
        _keep(file, data, into, read)
    if as_json:
        print_json(export_as_json(export))
    elif preview:
        show_flags(export)
    else:
        _show(export)


def _reading(
    code_page: str | None, time_zone: str | None, date_order: DateOrder | None
) -> Callable[[bytes, str], Export]:
    """Return how a file is read with the settings of this command."""
    from chiploop.exports import read_export_bytes
    from chiploop.exports.times import laboratory_zone

    zone = laboratory_zone(time_zone) if time_zone else None

    def read(data: bytes, name: str) -> Export:
        return read_export_bytes(data, name, code_page, zone, date_order)

    return read


def _demand_fit(export: Export, path: Path, falling: bool) -> None:
    """Raise FileNotValid where an export is not of the plate of a layout."""
    from chiploop.assays.plate_identity import check_export
    from chiploop.assays.plate_layout import read_plate_layout

    layout = read_plate_layout(path)
    verdicts = check_export(export, layout, "falling" if falling else "rising")
    problems = {f"{a}: {one}" for a, found in verdicts.items() for one in found.problems}
    notes = {note for found in verdicts.values() for note in found.notes}
    for note in (*layout.notes, *sorted(notes)):
        print(f"layout: {note}", file=sys.stderr)
    if problems:
        told = "\n".join(f"  {one.removeprefix(': ')}" for one in sorted(problems))
        raise FileNotValid(f"{export.file} does not fit {path.name}; it is not used:\n{told}")


def _keep(file: Path, data: bytes, into: Path, read: Callable[[bytes, str], Export]) -> None:
    from flows.export_store import opened_store

    with opened_store(into) as store:
        taken, new = store.keep(data, file.name, file.stat().st_mtime_ns, read)
    if taken.state == "refused":
        raise FileNotValid(taken.problem)
    told = (
        f"kept as version {taken.version}" if new else f"is there already: version {taken.version}"
    )
    print(f"{file.name} {told}, {taken.sha256[:12]} in {into}", file=sys.stderr)


def export_as_json(export: Export) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    return {
        "ok": True,
        "file": export.file,
        "sha256": export.sha256,
        "format": export.format,
        "encoding": export.encoding,
        "rows": len(export.rows),
        "notes": list(export.notes),
        "times": [
            {
                "what": one.what,
                "text": one.text,
                "utc": one.utc.isoformat() if one.utc else None,
                "problem": one.problem,
            }
            for one in export.times
        ],
        "plates": [
            {
                "plate": plate.name,
                "wells": plate.wells,
                "read_mode": plate.read_mode,
                "barcode": plate.barcode,
            }
            for plate in export.plates
        ],
        "readouts": [_row_as_json(row) for row in export.rows],
    }


def _row_as_json(row: ExportRow) -> dict[str, Any]:
    one = row.readout
    return {
        "plate": row.plate,
        "statistic": row.statistic,
        "well": one.well,
        "sample": one.sample,
        "analyte": one.analyte,
        "value": _finite(one.value),
        "unit": one.unit,
        "censoring": one.censoring,
        "lower": _finite(one.lower),
        "upper": _finite(one.upper),
        "qc": one.qc,
        "reasons": list(one.reasons),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(one: WellReadout) -> str:
    if one.censoring == "left":
        return f"< {one.upper:.6g}" if math.isfinite(one.upper) else "below range"
    if one.censoring == "right":
        return f"> {one.lower:.6g}" if math.isfinite(one.lower) else "above range"
    return f"{one.value:.6g}" if math.isfinite(one.value) else "none"


def _show(export: Export) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(
        f"{export.file}: {export.format}, {len(export.rows)} values, {len(export.plates)} plate(s)",
        markup=False,
    )
    console.print(f"sha256 {export.sha256}, {export.encoding}", markup=False, soft_wrap=True)
    show_notes(export)
    first = Table("plate", "table", "well", "sample", "analyte", box=box.SIMPLE, title=None)
    first.add_column("value", justify="right")
    for name in ("unit", "qc"):
        first.add_column(name)
    footnotes: dict[str, int] = {}
    for row in export.rows:
        for reason in row.readout.reasons:
            footnotes.setdefault(reason, len(footnotes) + 1)
    for row in export.rows[:SHOWN_ROWS]:
        one = row.readout
        marks = ",".join(str(footnotes[reason]) for reason in one.reasons)
        place = (row.plate, row.statistic, one.well, one.sample, one.analyte)
        said = (_shown(one), one.unit, f"{one.qc} ({marks})" if marks else one.qc)
        first.add_row(*(escape(cell) for cell in (*place, *said)))
    console.print(first)
    if len(export.rows) > SHOWN_ROWS:
        console.print(
            f"... and {len(export.rows) - SHOWN_ROWS} more; --json has them all.", markup=False
        )
    for reason, number in footnotes.items():
        console.print(f"({number}) {reason}", markup=False)
    summary = Table("table", "analyte", box=box.SIMPLE)
    for name in ("n", "numbers", "censored", "flagged", "median"):
        summary.add_column(name, justify="right")
    for (statistic, analyte), members in _by_analyte(export).items():
        numbers = [one.value for one in members if math.isfinite(one.value)]
        counts = (
            len(members),
            len(numbers),
            sum(one.censoring != "none" for one in members),
            sum(one.qc != "ok" for one in members),
        )
        middle = f"{median(numbers):.4g}" if numbers else "-"
        counted = (str(count) for count in counts)
        summary.add_row(escape(statistic), escape(analyte), *counted, middle)
    console.print(summary)
    bad = sum(one.qc != "ok" for one in export.readouts)
    colour = "yellow" if bad else "green"
    print(paint(f"{len(export.rows)} values read, {bad} flagged.", colour))


def _by_analyte(export: Export) -> dict[tuple[str, str], list[WellReadout]]:
    groups: dict[tuple[str, str], list[WellReadout]] = {}
    for row in export.rows:
        groups.setdefault((row.statistic, row.readout.analyte), []).append(row.readout)
    return groups
