"""``chiploop settle``: a person's word on what a pump gave where its counter could not tell."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import typer

from chiploop.errors import WrongUse
from flows.cli.screen import JSON_OPTION, print_json

RUN = typer.Argument(metavar="RUN", help="Run id, or the run's folder; bench for what was primed.")
PUMP = typer.Option("", "--pump", help="Pump whose action is open, e.g. L2-low.")
VALVE = typer.Option(
    "", "--valve", help="In place of --pump: a valve of which nobody knows where it stands."
)
AT = typer.Option("", "--at", metavar="LINE", help="Line at whose port the valve stands, as seen.")
DELIVERED = typer.Option(
    "", "--delivered", help='What the person saw, e.g. "120 uL", or "unknown".'
)
STANDS = typer.Option(
    False,
    "--stands-still",
    help="The person saw that the pump stands; needed where it has not said so.",
)
WHY = typer.Option(..., "--why", help="How it was seen; kept on record.")
RUNS = typer.Option(Path("runs"), "--runs", help="Folder of the runs.")


def settle(
    run: str = RUN,
    pump: str = PUMP,
    delivered: str = DELIVERED,
    why: str = WHY,
    stands_still: bool = STANDS,
    valve: str = VALVE,
    at: str = AT,
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """End a held action of a pump on a person's word, so that its line may go on at the next phase.

    Also while the run goes on: other lines need not wait. A valve is settled while nobody works on the run.
    A pump that was told to stop and has not said that it stands is settled with --stands-still only.
    With "unknown" the line's readouts from then on are kept and not learned from. Moves no liquid.
    With --valve and --at: where a valve has stood since nobody could tell; turn it there by hand first where it
    stands between ports. Exit code 2 where nothing is held. With --json: {"ok", "settled", "delivered_ul", "by"},
    of a valve "stands" in place of "delivered_ul".
    """
    if bool(valve) == bool(pump) or (valve and not at) or (pump and not delivered):
        raise WrongUse(
            "settle what: --pump NAME --delivered VOLUME, or --valve CHIP --at LINE. Nothing was changed"
        )
    if valve:
        settle_valve(run, valve, at, why, runs, as_json)
        return
    from chiploop.record.journal import Journal
    from flows.cli.decide import os_login
    from flows.cli.instruments_lab import BENCH_RUN, bench_folder
    from flows.fault_points import reached
    from flows.heartbeat import last_beat
    from flows.opening import known_run
    from flows.run_owner import only_owner
    from flows.runs_folder import runs_option

    if not why.strip():
        raise WrongUse("a person's word needs its reason: --why TEXT")
    volume_ul = volume_of(delivered)
    if run == BENCH_RUN:  # what was primed outside any study
        run_id, folder, book = BENCH_RUN, bench_folder(runs), runs / "journal.sqlite"
        if not book.exists():
            raise WrongUse(f"nothing was ever moved at the bench by hand: there is no {book}")
        following = "chiploop instruments prime"
    else:
        files = known_run(run, runs)
        run_id, folder, book = files.run_id, files.folder, files.journal
        following = f"chiploop resume {run_id}{runs_option(files.runs)}"
        if (beat := last_beat(folder)) is not None and beat.is_alive:
            following = "its line may go on at the next phase of the run, which goes on"
    with ExitStack() as stack:
        if run == BENCH_RUN:
            stack.enter_context(only_owner(folder))
        # a run at work adds nothing of weight to what it holds, and asks the journal anew at each phase
        journal = stack.enter_context(Journal(book))
        held = [a for a in journal.open_on(pump) if a.intent.run_id == run_id and a.held]
        if not held:
            waiting = ", ".join(a.intent.pump for a in journal.actions(run_id) if a.open and a.held)
            raise WrongUse(
                f"nothing of {pump} is held in {run_id}; held pumps: {waiting or 'none'}"
            )
        (action,) = held
        if action.may_run and not stands_still:
            raise WrongUse(
                f"{pump} was told to stop and has not said that it stands: it MAY STILL RUN. Look at "
                "it, stop it by hand, and then say so with --stands-still"
            )
        by = os_login()
        # What stood at its hold ended then; what may have run on, when the run was last heard of.
        events = journal.events(None if action.may_run else action.intent.key)
        held_h = max(float(e.body.get("time_h", 0.0)) for e in events if e.run_id == run_id)
        if stands_still:
            seen = f"it stands still, by {by}: {why}"
            journal.note(run_id, action.intent.key, held_h, seen, stands=True, by=by)
        journal.abandon(action.intent.key, held_h, by, why, volume_ul)
        reached("pump_settled")
    if as_json:
        print_json({"ok": True, "settled": action.intent.key, "delivered_ul": volume_ul, "by": by})
        return
    print(f"settled  {action.intent.key}  {delivered}, by {by}. Next: {following}")


def settle_valve(run: str, valve: str, at: str, why: str, runs: Path, as_json: bool) -> None:
    """Put a person's word on where a valve stands on record; its lines may go on at the next phase."""
    from chiploop.record.journal import Journal
    from chiploop.record.turns import turn_to_settle
    from flows.cli.decide import os_login
    from flows.opening import known_run
    from flows.run_owner import only_owner
    from flows.runs_folder import runs_option

    if not why.strip():
        raise WrongUse("a person's word needs its reason: --why TEXT")
    files = known_run(run, runs)
    with only_owner(files.folder), Journal(files.journal) as journal:
        turns = [t for t in journal.turns(files.run_id) if t.asked.valve == valve]
        turn = turn_to_settle(turns)
        if turn is None:
            doubtful = sorted({t.asked.valve for t in journal.turns(files.run_id) if t.doubt})
            raise WrongUse(
                f"{files.run_id} has no valve {valve} of which nobody knows where it stands; in doubt: "
                f"{', '.join(doubtful) or 'none'}"
            )
        last = turn.asked
        if at not in last.lines:
            raise WrongUse(
                f"valve {valve} has no port of line {at}; it has {', '.join(last.lines)}. Nothing was changed"
            )
        by = os_login()
        journal.turn_settled(last.key, last.time_h, by, why, at)
    if as_json:
        print_json({"ok": True, "settled": last.key, "stands": at, "by": by})
        return
    way_on = f"chiploop resume {files.run_id}{runs_option(files.runs)}"
    print(f"settled  {last.key}  valve at {at}, by {by}. Next: {way_on}")


def volume_of(text: str) -> float | None:
    """Return a volume in uL, or None for "unknown"; WrongUse for anything else."""
    from chiploop.units import UnitProblem, parse_quantity

    if text.strip() == "unknown":
        return None
    try:
        return parse_quantity(text, "volume_ul")
    except UnitProblem as problem:
        raise WrongUse(f'--delivered {text}: {problem}; or "unknown"') from problem
