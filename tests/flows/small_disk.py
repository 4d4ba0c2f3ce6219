"""A real disk that is small: a tmpfs of a given size, where root may mount one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def mount_small_disk(place: Path, size: str) -> None:
    """Mount a disk on a folder; skips the test, with the reason, where that can not be done here."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "chiploop-test", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as problem:
        pytest.skip(f"no small disk can be mounted here: {problem}")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
