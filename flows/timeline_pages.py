"""The pages of a run on Prefect's timeline: fit, next doses and chips of every cycle.

Belongs here: what stands on them, from record, journal and posterior files. Not here: sending them (timeline).

A page has the same key however often it is made, so that Prefect shows its versions one below the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.campaign_values import proposal_from_dict
from chiploop.inference.posterior import Posterior
from chiploop.record.actions import Action
from chiploop.record.posterior_file import read_posterior
from chiploop.record.record import Record
from chiploop.record.rows import Decision, RecordedContent
from chiploop.record.unexplained import LEFT_OUT
from chiploop.refit import LEARNED
from chiploop.report.run_summary import delivered_facts
from chiploop.report.run_tables import number, percent
from chiploop.report.verdicts import WORDS, fit_verdict, predictive_verdict
from chiploop.study import Study
from flows.cli.card_text import card_lines, pilot_lines
from flows.proposing import card_on_record

LEVEL = 0.9
"""Of the intervals that are shown."""


@dataclass(frozen=True)
class Page:
    """One page, as Prefect keeps an artifact."""

    key: str
    """Small letters, digits and dashes."""
    kind: str
    """``markdown`` or ``table``."""
    data: str
    description: str


def page_key(run_id: str, cycle: int, what: str) -> str:
    """Return the key of a run's page."""
    run = re.sub(r"[^a-z0-9]+", "-", run_id.lower()).strip("-")
    return f"{run}-cycle-{cycle:02d}-{what}"


def pages_of(
    record: Record,
    actions: Sequence[Action],
    study: Study,
    run: str,
    run_id: str,
    folder: Path,
    without: Container[str] = (),
) -> list[Page]:
    """Return every page that record and journal have something for, but for fits whose keys are ``without``.

    ``run`` is what the run is called. A fit on record stays as it is, and its file is long to read.
    """
    pages = []
    for calibration in record.calibrations(run_id):
        key, title = (
            page_key(run_id, calibration.cycle, "fit"),
            f"{run} · cycle {calibration.cycle} · fit",
        )
        if key not in without:
            text = fit_page(title, calibration.content, folder)
            pages.append(Page(key, "markdown", text, title))
    newest = {proposal.cycle: proposal for proposal in record.proposals(run_id)}
    for cycle, proposal in newest.items():
        title = f"{run} · cycle {cycle} · doses"
        text = doses_page(title, record, proposal, record.decision_for(proposal.key))
        pages.append(Page(page_key(run_id, cycle, "doses"), "markdown", text, title))
    for cycle in sorted(c for c in newest if any(f"/c{c:02d}/" in a.intent.key for a in actions)):
        title = f"{run} · cycle {cycle} · chips"
        rows = chip_rows(record, actions, study, run_id, cycle)
        data = json.dumps(rows, ensure_ascii=False)
        pages.append(Page(page_key(run_id, cycle, "chips"), "table", data, title))
    return pages


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of markdown."""

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [row(head), row(["---"] * len(head)), *map(row, rows), ""]


def fit_page(title: str, content: Mapping[str, Any], folder: Path) -> str:
    """Return what a fit found: its verdict, the goals, and every parameter."""
    info = content["info"]
    passed = bool(info["passed"])
    said = "passed" if passed else "NOT ACCEPTED: " + "; ".join(info["failures"])
    lines = [f"# {title}", "", f"**Fit {said}**", ""]
    judged = [
        line for verdict in (fit_verdict(info), predictive_verdict(info)) for line in verdict.lines
    ]
    lines += markdown_table(
        ("diagnostic", "limit", ""), [(one.text, one.limit, WORDS[one.state]) for one in judged]
    )
    lines += markdown_table(
        ("goal", "median", "90 % interval", "unit", "not reached"),
        [
            (
                str(goal["name"]),
                number(goal["median"]),
                f"{number(goal['lower'])} to {number(goal['upper'])}",
                str(goal["unit"]),
                percent(goal["unreached"], 1),
            )
            for goal in content["goals"]
        ],
    )
    lines += [f"warning: {warning}\n" for warning in info["warnings"]]
    try:
        posterior, _ = read_posterior(folder / content["posterior"])
    except (OSError, KeyError, ValueError, TypeError) as problem:
        return "\n".join(
            [*lines, f"The parameters can not be shown: {content['posterior']}: {problem}"]
        )
    return "\n".join([*lines, *parameter_lines(posterior)])


def parameter_lines(posterior: Posterior) -> list[str]:
    """Return every parameter with its interval, and whether it was learned."""
    middle = np.median(posterior.particles, axis=0)
    intervals = posterior.interval(LEVEL)
    shrink = 1.0 - posterior.standard.std(axis=0)
    rows = [
        (
            name,
            "" if posterior.units[j] == "1" else posterior.units[j],
            number(float(middle[j])),
            f"{number(float(intervals[j, 0]))} to {number(float(intervals[j, 1]))}",
            f"{shrink[j]:.2f}",
            "learned" if shrink[j] >= LEARNED else "prior",
        )
        for j, name in enumerate(posterior.names)
    ]
    return markdown_table(
        ("parameter", "unit", "median", f"{100 * LEVEL:.0f} % interval", "narrowed", ""), rows
    )


def doses_page(
    title: str, record: Record, proposal: RecordedContent, decision: Decision | None
) -> str:
    """Return a proposal with its card, and what was decided."""
    made = proposal_from_dict(proposal.content)
    card = card_on_record(record, proposal.run_id, proposal.key)
    decided = "**nobody has decided yet; nothing is dosed before**"
    if decision is not None:
        decided = f"**{decision.action} by {decision.by}** {decision.at_utc}: {decision.why}"
    rows = [
        (
            dose.line,
            f"{dose.asked_nm:.4g} nM" if dose.asked_nm else "vehicle",
            number(dose.delivered_nm),
            dose.schedule,
            percent(dose.risk),
            ", ".join(dose.chips),
        )
        for dose in made.doses
    ]
    head = ("line", "dose", "delivered, nM", "schedule", "risk", "chips")
    said = pilot_lines(made) if card is None else card_lines(card, made)
    return "\n".join(
        [f"# {title}", "", f"{proposal.key}: {decided}", "", *markdown_table(head, rows)]
        + ["```text", *said, "```"]
    )


def chip_rows(
    record: Record, actions: Sequence[Action], study: Study, run_id: str, cycle: int
) -> list[dict[str, Any]]:
    """Return per chip what it got in a cycle, and the last value of each readout."""
    read: dict[str, dict[str, str]] = {}
    of_fits = [e.content for e in record.events(run_id, LEFT_OUT) if e.content["cycle"] == cycle]
    left_out = {
        (r["chip"], r["readout"], r["time_h"]) for one in of_fits[-1:] for r in one["readouts"]
    }
    for one in record.readouts(run_id, cycle):
        is_out = one.qc == "fail" or (one.chip_id, one.readout, one.time_h) in left_out
        failed = " (left out)" if is_out else ""
        value = f"{number(one.value)}{'' if one.unit == '1' else ' ' + one.unit}{failed}"
        read.setdefault(one.chip_id, {})[one.readout] = value
    names = list(dict.fromkeys(name for values in read.values() for name in values))
    rows = []
    for got in delivered_facts(study, list(actions), cycle):
        given = got["delivered_ul"]
        rows.append(
            {
                "chip": got["chip"],
                "line": got["line"],
                "drug, nM": "–" if got["drug_nM"] is None else number(got["drug_nM"]),
                "given, uL": "–" if given is None else number(given),
                "pumps": got["outcome"],
                **{name: read.get(got["chip"], {}).get(name, "–") for name in names},
            }
        )
    return rows
