"""Whatever stands in a model's two files, a check says what is wrong, and never fails itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiploop.errors import FileNotValid
from chiploop.models.facts import MODELS
from chiploop.models.facts_parts import ModelText
from chiploop.models.model_check import WANTED_BESIDE, Checked, check_model
from chiploop.models.model_files import LARGEST_TEXT_BYTES, formulas_of, text_of
from chiploop.models.sbml_text import DEEPEST_SBML

PLAIN = """# A plain model
model plain
  Q = 50; k = 0.02;
  x = 1; v = 1;
  x' = -k*x*Q/50; v' = 0;
end
"""
BESIDE = """model: plain
inputs: {flow_rate_ul_h: Q}
readouts:
  TEER: {symbol: x, kind: moment, unit: ohm*cm2, scale: log}
viability: v
estimated:
  k: {kind: lognormal, median: 0.02, ln_sd: 0.5, unit: 1/h}
"""


def checked(folder: Path, text: str | bytes, beside: str | None = None) -> Checked:
    path = folder / "plain.ant"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if beside is not None:
        path.with_suffix(".yaml").write_text(beside, encoding="utf-8")
    return check_model(path)


def told(found: Checked) -> list[tuple[str, int | None, str]]:
    return [(p.file, p.problem.line, p.problem.message) for p in found.problems]


@pytest.mark.parametrize("name", MODELS)
def test_models_of_chiploop_are_right(name: str) -> None:
    found = check_model(MODELS[name])
    assert found.problems == () and found.notes == ()
    assert found.day is not None and found.day.steps > 0
    assert found.day.stiffness is not None and 100 < found.day.stiffness < 10_000


def test_a_model_without_drug_and_stimulus_is_right_and_no_study_takes_it(tmp_path: Path) -> None:
    found = checked(tmp_path, PLAIN, BESIDE)
    assert found.problems == ()
    assert found.day is not None and found.day.fastest_h == pytest.approx(50.0)
    assert found.day.slowest_h == pytest.approx(50.0)
    assert [note for note in found.notes if "drug_nm is missing" in note]
    assert [note for note in found.notes if "stimulus" in note]


BAD_BYTES = {
    "is empty": b" \n",
    "is not a text file": b"model\x00",
    "UTF-16": "model".encode("utf-16"),
    "is not UTF-8 text at line 2": "a\nµ".encode("latin-1"),
    "larger than 5 MB": b"x" * (LARGEST_TEXT_BYTES + 1),
}


@pytest.mark.parametrize("said", BAD_BYTES)
def test_a_file_that_gives_no_text_is_one_problem(tmp_path: Path, said: str) -> None:
    ((file, _, message),) = told(checked(tmp_path, BAD_BYTES[said], BESIDE))
    assert file == "plain.ant" and said in message and str(tmp_path) not in message


def test_folders_and_files_that_are_not_there_are_problems(tmp_path: Path) -> None:
    (tmp_path / "a.ant").mkdir()
    assert "is a folder" in told(check_model(tmp_path / "a.ant"))[0][2]
    assert "there is no file" in told(check_model(tmp_path / "b.ant"))[0][2]


def test_every_refused_element_of_a_text_is_told_with_its_line(tmp_path: Path) -> None:
    text = "model plain\n x = 1; y = 1;\n x' = -floor(x);\n y' = -ceil(y);\n z := x > 2;\nend\n"
    found = told(checked(tmp_path, text, BESIDE))
    in_text = [(line, message) for file, line, message in found if file == "plain.ant"]
    assert [line for line, _ in in_text] == [3, 4, 5]
    assert in_text[0][1].startswith("rate rule x: floor is not supported")
    assert [file for file, *_ in found if file == "plain.yaml"]


def test_a_word_that_is_not_antimony_is_told_with_its_line(tmp_path: Path) -> None:
    ((_, line, message),) = told(checked(tmp_path, "model plain\n x' = -x*;\nend", BESIDE))[:1]
    assert line == 2 and "syntax error" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("é µ hello", "first letter outside ASCII stands on line 1"),
        ("model plain\n x = 1;\n x' = " + "+".join(["x"] * 3000) + ";\nend", "too long"),
        ("model plain\n k = 1;\nend", "nothing in it changes with time"),
    ],
)
def test_texts_that_the_libraries_stumble_over_are_told_in_words(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in told(checked(tmp_path, text))[0][2]


def test_sbml_that_would_end_the_process_is_refused_before_it_is_read() -> None:
    deep = "<sbml>\n" + "<apply>" * (DEEPEST_SBML + 5) + "</apply>" * (DEEPEST_SBML + 5) + "</sbml>"
    with pytest.raises(FileNotValid, match="line 2: more than 1000 elements"):
        formulas_of(deep, "deep")


def test_a_text_alone_is_still_read(tmp_path: Path) -> None:
    found = checked(tmp_path, PLAIN)
    assert told(found) == [
        ("plain.yaml", None, "there is no plain.yaml beside plain.ant; it says what is read")
    ]
    assert found.symbolic is not None and list(found.symbolic.rates) == ["x", "v"]


def test_what_must_stand_beside_a_text_names_every_required_key() -> None:
    wanted = " ".join(WANTED_BESIDE)
    assert all(
        f"{name}:" in wanted for name, f in ModelText.model_fields.items() if f.is_required()
    )
    assert all(name in wanted for name in ModelText.model_fields if name != "varies")


SYMBOLS = [
    (
        "flow_rate_ul_h: Q",
        "flow_rate_ul_h: x",
        2,
        "x is a state in the text; it must be a constant",
    ),
    ("symbol: x", "symbol: k", 4, "k is a constant in the text"),
    ("symbol: x", "symbol: z", 4, "z depends on the input Q directly"),
    ("viability: v", "viability: Q", 5, "Q is a constant in the text"),
    ("  k: {", "  v: {", 7, "v is a state in the text"),
    ("viability: v", "viability: v\npotency: k", 8, '"1/h" stands here; the potency'),
]


@pytest.mark.parametrize(("before", "after", "line", "said"), SYMBOLS)
def test_a_name_that_is_something_else_in_the_text_is_told_with_its_line(
    tmp_path: Path, before: str, after: str, line: int, said: str
) -> None:
    assert before in BESIDE
    text = PLAIN.replace("end", "  z := x*Q;\nend")
    found = told(checked(tmp_path, text, BESIDE.replace(before, after)))
    assert [(file, at) for file, at, message in found if said in message] == [("plain.yaml", line)]


def test_a_model_that_grows_without_bound_does_not_simulate(tmp_path: Path) -> None:
    text = PLAIN.replace("-k*x*Q/50", "50*k*x^2 + 0*Q")
    ((file, _, message),) = told(checked(tmp_path, text, BESIDE))
    assert file == "plain.ant" and "does not simulate" in message


def test_what_is_allowed_and_rarely_meant_is_a_note(tmp_path: Path) -> None:
    text = PLAIN.replace("end", "  lost = 1; lost' = -idle*lost; idle = 3; s = 3;\nend")
    beside = BESIDE + "  s: {kind: truncated_normal, mean: 1, sd: 1, low: 0, high: 2, unit: '1'}\n"
    found = checked(tmp_path, text, beside)
    assert found.problems == ()
    notes = "\n".join(found.notes)
    assert "no readout needs the state lost" in notes
    assert "estimated, but no readout depends on it: s" in notes
    assert "constants that no readout depends on: idle" in notes
    assert "s = 3 in the text, outside its prior's 0 to 2" in notes


def test_a_text_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.ant").write_text(PLAIN, encoding="utf-8")
    assert text_of(tmp_path / "a.ant") == PLAIN
