"""Nothing that only POSIX has is imported when the program is loaded: Windows has none of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOAD_EVERYTHING = """
import builtins, importlib, pkgutil, signal
import prefect, psutil, serial.tools.list_ports  # they know how to do without
missing = {"fcntl", "termios", "pty", "tty", "pwd", "grp", "resource"}
real = builtins.__import__
def without_posix(name, globals=None, *rest):
    ours = ((globals or {}).get("__name__") or "").split(".")[0] in ("chiploop", "instruments", "flows")
    if ours and name in missing:
        raise ImportError(f"no {name} on this system")
    return real(name, globals, *rest)
builtins.__import__ = without_posix
for name in ("SIGKILL", "SIGHUP"):
    delattr(signal, name)
loaded = []
for package in ("instruments", "flows"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
        loaded.append(module.name)
assert "instruments.port_lock" in loaded and "flows.cli.main" in loaded
"""


def test_every_module_loads_without_what_only_posix_has() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_EVERYTHING],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
