"""A real browser for tests of pages: the computer's own Chromium, driven by playwright, which downloads none.

Belongs here: starting it, what a page asks for, what keeps people out. Not here: what a page must show.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GRAVE = ("serious", "critical")
"""What axe-core calls a barrier that keeps somebody out."""
SCHEMES = ("light", "dark")
ALONE = (
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    # whatever asks for another computer gets no answer, and the test hears that it was asked
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""The browser itself is to ask nobody anything."""


@contextmanager
def started(program: Path) -> Iterator[Any]:
    """Yield the browser, without a window.

    While it runs, no other event loop runs in this thread: it ends with the file whose tests ask for it.
    """
    from playwright.sync_api import sync_playwright

    root = ("--no-sandbox",) if os.geteuid() == 0 else ()  # it refuses to start for root otherwise
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=[*ALONE, *root])
        yield browser
        browser.close()


@dataclass
class Person:
    """Somebody at a browser of their own: no cookie, no page is shared with another person's."""

    context: Any
    page: Any
    asked: list[str] = field(default_factory=list)
    """Every address that any of their pages asked for."""
    trouble: list[str] = field(default_factory=list)
    """Errors on the console: of scripts, of the content policy, of what could not be loaded."""

    def left(self, *bases: str) -> list[str]:
        """Return what was asked of anybody but some servers, by scheme, host and port."""
        own = {urlsplit(base)[:2] for base in bases}
        return [url for url in self.asked if urlsplit(url)[:2] not in own]


@contextmanager
def a_person(browser: Any, patience_s: float = 60.0, width: int = 1280) -> Iterator[Person]:
    """Yield a person with an empty page."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(patience_s * 1000)
    person = Person(context, context.new_page())
    context.on("request", lambda one: person.asked.append(one.url))
    context.on("weberror", lambda one: person.trouble.append(str(one.error)))
    context.on(
        "console", lambda one: person.trouble.append(one.text) if one.type == "error" else None
    )
    try:
        yield person
    finally:
        context.close()


def barriers(page: Any) -> list[tuple[str, str, str]]:
    """Return what axe-core finds grave on a page for eyes, keyboard or screen reader, in light and in dark."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        said = Axe().run(page).response["violations"]
        found += [
            (scheme, one["id"], one["nodes"][0]["html"][:200])
            for one in said
            if one["impact"] in GRAVE
        ]
    page.emulate_media(color_scheme="light")
    return found


def refuse_barriers(page: Any) -> None:
    """Fail where somebody is kept out of a page as it stands now."""
    assert barriers(page) == [], page.url
