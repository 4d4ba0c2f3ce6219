"""What a person sees while a run goes on, and the table at its end.

Belongs here: the progress line and the closing table. Not here: what happens (flows), the report (chiploop).
Messages go to stderr, results to stdout; without a terminal each step is one plain line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.laboratory import Tell, tell_nobody

if TYPE_CHECKING:
    from flows.opening import RunFiles


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
        f"{mark}{files.study.name}: {len(files.study.chip_ids)} chips, {len(files.study.donors)} donors, "
        f"{cycles} cycles, {files.study.end_h / 24:.1f} days. Run {files.run_id}"
    )
    if not console.is_terminal:

        def line(time_h: float, cycle: int, what: str) -> None:
            print(f"{mark}day {time_h / 24:5.2f}  cycle {cycle}/{cycles}  {what}", file=sys.stderr, flush=True)

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
        task = progress.add_task("", total=files.study.end_h, mark=mark, day="0.00", cycle=f"0/{cycles}")

        def show(time_h: float, cycle: int, what: str) -> None:
            progress.update(
                task, completed=time_h, description=what, day=f"{time_h / 24:.2f}", cycle=f"{cycle}/{cycles}"
            )

        yield show


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the table of a run's cycles and where its report is."""
    console = Console()
    mark = "SIMULATED  " if summary["simulated"] else ""
    table = Table(title=f"{mark}{summary['run_id']}", title_justify="left")
    goals = [goal["name"] for goal in summary["cycles"][0]["goals"]] if summary["cycles"] else []
    table.add_column("cycle", justify="right")
    table.add_column("day", justify="right")
    for name in goals:
        table.add_column(f"{name}, nM\nmedian (90 % interval)")
        if summary["simulated"]:
            table.add_column("hidden\ntruth", justify="right")
    table.add_column("next doses, nM")
    table.add_column("diagnostics")
    for cycle in summary["cycles"]:
        row = [str(cycle["cycle"]), f"{cycle['time_h'] / 24:.1f}"]
        for goal, truth in zip(cycle["goals"], cycle["truths"], strict=True):
            row.append(f"{goal['median']:.3g} ({goal['lower']:.3g}-{goal['upper']:.3g})")
            if summary["simulated"]:
                row.append(truth_text(goal, truth))
        row += [doses_text(cycle), diagnostics_text(cycle["diagnostics"])]
        table.add_row(*row)
    console.print(table)
    if summary["held"]:
        for line, why in summary["held"].items():
            console.print(f"held: line {line}: {why}. A person must look; nothing more is dosed there.")
    console.print(f"{mark}Report: {summary['report']}", soft_wrap=True)
    console.print(f"{mark}Record: {summary['record']}", soft_wrap=True)


def truth_text(goal: Mapping[str, Any], truth: Mapping[str, Any] | None) -> str:
    """Return the hidden truth and whether the interval holds it."""
    if truth is None:
        return ""
    if truth["value"] is None:
        return "none"
    inside = goal["lower"] <= truth["value"] <= goal["upper"]
    return f"{truth['value']:.3g} {'inside' if inside else 'OUTSIDE'}"


def doses_text(cycle: Mapping[str, Any]) -> str:
    """Return what was proposed, and that it was not given where it was not."""
    proposal, decision = cycle["proposal"], cycle["decision"]
    if proposal is None:
        return "none"
    doses = ", ".join(f"{dose['line']} {dose['concentration_nM']:g}" for dose in proposal["doses"])
    if decision is None:
        return f"{doses}\n(not decided)"
    return doses + ("" if decision["action"] == "approve" else f"\n({decision['why'] or decision['action']})")


def diagnostics_text(info: Mapping[str, Any]) -> str:
    """Return the verdict and the numbers behind it in a few words."""
    verdict = "passed" if info["passed"] else "FAILED"
    text = f"{verdict}; ESS {info['ess']:.0f}, {info['starts_at_mode']}/{info['starts']} starts agree"
    return text + ("\nmodel in doubt: " + ", ".join(w.split(":")[0] for w in info["warnings"]) if info["warnings"] else "")
