"""The log of a run: what libraries and devices say, with every traceback, in runs/<run>/run.log.

Belongs here: where log messages go while a run goes on. Not here: what a person is told (cli).

Installed before Prefect is imported: Prefect then leaves the root logger alone, and prints no
traceback of a failed task beside the one message that the command line shows.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.laboratory import Tell

FILE_NAME = "run.log"
STEPS = logging.getLogger("chiploop.steps")
"""What the flow does, step by step."""


@contextmanager
def run_log(folder: Path, tell: Tell, show_devices: bool) -> Iterator[Tell]:
    """Write log messages into a run's folder; yield a ``tell`` that also writes every step there.

    ``show_devices``: what the drivers warn of is also shown, as a person at real devices needs it.
    """

    def tell_and_log(time_h: float, cycle: int, what: str) -> None:
        STEPS.info("%.4f h, cycle %d: %s", time_h, cycle, what)
        tell(time_h, cycle, what)

    with ExitStack() as stack:
        file = logging.FileHandler(folder / FILE_NAME, mode="a", encoding="utf-8", delay=True)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        stack.enter_context(_handling(logging.getLogger(), file))
        if show_devices:
            shown = logging.StreamHandler(sys.stderr)
            shown.setFormatter(logging.Formatter("warning: %(message)s"))
            shown.setLevel(logging.WARNING)
            stack.enter_context(_handling(logging.getLogger("instruments"), shown))
        STEPS.setLevel(logging.INFO)
        yield tell_and_log


@contextmanager
def _handling(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
