"""Named sets of acceptance rules, each a YAML file with its source, to be copied and edited.

Belongs here: reading a set and what its numbers mean. Not here: judging a curve by them.
Two sets ship, in protocols/acceptance; a path to one's own file is taken as well.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationError

from chiploop.errors import FileNotValid
from chiploop.protocols_path import protocols_folder
from chiploop.study_fields import (
    FROM_FILE,
    Count,
    Identifier,
    Part,
    PositivePercentage,
    as_tuple,
)
from chiploop.study_parts import Acceptance
from chiploop.study_yaml import read_yaml

FOLDER = "acceptance"


class CalibratorRules(Part):
    """When a level of the standards passes, and how many must."""

    recovery: PositivePercentage
    recovery_at_limits: PositivePercentage
    passing_levels: PositivePercentage
    least_levels: Count
    anchors: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Calibrators outside of the range, which are not judged: names of standards, ``lowest``, ``highest``."""


class ControlRules(Part):
    """When quality controls pass, and how many must."""

    accuracy: PositivePercentage
    accuracy_at_limits: PositivePercentage
    precision: PositivePercentage
    precision_at_limits: PositivePercentage
    total_error: PositivePercentage
    total_error_at_limits: PositivePercentage
    passing: PositivePercentage
    """Part of all controls of a run."""
    passing_per_level: PositivePercentage


class ReplicateRules(Part):
    """Largest CV of the concentrations of replicates."""

    cv: PositivePercentage
    cv_at_limits: PositivePercentage


class DilutionRules(Part):
    """How far diluted samples may differ once dilution is taken back."""

    linearity: PositivePercentage
    parallelism_cv: PositivePercentage


class QuantificationRules(Part):
    """What a limit of quantification by CV asks for."""

    concentration_cv: PositivePercentage


class BeadRules(Part):
    """Beads that a well-analyte needs, where its file states no number of its own."""

    least: Count


class AcceptanceRules(Part):
    """One named set of rules."""

    name: Identifier
    title: str = ""
    source: str
    """Where the numbers come from."""
    to_be_confirmed: bool
    """True until somebody has read the source itself."""
    calibrators: CalibratorRules
    quality_controls: ControlRules
    replicates: ReplicateRules
    dilutions: DilutionRules
    quantification: QuantificationRules
    beads: BeadRules | None = None

    @property
    def acceptance(self) -> Acceptance:
        """Return the part of the rules that a kit states too."""
        return Acceptance(
            recovery=self.calibrators.recovery,
            recovery_at_limits=self.calibrators.recovery_at_limits,
            cv=self.replicates.cv,
            cv_at_limits=self.replicates.cv_at_limits,
            passing_levels=self.calibrators.passing_levels,
            least_levels=self.calibrators.least_levels,
            quantification="passing_standards",
        )


@lru_cache(maxsize=16)
def acceptance_rules(name: str | Path = "ligand_binding") -> AcceptanceRules:
    """Return a set by name, or from a file by its path.

    Raises
    ------
    FileNotValid : no such set, or a file with a problem; each problem is told with its line.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = protocols_folder() / FOLDER / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml")))
            raise FileNotValid(
                f"there is no set of acceptance rules '{name}'; allowed are {known}, or the path of "
                "a YAML file"
            )
    text = read_yaml(path)
    if text.problems:
        one = text.problems[0]
        raise FileNotValid(f"{path}, line {one.line}: {one.message}; {one.hint}")
    if text.values.pop("chiploop", None) != 1:
        raise FileNotValid(f"{path}: a set of acceptance rules begins with 'chiploop: 1'")
    try:
        return AcceptanceRules.model_validate(
            text.values, context=FROM_FILE, by_alias=True, by_name=False
        )
    except ValidationError as trouble:
        told = []
        for error in trouble.errors():
            place = tuple(key for key in error["loc"])
            line = text.line(place)
            told.append(f"line {line}, {'.'.join(str(key) for key in place)}: {error['msg']}")
        raise FileNotValid(f"{path}: " + "; ".join(told)) from None
