"""From a patient's cells on chips, genotype and circumstances to a shift of the population.

Belongs here: which ratio moves which parameter, the slope between chip and patient. Not here: chips (inference).
Ratios shift priors, they never set a value; chips hold no immune cells, so helper cells, OX40L and pathogens stay
those of the population.

    shift of ln(parameter) = slope x (ln ratio + its error),  ln slope ~ N(ln 0.5, 0.5), one slope for all

The slope and the map are ASSUMED: nobody has measured how far a chip speaks for its donor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.inference.posterior import Posterior
from chiploop.twin.patient_file import Patient
from chiploop.twin.population import Population

SLOPE, SLOPE_LN_SD = 0.5, 0.5
MOVED = {
    "barrier_loss_il13": "b2",
    "barrier_loss_il4": "b1",
    "maturation": "k1",
    "basal_tslp": "k24",
}
"""Ratio of a patient's chips -> parameter that it shifts."""
FLG_DOSE = {"wild_type": 1.0, "heterozygous": 0.5, "null": 0.1}
FLG_LOWEST = 0.5
"""Least factor on k1 by FLG."""
SOURCES = {
    "barrier_loss_il13": (("Bmax",), ("KB", "EC13")),
    "barrier_loss_il4": (("Bmax",), ("KB", "EC4")),
    "maturation": (("kM", "kB"), ()),
    "basal_tslp": (("sT",), ()),
}
"""Ratio -> parameters of skin_chip in its numerator and denominator; those that a run has not are left out.
The two rates of maturation stand side by side: their geometric mean, so that twice of both is a ratio of 2. Those
of a denominator stand one behind the other in the loss: their product.
"""


@dataclass(frozen=True)
class Shift:
    """One addition to a mean, each with one standard normal of its own."""

    name: str
    parameter: str
    ln_ratio: float
    ln_sd: float
    by_slope: bool
    """Whether the slope between chip and patient applies."""
    lowest: float = -np.inf


def shifts_of(patient: Patient, with_chip: bool = True) -> list[Shift]:
    """Return the shifts of a patient; those of the chip only ``with_chip``."""
    found = []
    for name, parameter in MOVED.items():
        ratio = getattr(patient.chip, name)
        if with_chip and ratio is not None:
            found.append(Shift(name, parameter, float(np.log(ratio.ratio)), ratio.ln_sd, True))
    if patient.flg is not None:
        dose = float(np.log(FLG_DOSE[patient.flg]))
        found.append(Shift("flg", "k1", dose, 0.0, True, float(np.log(FLG_LOWEST))))
    for name, modifier in patient.modifiers.items():
        found.append(Shift(name, modifier.parameter, modifier.ln_effect, modifier.ln_sd, False))
    return found


def parameters(
    population: Population, shifts: list[Shift], standard: np.ndarray, without: str = ""
) -> np.ndarray:
    """Return parameters (n, 51) of standard normals (n, 51 + 1 + shifts): patients, slope, each shift's error.

    ``without`` names a shift that is taken away, all else being the same.
    """
    p = len(population.names)
    logarithm = population.mean + population.sd * standard[:, :p]
    slope = SLOPE * np.exp(SLOPE_LN_SD * standard[:, p])
    for i, shift in enumerate(shifts):
        if shift.name == without:
            continue
        ln_ratio = shift.ln_ratio + shift.ln_sd * standard[:, p + 1 + i]
        moved = slope * ln_ratio if shift.by_slope else ln_ratio
        logarithm[:, population.place[shift.parameter]] += np.maximum(moved, shift.lowest)
    return np.asarray(np.exp(logarithm))


def chip_ratios(posterior: Posterior, donor: str) -> dict[str, tuple[float, float]]:
    """Return ratio -> (donor over population, sd of its logarithm) from a run's posterior.

    Only what differs between donors in the run has a ratio; KeyError for a donor who had no part in it.
    """
    if not posterior.of_donors.size:
        return {}
    own = (
        posterior.of_donors[:, posterior.donors.index(donor)] if donor in posterior.donors else None
    )
    if own is None:
        raise KeyError(
            f"donor {donor} had no part in the run; its donors: {', '.join(posterior.donors)}"
        )
    apart = np.log(own) - np.log(posterior.particles)
    found = {}
    for name, (up, down) in SOURCES.items():
        over = [n for n in up if n in posterior.names]
        used = [(n, 1.0 / len(over)) for n in over]
        used += [(n, -1.0) for n in down if n in posterior.names]
        columns = [(posterior.names.index(n), sign) for n, sign in used]
        ln_ratio = sum((sign * apart[:, j] for j, sign in columns), np.zeros(len(apart)))
        if ln_ratio.any():
            found[name] = (float(np.exp(ln_ratio.mean())), float(ln_ratio.std()))
    return found
