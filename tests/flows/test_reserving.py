"""What a run reserves, by lab.toml and record: made before anything is opened, moved, released, left behind."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chiploop.measurement import Readout
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.reservations import reservations_on, reserve
from chiploop.study import load_study
from chiploop.worklist import HandDone
from flows import hands
from flows.opening import RunFiles, new_run, put_on_record, virtual_settings
from flows.reserving import (
    TURN,
    InstrumentReserved,
    conflicts_with,
    device_of,
    reading_times,
    reserved,
    standing,
    stretches_of,
)
from instruments.bench import bench_ports
from instruments.drivers import load_lab_settings
from instruments.lab_settings import LabSettings
from tests.flows.conftest import SMALL_STUDY, edited

OTHER = [
    ("id: L1, chips: {C01", "id: L3, chips: {C03"),
    ("id: L2, chips: {C02", "id: L4, chips: {C04"),
    ("name: small", "name: other"),
]


@dataclass
class Ports:
    """What ``virtual_settings`` wants of a virtual lab."""

    ports: dict[str, dict[str, str]]


@dataclass
class SetClock:
    """A clock that a test sets."""

    begun_s: float = field(default_factory=time.time)
    time_h: float = 0.0
    stopped_by: Any = None

    def now_h(self) -> float:
        return self.time_h

    def wait_until_h(self, time_h: float) -> None:
        raise AssertionError("waits")


def lab_of(folder: Path, files: RunFiles, bus: str, shared: bool = True) -> LabSettings:
    """Return lab.toml of a run: pumps on a bus of its own, reader and meter that all have."""
    ports = {name: {"pty": f"/dev/test-{name}", "tcp": ""} for name in ("reader", "teer")}
    text = virtual_settings(
        files.study,
        Ports({"pumps": {"pty": bus, "tcp": ""}, **ports}),
        folder,  # type: ignore[arg-type]
    )
    for make in ('make = "spectramax"', 'make = "emstat_pico"'):
        text = text.replace(make, f"{make}\nshared = {str(shared).lower()}")
    path = files.folder / "lab.toml"
    path.write_text(text, encoding="utf-8")
    return load_lab_settings(path)


@dataclass
class Room:
    """Runs of one folder on one record."""

    folder: Path
    record: Record
    stack: ExitStack

    def run(self, changes: list[tuple[str, str]]) -> RunFiles:
        (self.folder / "text").mkdir(exist_ok=True)
        study = load_study(edited(SMALL_STUDY, self.folder / "text", changes))
        files = new_run(study, self.folder / "runs", 1, False, False)
        put_on_record(self.record, files)
        return files

    def journal(self, files: RunFiles) -> Journal:
        return self.stack.enter_context(Journal(files.folder / "journal.sqlite"))

    def enter(self, files: RunFiles, settings: LabSettings, clock: SetClock) -> Any:
        return reserved(self.record, self.journal(files), files, settings, clock)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with ExitStack() as stack:
        record = stack.enter_context(Record(f"sqlite:///{tmp_path / 'record.sqlite'}"))
        yield Room(tmp_path, record, stack)


def left_behind(record: Record, files: RunFiles, settings: LabSettings) -> None:
    """Reserve for a run in a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    needs = stretches_of(settings, [], time.time())
    who = {"simulated": False, "host": platform.node(), "pid": process.pid}
    more = {"process_started": 1.0, "folder": str(files.folder)}
    reserve(record, files.run_id, 1.0, needs, {**who, **more})


def test_a_device_is_its_port_whatever_two_files_call_it(room: Room, tmp_path: Path) -> None:
    first, second = room.run([]), room.run(OTHER)
    one = lab_of(tmp_path, first, "/dev/test-bus")
    other = lab_of(tmp_path, second, "/dev/./test-bus")
    of_one = {port.name: device_of(port) for port in bench_ports(one)}
    of_other = {port.name: device_of(port) for port in bench_ports(other)}
    assert of_one == of_other and len(set(of_one.values())) == 3


def test_two_runs_with_pumps_of_their_own_share_reader_and_meter(
    room: Room, tmp_path: Path
) -> None:
    first, second = room.run([]), room.run(OTHER)
    a, b = lab_of(tmp_path, first, "/dev/test-a"), lab_of(tmp_path, second, "/dev/test-b")
    clock = SetClock()
    with room.enter(first, a, clock), room.enter(second, b, clock):
        assert len(reservations_on(room.record)) == 2
        (mine,) = (r for r in reservations_on(room.record) if r.run_id == second.run_id)
        found = conflicts_with(mine.stretches, standing(room.record, time.time(), second.run_id))
        # both are due at the same minutes: told as waiting, none of it bars
        assert found and not any(one.bars for one in found)
        assert {one.name for one in found} == {"teer", "reader"}


def test_pumps_of_another_run_are_refused_and_the_refused_run_has_nothing_reserved(
    room: Room, tmp_path: Path
) -> None:
    first, second = room.run([]), room.run([])
    lab = lab_of(tmp_path, first, "/dev/test-a")
    clock = SetClock()
    with room.enter(first, lab, clock):
        with (
            pytest.raises(InstrumentReserved, match="(?s)nothing was sent.*bus pumps"),
            room.enter(second, lab, clock),
        ):
            raise AssertionError("entered")
        assert [one.run_id for one in reservations_on(room.record)] == [first.run_id]


def test_a_meter_that_one_run_does_not_share_bars_the_other(room: Room, tmp_path: Path) -> None:
    first, second = room.run([]), room.run(OTHER)
    alone = lab_of(tmp_path, first, "/dev/test-a", shared=False)
    b = lab_of(tmp_path, second, "/dev/test-b")
    with room.enter(first, alone, SetClock()):
        with (
            pytest.raises(InstrumentReserved, match="teer: run"),
            room.enter(second, b, SetClock()),
        ):
            raise AssertionError("entered")


def test_a_run_that_told_no_pump_anything_or_has_finished_keeps_nothing(
    room: Room, tmp_path: Path
) -> None:
    files = room.run([])
    lab = lab_of(tmp_path, files, "/dev/test-a")
    with pytest.raises(KeyError), room.enter(files, lab, SetClock()):
        raise KeyError("the bench did not open")
    assert reservations_on(room.record) == ()


def test_a_run_that_nobody_works_on_keeps_its_pumps_and_is_told_as_such(
    room: Room, tmp_path: Path
) -> None:
    dead, second = room.run([]), room.run([])
    lab = lab_of(tmp_path, dead, "/dev/test-a")
    left_behind(room.record, dead, lab)
    (one,) = standing(room.record, time.time())
    assert one.left and {s.alone for s in one.reservation.stretches} == {True}
    with (
        pytest.raises(
            InstrumentReserved, match=f"(?s){dead.run_id}, WHICH NOBODY WORKS ON.*--release"
        ),
        room.enter(second, lab, SetClock()),
    ):
        raise AssertionError("entered")
    room.record.add_state(dead.run_id, "finished", 5.0)
    assert standing(room.record, time.time()) == []


def test_a_run_with_pumps_named_as_anothers_of_the_same_folder_does_not_begin(
    room: Room, tmp_path: Path
) -> None:
    first, second = room.run([]), room.run([])
    left_behind(room.record, first, lab_of(tmp_path, first, "/dev/test-a"))
    other_bus = lab_of(tmp_path, second, "/dev/test-b")
    with (
        pytest.raises(InstrumentReserved, match=f"{first.run_id} has pumps of the same names"),
        room.enter(second, other_bus, SetClock()),
    ):
        raise AssertionError("entered")
    assert [one.run_id for one in reservations_on(room.record)] == [first.run_id]


def test_a_run_of_another_computer_is_taken_at_its_word(room: Room, tmp_path: Path) -> None:
    files = room.run([])
    lab = lab_of(tmp_path, files, "/dev/test-a")
    left_behind(room.record, files, lab)
    (one,) = reservations_on(room.record)
    who = {"simulated": False, "host": "elsewhere", "pid": one.pid, "process_started": 1.0}
    reserve(room.record, files.run_id, 2.0, one.stretches, {**who, "folder": one.folder})
    assert [s.left for s in standing(room.record, time.time())] == [False]


def test_what_is_reserved_moves_with_the_run_and_its_place_stays(
    room: Room, tmp_path: Path
) -> None:
    files = room.run([])
    lab = lab_of(tmp_path, files, "/dev/test-a")
    clock = SetClock()
    with room.enter(files, lab, clock) as move:
        (before,) = reservations_on(room.record)
        clock.time_h = 40.0  # the first exposure should have begun at 12 h
        move()
        (after,) = reservations_on(room.record)
        end_s = {s.to_s for s in after.stretches if s.alone}
        assert end_s == {clock.begun_s + 3600.0 * (40.0 + 24.0 + 2.0 + 24.0)}
        assert min(s.from_s for s in after.stretches if not s.alone) > before.stretches[0].from_s
        assert after.since == before.since


def test_a_simulated_run_with_a_laboratory_of_its_own_reserves_nothing(
    room: Room, tmp_path: Path
) -> None:
    files = replace(room.run([]), simulated=True)
    lab = lab_of(tmp_path, files, "/dev/test-a", shared=False)
    with room.enter(files, lab, SetClock()):
        assert reservations_on(room.record) == ()


def test_readings_on_record_say_how_long_one_takes(room: Room, tmp_path: Path) -> None:
    files = room.run([])
    lab = lab_of(tmp_path, files, "/dev/test-a")
    assumed = reading_times(room.record, lab)
    assert (assumed.spectrum_s, assumed.plate_s) == (60.0, 300.0)
    device = {p.name: device_of(p) for p in bench_ports(lab)}
    for n, took_s in enumerate((30.0, 50.0)):
        content = {"device": device["teer"], "kind": "impedance_meter", "took_s": took_s}
        room.record.add_event(files.run_id, TURN, float(n), {**content, "readings": 2})
    strange = {"device": "pc/other", "kind": "plate_reader", "took_s": 9.0, "readings": 1}
    room.record.add_event(files.run_id, TURN, 3.0, strange)
    measured = reading_times(room.record, lab)
    assert (measured.spectrum_s, measured.plate_s) == (25.0, 300.0)


def test_a_plate_of_another_run_in_the_shared_reader_is_known_until_it_is_read(
    room: Room, tmp_path: Path
) -> None:
    first, second = room.run([]), room.run(OTHER)
    a, b = lab_of(tmp_path, first, "/dev/test-a"), lab_of(tmp_path, second, "/dev/test-b")
    with room.enter(first, a, SetClock()), room.enter(second, b, SetClock()):
        assert hands.plate_in_reader(room.record, second.run_id) == ""
        done = HandDone("c01/plate/CCL26", "done", "maria", at_h=36.0)
        hands.say_of(room.record, first.run_id, done, 36.0)
        in_it = hands.plate_in_reader(room.record, second.run_id)
        assert in_it == f"c01/plate/CCL26 of run {first.run_id}"
        assert hands.plate_in_reader(room.record, first.run_id) == ""
        plate = "small-CCL26-cycle1"
        read = Readout("C01", "CCL26", 5.0, "pg/mL", 0.1, "log", 36.0, 24.0, plate=plate, cycle=1)
        room.record.add_readouts(first.run_id, [read])
        assert hands.plate_in_reader(room.record, second.run_id) == ""
        # and where the other run has a reader of its own
        hands.say_of(room.record, first.run_id, replace(done, task="c02/plate/CCL26"), 62.0)
        assert hands.plate_in_reader(room.record, second.run_id) != ""
        lab_of(tmp_path, second, "/dev/test-b", shared=False)
        assert hands.plate_in_reader(room.record, second.run_id) == ""
