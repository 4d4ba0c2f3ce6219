"""A model text as SBML: the same model again, and with a schedule the course that is known by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.models.inlet import ChipInlet
from chiploop.models.sbml import read_model
from chiploop.models.sbml_export import InputSchedule, to_sbml
from chiploop.models.sbml_text import check_consistency, parse
from chiploop.models.symbolic import SymbolicModel
from tests.chiploop.models.sbml_reference import calculator, roadrunner_of, simulate
from tests.chiploop.models.sbml_texts import (
    FEATURES,
    LEVEL_2,
    MODELS,
    PETAB_CASES,
    REACTION_WITH_LOCALS,
    STOICHIOMETRY_AND_FACTORS,
    antimony,
    sbml,
)

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")

FED = antimony(
    "Q = 9; D = 0; k = 0.5; V = 2; x' = (Q*D - k*x)/V; x = 1; y := 2*x; compartment C = 3;"
    "species S in C; S = 1; R: S -> ; C*k*S; at time >= 2.5: x = x + 1;"
)


def assert_no_errors(text: str) -> None:
    document = parse(text)
    check_consistency(document)
    errors = [document.getError(i) for i in range(document.getNumErrors())]
    assert [e.getMessage() for e in errors if e.getSeverity() >= 2] == []
    assert document.getLevel() == 3


def assert_same_model(first: SymbolicModel, second: SymbolicModel) -> None:
    assert set(first.rates) == set(second.rates)
    assert set(first.constants) <= set(second.constants)
    rng = np.random.default_rng(1)
    for time in (0.3, 2.7, 11.0):
        state = {s: float(rng.uniform(0.1, 2.0)) for s in first.rates}
        rows = []
        for model in (first, second):
            arguments = (time, [state[s] for s in model.rates], list(model.constants.values()))
            formulas = {**{f"{s}'": r for s, r in model.rates.items()}}
            formulas |= {a: f for a, f in model.assignments.items() if a in first.assignments}
            formulas |= {f"{s} at the start": f for s, f in model.initials.items()}
            formulas |= {f"{e.name} at": e.time for e in model.events}
            formulas |= {
                f"{e.name}: {s}": f for e in model.events for s, f in e.assignments.items()
            }
            formulas |= {f"jump {i}": b for i, b in enumerate(model.breakpoints)}
            values = calculator(model, formulas)(*arguments)
            rows.append(dict(zip(formulas, values, strict=True)))
        assert rows[0].keys() == rows[1].keys()
        for name, value in rows[0].items():
            assert rows[1][name] == pytest.approx(value, rel=1e-12, abs=1e-300), name


@pytest.mark.parametrize("text", FEATURES.values(), ids=FEATURES.keys())
def test_what_is_exported_is_read_as_the_same_model(text: str) -> None:
    exported = to_sbml(text, "mine")
    assert_no_errors(exported)
    assert_same_model(read_model(text, "mine"), read_model(exported, "mine"))


@pytest.mark.parametrize("case", PETAB_CASES)
def test_a_published_model_is_exported_as_the_same_model(case: str, shared_data: Path) -> None:
    text = (shared_data / case).read_text(encoding="utf-8")
    exported = to_sbml(text, "published")
    assert_no_errors(exported)
    assert_same_model(read_model(text, "published"), read_model(exported, "published"))


def test_level_3_passes_through_unchanged_and_level_2_becomes_level_3() -> None:
    text = sbml(REACTION_WITH_LOCALS)
    assert to_sbml(text, "mine") == text
    assert 'level="3"' in to_sbml(sbml(LEVEL_2, 2, 4), "mine")


def schedule(**changed: object) -> InputSchedule:
    values: dict[str, object] = {
        "edges_h": np.array([0.0, 1.0, 3.0, 4.0, 6.0]),
        "input_names": ("Q", "D"),
        "inputs": np.array([[1.0, 4.0], [1.0, 0.0], [1.0, 0.0], [2.0, 3.0]]),
        "constants": {"k": 0.25, "C": 5.0},
        "integrals": ("x", "S", "R", "y"),
    }
    return InputSchedule(**(values | changed))  # type: ignore[arg-type]


def test_a_schedule_is_simulated_as_calculated_by_hand() -> None:
    exported = to_sbml(FED, "mine", schedule())
    assert_no_errors(exported)
    decay = 0.125

    def toward(level: float, x: float, hours: float) -> tuple[float, float]:
        """x and its integral after some hours."""
        end = level + (x - level) * math.exp(-decay * hours)
        return end, level * hours + (x - level) * (1 - math.exp(-decay * hours)) / decay

    at1, area1 = toward(16.0, 1.0, 1.0)
    at25, area2 = toward(0.0, at1, 1.5)
    at4, area3 = toward(0.0, at25 + 1.0, 1.5)
    at6, area4 = toward(24.0, at4, 2.0)
    area = area1 + area2 + area3 + area4
    s = math.exp(-0.25 * 6)
    expected = {
        "x": at6,
        "integral_x": area,
        "integral_y": 2 * area,
        "integral_S": (1 - s) / 0.25,
        "integral_R": 5 * (1 - s),
    }
    reference = roadrunner_of(exported)
    reference.integrator.absolute_tolerance = 1e-13
    reference.integrator.relative_tolerance = 1e-11
    theirs = np.asarray(
        reference.simulate(times=[0.0, 1.0, 3.0, 6.0], selections=["time", *expected])
    )
    assert dict(zip(expected, theirs[-1, 1:], strict=True)) == pytest.approx(expected, rel=1e-8)
    ours = simulate(read_model(exported, "mine"), [0.0, 1.0, 3.0, 6.0])
    assert {name: ours[name][-1] for name in expected} == pytest.approx(expected, rel=1e-8)


def test_an_edge_at_which_nothing_changes_is_no_event() -> None:
    model = read_model(to_sbml(FED, "mine", schedule()), "mine")
    own = [e for e in model.events if e.name.startswith("inputs")]
    assert [(e.name, e.time, e.assignments) for e in own] == [
        ("inputs_of_segment_1", 1, {"D": 0}),
        ("inputs_of_segment_3", 4, {"Q": 2, "D": 3}),
    ]
    assert model.initials["Q"] == 1
    assert model.constants["k"] == 0.25
    assert model.constants["C"] == 5.0


def test_the_fitted_model_gives_the_same_course_in_libroadrunner() -> None:
    inlet = ChipInlet(
        "chip-1",
        np.array([0.0, 24.0, 48.5, 72.0]),
        np.array([[60.0, 0.0, 0.0, 0.0], [60.0, 0.0, 2.0, 1.0], [30.0, 100.0, 2.0, 1.0]]),
        {"phi": 0.5, "V_ch": 25.0},
    )
    text = (MODELS / "skin_chip.ant").read_text(encoding="utf-8")
    exported = to_sbml(
        text,
        "skin_chip",
        InputSchedule(
            inlet.edges_h, ("Q", "D_in", "I4_in", "I13_in"), inlet.inputs, inlet.constants, ("C26",)
        ),
    )
    assert_no_errors(exported)
    times = [0.0, 24.0, 36.0, 48.5, 60.0, 72.0]
    ours = simulate(read_model(exported, "skin_chip"), times)
    reference = roadrunner_of(exported)
    reference.integrator.absolute_tolerance = 1e-13
    reference.integrator.relative_tolerance = 1e-10
    names = ["TEER", "C26", "integral_C26", "F", "B", "D_t"]
    theirs = np.asarray(reference.simulate(times=times, selections=["time", *names]))
    for i, name in enumerate(names):
        np.testing.assert_allclose(ours[name], theirs[:, i + 1], rtol=1e-6, atol=1e-9)
    assert ours["C26"][-1] > 10 * ours["C26"][1], "the stimulus shows"


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        (sbml(REACTION_WITH_LOCALS), "R_k", "R_k"),
        (sbml(REACTION_WITH_LOCALS.replace('id="R_k"', 'id="q"')), "R_k", "R_k"),
        (sbml(STOICHIOMETRY_AND_FACTORS, of_model='conversionFactor="half"'), "made", "made"),
        (sbml(STOICHIOMETRY_AND_FACTORS, of_model='conversionFactor="half"'), "half", "half"),
        (sbml(LEVEL_2, 2, 4), "R_k", "R_k"),
        (sbml(LEVEL_2, 2, 4), "n", "n"),
        (sbml(LEVEL_2, 2, 4), "C", "C"),
    ],
)
def test_every_kind_of_constant_can_be_set(text: str, name: str, place: str) -> None:
    only = InputSchedule(np.array([0.0, 1.0]), (), np.zeros((1, 0)), {name: 0.75})
    assert read_model(to_sbml(text, "mine", only), "mine").constants[place] == 0.75


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"constants": {"z": 1.0}},
            "z is set beside it but is no constant of it; allowed are C, D",
        ),
        ({"constants": {"y": 1.0}}, "y is set beside it but is no constant"),
        ({"constants": {"x": 1.0}}, "x is set beside it but is no constant"),
        ({"input_names": ("Q", "z")}, "z is an input beside it but no parameter of it"),
        ({"input_names": ("Q", "y")}, "y is an input beside it but no parameter of it"),
        ({"input_names": ("Q", "C"), "constants": {}}, "C is an input beside it but no parameter"),
        ({"integrals": ("z",)}, "z is integrated beside it but not in it"),
        ({"integrals": ("x", "x")}, "it has an integral_x of its own"),
    ],
)
def test_a_name_that_the_text_does_not_define_is_refused(
    changed: dict[str, object], words: str
) -> None:
    with pytest.raises(FileNotValid, match=f"model mine: {words}"):
        to_sbml(FED, "mine", schedule(**changed))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"edges_h": np.array([0.0, 1.0])}, "edges of shape .* go with inputs of shape"),
        ({"edges_h": np.array([0.0])}, "go with inputs of shape"),
        ({"edges_h": np.array([0.0, 1.0, 1.0, 4.0, 6.0])}, "not finite and ascending"),
        ({"input_names": ("Q",)}, "go with inputs of shape"),
        ({"inputs": np.full((4, 2), np.nan)}, "finite numbers; one of them is not"),
        ({"constants": {"k": math.inf}}, "finite numbers; one of them is not"),
    ],
)
def test_a_schedule_that_does_not_fit_together_is_refused(
    changed: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        schedule(**changed)


def test_a_text_that_can_not_be_read_is_not_exported() -> None:
    with pytest.raises(FileNotValid, match="floor is not supported"):
        to_sbml(antimony("x = 1; x' = floor(x);"), "mine")
