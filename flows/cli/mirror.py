"""``chiploop mirror``: what the record lacks of the action journals is copied there."""

from __future__ import annotations

from pathlib import Path

import typer

from flows.cli.screen import JSON_OPTION, print_json


def mirror(
    runs: Path = typer.Option(Path("runs"), "--runs", help="Folder of the runs."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Copy what the record lacks of the action journals; runs do so themselves while the record can be reached.

    Safe to repeat and while a run goes on; moves no liquid. Exit code 4 where the record can not be reached, 5
    where a journal is not what was mirrored. With --json: {"ok", "record", "mirrored": {journal: rows}}.
    """
    from chiploop.record.journal_mirror import mirror_journal
    from flows.cli.audit import journals_of
    from flows.record_place import place_of

    with place_of(runs).open_known() as record:
        copied = {str(path): mirror_journal(record, path) for path in journals_of(runs)}
        shown = record.url
    if as_json:
        print_json({"ok": True, "record": shown, "mirrored": copied})
        return
    print(
        f"{shown}: {sum(copied.values())} rows of {len(copied)} journals were added to the mirror"
    )
