"""A hash chain over rows, and the head file that shows a cut tail. Shared by the journal and the
record.

Belongs here: canonical JSON, links, heads, what a check found. Not here: tables.

Each link is SHA-256 over the link before it and the canonical text of its row. An edit, a deletion
or an insertion in the middle breaks the chain at that place. A cut tail leaves a chain that is
whole: the head file beside the database (number of rows and last link) shows it. What neither can
show: someone who rebuilds the whole chain and the head file, or cuts both. For that the head must
also be kept elsewhere, for example on the printed report.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from chiploop.errors import ChiploopError
from chiploop.record.disk import is_full

GENESIS = "0" * 64
"""What stands before the first link."""

FaultKind = Literal["edited", "deleted", "inserted", "out of order", "tail cut", "unprotected"]


class RecordConflict(ChiploopError):
    """Something is on record already under this key, with another content; nothing was written."""

    code = "CL-320"


class RecordUnreadable(ChiploopError):
    """A record or journal file can not be opened or is not one of ours."""

    exit_code = 3
    code = "CL-330"


class RecordBroken(ChiploopError):
    """Rows were changed or removed from outside; what the record says can not be relied on."""

    exit_code = 5
    code = "CL-520"


@dataclass(frozen=True)
class ChainFault:
    """One place where a chain does not hold."""

    kind: FaultKind
    table: str
    row: str
    """Key or number of the row."""
    message: str


@dataclass(frozen=True)
class ChainReport:
    """What a check of one chain found."""

    name: str
    rows: int
    head: str
    """Last link; ``GENESIS`` for an empty chain."""
    faults: tuple[ChainFault, ...]

    @property
    def whole(self) -> bool:
        """True where nothing was found."""
        return not self.faults


@dataclass(frozen=True)
class Link:
    """One stored link as a check reads it."""

    seq: int
    """Place in the chain, from 1."""
    table: str
    row: str
    content: str
    """Canonical text of the row."""
    previous: str
    hash: str


@dataclass(frozen=True)
class Head:
    """Number of links and the last of them, as the head file keeps them."""

    count: int
    hash: str


def utc_now() -> str:
    """Return the time of day in UTC as ISO 8601: the stamp of a row, never part of a
    calculation.
    """
    return datetime.now(UTC).isoformat(timespec="microseconds")


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dataclasses, parts of a study, tuples, paths and NumPy numbers
    become plain ones.

    Numbers that JSON has no word for become ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
    TypeError for anything else, and for a mapping whose keys are not text.
    """
    if value is None or isinstance(value, bool | str):
        return value
    # told by name: NumPy is not loaded for it, and another thread may be loading it just now
    if any(kind.__module__ == "numpy" for kind in type(value).__mro__):
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(
                f"a mapping with keys {list(value)[:3]} can not go on record; keys are text"
            )
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"a {type(value).__name__} can not go on record")


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest floats. TypeError as
    :func:`plain`.
    """
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(text: str) -> str:
    """Return the SHA-256 of a text in hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def link_hash(previous: str, content: str) -> str:
    """Return the link that follows ``previous`` for a row with this canonical content."""
    return digest(f"{previous}\n{content}")


def check_links(name: str, links: Iterable[Link], head: Head | None) -> ChainReport:
    """Return what is wrong with a chain, in its order, compared with its head file (None where
    there is none).
    """
    faults: list[ChainFault] = []
    previous, expected, hash_at_head = GENESIS, 1, GENESIS
    for link in links:
        if link.seq != expected:
            missing = f"{expected}" if link.seq == expected + 1 else f"{expected}..{link.seq - 1}"
            faults.append(
                ChainFault(
                    "deleted", link.table, missing, f"row {missing} before row {link.seq} is gone"
                )
            )
        elif link.previous != previous:
            faults.append(
                ChainFault(
                    "out of order",
                    link.table,
                    link.row,
                    f"row {link.seq} does not follow the row before it",
                )
            )
        if link.hash != link_hash(link.previous, link.content):
            faults.append(
                ChainFault(
                    "edited",
                    link.table,
                    link.row,
                    f"row {link.seq} ({link.row}) is not what was written",
                )
            )
        previous, expected = link.hash, link.seq + 1
        if head is not None and link.seq == head.count:
            hash_at_head = link.hash
    count = expected - 1
    if head is None and count > 0:
        faults.append(
            ChainFault(
                "tail cut", name, "head", "the head file is gone: a cut tail could not be seen"
            )
        )
    elif head is not None and head.count > count:
        cut = f"{count + 1}..{head.count}"
        faults.append(
            ChainFault(
                "tail cut", name, cut, f"the head file counts {head.count} rows, {count} are here"
            )
        )
    elif head is not None and head.hash != hash_at_head:
        faults.append(
            ChainFault(
                "edited", name, f"{head.count}", f"row {head.count} is not the one of the head file"
            )
        )
    return ChainReport(name, count, previous, tuple(faults))


def head_path(database: Path) -> Path:
    """Return where the head of a database file is kept: beside it, ``record.sqlite`` ->
    ``record.head``.
    """
    return database.with_suffix(".head")


def read_head(path: Path) -> Head | None:
    """Return the kept head; None where there is no file. RecordUnreadable for one that is not a
    head.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Head(count=int(content["count"]), hash=str(content["hash"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as problem:
        raise RecordUnreadable(f"{path} is not a head file: {problem}") from problem


def refuse_cut_chain(path: Path, count: int, hash_at: Callable[[int], str | None]) -> None:
    """Raise RecordBroken where a head file knows more rows than a chain has, or another row at its
    place.

    ``hash_at``: number of a row -> its link, None where there is no such row. Asked before every
    new row, so that a cut tail is not grown over.
    """
    kept = read_head(path)
    if kept is None or kept.count == 0:
        return
    if kept.count > count or hash_at(kept.count) != kept.hash:
        raise RecordBroken(
            f"{path} knows {kept.count} rows and the database beside it has {count} that do not "
            "match: rows were "
            "cut or changed. Nothing is written and nothing is sent to a pump; `chiploop audit "
            "verify` names the place"
        )


def write_head(path: Path, head: Head) -> None:
    """Set the kept head, durably and at once; a longer one that is there already stays.

    Called after the rows are committed: at a crash between the two the head is one behind, which is
    harmless.
    """
    kept = read_head(path)
    if kept is not None and kept.count >= head.count:
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"count": head.count, "hash": head.hash}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as problem:
        draft.unlink(missing_ok=True)
        if not is_full(
            problem
        ):  # rows are on disk: a head that is behind is no reason to say otherwise
            raise
