"""Too little room: no dose begins, and that is told without filling the disk with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.record.record import Record
from chiploop.study import load_study
from flows import disk_room
from flows.disk_room import DOSE_FLOOR_BYTES, LOW_DISK, kept_back_by, no_room
from tests.flows.conftest import SMALL_STUDY


def test_below_the_floor_nothing_is_dosed_and_it_is_on_record_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [DOSE_FLOOR_BYTES]
    monkeypatch.setattr(disk_room, "free_bytes", lambda folder: free[0])
    now = [36.0]
    with Record(str(tmp_path / "record.sqlite")) as record:
        record.add_run("r", load_study(SMALL_STUDY), 1, simulated=False)
        clock = SimpleNamespace(now_h=lambda: now[0])
        lab: Any = SimpleNamespace(folder=tmp_path, record=record, run_id="r", clock=clock)
        assert kept_back_by(lab) == "" and no_room(tmp_path) == ""
        for free[0] in (DOSE_FLOOR_BYTES - 1, DOSE_FLOOR_BYTES - 2, 10):
            now[0] += 0.5
            assert "are needed before a dose begins" in kept_back_by(lab)
        assert [event.time_h for event in record.events("r", LOW_DISK)] == [36.5]
        now[0] += disk_room.AGAIN_H
        assert kept_back_by(lab)
        assert len(record.events("r", LOW_DISK)) == 2
        free[0] = DOSE_FLOOR_BYTES
        assert kept_back_by(lab) == ""
