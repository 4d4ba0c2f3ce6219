"""How fits are shown to people: one run with its parameters and diagnostics, or many runs by their goals.

Belongs here: tables. Not here: what a fit is (chiploop.refit), options and exit codes (cli.fit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chiploop.goals import best_in_words
from chiploop.inference.posterior import CalibrationInfo
from chiploop.refit import LEARNED
from chiploop.report.verdicts import fit_verdict, predictive_verdict
from flows.cli.progress import HIGHEST_NM

SAME = {
    True: "the loop's own posterior, to the last bit",
    False: "NOT the loop's own posterior: what stands on record, or chiploop, has changed since",
    None: "",
}
NARROW: dict[str, Any] = {"box": None, "padding": (0, 1), "pad_edge": False}
"""Of tables: a run's parameters fit a terminal of 80 columns."""


def columns(first: str, *others: str) -> Table:
    """Return a table whose first column is text and whose others are numbers."""
    table = Table(first, **NARROW)
    for name in others:
        table.add_column(name, justify="right")
    return table


def number(value: float | None, unit: str = "") -> str:
    """Return three digits, without a power of ten where few zeros do; that a potency lies beyond the search."""
    if value is None:
        return "-"
    if value >= HIGHEST_NM and unit == "nM":
        return f">{HIGHEST_NM:g}"
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if 1000.0 <= abs(rounded) else f"{rounded:g}"


def between(interval: Mapping[str, Any], unit: str = "") -> str:
    """Return an interval; a dash where there is none."""
    if interval["lower"] is None or interval["upper"] is None:
        return "-"
    return f"{number(interval['lower'], unit)} to {number(interval['upper'], unit)}"


def verdict(told: Mapping[str, Any]) -> str:
    """Return what became of a run in a few words."""
    if "error" in told:
        return f"{told['error']['code']}: {told['error']['message']}"
    said = "passed" if told["passed"] else "FIT NOT ACCEPTED: " + "; ".join(told["failures"])
    doubts = ", ".join(warning.split(":")[0] for warning in told["warnings"])
    return said + (f"; model in doubt: {doubts}" if doubts else "")


def mark(told: Mapping[str, Any]) -> str:
    """Return the mark of a run that no real chip was in."""
    return "SIMULATED  " if told.get("simulated") else ""


def line(console: Console, text: str) -> None:
    """Print a line of plain text, whole however long it is."""
    console.print(text, markup=False, soft_wrap=True)


def show_fit(console: Console, told: Mapping[str, Any], info: CalibrationInfo | None) -> None:
    """Print one run's fit: goals, parameters beside their priors, diagnostics beside their limits."""
    head = f"{mark(told)}{told['run']}, cycle {told['cycle']}, seed {told['seed']}: {verdict(told)}"
    line(console, head)
    used, left_out = told["readouts"]["used"], told["readouts"]["left_out"]
    line(console, f"{used} readouts, {left_out} left out")
    if SAME[told["same_as_loop"]]:
        line(console, SAME[told["same_as_loop"]])
    goals = columns("goal", "median", "90 % interval", "not reached")
    for name, goal in told["goals"].items():
        share = f"{100 * goal['unreached']:.1f} %"
        label = f"{name}, {goal['unit']}"
        median, unit = number(goal["median"], goal["unit"]), goal["unit"]
        goals.add_row(escape(label), median, between(goal, unit), share)
    console.print("", goals, "")
    for name, goal in told["goals"].items():
        if said := best_in_words(goal):
            line(console, f"{name}: {said}")
    parameters = columns("parameter", "median", "90 % interval", "prior 90 %", "narrowed")
    parameters.add_column()
    for name, one in told["parameters"].items():
        prior = {"lower": one["prior_lower"], "upper": one["prior_upper"]}
        parameters.add_row(
            escape(name if one["unit"] == "1" else f"{name}, {one['unit']}"),
            number(one["median"]),
            between(one),
            between(prior),
            f"{one['shrinkage']:.2f}",
            "learned" if one["shrinkage"] >= LEARNED else "prior",
        )
    console.print(parameters)
    line(console, f"prior: prior-driven, narrowed by less than {LEARNED:g} of the prior's sd")
    console.print()
    if info is not None:
        show_diagnostics(console, info)
    if told["review"] is not None:
        for sentence in told["review"]["look_at"]:
            line(console, f"look: {sentence}")
    show_comparison(console, told)


def show_comparison(console: Console, told: Mapping[str, Any]) -> None:
    """Print how a run's model compares with the other one, where it was compared."""
    found = told.get("comparison")
    if found is None:
        return
    if "error" in found:
        line(console, f"the other model was not fitted: {found['error']['message']}")
        return
    line(console, found["verdict"])
    if not found["ok"]:
        refused = " AND OF ".join(found["not_accepted"])
        line(console, f"THE FIT OF {refused} WAS NOT ACCEPTED: the comparison does not count")


def show_diagnostics(console: Console, info: CalibrationInfo) -> None:
    """Print every diagnostic beside its limit, and what the fit warns of."""
    facts = {name: getattr(info, name) for name in info.__dataclass_fields__}
    diagnostics = Table("diagnostic", "limit", "", **NARROW)
    words = {"good": "", "look": "look", "bad": "FAILED"}
    for judged in (fit_verdict(facts), predictive_verdict(facts)):
        for one in judged.lines:
            diagnostics.add_row(escape(one.text), escape(one.limit), words[one.state])
    console.print(diagnostics, "")
    for warning in info.warnings:
        line(console, f"warning: {warning}")


def show_runs(console: Console, told: Sequence[Mapping[str, Any]]) -> None:
    """Print the goals of every run, and of a run that was not fitted why."""
    for one in told:
        if "error" in one:
            line(console, f"{one['run']}: {verdict(one)}")
            continue
        line(console, f"{mark(one)}{one['run']}, cycle {one['cycle']}: {verdict(one)}")
        for name, goal in one["goals"].items():
            label = f"  {name}, {goal['unit']}"
            median, interval = number(goal["median"], goal["unit"]), between(goal, goal["unit"])
            line(console, f"{label:<32}{median:>9}{interval:>20}")
            if said := best_in_words(goal):
                line(console, f"    {said}")
        show_comparison(console, one)
