"""Results of a plate as a person reads them, within 100 columns.

Belongs here: text. Not here: numbers (assays), plain values for programs (plate_table).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from chiploop.assays.plate_assay import AnalyteResult
from chiploop.assays.plate_samples import SampleResult
from flows.cli.plate_table import bounds_of
from flows.cli.screen import paint

WIDTH = 100
IN_FULL = 4
"""Analytes and plates that are shown in full; of more there is one line each."""
VERDICTS = {
    "ok": ("accepted", "green"),
    "warn": ("accepted, with warnings", "yellow"),
    "fail": ("NOT ACCEPTED", "red"),
}


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return a text in lines of at most 100 characters."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )


def result_lines(one: AnalyteResult) -> list[str]:
    """Return all that is said of one analyte of one plate."""
    curve, fit = one.curve, one.curve.fit
    word, colour = VERDICTS[one.qc]
    unit = f" {one.wells.unit}" if one.wells.unit else ""
    lines = wrapped(f"{title_of(one)}: {word}")
    lines[0] = lines[0].replace(word, paint(word, colour))
    for reason in one.reasons:
        lines += wrapped(f"because: {reason}" if one.qc == "fail" else f"warning: {reason}", "  ")
    lines += wrapped(f"{fit.model}, {fit.y.size} wells, weights {fit.weighting.name}", "  ")
    if one.choice is not None and not fit.failure:
        lines += wrapped(one.choice.reason, "  ")
    if fit.failure:
        return [*lines, ""]
    lower, upper, ec50, hill = curve.parameters
    more = f", asymmetry {fit.curve.asymmetry:.4g}" if fit.model == "5pl" else ""
    told = f"lower {lower:.4g}, upper {upper:.4g}, ec50 {ec50:.4g}, hill {hill:.4g}{more}"
    highest = max((level.concentration for level in curve.levels), default=math.inf)
    if ec50 > highest:
        told += "; half height lies above all standards: they do not show the far plateau"
    lines += wrapped(told, "  ")
    if math.isfinite(curve.lloq):
        lines += wrapped(f"LLOQ {curve.lloq:.5g}, ULOQ {curve.uloq:.5g}{unit} in the well", "  ")
    lines += _other_limits(one, unit)
    lines += _calibrators(one, unit)
    if curve.qc == "fail":
        return [*lines, "  no concentrations: the curve was not accepted", ""]
    lines += _controls(one)
    return [*lines, *_samples(one, unit), *_series(one), ""]


def title_of(one: AnalyteResult) -> str:
    """Return what a result is called: plate and analyte."""
    return ", ".join(part for part in (one.wells.plate, one.wells.analyte) if part)


def _other_limits(one: AnalyteResult, unit: str) -> list[str]:
    told = []
    if one.detection is not None:
        n = len(one.wells.of_roles("blank"))
        sd = "their sd" if one.detection.sd_from == "blanks" else "the curve's sd, as they are few"
        found = one.detection.concentration
        said = f"{found:.4g}{unit}" if math.isfinite(found) else "not on this curve"
        told.append(f"LOD {said} (3 sd above {n} blanks, {sd})")
    low, high = one.limits_by_cv
    if math.isfinite(low):
        told.append(f"known to the CV of the rules from {low:.4g} to {high:.4g}{unit}")
    return wrapped(f"beside them, deciding nothing: {'; '.join(told)}", "  ") if told else []


def _calibrators(one: AnalyteResult, unit: str) -> list[str]:
    anchors = sum(level.is_anchor for level in one.curve.levels)
    counted = f"{anchors} anchors are not judged" if anchors else "all judged, no anchors"
    lines = [
        f"  {'calibrator' + unit:>18}{'wells':>7}{'mean signal':>14}{'read back':>13}{'recovery':>10}"
        f"  ({counted})"
    ]
    for level in one.curve.levels:
        word = "anchor" if level.is_anchor else "ok" if level.passed else "outside"
        recovery = f"{level.recovery:.0%}" if math.isfinite(level.recovery) else "none"
        lines.append(
            f"  {level.concentration:>18.6g}{level.n:>7}{_short(level.mean_signal_od):>14}"
            f"{_short(level.back_calculated):>13}{recovery:>10}  {word}"
        )
    return lines


def _controls(one: AnalyteResult) -> list[str]:
    verdict = one.control_verdict
    if verdict is None:
        return ["  controls: none with a concentration"]
    lines = [f"  controls: {'accepted' if verdict.accepted else 'not accepted'}"]
    for level in verdict.levels:
        found = ", ".join(_short(value) for value in level.values[:4])
        found += f" and {len(level.values) - 4} more" if len(level.values) > 4 else ""
        said = f"{level.nominal:.5g}: {level.n_passed} of {len(level.values)} pass; found {found}"
        lines += wrapped("; ".join((said, *level.reasons)), "    ")
    return lines


def _samples(one: AnalyteResult, unit: str) -> list[str]:
    shown = [*one.controls, *one.samples]
    if not shown:
        return ["  no sample on the plate"]
    has_beads = any(math.isfinite(sample.beads) for sample in shown)
    head = f"  {'sample':22}{'dilution':>9}  {'wells':13}{'found' + unit + ' (95 %)':35}{'CV':>5}"
    lines = [head + (f"{'beads':>7}" if has_beads else "") + "  why"]
    numbers: dict[str, int] = {}
    for sample in shown:
        marks = [numbers.setdefault(reason, len(numbers) + 1) for reason in sample.estimate.reasons]
        lines.append(_sample_line(sample, marks, has_beads))
    for reason, number in numbers.items():
        lines += wrapped(f"({number}) {reason}", "  ")
    return lines


def _sample_line(one: SampleResult, marks: Sequence[int], has_beads: bool) -> str:
    cv = one.estimate.cv
    if math.isnan(cv):
        told_cv = "-"
    else:
        told_cv = f"{cv:.0%}" if cv < 10.0 else "big"
    beads = f"{_short(one.beads):>7}" if has_beads else ""
    why = f"({','.join(map(str, marks[:3]))}{',..' if len(marks) > 3 else ''})" if marks else ""
    return (
        f"  {_cut(one.sample or '-', 21):22}{one.dilution:>9.5g}  {_wells(one.wells):13}"
        f"{found_text(one):35}{told_cv:>5}{beads}  {why}"
    ).rstrip()


def found_text(one: SampleResult) -> str:
    """Return what was found in a sample: number and interval, or a bound."""
    estimate = one.estimate
    if estimate.censoring == "left":
        return f"< {estimate.upper:.5g}"
    if estimate.censoring == "right":
        return f"> {estimate.lower:.5g}"
    if math.isnan(estimate.value):
        return "none"
    low, high = bounds_of(one)
    return f"{estimate.value:.5g} ({low:.4g} to {high:.4g})"


def _series(one: AnalyteResult) -> list[str]:
    lines = ["  dilution series:"] if one.series else []
    for series in one.series:
        verdict = series.verdict
        words = {True: "yes", False: "no", None: "too few"}
        said = (
            f"{series.series}: {verdict.n} of {len(series.dilutions)} dilutions with a number; "
            f"parallel {words[verdict.is_parallel]}, linear {words[verdict.is_linear]}, "
            f"hook {'YES' if verdict.is_hooked else 'not seen'}"
        )
        if verdict.n > 1:
            said += f"; CV {verdict.cv:.0%}"
        lines += wrapped("; ".join((said, *verdict.reasons)), "    ")
    return lines


def summary_lines(results: Sequence[AnalyteResult]) -> list[str]:
    """Return one line per analyte and plate."""
    lines = [
        f"{'plate, analyte':34}{'verdict':14}{'model':6}{'LLOQ':>9}{'ULOQ':>10}{'levels':>8}"
        f"{'found':>7}{'<':>4}{'>':>4}{'why':>4}"
    ]
    footnotes: list[str] = []
    for one in results:
        word, colour = VERDICTS[one.qc]
        word = word.split(",")[0] + ("*" if one.qc == "warn" else "")
        judged = [level for level in one.curve.levels if not level.is_anchor]
        passed = f"{sum(level.passed for level in judged)}/{len(judged)}"
        sides = [sample.estimate.censoring for sample in one.samples]
        found = sum(math.isfinite(sample.estimate.value) for sample in one.samples)
        mark = ""
        if one.reasons:
            footnotes.append("; ".join(one.reasons))
            mark = f"({len(footnotes)})"
        padded = f"{word:14}"
        lines.append(
            f"{_cut(title_of(one), 33):34}{padded.replace(word, paint(word, colour))}"
            f"{one.curve.fit.model:6}{_short(one.curve.lloq):>9}{_short(one.curve.uloq):>10}"
            f"{passed:>8}{found:>7}{sides.count('left'):>4}{sides.count('right'):>4}{mark:>5}"
        )
    for number, note in enumerate(footnotes, start=1):
        lines += wrapped(f"({number}) {_cut(note, 400)}")
    return [*lines, "found, <, >: samples with a number, below the LLOQ, above the ULOQ"]


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 2]}.."


def _wells(wells: Sequence[str]) -> str:
    return " ".join(wells) if len(wells) <= 3 else f"{wells[0]} to {wells[-1]}"
