"""Whole studies killed at every named place end as if nothing had happened; planted bugs do not pass.

Belongs here: the matrix as tests, and that page and code name the same places. Not here: cases (crash_matrix),
processes that are started by hand (test_crash_and_resume).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from instruments.drivers import DRIVERS
from tests.flows.conftest import Warm
from tests.flows.crash_matrix import CASES, FOUND_BY, POINTS, SCENARIOS, Case, Matrix
from tests.flows.crash_matrix_page import FAILED, power_proofs, row_of
from tests.flows.mutants import MUTANTS
from tests.instruments.fault_matrix import World
from tests.instruments.matrix_makes import MAKES

USUAL = tuple(map(Case, ("after_sent", "after_start", "posterior_written")))
"""Carried out in every test run. Of the steps of one dose these two; the others are killed for every make of pump
in tests/instruments (test_kill_matrix, test_fault_matrix), and here by the slow tests."""
USUAL_BUGS = ("key protects nothing",)


@pytest.fixture(scope="module")
def matrix(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The matrix with its undisturbed runs, each made when it is asked for."""
    return Matrix(warm, tmp_path_factory.mktemp("matrix"))


def page() -> str:
    """Return the page as it is in the documents."""
    path = Path(__file__).resolve().parents[2] / "docs" / "crash_matrix.md"
    return path.read_text(encoding="utf-8")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "case",
    [pytest.param(c, id=c.name, marks=() if c in USUAL else pytest.mark.slow) for c in CASES],
)
def test_killed_there_the_study_ends_as_if_undisturbed_or_holds_and_asks(
    matrix: Matrix, case: Case
) -> None:
    matrix.carry_out(case)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", [case.point for case in CASES if case.scenario == "small"])
def test_killed_at_any_passage_the_small_study_finishes_as_if_undisturbed(
    matrix: Matrix, point: str
) -> None:
    small = matrix.undisturbed("small")
    assert small.passages[point]
    for passage in range(1, small.passages[point] + 1):
        is_lost = point == "after_sent" and passage not in small.proven
        matrix.kill_at(f"{point}@{passage}", is_lost)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_place_is_passed_by_a_study_of_the_matrix(matrix: Matrix) -> None:
    passed = {p for name in SCENARIOS for p in matrix.undisturbed(name).passages}
    assert passed == set(POINTS)


def test_every_place_has_a_case_and_every_case_a_place() -> None:
    assert {case.point for case in CASES} == set(POINTS)
    assert len(POINTS) >= 40
    assert len(set(CASES)) == len(CASES)


def test_the_page_has_every_case_as_the_code_tells_it_and_none_that_failed() -> None:
    rows = re.findall(r"^\| \w+ \| [\w ]+ \| (?:the run|`\w+`) \|.*$", page(), re.MULTILINE)
    assert [row.rsplit(" | ", 1)[0] for row in rows] == [
        row_of(case, "").rsplit(" | ", 1)[0] for case in CASES
    ]
    assert FAILED not in page()


# --- planted bugs


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bug", [pytest.param(b, marks=() if b in USUAL_BUGS else pytest.mark.slow) for b in MUTANTS]
)
def test_a_planted_bug_is_found(matrix: Matrix, bug: str, tmp_path: Path) -> None:
    planted = Matrix(matrix.warm, tmp_path, bug)
    planted.known |= matrix.known
    with pytest.raises(AssertionError, match=MUTANTS[bug].shows):
        planted.carry_out(FOUND_BY[bug])


def test_the_page_tells_how_each_planted_bug_is_found() -> None:
    for name in MUTANTS:
        assert re.search(rf"^\| {name} \|.*\| found at ", page(), re.MULTILINE), name


# --- boot ids


def test_every_make_of_pump_says_what_stands_for_a_boot_id_and_the_page_repeats_it() -> None:
    for name, make in DRIVERS.items():
        assert (make.power_proof is not None) == (make.kind == "pump"), name
        if make.power_proof is not None:
            assert (make.power_proof.tells == "as set") == bool(make.power_proof.when), name
    assert "\n".join(power_proofs()) in page()


@pytest.mark.parametrize("name", MAKES)
def test_a_make_tells_restarts_where_it_says_so(name: str) -> None:
    make = MAKES[name]
    proof = DRIVERS[make.make].power_proof
    assert proof is not None
    pump, _ = World(make).controller("p")
    tells = pump.status().restarts is not None
    is_set = make.entry.get("restart_proof") == "poll" or make.make == "cavro"
    assert tells == {"always": True, "as set": is_set, "never": False}[proof.tells]
