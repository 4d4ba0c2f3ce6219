"""``chiploop ingest --preview``: plates, times and every flag of a file, before anything is kept.

Belongs here: what a person looks at before using a file. Not here: its numbers (ingest).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.cli.screen import paint

if TYPE_CHECKING:
    from chiploop.exports.export import Export, ExportRow

PLACES = 3
"""Of every reason, so many cells are named."""


def show_notes(export: Export) -> None:
    """Print the notes of a file, and its times as far as they are known."""
    for note in export.notes:
        print(f"note: {note}")
    for one in export.times[:4]:
        told = one.utc.isoformat() if one.utc else f"no UTC: {one.problem}"
        print(f"{one.what}: {one.text} ({told})")
    if len(export.times) > 4:
        print(f"... and {len(export.times) - 4} more times; --json has them all.")


def show_flags(export: Export) -> None:
    """Print what would be read: plates, tables, and every reason with its first cells."""
    print(f"{export.file}: {export.format}, {len(export.rows)} values, sha256 {export.sha256}")
    for plate in export.plates:
        code = f", barcode {plate.barcode}" if plate.barcode else ""
        print(f"plate {plate.name or '(no name)'}: {plate.wells} wells, {plate.read_mode}{code}")
    show_notes(export)
    tables: dict[str, int] = {}
    reasons: dict[str, list[ExportRow]] = {}
    for row in export.rows:
        tables[row.statistic] = tables.get(row.statistic, 0) + 1
        for reason in row.readout.reasons:
            reasons.setdefault(reason, []).append(row)
    print("tables: " + ", ".join(f"{name} {count}" for name, count in tables.items()))
    for reason, rows in sorted(reasons.items(), key=lambda item: -len(item[1])):
        cells = ", ".join(
            f"{row.readout.well or row.readout.sample} {row.readout.analyte} (line {row.line}, "
            f"column {row.column})"
            for row in rows[:PLACES]
        )
        more = f" and {len(rows) - PLACES} more" if len(rows) > PLACES else ""
        print(f"flag: {reason}: {len(rows)}: {cells}{more}")
    bad = sum(one.qc != "ok" for one in export.readouts)
    print(
        paint(
            f"{len(export.rows)} values would be read, {bad} flagged; nothing was kept.",
            "yellow" if bad or export.notes else "green",
        )
    )
