"""Models and inlets for the tests of models."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import MODELS, TissueModel
from tests.chiploop.models.tissue_reference import DEFAULTS, Segment

DEMO = ("TEER", "CCL26", "ldh_release")
"""Readouts of the demo study."""


def inlet(segments: Sequence[Segment], chip_id: str = "C", flg_dose: float = 1.0) -> ChipInlet:
    """Return the inlet of a chip with these inflows."""
    edges = np.array([segments[0][0], *(segment[1] for segment in segments)])
    inflows = np.array([segment[2:] for segment in segments], dtype=float)
    return ChipInlet(chip_id, edges, inflows, {"flg_dose": flg_dose})


def parameters(model: TissueModel, **changed: float) -> np.ndarray:
    """Return one parameter set (1, p): the defaults of the model's text, with these changed."""
    return np.array([[{**DEFAULTS, **changed}[name] for name in model.estimated_names]])


def with_every_protein(folder: Path, rtol: float) -> TissueModel:
    """Return skin_chip with every protein that it secretes read at a moment."""
    text = MODELS["skin_chip"]
    facts = text.with_suffix(".yaml").read_text("utf-8")
    for symbol in ("C17", "TSLP", "IL8"):
        now = f"{{symbol: {symbol}, kind: moment"
        assert f"{{symbol: {symbol}, kind: window_mean" in facts
        facts = facts.replace(f"{{symbol: {symbol}, kind: window_mean", now)
    more = "  CCL26_now: {symbol: C26, kind: moment, unit: pg/mL, scale: log}\nviability:"
    shutil.copy(text, folder / "skin_chip.ant")
    (folder / "skin_chip.yaml").write_text(facts.replace("viability:", more), encoding="utf-8")
    return TissueModel("skin_chip", folder / "skin_chip.ant", rtol)
