"""Which drug for this patient: every drug on the same virtual patients with the same random numbers.

Belongs here: forecasts, comparisons, what drives them, what would narrow them. Not here: the twin (patient_twin),
printing, pages. Drugs are compared from the beginning of treatment; visits under one drug tell of the patient and
so of the others.

Research use only; not for clinical decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from chiploop.errors import FileNotValid, WrongUse
from chiploop.twin.applicability import Applicability, of_patient
from chiploop.twin.drug_effect import PRIOR, PotencyDraws
from chiploop.twin.drug_facts import PLACEBO_ARM, drug_of_arm
from chiploop.twin.observations import (
    CCL17,
    CCL17_READING_LN_SD,
    EASI_FLOOR,
    EASI_LN_SD,
    LINKS,
    expected_at_baseline,
    ln_ccl17_change,
    ln_easi,
    own_offset,
)
from chiploop.twin.patient_file import Patient
from chiploop.twin.patient_model import before_treatment, simulate
from chiploop.twin.patient_twin import PARTICLES, Twin, twin_of

QUANTILES = (0.05, 0.5, 0.95)
SHOWN_DRIVERS = 5
BINS = 25
"""Of equally many virtual patients, for what a measurement would tell."""
GROUPS = 10
"""Parts of the virtual patients, whose scatter tells how sure an order of measurements is."""
VISIT_WEEKS = (4.0, 8.0, 12.0)
"""The first one after the last scored visit is offered as a measurement."""


@dataclass(frozen=True)
class Forecast:
    """One drug, where asked with a modifier taken away."""

    name: str
    easi: np.ndarray
    """(3, weeks) 5, 50, 95 % of the EASI that would be measured."""
    improvement_pct: tuple[float, float, float]
    """5, 50, 95 % at the last week."""
    easi75_probability: float
    potency: str
    drivers: tuple[tuple[str, float], ...]
    """Parameters of the patient, and potency, slope and exposure of the drug, with the largest rank correlation
    with the improvement.
    """
    without_chip_pct: tuple[float, float, float] | None
    """5, 50, 95 % of the improvement, had the chips told nothing; None where they did not."""

    @property
    def width(self) -> float:
        """Width of the 90 % band of the improvement, in points."""
        return self.improvement_pct[2] - self.improvement_pct[0]

    @property
    def width_without_chip(self) -> float | None:
        """Width of that band, had the chips told nothing; None where they did not."""
        bare = self.without_chip_pct
        return None if bare is None else bare[2] - bare[0]


@dataclass(frozen=True)
class Pair:
    """Whether one drug beats another in the same virtual patients."""

    first: str
    second: str
    probability: float
    """That the first one's improvement is larger by the margin."""
    reverse: float
    """That the second one's is."""
    without_chip: tuple[float, float] | None = None
    """Both, had the chips told nothing; None where they did not."""


@dataclass(frozen=True)
class WhatIf:
    """The answer for one patient."""

    patient: str
    setting: str
    weeks: np.ndarray
    margin_pct: float
    forecasts: tuple[Forecast, ...]
    pairs: tuple[Pair, ...]
    measurements: tuple[tuple[str, float], ...]
    """What could still be measured -> share of the forecast's variance that it would take away, largest first."""
    tied: tuple[str, ...]
    """Measurements that these virtual patients do not tell apart from the first one."""
    effective: float
    """Effective number of virtual patients at the last update, before any were moved."""
    applicability: Applicability
    """Whether the twin holds for such a patient; no forecast is shown without it."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Wherever the patient is not inside of what the twin was built from, in words."""
        return self.applicability.beware


def what_if(
    patient: Patient,
    drugs: Sequence[str],
    seed: int = 1,
    week: float = 16.0,
    margin_pct: float = 10.0,
    without: str = "",
    potencies: dict[str, PotencyDraws] | None = None,
    n: int = PARTICLES,
) -> WhatIf:
    """Return forecasts and comparisons.

    Parameters
    ----------
    without
        A modifier of the file; every drug is then shown with it taken away as well.

    Raises
    ------
    WrongUse
        For drugs, weeks or a modifier that are not possible.
    FileNotValid
        Where virtual patients have no course with what the file says.
    """
    if not drugs or len(set(drugs)) != len(drugs):
        raise WrongUse(
            f"drugs {', '.join(drugs) or '(none)'}: each must be named once, one at least"
        )
    for drug in drugs:
        drug_of_arm(drug)
    if not 1.0 <= week <= 520.0:
        raise WrongUse(f"week {week:g} was asked for; allowed: 1 to 520")
    if without and without not in patient.modifiers:
        known = ", ".join(patient.modifiers) or "none"
        raise WrongUse(f"the patient's file has no modifier {without!r}; it has: {known}")
    weeks = np.unique(np.append(np.arange(1.0, week), week))
    twin, infos = twin_of(patient, np.random.default_rng(seed), potencies=potencies, seed=seed, n=n)
    twin = twin.evened()
    names, easi, improvement = courses(twin, drugs, weeks, without)
    if not np.isfinite(improvement).all():
        raise FileNotValid(
            f"{patient.patient}: {int(np.isnan(improvement).any(axis=1).sum())} of {n} virtual patients have no "
            "course with these ratios and effects; nothing is foretold"
        )
    bare = None
    if potencies or any(value is not None for value in patient.chip.model_dump().values()):
        other, _ = twin_of(patient, np.random.default_rng(seed), with_chip=False, seed=seed, n=n)
        bare = courses(other.evened(), drugs, weeks, without)[2]
    rng = np.random.default_rng([seed, 1])
    noise = np.exp(EASI_LN_SD * rng.standard_normal(len(easi)))
    measured = np.maximum((easi + EASI_FLOOR) * noise[:, None, None] - EASI_FLOOR, 0.0)
    ranked = dict(zip(twin.population.names, twin.values().T, strict=True))
    causes = {drug: twin.effect(drug).causes for drug in drugs}
    forecasts = []
    for a, name in enumerate(names):
        low, middle, high = np.quantile(improvement[:, a], QUANTILES)
        drug = name.split(" ")[0].partition(":")[0]
        given = (potencies or {}).get(drug)
        spread = None if bare is None else np.quantile(bare[:, a], QUANTILES)
        forecasts.append(
            Forecast(
                name, np.quantile(measured[:, a], QUANTILES, axis=0), (float(low), float(middle), float(high)),
                float((improvement[:, a] >= 75.0).mean()),
                "" if drug == PLACEBO_ARM else given.source if given else PRIOR,
                drivers({**ranked, **causes[drugs[a % len(drugs)]]}, improvement[:, a]),
                None if spread is None else (float(spread[0]), float(spread[1]), float(spread[2])),
            )
        )  # fmt: skip
    pairs = [
        Pair(
            names[i], names[j], *beats(improvement, i, j, margin_pct),
            None if bare is None else beats(bare, i, j, margin_pct),
        )
        for i in range(len(names))
        for j in range(i + 1, len(names))
        # drugs as they are, and each one with and without the modifier
        if j < len(drugs) or j == i + len(drugs)
    ]  # fmt: skip
    offers = offered(twin, drugs[0], rng)
    shares = shares_taken(offers, improvement)
    return WhatIf(
        patient.patient, patient.setting, weeks, margin_pct, tuple(forecasts), tuple(pairs),
        tuple(shares), tied_with_first(offers, improvement, shares), infos[-1].effective,
        of_patient(patient, drugs),
    )  # fmt: skip


def beats(
    improvement: np.ndarray, first: int, second: int, margin_pct: float
) -> tuple[float, float]:
    """Return how often the first of two arms is better by a margin, and how often the second one is."""
    apart = improvement[:, first] - improvement[:, second]
    return float((apart > margin_pct).mean()), float((-apart > margin_pct).mean())


def courses(
    twin: Twin, drugs: Sequence[str], weeks: np.ndarray, without: str = ""
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, EASI (n, arms, weeks) and improvement at the last week (n, arms), in percent."""
    values = twin.values()
    started = before_treatment(values)
    effects = [twin.effect(drug) for drug in drugs]
    found = simulate(values, effects, weeks, started=started)
    names, easi = list(drugs), found.easi
    if without:
        changed = simulate(twin.values(without), effects, weeks, started=started)
        names += [f"{drug} without {without}" for drug in drugs]
        easi = np.concatenate([easi, changed.easi], axis=1)
    return names, easi, 100.0 * (1.0 - easi[:, :, -1] / started[1][:, None])


def drivers(values: Mapping[str, np.ndarray], target: np.ndarray) -> tuple[tuple[str, float], ...]:
    """Return those of the values (n,) whose ranks go most with the target's; what is one value has none."""
    if np.ptp(target) == 0.0:
        return ()
    names = [name for name, column in values.items() if np.ptp(column) > 0.0]
    ranks = np.column_stack([rankdata(column) for column in (*(values[n] for n in names), target)])
    together = np.corrcoef(ranks, rowvar=False)[-1, :-1]
    order = np.argsort(-np.abs(together))[:SHOWN_DRIVERS]
    return tuple((names[j], float(together[j])) for j in order)


def offered(twin: Twin, drug: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return what each missing measurement would show in the virtual patients (n,), noise and all."""
    values = twin.values()
    started = before_treatment(values)
    found = {
        name: expected + LINKS[name].sd * rng.standard_normal(len(values))
        for name, expected in expected_at_baseline(started[0]).items()
        if getattr(twin.patient.baseline, name) is None
    }
    under, visits = twin.patient.treatment or drug, twin.patient.visits
    levels = {v.week: v.serum_ccl17_pg_ml for v in visits if v.serum_ccl17_pg_ml is not None}
    weeks = np.unique([*VISIT_WEEKS, *levels])
    course = simulate(values, [twin.effect(under)], weeks, started=started)
    seen = max((v.week for v in visits if v.easi is not None), default=0.0)
    for week in [w for w in VISIT_WEEKS if w > seen][:1]:
        easi = course.easi[:, 0, int(np.searchsorted(weeks, week))]
        noise = EASI_LN_SD * rng.standard_normal(len(values))
        found[f"EASI at week {week:g} under {under}"] = ln_easi(easi) + noise
    before, expected = twin.patient.baseline.serum_ccl17_pg_ml, expected_at_baseline(started[0])
    without_offset = expected[CCL17][:, None] + ln_ccl17_change(course.th2[:, 0])
    apart = [] if before is None else [np.log(before) - expected[CCL17]]
    apart += [
        np.log(v) - without_offset[:, int(np.searchsorted(weeks, w))] for w, v in levels.items()
    ]
    # a level alone holds the person's own offset; after earlier ones the change counts
    offset = own_offset(np.array(apart).reshape(-1, len(values)).T, rng)
    for week in [w for w in VISIT_WEEKS if w > max(levels, default=0.0)][:1]:
        noise = CCL17_READING_LN_SD * rng.standard_normal(len(values))
        then = without_offset[:, int(np.searchsorted(weeks, week))]
        found[f"serum CCL17 at week {week:g} under {under}"] = then + offset + noise
    return found


def shares_taken(offers: Mapping[str, np.ndarray], targets: np.ndarray) -> list[tuple[str, float]]:
    """Return what each measurement (n,) would take off the variance of the targets (n, arms), largest first."""
    found = [(name, _share_taken(told, targets)) for name, told in offers.items()]
    return sorted(found, key=lambda one: -one[1])


def _share_taken(told: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean([explained(told, target) for target in targets.T]))


def tied_with_first(
    offers: Mapping[str, np.ndarray], targets: np.ndarray, shares: Sequence[tuple[str, float]]
) -> tuple[str, ...]:
    """Return the measurements whose lead by the first is below two standard errors, by groups of neighbours.

    Copies of a virtual patient are neighbours, so that they do not pass for several.
    """
    parts = np.array_split(np.arange(len(targets)), GROUPS)
    by_group = {
        name: np.array([_share_taken(offers[name][part], targets[part]) for part in parts])
        for name, _ in shares
    }
    tied = []
    for name, share in shares[1:]:
        lead = by_group[shares[0][0]] - by_group[name]
        if shares[0][1] - share < 2.0 * lead.std(ddof=1) / np.sqrt(GROUPS):
            tied.append(name)
    return tuple(tied)


def explained(told: np.ndarray, target: np.ndarray) -> float:
    """Return the share of a target's variance that goes with a measurement, in bins of it."""
    if np.var(target) == 0.0:
        return 0.0
    bins = np.array_split(target[np.argsort(told)], min(BINS, max(2, len(target) // 4)))
    inside = np.mean([part.var(ddof=1) for part in bins])
    return float(max(0.0, 1.0 - inside / target.var(ddof=1)))
