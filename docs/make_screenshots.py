"""The pictures of the first study's page, taken from the report of a simulated run.

python docs/make_screenshots.py RUN_FOLDER
Belongs here: which part of the report is shown. Needs Chromium, Chrome or Edge; nothing is drawn by hand.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from skimage.io import imread, imsave

from chiploop.report.chromium_pdf import browser

FIGURES = Path(__file__).parent / "figures"
WIDTH = 1040
HEIGHT = 1600
PARTS = {
    "report_head": r"<header>.*?(?=<p class=\"note\">)",
    "report_dose_response": r"<figure id=\"dose-.*?</figure>",
}
"""File -> the part of the page that it shows."""


def main(folder: Path) -> None:
    """Take the pictures."""
    program = browser()
    if program is None:
        raise SystemExit("no Chromium, Chrome or Edge is installed here")
    report = (folder / "report.html").read_text(encoding="utf-8")
    head = report[: report.index("<body>")]
    FIGURES.mkdir(exist_ok=True)
    for name, pattern in PARTS.items():
        part = re.search(pattern, report, re.DOTALL)
        if part is None:
            raise SystemExit(f"the report has no part {name}")
        page = f"{head}<body><main>{part[0]}</main></body></html>"
        imsave(FIGURES / f"{name}.png", taken(program, page), check_contrast=False)


def taken(program: str, page: str) -> np.ndarray:
    """Return the picture of a page, without the empty rows below it."""
    with tempfile.TemporaryDirectory() as own:
        source, picture = Path(own) / "page.html", Path(own) / "page.png"
        source.write_text(page, encoding="utf-8")
        command = [
            program, "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={own}/profile",
            f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", source.as_uri(),
        ]  # fmt: skip
        if sys.platform == "linux" and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        found = imread(picture)
    filled = np.flatnonzero((found != found[-1, -1]).any(axis=(1, 2)))
    return found[: filled[-1] + 16]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
