"""Memory given back to the system after a fit: a run of weeks stays as large between its fits as it has to be.

Belongs here: asking the C library for it. Not here: what uses the memory.

A fit takes some hundred MB for a minute. What it frees stays with the process in pieces of the heap, and the
pieces differ from fit to fit, so the process grows although nothing leaks.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress


def give_back() -> None:
    """Collect what nobody refers to and give free pages back; only collects where the C library can not."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no such call
            ctypes.CDLL(None).malloc_trim(0)
