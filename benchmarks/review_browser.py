"""A page in a real browser: seconds until what it says is there, bytes that came, over HTTP and websockets.

Belongs here: loading one page with nothing kept from before. Not here: which pages (review).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

LAST_WORDS = "Research use only"
LONGEST_MS = 120_000
STEP_PX = 700


@dataclass(frozen=True)
class Seen:
    """What a browser saw of a page."""

    seconds: float
    """From the address to the last words, and every picture in view drawn."""
    bytes: int
    """That came until then."""
    all_bytes: int
    """That came until all of the page had been looked at."""
    requests: int
    outside: int
    """Requests that left this computer."""


@contextmanager
def chromium() -> Iterator[Any | None]:
    """Yield the system's Chromium; None where it or Playwright is not there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if found is None:
        yield None
        return
    with sync_playwright() as play:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=found, args=args)
        yield browser
        browser.close()


def look(browser: Any, address: str, enter: str = "") -> Seen:
    """Load a page with an empty cache and look at all of it; ``enter``: a link that opens a session first."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(LONGEST_MS)
    page = context.new_page()
    if enter:
        page.goto(enter)
        page.get_by_text(LAST_WORDS).first.wait_for(
            state="attached"
        )  # of the page that it leads to
        page.goto("about:blank")
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.clearBrowserCache")
    came = {"bytes": 0, "requests": 0, "outside": 0}

    def add(n: float) -> None:
        came["bytes"] += int(n)

    def asked(one: dict[str, Any]) -> None:
        url = one["request"]["url"]
        came["requests"] += url.startswith("http")
        came["outside"] += url.startswith("http") and "//127.0.0.1" not in url

    wire.on("Network.requestWillBeSent", asked)
    wire.on("Network.loadingFinished", lambda one: add(one["encodedDataLength"]))
    wire.on("Network.webSocketFrameReceived", lambda one: add(_frame_bytes(one["response"])))
    begun = time.perf_counter()
    page.goto(address, wait_until="domcontentloaded")
    page.get_by_text(LAST_WORDS).first.wait_for(state="attached")
    page.wait_for_function(
        "[...document.images].filter(i => i.getBoundingClientRect().top < innerHeight)"
        ".every(i => i.complete && i.naturalWidth > 0) && "
        "[...document.querySelectorAll('.stSkeleton')].length === 0"
    )
    seconds = time.perf_counter() - begun
    page.wait_for_timeout(1500)  # what a framework asks for late counts
    first = came["bytes"]
    page.mouse.move(640, 450)
    for _ in range(60):
        page.mouse.wheel(0, STEP_PX)
        page.wait_for_timeout(40)
    page.wait_for_function("[...document.images].every(i => i.complete)")
    page.wait_for_timeout(500)
    found = Seen(seconds, first, came["bytes"], came["requests"], came["outside"])
    context.close()
    return found


def _frame_bytes(frame: dict[str, Any]) -> float:
    """Return a websocket frame's bytes; a binary one is told in base64."""
    told = len(frame["payloadData"])
    return 0.75 * told if frame["opcode"] == 2 else told
