"""A study with another model than its own, where the two fit together.

Belongs here: whether a study can be fitted with a model, and why not. Not here: fitting (refit), which models
there are (flows). Nothing is computed or compiled: a page may ask.
"""

from __future__ import annotations

from pathlib import Path

from chiploop.errors import FileNotValid
from chiploop.models.facts import model_facts
from chiploop.study import MODEL_FOLDER, STUDY_FILE, Study
from chiploop.study_checks import check_parts
from chiploop.study_yaml import YamlText


def study_with_model(study: Study, text: Path) -> Study:
    """Return a run's study with another model, whose text is kept beside it.

    Raises FileNotValid where the model's files can not be read or the study does not fit the model.
    """
    facts = model_facts(text, for_study=True)
    fitted = study.tissue
    if facts.model == fitted.model and facts.sha256 != fitted.sha256:
        raise FileNotValid(
            f"{text} is called {facts.model}, as the run's own model, and is another one (sha256 "
            f"{facts.sha256[:16]}, not {fitted.sha256[:16]}); give it a name of its own: file and `model:`"
        )
    own = facts.model_copy(update={"path": f"{MODEL_FOLDER}/{text.name}"})
    other = study.model_copy(update={"model": facts.model, "tissue": own})
    parts = {name: getattr(other, name) for name in type(other).model_fields}
    problems = check_parts(parts, YamlText(Path(STUDY_FILE)))
    if problems:
        told = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise FileNotValid(f"{study.name} can not be fitted with {text}: {told}")
    return other


def why_not(study: Study, text: Path) -> str:
    """Return why a study can not be fitted with a model; empty where it can."""
    try:
        study_with_model(study, text)
    except FileNotValid as problem:
        return str(problem)
    return ""
