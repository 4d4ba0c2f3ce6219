"""Whether a calibration converged, and how much of it the data taught.

Belongs here: diagnostics against limits. Not here: how the posterior was found (recalibrate), whether the
model fits (predictive_checks, misfit).
"""

from __future__ import annotations

import numpy as np

from chiploop.inference import predictive_checks
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import FROM_MODE, CalibrationInfo, Limits
from chiploop.inference.search import Search
from chiploop.inference.target import Target
from chiploop.inference.tempering import Population


def diagnose(
    target: Target,
    found: Search,
    populations: list[Population],
    limits: Limits,
    method: str,
) -> CalibrationInfo:
    """Return the diagnostics of two populations against the limits."""
    gap = gap_sd(populations, target.unknowns.p)
    evidence = tuple(population.log_evidence for population in populations)
    ess = float(sum(population.ess for population in populations))
    at_mode = int(found.at_best.sum())
    acceptance = float(np.mean([population.acceptance for population in populations]))
    checks: list[tuple[bool, str]] = [
        (ess >= limits.ess, f"{ess:.0f} effective particles, at least {limits.ess:.0f} needed"),
        (
            gap <= limits.population_gap_sd,
            f"two populations differ by {gap:.2f} sd, at most {limits.population_gap_sd} allowed",
        ),
        (
            abs(evidence[0] - evidence[1]) <= limits.evidence_gap,
            f"their log evidences {evidence[0]:.2f} and {evidence[1]:.2f} differ by more than "
            f"{limits.evidence_gap}",
        ),
        (
            at_mode >= limits.starts_at_mode or method != FROM_MODE,
            f"{at_mode} of {found.heights.size} searches ended at the mode, at least "
            f"{limits.starts_at_mode} needed",
        ),
        (
            acceptance >= limits.acceptance,
            f"{100 * acceptance:.0f} % of the last moves were accepted, at least "
            f"{100 * limits.acceptance:.0f} % needed",
        ),
    ]
    failures = tuple(text for good, text in checks if not good)
    predictive = predictive_p(target, np.concatenate([one.residuals for one in populations]))
    warnings = tuple(
        f"{name}: posterior predictive p {predictive_checks.p_text(p)}: it scatters "
        + ("more than the model explains" if p < 0.5 else "less than the study's variation assumes")
        for name, p in predictive.items()
        if not limits.predictive_p <= p <= 1 - limits.predictive_p
    )
    z = np.concatenate([population.z for population in populations])
    unknowns = target.unknowns
    shrinkage = 1.0 - z.std(axis=0)
    varied = [spread.name for spread in target.prior.donor_spreads]
    by_donor = shrinkage[unknowns.at_deviations].reshape(len(unknowns.donors), len(varied))
    return CalibrationInfo(
        passed=not failures,
        failures=failures,
        warnings=warnings,
        ess=ess,
        population_gap_sd=gap,
        log_evidence=evidence,
        starts=int(found.heights.size),
        starts_at_mode=at_mode,
        acceptance=acceptance,
        temperatures=max(population.temperatures for population in populations),
        predictive_p=predictive,
        n_readouts=len(target.likelihood.used),
        readings=target.likelihood.digest,
        n_censored=target.likelihood.n_censored,
        simulations=target.simulations,
        method=method,
        heights=tuple(float(h) for h in np.sort(found.heights)[::-1]),
        modes=tuple(mode.share for mode in found.modes),
        shrinkage=dict(zip(target.prior.names, shrinkage[: unknowns.p].tolist(), strict=True)),
        donor_shrinkage={
            donor: dict(zip(varied, by_donor[d].tolist(), strict=True))
            for d, donor in enumerate(unknowns.donors)
            if varied
        },
    )


def gap_sd(populations: list[Population], p: int) -> float:
    """Return the largest gap between two populations' means of the first p entries, in posterior sd."""
    z = np.concatenate([population.z[:, :p] for population in populations])
    first, second = (population.z[:, :p].mean(axis=0) for population in populations)
    return float(np.max(np.abs(first - second) / np.maximum(z.std(axis=0), 1e-12)))


def predictive_p(target: Target, r: np.ndarray) -> dict[str, float]:
    """Return per readout P(replicated squares >= observed), averaged over particles' residuals (n, m)."""
    likelihood = target.likelihood
    return predictive_checks.predictive_p(likelihood, without_tails(likelihood, r))


def without_tails(likelihood: Likelihood, r: np.ndarray) -> np.ndarray:
    """Return the whitened gaps (n, exact) behind residuals (n, m): with t tails these are not chi-squared."""
    white = r[:, : likelihood.n_exact].copy()
    tails = likelihood.scatter.chip_tails
    if tails is None:
        return white
    for at in likelihood.exact_of_chips:
        # |r|^2 = (tails + k) log(1 + |white|^2 / tails)
        total = np.maximum((white[:, at] ** 2).sum(axis=1), 1e-12)
        squared = tails * np.expm1(total / (tails + len(at)))
        white[:, at] *= np.sqrt(squared / total)[:, None]
    return white
