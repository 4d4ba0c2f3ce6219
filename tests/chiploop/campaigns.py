"""Campaigns on virtual chips without pumps, plates or a sampler, for the tests of what follows from a fit.

Belongs here: schedules as the pilot gives them, posteriors made by hand. Not here: tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from chiploop.campaign import first_proposal, learned, start
from chiploop.campaign_values import Campaign, Proposal
from chiploop.dosing import PumpProgramme, delivered_segments, make_programme, remaining_ul
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.study import Study, load_study

STUDY = load_study(Path(__file__).parents[2] / "protocols" / "studies" / "ad_jak_dose_finding.yaml")
FULL = remaining_ul(STUDY, {})
PASSED = CalibrationInfo(
    True, (), (), 400.0, 0.1, (-10.0, -10.1), 8, 8, 0.4, 3, {"TEER": 0.4}, 36, 0, 1000
)
FAILED = replace(PASSED, passed=False, failures=("20 effective particles, at least 200 needed",))


def exact(_: str, rate: float, volume: float) -> tuple[float, float]:
    """Return what a pump without rounding would do."""
    return rate, volume


def given(campaign: Campaign, doses_nm: Mapping[str, float], cycle: int) -> Campaign:
    """Return the campaign after the lines got these doses in a cycle, exactly as asked."""
    study, full = campaign.study, remaining_ul(campaign.study, {})
    begin, end = study.exposure_start_h(cycle), study.exposure_end_h(cycle)
    for line in study.line_ids:
        before = campaign.schedules[study.line(line).chips.copy().popitem()[0]].segments
        since = before[-1].end_h if before else 0.0
        if begin > since:
            purpose = "stimulus" if before else "medium"
            wait = make_programme(study, line, purpose, 0.0, begin - since, exact, full)
            campaign = deliver(campaign, wait, since, begin)
        dose = make_programme(study, line, "dose", doses_nm[line], end - begin, exact, full)
        campaign = deliver(campaign, dose, begin, end)
    return campaign


def deliver(campaign: Campaign, programme: PumpProgramme, start_h: float, end_h: float) -> Campaign:
    """Return the campaign after one line got a programme, exactly as it stands."""
    volumes = {step.pump: step.volume_ul for step in programme.steps}
    segments = delivered_segments(campaign.study, programme, volumes, start_h, end_h)
    got = {
        chip: campaign.schedules[chip].with_segment(segment) for chip, segment in segments.items()
    }
    return replace(campaign, schedules={**campaign.schedules, **got})


def pilot(study: Study = STUDY) -> Campaign:
    """Return the campaign after the first doses, nothing read yet."""
    begun = start(study)
    return given(begun, asked(first_proposal(begun, exact, remaining_ul(study, {}))), 1)


def asked(proposal: Proposal) -> dict[str, float]:
    """Return line -> asked dose."""
    return {dose.line: dose.asked_nm for dose in proposal.doses}


def readings(study: Study = STUDY, cycle: int = 1) -> tuple[Readout, ...]:
    """Return plausible readouts of every chip of a cycle; their values play no part in a made posterior."""
    window = study.effluent_window_h(cycle)
    found = []
    for i, chip in enumerate(study.chip_ids):
        for time in study.teer_times_h(cycle):
            found.append(
                Readout(chip, "TEER", 900.0 + 30 * i, "ohm cm2", 0.01, "log", time, cycle=cycle)
            )
        for name, value, unit, sd, scale in (
            ("CCL26", 100.0 - 5 * i, "pg/mL", 0.08, "log"),
            ("ldh_release", 0.01, "1", 0.01, "linear"),
        ):
            found.append(
                Readout(chip, name, value, unit, sd, scale, window[1], window[0], cycle=cycle)
            )  # type: ignore[arg-type]
    return tuple(found)


def posterior(n: int = 120, width: float = 0.3, seed: int = 0, **fixed: float) -> Posterior:
    """Return particles around the prior's middle, ``width`` of its sd; ``fixed`` parameters have one value."""
    model = model_of(STUDY)
    prior = Prior.of_study(model, STUDY)
    z = width * np.random.default_rng(seed).standard_normal((n, len(prior.specs)))
    particles = prior.parameters(z)
    for name, value in fixed.items():
        particles[:, prior.names.index(name)] = value
    return Posterior(
        prior.names, tuple(spec.unit for spec in prior.specs), particles, z, particles[0]
    )


def fitted(info: CalibrationInfo = PASSED, study: Study = STUDY, **fixed: float) -> Campaign:
    """Return the campaign after the first cycle's readouts, with a posterior made by hand."""
    return learned(pilot(study), readings(study), posterior(**fixed), info)
