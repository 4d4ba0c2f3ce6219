"""``chiploop reservations``: what runs have reserved on the bench; conflicts as ``plan`` and ``run`` tell them.

Belongs here: options, the table, conflicts as text and JSON. Not here: what is reserved (flows.reserving), what is
in whose way (chiploop.reservations).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUNS
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.reservations import Conflict
    from chiploop.study import Study
    from flows.reserving import Standing
    from instruments.lab_settings import LabSettings


def reservations(
    release_run: str = typer.Option(
        "", "--release", metavar="RUN", help="Release what a run left that nobody works on."
    ),
    why: str = typer.Option("", "--why", help="Reason for releasing, kept on record."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show which run has reserved which instrument, from when to when, and which runs nobody works on.

    Such a run keeps its pumps, because its chips may stand on them, until it is taken up and ends, or a person
    says with --release that they do not. What its pumps have open is ended then, and its supervisor starts nothing
    more; where they may still run, chiploop stop RUN comes first (exit code 2). With --json: {"ok",
    "reservations": [{"run", "left", "simulated", "host", "process", "moved_utc", "stretches": [{"name", "device",
    "from", "to", "alone", "what"}]}]}, with --release {"ok", "run", "released_by", "pumps"}.
    """
    from flows.record_place import place_of
    from flows.reserving import standing

    if release_run:
        _release(release_run, why, runs, as_json)
        return
    place = place_of(runs)
    found: list[Standing] = []
    if place.is_there():
        with place.open(create=False) as record:
            found = standing(record, time.time())
    if as_json:
        print_json({"ok": True, "reservations": [_facts(one) for one in found]})
        return
    if not found:
        print(f"Nothing is reserved by a run on the record of {runs}.")
    for one in found:
        print("\n".join(_lines(one)))


def _release(run: str, why: str, runs: Path, as_json: bool) -> None:
    from chiploop.record.reservations import release
    from flows.asking import study_time_h
    from flows.cli.decide import os_login
    from flows.giving_up import give_up
    from flows.record_place import place_of
    from flows.reserving import standing

    if not why.strip():
        raise WrongUse("what is released needs its reason: --why TEXT")
    name, by = Path(run).name, os_login()
    with place_of(runs).open_known() as record:
        own = [one for one in standing(record, time.time()) if one.recorded.run_id == name]
        if not own:
            raise WrongUse(f"{name} has nothing reserved; nothing was changed")
        (one,) = own
        if not one.left:
            raise WrongUse(
                f"process {one.recorded.pid} on {one.recorded.host} works on {name}: it releases its instruments "
                "itself when it ends. Nothing was changed"
            )
        folder, simulated = Path(one.recorded.folder), one.recorded.simulated
        time_h = study_time_h(folder, simulated)
        pumps = give_up(folder, name, simulated, time_h, by, why)
        release(record, name, time_h, by, why)
    if as_json:
        print_json({"ok": True, "run": name, "released_by": by, "pumps": pumps})
        return
    print(f"released  {name}, by {by}: {why}")
    if pumps:
        print(f"  what these were giving is on record as not known: {', '.join(pumps)}")


def _facts(one: Standing) -> dict[str, Any]:
    recorded = one.recorded
    return {
        "run": recorded.run_id,
        "left": one.left,
        "simulated": recorded.simulated,
        "host": recorded.host,
        "process": recorded.pid,
        "moved_utc": recorded.at_utc,
        "stretches": [
            {
                "name": s.name,
                "device": s.device,
                "from": iso(s.from_s),
                "to": iso(s.to_s),
                "alone": s.alone,
                "what": s.what,
            }
            for s in one.reservation.stretches
        ],
    }


def _lines(one: Standing) -> list[str]:
    recorded = one.recorded
    mark = "SIMULATED  " if recorded.simulated else ""
    where = f"process {recorded.pid} on {recorded.host}"
    state = paint("NOBODY WORKS ON IT", "red") if one.left else where
    lines = [f"{mark}{recorded.run_id}  {state}"]
    for s in one.reservation.stretches:
        until = "nobody knows when" if math.isinf(s.to_s) else clock(s.to_s)
        how = "alone " if s.alone else "shared"
        lines.append(f"  {how}  {clock(s.from_s)} to {until}  {s.name}: {s.what}")
    if one.left:
        lines.append(
            f"  Take it up with chiploop resume {recorded.run_id}; or, where its chips are off the bench: "
            f"chiploop stop {recorded.run_id}, then chiploop reservations --release {recorded.run_id} --why TEXT"
        )
    return lines


def clock(at_s: float) -> str:
    """Return a moment as people here read it."""
    return f"{datetime.fromtimestamp(at_s):%a %Y-%m-%d %H:%M}"


def iso(at_s: float) -> str | None:
    """Return a moment for programs, with its zone; None for no end."""
    if math.isinf(at_s):
        return None
    return datetime.fromtimestamp(at_s).astimezone().isoformat(timespec="seconds")


def start_time_s(text: str, now_s: float) -> float:
    """Return when a run shall begin: now, the next time a clock shows that, or a date with its time.

    WrongUse for what is none of them, or has passed.
    """
    if not text.strip():
        return now_s
    now = datetime.fromtimestamp(now_s)
    try:
        if len(text.strip()) <= 5:
            hour = datetime.strptime(text.strip(), "%H:%M")
            moment = now.replace(hour=hour.hour, minute=hour.minute, second=0, microsecond=0)
            moment += timedelta(days=1) if moment < now else timedelta()
        else:
            moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise WrongUse(f'--start {text} is no time: write 18:30, or "2026-11-24 18:30"') from None
    if moment.timestamp() < now_s - 60.0:
        raise WrongUse(f"--start {text} has passed; it is {now:%Y-%m-%d %H:%M}")
    return moment.timestamp()


@dataclass(frozen=True)
class Fit:
    """How a study fits between the runs that are there."""

    start_s: float
    conflicts: tuple[Conflict, ...]
    earliest_s: float
    """First start without a conflict that bars; infinite where there is none."""
    left: frozenset[str]
    """Runs that nobody works on."""
    foreign: tuple[str, ...] = ()
    """Ports that are held by programs whose reservation is not on this record."""
    alike: tuple[str, ...] = ()
    """Runs of the same folder whose pumps have the same names, in words; the folder has one journal."""

    @property
    def is_barred(self) -> bool:
        """Whether the study can not begin then as planned."""
        return bool(self.foreign or self.alike) or any(one.bars for one in self.conflicts)

    def facts(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "start": iso(self.start_s),
            "earliest_start": iso(self.earliest_s),
            "held_by_others": list(self.foreign),
            "named_alike": list(self.alike),
            "conflicts": [
                {
                    **asdict(one),
                    "bars": one.bars,
                    "overlap_h": None if math.isinf(one.overlap_s) else one.overlap_s / 3600.0,
                    "from_s": iso(one.from_s),
                    "to_s": iso(one.to_s),
                    "own_from_s": iso(one.own_from_s),
                    "until_s": iso(one.until_s),
                }
                for one in self.conflicts
            ],
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        from flows.reserving import told

        found = [f"Instruments, for a start at {clock(self.start_s)}"]
        if not self.conflicts and not self.foreign and not self.alike:
            return [*found, "  nobody is in the way"]
        for one in sorted(self.conflicts, key=lambda one: not one.bars):
            mark = paint("CONFLICT", "red") if one.bars else "waits   "
            found.append(f"  {mark}  {told(one, one.other in self.left)}")
        found += [f"  {paint('HELD NOW', 'red')}  {one}" for one in self.foreign]
        found += [f"  {paint('CONFLICT', 'red')}  {one}" for one in self.alike]
        if any(one.bars for one in self.conflicts):
            when = "none, as things are" if math.isinf(self.earliest_s) else clock(self.earliest_s)
            found.append(f"  Earliest start without conflict: {when}")
        return found


def fit_of(study: Study, settings: LabSettings, runs: Path, start_s: float) -> Fit:
    """Return how a study that begins then fits between the runs on record; opens no port."""
    from contextlib import ExitStack

    from chiploop.reservations import earliest_start_s
    from chiploop.timetable import needs_of
    from flows.record_place import place_of
    from flows.reserving import (
        by_hand,
        conflicts_with,
        held_unreserved,
        named_alike,
        reading_times,
        standing,
        stretches_of,
    )

    place = place_of(runs)
    with ExitStack() as stack:
        record = stack.enter_context(place.open(create=False)) if place.is_there() else None
        others = [] if record is None else standing(record, time.time())
        others = [one for one in others if not one.recorded.simulated]
        needs = needs_of(study, reading_times(record, settings), teer_by_hand=by_hand(settings))
    mine = stretches_of(settings, needs, start_s)
    real: Sequence[Any] = [one.reservation for one in others]
    found = conflicts_with(mine, others)
    barred = {one.other for one in found if one.alone}
    there = [one for one in others if any(s.to_s > start_s for s in one.reservation.stretches)]
    return Fit(
        start_s,
        found,
        earliest_start_s(mine, real, start_s),
        frozenset(one.recorded.run_id for one in others if one.left),
        held_unreserved(settings, others) if start_s < time.time() + 60.0 else (),
        named_alike(settings, runs, [one for one in there if one.recorded.run_id not in barred]),
    )
