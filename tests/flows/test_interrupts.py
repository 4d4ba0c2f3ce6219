"""Ctrl-C and the end of a service are heard, wherever they come."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Iterator

import pytest

from flows.interrupts import remembered_interrupts


class Gone:
    """Something that a library cleans up."""


def clean_up(number: int) -> None:
    """Let a signal meet a clean-up, where Python drops what it raises."""
    one = Gone()
    kept = weakref.ref(one, lambda _: os.kill(os.getpid(), number))
    del one
    assert kept() is None


@pytest.fixture(autouse=True)
def as_in_a_service() -> Iterator[None]:
    """Hear both signals as a service does."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_meets_a_librarys_clean_up_is_raised_at_the_next_look(number: int) -> None:
    with remembered_interrupts() as raise_unheard:
        raise_unheard()
        clean_up(number)
        with pytest.raises(KeyboardInterrupt):
            raise_unheard()
    assert signal.getsignal(number) is signal.default_int_handler


def test_it_is_raised_at_once_where_nothing_drops_it() -> None:
    with remembered_interrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with remembered_interrupts() as raise_unheard:
        os.kill(os.getpid(), signal.SIGINT)
        raise_unheard()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
