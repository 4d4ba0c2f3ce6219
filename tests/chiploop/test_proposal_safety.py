"""Nothing unsafe, infeasible or above a limit is ever proposed, whatever the posterior and the policy say.

Belongs here: the whole way through ``campaign.propose``, with a model whose harm is known in closed form, so that
the tests work out anew what may be given. Not here: each rule by itself (test_batch_safety,
test_toxicity_closures, test_safety).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import POLICIES, propose
from chiploop.campaign_values import Campaign, LineDose, Proposal
from chiploop.errors import SafetyRefusal
from chiploop.inference.posterior import Misfit
from chiploop.measurement import Readout
from chiploop.models.inlet import ChipInlet
from chiploop.models.study_model import model_of
from chiploop.models.tissue_model import Simulation
from chiploop.policies.prediction_table import Batch, LineChoice, PredictionTable
from chiploop.record.actions import JournalTotals
from chiploop.study import Study
from chiploop.study_schedules import Schedule
from chiploop.toxicity_closures import Reopened
from tests.chiploop.campaigns import FULL, PASSED, STUDY, exact, fitted

DRAWS = 40
FIRES = Misfit(True, 0.01, 0.07, ("TEER lags behind",), {"TEER lags": 0.01})
PILOT_NM = dict(zip(STUDY.line_ids, STUDY.first_doses_nm, strict=True))
AFTER_PILOT = JournalTotals(
    last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0
)


@dataclass
class KnownHarm:
    """A model in which viability is 1 / (1 + dose / TC50 x hours / 48): harm is known in closed form."""

    tc50: np.ndarray
    """(draws,)."""
    rng: np.random.Generator

    def simulate(
        self,
        parameters: np.ndarray,
        inlets: Sequence[ChipInlet],
        times: np.ndarray,
        *_: Any,
        **__: Any,
    ) -> Simulation:
        dose = np.array([drug_at_chip(inlet) for inlet in inlets])
        viability = 1.0 / (1.0 + dose / self.tc50[: len(parameters), None])
        n, c, t = len(parameters), len(inlets), len(times)
        model = model_of(STUDY)
        return Simulation(
            np.exp(0.3 * self.rng.standard_normal((n, c, t, len(model.readouts)))) * 100.0,
            np.ones((n, c, model.n_states)),
            np.repeat(viability[:, :, None], t, axis=2),
            0,
            0,
        )

    def risk(self, dose: LineDose, limit: float) -> float:
        # what is pumped last stands in the tubing at the end: 60 uL at 180 uL/h
        hours = dose.programme.drug_h - (dose.programme.parts[-1].delivered_nm > 0.0) / 3.0
        drug = dose.delivered_nm * hours / 48.0
        return float(np.mean(~(1.0 / (1.0 + drug / self.tc50) >= limit)))


def drug_at_chip(inlet: ChipInlet) -> float:
    """Return the highest concentration times the part of 48 h for which it stands."""
    nm = inlet.inputs[:, 1]
    return float(nm.max() * np.diff(inlet.edges_h)[nm > 0.5 * nm.max()].sum() / 48.0)


SCHEDULES = {
    "whole": Schedule(),
    "first_day": Schedule(for_h=24.0),
    "late": Schedule(from_h=24.0),
    "pulses": Schedule(for_h=8.0, every_h=16.0, times=3),
}


def rounded(_: str, rate: float, volume: float) -> tuple[float, float]:
    """Return what a pump with few digits would do."""
    return float(f"{rate:.3g}"), float(f"{volume:.4g}")


def chosen_by(pick: Any) -> Any:
    """Return a policy that picks one candidate of each line."""

    def policy(table: PredictionTable, _: np.random.Generator) -> Batch:
        empty = [line for line, ok in zip(table.lines, table.allowed, strict=True) if not ok.any()]
        if empty:
            raise ValueError(f"no dose is allowed on {', '.join(empty)}")
        return Batch(
            tuple(LineChoice(line, int(pick(table, i)), 0.1) for i, line in enumerate(table.lines)),
            0.4,
        )

    return policy


highest = chosen_by(lambda table, i: np.flatnonzero(table.allowed[i])[-1])


def policies(rng: np.random.Generator) -> dict[str, Any]:
    """Return one that picks any allowed dose, one that always takes the highest, and one that asks nobody."""
    return {
        "any": chosen_by(lambda table, i: rng.choice(np.flatnonzero(table.allowed[i]))),
        "highest": highest,
        "rogue": chosen_by(lambda table, i: rng.integers(len(table.programmes[i]))),
    }


def some_study(rng: np.random.Generator) -> Study:
    """Return the study with other limits."""
    limits = STUDY.limits.model_copy(
        update={
            "concentration_nm": float(rng.choice([600.0, 1000.0, 4000.0])),
            "fold_step": float(rng.choice([1.5, 4.0, 10.0])),
            "overdose_probability": float(rng.choice([0.1, 0.25])),
            "batch_risk_chips": rng.choice([None, 0.2, 0.75, 3.0]),
            "vehicle_lines": int(rng.choice([0, 1, 2])),
        }
    )
    names = [name for name in SCHEDULES if rng.random() < 0.5] or ["whole"]
    schedules = {name: SCHEDULES[name] for name in names}
    return STUDY.model_copy(update={"limits": limits, "schedules": schedules})


def some_readouts(rng: np.random.Generator) -> tuple[list[Readout], float | None]:
    """Return releases of the pilot with harm on some chips, and the lowest dose that harmed."""
    harmed = set(rng.choice(STUDY.chip_ids, size=int(rng.choice([0, 0, 0, 1, 2])), replace=False))
    found = [
        Readout(
            chip,
            "ldh_release",
            0.4 if chip in harmed else 0.02,
            "1",
            0.01,
            "linear",
            72.0,
            48.0,
            cycle=1,
        )
        for chip in STUDY.chip_ids
    ]
    doses = [PILOT_NM[STUDY.line_of(chip).id] for chip in harmed]
    return found, min((nm for nm in doses if nm > 0.0), default=None)


def broken(
    study: Study,
    harm: KnownHarm,
    found: Proposal,
    harmed_nm: float | None,
    highest_nm: float,
    doubt: bool,
) -> list[str]:
    """Return what a proposal breaks, worked out without the rules."""
    limits, wrong = study.limits, []
    budget = limits.batch_risk_chips or limits.overdose_probability * 3
    expected = 0.0
    for dose in found.doses:
        nm = dose.delivered_nm
        if nm == 0.0:
            continue
        risk = harm.risk(dose, limits.viability)
        expected += risk * len(dose.chips)
        if risk > limits.overdose_probability + 1e-9:
            wrong.append(f"{dose.line}: risk {risk}")
        if dose.risk != pytest.approx(risk):
            wrong.append(f"{dose.line}: risk told as {dose.risk}, is {risk}")
        if max(nm, dose.asked_nm) > limits.concentration_nm * (1 + 1e-9):
            wrong.append(f"{dose.line}: {nm} nM")
        if nm > limits.fold_step * highest_nm * (1 + 1e-9):
            wrong.append(f"{dose.line}: step to {nm} nM")
        if dose.programme.vehicle_fraction > limits.vehicle_fraction:
            wrong.append(f"{dose.line}: vehicle")
        wrong += broken_parts(study, dose)
        if harmed_nm is not None:
            clean = max([nm for nm in PILOT_NM.values() if nm < harmed_nm])
            if nm > clean * 1.02:
                wrong.append(f"{dose.line}: {nm} nM right after harm at {harmed_nm} nM")
        if doubt and nm > highest_nm * 1.02:
            wrong.append(f"{dose.line}: step to {nm} nM with a model in doubt")
    if expected > budget * (1 + 1e-6):
        wrong.append(f"{expected} chips are expected to be harmed, {budget} accepted")
    vehicles = sum(dose.delivered_nm == 0.0 for dose in found.doses)
    if vehicles < min(limits.vehicle_lines, len(found.doses)):
        wrong.append(f"{vehicles} lines without drug")
    return wrong


def broken_parts(study: Study, dose: LineDose) -> list[str]:
    """Return what is wrong with the parts of a dose, worked out from volumes and the schedule's name alone."""
    wrong, volume_ul, pumps = [], 0.0, Counter[str]()
    with_drug = {
        "whole": [(0, 48)], "first_day": [(0, 24)], "late": [(24, 48)],
        "pulses": [(0, 8), (16, 24), (32, 40)],
    }[dose.schedule]  # fmt: skip
    if dose.schedule not in study.schedules:
        wrong.append(f"{dose.line}: {dose.schedule} is no schedule of the study")
    begins_h = 0.0
    for part in dose.programme.parts:
        own_ul = sum(step.volume_ul for step in part.steps)
        made = sum(
            step.volume_ul * study.stocks[step.stock].concentration_nm
            for step in part.steps if step.stock in study.stocks
        ) / own_ul  # fmt: skip
        ends_h = begins_h + part.duration_h
        wanted = dose.asked_nm if (begins_h, ends_h) in with_drug else 0.0
        if abs(made - wanted) > 0.02 * wanted:
            wrong.append(f"{dose.line}: pumps make {made} of {wanted} nM from {begins_h} h")
        if abs(own_ul / 3 / 60.0 - part.duration_h) > 0.01 * part.duration_h:
            wrong.append(f"{dose.line}: {own_ul} uL in {part.duration_h} h")
        begins_h, volume_ul = ends_h, volume_ul + own_ul / 3
        pumps.update({step.pump: step.volume_ul for step in part.steps})
    if begins_h != 48.0 or volume_ul > study.limits.dose_volume_ul:
        wrong.append(f"{dose.line}: {volume_ul} uL in {begins_h} h")
    if len(set(pumps)) > 2 or any(ul > 0.95 * FULL[pump] for pump, ul in pumps.items()):
        wrong.append(f"{dose.line}: {dict(pumps)}")
    return wrong


def run_of_cases(cases: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Propose from many random posteriors; return how often what happened."""
    monkeypatch.setattr(next_exposure, "DRAWS", DRAWS)
    monkeypatch.setattr(next_exposure, "CANDIDATES_PER_DECADE", 4)
    rng = np.random.default_rng(20)
    base, model = fitted(), model_of(STUDY)
    assert base.posterior is not None
    happened: Counter[str] = Counter()
    for name, policy in policies(rng).items():
        monkeypatch.setitem(POLICIES, name, policy)
    for case in range(cases):
        study, (readouts, harmed_nm) = some_study(rng), some_readouts(rng)
        centre, width = np.exp(rng.uniform(np.log(30.0), np.log(3e5))), rng.choice([0.05, 0.5, 1.5])
        harm = KnownHarm(centre * np.exp(width * rng.standard_normal(DRAWS)), rng)
        monkeypatch.setattr(model, "simulate", harm.simulate)
        particles = base.posterior.particles[:DRAWS]
        doubt = bool(rng.random() < 0.25)
        highest_nm = float(rng.choice([30.0, 120.0, 480.0]))
        now = replace(
            base,
            study=study,
            posterior=replace(base.posterior, particles=particles, standard=base.posterior.standard[:DRAWS]),
            readouts=(*(r for r in base.readouts if r.readout != "ldh_release"), *readouts),
            highest_read_nm=highest_nm,
            info=replace(PASSED, misfit=FIRES if doubt else None),
        )  # fmt: skip
        policy = str(rng.choice(["any", "highest", "rogue"]))
        try:
            found = propose(
                now, rounded if rng.random() < 0.5 else exact, FULL, AFTER_PILOT, rng, policy=policy,
                without_lines=["L2"] if rng.random() < 0.2 else [],
            )  # fmt: skip
        except SafetyRefusal:
            happened["refused"] += 1
            assert policy == "rogue" or study.limits.vehicle_lines or doubt
            continue
        wrong = broken(study, harm, found, harmed_nm, highest_nm, doubt)
        assert not wrong, (case, policy, wrong)
        happened["parts"] += any(len(dose.programme.parts) > 1 for dose in found.doses)
        happened["drug"] += any(dose.delivered_nm > 0.0 for dose in found.doses)
        happened["harm read"] += harmed_nm is not None
        happened["budget"] += any("all lines together" in note for note in found.notes)
        happened["vehicle"] += any("gets no drug" in note for note in found.notes)
        happened["doubt"] += any("the model is in doubt" in note for note in found.notes)
        assert (found.policy == "spread_out") == doubt
    return happened


@pytest.mark.parametrize("cases", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_posterior_brings_an_unsafe_infeasible_or_too_high_dose_into_a_proposal(
    cases: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = run_of_cases(cases, monkeypatch)
    for what in ("refused", "drug", "harm read", "budget", "vehicle", "doubt", "parts"):
        assert happened[what] > 0.02 * cases, f"{what} hardly ever happened: the test says little"


# --- each wired rule alone, on the study's own model


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Campaign:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    return fitted()


def proposed(campaign: Campaign, **more: Any) -> Proposal:
    return propose(campaign, exact, FULL, AFTER_PILOT, np.random.default_rng(0), **more)


def test_a_firing_misfit_gate_changes_the_proposal_and_the_proposal_says_so(
    usual: Campaign,
) -> None:
    quiet = replace(usual, info=replace(PASSED, misfit=replace(FIRES, fires=False)))
    before, doubted = proposed(quiet), proposed(replace(usual, info=replace(PASSED, misfit=FIRES)))
    assert before == proposed(usual)
    assert not any("doubt" in note for note in before.notes)
    assert doubted.policy == "spread_out"
    assert any("the model is in doubt: spread-out doses" in note for note in doubted.notes)
    assert [dose.asked_nm for dose in doubted.doses] != [dose.asked_nm for dose in before.doses]
    given = sorted(dose.delivered_nm for dose in doubted.doses)
    assert given[0] == 0.0
    assert len(set(given)) == 3, "one dose stands on two lines"
    assert given[-1] <= 480.0 * 1.02
    assert (doubted.eig_nats, doubted.lead.eig_nats) == (None, None)


def test_a_dose_that_harmed_is_not_proposed_until_a_person_reopens_it(
    usual: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = [
        replace(r, value=0.5) if (r.chip_id, r.readout) == ("C10", "ldh_release") else r
        for r in usual.readouts
    ]
    old = STUDY.limits.model_copy(update={"readout_age_h": 99.0})
    study = STUDY.model_copy(update={"limits": old})
    # a cycle later, so that the dose itself is closed and a step up is not
    harmed = replace(usual, study=study, readouts=tuple(sick), cycle=2)
    later = replace(AFTER_PILOT, last_dose_end_h=dict.fromkeys(STUDY.line_ids, 124.0))
    monkeypatch.setitem(POLICIES, "highest", highest)
    for reopened, is_closed in (((), True), ((Reopened(4000.0, 90.0),), False)):
        found = propose(
            harmed,
            exact,
            FULL,
            later,
            np.random.default_rng(0),
            policy="highest",
            reopened=reopened,
        )
        top_nm = max(dose.delivered_nm for dose in found.doses)
        assert 120.0 < top_nm
        assert (top_nm < 480.0) == is_closed
        assert any("a person may reopen it" in r.reason for r in found.refused) == is_closed


def test_a_study_that_asks_for_lines_without_drug_gets_them_and_is_told(usual: Campaign) -> None:
    limits = STUDY.limits.model_copy(update={"vehicle_lines": 3})
    asked = replace(usual, study=STUDY.model_copy(update={"limits": limits}))
    found = proposed(asked)
    assert sum(dose.delivered_nm == 0.0 for dose in found.doses) == 3
    assert sum(dose.delivered_nm == 0.0 for dose in proposed(usual).doses) < 3
    assert any("asks for 3 line(s) without" in note for note in found.notes)
    assert found.eig_nats is None, "the batch is not the one whose information was computed"


def test_what_is_open_and_the_least_risk_stand_in_the_proposal(usual: Campaign) -> None:
    found = proposed(usual)
    assert found.allowed_share is not None
    assert 0.0 < found.allowed_share < 1.0
    assert found.least_risk is not None
    assert found.least_risk <= min(
        d.risk for d in found.doses if d.asked_nm > 0.0 and d.risk is not None
    )


# --- schedules


def pulsed(**limits: Any) -> Study:
    """Return the study with all four schedules."""
    changed = STUDY.limits.model_copy(update=limits)
    return STUDY.model_copy(update={"schedules": SCHEDULES, "limits": changed})


def test_a_rejected_dose_is_one_by_its_schedule(usual: Campaign) -> None:
    found = proposed(replace(usual, study=pulsed()))
    line = found.lead
    again = proposed(
        replace(usual, study=pulsed()), rejected=[(line.line, line.asked_nm, line.schedule)]
    )
    given = {(d.line, d.asked_nm, d.schedule) for d in again.doses}
    assert (line.line, line.asked_nm, line.schedule) not in given


def test_what_was_read_of_a_short_dose_lets_no_long_one_step_up(
    usual: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """480 nM was given for 24 h alone, 120 nM for all 48 h: the step of a long dose counts from 120 nM."""
    monkeypatch.setattr(
        model_of(STUDY), "simulate", KnownHarm(np.full(48, 1e9), np.random.default_rng(0)).simulate
    )
    schedules = {
        chip: replace(
            schedule,
            segments=tuple(
                cut
                for s in schedule.segments
                for cut in (
                    (replace(s, end_h=48.0), replace(s, start_h=48.0, drug_nm=0.0))
                    if s.drug_nm == 480.0 else (s,)
                )
            ),
        )
        for chip, schedule in usual.schedules.items()
    }  # fmt: skip
    short = replace(usual, study=pulsed(), schedules=schedules)
    monkeypatch.setitem(POLICIES, "longest", chosen_by(lambda table, i: longest_highest(table, i)))
    monkeypatch.setitem(
        POLICIES, "shortest", chosen_by(lambda table, i: longest_highest(table, i, "pulses"))
    )
    for policy, most_nm in (("longest", 480.0), ("shortest", 1920.0)):
        top = max(d.delivered_nm for d in proposed(short, policy=policy).doses)
        assert 0.7 * most_nm < top <= most_nm, policy
    whole = replace(usual, study=pulsed())
    assert max(d.delivered_nm for d in proposed(whole, policy="longest").doses) > 1000.0


def longest_highest(table: PredictionTable, line: int, schedule: str = "whole") -> int:
    """Return the highest allowed candidate by a schedule."""
    own = [
        int(k)
        for k in np.flatnonzero(table.allowed[line])
        if table.programmes[line][k].schedule == schedule
    ]
    return max(own, key=lambda k: table.programmes[line][k].delivered_nm)


def test_with_schedules_the_doubted_model_gives_whole_exposures(usual: Campaign) -> None:
    doubted = proposed(replace(usual, study=pulsed(), info=replace(PASSED, misfit=FIRES)))
    assert {dose.schedule for dose in doubted.doses} == {"whole"}
    assert len({dose.asked_nm for dose in doubted.doses}) == 3


def test_a_schedule_whose_later_parts_come_too_long_after_the_readout_is_refused_from_the_start(
    usual: Campaign,
) -> None:
    """4 h after the readout a dose may begin; its last pulse would begin 36 h after it, a late dose 28 h."""
    study = pulsed(readout_age_h=30.0)
    found = proposed(replace(usual, study=study))
    assert {d.schedule for d in found.doses} <= {"whole", "first_day", "late"}
    refused = {r.schedule for r in found.refused if "limit is 30 h" in r.reason}
    assert refused == {"pulses"}
