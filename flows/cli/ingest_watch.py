"""``chiploop ingest --watch``: takes a reader's exports as they are finished, until it is stopped.

Belongs here: the loop and what it tells. Not here: when a file is finished (flows.export_watch).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.errors import WrongUse
from flows.cli.screen import paint
from flows.export_store import ExportStore, opened_store
from flows.export_watch import Event, Watch, look

if TYPE_CHECKING:
    from chiploop.exports.export import Export

COLOURS = {"taken": "green", "refused": "red", "waiting": "yellow", "passed over": "yellow"}


def watch_folder(
    folder: Path,
    into: Path | None,
    read: Callable[[bytes, str], Export],
    every_s: float,
    looks: int | None,
    as_json: bool,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Watch until Ctrl-C, or for so many looks, and return how many files were refused.

    Parameters
    ----------
    into : folder of the copies and their list; None for a preview, which keeps nothing.
    """
    if not folder.is_dir():
        raise WrongUse(f"{folder} is no folder; name the one that the reader's program exports to")
    if into is None:
        return _looks(folder, None, read, every_s, looks, as_json, wait)
    if into.resolve() == folder.resolve():
        raise WrongUse(f"{into} is the watched folder itself; nothing is written there")
    with opened_store(into) as store:
        return _looks(folder, store, read, every_s, looks, as_json, wait)


def _looks(
    folder: Path,
    store: ExportStore | None,
    read: Callable[[bytes, str], Export],
    every_s: float,
    looks: int | None,
    as_json: bool,
    wait: Callable[[float], None],
) -> int:
    watch, refused, done = Watch(), 0, 0
    lost = False
    while looks is None or done < looks:
        if done:
            wait(every_s)
        done += 1
        try:
            for event in look(folder, watch, store, read):
                refused += event.what == "refused"
                tell(event, as_json)
            lost = False
        except OSError as trouble:
            if not lost:  # a share that is away comes back; said once
                print(f"{folder} can not be listed now ({trouble.strerror or trouble})", flush=True)
            lost = True
    return refused


def tell(event: Event, as_json: bool) -> None:
    """Print one line of text or one JSON object about one file."""
    one, export = event.taken, event.export
    rows = one.rows if one else len(export.rows) if export else 0
    kind = one.format if one else export.format if export else ""
    notes = one.notes if one else export.notes if export else ()
    flagged = one.flagged if one else 0
    if export is not None:
        flagged = sum(readout.qc != "ok" for readout in export.readouts)
    if as_json:
        told = {
            "file": event.name,
            "what": event.what,
            "why": event.told,
            "format": kind,
            "rows": rows,
            "flagged": flagged,
            "notes": list(notes),
            "version": one.version if one else None,
            "sha256": one.sha256 if one else export.sha256 if export else None,
        }
        print(json.dumps(told, ensure_ascii=True, allow_nan=False), flush=True)
        return
    head = paint(event.what, COLOURS[event.what])
    if event.told:
        print(f"{head}: {event.told}", flush=True)
        return
    version = f", version {one.version}" if one and one.version > 1 else ""
    print(f"{head}: {event.name}: {kind}, {rows} values, {flagged} flagged{version}", flush=True)
    for note in notes:
        print(f"  note: {note}", flush=True)
