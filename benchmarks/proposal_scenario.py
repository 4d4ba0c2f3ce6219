"""The virtual chips on which dose policies are compared: fresh chips in every batch, one line each.

Belongs here: hidden truth, noise, what a batch shows, the fit and the prediction table that all policies share.
Not here: policies (proposal_policies), counting (proposal).

The tissue is skin_chip with its 16 parameters, the drug one whose potency nobody knows: 100 nM within a factor of
14 (90 %). A chip rests 24 h in plain medium, then gets stimulus and drug for 48 h; TEER is read after 24 and 48 h,
CCL26 and LDH in the effluent of the last 24 h: four readings a chip. Chips of one batch of tissue differ as
published ones do (``CHIP_SD``), donors and readings as in the shipped study. Truths are drawn from the prior that
the fit has, every scatter as what it is. One fit for all policies, so that they differ in doses alone. ``wrong``
truths are those of the virtual laboratory's other model, or have a planted flaw (proposal_flaws).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.proposal_flaws import flawed_model
from chiploop.dosing import PumpProgramme
from chiploop.exposure import ExposureProgramme
from chiploop.goal_curves import GRID_NM, REST_H
from chiploop.goals import goal_values
from chiploop.inference.likelihood import Likelihood
from chiploop.inference.posterior import CalibrationInfo, Limits, Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import Effort, attempt
from chiploop.inference.scatter import Scatter
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet, chip_constants
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import TissueModel
from chiploop.next_exposure import EXPECTED_SD, scatter_of
from chiploop.policies.prediction_table import (
    PlannedReadout,
    PredictionTable,
    future_features,
    table_features,
)
from chiploop.protocols_path import protocols_folder
from chiploop.study import Study, load_study
from chiploop.study_schedules import WHOLE
from chiploop.virtual_lab import hidden_parameters, truth_model

EXPOSURE_H = 48.0
TIMES_H = np.array([48.0, 72.0, 72.0])
STARTS_H = np.array([np.nan, np.nan, 48.0])
"""Of collection windows; NaN for a reading of a moment."""
CANDIDATES_NM = (0.0, *(float(f"{c:.3g}") for c in np.geomspace(3.0, 1e5, 46)))
"""The vehicle and ten doses a decade, 3 nM to 100 uM."""
PILOT_NM = (0.0, 30.0, 300.0, 1000.0)
BATCH, HORIZON = 4, 80
CHIP_SD = {"TEER": 0.15, "CCL26": 0.20, "ldh_release": 0.06}
"""Between chips, on the residual's scale: a chip CV of 20 % and 6 points of viability."""
POTENCY_NM, POTENCY_LN_SD = 100.0, 1.6
VIABILITY_LIMIT = 0.8
OVERDOSE = 0.25
"""Largest P(viability below the limit) of a dose that is allowed."""
FIRST_STEP, LATER_STEP = 10.0, 3.0
"""No dose above this multiple of the highest one read out: after the pilot, and later."""
DRAWS = 256
EFFORT = Effort(
    starts=4, warm_starts=4, particles=240, final_moves=4, most_final=8, surrogate_final=6
)
LIMITS = Limits(ess=150.0, population_gap_sd=0.35)


@dataclass(frozen=True)
class Tissue:
    """Study, fitted model and prior; made once."""

    study: Study
    model: TissueModel
    prior: Prior

    @classmethod
    def usual(cls) -> Tissue:
        """Return the shipped study's; no spread between donors but that of the readings, no dose error."""
        study = load_study(protocols_folder() / "studies" / "ad_jak_dose_finding.yaml")
        model = model_of(study)
        drug = study.drug.model_copy(
            update={"ic50_prior_median_nm": POTENCY_NM, "ic50_prior_ln_sd": POTENCY_LN_SD}
        )
        study = study.model_copy(update={"drug": drug})
        prior = replace(Prior.of_study(model, study), donor_spreads=(), dose_sd=0.0)
        return cls(study, model, prior)

    @cached_property
    def donors(self) -> tuple[str, ...]:
        """Donors in turn."""
        return tuple(self.study.donors)

    def inlet(self, model: TissueModel, chip: str, donor: str, dose_nm: float) -> ChipInlet:
        """Return what a chip of a donor gets."""
        flow = self.study.perfusion.flow_rate_ul_h
        stimulus = model.facts.stimuli_nm(self.study.stimulus_ng_ml)
        plain = (flow, 0.0, *([0.0] * len(stimulus)))
        edges = np.array([0.0, REST_H, REST_H + EXPOSURE_H])
        constants = chip_constants(self.study, model.facts, self.study.donors[donor].flg)
        return ChipInlet(chip, edges, np.array([plain, (flow, dose_nm, *stimulus)]), constants)


@dataclass
class Bench:
    """One hidden truth and the chips that were run on it."""

    tissue: Tissue
    seed: int
    wrong: bool = False
    flaw: str = ""
    """Of a wrong truth: the one that is planted in the fitted model; empty: the laboratory's other model."""
    doses_nm: list[float] = field(default_factory=list)
    readouts: list[Readout] = field(default_factory=list)
    unsafe: int = 0
    """Chips whose true viability fell below the limit."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng([51, self.seed])
        prior = self.tissue.prior
        self.truth_model = self.tissue.model
        self.truth = prior.parameters(rng.standard_normal((1, len(prior.specs))))[0]
        if self.flaw:
            self.truth_model = flawed_model(self.tissue.study, self.flaw)
            while not np.isfinite(self.goal_nm()):
                self.truth = prior.parameters(rng.standard_normal((1, len(prior.specs))))[0]
        elif self.wrong:
            study = self.tissue.study
            self.truth_model = truth_model(study)
            self.truth = hidden_parameters(self.truth_model, study, False, rng)[0]
        self.of_donor = {
            (spec.name, donor): self.scatter.donor.get(spec.name, 0.0) * rng.standard_normal()
            for spec in self.tissue.model.readouts
            for donor in self.tissue.donors
        }

    @cached_property
    def scatter(self) -> Scatter:
        """What scatters besides the assay."""
        return replace(scatter_of(self.tissue.study), chip=CHIP_SD)

    def goal_nm(self) -> float:
        """Return the true EC50."""
        study = self.tissue.study
        values = goal_values(self.truth_model, study, self.truth[None])
        return float(values[study.goals[0].name][0])

    @property
    def candidates(self) -> tuple[Any, ...]:
        """What a chip may be given."""
        return CANDIDATES_NM

    @property
    def candidate_doses_nm(self) -> np.ndarray:
        """Return (candidates,) their concentrations."""
        return np.array(CANDIDATES_NM)

    def given(self, model: TissueModel, index: int, dose_nm: float) -> ChipInlet:
        """Return what reaches the chip at a place of the study."""
        return self.tissue.inlet(model, *self.chip(index), dose_nm)

    def ahead(self, model: TissueModel, index: int) -> list[ChipInlet]:
        """Return what would reach the chip at a place with each candidate."""
        return [self.tissue.inlet(model, *self.chip(index), c) for c in CANDIDATES_NM]

    def chip(self, index: int) -> tuple[str, str]:
        """Return name and donor of a chip by its place in the study; donors take turns within a batch."""
        donors = self.tissue.donors
        return f"C{index:03d}", donors[(index + index // BATCH) % len(donors)]

    def run(self, doses_nm: Sequence[float]) -> None:
        """Run a batch of fresh chips; the same doses at the same place give the same noise under any policy."""
        model = self.truth_model
        for dose in doses_nm:
            index = len(self.doses_nm)
            name, donor = self.chip(index)
            rng = np.random.default_rng([52, self.seed, index])
            inlet = self.given(model, index, dose)
            shown = model.simulate(self.truth[None], [inlet], TIMES_H, STARTS_H)
            self.unsafe += int(not shown.viability[0, 0].min() >= VIABILITY_LIMIT)
            self.doses_nm.append(float(dose))
            for r, spec in enumerate(model.readouts):
                of_chip = self.scatter.chip.get(spec.name, 0.0) * rng.standard_normal()
                for t in range(len(TIMES_H)):
                    is_window = spec.kind != "moment"
                    deviate = rng.standard_normal(2)
                    if is_window != bool(np.isfinite(STARTS_H[t])):
                        continue
                    noise = of_chip + self.of_donor[spec.name, donor]
                    noise += EXPECTED_SD[spec.kind] * deviate[0]
                    noise += self.scatter.reading.get(spec.name, 0.0) * deviate[1]
                    clean = shown.readouts[0, 0, t, r]
                    value = clean * np.exp(noise) if spec.scale == "log" else clean + noise
                    self.readouts.append(
                        Readout(
                            name,
                            spec.name,
                            float(value),
                            spec.unit,
                            EXPECTED_SD[spec.kind],
                            spec.scale,
                            float(TIMES_H[t]),
                            float(STARTS_H[t]) if is_window else None,
                        )
                    )

    def likelihood(self, new: int = 0) -> Likelihood:
        """Return the likelihood of everything read, with so many chips to come."""
        chips = [self.chip(i) for i in range(len(self.doses_nm) + new)]
        doses = [*self.doses_nm, *[0.0] * new]
        inlets = [self.given(self.tissue.model, i, dose) for i, dose in enumerate(doses)]
        return Likelihood(self.tissue.model, inlets, dict(chips), self.readouts, self.scatter)

    def fit(self, previous: Posterior | None) -> tuple[Posterior, CalibrationInfo]:
        """Return the posterior given everything read; every policy is fitted alike."""
        rng = np.random.default_rng([53, self.seed, len(self.doses_nm)])
        target = Target(self.likelihood(), self.tissue.prior)
        return attempt(target, rng, previous, EFFORT, LIMITS, False)

    def table(self, posterior: Posterior, bounded: bool, chips: int = BATCH) -> PredictionTable:
        """Return what every candidate on each of the next chips would show.

        ``bounded``: doses that may harm, or that skip ahead of what was read, are not allowed.
        """
        rng = np.random.default_rng([54, self.seed, len(self.doses_nm)])
        model, likelihood = self.tissue.model, self.likelihood(chips)
        n = len(posterior.particles)
        chosen = rng.choice(n, min(DRAWS, n), replace=False)
        parameters = posterior.particles[chosen]
        past = likelihood.simulated(parameters)
        planned = tuple(
            PlannedReadout(r, t, EXPECTED_SD[spec.kind])
            for r, spec in enumerate(model.readouts)
            for t in range(len(TIMES_H))
            if (spec.kind != "moment") == bool(np.isfinite(STARTS_H[t]))
        )
        first = len(self.doses_nm)
        line_chips = [[first + i] for i in range(chips)]
        doses_nm = self.candidate_doses_nm
        nothing = np.zeros((len(parameters), 0))
        rows, known, noise = future_features(likelihood, planned, line_chips, past, nothing)
        features, risks, allowed, programmes = [], [], [], []
        shown: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        at = 0
        for i in range(chips):
            donor = self.chip(first + i)[1]
            if donor not in shown:
                inlets = self.ahead(model, first + i)
                ahead = model.simulate(parameters, inlets, TIMES_H, STARTS_H)
                shown[donor] = ahead.readouts, ahead.viability
            readouts, viability = shown[donor]
            part = table_features(model, rows[i], readouts[:, :, None], line_chips[i])
            features.append(part - known[:, None, at : at + part.shape[2]])
            at += part.shape[2]
            risk = (~(viability.min(axis=2) >= VIABILITY_LIMIT)).mean(axis=0)
            step = FIRST_STEP if first == len(PILOT_NM) else LATER_STEP
            highest = step * max(self.doses_nm)
            is_allowed = (risk <= OVERDOSE) & (doses_nm <= highest * (1 + 1e-9))
            risks.append(risk)
            allowed.append(is_allowed if bounded else np.ones(len(doses_nm), dtype=bool))
            programmes.append(
                tuple(
                    ExposureProgramme(
                        WHOLE, (PumpProgramme(f"L{i + 1}", "dose", c, c, EXPOSURE_H, (), 0.0, 1.0),)
                    )
                    for c in doses_nm.tolist()
                )
            )
        goal = goal_values(model, self.tissue.study, parameters)[self.tissue.study.goals[0].name]
        return PredictionTable(
            lines=tuple(f"L{i + 1}" for i in range(chips)),
            programmes=tuple(programmes),
            allowed=tuple(allowed),
            risk=tuple(risks),
            features=tuple(features),
            noise=noise,
            goal=np.log(np.minimum(goal, GRID_NM[-1])),
            standard=posterior.standard[chosen],
        )
