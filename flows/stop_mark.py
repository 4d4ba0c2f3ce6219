"""Word in a run's folder that a person stopped it: nobody starts a pump of it before ``chiploop resume``.

Belongs here: that file. Not here: stopping (cli.stop), who must heed it (supervisor). Imports nothing of weight: a
stop must not wait for libraries.
"""

from __future__ import annotations

import json
from pathlib import Path

FILE_NAME = "stopped.json"


def mark_stopped(folder: Path, why: str, given_up: bool = False) -> None:
    """Leave the word in a run's folder; ``given_up``: its chips are off the bench."""
    content = {"why": why, "given_up": given_up}
    (folder / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")


def given_up(folder: Path) -> str:
    """Return who gave a run up and why; empty where nobody did, or somebody has taken it up since."""
    try:
        said = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return str(said["why"]) if said.get("given_up") else ""
    except (OSError, ValueError, KeyError, AttributeError):
        return ""


def is_stopped(folder: Path) -> bool:
    """Return whether a person stopped the run and nobody has taken it up since."""
    return (folder / FILE_NAME).exists()


def lift_stop(folder: Path) -> None:
    """Take the word away: the run is taken up."""
    (folder / FILE_NAME).unlink(missing_ok=True)
