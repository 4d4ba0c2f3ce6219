"""The commands of docs/prefect_server.md, carried out: Prefect on PostgreSQL, a process pool, a recalibration."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.flows.conftest import SMALL_STUDY, Warm
from tests.flows.run_checks import only_run
from tests.postgresql_server import USER, PostgresqlServer

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "prefect_server.md"
BIN = Path(sys.executable).parent
CHIPLOOP = (sys.executable, "-c", "from flows.cli.main import main; main()")
LASTING = (["prefect", "server", "start"], ["prefect", "worker", "start"])
"""Commands that go on until they are ended."""
LONGEST_S = 240.0


def blocks() -> list[list[str]]:
    """Return the commands of the page, block by block."""
    found = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [block.strip().splitlines() for block in found]


def test_the_page_has_every_command_that_a_standing_server_takes() -> None:
    said = [line for block in blocks() for line in block]
    begins = [
        "createdb",
        "prefect server start",
        "prefect work-pool create",
        "prefect worker start",
    ]
    begins += ["chiploop serve --api", "prefect deployment run"]
    at = [next(i for i, line in enumerate(said) if line.startswith(begin)) for begin in begins]
    assert at == sorted(at)
    sets = "\n".join(line for line in said if line.startswith("export"))
    assert "PREFECT_API_DATABASE_CONNECTION_URL=postgresql+asyncpg://" in sets
    assert "DO_NOT_TRACK=1" in sets and "PREFECT_SERVER_ANALYTICS_ENABLED=false" in sets


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Desk:
    """Somebody who types the page's commands."""

    def __init__(self, folder: Path, values: dict[str, str], stack: ExitStack) -> None:
        self.folder, self.values, self.stack = folder, values, stack

    def carry_out(self, block: list[str]) -> str:
        """Carry out a block as one shell would; return what was printed by the commands that end."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
        environment |= {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PYTHONPATH": str(PROJECT),
            "NO_COLOR": "1",
        }
        printed = ""
        for line in block:
            for name, value in self.values.items():
                line = line.replace(name, value)
            words = shlex.split(line)
            if words[0] == "export":
                environment |= dict(word.split("=", 1) for word in words[1:])
                continue
            own = [*CHIPLOOP, *words[1:]] if words[0] == "chiploop" else words
            if words[0] == "prefect":
                own = [str(BIN / "prefect"), *words[1:]]
            if words[:3] in LASTING:
                self.stack.enter_context(self.lasting(own, environment))
                continue
            done = subprocess.run(
                own, env=environment, cwd=self.folder, capture_output=True, text=True,
                timeout=LONGEST_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (line, done.stdout, done.stderr, self.logs())
            printed += done.stdout
        return printed

    def logs(self) -> str:
        """Return what the lasting commands have said."""
        return "\n".join(log.read_text()[-3000:] for log in self.folder.glob("*.log"))

    @contextmanager
    def lasting(self, command: list[str], environment: dict[str, str]) -> Iterator[None]:
        """Start a command that goes on, and end it afterwards."""
        with (self.folder / f"{command[1]}.log").open("w") as log:
            process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            if "server" in command:
                self.wait_for_server(process)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait_for_server(self, process: subprocess.Popen[bytes]) -> None:
        """Return once the server listens."""
        until_s = time.monotonic() + LONGEST_S
        port = int(self.values["4200"])
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert process.poll() is None and time.monotonic() < until_s, self.logs()
            time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_page_recalibrate_an_open_run_on_a_pool(
    warm: Warm, tmp_path: Path, postgresql_server: PostgresqlServer
) -> None:
    runs = tmp_path / "runs"
    killed = warm.run("simulate", SMALL_STUDY, "--runs", runs, CHIPLOOP_FAULT="posterior_written")
    assert killed.code == -9, killed.err
    port = str(free_port())
    values = {
        "4200": port,
        "USER:PASSWORD@HOST:PORT": f"{USER}:{postgresql_server.password}@127.0.0.1:{postgresql_server.port}",
        "--runs RUNS": f"--runs {runs}",
    }
    database, server, worker, hand_over = blocks()
    assert database == ["createdb prefect"]  # libpq's own program; not installed with every server
    with psycopg.connect(postgresql_server.address("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE prefect")
    with ExitStack() as stack:
        desk = Desk(tmp_path, values, stack)
        desk.carry_out(server)
        desk.carry_out(worker)
        printed = desk.carry_out(hand_over)
    assert "recalibrate open runs/by night" in printed
    (fit,) = (runs / only_run(runs)).glob("fit/*/fit.json")
    told = json.loads(fit.read_text())
    assert (told["run"], told["passed"], told["cycle"]) == (only_run(runs), True, 1)
    assert fit.with_name("review.html").is_file()
    with psycopg.connect(postgresql_server.address("prefect")) as connection:
        rows = connection.execute("SELECT name, state_type::text FROM flow_run").fetchall()
        pool = connection.execute("SELECT name, type FROM work_pool").fetchall()
        tasks = connection.execute("SELECT name FROM task_run").fetchall()
    assert (f"recalibrate the open runs of {runs}", "COMPLETED") in rows
    assert ("fits", "process") in pool
    assert (f"{only_run(runs)} · cycle 1 · fit again",) in tasks
