"""What was proposed, decided and given, as rows of text, from record and journal.

Belongs here: what stands in which column. Not here: what was measured (run_tables), markup (report.html.j2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chiploop.campaign_values import schedule_in
from chiploop.connections import line_in
from chiploop.dosing import PumpStep, mixed_nm
from chiploop.record.actions import Action, is_part_of_dose
from chiploop.record.progress import pump_progress
from chiploop.record.record import Record
from chiploop.report.run_tables import number, percent, utc
from chiploop.study import Study
from chiploop.study_schedules import WHOLE, Schedule, schedule_words


@dataclass(frozen=True)
class DoseRow:
    """One line of a proposal."""

    line: str
    chips: str
    asked: str
    pumps: str
    """What the pumps' rounding makes of it."""
    given: str
    """What their counters say was given."""
    risk: str
    information: str


@dataclass(frozen=True)
class ProposalRows:
    """One proposal with what became of it."""

    title: str
    facts: str
    decision: str
    decided: str
    """``approve``, ``reject``, ``expire``, ``open`` or ``none``."""
    doses: tuple[DoseRow, ...]
    notes: tuple[str, ...] = ()
    """Why these are not the doses that would teach most, who changed them."""


@dataclass(frozen=True)
class DeliveryRow:
    """One pump's part of one phase of a line."""

    cycle: str
    line: str
    phase: str
    pump: str
    asked: str
    delivered: str
    outcome: str
    good: bool


def given_doses(study: Study, actions: Sequence[Action]) -> dict[tuple[int, str], float]:
    """Return (cycle, line) -> concentration in nM by the pumps' counters, of completed doses.

    Of a dose in parts it is that of the part with most drug, once all that were begun are completed.
    """
    steps: dict[tuple[int, str, str], list[PumpStep | None]] = {}
    for action in actions:
        _, cycle, line, phase, pump = action.intent.key.rsplit("/", 4)
        if not is_part_of_dose(action.intent.programme_key):
            continue
        progress = pump_progress(action)
        (step,) = (s for s in action.intent.programme.steps if s.pump == pump)
        is_done = progress.state == "delivered"
        steps.setdefault((int(cycle.removeprefix("c")), line, phase), []).append(
            replace(step, volume_ul=progress.delivered_ul) if is_done else None
        )
    found: dict[tuple[int, str], float] = {}
    unknown = set()
    for (cycle_number, line, _), own in steps.items():
        known = tuple(step for step in own if step is not None)
        if len(known) == len(own) and sum(step.volume_ul for step in known) > 0.0:
            place = cycle_number, line
            found[place] = max(mixed_nm(study, known), found.get(place, 0.0))
        else:
            unknown.add((cycle_number, line))
    return {place: nm for place, nm in found.items() if place not in unknown}


def fed_by(study: Study, actions: Sequence[Action]) -> dict[tuple[int, str], str]:
    """Return (cycle, chip) -> line that fed it in the exposure; a chip of which nobody knows is in none."""
    found: dict[tuple[int, str], str] = {}
    for action in actions:
        if is_part_of_dose(action.intent.programme_key):
            cycle = int(action.intent.key.rsplit("/", 4)[1].removeprefix("c"))
            for chip in study.chip_ids:
                if (line := line_in(study, action.connection, chip)) is not None:
                    found[cycle, chip] = line
    return found


def proposal_rows(
    study: Study, record: Record, run_id: str, given: Mapping[tuple[int, str], float]
) -> tuple[ProposalRows, ...]:
    """Return every proposal of a run with its decision, and the outlook at the end."""
    rows = []
    for proposal in record.proposals(run_id):
        decision = record.decision_for(proposal.key)
        told, decided = "not decided yet", "open"
        if decision is not None:
            verb = {"approve": "approved", "reject": "rejected", "expire": "expired"}[
                decision.action
            ]
            told = f"{verb} by {decision.by}, {utc(decision.at_utc)}: {decision.why or 'no reason given'}"
            decided = decision.action
        again = f", attempt {proposal.attempt}" if proposal.attempt > 1 else ""
        rows.append(
            one_proposal(
                study,
                proposal.content,
                f"Cycle {proposal.cycle}{again}",
                told,
                decided,
                given if decided == "approve" else {},
                study.schedules,
            )
        )
    for event in record.events(run_id, "outlook"):
        title = f"Cycle {event.content['cycle']}: outlook only"
        rows.append(
            one_proposal(
                study,
                event.content,
                title,
                "the study ended; nobody decides it, nothing was given",
                "none",
                {},
                study.schedules,
            )
        )
    return tuple(rows)


def one_proposal(
    study: Study,
    content: Mapping[str, Any],
    title: str,
    decision: str,
    decided: str,
    given: Mapping[tuple[int, str], float],
    schedules: Mapping[str, Schedule],
) -> ProposalRows:
    """Return one proposal's rows."""
    facts = [f"policy {content['policy']}", f"about {content['goal']}"]
    if content["eig_nats"] is not None:
        facts.append(f"expected information of the batch {content['eig_nats']:.3f} nats")
    if content["refused"]:
        facts.append(f"{len(content['refused'])} candidates not feasible or not allowed")
    doses = tuple(
        DoseRow(
            line=dose["line"]
            + (f", {study.drug_of(dose['line']).name}" if study.further_drugs else ""),
            chips=", ".join(dose["chips"]),
            asked=asked_text(dose, schedules),
            pumps=number(dose["delivered_nm"], 4),
            given=number(given.get((content["cycle"], dose["line"])), 4),
            risk=percent(dose["risk"], 1),
            information="–" if dose["eig_nats"] is None else f"{dose['eig_nats']:.3f}",
        )
        for dose in content["doses"]
    )
    notes = tuple(content.get("notes", ()))
    return ProposalRows(title, "; ".join(facts), decision, decided, doses, notes)


def asked_text(dose: Mapping[str, Any], schedules: Mapping[str, Schedule]) -> str:
    """Return the asked concentration, and when it is given where that is not the whole exposure."""
    name, concentration = schedule_in(dose), number(dose["asked_nm"], 4)
    if name == WHOLE:
        return concentration
    words = schedule_words(schedules[name]) if name in schedules else ""
    return f"{concentration}, {name}" + (f": {words}" if words else "")


def delivery_rows(actions: Sequence[Action]) -> tuple[DeliveryRow, ...]:
    """Return what every pump was asked for and what its counter says it gave."""
    rows = []
    for action in actions:
        progress = pump_progress(action)
        asked = action.intent.volume_ul
        known = math.isfinite(progress.delivered_ul)
        off = abs(progress.delivered_ul - asked) > action.intent.resolution_ul + 1e-9
        _, cycle, _, phase, _ = action.intent.key.rsplit("/", 4)
        rows.append(
            DeliveryRow(
                cycle=cycle.removeprefix("c").lstrip("0") or "–",
                line=action.intent.programme.line,
                phase=phase,
                pump=action.intent.pump,
                asked=f"{asked:g}",
                delivered=f"{progress.delivered_ul:g}" if known else "not known",
                outcome=progress.state + (f": {progress.reason}" if progress.reason else ""),
                good=progress.state == "delivered" and not off,
            )
        )
    return tuple(rows)
