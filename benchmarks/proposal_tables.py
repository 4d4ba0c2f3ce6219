"""The report's tables, as docs/benchmarks_proposal.md shows them.

Belongs here: words and columns. Not here: counting (proposal_report).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.proposal_report import DEFAULT, OURS, RIVALS

PLAIN = (
    "",
    "Seeds",
    "Chips, median [quartiles]",
    "mean",
    "Met",
    "`eig` / this: medians",
    "mean of ratios",
    "Unsafe, %",
    "Holds the truth [95 %]",
    "Vehicle, %",
)
WRONG = (
    "Truth",
    "Policy",
    "Runs",
    "Chips, median [quartiles]",
    "Ends by its interval",
    "of these misses",
    "Ends undoubted",
    "of these misses",
    "Doubted at some time",
    "Unsafe, %",
)
CALLED = {DEFAULT: f"`{DEFAULT}`", "eig_batch_limit": "`eig_batch_limit` (the product's default)"}
OTHER_MODEL = "other model"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def chips_of(one: dict[str, Any]) -> str:
    """Return chips needed."""
    low, high = one["chips_quartiles"]
    return f"{one['chips_median']:.0f} [{low:.0f}, {high:.0f}]"


def unsafe_of(one: dict[str, Any]) -> str:
    """Return the percentage of chips harmed."""
    low, high = one["unsafe_percent_interval"]
    return f"{one['unsafe_percent']:.1f} [{low:.1f}, {high:.1f}]"


def policies_table(found: dict[str, Any], order: Sequence[str]) -> str:
    """Return what each policy needed on right truths, in this order."""
    rows = []
    for name in [name for name in order if name in found]:
        one, held = found[name], found[name]["coverage"]
        r = one.get("eig_over_this")
        medians = f"{r['ratio']:.2f} [{r['lower']:.2f}, {r['upper']:.2f}]" if r else "1"
        means = (
            f"{r['mean_ratio']:.2f} [{r['mean_lower']:.2f}, {r['mean_upper']:.2f}]" if r else "1"
        )
        rows.append(
            (
                f"`{name}`",
                f"{one['seeds']}",
                chips_of(one),
                f"{one['chips_mean']:.1f}",
                f"{one['met']}",
                medians,
                means,
                unsafe_of(one),
                f"{held['hits']} of {held['of']} [{held['lower']:.0%}, {held['upper']:.0%}]",
                f"{one['vehicle_percent']:.0f}",
            )
        )
    return table(PLAIN, rows)


def wrong_table(found: dict[str, dict[str, Any]]) -> str:
    """Return what each policy did on wrong truths: kind of truth -> report."""
    rows = []
    for kind, policies in found.items():
        for name, one in policies.items():
            sure, missed = one["not_doubted"], one["not_doubted_and_missed"]
            rows.append(
                (
                    kind,
                    name,
                    f"{one['seeds']}",
                    chips_of(one),
                    f"{one['met']}",
                    f"{one['met_and_missed']}",
                    f"{sure['hits']}",
                    f"{missed['hits']}",
                    f"{one['ever_doubted']['hits']}",
                    unsafe_of(one),
                )
            )
    return table(WRONG, rows)


def bars_table(sets: dict[str, list[dict[str, Any]]]) -> str:
    """Return the bars: seeds in words -> the bars there of both of our policies."""
    columns = [(seeds, ours) for seeds in sets for ours in OURS]
    by = {(seeds, bar["policy"], bar["bar"]): bar for seeds, told in sets.items() for bar in told}
    rows = []
    for bar in dict.fromkeys(bar for _, _, bar in by):
        cells = [by.get((*column, bar)) for column in columns]
        rows.append([bar, *("" if cell is None else said(cell) for cell in cells)])
    return table(["Bar", *(f"{CALLED[ours]}, seeds {seeds}" for seeds, ours in columns)], rows)


def said(bar: dict[str, Any]) -> str:
    """Return what came out of one bar."""
    verdict = "yes" if bar["reached"] else "NO"
    if bar.get("aim_reached"):
        verdict += ", the aim too"
    beside = "; ".join(f"{name} {percent:.1f}" for name, percent in bar.get("beside", {}).items())
    return f"{bar['found']}{f' ({beside})' if beside else ''}: {verdict}"


def ratios_table(sets: dict[str, dict[str, Any]]) -> str:
    """Return ours over each rival by the mean of ratios: seeds in words -> report."""
    rows = []
    for seeds, found in sets.items():
        for ours in OURS:
            for rival in RIVALS:
                r = found.get(rival, {}).get(f"{ours}_over_this")
                if r:
                    rows.append(
                        (
                            seeds,
                            f"`{ours}` / {rival}",
                            f"{r['pairs']}",
                            f"{r['ratio']:.2f} [{r['lower']:.2f}, {r['upper']:.2f}]",
                            f"{r['mean_ratio']:.2f} [{r['mean_lower']:.2f}, {r['mean_upper']:.2f}]",
                            f"{r['fewer']}, {r['more']}",
                        )
                    )
    head = ("Seeds", "", "Pairs", "medians", "mean of ratios", "seeds with fewer, more chips")
    return table(head, rows)


def tables(told: dict[str, Any], order: Sequence[str]) -> Iterator[str]:
    """Yield every table of a report for which there are rows, in the page's order."""
    sets = {told["seeds"]: told, told["fresh"]["seeds"]: told["fresh"]}
    here = {seeds: one for seeds, one in sets.items() if DEFAULT in one["policies"]}
    if told["policies"]:
        yield policies_table(told["policies"], order)
    if told["fresh"]["policies"]:
        yield policies_table(told["fresh"]["policies"], order)
    if here:
        yield bars_table({seeds: one["bars"] for seeds, one in here.items()})
        found = {seeds: one["policies"] for seeds, one in here.items()}
        yield ratios_table(found | {"all": told["every_seed"]})
    wrong = {OTHER_MODEL: told["wrong"]} if told["wrong"] else {}
    wrong |= {flaw: found for flaw, found in told["flaws"].items() if found}
    if wrong:
        yield wrong_table(wrong)
