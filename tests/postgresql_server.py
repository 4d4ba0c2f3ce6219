"""A real PostgreSQL server for tests: in a folder of its own, on loopback, gone with the tests.

Belongs here: finding, starting and stopping one. Not here: what is tested with it.

The server hangs on a pipe of this process, so that it ends even where this process is killed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import psycopg

USER = "chiploop"
SETTINGS = {  # a test's data need not outlive the power
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "unix_socket_directories": "",
    "autovacuum": "off",
}
UNTIL_THE_PIPE_ENDS = '"$@" & server=$!; read -r _; kill -INT $server; wait $server'


def server_binaries() -> Path | None:
    """Return the folder with ``postgres`` and ``initdb`` of the newest version; None where there is none."""
    found = shutil.which("postgres")
    if found and Path(found).with_name("initdb").exists():
        return Path(found).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    versions = sorted(debian, key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def server_user() -> str | None:
    """Return who runs the server: it refuses root. None for oneself."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


class PostgresqlServer:
    """A server that can be stopped and started again; databases are made when asked for."""

    def __init__(self, binaries: Path) -> None:
        self._binaries, self._numbers = binaries, count(1)
        self._user = server_user()
        self.folder = Path(tempfile.mkdtemp(prefix="chiploop-postgresql-"))
        self.password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        word = self.folder / "word"
        word.write_text(self.password, encoding="utf-8")
        if self._user is not None:
            for path in (self.folder, word):
                shutil.chown(path, self._user)
        subprocess.run(
            [
                binaries / "initdb", "--no-sync", "--auth=scram-sha-256", f"--pwfile={word}",
                f"--username={USER}", "--encoding=UTF8", "--locale=C", self.folder / "data",
            ],
            check=True, capture_output=True, user=self._user, cwd=self.folder,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers; nothing where it runs."""
        if self._process is not None:
            return
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [self._binaries / "postgres", "-D", self.folder / "data", "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", UNTIL_THE_PIPE_ENDS, "sh", *command, *options],
                stdin=subprocess.PIPE, stdout=log, stderr=log, user=self._user, cwd=self.folder,
            )  # fmt: skip
        for _ in range(600):
            try:
                psycopg.connect(self.address("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text(encoding="utf-8"))

    def stop(self) -> None:
        """Stop the server at once: its clients are cut off."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)
            self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, database: str) -> str:
        """Return the address of a database with its password, for psycopg and chiploop."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; return its URL, with the password."""
        name = f"record_{next(self._numbers)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.address(name)
