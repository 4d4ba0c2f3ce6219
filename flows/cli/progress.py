"""What a person sees while a run goes on, and the table at its end.

Belongs here: the progress line and the closing table. Not here: what happens (flows), the report (chiploop).
Messages go to stderr, results to stdout; without a terminal each step is one plain line. The closing
table is plain text that fits a terminal of 80 columns, whatever the study's lines and goals.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from chiploop.units import counted
from flows.laboratory import Tell, tell_nobody

if TYPE_CHECKING:
    from flows.opening import RunFiles

WIDTH = 79
INDENT = "  "
LABEL = 16
"""Columns for what a line of the table is about."""
HIGHEST_NM = 1e6
"""End of the grid on which a potency is sought (``chiploop.goals.GRID_NM``)."""


@contextmanager
def progress_display(files: RunFiles, quiet: bool) -> Iterator[Tell]:
    """Yield what the flow tells its steps to; shows study time, cycle and what is happening."""
    console = Console(stderr=True)
    if quiet and not console.is_terminal:
        yield tell_nobody
        return
    mark = "SIMULATED  " if files.simulated else ""
    cycles = files.study.timeline.cycles
    console.print(
        f"{mark}{files.study.name}: {counted(len(files.study.chip_ids), 'chip')}, "
        f"{counted(len(files.study.donors), 'donor')}, {counted(cycles, 'cycle')}, "
        f"{files.study.end_h / 24:.1f} days. Run {files.run_id}"
    )
    if not console.is_terminal:

        def line(time_h: float, cycle: int, what: str) -> None:
            print(
                f"{mark}day {time_h / 24:5.2f}  cycle {cycle}/{cycles}  {what}",
                file=sys.stderr,
                flush=True,
            )

        yield line
        return
    with Progress(
        TextColumn("{task.fields[mark]}day {task.fields[day]}  cycle {task.fields[cycle]}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(
            "", total=files.study.end_h, mark=mark, day="0.00", cycle=f"0/{cycles}"
        )

        def show(time_h: float, cycle: int, what: str) -> None:
            progress.update(
                task,
                completed=time_h,
                description=what,
                day=f"{time_h / 24:.2f}",
                cycle=f"{cycle}/{cycles}",
            )

        yield show


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the table of a run's cycles and where its report is."""
    mark = "SIMULATED  " if summary["simulated"] else ""
    print("\n".join(summary_lines(summary)))
    # Paths stay whole, so that they can be copied.
    print(f"{mark}Report: {summary['report']}")
    print(f"{mark}Record: {summary['record']}")


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the closing table, a block of lines for each cycle."""
    simulated = bool(summary["simulated"])
    lines = [("SIMULATED  " if simulated else "") + f"{summary['run_id']}, seed {summary['seed']}"]
    for cycle in summary["cycles"]:
        lines += ["", *cycle_lines(cycle, simulated)]
    lines.append("")
    if summary.get("ended_because"):
        lines += labelled("ended because", summary["ended_because"])
    for line, why in held_lines(summary).items():
        lines += labelled(f"line {line} HELD", why)
    for one in summary.get("patients", ()):
        lines += patient_lines(one)
    return lines


def patient_lines(one: Mapping[str, Any]) -> list[str]:
    """Return which drug for a patient, in short; the report has the rest."""
    from chiploop.twin import RESEARCH_USE

    told = [one["problem"]] if one["problem"] else []
    for drug in one["drugs"]:
        fall = drug["improvement_pct"]
        told.append(
            f"{drug['name']}: EASI falls by {fall['median']:.0f} % ({fall['low']:.0f} to {fall['high']:.0f})"
        )
    lines = [f"patient {one['patient']} (donor {one['donor']}), virtual. {RESEARCH_USE}"]
    return lines + [part for line in told for part in labelled("", line)]


def held_lines(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return line -> why a person must look before it gets another dose."""
    return {
        line: f"{why}. A person must look, and say so with chiploop settle; nothing more is dosed there"
        for line, why in summary["held"].items()
    }


def cycle_lines(cycle: Mapping[str, Any], simulated: bool) -> list[str]:
    """Return what was known after a cycle, and what was proposed then."""
    from chiploop.goals import best_in_words

    when = f"cycle {cycle['cycle']}, day {cycle['time_h'] / 24:.1f}"
    head = f"{when:<32}{'median':>9}{'90 % interval':>19}"
    lines = [head + (f"{'hidden truth':>18}" if simulated else "")]
    for goal, truth in zip(cycle["goals"], cycle["truths"], strict=True):
        name = f"{INDENT}{goal['name']}, {goal['unit']}"
        row = f"{name:<32}{number(goal['median'], goal['unit']):>9}{interval_text(goal):>19}"
        lines.append(row + (f"{truth_text(goal, truth):>18}" if simulated else ""))
        if said := best_in_words(goal):
            lines += labelled("", said)
    lines += labelled("next doses, nM", doses_text(cycle))
    for note in (cycle["proposal"] or {}).get("notes", ()):
        lines += labelled("note", note)
    lines += labelled("diagnostics", diagnostics_text(cycle["diagnostics"]))
    return lines


def labelled(label: str, text: str) -> list[str]:
    """Return a text behind its label, wrapped beside it."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{INDENT}{label:<{LABEL}}",
        subsequent_indent=" " * (len(INDENT) + LABEL),
        break_on_hyphens=False,
    )


def number(value: float, unit: str) -> str:
    """Return three digits; that a potency lies beyond all that was searched where it does."""
    return (
        f">{HIGHEST_NM:g}" if value >= HIGHEST_NM and unit == "nM" else f"{float(f'{value:.3g}'):g}"
    )


def interval_text(goal: Mapping[str, Any]) -> str:
    """Return the interval of a goal."""
    return f"{number(goal['lower'], goal['unit'])} to {number(goal['upper'], goal['unit'])}"


def truth_text(goal: Mapping[str, Any], truth: Mapping[str, Any] | None) -> str:
    """Return the hidden truth and whether the interval holds it."""
    if truth is None:
        return "not known"
    if truth["value"] is None:
        return "none"
    inside = goal["lower"] <= truth["value"] <= goal["upper"]
    return f"{number(truth['value'], goal['unit'])} {'inside' if inside else 'OUTSIDE'}"


def doses_text(cycle: Mapping[str, Any]) -> str:
    """Return what was proposed, and that it was not given where it was not."""
    proposal, decision = cycle["proposal"], cycle["decision"]
    if proposal is None:
        return "none"
    doses = ", ".join(
        f"{dose['line']} {dose['concentration_nM']:g}"
        + (f" {dose['drug']}" if "drug" in dose else "")
        + (f" {by}" if (by := dose.get("schedule", "whole")) != "whole" else "")
        for dose in proposal["doses"]
    )
    if decision is None:
        return f"{doses} (not decided)"
    if decision["action"] == "approve":
        return doses
    return f"{doses} ({decision['why'] or decision['action']})"


def diagnostics_text(info: Mapping[str, Any]) -> str:
    """Return the verdict and the numbers behind it in a few words."""
    verdict = "passed" if info["passed"] else "FAILED"
    text = (
        f"{verdict}; ESS {info['ess']:.0f}, {info['starts_at_mode']}/{info['starts']} starts agree"
    )
    if info["failures"]:
        text += "; " + "; ".join(info["failures"])
    doubts = ", ".join(warning.split(":")[0] for warning in info["warnings"])
    return text + (f"; model in doubt: {doubts}" if doubts else "")
