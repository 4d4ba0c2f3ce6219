"""An exported PEtab problem as a folder of files, checked by PEtab's own linter.

Belongs here: file names, the form of the tables, README. Not here: what stands in the tables (petab_export).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import chiploop
from chiploop.errors import FileNotValid
from chiploop.measurement import Readout
from chiploop.models.petab_export import ExportedProblem
from chiploop.models.petab_export_readme import readme
from chiploop.models.petab_tables import library_problem

PROBLEM, MODEL, NOTES, FACTS = "problem.yaml", "model.xml", "model_notes.json", "model_facts.yaml"
CENSORED, FAILED = "censored.tsv", "failed.tsv"
TABLES = {
    "conditions": "condition_files",
    "measurements": "measurement_files",
    "observables": "observable_files",
}
READOUT_COLUMNS = (
    *("chip", "readout", "value", "lower", "upper", "unit", "sd", "time_h", "window_start_h"),
    *("censoring", "qc", "reasons"),
)


Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Head and rows."""


def write_problem(folder: Path, problem: ExportedProblem) -> list[Path]:
    """Write the files of a problem into a folder and have them checked; return them.

    Raises FileNotValid where PEtab's linter refuses them, and where the library ``petab`` is not there.
    """
    require_library()
    folder.mkdir(parents=True, exist_ok=True)
    for old in (CENSORED, FAILED):
        (folder / old).unlink(missing_ok=True)
    texts = {
        PROBLEM: problem_yaml(),
        MODEL: problem.model.text,
        "conditions.tsv": table(*conditions(problem)),
        "measurements.tsv": table(*measurements(problem)),
        "observables.tsv": table(*observables(problem)),
        "parameters.tsv": table(*parameters(problem)),
        NOTES: json.dumps(notes(problem), indent=1) + "\n",
        FACTS: problem.facts_text,
        "README.md": readme(problem),
    }
    for name, readouts in ((CENSORED, problem.censored), (FAILED, problem.failed)):
        if readouts:
            texts[name] = table(READOUT_COLUMNS, [readout_row(r) for r in readouts])
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    library_problem(folder / PROBLEM)
    return [folder / name for name in texts]


def require_library() -> None:
    """Raise FileNotValid where the library ``petab``, whose linter checks the files, is not there."""
    try:
        import petab.v1  # noqa: F401
    except ImportError as missing:
        raise FileNotValid(
            f'PEtab problems need the package {missing.name}: pip install "chiploop[petab]"'
        ) from None


def problem_yaml() -> str:
    """Return the file that names the others."""
    lines = ["format_version: 1", "parameter_file: parameters.tsv", "problems:"]
    lines.append(f"  - sbml_files: [{MODEL}]")
    lines += [f"    {kind}: [{name}.tsv]" for name, kind in TABLES.items()]
    return "\n".join(lines) + "\n"


def conditions(problem: ExportedProblem) -> Table:
    """Return the condition table: one row per chip, one column per parameter in which chips differ."""
    settings = problem.model.settings
    rows = [
        [problem.conditions[chip], f"chip {chip}", *(of[chip] for of in settings.values())]
        for chip in problem.chips
    ]
    return ["conditionId", "conditionName", *settings], rows


def measurements(problem: ExportedProblem) -> Table:
    """Return the measurement table."""
    head = ["observableId", "simulationConditionId", "measurement", "time"]
    head += ["observableParameters", "noiseParameters"]
    rows = [
        [
            row.observable,
            problem.conditions[row.chip],
            row.value,
            row.time_h,
            ";".join(row.observable_parameters),
            ";".join(row.noise_parameters),
        ]
        for row in problem.measurements
    ]
    return head, rows


def observables(problem: ExportedProblem) -> Table:
    """Return the observable table."""
    head = ["observableId", "observableName", "observableFormula", "observableTransformation"]
    head += ["noiseFormula", "noiseDistribution"]
    rows = [
        [one.name, one.title, one.formula, one.transformation, one.noise, "normal"]
        for one in problem.observables
    ]
    return head, rows


def parameters(problem: ExportedProblem) -> Table:
    """Return the parameter table; starts of a fit are drawn from the prior too."""
    head = ["parameterId", "parameterName", "parameterScale", "lowerBound", "upperBound"]
    head += ["nominalValue", "estimate", "objectivePriorType", "objectivePriorParameters"]
    head += ["initializationPriorType", "initializationPriorParameters"]
    rows = []
    for one in problem.parameters:
        title = one.title if one.unit in ("1", "sd") else f"{one.title}, {one.unit}"
        named = [one.name, title, one.scale, *one.bounds, one.nominal, 1]
        rows.append([*named, *one.prior, *one.prior])
    return head, rows


def notes(problem: ExportedProblem) -> dict[str, Any]:
    """Return what ``chiploop petab import`` needs to find the model's own text again."""
    added = problem.model.added
    return {
        "format": 1,
        "chiploop": chiploop.__version__,
        "model": problem.model_name,
        "values": added.values,
        "added": {
            "parameters": added.parameters,
            "events": added.events,
            "starts": added.starts,
        },
        "estimated": {
            one.name: {"role": one.role, "of": one.subject}
            for one in problem.parameters
            if one.role
        },
    }


def readout_row(readout: Readout) -> list[Any]:
    """Return a readout that was left out."""
    return [
        readout.chip_id,
        readout.readout,
        readout.value,
        readout.lower,
        readout.upper,
        readout.unit,
        readout.sd,
        readout.time_h,
        "" if readout.window_start_h is None else readout.window_start_h,
        readout.censoring,
        readout.qc,
        "; ".join(readout.reasons),
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with tabs between its cells; numbers to their last digit."""
    from io import StringIO

    written = StringIO()
    writer = csv.writer(written, delimiter="\t", lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[repr(float(c)) if isinstance(c, float) else c for c in row] for row in rows])
    return written.getvalue()
