"""``kill -9`` at every journal step of a dose, every pump make, its emulator living on in its own process.

The controller is a forked process that is really killed; the next one opens port and journal anew.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chiploop import fault_points
from chiploop.record.actions import action_key
from chiploop.record.journal import Journal
from instruments import delivery
from instruments.drivers import DRIVERS
from instruments.errors import SyringeDiffers
from instruments.fault_points import FAULT_POINTS
from instruments.transport import SerialTransport
from instruments.wire_recorder import WireRecorder
from tests.instruments.fault_matrix import programme_of
from tests.instruments.matrix_makes import MAKES, MatrixMake, nothing

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes to fork here")


class Pump:
    """The emulated pump in its own process."""

    def __init__(self, make: MatrixMake) -> None:
        self.make = make
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.instruments.kill_world", make.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            text=True,
        )
        assert self.process.stdout is not None
        ports = json.loads(self.process.stdout.readline())
        self.url = ports["url"]
        self.socket = socket.create_connection(tuple(ports["control"]))
        self.answers = self.socket.makefile("r", encoding="utf-8")

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        self.socket.sendall((json.dumps({"do": do, **more}) + "\n").encode())
        return json.loads(self.answers.readline())  # type: ignore[no-any-return]

    def close(self) -> None:
        self.answers.close()
        self.socket.close()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


USUAL = ("NE-1000 safe", "Legato", "Reglo ICC", "Cavro OEM", "Chemyx")
"""One dialect of each make; the others are slow tests."""


@pytest.fixture(
    params=[pytest.param(n, marks=() if n in USUAL else pytest.mark.slow) for n in MAKES]
)
def pump(request: pytest.FixtureRequest) -> Iterator[Pump]:
    world = Pump(MAKES[request.param])
    yield world
    world.close()


@contextmanager
def driver_on(pump: Pump, folder: Path, name: str) -> Iterator[Any]:
    """Open the port as a new process does and meet the pump."""
    make = pump.make
    recorder = WireRecorder(folder / f"wire-{os.getpid()}.jsonl")
    port = SerialTransport(
        pump.url, settings=DRIVERS[make.make].port, recorder=recorder, lock_dir=folder
    )
    driver = make.driver(name, port, lambda s: pump.ask("advance", hours=s / 3600))
    try:
        try:
            driver.open()
        except SyringeDiffers:
            driver.confirm_syringe()
        yield driver
    finally:
        port.close()
        recorder.close()


def get_ready(pump: Pump, folder: Path) -> None:
    """Do what a person does before the first dose."""
    with driver_on(pump, folder, "ready") as driver:
        pump.make.make_ready(driver)


def control(pump: Pump, folder: Path, key: str, *, first: bool) -> None:
    """Do what a controller does: open the port, begin or resume the dose, read its end."""
    name = key.replace("/", "-")
    dose = programme_of(pump.make, name)
    with driver_on(pump, folder, name) as driver, Journal(folder / "journal.sqlite") as journal:
        if not first and not journal.programme(key):
            return
        begin: Callable[..., Any] = delivery.resume_programme
        arguments: tuple[Any, ...] = (journal, {name: driver}, "run", key)
        if first:
            begin, arguments = delivery.start_programme, (*arguments, dose)
        begin(*arguments, 0.0, lambda *_: None, lambda: None)
        pump.ask("advance", hours=1.2 * dose.duration_h)
        delivery.finish_programme(journal, {name: driver}, key, 1.0, lambda: None)


def in_a_process(work: Callable[[], None], fault: str) -> int:
    """Carry out in a forked process, killed at a fault point; return how it ended."""
    child = os.fork()
    if not child:
        try:
            os.environ["CHIPLOOP_FAULT"] = fault
            fault_points._passages.clear()
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("restart", ["soon", pytest.param("after", marks=pytest.mark.slow)])
def test_a_dose_whose_controller_is_killed_is_delivered_once_and_on_record(
    pump: Pump, tmp_path: Path, restart: str
) -> None:
    make = pump.make
    hours = make.volume_ul / make.flow_rate_ul_h
    slack_ul = max(2 * make.resolution_ul, 0.005 * make.volume_ul)
    killed = 0
    for number, fault in enumerate(FAULT_POINTS):
        key = f"run{number}/c01/L1/dose"
        pump.ask("new")
        if make.make_ready is not nothing:
            assert in_a_process(lambda: get_ready(pump, tmp_path), "") == 0
        before = pump.ask("truth")
        end = in_a_process(lambda key=key: control(pump, tmp_path, key, first=True), fault)
        assert end in (0, -signal.SIGKILL), f"{fault}: {end}"
        killed += end != 0
        if restart == "after":
            pump.ask("advance", hours=1.5 * hours)
        again = in_a_process(lambda key=key: control(pump, tmp_path, key, first=False), "")
        assert again == 0, f"{fault}: the next controller ended with {again}"
        truth = pump.ask("truth")
        flowed_ul = truth["delivered_ul"] - before["delivered_ul"]
        with Journal(tmp_path / "journal.sqlite") as journal:
            action = journal.action(action_key(key, key.replace("/", "-")))
        assert truth["starts"] - before["starts"] <= 1, f"{fault}: started twice"
        if action is None:
            assert flowed_ul == 0, f"{fault}: {flowed_ul} uL flowed and nothing is on record"
        elif action.end is not None:
            said_ul = float(action.end.body["delivered_ul"])
            assert said_ul == pytest.approx(flowed_ul, abs=slack_ul), fault
        else:
            assert action.held and not truth["moving"], f"{fault}: {action}"
    assert killed >= len(FAULT_POINTS) - 2, "clearing the counter may not be passed, all else is"
