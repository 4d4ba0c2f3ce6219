"""A calibration made again from what is on record: the same values give the same posterior, bit by bit.

Belongs here: what a calibration learns from (shared with the running loop), a case as plain values that may be
carried out in any process, with this model or another one, and its outcome. Not here: run folders, files of the
outcome (flows.fit), how a posterior is found (campaign, inference).

A case holds the texts of the study and its model, schedules and readouts, and never anything compiled: every
process compiles the model itself, or takes it from its cache.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from chiploop import campaign as loop
from chiploop.campaign_values import Campaign
from chiploop.dosing import ChipSchedule
from chiploop.fit_review import FitReview, fit_review
from chiploop.goals import GoalEstimate
from chiploop.inference.compare import Candidate
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.late_readings import HoldsAsKnown, as_known, holds_until
from chiploop.measurement import Readout
from chiploop.models.facts import facts_path
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.other_model import study_with_model
from chiploop.record.actions import Action
from chiploop.record.replay import schedules_by, unknown_chips_since
from chiploop.record.unexplained import UNEXPLAINED
from chiploop.study import MODEL_FOLDER, STUDY_FILE, Study, load_study

LEVEL = 0.9
"""Of every interval; equal-tailed."""
LEARNED = 0.5
"""Shrinkage from which a parameter counts as learned: its sd is at most half of the prior's."""
ROUNDING_H = 0.25
"""How long before the planned end a pump may be done: the rounding of rate and volume."""
FIT_STEP, REVIEW_STEP = 1, 2
"""Places in the keys of random numbers."""


def rng_of_fit(seed: int, cycle: int) -> np.random.Generator:
    """Return the random numbers of a cycle's calibration; they hang on nothing else."""
    return np.random.default_rng([seed, cycle, FIT_STEP])


def review_of(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    readouts: Sequence[Readout],
    posterior: Posterior,
    info: CalibrationInfo,
    seed: int,
    cycle: int,
) -> tuple[FitReview, Candidate]:
    """Return what a person looks at to judge a calibration, and what it is compared with others by.

    ``readouts`` are all that it was given; those that failed are passed over again. The same values give the
    same review.
    """
    model = model_of(study)
    likelihood = likelihood_of(study, schedules, readouts)
    rng = np.random.default_rng([seed, cycle, REVIEW_STEP])
    review = fit_review(likelihood, Prior.of_study(model, study), posterior, info, rng)
    return review, review.candidate(study.tissue.model, likelihood, info)


def explained(
    schedules: Mapping[str, ChipSchedule],
    unknown_h: Mapping[str, float],
    readouts: Sequence[Readout],
) -> list[Readout]:
    """Return the readouts, marked as not to be learned from where nobody knows what the chip got.

    A reading that was taken well says nothing once a volume before it is unknown, whatever the line got later.
    ``unknown_h``: chip -> study time from which that is so (``replay.unknown_chips_since``).
    """

    def fails(r: Readout) -> bool:
        since_h = unknown_h.get(r.chip_id, math.inf)
        return r.time_h > since_h or is_after(schedules[r.chip_id], r.time_h)

    return [
        replace(r, qc="fail", reasons=(*r.reasons, UNEXPLAINED))
        if r.qc != "fail" and fails(r)
        else r
        for r in readouts
    ]


def is_after(schedule: ChipSchedule, time_h: float) -> bool:
    """Return whether a study time is after the last that is known of what a chip got, but for rounding."""
    known_h = schedule.segments[-1].end_h if schedule.segments else 0.0
    return time_h > known_h + ROUNDING_H


@dataclass(frozen=True)
class Evidence:
    """What the calibration after one cycle adds to the ones before."""

    cycle: int
    schedules: Mapping[str, ChipSchedule]
    """Chip -> what it got up to the end of the cycle's exposure, or to the last reading where one came later."""
    readouts: tuple[Readout, ...]
    """Of this cycle alone, in the order of the record; ``qc`` "fail" stays out."""
    late: tuple[Readout, ...] = ()
    """Those of them that were taken well after the exposure; ``qc`` "fail" where the holds do not explain them."""
    holds: HoldsAsKnown | None = None
    """What ``late`` rests on; None where there is none."""


def evidence_of(
    study: Study,
    actions: Sequence[Action],
    readouts: Sequence[Readout],
    cycle: int,
    decided: HoldsAsKnown | None = None,
) -> Evidence:
    """Return what the calibration of a cycle learns from, by all that is on record of its run.

    What was put on record later about a dose of the cycle counts: a person's word on a volume that no counter
    could tell. A reading that was taken under the hold after the exposure is learned from as well, with what the
    hold had given until then (``late_readings``); ``decided`` is what the first fit of the cycle took for known of
    it (``record.unexplained.decided_by``).
    """
    before = [action for action in actions if is_before_fit(action.intent.programme_key, cycle)]
    schedules = schedules_by(before, study)
    own = [readout for readout in readouts if readout.cycle == cycle]
    is_late = [r.qc != "fail" and is_after(schedules[r.chip_id], r.time_h) for r in own]
    known = None
    if any(is_late):
        until_h = max(r.time_h for r, late in zip(own, is_late, strict=True) if late)
        holds = [a for a in actions if is_hold_of(a.intent.programme_key, cycle)]
        known = as_known(holds, until_h, decided)
        before += holds_until(holds, until_h, decided)
        schedules = schedules_by(before, study)
    judged = explained(schedules, unknown_chips_since(study, before), own)
    late = tuple(r for r, so in zip(judged, is_late, strict=True) if so)
    return Evidence(cycle, schedules, tuple(judged), late, known)


def evidence_up_to(
    study: Study,
    actions: Sequence[Action],
    readouts: Sequence[Readout],
    cycle: int,
    decided: Mapping[int, HoldsAsKnown],
) -> tuple[Evidence, ...]:
    """Return what the calibrations up to a cycle learned from, one by one (``evidence_of``).

    ``decided``: cycle -> what its first fit took for known.
    """
    return tuple(
        evidence_of(study, actions, readouts, one, decided.get(one)) for one in range(1, cycle + 1)
    )


def readouts_of(evidence: Sequence[Evidence]) -> tuple[Readout, ...]:
    """Return the readouts of all cycles together, failed ones too."""
    return tuple(readout for one in evidence for readout in one.readouts)


def is_before_fit(programme_key: str, cycle: int) -> bool:
    """Return whether a programme belongs to the exposure of a cycle or to what was before it.

    Keys are ``<run>/c<cycle>/<line>/<phase>``; the holds that bear a cycle's number come after its exposure.
    """
    _, numbered, _, phase = programme_key.rsplit("/", 3)
    own = int(numbered.removeprefix("c"))
    return own < cycle or (own == cycle and not is_hold(phase))


def is_hold_of(programme_key: str, cycle: int) -> bool:
    """Return whether a programme is a hold after the exposure of a cycle."""
    _, numbered, _, phase = programme_key.rsplit("/", 3)
    return int(numbered.removeprefix("c")) == cycle and is_hold(phase)


def is_hold(phase: str) -> bool:
    """Return whether a phase is stimulus without drug after an exposure, for people, a fit or files."""
    return phase.startswith(("hold", "files"))


@dataclass(frozen=True)
class RefitCase:
    """One calibration as plain values, for this process or another one."""

    files: Mapping[str, bytes]
    """``study.json`` and the files of its model by their paths from there."""
    seed: int
    evidence: tuple[Evidence, ...]
    """Of every cycle up to the one that is asked for, ascending."""
    previous: Posterior | None = None
    """What the cycle before the asked one found, where it is at hand; otherwise it is found again first."""
    is_reviewed: bool = False
    """Whether what a person looks at is worked out as well."""


@dataclass(frozen=True)
class ParameterEstimate:
    """One estimated parameter beside its prior."""

    name: str
    unit: str
    median: float
    lower: float
    upper: float
    prior_lower: float | None
    """None where the prior does not stand alone."""
    prior_upper: float | None
    shrinkage: float
    """1 - posterior sd / prior sd, both as standard normals of the prior: 0 nothing learned, 1 all."""

    @property
    def learned(self) -> bool:
        """Whether the readouts say more about it than its prior does."""
        return self.shrinkage >= LEARNED


@dataclass(frozen=True)
class Refit:
    """What a calibration found."""

    cycle: int
    seed: int
    posterior: Posterior
    info: CalibrationInfo
    goals: tuple[GoalEstimate, ...]
    parameters: tuple[ParameterEstimate, ...]
    review: FitReview | None = None
    candidate: Candidate | None = None
    """What it is compared with other models by; with a review alone."""
    not_reviewed: str = ""
    """Why there is no review although one was asked for."""


def with_model(case: RefitCase, text: Path) -> RefitCase:
    """Return a case whose last calibration is made with another model, from all its readouts at once.

    Raises FileNotValid where the model's files can not be read or the study does not fit the model.
    """
    beside = facts_path(text)
    study = study_with_model(study_of(case.files), text)
    last = case.evidence[-1]
    return replace(
        case,
        files={
            STUDY_FILE: study.model_dump_json(indent=1).encode(),
            f"{MODEL_FOLDER}/{text.name}": text.read_bytes(),
            f"{MODEL_FOLDER}/{beside.name}": beside.read_bytes(),
        },
        evidence=(replace(last, readouts=readouts_of(case.evidence)),),
        previous=None,
    )


def refit(case: RefitCase) -> Refit:
    """Carry out a case.

    Raises FileNotValid where the study or its model can not be used.
    """
    study = study_of(case.files)
    campaign, done, previous = loop.start(study), 0, None
    if case.previous is not None:
        done, previous = len(case.evidence) - 1, case.previous
    campaign = replace(
        campaign,
        cycle=case.evidence[done].cycle - 1,
        readouts=readouts_of(case.evidence[:done]),
        posterior=previous,
    )
    for evidence in case.evidence[done:]:
        campaign, _ = loop.observe(
            replace(campaign, schedules=evidence.schedules),
            evidence.readouts,
            rng_of_fit(case.seed, evidence.cycle),
        )
    found = found_of(campaign, case.seed)
    if not case.is_reviewed:
        return found
    assert campaign.posterior is not None and campaign.info is not None
    try:
        review, candidate = review_of(
            study,
            campaign.schedules,
            campaign.readouts,
            campaign.posterior,
            campaign.info,
            case.seed,
            campaign.cycle,
        )
    except ValueError as problem:  # a fit is kept, whatever can be said of it
        return replace(found, not_reviewed=str(problem))
    return replace(found, review=review, candidate=candidate)


def found_of(campaign: Campaign, seed: int) -> Refit:
    """Return what a campaign's last calibration found."""
    posterior, info = campaign.posterior, campaign.info
    assert posterior is not None and info is not None
    parameters = parameter_estimates(campaign.study, posterior)
    return Refit(campaign.cycle, seed, posterior, info, campaign.goals, parameters)


def parameter_estimates(study: Study, posterior: Posterior) -> tuple[ParameterEstimate, ...]:
    """Return every estimated parameter beside its prior."""
    prior = Prior.of_study(model_of(study), study)
    priors = dict(zip(prior.names, prior.interval(LEVEL), strict=True))
    medians, intervals = np.median(posterior.particles, axis=0), posterior.interval(LEVEL)
    return tuple(
        ParameterEstimate(
            name,
            posterior.units[j],
            float(medians[j]),
            float(intervals[j, 0]),
            float(intervals[j, 1]),
            float(priors[name][0]) if name in priors else None,
            float(priors[name][1]) if name in priors else None,
            1.0 - float(posterior.column(name).std()),
        )
        for j, name in enumerate(posterior.names)
    )


def study_of(files: Mapping[str, bytes]) -> Study:
    """Return the study of a case, its model's text at a place of this process; the same texts once."""
    return unpacked_study(tuple(sorted(files.items())))


@lru_cache(maxsize=32)
def unpacked_study(files: tuple[tuple[str, bytes], ...]) -> Study:
    """Return the study of these files, written where they are read from."""
    folder = own_folder() / hashlib.sha256(repr(files).encode()).hexdigest()[:20]
    for name, content in files:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{name} leads out of the folder of its case")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return load_study(folder / STUDY_FILE)


@lru_cache(maxsize=1)
def own_folder() -> Path:
    """Return a folder that lives as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="chiploop-refit-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
