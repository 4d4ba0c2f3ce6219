"""Reader and meter in turns: processes that never meet on a wire, a fair line, holders that die or hang."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from instruments.bench import Bench, open_bench
from instruments.drivers import load_lab_settings
from instruments.emulators.catalogue import EMULATORS
from instruments.emulators.faults import FaultyWire
from instruments.emulators.serve import Switchboard, in_background
from instruments.errors import PortInUse, PortMissing
from instruments.lab_settings import LabSettingsNotValid
from instruments.port_lock import held_ports
from instruments.port_queue import Place
from instruments.shared import SharedMeter
from instruments.transport import NotSent
from instruments.wire_recorder import read_wire

PROJECT = Path(__file__).resolve().parents[2]
LAB = """
[plate_readers.reader]
make = "spectramax"
url = "{reader}"
shared = true

[impedance_meters.teer]
make = "emstat_pico"
url = "{teer}"
shared = true
start_hz = 1000
end_hz = 100
points = 3

[impedance_meters.teer.channels]
C01 = 0
C02 = 1
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Path]:
    """lab.toml of one emulated reader and one meter that are shared."""
    board = Switchboard()
    urls = {}
    for name, make in (("reader", "spectramax"), ("teer", "emstat_pico")):
        made = EMULATORS[make].build(lambda: 0.0, time.monotonic)
        wire = FaultyWire(made, time.monotonic)
        address = board.add_device(name, wire)
        urls[name] = address.pty or address.tcp  # closing a socket takes pyserial 0.3 s
    path = tmp_path / "lab.toml"
    path.write_text(LAB.format(**urls), encoding="utf-8")
    with in_background(board):
        yield path


@contextmanager
def user(lab: Path, name: str, turns: str) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the lab; killed at the end where it has not ended."""
    script = "tests.instruments.shared_users"
    command = [sys.executable, "-m", script, lab, lab.parent, name, turns]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def bench_of(lab: Path, run: str = "own", text: str = "") -> Iterator[Bench]:
    """The lab opened in this process."""
    if text:
        lab = lab.with_name(f"{run}.toml")
        lab.write_text(text, encoding="utf-8")
    folder = lab.parent / run
    folder.mkdir(exist_ok=True)
    settings = load_lab_settings(lab)
    with open_bench(settings, folder / "wire", run=folder, lock_dir=lab.parent / "locks") as opened:
        yield opened


def meter_of(bench: Bench) -> SharedMeter:
    """Return the only meter of a bench."""
    (meter,) = bench.meters.values()
    assert isinstance(meter, SharedMeter)
    return meter


def wait_for(lab: Path, said: str, process: subprocess.Popen[str]) -> None:
    """Return once a process has said something."""
    until_s = time.monotonic() + 30.0
    while said not in ((lab.parent / "log").read_text() if (lab.parent / "log").exists() else ""):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until_s, said
        time.sleep(0.005)


def test_two_processes_read_in_turns_and_every_turn_is_whole(lab: Path) -> None:
    turns = 6
    with ExitStack() as stack:
        users = {}
        for name in (
            "an",
            "bo",
        ):  # one after the other: whoever finds a device taken meets it later
            users[name] = stack.enter_context(user(lab, name, str(turns)))
            wait_for(lab, f"{name} ready", users[name])
        (lab.parent / "begin").touch()
        for process in users.values():
            assert process.wait(60.0) == 0, process.communicate()[1]
    said = [line.split() for line in (lab.parent / "log").read_text().splitlines()]
    at_meter = [words for words in said if words[1] in ("begin", "end")]
    # a turn is whole: whoever begins is the one who ends next
    assert all(
        (a[0], a[1], a[2], b[1]) == (b[0], "begin", b[2], "end")
        for a, b in zip(at_meter[::2], at_meter[1::2], strict=True)
    )
    assert len(at_meter) == 4 * turns
    for name in users:
        for port in ("reader", "teer"):
            wire = list(read_wire(lab.parent / name / "wire" / f"{port}.jsonl"))
            opened = sum("opened" in str(entry.get("text", "")) for entry in wire)
            assert opened == turns + 1  # met once at the beginning, then once per turn


def test_who_asked_first_is_served_first(tmp_path: Path) -> None:
    places = [Place("port", run, tmp_path) for run in ("a", "b", "c")]
    assert [w.run for w in places[2].before()] == ["a", "b"]
    places[0].leave()
    assert [w.run for w in places[2].before()] == ["b"]
    again = Place("port", "a", tmp_path)
    assert [w.run for w in again.before()] == ["b", "c"]
    assert places[1].before() == ()


def test_a_place_of_a_process_that_was_killed_is_passed_over(lab: Path) -> None:
    with user(lab, "an", "hold") as process, bench_of(lab) as bench:
        wait_for(lab, "an ready", process)
        (lab.parent / "begin").touch()
        wait_for(lab, "an holds", process)
        meter = meter_of(bench)
        assert "run an" in meter.try_turn() and "run an" in meter.try_turn()
        process.kill()
        process.wait()
        with meter.turn():
            assert len(meter.measure_spectrum("C01", 1.0).impedance_ohm) == 3
        assert meter.lock_names == frozenset()


def test_a_holder_that_hangs_is_told_when_the_longest_wait_is_over(lab: Path) -> None:
    text = lab.read_text().replace("shared = true", "shared = true\nlongest_wait_min = 0.002")
    with bench_of(lab, "hung") as hung, bench_of(lab, "mine", text) as bench:
        with meter_of(hung).turn():
            begun_s = time.monotonic()
            with pytest.raises(PortInUse, match="run hung.*nothing was sent"):
                meter_of(bench).measure_spectrum("C01", 1.0)
            assert time.monotonic() - begun_s >= 0.12
        # nobody stands in line any more because of it
        assert meter_of(bench).try_turn() == ""
        meter_of(bench).leave()


def test_a_slow_holder_is_waited_for(lab: Path) -> None:
    with bench_of(lab, "slow") as slow, bench_of(lab, "mine") as bench:
        held = meter_of(slow)
        assert held.try_turn() == ""
        threading.Timer(0.2, held.leave).start()
        begun_s = time.monotonic()
        assert len(meter_of(bench).measure_spectrum("C02", 1.0).impedance_ohm) == 3
        assert time.monotonic() - begun_s > 0.15


def test_a_run_that_does_not_share_keeps_the_port_and_is_named(lab: Path) -> None:
    alone = lab.read_text().replace("shared = true\nstart", "start")
    with bench_of(lab, "alone", alone), bench_of(lab, "mine") as bench:
        who = meter_of(bench).try_turn()
        assert "run alone" in who and "does not share it" in who
        meter_of(bench).leave()


def test_between_two_turns_the_port_is_free_and_during_one_its_lock_says_what_is_on_it(
    lab: Path,
) -> None:
    with bench_of(lab) as bench:
        locks = lab.parent / "locks"
        assert held_ports(locks) == []
        with meter_of(bench).turn():
            (held,) = held_ports(locks)
            assert (
                set(held.about["devices"]) == {"teer"} and held.name in meter_of(bench).lock_names
            )
        assert held_ports(locks) == []


def test_a_shared_device_that_is_not_there_is_told_before_anything_moves(lab: Path) -> None:
    text = lab.read_text().replace(
        'make = "emstat_pico"\nurl = "', 'make = "emstat_pico"\nurl = "/none'
    )
    with pytest.raises(PortMissing, match="teer"), bench_of(lab, "own", text):
        raise AssertionError("opened")


def test_a_bench_that_was_stopped_opens_no_shared_device(lab: Path) -> None:
    with bench_of(lab) as bench:
        meter = meter_of(bench)
        meter.refuse("stopped by process 4711")
        with pytest.raises(NotSent, match="stopped by process 4711"):
            meter.measure_spectrum("C01", 1.0)


def test_what_can_not_be_shared_is_refused_with_its_key(lab: Path) -> None:
    manual = '[impedance_meters.evom]\nmake = "manual_teer"\ninstrument = "evom"\nshared = true\n'
    path = lab.with_name("manual.toml")
    path.write_text(manual + "channels = {C01 = 0}\n", encoding="utf-8")
    with pytest.raises(LabSettingsNotValid, match="has no url"):
        load_lab_settings(path)
    path.write_text(
        lab.read_text().replace("shared = true", "longest_wait_min = 5"), encoding="utf-8"
    )
    with pytest.raises(LabSettingsNotValid, match="only where shared = true"):
        load_lab_settings(path)
