"""How often the adjusted analysis errs, and what it saves, when the twin itself made the prognosis.

Belongs here: trials of hidden virtual patients whose baseline was measured with noise and gaps. Not here: twins
that are nothing but right or wrong numbers (trial_simulation).

Hidden patients and the twin's bank are drawn apart. Noise of measuring is that of ``observations``: that it is
right is the one thing that these trials can not call in question. A wrong twin takes the patients for others:
for ones with topicals, or for ones whose columns were mixed up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chiploop.twin.control_arm import LEVEL, regression
from chiploop.twin.observations import LINKS, ln_easi
from chiploop.twin.trial_prognosis import TrialBaseline, bank_of, outcome_of, prognoses

TWINS = ("right", "of another setting", "of mixed-up columns")
MEASURED = ("easi", "serum_ccl17_pg_ml", "tewl_g_m2_h", "th2_score")


@dataclass(frozen=True)
class TwinRates:
    """Of simulated trials without an effect."""

    twin: str
    trials: int
    type_1_error: dict[str, float]
    """Analysis -> share of trials whose 95 % interval leaves 0 out."""
    saved: float
    """Mean share of patients that the adjustment saves; negative where it costs."""
    saved_by_easi: float
    """The same by the measured EASI alone, in place of the twin; the mean where it is missing."""
    correlation: float
    """Of prognosis and outcome over all hidden patients."""


def rates_of_twin(
    twin: str,
    n_per_arm: int,
    trials: int,
    seed: int,
    hidden: int = 1000,
    missing: float = 0.2,
    outcome: str = "improvement_pct",
    effect: float = 0.0,
) -> TwinRates:
    """Return how often trials of ``hidden`` patients, drawn anew for each trial, find an effect.

    ``missing``: share of baseline values that are not known. ``effect`` in the outcome's unit: with one, the rates
    are the power.
    """
    rng = np.random.default_rng([seed, 2])
    baselines, outcomes = hidden_patients(hidden, missing, outcome, rng)
    if twin == "of mixed-up columns":
        order = rng.permutation(len(baselines))
        seen = [
            one.model_copy(update={"easi": baselines[j].easi})
            for one, j in zip(baselines, order, strict=True)
        ]
    else:
        seen = baselines
    setting = "topicals" if twin == "of another setting" else "monotherapy"
    foretold = prognoses(seen, outcome, setting, seed=seed).mean
    easi = np.array([np.nan if one.easi is None else one.easi for one in baselines])
    easi = np.where(np.isnan(easi), np.nanmean(easi), easi)
    n = 2 * n_per_arm
    everybody = np.tile(np.arange(len(outcomes)), (trials, 1))
    chosen = rng.permuted(everybody, axis=1)[:, :n]
    treated = np.broadcast_to(np.arange(n) < n_per_arm, (trials, n))
    y = outcomes[chosen] + effect * treated
    plain = regression(y, treated, np.zeros((trials, n, 0)))
    adjusted, by_easi = (
        regression(y, treated, (one[chosen] - one[chosen].mean(axis=1, keepdims=True))[..., None])
        for one in (foretold, easi)
    )
    return TwinRates(
        twin,
        trials,
        {
            "unadjusted": float((plain.p < 1 - LEVEL).mean()),
            "adjusted": float((adjusted.p < 1 - LEVEL).mean()),
        },
        float(1.0 - ((adjusted.se / plain.se) ** 2).mean()),
        float(1.0 - ((by_easi.se / plain.se) ** 2).mean()),
        float(np.corrcoef(foretold, outcomes)[0, 1]),
    )


def hidden_patients(
    n: int, missing: float, outcome: str, rng: np.random.Generator
) -> tuple[list[TrialBaseline], np.ndarray]:
    """Return what was measured of hidden patients before treatment, and their outcome under placebo."""
    bank = bank_of(None, "monotherapy", 16.0, rng, n)
    m = len(bank.baseline)
    rows: list[dict[str, Any]] = [{} for _ in range(m)]
    for name in MEASURED:
        link = LINKS[name]
        scale = ln_easi(bank.baseline) if name == "easi" else bank.expected[name]
        shown = scale + link.sd * rng.standard_normal(m)
        values = np.exp(shown) if link.is_log else shown
        if name == "easi":
            values = np.clip(np.exp(shown) - float(np.exp(ln_easi(0.0))), 0.1, 72.0)
        for i in np.flatnonzero(rng.random(m) >= missing):
            rows[i][name] = float(values[i])
    baselines = [TrialBaseline.model_construct(**row) for row in rows]
    easi = np.array([row.get("easi", np.nan) for row in rows])
    own = np.where(np.isnan(easi), bank.baseline, easi)
    return baselines, outcome_of(replace(bank, baseline=own), None, outcome)
