"""``chiploop audit``: whether anything on record was altered. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.record.chain import ChainReport
    from chiploop.record.record import Record

BROKEN_EXIT_CODE = 5
"""A broken chain is a safety matter: what was given can not be relied on, nothing more is sent."""

audit_app = typer.Typer(
    help="Verify that no record was altered.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@audit_app.callback()
def _audit() -> None:
    """Verify that no record was altered."""


@audit_app.command()
def verify(
    runs_folder: Path = typer.Argument(Path("runs"), help="Folder of the runs."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Check the chains of record, journal, its mirror and stores of patients, and the digests of all raw files.

    Exit code 0 where all is whole, 5 where something was edited, deleted, inserted or cut, 3 where
    a file can not be read. With --json: {"ok", "checked": [{"name", "rows", "head", "faults"}]}.
    Keep the heads elsewhere too: a chain that was rebuilt together with its head file looks whole.
    """
    reports = _reports(runs_folder)
    whole = all(report.whole for report in reports)
    if as_json:
        print_json({"ok": whole, "checked": [_as_json(report) for report in reports]})
    else:
        width = max(len(report.name) for report in reports)
        for report in reports:
            said = paint("whole", "green") if report.whole else paint("BROKEN", "red")
            head = f"  head {report.head[:16]}" if report.head else ""
            print(f"{report.name:<{width}}  {report.rows:>7} rows  {said}{head}")
            for fault in report.faults:
                print(f"  {fault.kind:<12}  {fault.table}  {fault.message}")
    if not whole:
        raise typer.Exit(BROKEN_EXIT_CODE)


def _reports(runs_folder: Path) -> list[ChainReport]:
    """Return what a check of each file of a runs folder found; WrongUse where there is nothing to
    check.
    """
    from chiploop.patients.proof import verify_store
    from chiploop.record.journal import verify_journal
    from chiploop.record.journal_mirror import verify_mirrors
    from flows.record_place import place_of

    reports, place = [], place_of(runs_folder)
    journals = journals_of(runs_folder)
    for journal in journals:
        reports.append(verify_journal(journal))
    if place.is_there():
        with place.open(create=False) as opened:
            reports.append(opened.verify())
            reports += verify_mirrors(opened, journals)
            reports.append(_raw_files(runs_folder, opened))
    for store in stores_of(runs_folder):
        reports.append(verify_store(store))
    if not reports:
        raise WrongUse(
            f"{runs_folder} holds neither record.sqlite nor journal.sqlite; name the folder of "
            "your runs"
        )
    return reports


def stores_of(runs_folder: Path) -> list[Path]:
    """Return the folder itself where it is a store of patients, and every store right below it."""
    found = (runs_folder / "patients.sqlite", *sorted(runs_folder.glob("*/patients.sqlite")))
    return [path.parent for path in found if path.exists() or path.with_suffix(".head").exists()]


def journals_of(runs_folder: Path) -> list[Path]:
    """Return the journal of the real bench and those of every virtual lab, also where only a head is left."""
    files = (runs_folder / "journal.sqlite", *sorted(runs_folder.glob("*/journal.sqlite")))
    return [path for path in files if path.exists() or path.with_suffix(".head").exists()]


def _raw_files(runs_folder: Path, record: Record) -> ChainReport:
    """Return which raw files are gone or changed.

    Those of other computers, whose runs have no folder here, are theirs to check.
    """
    from chiploop.record.chain import ChainReport
    from chiploop.record.raw_files import RawFileStore

    runs = [run.run_id for run in record.runs()]
    elsewhere = [run for run in runs if not record.is_file and not (runs_folder / run).is_dir()]
    files = [file for run in runs if run not in elsewhere for file in record.raw_files(run)]
    faults = (
        RawFileStore(runs_folder / file.run_id / "raw").check(file.sha256, file.name)
        for file in files
    )
    found = tuple(fault for fault in faults if fault is not None)
    name = f"raw files; not those of {len(elsewhere)} runs elsewhere" if elsewhere else "raw files"
    return ChainReport(name=name, rows=len(files), head="", faults=found)


def _as_json(report: ChainReport) -> dict[str, Any]:
    from chiploop.record.chain import plain

    return {
        "name": report.name,
        "rows": report.rows,
        "head": report.head,
        "faults": [plain(fault) for fault in report.faults],
    }
