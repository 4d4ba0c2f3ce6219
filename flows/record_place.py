"""Which record a command means: the one place that decides.

Belongs here: the rule, opening by it. Not here: what a URL may be (chiploop.record.record_url), the record.

The runs of a folder are all on one record. It is the one of ``--record URL`` (anywhere on the command line),
otherwise of the variable CHIPLOOP_RECORD, otherwise of the file ``record.url`` in the folder of the runs, which is
written when its first run begins, without the password; otherwise ``record.sqlite`` in that folder. Where two of
them differ nothing is done: half a run in each of two records would be worse than none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.errors import WrongUse

if TYPE_CHECKING:
    from chiploop.record.record import Record

OPTION, VARIABLE = "--record", "CHIPLOOP_RECORD"
RECORD_FILE, URL_FILE, HEAD_FILE = "record.sqlite", "record.url", "record.head"
_named: ContextVar[str] = ContextVar("record of the command line", default="")


@dataclass(frozen=True)
class RecordPlace:
    """Where the runs of a folder are on record."""

    runs: Path
    url: str = field(repr=False)
    """With the password, where a person named one."""
    shown: str
    """Without it."""
    file: Path | None
    """Of SQLite; None for a record on a server."""

    @property
    def is_default(self) -> bool:
        """True for the file in the folder of the runs."""
        return self.file is not None and self.file.resolve() == default_file(self.runs).resolve()

    def is_there(self) -> bool:
        """Return whether there may be a record: a file is there, or a server is named."""
        return self.file is None or self.file.exists()

    def open(self, create: bool = True) -> Record:
        """Open the record; ``create=False`` for those who only read.

        The length of the chain of a record on a server is kept beside the runs, so that a cut tail shows here.
        """
        from chiploop.record.record import Record

        head = self.runs / HEAD_FILE if self.file is None and self.runs.is_dir() else None
        return Record(self.url, head=head, create=create)

    def open_known(self, create: bool = True) -> Record:
        """Open the record; WrongUse where there is none."""
        if not self.is_there():
            raise WrongUse(
                f"there is no record in {self.runs}; name the folder of your runs with --runs, or the record "
                f"itself with {OPTION} URL"
            )
        return self.open(create)

    def keep(self) -> None:
        """Write down where the runs of the folder are on record, where it is not the file in the folder."""
        kept = self.runs / URL_FILE
        if not self.is_default and not kept.exists():
            draft = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
            draft.write_text(self.shown + "\n", encoding="utf-8")
            draft.replace(kept)


def default_file(runs: Path) -> Path:
    """Return the file of the record of a folder of runs that names no other."""
    return runs / RECORD_FILE


def place_of(runs: Path) -> RecordPlace:
    """Return where the runs of a folder are on record.

    Raises WrongUse for a URL that can not be read, and where what is named is not what the folder's runs are on.
    """
    from chiploop.record.record_url import file_of, record_url, shown

    said_by, named = _what_is_named()
    kept = runs / URL_FILE
    known = kept.read_text(encoding="utf-8").strip() if kept.exists() else ""
    text = named or known or str(default_file(runs))
    url = record_url(text)
    file = file_of(url)
    if file is not None and (named or known):  # what is kept holds from any folder
        file = file.absolute()
        text = f"sqlite:///{file.as_posix()}"
        url = record_url(text)
    place = RecordPlace(runs, text, shown(url), file)
    if named and known and place.shown != known:
        raise WrongUse(
            f"the runs in {runs} are on record in {known} ({kept}), and {said_by} names {place.shown}. Leave it "
            f"out, or name another folder with --runs; where the record has moved, write its new URL into {kept}. "
            "Nothing was done"
        )
    if named and not known and not place.is_default and default_file(runs).exists():
        raise WrongUse(
            f"the runs in {runs} are on record in {default_file(runs)}, and {said_by} names {place.shown}. Name "
            "another folder with --runs, or move the record: `chiploop backup`, then `chiploop restore FILE "
            f"--into DIR {OPTION} URL`. Nothing was done"
        )
    return place


def _what_is_named() -> tuple[str, str]:
    """Return who names a record, and its URL; empty where nobody does."""
    if option := _named.get():
        return OPTION, option
    return VARIABLE, os.environ.get(VARIABLE, "")


def option_named() -> str:
    """Return the URL of ``--record`` alone; empty where it is not given."""
    return _named.get()


def without_record_option(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Return a command line without ``--record URL``, which any command takes, and the URL.

    Raises WrongUse where the option has no URL.
    """
    left, url = [], ""
    words = iter(arguments)
    for word in words:
        if word == OPTION or word.startswith(f"{OPTION}="):
            url = word.partition("=")[2] if "=" in word else next(words, "")
            if not url or url.startswith("--"):
                raise WrongUse(f"{OPTION} needs the URL of a record")
        else:
            left.append(word)
    return left, url


@contextmanager
def record_named(url: str) -> Iterator[None]:
    """Let the commands of this context mean a record; empty names none."""
    before = _named.set(url)
    try:
        yield
    finally:
        _named.reset(before)
