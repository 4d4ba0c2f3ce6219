"""Models that a run can be fitted with from the review page.

Belongs here: which there are, which of them a study fits. Not here: that rule (chiploop.other_model), fitting.

A page never takes a path: it names one of these. A laboratory's own models stand in `models/` of the folder of
runs.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from chiploop.models.facts_parts import MODELS, SUFFIXES, facts_path

OWN_FOLDER = "models"
STUDY_FILE = "study.json"
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


def models_for(runs: Path, run_id: str) -> dict[str, str]:
    """Return model -> why the study of a run can not be fitted with it; empty where it can."""
    study = runs / run_id / STUDY_FILE
    return {
        name: _why_not(study, stamp(study), text, (stamp(text), stamp(facts_path(text))))
        for name, text in models_of(runs).items()
    }


def stamp(path: Path) -> tuple[int, int]:
    """Return another pair where a file may have changed; zeros where it is not there."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=128)
def _why_not(study: Path, of_study: tuple[int, int], text: Path, of_text: object) -> str:
    """Return what ``models_for`` says of one model; the stamps are there to ask again where a file has changed."""
    from chiploop.errors import ChiploopError
    from chiploop.other_model import why_not
    from chiploop.study import load_study

    try:
        return why_not(load_study(study), text)
    except (ChiploopError, OSError) as problem:
        return f"the study of the run can not be read: {problem}"
