"""What is done about lines whose pumps fail, fall silent or can not be stopped, and what is told of it.

Belongs here: starting, watching and finishing on pumps that a test spoils. Not here: what a counter
proves (tests/instruments/test_delivery), whole runs (test_closed_loop).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.dosing import PumpProgramme, Purpose, make_programme, remaining_ul
from chiploop.errors import WaitingForPerson
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of
from chiploop.study import Study, load_study
from flows import perfusion
from flows.clock import RunStopped, nobody_stops
from flows.perfusion import Wanted
from flows.readouts_at_hand import ReadoutsAtHand
from flows.wire_news import WireNews
from instruments.contracts import PumpStatus
from instruments.delivery import quantise_with
from instruments.errors import OutcomeUnknown, TransportTimeout
from instruments.wire_troubles import TroubleBook
from tests.instruments.fake_pumps import FakePump, World

STUDY = load_study(Path(__file__).with_name("small_study.yaml"))
HOURS = STUDY.timeline.exposure_h
START_H = 24.0


class Cabled(FakePump):
    """A pump whose cable a test pulls: it goes on, and neither answers nor hears."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.cut = self.cut_at_start = False

    def start(self) -> None:
        super().start()
        if self.cut_at_start:
            self.cut = True
            raise OutcomeUnknown(f"{self.name} did not answer RUN", b"RUN")

    def status(self) -> PumpStatus:
        self._reach()
        return super().status()

    def stop(self) -> None:
        self._reach()
        super().stop()

    def _reach(self) -> None:
        if self.cut:
            raise TransportTimeout(f"{self.name} is silent")


class Rig:
    """Two lines of fake pumps, a clock that moves them, a journal, and what was said."""

    def __init__(
        self, folder: Path, journal: Journal, watch_every_h: float = 0.1, study: Study = STUDY
    ) -> None:
        self.world, self.journal, self.said = World(folder), journal, list[str]()
        self.study = study
        names = [f"{line}-{stock}" for line in study.line_ids for stock in study.perfusion.syringes]
        self.pumps = {name: Cabled(self.world, name) for name in names}
        self.clock = SimpleNamespace(
            now_h=self.now_h, wait_until_h=self.world.advance_to, stopped_by=nobody_stops
        )
        record: Any = SimpleNamespace(
            is_file=True, readouts=lambda run_id: (), events=lambda run_id, kind: ()
        )
        self.lab: Any = SimpleNamespace(
            study=study,
            run_id="r",
            journal=journal,
            bench=SimpleNamespace(pumps=self.pumps, troubles=TroubleBook()),
            clock=self.clock,
            record=record,
            at_hand=ReadoutsAtHand(record, "r"),
            watch_every_h=watch_every_h,
            folder=folder,
            wire_news=WireNews(),
            say=lambda cycle, what: self.said.append(what),
        )

    def now_h(self) -> float:
        return float(self.world.load()["time_h"])

    def programme(
        self, line: str, nm: float = 240.0, purpose: Purpose = "dose", hours: float = HOURS
    ) -> PumpProgramme:
        full = remaining_ul(self.study, {})
        return make_programme(self.study, line, purpose, nm, hours, quantise_with(self.pumps), full)

    def start(self, *lines: str, purpose: Purpose = "dose", nm: float = 240.0) -> list[Any]:
        nm = nm if purpose == "dose" else 0.0
        wanted = [Wanted(line, HOURS, self.programme(line, nm, purpose)) for line in lines]
        return perfusion.start_pumps(self.lab, wanted, 1, purpose)

    def watch(self, running: list[Any], hours: float) -> list[Any]:
        return perfusion.watch_pumps(self.lab, running, self.now_h() + hours, 1)

    def finish(self, running: list[Any]) -> None:
        perfusion.finish_pumps(self.lab, running)

    def intend(self, programme: PumpProgramme, key: str, run_id: str = "r") -> None:
        """Put the intents of a programme on record, as a process does that dies right after."""
        self.journal.intend(
            [
                Intent(
                    action_key(key, step.pump),
                    run_id,
                    key,
                    step.pump,
                    programme,
                    step.flow_rate_ul_h,
                    step.volume_ul,
                    0.0,
                    1.0,
                    0,
                    "another process",
                    self.now_h(),
                )
                for step in programme.steps
            ]
        )

    def runs(self, pump: str) -> bool:
        return bool(self.world.load()["pumps"].get(pump, {}).get("state") == "infusing")

    def flow_ul_h(self, line: str) -> float:
        pumps = self.world.load()["pumps"]
        return float(sum(p["rate"] for n, p in pumps.items() if n[:2] == line and self.runs(n)))

    def block(self, pump: str) -> None:
        """Let a pump stand before its end, as a stall does."""
        self.world.change(pump, lambda p: p.update(state="idle", left=0.0))

    def times(self, words: str) -> int:
        return sum(words in said for said in self.said)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield lambda **options: Rig(tmp_path, journal, **options)


def test_a_held_pump_is_told_to_stop_at_every_look_until_it_says_that_it_stands(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    drug = on.pumps["L1-low"]
    drug.cut_at_start = True
    running = on.start("L1")
    assert on.runs("L1-low") and on.times("L1-low MAY STILL RUN: stop it by hand") == 1
    running = on.watch(running, 0.2)
    assert on.runs("L1-low") and on.times("MAY STILL RUN") == 3
    drug.cut = False
    running = on.watch(running, 0.1)
    assert not on.runs("L1-low")
    assert on.times("L1-low says now that it stands still") == 1
    on.watch(running, 1.0)
    assert on.times("MAY STILL RUN") == 3


def test_a_pump_that_stays_out_of_reach_is_told_to_stop_in_later_phases_too(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.pumps["L1-low"].cut_at_start = True
    on.watch(on.start("L1"), 1.0)
    on.pumps["L1-low"].cut = False
    told = on.times("MAY STILL RUN")
    perfusion.start_pumps(on.lab, [], 1, "hold")
    assert on.times("MAY STILL RUN") == told
    assert on.times("says now that it stands still") == 1


def test_a_line_that_a_person_settles_while_the_run_goes_on_has_its_programme_at_the_next_phase(
    rig: Callable[..., Rig],
) -> None:
    on = rig(watch_every_h=12.0)
    running = on.start("L1", "L2")
    on.block("L1-low")
    running = on.watch(running, 2.0)
    assert set(on.journal.held("r")) == {"L1"} and on.runs("L1-medium")
    for action in on.journal.open_on("L1-low"):
        on.journal.abandon(action.intent.key, on.now_h(), "alice", "seen", 40.0)
    running = on.watch(running, HOURS)
    assert not on.runs("L1-low") and on.world.load()["pumps"]["L1-low"]["starts"] == 1
    on.finish(running)
    assert on.journal.held("r") == {} and on.journal.open_actions("r") == []
    hold = on.programme("L1", 0.0, "stimulus", 2.0)
    held = perfusion.start_pumps(on.lab, [Wanted("L1", 2.0, hold)], 1, "hold")
    assert on.runs("L1-stimulus") and not on.runs("L1-medium")
    on.finish(on.watch(held, 2.5))
    assert len(on.said) == 1, "it was held once"


def test_plain_medium_that_fails_is_told_while_it_is_watched_and_at_its_end(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    running = on.start("L1", "L2", purpose="medium")
    on.block("L1-medium")
    running = on.watch(running, 1.0)
    assert on.times("line L1 STANDS WITHOUT FLOW: held: L1-medium") == 1
    on.world.advance_to(START_H + HOURS)
    on.world.change("L2-medium", lambda p: p.update(counter=p["counter"] - 500.0))
    on.finish(running)
    assert on.times("line L2 STANDS WITHOUT FLOW: held: L2-medium") == 1
    assert on.times("line L1") == 1


def test_a_stimulus_that_fails_is_replaced_by_plain_medium(rig: Callable[..., Rig]) -> None:
    on = rig()
    running = on.start("L1", purpose="stimulus")
    on.block("L1-stimulus")
    on.watch(running, 1.0)
    assert on.times("line L1: held: L1-stimulus") == 1
    assert on.runs("L1-medium")


def test_a_silent_pump_is_told_at_once_and_holds_its_line_after_the_patience(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    running = on.watch(on.start("L1", "L2"), 1.0)
    on.pumps["L1-stimulus"].cut = True
    running = on.watch(running, 0.1)
    assert on.times("line L1: L1-stimulus runs to its own target and does not answer") == 1
    on.pumps["L1-stimulus"].cut = False  # it answers again: patience begins anew
    running = on.watch(running, 0.1)
    on.pumps["L1-stimulus"].cut = True
    running = on.watch(running, 0.5)
    assert on.runs("L1-low") and not on.journal.held("r")
    running = on.watch(running, 0.2)
    assert list(on.journal.held("r")) == ["L1"]
    assert not on.runs("L1-low") and on.runs("L1-medium") and on.runs("L2-low")
    assert on.times("line L1: held: ") == 1
    assert on.times("does not answer, since") == 2


def test_looks_that_are_hours_apart_hold_a_silent_pump_at_the_third(
    rig: Callable[..., Rig],
) -> None:
    on = rig(watch_every_h=6.0)
    running = on.start("L1")
    on.pumps["L1-low"].cut = True
    for n_looks in (1, 2):
        running = on.watch(running, 6.0)
        assert on.times("does not answer, since") == n_looks
        assert not on.journal.held("r")
    on.watch(running, 6.0)
    assert list(on.journal.held("r")) == ["L1"]


def test_the_stimulus_stops_before_plain_medium_takes_its_place(rig: Callable[..., Rig]) -> None:
    on = rig()
    running = on.watch(on.start("L1"), 2.4)
    on.block("L1-low")
    running = on.watch(running, 0.1)
    assert not on.runs("L1-stimulus") and on.runs("L1-medium")
    assert on.flow_ul_h("L1") == pytest.approx(60.0)
    stimulus = on.journal.action("r/c01/L1/dose/L1-stimulus")
    assert stimulus is not None and stimulus.end is not None
    assert stimulus.end.body["delivered_ul"] == pytest.approx(2.5 * 36.0, abs=1.0)
    on.lab.watch_every_h = 6.0
    on.finish(on.watch(running, HOURS))
    drug_ul = on.world.load()["pumps"]["L1-low"]["moved"]
    on.journal.abandon("r/c01/L1/dose/L1-low", on.now_h(), "me", "seen", drug_ul)
    first, second = schedules_of(on.journal, STUDY, "r")["C01"].segments
    assert first.flow_rate_ul_h == pytest.approx(60.0, rel=0.02)
    assert (first.drug_nm, second.drug_nm) == (pytest.approx(240.0, rel=0.03), 0.0)
    assert first.end_h == second.start_h == pytest.approx(START_H + 2.5)
    assert second.flow_rate_ul_h == pytest.approx(60.0, rel=0.01)


def test_a_further_stimulus_is_no_drug_and_stops_for_plain_medium_too(
    rig: Callable[..., Rig],
) -> None:
    syringe = STUDY.perfusion.syringes["stimulus"]
    perfused = STUDY.perfusion.model_copy(
        update={"syringes": {**STUDY.perfusion.syringes, "il13": syringe, "il13_low": syringe}}
    )
    stock = STUDY.stocks["low"].model_copy(update={"stimulus": "il13"})
    on = rig(
        study=STUDY.model_copy(
            update={
                "further_arms_ng_ml": {"il13": {"IL-13": 4.0}},
                "stocks": {**STUDY.stocks, "il13_low": stock},
                "perfusion": perfused,
            }
        )
    )
    full = remaining_ul(on.study, {})
    dose = make_programme(
        on.study, "L1", "dose", 240.0, HOURS, quantise_with(on.pumps), full, arm="il13"
    )
    running = perfusion.start_pumps(on.lab, [Wanted("L1", HOURS, dose)], 1, "dose")
    assert on.runs("L1-il13") and on.runs("L1-il13_low")
    on.block("L1-il13_low")
    on.watch(running, 1.0)
    assert on.runs("L1-medium")
    assert not on.runs("L1-il13") and not on.runs("L1-il13_low")
    assert on.flow_ul_h("L1") == pytest.approx(60.0)


def test_the_stimulus_goes_on_where_plain_medium_can_not_run(rig: Callable[..., Rig]) -> None:
    on = rig()
    running = on.watch(on.start("L1"), 1.0)
    on.pumps["L1-medium"].cut = True
    on.block("L1-low")
    running = on.watch(running, 1.0)
    assert on.runs("L1-stimulus")
    assert on.times("line L1 keeps what flows from L1-stimulus: plain medium could not") == 1
    on.lab.watch_every_h = 6.0
    on.finish(on.watch(running, HOURS))
    stimulus = on.journal.action("r/c01/L1/dose/L1-stimulus")
    assert stimulus is not None and stimulus.end is not None and stimulus.end.kind == "outcome"


@pytest.mark.parametrize("purpose", ["dose", "stimulus"])
def test_what_was_intended_long_ago_and_never_sent_does_not_begin(
    rig: Callable[..., Rig], purpose: Purpose
) -> None:
    on = rig()
    nm = 240.0 if purpose == "dose" else 0.0
    on.intend(on.programme("L1", nm, purpose), programme_key("r", 1, "L1", purpose))
    on.world.advance_to(START_H + 9.0)
    (held, kept) = on.start("L1", purpose=purpose)
    assert held.held and "it was to begin 9 h ago" in on.journal.held("r")["L1"]
    assert not on.runs("L1-low") and not on.runs("L1-stimulus") and on.runs("L1-medium")
    assert kept.ends_h == pytest.approx(START_H + HOURS, abs=0.1)


def test_what_was_intended_a_moment_ago_begins_and_plain_medium_always_does(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.intend(on.programme("L1"), programme_key("r", 1, "L1", "dose"))
    on.intend(on.programme("L2", 0.0, "medium"), programme_key("r", 1, "L2", "medium"))
    for pump in on.pumps.values():
        on.world.change(pump.name, lambda p: p.update(counter=0.0))
    on.world.advance_to(START_H + 0.4)
    on.start("L1")
    on.world.advance_to(START_H + 9.0)
    on.start("L2", purpose="medium")
    assert on.runs("L1-low") and on.runs("L2-medium")
    assert on.journal.held("r") == {}


def test_other_lines_that_began_bar_what_was_never_sent(rig: Callable[..., Rig]) -> None:
    on = rig()
    on.start("L2")
    on.world.advance_to(START_H + 0.6)
    on.intend(on.programme("L1"), programme_key("r", 1, "L1", "dose"))
    on.start("L1", "L2")
    assert "other lines began 0.6 h ago" in on.journal.held("r")["L1"]
    assert on.runs("L1-medium") and on.runs("L2-low")


def test_trouble_of_one_line_leaves_the_others_their_dose_and_keeps_it_alive(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.intend(
        on.programme("L1"), "other/c01/L1/dose", run_id="other"
    )  # its pumps wait for a person
    running = on.start("L1", "L2")
    assert [p.programme_key for p in running] == ["r/c01/L2/dose", "r/c01/L1/dose-plain"]
    assert on.runs("L2-low") and on.runs("L1-medium")
    with pytest.raises(WaitingForPerson, match="open action"):
        on.start("L1", purpose="stimulus")  # no line at all could begin


def test_a_dose_on_record_that_was_not_approved_stops_and_the_others_begin(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    on.start("L1", nm=60.0)
    running = on.start("L1", "L2", nm=240.0)
    assert "60 nM" in on.journal.held("r")["L1"]
    assert not on.runs("L1-low") and on.runs("L1-medium") and on.runs("L2-low")
    assert [p.programme_key for p in running] == ["r/c01/L2/dose", "r/c01/L1/dose-plain"]


def test_a_stop_from_outside_ends_the_start_of_all_lines(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = rig()

    def stopped(*_: object) -> None:
        raise RunStopped("somebody")

    monkeypatch.setattr(perfusion, "start_programme", stopped)
    with pytest.raises(RunStopped):
        on.start("L1", "L2")
    assert on.said == []


def test_a_plain_pump_that_never_ends_is_stopped_and_told(rig: Callable[..., Rig]) -> None:
    on = rig()
    running = on.start("L1", purpose="medium")
    on.world.advance_to(START_H + HOURS)
    on.world.change("L1-medium", lambda p: p.update(state="infusing", left=1e6, rate=0.0))
    on.finish(running)
    assert not on.runs("L1-medium")
    assert on.times("line L1 STANDS WITHOUT FLOW: held: L1-medium: it still runs") == 1
    assert on.now_h() == pytest.approx(START_H + 1.05 * HOURS, abs=0.1)


def test_a_pump_that_runs_though_nothing_was_asked_of_it_is_stopped_told_and_holds_its_line(
    rig: Callable[..., Rig],
) -> None:
    rig = rig()
    running = rig.start("L1", "L2")
    rig.world.change("L1-high", lambda p: p.update(state="infusing", left=500.0, rate=100.0))
    rig.watch(running, 1.0)
    pumps = rig.world.load()["pumps"]
    assert pumps["L1-high"]["state"] == "idle" and pumps["L1-high"]["moved"] < 50.0
    assert any("L1-high RAN THOUGH NOTHING WAS ASKED OF IT" in said for said in rig.said)
    assert set(rig.journal.held("r")) == {"L1"}
    assert pumps["L1-medium"]["state"] == "infusing" and pumps["L1-stimulus"]["state"] == "idle"
    assert pumps["L2-stimulus"]["state"] == "infusing"


def test_a_phase_counts_as_under_way_also_where_every_line_was_left_out_of_it(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    assert not perfusion.is_under_way(on.lab, 1, "dose")
    perfusion.leave_out(on.lab, "r/c01/L1/dose", "a test")
    assert perfusion.is_under_way(on.lab, 1, "dose") and not perfusion.begun(on.lab, 1, "dose")
    on.start("L2", nm=60.0)
    assert not perfusion.is_under_way(on.lab, 2, "dose")


def dry_line(on: Rig) -> list[Any]:
    """Let L1's dose fail while its pump of plain medium is silent, and its stimulus be held with it."""
    on.pumps["L1-medium"].cut = True
    wanted = [
        Wanted("L1", HOURS, None, "no dose was proposed for it"),
        Wanted("L2", HOURS, on.programme("L2")),
    ]
    running = on.watch(perfusion.start_pumps(on.lab, wanted, 1, "dose"), 1.0)
    assert on.times("line L1 STANDS WITHOUT FLOW: plain medium could not be started") == 1
    assert on.flow_ul_h("L1") == 0.0
    return running


def test_a_line_that_stands_dry_is_perfused_at_the_next_look_once_its_pump_answers(
    rig: Callable[..., Rig],
) -> None:
    on = rig()
    running = dry_line(on)
    on.pumps["L1-medium"].cut = False
    running = on.watch(running, 0.2)
    assert on.flow_ul_h("L1") == pytest.approx(60.0) and on.runs("L2-low")
    assert on.times("line L1: it stood without flow, and its pump answers; plain medium") == 1
    on.lab.watch_every_h = 6.0
    on.finish(on.watch(running, HOURS))
    assert on.world.load()["pumps"]["L1-medium"]["starts"] == 1
    assert on.world.load()["pumps"]["L1-low"].get("starts", 0) == 0, "no drug, however late"
    (plain,) = on.journal.programme("r/c01/L1/dose-plain")
    assert plain.begun_h + plain.intent.volume_ul / 60.0 == pytest.approx(START_H + HOURS, abs=0.1)


def test_a_dry_line_whose_pump_nobody_knows_is_not_started(rig: Callable[..., Rig]) -> None:
    on = rig()
    running = dry_line(on)
    told = on.times("line L1")
    on.intend(on.programme("L1", 0.0, "medium"), "other/c01/L1/medium", run_id="other")
    on.pumps["L1-medium"].cut = False
    on.watch(running, 1.0)
    assert not on.runs("L1-medium") and on.times("line L1") == told


def test_a_dry_line_waits_for_a_pump_that_may_still_run(rig: Callable[..., Rig]) -> None:
    on = rig()
    on.intend(on.programme("L1"), "r/c00/L1/dose")
    for pump in ("L1-low", "L1-stimulus"):
        key = f"r/c00/L1/dose/{pump}"
        on.journal.note("r", key, on.now_h(), "told to stop", stands=pump != "L1-low")
        on.journal.ambiguous(key, on.now_h(), "a test", None)
    on.pumps["L1-low"].cut = True
    running = dry_line(on)
    on.pumps["L1-medium"].cut = False
    running = on.watch(running, 0.3)
    assert not on.runs("L1-medium")
    on.pumps["L1-low"].cut = False
    on.watch(running, 0.2)
    assert on.runs("L1-medium") and list(on.journal.held("r")) == ["L1"]


def test_plain_medium_whose_start_was_lost_is_a_persons_to_look_at(rig: Callable[..., Rig]) -> None:
    on = rig()
    on.pumps["L1-medium"].cut_at_start = True
    wanted = [Wanted("L1", HOURS, None, "a test"), Wanted("L2", HOURS, on.programme("L2"))]
    running = perfusion.start_pumps(on.lab, wanted, 1, "dose")
    on.pumps["L1-medium"].cut = False
    on.watch(running, 1.0)
    assert on.world.load()["pumps"]["L1-medium"]["starts"] == 1
    assert list(on.journal.held("r")) == ["L1"]
