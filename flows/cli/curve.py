"""``chiploop curve``: standard curves from a CSV, concentrations of unknowns, a plot.

Belongs here: options, the table, the JSON object. Not here: reading the file (assays.curve_table), fits
(assays.curve_groups), the figure (report.curve_figure).
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid, FitNotAccepted, WrongUse
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.assays.curve_fit import CurveFit
    from chiploop.assays.curve_groups import GroupFit, GroupUnknown

PLOTS = (".svg", ".png")
SHOWN_UNKNOWNS = 12
"""Of each group, in the text form; --json has all."""


class ModelName(StrEnum):
    """What may stand behind --model."""

    three = "3pl"
    four = "4pl"
    five = "5pl"
    auto = "auto"


class WeightsName(StrEnum):
    """What may stand behind --weights."""

    none = "none"
    inverse_square = "1/y2"
    power = "power"
    floor_and_cv = "floor_and_cv"


class TakenAtName(StrEnum):
    """What may stand behind --weights-at."""

    fitted = "fitted"
    observed = "observed"


def curve(
    file: Path = typer.Argument(help="CSV with a header; a row with an empty x is an unknown."),
    x: str = typer.Option(
        ..., "--x", metavar="COL", help="Column of concentrations; 0 is a blank."
    ),
    y: str = typer.Option(..., "--y", metavar="COL", help="Column of signals."),
    group: str | None = typer.Option(
        None, "--group", metavar="COL", help="A curve for each value of this column."
    ),
    model: ModelName = typer.Option(
        ModelName.four, "--model", help="auto: by AICc, 4pl unless the points say otherwise."
    ),
    weights: WeightsName = typer.Option(
        WeightsName.none,
        "--weights",
        help="Exponent of power, and floor/CV, are pooled over groups.",
    ),
    weights_at: TakenAtName = typer.Option(
        TakenAtName.fitted, "--weights-at", help="Which signal y is in the weights."
    ),
    sample: str | None = typer.Option(
        None, "--sample", metavar="COL", help="Unknowns of the same name are replicates."
    ),
    dilution: str | None = typer.Option(
        None, "--dilution", metavar="COL", help="Times that an unknown was diluted."
    ),
    level: float = typer.Option(0.95, "--level", help="Of intervals, between 0 and 1."),
    rules: str | None = typer.Option(
        None, "--rules", metavar="NAME", help="Judge by a rule set: ligand_binding, or a YAML file."
    ),
    code_page: str | None = typer.Option(None, "--code-page", help="Of a file that is not UTF."),
    plot: Path | None = typer.Option(
        None, "--plot", metavar="OUT.svg|.png", help="Draw the curves."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fit 3-, 4- or 5-parameter logistic curves and read unknowns from them.

    lower < upper in every curve; hill is below 0 where the signal falls. Exit code 6 where a curve has no
    accepted fit; it then gives no concentrations. With --json: {"ok", "file", "sha256", "fits": [{"group",
    "model", "weights", "parameters": {"lower", "upper", "ec50", "hill", ...: {"estimate", "se",
    "se_observed_hessian"}}, "rss", "sigma", "df", "n", "aicc", "qc", "reasons", "lloq", "uloq", "levels",
    "unknowns": [{"sample", "rows", "y", "n", "dilution", "estimate", "lower", "upper", "censoring",
    "reasons"}]}]}. rss and sigma are weighted; null stands for what is no number or without bound.
    """
    from chiploop.assays.acceptance_rules import acceptance_rules
    from chiploop.assays.curve_groups import fit_groups
    from chiploop.assays.curve_table import Columns, read_curve_table
    from chiploop.assays.curve_weights import Weighting

    refuse_existing([plot], force)
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise WrongUse(f"{plot}: a plot is written as {' or '.join(PLOTS)}")
    if not 0.0 < level < 1.0:
        raise WrongUse(f"--level {level:g}: allowed are levels between 0 and 1, such as 0.95")
    judged_by = acceptance_rules(rules) if rules is not None else None
    table = read_curve_table(file, Columns(x, y, group, sample, dilution), code_page)
    weighting = Weighting(weights.value, None, weights_at.value)
    try:
        found = fit_groups(table.groups, model.value, weighting, level, judged_by)
    except ValueError as trouble:
        raise FileNotValid(f"{table.file}, column '{y}': {trouble}") from None
    if plot is not None:
        from chiploop.report.curve_figure import write_curve_figure

        write_to(plot, lambda path: write_curve_figure(found, x, y, level, path))
    failed = [one for one in found if one.qc == "fail"]
    if as_json:
        print_json(
            {
                "ok": not failed,
                "file": table.file,
                "sha256": table.sha256,
                "level": level,
                "rules": judged_by.name if judged_by else None,
                "fits": [fit_as_json(one) for one in found],
            }
        )
        if failed:
            raise typer.Exit(FitNotAccepted.exit_code)
        return
    for one in found:
        print("\n".join(_text(one)))
    if plot is not None:
        print(f"written: {plot}")
    if failed:
        names = ", ".join(one.group.name or table.file for one in failed)
        raise FitNotAccepted(f"no accepted curve: {names}; the reasons stand above")


def fit_as_json(one: GroupFit) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows of one group."""
    fit = one.fit
    return {
        "group": one.group.name or None,
        "model": fit.model,
        "weights": fit.weighting.name,
        "weights_number": fit.weighting.number,
        "parameters": parameters_as_json(one.fit),
        "rss": plain(fit.rss),
        "sigma": plain(fit.residual_scale),
        "df": fit.degrees_of_freedom,
        "n": int(fit.y.size),
        "aicc": plain(fit.aicc),
        "se_by": "J'J, s^2 = rss/df; beside it the observed Hessian",
        "starts_at_best": fit.starts_at_best,
        "choice": one.choice.reason if one.choice else None,
        "qc": one.qc,
        "reasons": list(one.reasons),
        "lloq": plain(one.lloq),
        "uloq": plain(one.uloq),
        "levels": [
            {
                "concentration": level.concentration,
                "n": level.n,
                "back_calculated": plain(level.back_calculated),
                "recovery": plain(level.recovery),
                "passed": level.passed,
            }
            for level in one.levels
        ],
        "unknowns": [_unknown_as_json(each) for each in one.unknowns],
    }


def parameters_as_json(fit: CurveFit) -> dict[str, dict[str, float | None]]:
    """Return name -> estimate and standard errors; an error of a value that is held is null."""
    curve = fit.curve
    names = ["lower", "upper", "ec50", "hill"]
    if fit.model == "5pl":
        names += ["asymmetry", "location"]
    if fit.failure:
        return {name: {"estimate": None, "se": None, "se_observed_hessian": None} for name in names}
    hill = curve.direction * curve.hill
    values: dict[str, tuple[float, Any]] = {
        "lower": (curve.lower, _row(0, 1.0)),
        "upper": (curve.upper, _row(1, 1.0)),
        "ec50": (curve.ec50, curve.ec50 * curve.ln_height_gradient(0.5)),
        "hill": (hill, _row(3, hill)),
        "asymmetry": (curve.asymmetry, _row(4, curve.asymmetry)),
        "location": (curve.location, _row(2, curve.location)),
    }
    told: dict[str, dict[str, float | None]] = {}
    for name in names:
        value, gradient = values[name]
        errors = []
        for covariance in (fit.covariance, fit.observed_covariance):
            variance = sum(
                gradient[i] * covariance[i, j] * gradient[j] for i in range(5) for j in range(5)
            )
            errors.append(plain(math.sqrt(variance)) if variance > 0.0 else None)
        told[name] = {
            "estimate": plain(value),
            "se": errors[0],
            "se_observed_hessian": errors[1],
        }
    return told


def _row(place: int, slope: float) -> list[float]:
    return [slope if i == place else 0.0 for i in range(5)]


def _unknown_as_json(one: GroupUnknown) -> dict[str, Any]:
    return {
        "sample": one.unknown.sample,
        "rows": list(one.unknown.rows),
        "y": one.mean_signal,
        "n": len(one.unknown.signals),
        "dilution": one.unknown.dilution,
        "estimate": plain(one.estimate),
        "lower": plain(one.lower),
        "upper": plain(one.upper),
        "censoring": one.censoring,
        "reasons": list(one.reasons),
    }


def plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _text(one: GroupFit) -> list[str]:
    fit = one.fit
    name = f"{one.group.name}: " if one.group.name else ""
    lines = [f"{name}{fit.model}, {fit.y.size} points, weights {fit.weighting.name}"]
    for reason in one.reasons:
        lines.append(f"  {paint(one.qc, 'red' if one.qc == 'fail' else 'yellow')}: {reason}")
    if one.choice:
        lines.append(f"  {one.choice.reason}")
    if fit.failure:
        return [*lines, ""]
    lines.append(f"  {'':10}{'estimate':>12}{'se':>12}{'se (Hessian)':>14}")
    for parameter, told in parameters_as_json(fit).items():
        cells = [told["estimate"], told["se"], told["se_observed_hessian"]]
        shown = ["held" if cell is None else f"{cell:.5g}" for cell in cells]
        lines.append(f"  {parameter:10}{shown[0]:>12}{shown[1]:>12}{shown[2]:>14}")
    lines.append(
        f"  sigma {fit.residual_scale:.5g} on {fit.degrees_of_freedom} degrees of freedom, "
        f"rss {fit.rss:.6g}, AICc {fit.aicc:.4g}"
    )
    if one.levels:
        passed = sum(level.passed for level in one.levels)
        lines.append(
            f"  {passed} of {len(one.levels)} calibrators pass; LLOQ {one.lloq:g}, ULOQ {one.uloq:g}"
        )
    for each in one.unknowns[:SHOWN_UNKNOWNS]:
        if each.censoring == "left":
            said = f"< {each.upper:.5g}"
        elif each.censoring == "right":
            said = f"> {each.lower:.5g}"
        elif math.isnan(each.estimate):
            said = "none"
        else:
            said = f"{each.estimate:.5g}  ({each.lower:.5g} to {each.upper:.5g})"
        reasons = f"  {'; '.join(each.reasons)}" if each.reasons else ""
        lines.append(f"  {each.unknown.sample}: {said}{reasons}")
    if len(one.unknowns) > SHOWN_UNKNOWNS:
        lines.append(f"  ... and {len(one.unknowns) - SHOWN_UNKNOWNS} more; --json has them all")
    return [*lines, ""]
