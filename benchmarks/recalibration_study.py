"""The study that every sampler is given: twelve chips, ten daily samplings, six readouts each, one truth.

Belongs here: schedule, truth, readouts with their errors. Not here: the density of parameters given them
(recalibration_target), our calibration and the samplers beside it.

The truth is one draw of the prior, errors are drawn from their covariance: assay, reading, chip, donor. No readout
is censored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import MODELS, TissueModel
from chiploop.study_parts import USUAL_VARIATION

MODEL = "skin_chip"
READOUTS = ("TEER", "CCL26", "ldh_release", "CCL17", "TSLP", "IL-8")
DOSES_NM = np.geomspace(3.0, 4000.0, 12)
STIMULUS_NM = (0.5 / 15.0, 1.0 / 12.6)
EDGES_H = np.array([0.0, 24.0, 72.0, 96.0, 144.0, 168.0, 216.0, 264.0])
"""Medium; then stimulus throughout, with a dose, a pause, another dose, a pause, a third dose, a pause."""
TIMES_H = np.arange(48.0, 265.0, 24.0)
"""Samplings; each ends a collection window of a day."""
FIRST_SAMPLINGS = 8
"""What a warm start knows already: the samplings before the last two."""
ASSAY_SD = {"moment": 0.01, "window_mean": 0.08, "window_loss": 0.01}
"""Kind of readout -> assay sd on the residual's scale, as dose planning assumes."""
DONORS = ("D1", "D2", "D3")
FLG_DOSE = {"D1": 1.0, "D2": 0.5, "D3": 1.0}
TRUTH_SEED = 1
"""The first one whose draw has no parameter more than two prior sd away."""
ERROR_SEED = 11


def chips() -> list[ChipInlet]:
    """Return twelve chips, each with three doses of its own and one of three donors."""
    found = []
    for i, donor in enumerate(donors().values()):
        drug = [0.0] * (len(EDGES_H) - 1)
        drug[1], drug[3], drug[5] = (float(DOSES_NM[(i + shift) % 12]) for shift in (0, 5, 9))
        inputs = [[60.0, nm, *(STIMULUS_NM if k else (0.0, 0.0))] for k, nm in enumerate(drug)]
        constants = {"flg_dose": FLG_DOSE[donor]}
        found.append(ChipInlet(f"C{i + 1:02d}", EDGES_H, np.array(inputs), constants))
    return found


def donors() -> dict[str, str]:
    """Return chip id -> donor id."""
    return {f"C{i + 1:02d}": DONORS[i % len(DONORS)] for i in range(12)}


@dataclass(frozen=True)
class Kind:
    """How one kind of readout is measured."""

    name: str
    kind: str
    unit: str
    is_log: bool
    assay_sd: float
    reading_sd: float
    chip_sd: float
    donor_sd: float

    def covariance(self, samplings: int) -> np.ndarray:
        """Return the covariance (chips x samplings, the same) of its residuals, chip after chip."""
        chip = np.repeat(np.arange(12), samplings)
        donor = chip % len(DONORS)
        matrix = (self.assay_sd**2 + self.reading_sd**2) * np.eye(chip.size)
        matrix += self.chip_sd**2 * (chip[:, None] == chip)
        return np.asarray(matrix + self.donor_sd**2 * (donor[:, None] == donor))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return values on the residual's scale."""
        return np.log(values) if self.is_log else values


def kinds(model: TissueModel) -> list[Kind]:
    """Return the six readouts, with the scatter of a study that says nothing of it."""

    def usual(spread: str, kind: str) -> float:
        return USUAL_VARIATION[spread].get(kind, 0.0)

    return [
        Kind(
            spec.name, spec.kind, spec.unit, spec.scale == "log", ASSAY_SD[spec.kind],
            *(usual(f"between_{what}", spec.kind) for what in ("readings", "chips", "donors")),
        )
        for spec in model.readouts
    ]  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What was measured up to some sampling."""

    truth: np.ndarray
    """(p,) standard normals that the readouts were made from."""
    values: np.ndarray
    """(chips, times, readouts) in the readouts' units."""

    @property
    def times_h(self) -> np.ndarray:
        """Return the samplings."""
        return TIMES_H[: self.values.shape[1]]

    def first(self, samplings: int) -> Study:
        """Return the study as it stood after some samplings."""
        return Study(self.truth, self.values[:, :samplings])

    def readouts(self, model: TissueModel) -> list[Readout]:
        """Return what calibration takes."""
        return [
            Readout(
                chip, kind.name, float(self.values[c, t, k]), kind.unit, kind.assay_sd,
                "log" if kind.is_log else "linear", float(time),
                None if kind.kind == "moment" else float(time - 24.0),
            )
            for k, kind in enumerate(kinds(model))
            for c, chip in enumerate(donors())
            for t, time in enumerate(self.times_h)
        ]  # fmt: skip


def measured() -> Study:
    """Return the whole study."""
    # an instance of its own: what is measured is solved tighter than what is fitted
    model = TissueModel(MODEL, MODELS[MODEL], 1e-9, READOUTS)
    prior = Prior.of(model.estimated)
    truth = np.random.default_rng(TRUTH_SEED).standard_normal(len(prior.specs))
    rng, windows = np.random.default_rng(ERROR_SEED), TIMES_H - 24.0
    exact = model.simulate(prior.parameters(truth[None]), chips(), TIMES_H, windows).readouts[0]
    values = np.empty_like(exact)
    for k, kind in enumerate(kinds(model)):
        factor = np.linalg.cholesky(kind.covariance(len(TIMES_H)))
        error = (factor @ rng.standard_normal(len(factor))).reshape(exact.shape[:2])
        values[..., k] = exact[..., k] * np.exp(error) if kind.is_log else exact[..., k] + error
    return Study(truth, values)
