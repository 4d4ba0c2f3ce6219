"""Profile likelihood: intervals known on paper, open ends, a better point on the way, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.inference.petab_fit import fit
from chiploop.inference.petab_profiles import DROP, Profile, profiled, verdict
from chiploop.inference.petab_result import PetabFit, fit_at
from chiploop.models.petab_problem import read_problem
from tests.chiploop.inference.petab_lines import KNOWN_SD, TIMES, line, line_problem
from tests.chiploop.models.petab_texts import write_problem

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

MET = "the bound is met"


def profiles_of(path: Path) -> tuple[PetabFit, dict[str, Profile]]:
    found, profiles = profiled(fit(read_problem(path), 3, 1, 1))
    return found, {each.name: each for each in profiles}


def test_the_fall_is_that_of_a_95_percent_interval() -> None:
    assert math.erf(math.sqrt(DROP)) == pytest.approx(0.95, abs=1e-12)


def test_intervals_of_a_line_with_known_noise_are_those_on_paper(tmp_path: Path) -> None:
    known = line()
    found, profiles = profiles_of(line_problem(tmp_path, str(KNOWN_SD)))
    for j, name in enumerate("ab"):
        half = math.sqrt(2 * DROP * known.inverse[j, j]) * KNOWN_SD
        ends = (profiles[name].lower, profiles[name].upper)
        expected = (known.estimate[j] - half, known.estimate[j] + half)
        assert ends == pytest.approx(expected, abs=1e-4 * half)
        # between the ends, too: a parabola
        fall = found.log_likelihood - profiles[name].log_density
        parabola = DROP * ((profiles[name].at - known.estimate[j]) / half) ** 2
        assert fall == pytest.approx(parabola, abs=1e-5)
    assert found.found_on == ""


def test_intervals_with_estimated_noise_are_those_on_paper(tmp_path: Path) -> None:
    known, n = line(), len(TIMES)
    _, profiles = profiles_of(line_problem(tmp_path))
    for j, name in enumerate("ab"):
        half = math.sqrt(known.squares * (math.exp(2 * DROP / n) - 1) * known.inverse[j, j])
        ends = (profiles[name].lower, profiles[name].upper)
        expected = (known.estimate[j] - half, known.estimate[j] + half)
        assert ends == pytest.approx(expected, abs=1e-4 * half)
    for end in (profiles["sd"].lower, profiles["sd"].upper):
        assert end is not None
        ratio = known.sd / 10.0**end
        assert n * (0.5 * ratio**2 - 0.5 - math.log(ratio)) == pytest.approx(DROP, abs=1e-3)


def test_an_interval_that_a_bound_cuts_is_open_there(tmp_path: Path) -> None:
    parameters = "a lin -10 10 1 1\nb lin -0.42 10 0.5 1"
    found, profiles = profiles_of(line_problem(tmp_path, str(KNOWN_SD), parameters))
    b = profiles["b"]
    assert (b.lower, b.lower_reason, b.upper_reason) == (None, MET, "")
    assert b.at[0] == pytest.approx(-0.42, abs=1e-12) and b.upper is not None
    told = "The data determine 1 of 2 parameters on both sides (95 % profile intervals); no lower end: b."
    assert verdict(found, tuple(profiles.values())) == told


def test_a_parameter_that_another_makes_up_for_ends_where_that_one_meets_its_bound(
    tmp_path: Path,
) -> None:
    path = write_problem(
        tmp_path,
        "A = 2; k = 0.5; j = 1; A' = -k*j*A",
        measurements="observableId simulationConditionId time measurement\no c0 1 1.1\no c0 2 0.7",
        observables="observableId observableFormula noiseFormula\no A 0.1",
        parameters="k log10 0.01 10 0.5 1\nj log10 0.1 10 1 1",
    )
    product = np.linspace(0.01, 2.0, 400_001)  # the data tell the product alone
    fall = 50 * ((2 * np.exp(-product) - 1.1) ** 2 + (2 * np.exp(-2 * product) - 0.7) ** 2)
    fall -= fall.min()
    least = product[np.argmax(fall < DROP)]
    found, profiles = profiles_of(path)
    k, j = profiles["k"], profiles["j"]
    assert k.lower == pytest.approx(math.log10(least / 10), abs=1e-4)
    assert k.upper == pytest.approx(math.log10(product[fall < DROP][-1] / 0.1), abs=1e-4)
    assert (j.lower, j.upper, j.lower_reason, j.upper_reason) == (None, None, MET, MET)
    assert found.log_likelihood - j.log_density == pytest.approx(0.0, abs=1e-5)
    told = "The data determine 1 of 2 parameters on both sides (95 % profile intervals)"
    assert verdict(found, tuple(profiles.values())) == f"{told}; no end on either side: j."


def test_a_better_point_on_the_way_moves_the_fit_and_says_where(tmp_path: Path) -> None:
    path = line_problem(tmp_path, str(KNOWN_SD))
    best = fit(read_problem(path), 2, 1, 0)
    worse = best.parameters + np.array([0.3, 0.0])
    found, profiles = profiled(fit_at(best.target, 1, 0, best.starts, worse))
    assert found.log_likelihood == pytest.approx(best.log_likelihood, abs=1e-9)
    assert found.found_on.startswith("on the profile of ")
    half = math.sqrt(2 * DROP * line().inverse[1, 1]) * KNOWN_SD
    assert profiles[1].upper == pytest.approx(line().estimate[1] + half, abs=1e-4 * half)


def test_without_profiles_the_curvature_speaks(tmp_path: Path) -> None:
    parameters = "a lin -10 10 1 1\nb lin -0.1 10 0.5 1"
    found = fit(read_problem(line_problem(tmp_path, str(KNOWN_SD), parameters)), 2, 1, 0)
    assert verdict(found) == (
        "By the curvature at the best point the data determine 1 of 2 parameters; at a bound: b; "
        "profiles tell how far each may go."
    )


def test_a_place_that_can_not_be_simulated_ends_a_walk_with_a_reason(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 1; k = 0.1; A' = k*A^2",
        observables="observableId observableFormula noiseFormula\no 1/A 0.4",
        measurements="observableId simulationConditionId time measurement\no c0 2 0.3",
        parameters="k lin 0 3 0.1 1",
    )
    _, profiles = profiles_of(path)  # 1/A(2) = 1 - 2 k, and no A(2) from k = 0.5 on
    k = profiles["k"]
    assert (k.lower, k.lower_reason) == (None, MET)
    assert (k.upper, k.upper_reason) == (None, "no further point can be simulated")
    assert k.at[-1] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_intervals_of_boehm_are_those_of_the_page(shared_data: Path) -> None:
    name = "Boehm_JProteomeRes2014"
    path = shared_data / "petab_problems" / name / f"{name}.yaml"
    found, profiles = profiled(fit(read_problem(path), 8, 1))
    page = (Path(__file__).parents[3] / "docs" / "petab.md").read_text(encoding="utf-8")
    table = page[page.index(f"### {name}") :]
    for profile, estimate in zip(profiles, found.estimates, strict=True):
        (row,) = [r for r in table.splitlines() if r.startswith(f"| {profile.name} |")][:1]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        for told, end in zip(cells[5:7], (profile.lower, profile.upper), strict=True):
            assert (told == "open") == (end is None)
            assert end is None or end == pytest.approx(float(told), abs=0.002)
        assert estimate.value == pytest.approx(float(cells[1]), rel=2e-3)
