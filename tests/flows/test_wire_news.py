"""Troubles on wires that asking again has mended: on record with their count, joined by the hour, none lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.disk import DiskFull
from chiploop.record.journal import Journal
from chiploop.record.next_event import add_next_event
from chiploop.record.record import Record
from chiploop.record.sessions import RecordAway
from flows import away, closed_loop, perfusion, tasks, wire_news
from flows.wire_news import APART_H, WIRE, tell_all_wires, tell_last, tell_wires
from instruments.errors import TransportTimeout
from instruments.wire_troubles import GARBLED, SILENT
from tests.flows.test_perfusion import START_H, Rig


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Rig]:
    with (
        Journal(tmp_path / "journal.sqlite") as journal,
        Record(f"sqlite:///{tmp_path / 'record.sqlite'}") as record,
    ):
        rig = Rig(tmp_path, journal)
        rig.lab.record, rig.lab.simulated = record, False
        record.add_run("r", rig.study, 1, True, {})
        rig.world.advance_to(START_H)
        yield rig


def told(on: Rig) -> list[tuple[str, str, int, int]]:
    return [
        (e.content["port"], e.content["kind"], e.content["times"], e.content["cycle"])
        for e in on.lab.record.events("r", WIRE)
    ]


def test_each_trouble_stands_on_record_with_its_count_also_where_two_are_alike(on: Rig) -> None:
    book = on.lab.bench.troubles
    tell_wires(on.lab, 1)
    for _ in range(2):
        book.count("pumps", SILENT, "nothing came")
        book.count("pumps", GARBLED, "'hxllo'")
        book.count("pumps", SILENT, "nothing came")
        tell_wires(on.lab, 1)
        on.world.advance_to(on.now_h() + APART_H)
    running = on.start("L1")
    book.count("reader", SILENT, "nothing came")
    perfusion.watch_pumps(on.lab, running, on.now_h() + 0.5, 2)
    assert told(on) == [
        ("pumps", GARBLED, 1, 1),
        ("pumps", SILENT, 2, 1),
        ("pumps", GARBLED, 1, 1),
        ("pumps", SILENT, 2, 1),
        ("reader", SILENT, 1, 2),
    ]


def test_what_follows_within_the_hour_is_told_together_and_another_kind_at_once(on: Rig) -> None:
    book = on.lab.bench.troubles
    for minutes in range(0, 150, 6):
        on.world.advance_to(START_H + minutes / 60.0)
        book.count("reader", SILENT, "nothing came")
        if minutes == 30:
            book.count("reader", GARBLED, "?")
        tell_wires(on.lab, 1)
    assert told(on) == [
        ("reader", SILENT, 1, 1),
        ("reader", GARBLED, 1, 1),
        ("reader", SILENT, 10, 1),
        ("reader", SILENT, 10, 1),
    ]
    tell_all_wires(on.lab, 2)
    assert told(on)[4:] == [("reader", SILENT, 4, 2)]
    tell_all_wires(on.lab, 2)
    assert len(told(on)) == 5


def test_a_reader_that_is_away_for_a_weekend_is_counted_to_the_last_try_in_few_events(
    on: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def read(*_: Any) -> list[str]:
        tries.append(on.now_h())
        if on.now_h() < START_H + 30.0:
            on.lab.bench.troubles.count("reader", SILENT, "nothing came")
            raise TransportTimeout("the reader is silent")
        return ["readout"]

    monkeypatch.setattr(tasks, "read_plate", read)
    away.plate_when_it_answers(on.lab, 1, "CCL26", (0.0, 1.0), [], lambda *_: [])
    times = [one[2] for one in told(on)]
    assert (
        sum(times) == len(tries) - 1 >= 299
    )  # every try but the last, with nothing left for later
    assert len(times) <= 31


def test_a_record_that_is_away_or_full_keeps_the_counts_for_the_next_chance(
    on: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, met = on.lab.bench.troubles, Counter[str]()
    trouble: list[Exception] = []

    def add(*what: Any) -> bool:
        if trouble and what[4]["kind"] == SILENT:
            met[type(trouble[0]).__name__] += 1
            raise trouble[0]
        return add_next_event(*what)

    monkeypatch.setattr(wire_news, "add_next_event", add)
    trouble[:] = [RecordAway("the server is away")]
    for minutes in range(0, 30, 6):
        on.world.advance_to(START_H + minutes / 60.0)
        book.count("pumps", SILENT, f"nothing came, {minutes}")
        book.count("pumps", GARBLED, "?")
        tell_wires(on.lab, 1)
    # waiting for it takes a minute each time: it is left alone in between
    assert met["RecordAway"] == 2
    assert on.said[-1] == "that is not on record yet: the server is away"
    trouble[:] = [DiskFull("full")]
    on.world.advance_to(START_H + 2.0)
    book.count("pumps", SILENT, "nothing came, at last")
    with pytest.raises(DiskFull):  # the run waits for room by that
        tell_wires(on.lab, 1)
    trouble.clear()
    tell_wires(on.lab, 1)
    last = on.lab.record.events("r", WIRE)[-1].content
    assert (last["kind"], last["times"], last["last"]) == (SILENT, 6, "nothing came, at last")
    assert sum(times for _, kind, times, _ in told(on) if kind == GARBLED) == 5


def test_a_hold_puts_on_record_what_is_left_once_its_pumps_run(on: Rig) -> None:
    on.lab.reserve = lambda: None
    book = on.lab.bench.troubles
    for _ in range(2):
        book.count("pumps", SILENT, "nothing came")
        tell_wires(on.lab, 1)
    assert sum(one[2] for one in told(on)) == 1
    closed_loop.start_hold(on.lab, 1, "hold")
    assert sum(one[2] for one in told(on)) == 2


def test_the_end_of_a_run_puts_on_record_what_is_left_and_raises_nothing_of_its_own(
    on: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = on.lab.bench.troubles
    for _ in range(3):
        book.count("pumps", SILENT, "nothing came")
        tell_wires(on.lab, 2)
    tell_last([on.lab])
    assert told(on) == [("pumps", SILENT, 1, 2), ("pumps", SILENT, 2, 2)]

    def full(*_: Any) -> bool:
        raise DiskFull("full")

    monkeypatch.setattr(wire_news, "add_next_event", full)
    book.count("pumps", SILENT, "nothing came")
    tell_last([on.lab])


def test_a_record_that_is_away_does_not_stop_the_look_at_the_pumps(
    on: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> bool:
        raise RecordAway("the server is away")

    monkeypatch.setattr(wire_news, "add_next_event", away)
    on.lab.bench.troubles.count("pumps", SILENT, "nothing came")
    tell_wires(on.lab, 1)
    assert on.said == [
        "wire of pumps: no answer once, last: nothing came",
        "that is not on record yet: the server is away",
    ]
