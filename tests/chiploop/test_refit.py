"""A calibration made again learns from what the loop learned from, and from nothing else.

Belongs here: what enters a case, and that its outcome hangs on its values alone. Not here: run folders
(flows/test_fit), how good a posterior is (inference).

A stand-in for the calibration shows in its particles everything that it was given: random numbers, readouts,
schedules, the posterior before.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from chiploop import campaign as loop
from chiploop import refit as module
from chiploop.dosing import PumpProgramme, make_programme, remaining_ul
from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.measurement import Readout
from chiploop.models.facts import facts_path
from chiploop.record.actions import Action, Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.posterior_file import read_posterior, write_posterior
from chiploop.refit import (
    LEARNED,
    RefitCase,
    evidence_of,
    explained,
    is_before_fit,
    parameter_estimates,
    refit,
    rng_of_fit,
    study_of,
)
from tests.chiploop.campaigns import PASSED, STUDY, posterior, readings

LINES = STUDY.line_ids
SEED = 7


def programme(line: str, asked_nm: float, hours: float, purpose: str) -> PumpProgramme:
    return make_programme(
        STUDY,
        line,
        purpose,  # type: ignore[arg-type]
        asked_nm,
        hours,
        lambda _, rate, volume: (rate, volume),
        remaining_ul(STUDY, {}),
    )


def flow(
    journal: Journal,
    cycle: int,
    phase: str,
    asked_nm: float,
    begin_h: float,
    end_h: float,
    ends: bool = True,
) -> None:
    """Put on record that every line got a programme of a phase, whole; or that it runs."""
    purpose = {"medium": "medium", "dose": "dose"}.get(phase, "stimulus")
    for line in LINES:
        one = programme(line, asked_nm, end_h - begin_h, purpose)
        key = programme_key("r", cycle, line, phase)
        intents = [
            Intent(
                key=action_key(key, step.pump),
                run_id="r",
                programme_key=key,
                pump=step.pump,
                programme=one,
                flow_rate_ul_h=step.flow_rate_ul_h,
                volume_ul=step.volume_ul,
                counter_ul=0.0,
                resolution_ul=1.0,
                restarts=0,
                session="s",
                time_h=begin_h,
            )
            for step in one.steps
        ]
        journal.intend(intents)
        for intent in intents:
            journal.sent(intent.key, begin_h)
            journal.started(intent.key, begin_h, "answer")
            if ends:
                journal.outcome(intent.key, end_h, intent.volume_ul, intent.volume_ul)


@pytest.fixture(scope="module")
def actions(tmp_path_factory: pytest.TempPathFactory) -> list[Action]:
    """Two cycles of doses with a hold between them and one after."""
    with Journal(tmp_path_factory.mktemp("run") / "journal.sqlite") as opened:
        first, second = STUDY.exposure_start_h(1), STUDY.exposure_start_h(2)
        flow(opened, 0, "medium", 0.0, 0.0, first)
        flow(opened, 1, "dose", 100.0, first, STUDY.exposure_end_h(1))
        flow(opened, 1, "hold", 0.0, STUDY.exposure_end_h(1), second)
        flow(opened, 2, "dose", 300.0, second, STUDY.exposure_end_h(2))
        flow(opened, 2, "hold", 0.0, STUDY.exposure_end_h(2), STUDY.exposure_end_h(2) + 4.0)
        return opened.actions("r")


def read() -> tuple[Readout, ...]:
    return readings(cycle=1) + readings(cycle=2)


def told_by(
    likelihood: Any, prior: Any, rng: np.random.Generator, previous: Posterior | None, *_: Any
) -> tuple[Posterior, CalibrationInfo]:
    """Return particles that show what they were made of."""
    values = np.array([r.value for r in likelihood.used])
    ends = np.array([inlet.edges_h[-1] for inlet in likelihood.inlets])
    inputs = sum(float(inlet.inputs.sum()) for inlet in likelihood.inlets)
    before = 0.0 if previous is None else float(previous.standard.mean())
    shift = 1e-4 * float(values @ np.arange(values.size)) % 1.0
    shift += 1e-3 * (ends.sum() + inputs) % 1.0 + before
    z = 0.2 * rng.standard_normal((16, len(prior.names))) + 0.1 * shift
    found = Posterior(prior.names, ("1",) * len(prior.names), prior.parameters(z), z, z[0])
    return found, replace(PASSED, n_readouts=len(likelihood.used))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "recalibrate", told_by)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The study and its model as a run folder keeps them."""
    text = Path(STUDY.tissue.path)
    tissue = STUDY.tissue.model_copy(update={"path": f"model/{text.name}"})
    relative = STUDY.model_copy(update={"tissue": tissue})
    return {
        "study.json": relative.model_dump_json().encode(),
        f"model/{text.name}": text.read_bytes(),
        f"model/{facts_path(text).name}": facts_path(text).read_bytes(),
    }


def case_of(
    files: dict[str, bytes],
    actions: Sequence[Action],
    cycle: int,
    readouts: Sequence[Readout] | None = None,
) -> RefitCase:
    """Return a case that finds everything again from the first cycle on."""
    known = read() if readouts is None else readouts
    evidence = tuple(evidence_of(STUDY, actions, known, one) for one in range(1, cycle + 1))
    return RefitCase(files, SEED, evidence)


def looped(actions: Sequence[Action], cycles: int) -> list[Posterior]:
    """Return what a running loop finds after each cycle, from the journal as it stands then."""
    campaign, found = loop.start(STUDY), []
    for cycle in range(1, cycles + 1):
        evidence = evidence_of(STUDY, actions, read(), cycle)
        campaign = replace(campaign, schedules=evidence.schedules)
        campaign, _ = loop.observe(campaign, readings(cycle=cycle), rng_of_fit(SEED, cycle))
        assert campaign.posterior is not None
        found.append(campaign.posterior)
    return found


@pytest.mark.parametrize(
    ("key", "cycle", "before"),
    [
        ("r/c00/L1/medium", 1, True),
        ("r/c01/L1/dose", 1, True),
        ("r/c01/L1/dose-plain", 1, True),
        ("r/c01/L1/hold", 1, False),
        ("r/c01/L1/hold-2-plain", 1, False),
        ("r/c01/L1/hold", 2, True),
        ("r/c02/L1/dose", 1, False),
        ("a/b/c09/L1/dose", 9, True),
    ],
)
def test_a_fit_learns_from_doses_up_to_its_cycle_and_not_from_the_hold_after_it(
    key: str, cycle: int, before: bool
) -> None:
    assert is_before_fit(key, cycle) is before


def test_schedules_end_with_the_exposure_of_the_cycle(actions: list[Action]) -> None:
    for cycle in (1, 2):
        evidence = evidence_of(STUDY, actions, read(), cycle)
        ends = {chip: s.segments[-1].end_h for chip, s in evidence.schedules.items()}
        assert set(ends) == set(STUDY.chip_ids)
        assert list(ends.values()) == pytest.approx([STUDY.exposure_end_h(cycle)] * len(ends))
        assert {readout.cycle for readout in evidence.readouts} == {cycle}
        assert {readout.qc for readout in evidence.readouts} == {"ok"}


@pytest.mark.parametrize("cycle", [1, 2])
def test_a_case_finds_what_the_loop_found_bit_by_bit(
    actions: list[Action], files: dict[str, bytes], cycle: int
) -> None:
    wanted = looped(actions, cycle)
    case = case_of(files, actions, cycle)
    again = pickle.loads(pickle.dumps(case))
    for one in (case, again):
        found = refit(one)
        assert found.cycle == cycle
        assert found.posterior.particles.tobytes() == wanted[-1].particles.tobytes()


def test_the_posterior_before_gives_the_same_as_finding_it_again(
    actions: list[Action], files: dict[str, bytes], tmp_path: Path
) -> None:
    first, second = looped(actions, 2)
    write_posterior(tmp_path / "posterior.nc", first, PASSED)
    kept, _ = read_posterior(tmp_path / "posterior.nc")
    case = replace(case_of(files, actions, 2), previous=kept)
    assert refit(case).posterior.particles.tobytes() == second.particles.tobytes()
    other = replace(case, previous=second)
    assert refit(other).posterior.particles.tobytes() != second.particles.tobytes()


def test_seed_and_cycle_alone_decide_about_the_random_numbers(
    actions: list[Action], files: dict[str, bytes]
) -> None:
    draws = {(s, c): rng_of_fit(s, c).random() for s in (1, 2) for c in (1, 2)}
    assert len(set(draws.values())) == 4
    assert draws[1, 2] == np.random.default_rng([1, 2, 1]).random()
    case = case_of(files, actions, 1)
    first = refit(case)
    other = refit(replace(case, seed=SEED + 1))
    assert refit(case).posterior.particles.tobytes() == first.posterior.particles.tobytes()
    assert other.posterior.particles.tobytes() != first.posterior.particles.tobytes()


def test_a_fit_that_can_not_be_reviewed_is_kept_and_says_why(
    actions: list[Action], files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no particle of the posterior can be simulated")

    monkeypatch.setattr(module, "review_of", broken)
    case = case_of(files, actions, 1)
    found = refit(replace(case, is_reviewed=True))
    assert found.posterior.particles.tobytes() == refit(case).posterior.particles.tobytes()
    assert found.review is None
    assert found.not_reviewed == "no particle of the posterior can be simulated"


def test_a_readout_that_failed_stays_out(actions: list[Action], files: dict[str, bytes]) -> None:
    readouts = list(readings(cycle=1))
    failed = [replace(readouts[0], qc="fail"), *readouts[1:]]
    whole = refit(case_of(files, actions, 1, readouts))
    without = refit(case_of(files, actions, 1, failed))
    dropped = refit(case_of(files, actions, 1, readouts[1:]))
    assert without.info.n_readouts == whole.info.n_readouts - 1
    assert without.posterior.particles.tobytes() == dropped.posterior.particles.tobytes()
    assert without.posterior.particles.tobytes() != whole.posterior.particles.tobytes()


def test_nothing_is_learned_from_a_line_once_its_volume_is_unknown(actions: list[Action]) -> None:
    line = LINES[0]
    chips = set(STUDY.line(line).chips)
    flow_key = programme_key("r", 2, line, "dose")
    lost = [
        replace(a, end=None, held="it lost its power") if a.intent.programme_key == flow_key else a
        for a in actions
    ]
    first = evidence_of(STUDY, lost, read(), 1)
    second = evidence_of(STUDY, lost, read(), 2)
    assert {r.qc for r in first.readouts} == {"ok"}
    failed = {r.chip_id for r in second.readouts if r.qc == "fail"}
    kept = {r.chip_id for r in second.readouts if r.qc == "ok"}
    assert failed == chips and kept == set(STUDY.chip_ids) - chips
    told = next(r for r in second.readouts if r.qc == "fail")
    assert told.reasons == ("what its line delivered until then is not known",)


def test_a_readout_after_the_last_known_volume_is_marked_and_one_that_failed_keeps_its_reason(
    actions: list[Action],
) -> None:
    schedules = evidence_of(STUDY, actions, (), 1).schedules
    end_h = STUDY.exposure_end_h(1)
    readout = readings(cycle=1)[0]
    at = [replace(readout, time_h=end_h + later_h) for later_h in (0.0, 0.2, 0.3)]
    assert [r.qc for r in explained(schedules, {}, at)] == ["ok", "ok", "fail"]
    bad = replace(at[2], qc="fail", reasons=("a bubble",))
    assert explained(schedules, {}, [bad]) == [bad]


class Named(pickle.Unpickler):
    """Reads a pickle and keeps the modules that it names."""

    modules: ClassVar[set[str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.modules.add(module)
        return super().find_class(module, name)


def test_a_case_holds_plain_values_and_nothing_compiled(
    actions: list[Action], files: dict[str, bytes]
) -> None:
    case = case_of(files, actions, 2)
    study_of(case.files)
    Named.modules.clear()
    Named(io.BytesIO(pickle.dumps(case))).load()
    assert "chiploop.measurement" in Named.modules
    ours = {name for name in Named.modules if name.split(".")[0] not in ("numpy", "builtins")}
    assert ours <= {"chiploop.refit", "chiploop.dosing", "chiploop.measurement"}


def test_the_texts_of_a_case_are_unpacked_once_in_a_process(files: dict[str, bytes]) -> None:
    study = study_of(files)
    assert study_of(dict(files)) is study
    assert study.tissue.sha256 == STUDY.tissue.sha256
    assert Path(study.tissue.path) != Path(STUDY.tissue.path)


def test_a_file_that_leads_out_of_its_case_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="leads out of the folder"):
        study_of({**files, "../../elsewhere": b""})


def test_shrinkage_tells_what_the_readouts_taught() -> None:
    narrow = parameter_estimates(STUDY, posterior(n=4000, width=0.3))
    as_prior = parameter_estimates(STUDY, posterior(n=4000, width=1.0))
    assert [one.shrinkage for one in narrow] == pytest.approx([0.7] * len(narrow), abs=0.03)
    assert [one.shrinkage for one in as_prior] == pytest.approx([0.0] * len(narrow), abs=0.05)
    assert all(one.learned for one in narrow) and not any(one.learned for one in as_prior)
    assert 0.0 < LEARNED < 0.7
    for one in as_prior:
        assert one.prior_lower is not None and one.prior_upper is not None
        assert one.lower < one.median < one.upper
        assert one.lower == pytest.approx(one.prior_lower, rel=0.2, abs=0.05)
