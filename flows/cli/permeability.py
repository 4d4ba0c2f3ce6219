"""``chiploop permeability``: tracer over time to the permeability of barriers, with a plot.

Belongs here: options, the table, the JSON object. Not here: reading the files
(assays.permeability_table), the fit (assays.permeability_fit), the figure (report.permeability_figure).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FitNotAccepted, WrongUse
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.assays.cells_permeability import BlankPermeability, CellsPermeability
    from chiploop.assays.permeability import Permeability
    from chiploop.assays.permeability_table import Setup
    from chiploop.assays.tracer_curve import TracerCurve

PLOTS = (".svg", ".png")


def permeability(
    file: Path = typer.Argument(
        help="CSV with time_h or time_min, receiver, and more columns (docs/permeability.md)."
    ),
    area: str = typer.Option(..., "--area", metavar="Q", help='Of the membrane, "1.12 cm2".'),
    donor_volume: str | None = typer.Option(
        None, "--donor-volume", metavar="Q", help='"0.5 mL"; absent only with --donor-perfused.'
    ),
    receiver_volume: str = typer.Option(..., "--receiver-volume", metavar="Q", help='"1.5 mL".'),
    removed: str | None = typer.Option(
        None, "--removed", metavar="Q", help="Taken from the receiver by each sample."
    ),
    replaced: str | None = typer.Option(
        None, "--replaced", metavar="Q", help='Fresh medium put in its place; "0 uL" for none.'
    ),
    standards: Path | None = typer.Option(
        None, "--standards", metavar="CSV", help="concentration,signal; the file then has signals."
    ),
    unit: str = typer.Option("", "--unit", help="Of concentrations, to be shown."),
    donor_concentration: float | None = typer.Option(
        None, "--donor-concentration", help="At the start, where it was not read."
    ),
    donor_sd: str = typer.Option(
        "0 %", "--donor-sd", metavar="Q", help="Of stock and dilution, beyond the wells' scatter."
    ),
    flow_rate: str | None = typer.Option(
        None, "--flow-rate", metavar="Q", help="Of a perfused receiver, collected in windows."
    ),
    dead_volume: str = typer.Option(
        "0 uL",
        "--dead-volume",
        metavar="Q",
        help="Tubing between a perfused receiver and its vial.",
    ),
    donor_perfused: bool = typer.Option(
        False, "--donor-perfused", help="The donor keeps its concentration."
    ),
    lag: str = typer.Option("fitted", "--lag", metavar="Q", help='"fitted", or stated: "0 min".'),
    steady_from: str = typer.Option(
        "0 h", "--steady-from", metavar="Q", help="Earlier samples do not enter the fit."
    ),
    blank: list[str] = typer.Option(
        [], "--blank", metavar="NAME", help="A cell-free insert of the file; may come again."
    ),
    blank_permeability: str | None = typer.Option(
        None, "--blank-permeability", metavar="Q", help='In place of --blank: "3e-5 cm/s".'
    ),
    blank_sd: str = typer.Option("0 %", "--blank-sd", metavar="Q", help="Of that permeability."),
    free_dye: str | None = typer.Option(
        None, "--free-dye", metavar="Q", help="Part of the donor's signal found in a filtrate."
    ),
    noise_cv: str = typer.Option(
        "5 %", "--noise-cv", metavar="Q", help="Of a reading; only its ratio to the floor counts."
    ),
    noise_floor: str = typer.Option(
        "1 %", "--noise-floor", metavar="Q", help="Of the highest reading of an insert."
    ),
    pool: bool = typer.Option(
        False, "--pool", help="One scale of the scatter for all inserts of the file."
    ),
    code_page: str | None = typer.Option(None, "--code-page", help="Of a file that is not UTF."),
    plot: Path | None = typer.Option(
        None, "--plot", metavar="OUT.svg|.png", help="Draw data and fits."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fit the permeability of barriers from tracer that passed them.

    Always by two compartments, exact between samples; the one-shot formula stands beside it. Exit code 6
    where an insert has no accepted fit. With --json: {"ok", "file", "sha256", "unit", "standards", "blank",
    "inserts": [{"insert", "p_app_cm_s", "lower", "upper", "sd_ln", "censoring", "detection_limit_cm_s",
    "clearance_ul_min", "lag_h", "lag_sd_h", "n_after_lag", "scale", "df", "recovery", "recovery_sd",
    "transferred", "one_shot_cm_s", "one_shot_error", "cells": {"p_cm_s", "lower", "upper",
    "resistance_s_cm", "resistance_sd", "qc", "reasons"}, "qc", "reasons", "notes", "samples": [{"time_h",
    "concentration", "fitted", "sd", "used"}]}]}; null stands for what is no number or without bound.
    """
    from chiploop.assays.cells_permeability import cells_permeability
    from chiploop.assays.permeability import permeabilities
    from chiploop.assays.permeability_table import Setup, read_permeability_table, read_standards
    from chiploop.assays.tracer_curve import TracerNoise

    refuse_existing([plot], force)
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise WrongUse(f"{plot}: a plot is written as {' or '.join(PLOTS)}")
    _check_together(
        donor_volume, donor_perfused, flow_rate, removed, replaced, blank, blank_permeability
    )
    noise = TracerNoise(
        _quantity("--noise-cv", noise_cv, "fraction", above=0.0),
        _quantity("--noise-floor", noise_floor, "fraction", above=0.0),
    )
    setup = Setup(
        area_cm2=_quantity("--area", area, "area_cm2", above=0.0),
        donor_ul=math.inf
        if donor_volume is None
        else _quantity("--donor-volume", donor_volume, "volume_ul", above=0.0),
        receiver_ul=_quantity("--receiver-volume", receiver_volume, "volume_ul", above=0.0),
        removed_ul=_quantity("--removed", removed, "volume_ul") if removed else 0.0,
        replaced_ul=_quantity("--replaced", replaced, "volume_ul") if replaced else 0.0,
        flow_rate_ul_h=_quantity("--flow-rate", flow_rate, "flow_rate_ul_h", above=0.0)
        if flow_rate
        else None,
        dead_volume_ul=_quantity("--dead-volume", dead_volume, "volume_ul"),
        donor_concentration=donor_concentration,
        donor_sd=_quantity("--donor-sd", donor_sd, "fraction"),
        free_dye=_quantity("--free-dye", free_dye, "fraction") if free_dye else None,
    )
    lag_h = None if lag == "fitted" else _quantity("--lag", lag, "time_h")
    steady_h = _quantity("--steady-from", steady_from, "time_h")
    curve = read_standards(standards, unit, noise, code_page) if standards else None
    table = read_permeability_table(file, setup, curve, code_page)
    found = permeabilities(table.runs, lag_h, steady_h, noise, pool=pool)
    taken_off = _blank(found, blank, blank_permeability, blank_sd)
    cells = {
        one.run.chip_id: cells_permeability(one, taken_off)
        for one in found
        if taken_off is not None and one.run.chip_id not in blank
    }
    if plot is not None:
        from chiploop.report.permeability_figure import write_permeability_figure

        write_to(plot, lambda path: write_permeability_figure(found, unit, path))
    failed = [one.run.chip_id for one in found if one.qc == "fail"]
    if as_json:
        print_json(
            {
                "ok": not failed,
                "file": table.file,
                "sha256": table.sha256,
                "unit": unit or None,
                "standards": _curve_as_json(curve),
                "blank": None
                if taken_off is None
                else {"p_cm_s": taken_off.p, "sd_ln": taken_off.sd_ln, "n": taken_off.n},
                "inserts": [_as_json(one, cells.get(one.run.chip_id)) for one in found],
            }
        )
        if failed:
            raise typer.Exit(FitNotAccepted.exit_code)
        return
    print("\n".join(_text(found, cells, taken_off, curve, setup)))
    if plot is not None:
        print(f"written: {plot}")
    if failed:
        raise FitNotAccepted(f"no accepted fit: {', '.join(failed)}; the reasons stand above")


def _quantity(option: str, written: str, kind: str, above: float | None = None) -> float:
    """Return the number of an option in the canonical unit of its kind; WrongUse for anything else."""
    from chiploop.units import UnitProblem, parse_quantity

    try:
        number = parse_quantity(written, kind)
    except UnitProblem as trouble:
        hint = f"; {trouble.hint}" if trouble.hint else ""
        raise WrongUse(f'{option} "{written}": {trouble.message}{hint}') from None
    if number < 0.0 or (above is not None and not number > above):
        allowed = "above 0" if above is not None else "0 and more"
        raise WrongUse(f'{option} "{written}": allowed is {allowed}')
    return number


def _check_together(
    donor_volume: str | None,
    donor_perfused: bool,
    flow_rate: str | None,
    removed: str | None,
    replaced: str | None,
    blank: list[str],
    blank_permeability: str | None,
) -> None:
    """Raise WrongUse for options that do not go together."""
    if (donor_volume is None) != donor_perfused:
        raise WrongUse(
            "say --donor-volume, or --donor-perfused where the donor is renewed; not both"
        )
    if donor_perfused and flow_rate is None:
        raise WrongUse("--donor-perfused needs a perfused receiver: state --flow-rate")
    if (removed is None) != (replaced is None):
        raise WrongUse(
            '--removed and --replaced go together; say --replaced "0 uL" where nothing was put back'
        )
    if flow_rate is not None and removed is not None:
        raise WrongUse("a perfused receiver is collected, not sampled: leave --removed away")
    if blank and blank_permeability:
        raise WrongUse("name --blank inserts or state --blank-permeability, not both")


def _blank(
    found: list[Permeability], names: list[str], stated: str | None, sd: str
) -> BlankPermeability | None:
    from chiploop.assays.cells_permeability import BlankPermeability, blank_of

    if stated is not None:
        p = _quantity("--blank-permeability", stated, "permeability_cm_s", above=0.0)
        return BlankPermeability(p, _quantity("--blank-sd", sd, "fraction"), 0, "stated")
    if not names:
        return None
    known = {one.run.chip_id: one for one in found}
    for name in names:
        if name not in known:
            raise WrongUse(
                f"--blank {name}: there is no such insert; allowed are {', '.join(known)}"
            )
    try:
        return blank_of([known[name] for name in names])
    except ValueError as trouble:
        raise FitNotAccepted(str(trouble)) from None


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _curve_as_json(curve: TracerCurve | None) -> dict[str, Any] | None:
    if curve is None:
        return None
    return {
        "background": curve.background,
        "slope": curve.slope,
        "covariance": curve.covariance.tolist(),
        "df": curve.degrees_of_freedom,
        "linear_to": curve.linear_to,
        "detection_limit": curve.detection_limit,
        "left_out": list(curve.left_out),
        "qc": curve.qc,
        "reasons": list(curve.reasons),
        "notes": list(curve.notes),
    }


def _as_json(one: Permeability, cells: CellsPermeability | None) -> dict[str, Any]:
    fit, ends = one.fit, one.run.transport.ends_h
    return {
        "insert": one.run.chip_id,
        "p_app_cm_s": _plain(one.p_app),
        "lower": _plain(one.interval[0]),
        "upper": _plain(one.interval[1]),
        "sd_ln": _plain(one.sd_ln),
        "censoring": one.censoring,
        "detection_limit_cm_s": _plain(one.detection_limit),
        "clearance_ul_min": _plain(one.clearance_ul_min),
        "lag_h": _plain(fit.lag_h),
        "lag_sd_h": _plain(fit.lag_sd_h) if fit.lag_pull else None,
        "n_after_lag": fit.n_after_lag,
        "scale": _plain(fit.scale),
        "df": fit.degrees_of_freedom,
        "recovery": _plain(one.recovery),
        "recovery_sd": _plain(one.recovery_sd),
        "transferred": _plain(one.transferred),
        "one_shot_cm_s": _plain(one.one_shot),
        "one_shot_error": _plain(one.one_shot_error),
        "cells": None
        if cells is None
        else {
            "p_cm_s": _plain(cells.p),
            "lower": _plain(cells.interval[0]),
            "upper": _plain(cells.interval[1]),
            "resistance_s_cm": _plain(cells.resistance),
            "resistance_sd": _plain(cells.resistance_sd),
            "qc": cells.qc,
            "reasons": list(cells.reasons),
        },
        "qc": one.qc,
        "reasons": list(one.reasons),
        "notes": list(one.notes),
        "samples": [
            {
                "time_h": float(ends[i]),
                "concentration": _plain(one.run.samples.concentration[i]),
                "fitted": _plain(fit.fitted[i]),
                "sd": _plain(fit.scale * fit.shape[i]),
                "used": bool(fit.used[i]),
            }
            for i in range(ends.size)
        ],
    }


def _text(
    found: list[Permeability],
    cells: dict[str, CellsPermeability],
    blank: BlankPermeability | None,
    curve: TracerCurve | None,
    setup: Setup,
) -> list[str]:
    lines = []
    if curve is not None:
        lines.append(
            f"standards: background {curve.background:.5g}, slope {curve.slope:.5g}, straight up to "
            f"{curve.linear_to:g} {curve.unit}, limit of detection {curve.detection_limit:.3g} {curve.unit}"
        )
        lines += [f"  {note}" for note in curve.notes]
        lines += [f"  {paint('warn', 'yellow')}: {reason}" for reason in curve.reasons]
    if blank is not None:
        lines.append(f"blank: {blank.p:.4g} cm/s, sd of ln {blank.sd_ln:.2g} ({blank.origin})")
    repeated = set(curve.reasons) if curve is not None else set()
    usual = "sink formula" if setup.flow_rate_ul_h is None else "steady-state formula"
    for one in found:
        lines += ["", *_insert_text(one, cells.get(one.run.chip_id), repeated, usual)]
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    return [*lines, "", *(f"note: {note}" for note in notes)]


def _insert_text(
    one: Permeability, cells: CellsPermeability | None, repeated: set[str], usual: str
) -> list[str]:
    fit = one.fit
    colour = "red" if one.qc == "fail" else "yellow"
    flags = [f"  {paint(one.qc, colour)}: {why}" for why in one.reasons if why not in repeated]
    if one.qc == "fail":
        return [f"{one.run.chip_id}: no permeability", *flags]
    if one.censoring == "left":
        said = f"P_app < {one.detection_limit:.3g} cm/s"
    else:
        low, high = one.interval
        said = f"P_app {one.p_app:.4g} cm/s  (95 %: {low:.4g} to {high:.4g})"
    lines = [f"{one.run.chip_id}: {said}", *flags]
    lag = f"{60 * fit.lag_h:.3g} min" + (
        f" +- {60 * fit.lag_sd_h:.2g}" if fit.lag_pull else ", stated"
    )
    if one.censoring == "none":
        passed = f", {one.transferred:.1%} transferred" if one.transferred else ""
        lines.append(
            f"  clearance {one.clearance_ul_min:.4g} uL/min, lag {lag}, {fit.n_after_lag} samples after "
            f"it{passed}"
        )
    if math.isfinite(one.recovery):
        lines.append(f"  recovery {one.recovery:.1%} +- {one.recovery_sd:.1%}")
    if one.censoring == "none":
        lines.append(
            f"  one-shot {usual}: {one.one_shot:.4g} cm/s, the formula alone errs by "
            f"{one.one_shot_error:+.1%}"
        )
    if cells is not None:
        if math.isnan(cells.p):
            lines.append(
                f"  P_cells: none, 1/P {cells.resistance:.3g} +- {cells.resistance_sd:.2g} s/cm"
            )
        else:
            low, high = cells.interval
            top = f"{high:.4g}" if math.isfinite(high) else "no bound"
            lines.append(f"  P_cells {cells.p:.4g} cm/s  (95 %: {low:.4g} to {top})")
        own = [why for why in cells.reasons if why not in one.reasons]
        shade = "red" if cells.qc == "fail" else "yellow"
        lines += [f"  {paint(cells.qc, shade)}: {why}" for why in own]
    return lines
