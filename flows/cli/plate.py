"""``chiploop plate``: an assay plate from its reader's export to judged concentrations.

Belongs here: options and their order. Not here: the plate's evaluation (assays), text (plate_text), JSON and
CSV (plate_table), the figure (report.plate_figure).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.errors import FileNotValid, FitNotAccepted, WrongUse
from flows.cli.curve import PLOTS, ModelName, WeightsName
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.assays.acceptance_rules import AcceptanceRules
    from chiploop.assays.plate_assay import AnalyteResult
    from chiploop.assays.plate_wells import AnalyteWells, FileWells
    from chiploop.exports.export import Export


def plate(
    file: Path = typer.Argument(
        metavar="EXPORT", help="Export of a plate or multiplex reader; see docs/exports.md."
    ),
    layout: list[Path] | None = typer.Option(
        None, "--layout", metavar="FILE", help="Plate layout (CSV, YAML); once for each plate."
    ),
    standards: Path | None = typer.Option(
        None, "--standards", metavar="FILE", help="CSV: concentrations by sample and analyte."
    ),
    dilution: list[str] | None = typer.Option(
        None, "--dilution", metavar="N|SAMPLE=N", help="Times; of all samples, or of one."
    ),
    analyte: list[str] | None = typer.Option(
        None, "--analyte", metavar="NAME", help="This one alone; may be given again."
    ),
    rules: str = typer.Option(
        "ligand_binding", "--rules", metavar="NAME|FILE", help="Set of acceptance rules."
    ),
    model: ModelName = typer.Option(
        ModelName.auto, "--model", help="auto: by AICc, 4pl unless the points say otherwise."
    ),
    weights: WeightsName | None = typer.Option(
        None,
        "--weights",
        help="[default: floor_and_cv of a kit for ODs, else power, pooled over the file]",
        show_default=False,
    ),
    falling: bool = typer.Option(
        False, "--falling", help="With --layout: more analyte gives less signal."
    ),
    code_page: str | None = typer.Option(None, "--code-page", help="Of a file that is not UTF."),
    table: Path | None = typer.Option(
        None, "--csv", metavar="OUT.csv", help="Write a row per analyte and sample."
    ),
    plot: Path | None = typer.Option(
        None, "--plot", metavar="OUT.svg|.png", help="Draw curves, standards and samples."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Judge an assay plate: curves, limits, controls, concentrations of samples.

    Standards, samples, controls, blanks, concentrations and dilutions are taken from the file where it
    names them; --standards and --layout stand above it, and where they differ it is told. Concentrations
    are those of the sample, dilution taken back; below LLOQ and above ULOQ they are bounds. Exit code 6
    where a curve or its controls were not accepted, 3 for a file without standards. With --json: {"ok",
    "file", "sha256", "format", "rules", "notes", "without_standards", "results": [{"plate", "analyte",
    "unit", "qc", "reasons", "curve": {"model", "parameters", "covariance", ...}, "lloq", "uloq", "lod",
    "calibrators", "controls", "samples": [{"sample", "wells", "dilution", "value", "lower", "upper",
    "censoring", "cv", "beads", "curve", "qc", "reasons"}], "series"}]}.
    """
    from chiploop.assays.acceptance_rules import acceptance_rules
    from chiploop.assays.curve_weights import Weighting
    from chiploop.assays.plate_assay import plate_results
    from chiploop.exports import read_export

    refuse_existing([table, plot], force)
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise WrongUse(f"{plot}: a plot is written as {' or '.join(PLOTS)}")
    dilutions = read_dilutions(dilution or [])
    judged_by = acceptance_rules(rules)
    export = read_export(file, code_page)
    wells = _wells(export, layout or [], standards, dilutions, judged_by, falling)
    asked = _asked(export, wells, analyte or [])
    weighting = Weighting(weights.value) if weights is not None else None
    results = plate_results(asked, judged_by, model.value, weighting)
    if not results:
        raise FileNotValid(without_standards(export, asked, wells.notes))
    if table is not None:
        from flows.cli.plate_table import write_table

        write_to(table, lambda path: write_table(results, export.sha256, path))
    if plot is not None:
        from chiploop.report.plate_figure import write_plate_figure

        write_to(plot, lambda path: write_plate_figure(results, path))
    bare = [one for one in asked if not one.has_standards]
    failed = [one for one in results if one.qc == "fail"]
    notes = (*export.notes, *wells.notes)
    if as_json:
        from flows.cli.plate_table import result_as_json

        print_json(
            {
                "ok": not failed,
                "file": export.file,
                "sha256": export.sha256,
                "format": export.format,
                "rules": judged_by.name,
                "rules_to_be_confirmed": judged_by.to_be_confirmed,
                "notes": list(notes),
                "without_standards": [f"{one.plate}, {one.analyte}" for one in bare],
                "results": [result_as_json(one) for one in results],
            }
        )
        if failed:
            raise typer.Exit(FitNotAccepted.exit_code)
        return
    _show(export, results, bare, notes, judged_by)
    for written in (table, plot):
        if written is not None:
            print(f"written: {written}")
    if failed:
        raise FitNotAccepted(f"{len(failed)} of {len(results)} not accepted; why stands above")


def read_dilutions(said: list[str]) -> dict[str, float]:
    """Return sample -> times of the words behind --dilution; "" is every sample.

    Raises
    ------
    WrongUse : a word that is no dilution, or a sample twice.
    """
    found: dict[str, float] = {}
    for text in said:
        sample, _, number = text.rpartition("=")
        try:
            times = float(number)
        except ValueError:
            times = math.nan
        if not 1.0 <= times <= 1e9 or sample in found:
            raise WrongUse(
                f"--dilution {text}: write 4 for all samples, or NAME=4 for one, each once; 1 to 1e9"
            )
        found[sample] = times
    return found


def _wells(
    export: Export,
    layouts: list[Path],
    standards: Path | None,
    dilutions: dict[str, float],
    rules: AcceptanceRules,
    falling: bool,
) -> FileWells:
    from dataclasses import replace

    from chiploop.assays.layout_of_plate import layouts_of_plates
    from chiploop.assays.plate_contents import contents_of_layout
    from chiploop.assays.plate_layout import read_plate_layout
    from chiploop.assays.plate_wells import wells_of_export
    from chiploop.assays.standards_table import read_standards

    of_plate, notes = layouts_of_plates(
        export, [read_plate_layout(path) for path in layouts], "falling" if falling else "rising"
    )
    found = wells_of_export(
        export,
        {name: contents_of_layout(one) for name, one in of_plate.items()},
        read_standards(standards) if standards is not None else None,
        dilutions,
        rules.beads.least if rules.beads else None,
    )
    return replace(found, notes=(*notes, *found.notes))


def _asked(export: Export, wells: FileWells, names: list[str]) -> list[AnalyteWells]:
    known = list(dict.fromkeys(one.analyte for one in wells.analytes))
    strange = [name for name in names if name not in known]
    if strange:
        raise WrongUse(
            f"--analyte {strange[0]}: {export.file} has {', '.join(known[:12]) or 'none'}"
            f"{', ...' if len(known) > 12 else ''}"
        )
    return [one for one in wells.analytes if not names or one.analyte in names]


def without_standards(export: Export, analytes: list[AnalyteWells], notes: tuple[str, ...]) -> str:
    """Return why a file gives no curve, and what would."""
    roles: dict[str, set[tuple[str, str]]] = {}
    samples: dict[str, None] = {}
    for one in analytes:
        for well in one.wells:
            role = "unnamed" if well.content.role == "empty" else well.content.role
            roles.setdefault(role, set()).add((one.plate, well.well))
            if well.content.sample:
                samples[well.content.sample] = None
    counted = ", ".join(f"{len(wells)} {role}" for role, wells in sorted(roles.items()))
    named = f" ({', '.join(list(samples)[:4])}, ...)" if samples else ""
    told = [note for note in notes if "standard" in note]
    return (
        f"{export.file}: no standard with a concentration, so there is no curve. Its wells: "
        f"{counted or 'none'}{named}. Name the standards by --layout FILE (by well) or --standards "
        "FILE (by the names of the file)." + "".join(f"\n  {note}" for note in told)
    )


def _show(
    export: Export,
    results: tuple[AnalyteResult, ...],
    bare: list[AnalyteWells],
    notes: tuple[str, ...],
    rules: AcceptanceRules,
) -> None:
    from flows.cli.plate_text import IN_FULL, result_lines, summary_lines, wrapped

    plates = len({one.wells.plate for one in results})
    lines = wrapped(
        f"{export.file}: {export.format}, {plates} plate(s), "
        f"{len({one.wells.analyte for one in results})} analyte(s)"
    )
    doubt = " (to be confirmed, see the set's source)" if rules.to_be_confirmed else ""
    lines += wrapped(f"rules {rules.name}{doubt}; research use only")
    for note in notes:
        lines += wrapped(f"note: {note}")
    if bare:
        names = ", ".join(one.analyte for one in bare[:8])
        lines += wrapped(f"note: no standards, so no curve, for {len(bare)}: {names}")
    lines.append("")
    if len(results) > IN_FULL:
        lines += summary_lines(results)
        lines.append("--analyte NAME shows one in full; --csv and --json have all.")
    else:
        for one in results:
            lines += result_lines(one)
    print("\n".join(lines))
