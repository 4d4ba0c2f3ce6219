"""Truths that are the fitted model with one flaw planted in it, so that the EC50 itself is misled.

Belongs here: the flaws and the models that have them. Not here: chips (proposal_scenario), runs (proposal_run).

The virtual laboratory's other model hardly moves the EC50, because drug and stimulus come together and CCL26 is
read at the goal's own time. These two change the dose-response itself, in a way that no parameter of the fit
takes up. They were chosen before any policy met them, by fits of fixed sets of 24 chips on truths that no policy
is run on (seeds 200 to 211). Of 12 intervals, 5 held the truth with ``unblocked`` (doses to 3 uM; the gate saw 1
of the 7 misses), 6 with ``dying`` (it saw 2 of 6), 1 with ``dying`` and doses to 100 uM (it saw all 11), and 8
with the right model. Truths whose flaw lets no concentration have half of the effect counted as missed there (4
with ``dying``); on the bench they are drawn again, so that every truth has an EC50. Else the parameters are those
of the right truth of the same seed.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chiploop.models.facts import facts_path, model_path
from chiploop.models.tissue_model import TissueModel
from chiploop.study import Study

FITTED = "skin_chip"


@dataclass(frozen=True)
class Flaw:
    """What the truth does and the fitted model does not."""

    title: str
    line: str
    """Of the fitted model's text."""
    instead: str
    """Of the truth's."""


FLAWS: dict[str, Flaw] = {
    "dying": Flaw(
        "dying tissue releases CCL26, at the fastest death twice what full signalling makes",
        "C26' = (1000*A*V*s26*P/(P + K26) - Q*C26)/V_ch;",
        "C26' = (1000*A*V*s26*(P/(P + K26) + 2*tox) - Q*C26)/V_ch;",
    ),
    "unblocked": Flaw(
        "a fifth of the signal goes a way that no drug blocks",
        "J := 1/(1 + (D_free/IC50)^h);",
        "J := 0.2 + 0.8/(1 + (D_free/IC50)^h);",
    ),
}
"""Name -> flaw."""


def flawed_text(text: str, flaw: Flaw) -> str:
    """Return the truth's text; ValueError where the fitted model's no longer has the line once."""
    found = text.count(flaw.line)
    if found != 1:
        raise ValueError(f"the model's text has the line {flaw.line!r} {found} times, not once")
    return text.replace(flaw.line, flaw.instead)


def flawed_model(study: Study, name: str) -> TissueModel:
    """Return the tissue model of a flawed truth, with the readouts that the study takes."""
    return loaded(name, study.tissue.measured(study.assays))


@lru_cache(maxsize=4)
def loaded(name: str, readouts: tuple[str, ...]) -> TissueModel:
    """Return a flawed model; compiled once."""
    own = model_path(FITTED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / own.name
        path.write_text(flawed_text(own.read_text(encoding="utf-8"), FLAWS[name]), encoding="utf-8")
        shutil.copy(facts_path(own), facts_path(path))
        return TissueModel(FITTED, path, readouts=readouts)
