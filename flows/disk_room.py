"""Room on the disk: no dose begins below a floor, chips hold until there is more, a run outlives a full disk.

Belongs here: the floor, the reserve, waiting for room, and what is said. Not here: what a full disk raises
(chiploop.record.disk), holds (closed_loop).

The floor is far above what a cycle writes, so journal and record still take what a hold needs. Where others fill
the disk to the last byte, a write raises DiskFull with nothing of it on disk, so nothing of it is sent. The run
then gives its reserve free, a file that only takes room, and is taken up again in the same process as after an
interruption: record, journal and counters say what was done. It has room to hold for days by that. Where the
reserve is gone, too, it waits: pumps go to their own targets, nothing begins, and a person is told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chiploop.record.disk import free_bytes, full, is_full, size_words
from chiploop.record.next_event import Before, add_next_event
from chiploop.record.record import Record
from flows.clock import RunStopped, refuse_when_stopped
from flows.holding import held_by, held_now
from flows.prefect_server import FlowEngineTrouble
from flows.run_owner import locked

if TYPE_CHECKING:
    from flows.laboratory import Laboratory

DOSE_FLOOR_BYTES = 256 * 2**20
"""No dose begins while less is free. A cycle of the demo (12 chips) writes some 5 MB, most of it the posterior."""
AGAIN_H = 6.0
"""Between two events that say the same: they too need room."""
LOW_DISK = "disk is low"
"""Kind of the record's event."""
HAS_ROOM = "disk has room"
"""Kind of the event that ends it; it counts the events of the other kind before it."""
RESERVE_FILE = "disk_reserve"
"""In the folder of a run on instruments."""
DRAFT_FILE, PROBE_FILE = f"{RESERVE_FILE}.unfinished", f"{RESERVE_FILE}.probe"
"""Beside it while it is written, or while room is looked for; a process that is killed leaves them behind."""
RESERVE_BYTES = 32 * 2**20
"""What bytes on the wire, journal and record of some two weeks of holds need."""
PROBE_BYTES = 2**20
"""That must be taken before the run tries again: more than one write, less than the reserve."""
LOOK_S = 5.0
"""Between two looks for room."""
DISK_IS_FULL = "THE DISK IS FULL"
"""How it begins that a run says of it."""


def no_room(folder: Path) -> str:
    """Return that too little is free for a dose; empty where there is enough, or nobody can say."""
    free = free_bytes(folder)
    if free is None or free >= DOSE_FLOOR_BYTES:
        return ""
    return (
        f"the disk: {size_words(free)} are free at {folder}, {size_words(DOSE_FLOOR_BYTES)} are needed before "
        "a dose begins"
    )


def kept_back_by(lab: Laboratory) -> str:
    """Return what keeps the next dose back: a person who holds the run, or the disk; empty where nothing does."""
    return held_by(lab.record, lab.run_id) or _noted(lab)


def part_kept_back_by(lab: Laboratory) -> str:
    """Return the same for the next part of a dose, where a record on a server may be away."""
    return held_now(lab) or no_room(lab.folder)


def _noted(lab: Laboratory) -> str:
    why, now_h = no_room(lab.folder), lab.clock.now_h()
    told_h = [event.time_h for event in lab.record.events(lab.run_id, LOW_DISK)]
    if not why:
        keep_reserve(lab)
        if told_h:
            content = {"free_bytes": free_bytes(lab.folder), "lows": len(told_h)}

            def is_news(before: Before) -> bool:
                return not before or before[-1]["lows"] != len(told_h)

            add_next_event(lab.record, lab.run_id, HAS_ROOM, now_h, content, is_news=is_news)
    elif not (told_h and now_h - told_h[-1] < AGAIN_H):
        content = {"free_bytes": free_bytes(lab.folder), "floor_bytes": DOSE_FLOOR_BYTES}
        lab.record.add_event(lab.run_id, LOW_DISK, now_h, content)
    return why


def low_times(record: Record, run_id: str) -> int:
    """Return how often the disk of a run became low; told on and on, however far apart, it is once.

    No dose begins without a look, so what ends one time is seen before the next.
    """
    lows = len(record.events(run_id, LOW_DISK))
    ended = {event.content["lows"] for event in record.events(run_id, HAS_ROOM)} if lows else set()
    return bool(lows) + sum(before < lows for before in ended)


def keep_reserve(lab: Laboratory) -> None:
    """Take the room of the reserve where it is not taken, for a run on instruments; a virtual lab needs none."""
    path, draft = lab.folder / RESERVE_FILE, lab.folder / DRAFT_FILE
    if lab.simulated or path.exists() or no_room(lab.folder):
        return
    try:
        with draft.open("wb") as file:
            for _ in range(RESERVE_BYTES // PROBE_BYTES):
                file.write(os.urandom(PROBE_BYTES))  # zeros take no room where a disk packs them
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)


def give_reserve(folder: Path) -> bool:
    """Give the room of the reserve free, also of one that was never finished; False where it was free already."""
    names = (RESERVE_FILE, DRAFT_FILE, PROBE_FILE)
    return sum(_removed(folder / name) for name in names) > 0


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def has_room(folder: Path) -> bool:
    """Return whether the disk takes something; what the system says is free may be others' by a quota."""
    probe = folder / PROBE_FILE
    try:
        with probe.open("wb") as file:
            file.write(os.urandom(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        _removed(probe)  # somebody who takes the run up may look at the same moment
    return True


def room_to_begin(folder: Path) -> None:
    """Make sure that a run can begin, or be taken up again, on its disk; DiskFull where it can not.

    A process that was killed has left its reserve, which is for this; one that still works on the run keeps it,
    and RunInUse is raised.
    """
    if has_room(folder):
        return
    with locked(folder):
        give_reserve(folder)
    if not has_room(folder):
        raise full(folder)


def outlived(lab: Laboratory, carry_out: Callable[[], None]) -> None:
    """Carry out a run; where it meets a full disk wait for room and take it up again.

    A simulated run ends by name instead: its virtual lab stands on the same disk.
    """
    for left in (DRAFT_FILE, PROBE_FILE):  # by one that was killed: the run is this process's alone
        _removed(lab.folder / left)
    try:
        keep_reserve(lab)
        while True:
            try:
                carry_out()
                return
            except Exception as trouble:
                if (
                    lab.simulated
                    or isinstance(trouble, RunStopped)
                    or not of_full_disk(lab, trouble)
                ):
                    raise
                wait_for_room(lab, trouble)
    finally:
        give_reserve(lab.folder)


def of_full_disk(lab: Laboratory, trouble: Exception) -> bool:
    """Return whether trouble comes of a full disk, on which Prefect's server stands, too."""
    return is_full(trouble) or (isinstance(trouble, FlowEngineTrouble) and not has_room(lab.folder))


def wait_for_room(lab: Laboratory, trouble: Exception) -> None:
    """Return once there is room again; say once what is waited for. RunStopped where somebody stops the bench."""
    is_given = give_reserve(lab.folder)
    if is_given and has_room(lab.folder):
        say(lab, f"{DISK_IS_FULL} ({trouble}). Its reserve is free now: chips hold, make room")
        return
    say(
        lab,
        f"{DISK_IS_FULL} ({trouble}). The run WAITS for room and begins nothing; pumps go on to their targets and "
        "stop by themselves. Make room",
    )
    # not at once: another disk may be the full one, or a quota that the probe does not meet
    while True:
        refuse_when_stopped(lab.clock.stopped_by())
        time.sleep(LOOK_S)
        if has_room(lab.folder):
            break
    say(lab, "there is room on the disk again: the run goes on")


def say(lab: Laboratory, what: str) -> None:
    """Tell it; the log of the run may be on the same disk."""
    with suppress(OSError):
        lab.say(0, what)
