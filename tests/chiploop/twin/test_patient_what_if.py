"""Which drug for a patient: paired answers, equal drugs equal, and the best measurement really narrows most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid, WrongUse
from chiploop.twin.drug_effect import POTENCIES, PotencyDraws
from chiploop.twin.hidden_patients import forecast, in_file
from chiploop.twin.observations import LINKS
from chiploop.twin.patient_file import Visit, patient_of
from chiploop.twin.patient_twin import new_twin, updated
from chiploop.twin.patient_what_if import (
    courses,
    drivers,
    explained,
    offered,
    shares_taken,
    tied_with_first,
    what_if,
)
from tests.chiploop.twin.patients import patient

N = 1000


def test_drugs_are_compared_in_the_same_virtual_patients() -> None:
    told = what_if(patient(), ["dupilumab:q2w", "dupilumab:qw", "placebo", "upadacitinib"], n=N)
    same, never = told.pairs[0], told.pairs[1]
    # antibodies are on the plateau: the two doses differ by hundredths of a point in every patient
    assert (same.probability, same.reverse) == (0.0, 0.0)
    assert never.first == "dupilumab:q2w" and never.second == "placebo"
    assert never.probability > 0.8 and never.reverse == 0.0
    assert told.forecasts[1].width == pytest.approx(told.forecasts[0].width, abs=0.2)
    assert told.forecasts[2].potency == "" and told.forecasts[3].potency == "prior"
    assert all(one.width_without_chip is None for one in told.forecasts)
    assert (told.forecasts[0].easi[0] < told.forecasts[0].easi[2]).all()


def test_equal_twins_have_equal_answers(tmp_path: Path) -> None:
    file = tmp_path / "patient.yaml"
    file.write_text(
        'chiploop: 1\npatient: P-0001\nconsent: {scope: [research], delete_after: "2099-12-31"}\n'
        "flg: heterozygous\nbaseline: {easi: 28.0}\nchip: {maturation: {ratio: 0.8, ln_sd: 0.3}}\n"
    )
    one, other = (what_if(patient_of(file), ["dupilumab", "upadacitinib"], n=400) for _ in range(2))
    for a, b in zip(one.forecasts, other.forecasts, strict=True):
        np.testing.assert_array_equal(a.easi, b.easi)
        assert (a.improvement_pct, a.drivers) == (b.improvement_pct, b.drivers)
    assert (one.pairs, one.measurements) == (other.pairs, other.measurements)
    # another patient is not equal to them
    file.write_text(file.read_text().replace("easi: 28.0", "easi: 20.0"))
    third = what_if(patient_of(file), ["dupilumab", "upadacitinib"], n=400)
    assert third.forecasts[0].improvement_pct != one.forecasts[0].improvement_pct


def test_a_dose_more_never_harms_in_the_twin() -> None:
    told = what_if(patient(), ["upadacitinib:15mg", "upadacitinib:30mg"], n=N, margin_pct=0.0)
    assert told.pairs[0].probability == 0.0 and told.pairs[0].reverse == 1.0


def test_potency_of_the_chip_narrows_the_forecast_and_it_is_said_by_how_much() -> None:
    known = PotencyDraws(np.full(POTENCIES, 30.0), np.ones(POTENCIES), "R-7")
    told = what_if(patient(), ["upadacitinib"], n=N, potencies={"upadacitinib": known})
    one = told.forecasts[0]
    assert one.potency == "R-7"
    assert one.width_without_chip is not None and one.width < 0.95 * one.width_without_chip


def test_potency_and_exposure_of_a_drug_are_ranked_among_what_drives_its_forecast() -> None:
    told = what_if(patient(), ["upadacitinib", "dupilumab", "placebo"], n=N)
    found = [dict(one.drivers) for one in told.forecasts]
    # an unknown potency matters for a JAK inhibitor; an antibody on its plateau does not hang on it
    assert found[0]["IC50 of upadacitinib"] < -0.15
    assert not any("dupilumab" in name for name in found[1])
    assert not any(" of " in name for name in found[2])
    known = PotencyDraws(np.full(POTENCIES, 30.0), np.ones(POTENCIES), "R-7")
    sure = what_if(patient(), ["upadacitinib"], n=N, potencies={"upadacitinib": known})
    assert "IC50 of upadacitinib" not in dict(sure.forecasts[0].drivers)


def test_drivers_are_ranked_with_the_exposure_where_it_decides() -> None:
    rng = np.random.default_rng(5)
    values = {"k1": rng.random(400), "exposure to x": rng.random(400), "slope of x": np.ones(400)}
    found = drivers(values, values["exposure to x"] ** 3)
    assert found[0] == ("exposure to x", pytest.approx(1.0))
    assert [name for name, _ in found] == ["exposure to x", "k1"]


def test_a_modifier_without_a_source_changes_nothing_on_average() -> None:
    stressed = patient(modifiers={"stress": {"parameter": "d1", "ln_sd": 0.5}})
    told = what_if(stressed, ["dupilumab"], n=N, without="stress")
    assert [one.name for one in told.forecasts] == ["dupilumab", "dupilumab without stress"]
    (pair,) = told.pairs
    assert abs(told.forecasts[0].improvement_pct[1] - told.forecasts[1].improvement_pct[1]) < 1.0
    assert 0.0 < pair.probability < 0.2 and 0.0 < pair.reverse < 0.2


def test_stress_with_a_source_and_an_effect_does_change_it() -> None:
    stressed = patient(
        modifiers={
            "stress": {
                "parameter": "d1",
                "ln_effect": 1.5,
                "ln_sd": 0.1,
                "source": "doi:10.1000/182",
            }
        }
    )
    (pair,) = what_if(stressed, ["placebo"], n=N, without="stress", margin_pct=2.0).pairs
    assert pair.reverse > 0.5 and pair.probability == 0.0


@pytest.mark.parametrize(
    ("drugs", "more"),
    [([], {}), (["dupilumab"] * 2, {}), (["aspirin"], {}), (["dupilumab"], {"without": "stress"}),
     (["dupilumab"], {"week": 0.0})],
)  # fmt: skip
def test_what_can_not_be_asked_is_refused(drugs: list[str], more: dict[str, float]) -> None:
    with pytest.raises(WrongUse):
        what_if(patient(), drugs, n=N, **more)  # type: ignore[arg-type]


def test_share_explained_is_that_of_two_normals() -> None:
    rng = np.random.default_rng(2)
    target = rng.standard_normal(20_000)
    told = target + rng.standard_normal(20_000)
    assert explained(told, target) == pytest.approx(0.5, abs=0.02)
    assert explained(rng.standard_normal(20_000), target) < 0.01


def test_measurements_that_are_not_told_apart_are_named_as_tied() -> None:
    rng = np.random.default_rng(4)
    target = rng.standard_normal((4000, 2))
    offers = {
        "good": target[:, 0] + rng.standard_normal(4000),
        "as good": target[:, 0] + rng.standard_normal(4000),
        "blind": rng.standard_normal(4000),
    }
    shares = shares_taken(offers, target)
    assert {shares[0][0], *tied_with_first(offers, target, shares)} == {"good", "as good"}
    offers["better"] = target[:, 0] + 0.3 * rng.standard_normal(4000)
    shares = shares_taken(offers, target)
    assert shares[0][0] == "better" and tied_with_first(offers, target, shares) == ()


def left_by(
    known: dict[str, object], name: str, shown: float, n: int, rng: np.random.Generator
) -> float:
    """Return the variance of the forecast once a measurement is in the file, by the way of a user's patient."""
    twin, _ = new_twin(patient(**known), rng, n=n)
    if name in LINKS:
        more = {**known.get("baseline", {}), name: in_file(name, shown)}  # type: ignore[dict-item]
        twin, _ = new_twin(patient(**{**known, "baseline": more}), rng, n=n)
    elif name.startswith("serum CCL17 at week 4"):
        level = Visit(week=4.0, serum_ccl17_pg_ml=float(np.exp(shown)))
        twin, _ = updated(twin, (level,), rng)
    else:
        easi = in_file("easi", shown)
        twin, _ = updated(twin, (Visit(week=4.0, easi=min(easi, 72.0)),), rng)
    return float(forecast(twin, "dupilumab", 16.0).var())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("known", [{}, {"baseline": {"easi": 25.0}}], ids=["nothing", "EASI"])
def test_the_measurement_that_is_named_first_narrows_most(known: dict[str, object]) -> None:
    """Each one is made in 150 hidden patients and put into their files; the mean variance left decides."""
    rng = np.random.default_rng(9)
    known = {**known, "treatment": "dupilumab"}
    twin, _ = new_twin(patient(**known), rng, n=4000)
    twin = twin.evened()
    improvement = courses(twin, ["dupilumab"], np.array([16.0]))[2]
    offers = offered(twin, "dupilumab", rng)
    shares = shares_taken(offers, improvement)
    hidden = rng.choice(4000, 150, replace=False)
    left = {
        name: np.array([left_by(known, name, float(told[i]), 300, rng) for i in hidden])
        for name, told in offers.items()
    }
    first = shares[0][0]
    tied = tied_with_first(offers, improvement, shares)
    for name, share in shares:
        taken = 1.0 - left[name].mean() / improvement.var()
        error = left[name].std(ddof=1) / np.sqrt(len(hidden)) / improvement.var()
        assert abs(taken - share) < 4.0 * error + 0.03, (name, taken, share, error)
        lead = left[name] - left[first]
        if name not in (first, *tied):
            assert lead.mean() > 0.0, (name, lead.mean())
    # the one named last does narrow less, beyond doubt: the check can tell measurements apart
    lead = left[shares[-1][0]] - left[first]
    assert lead.mean() > 3.0 * lead.std(ddof=1) / np.sqrt(len(hidden))


def test_virtual_patients_without_a_course_are_told_and_never_averaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*given: object, **more: object) -> tuple[list[str], np.ndarray, np.ndarray]:
        names, easi, improvement = courses(*given, **more)  # type: ignore[arg-type]
        improvement[:3] = np.nan
        return names, easi, improvement

    monkeypatch.setattr("chiploop.twin.patient_what_if.courses", broken)
    with pytest.raises(FileNotValid, match="3 of 200 virtual patients have no course"):
        what_if(patient(), ["placebo"], n=200)
