"""The twin of one patient: virtual patients weighed by what is known, moved on with every visit, never reset.

Belongs here: weighing, resampling, moving. Not here: links (observations), shifts (chip_shift), drugs
(drug_effect).

Each visit multiplies the weights by its likelihood. Where the effective number falls below a half, the twin is
resampled and each virtual patient is moved by steps that leave the posterior of ALL data so far unchanged
(preconditioned Crank-Nicolson: z' = sqrt(1 - b^2) z + b xi, accepted by the ratio of likelihoods). So visits one
by one and all at once give the same answer within Monte Carlo error.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from chiploop.twin.chip_shift import Shift, parameters, shifts_of
from chiploop.twin.drug_effect import POTENCIES, PotencyDraws, effect_of
from chiploop.twin.observations import expected_at_baseline, log_likelihood, on_scale
from chiploop.twin.patient_file import Patient, Visit
from chiploop.twin.patient_model import Effect, before_treatment, simulate
from chiploop.twin.population import Population, published_population
from chiploop.twin.trial import settings_shift

PARTICLES = 4000
MOVES = 12
"""Steps of each virtual patient after a resampling."""
STEP = 0.35
FEWEST_EFFECTIVE = 0.5
"""Share of the particles."""


@dataclass(frozen=True)
class Twin:
    """Weighed virtual patients of one patient."""

    patient: Patient
    """With the visits that were taken in."""
    population: Population
    shifts: tuple[Shift, ...]
    standard: np.ndarray
    """(n, 51 + 1 + shifts) standard normals."""
    slot: np.ndarray
    """(n,) which person in plasma and which potency each has; drawn once for n, carried along."""
    weights: np.ndarray
    """(n,) summing to one."""
    potencies: dict[str, PotencyDraws]
    seed: int

    @property
    def effective(self) -> float:
        """Effective number of virtual patients."""
        return float(1.0 / np.square(self.weights).sum())

    def values(self, without: str = "") -> np.ndarray:
        """Return the parameters (n, 51) of the virtual patients, where asked without one of the shifts."""
        return parameters(self.population, list(self.shifts), self.standard, without)

    def evened(self) -> Twin:
        """Return the twin with equal weights, the likely virtual patients standing several times."""
        n = len(self.weights)
        chosen = np.searchsorted(np.cumsum(self.weights), (0.5 + np.arange(n)) / n)
        chosen = np.minimum(chosen, n - 1)
        return replace(
            self,
            standard=self.standard[chosen],
            slot=self.slot[chosen],
            weights=np.full(n, 1.0 / n),
        )

    def effect(self, drug: str) -> Effect:
        """Return what a drug does in each of them."""
        n, name = len(self.slot), drug.partition(":")[0]
        # another order for each drug: a patient in whom one is potent is not one in whom all are
        order = np.random.default_rng([self.seed, zlib.crc32(name.encode())]).permutation(n)
        found = effect_of(
            drug, n, self.seed, self.potencies.get(name), potency_of=np.arange(n) % POTENCIES
        )
        chosen = order[self.slot]
        return Effect(
            {signal: np.asarray(share)[chosen] for signal, share in found.blocked.items()},
            np.broadcast_to(found.scratch, (n,))[chosen],
            causes={name: values[chosen] for name, values in found.causes.items()},
        )


@dataclass(frozen=True)
class UpdateInfo:
    """What a person needs to judge an update."""

    effective: float
    """Effective number after weighing."""
    moved: bool
    acceptance: float
    """Of the moves; 0 where there were none."""


def new_twin(
    patient: Patient,
    rng: np.random.Generator,
    n: int = PARTICLES,
    with_chip: bool = True,
    potencies: dict[str, PotencyDraws] | None = None,
    seed: int = 1,
) -> tuple[Twin, UpdateInfo]:
    """Return the twin before any visit: population, shifts, baseline measurements."""
    shifts = tuple(shifts_of(patient, with_chip))
    population = published_population().shifted(settings_shift(patient.setting))
    standard = rng.standard_normal((n, len(population.names) + 1 + len(shifts)))
    # persons and potencies in random order, so that neither goes with the other
    twin = Twin(
        replace_visits(patient, ()), population, shifts, standard, rng.permutation(n), np.full(n, 1.0 / n),
        dict(potencies or {}) if with_chip else {}, seed,
    )  # fmt: skip
    return weighed(twin, likelihood(twin, twin.standard), rng)


def replace_visits(patient: Patient, visits: tuple[Visit, ...]) -> Patient:
    """Return the patient with other visits."""
    return patient.model_copy(update={"visits": visits})


def likelihood(twin: Twin, standard: np.ndarray) -> np.ndarray:
    """Return the log likelihood (n,) of all that the twin has taken in."""
    patient = twin.patient
    measured = {
        name: on_scale(name, value)
        for name, value in patient.baseline.model_dump().items()
        if value is not None
    }
    seen = [v for v in patient.visits if v.easi is not None or v.serum_ccl17_pg_ml is not None]
    if not measured and not seen:
        return np.zeros(len(standard))
    values = parameters(twin.population, list(twin.shifts), standard)
    started = before_treatment(values)
    easi = th2 = np.zeros((len(standard), 0))
    if seen:
        weeks = np.array([visit.week for visit in seen])
        effect = twin.effect(patient.treatment or "placebo")
        found = simulate(values, [effect], weeks, started=started)
        easi, th2 = found.easi[:, 0], found.th2[:, 0]
    told = np.array([np.nan if v.easi is None else v.easi for v in seen])
    ccl17 = np.array([np.log(v.serum_ccl17_pg_ml or np.nan) for v in seen])
    return log_likelihood(expected_at_baseline(started[0]), measured, easi, told, th2, ccl17)


def weighed(twin: Twin, added: np.ndarray, rng: np.random.Generator) -> tuple[Twin, UpdateInfo]:
    """Return the twin with more log likelihood (n,) on its weights, moved where few are left.

    ValueError where no virtual patient could show such data.
    """
    if not np.isfinite(added).any():
        raise ValueError("no virtual patient could show these measurements")
    logarithm = np.log(np.maximum(twin.weights, 1e-300)) + added
    weights = np.exp(logarithm - logarithm.max())
    found = replace(twin, weights=weights / weights.sum())
    n, effective = len(weights), found.effective
    if effective >= FEWEST_EFFECTIVE * n:
        return found, UpdateInfo(effective, False, 0.0)
    # systematic resampling
    chosen = np.searchsorted(np.cumsum(found.weights), (rng.random() + np.arange(n)) / n)
    chosen = np.minimum(chosen, n - 1)
    found = replace(
        found, standard=found.standard[chosen], slot=found.slot[chosen], weights=np.full(n, 1.0 / n)
    )
    now, accepted, step = likelihood(found, found.standard), 0.0, STEP
    for _ in range(MOVES):
        moved = np.sqrt(1 - step**2) * found.standard + step * rng.standard_normal(
            found.standard.shape
        )
        # what no data speak of, such as the potency of another drug, comes back to all that it may be
        slot = np.where(rng.random(n) < 0.5, rng.integers(n, size=n), found.slot)
        then = likelihood(replace(found, slot=slot), moved)
        takes = np.log(rng.random(n)) < then - now
        found = replace(
            found,
            standard=np.where(takes[:, None], moved, found.standard),
            slot=np.where(takes, slot, found.slot),
        )
        now, share = np.where(takes, then, now), float(takes.mean())
        accepted += share / MOVES
        step = float(np.clip(step * (1.25 if share > 0.3 else 0.8), 0.05, 0.9))
    return found, UpdateInfo(effective, True, accepted)


def updated(
    twin: Twin, visits: tuple[Visit, ...], rng: np.random.Generator
) -> tuple[Twin, UpdateInfo]:
    """Return the twin after further visits, one or several at once."""
    before = likelihood(twin, twin.standard)
    taken = replace(twin, patient=replace_visits(twin.patient, (*twin.patient.visits, *visits)))
    added = likelihood(taken, taken.standard) - before
    return weighed(taken, np.where(np.isnan(added), -np.inf, added), rng)


def twin_of(
    patient: Patient, rng: np.random.Generator, **options: object
) -> tuple[Twin, list[UpdateInfo]]:
    """Return the twin with every visit of the file taken in, one after the other."""
    twin, info = new_twin(patient, rng, **options)  # type: ignore[arg-type]
    told = [info]
    for visit in patient.visits:
        twin, info = updated(twin, (visit,), rng)
        told.append(info)
    return twin, told
