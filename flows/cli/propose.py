"""``chiploop propose``: the card of a run's next doses, as on record or as a person would change them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS, os_login
from flows.cli.edit import DOSE, doses_of, edited, opened, schedules_of
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from flows.asking import Question
    from flows.opening import RunFiles
    from flows.proposing import Books, Offer


def propose(
    run: str = RUN,
    dose: list[str] = DOSE,
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show the next doses of a run with everything that speaks for and against them.

    The open proposal as it stands on record; where there is none, what would be proposed from the last fit.
    With --dose the open proposal with your doses, scored and checked: nothing is put on record, `chiploop approve
    RUN --dose ...` does that. Moves no liquid. Exit code 2 where there is nothing to propose from, 5 where a limit
    forbids a dose, 6 where the fit was not accepted. With --json: {"ok", "run", "proposal", "state", "simulated",
    "doses", "schedules", "card", "ties", "refused", "approval"}; "approval" is null where nothing is open.
    """
    from flows.cli.card_text import card_lines, pilot_lines
    from flows.fit import plain

    doses_nm, schedules = doses_of(dose), schedules_of(dose)
    with opened(run, runs) as (files, books):
        made, proposal_id, state = looked_at(files, books, doses_nm, schedules)
        question = waits_for(files, books) if state == "open" else None
    if as_json:
        told: dict[str, Any] = {
            "ok": True,
            "run": files.run_id,
            "proposal": proposal_id,
            "state": state,
            "simulated": files.simulated,
            "doses": {one.line: one.asked_nm for one in made.proposal.doses},
            "schedules": {one.line: one.schedule for one in made.proposal.doses},
            "card": None if made.card is None else plain(made.card.facts()),
            "ties": [asdict(one) for one in made.proposal.ties],
            "refused": [asdict(one) for one in made.proposal.refused],
            "approval": None if question is None else question.facts(),
        }
        print_json(told)
        return
    head = f"{'SIMULATED  ' if files.simulated else ''}{files.run_id}, cycle {made.proposal.cycle}: {state}"
    lines = (
        pilot_lines(made.proposal) if made.card is None else card_lines(made.card, made.proposal)
    )
    typer.echo("\n".join([head, "", *lines]))
    if question is not None:
        for said in who_must(question):
            typer.echo(said)
        approve = f"chiploop approve {files.run_id}"
        typer.echo(f"\nTo give them:         {approve}")
        typer.echo(f"Other doses:          {approve} --dose LINE=DOSE --why TEXT")
        typer.echo(f"None of them:         chiploop reject {files.run_id} --why TEXT")


def waits_for(files: RunFiles, books: Books) -> Question:
    """Return how the run's open proposal stands before people."""
    from flows.asking import moment_of, question_of

    proposal = books.record.latest_proposal(books.run_id)
    assert proposal is not None
    now = moment_of(files.folder, files.simulated)
    return question_of(books.record, books.run_id, proposal, now, files.simulated)


def who_must(question: Question) -> list[str]:
    """Return who must approve, and until when, as lines of text; nothing where one person may at any time."""
    lines = []
    if question.needs > 1:
        given = ", ".join(one.by for one in question.given) or "nobody"
        above = ", ".join(question.above)
        lines.append(f"\nTwo persons must approve, for the risk of {above}; so far: {given}")
    if question.rule.approvers is not None:
        lines.append(f"Who may approve:      {', '.join(question.rule.approvers)}")
    if question.end is not None:
        is_over = "EXPIRED, a fresh one comes" if question.end.over else "Can be approved until"
        lines.append(f"{is_over}: {question.end.told}")
    return lines


def looked_at(
    files: RunFiles,
    books: Books,
    doses_nm: Mapping[str, float],
    schedules: Mapping[str, str],
) -> tuple[Offer, str | None, str]:
    """Return what is shown, the id of the proposal on record that it is about, and its state."""
    from chiploop.campaign_values import proposal_from_dict
    from flows.proposing import Offer, campaign_on_record, card_on_record, offer

    standing = books.record.latest_proposal(books.run_id)
    fitted = max((c.cycle for c in books.record.calibrations(books.run_id)), default=0)
    if standing is None or fitted >= (standing.cycle or 0):  # what stands was given by now
        if doses_nm:
            raise WrongUse(f"{books.run_id} has no open proposal whose doses could be changed")
        return offer(books, campaign_on_record(files, books), None), None, "not on record"
    decision = books.record.decision_for(standing.key)
    if doses_nm:
        if decision is not None:
            raise WrongUse(f"{standing.key} is decided: {decision.action} by {decision.by}")
        made = edited(files, books, standing, doses_nm, os_login(), "", schedules)
        return made, standing.key, "edited, not on record"
    state = "open" if decision is None else f"{decision.action} by {decision.by}"
    card = card_on_record(books.record, books.run_id, standing.key)
    return Offer(proposal_from_dict(standing.content), card), standing.key, state
