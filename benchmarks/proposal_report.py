"""What the stored runs say: chips needed, paired ratios, harm, coverage, and which bars they reach.

Belongs here: counting. Not here: running (proposal_run), tables (proposal_tables), drawing (proposal_figures).

A run that does not reach a 2-fold interval counts as the chips it used. Ratios are those of the medians over the
seeds that both policies have, with a paired bootstrap over seeds; beside them the geometric mean of each seed's
own ratio, which uses more than the middle one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import beta

BOOTSTRAPS = 4000
DEFAULT = "eig"
OURS = (DEFAULT, "eig_batch_limit")
"""The default policy as it chooses, and as a proposal hands it on, with the bound on a whole batch."""
RIVALS = ("random", "grid")
"""What most people do; the bars are against these."""
RATIO_BAR, RATIO_END, RATIO_AIM = 0.67, 0.85, 0.6
UNSAFE_BAR = 2.0
COVERAGE_BAR = (0.80, 0.97)


def share(hits: int, of: int) -> dict[str, Any]:
    """Return a share with its exact 95 % binomial interval."""
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return {"hits": hits, "of": of, "share": hits / of, "lower": low, "upper": high}


def ratio(pairs: np.ndarray) -> dict[str, Any]:
    """Return the ratio of the medians of (n, 2) paired counts, with its 90 % bootstrap over seeds."""
    rng = np.random.default_rng(57)
    drawn = pairs[rng.integers(len(pairs), size=(BOOTSTRAPS, len(pairs)))]
    medians = np.median(drawn, axis=1)
    logs = np.log(pairs[:, 0] / pairs[:, 1])
    means = np.log(drawn[..., 0] / drawn[..., 1]).mean(axis=1)
    low, high = np.quantile(medians[:, 0] / medians[:, 1], [0.05, 0.95])
    mean_low, mean_high = np.exp(np.quantile(means, [0.05, 0.95]))
    middle = np.median(pairs, axis=0)
    return {
        "pairs": len(pairs),
        "ratio": float(middle[0] / middle[1]),
        "lower": float(low),
        "upper": float(high),
        "mean_ratio": float(np.exp(logs.mean())),
        "mean_lower": float(mean_low),
        "mean_upper": float(mean_high),
        "fewer": int((pairs[:, 0] < pairs[:, 1]).sum()),
        "more": int((pairs[:, 0] > pairs[:, 1]).sum()),
    }


def holds(row: dict[str, Any], step: dict[str, Any]) -> bool:
    """Return whether an interval of a run holds its truth."""
    return bool(step["lower"] <= row["truth"] <= step["upper"])


def one_policy(own: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what one policy needed."""
    chips = np.array([row["chips"] for row in own])
    last = [row["steps"][-1] for row in own]
    held = [holds(row, step) for row, step in zip(own, last, strict=True)]
    errors = [abs(np.log(s["median"] / row["truth"])) for s, row in zip(last, own, strict=True)]
    return {
        "seeds": len(own),
        "chips_median": float(np.median(chips)),
        "chips_mean": float(chips.mean()),
        "chips_quartiles": [float(q) for q in np.quantile(chips, [0.25, 0.75])],
        "met": sum(row["met"] for row in own),
        "coverage": share(sum(held), len(own)),
        "coverage_all_looks": float(
            np.mean([holds(row, step) for row in own for step in row["steps"]])
        ),
        "median_error_fold": float(np.exp(np.median(errors))),
        "unsafe": sum(row["unsafe"] for row in own),
        "unsafe_percent_interval": harm_interval(
            np.array([row["unsafe"] for row in own], dtype=float), chips.astype(float)
        ),
        "unsafe_percent": 100.0 * sum(row["unsafe"] for row in own) / float(chips.sum()),
        "vehicle_percent": 100.0 * sum(row["doses"].count(0.0) for row in own) / float(chips.sum()),
        "batches_in_doubt": share(
            sum(step["doubt"] for row in own for step in row["steps"]),
            sum(len(row["steps"]) for row in own),
        ),
        "cpu_s_median": float(np.median([row["cpu_s"] for row in own])),
    }


def harm_interval(unsafe: np.ndarray, chips: np.ndarray) -> list[float]:
    """Return the 90 % bootstrap over seeds of the percentage of chips harmed: they come in heaps."""
    at = np.random.default_rng(59).integers(len(chips), size=(BOOTSTRAPS, len(chips)))
    shares = 100.0 * unsafe[at].sum(axis=1) / chips[at].sum(axis=1)
    return [float(q) for q in np.quantile(shares, [0.05, 0.95])]


def trusted(own: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many runs end by their interval, or with one that the gate does not doubt, and how many miss."""
    sure = [row for row in own if not row["steps"][-1]["doubt"]]
    missed = sum(not holds(row, row["steps"][-1]) for row in sure)
    ended = [row for row in own if row["met"]]
    return {
        "met_and_missed": sum(not holds(row, row["steps"][-1]) for row in ended),
        "not_doubted": share(len(sure), len(own)),
        "not_doubted_and_missed": share(missed, len(own)),
        "held_of_not_doubted": share(len(sure) - missed, len(sure)) if sure else None,
        "ever_doubted": share(sum(any(s["doubt"] for s in row["steps"]) for row in own), len(own)),
    }


def name_of(row: dict[str, Any]) -> str:
    """Return what a run is counted under."""
    return str(row["policy"]) + (" with the gate" if row["gate"] else "")


def report(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what each policy needed, beside ours on the same seeds; the rows are of one kind of truth."""
    found: dict[str, Any] = {}
    names = list(dict.fromkeys(name_of(row) for row in rows))
    by = {(name_of(row), row["seed"]): row for row in rows}
    for name in names:
        own = [row for row in rows if name_of(row) == name]
        one = one_policy(own)
        if any(row["wrong"] for row in own):
            one |= trusted(own)
        for ours in OURS:
            pairs = [
                (by[ours, row["seed"]]["chips"], row["chips"])
                for row in own
                if name != ours and (ours, row["seed"]) in by
            ]
            if pairs:
                one[f"{ours}_over_this"] = ratio(np.array(pairs, dtype=float))
        found[name] = one
    return found


def bars(found: dict[str, Any], ours: str = DEFAULT) -> list[dict[str, Any]]:
    """Return each bar with what came out and whether it is reached; those without runs are left out."""
    told: list[dict[str, Any]] = []
    if ours not in found:
        return told
    for rival in RIVALS:
        if rival in found:
            r = found[rival][f"{ours}_over_this"]
            told.append(
                {
                    "policy": ours,
                    "bar": f"chips to 2-fold at most {RATIO_BAR} x {rival}, upper end of the 90 % bootstrap "
                    f"below {RATIO_END} (aim {RATIO_AIM})",
                    "found": f"{r['ratio']:.3f} [{r['lower']:.2f}, {r['upper']:.2f}]",
                    "reached": r["ratio"] <= RATIO_BAR and r["upper"] < RATIO_END,
                    "aim_reached": r["ratio"] <= RATIO_AIM,
                }
            )
    own = found[ours]
    told.append(
        {
            "policy": ours,
            "bar": f"unsafe chips at most {UNSAFE_BAR:g} %",
            "found": "{:.1f} % [{:.1f}, {:.1f}]".format(
                own["unsafe_percent"], *own["unsafe_percent_interval"]
            ),
            "beside": {r: found[r]["unsafe_percent"] for r in RIVALS if r in found},
            "reached": own["unsafe_percent"] <= UNSAFE_BAR,
        }
    )
    held = own["coverage"]
    told.append(
        {
            "policy": ours,
            "bar": "90 % interval holds the truth in {:.0%} to {:.0%} of seeds".format(
                *COVERAGE_BAR
            ),
            "found": f"{held['hits']} of {held['of']} [{held['lower']:.0%}, {held['upper']:.0%}]",
            "reached": COVERAGE_BAR[0] <= held["share"] <= COVERAGE_BAR[1],
        }
    )
    return told
