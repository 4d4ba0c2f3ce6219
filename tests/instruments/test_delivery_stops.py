"""Pumps that are told to stop: what they gave until then, and what is on record while they do not say.

Belongs here: holds, stops of plain pumps, silence. Not here: starts and crashes (test_delivery).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.errors import WaitingForPerson
from chiploop.record.journal import Journal
from instruments import delivery
from instruments.delivery import (
    hold_programme,
    look_at_programme,
    refuse_when_busy,
    start_programme,
    stop_again,
    stop_plain,
    stop_programme,
)
from instruments.errors import InstrumentError, TransportTimeout
from tests.instruments import fake_pumps as fakes

KEY, PROGRAMME = fakes.KEY, fakes.PROGRAMME
STIMULUS, DRUG = f"{KEY}/L1-stimulus", f"{KEY}/L1-low"


class Unstoppable(fakes.FakePump):
    """A pump that does not hear a stop so many times."""

    deaf = 0

    def stop(self) -> None:
        self.deaf -= 1
        if self.deaf >= 0:
            raise TransportTimeout(f"{self.name} did not answer STP")
        super().stop()


class Bench:
    """A running dose of drug and stimulus, 6 h after its begin."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self.world, self.journal = fakes.World(folder), journal
        names = ("L1-medium", "L1-stimulus", "L1-low", "L1-high")
        self.pumps: dict[str, Any] = {name: Unstoppable(self.world, name) for name in names}
        start_programme(
            journal, self.pumps, "run-1", KEY, PROGRAMME, 24.0, lambda *_: None, lambda: None
        )
        self.world.advance_to(30.0)

    def state(self, pump: str) -> str:
        return str(self.world.load()["pumps"][pump]["state"])

    def look(self, time_h: float) -> Any:
        return look_at_programme(self.journal, self.pumps, KEY, time_h, lambda: None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield Bench(tmp_path, journal)


def test_a_hold_is_repeated_until_the_pump_says_that_it_stands(bench: Bench) -> None:
    bench.pumps["L1-low"].deaf = 2
    progress = hold_programme(bench.journal, bench.pumps, KEY, 30.0, "a person said hold")
    for may_run in (("L1-low",), (), ()):
        progress = stop_again(bench.journal, bench.pumps, KEY, 31.0)
        assert progress.held and progress.may_run == may_run
        assert (bench.state("L1-low") == "infusing") == bool(may_run)
    stops = [e.body["stands"] for e in bench.journal.events(DRUG) if "stands" in e.body]
    assert stops == [False, True]
    assert bench.state("L1-stimulus") == "infusing"


def test_a_pump_that_says_stopped_and_runs_may_run(bench: Bench) -> None:
    bench.pumps["L1-low"].stop = lambda: None
    progress = hold_programme(bench.journal, bench.pumps, KEY, 30.0, "hold")
    assert progress.may_run == ("L1-low",)
    assert "told to stop and is infusing" in progress.reason


def test_a_stopped_stimulus_gave_what_its_counter_says(bench: Bench) -> None:
    hold_programme(bench.journal, bench.pumps, KEY, 30.0, "the drug stalled")
    for _ in range(2):
        progress = stop_plain(bench.journal, bench.pumps, KEY, 30.0, "plain medium follows")
    assert progress.delivered_ul == {"L1-stimulus": 6 * 36.0}
    assert bench.state("L1-stimulus") == "idle"
    assert bench.journal.totals("run-1").delivered_ul["L1-stimulus"] == 6 * 36.0


@pytest.mark.parametrize("trouble", ["power cut", "counter went back", "too far", "deaf"])
def test_a_stopped_stimulus_whose_counter_can_not_tell_is_held(bench: Bench, trouble: str) -> None:
    change: dict[str, dict[str, Any]] = {
        "power cut": {"alarm": True},
        "counter went back": {"counter": -50.0},
        "too far": {"counter": 9_000.0},
        "deaf": {},
    }
    bench.world.change("L1-stimulus", lambda p: p.update(change[trouble]))
    bench.pumps["L1-stimulus"].deaf = trouble == "deaf"
    progress = stop_plain(bench.journal, bench.pumps, KEY, 30.0, "plain medium follows")
    assert {p.pump: p.state for p in progress.pumps}["L1-stimulus"] == "held"
    assert progress.may_run == (("L1-stimulus",) if trouble == "deaf" else ())


def test_a_stimulus_that_had_not_moved_yet_gave_nothing(bench: Bench) -> None:
    bench.world.change("L1-stimulus", lambda p: p.update(counter=0.0))
    progress = stop_plain(bench.journal, bench.pumps, KEY, 30.0, "plain medium follows")
    assert progress.delivered_ul == {"L1-stimulus": 0.0}


def test_silence_is_counted_look_by_look_and_ends_with_an_answer(bench: Bench) -> None:
    drug = bench.pumps["L1-low"]
    drug.fault = "silent"
    for n_looks in (1, 2):
        pumps = {p.pump: p for p in bench.look(30.0 + n_looks).pumps}
        assert len(pumps["L1-low"].silent_h) == n_looks
        assert pumps["L1-stimulus"].silent_h == ()
    drug.fault = ""
    assert all(p.silent_h == () for p in bench.look(33.0).pumps)
    rows = len(bench.journal.events())
    assert all(p.state == "running" for p in bench.look(34.0).pumps)
    assert len(bench.journal.events()) == rows


def test_a_silent_plain_pump_is_held_with_its_line_and_not_stopped(bench: Bench) -> None:
    bench.pumps["L1-stimulus"].fault = "silent"
    bench.look(31.0)
    progress = hold_programme(bench.journal, bench.pumps, KEY, 31.0, "the drug stalled")
    assert progress.running  # one look that met silence is no reason
    progress = hold_programme(
        bench.journal, bench.pumps, KEY, 31.0, "silent", in_doubt=["L1-stimulus"]
    )
    assert [p.state for p in progress.pumps] == ["held", "held"]
    assert (bench.state("L1-stimulus"), bench.state("L1-low")) == ("infusing", "idle")


def test_every_pump_stops_where_that_is_asked(bench: Bench) -> None:
    progress = hold_programme(bench.journal, bench.pumps, KEY, 31.0, "overdue", stop_all=True)
    assert [p.state for p in progress.pumps] == ["held", "held"]
    assert (bench.state("L1-stimulus"), bench.state("L1-low")) == ("idle", "idle")


def test_what_bars_a_start_is_told_before_anything_is_stopped_for_it(bench: Bench) -> None:
    with pytest.raises(WaitingForPerson, match="L1-low has an open action"):
        refuse_when_busy(bench.journal, bench.pumps, PROGRAMME)
    hold_programme(bench.journal, bench.pumps, KEY, 31.0, "hold", stop_all=True)
    for key in (STIMULUS, DRUG):
        bench.journal.abandon(key, 31.0, "me", "seen", 1.0)
    refuse_when_busy(bench.journal, bench.pumps, PROGRAMME)
    bench.world.change("L1-low", lambda p: p.update(state="infusing"))
    with pytest.raises(InstrumentError, match="L1-low is infusing"):
        refuse_when_busy(bench.journal, bench.pumps, PROGRAMME)


@pytest.mark.parametrize("stop", [stop_plain, stop_programme])
def test_who_dies_right_after_a_stop_that_was_counted_leaves_an_outcome_to_read_and_no_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Any
) -> None:
    def die(name: str) -> None:
        if name == "after_stop":
            raise KeyboardInterrupt

    with Journal(tmp_path / "journal.sqlite") as journal:
        bench = Bench(tmp_path, journal)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(delivery, "fault", die)
            stop(journal, bench.pumps, KEY, 30.0, "nobody works on the run")
        key = DRUG if stop is stop_programme else STIMULUS
        action = journal.action(key)
        assert action is not None and action.open and action.stood_h == 30.0
        bench.look(31.0)
        action = journal.action(key)
        assert action is not None and action.held is None and action.end is not None
        moved_ul = bench.world.load()["pumps"][action.intent.pump]["moved"]
        assert 0.0 < moved_ul < action.intent.volume_ul
        assert action.end.body["delivered_ul"] == pytest.approx(moved_ul, abs=2.0)


def test_a_counter_that_lost_its_meaning_after_a_stop_is_still_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(name: str) -> None:
        if name == "after_stop":
            raise KeyboardInterrupt

    with Journal(tmp_path / "journal.sqlite") as journal:
        bench = Bench(tmp_path, journal)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(delivery, "fault", die)
            stop_plain(journal, bench.pumps, KEY, 30.0, "nobody works on the run")
        bench.world.cut_power()
        bench.look(31.0)
        action = journal.action(STIMULUS)
        assert action is not None and action.end is None and action.held
