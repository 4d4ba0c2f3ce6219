"""The tables of a PEtab problem (version 1), read, checked and mapped by the library ``petab``.

Belongs here: files, what each condition sets, parameters. Not here: what is computed from it (petab_problem).
"""

from __future__ import annotations

import csv
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.models.petab_model import OpenedModel, open_model

Mapped = dict[str, "str | float"]
"""Parameter of the model -> a number, or the id of a parameter of the problem."""
LIBRARY_ERRORS = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    NotImplementedError,
)
"""What the library lets through of its own and its parsers' errors."""
FILE_KINDS = ("sbml_files", "condition_files", "measurement_files", "observable_files")


@dataclass(frozen=True)
class Condition:
    """What is simulated under one pair of conditions."""

    preequilibration: str
    """Condition until the steady state; empty for none."""
    simulation: str
    before: Mapped
    """Parameters during the pre-equilibration."""
    during: Mapped
    """Parameters during the simulation."""
    resets: dict[str, str]
    """State that the simulation condition sets after a pre-equilibration -> the parameter that says it."""
    rows: np.ndarray
    """Rows of the measurement table."""


@dataclass(frozen=True)
class Parameter:
    """One row of the parameter table."""

    name: str
    scale: str
    nominal: float
    """On the linear scale; NaN where the table does not say it."""
    is_estimated: bool
    lower: float = -math.inf
    """On the linear scale, as nominal values are."""
    upper: float = math.inf
    prior: str = ""
    """What the table says of a prior of the objective; empty where it says nothing."""


@dataclass(frozen=True)
class Tables:
    """A problem as it was read."""

    model: OpenedModel
    parameters: dict[str, Parameter]
    conditions: tuple[Condition, ...]
    observables: dict[str, dict[str, Any]]
    """Observable -> its row."""
    measurements: tuple[dict[str, Any], ...]
    """Rows of the measurement table; empty cells are left out."""
    overrides: dict[str, list[list[str | float]]]
    """observable, noise -> for each measurement the values of its placeholders."""


def read_tables(path: Path) -> Tables:
    """Return the tables that a problem's YAML file names.

    Raises FileNotValid for files that are not there or not valid, and what is not supported.
    """
    problem = library_problem(path)
    with quiet():
        try:
            return mapped(path, problem)
        except LIBRARY_ERRORS as trouble:
            raise FileNotValid(
                f"{path}: it is not a valid PEtab problem: {one_line(trouble)}"
            ) from None


def library_problem(path: Path) -> Any:
    """Return the library's own problem of a YAML file, once its linter finds nothing wrong.

    Raises FileNotValid for files that are not there or not valid, and where the library is not there.
    """
    content = check_files(path)
    with quiet() as complaints:
        try:
            import petab.v1 as petab
            from petab.v1.lint import lint_problem
        except ImportError as missing:
            raise FileNotValid(
                f'PEtab problems need the package {missing.name}: pip install "chiploop[petab]"'
            ) from None
        try:
            problem = petab.Problem.from_yaml(content, base_path=str(path.parent))
            complaints.clear()
            if lint_problem(problem):
                told = "; ".join(dict.fromkeys(c for c in complaints if c != "Not OK"))
                raise FileNotValid(f"{path}: it is not a valid PEtab problem: {told}")
            return problem
        except LIBRARY_ERRORS as trouble:
            raise FileNotValid(
                f"{path}: it is not a valid PEtab problem: {one_line(trouble)}"
            ) from None


def check_files(path: Path) -> dict[str, Any]:
    """Return the content of a problem's YAML file, all that is not needed here left out.

    Raises FileNotValid where it or a file that it names is not there, or is of another version.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8-sig"))
    except OSError as trouble:
        raise FileNotValid(f"{path}: it can not be read: {trouble.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as trouble:
        raise FileNotValid(f"{path}: it is no YAML file: {one_line(trouble)}") from None
    if not isinstance(content, dict) or "format_version" not in content:
        raise FileNotValid(
            f"{path}: it has no format_version; allowed is the YAML file of a PEtab problem"
        )
    version = str(content["format_version"])
    if version.split(".")[0] != "1":
        raise FileNotValid(f"{path}: its format_version is {version}; allowed is version 1")
    if content.get("extensions"):
        raise FileNotValid(
            f"{path}: it uses extensions of PEtab; allowed is version 1 without them"
        )
    problems = content.get("problems")
    if not isinstance(problems, list) or len(problems) != 1 or not isinstance(problems[0], dict):
        raise FileNotValid(f"{path}: allowed is a list of one problem")
    for kind in FILE_KINDS:
        if not problems[0].get(kind):
            raise FileNotValid(f"{path}: it names no {kind}")
    if len(problems[0]["sbml_files"]) != 1:
        raise FileNotValid(f"{path}: it names several sbml_files; allowed is one model")
    named = content.get("parameter_file")
    if not named:
        raise FileNotValid(f"{path}: it names no parameter_file")
    files = [(kind, name) for kind in FILE_KINDS for name in problems[0][kind]]
    files += [
        ("parameter_file", name) for name in ([named] if isinstance(named, str) else named or [])
    ]
    for kind, name in files:
        if not (path.parent / str(name)).is_file():
            raise FileNotValid(f"{path}: {kind} names {name}, which is not there")
    kept = {kind: problems[0][kind] for kind in FILE_KINDS}
    return {"format_version": 1, "parameter_file": named, "problems": [kept]}


def mapped(path: Path, problem: Any) -> Tables:
    """Return a problem of the library as ours, the parameters of each condition mapped."""
    from petab.v1 import get_optimization_to_simulation_parameter_mapping
    from petab.v1.measurements import get_rows_for_condition, get_simulation_conditions
    from petab.v1.models.sbml_model import SbmlModel

    sbml_path = path.parent / problem.config.problems[0].sbml_files[0]
    columns = [c for c in problem.condition_df.columns if c != "conditionName"]
    model = open_model(
        sbml_path.read_text(encoding="utf-8"), sbml_path.name, columns, problem.parameter_df.index
    )
    # what a condition sets is a parameter now; an empty cell leaves the model's own start
    table = problem.condition_df.copy()
    for name, start in model.starts.items():
        table[start.switch] = table[name].notna().astype(float)
        table[start.value] = table[name].where(table[name].notna(), 0.0)
    table = table.drop(columns=list(model.starts))
    measurements = problem.measurement_df.reset_index(drop=True)
    # placeholders may differ from row to row: they are put in where a row is evaluated
    plain = measurements.drop(columns=["observableParameters", "noiseParameters"], errors="ignore")
    pairs = get_simulation_conditions(plain)
    maps = get_optimization_to_simulation_parameter_mapping(
        condition_df=table,
        measurement_df=plain,
        parameter_df=problem.parameter_df,
        observable_df=problem.observable_df,
        model=SbmlModel.from_string(model.text),
        simulation_conditions=pairs,
        warn_unmapped=False,
        fill_fixed_parameters=False,
    )
    conditions = []
    for (_, pair), (before, during, _, _) in zip(pairs.iterrows(), maps, strict=True):
        rows = get_rows_for_condition(plain, pair).index.to_numpy()
        preequilibration = pair.get("preequilibrationConditionId", "")
        conditions.append(
            condition_of(
                model,
                preequilibration if isinstance(preequilibration, str) else "",
                pair["simulationConditionId"],
                plain_values(before),
                plain_values(during),
                rows,
            )
        )
    return Tables(
        model,
        {p.name: p for p in parameters_of(problem.parameter_df)},
        tuple(conditions),
        {str(name): filled(row) for name, row in problem.observable_df.iterrows()},
        tuple(filled(row) for _, row in measurements.iterrows()),
        {kind: placeholders(measurements, f"{kind}Parameters") for kind in ("observable", "noise")},
    )


def condition_of(
    model: OpenedModel,
    preequilibration: str,
    simulation: str,
    before: Mapped,
    during: Mapped,
    rows: np.ndarray,
) -> Condition:
    """Return one pair of conditions; FileNotValid where what follows a pre-equilibration is not defined."""
    resets: dict[str, str] = {}
    if preequilibration:
        place = f"condition {simulation} after {preequilibration}"
        if model.has_events:
            raise FileNotValid(
                f"{place}: model {model.name} has events, and PEtab does not say whether they happen during "
                "a pre-equilibration; allowed is a model without events"
            )
        for name, start in model.starts.items():
            if during[start.switch] == 0:  # as the pre-equilibration left it
                during |= {start.value: before[start.value], start.switch: before[start.switch]}
            elif start.is_state:
                resets[name] = start.value
        changed = {name for name, value in during.items() if differ(before[name], value)}
        moved = {
            name for name, start in model.starts.items() if {start.value, start.switch} & changed
        }
        for name in sorted(moved):
            if model.starts[name].kind == "compartment":
                raise FileNotValid(
                    f"{place}: it changes the size of {name}, and PEtab does not say what becomes of the "
                    "species in it; allowed is one size in both"
                )
        for name, used in model.derived.items():
            if name in model.starts and during[model.starts[name].switch] == 1:
                continue  # it is set, not computed
            by_start = sorted(s for s in moved & used if model.starts[s].is_state)
            if by_start:
                raise FileNotValid(
                    f"{place}: {name} is computed from the start of {by_start[0]}, which is set in both; "
                    f"allowed is to set {name} in the condition table too"
                )
            if name in model.compartments and used & changed:
                raise FileNotValid(
                    f"{place}: the size of {name} hangs on {sorted(used & changed)[0]}, which differs; allowed "
                    "is one size in both"
                )
    return Condition(preequilibration, simulation, before, during, resets, rows)


def differ(one: str | float, other: str | float) -> bool:
    """Return whether two mapped values are not the same; two missing ones are."""
    both_missing = one != one and other != other
    return one != other and not both_missing


def plain_values(found: Mapping[str, Any]) -> Mapped:
    """Return a mapping of the library in plain values."""
    return {k: v if isinstance(v, str) else float(v) for k, v in found.items()}


def parameters_of(table: Any) -> Iterator[Parameter]:
    """Yield the rows of a parameter table."""
    for name, row in table.iterrows():
        value = row.get("nominalValue", math.nan)
        scale = row.get("parameterScale", "lin")
        yield Parameter(
            str(name),
            scale if isinstance(scale, str) else "lin",
            float(value),
            bool(int(row["estimate"])),
            float(row.get("lowerBound", -math.inf)),
            float(row.get("upperBound", math.inf)),
            prior_of(row),
        )


def prior_of(row: Any) -> str:
    """Return a parameter's prior of the objective in words; empty for none."""
    kind = row.get("objectivePriorType")
    if not isinstance(kind, str) or not kind:
        return ""
    numbers = row.get("objectivePriorParameters")
    return f"{kind} {numbers}" if isinstance(numbers, str) and numbers else kind


def filled(row: Any) -> dict[str, Any]:
    """Return the cells of a row that are not empty, in plain values."""
    cells = {str(k): v.item() if hasattr(v, "item") else v for k, v in row.items()}
    return {k: v for k, v in cells.items() if v == v and v is not None and v != ""}


def placeholders(measurements: Any, column: str) -> list[list[str | float]]:
    """Return what each measurement puts into its placeholders."""
    from petab.v1.measurements import split_parameter_replacement_list

    cells = measurements[column] if column in measurements else [None] * len(measurements)
    return [list(split_parameter_replacement_list(cell)) for cell in cells]


def read_parameter_values(path: Path) -> dict[str, float]:
    """Return parameter values from a file: JSON {id: value}, or a table with parameterId and nominalValue.

    Values are on the linear scale, as in PEtab's nominalValue. Raises FileNotValid.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as trouble:
        raise FileNotValid(f"{path}: it can not be read: {one_line(trouble)}") from None
    found: dict[str, Any]
    if path.suffix == ".json":
        try:
            found = json.loads(text)
        except ValueError as trouble:
            raise FileNotValid(f"{path}: it is no JSON: {trouble}") from None
        if not isinstance(found, dict):
            raise FileNotValid(f"{path}: allowed is an object of parameter: value")
    else:
        rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
        if not rows or not {"parameterId", "nominalValue"} <= rows[0].keys():
            raise FileNotValid(
                f"{path}: allowed is a table with the columns parameterId and nominalValue"
            )
        found = {row["parameterId"]: row["nominalValue"] for row in rows}
    values = {}
    for name, value in found.items():
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise FileNotValid(f"{path}: {name} is {value!r}; allowed is a number") from None
    return values


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep the library's warnings about its own code, and its log, from the screen; yield what it logs."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(one_line(record.getMessage()))  # type: ignore[method-assign]
    handler.setLevel(logging.ERROR)
    logger = logging.getLogger("petab")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"petab\b")
            yield logged
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def one_line(trouble: object) -> str:
    """Return a message without line breaks."""
    return " ".join(str(trouble).split())
