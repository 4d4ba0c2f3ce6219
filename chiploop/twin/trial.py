"""Trials on virtual patients: the same patients in every arm.

Belongs here: arms, setting -> what a trial reports. Not here: trials of others (trial_rows), printing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chiploop.errors import WrongUse
from chiploop.twin.drug_effect import PRIOR, PotencyDraws, effect_of, groups
from chiploop.twin.drug_facts import PLACEBO_ARM
from chiploop.twin.fitted_terms import SCRATCH_POWER, SETTINGS
from chiploop.twin.outcomes import Z_95, ArmOutcome, arm_outcome
from chiploop.twin.patient_model import before_treatment, simulate
from chiploop.twin.population import STANDARD_CARE, published_population

FEWEST, MOST = 100, 1_000_000
LONGEST_WEEKS = 520.0


@dataclass(frozen=True)
class TrialArm:
    """One arm of a trial on virtual patients."""

    name: str
    outcome: ArmOutcome
    interval_pct: tuple[float, float]
    """95 % of EASI-75: number of virtual patients and, for a drug, what its potency leaves open."""
    potency: str
    """Where the potency comes from; empty for placebo."""


def settings_shift(setting: str) -> dict[str, float]:
    """Return the shift of the population in a kind of trial; WrongUse for another kind."""
    if setting not in SETTINGS:
        raise WrongUse(f"setting {setting!r} is not known; known: {', '.join(SETTINGS)}")
    return {STANDARD_CARE: SETTINGS[setting]}


def run_trial(
    arms: Sequence[str],
    setting: str = "monotherapy",
    n: int = 10_000,
    week: float = 16.0,
    seed: int = 1,
    potencies: Mapping[str, PotencyDraws] | None = None,
    decoy: str = "published",
    shift: float | None = None,
    scratch_power: float = SCRATCH_POWER,
) -> list[TrialArm]:
    """Return the arms of a trial; ``shift`` and ``scratch_power`` are for fitting them alone.

    Raises WrongUse for arms, setting, number or week that are not possible.
    """
    shifts = settings_shift(setting) if shift is None else {STANDARD_CARE: shift}
    if not FEWEST <= n <= MOST:
        raise WrongUse(f"{n} virtual patients were asked for; allowed: {FEWEST} to {MOST}")
    if not 0.0 < week <= LONGEST_WEEKS:
        raise WrongUse(f"week {week:g} was asked for; allowed: above 0 up to {LONGEST_WEEKS:g}")
    if not arms or len(set(arms)) != len(arms):
        raise WrongUse(f"arms {', '.join(arms) or '(none)'}: each must be named once, one at least")
    given = potencies or {}
    effects = [
        effect_of(arm, n, seed, given.get(drug_name(arm)), decoy, scratch_power=scratch_power)
        for arm in arms
    ]
    # who a patient is must not hang on which of the potencies' groups stands first
    rng = np.random.default_rng(seed)
    patients = published_population().shifted(shifts).draw(n, rng)
    courses = simulate(patients, effects, np.array([week]), started=before_treatment(patients))
    found = []
    for a, arm in enumerate(arms):
        improvement = courses.improvement_pct[:, a, 0]
        outcome = arm_outcome(improvement, courses.easi[:, a])
        interval = outcome.easi75_interval_pct
        is_placebo = arm == PLACEBO_ARM
        if not is_placebo:
            interval = with_potency(improvement >= 75.0, outcome)
        source = "" if is_placebo else PRIOR
        if drug_name(arm) in given:
            source = given[drug_name(arm)].source
        found.append(TrialArm(arm, outcome, interval, source))
    return found


def drug_name(arm: str) -> str:
    """Return the drug of an arm."""
    return arm.partition(":")[0]


def with_potency(responds: np.ndarray, outcome: ArmOutcome) -> tuple[float, float]:
    """Return the central 95 % of the responders' share over potencies, widened by the number of patients."""
    group = groups(len(responds))
    sizes = np.bincount(group)
    shares = np.bincount(group, weights=responds) / np.maximum(1, sizes)
    share = outcome.responders_pct[75] / 100.0
    inside = share * (1.0 - share) / max(1.0, float(sizes.mean()))
    between = max(0.0, float(shares[sizes > 0].var(ddof=1)) - inside)
    half = 100.0 * Z_95 * np.sqrt(between + share * (1.0 - share) / len(responds))
    return max(0.0, 100.0 * share - float(half)), min(100.0, 100.0 * share + float(half))


def as_json(arms: Sequence[TrialArm]) -> dict[str, Any]:
    """Return the arms as ``chiploop twin trial --json`` prints them."""
    return {
        arm.name: {
            **{f"EASI{r}_pct": value for r, value in arm.outcome.responders_pct.items()},
            "mean_pct_EASI_improvement": arm.outcome.mean_improvement_pct,
            "interval": list(arm.interval_pct),
        }
        for arm in arms
    }
