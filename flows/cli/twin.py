"""``chiploop twin``: the patient's twin. Research use only; not for clinical decisions.

Belongs here: the group. Not here: its commands, each in its file.
"""

from __future__ import annotations

import typer

from flows.cli.twin_change import consent, update, visit
from flows.cli.twin_control_arm import control_arm
from flows.cli.twin_delete import delete, proof, protect
from flows.cli.twin_export import export
from flows.cli.twin_patients import add, list_patients, show
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
twin_app.command("add")(add)
twin_app.command("list")(list_patients)
twin_app.command("show")(show)
twin_app.command("visit")(visit)
twin_app.command("update")(update)
twin_app.command("consent")(consent)
twin_app.command("export")(export)
twin_app.command("delete")(delete)
twin_app.command("proof")(proof)
twin_app.command("protect")(protect)
