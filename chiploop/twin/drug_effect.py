"""From concentrations in plasma and a potency to what is blocked in each patient.

Belongs here: exposure in skin, occupancy or block, the one term for JAK inhibitors. Not here: kinetics
(pharmacokinetics), the disease (patient_model).

    e = mean over time of 1 - 1/(1 + (C/(m IC50))^h)        C free in skin, m of the signal (drug_facts)
    C = 0.157 x plasma for antibodies, free share x plasma for small molecules (Kp,uu = 1, ASSUMED)
    share left of the barrier's loss by scratching
      = mean over time of (1 - e_JAK1(t))^w for JAK inhibitors, 1 for every other drug

The mean replaces the course: block follows a concentration within minutes to hours, the disease moves in weeks.
The barrier's loss is linear in the share left, so its mean is that of the power and not the power of the mean.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from chiploop.inference.posterior import Posterior
from chiploop.twin.drug_facts import JAK_INHIBITOR, DrugFacts, drug_of_arm
from chiploop.twin.fitted_terms import DECOY_FACTORS, SCRATCH_POWER
from chiploop.twin.patient_model import PLACEBO, Effect
from chiploop.twin.pharmacokinetics import Exposure, exposure

SKIN_SHARE_IGG = 0.157
"""Interstitium of skin over plasma, antibodies (Shah and Betts 2013, remembered)."""
PERSONS = 250
"""Different courses in plasma; virtual patients take them in turn."""
POTENCIES = 25
"""Different potencies; virtual patients take them in groups, whose spread tells what potency leaves open."""
PRIOR = "prior"


@dataclass(frozen=True)
class PotencyDraws:
    """Draws of a drug's concentration of half effect and slope."""

    half_nm: np.ndarray
    hill: np.ndarray
    source: str
    """``prior``, or the run whose chips told it."""


def prior_potency(drug: DrugFacts, rng: np.random.Generator) -> PotencyDraws:
    """Return draws for a drug that no chip has told anything of."""
    prior = drug.potency
    # equally likely points rather than draws, so that 25 of them stand for the whole prior
    points = ndtri((np.arange(POTENCIES) + 0.5) / POTENCIES)
    return PotencyDraws(
        prior.median_nm * np.exp(prior.ln_sd * points),
        prior.hill * np.exp(prior.hill_ln_sd * rng.permutation(points)),
        PRIOR,
    )


def chip_potency(posterior: Posterior, drug: str, source: str, donor: str = "") -> PotencyDraws:
    """Return draws of a chip's posterior (IC50 or Kd, h); ValueError where the run knows neither of this drug.

    ``donor``: that donor's own potency, where donors differ, in place of the population's; KeyError for one who
    had no part in the run.
    """
    entries = posterior.particles
    if donor and posterior.of_donors.size:
        entries = posterior.donor_entries([donor], np.arange(len(entries)))[:, 0]
    values = posterior.drugs.of_drug(entries, drug or None)
    first = posterior.drugs.drugs[0] if posterior.drugs.drugs else ""
    names = [n.removesuffix(f"[{first}]") for n in posterior.names[: values.shape[1]]]
    half = next((name for name in ("IC50", "Kd") if name in names), None)
    if half is None:
        raise ValueError(f"{source} estimated neither IC50 nor Kd of {drug}")
    # middles of equally likely groups: the extremes of all particles would count for 4 % each
    rows = ((np.arange(POTENCIES) + 0.5) / POTENCIES * len(values)).astype(int)
    rows = values[:, names.index(half)].argsort()[rows]
    hill = values[rows, names.index("h")] if "h" in names else np.ones(POTENCIES)
    return PotencyDraws(values[rows, names.index(half)], hill, source)


def groups(n: int) -> np.ndarray:
    """Return (n,) which potency each virtual patient has."""
    return (np.arange(n) * POTENCIES) // n if n >= POTENCIES else np.arange(n) % POTENCIES


def skin_nm(drug: DrugFacts, plasma_mg_l: np.ndarray) -> np.ndarray:
    """Return free concentrations in skin."""
    molar = 1000.0 * plasma_mg_l / drug.molar_mass_kda
    return molar * (SKIN_SHARE_IGG if drug.kind == "antibody" else drug.free_fraction)


def blocked(
    concentration_nm: np.ndarray, half_nm: np.ndarray, hill: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Return the mean block (n,) of concentrations (n, t), each standing for a share (t,) of the time."""
    reached = (concentration_nm / half_nm[:, None]) ** hill[:, None]
    return np.asarray((reached / (1.0 + reached)) @ share)


def scratch_left(
    concentration_nm: np.ndarray,
    half_nm: np.ndarray,
    hill: np.ndarray,
    share: np.ndarray,
    power: float,
) -> np.ndarray:
    """Return the mean share left of the loss by scratching (n,) of concentrations (n, t), as in ``blocked``."""
    reached = (concentration_nm / half_nm[:, None]) ** hill[:, None]
    return np.asarray((1.0 + reached) ** -power @ share)


@lru_cache(maxsize=64)
def persons_given(arm: str, seed: int) -> tuple[Exposure, PotencyDraws]:
    """Return the courses in plasma of the persons of a seed, and potencies for where no chip has told them.

    Kept, since a twin asks for the same persons at every step of its virtual patients.
    """
    found = drug_of_arm(arm)
    if found is None:
        raise ValueError(f"{arm} has no course in plasma")
    drug, regimen = found
    rng = np.random.default_rng([seed, zlib.crc32(drug.name.encode())])
    course = exposure(drug, regimen, PERSONS, rng)
    return course, prior_potency(drug, rng)


def effect_of(
    arm: str,
    n: int,
    seed: int,
    potency: PotencyDraws | None = None,
    decoy: str = "published",
    dose_factor: float = 1.0,
    scratch_power: float = SCRATCH_POWER,
    potency_of: np.ndarray | None = None,
) -> Effect:
    """Return what an arm does in each of n virtual patients.

    The same seed gives the same persons and potencies to every dose of a drug.

    Parameters
    ----------
    potency
        Of the chip; None for the drug's prior.
    dose_factor
        On every concentration; 0 is no drug.
    potency_of
        (n,) index of each patient's potency; ``groups`` where it is not given.
    """
    found = drug_of_arm(arm)
    if found is None:
        return PLACEBO
    drug, _ = found
    course, prior = persons_given(arm, seed)
    potency = potency or prior
    group = groups(n) if potency_of is None else potency_of
    concentration = dose_factor * skin_nm(drug, course.plasma_mg_l)[np.arange(n) % PERSONS]
    shares = {
        multiple: blocked(
            concentration, multiple * potency.half_nm[group], potency.hill[group], course.share
        )
        for multiple in set(drug.blocks.values())
    }
    taken = {signal: shares[multiple] for signal, multiple in drug.blocks.items()}
    if drug.name == "tralokinumab":
        taken["e13"] = DECOY_FACTORS[decoy] * taken["e13"]
    causes = {
        f"{'Kd' if drug.kind == 'antibody' else 'IC50'} of {drug.name}": potency.half_nm[group],
        f"slope of {drug.name}": potency.hill[group],
        f"exposure to {drug.name}": concentration @ course.share,
    }
    if drug.kind != JAK_INHIBITOR:
        return Effect(dict(taken), causes=causes)
    scratch = scratch_left(
        concentration, potency.half_nm[group], potency.hill[group], course.share, scratch_power
    )
    return Effect(dict(taken), scratch=scratch, causes=causes)
