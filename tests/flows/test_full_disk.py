"""A run in its own process whose disk is filled to the last byte by others: it lives, waits, and doses once.

Belongs here: a real small disk, real processes in real time on emulated instruments. Not here: what is done about
a full disk (test_disk_room).
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows.disk_room import DISK_IS_FULL, RESERVE_FILE
from flows.heartbeat import last_beat
from flows.opening import known_run
from flows.run_status import now_s, status_of
from instruments.emulators.control import start_lab_process
from tests.flows.conftest import SMALL_STUDY, edited
from tests.flows.small_disk import mount_small_disk
from tests.flows.test_killed_service import Bench

LONG = [
    ("stimulus_from: 12 h", "stimulus_from: 0 h"),
    ("exposure: 24 h", "exposure: 12 h"),
    ("teer: [24 h]", "teer: [12 h]"),
    ("effluent: [12 h, 24 h]", "effluent: [6 h, 12 h]"),
]


class Others:
    """Take every byte that is free, again and again, from the moment at which a run has its reserve."""

    def __init__(self, runs: Path) -> None:
        self.runs, self.path, self.ends = runs, runs / "others", threading.Event()
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self) -> None:
        while not self.ends.wait(0.02):
            if self.path.exists() or any(self.runs.glob(f"*/{RESERVE_FILE}")):
                with suppress(OSError), self.path.open("ab", buffering=0) as file:
                    for size in (2**20, 2**12, 1):
                        with suppress(OSError):
                            while file.write(b"x" * size):
                                pass

    def give(self) -> None:
        self.ends.set()
        self.thread.join()
        self.path.unlink(missing_ok=True)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    runs = tmp_path / "runs"
    runs.mkdir()
    mount_small_disk(runs, "384m")
    try:
        study = edited(SMALL_STUDY, tmp_path, LONG)
        state = tmp_path / "lab"
        state.mkdir()
        facts = {"study": str(study), "seed": 1, "matched": False}
        (state / "lab.json").write_text(json.dumps(facts), encoding="utf-8")
        opened = Bench(tmp_path, start_lab_process(state), study, 30.0)
        try:
            yield opened
        finally:
            opened.close()
            time.sleep(1.0)  # what was ended lets go of its files
    finally:
        subprocess.run(["umount", "-l", str(runs)], check=True)


@pytest.mark.slow
def test_a_run_waits_on_a_full_disk_without_dosing_and_goes_on_once_there_is_room(
    bench: Bench,
) -> None:
    others = Others(bench.runs)
    drugs = ("L1-low", "L2-low")
    try:
        begun = bench.chiploop("run", bench.study, "--lab", bench.folder / "lab.toml", "--yes")

        def waits() -> bool:
            beat = last_beat(bench.run_folder)
            return beat is not None and "WAITS for room" in beat.doing

        bench.until(waits, "a run that waits for room")
        assert not (bench.run_folder / RESERVE_FILE).exists()
        time.sleep(10.0)  # some looks for room
        now = status_of(known_run(str(bench.run_folder), bench.runs), now_s())
        assert now.process == begun["process"] and now.exit_code == 7
        assert now.doing.startswith(DISK_IS_FULL)
        assert all(bench.pump(one)["starts"] == 0 for one in drugs)
    finally:
        others.give()
    bench.until(lambda: all(bench.pump(one)["delivered_ul"] > 0.01 for one in drugs), "a dose")
    beat = last_beat(bench.run_folder)
    assert beat is not None and beat.pid == begun["process"], "the same process goes on"
    assert all(bench.pump(one)["starts"] == 1 for one in drugs)
    with Journal(bench.runs / "journal.sqlite") as journal:
        assert journal.verify().faults == () and journal.held(bench.run_folder.name) == {}
    with Record(f"sqlite:///{bench.runs / 'record.sqlite'}") as record:
        assert record.verify().faults == ()
