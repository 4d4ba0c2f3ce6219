"""Streamlit and Dash, each as a server of the same content, in an environment of their own.

Belongs here: starting them. Not here: their apps (review_streamlit_app, review_dash_app), measuring (review).

``python -m venv PEERS && PEERS/bin/pip install streamlit dash``; their versions are told with the numbers.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.review_server import LONGEST_S, PROJECT, Served, ended

PEERS = ("streamlit", "dash")
PATHS = {
    "streamlit": {
        "overview": "/?page=overview",
        "fit": "/?page=fit",
        "proposal": "/?page=proposal",
    },
    "dash": {"overview": "/", "fit": "/fit", "proposal": "/proposal"},
}


def versions(python: Path) -> dict[str, str]:
    """Return the versions of the peers that an environment has."""
    asked = (
        "import json, importlib.metadata as m\nfound = {}\n"
        f"for name in {PEERS!r}:\n"
        " try: found[name] = m.version(name)\n"
        " except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    told = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(told.stdout)
    return found


@contextmanager
def peer_server(peer: str, python: Path, content: Path) -> Iterator[Served]:
    """Yield a peer's server; it can be asked once its port answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = {
        "streamlit": [
            "-m", "streamlit", "run", "benchmarks/review_streamlit_app.py", "--server.port", str(port),
            "--server.address", "127.0.0.1", "--server.headless", "true", "--browser.gatherUsageStats",
            "false", "--server.fileWatcherType", "none",
        ],
        "dash": ["benchmarks/review_dash_app.py", str(port)],
    }[peer]  # fmt: skip
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(python), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "REVIEW_CONTENT": str(content), "PYTHONPATH": ""},
    )
    try:
        while not answers(port):
            if process.poll() is not None or time.perf_counter() - begun > LONGEST_S:
                raise RuntimeError(f"{peer} does not answer")
            time.sleep(0.01)
        yield Served(process, f"http://127.0.0.1:{port}", time.perf_counter() - begun)
    finally:
        ended(process)


def answers(port: int) -> bool:
    """Return whether a server answers on a port."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
        connection.request("GET", "/robots.txt")
        connection.getresponse().read()
        connection.close()
    except OSError:
        return False
    return True
