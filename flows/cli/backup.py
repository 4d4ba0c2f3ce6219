"""``chiploop backup`` and ``chiploop restore``: record, journals and runs in one file, and back again."""

from __future__ import annotations

from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.output_files import FORCE, refuse_existing
from flows.cli.screen import JSON_OPTION, print_json

RUNS = typer.Option(Path("runs"), "--runs", help="Folder of the runs.")
BROKEN_EXIT_CODE = 5


def backup(
    out: Path = typer.Argument(help="File to write, e.g. backup.zip."),
    runs: Path = RUNS,
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write the record, the journals, raw files and run folders into one file; also while runs go on.

    The file gets its name only once it is whole. Changes nothing, moves no liquid. Exit code 2 where the file is
    there already, 4 where the record can not be reached. With --json: {"ok", "file", "runs", "record", "journals",
    "files", "bytes"}.
    """
    from chiploop.record.backup import write_backup
    from chiploop.record.chain import plain
    from flows.record_place import place_of

    place = place_of(runs)
    if not runs.is_dir():
        raise WrongUse(f"there is no folder {runs}; name the folder of your runs with --runs")
    if runs.resolve() in out.resolve().parents:
        raise WrongUse(f"{out} is in {runs}, which it would hold; name a file elsewhere")
    refuse_existing([out], force)
    try:
        if place.is_there():
            with place.open(create=False) as record:
                made = write_backup(out, runs, record, place.file)
        else:
            made = write_backup(out, runs, None, None)
    except OSError as error:
        raise WrongUse(f"{out} can not be written: {error.strerror or error}") from None
    size = out.stat().st_size
    if as_json:
        told = {"ok": True, "file": str(out), "runs": made.runs, "record": plain(made.record)}
        more = {"journals": plain(made.journals), "files": len(made.files), "bytes": size}
        print_json(told | more)
        return
    rows = 0 if made.record is None else made.record.rows
    print(
        f"{out}: {len(made.runs)} runs, {rows} rows of the record ({made.record_was or 'none yet'}), "
        f"{sum(chain.rows for chain in made.journals.values())} of {len(made.journals)} journals, "
        f"{len(made.files)} files, {size / 1e6:.1f} MB"
    )
    if made.record is not None:
        print(f"head of the record {made.record.head[:16]}; keep it elsewhere too")


def restore(
    file: Path = typer.Argument(help="A file of `chiploop backup`."),
    into: Path = typer.Option(..., "--into", help="New folder that takes the runs."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Bring back a backup into a new folder, and check every digest and chain of it.

    The record becomes a file in that folder; with --record URL its rows go into that database, which must be empty
    (also those of a record that was a file). Nothing is ever written over. Exit code 2 where the folder is not
    empty, 3 where the file is no whole backup, 5 where it is, and a chain was broken before it was made. With
    --json: {"ok", "into", "record", "runs", "checked"}.
    """
    from chiploop.record.chain import RecordConflict, plain
    from chiploop.record.restore import restore_backup
    from flows.record_place import option_named, place_of

    url = option_named()
    try:
        back = restore_backup(file, into, url)
    except RecordConflict as problem:
        raise WrongUse(str(problem)) from None
    place = place_of(into) if url else None
    if place is not None:
        place.keep()
    shown = place.shown if place is not None else str(into / "record.sqlite")
    if as_json:
        checked = [plain(report) for report in back.reports]
        told = {"ok": back.whole, "into": str(into), "record": shown, "runs": back.manifest.runs}
        print_json(told | {"checked": checked})
    else:
        print(
            f"{into}: {len(back.manifest.runs)} runs as of {back.manifest.at_utc}; record {shown}"
        )
        for report in back.reports:
            print(f"  {report.name}: {report.rows} rows, {'whole' if report.whole else 'BROKEN'}")
            for fault in report.faults:
                print(f"    {fault.kind}  {fault.table}  {fault.message}")
    if not back.whole:
        raise typer.Exit(BROKEN_EXIT_CODE)
