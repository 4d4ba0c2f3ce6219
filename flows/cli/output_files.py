"""Files that a command writes because a person named them: never over another one by accident.

Belongs here: whether a file may be written, and its writing. Not here: what stands in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from chiploop.errors import WrongUse

FORCE = typer.Option(False, "--force", help="Write over a file that is there already.")


def refuse_existing(paths: Iterable[Path | None], force: bool) -> None:
    """Raise WrongUse where a file is there already and may not be written over, or has no folder."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise WrongUse(f"{path} is a folder; name a file")
        if path.exists() and not force:
            raise WrongUse(f"{path} is there already; name another file, or add --force")
        if not path.parent.is_dir():
            raise WrongUse(f"{path} can not be written: there is no folder {path.parent}")


def write_to(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file; WrongUse where the system refuses."""
    try:
        write(path)
    except OSError as error:
        raise WrongUse(f"{path} can not be written: {error.strerror or error}") from None
