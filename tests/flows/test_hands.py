"""What people do by hand: real times in the readouts, nothing read of what was skipped, no chip without flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chiploop.worklist import HandDone
from flows import hands
from flows.closed_loop import closed_loop
from flows.prefect_server import PrefectServer
from tests.flows.people_at_work import do_what_is_due, people_at_work


def test_a_run_waits_for_hands_with_flow_and_learns_from_what_they_really_did(
    prefect_api: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: set[str] = set()

    def say(lab: Any, task: str, state: Any, **more: Any) -> None:
        if task not in said:
            said.add(task)
            hands.say_of(lab.record, lab.run_id, HandDone(task, state, "carol", **more), 0.0)

    def act(lab: Any, time_h: float) -> None:
        """Cycle 1 runs from 12 to 36 h; its effluent is due from 24 to 36 h, a hold lasts for 2 h."""
        if time_h >= 36.5:
            from_to = {"from_h": 24.5, "at_h": 36.5, "volumes_ul": {"C01": 300.0}}
            say(lab, "c01/collect/L1", "done", **from_to)
            say(lab, "c01/collect/L2", "skipped", why="the tube fell")
        if time_h >= 39.0:  # a hold ended at 38 h
            say(lab, "c01/plate/CCL26", "done", at_h=39.0)
            do_what_is_due(lab, but={"c01/plate/CCL26"})

    with people_at_work(tmp_path, [("cycles: 2", "cycles: 2")], monkeypatch, act) as (lab, told):
        closed_loop(lab)
        record, run_id = lab.record, lab.run_id
        first = [r for r in record.readouts(run_id, 1) if r.plate]
        assert {r.chip_id for r in first} == {"C01"}
        assert {(r.window_start_h, r.time_h) for r in first} == {(24.5, 36.5)}
        assert {r.qc for r in first} == {"warn"}
        assert all("recovery 42 %: 300 uL collected, 720 uL flowed" in r.reasons for r in first)
        second = [r for r in record.readouts(run_id, 2) if r.plate]
        assert {r.chip_id for r in second} == {"C01", "C02"}
        assert {(r.window_start_h, r.time_h) for r in second if r.chip_id == "C02"} != {
            (24.5, 36.5)
        }
        late = [
            e.content["task"]
            for e in record.events(run_id, hands.HAND)
            if e.content["state"] == "late"
        ]
        assert "c01/plate/CCL26" in late and "c01/collect/L1" not in late
        holds = {
            a.intent.programme_key.rsplit("/", 1)[1]: a.begun_h
            for a in lab.journal.actions(run_id)
            if "/hold" in a.intent.programme_key and "/L1/" in a.intent.programme_key
        }
        assert holds["hold"] == pytest.approx(36.0, abs=0.1)
        assert holds["hold-2"] == pytest.approx(38.0, abs=0.1)  # no hour without flow
        assert any("C02: effluent skipped, no CCL26 of these chips" in one for one in told)
        run = record.run(run_id)
        assert run is not None and run.state == "finished"
