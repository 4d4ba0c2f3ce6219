"""Brings a Prefect server back that died under a run.

Belongs here: noticing it and starting another one in its place. Not here: starting and ending a server
(prefect_server), what the run does meanwhile: it goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LOOK_EVERY_S = 1.0
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
"""Between two starts: twice as long each time that the last one has not lasted."""
LASTED_S = 600.0
"""A server that ran for so long is started again without much ado."""

_log = logging.getLogger(__name__)


class Server(Protocol):
    """A server that can die."""

    @property
    def is_gone(self) -> bool:
        """Whether it has ended though nobody asked it to."""

    def start_again(self) -> bool:
        """Start another one in its place; return whether one runs now."""


class Keeper:
    """Looks after one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="prefect-keeper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        wait_s, whole_s = FIRST_WAIT_S, 0.0
        while not self._ending.wait(LOOK_EVERY_S):
            whole_s += LOOK_EVERY_S
            if not self.server.is_gone:
                continue
            if whole_s > LASTED_S:
                wait_s = FIRST_WAIT_S
            _log.warning("Prefect's server is gone; the run goes on. Another one in %g s", wait_s)
            if self._ending.wait(wait_s):
                return
            runs = self.server.start_again()
            _log.warning("Prefect's server %s", "was started again" if runs else "did not start")
            wait_s, whole_s = min(2.0 * wait_s, LONGEST_WAIT_S), 0.0


@contextmanager
def kept(server: Server) -> Iterator[None]:
    """Keep a server alive for the length of a ``with`` block."""
    keeper = Keeper(server)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()
