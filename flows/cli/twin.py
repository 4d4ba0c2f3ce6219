"""``chiploop twin``: the patient's twin. Research use only; not for clinical decisions.

Belongs here: the group. Not here: its commands, each in its file.
"""

from __future__ import annotations

import typer

from flows.cli.twin_control_arm import control_arm
from flows.cli.twin_teach import teach
from flows.cli.twin_trial import trial
from flows.cli.twin_whatif import whatif

twin_app = typer.Typer(
    help="The patient's twin. Research use only; not for clinical decisions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@twin_app.callback()
def _twin() -> None:
    """The patient's twin. Research use only; not for clinical decisions."""


twin_app.command("control-arm")(control_arm)
twin_app.command("teach")(teach)
twin_app.command("trial")(trial)
twin_app.command("whatif")(whatif)
