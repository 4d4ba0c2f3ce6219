"""PEtab problems: the standard's own test suite, published problems, closed forms, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import math
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from chiploop.errors import FileNotValid
from chiploop.models.petab_likelihood import DENSITIES, SCALES
from chiploop.models.petab_problem import Evaluation, PetabProblem, read_problem
from chiploop.models.petab_simulation import RoadRunnerSimulator
from chiploop.models.petab_tables import read_parameter_values
from tests.chiploop.models.petab_texts import DECAY, EXCHANGE, write_problem

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

CASES = [f"{number:04d}" for number in range(1, 21)]
PUBLISHED = {
    # problem: (published log-likelihood, the same from libRoadRunner at rtol 1e-10)
    "Boehm_JProteomeRes2014": (-138.22200, -138.2219977),
    "Brannmark_JBC2010": (-141.88911, -141.8892044),
    "Raia_CancerResearch2011": (-346.08978, -346.0897814),
}
EXCHANGE_PARAMETERS = "k1 lin 0 10 0.8 1\nk2 lin 0 10 0.6 1"


@lru_cache(maxsize=30)
def problem_of(path: Path) -> PetabProblem:
    """Each problem is read once."""
    return read_problem(path)


def published(shared_data: Path, name: str) -> PetabProblem:
    return problem_of(shared_data / "petab_problems" / name / f"{name}.yaml")


def simulated(evaluation: Evaluation) -> list[float]:
    return [row["simulation"] for row in evaluation.simulations]


def reference(folder: Path, pattern: str) -> list[dict[str, str]]:
    (path,) = folder.glob(pattern)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("case", CASES)
def test_a_case_of_the_petab_suite_comes_out_on_our_engine(shared_data: Path, case: str) -> None:
    folder = shared_data / "petab_test_suite" / "v1_sbml" / case
    problem = problem_of(folder / f"_{case}.yaml")
    found = problem.evaluate()
    solution = YAML(typ="safe").load((folder / f"_{case}_solution.yaml").read_text("utf-8"))
    rows = reference(folder, "_simulations.tsv")
    assert (problem.simulator.engine, problem.fallback_reason) == ("chiploop", "")
    assert found.llh == pytest.approx(solution["llh"], abs=solution["tol_llh"] * 1e-3)
    assert found.chi2 == pytest.approx(solution["chi2"], abs=solution["tol_chi2"] * 1e-3)
    expected = [float(row["simulation"]) for row in rows]
    assert simulated(found) == pytest.approx(expected, abs=solution["tol_simulations"] * 1e-3)
    for row, mine in zip(rows, found.simulations, strict=True):
        for name in ("observableId", "preequilibrationConditionId", "simulationConditionId"):
            assert row.get(name) == mine.get(name)
        assert float(row["time"]) == mine["time"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_problem_has_its_likelihood(shared_data: Path, name: str) -> None:
    told, precise = PUBLISHED[name]
    problem = published(shared_data, name)
    found = problem.evaluate()
    assert problem.simulator.engine == "chiploop"
    assert found.llh == pytest.approx(told, abs=1e-3)
    assert found.llh == pytest.approx(precise, abs=1e-6)


def test_the_page_shows_what_comes_out(shared_data: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "petab.md").read_text(encoding="utf-8")
    table = [row for row in page.splitlines() if row.startswith("| ") and "chiploop" in row]
    assert len(table) == len(CASES) + len(PUBLISHED)
    for row in table:
        name, engine, count, llh, _, chi2, _ = [cell.strip() for cell in row.strip("|").split("|")]
        if name in CASES:
            path = shared_data / "petab_test_suite" / "v1_sbml" / name / f"_{name}.yaml"
        else:
            path = shared_data / "petab_problems" / name / f"{name}.yaml"
        problem = problem_of(path)
        found = problem.evaluate()
        assert (problem.simulator.engine, len(found.simulations)) == (engine, int(count)), name
        assert (found.llh, found.chi2) == pytest.approx((float(llh), float(chi2)), abs=2e-6), name


@pytest.mark.parametrize(
    ("name", "relative"), [("Boehm_JProteomeRes2014", 1e-7), ("Brannmark_JBC2010", 2e-5)]
)
def test_a_published_simulation_is_reproduced(
    shared_data: Path, name: str, relative: float
) -> None:
    stored = reference(shared_data / "petab_problems" / name, "simulatedData_*.tsv")
    found = published(shared_data, name).evaluate()
    expected = [float(row["simulation"]) for row in stored]
    assert simulated(found) == pytest.approx(expected, rel=relative, abs=1e-6)


def test_a_wrong_parameter_changes_the_likelihood(shared_data: Path) -> None:
    problem = published(shared_data, "Boehm_JProteomeRes2014")
    assert problem.evaluate({"k_phos": 16000.0}).llh < problem.evaluate().llh - 0.01
    # one that is not estimated, too
    assert problem.evaluate({"ratio": 0.7}).llh != pytest.approx(problem.evaluate().llh, abs=0.01)


def test_a_batch_of_parameters_gives_what_each_gives_alone(shared_data: Path) -> None:
    problem = published(shared_data, "Brannmark_JBC2010")
    rng = np.random.default_rng(3)
    many = problem.nominal() + rng.normal(0, 0.05, (11, len(problem.estimated)))
    alone = [
        problem.evaluate({p.name: 10.0**v for p, v in zip(problem.estimated, row, strict=True)}).llh
        for row in many
    ]
    np.testing.assert_allclose(problem.objective(many), alone, rtol=1e-7)


def test_a_set_that_can_not_be_simulated_is_impossible_and_spares_its_neighbours(
    tmp_path: Path,
) -> None:
    path = write_problem(
        tmp_path,
        "A = 1; k = 1; B = 0; A' = k*A^2; B' = 1 - B",
        conditions="conditionId\nc0",
        measurements="observableId preequilibrationConditionId simulationConditionId time measurement\n"
        "o ~ c0 2 1",
        parameters="k lin 0 10 0.1 1",
    )
    problem = read_problem(path)  # A = 1 / (1 - k t) goes to infinity at 1 / k
    found = problem.objective(np.array([[0.1], [1.0], [0.2]]))
    assert found[1] == -math.inf
    expected = [-0.5 * math.log(2 * math.pi) - 0.5 * (1 / (1 - k * 2) - 1) ** 2 for k in (0.1, 0.2)]
    assert found[[0, 2]] == pytest.approx(expected, rel=1e-7)
    with pytest.raises(FileNotValid, match="condition c0: the simulation did not get to time 2"):
        problem.evaluate({"k": 1.0})


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("distribution", DENSITIES)
def test_likelihood_of_every_noise_is_that_of_the_petab_library(
    tmp_path: Path, scale: str, distribution: str
) -> None:
    from petab.v1.calculate import calculate_single_llh

    path = write_problem(
        tmp_path,
        DECAY,
        observables="observableId observableFormula noiseFormula observableTransformation noiseDistribution\n"
        f"o A+0.1*time 0.1+noiseParameter1_o*(A+0.1*time) {scale} {distribution}",
        measurements="observableId simulationConditionId time measurement noiseParameters\n"
        "o c0 1 1.5 0.2\no c0 3 0.25 k",
    )
    found = problem_of(path).evaluate()
    expected = 0.0
    for time, measured, factor in ((1.0, 1.5, 0.2), (3.0, 0.25, 0.5)):
        exact = 2 * math.exp(-0.5 * time) + 0.1 * time
        expected += calculate_single_llh(measured, exact, scale, distribution, 0.1 + factor * exact)
    assert found.llh == pytest.approx(expected, rel=1e-8)


def test_what_is_computed_from_an_overridden_start_follows_it(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = a; B = 2*A; f = A + 1; a = 5; k = 0.5; A' = -k*A; B' = 0*k; s := f*B",
        conditions="conditionId A\nc0 3\nc1 ~\nc2 k",
        observables="observableId observableFormula noiseFormula\no A 1\np s 1",
        measurements="observableId simulationConditionId time measurement\n"
        "o c0 0 1\np c0 0 1\no c1 0 1\np c1 0 1\no c2 0 1\np c2 0 1",
    )
    starts = (3.0, 5.0, 0.5)
    expected = [value for a in starts for value in (a, (a + 1) * 2 * a)]
    assert simulated(read_problem(path).evaluate()) == pytest.approx(expected)


def test_a_parameter_with_an_initial_assignment_is_set_or_left(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 1; q = 3; k = 2*q; j = 4*q; A' = 0*(k + j)",
        conditions="conditionId k q\nc0 7 ~\nc1 ~ 5",
        observables="observableId observableFormula noiseFormula\no k 1\np j 1",
        measurements="observableId simulationConditionId time measurement\n"
        "o c0 1 1\no c1 1 1\np c0 1 1",
        parameters="j lin 0 99 11 1",
    )
    assert simulated(read_problem(path).evaluate()) == pytest.approx([7.0, 10.0, 11.0])


def test_amounts_concentrations_and_sizes_are_told_apart(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        """
        compartment c = 2
        species A in c, B in c, D in c
        substanceOnly species S in c
        A = 6; B = 8/c; S = 9; D = 1; k = 1
        A -> ; 0*k; B -> ; 0; S -> ; 0; D -> ; 0
        """,
        conditions="conditionId c S D\nc0 4 5 3\nc1 ~ ~ ~",
        observables="observableId observableFormula noiseFormula\no A 1\np B 1\nq S 1\nr D 1\ns c 1",
        measurements="observableId simulationConditionId time measurement\n"
        + "\n".join(f"{o} {c} 1 1" for c in ("c0", "c1") for o in "opqrs"),
        parameters="k lin 0 10 1 1",
    )
    assert simulated(read_problem(path).evaluate()) == pytest.approx(
        [6.0, 2.0, 5.0, 3.0, 4.0, 6.0, 4.0, 9.0, 1.0, 2.0]
    )


def exchange(folder: Path, **tables: str) -> Path:
    return write_problem(folder, EXCHANGE, parameters=EXCHANGE_PARAMETERS, **tables)


def test_a_time_without_end_is_the_steady_state(tmp_path: Path) -> None:
    path = exchange(
        tmp_path,
        conditions="conditionId a0\nc0 1\nc1 2",
        measurements="observableId simulationConditionId time measurement\n"
        "o c0 inf 1\no c1 0 1\no c1 inf 1",
    )
    found = read_problem(path).evaluate()
    assert simulated(found) == pytest.approx([0.6 / 1.4, 2.0, 1.2 / 1.4], rel=1e-8)
    assert found.simulations[0]["time"] == math.inf


def test_a_process_slower_than_the_measurements_comes_to_rest_too(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 1; B = 0; k = 1e-4; A' = k*(3 - A); B' = A - B",
        measurements="observableId simulationConditionId time measurement\no c0 inf 1\no c0 1 1",
        observables="observableId observableFormula noiseFormula\no B 1",
        parameters="k lin 0 10 0.0001 1",
    )
    assert simulated(read_problem(path).evaluate())[0] == pytest.approx(3.0, rel=1e-8)


def test_both_engines_agree_on_a_start_that_is_partly_set_after_a_pre_equilibration(
    shared_data: Path,
) -> None:
    folder = shared_data / "petab_test_suite" / "v1_sbml" / "0018"
    problem = problem_of(folder / "_0018.yaml")
    other = RoadRunnerSimulator(problem.tables.model, ["A", "B"], 1e-10)
    again = dataclasses.replace(problem, simulator=other).evaluate()
    assert simulated(again) == pytest.approx(simulated(problem.evaluate()), rel=1e-7)


def test_a_state_that_never_rests_is_named(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 2; k = 0.5; A' = -k*A; clock = 0; clock' = k",
        observables="observableId observableFormula noiseFormula\no A+clock 1",
        measurements="observableId preequilibrationConditionId simulationConditionId time measurement\n"
        "o c0 c0 1 1",
    )
    problem = read_problem(path)
    expected = "pre-equilibration c0: no steady state was reached; still moving: clock"
    with pytest.raises(FileNotValid, match=expected):
        problem.evaluate()
    assert problem.objective(problem.nominal()) == [-math.inf]


TRIGGERED = DECAY + "; at (A < 1): A = 3"


def test_what_our_engine_refuses_runs_on_libroadrunner_and_says_why(tmp_path: Path) -> None:
    problem = read_problem(write_problem(tmp_path, TRIGGERED, measurements=AT_TWO))
    assert problem.simulator.engine == "libroadrunner"
    assert "does not depend on time alone" in problem.fallback_reason
    crossing = math.log(2) / 0.5
    expected = 3 * math.exp(-0.5 * (2 - crossing))
    assert simulated(problem.evaluate()) == pytest.approx([expected], rel=1e-6)
    assert simulated(problem.evaluate({"k": 0.1})) == pytest.approx([2 * math.exp(-0.2)], rel=1e-6)


AT_TWO = "observableId simulationConditionId time measurement\no c0 2 1"


def test_without_libroadrunner_the_refusal_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "roadrunner", None)
    path = write_problem(tmp_path, TRIGGERED)
    with pytest.raises(FileNotValid, match=r'alone.*pip install "chiploop\[petab\]"'):
        read_problem(path)


def test_a_set_concentration_in_a_growing_compartment_goes_to_libroadrunner(
    tmp_path: Path,
) -> None:
    path = write_problem(
        tmp_path,
        "compartment c = 1; species A in c; A = 1; k = 0.5; A -> ; k*A*c; c' = 1 - c",
        conditions="conditionId A\npre ~\nc0 2",
        measurements=AFTER_PRE,
    )
    problem = read_problem(path)
    assert problem.simulator.engine == "libroadrunner"
    assert "A is set after the pre-equilibration" in problem.fallback_reason
    assert simulated(problem.evaluate()) == pytest.approx([2 * math.exp(-0.5)], rel=1e-6)


def test_what_would_be_computed_from_two_starts_may_be_set_instead(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        "A = 1; f = 2*A; k = 1; A' = -k*A*f",
        conditions="conditionId A f\npre 1 1\nc0 2 0.5",
        measurements=AFTER_PRE,
    )
    assert simulated(read_problem(path).evaluate({"k": 1.0})) == pytest.approx([2 * math.exp(-0.5)])


AFTER_PRE = (
    "observableId preequilibrationConditionId simulationConditionId time measurement\no pre c0 1 1"
)
NO_PARAMETER = "k lin 0 10 ~ 1"
REFUSED: dict[str, tuple[str, dict[str, str], str]] = {
    "rule": (
        "A := B; B = 1; k = 1; B' = -k*B",
        {"conditions": "conditionId A\nc0 2"},
        "sets A, which an assignment rule defines",
    ),
    "events and pre-equilibration": (
        DECAY + "; at (time > 3): A = 1",
        {"conditions": "conditionId\npre\nc0", "measurements": AFTER_PRE},
        "PEtab does not say whether they happen",
    ),
    "compartment after pre-equilibration": (
        EXCHANGE + "k = 1",
        {"conditions": "conditionId c\npre 1\nc0 2", "measurements": AFTER_PRE},
        "changes the size of c",
    ),
    "computed from two starts": (
        "A = 1; f = 2*A; k = 1; A' = -k*A*f",
        {"conditions": "conditionId A\npre 1\nc0 2", "measurements": AFTER_PRE},
        "f is computed from the start of A",
    ),
    "no such parameter in the condition table": (
        DECAY,
        {"conditions": "conditionId A\nc0 nowhere"},
        "nowhere",
    ),
    "no such parameter in a measurement": (
        DECAY,
        {
            "observables": "observableId observableFormula noiseFormula\no A noiseParameter1_o",
            "measurements": "observableId simulationConditionId time measurement noiseParameters\n"
            "o c0 1 1 nowhere",
        },
        "nowhere",
    ),
    "placeholder of another formula": (
        DECAY,
        {
            "observables": "observableId observableFormula noiseFormula\no A observableParameter1_o",
            "measurements": "observableId simulationConditionId time measurement\no c0 1 1",
        },
        "observableParameter1_o",
    ),
    "no such name in an observable": (
        DECAY,
        {"observables": "observableId observableFormula noiseFormula\no A+nowhere 1"},
        "nowhere",
    ),
    "no formula": (
        DECAY,
        {"observables": "observableId observableFormula noiseFormula\no A+*2 1"},
        "A\\+\\*2",
    ),
    "no such distribution": (
        DECAY,
        {
            "observables": "observableId observableFormula noiseFormula noiseDistribution\no A 1 cauchy"
        },
        "cauchy",
    ),
    "no such condition": (DECAY, {"conditions": "conditionId\nc1"}, "c0"),
    "time before the start": (
        DECAY,
        {"measurements": "observableId simulationConditionId time measurement\no c0 -1 1"},
        "a time from 0 on",
    ),
    "no model": ("<sbml/>", {}, "."),
    "parameter that changes": (
        DECAY,
        {"parameters": "A lin 0 10 1 1\nk lin 0 10 1 1"},
        "A",
    ),
    "version 2": (DECAY, {"yaml": "format_version: 2.0.0\n"}, "allowed is version 1"),
    "no problem": (DECAY, {"yaml": "- 1\n"}, "it has no format_version"),
    "missing table": (
        DECAY,
        {
            "yaml": "format_version: 1\nparameter_file: gone.tsv\nproblems:\n"
            "- sbml_files: [model.xml]\n  condition_files: [conditions.tsv]\n"
            "  measurement_files: [measurements.tsv]\n  observable_files: [observables.tsv]\n"
        },
        "parameter_file names gone.tsv, which is not there",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_meant_is_refused_by_name(tmp_path: Path, name: str) -> None:
    model, tables, message = REFUSED[name]
    path = write_problem(tmp_path, model, **tables)
    with pytest.raises(FileNotValid, match=message) as refusal:
        read_problem(path).evaluate()
    assert "\n" not in str(refusal.value)


def test_a_likelihood_that_is_not_defined_names_its_measurement(tmp_path: Path) -> None:
    path = write_problem(
        tmp_path,
        DECAY,
        observables="observableId observableFormula noiseFormula observableTransformation\no A-1 1 log",
        measurements=AT_TWO,
    )
    with pytest.raises(FileNotValid, match=r"o at time 2 .* simulated as -0.26.* \(log scale\)"):
        read_problem(path).evaluate()


def test_parameters_are_read_from_a_table_and_from_json(tmp_path: Path) -> None:
    table, text, broken = tmp_path / "p.tsv", tmp_path / "p.json", tmp_path / "q.json"
    table.write_text("parameterId\tnominalValue\tother\nk\t0.25\tx\n", encoding="utf-8")
    text.write_text('{"k": 0.25}', encoding="utf-8")
    broken.write_text('{"k": "much"}', encoding="utf-8")
    assert read_parameter_values(table) == read_parameter_values(text) == {"k": 0.25}
    with pytest.raises(FileNotValid, match="k is 'much'"):
        read_parameter_values(broken)


def test_a_parameter_without_a_value_has_to_be_given_one(tmp_path: Path) -> None:
    problem = read_problem(write_problem(tmp_path, DECAY, parameters=NO_PARAMETER))
    with pytest.raises(FileNotValid, match="parameter k has no value"):
        problem.evaluate()
    assert simulated(problem.evaluate({"k": 1.0})) == pytest.approx([2 * math.exp(-1)])
    with pytest.raises(FileNotValid, match="it has no parameter kk; allowed are k"):
        problem.evaluate({"kk": 1.0})
