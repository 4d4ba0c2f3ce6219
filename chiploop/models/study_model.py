"""The compiled model of a study: of the study's own copy of the files, with the readouts that it takes.

Belongs here: that choice. Not here: compiling and simulating (tissue_model).
"""

from __future__ import annotations

from chiploop.errors import FileNotValid
from chiploop.models.tissue_model import TissueModel, load_model
from chiploop.study import Study


def model_of(study: Study) -> TissueModel:
    """Return the model that a study fits; states that none of its readouts needs are left out.

    Raises FileNotValid where the model's files are no longer those that the study was loaded with.
    """
    model = load_model(study.tissue.path, study.tissue.measured(study.assays))
    if model.sha256 != study.tissue.sha256:
        raise FileNotValid(
            f"{study.tissue.path} or the .yaml beside it is not what it was when {study.name} was "
            f"loaded: sha256 {model.sha256[:16]}, not {study.tissue.sha256[:16]}"
        )
    return model
