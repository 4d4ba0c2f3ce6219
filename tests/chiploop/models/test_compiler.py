"""From a text to machine code: what is refused, the cache, a start that compiles nothing, the fallback."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from chiploop.errors import FileNotValid
from chiploop.models import lanes
from chiploop.models.batch import CompiledModel, Schedule
from chiploop.models.compiler import compile_model
from chiploop.models.tissue_model import TissueModel

PROJECT = Path(__file__).parents[3]
DAY = Schedule(np.array([0.0, 24.0]), np.array([[1.0]]))


def text(body: str) -> str:
    return f"model mine\nQ = 1;\n{body}\nend\n"


def compiled(
    body: str,
    folder: Path,
    observed: tuple[str, ...] = ("x",),
    integrals: tuple[str, ...] = (),
    **more: str,
) -> CompiledModel:
    return compile_model(text(body), "mine", ["Q"], observed, integrals, folder, **more)  # type: ignore[arg-type]


def start_of(model: CompiledModel, **changed: float) -> dict[str, float]:
    """Return state -> its value at the start."""
    rows = model.parameter_rows(1, changed)
    still = Schedule(np.array([0.0, 1e-300]), np.array([[1.0]]))
    found = model.run(rows, [still], np.array([]), rtol=1e-6).states[0, 0]
    return dict(zip(model.states, found.tolist(), strict=True))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x = 1; x' = -x; at (x < 0.5): x = 1;", "event .*: "),
        ("x = 1; x' = -x*other;", "other has no value"),
        ("x = 1; x' = -x*Q; a = 1; 0 = a - x;", "algebraic rule"),
        ("x = 1; x' = -x*;", "line 3"),
        ("x = Q; x' = -x;", "initial value of x.*input"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(body: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotValid, match=words) as refusal:
        compiled(body, tmp_path)
    assert str(refusal.value).startswith("model mine")
    assert not list(tmp_path.iterdir()), "nothing of a refused text stays in the cache"


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
    assert start_of(model) == pytest.approx({"x": 2.0, "y": 4.0})
    assert start_of(model, k1=4.0) == pytest.approx({"x": 4.0, "y": 4.0})


def test_a_state_that_nothing_read_out_depends_on_is_left_out(tmp_path: Path) -> None:
    body = "a = 1; b = 1; c = 1; a' = -a*q; q := b + 1; b' = -b; c' = a - c;"
    for observed, states in (("a", ("a", "b")), ("b", ("b",)), ("c", ("a", "b", "c"))):
        assert compiled(body, tmp_path, (observed,)).states == states


def in_a_new_process(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_second_time_nothing_is_compiled_and_no_compiler_is_imported(
    model: TissueModel,
) -> None:
    assert model.name == "skin_chip", "the fixture has compiled it"
    found = in_a_new_process(
        "import sys\n"
        "import numpy as np\n"
        "from chiploop.models import compiler, driver, lanes\n"
        "def compile_object(*_): raise AssertionError('it compiled')\n"
        "lanes.compile_object = driver.compile_object = compile_object\n"
        "from tests.chiploop.models.chips import DEMO, inlet\n"
        "from chiploop.models.tissue_model import load_model\n"
        "model = load_model('skin_chip', DEMO)\n"
        "chip = inlet([(0.0, 24.0, 60.0, 0.0, 0.0, 0.0)])\n"
        "centers = np.array([[p.center for p in model.estimated]])\n"
        "assert model.simulate(centers, [chip], np.array([24.0])).failed == 0\n"
        "print(sorted({'sympy', 'antimony', 'libsbml', 'numba'} & set(sys.modules)))\n"
    )
    assert found == "[]"


def test_another_text_or_another_readout_is_another_entry_of_the_cache(tmp_path: Path) -> None:
    first = compiled("x = 1; x' = -x;", tmp_path)
    again = compiled("x = 1; x' = -x;", tmp_path)
    assert (first.states, first.text_sha256) == (again.states, again.text_sha256)
    assert len(list(tmp_path.glob("model_*.o"))) == 1
    with_integral = compiled("x = 1; x' = -x;", tmp_path, ("integral_x",), ("x",))
    assert with_integral.states == ("x", "integral_x")
    assert first.text_sha256 == with_integral.text_sha256
    compiled("x = 1; x' = -x;", tmp_path, method="rodas4")
    assert len(list(tmp_path.glob("model_*.o"))) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "facts"])
def test_a_damaged_cache_is_made_anew_and_never_run(damage: str, tmp_path: Path) -> None:
    compiled("x = 1; x' = -x;", tmp_path)
    (code,), (facts,) = tmp_path.glob("model_*.o"), tmp_path.glob("model_*.json")
    whole = code.read_bytes()
    if damage == "cut":
        code.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        code.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "gone":
        code.unlink()
    else:
        facts.write_text(json.dumps({"states": ["x"]})[:-3])
    model = compiled("x = 1; x' = -x;", tmp_path)
    assert code.read_bytes() == whole
    found = model.run(model.parameter_rows(1, {}), [DAY], np.array([1.0]), rtol=1e-8)
    assert found.observed[0, 0, 0, 0] == pytest.approx(np.exp(-1.0), rel=1e-7)


def test_where_lanes_can_not_be_compiled_the_scalar_engine_runs_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("no such instruction\nand more")

    monkeypatch.setattr(lanes, "compile_object", broken)
    with pytest.warns(RuntimeWarning, match=r"model mine: .*\(no such instruction\); the scalar"):
        model = compiled("x = 1; x' = -x;", tmp_path)
    assert (model.engine, model.width) == ("scalar", 1)
    found = model.run(model.parameter_rows(1, {}), [DAY], np.array([1.0]), rtol=1e-8)
    assert found.observed[0, 0, 0, 0] == pytest.approx(np.exp(-1.0), rel=1e-7)
    with pytest.raises(RuntimeError, match="no such instruction"):
        compiled("x = 1; x' = -x;", tmp_path, engine="lanes")


def test_an_engine_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine 'gpu' is not one of lanes, scalar"):
        compiled("x = 1; x' = -x;", tmp_path, engine="gpu")


def test_a_cache_that_can_not_be_written_is_told_and_the_model_runs(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    for engine in ("lanes", "scalar"):
        with pytest.warns(RuntimeWarning, match="can not be written"):
            model = compiled("x = 1; x' = -x;", tmp_path / "taken", engine=engine)
        found = model.run(model.parameter_rows(1, {}), [DAY], np.array([1.0]), rtol=1e-8)
        assert found.observed[0, 0, 0, 0] == pytest.approx(np.exp(-1.0), rel=1e-7)


def test_threads_that_load_one_model_at_once_get_one_model(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(lambda _: compiled("x = 1; x' = -x;", tmp_path), range(4)))
    assert {model.engine for model in models} == {"lanes"}
    assert len(list(tmp_path.iterdir())) == 2
