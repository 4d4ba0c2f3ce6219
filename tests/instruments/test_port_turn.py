"""Whose turn it is: one at a time, stops first, and blocks that a stop has broken stay broken."""

import random
import threading
import time

import pytest

from instruments.port_turn import NotSent, PortTurn


def test_many_threads_never_send_at_the_same_time_and_none_is_left_waiting():
    turn, end = PortTurn("COM3"), time.monotonic() + 0.6
    at_work, troubles, sent, broken = [], [], {False: 0, True: 0}, []

    def transact(urgent):
        with turn.transaction():
            at_work.append(threading.get_ident())
            if set(at_work) != {threading.get_ident()}:
                troubles.append("two at once")
            until = time.monotonic() + 0.001
            while time.monotonic() < until and not turn.interruption():
                time.sleep(0.0002)
            at_work.remove(threading.get_ident())
            sent[urgent] += 1

    def block(rng, urgent, depth):
        with turn.taken(urgent):
            for _ in range(rng.randint(1, 3)):
                if depth and rng.random() < 0.4:
                    block(rng, urgent and rng.random() < 0.5, depth - 1)
                else:
                    transact(urgent)
            if not urgent and rng.random() < 0.2:
                time.sleep(0.002)

    def work(seed, urgent_share):
        rng = random.Random(seed)
        while time.monotonic() < end:
            try:
                block(rng, rng.random() < urgent_share, 2)
            except NotSent:
                broken.append(seed)
            except BaseException as trouble:
                troubles.append(repr(trouble))
                raise
            time.sleep(0.001 * rng.random())

    threads = [threading.Thread(target=work, args=(seed, 0.1 * (seed < 3))) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert troubles == []
    assert sent[False] and sent[True] and broken
    assert not turn._holds and turn._owner is None and not turn._busy and not turn._urgent_waiting


def test_urgent_thread_gets_the_turn_before_those_who_waited_longer():
    turn, order, waiting = PortTurn(), [], []

    def take(name, urgent):
        waiting.append(name)
        with turn.taken(urgent):
            order.append(name)

    threads = [
        threading.Thread(target=take, args=args)
        for args in (("query 1", False), ("query 2", False), ("stop", True))
    ]
    with turn.taken(), turn.taken():
        for thread in threads:
            thread.start()
            while len(waiting) < threads.index(thread) + 1:
                time.sleep(0.001)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert order[0] == "stop"
    assert sorted(order) == ["query 1", "query 2", "stop"]


def test_urgent_thread_that_gives_up_waiting_leaves_the_turn_to_others():
    turn, taken, free = PortTurn("COM3"), threading.Event(), threading.Event()

    def hold():
        with turn.transaction():
            taken.set()
            free.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(5)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turn._changed, "wait", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt), turn.taken(urgent=True):
            raise AssertionError("had the turn")
    free.set()
    thread.join(5)
    with turn.transaction():
        assert turn.interruption() == ""


def test_urgency_ends_with_its_block_though_the_turn_is_kept():
    turn = PortTurn("COM3")
    with turn.taken():
        assert not turn.urgent
        with turn.taken(urgent=True):
            assert turn.urgent
        assert not turn.urgent
