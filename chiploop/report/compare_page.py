"""Two runs side by side: goals, parameters, doses, doubt, and figures with both; one file, no script.

Belongs here: what is put beside what. Not here: rows of one run (run_tables, dose_tables), drawing
(compare_figures), markup (compare.html.j2).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from chiploop.report import run_tables as tables
from chiploop.report.compare_figures import curves_figure, goals_figure, parameters_figure
from chiploop.report.dose_tables import given_doses
from chiploop.report.fit_page import environment
from chiploop.report.html_report import RunEvidence, goals_drawn, header_facts
from chiploop.report.predictions import LEVEL
from chiploop.report.svg import MARK, Drawn, drawn

TEMPLATE = "compare.html.j2"
FIRST, SECOND = "A", "B"
"""How the two are called in tables and figures."""


@dataclass(frozen=True)
class Beside:
    """One thing of both runs; empty text where a run has it not."""

    name: str
    first: str
    second: str
    differs: bool


def beside(name: str, first: str, second: str) -> Beside:
    """Return a row of one thing of both runs."""
    return Beside(name, first or "–", second or "–", first != second)


def write_comparison(one: RunEvidence, other: RunEvidence, path: Path) -> None:
    """Write the page of two runs; the same records give the same bytes."""
    draft = path.with_suffix(".html.unfinished")
    text = environment().get_template(TEMPLATE).render(comparison(one, other)) + "\n"
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)


def comparison(one: RunEvidence, other: RunEvidence) -> dict[str, Any]:
    """Return everything that the page shows."""
    runs = (one, other)
    simulated = any(run.run.simulated for run in runs)
    return {
        "mark": MARK,
        "simulated": simulated,
        "title": f"{one.run.run_id} beside {other.run.run_id}",
        "names": (FIRST, SECOND),
        "runs": runs,
        "facts": facts(one, other),
        "goals": goals(one, other),
        "level": f"{100 * LEVEL:g} %",
        "parameters": parameters(one, other),
        "doses": doses(one, other),
        "doubt": doubt(one, other),
        "warnings": warnings(one, other),
        "figures": figures(one, other, simulated),
    }


def facts(one: RunEvidence, other: RunEvidence) -> list[Beside]:
    """Return what identifies the two runs."""
    seconds = dict(header_facts(other))
    rows = [beside(name, told, seconds.pop(name, "")) for name, told in header_facts(one)]
    rows += [beside(name, "", told) for name, told in seconds.items()]
    rows.append(beside("Study file", one.run.study_sha256[:16], other.run.study_sha256[:16]))
    kinds = ["virtual chips" if run.run.simulated else "chips" for run in (one, other)]
    return [*rows, beside("Kind", *kinds)]


def goals(one: RunEvidence, other: RunEvidence) -> list[Beside]:
    """Return every goal's last estimate in both runs."""
    first, second = (
        {
            row.name: f"{row.median} ({row.interval})" + (f", truth {row.truth}" if row.truth != "–" else "")
            for row in tables.goal_rows(run.study, run.last_goals(), run.truths)
        }
        for run in (one, other)
    )  # fmt: skip
    names = list(dict.fromkeys([*first, *second]))
    return [beside(name, first.get(name, ""), second.get(name, "")) for name in names]


def parameters(one: RunEvidence, other: RunEvidence) -> list[Beside]:
    """Return every parameter's interval in both runs, of those that were calibrated."""
    first, second = (
        {
            f"{row.name} {f'({row.unit})' if row.unit else ''}".strip(): (
                f"{row.median} ({row.interval}){'' if row.learned else ', prior-driven'}"
            )
            for row in tables.parameter_rows(run.model, run.study, run.posterior, None)
        }
        if run.calibrations
        else {}
        for run in (one, other)
    )
    names = list(dict.fromkeys([*first, *second]))
    return [beside(name, first.get(name, ""), second.get(name, "")) for name in names]


def doses(one: RunEvidence, other: RunEvidence) -> list[Beside]:
    """Return what every line got in every cycle of both runs, by the pumps' counters."""
    first, second = (given_doses(run.study, run.actions) for run in (one, other))
    places = sorted(set(first) | set(second))
    return [
        beside(
            f"cycle {cycle}, {line}",
            *(f"{given[cycle, line]:.4g} nM" if (cycle, line) in given else "" for given in (first, second)),
        )
        for cycle, line in places
    ]  # fmt: skip


def doubt(one: RunEvidence, other: RunEvidence) -> list[tuple[str, list[tuple[Any, Any]]]]:
    """Return each verdict's lines of both runs, beside each other."""
    return [
        (
            first.name
            if first.name == second.name
            else f"{FIRST}: {first.name}; {SECOND}: {second.name}",
            list(zip_longest(first.lines, second.lines)),
        )
        for first, second in zip(one.verdicts, other.verdicts, strict=True)
    ]


def warnings(one: RunEvidence, other: RunEvidence) -> list[str]:
    """Return why the two can not simply be compared."""
    said = []
    if one.run.simulated != other.run.simulated:
        said.append("One run is SIMULATED, the other is not: their chips have nothing in common.")
    if one.study.tissue.sha256 != other.study.tissue.sha256:
        said.append(
            "The runs were fitted with different models; parameters of one name may mean different things."
        )
    if set(one.study.drugs) != set(other.study.drugs):
        said.append("The runs have different drugs.")
    for name, run in ((FIRST, one), (SECOND, other)):
        if not run.calibrations:
            said.append(f"{name} has no calibration yet.")
        elif run.refused:
            said.append(
                f"The last calibration of {name} FAILED its diagnostics; its numbers are for inspection only."
            )
    return said


def figures(one: RunEvidence, other: RunEvidence, simulated: bool) -> list[tuple[Drawn, str]]:
    """Return the figures with both runs, each with its caption; one that can not be drawn says so."""
    refused = one.refused or other.refused
    shared = [g for g in goals_drawn(one.study) if g.name in {o.name for o in other.study.goals}]
    level = f"{100 * LEVEL:g} %"
    made = [
        (
            drawn(
                "compare-goals", "Each goal after every cycle of both runs",
                lambda: goals_figure((one.goals_over_cycles(), other.goals_over_cycles())), simulated, refused,
            ),
            f"Each goal after every cycle. Circle, {FIRST}; square, {SECOND}: median with its equal-tailed "
            f"{level} credible interval. A cross is a calibration that failed.",
        )
    ]  # fmt: skip
    for goal in shared:
        made.append(
            (
                drawn(
                    f"compare-curve-{goal.name}{f'-{goal.drug}' if goal.drug else ''}",
                    f"Dose-response of {goal.readout} in both runs",
                    lambda goal=goal: curves_figure(  # type: ignore[misc]
                        [run.predictions.dose_response(goal) for run in (one, other)],
                        one.model.readouts[one.predictions.names.index(goal.readout)].unit,
                    ),
                    simulated,
                    refused,
                ),
                f"{goal.readout} in the reference experiment of {goal.name}. Line and band: median and pointwise "
                f"equal-tailed {level} credible band, {FIRST} full, {SECOND} dashed. Points: chips' last "
                "readings, moved as in the report.",
            )
        )  # fmt: skip
    made.append(
        (
            drawn(
                "compare-parameters", "Parameters of both runs as standard normals of their priors",
                lambda: parameters_figure((one.posterior, other.posterior)), simulated, refused,
            ),
            f"Parameters as standard normals of each run's own prior: 0 is its median, the grey band its central "
            f"{level}. Circle {FIRST}, square {SECOND}: posterior median with equal-tailed {level} interval.",
        )
    )  # fmt: skip
    return made
