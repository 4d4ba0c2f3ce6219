"""What tifffile only logs, heard: it goes on with zeros where data are lost, and says so in its log alone.

Belongs here: a handler for the time of one reading. Not here: what is read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.told.append(record.getMessage())


@contextmanager
def heard_from_tifffile() -> Iterator[list[str]]:
    """Yield a list that fills with what tifffile logs from WARNING on, in this thread, meanwhile.

    Nothing is printed for it; the logger is left as it was.
    """
    logger = logging.getLogger("tifffile")
    handler = _Heard()
    with _ONE_AT_A_TIME:
        level, passes, disabled = logger.level, logger.propagate, logger.disabled
        logger.setLevel(logging.WARNING)
        logger.propagate, logger.disabled = False, False
        logger.addHandler(handler)
        try:
            yield handler.told
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate, logger.disabled = passes, disabled
