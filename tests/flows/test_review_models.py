"""Models that the review page offers: those that can be fitted, by name, and nothing else of a folder."""

from __future__ import annotations

from pathlib import Path

from flows.review_models import models_of


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
