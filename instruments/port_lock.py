"""One owner per port, on the whole computer: an operating-system lock on a small file beside the
port.

Belongs here: the lock and the name it is taken under. Not here: bytes, opening the port itself.
The kernel gives the lock back when its owner ends, however it ends (``kill -9`` too); nothing is
cleaned up by hand.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from instruments.errors import PortInUse, PortMissing

_LOCKED_BYTE = 1 << 20
"""Windows locks this byte, far behind the text, so that others can read who holds the port."""


def port_key(url: str) -> str:
    """Return one name for every spelling of the same port.

    A device path is followed through its links; ``socket://`` and ``rfc2217://`` to one host and
    port are one key; Windows names lose their case.
    """
    if "://" in url:
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
        return f"{host}:{parts.port}" if host else url
    if os.name == "nt":
        return url.removeprefix("\\\\.\\").upper()
    return os.path.realpath(url)


def lock_directory() -> Path:
    """Return the folder that every user and program of this computer shares for port locks."""
    if os.name == "nt":
        shared = Path(os.environ.get("PROGRAMDATA", tempfile.gettempdir()))
    else:
        shared = Path("/tmp")  # not TMPDIR: that differs between users and services
    return shared / "chiploop-ports"


class PortLock:
    """Held from construction to `release`; `PortInUse` where another owner has it."""

    def __init__(self, url: str, directory: Path | None = None) -> None:
        directory = directory or lock_directory()
        name = hashlib.sha256(port_key(url).encode()).hexdigest()[:24]
        self.path = directory / f"{name}.lock"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _open_to_all(directory, 0o1777)
            self._file: IO[bytes] = os.fdopen(
                os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b"
            )
            _open_to_all(self.path, 0o666)
        except OSError as trouble:
            raise PortMissing(
                f"port {url}: its lock file {self.path} can not be opened ({trouble.strerror}); "
                "allow this user to write there; nothing was sent"
            ) from trouble
        try:
            _lock(self._file)
        except OSError:
            self._file.seek(0)
            holder = self._file.read(200).decode("utf-8", "replace").strip() or "an unnamed program"
            self._file.close()
            raise PortInUse(
                f"port {url} is held by {holder}; end that program or wait for it; nothing was sent"
            ) from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()} ({url})\n".encode())
        self._file.flush()

    def release(self) -> None:
        """Give the port back; safe to repeat."""
        self._file.close()


def _open_to_all(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError:
        return  # belongs to another user, who has already opened it to all


def _lock(file: IO[bytes]) -> None:
    """Take the lock or raise OSError at once."""
    if os.name == "nt":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
