"""Virtual chips with a hidden truth: what the emulated instruments feel.

Belongs here: the truth of a seed, how it moves, what its signals look like. Not here: bytes and ports
(instruments), the fitted model's use.

Two kinds of truth. ``matched``: the fitted model itself, parameters drawn from its prior, chips and donors
differing as the likelihood says; it is there so that coverage can be tested. Otherwise the truth is another
model, the ``virtual_truth`` of the fitted one (of skin_chip: receptor internalisation, messenger RNA, a delayed
seal, drug degradation), whose parameters differ between donors and chips (``varies`` in its file), so that a fit
is never given its own assumptions back.

Noise depends only on the seed and on what is measured (chip, time, well), so that asking twice, or again after
an interruption, gives the same value.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chiploop.assays.barrier_blank import geometry_of_chip
from chiploop.assays.electrode_geometry import field_factor
from chiploop.assays.plate_map import plate_from_dict
from chiploop.connections import dose_unit
from chiploop.dosing import stock_concentration_nm
from chiploop.goal_curves import Tissue
from chiploop.goals import goal_draws
from chiploop.inference.drug_entries import drug_entries
from chiploop.inference.prior import Prior, specs_of
from chiploop.models.batch import BatchResult
from chiploop.models.facts import COVERAGE, P_APP, RELEASE, TEER, truth_of
from chiploop.models.inlet import ChipInlet, chip_constants
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import TissueModel, load_model
from chiploop.next_exposure import scatter_of
from chiploop.study import Kit, Line, Study
from chiploop.virtual_tracer import BACKGROUND_RFU, collected, light_rfu

if TYPE_CHECKING:
    from chiploop.microscopy.synthetic import Monolayer

SPECTRUM_SD = 0.01
"""Relative noise of one impedance point."""
SERIES_OHM = 180.0
"""Electrodes and medium."""
CPE = (4e-7, 0.92)
"""Constant-phase element of the tissue: ohm^-1 s^alpha, and alpha; about 1 uF/cm2."""
ELISA_CURVE = {"lower": 0.06, "upper": 2.9, "ec50": 0.18, "hill": 1.15}
"""OD of a virtual ELISA over its concentration in the well as a share of the highest standard."""
USUAL_HIGHEST_PG_ML = 1000.0
"""Highest standard of a kit that states none."""
ELISA_SD = (0.006, 0.04)
"""Of one well: OD, and relative."""
LDH_RANGE = (0.08, 1.7)
"""OD of medium, and what everything released adds."""
LDH_SD = (0.004, 0.01)
SPONTANEOUS = 0.03
"""Part of the maximum that untreated cells release in a window."""
DYE_RANGE = (0.09, 1.1)
"""OD of MTT or resazurin without cells, and what whole cells turn of it."""
DEAD_TURNS = 0.02
"""Of that, what killed cells turn."""
EMPTY_WELL_OD = 0.04
IMAGE_PX = (512, 512)
"""Rows and columns of a virtual image."""
SLIVER_H = 1e-9
"""Two pumps that end together but for rounding leave a plug or a time as short as this, which nobody feels."""
SAME_H = 1e-3


class VirtualLab:
    """The hidden chips of one study and seed."""

    def __init__(self, study: Study, seed: int, matched: bool) -> None:
        self.study = study
        self.seed = seed
        self.matched = matched
        self.model = model_of(study) if matched else truth_model(study)
        rng = self.noise("truth")
        self.parameters = hidden_parameters(self.model, study, matched, rng)
        """(1, entries) of every drug."""
        self.time_h = 0.0
        self.chips = study.chip_ids
        self.entries = drug_entries(self.model, study)
        self.drugs = [study.drug_of(study.line_of(chip).id).name for chip in self.chips]
        """(chips,) the drug of each."""
        own = [self.entries.of_drug(self.parameters, drug) for drug in self.drugs]
        self.chip_parameters = np.stack(own, axis=1) if self.entries.drugs else self.parameters
        """(1, chips, parameters) of each chip's drug; (1, parameters) of the only one."""
        self.factors = self.matched_factors() if matched else self.chip_factors()
        self.states: np.ndarray | None = None
        self.dose_errors = {
            line.id: float(
                np.exp(
                    study.variation.dose * self.noise("dose", self.dosed_as(line)).standard_normal()
                )
            )
            for line in study.lines
        }
        """Line -> given dose over noted dose."""
        self.tubing: dict[str, list[list[float]]] = {line.id: [] for line in study.lines}
        """Line -> what stands in its tubing, oldest first: [uL, drug nM, the model's stimuli nM]."""
        self.plain = [0.0] * (1 + len(self.model.facts.stimuli))
        """No drug and no stimulus."""
        for line in study.lines:
            self.tubing[line.id] = [[study.chip.dead_volume_ul, *self.plain]]
        self.history: dict[str, list[list[float]]] = {}
        """Study time as text -> per chip the model's raw observed quantities then."""
        self.remember(None)

    def noise(self, *what: object) -> np.random.Generator:
        """Return the random numbers that belong to one thing of this seed."""
        return np.random.default_rng([self.seed, zlib.crc32(repr(what).encode())])

    def dosed_as(self, line: Line) -> str:
        """Return whose deviation of doses a line has: the fitted model's, where the truth is matched to it."""
        return dose_unit(self.study, next(iter(line.chips))) if self.matched else line.id

    def matched_factors(self) -> dict[str, np.ndarray]:
        """Return parameter -> (chips,) factors of donors, drawn as the fitted model says that donors differ."""
        donors = [self.study.donor_of(chip).id for chip in self.chips]
        by_entry = self.donor_factors()
        found = {}
        for name in dict.fromkeys(self.model_name(entry) for entry in by_entry):
            own = [by_entry[self.entry_name(name, drug)] for drug in self.drugs]
            found[name] = np.array([one[donor] for one, donor in zip(own, donors, strict=True)])
        return found

    def entry_name(self, parameter: str, drug: str) -> str:
        """Return what a drug's value of a parameter is called among those of several drugs."""
        own = f"{parameter}[{drug}]"
        return own if own in self.entries.names else parameter

    def model_name(self, entry: str) -> str:
        """Return which of the model's parameters an entry is."""
        if entry not in self.entries.names:
            return entry
        return self.model.estimated_names[self.entries.parameter[self.entries.names.index(entry)]]

    def donor_factors(self) -> dict[str, dict[str, float]]:
        """Return parameter -> donor -> factor on it; of several drugs each one's own parameter by itself."""
        if not self.matched:
            return {
                entry: {
                    donor: float(np.exp(spread.between_donors * self.donor_noise(donor, entry)))
                    for donor in self.study.donors
                }
                for name, spread in self.model.facts.varies.items()
                for entry in dict.fromkeys(self.entry_name(name, drug) for drug in self.drugs)
            }
        prior = Prior.of_study(self.model, self.study)
        population = prior.standard(self.parameters)[0]
        factors = {}
        for spread in prior.donor_spreads:
            j = prior.names.index(spread.name)
            sd = spread.sd / prior.specs[j].spread
            sd *= float(np.exp(spread.ln_sd * self.noise("spread", spread.name).standard_normal()))
            donors = {}
            for donor in self.study.donors:
                own = population.copy()
                own[j] += sd * self.donor_noise(donor, spread.name)
                donors[donor] = float(prior.parameters(own)[j] / self.parameters[0, j])
            factors[spread.name] = donors
        return factors

    def donor_noise(self, donor: str, name: str) -> float:
        """Return how many sd a donor differs in a parameter."""
        return float(self.noise("donor", donor, name).standard_normal())

    def chip_factors(self) -> dict[str, np.ndarray]:
        """Return parameter -> (chips,) factors of donors and chips."""
        factors = {}
        for name, spread in self.model.facts.varies.items():
            factors[name] = np.exp(
                [
                    spread.between_donors
                    * self.donor_noise(self.study.donor_of(chip).id, self.entry_name(name, drug))
                    + spread.between_chips * self.noise("chip", chip, name).standard_normal()
                    for chip, drug in zip(self.chips, self.drugs, strict=True)
                ]
            )
        return factors

    # --- time

    def advance(
        self,
        start_h: float,
        end_h: float,
        line_flows_ul_h: dict[str, dict[str, float]],
        fed_by: Mapping[str, str | None] | None = None,
    ) -> None:
        """Move the chips from start_h to end_h under flows that stay the same: line -> role -> uL/h.

        ``fed_by`` (chip -> line) says where valves truly stand; None: between two ports, and nothing reaches the
        chip. A line whose ports are all closed moves nothing.

        Raises ValueError where start_h is not where the chips are.
        """
        if abs(start_h - self.time_h) > 1e-9:
            raise ValueError(f"the chips are at {self.time_h} h, not at {start_h} h")
        if end_h <= start_h:
            return
        inlets = {}
        home = {chip: line.id for line in self.study.lines for chip in line.chips}
        feeds = {**home, **(fed_by or {})}
        for line in self.study.lines:
            chips = [chip for chip in self.chips if feeds[chip] == line.id]
            if not chips:
                continue
            pieces = self.through_tubing(line.id, start_h, end_h, line_flows_ul_h.get(line.id, {}))
            per_chip = [[flow / len(chips), *rest] for _, flow, *rest in pieces]
            edges = np.array([start_h, *(end for end, *_ in pieces)])
            for chip in chips:
                inlets[chip] = ChipInlet(chip, edges, np.array(per_chip), self.constants(chip))
        for chip in self.chips:
            if chip not in inlets:
                edges, still = np.array([start_h, end_h]), np.array([[0.0, *self.plain]])
                inlets[chip] = ChipInlet(chip, edges, still, self.constants(chip))
        result = self.run([inlets[chip] for chip in self.chips], float(end_h))
        if result.trouble.any():
            raise RuntimeError(f"the virtual tissue could not be advanced to {end_h} h")
        self.states = result.states
        self.time_h = end_h
        self.remember(result.observed[0, :, 0])

    def constants(self, chip: str) -> dict[str, float]:
        """Return the constants of a chip, its donor and its drug."""
        drug = self.study.drug_of(self.study.line_of(chip).id)
        return chip_constants(self.study, self.model.facts, self.study.donor_of(chip).flg, drug)

    def run(self, inlets: list[ChipInlet], time_h: float) -> BatchResult:
        """Run the chips from where they are to the end of their inlets; observed at time_h."""
        schedules = [
            self.model.schedule(inlet, {name: float(f[c]) for name, f in self.factors.items()})
            for c, inlet in enumerate(inlets)
        ]
        return self.model.compiled.run(
            self.model.rows(self.chip_parameters),
            schedules,
            np.array([time_h]),
            rtol=self.model.rtol,
            states=self.states,
        )

    def through_tubing(
        self, line_id: str, start_h: float, end_h: float, flows_ul_h: dict[str, float]
    ) -> list[list[float]]:
        """Return [end_h, flow, drug, stimuli] at the chips, and move the plugs in the tubing on."""
        flow = sum(flows_ul_h.values())
        plugs = self.tubing[line_id]
        if flow <= 0.0:
            return [[end_h, 0.0, *self.plain]]
        concentration = {role: stock_concentration_nm(self.study, role) for role in flows_ul_h}
        drug = sum(flows_ul_h[role] * concentration[role] for role in flows_ul_h) / flow
        drug *= self.dose_errors[line_id]
        stimuli_nm = np.zeros(len(self.plain) - 1)
        for arm, mix in self.study.arms_ng_ml.items():
            own = sum(r for role, r in flows_ul_h.items() if self.study.arm_of_stock(role) == arm)
            stimuli_nm += (own / flow) * np.array(self.model.facts.stimuli_nm(mix))
        volume = flow * (end_h - start_h)
        new = [volume, drug, *stimuli_nm.tolist()]
        if plugs and np.allclose(plugs[-1][1:], new[1:], rtol=1e-9, atol=0.0):
            plugs[-1][0] += volume
        else:
            plugs.append(new)
        pieces: list[list[float]] = []
        pushed, content = 0.0, plugs[0][1:]
        while volume - pushed > 1e-9 * max(volume, 1.0):
            plug = plugs[0]
            taken = min(plug[0], volume - pushed)
            pushed += taken
            plug[0] -= taken
            if taken / flow > SLIVER_H:
                content = plug[1:]
                pieces.append([start_h + pushed / flow, flow, *content])
            if plug[0] <= 1e-9:
                plugs.pop(0)
        if not pieces:
            pieces.append([end_h, flow, *content])
        pieces[-1][0] = end_h
        return pieces

    def remember(self, observed: np.ndarray | None) -> None:
        """Keep the raw observed quantities of this moment (chips, quantities)."""
        if observed is None:
            inlets = [
                ChipInlet(
                    chip,
                    np.array([0.0, 1e-9]),
                    np.array([[self.study.perfusion.flow_rate_ul_h, *self.plain]]),
                    self.constants(chip),
                )
                for chip in self.chips
            ]
            observed = self.run(inlets, 0.0).observed[0, :, 0]
        self.history[moment(self.time_h)] = observed.tolist()

    # --- signals

    def value(
        self, chip_id: str, readout: str, end_h: float, start_h: float | None = None
    ) -> float:
        """Return what a perfect instrument would read: the truth with the deviations of chip, donor and reading.

        Raises ValueError for a time at which the study did not stop: samples are taken at stops.
        """
        index = [spec.name for spec in self.model.readouts].index(readout)
        spec = self.model.readouts[index]
        at = self.observed(end_h)[self.chips.index(chip_id)][index]
        if spec.kind == "moment":
            value = at
        else:
            assert start_h is not None
            change = at - self.observed(start_h)[self.chips.index(chip_id)][index]
            value = change / (end_h - start_h) if spec.kind == "window_mean" else -change
        scatter = scatter_of(self.study)
        sources: list[tuple[Mapping[str, float], tuple[str, ...]]] = [
            (scatter.reading, (chip_id, moment(end_h)))
        ]
        if self.matched or spec.scale == "linear":
            sources += [
                (scatter.chip, (chip_id,)),
                (scatter.donor, (self.study.donor_of(chip_id).id,)),
            ]
        deviation = sum(
            sd.get(readout, 0.0) * float(self.noise("deviation", readout, *who).standard_normal())
            for sd, who in sources
        )
        return value * float(np.exp(deviation)) if spec.scale == "log" else value + deviation

    def observed(self, time_h: float) -> list[list[float]]:
        """Return the raw quantities of a moment at which the study stopped."""
        key = moment(time_h)
        if key not in self.history:
            raise ValueError(
                f"nobody stood at the chips at {time_h} h; samples can be taken at {', '.join(self.history)} h"
            )
        return self.history[key]

    def impedance(self, chip_id: str, time_h: float, frequency_hz: np.ndarray) -> np.ndarray:
        """Return the impedance (n_freq,) of a chip: series resistance, barrier parallel to a CPE, noise."""
        teer = self.value(chip_id, TEER, time_h)
        resistance = teer / self.study.chip.area_cm2 + self.study.chip.blank_resistance_ohm
        magnitude, alpha = CPE
        element = magnitude * (2j * np.pi * np.asarray(frequency_hz, dtype=float)) ** alpha
        barrier = 1.0 / (1.0 / resistance + element)
        if geometry := geometry_of_chip(self.study.chip):
            barrier = barrier * field_factor(np.sqrt(geometry.channel_ohm / barrier))[0]
        z = SERIES_OHM + barrier
        rng = self.noise("impedance", chip_id, moment(time_h))
        noise = rng.standard_normal((2, len(z))) * SPECTRUM_SD * np.abs(z) / np.sqrt(2.0)
        return np.asarray(z + noise[0] + 1j * noise[1])

    def absorbance(self, plate: dict[str, Any], wavelength_nm: int) -> np.ndarray:
        """Return the OD (8, 12) of a plate as the virtual technician laid it out."""
        kit = self.study.assays[plate["assay"]].kit
        od = np.full((8, 12), EMPTY_WELL_OD)
        is_signal = wavelength_nm == round(kit.wavelength_nm)
        for well in plate_from_dict(plate):
            rng = self.noise("well", plate["plate_id"], well.well, wavelength_nm)
            clean = self.well_od(well, kit) if is_signal else 0.0
            floor, relative = ELISA_SD if kit.method == "elisa" else LDH_SD
            noisy = clean * (1.0 + relative * rng.standard_normal()) + floor * rng.standard_normal()
            od[well.index] = EMPTY_WELL_OD + noisy
        return od

    def fluorescence(self, plate: dict[str, Any]) -> np.ndarray:
        """Return the counts (8, 12) of a tracer plate; wells that hold nothing show the background."""
        kit = self.study.assays[plate["assay"]].kit
        assert kit.tracer is not None
        wells = plate_from_dict(plate)
        end_h = max(well.window_h[1] for well in wells if well.window_h)
        windows = kit.tracer.windows_h(end_h)
        edges = np.array([windows[0][0], *(end for _, end in windows)]) - windows[0][0]
        chip, flow = self.study.chip, self.study.perfusion.flow_rate_ul_h
        shares = {
            name: collected(
                self.value(name, P_APP, end_h), chip.area_cm2, kit.tracer.donor_volume_ul,
                chip.channel_volume_ul, flow, edges,
            )
            for name in {well.chip for well in wells if well.chip}
        }  # fmt: skip
        ends_h = np.array([end for _, end in windows])
        counts = np.full((8, 12), BACKGROUND_RFU)
        for well in wells:
            concentration = well.concentration or 0.0
            if well.chip is not None and well.window_h is not None:
                means, left = shares[well.chip]
                if well.kind == "donor":
                    share = left if abs(well.window_h[1] - end_h) < SAME_H else 1.0
                else:
                    share = float(means[np.argmin(np.abs(ends_h - well.window_h[1]))])
                concentration = share * kit.tracer.donor_concentration_pg_ml / well.dilution
            rng = self.noise("well", plate["plate_id"], well.well, "fluorescence")
            counts[well.index] = light_rfu(concentration, rng)
        return counts

    def monolayer(self, chip_id: str, time_h: float, place: int) -> Monolayer:
        """Return a SYNTHETIC image of one place of a chip; its borders are covered as the hidden truth says.

        The share that is covered in one image differs from it as one place of a tissue does from the whole.
        """
        from chiploop.microscopy.synthetic import MonolayerSettings, monolayer

        covered = min(max(self.value(chip_id, COVERAGE, time_h), 0.0), 1.0)
        settings = MonolayerSettings(shape=IMAGE_PX, missing=1.0 - covered)
        return monolayer(self.noise("image", chip_id, moment(time_h), place), settings)

    def well_od(self, well: Any, kit: Kit) -> float:
        """Return the noise-free OD of one well at the signal's wavelength, above the plate's own."""
        if kit.method == "elisa":
            concentration = well.concentration or 0.0
            if well.kind == "sample":
                start, end = well.window_h
                concentration = self.value(well.chip, kit.readout, end, start) / well.dilution
            c = ELISA_CURVE
            if concentration <= 0.0:
                return c["lower"]
            highest = kit.standards.highest_pg_ml if kit.standards else USUAL_HIGHEST_PG_ML
            ratio = (c["ec50"] * highest / concentration) ** c["hill"]
            return c["lower"] + (c["upper"] - c["lower"]) / (1.0 + ratio)
        if kit.method in ("mtt", "resazurin"):
            blank, span = DYE_RANGE
            living = {"blank": 0.0, "untreated": 1.0, "dead": DEAD_TURNS}.get(well.kind)
            if living is None:
                lost = self.value(well.chip, RELEASE, well.window_h[1], 0.0)
                living = (1.0 - lost) / well.dilution
            return blank + span * living
        blank, span = LDH_RANGE
        released = {"blank": 0.0, "max_release": 1.0, "spontaneous": SPONTANEOUS}.get(well.kind)
        if released is None:
            start, end = well.window_h
            released = self.value(well.chip, RELEASE, end, start) / well.dilution
        return blank + span * released

    # --- truth and durable state

    def truth(self) -> dict[str, Any]:
        """Return what is hidden: the goals of the typical chip (or donor), parameters, viability of every chip."""
        factors = self.donor_factors()
        donors = {
            name: Tissue(
                self.parameters, donor.flg, {key: own[name] for key, own in factors.items()}
            )
            for name, donor in self.study.donors.items()
        }
        drawn = goal_draws(self.model, self.study, self.parameters, donors)
        goals = {name: float(draws.values[0]) for name, draws in drawn.items()}
        for name, draws in drawn.items():  # which two are compared is for each calibration to say
            goals |= {f"{name}[{drug}]": float(own[0]) for drug, own in draws.of_drugs.items()}
        last = self.history[moment(self.time_h)]
        return {
            "matched": self.matched,
            "model": self.model.name,
            "goals": goals,
            "parameters": dict(
                zip(
                    self.entries.names or self.model.estimated_names,
                    self.parameters[0].tolist(),
                    strict=True,
                )
            ),
            "viability": {
                chip: last[i][len(self.model.readouts)] for i, chip in enumerate(self.chips)
            },
        }

    def state(self) -> dict[str, Any]:
        """Return everything that a restart needs, JSON-able."""
        return {
            "time_h": self.time_h,
            "states": None if self.states is None else self.states.tolist(),
            "tubing": {line: [list(plug) for plug in plugs] for line, plugs in self.tubing.items()},
            "history": dict(self.history),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave."""
        self.time_h = float(state["time_h"])
        self.states = None if state["states"] is None else np.array(state["states"])
        self.tubing = {
            line: [list(plug) for plug in plugs] for line, plugs in state["tubing"].items()
        }
        self.history = dict(state["history"])


def truth_model(study: Study) -> TissueModel:
    """Return the model of a study's hidden truth. ValueError where there is none but the fitted model."""
    measured = study.tissue.measured(study.assays)
    truth, why_none = truth_of(study.tissue, measured)
    if truth is None:
        raise ValueError(f"{why_none}; only --matched chips can be had")
    return load_model(truth.path, measured)


def moment(time_h: float) -> str:
    """Return a study time as the key under which it is remembered (to 4e-5 h)."""
    return f"{time_h:.4f}"


def hidden_parameters(
    model: TissueModel, study: Study, matched: bool, rng: np.random.Generator
) -> np.ndarray:
    """Return the hidden parameters (1, p): a draw from the fitted prior, or from the truth model's own.

    The truth's own potency of each of the study's drugs lies around that of its file, spread as the truth's file
    says.
    """
    if matched:
        return Prior.of_study(model, study).draw(1, rng)
    drugs = drug_entries(model, study)
    return Prior.of(
        [
            replace(spec, center=study.drugs[drug].ic50_prior_median_nm)
            if spec.name == model.facts.potency
            else spec
            for spec, drug in specs_of(model, drugs, study.drug.name)
        ]
    ).draw(1, rng)
