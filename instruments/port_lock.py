"""One owner per port, on the whole computer: an operating-system lock on a small file beside the
port.

Belongs here: the lock, the name it is taken under, and what its file says of the owner. Not here:
bytes, opening the port itself, asking the owner for anything (stop_desk).
The kernel gives the lock back when its owner ends, however it ends (``kill -9`` too); nothing is
cleaned up by hand. The file's text is JSON: ``pid`` and ``process_started`` of the owner, ``url``
and ``settings`` of the port, and what the owner adds (bench, devices, run), so that another process
knows whom to ask for a stop, and how to stop what is on the port when nobody answers.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

from instruments.errors import PortInUse, PortMissing

_LOCKED_BYTE: Final = 1 << 20
"""Windows locks this byte, far behind the text, so that others can read who holds the port."""
_TRY_AGAIN_S: Final = 0.01
_PATIENCE_S: Final = 0.05
"""Somebody who only looks whether a lock is held holds it for an instant."""
SAME_START_S: Final = 2.0
"""Two looks at the start of one process may differ by this much; a recycled process id by more."""


def port_key(url: str) -> str:
    """Return one name for every spelling of the same port.

    A device path is followed through its links; ``socket://`` and ``rfc2217://`` to one host and
    port are one key; Windows names lose their case; the two names of a port on macOS are one.
    """
    if url.lower().startswith("usb://"):
        return url.lower()  # not plugged in: else it is known by its path
    if "://" in url:
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        return f"{host}:{parts.port}" if host else url
    if os.name == "nt":
        return url.removeprefix("\\\\.\\").upper()
    path = os.path.realpath(url)
    return path.replace("/dev/tty.", "/dev/cu.") if sys.platform == "darwin" else path


def lock_directory() -> Path:
    """Return the folder that every user and program of this computer shares for port locks."""
    if os.name == "nt":
        shared = Path(os.environ.get("PROGRAMDATA", tempfile.gettempdir()))
    else:
        shared = Path("/tmp")  # not TMPDIR: that differs between users and services
    return shared / "chiploop-ports"


def lock_name(url: str) -> str:
    """Return the name of a port's lock: of its file, and in requests to stop it."""
    return hashlib.sha256(port_key(url).encode()).hexdigest()[:24]


def make_shared(directory: Path) -> None:
    """Make a folder in which every user may put files and nobody may delete another's."""
    directory.mkdir(parents=True, exist_ok=True)
    _open_to_all(directory, 0o1777)


class PortLock:
    """Held from construction to `release`; `PortInUse` where another owner has it."""

    def __init__(
        self,
        url: str,
        directory: Path | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        directory = directory or lock_directory()
        self.name = lock_name(url)
        self.path = directory / f"{self.name}.lock"
        try:
            make_shared(directory)
            self._file: IO[bytes] = os.fdopen(_open_file(self.path), "r+b", buffering=0)
            _open_to_all(self.path, 0o666)
        except OSError as trouble:
            raise PortMissing(
                f"port {url}: its lock file {self.path} can not be opened ({trouble.strerror}); "
                "allow this user to write there; nothing was sent"
            ) from trouble
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                lock_file(self._file)
                break
            except OSError:
                if time.monotonic() < end:
                    time.sleep(_TRY_AGAIN_S)
                    continue
                holder = _holder(self.path)
                self._file.close()
                raise PortInUse(
                    f"port {url} is held by {holder}; end that program or wait for it; nothing "
                    "was sent"
                ) from None
        self._about = {
            "url": url,
            **(about or {}),
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()),
        }
        try:
            self._say(self._about)
        except OSError as trouble:
            self._file.close()
            raise PortMissing(
                f"port {url}: its lock file {self.path} can not be written ({trouble.strerror}): "
                "nobody could stop what is on it; nothing was sent"
            ) from trouble

    def release(self) -> None:
        """Give the port back; safe to repeat."""
        if not self._file.closed:
            with suppress(OSError):
                self._say({})
            unlock_file(self._file)
            self._file.close()

    def _say(self, about: Mapping[str, Any]) -> None:
        """Write over what stands there: never empty in between, for whoever reads meanwhile."""
        text = json.dumps(about).encode()
        was = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        self._file.write(text.ljust(was - 1) + b"\n")


@dataclass(frozen=True)
class HeldPort:
    """A port that a living process holds, as its lock file says."""

    name: str
    """Name of its lock."""
    path: Path
    """The lock file."""
    pid: int
    process_started: float
    url: str
    about: Mapping[str, Any] = field(default_factory=dict)
    """All that the owner wrote."""

    @property
    def owner(self) -> tuple[int, float]:
        """Who holds it: process ids are used again, ids with their start are not."""
        return self.pid, self.process_started


def held_ports(directory: Path | None = None) -> list[HeldPort]:
    """Return every port of this computer whose lock file names a process that still runs."""
    directory = directory or lock_directory()
    found = (held_port(path) for path in sorted(directory.glob("*.lock")))
    return [port for port in found if port is not None]


def held_port(path: Path) -> HeldPort | None:
    """Return who holds a lock file; None where nobody does, or where its owner has ended."""
    about = _read(path)
    try:
        pid, began, url = int(about["pid"]), float(about["process_started"]), str(about["url"])
    except (KeyError, TypeError, ValueError):
        return None
    if not same_process(pid, began):
        return None
    return HeldPort(path.stem, path, pid, began, url, about)


def process_started(pid: int) -> float | None:
    """Return when a process began, to compare with another look at it; None where it has ended.

    On Linux in seconds since the computer started: there psutil's own time moves whenever somebody
    sets the clock. psutil.AccessDenied where the system does not tell.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        began = float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    return began - float(psutil.boot_time()) if psutil.LINUX else began


def same_process(pid: int, began: float) -> bool:
    """Return whether the process that had this id and start still runs; True where the system does
    not tell."""
    try:
        now = process_started(pid)
    except psutil.AccessDenied:
        return True
    return now is not None and abs(now - began) < SAME_START_S


def is_locked(path: Path) -> bool:
    """Return whether anybody holds a lock file, whatever its text says."""
    try:
        with os.fdopen(os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)), "r+b") as file:
            lock_file(file)
            unlock_file(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _open_file(path: Path) -> int:
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        # Not always: Linux may refuse O_CREAT on another user's file in a folder open to all.
        return os.open(path, flags | os.O_CREAT, 0o666)


def _open_to_all(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError:
        return  # belongs to another user, who has already opened it to all


def _read(path: Path) -> dict[str, Any]:
    """Return what a lock file says; empty where it says nothing, or is just being written."""
    for attempt in range(3):
        try:
            about = json.loads(path.read_bytes()[:_LOCKED_BYTE])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            time.sleep(0.001 * attempt)
            continue
        return about if isinstance(about, dict) else {}
    return {}


def _holder(path: Path) -> str:
    about = _read(path)
    if "pid" not in about:
        return "an unnamed program"
    run = f", run {Path(str(about['run'])).name}" if about.get("run") else ""
    return f"process {about['pid']} ({about.get('url', '')}{run})"


def _lock_posix(file: IO[bytes]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock_posix(file: IO[bytes]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


def _lock_windows(file: IO[bytes]) -> None:
    import msvcrt

    os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]


def _unlock_windows(file: IO[bytes]) -> None:
    import msvcrt

    os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]


lock_file: Callable[[IO[bytes]], None] = _lock_windows if os.name == "nt" else _lock_posix
"""Take the lock of an open file or raise OSError at once."""
unlock_file: Callable[[IO[bytes]], None] = _unlock_windows if os.name == "nt" else _unlock_posix
