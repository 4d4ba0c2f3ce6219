"""How commands that people are told to type name the folder of the runs.

Belongs here: that option. Not here: which record the folder has (record_place). Imports nothing of the house.
"""

from __future__ import annotations

from pathlib import Path


def runs_option(runs: Path) -> str:
    """Return the option that names the folder of the runs, a space before it; empty where it is the usual one."""
    return "" if runs.resolve() == Path("runs").resolve() else f" --runs {runs}"
