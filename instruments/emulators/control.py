"""The owner's side of a virtual lab: starting its process, and asking things of it.

Belongs here: the control channel's client and the child process. Not here: the lab itself.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from chiploop.errors import InstrumentTrouble

PROJECT = Path(__file__).resolve().parents[2]
LOG_FILE = "lab_process.log"
LAB_PROCESS = (sys.executable, "-m", "instruments.emulators.lab_process")


class VirtualLabTrouble(InstrumentTrouble):
    """The virtual lab refused a request, or its process did not start or has gone."""

    code = "CL-440"


class ControlChannel:
    """One connection to the control channel of a virtual lab; one caller at a time gets through."""

    def __init__(self, host: str, port: int, timeout_s: float = 120.0) -> None:
        self.host, self.port = host, port
        self._turn = threading.Lock()
        try:
            self._socket = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as problem:
            raise VirtualLabTrouble(f"no virtual lab answers on {host}:{port}") from problem
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def call(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one request; return the answer. Raises VirtualLabTrouble: refused, or lost."""
        request = json.dumps({"do": do, **arguments}).encode() + b"\n"
        with self._turn:
            try:
                self._socket.sendall(request)
                line = self._answers.readline()
            except OSError as problem:
                raise VirtualLabTrouble(f"the virtual lab did not answer {do!r}") from problem
        if not line.endswith(b"\n"):
            raise VirtualLabTrouble(f"the virtual lab has gone while it was asked {do!r}")
        answer: dict[str, Any] = json.loads(line)
        if not answer.get("ok"):
            raise VirtualLabTrouble(f"the virtual lab refused {do!r}: {answer.get('error')}")
        return answer

    def close(self) -> None:
        """Close the connection; the lab goes on."""
        self._answers.close()
        self._socket.close()


@dataclass(frozen=True)
class LabHandle:
    """A virtual lab process that we own: it ends when we do, or when this is closed."""

    process: subprocess.Popen[bytes]
    control: ControlChannel
    ports: dict[str, dict[str, str | None]]
    """``pumps``, ``reader``, ``teer`` -> {"tcp": pyserial URL, "pty": path or None}."""
    state_dir: Path

    def close(self, timeout_s: float = 10.0) -> int:
        """End the process by closing its pipe; return its exit code. Safe to repeat."""
        self.control.close()
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        return self.process.returncode

    def __enter__(self) -> LabHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def start_lab_process(
    state_dir: Path | str, *, command: Sequence[str] = LAB_PROCESS, timeout_s: float = 60.0
) -> LabHandle:
    """Start the virtual lab of a folder that holds lab.json, and wait until it serves.

    ``command`` is what is started, without ``--state``. What the process says goes to
    lab_process.log in the folder. Raises VirtualLabTrouble where it does not come up in time.
    """
    folder = Path(state_dir).resolve()
    search = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            [*command, "--state", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": search},
        )
    try:
        ready = _ready_line(process, timeout_s)
        control = ControlChannel(ready["control"]["host"], ready["control"]["port"])
    except VirtualLabTrouble as trouble:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        said = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        raise VirtualLabTrouble(f"{trouble}: {said or 'it said nothing'}") from None
    return LabHandle(process, control, ready["ports"], folder)


def _ready_line(process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
    assert process.stdout is not None
    stdout, lines = process.stdout, queue.SimpleQueue[bytes]()
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    began_s = time.monotonic()
    try:
        line = lines.get(timeout=timeout_s)
    except queue.Empty:
        raise VirtualLabTrouble(f"the virtual lab did not start in {timeout_s:.0f} s") from None
    if not line:
        took_s = time.monotonic() - began_s
        raise VirtualLabTrouble(f"the virtual lab ended after {took_s:.1f} s instead of serving")
    ready: dict[str, Any] = json.loads(line)
    return ready
