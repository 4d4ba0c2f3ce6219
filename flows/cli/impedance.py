"""``chiploop impedance``: one spectrum to TEER with its interval, circuit, checks and flags.

Belongs here: options, the text, the JSON object. Not here: reading files (exports.impedance_readers),
the analysis (assays.barrier_analysis), the figure (report.impedance_figure).
"""

from __future__ import annotations

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import FileNotValid, FitNotAccepted, WrongUse
from flows.cli.output_files import FORCE, refuse_existing, write_to
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.assays.barrier_analysis import BarrierAnalysis, BarrierSetup, Estimate
    from chiploop.assays.barrier_blank import BarrierBlank, Geometry
    from chiploop.exports.impedance_file import ImpedanceFile

PLOTS = (".svg", ".png")
POSITIONS = {
    "one-end": "one_end",
    "both-ends": "both_ends",
    "middle": "middle",
    "full-length": "full_length",
}
SIZES = re.compile(r"([^x]+)x([^x]+)x([^x]+)")
ASSUMED_BLANK_SD = 0.05
"""Relative, where a person states a blank without its sd."""
SD_ASSUMED = f"sd assumed {100 * ASSUMED_BLANK_SD:g} %"


class BlankOf(StrEnum):
    """What may stand behind --blank-of."""

    membrane = "membrane"
    total = "total"


class ImaginaryName(StrEnum):
    """What may stand behind --imaginary."""

    as_named = "as-named"
    negated = "negated"


def impedance(
    file: Path = typer.Argument(
        help="Spectrum: Gamry DTA, BioLogic mpt, ZPlot z, PSTrace text, or plain CSV."
    ),
    area: str | None = typer.Option(
        None, "--area", metavar="QUANTITY", help='Area of the membrane, such as "0.33 cm2".'
    ),
    area_sd: str | None = typer.Option(None, "--area-sd", metavar="QUANTITY", help="Its sd."),
    blank: str | None = typer.Option(
        None, "--blank", metavar="FILE|OHM", help="A cell-free chip: its spectrum, or a resistance."
    ),
    blank_sd: str | None = typer.Option(
        None, "--blank-sd", metavar="QUANTITY", help="sd of the blank between chips [5 %]."
    ),
    blank_of: BlankOf | None = typer.Option(
        None, "--blank-of", help="Of a resistance: is it the membrane's, or the whole chip's?"
    ),
    geometry: str = typer.Option(
        "area",
        "--geometry",
        metavar="area|one-end|both-ends|middle|full-length|TABLE.csv",
        help="Where the electrodes of a channel stand, or a table teer_ohm_cm2,resistance_ohm.",
    ),
    channel: str | None = typer.Option(
        None, "--channel", metavar="LxWxH", help='Of each channel, such as "10mm x 1mm x 0.2mm".'
    ),
    resistivity: str | None = typer.Option(
        None, "--resistivity", metavar="QUANTITY", help='Of the medium, such as "67 ohm*cm".'
    ),
    temperature: float | None = typer.Option(
        None, "--temperature", metavar="C", help="At the measurement, in °C."
    ),
    coefficient: str | None = typer.Option(
        None, "--temperature-coefficient", metavar="PERCENT", help='Per °C, such as "2 %".'
    ),
    level: float = typer.Option(0.95, "--level", help="Of intervals, between 0 and 1."),
    imaginary: ImaginaryName = typer.Option(
        ImaginaryName.as_named, "--imaginary", help="Where a column's sign is not as its heading."
    ),
    code_page: str | None = typer.Option(None, "--code-page", help="Of a file that is not UTF."),
    plot: Path | None = typer.Option(
        None, "--plot", metavar="OUT.svg|.png", help="Draw Nyquist and Bode."
    ),
    force: bool = FORCE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fit Rs + (R || CPE) to an impedance spectrum, check it, and give TEER with its interval.

    With --geometry the field of channel electrodes is part of the circuit; without it the area rule
    holds and the value says so. Exit code 6 where the spectrum gives no value. With --json: {"ok",
    "file", "sha256", "format", "points", "teer": {"value", "sd", "lower", "upper", "unit", "censoring",
    "upper_bound"}, "level", "resistance_ohm", "series_ohm", "cpe": {"q", "alpha"}, "capacitance_f":
    {formula: ...}, "residual", "kramers_kronig": {"verdict", "elements", "rms", "order_p", "drift",
    "drift_sd", "drift_p"}, "drift": {"verdict", "frequency_hz", "change", "p", "unseen_resistance"},
    "method", "qc", "flags": [{"code", "text", "serious"}], "notes"}; null stands for what is no number.
    """
    from chiploop.assays.barrier_analysis import analyse_barrier
    from chiploop.exports.impedance_readers import read_impedance

    refuse_existing([plot], force)
    if plot is not None and plot.suffix.lower() not in PLOTS:
        raise WrongUse(f"{plot}: a plot is written as {' or '.join(PLOTS)}")
    if not 0.0 < level < 1.0:
        raise WrongUse(f"--level {level:g}: allowed are levels between 0 and 1, such as 0.95")
    read = read_impedance(file, code_page, imaginary.value)
    setup = _setup(
        area, area_sd, _geometry(geometry, channel, resistivity), temperature, coefficient, level
    )
    found_blank, blank_flags = _blank(blank, blank_sd, blank_of, code_page)
    from dataclasses import replace

    setup = replace(setup, blank=found_blank)
    spectrum = read.spectrum()
    try:
        analysis = analyse_barrier(spectrum, setup, (*read.flags, *blank_flags))
    except ValueError as trouble:
        raise FileNotValid(f"{read.file}: {trouble}") from None
    if plot is not None:
        from chiploop.report.impedance_figure import write_impedance_figure

        write_to(plot, lambda path: write_impedance_figure(spectrum, analysis, read.file, path))
    if as_json:
        print_json({"ok": analysis.qc != "fail", **analysis_as_json(read, setup, analysis)})
        if analysis.qc == "fail":
            raise typer.Exit(FitNotAccepted.exit_code)
        return
    print("\n".join(_text(read, setup, analysis)))
    if plot is not None:
        print(f"written: {plot}")
    if analysis.qc == "fail":
        raise FitNotAccepted(f"{read.file}: no value; the reasons stand above")


def _quantity(text: str, kind: str, option: str) -> float:
    from chiploop.units import UnitProblem, parse_quantity

    try:
        return parse_quantity(text, kind)
    except UnitProblem as problem:
        hint = f"; {problem.hint}" if problem.hint else ""
        raise WrongUse(f"{option}: {problem.message}{hint}") from None


def _setup(
    area: str | None,
    area_sd: str | None,
    geometry: Geometry,
    temperature: float | None,
    coefficient: str | None,
    level: float,
) -> BarrierSetup:
    from chiploop.assays.barrier_analysis import BarrierSetup
    from chiploop.assays.electrode_geometry import ChannelElectrodes

    area_cm2 = _quantity(area, "area_cm2", "--area") if area else None
    if area_cm2 == 0.0:
        raise WrongUse(f"--area {area}: an area is above 0")
    if area_sd and area_cm2 is None:
        raise WrongUse("--area-sd needs --area")
    if isinstance(geometry, ChannelElectrodes) and area_cm2 is not None:
        if abs(area_cm2 / geometry.area_cm2 - 1.0) > 0.05:
            raise WrongUse(
                f"--area is {area_cm2:g} cm2, length times width of --channel {geometry.area_cm2:g} "
                "cm2: the equation holds for a membrane along the whole channel"
            )
    if coefficient and temperature is None:
        raise WrongUse("--temperature-coefficient needs --temperature")
    if temperature is not None and not 0.0 < temperature < 60.0:
        raise WrongUse(f"--temperature {temperature:g}: of a living chip, in °C, between 0 and 60")
    return BarrierSetup(
        area_cm2=area_cm2,
        area_sd_cm2=_quantity(area_sd, "area_cm2", "--area-sd") if area_sd else 0.0,
        geometry=geometry,
        temperature_c=temperature,
        temperature_coefficient=(
            _quantity(coefficient, "fraction", "--temperature-coefficient") if coefficient else None
        ),
        level=level,
    )


def _geometry(word: str, channel: str | None, resistivity: str | None) -> Geometry:
    from chiploop.assays.electrode_geometry import ChannelElectrodes, read_geometry_table

    position = POSITIONS.get(word)
    if position is None and (channel or resistivity):
        raise WrongUse(f"--channel and --resistivity need --geometry {', '.join(POSITIONS)}")
    if word == "area":
        return None
    if position is None:
        path = Path(word)
        if not path.is_file():
            raise WrongUse(
                f"--geometry {word}: no such table, and none of area, {', '.join(POSITIONS)}"
            )
        return read_geometry_table(path.read_bytes(), path.name)
    if not channel or not resistivity:
        raise WrongUse(f'--geometry {word} needs --channel "10mm x 1mm x 0.2mm" and --resistivity')
    sizes = SIZES.fullmatch(channel)
    if sizes is None:
        raise WrongUse(f'--channel {channel}: write length x width x height, "10mm x 1mm x 0.2mm"')
    length, width, height = (_quantity(one, "length_mm", "--channel") for one in sizes.groups())
    rho = _quantity(resistivity, "resistivity_ohm_cm", "--resistivity")
    try:
        return ChannelElectrodes(position, length, width, height, rho)  # type: ignore[arg-type]
    except ValueError as trouble:
        raise WrongUse(f"--channel: {trouble}") from None


def _blank(
    text: str | None, sd: str | None, of: BlankOf | None, code_page: str | None
) -> tuple[BarrierBlank | None, tuple[str, ...]]:
    """Return the blank, and what is doubtful of its file."""
    from dataclasses import replace

    from chiploop.assays.barrier_blank import BarrierBlank, blank_of_cell_free_chips
    from chiploop.exports.impedance_readers import read_impedance

    if text is None:
        if sd or of:
            raise WrongUse("--blank-sd and --blank-of need --blank")
        return None, ()
    sd_ohm = _quantity(sd, "resistance_ohm", "--blank-sd") if sd else None
    if Path(text).is_file():
        if of is BlankOf.membrane:
            raise WrongUse("--blank-of membrane: the spectrum of a cell-free chip is a total")
        read = read_impedance(Path(text), code_page)
        try:
            found = blank_of_cell_free_chips([read.spectrum()])
        except ValueError as trouble:
            raise FileNotValid(f"{text}: {trouble}") from None
        flags = tuple(f"blank {read.file}, {flag}" for flag in read.flags)
        if sd_ohm is not None:
            return replace(found, sd_ohm=sd_ohm), flags
        return replace(found, origin=f"{found.origin}, {SD_ASSUMED}"), flags
    ohm = _quantity(text, "resistance_ohm", "--blank (no such file)")
    if of is None:
        raise WrongUse(
            "--blank-of is needed with a resistance: membrane, what stands at the place of R in a "
            "fitted cell-free chip; or total, what a meter shows between its electrodes"
        )
    origin = "stated by hand" if sd_ohm is not None else f"stated by hand, {SD_ASSUMED}"
    sd_ohm = ASSUMED_BLANK_SD * ohm if sd_ohm is None else sd_ohm
    return BarrierBlank(ohm, sd_ohm, of is BlankOf.total, origin), ()


def analysis_as_json(
    read: ImpedanceFile, setup: BarrierSetup, analysis: BarrierAnalysis
) -> dict[str, Any]:
    """Return the plain values that ``--json`` shows."""
    fit, kk, drift = analysis.fit, analysis.kramers_kronig, analysis.drift
    return {
        "file": read.file,
        "sha256": read.sha256,
        "format": read.format,
        "points": len(read.lines),
        "points_used": fit.n_points,
        "teer": {
            **_plain_estimate(analysis.teer),
            "unit": analysis.unit,
            "censoring": analysis.censoring,
            "upper_bound": _plain(analysis.upper_bound),
        },
        "level": setup.level,
        "resistance_ohm": _plain_estimate(analysis.resistance),
        "series_ohm": _plain_estimate(analysis.series),
        "cpe": {"q": _plain(fit.cpe), "alpha": _plain(fit.alpha)},
        "capacitance_f": {k: _plain_estimate(one) for k, one in analysis.capacitance.items()},
        "residual": _plain(fit.residual),
        "kramers_kronig": {
            "verdict": kk.verdict,
            "elements": kk.n_elements,
            "rms": _plain(kk.rms),
            "order_p": _plain(kk.order_p),
            "drift_of": kk.drift_of,
            "drift": _plain(kk.drift),
            "drift_sd": _plain(kk.drift_sd),
            "drift_p": _plain(kk.drift_p),
        },
        "drift": {
            "verdict": drift.verdict,
            "frequency_hz": _plain(drift.frequency_hz),
            "change": _plain(drift.change),
            "p": _plain(drift.p),
            "unseen_resistance": _plain(drift.unseen_resistance),
        },
        "temperature_c": setup.temperature_c,
        "method": analysis.method,
        "qc": analysis.qc,
        "flags": [
            {"code": one.code, "text": one.text, "serious": one.serious} for one in analysis.flags
        ],
        "notes": list(read.notes),
    }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain_estimate(one: Estimate | None) -> dict[str, float | None]:
    if one is None:
        return dict.fromkeys(("value", "sd", "lower", "upper"))
    return {key: _plain(getattr(one, key)) for key in ("value", "sd", "lower", "upper")}


def _text(read: ImpedanceFile, setup: BarrierSetup, analysis: BarrierAnalysis) -> list[str]:
    fit, kk, drift = analysis.fit, analysis.kramers_kronig, analysis.drift
    name = "TEER" if analysis.unit == "ohm cm2" else "R"
    lines = [f"{read.file}: {read.format}, {len(read.lines)} points, {fit.n_points} used"]
    teer = analysis.teer
    if math.isfinite(teer.value):
        lines.append(f"  {name:12} {_shown(teer, setup.level)} {analysis.unit}")
    elif analysis.censoring == "left":
        lines.append(f"  {name:12} < {analysis.upper_bound:.4g} {analysis.unit}")
    else:
        lines.append(f"  {name:12} none")
    if analysis.resistance is not None and analysis.series is not None:
        lines.append(f"  {'R':12} {_shown(analysis.resistance, setup.level)} ohm")
        lines.append(f"  {'Rs':12} {_shown(analysis.series, setup.level)} ohm")
        lines.append(f"  {'CPE':12} Q {fit.cpe:.4g} S s^alpha, alpha {fit.alpha:.4f}")
        for formula, one in analysis.capacitance.items():
            lines.append(f"  {'C':12} {1e6 * one.value:.4g} uF ({formula})")
        lines.append(f"  {'residual':12} {100 * fit.residual:.2g} %")
    said = kk.verdict.replace("_", " ")
    if math.isfinite(kk.rms):
        said += f"; residual {100 * kk.rms:.2g} % with {kk.n_elements} elements"
    if math.isfinite(kk.drift):
        said += f", {kk.drift_of} in the sweep {100 * kk.drift:+.1f} +- {100 * kk.drift_sd:.1f} %"
    lines.append(f"  {'lin-KK':12} {said}")
    said = drift.verdict.replace("_", " ")
    if math.isfinite(drift.change):
        said += f"; {drift.frequency_hz:g} Hz changed by {100 * drift.change:.1f} %"
    lines.append(f"  {'drift':12} {said}")
    colour = {"ok": "green", "warn": "yellow", "fail": "red"}[analysis.qc]
    lines.append(f"  {'qc':12} {paint(analysis.qc, colour)}")
    lines += [f"  {'flag' if one.serious else 'note':12} {one.text}" for one in analysis.flags]
    lines += [f"  {'file':12} {note}" for note in read.notes]
    return [*lines, f"  {'method':12} {analysis.method}"]


def _shown(one: Estimate, level: float) -> str:
    return f"{one.value:.5g}  ({100 * level:g} %: {one.lower:.5g} to {one.upper:.5g})"
