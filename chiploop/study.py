"""The study: one YAML file and the protocols that it names, as one frozen value.

Belongs here: what a study is, loading and checking a file, finding the files that it names.
Not here: the parts (study_parts, study_goals), how they must fit together (study_checks), YAML (study_yaml).

``load_study`` tells every problem at once, each with its line, field and what to write instead.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from chiploop.errors import FileNotValid, Problem
from chiploop.models.facts import TEER, ModelFacts
from chiploop.study_checks import check_parts
from chiploop.study_fields import (
    FROM_FILE,
    Concentration,
    Identifier,
    MassConcentration,
    Part,
    as_tuple,
    is_nothing,
)
from chiploop.study_goals import Costs, Decided, Goal, Stop, is_free
from chiploop.study_parts import (
    Acceptance,
    Approval,
    Assay,
    AssayText,
    Chip,
    Controls,
    Donor,
    Drug,
    FurtherLines,
    Kit,
    Limits,
    Line,
    Perfusion,
    PlanningSd,
    Sampling,
    Standards,
    Stock,
    Syringe,
    Timeline,
    Variation,
)
from chiploop.study_patients import DonorPatient
from chiploop.study_problems import problems_of, valid_parts
from chiploop.study_references import References
from chiploop.study_schedules import STIMULUS, WHOLE, Schedule, is_whole_alone
from chiploop.study_yaml import YamlText, read_yaml

__all__ = [
    "Acceptance",
    "Approval",
    "Assay",
    "Chip",
    "Controls",
    "Costs",
    "Decided",
    "Donor",
    "DonorPatient",
    "Drug",
    "Goal",
    "Kit",
    "Limits",
    "Line",
    "Perfusion",
    "PlanningSd",
    "Sampling",
    "Schedule",
    "Standards",
    "Stock",
    "Stop",
    "Study",
    "StudyNotValid",
    "Syringe",
    "Timeline",
    "Variation",
    "check_study",
    "load_study",
    "schema_text",
]

FORMAT_VERSION = 1
"""The version of the study format that this chiploop reads."""
STUDY_FILE, MODEL_FOLDER = "study.json", "model"
"""Names of a run's own copies of its study and its model."""


class StudyNotValid(FileNotValid):
    """A study that can not be used as it stands, with everything that is wrong with it."""

    code = "CL-310"

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {path}. Nothing was sent to any instrument.")


class _Shared(Part):
    """What a study file and a loaded study have in common."""

    chiploop: Literal[1]
    """Format version."""
    name: Identifier
    title: str = ""
    stimulus_ng_ml: dict[Identifier, MassConcentration] = Field(alias="stimulus")
    """Cytokine of the model -> concentration in stimulus medium."""
    further_arms_ng_ml: dict[Identifier, dict[Identifier, MassConcentration]] = Field(
        default={}, alias="arms", exclude_if=is_nothing
    )
    """Further stimuli by name, each in a pump of its own: a schedule says which one flows."""
    stocks: Annotated[dict[Identifier, Stock], Field(min_length=1)]
    lines: Annotated[tuple[Line, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    valves: dict[Identifier, FurtherLines] = Field(default={}, exclude_if=is_nothing)
    """Chip -> the lines that a valve before it may feed it from besides its own, under ``lines``: which one
    does is chosen for each exposure.
    """
    perfusion: Perfusion
    timeline: Timeline
    sampling: Sampling
    first_doses_nm: Annotated[
        tuple[Concentration, ...],
        BeforeValidator(as_tuple),
        Field(min_length=1, alias="first_doses"),
    ]
    """Pilot ladder, one dose per line, in the order of the lines; each for the whole exposure."""
    schedules: Annotated[
        dict[Identifier, Schedule], Field(min_length=1, exclude_if=is_whole_alone)
    ] = {WHOLE: Schedule()}
    """Name -> when drug flows within an exposure: every concentration may be proposed with each. Where none is
    stated, ``whole``: from the beginning to the end.
    """
    goals: Annotated[tuple[Goal, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    """The first one leads the proposals."""
    limits: Limits
    approval: Approval
    stop: Stop | None = None
    costs: Annotated[Costs, Field(exclude_if=is_free)] = Costs()
    patients: dict[Identifier, DonorPatient] = Field(default={}, exclude_if=is_nothing)
    """Donor -> the patient that this donor is: the report ends with which drug for this patient."""
    variation: Variation = Variation()
    model: str
    """Name of a tissue model of chiploop, or the path of a model text (.ant, or SBML .xml)."""
    instruments: str = "virtual"
    """``virtual``, or the path of a lab.toml."""


class StudyText(_Shared):
    """A study as its file writes it: drugs, chip, donors and kits by name."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["drug"]}, {"required": ["drugs"]}]}
    )

    drug: Identifier | None = None
    """Its only drug."""
    drugs: Annotated[
        tuple[Identifier, ...] | None, BeforeValidator(as_tuple), Field(min_length=2)
    ] = None
    """In place of ``drug``: those that are compared, each on lines of its own."""
    chip: Identifier
    donors: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    assays: Annotated[dict[Identifier, AssayText], Field(min_length=1)]


class Study(_Shared):
    """A study with everything that it names, in canonical units.

    ``Study.model_validate_json(study.model_dump_json())`` gives an equal study.
    """

    drug: Drug
    """The only one, or the first of ``drugs``."""
    further_drugs: tuple[Drug, ...] = Field(default=(), exclude_if=is_nothing)
    """The others, in the order of the file; empty where there is one."""
    chip: Chip
    donors: dict[Identifier, Donor]
    """Donor id -> donor."""
    assays: dict[Identifier, Assay]
    """Readout -> assay."""
    home_lines: tuple[Line, ...] = Field(default=(), exclude_if=is_nothing)
    """The lines as the file has them, where valves give chips to others now and ``lines`` says so (connections);
    empty otherwise.
    """
    tissue: ModelFacts
    """What stands beside the text of ``model``, and where both stand."""
    source_path: str = ""
    """The file that this study was read from; empty where it was built in Python."""
    sha256: str = ""
    """Digest of that file's bytes."""

    @property
    def chip_ids(self) -> tuple[str, ...]:
        """(n_chips,), line by line in the order of the file, wherever valves give them to."""
        return tuple(chip for line in self.home_lines or self.lines for chip in line.chips)

    @property
    def line_ids(self) -> tuple[str, ...]:
        """(n_lines,), in the order of the file."""
        return tuple(line.id for line in self.lines)

    @property
    def stimulus_nm(self) -> dict[str, float]:
        """Cytokine -> nM."""
        return {
            name: self.tissue.stimuli[name].nm(value) for name, value in self.stimulus_ng_ml.items()
        }

    @property
    def arms_ng_ml(self) -> dict[str, dict[str, float]]:
        """Stimulus -> cytokine -> concentration: the usual one, then the further ones."""
        return {STIMULUS: self.stimulus_ng_ml, **self.further_arms_ng_ml}

    def arm_of_stock(self, stock: str) -> str:
        """Return the stimulus that flows with a pump role; empty for plain medium."""
        if stock == "medium":
            return ""
        return stock if stock in self.arms_ng_ml else self.stocks[stock].stimulus or STIMULUS

    def arms_of(self, line_id: str) -> tuple[str, ...]:
        """Return the stimuli whose pumps a line has, the usual one first."""
        own = self.line(line_id).arms
        return (
            STIMULUS,
            *(name for name in self.further_arms_ng_ml if own is None or name in own),
        )

    @property
    def drugs(self) -> dict[str, Drug]:
        """Name -> drug, in the order of the file."""
        return {drug.name: drug for drug in (self.drug, *self.further_drugs)}

    def drug_of(self, line_id: str) -> Drug:
        """Return the drug that the chips of a line get; KeyError where there is no such line."""
        return self.drugs[self.line(line_id).drug or self.drug.name]

    def lines_of(self, drug: str) -> tuple[Line, ...]:
        """Return the lines that get a drug, in the order of the file."""
        return tuple(line for line in self.lines if self.drug_of(line.id).name == drug)

    def stocks_of(self, line_id: str) -> dict[str, Stock]:
        """Return the stocks whose pumps a line has, those of its drug in its stimuli, by strength."""
        drug, arms = self.drug_of(line_id).name, self.arms_of(line_id)
        own = [
            name
            for name, stock in self.stocks.items()
            if (stock.drug or drug) == drug and (stock.stimulus or STIMULUS) in arms
        ]
        by_strength = sorted(own, key=lambda name: self.stocks[name].concentration_nm)
        return {name: self.stocks[name] for name in by_strength}

    def pump_roles(self, line_id: str) -> tuple[str, ...]:
        """Return the roles of the pumps of a line: medium, its stimuli, then its stocks by strength."""
        return ("medium", *self.arms_of(line_id), *self.stocks_of(line_id))

    def syringes_of(self, line_id: str) -> dict[str, Syringe]:
        """Return pump role -> syringe of a line, in the order of the file."""
        roles = self.pump_roles(line_id)
        return {role: one for role, one in self.perfusion.syringes.items() if role in roles}

    def first_doses_of_nm(self, drug: str) -> tuple[float, ...]:
        """Return the first doses of the lines that get a drug."""
        doses = zip(self.lines, self.first_doses_nm, strict=True)
        return tuple(nm for line, nm in doses if self.drug_of(line.id).name == drug)

    def line(self, line_id: str) -> Line:
        """Return a line by its id; KeyError where there is none."""
        return {line.id: line for line in self.lines}[line_id]

    def line_of(self, chip_id: str) -> Line:
        """Return the line that holds a chip; KeyError where there is none."""
        return {chip: line for line in self.lines for chip in line.chips}[chip_id]

    def donor_of(self, chip_id: str) -> Donor:
        """Return the donor of a chip; KeyError where there is no such chip."""
        return self.donors[self.line_of(chip_id).chips[chip_id]]

    def line_flow_rate_ul_h(self, line_id: str) -> float:
        """Return the flow rate through the manifold of a line, uL/h: all its chips together."""
        return self.perfusion.flow_rate_ul_h * len(self.line(line_id).chips)

    def exposure_start_h(self, cycle: int) -> float:
        """Return when the exposure of a cycle (from 1) begins, study time in h."""
        step_h = self.timeline.exposure_h + self.timeline.turnaround_h
        return self.timeline.stimulus_from_h + (cycle - 1) * step_h

    def exposure_end_h(self, cycle: int) -> float:
        """Return when the exposure of a cycle (from 1) ends, study time in h."""
        return self.exposure_start_h(cycle) + self.timeline.exposure_h

    def teer_times_h(self, cycle: int) -> tuple[float, ...]:
        """Return when TEER is read in a cycle (from 1), study time in h, ascending."""
        start_h = self.exposure_start_h(cycle)
        return tuple(start_h + after_h for after_h in sorted(self.sampling.teer_h))

    def effluent_window_h(self, cycle: int) -> tuple[float, float]:
        """Return from when to when effluent is pooled in a cycle (from 1), study time in h."""
        start_h = self.exposure_start_h(cycle)
        return (start_h + self.sampling.effluent_h[0], start_h + self.sampling.effluent_h[1])

    @property
    def end_h(self) -> float:
        """End of the last exposure, study time in h; no turnaround follows it."""
        return self.exposure_end_h(self.timeline.cycles)


def load_study(path: Path | str) -> Study:
    """Return the study of a YAML file, or of a ``.json`` file written by ``model_dump_json``.

    Raises
    ------
    StudyNotValid
        With every problem found in the file and in the files that it names.
    """
    place = Path(path)
    if place.suffix == ".json":
        return _load_resolved(place)
    study, problems = _read(place)
    if study is None or problems:
        raise StudyNotValid(place, problems)
    return study


def check_study(path: Path | str) -> list[Problem]:
    """Return everything that is wrong with a study file, in the order of its lines."""
    try:
        load_study(path)
    except StudyNotValid as refusal:
        return refusal.problems
    return []


def schema_text() -> str:
    """Return the JSON schema of study files as text, the same on every call."""
    schema = StudyText.model_json_schema(by_alias=True)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"chiploop study, format {FORMAT_VERSION}",
    }
    body = {key: value for key, value in schema.items() if key != "title"}
    return json.dumps(head | body, indent=2) + "\n"


def _load_resolved(path: Path) -> Study:
    try:
        study = Study.model_validate_json(path.read_bytes())
        text = path.resolve().parent / study.tissue.path  # an absolute one stays as it is
        return study.model_copy(
            update={"tissue": study.tissue.model_copy(update={"path": str(text)})}
        )
    except OSError as error:
        raise StudyNotValid(
            path, [Problem(None, "", f"can not be read: {error.strerror}")]
        ) from None
    except ValidationError as error:
        problems = problems_of(error, Study, YamlText(path))
        raise StudyNotValid(path, problems) from None


def _read(path: Path) -> tuple[Study | None, list[Problem]]:
    text = read_yaml(path)
    if not text.values:
        return None, text.problems
    version = _version_problem(text)
    if version is not None:
        return None, [*text.problems, version]
    problems = list(text.problems)
    written: StudyText | None = None
    try:
        written = StudyText.model_validate(
            text.values, context=FROM_FILE, by_alias=True, by_name=False
        )
        parts: dict[str, Any] = {name: getattr(written, name) for name in StudyText.model_fields}
    except ValidationError as error:
        problems += problems_of(error, StudyText, text)
        parts = valid_parts(error, StudyText, text.values)
    references = References(text)
    parts |= references.resolve(parts)
    problems += references.problems
    problems += check_parts(parts, text)
    problems = sorted(set(problems), key=lambda problem: (problem.line or 0, problem.field))
    if problems or written is None:
        return None, problems
    tissue, assays = parts["tissue"], parts["assays"]
    kinds = {
        name: spec.kind for name, spec in tissue.study_readouts.items() if name in (TEER, *assays)
    }
    parts["variation"] = written.variation.completed(kinds)
    resolved = {name: parts[name] for name in Study.model_fields if name in parts}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Study(**resolved, source_path=str(path), sha256=digest), []


def _version_problem(text: YamlText) -> Problem | None:
    line = text.line(("chiploop",))
    first = next(iter(text.values))
    if "chiploop" not in text.values:
        return Problem(
            1,
            "chiploop",
            "the format version is missing",
            f'begin the file with "chiploop: {FORMAT_VERSION}"',
        )
    version = text.values["chiploop"]
    if version != FORMAT_VERSION or isinstance(version, (bool, float)):
        return Problem(
            line,
            "chiploop",
            f"format version {version} is not read here; this chiploop reads {FORMAT_VERSION}",
        )
    if first != "chiploop":
        return Problem(
            line, "chiploop", "the format version comes first", "move this line to the top"
        )
    return None
