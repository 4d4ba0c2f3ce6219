"""``chiploop simulate``, ``run`` and ``resume``: a study through the closed loop.

Belongs here: options, the progress display, what is printed at the end. Not here: opening instruments
(opening), steps (closed_loop). Heavy libraries are imported inside the functions.
"""

from __future__ import annotations

import shutil
import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import (
    ChiploopError,
    FileNotValid,
    InstrumentTrouble,
    WaitingForPerson,
    WrongUse,
)
from flows.cli.screen import JSON_OPTION, print_json
from flows.patients_at_hand import refuse_unfit_patients
from flows.runs_folder import runs_option

if TYPE_CHECKING:
    from chiploop.study import Study
    from flows.laboratory import Tell
    from flows.opening import RunFiles
    from instruments.lab_settings import LabSettings

STUDY = typer.Argument(help="Study file (YAML).")
RUNS = typer.Option(
    Path("runs"), "--runs", help="Folder that takes the runs, their record and journal."
)
SEED = typer.Option(1, "--seed", min=0, help="Seed of the virtual chips and of the statistics.")
HERE = typer.Option(
    False,
    "--here",
    help="Run in this process, which must stay open and has no supervisor beside it, instead of one of its own.",
)
WAYS_ON = (InstrumentTrouble, FileNotValid)
"""Trouble that can be mended outside, and then the run goes on."""


class StoppedByPerson(WaitingForPerson):
    """Ctrl-C: nothing new begins, and no pump is stopped in the middle of its volume."""

    exit_code = 130
    code = "CL-130"


MATCHED = typer.Option(
    False, "--matched", help="Hidden truth drawn from the fitted model itself; for coverage tests."
)


def simulate(
    study: Path = STUDY,
    seed: int = SEED,
    matched: bool = MATCHED,
    runs: Path = RUNS,
    detach: bool = typer.Option(
        False, "--detach", help="Go on in a process of its own; see it with chiploop watch."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Run the whole study on virtual chips, through emulated instruments and real bytes.

    Everything that comes out is marked SIMULATED. Interrupted runs go on with `chiploop resume RUN`. With --detach
    --json: {"ok", "run", "process"}.
    """
    from chiploop.models.facts import truth_of
    from chiploop.study import load_study
    from flows.opening import new_run

    checked = load_study(study)
    refuse_unfit_patients(checked)
    _, no_truth = truth_of(checked.tissue, checked.tissue.measured(checked.assays))
    if no_truth and not matched:
        print(
            f"note: virtual chips of the fitted model, as with --matched: {no_truth}",
            file=sys.stderr,
        )
    files = new_run(checked, runs, seed, True, matched or bool(no_truth))
    if detach:
        begin_service(files, as_json, is_shown=False)
        return
    carry_out(files, None, as_json)


def run(
    study: Path = STUDY,
    lab: Path | None = typer.Option(
        None, "--lab", help="lab.toml of the instruments; default: as the study says."
    ),
    seed: int = SEED,
    runs: Path = RUNS,
    yes: bool = typer.Option(
        False, "--yes", help="Chips are primed and syringes filled; do not ask."
    ),
    here: bool = HERE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Run the study on real instruments, in a process that goes on when this terminal is closed.

    Asks before anything moves. Ports and makes stand in lab.toml, named by the study or by --lab. On a terminal
    the run is shown as chiploop watch does; Ctrl-C there holds it at safe flow and asks what to do. With --json:
    {"ok", "run", "process"}, with --here as chiploop simulate.
    """
    from chiploop.study import load_study
    from flows.opening import (
        SETTINGS_FILE,
        fits_the_study,
        new_run,
        nothing_is_due,
        refuse_elsewhere,
    )
    from instruments.drivers import load_lab_settings

    checked = load_study(study)
    refuse_unfit_patients(checked)
    if lab is None:
        if checked.instruments == "virtual":
            raise WrongUse(
                f"{study} names virtual instruments: use chiploop simulate, or name a lab.toml with --lab"
            )
        lab = Path(checked.instruments)
    settings = load_lab_settings(lab)
    refuse_elsewhere(settings, lab)
    fits_the_study(settings, checked, lab)
    nothing_is_due(settings, lab, date.today())
    refuse_reserved(checked, settings, runs)
    if not yes:
        confirm_start(checked)
    files = new_run(checked, runs, seed, False, False)
    if here:
        carry_out(files, lab, as_json)
        return
    shutil.copyfile(lab, files.folder / SETTINGS_FILE)
    begin_service(files, as_json, is_shown=not as_json)


def refuse_reserved(study: Study, settings: LabSettings, runs: Path) -> None:
    """Raise InstrumentReserved where another run has an instrument that this one needs for itself; tell which
    readings will wait for others. The run looks again when it opens the bench.
    """
    from flows.cli.reservations import fit_of
    from flows.reserving import InstrumentReserved

    fit = fit_of(study, settings, runs, time.time())
    told = "\n".join(fit.lines())
    if fit.alike or any(one.alone for one in fit.conflicts):
        raise InstrumentReserved(
            f"an instrument is reserved by another run; nothing was sent to any.\n{told}\nWait for it, use other "
            "instruments, or see chiploop reservations --help"
        )
    if fit.conflicts:
        print(f"note: readings will wait for another run.\n{told}", file=sys.stderr)


def resume(
    run_id: str = typer.Argument(metavar="RUN", help="Run id, or the run's folder."),
    runs: Path = RUNS,
    here: bool = HERE,
    why: str = typer.Option("", "--why", help="Reason for ending a hold, kept on record."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Let a run go on that a person held, or take up one that was interrupted: what was done is not done again.

    The journal and the pumps' own counters decide about every dose that was under way. A run on instruments goes
    on in a process of its own, as with chiploop run; a simulated one here. Where a process works on it the hold
    is ended, with --json {"ok", "run", "held_by", "new"}.
    """
    from flows.cli.hold import set_hold
    from flows.opening import SETTINGS_FILE, known_run
    from flows.run_owner import RunInUse
    from flows.run_status import now_s, status_of

    files = known_run(run_id, runs)
    now = status_of(files, now_s())
    if now.process is not None and now.held_by:
        set_hold(run_id, runs, False, why, as_json)
        return
    if now.process is not None:  # before anything of that process's folder is touched
        raise RunInUse(
            f"run {files.run_id} is being worked on by process {now.process} and nobody holds it: it goes on by "
            f"itself. It is {now.state}; see chiploop status {files.run_id}. Nothing was sent from here"
        )
    if now.held_by:
        print(
            f"note: {files.run_id} stays on hold ({now.held_by}); chiploop resume while it runs ends that",
            file=sys.stderr,
        )
    if files.simulated or here:
        carry_out(files, None if files.simulated else files.folder / SETTINGS_FILE, as_json)
        return
    begin_service(files, as_json, is_shown=not as_json)


def begin_service(files: RunFiles, as_json: bool, is_shown: bool) -> None:
    """Start the process of a run, say so, and show the run on a terminal."""
    from flows.disk_room import room_to_begin
    from flows.record_place import option_named
    from flows.service import start_service

    room_to_begin(files.folder)  # its own words would be lost on a full disk
    process = start_service(files.folder, option_named())
    if as_json:
        print_json({"ok": True, "run": files.run_id, "process": process})
        return
    where = runs_option(files.runs)
    mark = "SIMULATED  " if files.simulated else ""
    print(f"{mark}{files.run_id} is under way. It goes on if you close this window.")
    print(f"  chiploop watch {files.run_id}{where}    shows it; also status, hold, propose, stop")
    if is_shown and sys.stdout.isatty():
        show_and_ask(files)


def show_and_ask(files: RunFiles) -> None:
    """Show a run until it ends. Ctrl-C holds it at safe flow and asks; twice leaves it on hold.

    A hold that somebody else has put on is not ended from here.
    """
    from flows.cli.hold import set_hold
    from flows.cli.watch import follow, noticed_ctrl_c

    run, runs = str(files.folder), files.runs
    while True:
        try:
            code = follow(files, runs)
            if code:
                raise typer.Exit(code)
            return
        except KeyboardInterrupt:
            pass
        try:
            with noticed_ctrl_c():  # a second one must not come before the hold
                is_mine = set_hold(run, runs, True, "Ctrl-C", False)
            answer = asked_what_now()
            if is_mine and answer != "l":
                set_hold(run, runs, False, "", False)
        except WrongUse as told:  # it has ended meanwhile
            print(told)
            continue
        if answer != "g":
            return


def asked_what_now() -> str:
    """Return ``g``, ``l`` or ``d``; a second Ctrl-C leaves the run on hold."""
    while True:
        try:
            answer = typer.prompt("[g]o on, [l]eave it on hold, [d]etach and let it go on", "g")
        except (KeyboardInterrupt, typer.Abort):
            return "l"
        if answer.strip().lower()[:1] in ("g", "l", "d"):
            return str(answer.strip().lower()[0])


def confirm_start(study: Any) -> None:
    """Ask what only a person can see. Raises WrongUse without a terminal, or where the answer is no."""
    if not sys.stdin.isatty():
        raise WrongUse(
            "hardware would move and nobody can be asked here; add --yes once all is ready"
        )
    syringes = ", ".join(
        f"{role} {s.volume_ul / 1000:g} mL" for role, s in study.perfusion.syringes.items()
    )
    for question in (
        f"{len(study.chip_ids)} chips primed and connected?",
        f"every line: syringes filled ({syringes})?",
        "waste empty?",
    ):
        if not typer.confirm(question):
            raise WrongUse("not started; nothing was sent to any instrument")


def carry_out(files: RunFiles, settings: Path | None, as_json: bool) -> None:
    """Run the flow on these files and print what came out.

    Ends with the exit code of WaitingForPerson where the study is done and lines are held.
    """
    begun = time.monotonic()
    try:
        summary = run_flow(files, settings, as_json, begun)
    except KeyboardInterrupt:
        raise StoppedByPerson(
            f"stopped. Every pump that runs goes on to the volume it was given and then stops by "
            f"itself; nothing else is started. Go on with: {way_on(files)}"
        ) from None
    except WAYS_ON as trouble:
        tell_way_on(trouble, files)
        raise
    from flows.cli.progress import held_lines, print_summary

    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    held = held_lines(summary)
    if held:
        for line, why in held.items():
            print(f"{WaitingForPerson.code}: line {line} is held: {why}", file=sys.stderr)
        raise typer.Exit(WaitingForPerson.exit_code)


def run_flow(files: RunFiles, settings: Path | None, quiet: bool, begun_s: float) -> dict[str, Any]:
    """Open the laboratory, run the flow to its end, and return the summary of the run."""
    from flows.disk_room import outlived, room_to_begin
    from flows.heartbeat import Heart
    from flows.interrupts import remembered_interrupts
    from flows.opening import PREFECT_FOLDER
    from flows.prefect_server import start_in_background

    room_to_begin(files.folder)  # before the server, whose trouble would name no disk
    server = start_in_background(files.folder / PREFECT_FOLDER, pages=not files.simulated)
    try:
        from chiploop.models.study_model import model_of
        from chiploop.record.disk import full, is_full
        from flows.cli.progress import progress_display
        from flows.fault_points import reached
        from flows.opening import open_laboratory
        from flows.run_log import run_log
        from instruments.drivers import load_lab_settings
        from instruments.notify_settings import NotifySettings

        with (
            progress_display(files, quiet=quiet) as show,
            Heart(files.folder) as heart,
            remembered_interrupts() as raise_unheard,
            run_log(files.folder, both(heart.tell, show), show_devices=not files.simulated) as tell,
        ):
            from flows.telling import telling  # imports Prefect: the log must be there before

            tell(0.0, 0, "starting: model, instruments, flow engine")
            model_of(files.study)

            def beat() -> None:
                heart.beat()
                raise_unheard()

            ways = NotifySettings() if settings is None else load_lab_settings(settings).notify
            with (
                telling(files, ways),
                open_laboratory(files, settings, tell, beat) as lab,
            ):
                server.wait_ready()
                from flows.ending import end_run
                from flows.engine import came_of_ctrl_c, run_loop

                try:
                    outlived(lab, lambda: run_loop(lab, files, server))
                except Exception as trouble:
                    if came_of_ctrl_c(trouble):
                        raise StoppedByPerson from None
                    if is_full(trouble) and not isinstance(trouble, ChiploopError):
                        raise full(files.folder) from trouble  # by name: no pump is stopped for it
                    raise
                except KeyboardInterrupt:
                    # A hold, so that leaving the bench stops no pump in the middle of a dose.
                    raise StoppedByPerson from None
                summary = end_run(lab, time.monotonic() - begun_s)
        reached("run_closed")
        return summary
    except StoppedByPerson:
        raise KeyboardInterrupt from None
    finally:
        server.stop()


def both(one: Tell, other: Tell) -> Tell:
    """Return what tells a step to both."""

    def tell(time_h: float, cycle: int, what: str) -> None:
        one(time_h, cycle, what)
        other(time_h, cycle, what)

    return tell


def way_on(files: RunFiles) -> str:
    """Return the command with which a run goes on."""
    where = runs_option(files.runs)
    return f"chiploop resume {files.run_id}{where}"


def tell_way_on(trouble: ChiploopError, files: RunFiles) -> None:
    """Add to a message how the run goes on once the trouble is mended."""
    from flows.run_owner import RunInUse

    if not isinstance(trouble, RunInUse):
        trouble.args = (f"{trouble}\nOnce that is mended, go on with: {way_on(files)}",)
