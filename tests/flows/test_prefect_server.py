"""The private Prefect server: it serves, it stays on loopback, and it never outlives its owner.

Most cases run in processes of their own with an empty HOME: Prefect reads its settings once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.prefect_server import PrefectServer
from flows.prefect_settings import HOST

PROJECT = Path(__file__).resolve().parents[2]

# Python imports this, as sitecustomize, at the start of the owner and of the server alike: every
# connection that either makes, and every name that either looks up, is written down.
CONNECTION_WATCH = """
import os, socket, sys
def note(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        if arguments[0].family not in (socket.AF_INET, socket.AF_INET6):
            return
        line = str(address[0])
    elif event == "socket.getaddrinfo":
        line = str(arguments[0])
    else:
        return
    descriptor = os.open(os.environ["CONNECTIONS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (line + "\\n").encode())
    os.close(descriptor)
sys.addaudithook(note)
"""

RUN_A_FLOW = """
import sqlite3, sys
from contextlib import closing
from pathlib import Path
from flows.prefect_server import prefect_server

home = Path(sys.argv[1])
with prefect_server(home) as server:
    from prefect import flow, task

    @task
    def double(x):
        return 2 * x

    @task
    def add(x, y):
        return x + y

    @flow
    def arithmetic():
        return add(double(3), 4)

    print("answer", arithmetic())
    print("server", server.process_id)
with closing(sqlite3.connect(home / "prefect.db")) as database:
    for table in ("flow_run", "task_run"):
        print(table, *[state for (state,) in database.execute(f"select state_type from {table}")])
"""

WAIT_TO_BE_KILLED = """
import sys, time
from pathlib import Path
from flows.prefect_server import start_in_background

server = start_in_background(Path(sys.argv[1]))
if sys.argv[2] == "ready":
    server.wait_ready()
print(server.process_id, flush=True)
time.sleep(600)
"""

START_AGAIN_AND_TWICE_AT_ONCE = """
import sys
from pathlib import Path
from flows.prefect_server import FlowEngineTrouble, prefect_server, start_in_background

for start in ("first", "second"):
    with prefect_server(Path(sys.argv[1])) as server:
        from prefect import flow

        @flow
        def say():
            return start

        print(say(), server.port)
        try:
            start_in_background(Path(sys.argv[1]))
        except FlowEngineTrouble as trouble:
            print("refused:", trouble)
"""

ASK_AFTER_A_FOREIGN_IMPORT = """
import os, sys
from pathlib import Path
os.environ["PREFECT_API_URL"] = "http://prefect.invalid:4200/api"
import prefect
from flows.prefect_server import FlowEngineTrouble, start_in_background
try:
    start_in_background(Path(sys.argv[1]))
except FlowEngineTrouble as trouble:
    print(trouble)
"""


START_ON_A_FOLDER_FOR_A_DATABASE = """
import sys
from pathlib import Path
from flows.prefect_server import FlowEngineTrouble, start_in_background
home = Path(sys.argv[1])
(home / "prefect.db").mkdir(parents=True)
server = start_in_background(home)
try:
    server.wait_ready()
except FlowEngineTrouble as trouble:
    print(" ".join(str(trouble).split()))
print(server.process_id)
"""


@dataclass(frozen=True)
class Desk:
    """A computer that has never seen chiploop: its home folder and what it connected to."""

    folder: Path

    @property
    def connections_log(self) -> Path:
        return self.folder / "connections.txt"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "XDG_"))}
        watch = self.folder / "watch"
        watch.mkdir(exist_ok=True)
        (watch / "sitecustomize.py").write_text(CONNECTION_WATCH)
        return {
            **kept,
            "HOME": str(self.folder),
            "USERPROFILE": str(self.folder),
            "LOCALAPPDATA": str(self.folder),
            "CONNECTIONS_LOG": str(self.connections_log),
            "PYTHONPATH": os.pathsep.join([str(watch), str(PROJECT)]),
            # A user's own settings, and a proxy: neither may be used.
            "PREFECT_API_URL": "http://prefect.invalid:4200/api",
            "PREFECT_API_KEY": "nobody",
            "HTTP_PROXY": "http://proxy.invalid:3128",
            "HTTPS_PROXY": "http://proxy.invalid:3128",
        }

    def run(self, script: str, *arguments: str) -> str:
        """Return what a script prints; a script that fails shows its standard error."""
        done = subprocess.run(
            [sys.executable, "-c", script, str(self.folder / "runs" / "prefect"), *arguments],
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(self.folder / "runs" / "prefect"), *arguments],
            env=self.environment(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def owner_to_kill(desk: Desk, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    with desk.start(WAIT_TO_BE_KILLED, request.param) as owner:
        yield owner
        owner.kill()


def is_alive(process_id: int) -> bool:
    """Tell whether a process still runs; one that waits to be collected by its parent does not."""
    stat = Path(f"/proc/{process_id}/stat")
    if stat.exists():
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return sys.platform != "linux"


def wait_until_gone(process_id: int, budget_s: float) -> bool:
    deadline_s = time.monotonic() + budget_s
    while is_alive(process_id) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return not is_alive(process_id)


def test_flow_is_on_record_and_every_connection_is_to_loopback(desk: Desk) -> None:
    printed = desk.run(RUN_A_FLOW).split("\n")
    assert "answer 10" in printed
    assert "flow_run COMPLETED" in printed
    assert "task_run COMPLETED COMPLETED" in printed
    (server,) = (line for line in printed if line.startswith("server "))
    assert not is_alive(int(server.split()[1]))
    assert set(desk.connections_log.read_text().split()) <= {HOST, "localhost", "None"}


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on Windows")
@pytest.mark.parametrize("owner_to_kill", ["ready", "starting"], indirect=True)
def test_killed_owner_leaves_no_server(owner_to_kill: subprocess.Popen[str]) -> None:
    assert owner_to_kill.stdout is not None
    server_id = int(owner_to_kill.stdout.readline())
    assert is_alive(server_id)
    owner_to_kill.send_signal(signal.SIGKILL)
    owner_to_kill.wait()
    assert wait_until_gone(server_id, budget_s=8.0)


def test_prefect_imported_with_another_server_is_refused_and_named(desk: Desk) -> None:
    assert "http://prefect.invalid:4200/api" in desk.run(ASK_AFTER_A_FOREIGN_IMPORT)


def test_server_that_ends_at_once_is_told_with_its_log(desk: Desk) -> None:
    told, process_id = desk.run(START_ON_A_FOLDER_FOR_A_DATABASE).splitlines()
    assert "server.log" in told
    assert not is_alive(int(process_id))


@pytest.mark.slow
def test_a_process_starts_servers_one_after_the_other_but_not_at_once(desk: Desk) -> None:
    first, refused, second, _ = desk.run(START_AGAIN_AND_TWICE_AT_ONCE).splitlines()
    assert (first.split()[0], second.split()[0]) == ("first", "second")
    assert first.split()[1] == second.split()[1] and first.split()[1] in refused
    assert "in use" in refused


@pytest.mark.slow
def test_flows_of_the_test_process_find_the_server_of_the_suite(prefect_api: PrefectServer) -> None:
    from prefect import flow

    @flow
    def nothing() -> str:
        return "done"

    assert nothing() == "done"
    assert os.environ["PREFECT_API_URL"] == prefect_api.api_url
