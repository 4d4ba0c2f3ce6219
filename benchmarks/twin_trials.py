"""The twin beside the trials: docs/twin_trials.md, made anew by one command.

    python -m benchmarks.twin_trials          simulate every confirmed row and write the page
    python -m benchmarks.twin_trials --fit    fit the two terms anew and print them

Belongs here: which rows, the page, the fits. Not here: the model (chiploop.twin).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

import chiploop.twin.drug_effect as drug_effect
from benchmarks.twin_trials_readings import readings
from chiploop.twin import RESEARCH_USE
from chiploop.twin.fitted_terms import DECOY_FACTORS, SCRATCH_POWER, TOPICALS_SHIFT
from chiploop.twin.outcomes import outcome_of
from chiploop.twin.patient_model import simulate
from chiploop.twin.population import STANDARD_CARE, published_population
from chiploop.twin.trial import run_trial
from chiploop.twin.trial_rows import Comparison, compared, read_trial_rows, summary

PROJECT = Path(__file__).resolve().parents[1]
TRIALS = PROJECT.parent / "shared" / "data" / "clinical_efficacy.csv"
PAGE = PROJECT / "docs" / "twin_trials.md"
PATIENTS = 20_000
FIT_PATIENTS, FIT_SEED = 40_000, 2026
PLACEBO_SOLO_1, UPADACITINIB_MEASURE_UP_1 = 15.0, 69.6
MEASURE_UP_1_N = 281
POWERS = (0.0, 11.0, 20.0, 30.0, SCRATCH_POWER, 70.0, 100.0)
TRALOKINUMAB_ECZTRA_1_2 = (25.0 * 603 + 33.2 * 593) / (603 + 593)


def easi75(arm: str, n: int = FIT_PATIENTS, **terms: float) -> float:
    """Return EASI-75 of an arm at week 16 with other terms."""
    (found,) = run_trial([arm], n=n, seed=FIT_SEED, **terms)  # type: ignore[arg-type]
    return found.outcome.responders_pct[75]


def fitted_terms(n: int = FIT_PATIENTS) -> tuple[float, float, float]:
    """Return shift of topicals, power of scratching, and tralokinumab's factor by ECZTRA 1 and 2."""
    shift = brentq(lambda x: easi75("placebo", n, shift=x) - PLACEBO_SOLO_1, -1.5, 0.0, xtol=0.005)

    def too_many(power: float) -> float:
        found = easi75("upadacitinib", n, shift=shift, scratch_power=power)
        return found - UPADACITINIB_MEASURE_UP_1

    power = brentq(too_many, 0.0, 60.0, xtol=0.05)
    before = drug_effect.DECOY_FACTORS["calibrated"]

    def of_tralokinumab(factor: float) -> float:
        drug_effect.DECOY_FACTORS["calibrated"] = factor
        (found,) = run_trial(["tralokinumab"], n=n, seed=FIT_SEED, shift=shift, decoy="calibrated")
        return found.outcome.responders_pct[75] - TRALOKINUMAB_ECZTRA_1_2

    try:
        factor = brentq(of_tralokinumab, 0.2, 1.0, xtol=0.003)
    finally:
        drug_effect.DECOY_FACTORS["calibrated"] = before
    return shift, power, factor


def comparisons(path: Path, n: int = PATIENTS, decoy: str = "published") -> list[Comparison]:
    """Return every confirmed row beside the twin."""
    rows, _ = read_trial_rows(path)
    found = []
    for setting, week in sorted({(row.setting, row.week) for row in rows}):
        here = [row for row in rows if (row.setting, row.week) == (setting, week)]
        arms = sorted({row.arm for row in here})
        outcomes = {arm.name: arm.outcome for arm in run_trial(arms, setting, n, week, decoy=decoy)}
        found += [compared(row, outcomes[row.arm]) for row in here]
    return found


def ceiling() -> dict[int, float]:
    """Return responders when a JAK inhibitor takes everything it can: block without end, no scratching."""
    patients = published_population().shifted({STANDARD_CARE: TOPICALS_SHIFT})
    drawn = patients.draw(PATIENTS, np.random.default_rng(1))
    effect = drug_effect.effect_of("upadacitinib:30mg", PATIENTS, 1, dose_factor=1e6)
    return outcome_of(simulate(drawn, [effect], np.array([16.0])), 0, 0).responders_pct


def by_power() -> list[str]:
    """Return lines of a table: what the power of the scratching term does to the row that it is fitted to."""
    lines = ["| w | upadacitinib 15 mg | 30 mg |", "|---|---|---|"]
    for power in POWERS:
        arms = ["upadacitinib:15mg", "upadacitinib:30mg"]
        low, high = run_trial(arms, n=PATIENTS, scratch_power=power)
        lines.append(
            f"| {power:g} | {low.outcome.responders_pct[75]:.1f} | {high.outcome.responders_pct[75]:.1f} |"
        )
    return lines


def page(path: Path) -> str:
    """Return the page."""
    published, calibrated = comparisons(path), comparisons(path, decoy="calibrated")
    _, left_out = read_trial_rows(path)
    top = ceiling()
    lines = [
        "# The twin beside the trials",
        "",
        f"{RESEARCH_USE} Made by `python -m benchmarks.twin_trials`; as it comes out.",
        "",
        f"{PATIENTS:,} virtual patients per setting and week. Two terms are fitted, each to one row: the shift "
        f"of ln k3 in trials without topicals ({TOPICALS_SHIFT:g}, EASI-75 of placebo in SOLO 1) and the power of "
        f"the scratching term ({SCRATCH_POWER:g}, EASI-75 of upadacitinib 15 mg in Measure Up 1). Rows of these "
        "two trials are named as same-trial; all others are predictions. z = (twin - trial)/sqrt(sampling "
        "variance + 5^2), in points.",
        "",
        "| trial | arm | setting | week | endpoint | trial | twin | z | kind |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in published:
        row = one.row
        number = f"{row.value:g}" + (" (n of week 16)" if row.n_from_other_week else "")
        lines.append(
            f"| {row.trial} | {row.arm} | {row.setting} | {row.week:g} | {row.endpoint} | {number} | "
            f"{one.twin:.1f} | {one.z:+.2f} | {row.kind} |"
        )
    lines += ["", "| rows | number | root mean square of z | beyond 2 |", "|---|---|---|---|"]
    lines += [
        f"| {k} | {n} | {rms:.2f} | {far} |" for k, (n, rms, far) in summary(published).items()
    ]
    lines += [
        "",
        "## Tralokinumab's factor",
        f"As published {DECOY_FACTORS['published']:g}, in the table above. Calibrated on the EASI-75 of ECZTRA 1 "
        f"and 2 together {DECOY_FACTORS['calibrated']:g} (`--decoy calibrated`); then ECZTRA 1 and 2 are fitted "
        "rows and ECZTRA 3 is the prediction:",
        "",
        "| trial | trial's EASI-75 | published | z | calibrated | z |",
        "|---|---|---|---|---|---|",
    ]
    for a, b in zip(published, calibrated, strict=True):
        if a.row.arm.startswith("tralokinumab"):
            lines.append(
                f"| {a.row.trial} | {a.row.value:g} | {a.twin:.1f} | {a.z:+.2f} | {b.twin:.1f} | {b.z:+.2f} |"
            )
    lines += [
        "",
        "## The power of the scratching term",
        "EASI-75 at week 16, monotherapy, by the power w; 0 is every signal of the drug blocked and scratching as "
        "before. The trial has 69.6 % at 15 mg with a sampling sd of "
        f"{np.sqrt(UPADACITINIB_MEASURE_UP_1 * (100 - UPADACITINIB_MEASURE_UP_1) / MEASURE_UP_1_N):.1f} points.",
        "",
        *by_power(),
        "",
        "## The ceiling",
        "With every signal that a JAK inhibitor reaches blocked completely and no scratching left, monotherapy "
        f"ends at EASI-75 {top[75]:.1f} %, EASI-90 {top[90]:.1f} %. Measure Up 1 has EASI-90 of 53.1 % at 15 mg "
        "and 65.8 % at 30 mg: the infiltrated pathogens that remain in this model keep EASI-90 low, at the doses "
        "given far below the trial and at the ceiling still below its 30 mg. EASI-90 of JAK inhibitors is not to "
        "be read from this twin.",
        "",
        *readings([one.row for one in published], published),
        "## Left out",
        *[f"- {line}" for line in left_out],
        "- Endpoints other than EASI, and the subgroup of SOLO 1 and 2 by IGA: the model has no IGA.",
        "- The trials behind lebrikizumab, nemolizumab and abrocitinib: no row in the data.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or print the fitted terms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--trials", type=Path, default=TRIALS)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    if asked.fit:
        shift, power, factor = fitted_terms()
        print(
            f"TOPICALS_SHIFT {shift:.3f}  SCRATCH_POWER {power:.2f}  decoy calibrated {factor:.3f}"
        )
        return
    asked.page.write_text(page(asked.trials), encoding="utf-8")
    print(f"wrote {asked.page}")


if __name__ == "__main__":
    main()
