"""``chiploop petab``: problems of the PEtab standard through our engine. Reads files; changes nothing.

Belongs here: how an evaluation is shown. Not here: how it is made (chiploop.models.petab_problem), and
the other commands, each in its file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flows.cli.petab_export import export
from flows.cli.petab_fit import fit
from flows.cli.petab_import import import_problem
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.models.petab_problem import Evaluation, PetabProblem

petab_app = typer.Typer(
    help="Evaluate and fit problems of the PEtab standard.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@petab_app.callback()
def _petab() -> None:
    """Evaluate and fit problems of the PEtab standard."""


@petab_app.command()
def evaluate(
    problem: Path = typer.Argument(help="YAML file of a PEtab problem (version 1)."),
    parameters: Path | None = typer.Option(
        None,
        "--parameters",
        help="Values instead of the nominal ones, linear: a table with parameterId and "
        "nominalValue, or JSON {parameter: value}.",
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Simulate a problem and show its log-likelihood and chi2; priors are no part of them.

    Exit code 0, or 3 for a problem that is not valid, not supported or can not be simulated. With
    --json: {"ok", "file", "engine", "reason", "measurements", "llh", "chi2", "simulations":
    [{"observableId", "preequilibrationConditionId", "simulationConditionId", "time", "simulation",
    ...}]}, the rows in the measurement table's order; a time without end is "inf". "reason" says
    why "engine" is libroadrunner, and is null where it is chiploop.
    """
    from chiploop.models.petab_problem import read_problem
    from chiploop.models.petab_tables import read_parameter_values

    values = read_parameter_values(parameters) if parameters is not None else {}
    read = read_problem(problem)
    found = read.evaluate(values)
    if as_json:
        print_json(evaluation_as_json(read, found))
    else:
        _show(read, found)


def evaluation_as_json(problem: PetabProblem, found: Evaluation) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    return {
        "ok": True,
        "file": problem.path.name,
        "engine": problem.simulator.engine,
        "reason": problem.fallback_reason or None,
        "measurements": len(found.simulations),
        "llh": found.llh,
        "chi2": found.chi2,
        "simulations": [
            {k: "inf" if v == math.inf else v for k, v in row.items()} for row in found.simulations
        ],
    }


def _show(problem: PetabProblem, found: Evaluation) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    estimated = sum(p.is_estimated for p in problem.parameters.values())
    console.print(
        f"{problem.path.name}: {len(found.simulations)} measurements, "
        f"{len(problem.tables.conditions)} condition(s), {estimated} estimated parameter(s)",
        markup=False,
        soft_wrap=True,
    )
    engine = f"engine: {problem.simulator.engine}"
    if problem.fallback_reason:
        engine += f", since ours does not support it: {problem.fallback_reason}"
    console.print(engine, markup=False, soft_wrap=True)
    table = Table("observable", box=box.SIMPLE)
    for name in ("n", "llh", "chi2"):
        table.add_column(name, justify="right")
    names = [row["observableId"] for row in found.simulations]
    for name in dict.fromkeys(names):
        rows = [i for i, each in enumerate(names) if each == name]
        llh, chi2 = found.llh_of_rows[rows].sum(), found.chi2_of_rows[rows].sum()
        table.add_row(escape(name), str(len(rows)), f"{llh:.5f}", f"{chi2:.5f}")
    table.add_section()
    table.add_row("all", str(len(names)), f"{found.llh:.5f}", f"{found.chi2:.5f}")
    console.print(table)


petab_app.command("export")(export)
petab_app.command("fit")(fit)
petab_app.command("import")(import_problem)
