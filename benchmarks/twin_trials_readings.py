"""Two readings of the trials that the twin does not use: where its misses come from, without another fit.

Belongs here: virtual patients who meet the trials' entry, and the placebo arm of ECZTRA 3 as it was. Not here: the
twin's own table (twin_trials), the model (chiploop.twin). Both are looked at and left: nothing here moves a number
that a user gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from chiploop.twin.drug_effect import effect_of
from chiploop.twin.fitted_terms import SCRATCH_POWER, TOPICALS_SHIFT
from chiploop.twin.outcomes import ArmOutcome, arm_outcome
from chiploop.twin.patient_model import before_treatment, simulate
from chiploop.twin.population import STANDARD_CARE, published_population
from chiploop.twin.trial_rows import Comparison, TrialRow, compared, summary

PATIENTS, SEED = 20_000, 2026
ENTRY_EASI = 16.0
PLACEBO_SOLO_1, UPADACITINIB_MEASURE_UP_1 = 15.0, 69.6


@dataclass(frozen=True)
class Drawn:
    """Virtual patients before treatment."""

    standard: np.ndarray
    """(n, 51)."""
    states: np.ndarray
    easi: np.ndarray

    def outcomes(
        self, arms: Sequence[str], shift: float, week: float = 16.0, power: float = SCRATCH_POWER
    ) -> dict[str, ArmOutcome]:
        """Return what arms come to; k3, which ``shift`` moves, is off before treatment."""
        patients = published_population().shifted({STANDARD_CARE: shift}).values(self.standard)
        effects = [effect_of(arm, len(patients), SEED, scratch_power=power) for arm in arms]
        found = simulate(patients, effects, np.array([week]), started=(self.states, self.easi))
        return {
            arm: arm_outcome(found.improvement_pct[:, a, 0], found.easi[:, a])
            for a, arm in enumerate(arms)
        }

    def easi75(self, arm: str, shift: float, power: float = SCRATCH_POWER) -> float:
        """Return EASI-75 of one arm at week 16."""
        return self.outcomes([arm], shift, power=power)[arm].responders_pct[75]


def drawn(entry_easi: float = 0.0, n: int = PATIENTS) -> Drawn:
    """Return those of n virtual patients whose EASI before treatment is no lower."""
    standard = np.random.default_rng(SEED).standard_normal((n, len(published_population().names)))
    states, easi = before_treatment(published_population().values(standard))
    kept = easi >= entry_easi
    return Drawn(standard[kept], states[kept], easi[kept])


def with_entry(rows: Sequence[TrialRow]) -> tuple[float, float, float, list[Comparison]]:
    """Return share kept, both terms fitted anew to their rows, and every row, of patients who meet the entry."""
    patients = drawn(ENTRY_EASI)
    shift = brentq(lambda x: patients.easi75("placebo", x) - PLACEBO_SOLO_1, -2.5, 0.0, xtol=0.005)

    def too_many(power: float) -> float:
        return patients.easi75("upadacitinib", shift, power) - UPADACITINIB_MEASURE_UP_1

    power = brentq(too_many, 0.0, 100.0, xtol=0.05)
    found = []
    for setting, week in sorted({(row.setting, row.week) for row in rows}):
        here = [row for row in rows if (row.setting, row.week) == (setting, week)]
        care = shift if setting == "monotherapy" else 0.0
        outcomes = patients.outcomes(sorted({row.arm for row in here}), care, week, power)
        found += [compared(row, outcomes[row.arm]) for row in here]
    return len(patients.easi) / PATIENTS, shift, power, found


def readings(rows: Sequence[TrialRow], as_used: Sequence[Comparison]) -> list[str]:
    """Return the lines of both readings."""
    kept, shift, power, found = with_entry(rows)
    used, other = summary(as_used), summary(found)
    lines = [
        "## Two readings that the twin does not use",
        f"**Entry.** SOLO and CHRONOS took EASI {ENTRY_EASI:g} or more, and, as remembered, so did the others; "
        f"{100 * (1 - kept):.0f} % of the virtual patients have less. Of the rest alone, with both terms fitted "
        f"anew to the same two rows (ln k3 {shift:+.3f} for {TOPICALS_SHIFT:+.3f}, w {power:.1f} for "
        f"{SCRATCH_POWER:g}):",
        "",
        "| rows | root mean square of z, all | with entry | beyond 2, all | with entry |",
        "|---|---|---|---|---|",
        *[
            f"| {kind} | {used[kind][1]:.2f} | {other[kind][1]:.2f} | {used[kind][2]} | {other[kind][2]} |"
            for kind in used
        ],
        "",
        "| trial | arm | week | endpoint | trial | all | z | with entry | z |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for a, b in zip(as_used, found, strict=True):
        if max(abs(a.z), abs(b.z)) > 1.5:
            row = a.row
            lines.append(
                f"| {row.trial} | {row.arm} | {row.week:g} | {row.endpoint} | {row.value:g} | {a.twin:.1f} | "
                f"{a.z:+.2f} | {b.twin:.1f} | {b.z:+.2f} |"
            )
    return [*lines, "", *of_ecztra_3(rows)]


def of_ecztra_3(rows: Sequence[TrialRow]) -> list[str]:
    """Return how much of the miss of ECZTRA 3 is that of its placebo arm."""
    here = {
        row.arm: row for row in rows if row.trial == "ECZTRA 3" and row.endpoint == "EASI75_pct"
    }
    placebo, drug = here["placebo"], here["tralokinumab:q2w"]
    patients = drawn()
    shift = brentq(lambda x: patients.easi75("placebo", x) - placebo.value, -1.0, 3.0, xtol=0.01)
    plain = patients.outcomes([drug.arm], 0.0)[drug.arm]
    cared = patients.outcomes([drug.arm], shift)[drug.arm]
    by_care = cared.responders_pct[75] - plain.responders_pct[75]
    share = 100.0 * by_care / (drug.value - plain.responders_pct[75])
    as_is, with_care = (
        f"{one.responders_pct[75]:.1f} % (z {compared(drug, one).z:+.2f})" for one in (plain, cared)
    )
    return [
        f"**ECZTRA 3.** Its placebo arm with topicals reached EASI-75 in {placebo.value:g} %, that of CHRONOS in "
        f"23.2 %. Were care as good as there (ln k3 {shift:+.2f}, so that placebo comes out at "
        f"{placebo.value:g} %), tralokinumab would come out at {with_care} instead of {as_is}; the trial has "
        f"{drug.value:g} %. So {share:.0f} % of the miss is care in that trial, the rest tralokinumab.",
        "",
    ]
