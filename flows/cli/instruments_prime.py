"""``chiploop instruments prime``: liquid that a person moves at the bench, on record.

Belongs here: options, the questions to the person, watching until the pump stands still. Not here: the
order of journal and wire (instruments.delivery), bytes.

A priming goes the way of every dose: intent on disk, one start command, a target volume in the pump,
the counter decides. Its run is ``bench``, its purpose ``prime``, so it never counts as something that
chips got; its key names the study run whose syringe it drew from:
``bench/<run, or none>/<when>/<pump>``.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import ChiploopError, InstrumentTrouble, WrongUse
from flows.cli import instruments_lab as shared
from flows.cli.screen import JSON_OPTION, print_json

if TYPE_CHECKING:
    from chiploop.dosing import PumpProgramme
    from chiploop.record.journal import Journal
    from instruments.bench import Bench
    from instruments.contracts import Pump
    from instruments.lab_settings import LabSettings

NO_RUN = "none"
LOOK_S = 0.5
"""Real seconds between two looks at a pump that primes."""
OVERDUE_SHARE, OVERDUE_S = 0.05, 10.0
"""How late a priming may end: clocks of pump and computer differ."""


class StoppedPriming(ChiploopError):
    """Ctrl-C while a pump primed: it was stopped, and says that it stands still."""

    exit_code = 130
    code = "CL-130"


@dataclass(frozen=True)
class Wish:
    """What a person wants of one pump."""

    pump: str
    volume_ul: float | None
    flow_rate_ul_h: float | None
    initialise: bool
    fill: bool
    run: str
    """Run whose syringe it draws from; ``none`` where none is named."""


def prime(
    lab: Path = shared.LAB,
    pump: str = typer.Option(..., "--pump", help="Pump to prime, by its name in lab.toml."),
    volume: str | None = typer.Option(None, "--volume", help='How much, e.g. "300 uL".'),
    rate: str | None = typer.Option(None, "--rate", help='How fast, e.g. "30 mL/h".'),
    initialise: bool = typer.Option(
        False, "--initialise", help="First find the plunger's end. EXPELS what the syringe holds."
    ),
    fill: bool = typer.Option(False, "--fill", help="First fill the syringe from its input."),
    run: str | None = typer.Option(
        None, "--run", help="Run that will use this syringe: what is primed counts as drawn."
    ),
    yes: bool = typer.Option(
        False, "--yes", help="No chip is connected to this pump; do not ask me."
    ),
    runs: Path = shared.RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fill tubing and dead volume of one pump, before chips are connected. MOVES LIQUID.

    The pump gets a target volume and ends by itself; it is watched until then, and Ctrl-C stops it.
    Everything is on record in the journal. Exit code 130 after Ctrl-C, 4 where the pump failed. With
    --json: {"ok", "pump", "delivered_ul", "asked_ul", "key", "did"}.
    """
    from chiploop.record.journal import Journal
    from flows.cli.instruments_check import refuse_open_doses
    from instruments.bench import open_bench
    from instruments.drivers import load_lab_settings

    settings = load_lab_settings(lab)
    (name,) = shared.named_pumps(settings, [pump], lab)
    wish = _wish(name, volume, rate, initialise, fill, _run_id(run, runs))
    refuse_open_doses(runs, [name])
    if not yes:
        shared.ask_yes(_question(wish), "add --yes once no chip is connected to this pump")
    _keep_lab(lab, runs)
    with (
        shared.remarks() as remarks,
        Journal(runs / shared.JOURNAL) as journal,
        shared.way_to_confirm(lab, name),
        open_bench(
            shared.only(settings, [name]),
            shared.wire_folder(runs),
            run=shared.bench_folder(runs),
            lock_dir=shared.LOCKS,
        ) as bench,
    ):
        done = _carry_out(wish, settings, journal, bench, quiet=as_json)
    if as_json:
        print_json({"ok": True, "pump": name, **done})
        return
    for remark in dict.fromkeys(remarks):
        print(f"note: {remark}", file=sys.stderr)
    print(f"{name}: {', '.join(done['did'])}. It stands still.")


def _wish(
    pump: str, volume: str | None, rate: str | None, initialise: bool, fill: bool, run: str
) -> Wish:
    """Return what is asked for, in numbers; WrongUse where it makes no sense."""
    from chiploop.units import UnitProblem, parse_quantity

    if (volume is None) != (rate is None):
        raise WrongUse('priming needs both: --volume "300 uL" --rate "30 mL/h"')
    if volume is None and not (initialise or fill):
        raise WrongUse('say how much and how fast: --volume "300 uL" --rate "30 mL/h"')
    values: dict[str, float | None] = {}
    for option, text, kind in (
        ("--volume", volume, "volume_ul"),
        ("--rate", rate, "flow_rate_ul_h"),
    ):
        try:
            values[option] = None if text is None else parse_quantity(text, kind)
        except UnitProblem as problem:
            raise WrongUse(f"{option} {text}: {problem}. Nothing was sent") from problem
    return Wish(pump, values["--volume"], values["--rate"], initialise, fill, run)


def _run_id(run: str | None, runs: Path) -> str:
    """Return the id of a run that is there and real; ``none`` for None."""
    if run is None:
        return NO_RUN
    from flows.opening import known_run

    files = known_run(run, runs)
    if files.simulated:
        raise WrongUse(f"{files.run_id} is SIMULATED: it draws from no real syringe")
    return files.run_id


def _question(wish: Wish) -> str:
    lines = [f"{wish.pump} will move liquid:"]
    if wish.initialise:
        lines.append("  initialise: EXPELS what its syringe holds through its output")
    if wish.fill:
        lines.append("  fill: draws its syringe full from its input")
    if wish.volume_ul is not None:
        lines.append(f"  prime: {wish.volume_ul:g} uL at {wish.flow_rate_ul_h:g} uL/h")
    lines.append(f"Is NO chip connected to {wish.pump}, and does its tubing end over the waste?")
    return "\n".join(lines)


def _keep_lab(lab: Path, runs: Path) -> None:
    """Keep the lab.toml beside the bench's records, so that a stop finds these pumps again."""
    folder = shared.bench_folder(runs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "lab.toml"
        if not (kept.exists() and kept.samefile(lab)):
            shutil.copyfile(lab, kept)
    except OSError as problem:
        raise WrongUse(
            f"what is primed can not be recorded in {folder} ({problem.strerror}); name a folder "
            "that can be written with --runs. Nothing was sent"
        ) from problem


def _carry_out(
    wish: Wish, settings: LabSettings, journal: Journal, bench: Bench, quiet: bool
) -> dict[str, Any]:
    """Do all that was wished for, one after the other; return what was done."""
    did: list[str] = []
    pump = bench.pumps[wish.pump]
    programme = _programme(wish, pump)  # refused before anything moves
    if wish.initialise or wish.fill:
        did += _move_plunger(wish, journal, pump)
    key, delivered_ul = "", 0.0
    if programme is not None:
        _syringe_suffices(wish, settings, journal, programme.steps[0].volume_ul)
        key, delivered_ul = _prime(wish, journal, bench, programme, quiet)
        did.append(f"primed {delivered_ul:g} uL")
    asked_ul = programme.steps[0].volume_ul if programme else 0.0
    return {"delivered_ul": delivered_ul, "asked_ul": asked_ul, "key": key, "did": did}


def _programme(wish: Wish, pump: Pump) -> PumpProgramme | None:
    """Return the priming as its pump rounds it; None where none is wished for."""
    from chiploop.dosing import PumpProgramme, PumpStep

    if wish.volume_ul is None or wish.flow_rate_ul_h is None:
        return None
    try:
        rounded = pump.quantise(wish.flow_rate_ul_h, wish.volume_ul)
        rounded = pump.quantise(rounded.flow_rate_ul_h, rounded.volume_ul)
    except ValueError as problem:
        raise WrongUse(f"{problem}. Nothing moved") from problem
    # A stock of this name is none of a study's; delivery stops its pump where anything is in doubt.
    step = PumpStep(wish.pump, "prime", rounded.flow_rate_ul_h, rounded.volume_ul)
    return PumpProgramme(
        line=shared.BENCH_RUN,
        purpose="prime",
        asked_nm=0.0,
        delivered_nm=0.0,
        duration_h=rounded.volume_ul / rounded.flow_rate_ul_h,
        steps=(step,),
        vehicle_fraction=0.0,
        stimulus_fraction=0.0,
    )


def _syringe_suffices(
    wish: Wish, settings: LabSettings, journal: Journal, volume_ul: float
) -> None:
    """Raise WrongUse where the syringe holds less, by lab.toml and what the run has drawn."""
    content_ul = settings.pumps[wish.pump].content_ul()
    drawn_ul = 0.0
    if wish.run != NO_RUN:
        drawn_ul = journal.totals(wish.run).drawn_ul.get(wish.pump, 0.0)
    if volume_ul > content_ul - drawn_ul:
        drawn = f", less {drawn_ul:g} uL that run {wish.run} has drawn" if drawn_ul else ""
        raise WrongUse(
            f"{wish.pump} is asked for {volume_ul:g} uL; its syringe holds {content_ul:g} uL{drawn}. "
            "Nothing was primed"
        )


def _move_plunger(wish: Wish, journal: Journal, pump: Pump) -> list[str]:
    """Initialise or fill, each on record before its first byte and after its last."""
    from flows.cli.decide import os_login

    if not isinstance(pump, shared.Refillable):
        raise WrongUse(
            f"{wish.pump} neither initialises nor fills by itself; fill its syringe by hand. "
            "Nothing was sent"
        )
    did = []
    steps = (("initialised", wish.initialise, pump.initialise), ("filled", wish.fill, pump.fill))
    for word, wanted, act in steps:
        if not wanted:
            continue
        key, by = f"{shared.BENCH_RUN}/{word}/{wish.pump}", os_login()
        journal.note(shared.BENCH_RUN, key, 0.0, "begins", by=by)
        try:
            act()
        except KeyboardInterrupt:
            pump.stop()
            journal.note(shared.BENCH_RUN, key, 0.0, "stopped by Ctrl-C", by=by)
            raise StoppedPriming(
                f"{wish.pump} was stopped before it was {word}, and says that it stands still. What "
                "its syringe holds now, only a look tells"
            ) from None
        except ChiploopError as trouble:
            journal.note(shared.BENCH_RUN, key, 0.0, f"failed: {trouble}", by=by)
            raise
        journal.note(shared.BENCH_RUN, key, 0.0, word, by=by)
        did.append(word)
        if word == "filled" and wish.run != NO_RUN:
            journal.refill(wish.run, wish.pump, 0.0, by)
    return did


def _prime(
    wish: Wish, journal: Journal, bench: Bench, programme: PumpProgramme, quiet: bool
) -> tuple[str, float]:
    """Start the priming and watch it to its end; return its key and what the counter shows."""
    from chiploop.record.actions import action_key
    from instruments.delivery import start_programme

    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    key = f"{shared.BENCH_RUN}/{wish.run}/{stamp}"
    own, pump = action_key(key, wish.pump), bench.pumps[wish.pump]
    begun_s = time.monotonic()
    pump.acknowledge()  # whoever primes stands at the pump and has seen its alarm
    _say(quiet, f"{wish.pump} primes; it takes {_lasts(programme.duration_h)}. Ctrl-C stops it.")
    try:
        start_programme(
            journal,
            bench.pumps,
            shared.BENCH_RUN,
            key,
            programme,
            0.0,
            lambda programme, totals, time_h: None,  # no chip is there to be guarded
        )
        problem = _watch(wish, journal, bench, key, programme, begun_s, quiet)
    except KeyboardInterrupt:
        volume = _end_by_hand(journal, pump, own, begun_s, "stopped by Ctrl-C")
        raise StoppedPriming(
            f"{wish.pump} was stopped and says that it stands still; {volume}"
        ) from None
    if problem:
        volume = _end_by_hand(journal, pump, own, begun_s, problem)
        raise InstrumentTrouble(
            f"{problem}. The pump was stopped and says that it stands still; {volume}"
        )
    action = journal.action(own)
    assert action is not None and action.end is not None
    return own, float(action.end.body["delivered_ul"])


def _watch(
    wish: Wish,
    journal: Journal,
    bench: Bench,
    key: str,
    programme: PumpProgramme,
    begun_s: float,
    quiet: bool,
) -> str:
    """Look at the pump until its outcome is on record; return what went wrong, empty for nothing."""
    from chiploop.record.progress import programme_progress
    from instruments.delivery import finish_programme

    longest_h = programme.duration_h * (1 + OVERDUE_SHARE) + OVERDUE_S / 3600
    show = not quiet and sys.stderr.isatty()
    while True:
        if bench.halted:
            return f"{wish.pump} was {bench.halted}"
        progress = programme_progress(journal, key)
        if progress.running:
            progress = finish_programme(journal, bench.pumps, key, _hours(begun_s))
        if progress.held:
            return progress.reason
        if progress.done:
            if show:
                print("", file=sys.stderr)
            return ""
        if _hours(begun_s) > longest_h:
            return f"{wish.pump} still runs long after its end"
        if show:
            share = min(_hours(begun_s) / programme.duration_h, 1.0)
            print(f"\r  about {100 * share:3.0f} %", end="", file=sys.stderr, flush=True)
        time.sleep(min(LOOK_S, max(0.05, 3600 * (programme.duration_h - _hours(begun_s)))))


def _end_by_hand(journal: Journal, pump: Pump, own: str, begun_s: float, why: str) -> str:
    """Stop the pump and end its intent by what its counter shows; return that in words.

    Where the pump does not confirm that it stands, the intent stays open and a person must look.
    """
    from flows.cli.decide import os_login
    from instruments.errors import InstrumentError

    action = journal.action(own)
    try:
        pump.stop()
    except InstrumentError as trouble:
        if action is not None and action.open:
            journal.ambiguous(own, _hours(begun_s), f"{why}; {trouble}", None)
        raise InstrumentTrouble(
            f"{why}; {trouble}. Go to the pump. Then: chiploop settle {shared.BENCH_RUN} --pump "
            f'{pump.name} --delivered "..." --why "..."'
        ) from trouble
    if action is None or not action.open:
        return "nothing was primed" if action is None else "its volume is on record"
    moved_ul: float | None = None
    try:
        status = pump.status()
        moved_ul = status.infused_ul - action.intent.counter_ul
        slack_ul = 2 * status.resolution_ul
        same_power = status.restarts == action.intent.restarts
        if not same_power or not -slack_ul <= moved_ul <= action.intent.volume_ul + slack_ul:
            moved_ul = None
    except InstrumentError:
        moved_ul = None
    volume_ul = None if moved_ul is None else max(moved_ul, 0.0)
    journal.abandon(own, _hours(begun_s), os_login(), why, volume_ul)
    if volume_ul is None:
        return f"its counter can not tell how much of {action.intent.volume_ul:g} uL it gave"
    return f"it gave {volume_ul:g} of {action.intent.volume_ul:g} uL, by its counter"


def _hours(begun_s: float) -> float:
    return (time.monotonic() - begun_s) / 3600


def _lasts(hours: float) -> str:
    seconds = 3600 * hours
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, file=sys.stderr)
