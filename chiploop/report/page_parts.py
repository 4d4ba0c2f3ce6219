"""The parts of a calibration that the review page shows, written once beside it: figures as files, tables as JSON.

Belongs here: which parts there are and how they stand on disk. Not here: what they say (html_report and what it
names), the page (chiploop.review), who starts this (flows.review_jobs).

The server of the page reads these files and imports nothing that draws or computes. They hang on the calibration
and on nothing else, so they are written once; what changes later (decisions, exclusions) stands in the record.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from chiploop.inference.residual_table import ResidualRow
from chiploop.refit import LEARNED, readouts_of, review_of
from chiploop.report import dose_tables
from chiploop.report import html_report as report
from chiploop.report import run_tables as tables
from chiploop.report.fit_page import checks_of
from chiploop.report.html_report import RunEvidence
from chiploop.report.predictions import LEVEL
from chiploop.report.svg import Drawn, axis_of
from chiploop.report.verdicts import Verdict

FOLDER, PARTS_FILE = "page", "parts.json"
FORM = 4
"""Of the file; another one is written anew."""
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
"""The report's own; a figure in a file of its own hears nothing of the page's style."""
LINES_A_LEAF = 8
"""Whose chips are in one figure: of more the page has leaves."""
NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def parts_folder(run_folder: Path, cycle: int) -> Path:
    """Return where the parts of a calibration are."""
    return run_folder / f"cal-{cycle:02d}" / FOLDER


def write_parts(run: RunEvidence) -> Path:
    """Write the parts of the last calibration and return their folder; ValueError where there was none.

    The review of the fit takes longest: all else is there before it, with ``review`` null.
    """
    if not run.calibrations:
        raise ValueError(f"{run.run.run_id} has no calibration yet, so there is nothing to draw")
    folder = parts_folder(run.folder, run.calibrations[-1].cycle)
    folder.mkdir(parents=True, exist_ok=True)
    parts = without_review(run)
    _write(folder, {**parts, "review": None, "residuals": []})
    _write(folder, {**parts, **of_review(run)})
    return folder


def without_review(run: RunEvidence) -> dict[str, Any]:
    """Return all parts but the review of the fit."""
    study, content = run.study, run.calibrations[-1].content
    doses, next_cycle, outlook = run.next_doses()
    goals = report.goals_drawn(study)
    leaves = leaves_of(study.line_ids)
    return {
        "form": FORM,
        "cycle": run.calibrations[-1].cycle,
        "calibration": run.calibrations[-1].key,
        "level": f"{100 * LEVEL:g} %",
        "facts": report.header_facts(run),
        "verdicts": run.verdicts,
        "info": run.info,
        "accepted": run.accepted,
        "goals": tables.goal_rows(study, content["goals"], run.truths),
        "history": report.tables_of_history(run),
        "history_figure": report.history(run),
        "goal_names": [goal.name for goal in study.goals],
        "dose_figures": [report.dose_figure(run, goal) for goal in goals],
        "dose_titles": [
            f"{goal.readout} against concentration" + (f" of {goal.drug}" if goal.drug else "")
            for goal in goals
        ],
        "next_cycle": next_cycle,
        "outlook": outlook,
        "next_doses": doses,
        "leaves": leaves,
        "observed_figure": report.observed(run, by_dose=False),
        "course_figures": [
            [report.course(run, s.name, own) for s in run.model.readouts if s.kind == "moment"]
            for own in leaves
        ],
        "window_figures": [
            [report.window(run, s.name, own) for s in run.model.readouts if s.kind != "moment"]
            for own in leaves
        ],
        "coverage": report.guarded(lambda: report.coverage(run)),
        "parameters": report.guarded(lambda: report.parameters(run)),
        "learned": LEARNED,
        "scatter": report.scatter_rows(study),
        "proposals": dose_tables.proposal_rows(
            study, run.record, run.run.run_id, dose_tables.given_doses(study, run.actions)
        ),
        "unusual": tables.unusual_readouts(run.judged),
        "readout_counts": tables.readout_counts(run.judged),
        "files": tables.file_rows(run.folder, [c.content for c in run.calibrations]),
        "images": report.guarded(lambda: report.images(run)),
    }


def leaves_of(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the lines whose chips are shown together; one leaf without names where all are."""
    if len(lines) <= LINES_A_LEAF:
        return [()]
    return [tuple(lines[i : i + LINES_A_LEAF]) for i in range(0, len(lines), LINES_A_LEAF)]


def of_review(run: RunEvidence) -> dict[str, Any]:
    """Return the review of the last calibration with its residuals, or what kept it from being made."""
    last = run.calibrations[-1].cycle
    evidence = run.evidence_up_to(last)
    try:
        found, _ = review_of(
            run.study,
            evidence[-1].schedules,
            readouts_of(evidence),
            *run.calibrated,
            run.run.seed,
            last,
        )
    except Exception as problem:  # the rest of the page stands without it
        said = f"{type(problem).__name__}: {problem}"
        return {"review": {"content": None, "problem": said}, "residuals": []}
    checks = checks_of(found, tuple(run.study.donors), run.run.simulated, run.refused)
    return {
        "review": {"content": checks, "problem": ""},
        "residuals": [residual(row) for row in found.residuals],
    }


def residual(row: ResidualRow) -> dict[str, Any]:
    """Return a residual as the page draws it, in the units of figures."""
    axis = axis_of(row.readout, row.unit)
    return {
        **asdict(row),
        "title": axis.title,
        "unit": axis.unit,
        "observed": axis.factor * row.observed,
        "predicted": axis.factor * row.predicted,
    }


def _write(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write parts whole or not at all: figures first, so that what the file names is there."""
    text = json.dumps(_plain(parts, folder), allow_nan=False)
    draft = folder / f"{PARTS_FILE}.unfinished"
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(folder / PARTS_FILE)


def _plain(value: Any, folder: Path) -> Any:
    """Return plain values; a figure becomes a file and its name."""
    if isinstance(value, Drawn):
        return picture(value, folder)
    if isinstance(value, Verdict):
        lines = [asdict(line) for line in value.lines]
        return {"name": value.name, "state": value.state, "word": value.word, "lines": lines}
    if is_dataclass(value) and not isinstance(value, type):
        shown = [part.name for part in fields(value) if part.name != "draw"]
        return {name: _plain(getattr(value, name), folder) for name in shown}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), folder)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one, folder) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, folder) for one in value]
    return value


def picture(one: Drawn, folder: Path) -> dict[str, Any]:
    """Write a figure as a file of its own and return how the page shows it."""
    if not one.svg:
        return {"name": one.name, "src": "", "svg": "", "problem": one.problem}
    name = re.sub(r"[^A-Za-z0-9_-]", "_", one.name)
    label = re.search(r'aria-label="([^"]*)"', one.svg)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', one.svg)
    width, height = (float(box[1]), float(box[2])) if box else (547.2, 300.0)
    size = f'width="{width:g}pt" height="{height:g}pt" font-family="{FONTS}"'
    text = one.svg.replace("<svg ", f"<svg {NAMESPACES} {size} ", 1)
    draft = folder / f"{name}.svg.unfinished"
    draft.write_text(text + "\n", encoding="utf-8", newline="\n")
    draft.replace(folder / f"{name}.svg")
    return {
        "name": one.name,
        "src": f"{name}.svg",
        "label": unescape(label[1]) if label else one.name,
        "width": round(width),
        "height": round(height),
        "problem": "",
    }
