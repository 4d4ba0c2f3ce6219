"""What runs have reserved, in a file and on a server: nothing is changed, the newest word counts."""

from __future__ import annotations

import math
from typing import Any

from chiploop.record.record import Record
from chiploop.record.reservations import release, reservations_on, reserve
from chiploop.reservations import Stretch

WHO: dict[str, Any] = {
    "simulated": False, "host": "pc", "pid": 7, "process_started": 1.5, "folder": "/runs/a",
}  # fmt: skip


def bus(to_s: float) -> Stretch:
    return Stretch("pc/bus", "bus pumps", 0.0, to_s, True, "perfusion")


def test_the_newest_word_of_a_run_counts_and_moving_loses_no_place(record_url: str) -> None:
    with Record(record_url) as record:
        assert reservations_on(record) == ()
        assert reserve(record, "a", 0.0, [bus(100.0)], WHO)
        assert reserve(record, "b", 0.0, [bus(math.inf)], WHO)
        assert reserve(record, "a", 5.0, [bus(130.0)], WHO)
        assert not reserve(record, "a", 6.0, [bus(130.0)], WHO)
        first, second = reservations_on(record)
        assert (first.run_id, first.stretches) == ("a", (bus(130.0),))
        assert (second.run_id, second.stretches) == ("b", (bus(math.inf),))
        assert first.since < second.since and (first.pid, first.host) == (7, "pc")
        assert len(record.events("a", "reservation")) == 2
        assert record.verify().faults == ()


def test_who_releases_and_reserves_again_stands_behind(record_url: str) -> None:
    with Record(record_url) as record:
        assert not release(record, "a", 0.0, "chiploop", "nothing to release")
        for run in "ab":
            reserve(record, run, 0.0, [bus(100.0)], WHO)
        assert release(record, "a", 1.0, "maria", "taken down")
        assert not release(record, "a", 2.0, "maria", "again")
        assert [one.run_id for one in reservations_on(record)] == ["b"]
        assert reserve(record, "a", 3.0, [bus(100.0)], WHO)
        assert [one.run_id for one in reservations_on(record)] == ["b", "a"]
        (told,) = [e.content for e in record.events("a", "reservation") if "why" in e.content]
        assert (told["by"], told["why"]) == ("maria", "taken down")
