"""The virtual lab as a process: ``python -m instruments.emulators.lab_process --state DIR``.

Belongs here: the process, its life and its ports. Not here: what happens in the room
(virtual_room), how its state is written (lab_state).

DIR holds ``lab.json`` ({"study": path, "seed": 1, "matched": false}) before the start. The process
writes DIR/state.json after every change and before the answer to it leaves, DIR/ports.json, and one
JSON line with its ports on stdout once it serves. It ends when stdin does: every byte that has
arrived is finished first. Started again on the same DIR it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chiploop.errors import ChiploopError, FileNotValid, InstrumentTrouble
from instruments.emulators.lab_state import LabState
from instruments.emulators.serve import Switchboard
from instruments.emulators.virtual_room import Rig, Tissue, VirtualRoom, rig_of

SETTINGS_FILE, STATE_FILE, PORTS_FILE, LOCK_FILE = (
    "lab.json",
    "state.json",
    "ports.json",
    "lab.lock",
)

_ASKED_WRONGLY = (ChiploopError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
"""What a request that can not be carried out raises; RuntimeError is tissue that can not go on."""

OpenTissue = Callable[[dict[str, Any], Path], tuple[Rig, Tissue]]
"""(settings of lab.json, folder that holds it) -> the rig and its tissue."""


class LabAlreadyOpen(InstrumentTrouble):
    """Another process serves this virtual lab."""

    code = "CL-402"


def open_study_tissue(settings: dict[str, Any], folder: Path) -> tuple[Rig, Tissue]:
    """Return rig and virtual tissue of the study that lab.json names.

    The tissue's libraries take a second to load, so only a process that needs them does.
    """
    from chiploop.study import load_study
    from chiploop.virtual_lab import VirtualLab

    study = load_study((folder / settings["study"]).resolve())
    return rig_of(study), VirtualLab(study, int(settings["seed"]), bool(settings["matched"]))


def serve_lab(folder: Path, open_tissue: OpenTissue, owner: int | None = None) -> None:
    """Serve a virtual lab until its owner's pipe ends (``owner``: file descriptor, default stdin).

    Raises LabAlreadyOpen, FileNotValid.
    """
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as held:
        raise LabAlreadyOpen(f"another process serves the virtual lab in {folder}") from held
    with lock:
        _serve(folder, open_tissue, sys.stdin.fileno() if owner is None else owner)


def _serve(folder: Path, open_tissue: OpenTissue, owner: int) -> None:
    settings = _settings(folder / SETTINGS_FILE)
    rig, tissue = open_tissue(settings, folder)
    room = VirtualRoom(rig, tissue, time.monotonic)
    state = LabState(folder / STATE_FILE, room)
    state.load()
    board = Switchboard(before_send=state.save)
    for name, wire in room.wires.items():
        board.add_device(name, wire)

    def answer(line: str) -> str:
        return json.dumps(_answer(line), default=lambda value: value.tolist())

    def _answer(line: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
            said = room.answer(request)
        except _ASKED_WRONGLY as problem:
            traceback.print_exc()
            return {"ok": False, "error": f"{type(problem).__name__}: {problem}"}
        return {"ok": True, **said, **(about() if request["do"] == "hello" else {})}

    def about() -> dict[str, Any]:
        ports = {name: vars(board.address(name)) for name in room.wires}
        return {"ports": ports, "seed": settings["seed"], "matched": settings["matched"]}

    host, port = board.add_requests(answer)
    ready = {"ready": True, "control": {"host": host, "port": port}, "ports": about()["ports"]}
    state.save(sync=True)
    (folder / PORTS_FILE).write_text(json.dumps(ready), encoding="utf-8")
    _stop_with(owner, board)
    print(json.dumps(ready), flush=True)
    try:
        board.run()
    finally:
        state.save(sync=True)
        board.close()


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return {"matched": False, **settings, "seed": int(settings["seed"])}
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise FileNotValid(
            f'{path} could not be read; it holds {{"study": path, "seed": 1, "matched": false}}'
        ) from problem


def _stop_with(owner: int, board: Switchboard) -> None:
    """Stop serving when the owner's pipe ends, or when asked to terminate.

    Ctrl-C reaches a whole process group; it is the owner who decides, by closing the pipe.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: board.stop())

    def wait() -> None:
        while os.read(owner, 1024):
            continue
        board.stop()

    threading.Thread(target=wait, name="owner", daemon=True).start()


def main(
    arguments: Sequence[str] | None = None, open_tissue: OpenTissue = open_study_tissue
) -> int:
    """Run the virtual lab of the folder given by ``--state``; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m instruments.emulators.lab_process")
    parser.add_argument("--state", required=True, type=Path, help="folder that holds lab.json")
    folder = parser.parse_args(arguments).state
    try:
        serve_lab(folder, open_tissue)
    except ChiploopError as trouble:
        print(f"{trouble.code}: {trouble}", file=sys.stderr)
        return trouble.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
