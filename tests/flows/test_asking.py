"""Doses that wait for people: two of them, until when, and what a row that lies can not do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.campaign import first_proposal, start
from chiploop.dosing import remaining_ul
from chiploop.record.chain import RecordConflict
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import Study, load_study
from flows import asking
from flows.asking import NotApproved
from flows.closed_loop import closed_loop
from flows.prefect_server import PrefectServer
from instruments.delivery import quantise_with
from tests.flows.conftest import SMALL_STUDY, edited
from tests.flows.people_at_work import (
    Person,
    begun_doses,
    do_what_is_due,
    people_at_work,
    proposals,
)
from tests.flows.test_perfusion import Rig

APPROVAL = ("approval: {by: auto}", "approval: {by: person, expires: 3 h, two_above: 10 %}")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return load_study(edited(SMALL_STUDY, tmp_path, [APPROVAL]))


@pytest.fixture
def rig(tmp_path: Path, study: Study) -> Iterator[Rig]:
    """Fake pumps beside a real record, on which the pilot is proposed."""
    with Journal(tmp_path / "journal.sqlite") as journal, Record(str(tmp_path / "r.sqlite")) as own:
        made = Rig(tmp_path, journal, study=study)
        own.add_run("r", study, 1, False)
        made.lab.record = own
        made.lab.simulated = False
        pilot = first_proposal(start(study), quantise_with(made.pumps), remaining_ul(study, {}))
        own.add_proposal("r", 1, asdict(pilot))
        yield made


def begin(rig: Rig) -> list[Any]:
    """Start the pilot's doses whatever people said, as a flow would that has lost its mind."""
    return rig.start("L1", nm=60.0)


def test_a_decision_row_without_the_two_approvals_behind_it_starts_no_pump(rig: Rig) -> None:
    rig.lab.record.add_decision("r/c01/p1", "approve", "alice", "planted")
    with pytest.raises(NotApproved, match="needs 2 persons.*nobody approved"):
        begin(rig)
    assert not rig.runs("L1-low") and not rig.runs("L1-stimulus")


def test_the_first_of_two_approvals_starts_no_pump_and_the_second_does(rig: Rig) -> None:
    record = rig.lab.record
    record.add_approval("r/c01/p1", "alice", "", 2, 0.0)
    with pytest.raises(NotApproved, match="nothing is approved"):
        asking.refuse_unapproved(rig.lab, rig.programme("L1", 60.0), 1)
    record.add_approval("r/c01/p1", "bob", "", 2, 0.0)
    assert asking.fault_of(rig.lab, "r/c01/p1") == ""
    begin(rig)
    assert rig.runs("L1-low")


def test_another_dose_than_the_approved_one_starts_no_pump(rig: Rig) -> None:
    for name in ("alice", "bob"):
        rig.lab.record.add_approval("r/c01/p1", name, "", 2, 0.0)
    with pytest.raises(NotApproved, match="has another dose there"):
        rig.start("L1", nm=61.0)
    with pytest.raises(NotApproved, match="in cycle 2: nothing is approved"):
        asking.refuse_unapproved(rig.lab, rig.programme("L1", 60.0), 2)
    assert not rig.runs("L1-low")


def test_an_approval_after_the_end_counts_for_nothing_in_a_real_run(
    tmp_path: Path, study: Study
) -> None:
    stamps = iter(f"2026-11-23T{hour:02d}:00:00+00:00" for hour in (8, 9, 10, 14))
    one = study.model_copy(
        update={"approval": study.approval.model_copy(update={"two_above": None})}
    )
    with Record(str(tmp_path / "x.sqlite"), now_utc=lambda: next(stamps, "-")) as record:
        record.add_event("r", "first", 0.0, {})
        record.add_proposal("r", 2, {"doses": []})  # 9 h
        record.add_event("r", "between", 0.0, {})
        record.add_approval("r/c02/p1", "alice", "", 1, 0.0)  # 14 h, and 12 h was the end
        lab: Any = SimpleNamespace(record=record, run_id="r", study=one, simulated=False)
        assert "after it had expired, at 2026-11-23 12:00" in asking.fault_of(lab, "r/c02/p1")


def test_an_approval_that_waited_for_others_past_the_end_is_not_kept(tmp_path: Path) -> None:
    """It would be on record as the decision, given by nobody, and no fresh proposal would take its place."""
    end = datetime(2026, 11, 23, 12, tzinfo=UTC)
    now = ["2026-11-23T11:59:59.900000+00:00"]
    with Record(str(tmp_path / "x.sqlite"), now_utc=lambda: now[0]) as record:
        proposal = record.add_proposal("r", 2, {"doses": []})
        now[0] = "2026-11-23T12:00:00.000000+00:00"
        with pytest.raises(RecordConflict, match="expired before"):
            record.add_approval(proposal, "alice", "", 1, 0.0, end)
        with pytest.raises(RecordConflict, match="expired before"):
            edit = {"doses": [], "edited_from": proposal}
            record.replace_proposal(proposal, edit, "alice", "", not_after=end)
        assert record.decision_for(proposal) is None and len(record.proposals("r")) == 1
        now[0] = "2026-11-23T11:59:59.999999+00:00"
        assert record.add_approval(proposal, "alice", "", 1, 0.0, end)


def test_an_edit_buys_no_time(tmp_path: Path) -> None:
    stamps = iter(f"2026-11-23T{hour:02d}:00:00+00:00" for hour in (8, 12, 12, 12, 12))
    with Record(str(tmp_path / "x.sqlite"), now_utc=lambda: next(stamps)) as record:
        first = record.add_proposal("r", 2, {"doses": []})
        edit = record.replace_proposal(
            first, {"doses": [], "edited_from": first}, "alice", "", needs=2
        )
        (_, own) = record.proposals("r")
        assert own.key == edit and asking.asked_at(record, "r", own).utc.hour == 8


def test_a_run_holds_until_two_have_approved_a_fresh_proposal_and_the_expired_one_stays_refused(
    prefect_api: PrefectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "runs"
    alice, bob = (Person(name, runs, monkeypatch) for name in ("alice", "bob"))
    seen: dict[str, float] = {}

    def act(lab: Any, time_h: float) -> None:
        do_what_is_due(lab)
        now = proposals(lab.record, lab.run_id, 2)
        if not now:
            return
        (first, decided), *later = now
        if decided == "open":
            seen.setdefault("asked", time_h)
            if time_h > seen["asked"] + 3.0 and "refused" not in seen:
                seen["refused"] = time_h
                assert alice.types("approve", lab.run_id) == 2
        elif later[-1][1] == "open":
            if "first" not in seen:
                seen["first"] = time_h
                assert alice.types("approve", lab.run_id, "--why", "read it twice") == 0
                assert alice.types("approve", lab.run_id) == 2
            elif time_h > seen["first"] + 1.9:  # a hold has ended with one approval alone
                seen["second"] = time_h
                assert bob.types("approve", lab.run_id) == 0
        if later[-1:] and later[-1][1] != "approve":
            assert begun_doses(lab, 2) == 0

    def approve_the_pilot(lab: Any) -> None:
        while not proposals(lab.record, lab.run_id, 1):
            pass
        assert alice.types("approve", lab.run_id) == 0
        assert bob.types("approve", lab.run_id) == 0

    # a fit that hardly looks gives any risk; here it is above the study's limit
    monkeypatch.setattr("chiploop.approvals.risk_above", lambda rule, content: ("L1 (15 %)",))
    with people_at_work(tmp_path, [APPROVAL], monkeypatch, act) as (lab, told):
        people = threading.Thread(target=approve_the_pilot, args=(lab,))
        people.start()
        closed_loop(lab)
        people.join()
        first, second = proposals(lab.record, lab.run_id, 2)
        assert (first[1], second[1]) == ("expire", "approve")
        said = capsys.readouterr().err
        assert f"{first[0]} expired" in said and "fresh proposal" in said
        assert f"alice has approved {second[0]} before" in said
        decision = lab.record.decision_for(second[0])
        assert decision is not None and decision.by == "alice, bob"
        doses = [a for a in lab.journal.actions(lab.run_id) if "/c02/" in a.intent.programme_key]
        begins = min(a.begun_h for a in doses if a.intent.programme_key.endswith("/dose"))
        assert begins > seen["second"] > seen["first"] + 1.5
        assert lab.record.run(lab.run_id).state == "finished"  # type: ignore[union-attr]
        assert sum("EXPIRED" in one for one in told) == 1
