"""A page as a PDF, printed by a browser of this computer: Chromium, Chrome or Edge, without a window.

Belongs here: finding one, the command, the bounds of its time. Not here: the page and its print style.
The browser reads the page from a file, has no network and a profile of its own that is gone afterwards.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from chiploop.errors import ChiploopError

BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "microsoft-edge-stable", "msedge",
)  # fmt: skip
"""Names on the PATH, in the order tried."""
INSTALLED = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
"""Where they stand on systems that put none on the PATH."""
PATIENCE_S = 180.0


class PageNotPrinted(ChiploopError):
    """The browser did not make the PDF."""

    code = "CL-207"
    exit_code = 2


def browser() -> str | None:
    """Return a browser of this computer that can print; None where there is none."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    return next((path for path in INSTALLED if Path(path).is_file()), None)


def print_page(page: Path, pdf: Path, program: str) -> None:
    """Print an HTML file as a PDF. Raises PageNotPrinted."""
    with tempfile.TemporaryDirectory(prefix="chiploop-print-", ignore_cleanup_errors=True) as own:
        draft = Path(own) / "page.pdf"
        command = [
            program, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--proxy-server=127.0.0.1:9", f"--user-data-dir={own}",
            "--no-pdf-header-footer", f"--print-to-pdf={draft}", page.resolve().as_uri(),
        ]  # fmt: skip
        if sys.platform == "linux" and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # it refuses to start for root otherwise
        try:
            ended = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise PageNotPrinted(f"{program} could not print the report: {problem}") from problem
        if ended.returncode != 0 or not draft.is_file() or draft.stat().st_size == 0:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise PageNotPrinted(
                f"{program} could not print the report (it ended with {ended.returncode}): {''.join(said)}"
            )
        pdf.write_bytes(without_times(draft.read_bytes()))


def without_times(pdf: bytes) -> bytes:
    """Return a PDF without the time at which it was printed, place by place as long as before."""
    return re.sub(rb"/(Creation|Mod)Date \(([^)]*)\)", _blank, pdf)


def _blank(found: re.Match[bytes]) -> bytes:
    return b" " * len(found[0])
