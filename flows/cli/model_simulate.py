"""``chiploop model simulate``: chips side by side, as a model tells it.

Belongs here: reading what a person asks, the table, the CSV. Not here: what is simulated (chiploop.what_if), the
figure (chiploop.report.what_if_figure).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.model_show import MODEL, facts_of
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.models.facts import ModelFacts
    from chiploop.what_if import Question, WhatIf

PLOTS = (".svg", ".png")
MOST_DRAWS = 10_000
SHOWN_TIMES = 4
HOW = {
    "moment": "at the moment",
    "window_mean": "mean of a window",
    "window_loss": "fall over a window",
}
COLUMNS = ("time_h", "chip", "readout", "value", "unit", "low", "high")
"""Of the CSV: one row per value."""


def simulate(
    model: str = MODEL,
    hours: float = typer.Option(168.0, "--hours", help="Hours that are simulated."),
    stimulus: list[str] = typer.Option(
        [], "--stimulus", metavar="NAME=CONC", help="Such as IL-4=0.5ng/mL; again for more."
    ),
    stimulus_from: str = typer.Option("24h", "--from", help="When the stimulus begins."),
    drug: list[str] = typer.Option(
        [], "--drug", metavar="CONC", help="Such as 100nM; again for more chips."
    ),
    drug_from: str = typer.Option("48h", "--drug-from", help="When the drug begins."),
    flow: str | None = typer.Option(
        None, "--flow", help="Such as 60uL/h; default: as in the model's text."
    ),
    values: list[str] = typer.Option(
        [],
        "--set",
        metavar="NAME=VALUE",
        help="Another value, in the model's unit; again for more.",
    ),
    draws: int = typer.Option(
        0, "--draws", min=0, max=MOST_DRAWS, help="Draws of the prior: median and 90 % band."
    ),
    seed: int = typer.Option(1, "--seed", min=0, help="Seed of the draws."),
    every: str = typer.Option(
        "6h", "--every", help="Time between values; also the length of a collection window."
    ),
    csv_file: Path | None = typer.Option(
        None, "--csv", metavar="OUT.csv", help="Write all values."
    ),
    plot: Path | None = typer.Option(
        None, "--plot", metavar="OUT.svg|.png", help="Draw a panel per readout."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Simulate an untouched chip, one with the stimulus, and one for each concentration of drug.

    Nothing is measured: all of it is SIMULATED, without noise and without tubing. With --json: {"ok",
    "simulated", "model", "sha256", "flow_rate_ul_h", "chips", "times_h", "draws", "failed_draws", "readouts":
    [{"name", "unit", "kind", "value", "low", "high"}]}, the last three [chip][time]; null where a collection
    window has not begun, and where no draws were made.
    """
    from chiploop.models.facts import model_path
    from chiploop.models.model_files import formulas_of, text_of

    refuse_existing([csv_file, plot], force)
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise WrongUse(f"{plot}: a plot is written as {' or '.join(PLOTS)}")
    path = model_path(model)
    text = text_of(path)
    question = _question(
        facts_of(path), hours, stimulus, stimulus_from, drug, drug_from, flow, values, draws, seed,
        every,
    )  # fmt: skip
    from chiploop.models.tissue_model import load_model
    from chiploop.what_if import what_if

    try:
        loaded = load_model(model)
    except (RecursionError, UnicodeDecodeError):
        formulas_of(text, path.stem)  # says it in words
        raise
    told = what_if(loaded, question)
    if csv_file is not None:
        write_to(csv_file, lambda file: _write_csv(told, file))
    if plot is not None:
        from chiploop.report.what_if_figure import write_figure

        write_to(plot, lambda file: write_figure(told, question, file))
    if as_json:
        print_json(what_if_as_json(told, question))
        return
    print("\n".join(_text(told, question)))
    for written in (csv_file, plot):
        if written is not None:
            print(f"written: {written}")
    if not stimulus and loaded.facts.stimuli:
        print(
            f"note: no stimulus was named; {loaded.name} knows {', '.join(loaded.facts.stimuli)}\n"
            f"      add for example --stimulus {next(iter(loaded.facts.stimuli))}=0.5ng/mL"
        )


def _question(
    facts: ModelFacts,
    hours: float,
    stimulus: list[str],
    stimulus_from: str,
    drug: list[str],
    drug_from: str,
    flow: str | None,
    values: list[str],
    draws: int,
    seed: int,
    every: str,
) -> Question:
    from chiploop.what_if import Question

    stimuli: dict[str, float] = {}
    for name, written in _pairs(stimulus, "--stimulus", "IL-4=0.5ng/mL").items():
        if name not in facts.stimuli:
            known = ", ".join(facts.stimuli)
            raise WrongUse(
                f"--stimulus: {name} is no stimulus of model {facts.model}; "
                + (f"allowed: {known}" if known else "it knows none")
            )
        stimuli[name] = _concentration_nm(written, facts, name)
    numbers: dict[str, float] = {}
    for name, written in _pairs(values, "--set", "IC50=50").items():
        unit = facts.estimated[name].unit if name in facts.estimated else ""
        numbers[name] = _number(name, written, unit)
    return Question(
        hours=hours,
        every_h=_quantity(every, "time_h", "--every"),
        flow_rate_ul_h=None if flow is None else _quantity(flow, "flow_rate_ul_h", "--flow"),
        stimulus_nm=stimuli,
        stimulus_from_h=_quantity(stimulus_from, "time_h", "--from"),
        drugs_nm=tuple(_quantity(each, "concentration_nm", "--drug") for each in drug),
        drug_from_h=_quantity(drug_from, "time_h", "--drug-from"),
        values=numbers,
        draws=draws,
        seed=seed,
    )


def _pairs(written: list[str], option: str, example: str) -> dict[str, str]:
    """Return name -> what stands behind its equals sign."""
    pairs: dict[str, str] = {}
    for each in written:
        name, equals, value = (part.strip() for part in each.partition("="))
        if not (name and equals and value):
            raise WrongUse(f'{option}: "{each}" is not NAME=VALUE, such as {example}')
        if name in pairs:
            raise WrongUse(f"{option}: {name} is named twice")
        pairs[name] = value
    return pairs


def _quantity(written: str, kind: str, option: str) -> float:
    from chiploop.units import UnitProblem, parse_quantity

    try:
        return parse_quantity(written, kind)
    except UnitProblem as trouble:
        hint = f"; {trouble.hint}" if trouble.hint else ""
        raise WrongUse(f"{option}: {trouble.message}{hint}") from None


def _concentration_nm(written: str, facts: ModelFacts, name: str) -> float:
    """Return a stimulus in nM, from a mass concentration or a molar one."""
    from chiploop.units import UnitProblem, parse_quantity

    try:
        return parse_quantity(written, "concentration_nm")
    except UnitProblem:
        mass = _quantity(written, "mass_concentration_ng_ml", f"--stimulus {name}")
        return facts.stimuli[name].nm(mass)


def _number(name: str, written: str, unit: str) -> float:
    """Return a number that stands alone or with exactly the model's unit."""
    number = written.removesuffix(unit).strip() if unit and unit != "1" else written
    try:
        value = float(number)
    except ValueError:
        said = f", in {unit}" if unit and unit != "1" else ""
        raise WrongUse(f'--set {name}: "{written}" is not a number{said}') from None
    if not math.isfinite(value):
        raise WrongUse(f'--set {name}: "{written}" is not a number that can be used')
    return value


def what_if_as_json(told: WhatIf, question: Question) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""

    def plain(values: Any) -> list[list[float | None]]:
        return [[float(v) if math.isfinite(v) else None for v in chip] for chip in values]

    return {
        "ok": True,
        "simulated": True,
        "model": told.model,
        "sha256": told.sha256,
        "flow_rate_ul_h": told.flow_rate_ul_h,
        "stimulus_nm": dict(question.stimulus_nm),
        "chips": list(told.chips),
        "times_h": [float(t) for t in told.times_h],
        "draws": question.draws,
        "failed_draws": list(told.failed),
        "readouts": [
            {
                "name": spec.name,
                "unit": spec.unit,
                "kind": spec.kind,
                "value": plain(told.value[:, :, r]),
                "low": plain(told.low[:, :, r]),
                "high": plain(told.high[:, :, r]),
            }
            for r, spec in enumerate(told.readouts)
        ],
    }


def _write_csv(told: WhatIf, path: Path) -> None:
    from chiploop.what_if import rows

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for *place, value, unit, low, high in rows(told):
            band = [f"{v:.9g}" if math.isfinite(v) else "" for v in (low, high)]
            writer.writerow([f"{place[0]:.9g}", *place[1:], f"{value:.9g}", unit, *band])


def _text(told: WhatIf, question: Question) -> list[str]:
    times = _shown_times(told, SHOWN_TIMES - 1 if question.draws else SHOWN_TIMES)
    how = (
        f"median of {question.draws} draws of the prior, seed {question.seed}"
        if question.draws
        else "the text's own values"
    )
    lines = [
        f"{paint('SIMULATED', 'red')}  {told.model}, {how}",
        f"flow {told.flow_rate_ul_h:g} uL/h, collection windows of {question.every_h:g} h",
    ]
    if told.stimulus:
        lines.append(f"stimulus {told.stimulus} from {question.stimulus_from_h:g} h")
    if question.drugs_nm:
        lines.append(f"drug from {question.drug_from_h:g} h")
    lines += [f"{name} = {value:g}" for name, value in question.values.items()]
    width = max(8, *(len(chip) for chip in told.chips))
    head = "".join(f"{f'{told.times_h[t]:g} h':>10}" for t in times)
    for r, spec in enumerate(told.readouts):
        unit = "no unit" if spec.unit == "1" else spec.unit
        lines += ["", f"{spec.name}, {unit}, {HOW[spec.kind]}"]
        lines.append(f"  {'':<{width}}{head}" + ("   90 % at the end" if question.draws else ""))
        for c, chip in enumerate(told.chips):
            cells = "".join(f"{_shown(told.value[c, t, r]):>10}" for t in times)
            band = ""
            if question.draws:
                low, high = told.low[c, -1, r], told.high[c, -1, r]
                band = f"   {_shown(low)} to {_shown(high)}"
            lines.append(f"  {chip:<{width}}{cells}{band}")
    for chip, failed in zip(told.chips, told.failed, strict=True):
        if failed:
            lines.append(
                f"note: {failed} of {question.draws} draws of {chip} did not simulate; left out"
            )
    return [*lines, ""]


def _shown(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return "0" if abs(value) < 1e-9 else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _shown_times(told: WhatIf, count: int) -> list[int]:
    """Return the places of a few times, evenly apart, the end among them."""
    last = len(told.times_h) - 1
    return sorted({round(last * k / count) for k in range(1, count + 1)} - {0})
