"""Models and inlets for the tests of models."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from chiploop.models.inlet import ChipInlet
from chiploop.models.tissue_model import MODELS, TissueModel
from tests.chiploop.models.tissue_reference import DEFAULTS, Segment

MG_ML = {"IL-4": 15.0, "IL-13": 12.6}
"""kDa: ng/mL over this is nM."""
CONSTANTS = {"flg_dose": 1.0}


def inlet(segments: Sequence[Segment], chip_id: str = "C", flg_dose: float = 1.0) -> ChipInlet:
    """Return the inlet of a chip with these inflows."""
    edges = np.array([segments[0][0], *(segment[1] for segment in segments)])
    inflows = np.array([segment[2:] for segment in segments], dtype=float)
    return ChipInlet(chip_id, edges, inflows, {"flg_dose": flg_dose})


def parameters(model: TissueModel, **changed: float) -> np.ndarray:
    """Return one parameter set (1, p): the defaults of the model's text, with these changed."""
    return np.array([[{**DEFAULTS, **changed}[name] for name in model.estimated_names]])


def with_every_protein(folder: Path, rtol: float) -> TissueModel:
    """Return skin_chip with the three proteins that it secretes but does not read out read as well."""
    text = MODELS["skin_chip"]
    facts = YAML(typ="safe").load(text.with_suffix(".yaml").read_text("utf-8"))
    for name, symbol in (("CCL17", "C17"), ("TSLP", "TSLP"), ("IL-8", "IL8"), ("CCL26_now", "C26")):
        facts["readouts"][name] = {
            "symbol": symbol,
            "kind": "moment",
            "unit": "pg/mL",
            "scale": "log",
        }
    shutil.copy(text, folder / "skin_chip.ant")
    with (folder / "skin_chip.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(facts, file)
    return TissueModel("skin_chip", folder / "skin_chip.ant", rtol)
