"""Drugs in virtual patients: published kinetics, and what a concentration does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from chiploop.errors import WrongUse
from chiploop.inference.drug_entries import DrugEntries
from chiploop.inference.posterior import Posterior
from chiploop.protocols_path import protocols_folder
from chiploop.study_yaml import read_yaml
from chiploop.twin.drug_effect import (
    POTENCIES,
    PotencyDraws,
    blocked,
    chip_potency,
    effect_of,
    prior_potency,
    scratch_left,
    skin_nm,
)
from chiploop.twin.drug_facts import drug_facts, drug_of_arm
from chiploop.twin.patient_model import simulate
from chiploop.twin.pharmacokinetics import exposure, persons
from chiploop.twin.population import published_population

# arm, time of a dose interval -> trough mg/L, mean of the interval, its unit
KINETICS = [
    ("dupilumab", 14.0, 71.6, 85.2, "mg/L"),
    ("tralokinumab", 14.0, 93.7, 108.0, "mg/L"),
    ("abrocitinib:100mg", 24.0, None, 345.0, "nM"),
    ("abrocitinib:200mg", 24.0, None, 775.0, "nM"),
    ("upadacitinib:15mg", 24.0, None, 41.0, "nM"),
    ("upadacitinib:30mg", 24.0, None, 83.0, "nM"),
]


HALVES = np.array([0.5, 0.5])


@pytest.mark.parametrize(("arm", "interval", "trough", "mean", "unit"), KINETICS)
def test_kinetics_of_the_typical_person_are_those_published(
    arm: str, interval: float, trough: float | None, mean: float, unit: str
) -> None:
    drug, regimen = drug_of_arm(arm)  # type: ignore[misc]
    # the check of upadacitinib is for the healthy man of its source, that of abrocitinib for a patient
    found = exposure(drug, regimen, as_patients=drug.name == "abrocitinib", points=2001)
    inside = found.time >= found.time[-1] - interval
    time, values = found.time[inside], found.plasma_mg_l[0, inside]
    average = float(np.trapezoid(values, time) / (time[-1] - time[0]))
    if unit == "nM":
        average *= 1000.0 / drug.molar_mass_kda
    assert average == pytest.approx(mean, abs=0.5)  # as the means are rounded
    if trough is not None:
        assert values[-1] == pytest.approx(trough, rel=0.003)


@pytest.mark.parametrize(("arm", "mean_nm"), [("15mg", 37.1), ("30mg", 74.2)])
def test_upadacitinib_of_patients_is_what_the_page_says_beside_the_healthy_man(
    arm: str, mean_nm: float
) -> None:
    drug, regimen = drug_of_arm(f"upadacitinib:{arm}")  # type: ignore[misc]
    found = exposure(drug, regimen, points=2001)
    day = found.time[-1] - found.time[0]
    average = float(np.trapezoid(found.plasma_mg_l[0], found.time) / day) * 1000.0
    facts = drug.kinetics
    clearance = facts["clearance"]["CL"] * facts["in_patients"]["CL"]
    by_clearance = 1000.0 * regimen.mg * facts["in_patients"]["F"] / clearance / day
    assert average == pytest.approx(by_clearance, rel=0.005)
    assert average / drug.molar_mass_kda == pytest.approx(mean_nm, abs=0.1)


ARMS = [f"{name}:{dose}" for name, drug in drug_facts().items() for dose in drug.regimens]


@pytest.mark.parametrize("arm", ARMS)
def test_means_over_time_are_those_of_a_rule_with_a_thousand_times_the_points(arm: str) -> None:
    drug, regimen = drug_of_arm(arm)  # type: ignore[misc]
    fine, used = exposure(drug, regimen, points=100_001), exposure(drug, regimen)
    assert used.share.sum() == pytest.approx(1.0, abs=1e-12)
    assert used.plasma_mg_l[0] @ used.share == pytest.approx(
        fine.plasma_mg_l[0] @ fine.share, rel=3e-4
    )
    half, slope = np.array([drug.potency.median_nm]), np.ones(1)
    both = [
        (
            blocked(skin_nm(drug, one.plasma_mg_l), half, slope, one.share)[0],
            scratch_left(skin_nm(drug, one.plasma_mg_l), half, slope, one.share, 50.0)[0],
        )
        for one in (fine, used)
    ]
    assert both[1][0] == pytest.approx(both[0][0], rel=1e-5)
    assert both[1][1] == pytest.approx(both[0][1], rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if drug_of_arm(arm)[0].time == "h"])  # type: ignore[index]
def test_mean_of_a_tablet_in_every_person_is_dose_over_clearance(arm: str) -> None:
    drug, regimen = drug_of_arm(arm)  # type: ignore[misc]
    found = exposure(drug, regimen, 50, np.random.default_rng(4))
    made = persons(drug, regimen, 50, np.random.default_rng(4), True)
    expected = regimen.mg * made["F"] / (made["ke"] * made["V"] * regimen.every)
    # the tenth day is a steady state but for the slowest of them
    np.testing.assert_allclose(found.plasma_mg_l @ found.share, expected, rtol=0.01)
    assert np.median(found.plasma_mg_l @ found.share / expected) == pytest.approx(1.0, abs=1e-4)


def test_spread_of_abrocitinib_is_that_of_the_published_coefficients_of_variation() -> None:
    spread = drug_facts()["abrocitinib"].kinetics["spread"]
    for name, cv in {"CL": 0.577, "V": 0.414}.items():
        assert spread[name] == pytest.approx(np.sqrt(np.log(1.0 + cv**2)), abs=5e-5)


def test_tralokinumab_leaves_the_blood_with_the_published_half_life() -> None:
    drug, regimen = drug_of_arm("tralokinumab")  # type: ignore[misc]
    once = replace(regimen, second_mg=0.0, mg=0.0)
    found = exposure(drug, once, points=501)
    late = found.time > 70.0
    slope = np.polyfit(found.time[late], np.log(found.plasma_mg_l[0, late]), 1)[0]
    assert np.log(2) / -slope == pytest.approx(22.0, abs=0.3)


def test_block_is_half_at_the_ic50_and_its_mean_follows_the_course() -> None:
    two = blocked(np.array([[30.0, 0.0], [30.0, 90.0]]), np.full(2, 30.0), np.ones(2), HALVES)
    np.testing.assert_allclose(two, [0.25, 0.625])


def test_scratching_left_is_the_mean_over_time_of_the_power() -> None:
    # half the day no drug, half the day a block of 3/4: half the loss is left, whatever the power
    course = np.array([[0.0, 90.0], [30.0, 30.0]])
    left = scratch_left(course, np.full(2, 30.0), np.ones(2), HALVES, 10.0)
    np.testing.assert_allclose(left, [0.5 + 0.5 * 0.25**10, 0.5**10])


def test_scratching_of_a_jak_inhibitor_is_never_below_that_of_its_mean_block() -> None:
    found = effect_of("upadacitinib", 500, 1, scratch_power=11.0)
    by_mean = (1.0 - np.asarray(found.blocked["e4"])) ** 11.0
    assert (np.asarray(found.scratch) > by_mean).all()


def test_antibodies_are_far_above_their_kd_in_skin_so_that_dose_is_on_the_plateau() -> None:
    drug, regimen = drug_of_arm("dupilumab")  # type: ignore[misc]
    skin = skin_nm(drug, exposure(drug, regimen).plasma_mg_l)
    assert 60.0 < skin.mean() < 120.0
    shares = [effect_of(arm, 500, 1).blocked["e13"] for arm in ("dupilumab:q2w", "dupilumab:qw")]
    assert np.mean(shares[0]) > 0.995
    assert np.mean(shares[1]) - np.mean(shares[0]) < 0.004


def test_zero_drug_is_placebo_to_the_last_bit() -> None:
    patients = published_population().draw(60, np.random.default_rng(5))
    for name in drug_facts():
        none = effect_of(name, 60, 1, dose_factor=0.0)
        easi = simulate(patients, [effect_of("placebo", 60, 1), none], np.array([4.0, 16.0])).easi
        np.testing.assert_array_equal(easi[:, 0], easi[:, 1])


def test_equal_twins_have_equal_arms() -> None:
    one = published_population().draw(1, np.random.default_rng(6))
    twins = np.repeat(one, 3, axis=0)
    arms = [effect_of("upadacitinib", 1, 1)]
    easi = simulate(twins, arms * 2, np.array([16.0])).easi
    assert len(np.unique(easi)) == 1


def test_potency_of_the_chip_takes_the_place_of_the_prior() -> None:
    drug = drug_facts()["upadacitinib"]
    weak = PotencyDraws(np.full(POTENCIES, 3000.0), np.ones(POTENCIES), "R-1")
    by_prior = effect_of("upadacitinib", 500, 1)
    by_chip = effect_of("upadacitinib", 500, 1, weak)
    assert np.mean(by_chip.blocked["e4"]) < 0.02 < 0.25 < np.mean(by_prior.blocked["e4"])
    assert np.mean(by_chip.scratch) > np.mean(by_prior.scratch)
    prior = prior_potency(drug, np.random.default_rng(1))
    assert np.log(prior.half_nm).std() == pytest.approx(drug.potency.ln_sd, rel=0.05)


def test_chip_potency_is_read_from_a_posterior_of_one_drug_and_of_several() -> None:
    rng = np.random.default_rng(2)
    values = np.exp(rng.normal(np.log([40.0, 1.1]), 0.1, (400, 2)))
    one = Posterior(("IC50", "h"), ("nM", "1"), values, values, values[0])
    draws = chip_potency(one, "upadacitinib", "R-1")
    assert draws.half_nm.mean() == pytest.approx(40.0, rel=0.05)
    assert draws.source == "R-1"
    names = ("EC4", "IC50[a]", "IC50[b]")
    entries = DrugEntries.named(names, ["a", "b"])
    both = np.exp(rng.normal(np.log([1.0, 20.0, 200.0]), 0.1, (400, 3)))
    two = Posterior(names, ("nM",) * 3, both, both, both[0], drugs=entries)
    assert chip_potency(two, "b", "R-2").half_nm.mean() == pytest.approx(200.0, rel=0.05)
    with pytest.raises(ValueError, match="neither IC50 nor Kd"):
        chip_potency(Posterior(("EC4",), ("nM",), both[:, :1], both, both[0]), "a", "R-3")


@pytest.mark.parametrize("n", [25, 400, 1001])
def test_chosen_potencies_have_the_spread_of_the_posterior(n: int) -> None:
    ln = 0.8 * ndtri((np.arange(n) + 0.5) / n)
    values = np.exp(np.random.default_rng(3).permutation(ln)[:, None])
    posterior = Posterior(("IC50",), ("nM",), values, np.log(values), values[0])
    chosen = np.log(chip_potency(posterior, "upadacitinib", "R-1").half_nm)
    assert len(chosen) == POTENCIES
    assert chosen.std() == pytest.approx(ln.std(), rel=0.06)
    assert chosen.mean() == pytest.approx(0.0, abs=0.04)


@pytest.mark.parametrize("arm", ["ibuprofen", "dupilumab:q9w", "placebo:10mg", ""])
def test_an_unknown_arm_is_refused_with_what_is_known(arm: str) -> None:
    with pytest.raises(WrongUse, match="known|placebo has no dose"):
        drug_of_arm(arm)


@pytest.mark.parametrize("name", ["upadacitinib", "abrocitinib"])
def test_a_drug_is_the_same_on_chips_and_in_patients(name: str) -> None:
    on_chips = read_yaml(protocols_folder() / "drugs" / f"{name}.yaml").values
    in_patients = drug_facts()[name]
    assert on_chips["ic50_prior_median"] == f"{in_patients.potency.median_nm:g} nM"
    assert on_chips["ic50_prior_ln_sd"] == in_patients.potency.ln_sd
    assert on_chips["free_fraction_plasma"] == f"{100 * in_patients.free_fraction:g} %"
    assert on_chips["molecular_weight"] == f"{1000 * in_patients.molar_mass_kda:g} g/mol"
