"""Who the twin was built from, and coverage by subgroup: docs/twin_populations.md, made anew by one command.

    python -m benchmarks.twin_populations               forecasts for every cohort, then the page
    python -m benchmarks.twin_populations --hidden 50   fewer hidden patients in each, for a look

Belongs here: which cohorts, the page. Not here: making hidden patients (chiploop.twin.hidden_patients), the facts
(chiploop/twin/populations.yaml).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binom

from chiploop.twin import RESEARCH_USE
from chiploop.twin.hidden_patients import Cohort, Foreseen, foreseen, hidden_patients
from chiploop.twin.source_populations import Source, source_populations

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "twin_populations.md"
HIDDEN, VIRTUAL, SEED = 200, 300, 11
VISIT_WEEKS = (4.0, 8.0)
BAND, RARE = 0.9, 1e-3
TWICE = float(np.log(2.0))
ADOLESCENT_ABROCITINIB, ASIAN_ABROCITINIB = 0.72, 1.36
"""Of exposure: logit of the share absorbed -0.589 and +0.815, clearance with it (Wojciechowski 2022, table 2)."""


@dataclass(frozen=True)
class Group:
    """A cohort under a drug, and what is true of it."""

    cohort: Cohort
    drug: str
    truth: str


def _flg(genotype: str, words: str) -> Group:
    cohort = Cohort(f"FLG {words}", {"flg": genotype})
    return Group(cohort, "dupilumab", "as the twin takes it")


def _severity(name: str, low: float, high: float) -> Group:
    words = f"true EASI {low:g} to {high:g}"
    return Group(Cohort(name, easi=(low, high)), "dupilumab", words)


def _profile(
    name: str, file: Mapping[str, object], shifts: Mapping[str, float], words: str
) -> Group:
    return Group(Cohort(name, file, shifts), "dupilumab", words)


ASIAN = {"k7": TWICE, "k8": TWICE, "k5": -TWICE}
AFRICAN = {"k7": -TWICE, "k5": -TWICE}
CHILD = {"k7": TWICE, "k8": -TWICE}
GROUPS = (
    Group(Cohort("all"), "dupilumab", "as the twin takes it"),
    Group(Cohort("all"), "upadacitinib", "as the twin takes it"),
    _flg("wild_type", "wild type"),
    _flg("heterozygous", "heterozygous"),
    _flg("null", "null"),
    _severity("trials' severity", 16.0, 51.0),
    _severity("moderate, below the trials", 7.0, 16.0),
    _severity("mild", 1.0, 7.0),
    _severity("very severe", 51.0, 72.0),
    _profile("FLG null, whole dose", {"flg": "null"}, {"k1": float(np.log(0.2))},
             "repair k1 a tenth, where the twin takes a half"),
    _profile("Asian", {"ancestry": "asian"}, ASIAN, "Th17, Th22 x 2, Th1 x 0.5"),
    _profile("Asian, more so", {"ancestry": "asian"}, {k: 2 * v for k, v in ASIAN.items()},
             "Th17, Th22 x 4, Th1 x 0.25"),
    _profile("African", {"ancestry": "african"}, AFRICAN, "Th17, Th1 x 0.5"),
    _profile("children", {"age_years": 8}, CHILD, "Th17 x 2, Th22 x 0.5"),
    _profile("children, more so", {"age_years": 8}, {k: 2 * v for k, v in CHILD.items()},
             "Th17 x 4, Th22 x 0.25"),
    Group(Cohort("Asian", {"ancestry": "asian"}, exposure=ASIAN_ABROCITINIB), "abrocitinib",
          f"exposure x {ASIAN_ABROCITINIB:g}"),
    Group(Cohort("adolescents", {"age_years": 15}, exposure=ADOLESCENT_ABROCITINIB), "abrocitinib",
          f"exposure x {ADOLESCENT_ABROCITINIB:g}"),
)  # fmt: skip
"""Directions of the profiles are those of the sources in populations.yaml; their sizes are ASSUMED."""


def calibration(n: int) -> list[tuple[Group, Foreseen]]:
    """Return the forecasts of every group."""
    found = []
    for group in GROUPS:
        rng = np.random.default_rng(SEED)
        hidden = hidden_patients(group.cohort, group.drug, n, rng, visit_weeks=VISIT_WEEKS)
        found.append((group, foreseen(hidden, VIRTUAL, SEED)))
        shares = ", ".join(f"{share:.3f}" for share in found[-1][1].covered.mean(axis=1))
        print(f"{group.cohort.name}, {group.drug}, {group.truth}: {shares}", flush=True)
    return found


def calibration_table(found: list[tuple[Group, Foreseen]]) -> list[str]:
    """Return lines of the table of coverage; a star is outside of binomial slack."""
    stages = found[0][1].stages
    n = found[0][1].covered.shape[1]
    low, high = binom.ppf([RARE, 1 - RARE], n, BAND)
    heads = [f"covered, {stage}" for stage in stages]
    heads += [f"{what}, {stage}" for what in ("off by", "band") for stage in stages[1::2]]
    lines = [
        f"| patients | drug | what is true | {' | '.join(heads)} |",
        "|---" * (3 + len(heads)) + "|",
    ]
    for group, one in found:
        cells = []
        for covered in one.covered:
            star = "" if low <= covered.sum() <= high else " *"
            cells.append(f"{100 * covered.mean():.0f} %{star}")
        for values in (one.missed_by, one.width):
            sign = "+" if values is one.missed_by else ""
            cells += [f"{np.nanmedian(row):{sign}.1f}" for row in values[1::2]]
        lines.append(
            f"| {group.cohort.name} | {group.drug} | {group.truth} | {' | '.join(cells)} |"
        )
    return lines


def sources_table(sources: tuple[Source, ...]) -> list[str]:
    """Return lines of the table of populations; what a source does not say is told as such."""
    lines = [
        "| population | what for | age, years | EASI before | severity | ancestry, % | FLG, % | n | status | "
        "source |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in sources:
        what = ", ".join(word for word in (one.part, one.drug, one.setting) if word)
        cells = [
            one.name, what, _span(one.age_years), _span(one.easi), one.severity or "not given",
            _shares(one.ancestry_pct), _shares(one.flg_pct), str(one.n or "not given"), one.status, one.source,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _span(span: tuple[float, float] | None) -> str:
    if span is None:
        return "not given"
    return f"{span[0]:g} and more" if span[1] == float("inf") else f"{span[0]:g} to {span[1]:g}"


def _shares(shares: Mapping[str, float] | None) -> str:
    if shares is None:
        return "not given"
    return ", ".join(f"{name.replace('_', ' ')} {share:g}" for name, share in shares.items())


def page(found: list[tuple[Group, Foreseen]]) -> str:
    """Return the page."""
    known = source_populations()
    n = found[0][1].covered.shape[1]
    low, high = binom.ppf([RARE, 1 - RARE], n, BAND) / n
    lines = [
        "# Who the twin was built from, and where it does not hold",
        "",
        f"{RESEARCH_USE} Made by `python -m benchmarks.twin_populations`; as it comes out.",
        "",
        "`whatif`, `trial` and `control-arm` say beside every number whether a patient lies inside of this, "
        "outside and why, or that it is not known. What no source says is never taken for inside.",
        "",
        "## Populations",
        *sources_table(known.sources),
        "",
        "Known to differ from the disease model, in direction:",
        "",
        *[f"- {group}: {words}" for group, words in known.phenotypes.items()],
        "",
        "## Coverage by subgroup",
        f"{n} hidden patients in each row, {VIRTUAL} virtual patients for each of them, by the code that a user's "
        "patient takes; 90 % bands of the fall of EASI at week 16. Each measurement and each ratio of the chips "
        "stands in 6 of 10 files, one visit in ten is missed. A star is outside of binomial slack "
        f'({100 * low:.1f} to {100 * high:.1f} %). "Off by" is the median of forecast minus truth, "band" the '
        "median width, both in points. Virtual patients alone: this tells how far the twin errs where a truth of "
        "this kind holds, not that it does. Directions of the profiles of ancestry and age are those of the "
        "sources above, sizes are ASSUMED.",
        "",
        *calibration_table(found),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=HIDDEN)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    asked.page.write_text(page(calibration(asked.hidden)), encoding="utf-8")
    print(f"wrote {asked.page}")


if __name__ == "__main__":
    main()
