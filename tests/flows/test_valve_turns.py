"""A valve that does not stand where the doses want it starts no dose, and keeps no chip from plain medium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.campaign import first_proposal, start
from chiploop.campaign_values import Proposal
from chiploop.connections import connected
from chiploop.dosing import remaining_ul
from chiploop.errors import SafetyRefusal, WaitingForPerson
from chiploop.record.journal import Journal
from chiploop.record.replay import schedules_of, unknown_chips_since
from chiploop.study import load_study
from flows import closed_loop, exposure_parts, perfusion, valve_turns
from flows.perfusion import Wanted
from flows.plain_medium import keep_alive
from flows.proposing import connection_of_edited
from instruments.delivery import quantise_with
from instruments.errors import DeviceAlarm
from tests.flows.test_perfusion import HOURS, START_H, Rig
from tests.instruments.test_valve_turn import FakeValve

STUDY = load_study(Path(__file__).with_name("small_valve_study.yaml"))
PORTS = {"C02": {"L1": 1, "L2": 2}, "C04": {"L2": 1, "L1": 2}}


class ValveRig(Rig):
    """The rig of pumps with a valve before C02 and one before C04, both at home and on record."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        super().__init__(folder, journal, study=STUDY)
        self.valves = {chip: FakeValve(journal) for chip in PORTS}
        for chip, valve in self.valves.items():
            valve.name = chip
        self.lab.bench.valves, self.lab.bench.plumbed = self.valves, PORTS
        valve_turns.connect(self.lab, self.pilot(), valve_turns.BEFORE_ALL)

    def pilot(self, moved: dict[str, str] | None = None) -> Proposal:
        """Return the study's first doses, as they would be with chips given to another line."""
        full = remaining_ul(STUDY, {})
        study = connected(STUDY, moved or {})
        return first_proposal(start(study), quantise_with(self.pumps), full)

    def dose(self, proposal: Proposal) -> list[Any]:
        """Start the doses of cycle 1 as the flow does, once the valves have been turned for them."""
        perfusion.look_again_at_left_out(self.lab, 1)
        valve_turns.connect(self.lab, proposal, 1)
        wanted = exposure_parts.wanted_doses(self.lab, proposal, 1)
        return perfusion.start_pumps(self.lab, wanted, 1, "dose")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ValveRig]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        made = ValveRig(tmp_path, journal)
        made.world.advance_to(START_H)
        yield made


def test_chips_are_at_home_on_record_before_anything_flows(rig: ValveRig) -> None:
    assert rig.journal.connection("r") == {"C02": "L1", "C04": "L2"}
    assert [valve.moves for valve in rig.valves.values()] == [0, 0]


def test_doses_begin_once_every_chip_is_on_its_line(rig: ValveRig) -> None:
    rig.dose(rig.pilot({"C02": "L2"}))
    assert rig.valves["C02"].port == 2
    assert rig.flow_ul_h("L1") == pytest.approx(60.0, rel=1e-3)
    assert rig.flow_ul_h("L2") == pytest.approx(180.0, rel=1e-3)
    assert rig.runs("L2-high") and not rig.runs("L1-high")


def test_a_valve_at_the_wrong_port_starts_no_dose_and_its_lines_are_held(rig: ValveRig) -> None:
    """Somebody has turned C02 to L2 by hand: L2's 700 nM would reach it, at a share that nobody approved."""
    rig.valves["C02"].port = 2
    with pytest.raises(SafetyRefusal, match="Nothing was sent to the pumps"):  # no line is left
        rig.dose(rig.pilot())
    assert not rig.runs("L2-high") and not rig.runs("L2-stimulus")
    assert set(rig.journal.held("r")) == {"L1", "L2"}
    assert any("C02 was left at port 1 of L1 and stands at port 2" in said for said in rig.said)
    # plain medium for the chips that are on each line for certain: nobody gets more than the study's flow
    assert rig.runs("L1-medium") and rig.runs("L2-medium")
    assert rig.flow_ul_h("L1") == pytest.approx(60.0)
    assert rig.flow_ul_h("L2") == pytest.approx(120.0)


def test_a_turn_that_stalls_leaves_the_doses_of_its_lines_out(rig: ValveRig) -> None:
    rig.valves["C02"].trouble = DeviceAlarm("C02 stalled", kind="stall")
    rig.valves["C02"].lost = True
    rig.dose(rig.pilot({"C02": "L2"}))
    assert not rig.runs("L2-high")
    assert any("NOBODY KNOWS WHICH LINE FEEDS C02" in said for said in rig.said)
    assert set(rig.journal.held("r")) == {"L1", "L2"}
    assert rig.runs("L1-medium") and rig.runs("L2-medium")


def test_a_dose_for_other_chips_than_its_line_feeds_is_not_given(rig: ValveRig) -> None:
    rig.pumps["L1-stimulus"].cut = True  # it does not say that it stands: no valve of L1 turns
    proposal = rig.pilot({"C02": "L2"})
    valve_turns.connect(rig.lab, proposal, 1)
    wanted = {one.line: one for one in exposure_parts.wanted_doses(rig.lab, proposal, 1)}
    assert rig.valves["C02"].port == 1
    assert wanted["L2"].programme is None
    assert "L2 does not feed C02" in wanted["L2"].why
    assert "it feeds C02 too" in wanted["L1"].why
    assert rig.journal.held("r") == {}  # it is known where C02 is


def test_a_silent_valve_starts_no_dose_and_is_no_doubt(rig: ValveRig) -> None:
    rig.valves["C04"].silent = True
    with pytest.raises(SafetyRefusal, match="C04 does not say where it stands"):
        rig.dose(rig.pilot())
    assert not rig.runs("L2-high")
    assert rig.journal.held("r") == {}


def test_a_silent_valve_does_not_end_a_hold_and_one_elsewhere_does(rig: ValveRig) -> None:
    rig.valves["C04"].silent = True
    rig.start("L1", purpose="stimulus")
    assert rig.runs("L1-stimulus")
    rig.valves["C04"].silent, rig.valves["C04"].port = False, 2
    wanted = [Wanted("L2", HOURS, rig.programme("L2", 0.0, "stimulus"))]
    perfusion.start_lines(rig.lab, [replace(wanted[0], due_h=START_H)], 1, "hold")
    assert not rig.runs("L2-stimulus") and rig.runs("L2-medium")


def test_plain_medium_asks_no_valve(rig: ValveRig) -> None:
    for valve in rig.valves.values():
        valve.silent = True
    rig.lab.simulated = True
    (kept,) = keep_alive(rig.lab, "L1", 4.0, 1, "supervised-1", "a test")
    assert kept.running and rig.flow_ul_h("L1") == pytest.approx(120.0)
    rig.lab.bench = SimpleNamespace(
        pumps=rig.pumps, valves={}, plumbed={}
    )  # as the supervisor has it
    (kept,) = keep_alive(rig.lab, "L2", 4.0, 1, "supervised-1", "a test")
    assert kept.running


def test_the_only_chip_of_a_line_gets_plain_medium_while_nobody_knows_where_its_valve_stands(
    rig: ValveRig,
) -> None:
    """C01 is on no line: L1 would stand still, and C02, should it be there, would stand dry."""
    rig.lab.study = STUDY.model_copy(
        update={
            "lines": tuple(
                line.model_copy(
                    update={"chips": {c: d for c, d in line.chips.items() if c != "C01"}}
                )
                for line in STUDY.lines
            )
        }
    )
    found = valve_turns.asked_of(rig.lab, "C02", "L1", "c00/C02/found-2", "L1")
    rig.journal.turn(found)
    rig.journal.turn_unknown(found.key, START_H, "it does not know where it stands")
    keep_alive(rig.lab, "L2", 4.0, 1, "supervised-1", "a test")  # its flow may be C02's too
    running = keep_alive(rig.lab, "L1", 4.0, 1, "supervised-1", "a test")
    assert [p.running for p in running] == [True]
    assert rig.flow_ul_h("L1") == pytest.approx(60.0)
    rig.finish(rig.watch(running, 4.1))
    # what it got nobody knows, and the replay of the journal says so
    assert schedules_of(rig.journal, rig.lab.study, "r")["C02"].segments == ()
    assert "C02" in unknown_chips_since(rig.lab.study, rig.journal.actions("r"))


def test_no_valve_turns_for_a_cycle_whose_doses_have_begun(rig: ValveRig) -> None:
    rig.dose(rig.pilot())
    rig.world.advance_to(START_H + HOURS)
    valve_turns.connect(rig.lab, rig.pilot({"C02": "L2"}), 1)
    assert rig.valves["C02"].port == 1


def test_a_chip_whose_line_gets_no_dose_stays_where_it_is(rig: ValveRig) -> None:
    """A held line is not in a proposal; that does not send its chips home."""
    valve_turns.turn(rig.lab, "C02", "L2", 1, "L1")
    proposal = rig.pilot()
    without = replace(proposal, doses=tuple(d for d in proposal.doses if d.line != "L1"))
    valve_turns.connect(rig.lab, without, 2)
    assert rig.valves["C02"].port == 2
    assert rig.journal.connection("r") == {"C02": "L2", "C04": "L2"}


def test_a_study_without_valves_asks_for_none(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        plain = Rig(tmp_path, journal)  # its bench has no valves to ask
        proposal: Any = None
        valve_turns.connect(plain.lab, proposal, 1)
        assert valve_turns.connected_now(plain.lab) is plain.study
        assert valve_turns.reason_not_connected(plain.lab, proposal, 1) == ""


def test_an_edit_keeps_who_is_fed_by_whom_but_for_chips_of_held_lines(rig: ValveRig) -> None:
    doses = [
        {"line": "L1", "chips": ["C01"]},
        {"line": "L2", "chips": ["C02", "C03", "C04"]},
    ]
    standing = SimpleNamespace(key="p1", content={"doses": doses})
    record = SimpleNamespace(proposed=lambda run_id, cycle: [(standing, None)])
    books: Any = SimpleNamespace(study=STUDY, run_id="r", record=record, journal=rig.journal)
    now = rig.journal.connection("r")
    assert connection_of_edited(books, now, 2, "p1") == {"C02": "L2", "C04": "L2"}
    assert connection_of_edited(books, now, 2, "another") == now
    rig.valves["C04"].port = 2
    with pytest.raises(SafetyRefusal):
        rig.dose(rig.pilot())
    assert connection_of_edited(books, now, 2, "p1") == now


def test_a_valve_that_is_turned_twice_in_a_cycle_has_two_turns_on_record(rig: ValveRig) -> None:
    valve_turns.turn(rig.lab, "C02", "L2", 2, "L1")
    found = valve_turns.asked_of(rig.lab, "C02", "L2", "c00/C02/found-3", "L2")
    rig.journal.turn(found)
    rig.journal.turn_unknown(found.key, START_H, "it stands at port 1")
    rig.journal.turn_settled(found.key, START_H, "somebody", "seen at port 1", "L1")
    rig.valves["C02"].port = 1
    valve_turns.turn(rig.lab, "C02", "L2", 2, "L1")
    assert rig.valves["C02"].port == 2
    assert rig.journal.connection("r")["C02"] == "L2"
    keys = [t.asked.key for t in rig.journal.turns("r") if t.asked.chip == "C02"]
    assert keys == ["r/c00/C02/turn", "r/c02/C02/turn", "r/c00/C02/found-3", "r/c02/C02/turn-2"]


@pytest.mark.parametrize("port, line", [(1, "L1"), (2, "L2")])
def test_a_turn_that_was_interrupted_is_looked_at_before_any_stimulus(
    rig: ValveRig, port: int, line: str
) -> None:
    rig.journal.turn(valve_turns.asked_of(rig.lab, "C02", "L2", "c02/C02/turn", "L1"))
    rig.valves["C02"].port = port
    rig.lab.reserve = lambda: None
    closed_loop.start_hold(rig.lab, 1, "hold-2")
    assert rig.journal.connection("r")["C02"] == line
    assert rig.runs("L1-stimulus") and rig.runs("L2-stimulus")
    chips = len(connected(STUDY, {"C02": line}).line("L2").chips)
    assert rig.flow_ul_h("L2") == pytest.approx(60.0 * chips)
    assert rig.valves["C02"].moves == 0


def test_a_valve_that_answers_again_is_known_from_then_on_and_not_before(rig: ValveRig) -> None:
    asked = valve_turns.asked_of(rig.lab, "C02", "L2", "c01/C02/turn", "L1")
    rig.journal.turn(asked)
    rig.journal.turn_unknown(asked.key, START_H, "it stalled")
    rig.valves["C02"].lost = True
    valve_turns.look_at_open_turns(rig.lab, 1)
    assert set(rig.journal.held("r")) == {"L1", "L2"}
    rig.valves["C02"].lost, rig.valves["C02"].port = False, 3  # no line comes to it
    valve_turns.look_at_open_turns(rig.lab, 1)
    assert set(rig.journal.held("r")) == {"L1", "L2"}
    rig.valves["C02"].port = 1
    valve_turns.look_at_open_turns(rig.lab, 1)
    assert rig.journal.held("r") == {}
    assert [t.stands for t in rig.journal.turns("r") if t.asked.chip == "C02"] == ["L1", None, "L1"]


def test_a_valve_that_was_found_elsewhere_stays_a_persons_to_look_at(rig: ValveRig) -> None:
    rig.valves["C02"].port = 2
    with pytest.raises(SafetyRefusal):
        rig.dose(rig.pilot())
    valve_turns.look_at_open_turns(rig.lab, 1)
    assert set(rig.journal.held("r")) == {"L1", "L2"}


def test_a_first_turn_that_was_interrupted_is_asked_again_where_the_valve_knows_no_port(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        made = ValveRig(tmp_path, journal)
        made.journal.turn(valve_turns.asked_of(made.lab, "C02", "L2", "c01/C02/turn", "L1"))
        made.valves["C02"].lost_until_turned = True
        valve_turns.connect(made.lab, made.pilot({"C02": "L2"}), 1)
        assert journal.held("r") == {}
        assert journal.connection("r")["C02"] == "L2"


def test_a_valve_that_is_silent_after_an_interrupted_turn_leaves_the_run_alive_on_plain_medium(
    rig: ValveRig,
) -> None:
    rig.journal.turn(valve_turns.asked_of(rig.lab, "C02", "L2", "c02/C02/turn", "L1"))
    rig.valves["C02"].silent = True
    rig.lab.reserve = lambda: None
    closed_loop.start_hold(rig.lab, 1, "hold-2")
    assert rig.runs("L1-medium") and rig.runs("L2-medium")
    rig.valves["C02"].silent = False
    valve_turns.look_at_open_turns(rig.lab, 1)
    assert rig.journal.held("r") == {}


def test_doses_left_out_for_a_silent_valve_are_given_once_it_answers(rig: ValveRig) -> None:
    rig.valves["C04"].silent = True
    with pytest.raises(SafetyRefusal, match="C04 does not say where it stands"):
        rig.dose(rig.pilot())
    assert perfusion.of_phase(rig.dose(rig.pilot()), "dose") == []  # as long as it is silent
    assert rig.runs("L1-medium")
    rig.valves["C04"].silent = False
    dosed = perfusion.of_phase(rig.dose(rig.pilot({"C02": "L2"})), "dose")
    assert len(dosed) == 2
    assert rig.valves["C02"].port == 2
    assert rig.runs("L2-high") and not rig.runs("L1-medium") and not rig.runs("L2-medium")
    assert len(perfusion.of_phase(rig.dose(rig.pilot({"C02": "L2"})), "dose")) == 2  # at most once
    assert rig.flow_ul_h("L2") == pytest.approx(180.0, rel=1e-3)


def test_doses_left_out_for_a_turn_in_doubt_are_given_once_a_person_has_looked(
    rig: ValveRig,
) -> None:
    rig.valves["C02"].trouble, rig.valves["C02"].lost = DeviceAlarm("stalled", kind="stall"), True
    assert perfusion.of_phase(rig.dose(rig.pilot({"C02": "L2"})), "dose") == []
    rig.valves["C02"].trouble, rig.valves["C02"].lost = None, False
    (doubt,) = [t for t in rig.journal.turns("r") if t.doubt]
    rig.journal.turn_settled(doubt.asked.key, START_H, "somebody", "looked", "L1")
    dosed = perfusion.of_phase(rig.dose(rig.pilot({"C02": "L2"})), "dose")
    assert [p.programme_key for p in dosed] == ["r/c01/L1/dose", "r/c01/L2/dose"]
    assert rig.journal.connection("r")["C02"] == "L2"


def test_a_line_left_out_beside_a_dose_that_has_begun_stays_left_out(rig: ValveRig) -> None:
    rig.start("L1", nm=0.0)
    key = "r/c01/L2/dose"
    perfusion.leave_out(rig.lab, key, "a test")
    perfusion.look_again_at_left_out(rig.lab, 1)
    assert perfusion.left_out_for(rig.lab, key) == "a test"


@pytest.mark.parametrize("answers_after, holds", [(0, 0), (2, 2), (9, 3)])
def test_a_silent_valve_is_asked_again_under_plain_medium_before_the_first_dose(
    rig: ValveRig, monkeypatch: pytest.MonkeyPatch, answers_after: int, holds: int
) -> None:
    """For a while alone: then the dose meets it, and what becomes of that is on record."""
    phases: list[str] = []

    def perfuse(lab: Any, campaign: Any, purpose: str, hours: float, phase: str) -> Any:
        phases.append(phase)
        rig.valves["C04"].silent = len(phases) < answers_after
        return campaign

    rig.valves["C04"].silent = answers_after > 0
    monkeypatch.setattr(closed_loop, "perfuse", perfuse)
    monkeypatch.setattr(closed_loop, "kept_back_by", lambda lab: "")
    campaign: Any = None
    rig.lab.simulated = False
    closed_loop.wait_before_dosing(rig.lab, campaign)
    assert phases == [f"hold-{n + 1}" for n in range(holds)]


@pytest.mark.parametrize("answers_after, holds", [(0, 0), (2, 2), (9, 3)])
def test_a_silent_valve_is_asked_again_under_the_hold_before_approved_doses(
    rig: ValveRig, monkeypatch: pytest.MonkeyPatch, answers_after: int, holds: int
) -> None:
    phases: list[str] = []

    def start_hold(lab: Any, cycle: int, phase: str) -> Any:
        phases.append(phase)
        rig.valves["C04"].silent = len(phases) < answers_after
        return [SimpleNamespace(programme_key=f"r/c01/L1/{phase}")]

    decision = SimpleNamespace(action="approve")
    for name, answer in (
        ("kept_back_by", ""), ("next_begin_h", START_H), ("standing", ("p1", decision)), ("approved", "the doses"),
    ):  # fmt: skip
        monkeypatch.setattr(closed_loop, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(closed_loop, "start_hold", start_hold)
    monkeypatch.setattr(closed_loop, "finish_hold", lambda lab, campaign, hold: campaign)
    for name in ("propose", "record_proposal", "question"):
        monkeypatch.setattr(closed_loop.tasks, name, lambda *_: "offer")
    for name in ("fault_of", "end_expired"):
        monkeypatch.setattr(closed_loop.asking, name, lambda *_: "")
    rig.valves["C04"].silent, rig.lab.simulated = answers_after > 0, False
    campaign: Any = SimpleNamespace(cycle=1)
    hold: Any = [SimpleNamespace(programme_key="r/c01/L1/hold")]
    _, doses = closed_loop.next_doses(rig.lab, campaign, hold)
    assert str(doses) == "the doses"
    assert phases == [f"hold-{n + 2}" for n in range(holds)]


def test_an_exposure_looks_at_what_was_left_out_before_its_valves_turn(
    rig: ValveRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "r/c01/L2/dose"
    perfusion.leave_out(rig.lab, key, "a test")
    seen: list[str] = []
    monkeypatch.setattr(
        valve_turns, "connect", lambda lab, *_: seen.append(perfusion.left_out_for(lab, key))
    )
    monkeypatch.setattr(perfusion, "start_pumps", lambda *_: [])
    campaign: Any = None
    with pytest.raises(WaitingForPerson):
        closed_loop.expose(rig.lab, campaign, rig.pilot(), 1)
    assert seen == [""]
