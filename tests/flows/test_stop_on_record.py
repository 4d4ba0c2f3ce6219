"""A run that a person stopped and took up again: counters say what was given, nothing is given twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chiploop.record.actions import Action
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of
from flows.stop_on_record import put_stop
from tests.flows.conftest import Warm
from tests.flows.run_checks import journal_of, pump_truth
from tests.flows.test_closed_loop import approve, wait_for_proposals, waiting_run
from tests.flows.test_perfusion import HOURS, START_H, STUDY, Rig
from tests.flows.test_proposals import told


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Two lines of fake pumps."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield Rig(tmp_path, journal)


def stop(on: Rig) -> None:
    """Stop every pump past the flow, and put on record that it stands, as chiploop stop does."""
    for pump in on.pumps.values():
        pump.stop()
    put_stop(on.journal, "r", list(on.pumps), on.now_h())


def action(on: Rig, pump: str, phase: str = "dose") -> Action:
    found = on.journal.action(f"r/c01/{pump[:2]}/{phase}/{pump}")
    assert found is not None
    return found


def test_counters_settle_a_dose_that_a_person_stopped_and_plain_medium_follows(on: Rig) -> None:
    on.start("L1", "L2")
    on.world.advance_to(START_H + 5.0)
    stop(on)
    on.world.advance_to(START_H + 6.0)  # nothing flows
    again = on.start("L1", "L2")
    assert on.journal.held("r") == {}
    drug = action(on, "L1-low")
    assert drug.end is not None and drug.end.kind == "outcome"
    assert drug.end.body["delivered_ul"] == pytest.approx(5.0 * 24.0, abs=1.0)
    assert on.runs("L1-medium") and on.flow_ul_h("L1") == pytest.approx(60.0)
    assert on.world.load()["pumps"]["L1-low"]["starts"] == 1, "no dose twice"
    on.lab.watch_every_h = 6.0
    on.finish(on.watch(again, HOURS - 6.0 + 0.1))
    dose, plain = schedules_of(on.journal, STUDY, "r")["C01"].segments
    assert dose.drug_nm == pytest.approx(240.0, rel=0.03) and plain.drug_nm == 0.0
    assert (dose.start_h, dose.end_h) == pytest.approx((START_H, START_H + 5.0))
    assert (plain.start_h, plain.end_h) == pytest.approx((START_H + 6.0, START_H + HOURS), abs=0.1)


def test_plain_medium_that_a_person_stopped_goes_on_to_the_end_of_its_phase(on: Rig) -> None:
    on.start("L1", purpose="medium")
    on.world.advance_to(START_H + 2.0)
    stop(on)
    again = on.start("L1", purpose="medium")
    assert on.runs("L1-medium") and on.journal.held("r") == {}
    assert [p.ends_h for p in again][-1] == pytest.approx(START_H + HOURS, abs=0.1)


def test_what_a_hand_moved_after_the_stop_is_no_dose(on: Rig) -> None:
    on.start("L1")
    on.world.advance_to(START_H + 1.0)
    stop(on)
    on.world.change("L1-low", lambda p: p.update(counter=p["counter"] + 60.0))  # its line rinsed
    on.start("L1")
    assert "further than the pump could" in on.journal.held("r")["L1"]
    assert on.runs("L1-medium") and not on.runs("L1-low")


def test_a_pump_that_did_not_confirm_its_stop_is_not_settled_by_it(on: Rig) -> None:
    on.start("L1")
    on.world.advance_to(START_H + 1.0)
    for pump in on.pumps.values():
        pump.stop()
    put_stop(on.journal, "r", ["L1-stimulus"], on.now_h())
    on.start("L1")
    assert on.journal.held("r")["L1"].startswith("L1-low")


@pytest.mark.parametrize("confirmed", [("L1-low", "L1-stimulus"), ("L1-stimulus",)])
def test_a_pump_that_was_to_begin_next_begins_no_more(on: Rig, confirmed: tuple[str, ...]) -> None:
    """Stopped and taken up at once: the drug alone, without its diluent, would be another dose."""
    programme = on.programme("L1")
    on.intend(programme, "r/c01/L1/dose")
    for step in programme.steps:
        on.world.change(step.pump, lambda p: p.update(counter=0.0))
    diluent = action(on, "L1-stimulus").intent
    on.journal.sent(diluent.key, on.now_h())
    on.pumps["L1-stimulus"].prepare(diluent.flow_rate_ul_h, diluent.volume_ul)
    on.pumps["L1-stimulus"].start()
    on.journal.started(diluent.key, on.now_h(), "the pump's answer")
    on.world.advance_to(START_H + 0.05)
    on.pumps["L1-stimulus"].stop()
    put_stop(on.journal, "r", confirmed, on.now_h())
    on.start("L1")
    assert not on.runs("L1-low") and on.runs("L1-medium")
    assert on.world.load()["pumps"]["L1-low"]["starts"] == 0
    assert bool(on.journal.held("r")) == (len(confirmed) == 1)


@pytest.mark.parametrize(("after_h", "is_held"), [(0.01, False), (0.5, True)])
def test_a_counter_at_zero_is_believed_where_there_was_no_time_to_move(
    on: Rig, after_h: float, is_held: bool
) -> None:
    for name in ("L1-low", "L1-stimulus"):
        on.world.change(name, lambda p: p.update(counter=0.0))
    on.start("L1")
    on.world.advance_to(START_H + after_h)
    stop(on)
    again = Rig(on.lab.folder, on.journal)  # another process: the first may have heard of a cut
    for name in ("L1-low", "L1-stimulus"):
        again.world.change(name, lambda p: p.update(counter=0.0))
    again.start("L1")
    assert bool(again.journal.held("r")) == is_held
    assert again.runs("L1-medium") and not again.runs("L1-low")


def test_what_was_never_begun_is_not_stopped(on: Rig) -> None:
    on.intend(on.programme("L1"), "r/c01/L1/dose")
    put_stop(on.journal, "r", list(on.pumps), on.now_h())
    assert action(on, "L1-low").stood_h is None


@pytest.mark.slow
def test_a_run_that_was_stopped_while_a_person_was_waited_for_goes_on_unheld(
    warm: Warm, tmp_path: Path
) -> None:
    running, runs, run_id = waiting_run(warm, tmp_path)
    approve(warm, runs, run_id)
    wait_for_proposals(runs, 2, running)
    stopped = told(warm, runs, "stop", run_id)
    (report,) = stopped["stopped"]
    assert stopped["ok"] and report["confirmed"]
    approve(warm, runs, run_id)
    assert running.wait().code == 7
    again = warm.run("resume", run_id, "--runs", runs)
    assert again.code == 0, again.err
    assert "is held" not in again.err
    with journal_of(runs, run_id) as journal:
        actions = journal.actions(run_id)
        assert journal.held(run_id) == {} and not journal.open_actions(run_id)
    for pump, counted in pump_truth(runs / run_id).items():
        own = [a for a in actions if a.intent.pump == pump and a.end is not None]
        assert counted.starts == len(own), pump
        given_ul = sum(float(a.end.body["delivered_ul"]) for a in own if a.end is not None)
        assert given_ul == pytest.approx(counted.delivered_ul, abs=len(own))
