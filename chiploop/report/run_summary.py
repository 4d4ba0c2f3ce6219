"""A run as one object, from its record and journal alone.

Belongs here: what ``--json`` prints and what table and report show. Not here: how it looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chiploop.campaign_values import schedule_in
from chiploop.connections import connected
from chiploop.goals import truth_of_goal
from chiploop.record.actions import Action, is_part_of_dose
from chiploop.record.journal import Journal
from chiploop.record.progress import pump_progress
from chiploop.record.record import Record
from chiploop.study import Study


def summarise(record: Record, journal: Journal, study: Study, run_id: str) -> dict[str, Any]:
    """Return study, run and cycles; numbers that do not exist are None.

    A cycle: what was delivered in it, what was known after it, and what was then proposed and decided for the
    next one. After the last cycle the proposal is an outlook that nobody decides.
    """
    run = record.run(run_id)
    truth = {
        name: value
        for event in record.events(run_id, "truth")
        for name, value in event.content["goals"].items()
    }
    actions = journal.actions(run_id)
    cycles: list[dict[str, Any]] = []
    for calibration in record.calibrations(run_id):
        cycle, content = calibration.cycle, calibration.content
        proposal, decision = proposed_after(study, record, run_id, cycle)
        goals = [goal_facts(goal) for goal in content["goals"]]
        info = content["info"]
        cycles.append(
            {
                "cycle": cycle,
                "time_h": round(float(content["time_h"]), 4),
                "goal": goals[0],
                "goals": goals,
                "truth": truth_facts(study, truth, goals[0]),
                "truths": [truth_facts(study, truth, goal) for goal in goals],
                "diagnostics": {key: plain(value) for key, value in info.items()},
                "proposal": proposal,
                "decision": decision,
                "delivered": delivered_facts(study, actions, cycle),
            }
        )
    return {
        "study": study.name,
        "run_id": run_id,
        "simulated": bool(run.simulated) if run else False,
        "seed": run.seed if run else None,
        "state": run.state if run else "",
        "study_h": round(max((c["time_h"] for c in cycles), default=0.0), 4),
        "first_doses": [plain(nm) for nm in study.first_doses_nm],
        "cycles": cycles,
        "held": journal.held(run_id),
        "ended_because": ended_because(record, run_id),
    }


def ended_because(record: Record, run_id: str) -> str:
    """Return which stop rule ended the study; empty where none did."""
    events = record.events(run_id, "stop rule")
    return str(events[-1].content["why"]) if events else ""


def goal_facts(goal: Mapping[str, Any]) -> dict[str, Any]:
    """Return a goal's estimate with plain numbers."""
    return {key: plain(value) for key, value in goal.items()}


def truth_facts(
    study: Study, truth: Mapping[str, Any], goal: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the hidden truth of a goal's estimate; None in a real run."""
    if goal["name"] not in truth:
        return None
    value = plain(truth_of_goal(study, goal, truth))
    return {"name": goal["name"], "unit": goal["unit"], "value": value}


def proposed_after(
    study: Study, record: Record, run_id: str, cycle: int
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return what was proposed after a cycle and what was decided about it."""
    for event in record.events(run_id, "outlook"):
        if event.content["cycle"] == cycle + 1:
            ended = {"by": "study", "action": "none", "why": "the study ended; an outlook only"}
            return proposal_facts(study, event.content), ended
    found = [p for p in record.proposals(run_id) if p.cycle == cycle + 1]
    if not found:
        return None, None
    decision = record.decision_for(found[-1].key)
    facts = None
    if decision is not None:
        facts = {
            "by": decision.by,
            "action": decision.action,
            "why": decision.why,
            "at_utc": decision.at_utc,
            "proposal_id": decision.proposal_id,
        }
    return proposal_facts(study, found[-1].content), facts


def proposal_facts(study: Study, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a proposal with its leading dose first and every line's dose below."""
    doses = [
        {
            "line": dose["line"],
            "chips": list(dose["chips"]),
            "concentration_nM": dose["asked_nm"],
            "delivered_nM": dose["delivered_nm"],
            "schedule": schedule_in(dose),
            "risk": dose["risk"],
            "eig_nats": dose["eig_nats"],
            **({"drug": study.drug_of(dose["line"]).name} if study.further_drugs else {}),
        }
        for dose in content["doses"]
    ]
    lead = max(doses, key=lambda dose: (dose["eig_nats"] or 0.0, dose["concentration_nM"]))
    return {
        "drug": content["drug"],
        "concentration_nM": lead["concentration_nM"],
        "chips": lead["chips"],
        "risk": lead["risk"],
        "eig_nats": lead["eig_nats"],
        "policy": content["policy"],
        "goal": content["goal"],
        "for_cycle": content["cycle"],
        "batch_eig_nats": content["eig_nats"],
        "doses": doses,
        "refused": len(content["refused"]),
        "notes": list(content.get("notes", ())),
    }


def delivered_facts(study: Study, actions: list[Action], cycle: int) -> list[dict[str, Any]]:
    """Return per chip what the pumps of its line were asked for and gave in a cycle's exposure.

    A line's volume is shared equally by its chips; the pumps' own counts stand below ``pumps``.
    """
    key = f"/c{cycle:02d}/"
    facts = []
    connections = [a.connection for a in actions if key in a.intent.key]
    if study.valves and connections:  # whom each line fed in that cycle
        study = connected(study, connections[-1])
    for line in study.lines:
        own = [
            action
            for action in actions
            if key in action.intent.key
            and action.intent.programme.line == line.id
            and is_part_of_dose(action.intent.programme_key)
        ]
        pumps = [
            {
                "pump": action.intent.pump,
                "asked_ul": action.intent.volume_ul,
                "delivered_ul": plain(pump_progress(action).delivered_ul),
                "resolution_ul": action.intent.resolution_ul,
                "outcome": pump_progress(action).state,
                "phase": action.intent.programme_key.rsplit("/", 1)[1],
            }
            for action in own
        ]
        share = 1.0 / max(1, len(line.chips))
        known = [p["delivered_ul"] for p in pumps]
        total = None if None in known or not pumps else round(sum(known) * share, 6)
        states = {p["outcome"] for p in pumps}
        outcome = "not given" if not pumps else states.pop() if len(states) == 1 else "mixed"
        for chip in line.chips:
            facts.append(
                {
                    "chip": chip,
                    "line": line.id,
                    "asked_ul": round(sum(p["asked_ul"] for p in pumps) * share, 6),
                    "delivered_ul": total,
                    "outcome": outcome,
                    "drug_nM": max((a.intent.programme.delivered_nm for a in own), default=None),
                    "pumps": pumps,
                }
            )
    return facts


def plain(value: Any) -> Any:
    """Return numbers that JSON knows; None for what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
