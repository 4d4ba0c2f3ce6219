"""Runs that want one instrument: who is in whose way, by how much, and when nobody is."""

from __future__ import annotations

import json
import math

import numpy as np

from chiploop.reservations import (
    Conflict,
    Reservation,
    Stretch,
    conflicts,
    earliest_start_s,
    later,
    stretch_from,
)


def pumps(from_s: float, to_s: float, device: str = "pc/bus") -> Stretch:
    return Stretch(device, "bus pumps", from_s, to_s, True, "perfusion")


def reading(
    from_s: float, seconds: float, may_wait_s: float = 0.0, device: str = "pc/meter"
) -> Stretch:
    return Stretch(device, "teer", from_s, from_s + seconds, False, "TEER", may_wait_s)


def told(found: tuple[Conflict, ...]) -> list[tuple[str, str, float, float, bool]]:
    return [(c.other, c.whose_late, c.from_s, c.late_s, c.bars) for c in found]


def test_pumps_of_two_runs_at_the_same_time_bar_each_other_for_the_time_they_share() -> None:
    (found,) = conflicts([pumps(50.0, 250.0)], [Reservation("r1", (pumps(0.0, 100.0),))])
    assert (found.other, found.from_s, found.to_s, found.overlap_s) == ("r1", 50.0, 100.0, 50.0)
    assert found.alone and found.bars


def test_pumps_of_another_port_and_of_another_time_are_in_nobodys_way() -> None:
    others = [Reservation("r1", (pumps(0.0, 100.0), pumps(0.0, 900.0, "pc/other")))]
    assert conflicts([pumps(100.0, 250.0)], others) == ()
    assert conflicts([pumps(50.0, 90.0)], others, me="r1") == ()


def test_a_reading_behind_another_waits_and_bars_only_where_it_would_be_too_late() -> None:
    others = [Reservation("r1", (reading(100.0, 60.0, 600.0),))]
    assert told(conflicts([reading(110.0, 60.0, 50.0)], others)) == [("r1", "", 110.0, 50.0, False)]
    assert told(conflicts([reading(110.0, 60.0, 49.0)], others)) == [("r1", "", 110.0, 50.0, True)]


def test_a_reading_that_makes_another_run_late_is_told_as_that_runs_lateness() -> None:
    others = [Reservation("r1", (reading(100.0, 60.0, 10.0),))]
    assert told(conflicts([reading(90.0, 60.0)], others)) == [("r1", "r1", 100.0, 50.0, True)]


def test_lateness_is_handed_on_down_the_line() -> None:
    others = [
        Reservation("r1", (reading(100.0, 60.0, 1000.0),)),
        Reservation("r2", (reading(155.0, 60.0, 1000.0),)),
    ]
    found = conflicts([reading(90.0, 60.0)], others)
    assert told(found) == [("r1", "r1", 100.0, 50.0, False), ("r2", "r2", 155.0, 55.0, False)]


def test_two_others_that_wait_for_each_other_are_no_business_of_this_run() -> None:
    others = [
        Reservation("r1", (reading(100.0, 60.0),)),
        Reservation("r2", (reading(110.0, 60.0),)),
    ]
    assert conflicts([reading(500.0, 60.0)], others) == ()


def test_who_has_a_reader_for_himself_bars_every_reading_of_others() -> None:
    others = [Reservation("r1", (Stretch("pc/meter", "teer", 0.0, 1e6, True, "whole run"),))]
    (found,) = conflicts([reading(110.0, 60.0, 1e9)], others)
    assert found.alone and found.bars and found.overlap_s == 60.0


def test_the_earliest_start_is_the_first_minute_at_which_nothing_bars() -> None:
    others = [
        Reservation("r1", (pumps(0.0, 1000.0), reading(2000.0, 300.0, 60.0))),
        Reservation("r2", (pumps(1000.0, 1500.0),)),
    ]
    mine = [pumps(0.0, 900.0), reading(600.0, 300.0, 60.0)]
    start_s = earliest_start_s(mine, others, 0.0)
    assert [c for c in conflicts(later(mine, start_s), others) if c.bars] == []
    # from 1500 on the pumps are free, and the reading of 2100 would wait 200 s: from 2240 it waits 60
    assert start_s == 1640.0
    assert earliest_start_s(mine, [], 7.0) == 7.0


def test_no_start_before_the_earliest_is_free() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        others = [
            Reservation(
                f"r{n}",
                (
                    pumps(a := float(rng.integers(0, 4000)), a + 700.0, f"pc/bus{rng.integers(2)}"),
                    reading(float(rng.integers(0, 4000)), 200.0, float(rng.integers(0, 300))),
                ),
            )
            for n in range(4)
        ]
        mine = [pumps(0.0, 500.0, "pc/bus0"), reading(300.0, 150.0, 100.0)]
        found_s = earliest_start_s(mine, others, 0.0)

        def bars(by_s: float) -> bool:
            return any(c.bars for c in conflicts(later(mine, by_s), others))  # noqa: B023

        assert not bars(found_s)
        earlier = np.arange(0.0, max(0.0, found_s - 60.0), 5.0)
        assert all(bars(float(by_s)) for by_s in earlier)


def test_a_run_that_nobody_works_on_keeps_its_pumps_without_end_and_reads_nothing() -> None:
    left = Reservation("r1", (pumps(0.0, 100.0), reading(50.0, 10.0)), left=True).now(900.0)
    (found,) = conflicts([pumps(5000.0, 6000.0), reading(50.0, 10.0)], [left])
    assert found.other == "r1" and math.isinf(found.until_s)
    assert math.isinf(earliest_start_s([pumps(5000.0, 6000.0)], [left], 5000.0))


def test_a_run_that_takes_longer_than_planned_still_has_its_pumps() -> None:
    late = Reservation("r1", (pumps(0.0, 100.0),)).now(900.0)
    assert len(conflicts([pumps(800.0, 2000.0)], [late])) == 1


def test_a_stretch_comes_back_from_json_with_its_open_end() -> None:
    for one in (reading(1.0, 2.0, 3.0), pumps(0.0, math.inf)):
        assert stretch_from(json.loads(json.dumps(one.facts(), allow_nan=False))) == one
