"""The server of the review page as a process of its own, asked as a browser asks: seconds, bytes, memory.

Belongs here: starting, asking, weighing. Not here: what is asked (review), what stands beside it (review_peers).
"""

from __future__ import annotations

import gzip
import http.client
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import psutil

PROJECT = Path(__file__).parents[1]
START = [sys.executable, "-c", "from flows.cli.main import main; main()"]
LONGEST_S = 120.0


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    process: subprocess.Popen[str]
    link: str
    start_s: float
    """From its first instruction to the moment from which it can be asked."""

    @property
    def rss_mb(self) -> float:
        """Memory of the process and of all that it started."""
        own = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (own, *own.children(recursive=True))) / 1e6

    @property
    def own_rss_mb(self) -> float:
        """Memory of the process alone."""
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)


@contextmanager
def review_server(runs: Path) -> Iterator[Served]:
    """Yield ``chiploop review`` over the runs of a folder; it can be asked once it has printed its link."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*START, "review", "--runs", str(runs), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROJECT,
    )
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        yield Served(process, link, time.perf_counter() - begun)
    finally:
        ended(process)


def ended(process: subprocess.Popen[str]) -> None:
    """End a process that was started here, and what it started."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(20.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        if child.is_running():
            child.terminate()
    if process.stdout is not None:
        process.stdout.close()


@dataclass(frozen=True)
class Reply:
    """An answer."""

    seconds: float
    """From the request to the last byte."""
    status: int
    body: bytes
    sent: int
    """Bytes of the body as they were sent."""
    cookie: str


class Visitor:
    """A browser without eyes: one connection, one cookie."""

    def __init__(self, link: str) -> None:
        self.at = urlsplit(link)
        self._connection = http.client.HTTPConnection(self.at.netloc, timeout=LONGEST_S)
        self._connection.connect()
        self.cookie = ""

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def ask(self, path: str, part: bool = False) -> Reply:
        """Ask for a path of the server; ``part``: as htmx asks."""
        headers = {"Accept-Encoding": "gzip"} | ({"HX-Request": "true"} if part else {})
        headers |= {"Cookie": self.cookie} if self.cookie else {}
        begun = time.perf_counter()
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        sent = answer.read()
        seconds = time.perf_counter() - begun
        is_small = answer.headers.get("Content-Encoding") == "gzip"
        cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
        return Reply(
            seconds, answer.status, gzip.decompress(sent) if is_small else sent, len(sent), cookie
        )

    def enter(self) -> Reply:
        """Open the session of the link."""
        reply = self.ask(f"{self.at.path}?{self.at.query}")
        self.cookie = reply.cookie
        return reply


@dataclass(frozen=True)
class Weight:
    """Bytes of a page."""

    page: int
    """Of its HTML."""
    style: int
    """Of its style, script and icon, which every page shares and a browser keeps."""
    pictures: int
    """Of all its pictures, which a browser asks for as they come into view."""
    sent: int
    """Of all of it as it goes over the wire."""
    pieces: int

    @property
    def whole(self) -> int:
        """Everything."""
        return self.page + self.style + self.pictures


def weight_of(visitor: Visitor, path: str) -> Weight:
    """Return what a page and everything that it names weighs."""
    page = visitor.ask(path)
    assert page.status == 200, f"{path} answered {page.status}"
    text = page.body.decode()
    style = _asked(visitor, path, re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"', text))
    pictures = _asked(visitor, path, re.findall(r'<img[^>]* src="([^"]+)"', text))
    return Weight(
        len(page.body),
        sum(len(one.body) for one in style),
        sum(len(one.body) for one in pictures),
        page.sent + sum(one.sent for one in (*style, *pictures)),
        1 + len(style) + len(pictures),
    )


def _asked(visitor: Visitor, path: str, names: Sequence[str]) -> list[Reply]:
    found = [visitor.ask(urljoin(path, unescape(name))) for name in dict.fromkeys(names)]
    assert all(one.status == 200 for one in found)
    return found
