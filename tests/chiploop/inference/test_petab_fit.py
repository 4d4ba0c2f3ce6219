"""Fits of PEtab problems: optima known on paper, derivatives, bounds, failures, and published problems."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from chiploop.errors import FileNotValid
from chiploop.inference.petab_fit import drawn, fit
from chiploop.inference.petab_result import PetabFit
from chiploop.inference.petab_target import petab_target
from chiploop.models.petab_priors import KINDS
from chiploop.models.petab_problem import RTOL, read_problem
from tests.chiploop.inference.petab_lines import (
    KNOWN_SD,
    MEASURED,
    TIMES,
    line,
    line_problem,
    rows,
)
from tests.chiploop.models.petab_texts import DECAY, EXCHANGE, write_problem

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

LN10 = math.log(10.0)
BOEHM, RAIA = "Boehm_JProteomeRes2014", "Raia_CancerResearch2011"


def fitted(path: Path, starts: int = 4, seed: int = 1, hops: int = 2) -> PetabFit:
    return fit(read_problem(path), starts, seed, hops)


def published(shared_data: Path, name: str) -> Path:
    return shared_data / "petab_problems" / name / f"{name}.yaml"


def test_a_line_and_its_noise_are_those_of_least_squares(tmp_path: Path) -> None:
    found, known = fitted(line_problem(tmp_path)), line()
    n = len(TIMES)
    assert found.values["a"] == pytest.approx(known.estimate[0], abs=1e-6)
    assert found.values["b"] == pytest.approx(known.estimate[1], abs=1e-6)
    assert found.values["sd"] == pytest.approx(known.sd, rel=1e-6)
    expected = -0.5 * n * (math.log(2 * math.pi * known.sd**2) + 1.0)
    assert found.log_likelihood == pytest.approx(expected, abs=1e-8)
    a, b, sd = found.estimates
    assert a.sd_on_scale == pytest.approx(known.sd * math.sqrt(known.inverse[0, 0]), rel=1e-4)
    assert b.sd_on_scale == pytest.approx(known.sd * math.sqrt(known.inverse[1, 1]), rel=1e-4)
    assert sd.scale == "log10"
    assert sd.sd_on_scale == pytest.approx(1.0 / (math.sqrt(2 * n) * LN10), rel=1e-4)
    assert [each.at_bound for each in found.estimates] == ["", "", ""]
    assert found.found_best == 4 and all(each.converged for each in found.starts)


def test_a_decay_on_a_logarithmic_scale_is_a_line_there(tmp_path: Path) -> None:
    measured = np.exp(
        0.7 - 0.3 * TIMES + 0.2 * np.array(MEASURED - MEASURED.mean()) / MEASURED.std()
    )
    path = write_problem(
        tmp_path,
        "A = a; a = 1; k = 0.5; A' = -k*A",
        observables="observableId observableFormula noiseFormula observableTransformation\no s*A sd log",
        measurements=rows(measured),
        parameters="a log10 0.001 1000 1 0\nk log10 0.0001 100 1 1\ns log 0.001 1000 1 1\n"
        "sd lin 0.001 10 1 1",
    )
    slope, level = np.polyfit(TIMES, np.log(measured), 1)
    residuals = np.log(measured) - level - slope * TIMES
    found = fitted(path)
    assert found.values["k"] == pytest.approx(-slope, rel=1e-6)
    assert found.values["s"] == pytest.approx(math.exp(level), rel=1e-6)
    assert found.values["sd"] == pytest.approx(math.sqrt(np.mean(residuals**2)), rel=1e-6)
    assert [each.name for each in found.estimates] == ["k", "s", "sd"]
    sd = found.estimates[2]
    assert sd.sd_on_scale == pytest.approx(sd.value / math.sqrt(2 * len(TIMES)), rel=1e-4)


def test_laplace_noise_is_fitted_by_median_and_mean_deviation(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = a; a = 1; A' = 0*a",
        observables="observableId observableFormula noiseFormula noiseDistribution\no A sd laplace",
        measurements=rows(MEASURED[:9], TIMES[:9]),
        parameters="a lin -10 10 1 1\nsd log10 0.001 1000 1 1",
    )
    median = float(np.median(MEASURED[:9]))
    found = fitted(path)
    assert found.values["a"] == pytest.approx(median, abs=1e-4)
    assert found.values["sd"] == pytest.approx(np.abs(MEASURED[:9] - median).mean(), rel=1e-4)


NOISE_OF_ALL_KINDS = (
    "observableId observableFormula noiseFormula observableTransformation noiseDistribution\n"
    "o A+q sd+0.1*A lin normal\np s*B sd log laplace\nr A/B 0.3*(1+k2) log10 normal"
)
GRADIENTS = {
    "noise of all kinds": (
        EXCHANGE,
        {
            "conditions": "conditionId a0 k1\nc0 1 p1\nc1 a1 0.3",
            "observables": NOISE_OF_ALL_KINDS,
            "measurements": "observableId simulationConditionId time measurement\n"
            "o c0 1 1\np c0 1 0.4\nr c0 2 2\no c1 1 0.2\np c1 1 0.6\nr c1 2 0.7",
            "parameters": "p1 log10 0.01 10 0.8 1\nk2 log 0.01 10 0.6 1\na1 lin 0 10 2 1\n"
            "s log10 0.01 10 1.5 1\nq lin -1 1 0 1\nsd log10 0.01 10 0.4 1",
        },
    ),
    "after a pre-equilibration": (
        EXCHANGE,
        {
            "conditions": "conditionId k1 A\npre p0 ~\nc0 p1 ~\nc1 p1 a1",
            "observables": "observableId observableFormula noiseFormula\no A sd\np B sd",
            "measurements": "observableId preequilibrationConditionId simulationConditionId time measurement\n"
            "o pre c0 1 0.3\np pre c0 1 0.5\no pre c1 1 0.9\np pre c1 1 0.6",
            "parameters": "p0 log10 0.01 10 2 1\np1 log10 0.01 10 0.8 1\nk2 lin 0.01 10 0.6 1\n"
            "a1 lin 0 10 2 1\nsd log10 0.01 10 0.4 1",
        },
    ),
    "a steady state": (
        EXCHANGE,
        {
            "measurements": "observableId simulationConditionId time measurement\no c0 inf 0.3\no c0 1 0.2",
            "parameters": "k1 log10 0.01 10 0.8 1\nk2 log10 0.01 10 0.6 1",
        },
    ),
    "a moment that is estimated": (
        "A = 2; k = 0.5; late = 1; A' = piecewise(-k*A, time > late, 0); at (time > late+0.5): A = A/2",
        {
            "measurements": "observableId simulationConditionId time measurement\no c0 2 0.5\no c0 3 0.2",
            "parameters": "k log10 0.01 10 0.8 1\nlate lin 0 2 0.9 1",
        },
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_derivatives_are_those_of_the_log_likelihood(tmp_path: Path, name: str) -> None:
    model, tables = GRADIENTS[name]
    problem = read_problem(write_problem(tmp_path, model, **tables))
    assert problem.simulator.engine == "chiploop"
    near = np.random.default_rng(4).normal(0, 0.05, (3, len(problem.estimated)))
    agree(problem.path, problem.nominal() + near, 1e-3 if "moment" in name else 1e-4)


def agree(path: Path, points: np.ndarray, relative: float) -> None:
    """Compare with differences of fourth order, each point simulated by itself."""
    problem = read_problem(path, 1e-11)
    target = petab_target(problem, 1e-11)
    slopes = target.derivatives.slopes(points)
    np.testing.assert_allclose(slopes.log_likelihood, problem.objective(points), rtol=1e-9)
    step = 1e-3
    for row, point in enumerate(points):
        moves = step * np.eye(len(point))
        height = [problem.objective(point + times * moves) for times in (-2, -1, 1, 2)]
        expected = (height[0] - 8 * height[1] + 8 * height[2] - height[3]) / (12 * step)
        size = np.sqrt(np.diag(slopes.information[row]))
        allowed = relative * (np.abs(expected) + size + 0.1)
        assert (np.abs(slopes.gradient[row] - expected) <= allowed).all()


def test_derivatives_of_a_published_problem(shared_data: Path) -> None:
    path = published(shared_data, BOEHM)
    nominal = read_problem(path).nominal()
    agree(path, nominal + np.random.default_rng(5).normal(0, 0.1, (3, len(nominal))), 1e-4)


def test_a_moment_is_estimated(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 0; late = 1; v = 1; A' = piecewise(v, time > late, 0)",
        observables="observableId observableFormula noiseFormula\no A 0.1",
        measurements=rows(np.array([0.0, 0.71, 1.69, 2.73, 3.68]), np.arange(5.0)),
        parameters="late lin 0 0.9 0.5 1\nv lin 0.1 10 1 1",
    )
    slope, level = np.polyfit(np.arange(1.0, 5.0), [0.71, 1.69, 2.73, 3.68], 1)
    found = fitted(path)
    assert found.values == pytest.approx({"late": -level / slope, "v": slope}, rel=1e-5)


def test_the_fallback_engine_is_fitted_by_differences_of_its_own(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        DECAY + "; at (A < 0.01): A = 3",
        measurements="observableId simulationConditionId time measurement\no c0 1 0.9\no c0 2 0.5",
        parameters="k log10 0.1 2 0.5 1",
    )
    found = fitted(path, starts=1, hops=0)
    k = np.linspace(0.1, 2, 200_001)
    squares = (2 * np.exp(-k) - 0.9) ** 2 + (2 * np.exp(-2 * k) - 0.5) ** 2
    assert found.target.problem.simulator.engine == "libroadrunner"
    assert found.values["k"] == pytest.approx(k[np.argmin(squares)], abs=2e-5)


def test_what_is_reported_is_what_an_evaluation_gives(shared_data: Path) -> None:
    path = published(shared_data, BOEHM)
    found = fitted(path, starts=2, hops=0)
    assert read_problem(path).evaluate(found.values).llh == found.log_likelihood


def test_an_optimum_beyond_a_bound_is_told_as_at_the_bound(tmp_path: Path) -> None:
    parameters = "a lin -10 10 1 1\nb lin -0.1 10 0.5 1"
    found = fitted(line_problem(tmp_path, str(KNOWN_SD), parameters))
    a, b = found.estimates
    assert (b.value, b.on_scale, b.at_bound, b.sd_on_scale) == (-0.1, -0.1, "lower", None)
    assert a.value == pytest.approx(np.mean(MEASURED + 0.1 * TIMES), abs=1e-6)
    assert a.sd_on_scale == pytest.approx(KNOWN_SD / math.sqrt(len(TIMES)), rel=1e-4)
    assert all((each.parameters[1] >= -0.1) for each in found.starts)


def test_starts_are_uniform_over_all_of_the_bounds_on_the_scales(tmp_path: Path) -> None:
    parameters = "a lin 2 10 3 1\nb log10 0.001 1000 0.5 1"
    target = petab_target(read_problem(line_problem(tmp_path, "1", parameters)), RTOL)
    begun, _, _ = drawn(target, [np.random.default_rng([3, i]) for i in range(400)])
    on_scale = begun * target.units
    for column, (low, high) in zip(on_scale.T, ((2.0, 10.0), (-3.0, 3.0)), strict=True):
        part = np.sort((column - low) / (high - low))
        assert part[0] >= 0.0 and part[-1] <= 1.0
        gaps = np.abs(part - (np.arange(400) + 0.5) / 400)
        assert gaps.max() < 1.95 / math.sqrt(400)  # Kolmogorov and Smirnov, 0.1 %


def test_a_start_is_the_same_however_many_there_are(shared_data: Path) -> None:
    path = published(shared_data, BOEHM)
    few, more = fitted(path, 2, 3, 1), fitted(path, 4, 3, 1)
    other = {each.number: each for each in more.starts}
    for each in few.starts:
        assert each.parameters.tolist() == other[each.number].parameters.tolist()
        assert each.start_log_density == other[each.number].start_log_density
    again = fitted(path, 2, 4, 1)
    assert {s.start_log_density for s in again.starts}.isdisjoint(
        {s.start_log_density for s in few.starts}
    )


def test_the_best_start_comes_first_and_no_start_ends_lower_than_it_began(
    shared_data: Path,
) -> None:
    found = fitted(published(shared_data, BOEHM), 5, 1, 2)
    heights = [each.log_density for each in found.starts]
    assert heights == sorted(heights, reverse=True)
    for each in found.starts:
        assert each.start_log_density < each.climb_log_density <= each.log_density + 1e-4
    assert found.log_likelihood == pytest.approx(heights[0], abs=1e-9)


EXPLODING = "A = 1; k = 0.1; A' = k*A^2"
"""A(2) = 1 / (1 - 2 k): no simulation from k = 0.5 on, which is more than half of the bounds."""


def test_points_that_can_not_be_simulated_are_drawn_again_and_counted(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        EXPLODING,
        measurements="observableId simulationConditionId time measurement\no c0 2 4",
        parameters="k log10 0.1 10 0.1 1",
    )
    found = fitted(path, starts=8)
    assert sum(each.redrawn for each in found.starts) > 0
    assert [each.redrawn for each in found.starts].count(0) > 0
    assert found.values["k"] == pytest.approx(0.375, rel=1e-6)
    assert found.found_best == 8


def test_bounds_between_which_nothing_can_be_simulated_are_refused(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        EXPLODING,
        measurements="observableId simulationConditionId time measurement\no c0 2 4",
        parameters="k log10 1 10 2 1",
    )
    with pytest.raises(FileNotValid, match="3 of 3 starts can not be simulated"):
        fitted(path, starts=3)


def test_events_that_meet_fail_alone(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 0; early = 1; A' = 0*early; at (time > early): A = A+1; at (time > 2): A = 3*A",
        measurements="observableId simulationConditionId time measurement\no c0 3 2",
        parameters="early lin 0 4 1 1",
    )
    problem = read_problem(path)
    target = petab_target(problem, RTOL)
    heights = target.log_density(np.array([[1.0], [2.0], [3.0]]) / target.units)
    assert np.isfinite(heights).tolist() == [True, False, True]
    with pytest.raises(FileNotValid, match="come at 2"):
        problem.evaluate({"early": 2.0})


REFUSED = {
    "nothing estimated": ("a lin -10 10 1 0\nb lin -10 10 0.5 0", "it estimates no parameter"),
    "no finite bound": ("a lin -inf 10 1 1\nb lin -10 10 0.5 1", "a has the bounds -inf and 10"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_maximum_between_bounds_is_refused(tmp_path: Path, name: str) -> None:
    parameters, message = REFUSED[name]
    with pytest.raises(FileNotValid, match=message):
        fitted(line_problem(tmp_path, "1", parameters))


def with_prior(folder: Path, kind: str, numbers: str, parameters: str = "") -> Path:
    path = line_problem(folder, "1", parameters)
    head, a, b = (folder / "parameters.tsv").read_text(encoding="utf-8").splitlines()
    lines = [f"{head}\tobjectivePriorType\tobjectivePriorParameters", f"{a}\t{kind}\t{numbers}"]
    (folder / "parameters.tsv").write_text("\n".join([*lines, f"{b}\t\t"]) + "\n", encoding="utf-8")
    return path


def test_a_normal_prior_joins_the_data_and_it_is_the_posterior_that_is_maximised(
    tmp_path: Path,
) -> None:
    found = fitted(with_prior(tmp_path, "normal", "1;0.2"))
    design = np.stack([np.ones_like(TIMES), TIMES], axis=1)
    precision = design.T @ design + np.diag([25.0, 0.0])
    expected = np.linalg.solve(precision, design.T @ MEASURED + [25.0, 0.0])
    assert list(found.values.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    sds = [each.sd_on_scale for each in found.estimates]
    assert sds == pytest.approx(np.sqrt(np.diag(np.linalg.inv(precision))).tolist(), rel=1e-4)
    of_prior = -0.5 * math.log(2 * math.pi * 0.04) - 12.5 * (expected[0] - 1) ** 2
    assert found.log_prior == pytest.approx(of_prior, abs=1e-7)
    assert found.log_density == found.log_likelihood + found.log_prior
    assert found.starts[0].log_density == pytest.approx(found.log_density, abs=1e-9)


@pytest.mark.parametrize("scale", ["lin", "log", "log10"])
@pytest.mark.parametrize("kind", KINDS)
def test_priors_are_densities_of_what_their_type_names(
    tmp_path: Path, kind: str, scale: str
) -> None:
    path = with_prior(tmp_path, kind, "0.4;0.7", f"a {scale} 0.1 10 1 1\nb lin -10 10 0.5 1")
    (prior,) = petab_target(read_problem(path), RTOL).priors
    at = np.array([-0.3, 0.9]) if scale != "lin" else np.array([0.6, 2.1])
    value = {"lin": at, "log": np.exp(at), "log10": 10.0**at}[scale]
    law = stats.norm if "ormal" in kind else stats.laplace
    if kind.startswith("parameterScale"):
        expected = law.logpdf(at, 0.4, 0.7)
    elif kind.startswith("log"):
        expected = law.logpdf(np.log(value), 0.4, 0.7) - np.log(value)
    else:
        expected = law.logpdf(value, 0.4, 0.7)
    assert prior.log_density(at) == pytest.approx(expected, rel=1e-12)
    step = 1e-5
    slope = (prior.log_density(at + step) - prior.log_density(at - step)) / (2 * step)
    assert prior.slopes(at)[0] == pytest.approx(slope, rel=1e-6)


BAD_PRIORS = {
    ("uniform", "-1;10"): "'uniform -1;10', which ends within its bounds -10 and 10",
    ("normal", "0;0"): "allowed are a middle and a spread above 0",
}


@pytest.mark.parametrize("prior", BAD_PRIORS)
def test_a_prior_that_can_not_be_meant_is_refused_by_name(
    tmp_path: Path, prior: tuple[str, str]
) -> None:
    with pytest.raises(FileNotValid, match=BAD_PRIORS[prior]):
        fitted(with_prior(tmp_path, *prior))


@pytest.mark.parametrize("kind", ["uniform", "parameterScaleUniform"])
def test_a_prior_that_is_flat_between_the_bounds_changes_nothing(tmp_path: Path, kind: str) -> None:
    found = fitted(with_prior(tmp_path, kind, "-10;10"))
    assert found.values["a"] == pytest.approx(line().estimate[0], abs=1e-6)


def test_parameters_that_data_tell_together_only_have_no_error(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 2; k = 0.5; j = 1; A' = -k*j*A",
        measurements="observableId simulationConditionId time measurement\no c0 1 1.1\no c0 2 0.7",
        observables="observableId observableFormula noiseFormula\no A 0.1",
        parameters="k log10 0.01 100 0.5 1\nj log10 0.01 100 1 1",
    )
    assert [each.sd_on_scale for each in fitted(path).estimates] == [None, None]


def test_boehm_is_found_by_some_of_few_starts(shared_data: Path) -> None:
    found = fitted(published(shared_data, BOEHM), starts=6, seed=1, hops=8)
    assert found.log_likelihood == pytest.approx(-138.222, abs=1e-3)
    assert found.found_best >= 2
    ends = {each.name: each.at_bound for each in found.estimates}
    assert (ends.pop("k_exp_hetero"), ends.pop("k_imp_homo")) == ("lower", "upper")
    assert set(ends.values()) == {""}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
def test_boehm_is_found_by_half_of_twenty_starts(shared_data: Path, seed: int) -> None:
    found = fit(read_problem(published(shared_data, BOEHM)), 20, seed)
    assert found.log_likelihood == pytest.approx(-138.222, abs=1e-3)
    assert found.found_best >= 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_raia_is_found_better_than_published(shared_data: Path) -> None:
    found = fit(read_problem(published(shared_data, RAIA)), 20, 1)
    assert found.log_likelihood >= -346.10
    assert found.log_likelihood == pytest.approx(-345.3098, abs=1e-3)
