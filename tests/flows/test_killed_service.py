"""A run in its own process that is killed, or hangs, on instruments that live on: its supervisor acts, once.

Belongs here: real processes in real time on emulated instruments. Not here: what is done about a line
(test_supervisor), faults of pumps (test_perfusion).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows.alarming import ALARM_FILE
from flows.heartbeat import last_beat
from flows.opening import virtual_settings
from instruments.bench import open_bench
from instruments.drivers import load_lab_settings
from instruments.emulators.control import LabHandle, start_lab_process
from tests.flows.conftest import SMALL_STUDY, edited
from tests.flows.run_checks import alive_of, only_run

PATIENCE_S = 240.0
SUPERVISED = """
[supervisor]
after_min = 0.02
hung_after_min = {hung_after_min}
plain_medium_h = 2.0
"""


class Bench:
    """Emulated instruments whose time is real, and commands that use them."""

    def __init__(self, folder: Path, lab: LabHandle, study: Path, hung_after_min: float) -> None:
        self.folder, self.lab, self.study, self.runs = folder, lab, study, folder / "runs"
        settings = virtual_settings(load_study(study), lab, folder)
        settings += SUPERVISED.format(hung_after_min=hung_after_min)
        (folder / "lab.toml").write_text(settings, encoding="utf-8")
        bench = load_lab_settings(folder / "lab.toml")
        with open_bench(bench, folder / "wire", confirm_syringes=True):
            pass  # as a person does once for a real bench
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.tick, daemon=True)
        self.thread.start()

    def tick(self) -> None:
        begun_s = time.monotonic()
        while not self.ends.wait(0.5):
            self.lab.control.call("advance", to_h=(time.monotonic() - begun_s) / 3600.0)

    def pump(self, name: str) -> dict[str, Any]:
        return dict(self.lab.control.call("truth")["pumps"][name])

    def chiploop(self, *words: str | Path) -> dict[str, Any]:
        command = [
            sys.executable,
            "-c",
            "from flows.cli.main import main; main()",
            *map(str, words),
        ]
        ended = subprocess.run(
            [*command, "--runs", str(self.runs), "--json"], capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return dict(json.loads(ended.stdout))

    @property
    def run_folder(self) -> Path:
        return self.runs / only_run(self.runs)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > until_s:
                logs = [*self.run_folder.glob("*.log")]
                told = "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)
                pytest.fail(f"{what} did not come about in {PATIENCE_S:g} s\n{told}")
            time.sleep(0.2)

    def close(self) -> None:
        """End the processes of this run, and the lab."""
        for told in alive_of(self.run_folder):
            with suppress(ProcessLookupError):
                os.kill(int(told.split(":")[0]), signal.SIGKILL)
        self.ends.set()
        self.thread.join()
        self.lab.close()


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    changes = [
        ("stimulus_from: 12 h", "stimulus_from: 0 h"),
        # below 1 mL this pump counts in nL: after seconds a coarser counter could not tell, and its line is held
        ("exposure: 24 h", "exposure: 12 h"),
        ("teer: [24 h]", "teer: [12 h]"),
        ("effluent: [12 h, 24 h]", "effluent: [6 h, 12 h]"),
    ]
    study = edited(SMALL_STUDY, tmp_path, changes)
    state = tmp_path / "lab"
    state.mkdir()
    facts = {"study": str(study), "seed": 1, "matched": False}
    (state / "lab.json").write_text(json.dumps(facts), encoding="utf-8")
    opened = Bench(tmp_path, start_lab_process(state), study, request.param[1])
    opened.how = request.param[0]  # type: ignore[attr-defined]
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "bench",
    [(signal.SIGKILL, 30.0), (signal.SIGSTOP, 0.5)],
    ids=["killed", "hangs"],
    indirect=True,
)
def test_drug_stops_plain_medium_flows_the_alarm_is_told_once_and_no_dose_is_given_twice(
    bench: Bench,
) -> None:
    begun = bench.chiploop("run", bench.study, "--lab", bench.folder / "lab.toml", "--yes")
    drugs, plain = ("L1-low", "L2-low"), ("L1-medium", "L2-medium")
    stimuli = ("L1-stimulus", "L2-stimulus")
    bench.until(lambda: all(bench.pump(one)["delivered_ul"] > 0.01 for one in drugs), "a dose")
    assert all(bench.pump(one)["flow_ul_h"] == 0.0 for one in plain)
    os.kill(begun["process"], bench.how)  # type: ignore[attr-defined]

    bench.until(lambda: all(bench.pump(one)["flow_ul_h"] > 0.0 for one in plain), "plain medium")
    assert all(bench.pump(one)["flow_ul_h"] == 0.0 for one in (*drugs, *stimuli))
    folder = bench.run_folder
    assert "NOBODY WORKS ON THIS RUN" in (folder / ALARM_FILE).read_text()
    given = {one: bench.pump(one)["delivered_ul"] for one in drugs}
    assert all(given.values())

    bench.until(lambda: resumed(bench), "the supervisor's hands off the run")
    beat = last_beat(folder)
    assert beat is not None and beat.pid != begun["process"]
    bench.until(
        lambda: all(bench.pump(one)["starts"] == 2 for one in plain),
        "medium to the end of the dose",
    )
    with Journal(bench.runs / "journal.sqlite") as journal:
        assert journal.held(folder.name) == {}
        assert journal.verify().faults == ()
        doses = [
            a for a in journal.actions(folder.name) if a.intent.programme_key.endswith("/dose")
        ]
    assert all(action.end is not None for action in doses), "the counters told what was given"
    for one in drugs:
        assert bench.pump(one)["starts"] == 1
        assert bench.pump(one)["delivered_ul"] == given[one]
    with Record(f"sqlite:///{bench.runs / 'record.sqlite'}") as record:
        assert len(record.events(folder.name, "alarm")) == 1


def resumed(bench: Bench) -> bool:
    """Return whether the run could be taken up; the supervisor owns it for the moment in which it acts."""
    try:
        bench.chiploop("resume", only_run(bench.runs))
    except AssertionError as refused:
        assert "CL-403" in str(refused), refused
        return False
    return True
