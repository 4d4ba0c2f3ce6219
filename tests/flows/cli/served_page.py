"""The page served by the real command, as a person starts it under a login of their own.

Belongs here: starting and ending it. Not here: browsers (tests.chromium), what the page must show.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
OTHER_LOGIN = """
import pwd

_of = pwd.getpwuid
pwd.getpwuid = lambda uid: pwd.struct_passwd(({name!r}, *_of(uid)[1:]))
"""
"""What makes the operating system call this user by another name: a test may not make users."""


@dataclass(frozen=True)
class Served:
    """A page that is served now."""

    link: str
    """Opens a session that may decide."""
    viewer_link: str
    """Opens one that only looks."""
    pid: int

    @property
    def base(self) -> str:
        """Scheme, host and port."""
        return self.link.partition("/enter")[0]

    @property
    def rss_mb(self) -> float:
        """Memory of the server, without the processes that it starts."""
        said = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        assert said is not None
        return int(said[1]) * 1024 / 1e6


@contextmanager
def served(runs: Path, login: str = "", run: str = "") -> Iterator[Served]:
    """Yield the page over some runs, started by `chiploop review` under a login, by default this one."""
    environment = dict(os.environ)
    if login:
        place = runs.parent / f"login-{login}"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(OTHER_LOGIN.format(name=login))
        before = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{place}{os.pathsep}{before}" if before else str(place)
    command = [sys.executable, "-c", "from flows.cli.main import main; main()", "review"]
    process = subprocess.Popen(
        [*command, *([run] if run else []), "--runs", str(runs), "--no-open", "--viewer"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROJECT,
        env=environment,
    )
    assert process.stdout is not None
    try:
        link, looks = (process.stdout.readline().strip() for _ in range(2))
        yield Served(link, looks.partition(": ")[2], process.pid)
    finally:
        process.terminate()
        process.wait(20.0)
        process.stdout.close()
