"""What a model text may hold and what it means: against results by hand, and against libRoadRunner."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sympy

from chiploop.errors import FileNotValid
from chiploop.models.sbml import read_model
from chiploop.models.sbml_closing import resolve
from chiploop.models.sbml_text import antimony_to_sbml
from chiploop.models.symbolic import SymbolicModel
from tests.chiploop.models.sbml_reference import (
    assert_same_course,
    assert_same_rates,
    calculator,
    simulate,
    sym,
)
from tests.chiploop.models.sbml_texts import (
    CONSTANT_SPECIES,
    FEATURES,
    LEVEL_2,
    MODELS,
    PETAB_CASES,
    REACTION_WITH_LOCALS,
    STOICHIOMETRY_AND_FACTORS,
    antimony,
    read,
    sbml,
)

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute")


def value(model: SymbolicModel, name: str, time: float = 0.0, **states: float) -> float:
    """Value of an assignment at these states; the others are at their start."""
    zeros = [0.0] * len(model.rates)
    constants = list(model.constants.values())
    start = dict(
        zip(model.initials, calculator(model, model.initials)(0.0, zeros, constants), strict=True)
    )
    here = [states.get(s, start[s]) for s in model.rates]
    result = calculator(model, {name: model.assignments[name]})(time, here, constants)[0]
    return float(result)


@pytest.mark.parametrize("text", FEATURES.values(), ids=FEATURES.keys())
def test_a_feature_means_what_libroadrunner_takes_it_for(text: str) -> None:
    model = read_model(text, "mine")
    reference = text if text.startswith("<") else antimony_to_sbml(text, "mine")
    assert_same_rates(model, reference)
    assert_same_course(model, reference, [0.0, 0.5, 1.25, 2.75, 4.0, 6.0, 8.0])


def test_an_event_at_the_start_is_part_of_the_start() -> None:
    text = antimony(
        "T = 0; q = 1; q' = -q; x = 1; y = 1; z = 1; v = 1; w = 1; x' = -x; y' = -y; z' = -z; v' = -v; w' = -w;"
        "a: at time > T: x = 5; b: at time >= T: y = 5; c: at time >= T, t0=false: z = 5 + time;"
        "d: at time > 2*T, t0=false: v = 5 + 2*q; e: at 2 after time >= 0, t0=false: w = 5 + time;"
    )
    model = read_model(text, "mine")
    for moment in (0.0, -1.0, 1.0):
        by_name = {"T": moment}
        start = {k: v[0] for k, v in simulate(model, [0.0, 0.1], by_name).items()}
        assert start == {
            "x": 5.0 if moment == 0 else 1.0,  # time > T does not become true where T is past
            "y": 1.0,
            "q": 1.0,
            "z": 5.0 if moment <= 0 else 1.0,
            "v": 7.0 if moment <= 0 else 1.0,
            "w": 1.0,
        }
    course = simulate(model, [0.0, 1.0, 3.0])
    expected = [5 * math.exp(-1), math.exp(-1), 5 * math.exp(-1), 7 * math.exp(-1), math.exp(-1)]
    assert [course[s][1] for s in "xyzvw"] == pytest.approx(expected)
    assert course["w"][2] == pytest.approx(5 * math.exp(-1))
    assert_same_course(model, antimony_to_sbml(text, "mine"), [0.0, 1.0, 3.0], skip=1)


@pytest.mark.parametrize("case", PETAB_CASES)
def test_a_published_model_is_read_as_libroadrunner_reads_it(case: str, shared_data: Path) -> None:
    text = (shared_data / case).read_text(encoding="utf-8")
    model = read_model(text, "published")
    assert_same_rates(model, text)
    assert_same_course(model, text, [0.0, 1.0, 7.0])


@pytest.mark.parametrize("name", ["skin_chip", "virtual_skin_chip"])
def test_the_shipped_texts_are_read_as_libroadrunner_reads_them(name: str) -> None:
    text = (MODELS / f"{name}.ant").read_text(encoding="utf-8")
    model = read_model(text, name)
    assert set(model.rates) == set(model.initials)
    assert_same_rates(model, antimony_to_sbml(text, name))


def test_a_species_is_a_state_in_the_quantity_that_its_id_means() -> None:
    model = read(
        "compartment C = 2; compartment D = 4; D' = 1; species A in C; substanceOnly species B in C;"
        "species X in D; A = 3; B = 5; X = 7; R: A -> 2 B + X; C*k*A; k = 0.5;"
    )
    a, c, d, k = sym("A"), sym("C"), sym("D"), sym("k")
    assert model.rates == {"D": 1, "A": -k * a, "B": 2 * c * k * a, "amount_of_X": c * k * a}
    assert model.assignments == {"X": sym("amount_of_X") / d, "R": c * k * a}
    assert model.initials == {"D": 4, "A": 3, "B": 5, "amount_of_X": 28}
    assert model.constants == {"C": 2.0, "k": 0.5}


def test_the_name_of_an_amount_gives_way_to_names_of_the_text() -> None:
    model = read(
        "compartment D = 4; D' = 1; species X in D; X = 7; amount_of_X = 9; R: X -> ; amount_of_X;"
    )
    assert model.rates == {"D": 1, "amount_of_X_2": -sym("amount_of_X")}
    assert model.constants == {"amount_of_X": 9.0}


def test_constants_of_one_reaction_have_its_name_before_theirs() -> None:
    model = read_model(sbml(REACTION_WITH_LOCALS), "mine")
    assert model.constants == {"C": 2.0, "k": 100.0, "R_k": 7.0, "R_k_2": 0.25}
    assert model.rates["A"] == -2 * sym("R_k_2") * sym("A")
    assert model.initials == {"A": 3, "B": 1 / sym("C")}


def test_conversion_factors_and_stoichiometries_stay_symbols() -> None:
    model = read_model(sbml(STOICHIOMETRY_AND_FACTORS, of_model='conversionFactor="half"'), "mine")
    a, c, k, half = sym("A"), sym("C"), sym("k"), sym("half")
    assert model.rates == {
        "A": -4 * half**2 * k * a,
        "B": sym("made") * sym("ten") * c * k * a,
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", 1.0),
        ("n := 1 + time", 1.0 + 3.0),
        ("n' = 0.5", 2.0),
        ("at time >= 2: n = 4", 4.0),
    ],
)
def test_a_stoichiometry_may_change(change: str, expected: float) -> None:
    text = antimony_to_sbml(antimony("species A; A = 1; n = 2; R1: -> 1 A; 3;" + change), "mine")
    text = text.replace('species="A" stoichiometry="1" constant="true"', 'id="n" species="A" {}')
    lines = text.splitlines()
    value = {"": 1.0, "n' = 0.5": 0.5}.get(change, 2.0)
    known = "" if ":=" in change else f'stoichiometry="{value}" '
    text = "\n".join(line for line in lines if '<parameter id="n"' not in line)
    text = text.replace("{}", known + 'constant="false"')
    text = text.replace("<listOfParameters>\n    </listOfParameters>", "")
    model = read_model(text, "mine")
    rate = calculator(model, model.rates)
    states = {"A": 1.0, "n": simulate(model, [0.0, 3.0])["n"][-1] if change else 0.0}
    result = rate(3.0, [states[s] for s in model.rates], list(model.constants.values()))
    assert result[list(model.rates).index("A")] == pytest.approx(3 * expected)
    course = simulate(model, [0.0, 3.0])["A"][-1]
    areas = {"": 3.0, "n := 1 + time": 7.5, "n' = 0.5": 3.75, "at time >= 2: n = 4": 8.0}
    assert course == pytest.approx(1 + 3 * areas[change])


def test_a_start_follows_the_constants_that_it_rests_on() -> None:
    model = read("k1 = 2; k2 = 3*k1; total := k1 + k2; x = total/y; y = 4; x' = -k2*x*y; y' = -y;")
    k1 = sym("k1")
    assert model.constants == {"k1": 2.0}
    assert model.assignments == {"k2": 3 * k1, "total": 4 * k1}
    assert model.initials == {"x": k1, "y": 4}
    assert model.rates == {"x": -3 * k1 * sym("x") * sym("y"), "y": -sym("y")}


def test_a_constant_species_is_a_constant_where_its_size_is_one() -> None:
    model = read_model(sbml(CONSTANT_SPECIES), "mine")
    assert model.constants == {"D": 4.0, "B": 3.0, "K": 3.0}
    assert model.assignments == {"A": sym("amount_of_A") / sym("C"), "M": 3 / sym("D")}
    assert model.rates["amount_of_A"] == 0


def test_what_nothing_uses_needs_no_value_and_what_may_change_is_a_state() -> None:
    model = read("species S, T, $K; compartment C; S = 1; K = 2; var p; x = 1; x' = -x*K;")
    assert set(model.rates) == {"x", "S", "K"}
    assert model.rates["S"] == model.rates["K"] == 0
    assert model.constants == {"default_compartment": 1.0}


def test_moments_at_which_a_condition_on_time_switches_are_told() -> None:
    model = read(
        "on = 2; off = 5; dose := piecewise(1, time >= on && time < on + off, 0);"
        "late := piecewise(dose, 2*(time - 3) > off, 7); seen := piecewise(1, dose > 0.5, 0);"
        "x = 0; x' = late + piecewise(2, x > 3, 1) + max(time, x) + seen;"
    )
    on, off = sym("on"), sym("off")
    assert set(model.breakpoints) == {on, on + off, off / 2 + 3}
    assert len(model.breakpoints) == 3


def test_a_condition_on_a_piecewise_quantity_holds_only_comparisons() -> None:
    model = read(
        "dose := piecewise(1, time < 3, 2*x); x = 1; x' = seen - x;"
        "seen := piecewise(1, dose > 0.5, 0) + piecewise(2, !(dose >= 1.5), 0);"
    )
    assert not any(f.has(sympy.ITE) for f in (*model.rates.values(), *model.assignments.values()))
    cases = {(1.0, 0.9): 3.0, (4.0, 0.1): 2.0, (4.0, 0.5): 3.0, (4.0, 0.9): 1.0}
    for (time, x), expected in cases.items():
        assert value(model, "seen", time, x=x) == expected
    assert set(model.breakpoints) == {3}


def test_the_pulse_of_a_published_model_switches_at_its_parameters(shared_data: Path) -> None:
    path = shared_data / "petab_problems/Brannmark_JBC2010/model_Brannmark_JBC2010.xml"
    model = read_model(path.read_text(encoding="utf-8"), "Brannmark")
    assert set(model.breakpoints) == {sym("insulin_time_1"), sym("insulin_time_2")}
    assert value(model, "insulin", time=-1.0) == 0.0
    assert value(model, "insulin", time=0.0) == 0.3


def test_an_event_tells_the_amount_behind_a_concentration() -> None:
    model = read(
        "compartment C = 2; C' = 0.5; species S in C; S = 3; on = 4; k = 1; x = 1; x' = -k*x;"
        "add: at 2*(time - on) >= 1: S = S + 1, k = 2*time, C2 = C; C2 = 1; C2' = 0;"
    )
    (event,) = model.events
    amount, size, on = sym("amount_of_S"), sym("C"), sym("on")
    assert event.name == "add"
    assert event.time == on + sympy.Rational(1, 2)
    assert sympy.expand(event.assignments.pop("amount_of_S")) == amount + size
    assert event.assignments == {"k": 2 * on + 1, "C2": size}
    assert model.rates["k"] == 0
    assert model.initials["k"] == 1
    assert model.constants == {"on": 4.0}


def test_events_of_one_moment_that_do_not_concern_each_other_are_one() -> None:
    text = antimony(
        "T = 2; x = 1; y = 1; z = 1; x' = -x; y' = -y; z' = -z;"
        "a: at time >= T: x = 3; b: at time >= T: y = 4 + T; c: at time > T: z = 5;"
    )
    model = read_model(text, "mine")
    assert [(e.name, e.time) for e in model.events] == [("a+b+c", sym("T"))]
    assert model.events[0].assignments == {"x": 3, "y": sym("T") + 4, "z": 5}
    assert_same_course(model, antimony_to_sbml(text, "mine"), [0.0, 1.0, 2.5])


def test_an_event_that_is_past_at_the_start_is_no_event() -> None:
    past = read("x = 1; x' = -x; a: at time >= 0: x = 5; b: at 3 after time > -1: x = 7;")
    assert [each.assignments for each in past.events] == []
    assert past.initials == {"x": 1}


def test_numbers_are_those_of_the_text() -> None:
    model = read("x' = 1.25e-7*x + 0.1 + 2.0*x^2 + 1e-300 + 7/5; x = 1;")
    rate = calculator(model, model.rates)
    assert rate(0.0, [1.0], [])[0] == 1.25e-7 + 0.1 + 2.0 + 1e-300 + 7 / 5
    assert all(
        number.is_Integer for number in read("x' = x^2.0; x = 1;").rates["x"].atoms(sympy.Number)
    )
    huge = read("x' = 10^5000*x; x = 1;").rates["x"]
    assert len(str(huge)) < 100


def test_the_root_of_a_square_is_a_distance() -> None:
    model = read("x' = sqrt(x^2) + (x^2)^0.5; x = -3;")
    assert calculator(model, model.rates)(0.0, [-3.0], [])[0] == 6.0


def test_a_text_may_begin_with_a_byte_order_mark_or_blank_lines() -> None:
    expected = read_model(sbml(LEVEL_2, 2, 4), "mine")
    for before in ("\ufeff", "\n\n  ", "\ufeff\n"):
        assert read_model(before + sbml(LEVEL_2, 2, 4), "mine") == expected
    latin = sbml(LEVEL_2, 2, 4).replace("?>", ' encoding="ISO-8859-1"?>', 1)
    assert read_model(latin, "mine") == expected
    bare = sbml(LEVEL_2, 2, 4).split("?>", 1)[1]
    assert read_model(bare, "mine") == expected
    assert read_model("\ufeff" + antimony("x = 1; x' = -x;"), "mine").initials == {"x": 1}


def test_several_threads_read_at_once() -> None:
    found: dict[int, SymbolicModel] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = read(f"k{number} = {number}; x = 1; x' = -k{number}*x;")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: model.constants for i, model in found.items()} == {i: {f"k{i}": i} for i in range(6)}


def test_assignments_in_a_circle_are_refused_where_the_reader_lets_them_through() -> None:
    with pytest.raises(FileNotValid, match="mine: .*refer to each other in a circle: a -> b -> a"):
        resolve({"a": sym("b") + 1, "b": sym("a") + 1}, "mine")


def test_a_program_that_only_loads_the_reader_starts_without_its_libraries() -> None:
    program = (
        "import sys, chiploop.models.sbml_export; "
        "print(sorted({'sympy', 'antimony', 'libsbml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=MODELS.parents[1], capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
