"""Ctrl-C, and the end that a service is asked for, that nobody heard.

Belongs here: remembering them. Not here: what a run does then (cli.simulate), a run that is only watched
(cli.watch).

Raised where it happens to come, KeyboardInterrupt may meet a library's clean-up (``__del__``, a callback), and
Python drops it there with a traceback. A fit must be ended at once, so it is raised all the same; and once more at
the next look of the flow at its clock, at most a second later while it waits.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def remembered_interrupts() -> Iterator[Callable[[], None]]:
    """Yield what raises KeyboardInterrupt where one came before and the work went on all the same.

    A signal that ends this process in another way, or is ignored, is left as it is.
    """
    came = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        came.set()
        signal.default_int_handler(number, frame)

    def raise_unheard() -> None:
        if came.is_set() and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield raise_unheard
        return
    heard = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.default_int_handler
    ]
    for number in heard:
        signal.signal(number, remember)
    try:
        yield raise_unheard
    finally:
        for number in heard:
            signal.signal(number, signal.default_int_handler)
