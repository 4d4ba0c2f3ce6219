"""``chiploop approve`` and ``chiploop reject``: a person's word on the proposed doses of a run."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.record.record import Record
    from chiploop.record.rows import DecisionAction, RecordedRun

RUN = typer.Argument(help="Run id, as `chiploop run` printed it.")
PROPOSAL = typer.Option(
    "", "--proposal", help="Id of the proposal that is meant; refused where another one is open."
)
RUNS = typer.Option(Path("runs"), "--runs", help="Folder of the runs.")


def approve(
    run: str = RUN,
    why: str = typer.Option("", "--why", help="Reason, kept on record."),
    runs: Path = RUNS,
    proposal: str = PROPOSAL,
    as_json: bool = JSON_OPTION,
) -> None:
    """Approve the open proposal of a run, in the name of the person logged in.

    Limits are checked again between approval and wire. Exit code 2 where the run is unknown, or its
    proposal is missing or decided. With --json: {"ok", "proposal", "action", "by"}.
    """
    _decide(run, "approve", why, runs, proposal, as_json)


def reject(
    run: str = RUN,
    why: str = typer.Option(..., "--why", help="Reason, kept on record."),
    runs: Path = RUNS,
    proposal: str = PROPOSAL,
    as_json: bool = JSON_OPTION,
) -> None:
    """Reject the open proposal of a run, in the name of the person logged in and with the reason.

    Exit code 2 where the run is unknown, or its proposal is missing or decided. With --json:
    {"ok", "proposal", "action", "by"}.
    """
    if not why.strip():
        raise WrongUse("a rejection needs its reason: --why TEXT")
    _decide(run, "reject", why, runs, proposal, as_json)


def os_login() -> str:
    """Return who is logged in: from the operating system, not from variables, where it can tell."""
    if sys.platform == "win32":
        try:
            return os.getlogin()
        except OSError:
            return getpass.getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def known_run(record: Record, run_id: str, runs: Path) -> RecordedRun:
    """Return a run of the record; WrongUse that names those there are where it has none of this id."""
    recorded = record.run(run_id)
    if recorded is None:
        known = ", ".join(run.run_id for run in record.runs()) or "none"
        raise WrongUse(f"there is no run {run_id} in {runs}; there are: {known}")
    return recorded


def _decide(
    run_id: str, action: DecisionAction, why: str, runs: Path, meant: str, as_json: bool
) -> None:
    from chiploop.campaign_values import schedule_in
    from chiploop.record.record import Record
    from chiploop.study_schedules import dose_words

    file = runs / "record.sqlite"
    if not file.exists():
        raise WrongUse(f"there is no record in {runs}; name the folder of your runs with --runs")
    with Record(f"sqlite:///{file.as_posix()}") as record:
        recorded = known_run(record, run_id, runs)
        proposal = record.latest_proposal(run_id)
        if proposal is None:
            raise WrongUse(f"run {run_id} has proposed nothing yet")
        if meant and meant != proposal.key:
            raise WrongUse(
                f"{meant} is not the open proposal of {run_id}; that is {proposal.key}. Nothing was decided"
            )
        decided = record.decision_for(proposal.key)
        if decided is not None:
            raise WrongUse(
                f"{proposal.key} was decided before: {decided.action} by {decided.by} at "
                f"{decided.at_utc}; "
                "a decision is not taken back"
            )
        by = os_login()
        record.add_decision(proposal.key, action, by, why)
    if as_json:
        print_json({"ok": True, "proposal": proposal.key, "action": action, "by": by})
        return
    simulated = "  SIMULATED" if recorded.simulated else ""
    print(f"{action}  {proposal.key}  by {by}{simulated}")
    for dose in proposal.content["doses"]:
        risk = "no fit yet" if dose["risk"] is None else f"risk {100 * dose['risk']:.0f} %"
        print(
            f"  {dose['line']}  {dose_words(dose['asked_nm'], schedule_in(dose), {})}, {risk}, "
            f"chips {', '.join(dose['chips'])}"
        )
