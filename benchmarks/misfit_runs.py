"""Whole virtual studies without pumps, plates and flows: what the misfit gate is measured on.

Belongs here: a study's truth, its readouts, its doses, cycle after cycle. Not here: counting (misfit_gate).

The tissue is ``VirtualLab``'s own, driven through its tubing; only the assays are shortened to an error of the
size that the virtual plates have. ``fitted`` is the one place that knows how a posterior is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from chiploop.campaign import first_proposal, learned, propose, start
from chiploop.campaign_values import Campaign
from chiploop.dosing import (
    PumpProgramme,
    Purpose,
    delivered_segments,
    make_programme,
    remaining_ul,
)
from chiploop.inference.misfit import MisfitVerdict
from chiploop.inference.misfit_of_fit import misfit_of
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import USUAL_EFFORT, posterior_of, recalibrate, starts_of
from chiploop.inference.search import search
from chiploop.inference.target import Target
from chiploop.inference.tempering import Population
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.record.actions import JournalTotals
from chiploop.study import Study
from chiploop.virtual_lab import VirtualLab

ASSAY_SD = {"moment": 0.0035, "window_mean": 0.065, "window_loss": 0.0027}
"""Kind of readout -> sd on the residual's scale: medians of the readouts of a demo run through bytes."""
LLOQ = {"CCL26": 7.8125}
"""Lowest calibrator of the demo's kit, pg/mL."""
LAPLACE_DRAWS = 400


@dataclass(frozen=True)
class Fitted:
    """One calibration, and what the gate says of it."""

    posterior: Posterior
    info: CalibrationInfo
    verdict: MisfitVerdict


def fitted(
    study: Study,
    campaign: Campaign,
    readouts: tuple[Readout, ...],
    rng: np.random.Generator,
    effort: str,
) -> Fitted:
    """Return the calibration to all readouts: ``full`` samples, ``laplace`` draws around the mode."""
    likelihood = likelihood_of(study, campaign.schedules, readouts)
    prior = Prior.of_study(model_of(study), study)
    target = Target(likelihood, prior)
    found = search(target, starts_of(target, rng, campaign.posterior, USUAL_EFFORT))
    mode = found.modes[0]
    verdict = misfit_of(target, mode, rng)
    if effort == "full":
        posterior, info = recalibrate(likelihood, prior, rng, campaign.posterior)
        return Fitted(posterior, info, verdict)
    z = (
        mode.z
        + rng.standard_normal((LAPLACE_DRAWS, mode.z.size)) @ np.linalg.cholesky(mode.covariance).T
    )
    drawn = Population(z, np.zeros((len(z), 0)), 0.0, float(len(z)), 1.0, 1, 1.0)
    info = CalibrationInfo(
        True, (), (), float(len(z)), 0.0, (0.0, 0.0), 1, 1, 1.0, 1, {}, len(readouts), 0, 0
    )
    return Fitted(posterior_of(target, found, [drawn]), info, verdict)


def one_run(study: Study, seed: int, mode: str, effort: str) -> dict[str, Any]:
    """Return one study's truth, and after every cycle its goals' intervals and the gate's verdict."""
    lab = VirtualLab(study, seed, mode == "matched")
    truth = lab.truth()["goals"]
    rng = np.random.default_rng([seed, 5])
    campaign = start(study)
    full = remaining_ul(study, {})
    doses = {d.line: d.asked_nm for d in first_proposal(campaign, unrounded, full).doses}
    cycles: list[dict[str, Any]] = []
    for cycle in range(1, study.timeline.cycles + 1):
        campaign, read = exposed(campaign, lab, doses, cycle)
        fit = fitted(study, campaign, (*campaign.readouts, *read), rng, effort)
        campaign = learned(campaign, read, fit.posterior, fit.info)
        cycles.append(
            {
                "doses_nm": doses,
                "goals": {g.name: [g.lower, g.median, g.upper] for g in campaign.goals},
                "p_value": fit.verdict.p_value,
                "family_p": dict(fit.verdict.family_p),
                "findings": [asdict(f) for f in fit.verdict.findings[:5]],
                "passed": fit.info.passed,
            }
        )
        if cycle < study.timeline.cycles:
            if not fit.info.passed:
                break
            ends = dict.fromkeys(study.line_ids, study.exposure_end_h(cycle))
            highest = max(max(one["doses_nm"].values()) for one in cycles)
            totals = JournalTotals(last_dose_end_h=ends, highest_dose_nm=highest)
            proposal = propose(campaign, unrounded, full, totals, rng)
            doses = {d.line: d.asked_nm for d in proposal.doses}
    return {"seed": seed, "mode": mode, "effort": effort, "truth": truth, "cycles": cycles}


def unrounded(_: str, rate: float, volume: float) -> tuple[float, float]:
    """Return what a pump without rounding would do."""
    return rate, volume


def exposed(
    campaign: Campaign, lab: VirtualLab, doses_nm: Mapping[str, float], cycle: int
) -> tuple[Campaign, tuple[Readout, ...]]:
    """Return the campaign after one exposure of the lab's chips, and what it read."""
    study = campaign.study
    begin, end = study.exposure_start_h(cycle), study.exposure_end_h(cycle)
    full = remaining_ul(study, {})
    since = lab.time_h
    if begin > since:
        purpose: Purpose = "stimulus" if since > 0.0 else "medium"
        wait = [
            make_programme(study, line, purpose, 0.0, begin - since, unrounded, full)
            for line in study.line_ids
        ]
        campaign = moved(campaign, lab, wait, [begin])
    dose = [
        make_programme(study, line, "dose", doses_nm[line], end - begin, unrounded, full)
        for line in study.line_ids
    ]
    window = study.effluent_window_h(cycle)
    stops = sorted({*study.teer_times_h(cycle), *window, end})
    campaign = moved(campaign, lab, dose, [stop for stop in stops if stop > begin])
    moments = [*study.teer_times_h(cycle), *([begin] if cycle == 1 else [])]
    return campaign, read(lab, moments, window, cycle)


def moved(
    campaign: Campaign, lab: VirtualLab, programmes: list[PumpProgramme], stops_h: list[float]
) -> Campaign:
    """Return the campaign after every line ran its programme until the last stop; the lab moves with it."""
    since = lab.time_h
    flows = {p.line: {s.stock: s.flow_rate_ul_h for s in p.steps} for p in programmes}
    for stop in stops_h:
        lab.advance(lab.time_h, stop, flows)
    schedules = dict(campaign.schedules)
    for programme in programmes:
        volumes = {step.pump: step.volume_ul for step in programme.steps}
        given = delivered_segments(campaign.study, programme, volumes, since, stops_h[-1])
        schedules |= {chip: schedules[chip].with_segment(part) for chip, part in given.items()}
    return replace(campaign, schedules=schedules)


def read(
    lab: VirtualLab, moments_h: list[float], window_h: tuple[float, float], cycle: int
) -> tuple[Readout, ...]:
    """Return what the assays make of the chips at these moments and over this window."""
    found = []
    for spec in lab.model.readouts:
        is_moment = spec.kind == "moment"
        sd = ASSAY_SD[spec.kind]
        for time_h in moments_h if is_moment else [window_h[1]]:
            start_h = None if is_moment else window_h[0]
            for chip in lab.chips:
                error = sd * lab.noise("assay", spec.name, chip, time_h).standard_normal()
                value = lab.value(chip, spec.name, time_h, start_h)
                value = value * float(np.exp(error)) if spec.scale == "log" else value + error
                limit = LLOQ.get(spec.name, -np.inf)
                found.append(
                    Readout(
                        chip_id=chip,
                        readout=spec.name,
                        value=np.nan if value < limit else value,
                        unit=spec.unit,
                        sd=sd,
                        scale=spec.scale,
                        time_h=time_h,
                        window_start_h=start_h,
                        censoring="left" if value < limit else "none",
                        upper=limit if value < limit else np.inf,
                        cycle=cycle,
                    )
                )
    return tuple(found)
