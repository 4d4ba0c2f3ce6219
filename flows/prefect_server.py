"""A Prefect API for one command: on loopback, in a folder of its own, gone when its owner is gone.

Belongs here: the start and the end of the server process, from the owner's side and from its own.
Not here: its settings (flows/prefect_settings.py), flows and tasks, and anything that must outlast
the command: the record is chiploop's own.

The owner calls `start_in_background` (or `prefect_server`) BEFORE anything imports Prefect, since
Prefect reads its settings once, at import. The server is this file run as a program: it takes a
free port and tells it at once, then loads Prefect and serves. It ends when its standard input does,
so a killed owner leaves no orphan; the server that Prefect starts by itself stays behind, and holds
15 of 100 task runs when a script ends at once (measured on 3.9.1). Prefect is imported only inside
the functions that run in the server, or after the owner's own import.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import http.client
import importlib.metadata
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from chiploop.errors import ChiploopError
from flows.prefect_settings import (
    DATABASE_NAME,
    HOST,
    prefect_environment,
    put_environment,
    restore_environment,
)

if TYPE_CHECKING:
    import uvicorn

LOG_NAME = "server.log"
ADDRESS_NAME = "server.json"
"""In a server's folder: its process, its port, and whether it has pages."""
START_BUDGET_S = 60.0
"""From the start of the process to a healthy API; two idle cores need 8 to 13 s."""
END_BUDGET_S = 5.0
"""What the server gets to write what it holds; past it, it ends as it stands."""
PORT_TAKEN = 75
"""Exit code of the server when the port that it was told to take is in use."""


class FlowEngineTrouble(ChiploopError):
    """Prefect's server could not be started or reached; no instrument is concerned."""

    code = "CL-110"


class PrefectServer:
    """A server process that belongs to this process. Made by `start_in_background`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        home: Path,
        port: int,
        options: Sequence[str] = (),
    ) -> None:
        self._process = process
        self._options = options
        self._changing = threading.Lock()
        """Held while the process is ended, or another one takes its place."""
        self._is_stopped = False
        self._started_s = time.monotonic()
        kinds = {option.removeprefix("--"): True for option in options}
        self._environment_before = put_environment(prefect_environment(home, port, **kinds))
        self.home = home
        """Folder with the server's database and log."""
        self.port = port
        self.api_url = f"http://{HOST}:{port}/api"
        self.process_id = process.pid

    def wait_ready(self, budget_s: float = START_BUDGET_S) -> None:
        """Return once the API answers.

        Parameters
        ----------
        budget_s
            Longest time since the start of the process, in seconds.

        Raises
        ------
        FlowEngineTrouble
            The process ended, or the time is over; the message quotes the end of its log.
        """
        while not self._answers():
            exit_code = self._process.poll()
            waited_s = time.monotonic() - self._started_s
            if exit_code is not None or waited_s > budget_s:
                what = (
                    f"did not answer within {budget_s:.0f} s"
                    if exit_code is None
                    else f"ended by itself (exit code {exit_code})"
                )
                self.stop()
                raise FlowEngineTrouble(
                    f"The Prefect server at {self.api_url} {what}. {_quote_log(self.home)}"
                )
            time.sleep(0.05)

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended though nobody asked it to."""
        return not self._is_stopped and self._process.poll() is not None

    def start_again(self) -> bool:
        """Start a process in the place of one that is gone, at its port; return whether one runs now.

        Does not wait until it answers.
        """
        with self._changing:
            if not self.is_gone:
                return True
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                process, _ = _start_process(self.home, self.port, self._options, os.environ)
            except FlowEngineTrouble:
                return False
            self._process, self.process_id = process, process.pid
            self._started_s = time.monotonic()
            return True

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5.0)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server once it has on record what this process told it; may be called twice."""
        self._is_stopped = True
        with self._changing:
            self._stop()

    def _stop(self) -> None:
        if self._process.poll() is None:
            _send_what_is_queued()
        pipe = self._process.stdin
        if pipe is not None and not pipe.closed:
            # A byte besides the end of file: a forked worker of ours may hold a copy of the pipe.
            with contextlib.suppress(OSError):
                pipe.write(b"q")
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            self._process.wait(timeout=2 * END_BUDGET_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        restore_environment(self._environment_before)


def start_in_background(home: Path, pages: bool = False, schedules: bool = False) -> PrefectServer:
    """Start a server and point this process at it; returns at once.

    Call `wait_ready` before the first flow. Where Prefect is already imported, the server takes the
    port that Prefect knows, so that one process may start several, one after the other.

    Parameters
    ----------
    home
        Folder for Prefect's files; made if missing.
    pages, schedules
        As `prefect_environment`.

    Raises
    ------
    FlowEngineTrouble
        Prefect is already imported here with settings that name another server, or the process
        did not start.
    """
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    wanted = {"--pages": pages, "--schedules": schedules}
    options = [option for option, is_wanted in wanted.items() if is_wanted]
    process, port = _start_process(home, _port_of_imported_prefect(), options, os.environ)
    return PrefectServer(process, home, port, options)


def _start_process(
    home: Path, port: int | None, options: Sequence[str], environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the process of a server; return it and its port. FlowEngineTrouble where it takes none."""
    command = [sys.executable, "-P", "-m", "flows.prefect_server", "--home", str(home), *options]
    if port is not None:
        command += ["--port", str(port)]
    with open(home / LOG_NAME, "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=home,
            env=_environment_of_the_server(environment),
            # Ctrl-C in the owner's terminal is the owner's to handle: it needs the server then.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    assert process.stdout is not None
    with process.stdout as answer:
        first_line = answer.readline()
    if not first_line:
        exit_code = process.wait()
        assert process.stdin is not None
        process.stdin.close()
        raise FlowEngineTrouble(
            f"Port {port} of {HOST}, with which Prefect was imported here, is in use: "
            "by an earlier server of this process, or by another program."
            if exit_code == PORT_TAKEN
            else f"The Prefect server did not start (exit code {exit_code}). {_quote_log(home)}"
        )
    return process, int(json.loads(first_line)["port"])


@contextlib.contextmanager
def prefect_server(home: Path, pages: bool = False) -> Iterator[PrefectServer]:
    """Yield a ready server with its files in `home`, and end it afterwards.

    Raises
    ------
    FlowEngineTrouble
        As `start_in_background` and `PrefectServer.wait_ready`.
    """
    server = start_in_background(home, pages)
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def tell_address(home: Path, port: int, pages: bool) -> None:
    """Write into a server's folder where this process serves."""
    told = {"process": os.getpid(), "port": port, "pages": pages}
    (home / ADDRESS_NAME).write_text(json.dumps(told), encoding="utf-8")


def pages_address(home: Path) -> str | None:
    """Return where the pages of a folder's server are; None where none runs, '' where it has none."""
    try:
        told = json.loads((home / ADDRESS_NAME).read_text(encoding="utf-8"))
        port, pages = int(told["port"]), bool(told["pages"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex((HOST, port)) != 0:
            return None
    return f"http://{HOST}:{port}" if pages else ""


# The owner's side


def _port_of_imported_prefect() -> int | None:
    """Return the port that this process' Prefect uses; None where Prefect is not imported yet."""
    if "prefect" not in sys.modules:
        return None
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url or ""
    host, _, port = url.removeprefix("http://").removesuffix("/api").rpartition(":")
    if host != HOST or not port.isdecimal():
        raise FlowEngineTrouble(
            "Prefect was imported before its settings were made: it uses "
            f"{url or 'no server address'}, and chiploop starts its own on {HOST}. "
            "Start the server before anything imports prefect."
        )
    return int(port)


def _environment_of_the_server(own: Mapping[str, str]) -> dict[str, str]:
    """Return this process' environment without Prefect's variables, fit to import this checkout."""
    environment = {k: v for k, v in own.items() if not k.startswith("PREFECT")}
    root = Path(__file__).resolve().parents[1]
    if (root / "pyproject.toml").is_file():
        paths = [str(root), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def _send_what_is_queued() -> None:
    """Send the task states that this process' Prefect still holds.

    Prefect's own hook does so at the end of the process, which is after the server's.
    """
    if "prefect.events.worker" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        EventsWorker.drain_all(timeout=END_BUDGET_S, at_exit=False)


def _quote_log(home: Path, n_lines: int = 15) -> str:
    log_path = home / LOG_NAME
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join([f"This concerns no instrument. Its log: {log_path}", *lines[-n_lines:]])


# The server's side


def _main() -> None:
    """Serve Prefect's API until standard input ends."""
    arguments = argparse.ArgumentParser(prog="python -m flows.prefect_server")
    arguments.add_argument("--home", type=Path, required=True)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--pages", action="store_true")
    arguments.add_argument("--schedules", action="store_true")
    asked = arguments.parse_args()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":
        # Closed connections of an earlier server keep its port for a minute without this; on
        # Windows they do not, and the option would let two servers share a port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, asked.port))
    except OSError as trouble:
        print(f"port {asked.port}: {trouble}", file=sys.stderr)
        raise SystemExit(PORT_TAKEN) from trouble
    port = listener.getsockname()[1]
    put_environment(prefect_environment(asked.home, port, asked.pages, asked.schedules))
    tell_address(asked.home, port, asked.pages or asked.schedules)
    owner = _Owner()
    threading.Thread(target=owner.watch_input, daemon=True).start()
    threading.Thread(target=owner.watch_parent, args=(os.getppid(),), daemon=True).start()
    print(json.dumps({"port": port}), flush=True)
    # From here on the pipe has no reader; a stray print must not fail.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asyncio.run(_serve(listener, asked.home, owner))
    # Threads of the database driver would keep a plain exit waiting.
    os._exit(0)


class _Owner:
    """Ends this process when the one that started it is gone, or says so."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None

    def watch_input(self) -> None:
        with contextlib.suppress(OSError):
            os.read(0, 1)
        self.end()

    def watch_parent(self, process_id: int) -> None:
        """Notice a killed owner whose forked workers still hold the pipe (no effect on Windows)."""
        while os.getppid() == process_id:
            time.sleep(1.0)
        self.end()

    def end(self) -> None:
        if self.server is not None:
            self.server.should_exit = True
            time.sleep(END_BUDGET_S)
        os._exit(0)


async def _serve(listener: socket.socket, home: Path, owner: _Owner) -> None:
    # Loading Prefect and migrating its database make many objects that stay: collecting on the way
    # costs a quarter of the start.
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.server.database import provide_database_interface

    database, template = home / DATABASE_NAME, _empty_database_path()
    is_new = not database.exists() and not _copy_database(template, database)
    await provide_database_interface().create_db()
    if is_new:
        _copy_database(database, template)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(final=True),
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=int(END_BUDGET_S) - 2,
        )
    )
    gc.freeze()
    gc.enable()
    owner.server = server
    await server.serve(sockets=[listener])


def _empty_database_path() -> Path:
    """Return where this computer keeps an empty database: its many migrations take 4 s or more."""
    version = importlib.metadata.version("prefect")
    return platformdirs.user_cache_path("chiploop", appauthor=False) / f"prefect-{version}-empty.db"


def _copy_database(source: Path, target: Path) -> bool:
    """Copy an SQLite database in one step; return False, and leave no trace, where that fails."""
    if not source.is_file():
        return False
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.closing(sqlite3.connect(source)) as old,
            contextlib.closing(sqlite3.connect(partial)) as new,
        ):
            old.backup(new)
            sound = new.execute("PRAGMA quick_check").fetchone() == ("ok",)
        if sound:
            os.replace(partial, target)
        return sound
    except (OSError, sqlite3.Error):
        return False
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


if __name__ == "__main__":
    _main()
