"""``chiploop model``: what a model holds, whether it is right, what it says would happen.

Belongs here: the table of verbs. Not here: what a verb does; see the files ``model_*.py``. Nothing heavy is
imported before a verb is carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from flows.cli.model_check import check
from flows.cli.model_show import list_models, show
from flows.cli.model_simulate import simulate

model_app = typer.Typer(
    help="Look at models of tissues, check one of your own, simulate chips.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@model_app.callback()
def _model() -> None:
    """Look at models of tissues, check one of your own, simulate chips."""


VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "list": (list_models, "Show the models that come with chiploop."),
    "show": (show, "Show inputs, readouts, priors and equations of a model."),
    "check": (check, "Say everything that is wrong with a model of your own."),
    "simulate": (simulate, "Simulate chips side by side: control, stimulus, drug."),
}
"""Verb -> what carries it out, and one line for help."""

for _name, (_verb, _line) in VERBS.items():
    model_app.command(_name, short_help=_line)(_verb)
