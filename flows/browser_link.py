"""A link with a token for the browser of this login, without the token in any list of processes.

Belongs here: the file that the browser opens in its place. Not here: tokens (chiploop.review.tickets), serving.

What a browser is started with is read by every login of a computer (``ps``) as long as the browser lives. So it is
given the name of a file that this login alone can read and that leads on to the link.
"""

from __future__ import annotations

import html
import os
import shutil
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT_S = 60.0
"""How long a browser has to read the file; the link that is printed opens the page later too."""
LEADS_ON = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>chiploop</title><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={0}"></head>
<body><p><a href="{0}">Go on to chiploop</a></p></body></html>
"""


@contextmanager
def opened_in_browser(link: str, kept_s: float = KEPT_S) -> Iterator[None]:
    """Open a link in the browser; the file that leads to it is gone after a while, and at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="chiploop-review-"))  # 0700
    page = folder / "open.html"
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(LEADS_ON.format(html.escape(link)))
    # a signal may end the process without the block's end
    later = threading.Timer(kept_s, shutil.rmtree, (folder, True))
    later.daemon = True
    later.start()
    try:
        webbrowser.open(page.as_uri())
        yield
    finally:
        later.cancel()
        shutil.rmtree(folder, ignore_errors=True)
