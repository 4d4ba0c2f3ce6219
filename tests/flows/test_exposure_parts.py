"""Parts of an exposure on pumps that a test spoils: each once, in its time, and none after one that failed.

Belongs here: the change from part to part. Not here: starting and watching of one programme (test_perfusion),
whole runs (test_pulsed_doses).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.campaign_values import LineDose, Proposal
from chiploop.dosing import remaining_ul
from chiploop.exposure import make_exposure
from chiploop.measurement import Readout
from chiploop.protocols_path import protocols_folder
from chiploop.record.journal import Journal
from chiploop.record.progress import ProgrammeProgress
from chiploop.record.record import Record
from chiploop.record.replay import schedules_of
from chiploop.safety import newest_toxicity_h
from chiploop.study import load_study
from chiploop.study_schedules import Schedule
from flows import exposure_parts, perfusion
from flows.readouts_at_hand import ReadoutsAtHand
from instruments.delivery import quantise_with
from tests.flows.test_perfusion import START_H, STUDY, Rig

PULSED = STUDY.model_copy(
    update={"schedules": {"pulses": Schedule(for_h=4.0, every_h=8.0, times=3)}}
)
"""4 h of drug from 0, 8 and 16 h of an exposure of 24 h."""


class Exposed(Rig):
    """A rig whose lines get 240 nM: L1 in pulses, L2 for the whole exposure."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        super().__init__(folder, journal)
        self.lab.study = PULSED
        self.running: list[ProgrammeProgress] = []

    @property
    def proposal(self) -> Proposal:
        full, rounded = remaining_ul(PULSED, {}), quantise_with(self.pumps)
        doses = [
            LineDose(
                line,
                tuple(PULSED.line(line).chips),
                240.0,
                240.0,
                None,
                None,
                make_exposure(PULSED, line, 240.0, schedule, rounded, full),
            )
            for line, schedule in (("L1", "pulses"), ("L2", "whole"))
        ]
        return Proposal(1, "own", "EC50_CCL26", "upadacitinib", tuple(doses), None, ())

    def expose(self, until_h: float) -> None:
        """Do what the flow does, from the beginning, up to so many hours of the exposure; may be called again."""
        wanted = exposure_parts.wanted_doses(self.lab, self.proposal, 1)
        self.running = perfusion.start_pumps(self.lab, wanted, 1, "dose")
        dosed = perfusion.of_phase(self.running, "dose")
        for change in exposure_parts.changes_of(self.proposal, dosed):
            if change.due_h > START_H + until_h:
                break
            self.running = self.watch(self.running, change.due_h - self.now_h())
            self.running = exposure_parts.next_part(self.lab, self.running, change, 1)
        self.running = self.watch(self.running, START_H + until_h - self.now_h())

    def flowing(self) -> set[str]:
        return {name for name in self.pumps if self.runs(name)}

    def starts(self, pump: str) -> int:
        return int(self.world.load()["pumps"][pump]["starts"])

    def moved_ul(self, pump: str) -> float:
        return float(self.world.load()["pumps"][pump]["moved"])


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exposed]:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield Exposed(tmp_path, journal)


WHOLE_LINE = {"L2-low", "L2-stimulus"}


def test_a_line_changes_at_its_own_times_and_the_other_is_not_touched(on: Exposed) -> None:
    for hour in range(1, 24):
        on.expose(hour + 0.5)
        drug = {"L1-low"} if hour % 8 < 4 else set()
        assert on.flowing() == WHOLE_LINE | drug | {"L1-stimulus"}, hour
        assert on.flow_ul_h("L1") == pytest.approx(60.0, rel=0.01)
    on.expose(24.2)
    on.finish(on.running)
    assert (on.starts("L1-low"), on.starts("L1-stimulus"), on.starts("L2-low")) == (3, 6, 1)
    assert on.moved_ul("L1-low") == pytest.approx(0.5 * on.moved_ul("L2-low"), rel=0.01)
    segments = schedules_of(on.journal, PULSED, "r")["C01"].segments
    assert [s.drug_nm > 0.0 for s in segments] == [True, False] * 3
    assert [s.start_h for s in segments] == pytest.approx(
        [START_H + h for h in (0, 4, 8, 12, 16, 20)], abs=0.1
    )
    assert on.journal.held("r") == {}


def test_a_dose_of_several_parts_asks_for_the_toxicity_readout_of_its_own_drug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = protocols_folder() / "studies"
    two = load_study(folder / "ad_jak_two_drugs.yaml").model_copy(
        update={"schedules": {"pulses": Schedule(for_h=8.0, every_h=16.0, times=3)}}
    )
    exposure = make_exposure(
        two,
        two.line_ids[-1],
        100.0,
        "pulses",
        lambda _, rate, ul: (rate, ul),
        remaining_ul(two, {}),
    )
    asked: list[str] = []

    def newest(study: Any, readouts: Any, line_id: str = "") -> float:
        asked.append(line_id)
        return newest_toxicity_h(study, readouts, line_id) or 72.0

    monkeypatch.setattr(exposure_parts, "newest_toxicity_h", newest)
    with Journal(tmp_path / "j.sqlite") as journal, Record(str(tmp_path / "r.sqlite")) as record:
        lab: Any = SimpleNamespace(
            study=two,
            run_id="r",
            journal=journal,
            record=record,
            at_hand=ReadoutsAtHand(record, "r"),
            clock=SimpleNamespace(now_h=lambda: 76.0),
        )
        exposure_parts.reason_not_to_begin(lab, exposure, 2)
    assert asked == [two.line_ids[-1]]


def test_harm_read_after_the_approval_closes_the_dose_before_a_pump_moves(on: Exposed) -> None:
    on.expose(24.2)
    on.finish(on.running)
    began = on.starts("L2-low")
    harm = Readout(
        "C02", "ldh_release", 0.5, "1", 0.01, "linear", 48.0, 36.0, method="ldh_release", cycle=1
    )
    on.lab.record.readouts = lambda run_id: (harm,)

    def wanted() -> dict[str, perfusion.Wanted]:
        return {one.line: one for one in exposure_parts.wanted_doses(on.lab, on.proposal, 2)}

    assert {line: one.programme for line, one in wanted().items()} == {"L1": None, "L2": None}
    assert all("closed since C02 at 24" in one.why for one in wanted().values())
    running = perfusion.start_pumps(on.lab, list(wanted().values()), 2, "dose")
    assert not perfusion.of_phase(running, "dose") and on.starts("L2-low") == began
    assert {"L1-medium", "L2-medium"} == on.flowing()
    seen = {"up_to_nm": 240.0, "seen": [["C02", 48.0]]}
    lifted = SimpleNamespace(content=seen, time_h=50.0)
    on.lab.record.events = lambda run_id, kind: (lifted,) if kind == "reopened" else ()
    assert "no step up right after harm" in wanted()["L2"].why, "that stays, whoever reopened what"
    on.lab.record.readouts = lambda run_id: (replace(harm, value=0.01),)
    assert wanted()["L2"].programme is not None


def test_the_journal_tells_the_parts_of_an_exposure_from_earlier_doses(on: Exposed) -> None:
    on.expose(4.5)
    totals = on.journal.totals("r")
    assert [(d.line, d.cycle, d.done) for d in totals.doses] == [
        ("L1", 1, True), ("L2", 1, False), ("L1", 1, False)
    ]  # fmt: skip
    assert totals.last_dose_end_h["L1"] == pytest.approx(START_H + 8.0, abs=0.1)
    assert totals.highest_dose_nm == pytest.approx(240.0, rel=0.02)
    earlier = totals.before(1)
    assert (earlier.last_dose_end_h, earlier.highest_dose_nm) == ({}, None)
    assert earlier.moved == totals.moved, "its volumes count all the same"
    assert totals.before(2) == totals


def test_begun_again_at_any_hour_no_part_is_started_twice(on: Exposed) -> None:
    for until_h in (0.0, 2.0, 4.0, 4.0, 4.5, 8.0, 9.0, 9.0, 19.0, 23.0):
        on.expose(until_h)
    on.expose(24.2)
    on.finish(on.running)
    assert (on.starts("L1-low"), on.starts("L1-stimulus")) == (3, 6)
    assert on.moved_ul("L1-low") == pytest.approx(0.5 * on.moved_ul("L2-low"), rel=0.01)


def test_a_line_held_in_a_pulse_gets_no_later_one_and_lives_on_plain_medium(on: Exposed) -> None:
    on.expose(2.0)
    on.block("L1-low")
    on.expose(24.2)
    on.finish(on.running)
    assert "L1" in on.journal.held("r")
    assert (on.starts("L1-low"), on.starts("L1-stimulus")) == (1, 1)
    assert on.starts("L2-low") == 1 and "L2" not in on.journal.held("r")
    # plain medium from the hold to the end, but for what is lost between two looks
    assert on.moved_ul("L1-medium") == pytest.approx(60.0 * 22.0, rel=0.03)
    assert on.times("line L1: the line is held: ") == 5, "once for each later part"


def test_a_persons_word_in_the_middle_does_not_let_the_later_pulses_begin(on: Exposed) -> None:
    on.expose(2.0)
    on.block("L1-low")
    on.expose(3.0)
    drug_ul = on.moved_ul("L1-low")
    on.journal.abandon("r/c01/L1/dose/L1-low", on.now_h(), "me", "seen", drug_ul)
    assert on.journal.held("r") == {}
    on.expose(9.0)
    assert on.flowing() == WHOLE_LINE | {"L1-medium"}
    assert on.times("its dose of this exposure was not given to its end; no part follows") == 2


@pytest.mark.parametrize(("late_h", "begins"), [(0.4, True), (0.7, False)])
def test_a_part_that_was_missed_by_more_than_half_an_hour_does_not_begin(
    on: Exposed, late_h: float, begins: bool
) -> None:
    on.expose(7.0)
    on.world.advance_to(START_H + 8.0 + late_h)  # nobody was there when dose-3 was due
    on.expose(8.0 + late_h + 0.1)
    assert ("L1-low" in on.flowing()) == begins
    assert ("L1-medium" in on.flowing()) != begins
    if not begins:
        assert on.times("it was to begin 0.7 h ago; a dose begun now would be another dose") == 1
        on.expose(11.8)
        assert "L1-medium" in on.flowing()
        on.world.advance_to(START_H + 12.2)
        assert "L1-medium" not in on.flowing(), "plain medium stands in for this part alone"
        on.expose(23.0)
        assert on.starts("L1-low") == 1, "no pulse follows one that was left out"
        assert on.flowing() == WHOLE_LINE | {"L1-medium"}


def test_a_part_intended_and_never_sent_by_a_process_that_died_does_not_begin_late(
    on: Exposed,
) -> None:
    on.expose(7.9)
    third = on.proposal.doses[0].programme.parts[2]
    on.world.advance_to(START_H + 8.1)
    on.finish([p for p in on.running if p.programme.line == "L1"])
    on.intend(third, "r/c01/L1/dose-3")
    on.world.advance_to(START_H + 9.0)
    on.expose(9.5)
    assert on.starts("L1-low") == 1 and "L1-medium" in on.flowing()
    assert "it was to begin 1 h ago" in on.journal.held("r")["L1"]


def test_the_next_part_waits_for_a_pump_that_is_a_little_late(on: Exposed) -> None:
    on.expose(0.5)
    on.world.change("L1-stimulus", lambda p: p.update(rate=0.98 * p["rate"]))
    on.expose(4.02)
    with_drug = {a.intent.pump: a for a in on.journal.programme("r/c01/L1/dose")}
    assert all(action.end is not None for action in with_drug.values())
    (second,) = on.journal.programme("r/c01/L1/dose-2")
    assert START_H + 4.05 < second.begun_h < START_H + 4.2
    assert on.flowing() == WHOLE_LINE | {"L1-stimulus"}


def test_a_part_that_does_not_end_is_stopped_and_held_before_it_makes_other_lines_late(
    on: Exposed,
) -> None:
    on.expose(3.0)
    on.world.change("L1-stimulus", lambda p: p.update(left=1e6, rate=1e-3))
    on.expose(4.5)
    assert on.now_h() == pytest.approx(START_H + 4.5, abs=0.03)
    assert "it still runs, or is silent, 0.5 h after its end" in on.journal.held("r")["L1"]
    assert on.flowing() == WHOLE_LINE | {"L1-medium"}
    on.expose(20.5)
    assert on.starts("L1-low") == 1 and on.flowing() == WHOLE_LINE | {"L1-medium"}


def test_a_part_that_ended_while_nobody_looked_is_given_and_not_held(on: Exposed) -> None:
    on.expose(2.0)
    first = exposure_parts.changes_of(on.proposal, on.running)[0]
    on.world.advance_to(START_H + 4.7)  # as where a person enters TEER for hours
    exposure_parts.next_part(on.lab, on.running, first, 1)
    given = on.journal.programme("r/c01/L1/dose")
    assert [action.end is not None and action.end.kind for action in given] == ["outcome"] * 2
    assert on.journal.held("r") == {}
    assert on.flowing() == WHOLE_LINE | {"L1-medium"}, "the next part is left out all the same"


def test_plain_medium_of_a_line_left_out_ends_with_its_part_however_late_it_began(
    on: Exposed,
) -> None:
    on.intend(on.programme("L1"), "other/c01/L1/dose", run_id="other")  # a person must look at it
    on.pumps["L1-medium"].cut = True  # nothing can be started on L1
    on.expose(0.5)
    on.pumps["L1-medium"].cut = False
    on.world.advance_to(START_H + 3.0)
    on.expose(3.1)  # another process takes the run up, and finds the line left out
    (plain,) = on.journal.programme("r/c01/L1/dose-plain")
    assert plain.intent.volume_ul == pytest.approx(60.0 * 1.0, rel=0.05)
    on.expose(5.0)
    assert "L1-medium" in on.flowing() and "L1-low" not in on.flowing()


def test_a_dose_that_the_limits_would_not_let_come_to_its_end_is_not_begun(on: Exposed) -> None:
    limits = PULSED.limits.model_copy(update={"dose_volume_ul": 720.0})
    on.lab.study = PULSED.model_copy(update={"limits": limits})  # a part brings 240 uL, all 1440
    wanted = exposure_parts.wanted_doses(on.lab, on.proposal, 1)
    assert wanted[0].programme is None
    assert "the dose brings 960 uL to each chip, the limit is 720 uL" in wanted[0].why
    on.running = perfusion.start_pumps(on.lab, wanted[:1], 1, "dose")
    assert on.flowing() == {"L1-medium"}


def test_trouble_of_one_line_at_its_change_leaves_the_others_as_they_are(
    on: Exposed,
) -> None:
    on.expose(7.5)
    on.pumps["L1-low"].cut = True  # the drug pump of the next pulse does not answer
    on.expose(9.0)
    assert on.flowing() == WHOLE_LINE | {"L1-medium"}
    assert on.starts("L1-low") == 1
