"""``chiploop stop`` and ``chiploop instruments stop``: pumps stand still, whoever has started them.

Belongs here: whose pumps are meant, what people are told. Not here: how a stop reaches a pump
(instruments.stop_request, instruments.stop_desk). Imports little: a stop must not wait for libraries.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import ChiploopError, FileNotValid, InstrumentTrouble, WrongUse
from flows.cli import instruments_lab as shared
from flows.cli.screen import JSON_OPTION, paint, print_json
from flows.runs_folder import runs_option
from flows.stop_mark import mark_stopped

if TYPE_CHECKING:
    from instruments.lab_settings import LabSettings
    from instruments.stop_request import StopReport

WHY = typer.Option("", "--why", help="Kept in the record of the bytes.")
FACTS, SETTINGS = "run.json", "lab.toml"
BY_HAND = "Go there now: press its STOP key, or pull its plug."


def stop(
    run: str | None = typer.Argument(
        None, metavar="[RUN]", help="Run id, or the run's folder; without it, everything."
    ),
    why: str = WHY,
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Stop the pumps now: of one run, or of everything on this computer. Asks nothing first.

    Works from any process, also where the program that runs the pumps hangs (it is ended then) or has
    died with a dose under way. Exit code 0 only where every pump confirmed that it stands still, 4
    otherwise. With --json: {"ok", "stopped": [{"run", "by", "ports", "confirmed", "may_still_run",
    "note", "took_s"}]}.
    """
    from instruments.stop_request import request_stop

    if run is None:
        reports = request_stop(why=why, directory=shared.LOCKS)
        reached = {_name(report.run) for report in reports}
        try:
            left = sorted({dose.run for dose in shared.open_doses(runs).values()} - reached)
        except ChiploopError as problem:
            print(
                f"Whether a run that died has pumps that move is not known: {problem}",
                file=sys.stderr,
            )
            left = []
    else:
        folder = _folder(run, runs)
        _mark(folder, why)  # before: the supervisor must not start what is stopped
        reports = request_stop(run=folder, why=why, directory=shared.LOCKS)
        left = [] if reports else [folder.name]
        runs = folder.parent
    for report in reports:
        if report.run:
            _mark(Path(report.run), why)
    for name in left:
        _mark(runs / name, why)
        reports += _stop_what_is_left(runs / name, why)
    _tell_and_keep(reports, as_json, runs, nothing=_nothing(run, runs))


def stop_lab(
    lab: Path = shared.LAB,
    pump: list[str] = shared.PUMPS,
    why: str = WHY,
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Stop the pumps of a lab.toml now, whoever holds their ports. Asks nothing first.

    A program that holds a port stops ALL its pumps, also with --pump. Exit code 0 only where every
    pump confirmed that it stands still, 4 otherwise. With --json as chiploop stop.
    """
    from instruments.drivers import load_lab_settings

    settings = load_lab_settings(lab)
    names = shared.named_pumps(settings, pump, lab)
    reports = _stop_pumps(shared.only(settings, names), why, shared.wire_folder(runs))
    nothing = f"{lab} has no pumps. Nothing was sent."
    _tell_and_keep(reports, as_json, runs, nothing=nothing, wanted=names)


def _stop_pumps(settings: LabSettings, why: str, wire: Path) -> list[StopReport]:
    from instruments.stop_request import request_stop

    return request_stop(lab=settings, why=why, directory=shared.LOCKS, wire_dir=wire)


def _mark(folder: Path, why: str) -> None:
    """Leave word in a run's folder that a person stopped it; ``resume`` takes it away."""
    if (folder / FACTS).is_file():
        mark_stopped(folder, why)


def _folder(run: str, runs: Path) -> Path:
    """Return the folder of a run; WrongUse where there is none."""
    for folder in (Path(run), runs / run):
        at_bench = folder.name == shared.BENCH_RUN and (folder / SETTINGS).is_file()
        if run and (at_bench or (folder / FACTS).is_file()):
            return folder.resolve()
    names = sorted(path.parent.name for path in runs.glob(f"*/{FACTS}"))
    raise WrongUse(
        f"there is no run {run} in {runs}; there are: {', '.join(names) or 'none'}. NOTHING WAS "
        "STOPPED; chiploop stop without a run stops everything on this computer"
    )


def _is_simulated(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / FACTS).read_text(encoding="utf-8"))["simulated"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _name(folder: str) -> str:
    return Path(folder).name if folder else ""


def _stop_what_is_left(folder: Path, why: str) -> list[StopReport]:
    """Stop the pumps of a run that no program holds; another run's are left alone."""
    from instruments.drivers import load_lab_settings
    from instruments.scan import holder
    from instruments.stop_request import StopReport

    path = folder / SETTINGS
    if _is_simulated(folder) or not path.is_file():
        return []  # ports of a virtual lab that has ended may be somebody else's by now
    try:
        settings = load_lab_settings(path)
    except FileNotValid as problem:
        return [StopReport((), str(folder), "nobody", (), {"its pumps": str(problem)})]
    holders = {
        name: held
        for name, pump in settings.pumps.items()
        if (held := holder(settings.buses[pump.bus].url, shared.LOCKS)) is not None
        and _name(str(held.about.get("run", ""))) != folder.name
    }
    free = [name for name in settings.pumps if name not in holders]
    reports = _stop_pumps(shared.only(settings, free), why, folder / "wire") if free else []
    named = [_of_run(report, folder) for report in reports]
    if holders:
        by = sorted({held.pid for held in holders.values()})
        note = (
            f"{', '.join(holders)} not touched: held by process {', '.join(map(str, by))} for "
            "something else; chiploop stop without a run stops that, too"
        )
        named.append(StopReport((), str(folder), "nobody", note=note))
    return named


def _of_run(report: StopReport, folder: Path) -> StopReport:
    from dataclasses import replace

    return replace(report, run=report.run or str(folder))


def _nothing(run: str | None, runs: Path) -> str:
    if run is not None:
        return f"Nothing to stop: no program works on {run}, and it has no pumps of its own."
    return (
        f"Nothing to stop: no program holds a port of this computer, and {runs} knows no open dose.\n"
        "Pumps that were started in another way: chiploop instruments stop lab.toml"
    )


def _tell_and_keep(
    reports: list[StopReport], as_json: bool, runs: Path, nothing: str, wanted: Iterable[str] = ()
) -> None:
    """Tell people first; then put into the journal what stands, for whoever takes the run up again."""
    try:
        _tell(reports, as_json, runs, nothing, wanted)
    finally:
        for report in reports:
            folder = Path(report.run)
            if report.run and report.confirmed and (folder / FACTS).is_file():
                _keep(folder, report.confirmed)


def _keep(folder: Path, confirmed: tuple[str, ...]) -> None:
    try:
        from flows.stop_on_record import put_stop_of_run

        put_stop_of_run(folder, _is_simulated(folder), confirmed)
    except Exception as trouble:  # the pumps stand, whatever becomes of a row
        print(
            f"note: the stop is not in the journal of {folder.name} ({trouble}); what was under way is held there "
            "until a person has looked",
            file=sys.stderr,
        )


def _tell(
    reports: list[StopReport],
    as_json: bool,
    runs: Path,
    nothing: str,
    wanted: Iterable[str] = (),
) -> None:
    """Print what became of every pump; leave with 4 where one may still run."""
    good = all(report.good for report in reports)
    if as_json:
        print_json({"ok": good, "stopped": [_as_json(report) for report in reports]})
    elif not reports:
        print(nothing)
    else:
        _show(reports, runs, frozenset(wanted))
    if not good:
        raise typer.Exit(InstrumentTrouble.exit_code)


def _show(reports: list[StopReport], runs: Path, wanted: frozenset[str]) -> None:
    names = [n for r in reports for n in (*r.confirmed, *r.may_still_run)]
    width = max(map(len, names), default=0)
    for report in reports:
        run = f"run {_name(report.run)}, " if report.run else ""
        by = "from here" if report.by.startswith(f"process {os.getpid()},") else f"by {report.by}"
        print(f"{run}stopped {by} ({report.took_s:.1f} s): {', '.join(report.ports)}")
        for name in report.confirmed:
            print(f"  {paint('stands still', 'green')}   {name:<{width}}  confirmed by the pump")
        for name, why in report.may_still_run.items():
            print(f"  {paint('MAY STILL RUN', 'red')}  {name:<{width}}  {why}")
            print(f"  {'':<13}  {'':<{width}}  {paint(BY_HAND, 'red')}")
        if report.note:
            print(f"  note: {report.note}")
    still = sum(len(report.confirmed) for report in reports)
    print(f"\nConfirmed to stand still: {still} of {shared.counted(len(names), 'pump')}.")
    _show_way_on(reports, runs)


def _show_way_on(reports: list[StopReport], runs: Path) -> None:
    """Tell what a stop does to tissue, and how to go on."""
    where = runs_option(runs)
    ids = sorted({_name(report.run) for report in reports if report.run})
    if ids == [shared.BENCH_RUN]:
        print("It was priming, no chips hang on it: chiploop instruments prime begins anew.")
        return
    print("Chips without perfusion starve: decide soon. To go on:")
    for name in [name for name in ids if name != shared.BENCH_RUN] or ["RUN"]:
        print(f"  chiploop resume {name}{where}")
    print(
        "Counters then say what was given. What was stopped is not begun again: plain medium follows."
    )


def _as_json(report: StopReport) -> dict[str, Any]:
    return {
        "run": _name(report.run),
        "by": report.by,
        "ports": list(report.ports),
        "confirmed": list(report.confirmed),
        "may_still_run": dict(report.may_still_run),
        "note": report.note,
        "took_s": round(report.took_s, 3),
    }
