"""Too little room: no dose begins, and that is told without filling the disk with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chiploop.errors import WaitingForPerson, WrongUse
from chiploop.record.disk import DiskFull
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.study import load_study
from flows import disk_room
from flows.cli.main import command_line
from flows.disk_room import (
    DISK_IS_FULL,
    DOSE_FLOOR_BYTES,
    DRAFT_FILE,
    HAS_ROOM,
    LOW_DISK,
    PROBE_FILE,
    RESERVE_FILE,
    give_reserve,
    kept_back_by,
    low_times,
    no_room,
    outlived,
    room_to_begin,
)
from flows.heartbeat import Heart, last_beat
from flows.opening import new_run
from flows.prefect_server import FlowEngineTrouble
from flows.run_owner import LOCK_FILE, OWNER_FILE, RunInUse, locked, only_owner
from tests.flows.conftest import SMALL_STUDY
from tests.flows.small_disk import mount_small_disk


@contextmanager
def on_disk(folder: Path, now: list[float]) -> Iterator[Any]:
    """Yield a laboratory whose run ``r`` is on record in a folder, at the study time that ``now`` holds."""
    with Record(str(folder / "record.sqlite")) as record:
        record.add_run("r", load_study(SMALL_STUDY), 1, simulated=True)
        clock = SimpleNamespace(now_h=lambda: now[0])
        yield SimpleNamespace(folder=folder, record=record, run_id="r", clock=clock, simulated=True)


def test_below_the_floor_nothing_is_dosed_and_it_is_on_record_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, now = [DOSE_FLOOR_BYTES], [36.0]
    monkeypatch.setattr(disk_room, "free_bytes", lambda folder: free[0])
    with on_disk(tmp_path, now) as lab:
        record = lab.record
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


def fill(disk: Path) -> None:
    """Take the disk to its last byte."""
    with suppress(OSError), (disk / "others").open("ab", buffering=0) as file:
        for size in (2**16, 2**12, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real disk of 8 MiB, with a floor and a reserve to its size."""
    place = tmp_path / "disk"
    place.mkdir()
    mount_small_disk(place, "8m")
    monkeypatch.setattr(disk_room, "DOSE_FLOOR_BYTES", 2**20)
    monkeypatch.setattr(disk_room, "RESERVE_BYTES", 2**21)
    monkeypatch.setattr(disk_room, "PROBE_BYTES", 2**16)
    monkeypatch.setattr(disk_room, "LOOK_S", 0.0)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


class Run:
    """What a run that works on a disk wants of a laboratory; ``looks`` is done at each look for room."""

    def __init__(self, disk: Path, stack: ExitStack, simulated: bool = False) -> None:
        self.folder, self.simulated, self.run_id = disk / "r", simulated, "r"
        self.folder.mkdir()
        self.record = stack.enter_context(Record(f"sqlite:///{disk}/record.sqlite"))
        self.record.add_run("r", load_study(SMALL_STUDY), 1, simulated=simulated)
        self.journal = stack.enter_context(Journal(disk / "journal.sqlite"))
        self.said: list[str] = []
        self.looks: list[Any] = []
        self.clock = SimpleNamespace(now_h=lambda: 36.0, stopped_by=self.stopped_by)

    def say(self, cycle: int, what: str) -> None:
        self.said.append(what)
        raise OSError(28, "No space left on device")  # the log stands on the same disk

    def stopped_by(self) -> str:
        return str((self.looks.pop(0)() if self.looks else "") or "")


def test_a_run_that_meets_a_full_disk_goes_on_with_its_reserve_and_then_waits_until_there_is_room(
    disk: Path,
) -> None:
    known: list[int] = []
    """How many notes were on disk at the begin of each try."""
    with ExitStack() as stack:
        lab: Any = Run(disk, stack)
        reserve = lab.folder / RESERVE_FILE

        def carry_out() -> None:
            known.append(len(lab.journal.events("k")))
            if len(known) < 3:  # without and with the reserve others take what there is
                assert reserve.exists() == (len(known) == 1)
                fill(disk)
            lab.journal.note("r", "k", 36.0, "x" * 300_000)

        still_full: list[bool] = []
        lab.looks = [
            lambda: still_full.append(no_room(lab.folder) != ""),
            lambda: (disk / "others").unlink(),
        ]
        outlived(lab, carry_out)
        assert known == [0, 0, 0]  # nothing of a try that failed is on disk
        assert len(lab.journal.events("k")) == 1 and lab.journal.verify().faults == ()
        assert still_full == [True] and lab.looks == []
        told = [one for one in lab.said if one.startswith(DISK_IS_FULL)]
        assert [("reserve is free" in one, "WAITS" in one) for one in told] == [
            (True, False),
            (False, True),
        ]
        assert "goes on" in lab.said[-1]
        assert [path.name for path in lab.folder.iterdir()] == []


def test_where_another_disk_is_the_full_one_a_run_does_not_try_again_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s: list[float] = []
    monkeypatch.setattr(disk_room, "RESERVE_BYTES", 2**20)
    monkeypatch.setattr(disk_room.time, "sleep", slept_s.append)
    tries: list[int] = []

    def carry_out() -> None:
        tries.append(len(slept_s))
        if len(tries) < 4:
            raise DiskFull("the disk of temporary files is full")

    with ExitStack() as stack:
        outlived(Run(tmp_path, stack), carry_out)  # type: ignore[arg-type]
    assert tries == [0, 0, 1, 2]  # the first is tried with the reserve given free
    assert slept_s == [disk_room.LOOK_S] * 2


@pytest.mark.parametrize("simulated", [False, True])
def test_what_a_killed_process_left_of_a_reserve_takes_no_room_from_the_next_one(
    simulated: bool, disk: Path
) -> None:
    with ExitStack() as stack:
        lab: Any = Run(disk, stack, simulated)
        for name in (DRAFT_FILE, PROBE_FILE):  # with them alone too little is free for a dose
            (lab.folder / name).write_bytes(b"x" * 7 * 2**19)
        assert no_room(lab.folder)
        seen: list[set[str]] = []

        def carry_out() -> None:
            assert not no_room(lab.folder)
            seen.append({path.name for path in lab.folder.iterdir()})

        outlived(lab, carry_out)
        assert seen == [set() if simulated else {RESERVE_FILE}]
        assert list(lab.folder.iterdir()) == []


def test_a_reserve_that_was_never_finished_is_given_free_too(tmp_path: Path) -> None:
    (tmp_path / DRAFT_FILE).write_bytes(b"x")
    assert give_reserve(tmp_path) and not give_reserve(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [[], ["--here"]])
def test_a_run_is_not_taken_up_on_a_full_disk_and_the_disk_is_named(
    how: list[str], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = new_run(load_study(SMALL_STUDY), disk / "runs", 1, simulated=False, matched=False)
    fill(disk)
    before = {path.name for path in files.folder.iterdir()}
    code = command_line(["resume", files.run_id, "--runs", str(files.runs), *how])
    told = capsys.readouterr().err
    assert code == DiskFull.exit_code and told.startswith("CL-460: the disk is full")
    assert "Traceback" not in told and "Make room" in told
    assert {path.name for path in files.folder.iterdir()} - before <= {LOCK_FILE}


def test_the_reserve_that_a_killed_process_left_is_what_a_run_is_taken_up_with(disk: Path) -> None:
    (disk / RESERVE_FILE).write_bytes(b"x" * 2**18)
    fill(disk)
    with locked(disk), pytest.raises(RunInUse):
        room_to_begin(disk)  # a process that is at work keeps its own
    assert (disk / RESERVE_FILE).exists()
    room_to_begin(disk)
    assert not (disk / RESERVE_FILE).exists()
    fill(disk)
    with pytest.raises(DiskFull):
        room_to_begin(disk)


def test_who_owns_a_run_is_told_of_the_disk_and_of_a_folder_that_can_not_be_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(disk)
    with pytest.raises(DiskFull, match="could not be written"), only_owner(disk):
        raise AssertionError("owned")
    (disk / "others").unlink()
    with only_owner(disk):  # the lock of the one that failed is free
        assert (disk / OWNER_FILE).read_text(encoding="utf-8").startswith("process")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(WrongUse, match="Permission denied"), only_owner(disk):
        raise AssertionError("owned")


def test_a_run_that_waits_for_room_is_stopped_by_a_person(disk: Path) -> None:
    with ExitStack() as stack:
        lab: Any = Run(disk, stack)

        def carry_out() -> None:
            fill(disk)
            lab.record.add_event("r", "kind", 36.0, {"text": "x" * 300_000})

        lab.looks = [lambda: "", lambda: "stopped by maria"]
        with pytest.raises(WaitingForPerson, match="stopped by maria"):
            outlived(lab, carry_out)


def test_trouble_of_another_kind_and_a_simulated_run_end_by_name(disk: Path) -> None:
    def meets(lab: Any, trouble: Exception) -> None:
        def carry_out() -> None:
            raise trouble

        outlived(lab, carry_out)

    with ExitStack() as stack:
        real: Any = Run(disk, stack)
        with pytest.raises(PermissionError):
            meets(real, PermissionError(13, "no"))
        # Prefect's server failed: only on a full disk is that the disk's doing
        with pytest.raises(FlowEngineTrouble):
            meets(real, FlowEngineTrouble("lost"))
        real.simulated = True
        with pytest.raises(DiskFull):
            meets(real, DiskFull("full"))
        assert not (real.folder / RESERVE_FILE).exists()


def test_on_a_full_disk_the_heart_is_seen_to_beat(disk: Path) -> None:
    with Heart(disk, every_s=600.0) as heart:
        heart.beat()
        fill(disk)
        heart.tell(37.5, 2, f"{DISK_IS_FULL}: waits")
        heart.write()
        beat = last_beat(disk)
        assert beat is not None and beat.doing.startswith(DISK_IS_FULL) and beat.time_h == 37.5
        heart.tell(38.0, 2, "a")
        heart.write()
        beat = last_beat(disk)
        assert beat is not None and beat.doing == "a"


def test_people_are_told_once_for_each_time_that_the_disk_became_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, now = [DOSE_FLOOR_BYTES], [36.0]
    monkeypatch.setattr(disk_room, "free_bytes", lambda folder: free[0])
    with on_disk(tmp_path, now) as lab:
        record = lab.record
        assert kept_back_by(lab) == "" and low_times(record, "r") == 0
        times: list[int] = []
        # long holds: looks lie days apart; 36 h of room are no second time, nor is a look without news
        for free[0] in (1, 2, DOSE_FLOOR_BYTES, DOSE_FLOOR_BYTES, 3, 4):
            now[0] += 36.0
            kept_back_by(lab)
            times.append(low_times(record, "r"))
        assert times == [1, 1, 1, 1, 2, 2]
        assert len(record.events("r", HAS_ROOM)) == 1
