"""What a model text may hold, what is refused and how, and the cache of compiled models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.models.compiler import (
    CompiledModel,
    compile_model,
    needed_states,
    read_antimony,
    resolve_assignments,
)
from chiploop.models.tissue_model import MODELS, TissueModel

PROJECT = Path(__file__).parents[3]


def text(body: str) -> str:
    return f"model mine\nQ = 1;\n{body}\nend\n"


def compiled(
    body: str, folder: Path, observed: tuple[str, ...] = ("x",), integrals: tuple[str, ...] = ()
) -> CompiledModel:
    return compile_model(text(body), "mine", ["Q"], observed, integrals, folder)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "x = 1; S = 2; R1: S -> ; k*S; k = 1; x' = -x;",
            r"1 reaction\(s\); allowed are rate rules",
        ),
        ("x = 1; x' = -x; at (x < 0.5): x = 1;", r"1 event\(s\)"),
        ("x = 1; x' = -x*other;", "other has no value"),
        ("x = 1; x' = -x*Q; a = 1; 0 = a - x;", "an algebraic rule is not supported"),
        ("x = 1; x' = -x*a; a := b + 1; b := a + 1;", "Loop detected"),
        ("x = 1; x' = -x*time;", "rate of x: time is not a parameter or state"),
        ("x = 1; x' = -x*;", "line 3"),
        ("x = 1; x' = piecewise(1, x > 2, 0) - x;", "rate of x: piecewise"),
        ("x = 1; x' = log10(x) - x;", "rate of x: log10"),
        ("x = 1; x' = x > 2;", "rate of x: a comparison is not supported"),
        ("x = 1; x' = x && 2;", "rate of x"),
        ("x = y; y = x; x' = -x; y' = -y;", "circle|Loop detected"),
        ("x = Q; x' = -x;", "initial value of x.*input"),
        ("species x; x = 1; x' = -x;", "x is not a parameter or state"),
    ],
    ids=lambda value: value if len(value) > 30 else "",
)
def test_what_is_not_supported_is_refused_by_name(body: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match=words) as refusal:
        compiled(body, tmp_path)
    assert str(refusal.value).startswith("model mine")
    assert not list(tmp_path.glob("*.py")), "nothing of a refused text stays in the cache"


def test_assignments_in_a_circle_are_refused_where_the_reader_lets_them_through() -> None:
    import sympy

    a, b = sympy.Symbol("a", real=True), sympy.Symbol("b", real=True)
    with pytest.raises(FileNotValid, match="refer to each other in a circle"):
        resolve_assignments({"a": b + 1, "b": a + 1}, "mine")


def test_what_is_read_out_must_be_in_the_text(tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match="nowhere is named beside it but not in it"):
        compiled("x = 1; x' = -x;", tmp_path, ("nowhere",))
    with pytest.raises(FileNotValid, match="observed flux depends on an input directly"):
        compiled("x = 1; x' = -x; flux := x*Q;", tmp_path, ("flux",))


def test_initial_values_may_rest_on_rules_constants_and_each_other(tmp_path: Path) -> None:
    model = compiled(
        "k1 = 2; k2 = 3*k1; total := k1 + k2; x = total/y; y = 4; x' = -k2*x*y; y' = -y;", tmp_path
    )
    assert model.parameters == ("k1",)
    start = np.zeros(2)
    model.initial(np.array([2.0]), start)
    assert dict(zip(model.states, start.tolist(), strict=True)) == {"x": 2.0, "y": 4.0}
    model.initial(np.array([4.0]), start)
    assert dict(zip(model.states, start.tolist(), strict=True)) == {"x": 4.0, "y": 4.0}


def test_a_state_that_nothing_read_out_depends_on_is_left_out() -> None:
    parts = read_antimony(
        text("a = 1; b = 1; c = 1; a' = -a*q; q := b + 1; b' = -b; c' = a - c;"), "mine"
    )
    assert needed_states(parts, ["a"]) == ("a", "b")
    assert needed_states(parts, ["b"]) == ("b",)
    assert needed_states(parts, ["q"]) == ("b",)
    assert needed_states(parts, ["c"]) == ("a", "b", "c")


def test_the_second_time_comes_from_the_cache_without_symbolic_work(model: TissueModel) -> None:
    assert model.name == "skin_chip", "the fixture has compiled it"
    program = (
        "import sys\n"
        "from chiploop.models.tissue_model import load_model\n"
        "load_model('skin_chip')\n"
        "assert 'numba' in sys.modules\n"
        "print(sorted({'sympy', 'antimony', 'libsbml'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_another_text_or_another_readout_is_another_entry_of_the_cache(tmp_path: Path) -> None:
    first = compiled("x = 1; x' = -x;", tmp_path)
    again = compiled("x = 1; x' = -x;", tmp_path)
    assert first == again
    assert len(list(tmp_path.glob("model_*.py"))) == 1
    with_integral = compiled("x = 1; x' = -x;", tmp_path, ("integral_x",), ("x",))
    assert with_integral.states == ("x", "integral_x")
    assert first.text_sha256 == with_integral.text_sha256
    assert len(list(tmp_path.glob("model_*.py"))) == 2


def test_the_shipped_texts_use_only_what_is_declared() -> None:
    for name, path in MODELS.items():
        parts = read_antimony(path.read_text("utf-8"), name)
        assert set(parts.rates) == set(parts.initials)
