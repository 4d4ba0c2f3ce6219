"""``chiploop approve`` and ``chiploop reject``: a person's word on the proposed doses of a run."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.edit import DOSE, doses_of, edit_as_json, edited, opened, schedules_of
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.record.record import Record
    from chiploop.record.rows import DecisionAction, RecordedContent, RecordedRun
    from flows.asking import Question

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
    dose: list[str] = DOSE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Approve the open proposal of a run, in the name of the person logged in.

    With --dose other doses take the place of those proposed on the lines named: scored and checked like any, put
    on record as a proposal of yours that names what it replaces, and approved. Where a limit forbids one nothing
    is changed (exit code 5). `chiploop propose RUN --dose ...` shows them before.
    Limits are checked again between approval and wire. Where the study asks for a second person the first one's
    approval is kept and nothing is given yet; the same person twice is refused. Exit code 2 where the run is
    unknown, its proposal is missing, decided or expired, or you may not approve. With --json: {"ok", "proposal",
    "action", "by", "decided", "still_needed"}, and with --dose "edit".
    """
    if dose:
        _approve_edited(run, why, runs, proposal, dose, as_json)
        return
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
    {"ok", "proposal", "action", "by", "decided", "still_needed"}.
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
        raise WrongUse(f"there is no run {run_id} on record of {runs}; there are: {known}")
    return recorded


def _decide(
    run_id: str, action: DecisionAction, why: str, runs: Path, meant: str, as_json: bool
) -> None:
    from chiploop.record.chain import RecordConflict
    from flows.asking import study_time_h
    from flows.record_place import place_of

    with place_of(runs).open_known() as record:
        recorded = known_run(record, run_id, runs)
        proposal = _open_proposal(record, run_id, meant)
        by, left = os_login(), 0
        try:
            if action == "approve":
                question = asked_of(record, recorded, proposal, runs, by)
                time_h = study_time_h(runs / run_id, recorded.simulated)
                end = None if question.end is None else question.end.at
                decided = record.add_approval(proposal.key, by, why, question.needs, time_h, end)
                left = 0 if decided else question.needs - len(question.given) - 1
            else:
                record.add_decision(proposal.key, action, by, why)
        except RecordConflict as problem:  # somebody decided meanwhile, or its time is over
            _open_proposal(record, run_id, proposal.key)
            raise WrongUse(f"{problem}. Nothing was decided") from None
    if as_json:
        told = {"ok": True, "proposal": proposal.key, "action": action, "by": by}
        print_json({**told, "decided": left == 0, "still_needed": left})
        return
    simulated = "  SIMULATED" if recorded.simulated else ""
    print(f"{action}  {proposal.key}  by {by}{simulated}")
    _print_doses(proposal.content["doses"])
    if left:
        print(still_needed(question.above))


def asked_of(
    record: Record,
    run: RecordedRun,
    proposal: RecordedContent,
    runs: Path,
    by: str,
    content: Mapping[str, Any] | None = None,
) -> Question:
    """Return how a proposal stands before people; WrongUse where this person can not approve it now.

    ``content`` is what a person would put in its place.
    """
    from dataclasses import replace

    from chiploop.approvals import needed, risk_above
    from flows.asking import moment_of, question_of

    now = moment_of(runs / run.run_id, run.simulated)
    question = question_of(record, run.run_id, proposal, now, run.simulated)
    if content is not None:  # it begins with nobody's approval
        rule = question.rule
        needs, above = needed(rule, content), risk_above(rule, content)
        question = replace(question, given=(), needs=needs, above=above)
    if against := question.against(by):
        raise WrongUse(f"{against}. Nothing was decided")
    return question


def still_needed(above: Sequence[str]) -> str:
    """Return what is told to the first of two persons."""
    return (
        f"A SECOND PERSON must approve: risk of {', '.join(above)} is above the study's two_above. Until then "
        "nothing is given"
    )


def _open_proposal(record: Record, run_id: str, meant: str) -> RecordedContent:
    """Return the run's open proposal; WrongUse where there is none, or another one was meant."""
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
            f"{proposal.key} was decided before: {decided.action} by {decided.by} at {decided.at_utc}; "
            "a decision is not taken back"
        )
    return proposal


def _approve_edited(
    run: str, why: str, runs: Path, meant: str, dose: list[str], as_json: bool
) -> None:
    if not why.strip():
        raise WrongUse("another dose than the one proposed needs its reason: --why TEXT")
    from chiploop.record.chain import RecordConflict
    from flows.fit import plain

    doses_nm, schedules = doses_of(dose), schedules_of(dose)
    with opened(run, runs) as (files, books):
        standing, by = _open_proposal(books.record, books.run_id, meant), os_login()
        recorded = known_run(books.record, books.run_id, files.runs)
        asked_of(books.record, recorded, standing, files.runs, by, standing.content)
        found = edited(files, books, standing, doses_nm, by, why, schedules)
        content = asdict(found.proposal)
        question = asked_of(books.record, recorded, standing, files.runs, by, content)
        try:
            key = books.record.replace_proposal(
                standing.key,
                content,
                by,
                why,
                None if found.card is None else plain(found.card.facts()),
                max((r.time_h for r in books.record.readouts(books.run_id)), default=0.0),
                needs=question.needs,
                not_after=None if question.end is None else question.end.at,
            )
        except RecordConflict as problem:  # somebody decided meanwhile
            raise WrongUse(str(problem)) from None
    if as_json:
        told = {"ok": True, "proposal": key, "action": "approve", "by": by}
        told |= {"decided": question.needs == 1, "still_needed": question.needs - 1}
        print_json({**told, "edit": edit_as_json(standing, found)})
        return
    simulated = "  SIMULATED" if files.simulated else ""
    print(f"approve  {key}  in place of {standing.key}  by {by}{simulated}")
    _print_doses(content["doses"])
    for note in found.proposal.notes:
        print(f"  note: {note}")
    if question.needs > 1:
        print(still_needed(question.above))


def _print_doses(doses: Sequence[Mapping[str, Any]]) -> None:
    from chiploop.campaign_values import schedule_in
    from chiploop.study_schedules import dose_words

    for dose in doses:
        risk = "no fit yet" if dose["risk"] is None else f"risk {100 * dose['risk']:.0f} %"
        print(
            f"  {dose['line']}  {dose_words(dose['asked_nm'], schedule_in(dose), {})}, {risk}, "
            f"chips {', '.join(dose['chips'])}"
        )
