"""``chiploop instruments enter-teer``: a resistance that a person read off a meter, put on file.

Belongs here: what a person types, checked, and what is said back. Not here: the file of readings
(instruments.impedance_meters.teer_entries), tables (chiploop.exports.teer_table), when a reading is
wanted (manual_entry).
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from chiploop.errors import FileNotValid, WrongUse
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.exports.teer_table import TeerRow
    from flows.opening import RunFiles
    from instruments.impedance_meters.manual_entry import ManualTeerEntry

LATEST_AHEAD_H = 0.05
"""A reading further in the future than this is a slip of the pen."""

RUN = typer.Argument(metavar="RUN", help="Run id, or the run's folder.")
CHIP = typer.Option("", "--chip", help="Chip that was measured, e.g. C01.")
RESISTANCE = typer.Option("", "--resistance", help='As the meter shows it, e.g. "1.23 kohm".')
AT = typer.Option(
    "", "--at", help='When, e.g. "36.5 h" of the study or 2026-05-04T14:30+02:00; default: now.'
)
BLANK = typer.Option(False, "--blank", help="The chip is cell-free; it need not be in the study.")
REPLACES = typer.Option(0, "--replaces", min=0, help="Number of the entry that this corrects.")
TABLE = typer.Option(None, "--csv", help="Table of readings: columns chip, time, resistance.")
RUNS = typer.Option(Path("runs"), "--runs", help="Folder of the runs.")


def enter_teer(
    run: str = RUN,
    chip: str = CHIP,
    resistance: str = RESISTANCE,
    at: str = AT,
    blank: bool = BLANK,
    replaces: int = REPLACES,
    table: Path | None = TABLE,
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Enter the resistance that a meter without a cable shows for a chip, or a table of them.

    An entry is never changed: a correction is a new one that names the old with --replaces. Exit
    code 2 where the run has no meter that a person reads or a value can not be taken, 3 where a
    table can not be used; then nothing was entered. With --json: {"ok", "by", "file", "entered":
    [{"entry", "chip", "time_h", "resistance_ohm", "blank", "replaces"}]}.
    """
    from flows.cli.decide import os_login
    from flows.opening import known_run
    from instruments.impedance_meters.manual_entry import entries_path
    from instruments.impedance_meters.teer_entries import TeerEntry, append_entries

    files = known_run(run, runs)
    meter = manual_meter(files)
    path = entries_path(meter, files.folder)
    begun = study_begun(files)
    if table is not None:
        if chip or resistance or at or blank or replaces:
            raise WrongUse("--csv brings its own chips, times and resistances; give it alone")
        rows = rows_of_table(table, files, begun)
    else:
        rows = [typed_row(files, path, chip, resistance, at, blank, replaces, begun)]
    check_rows(rows, meter, begun, table)
    by = os_login()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entered = append_entries(
        path,
        [
            TeerEntry(
                entry=0,
                chip=row.chip,
                time_h=row.time_h,
                resistance_ohm=row.resistance_ohm,
                blank=row.blank,
                replaces=replaces,
                as_written=row.as_written,
                entered_utc=now,
                by=by,
            )
            for row in rows
        ],
    )
    if as_json:
        told = ("entry", "chip", "time_h", "resistance_ohm", "blank", "replaces")
        entries = [{name: getattr(one, name) for name in told} for one in entered]
        print_json({"ok": True, "by": by, "file": str(path), "entered": entries})
        return
    for one in entered:
        instead = f", in place of entry {one.replaces}" if one.replaces else ""
        cell_free = " (cell-free)" if one.blank else ""
        print(
            f"entry {one.entry}: {one.chip}{cell_free} {one.resistance_ohm:g} ohm "
            f"at {one.time_h:.2f} h, by {by}{instead}"
        )


def manual_meter(files: RunFiles) -> ManualTeerEntry:
    """Return the settings of the run's meter; WrongUse where no person reads it."""
    from flows.opening import SETTINGS_FILE
    from instruments.drivers import load_lab_settings
    from instruments.impedance_meters.manual_entry import ManualTeerEntry

    path = files.folder / SETTINGS_FILE
    if not path.exists():
        raise WrongUse(f"run {files.run_id} has not opened its instruments yet: there is no {path}")
    meters = load_lab_settings(path).impedance_meters
    manual = [entry for entry in meters.values() if isinstance(entry, ManualTeerEntry)]
    if len(manual) != 1:
        makes = ", ".join(f"{name} is {entry.make}" for name, entry in meters.items()) or "none"
        raise WrongUse(
            f"one meter with make = manual_teer is needed in {path}; {makes}. Nothing was entered"
        )
    return manual[0]


def study_begun(files: RunFiles) -> datetime:
    """Return when study time 0 was; WrongUse where the clock has not begun."""
    path = files.folder / "clock.json"
    try:
        begun_s = json.loads(path.read_text(encoding="utf-8"))["begun_unix_s"]
        return datetime.fromtimestamp(float(begun_s), UTC)
    except FileNotFoundError:
        raise WrongUse(f"run {files.run_id} has not begun: there is no {path}") from None
    except (OSError, ValueError, KeyError, TypeError) as trouble:
        raise FileNotValid(f"{path} is damaged ({trouble}); nothing was entered") from trouble


def typed_row(
    files: RunFiles,
    path: Path,
    chip: str,
    resistance: str,
    at: str,
    blank: bool,
    replaces: int,
    begun: datetime,
) -> TeerRow:
    """Return what was typed as one reading; WrongUse for anything that is none.

    A correction without a time of its own keeps that of the entry it corrects.
    """
    from chiploop.exports.teer_table import TeerRow, study_time_h
    from chiploop.units import UnitProblem, parse_quantity
    from instruments.impedance_meters.teer_entries import read_entries

    if not chip or not resistance:
        raise WrongUse('name --chip and --resistance, e.g. --resistance "1.23 kohm", or --csv FILE')
    known = files.study.chip_ids
    if not chip.isprintable() or (chip not in known and not blank):
        raise WrongUse(f"{chip!r} is no chip of {files.run_id}; chips: {', '.join(known)}")
    time_h = hours_since(begun)
    if replaces:
        entries = read_entries(path)
        if replaces > len(entries):
            raise WrongUse(f"there is no entry {replaces}; {len(entries)} were entered")
        time_h = entries[replaces - 1].time_h
    try:
        if at:
            time_h = study_time_h(at, begun)
        return TeerRow(
            0, chip, time_h, parse_quantity(resistance, "resistance_ohm"), blank, resistance
        )
    except UnitProblem as problem:
        hint = f"; {problem.hint}" if problem.hint else ""
        raise WrongUse(f"{problem.message}{hint}. Nothing was entered") from problem


def rows_of_table(table: Path, files: RunFiles, begun: datetime) -> list[TeerRow]:
    """Return the readings of a table; FileNotValid where one can not be used."""
    from chiploop.exports.teer_table import read_teer_table

    try:
        data = table.read_bytes()
    except OSError as trouble:
        raise WrongUse(f"{table} can not be read ({trouble.strerror})") from trouble
    return list(read_teer_table(data, table.name, files.study.chip_ids, begun))


def check_rows(
    rows: list[TeerRow], meter: ManualTeerEntry, begun: datetime, table: Path | None
) -> None:
    """Refuse what no meter shows, and what has not been yet, before anything is entered."""
    from chiploop.errors import Problem
    from chiploop.exports.teer_table import TeerTableNotValid

    now_h = hours_since(begun)
    problems = []
    for row in rows:
        if not meter.lowest_ohm <= row.resistance_ohm <= meter.highest_ohm:
            told = (
                f"{row.chip}: {row.resistance_ohm:g} ohm is outside {meter.lowest_ohm:g}.."
                f"{meter.highest_ohm:g} ohm of lab.toml"
            )
            problems.append(Problem(row.line, "resistance", told))
        if row.time_h > now_h + LATEST_AHEAD_H:
            told = f"{row.chip}: {row.time_h:.2f} h is in the future; the study is at {now_h:.2f} h"
            problems.append(Problem(row.line, "time", told))
    if problems and table is not None:
        raise TeerTableNotValid(table.name, tuple(problems))
    if problems:
        raise WrongUse("; ".join(one.message for one in problems) + ". Nothing was entered")


def hours_since(begun: datetime) -> float:
    """Return study time now."""
    return (time.time() - begun.timestamp()) / 3600.0
