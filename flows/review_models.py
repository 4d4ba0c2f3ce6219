"""Models that a run can be fitted with from the review page.

Belongs here: which there are. Not here: whether a study fits one of them (chiploop.refit), fitting.

A page never takes a path: it names one of these. A laboratory's own models stand in `models/` of the folder of
runs.
"""

from __future__ import annotations

import re
from pathlib import Path

from chiploop.models.facts_parts import MODELS, SUFFIXES, facts_path

OWN_FOLDER = "models"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
HIDDEN = "virtual_"
"""Beginning of the names of hidden truths, which nobody fits."""


def models_of(runs: Path) -> dict[str, Path]:
    """Return name -> text of the models that come with chiploop and of those in the folder of runs."""
    found = {name: path for name, path in MODELS.items() if not name.startswith(HIDDEN)}
    own = runs / OWN_FOLDER
    if own.is_dir():
        for path in sorted(own.iterdir()):
            if (
                path.suffix in SUFFIXES
                and NAME.fullmatch(path.stem)
                and path.is_file()
                and facts_path(path).is_file()
                and path.stem not in found
            ):
                found[path.stem] = path
    return found
