"""What follows from what is known: which doses are proposed, which never are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import first_proposal, learned, observe, propose, start
from chiploop.campaign_values import Campaign, Proposal, proposal_from_dict
from chiploop.errors import DoseNotFeasible, FitNotAccepted, SafetyRefusal
from chiploop.goals import estimate, goal_values
from chiploop.inference.prior import Prior
from chiploop.inference.recalibrate import Effort
from chiploop.measurement import Readout
from chiploop.models.study_model import model_of
from chiploop.next_exposure import candidates_nm, likelihood_of, planned_readouts, scatter_of
from chiploop.record.actions import JournalTotals
from chiploop.study import Study
from tests.chiploop.campaigns import (
    FAILED,
    FULL,
    PASSED,
    STUDY,
    asked,
    exact,
    fitted,
    given,
    pilot,
    posterior,
    readings,
)

AFTER_PILOT = JournalTotals(
    last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0
)


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    yield


def proposed(campaign: Campaign, seed: int = 0, **given: object) -> Proposal:
    return propose(
        campaign,
        exact,
        FULL,
        AFTER_PILOT,
        np.random.default_rng(seed),
        **given,  # type: ignore[arg-type]
    )


def with_limits(**limits: float) -> Study:
    return STUDY.model_copy(update={"limits": STUDY.limits.model_copy(update=limits)})


@pytest.fixture(scope="module")
def usual() -> Campaign:
    return fitted()


# --- the pilot


def test_the_pilot_is_the_ladder_of_the_study_file() -> None:
    found = first_proposal(start(STUDY), exact, FULL)
    assert asked(found) == dict(zip(STUDY.line_ids, STUDY.first_doses_nm, strict=True))
    assert (found.cycle, found.policy, found.eig_nats) == (1, "pilot", None)
    assert all(dose.risk is None and dose.eig_nats is None for dose in found.doses)
    assert found.lead.asked_nm == 480.0


def test_a_pilot_dose_above_a_limit_is_refused_not_lowered() -> None:
    with pytest.raises(DoseNotFeasible, match="480 nM is above the limit of 400 nM"):
        first_proposal(start(with_limits(concentration_nm=400.0)), exact, FULL)
    with pytest.raises(SafetyRefusal, match="vehicle"):
        first_proposal(start(with_limits(vehicle_fraction=1e-5)), exact, FULL)


def test_a_pilot_that_the_syringes_do_not_hold_is_refused() -> None:
    with pytest.raises(DoseNotFeasible, match="L4-low needs"):
        first_proposal(start(STUDY), exact, {**FULL, "L4-low": 1500.0, "L4-high": 1100.0})


# --- refusing to propose


def test_nothing_is_proposed_before_anything_was_read() -> None:
    with pytest.raises(FitNotAccepted, match="nothing has been read out yet"):
        proposed(pilot())


def test_a_failed_fit_proposes_nothing_and_says_why() -> None:
    with pytest.raises(FitNotAccepted, match="cycle 1 failed .* 20 effective particles"):
        proposed(fitted(FAILED))


def test_with_every_line_held_nothing_is_dosed(usual: Campaign) -> None:
    with pytest.raises(SafetyRefusal, match="every line is held"):
        proposed(usual, without_lines=STUDY.line_ids)


def test_a_line_that_can_get_nothing_at_all_is_refused_with_the_reason(usual: Campaign) -> None:
    empty = {pump: 0.0 if pump.startswith("L2") else left for pump, left in FULL.items()}
    with pytest.raises(SafetyRefusal, match="no dose is allowed on L2.*has 0 uL"):
        propose(usual, exact, empty, AFTER_PILOT, np.random.default_rng(0))


def test_a_cycle_that_is_late_proposes_for_when_it_will_begin(usual: Campaign) -> None:
    late = JournalTotals(last_dose_end_h=dict.fromkeys(STUDY.line_ids, 73.5), highest_dose_nm=480.0)
    rng = np.random.default_rng(0)
    with pytest.raises(SafetyRefusal, match="no dose is allowed"):
        propose(usual, exact, FULL, late, rng)
    found = propose(usual, exact, FULL, late, np.random.default_rng(0), begin_h=77.5)
    assert [dose.line for dose in found.doses] == list(STUDY.line_ids)


# --- what is proposed


def test_every_line_gets_a_dose_within_the_limits(usual: Campaign) -> None:
    found = proposed(usual)
    limits = STUDY.limits
    assert [dose.line for dose in found.doses] == list(STUDY.line_ids)
    assert (found.cycle, found.policy, found.goal) == (2, "goal_information", "EC50_CCL26")
    for dose in found.doses:
        assert dose.delivered_nm <= limits.fold_step * 480.0
        assert dose.programme.vehicle_fraction <= limits.vehicle_fraction
        assert dose.risk is not None and dose.risk <= limits.overdose_probability
        assert dose.delivered_nm == pytest.approx(dose.asked_nm)
        assert dose.chips == tuple(STUDY.line(dose.line).chips)
    assert found.eig_nats is not None and found.eig_nats > 0.0
    assert max(asked(found).values()) > 0.0


def test_candidates_are_the_vehicle_and_a_ladder_up_to_the_limit() -> None:
    found = candidates_nm(STUDY)
    assert found[0] == 0.0
    assert found[-1] == STUDY.limits.concentration_nm
    assert max(found) <= STUDY.limits.concentration_nm
    steps = np.diff(np.log10(found[1:]))
    assert np.all((steps > 0.08) & (steps < 0.17))
    for top in (1234.0, 1260.0):
        odd = candidates_nm(with_limits(concentration_nm=top))
        assert 0.97 * top < odd[-1] <= top
        assert list(odd) == sorted(set(odd))


def test_no_dose_goes_above_the_fold_step_of_what_was_given(usual: Campaign) -> None:
    refused = [r for r in proposed(usual).refused if "times the highest dose" in r.reason]
    assert {r.asked_nm for r in refused} == {c for c in candidates_nm(STUDY) if c > 4 * 480.0}
    narrow = with_limits(fold_step=1.1)
    found = proposed(fitted(study=narrow))
    assert max(dose.delivered_nm for dose in found.doses) <= 1.1 * 480.0


def test_a_dose_that_probably_harms_is_never_proposed() -> None:
    poison = fitted(TC50=150.0, ktox=0.05)
    found = proposed(poison)
    assert max(asked(found).values()) < 150.0
    harmful = [r for r in found.refused if "overdose risk 1" in r.reason]
    assert {r.asked_nm for r in harmful} >= {c for c in candidates_nm(STUDY) if 400 < c < 1900}
    assert any(r.asked_nm < 480.0 for r in harmful), "even where a chip has already had as much"


def test_the_risk_is_the_share_of_draws_in_which_a_chip_is_harmed() -> None:
    half = posterior(width=0.01, ktox=0.05)
    particles = half.particles.copy()
    particles[::2, half.names.index("TC50")] = 1.0
    particles[1::2, half.names.index("TC50")] = 1e9
    mixed = replace(fitted(), posterior=replace(half, particles=particles))
    found = proposed(mixed)
    risky = [r for r in found.refused if "overdose risk" in r.reason]
    shares = {float(r.reason.split("overdose risk ")[1].split()[0]) for r in risky}
    assert all(0.3 < share < 0.7 for share in shares)
    assert set(asked(found).values()) == {0.0}


def test_a_draw_that_can_not_be_simulated_ahead_counts_as_harmed(
    usual: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(STUDY)
    simulate = model.simulate

    def failing(parameters: np.ndarray, inlets: object, *rest: object, **more: object) -> object:
        found = simulate(parameters, inlets, *rest, **more)  # type: ignore[arg-type]
        if "states" in more:
            found.viability[: len(parameters) // 2] = np.nan
        return found

    monkeypatch.setattr(model, "simulate", failing)
    found = proposed(usual)
    assert set(asked(found).values()) == {0.0}
    assert any("overdose risk 0.5" in r.reason for r in found.refused)


def test_a_rejected_dose_is_not_proposed_again_on_its_line(usual: Campaign) -> None:
    first = asked(proposed(usual))
    line, dose = max(first.items(), key=lambda item: item[1])
    second = asked(proposed(usual, rejected=[(line, dose, "whole")]))
    assert second[line] != dose
    third = asked(proposed(usual, rejected=[(line, dose, "whole"), (line, second[line], "whole")]))
    assert third[line] not in (dose, second[line])


def test_a_held_line_is_left_out_and_the_others_are_not(usual: Campaign) -> None:
    found = proposed(usual, without_lines=["L2"])
    assert [dose.line for dose in found.doses] == ["L1", "L3", "L4"]


def test_the_same_record_and_generator_give_the_same_proposal(usual: Campaign) -> None:
    assert proposed(usual, 3) == proposed(usual, 3)


def test_a_proposal_survives_the_record(usual: Campaign) -> None:
    found = proposed(usual)
    assert proposal_from_dict(json.loads(json.dumps(asdict(found)))) == found


def test_a_proposal_of_an_older_record_without_notes_is_read(usual: Campaign) -> None:
    content = json.loads(json.dumps(asdict(proposed(usual))))
    for later in ("notes", "allowed_share", "least_risk"):
        del content[later]
    found = proposal_from_dict(content)
    assert (found.notes, found.allowed_share, found.least_risk) == ((), None, None)


def test_a_donors_goal_leads_with_the_donors_own_parameters() -> None:
    donors = ("D1", "D2", "D3")
    drawn = posterior()
    own = np.tile(drawn.particles[:, None], (1, 3, 1))
    own[:, 1, drawn.names.index("IC50")] /= 4.0
    goals = tuple(
        STUDY.goals[0].model_copy(update={"name": of, "of": of}) for of in ("D2", "population")
    )
    study = STUDY.model_copy(update={"goals": goals})
    known = learned(
        pilot(study), readings(study), replace(drawn, donors=donors, of_donors=own), PASSED
    )
    assert [goal.name for goal in known.goals] == ["D2", "population"]
    assert known.goals[0].median == pytest.approx(known.goals[1].median / 4.0, rel=0.1)
    assert proposed(known).goal == "D2"


def test_pumps_that_round_are_told_apart_in_what_is_delivered(usual: Campaign) -> None:
    def rounded(_: str, rate: float, volume: float) -> tuple[float, float]:
        return float(f"{rate:.3g}"), float(f"{volume:.4g}")

    found = propose(usual, rounded, FULL, AFTER_PILOT, np.random.default_rng(0))
    assert all(abs(d.delivered_nm - d.asked_nm) <= 0.02 * d.asked_nm for d in found.doses)
    assert any(d.delivered_nm != d.asked_nm for d in found.doses)


# --- what is known


def test_delivered_doses_stand_in_the_schedules_as_measured() -> None:
    done = pilot()
    for line, nm in zip(STUDY.lines, STUDY.first_doses_nm, strict=True):
        for chip in line.chips:
            medium, dose = done.schedules[chip].segments
            assert (medium.start_h, medium.end_h, medium.drug_nm) == (0, 24, 0)
            assert set(medium.stimulus_ng_ml.values()) == {0.0}
            assert (dose.start_h, dose.end_h) == (24.0, 72.0)
            assert dose.drug_nm == pytest.approx(nm)
            assert (dose.flow_rate_ul_h, dose.stimulus_ng_ml["IL-4"]) == (pytest.approx(60.0), 0.5)


def test_a_cycle_learned_raises_the_highest_dose_read_and_the_goals_are_the_studys(
    usual: Campaign,
) -> None:
    assert (usual.cycle, usual.highest_read_nm) == (1, pytest.approx(480.0))
    assert [goal.name for goal in usual.goals] == [goal.name for goal in STUDY.goals]
    assert len(usual.readouts) == 12 * 4


def test_planned_readouts_are_those_of_the_sampling_of_the_study() -> None:
    model = model_of(STUDY)
    times, starts, planned = planned_readouts(STUDY, model, 100.0)
    assert sorted({float(t) for t in times}) == [124.0, 148.0]
    names = [
        (model.readouts[p.readout].name, float(times[p.time]), float(starts[p.time]))
        for p in planned
    ]
    assert ("CCL26", 148.0, 124.0) in names
    assert ("ldh_release", 148.0, 124.0) in names
    teer = [(t, np.isnan(s)) for name, t, s in names if name == "TEER"]
    assert teer == [(124.0, True), (148.0, True)]


def test_the_variation_of_the_study_reaches_the_likelihood_under_the_models_names() -> None:
    found = scatter_of(STUDY)
    assert found.chip["ldh_release"] == STUDY.variation.between_chips["viability"]
    assert found.donor["TEER"] == STUDY.variation.between_donors["TEER"]
    assert "viability" not in found.chip


def test_the_likelihood_of_nothing_is_that_of_chips_nobody_touched() -> None:
    likelihood = likelihood_of(STUDY, start(STUDY).schedules, ())
    assert likelihood.n_residuals == 0


def true_readings(
    campaign: Campaign, parameters: np.ndarray, cycle: int, rng: np.random.Generator
) -> list[Readout]:
    """Return readouts of hidden parameters with the study's variation and an assay's noise."""
    study, model = campaign.study, model_of(campaign.study)
    times, starts, planned = planned_readouts(study, model, study.exposure_start_h(cycle))
    likelihood = likelihood_of(study, campaign.schedules, ())
    truth = model.simulate(parameters, likelihood.inlets, times, starts).readouts[0]
    scatter, found = scatter_of(study), []
    for name in {model.readouts[plan.readout].name for plan in planned}:
        plans = [plan for plan in planned if model.readouts[plan.readout].name == name]
        place = [(c, plan) for plan in plans for c in range(len(study.chip_ids))]
        chips = np.array([c for c, _ in place])
        donors = np.array(
            [sorted(study.donors).index(study.donor_of(study.chip_ids[c]).id) for c in chips]
        )
        noise = scatter.covariance(name, chips, donors, np.array([plan.sd for _, plan in place]))
        errors = np.linalg.cholesky(noise) @ rng.standard_normal(len(place))
        for (c, plan), error in zip(place, errors, strict=True):
            spec = model.readouts[plan.readout]
            clean = truth[c, plan.time, plan.readout]
            value = clean * np.exp(error) if spec.scale == "log" else clean + error
            begin = None if np.isnan(starts[plan.time]) else float(starts[plan.time])
            found.append(
                Readout(study.chip_ids[c], name, float(value), spec.unit, plan.sd, spec.scale,
                        float(times[plan.time]), begin, cycle=cycle)
            )  # fmt: skip
    return found


@pytest.mark.slow
def test_two_cycles_of_the_loop_close_in_on_the_truth() -> None:
    rng = np.random.default_rng(12)
    prior = Prior.of_study(model_of(STUDY), STUDY)
    truth = prior.parameters(0.3 * rng.standard_normal((1, len(prior.specs))))
    hidden = np.log(goal_values(model_of(STUDY), STUDY, truth)["EC50_CCL26"][0])
    before = goal_values(model_of(STUDY), STUDY, prior.draw(300, rng))["EC50_CCL26"]
    wide = np.log(estimate("EC50_CCL26", before).upper / estimate("EC50_CCL26", before).lower)
    now = pilot()
    for cycle in (1, 2):
        now, info = observe(now, true_readings(now, truth, cycle, rng), rng, Effort(starts=4))
        assert info.passed, info.failures
        goal = now.goals[0]
        assert np.log(goal.upper / goal.lower) < 0.4 * wide
        assert np.log(goal.lower) - 0.3 < hidden < np.log(goal.upper) + 0.3
        if cycle == 1:
            now = given(now, asked(proposed(now)), 2)
