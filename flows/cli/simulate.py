"""``chiploop simulate``, ``run`` and ``resume``: a study through the closed loop.

Belongs here: options, the progress display, what is printed at the end. Not here: opening instruments
(opening), steps (closed_loop). Heavy libraries are imported inside the functions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from flows.opening import RunFiles

STUDY = typer.Argument(help="Study file (YAML).")
RUNS = typer.Option(Path("runs"), "--runs", help="Folder that takes the runs, their record and journal.")
SEED = typer.Option(1, "--seed", min=0, help="Seed of the virtual chips and of the statistics.")
MATCHED = typer.Option(
    False, "--matched", help="Hidden truth drawn from the fitted model itself; for coverage tests."
)


def simulate(
    study: Path = STUDY,
    seed: int = SEED,
    matched: bool = MATCHED,
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Run the whole study on virtual chips, through emulated instruments and real bytes.

    Everything that comes out is marked SIMULATED. Interrupted runs go on with `chiploop resume RUN`.
    """
    from chiploop.study import load_study
    from flows.opening import new_run

    checked = load_study(study)
    carry_out(new_run(checked, runs, seed, True, matched), None, as_json)


def run(
    study: Path = STUDY,
    lab: Path | None = typer.Option(None, "--lab", help="lab.toml of the instruments; default: as the study says."),
    seed: int = SEED,
    runs: Path = RUNS,
    yes: bool = typer.Option(False, "--yes", help="Chips are primed and syringes filled; do not ask."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Run the study on real instruments.

    Asks before anything moves. Ports and makes stand in lab.toml, named by the study or by --lab.
    """
    from chiploop.study import load_study
    from flows.opening import new_run
    from instruments.bench import load_lab_settings

    checked = load_study(study)
    if lab is None:
        if checked.instruments == "virtual":
            raise WrongUse(
                f"{study} names virtual instruments: use chiploop simulate, or name a lab.toml with --lab"
            )
        lab = Path(checked.instruments)
    load_lab_settings(lab)
    if not yes:
        confirm_start(checked)
    carry_out(new_run(checked, runs, seed, False, False), lab, as_json)


def resume(
    run_id: str = typer.Argument(metavar="RUN", help="Run id, or the run's folder."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Go on with a run that was interrupted: what was done is not done again.

    The journal and the pumps' own counters decide about every dose that was under way.
    """
    from flows.opening import SETTINGS_FILE, known_run

    files = known_run(run_id, runs)
    carry_out(files, None if files.simulated else files.folder / SETTINGS_FILE, as_json)


def confirm_start(study: Any) -> None:
    """Ask what only a person can see. Raises WrongUse without a terminal, or where the answer is no."""
    if not sys.stdin.isatty():
        raise WrongUse("hardware would move and nobody can be asked here; add --yes once all is ready")
    syringes = ", ".join(f"{role} {s.volume_ul / 1000:g} mL" for role, s in study.perfusion.syringes.items())
    for question in (
        f"{len(study.chip_ids)} chips primed and connected?",
        f"every line: syringes filled ({syringes})?",
        "waste empty?",
    ):
        if not typer.confirm(question):
            raise WrongUse("not started; nothing was sent to any instrument")


def carry_out(files: RunFiles, settings: Path | None, as_json: bool) -> None:
    """Run the flow on these files and print what came out."""
    from flows.prefect_server import start_in_background

    begun = time.monotonic()
    server = start_in_background(files.folder / "prefect")
    try:
        from chiploop.models.tissue_model import load_model
        from flows.cli.progress import progress_display
        from flows.opening import open_laboratory

        with progress_display(files, quiet=as_json) as tell:
            tell(0.0, 0, "starting: model, virtual lab, flow engine")
            load_model(files.study.model)
            with open_laboratory(files, settings, tell) as lab:
                server.wait_ready()
                from flows.closed_loop import closed_loop
                from flows.ending import end_run

                closed_loop(lab)
                summary = end_run(lab, time.monotonic() - begun)
    finally:
        server.stop()
    if as_json:
        print_json(summary)
    else:
        from flows.cli.progress import print_summary

        print_summary(summary)
