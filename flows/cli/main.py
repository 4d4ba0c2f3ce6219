"""The ``chiploop`` command itself: its verbs, exit codes and what happens when one fails.

Belongs here: the table of verbs. Not here: what a verb does; each has its own file.
A verb's file is imported when the verb is asked for, so that ``--help`` stays quick.

Exit codes: 0 ok, 1 bug, 2 wrong use, 3 file not valid, 4 instrument trouble, 5 safety limit, 6 fit
not accepted, 7 waiting for a person, 130 stopped by Ctrl-C.

With ``--json`` a command that raises prints ``{"ok": false, "error": {"code", "exit_code",
"message"}}`` on standard output, with ``problems`` where a file is not valid; the text stands on
standard error. So a command prints its own object last, when nothing can fail any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import typer
from typer.core import TyperGroup

# Before numpy is loaded anywhere: small matrices gain nothing from BLAS threads, which would fight
# with those that simulate.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import chiploop
from chiploop.errors import ChiploopError
from flows.cli.screen import error_as_json, print_json, show_bug, show_error
from flows.record_place import record_named, without_record_option

Command = Callable[..., Any]


@dataclass(frozen=True)
class Verb:
    """One verb of the command line."""

    help: str
    """One line for ``chiploop --help``."""
    load: Callable[[], Command | typer.Typer]
    """Import the verb's file; return its function, or its Typer where verbs stand below it."""


def _check() -> Command:
    from flows.cli.check import check

    return check


def _plan() -> Command:
    from flows.cli.plan import plan

    return plan


def _mirror() -> Command:
    from flows.cli.mirror import mirror

    return mirror


def _backup() -> Command:
    from flows.cli.backup import backup

    return backup


def _restore() -> Command:
    from flows.cli.backup import restore

    return restore


def _reservations() -> Command:
    from flows.cli.reservations import reservations

    return reservations


def _schema() -> Command:
    from flows.cli.schema import schema

    return schema


def _simulate() -> Command:
    from flows.cli.simulate import simulate

    return simulate


def _run() -> Command:
    from flows.cli.simulate import run

    return run


def _resume() -> Command:
    from flows.cli.simulate import resume

    return resume


def _status() -> Command:
    from flows.cli.status import status

    return status


def _watch() -> Command:
    from flows.cli.watch import watch

    return watch


def _hold() -> Command:
    from flows.cli.hold import hold

    return hold


def _fit() -> Command:
    from flows.cli.fit import fit

    return fit


def _ingest() -> Command:
    from flows.cli.ingest import ingest

    return ingest


def _export() -> Command:
    from flows.cli.export import export

    return export


def _report() -> Command:
    from flows.cli.report import report

    return report


def _curve() -> Command:
    from flows.cli.curve import curve

    return curve


def _impedance() -> Command:
    from flows.cli.impedance import impedance

    return impedance


def _permeability() -> Command:
    from flows.cli.permeability import permeability

    return permeability


def _plate() -> Command:
    from flows.cli.plate import plate

    return plate


def _image() -> Command:
    from flows.cli.image import image

    return image


def _approve() -> Command:
    from flows.cli.decide import approve

    return approve


def _exclude() -> Command:
    from flows.cli.exclude import exclude

    return exclude


def _reject() -> Command:
    from flows.cli.decide import reject

    return reject


def _propose() -> Command:
    from flows.cli.propose import propose

    return propose


def _revise() -> Command:
    from flows.cli.revise import revise

    return revise


def _lost() -> Command:
    from flows.cli.lost import lost

    return lost


def _review() -> Command:
    from flows.cli.review import review

    return review


def _reopen() -> Command:
    from flows.cli.reopen import reopen

    return reopen


def _settle() -> Command:
    from flows.cli.settle import settle

    return settle


def _audit() -> typer.Typer:
    from flows.cli.audit import audit_app

    return audit_app


def _instruments() -> typer.Typer:
    from flows.cli.instruments import instruments_app

    return instruments_app


def _model() -> typer.Typer:
    from flows.cli.model import model_app

    return model_app


def _petab() -> typer.Typer:
    from flows.cli.petab import petab_app

    return petab_app


def _worklist() -> Command:
    from flows.cli.worklist import worklist

    return worklist


def _done() -> Command:
    from flows.cli.worklist import done

    return done


def _skip() -> Command:
    from flows.cli.worklist import skip

    return skip


def _notify() -> Command:
    from flows.cli.notify import notify

    return notify


def _serve() -> Command:
    from flows.cli.serve import serve

    return serve


def _timeline() -> Command:
    from flows.cli.timeline import timeline

    return timeline


def _stop() -> Command:
    from flows.cli.stop import stop

    return stop


def _twin() -> typer.Typer:
    from flows.cli.twin import twin_app

    return twin_app


VERBS: dict[str, Verb] = {
    "check": Verb("Say everything that is wrong with a study; touches nothing.", _check),
    "plan": Verb("Show timetable, syringe volumes and plate maps of a study.", _plan),
    "reservations": Verb("Show which run has reserved which instrument.", _reservations),
    "simulate": Verb("Run the whole loop on virtual chips, in minutes.", _simulate),
    "run": Verb("Run a study on the instruments of the laboratory.", _run),
    "status": Verb("Show where the runs stand, and what they ask of you.", _status),
    "watch": Verb("Show a run as it goes on, chip by chip.", _watch),
    "timeline": Verb("Open Prefect's pages of a run: doses, holds and fits over time.", _timeline),
    "hold": Verb("Let no further dose begin until you say so.", _hold),
    "resume": Verb("Go on with a run that was held or interrupted.", _resume),
    "stop": Verb("Stop the pumps now, from anywhere.", _stop),
    "propose": Verb("Show the next doses with all that speaks for and against them.", _propose),
    "review": Verb("Open the page on which people look at runs and decide.", _review),
    "approve": Verb("Approve the proposed doses, or your own, by name.", _approve),
    "reject": Verb("Reject the proposed doses, by name and with the reason.", _reject),
    "reopen": Verb("Let doses be given again that harm had closed.", _reopen),
    "worklist": Verb("Show what must be done by hand in a run, and when.", _worklist),
    "done": Verb("Say that something was done by hand, when and how much.", _done),
    "skip": Verb("Say that something by hand will not be done, and why.", _skip),
    "settle": Verb("Say what a pump gave where its counter could not tell.", _settle),
    "lost": Verb("Say that the file of a plate will not come.", _lost),
    "exclude": Verb("Leave readouts out of later fits, by name and with the reason.", _exclude),
    "revise": Verb("Calculate a plate again; what was before stays and is superseded.", _revise),
    "fit": Verb("Fit runs again from their record, one or many at a time.", _fit),
    "serve": Verb("Fit the open runs again every night, by themselves.", _serve),
    "ingest": Verb("Read a plate reader's export and show tidy readouts.", _ingest),
    "curve": Verb("Fit standard curves and read unknowns from them.", _curve),
    "plate": Verb("Judge an assay plate from its export: curves, controls, samples.", _plate),
    "impedance": Verb("Read TEER from an impedance spectrum, with its checks.", _impedance),
    "permeability": Verb("Fit the permeability of barriers to a tracer.", _permeability),
    "image": Verb("Measure junctions, nuclei or epidermal thickness in a TIFF.", _image),
    "report": Verb("Make the report of a run again, compare, print.", _report),
    "export": Verb("Write what is on record of a run for other programs.", _export),
    "notify": Verb("Show or try how a bench tells people that a run waits.", _notify),
    "model": Verb("Look at tissue models, check your own, simulate chips.", _model),
    "instruments": Verb("Find, test, prime, stop or simulate instruments.", _instruments),
    "twin": Verb("The patient's twin; research use only.", _twin),
    "petab": Verb("Evaluate and fit problems of the PEtab standard.", _petab),
    "audit": Verb("Verify that no record was altered.", _audit),
    "mirror": Verb("Copy what the record lacks of the action journals.", _mirror),
    "backup": Verb("Write record, journals and runs into one file.", _backup),
    "restore": Verb("Bring back a backup into a new folder.", _restore),
    "schema": Verb("Print the JSON schema of study files, for editors.", _schema),
}
"""Verb -> what it says in help and where it lives; in the order of a study's life."""

HELP = {"help_option_names": ["-h", "--help"]}


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"chiploop {chiploop.__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of a bug."),
    record: str = typer.Option(
        "",
        "--record",
        metavar="URL",
        help="Record of the laboratory, e.g. postgresql://USER@HOST/DATABASE; with any command. "
        "Default: CHIPLOOP_RECORD, or the one of the runs' folder.",
    ),
) -> None:
    """Close the loop between skin-on-a-chip experiments and their computational twin."""


class _Verbs(TyperGroup):
    """The verbs of the table, each imported when it is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Names alone: Typer makes its suggestions from them, get_command loads the rest.
        self.commands.update(cast(Any, dict.fromkeys(VERBS)))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        loaded = verb.load()
        if not isinstance(loaded, typer.Typer):
            single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
            single.command(cmd_name, help=loaded.__doc__ or verb.help)(loaded)
            loaded = single
        command = typer.main.get_command(loaded)
        command.name = cmd_name
        if any(option.name in ("runs", "runs_folder") for option in command.params):
            command.epilog = "With --record URL: on the record of a laboratory."
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


app = typer.Typer(
    cls=_Verbs,
    callback=_options,
    context_settings=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_WRONG_USE: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""Typer keeps click under its own roof in some versions and beside it in others."""


def command_line(arguments: list[str]) -> int:
    """Carry out one command line and return its exit code; nothing but SystemExit gets past."""
    debug = "--debug" in arguments
    as_json = "--json" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        arguments, record = without_record_option(arguments)
        with record_named(record):
            code = typer.main.get_command(app).main(
                arguments, prog_name="chiploop", standalone_mode=False
            )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except ChiploopError as error:
        show_error(error)
        if as_json:
            print_json(error_as_json(error))
        return error.exit_code
    except _WRONG_USE as error:
        error.show()  # type: ignore[attr-defined]
        if as_json:
            told = {"code": "CL-200", "exit_code": 2, "message": str(error)}
            print_json({"ok": False, "error": told})
        return 2
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `chiploop plan FILE | head`: no failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        show_bug(error, debug)
        if as_json:
            print_json(error_as_json(error))
        return 1


def main() -> None:
    """Carry out the command line of this process and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A console that has no micro sign shows "?" rather than failing.
            reconfigure(errors="replace")
    sys.exit(command_line(sys.argv[1:]))
