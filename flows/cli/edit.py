"""A person's own doses in place of those proposed: read, scored, checked, and shown or decided.

Belongs here: what ``--dose`` means and the way from a run to an edited offer. Not here: the verbs (propose,
decide), scoring (flows.proposing), what is allowed (chiploop).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.approvals import readings_changed
from chiploop.errors import WrongUse
from chiploop.study_schedules import WHOLE, dose_words
from chiploop.units import UnitProblem, parse_quantity

if TYPE_CHECKING:
    from chiploop.record.rows import RecordedContent
    from chiploop.study import Study
    from flows.opening import RunFiles
    from flows.proposing import Books, Offer

DOSE = typer.Option(
    [],
    "--dose",
    metavar="LINE=DOSE[@SCHEDULE]",
    help="Another dose for a line, e.g. L1=100nM or L1=vehicle, for the whole exposure or by a schedule of the "
    "study, e.g. L1=100nM@pulses or L1=vehicle@in_th22; can be given once per line.",
)
VEHICLE = "vehicle"


def doses_of(written: Sequence[str]) -> dict[str, float]:
    """Return line -> nM of ``LINE=DOSE`` texts. WrongUse for one that is not, or a line named twice."""
    found: dict[str, float] = {}
    for text in written:
        line, sign, dose = text.partition("=")
        line, dose = line.strip(), dose.partition("@")[0].strip()
        if not (line and sign and dose):
            raise WrongUse(
                f'--dose "{text}" is not LINE=DOSE, such as L1=100nM or L1={VEHICLE}; nothing was decided'
            )
        if line in found:
            raise WrongUse(f"line {line} was given two doses; nothing was decided")
        try:
            found[line] = 0.0 if dose == VEHICLE else parse_quantity(dose, "concentration_nm")
        except UnitProblem as problem:
            hint = f"; {problem.hint}" if problem.hint else ""
            raise WrongUse(f"dose of line {line}: {problem}{hint}. Nothing was decided") from None
    return found


def schedules_of(written: Sequence[str]) -> dict[str, str]:
    """Return line -> schedule of those ``LINE=DOSE@SCHEDULE`` texts that name one. WrongUse for an empty name."""
    found = {}
    for text in written:
        line, _, dose = text.partition("=")
        _, sign, name = dose.partition("@")
        if sign and not name.strip():
            raise WrongUse(f'--dose "{text}" names no schedule after "@"; nothing was decided')
        if sign:
            found[line.strip()] = name.strip()
    return found


def refuse_unknown(
    study: Study, doses_nm: Mapping[str, float], schedules: Mapping[str, str]
) -> None:
    """Raise WrongUse for a schedule that the study has not."""
    known = ", ".join(study.schedules)
    for line, nm in doses_nm.items():
        name = schedules.get(line, WHOLE)
        if name not in study.schedules and (nm > 0.0 or line in schedules):
            said = f"there is no schedule {name}" if line in schedules else "no schedule is named"
            example = f"{line}={nm:g}nM@{next(iter(study.schedules))}"
            raise WrongUse(
                f"dose of line {line}: {said}; write for example {example}. The study has {known}. "
                "Nothing was decided"
            )


@contextmanager
def opened(run: str, runs: Path) -> Iterator[tuple[RunFiles, Books]]:
    """Open record and journal of a run for reading beside the process that works on it."""
    from chiploop.record.journal import Journal
    from flows.opening import known_run
    from flows.proposing import books_of
    from flows.record_place import place_of

    files = known_run(run, runs)
    place = place_of(files.runs)
    if not place.is_there() or not files.journal.exists():
        raise WrongUse(f"{files.run_id} has no record or no journal yet; nothing was decided")
    with place.open() as record, Journal(files.journal) as journal:
        yield files, books_of(files, record, journal)


def edited(
    files: RunFiles,
    books: Books,
    standing: RecordedContent,
    doses_nm: Mapping[str, float],
    by: str,
    why: str,
    schedules: Mapping[str, str] | None = None,
) -> Offer:
    """Return an open proposal with a person's doses on the lines named, scored and checked anew.

    ``schedules`` (line -> name) of the lines named; ``whole`` where there is none. Other lines keep theirs.

    Raises WrongUse for the pilot, SafetyRefusal where a limit forbids a dose, FitNotAccepted as the loop.
    """
    from chiploop.campaign import named_ways
    from chiploop.campaign_values import schedule_in
    from flows.proposing import campaign_on_record, may_begin_h, offer

    named = schedules or {}
    before = {d["line"]: (float(d["asked_nm"]), schedule_in(d)) for d in standing.content["doses"]}
    if standing.cycle == 1:
        raise WrongUse(
            f"{standing.key} is the pilot, whose doses the study file states (first_doses); change them there "
            "and start anew. Nothing was decided"
        )
    campaign = campaign_on_record(files, books)
    if campaign.cycle + 1 != standing.cycle:
        raise WrongUse(
            f"{standing.key} is for cycle {standing.cycle}, and the last fit is of cycle {campaign.cycle}: it is "
            "no longer open. Nothing was decided"
        )
    refuse_unknown(files.study, doses_nm, named)
    ways = named_ways(files.study, doses_nm, named)
    own = {line: (nm, ways[line]) for line, nm in doses_nm.items()}
    held = books.journal.held(books.run_id)
    for line in own:
        if line in held:
            raise WrongUse(
                f"line {line} is held: {held[line]}. It gets no dose; nothing was decided"
            )
    wanted = {line: one for line, one in {**before, **own}.items() if line not in held}
    begin_h = may_begin_h(books, standing)
    doses = {line: nm for line, (nm, _) in wanted.items()}
    ways = {line: way for line, (_, way) in wanted.items()}
    found = offer(books, campaign, begin_h, doses, standing.key, ways)
    changed = [
        f"{line} {told(*before[line]) if line in before else 'none'} -> {told(*one)}"
        for line, one in wanted.items()
        if one != before.get(line)
    ]
    changed += [f"{line} none, it is held" for line in before if line in held]
    reason = f": {why.strip()}" if why.strip() else ""
    note = f"edited by {by}, {', '.join(changed) or 'no dose changed'}{reason}"
    kept = tuple(n for n in standing.content.get("notes", ()) if n not in found.proposal.notes)
    notes = (*kept, *found.proposal.notes, *stale_notes(books, campaign.cycle), note)
    card = found.card
    if card is not None:
        card = replace(card, notes=(*notes, *card.notes[len(found.proposal.notes) :]))
    return replace(found, proposal=replace(found.proposal, notes=notes), card=card)


def stale_notes(books: Books, cycle: int) -> tuple[str, ...]:
    """Return that readouts were excluded, taken back or calculated again since the fit of a proposal."""
    if not readings_changed(books.record, books.run_id, cycle):
        return ()
    return (
        "readouts were excluded, taken back or calculated again after the last fit, on which these numbers rest",
    )


def told(nm: float, schedule: str) -> str:
    """Return a dose as a person reads it."""
    if nm:
        return dose_words(nm, schedule, {})
    return VEHICLE if schedule == WHOLE else f"{VEHICLE}, {schedule}"


def edit_as_json(standing: RecordedContent, found: Offer) -> dict[str, Any]:
    """Return which doses an edit changes, and by how much what they teach and risk changes."""
    proposal, old = found.proposal, standing.content
    return {
        "doses": {dose.line: dose.asked_nm for dose in proposal.doses},
        "schedules": {dose.line: dose.schedule for dose in proposal.doses},
        "information_nats": proposal.eig_nats,
        "information_nats_before": old["eig_nats"],
        "highest_risk": max((dose.risk or 0.0 for dose in proposal.doses), default=0.0),
        "highest_risk_before": max((dose["risk"] or 0.0 for dose in old["doses"]), default=0.0),
    }
