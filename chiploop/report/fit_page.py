"""The page by which a person judges a calibration: verdict, what to look at, figures; one file, no script.

Belongs here: what the page of a fit holds, and the part of it that a run's report shares. Not here: the checks
(chiploop.fit_review), their figures (fit_figures), markup (fit_page.html.j2, parts.html.j2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import chiploop
from chiploop.fit_review import LEVEL, FitReview
from chiploop.refit import Refit
from chiploop.report import run_tables as tables
from chiploop.report.fit_figures import FitFigure, fit_figures
from chiploop.report.svg import MARK, Drawn, drawn
from chiploop.report.verdicts import fit_verdict, predictive_verdict
from chiploop.study import Study

TEMPLATE = "fit_page.html.j2"


@dataclass(frozen=True)
class Checks:
    """What a person looks at, ready to be shown."""

    sentences: tuple[str, ...]
    elpd: str
    """How well single readings are told from the others; empty where that is among the sentences."""
    figures: tuple[tuple[FitFigure, Drawn], ...]
    """Each with what it looks like."""


def checks_of(review: FitReview, donors: Sequence[str], simulated: bool, refused: bool) -> Checks:
    """Return a review as it is shown; donors in the study's order.

    ``refused`` says that the calibration failed; that stands in every figure.
    """
    figures = tuple(
        (one, drawn(one.name, one.title, one.draw, simulated, refused))
        for one in fit_figures(review, donors)
    )
    elpd = f"{review.left_out.sentence}."
    return Checks(review.sentences, "" if elpd in review.sentences else elpd, figures)


def environment() -> Environment:
    """Return how templates are rendered; what a template asks for and is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["safe_svg"] = Markup  # our own SVG, cleaned in chiploop.report.svg
    return made


def fit_page(study: Study, run_id: str, simulated: bool, found: Refit) -> str:
    """Return the page of a fit; the same fit gives the same bytes. ValueError where it was not reviewed."""
    if found.review is None:
        raise ValueError("the fit was not reviewed, so there is nothing to show")
    info = asdict(found.info)
    facts = [
        ("Study", study.name),
        ("Run", run_id),
        ("Cycle", f"all readouts up to cycle {found.cycle}"),
        ("Seed", str(found.seed)),
        ("Model", f"{study.tissue.model}, sha256 {study.tissue.sha256[:16]}"),
        ("Readouts", f"{found.info.n_readouts}, {found.info.n_censored} of them censored"),
        ("Method", found.info.method),
        ("Software", f"chiploop {chiploop.__version__}"),
    ]
    goals = tables.goal_rows(study, [goal.facts() for goal in found.goals], {})
    page = {
        "mark": MARK,
        "simulated": simulated,
        "title": f"Fit of {run_id}, cycle {found.cycle}",
        "facts": facts,
        "verdicts": (fit_verdict(info), predictive_verdict(info)),
        "passed": found.info.passed,
        "failures": found.info.failures,
        "warnings": found.info.warnings,
        "goals": goals,
        "level": f"{100 * LEVEL:g} %",
        "checks_made": checks_of(
            found.review, tuple(study.donors), simulated, not found.info.passed
        ),
    }
    return environment().get_template(TEMPLATE).render(page) + "\n"
