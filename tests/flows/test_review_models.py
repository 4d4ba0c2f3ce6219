"""Models that the review page offers: those that can be fitted, by name, and nothing else of a folder."""

from __future__ import annotations

from pathlib import Path

from chiploop.models.facts import MODELS
from chiploop.study import load_study
from flows.opening import new_run
from flows.review_models import models_for, models_of
from tests.flows.conftest import SMALL_STUDY


def test_models_are_those_that_ship_without_hidden_truths_and_those_beside_the_runs(
    tmp_path: Path,
) -> None:
    assert set(models_of(tmp_path)) == {"skin_chip", "psoriasis_chip"}
    own = tmp_path / "models"
    own.mkdir()
    for name in ("mine.ant", "mine.yaml", "alone.ant", "a b.ant", "a b.yaml", "skin_chip.ant",
                 "skin_chip.yaml", "sbml.xml", "sbml.yaml", "notes.txt"):  # fmt: skip
        (own / name).write_text("")
    found = models_of(tmp_path)
    assert set(found) == {"skin_chip", "psoriasis_chip", "mine", "sbml"}
    assert found["mine"] == own / "mine.ant" and found["skin_chip"].parent != own


def test_a_model_is_offered_where_the_study_fits_it_and_else_told_with_what_fit_would_say(
    tmp_path: Path,
) -> None:
    run_id = new_run(load_study(SMALL_STUDY), tmp_path, 1, True, False).run_id
    own = tmp_path / "models"
    own.mkdir()
    text, beside = MODELS["skin_chip"], MODELS["skin_chip"].with_suffix(".yaml")
    (own / "mine.ant").write_text(text.read_text())
    (own / "mine.yaml").write_text(beside.read_text().replace("model: skin_chip", "model: mine"))
    (own / "torn.ant").write_text(text.read_text())
    (own / "torn.yaml").write_text("model: [")
    found = models_for(tmp_path, run_id)
    assert {name for name, why in found.items() if not why} == {"skin_chip", "mine"}
    assert "can not be fitted with" in found["psoriasis_chip"] and found["torn"]
    assert set(found) == {"skin_chip", "psoriasis_chip", "mine", "torn"}
    (own / "torn.yaml").write_text((own / "mine.yaml").read_text().replace("mine", "torn"))
    assert models_for(tmp_path, run_id)["torn"] == ""  # looked at again once its file has changed
    assert "can not be read" in models_for(tmp_path, "no-such-run")["skin_chip"]
