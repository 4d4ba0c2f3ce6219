"""The lab process: it ends with its owner, forgets nothing, and lets nobody else in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import serial

from instruments.emulators.control import (
    LAB_PROCESS,
    ControlChannel,
    LabHandle,
    VirtualLabTrouble,
    start_lab_process,
)
from instruments.emulators.serve import HAS_PTYS
from tests.instruments.emulators import fake_lab

FAKE_LAB = (sys.executable, "-m", "tests.instruments.emulators.fake_lab")
DOSE = b"1RAT 20 UH\r1VOL UL\r1VOL 100\r1RUN\r"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / "lab.json").write_text(json.dumps({"study": "study.yaml", "seed": 7}))
    return tmp_path


Start = Callable[..., LabHandle]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start labs that are ended with the test, however it goes."""
    with ExitStack() as stack:
        yield lambda folder, command=FAKE_LAB: stack.enter_context(
            start_lab_process(folder, command=command, timeout_s=60)
        )


def ask(lab: LabHandle, sent: bytes, length: int, way: str = "tcp") -> bytes:
    with serial.serial_for_url(lab.ports["pumps"][way], timeout=5) as port:
        port.write(sent)
        return bytes(port.read(length))


def begin_dose(lab: LabHandle) -> None:
    assert ask(lab, b"1\r1DIA 19.13\r" + DOSE, 32).endswith(b"\x0201I\x03")


def test_lab_serves_its_devices_and_its_control_channel(state_dir: Path, start: Start) -> None:
    with start(state_dir) as lab:
        hello = lab.control.call("hello")
        assert (hello["time_h"], hello["seed"], hello["matched"]) == (0.0, 7, False)
        assert hello["ports"] == lab.ports
        assert json.loads((state_dir / "ports.json").read_text())["ports"] == lab.ports
        begin_dose(lab)
        assert lab.control.call("advance", to_h=2.0)["time_h"] == 2.0
        assert ask(lab, b"1DIS\r", 19) == b"\x0201II40.00W0.000UL\x03"
        if HAS_PTYS:
            assert ask(lab, b"1DIS\r", 19, "pty") == b"\x0201II40.00W0.000UL\x03"
        truth = lab.control.call("truth")
        assert truth["goals"] == {"half": 1.0}
        assert truth["pumps"]["L1-low"]["delivered_ul"] == truth["felt_ul"]["L1-low"] == 40.0
        assert truth["pumps"]["L1-low"]["starts"] == 1
        with pytest.raises(VirtualLabTrouble, match="refused 'fly'"):
            lab.control.call("fly")


def test_a_second_control_client_is_heard_at_the_same_time(state_dir: Path, start: Start) -> None:
    with start(state_dir) as lab:
        other = ControlChannel(lab.control.host, lab.control.port)
        assert other.call("advance", to_h=1.0)["time_h"] == 1.0
        assert lab.control.call("hello")["time_h"] == 1.0
        other.close()


def test_end_of_the_owners_pipe_ends_the_process_and_a_restart_goes_on(
    state_dir: Path, start: Start
) -> None:
    lab = start(state_dir)
    begin_dose(lab)
    lab.control.call("advance", to_h=2.0)
    with serial.serial_for_url(lab.ports["pumps"]["tcp"], timeout=5) as port:
        port.write(b"1STP\r")
        port.flush()
        assert lab.close() == 0
    with start(state_dir) as lab:
        assert lab.control.call("hello")["time_h"] == 2.0
        lab.control.call("advance", to_h=50.0)
        assert ask(lab, b"1DIS\r", 19) == b"\x0201PI40.00W0.000UL\x03"
        assert lab.control.call("truth")["felt_ul"]["L1-low"] == 40.0


@pytest.mark.parametrize("killings", [1, 3])
def test_killed_lab_loses_nothing_that_it_has_answered(
    state_dir: Path, start: Start, killings: int
) -> None:
    for turn in range(killings):
        lab = start(state_dir)
        if turn == 0:
            begin_dose(lab)
        lab.control.call("advance", to_h=turn + 1.0)
        lab.process.kill()
        lab.close()
    with start(state_dir) as lab:
        assert lab.control.call("hello")["time_h"] == killings
        lab.control.call("advance", to_h=100.0)
        assert ask(lab, b"1DIS\r", 19) == b"\x0201SI100.0W0.000UL\x03"
        truth = lab.control.call("truth")
        assert truth["pumps"]["L1-low"]["starts"] == 1
        assert truth["felt_ul"]["L1-low"] == pytest.approx(100.0, abs=1e-9)


def test_lab_dies_with_an_owner_that_is_killed(state_dir: Path, start: Start) -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from instruments.emulators.control import start_lab_process;"
            f"lab = start_lab_process(sys.argv[1], command={FAKE_LAB!r});"
            "print(lab.process.pid, flush=True); time.sleep(60)",
            str(state_dir),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert owner.stdout is not None
    with owner.stdout:
        assert int(owner.stdout.readline()) > 0
    ports = json.loads((state_dir / "ports.json").read_text())
    control = ControlChannel(**ports["control"])
    owner.kill()
    owner.wait()
    deadline_s = time.monotonic() + 10
    with pytest.raises(VirtualLabTrouble):
        while time.monotonic() < deadline_s:
            control.call("hello")
            time.sleep(0.02)
    control.close()
    start(state_dir).close()


def test_a_second_process_on_the_same_folder_is_refused(state_dir: Path, start: Start) -> None:
    with start(state_dir) as lab:
        with pytest.raises(VirtualLabTrouble, match="another process serves"):
            start(state_dir)
        assert lab.control.call("hello")["ok"]


def test_a_folder_without_settings_is_refused(tmp_path: Path, start: Start) -> None:
    with pytest.raises(VirtualLabTrouble, match="lab.json could not be read"):
        start(tmp_path)


def test_pump_alarm_of_power_up_is_seen_once_not_at_every_restart(
    state_dir: Path, start: Start
) -> None:
    with start(state_dir) as lab:
        assert ask(lab, b"0\r0\r", 12) == b"\x0200A?R\x03\x0200S\x03"
    with start(state_dir) as lab:
        assert ask(lab, b"0\r", 5) == b"\x0200S\x03"


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C reaches a process group on POSIX")
def test_ctrl_c_is_left_to_the_owner(state_dir: Path, start: Start) -> None:
    with start(state_dir) as lab:
        lab.process.send_signal(signal.SIGINT)
        assert lab.control.call("advance", to_h=1.0)["time_h"] == 1.0


@pytest.mark.slow
def test_lab_of_the_demo_study_goes_on_after_it_was_killed(tmp_path: Path, start: Start) -> None:
    study = Path(__file__).resolve().parents[3] / "protocols/studies/ad_jak_dose_finding.yaml"
    (tmp_path / "lab.json").write_text(json.dumps({"study": str(study), "seed": 3}))
    lab = start(tmp_path, LAB_PROCESS)
    assert len(ask(lab, b"0\r0DIA 26.72\r0RAT 180 UH\r0VOL UL\r0VOL 4320\r0RUN\r", 32)) == 32
    lab.control.call("advance", to_h=12.0)
    before = lab.control.call("truth")
    lab.process.kill()
    lab = start(tmp_path, LAB_PROCESS)
    assert lab.control.call("truth") == before
    lab.control.call("advance", to_h=48.0)
    medium = lab.control.call("truth")["pumps"]["L1-medium"]
    assert medium["flow_intervals"] == [[0.0, 24.0, 180.0]]
    assert medium["delivered_ul"] == 4320.0


def test_fake_tissue_is_the_kind_of_thing_a_lab_takes() -> None:
    rig, tissue = fake_lab.open_fake({}, Path())
    assert rig.chips == ("C01", "C02")
    assert tissue.truth()["felt_ul"]["L1-low"] == 0.0
