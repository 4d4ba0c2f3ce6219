"""A run after one cycle, written into record, journal and folder by hand: no lab, no fit.

Belongs here: the run that the tests of this folder show. Not here: what they expect of the report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from chiploop import campaign as loop
from chiploop.dosing import PumpProgramme, make_programme, remaining_ul
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.inference.prior import Prior
from chiploop.inference.target import Target
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import likelihood_of
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import write_posterior
from chiploop.record.record import Record
from chiploop.record.replay import schedules_of
from chiploop.record.rows import RawFile
from chiploop.refit import evidence_of
from chiploop.study import Study, load_study

STUDY_FILE = Path(__file__).parents[3] / "protocols" / "studies" / "ad_jak_dose_finding.yaml"
RUN_ID = "2030-01-02_by_hand"
STAMP = "2030-01-02T03:04:05+00:00"
GOALS = [
    {"name": "EC50_CCL26", "unit": "nM", "median": 200.0, "lower": 150.0, "upper": 270.0},
    {"name": "EC50_TEER", "unit": "nM", "median": 480.0, "lower": 300.0, "upper": 800.0},
]
INFO = CalibrationInfo(
    passed=True,
    failures=(),
    warnings=(),
    ess=310.0,
    population_gap_sd=0.2,
    log_evidence=(-40.0, -40.3),
    starts=8,
    starts_at_mode=7,
    acceptance=0.4,
    temperatures=3,
    predictive_p={"TEER": 0.4, "CCL26": 0.6, "ldh_release": 0.9999},
    n_readouts=59,
    heights=(-30.0, -30.1, -38.0),
    n_censored=1,
    simulations=1234,
)
FAILURES = ("90 effective particles, at least 200 needed",)


@dataclass(frozen=True)
class HandRun:
    """A run with everything that the report reads."""

    record: Record
    journal: Journal
    study: Study
    folder: Path
    run_id: str = RUN_ID

    @property
    def parts(self) -> tuple[Record, Journal, Study, str, Path]:
        """What ``write_report`` takes."""
        return self.record, self.journal, self.study, self.run_id, self.folder


def as_asked(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
    """Return what a pump without rounding would do."""
    return flow_rate_ul_h, volume_ul


def give(journal: Journal, programme: PumpProgramme, cycle: int, phase: str, at_h: float) -> None:
    """Put a programme into the journal as delivered in full."""
    key = programme_key(RUN_ID, cycle, programme.line, phase)
    intents = [
        Intent(
            key=action_key(key, step.pump),
            run_id=RUN_ID,
            programme_key=key,
            pump=step.pump,
            programme=programme,
            flow_rate_ul_h=step.flow_rate_ul_h,
            volume_ul=step.volume_ul,
            counter_ul=0.0,
            resolution_ul=1.0,
            restarts=1,
            session="s",
            time_h=at_h,
        )
        for step in programme.steps
    ]
    journal.intend(intents)
    for intent in intents:
        journal.sent(intent.key, at_h)
        journal.started(intent.key, at_h, "answer")
        end_h = at_h + programme.duration_h
        journal.outcome(intent.key, end_h, intent.volume_ul, intent.volume_ul)


def readouts_of(study: Study, journal: Journal, truth: np.ndarray) -> list[Readout]:
    """Return a cycle's readouts of every chip near the model's own values; one censored, one failed."""
    model = model_of(study)
    likelihood = likelihood_of(study, schedules_of(journal, study, RUN_ID), [])
    times, starts = np.array([24.0, 48.0, 72.0]), np.array([np.nan, np.nan, 48.0])
    values = model.simulate(truth[None], likelihood.inlets, times, starts).readouts[0]
    rng = np.random.default_rng(3)
    found = []
    for c, chip in enumerate(study.chip_ids):
        shift = float(np.exp(0.1 * rng.standard_normal()))
        for t, time_h in enumerate(times):
            teer = float(values[c, t, 0]) * shift
            found.append(Readout(chip, "TEER", teer, "ohm cm2", 0.01, "log", time_h, cycle=1))
        plates = {"plate": "p1", "cycle": 1, "window_start_h": 48.0}
        ccl26, release = float(values[c, 2, 1]) * shift, float(values[c, 2, 2])
        found.append(Readout(chip, "CCL26", ccl26, "pg/mL", 0.08, "log", 72.0, **plates))
        found.append(Readout(chip, "ldh_release", release, "1", 0.01, "linear", 72.0, **plates))
    found[3] = replace(
        found[3], value=math.nan, censoring="left", upper=250.0, qc="warn", reasons=("below LLOQ",)
    )
    found[-3] = replace(found[-3], qc="fail", reasons=("fit <of> impedance failed",))
    return found


def build(stack: ExitStack, folder: Path, simulated: bool, info: CalibrationInfo) -> HandRun:
    """Write a run after its first cycle."""
    study = load_study(STUDY_FILE)
    own = folder / RUN_ID
    own.mkdir(parents=True)
    (own / "study.json").write_text(study.model_dump_json(), encoding="utf-8")
    record = stack.enter_context(Record(str(folder / "record.sqlite"), now_utc=lambda: STAMP))
    journal = stack.enter_context(Journal(folder / "journal.sqlite", now_utc=lambda: STAMP))
    run = HandRun(record, journal, study, own)
    record.add_run(RUN_ID, study, seed=5, simulated=simulated)
    record.add_state(RUN_ID, "running", 0.0)

    left = remaining_ul(study, {})
    pilot = loop.first_proposal(loop.start(study), as_asked, left)
    proposal_id = record.add_proposal(RUN_ID, 1, asdict(pilot))
    record.add_decision(proposal_id, "approve", "A. Scientist", "pilot as planned")
    for line in study.line_ids:
        rest = make_programme(study, line, "medium", 0.0, 24.0, as_asked, left)
        give(journal, rest, 0, "medium", 0.0)
    for dose in pilot.doses:
        give(journal, dose.programme.parts[0], 1, "dose", 24.0)

    prior = Prior.of_study(model_of(study), study)
    truth = prior.parameters(np.zeros(len(prior.specs)))
    record.add_readouts(RUN_ID, readouts_of(study, journal, truth))
    record.add_raw_file(RawFile(RUN_ID, "ab" * 32, "teer_C01.json", "impedance spectrum", 9, 24.0))
    evidence = evidence_of(study, journal.actions(RUN_ID), record.readouts(RUN_ID), 1)
    target = Target(likelihood_of(study, evidence.schedules, evidence.readouts), prior)
    unknowns = target.unknowns
    z = 0.3 * np.random.default_rng(4).standard_normal((48, target.dims))
    posterior = Posterior(
        prior.names,
        tuple(spec.unit for spec in prior.specs),
        prior.parameters(z[:, : unknowns.p]),
        z,
        truth,
        entries=target.names,
        donors=unknowns.donors,
        of_donors=prior.parameters(unknowns.donor_standard(z)),
        lines=unknowns.lines,
        drug_factors=np.exp(prior.dose_sd * z[:, unknowns.at_doses]),
    )
    write_posterior(own / "cal-01" / "posterior.nc", posterior, info)
    goals = [{**goal, "level": 0.9, "unreached": 0.02} for goal in GOALS]
    content = {"time_h": 72.0, "goals": goals, "info": asdict(info), "particles": 48}
    record.add_calibration(RUN_ID, 1, {**content, "posterior": "cal-01/posterior.nc"})
    if info.passed:
        doses = [replace(dose, risk=0.01, eig_nats=0.1) for dose in pilot.doses]
        note = "edited by A. Scientist, L2 30 nM -> 60 nM: <nearer> the middle"
        after = replace(
            pilot,
            cycle=2,
            doses=tuple(doses),
            eig_nats=0.3,
            policy="goal_information",
            notes=(note,),
        )
        record.add_proposal(RUN_ID, 2, asdict(after))
    record.add_event(RUN_ID, "stop rule", 72.0, {"cycle": 1, "why": "cycles: 1, at most 1"})
    if simulated:
        record.add_event(RUN_ID, "truth", 72.0, {"goals": {"EC50_CCL26": 260.0, "EC50_TEER": 99.0}})
    return run


@pytest.fixture(scope="session")
def hand_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandRun]:
    """A simulated run whose calibration passed."""
    with ExitStack() as stack:
        yield build(stack, tmp_path_factory.mktemp("runs"), True, INFO)


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[Callable[..., HandRun]]:
    """Builds a run of another kind: not simulated, or with a failed calibration."""
    with ExitStack() as stack:

        def make(simulated: bool = True, passed: bool = True) -> HandRun:
            info = INFO if passed else replace(INFO, passed=False, failures=FAILURES, ess=90.0)
            return build(stack, tmp_path / f"{simulated}-{passed}", simulated, info)

        yield make
