"""What a person reads in a model text is found in it, and nothing else is."""

from __future__ import annotations

import pytest

from chiploop.models.facts import MODELS
from chiploop.models.model_files import formulas_of
from chiploop.models.sbml_export import to_sbml
from chiploop.models.text_notes import (
    as_antimony,
    comments_of,
    equations_of,
    state_count,
    title_of,
)

TEXT = """// A small chip.
// second line
model small
  Q = 60;      // uL/h, flow
  a = 1; b = 2;  // 1/h, both [ours]
  /* no = 3; // not said */
  /* a block
     c = 5; // inside
  */
  x' = -a*x; y := b*x;   # a comment with z' = 3
  J0: S -> T; a*S;
  at time >= 5: x = 3;
  x = 2*b; plain = 7; S = 1; T = 0;
end
"""


def test_the_title_is_the_comment_that_a_text_begins_with() -> None:
    assert title_of(TEXT) == "A small chip."
    assert title_of("model a\n// later\nend") == ""
    assert title_of("\ufeff/* one */\nmodel a\nend") == "one"
    assert title_of('<sbml><model id="a" name="A &amp; B"/></sbml>') == "A & B"
    assert title_of("<sbml><model id='a'/></sbml>") == ""


def test_comments_stand_beside_every_name_of_their_line() -> None:
    comments = comments_of(TEXT)
    assert comments["Q"] == "uL/h, flow"
    assert comments["a"] == comments["b"] == "1/h, both [ours]"
    assert "c" not in comments and "no" not in comments and "plain" not in comments


def test_equations_are_sorted_by_what_they_do() -> None:
    equations = equations_of(TEXT)
    assert equations.rates == ("x' = -a*x",)
    assert equations.formulas == ("y := b*x",)
    assert equations.reactions == ("J0: S -> T; a*S",)
    assert equations.events == ("at time >= 5: x = 3",)
    assert equations.starts == ("x = 2*b",)


@pytest.mark.parametrize("name", MODELS)
def test_states_are_counted_without_reading_the_text(name: str) -> None:
    text = MODELS[name].read_text(encoding="utf-8")
    assert state_count(text) == len(formulas_of(text, name).rates)


def test_states_that_a_reaction_makes_are_not_guessed() -> None:
    assert state_count(TEXT) is None
    assert state_count("<sbml/>") is None


def test_sbml_is_shown_as_antimony() -> None:
    text = MODELS["skin_chip"].read_text(encoding="utf-8")
    shown = equations_of(as_antimony(to_sbml(text, "skin_chip")))
    assert len(shown.rates) == 17
    assert any(rate.startswith("V' = ") for rate in shown.rates)
    assert comments_of(to_sbml(text, "skin_chip")) == {}
