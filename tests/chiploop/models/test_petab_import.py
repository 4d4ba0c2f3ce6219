"""A PEtab problem as a model: the whole one where chiploop wrote it, what is known where others did."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid, WrongUse
from chiploop.inference.prior import Prior
from chiploop.models.compiler import compile_model
from chiploop.models.facts import model_facts, read_model_facts
from chiploop.models.facts_parts import MODELS
from chiploop.models.model_files import formulas_of
from chiploop.models.petab_export import petab_export
from chiploop.models.petab_export_files import write_problem
from chiploop.models.petab_import import petab_import
from chiploop.models.petab_import_priors import known_prior
from chiploop.models.petab_problem import read_problem
from chiploop.models.tissue_model import TissueModel
from tests.chiploop.models.petab_export_study import (
    RTOL,
    inlets,
    likelihood_of,
    model,
    prior_of,
    put,
    readouts,
)
from tests.chiploop.models.petab_texts import DECAY
from tests.chiploop.models.petab_texts import write_problem as write_tables

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

TIMES = np.array([24.0, 48.0, 72.0])
STARTS = np.array([0.0, 24.0, 48.0])


@pytest.fixture(scope="module")
def skin() -> TissueModel:
    return model()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, skin: TissueModel) -> Path:
    """The folder of an exported study."""
    folder = tmp_path_factory.mktemp("exported")
    write_problem(folder, petab_export(likelihood_of(skin, readouts()), prior_of(skin)))
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "exported"))


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_a_model_that_was_exported_comes_back_and_simulates_the_same(
    exported: Path, tmp_path: Path, skin: TissueModel
) -> None:
    found = petab_import(exported / "problem.yaml")
    assert (found.name, found.fill_in, found.notes) == ("skin_chip", (), ())
    again = TissueModel("skin_chip", put(found, tmp_path), RTOL, ("TEER", "CCL26", "ldh_release"))
    assert again.estimated == skin.estimated
    assert again.donor_spreads == skin.donor_spreads
    rng = np.random.default_rng(2)
    parameters = prior_of(skin).draw(4, rng)
    one, other = (m.simulate(parameters, inlets(), TIMES, STARTS) for m in (skin, again))
    assert one.failed == 0
    assert other.readouts == pytest.approx(one.readouts, rel=1e-7, abs=1e-10)
    moved = again.simulate(parameters * 1.05, inlets(), TIMES, STARTS)
    assert moved.readouts != pytest.approx(one.readouts, rel=1e-3, abs=1e-10)


def test_the_text_that_comes_back_has_every_constant_of_the_first_and_no_other(
    exported: Path, skin: TissueModel
) -> None:
    first = formulas_of(skin.text, "skin_chip")
    again = formulas_of(petab_import(exported / "problem.yaml").text, "skin_chip")
    assert again.constants == first.constants
    assert set(again.rates) == set(first.rates)
    assert again.events == () and again.initials.keys() == first.initials.keys()


def test_the_file_that_comes_back_is_the_first_letter_by_letter(exported: Path) -> None:
    own = MODELS["skin_chip"].with_suffix(".yaml").read_text(encoding="utf-8")
    assert petab_import(exported / "problem.yaml").facts_text == own


def test_priors_that_others_changed_are_those_of_the_tables(folder: Path, tmp_path: Path) -> None:
    table = folder / "parameters.tsv"
    lines = table.read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        cells = line.split("\t")
        if cells[0] == "EC4":
            cells[8] = f"{math.log(0.2)!r};0.5"
        elif cells[0] == "IC50_spread":
            cells[8] = f"{math.log(0.3)!r};0.1"
        elif cells[0] == "Bmax":
            cells[3], cells[8] = "0.1", "0.4;0.2"
        elif cells[0] == "kM":
            cells[7], cells[8] = "parameterScaleUniform", "-9;0"
        elif cells[0] == "KB":
            cells[6] = "0"
        lines[i] = "\t".join(cells)
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = petab_import(folder / "problem.yaml", "other")
    facts = model_facts(put(found, tmp_path / "model"))
    assert facts.model == found.name == "other"
    first = model_facts(MODELS["skin_chip"])
    assert facts.estimated["EC4"].spec("EC4").center == pytest.approx(0.2)
    assert facts.estimated["EC4"].spec("EC4").spread == 0.5
    assert facts.between_donors["IC50"].sd == pytest.approx(0.3)
    assert facts.between_donors["IC50"].ln_sd == pytest.approx(0.1)
    bounded = facts.estimated["Bmax"].spec("Bmax")
    assert (bounded.center, bounded.spread, bounded.low, bounded.high) == (0.4, 0.2, 0.1, 0.98)
    for name in ("kM", "KB", "EC13", "wF"):
        assert facts.estimated[name] == first.estimated[name]
    told = "; ".join(found.notes)
    assert "EC4: median, ln_sd of EC4 as the problem has it" in told
    assert "kM: parameterScaleUniform -9;0" in told
    assert "KB is not estimated in the problem" in told
    assert found.fill_in == ()


def test_a_prior_may_change_its_kind(folder: Path, tmp_path: Path) -> None:
    table = folder / "parameters.tsv"
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    for cells in lines:
        if cells[0] == "Bmax":
            cells[7], cells[8] = "logNormal", "-1.0;0.5"
    table.write_text("\n".join("\t".join(c) for c in lines) + "\n", encoding="utf-8")
    facts = model_facts(put(petab_import(folder / "problem.yaml"), tmp_path / "model"))
    spec = facts.estimated["Bmax"].spec("Bmax")
    assert (spec.kind, spec.spread) == ("lognormal", 0.5)
    assert spec.center == pytest.approx(np.exp(-1.0))


def test_damaged_notes_are_told_with_the_way_around_them(folder: Path) -> None:
    (folder / "model_notes.json").write_text(json.dumps({"model": "skin_chip"}), encoding="utf-8")
    with pytest.raises(FileNotValid, match=r"model_notes\.json: it is not what chiploop wrote"):
        petab_import(folder / "problem.yaml")
    (folder / "model_notes.json").unlink()
    found = petab_import(folder / "problem.yaml")
    assert any("inputs" in one for one in found.fill_in)


FLOW = """
model flow
  Q = 60; D_in = 0; I_in = 0; k = 0.05; V_ch = 30; base = 900
  D' = (Q*(D_in - D))/V_ch
  V' = -k*D/(D + 50)*V
  D = 0; V = 1
end
"""


def flow_problem(folder: Path) -> Path:
    """Write a problem of others about a chip: two conditions, two observables, priors of every kind."""
    path = write_tables(
        folder,
        FLOW,
        conditions="conditionId D_in Q\nc0 10 60\nc1 100 30",
        observables="observableId observableFormula noiseFormula observableTransformation\n"
        "alive V 0.1 lin\nresistance base*V+log(gain) 0.1 log\nscaled observableParameter1_scaled*V s lin",
        measurements="observableId simulationConditionId time measurement observableParameters\n"
        "alive c0 10 0.9 ~\nresistance c1 20 700 ~\nscaled c0 5 2 2",
    )
    head = (
        "parameterId parameterScale lowerBound upperBound nominalValue estimate objectivePriorType "
    )
    rows = [
        head + "objectivePriorParameters",
        "k log 0.001 1 0.07 1 parameterScaleNormal -3;0.5",
        "base lin 100 2000 800 1 normal 900;200",
        "V_ch log10 1 100 25 1 parameterScaleNormal 1.4;0.1",
        "I_in lin 0 10 1 1 ~ ~",
        "gain lin 1 10 3 0 ~ ~",
        "s lin 0.01 1 0.1 1 ~ ~",
    ]
    text = "\n".join("\t".join(row.split()).replace("~", "") for row in rows)
    (folder / "parameters.tsv").write_text(text + "\n", encoding="utf-8")
    return path


def test_of_a_problem_of_others_what_is_known_is_written_and_the_rest_is_listed(
    tmp_path: Path,
) -> None:
    found = petab_import(flow_problem(tmp_path / "problem"))
    assert found.name == "flow"
    facts = found.facts_text
    assert '  k: {kind: lognormal, median: 0.0497870683678639, ln_sd: 0.5, unit: "?"}' in facts
    assert "  base: {kind: truncated_normal, mean: 900, sd: 200, low: 100, high: 2000" in facts
    assert "  V_ch: {kind: lognormal, median: 25.1188643150958, ln_sd: 0.230258509299405" in facts
    assert '#  I_in: {kind: ?, unit: "?"}    # no prior, bounds 0 to 10, scale lin' in facts
    assert "#  alive: {symbol: V, kind: ?, unit: ?, scale: linear}" in facts
    assert "#  resistance: {symbol: resistance, kind: ?, unit: ?, scale: log}" in facts
    assert "#   D_in: 10, 100" in facts
    told = "\n".join(found.fill_in)
    for word in ("inputs", "stimuli", "viability", "a prior of I_in", "unit of k, base", "scaled"):
        assert word in told, word
    assert [note for note in found.notes if "not of it: s " in note]
    assert [note for note in found.notes if "3 measurements were not imported" in note]
    constants = formulas_of(found.text, "flow").constants
    assert (constants["k"], constants["base"], constants["V_ch"]) == (0.07, 800.0, 25.0)
    assert constants["gain"] == 3.0


def test_chiploop_takes_the_model_once_a_person_has_filled_it_in_and_not_before(
    tmp_path: Path,
) -> None:
    problem = flow_problem(tmp_path / "problem")
    text = put(petab_import(problem), tmp_path / "model")
    assert read_model_facts(text)[0] is None
    beside = text.with_suffix(".yaml")
    change(
        beside,
        "#inputs: {flow_rate_ul_h: ?, drug_nm: ?}",
        "inputs: {flow_rate_ul_h: Q, drug_nm: D_in}",
    )
    change(beside, "#readouts:", "readouts:")
    kinds = {"alive": "V, kind: ?", "resistance": "resistance, kind: ?"}
    for name, now in kinds.items():
        change(
            beside, f"#  {name}: {{symbol: {now}, unit: ?", f'  {name}: {{symbol: {now}, unit: "1"'
        )
    change(beside, 'kind: ?, unit: "1", scale: l', 'kind: moment, unit: "1", scale: l')
    change(beside, "#viability: ?", "viability: V")
    facts = model_facts(text)
    own = TissueModel("flow", text, RTOL)
    assert own.estimated_names == ("k", "base", "V_ch")
    evaluation = read_problem(problem).evaluate()
    inlet = inlets("A")[0]
    chips = [
        replace(inlet, edges_h=np.array([0.0, 30.0]), inputs=np.array([[q, d]]), constants={})
        for q, d in ((60.0, 10.0), (30.0, 100.0))
    ]
    shown = own.simulate(np.array([[0.07, 800.0, 25.0]]), chips, np.array([10.0, 20.0])).readouts
    names = list(facts.readouts)
    alive, resistance = evaluation.simulations[:2]
    assert shown[0, 0, 0, names.index("alive")] == pytest.approx(alive["simulation"], rel=1e-7)
    assert shown[0, 1, 1, names.index("resistance")] == pytest.approx(
        resistance["simulation"], rel=1e-7
    )


def test_what_the_only_condition_sets_is_part_of_the_model(tmp_path: Path) -> None:
    path = write_tables(
        tmp_path,
        "A = 2; j = 1; k = 0.5; A' = -j*k*A",
        conditions="conditionId A j\nc0 start 3",
        parameters="k lin 0 10 0.25 1\nstart lin 0 10 7 1",
    )
    found = petab_import(path)
    model_now = compile_model(found.text, found.name, (), ("A",), ())
    assert model_now.defaults["start"] == 7.0
    from chiploop.models.batch import Schedule

    schedule = Schedule(np.array([0.0, 1.0]), np.zeros((1, 0)))
    rows = model_now.parameter_rows(1, {})
    shown = model_now.run(rows, [schedule], np.array([1.0]), rtol=1e-9).observed[0, 0, 0, 0]
    assert shown == pytest.approx(read_problem(path).evaluate().simulations[0]["simulation"])
    assert shown == pytest.approx(7 * np.exp(-0.75))


def test_published_problems_are_imported_with_their_simulations(
    shared_data: Path, tmp_path: Path
) -> None:
    name = "Boehm_JProteomeRes2014"
    path = shared_data / "petab_problems" / name / f"{name}.yaml"
    found = petab_import(path)
    observables = ("pSTAT5A_rel", "pSTAT5B_rel", "rSTAT5A_rel")
    compiled = compile_model(found.text, found.name, (), observables, ())
    from chiploop.models.batch import Schedule

    rows = read_problem(path).evaluate().simulations
    times = sorted({row["time"] for row in rows})
    schedule = Schedule(np.array([0.0, times[-1]]), np.zeros((1, 0)))
    shown = compiled.run(compiled.parameter_rows(1, {}), [schedule], np.array(times), rtol=1e-9)
    for row in rows:
        own = shown.observed[0, 0, times.index(row["time"]), observables.index(row["observableId"])]
        assert own == pytest.approx(row["simulation"], rel=1e-6)
    assert any("a prior of Epo_degradation_BaF3" in one for one in found.fill_in)


@pytest.mark.parametrize(
    ("kind", "numbers", "scale", "expected"),
    [
        ("logNormal", "0;0.5", "lin", {"kind": "lognormal", "median": 1.0, "ln_sd": 0.5}),
        ("logNormal", "0;0.5", "log10", {"kind": "lognormal", "median": 1.0, "ln_sd": 0.5}),
        ("parameterScaleNormal", "1;0.5", "log10",
         {"kind": "lognormal", "median": 10.0, "ln_sd": 0.5 * np.log(10)}),
        ("parameterScaleNormal", "1;0.5", "lin",
         {"kind": "truncated_normal", "mean": 1.0, "sd": 0.5, "low": 0.1, "high": 9.0}),
        ("normal", "1;0.5", "log",
         {"kind": "truncated_normal", "mean": 1.0, "sd": 0.5, "low": 0.1, "high": 9.0}),
        ("laplace", "1;0.5", "lin", None),
        ("uniform", "0;5", "lin", None),
        ("", "", "log10", None),
    ],
)  # fmt: skip
def test_a_prior_is_the_same_or_none(
    kind: str, numbers: str, scale: str, expected: dict[str, object] | None
) -> None:
    row = {
        "objectivePriorType": kind, "objectivePriorParameters": numbers, "parameterScale": scale,
        "lowerBound": 0.1, "upperBound": 9.0,
    }  # fmt: skip
    if expected is None:
        with pytest.raises(ValueError, match=kind or "no prior"):
            known_prior(row)
        return
    found = known_prior(row)
    assert found.pop("kind") == expected.pop("kind")
    assert found == pytest.approx(expected)


def test_a_prior_that_is_imported_has_the_density_of_the_table() -> None:
    """The lognormal and the truncated normal of chiploop against the library's own priors."""
    from petab.v1.priors import Prior as LibraryPrior

    from chiploop.models.facts_parts import Lognormal, TruncatedNormal

    for kind, numbers, scale in (
        ("parameterScaleNormal", "0.3;0.4", "log10"),
        ("normal", "1;2", "lin"),
    ):
        row = {
            "objectivePriorType": kind, "objectivePriorParameters": numbers,
            "parameterScale": scale, "lowerBound": 0.01, "upperBound": 900.0,
        }  # fmt: skip
        prior = known_prior(row)
        part = Lognormal if prior["kind"] == "lognormal" else TruncatedNormal
        own = Prior.of([part(unit="1", **prior).spec("x")])
        z = np.array([[-1.0], [0.0], [1.5]])
        x, slope = own.mapped(z)
        density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) / slope
        library = LibraryPrior.from_par_dict(row, type_="objective")
        assert density[:, 0] == pytest.approx(library.pdf(x[:, 0]), rel=1e-4)


def test_a_model_that_chiploop_does_not_simulate_is_refused_by_element(tmp_path: Path) -> None:
    path = write_tables(tmp_path, DECAY + "; at A < 1: A = 2", parameters="k lin 0 10 0.5 1")
    with pytest.raises(FileNotValid, match="chiploop does not simulate its model: .*trigger"):
        petab_import(path)


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="no name of a model"):
        petab_import(write_tables(tmp_path, DECAY), "../other")
