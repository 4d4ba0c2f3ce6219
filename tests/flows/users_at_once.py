"""A run and two users in three processes on one record, forked from a warm start with URL RUNS RUN TURNS.

In every turn the run puts readouts, a state and a proposal on record; both users then decide about it, take
readouts out of the fits, hold the run and skip a task by hand, all at once, by the commands that people type. What
each command ended with goes to ``<who>.json`` in RUNS.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
from pathlib import Path

import flows.cli.decide
import flows.cli.exclude
import flows.cli.hold
import flows.cli.worklist
import flows.hands  # loaded before the processes part
import flows.proposing
import flows.run_status  # noqa: F401
from chiploop.measurement import Readout
from chiploop.record.record import Record
from flows.cli.main import command_line
from flows.holding import held_by, put_hold

VARIABLE = "CHIPLOOP_TEST_USERS"
"""Where it is set, a warm start carries out this in place of a command line."""
USERS = ("maria", "joe")
DOSE = {"line": "L1", "asked_nm": 60.0, "risk": 0.02, "chips": ["C01", "C02"]}


def wait_for(path: Path) -> None:
    until_s = time.monotonic() + 60.0
    while not path.exists():
        if time.monotonic() > until_s:
            raise TimeoutError(str(path))
        time.sleep(0.001)


def be_the_run(url: str, runs: Path, run: str, turns: int) -> None:
    """Add what a run adds, and end each turn once both users are done with it."""
    with Record(url) as record:
        for n in range(1, turns + 1):
            chips = [Readout(c, "TEER", 900.0 + n, "ohm*cm2", 0.1, "log", float(n)) for c in USERS]
            record.add_readouts(run, chips)
            proposal = record.add_proposal(run, n, {"doses": [DOSE]})
            (runs / f"turn-{n}").touch()
            extra = 0
            while record.decision_for(proposal) is None or not all(
                (runs / f"{who}-{n}").exists() for who in USERS
            ):
                extra += 1
                if extra <= 20:
                    record.add_event(run, "seen", float(n), {"n": extra}, key=f"{n}-{extra}")
                    record.add_state(run, f"turn {n} look {extra}", float(n))
            assert held_by(record, run)
            put_hold(record, run, False, "the run", "", float(n))
        assert put_hold(record, run, False, "the run", "", 0.0) is False


def be_a_user(url: str, runs: Path, run: str, turns: int, who: str) -> None:
    """Type the commands of one person."""
    for module in (flows.cli.decide, flows.cli.hold, flows.cli.exclude):
        module.os_login = lambda: who
    told = []
    verb = "approve" if who == USERS[0] else "reject"
    for n in range(1, turns + 1):
        wait_for(runs / f"turn-{n}")
        for words in (
            (verb, run, "--why", f"turn {n}"),
            ("hold", run, "--why", f"turn {n}"),
            ("exclude", run, who, "--time", str(n), "--why", f"air {n}"),
            ("skip", run, "c01/plate/CCL26", "--why", f"turn {n}"),
        ):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = command_line([*words, "--runs", str(runs), "--record", url, "--json"])
            told.append([n, words[0], code, err.getvalue(), json.loads(out.getvalue())])
        (runs / f"{who}-{n}").touch()
    (runs / f"{who}.json").write_text(json.dumps(told))


def carry_out(arguments: list[str]) -> int:
    """Be all three until the last has ended; return the worst exit code."""
    url, runs, run, turns = arguments[0], Path(arguments[1]), arguments[2], int(arguments[3])
    children = []
    for who in ("", *USERS):
        child = os.fork()
        if child == 0:
            code = 0
            try:
                if who:
                    be_a_user(url, runs, run, turns, who)
                else:
                    be_the_run(url, runs, run, turns)
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stderr.flush()
            os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return max(codes)
