"""``chiploop worklist``, ``done`` and ``skip``: what a person does by hand in a run, and says that it is done.

Belongs here: options, what is refused before anything is put on record, the table. Not here: what is due and what
follows from it (chiploop.worklist), the run that waits for it (flows.hands).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chiploop.errors import WrongUse
from flows.cli.decide import RUN, RUNS
from flows.cli.screen import JSON_OPTION, paint, print_json

if TYPE_CHECKING:
    from chiploop.worklist import HandDone, HandTask, State
    from flows.opening import RunFiles
    from flows.proposing import Books

TASK = typer.Argument(
    help="Task of the worklist, e.g. c01/collect/L1; c01/collect means all below it."
)
VOLUME = typer.Option(
    [],
    "--volume",
    metavar="[CHIP=]VOLUME",
    help="What was collected in each tube, e.g. 950uL, or of one chip, C01=950uL.",
)
FUTURE_H = 0.02
"""How far clocks may be apart."""


def worklist(run: str = RUN, runs: Path = RUNS, as_json: bool = JSON_OPTION) -> None:
    """Show what must be done by hand in a run, when it is due, and what became of it.

    States: open (not yet), due, late, done, skipped. Times follow from when an exposure really began. With --json:
    {"ok", "run", "simulated", "time_h", "tasks": [{"task", "kind", "what", "state", "from_h", "due_h", "line",
    "chips", "said"}]}.
    """
    from flows.cli.edit import opened
    from flows.hands import said_of

    with opened(run, runs) as (files, books):
        now_h, now = _now(files, books)
        said = said_of(books.record, books.run_id)
    if as_json:
        tasks = [_as_json(task, state, said) for task, state in now]
        told = {"ok": True, "run": files.run_id, "simulated": files.simulated, "time_h": now_h}
        print_json({**told, "tasks": tasks})
        return
    mark = "SIMULATED, the virtual technician does it  " if files.simulated else ""
    print(f"{mark}{files.run_id}, now {now_h:.2f} h")
    for task, state in now:
        print(f"{_state(state)} {_when(files, task.due_h)}  {task.task_id:<22} {task.what}")
    if any(state in ("due", "late") for _, state in now) and not files.simulated:
        print(f"\nWhen it is done: chiploop done {files.run_id} TASK [--at TIME] [--volume 950uL]")


def done(
    run: str = RUN,
    task: str = TASK,
    at: str = typer.Option(
        "",
        "--at",
        metavar="TIME",
        help='When, e.g. 06:12, "2026-11-24 06:12" or "30.2 h" of study time.',
    ),
    begun: str = typer.Option("", "--from", metavar="TIME", help="When a collection really began."),
    volume: list[str] = VOLUME,
    note: str = typer.Option("", "--note", help="Kept on record."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Say that something was done by hand, in the name of the person logged in: the run goes on with it.

    A collection's real times become the window of its readouts; a volume is compared with what flowed. A refill
    counts the syringe as full. May be corrected until readouts rest on it. Exit code 2 where there is no such task
    or it can not be so. With --json: {"ok", "tasks", "by", "at_h"}.
    """
    from chiploop.worklist import HandDone

    with opened_for(run, runs, task) as (files, books, now_h, tasks, by):
        at_h = now_h if not at else time_of(at, files, now_h)
        from_h = time_of(begun, files, now_h) if begun else None
        volumes_ul = volumes_of(volume, tasks)
        if sum(one.kind == "plate" for one in tasks) > 1:
            raise WrongUse(f"{task} is several plates; one at a time. Nothing was kept")
        for one in tasks:
            _refuse_wrong(books, one, from_h, at_h, now_h, volumes_ul)
        for one in tasks:
            own = {chip: ul for chip, ul in volumes_ul.items() if chip in one.chips}
            start_h = from_h if one.kind == "collect" else None
            said = HandDone(one.task_id, "done", by, note, at_h, start_h, own)
            _keep(books, one, said, now_h, at_h)
    _tell(tasks, "done", by, at_h, as_json)


def skip(
    run: str = RUN,
    task: str = TASK,
    why: str = typer.Option(..., "--why", help="Reason, kept on record."),
    chip: list[str] = typer.Option([], "--chip", help="Only the effluent of this chip."),
    runs: Path = RUNS,
    as_json: bool = JSON_OPTION,
) -> None:
    """Say that something will not be done: the run goes on without it and has no readout of it, never a zero.

    Exit code 2 where there is no such task. With --json: {"ok", "tasks", "by", "at_h"}.
    """
    from chiploop.worklist import HandDone

    if not why.strip():
        raise WrongUse("what is skipped needs its reason: --why TEXT")
    with opened_for(run, runs, task) as (files, books, now_h, tasks, by):
        strange = [c for c in chip if not any(t.kind == "collect" and c in t.chips for t in tasks)]
        if strange:
            raise WrongUse(
                f"{', '.join(strange)}: no effluent of that chip is in {task}. Nothing was kept"
            )
        if any(one.kind == "refill" for one in tasks):
            raise WrongUse("a refill is not skipped: it stays due until the syringe is full again")
        for one in tasks:
            _refuse_rested_on(books, one)
        for one in tasks:
            chips = tuple(c for c in chip if c in one.chips)
            _keep(books, one, HandDone(one.task_id, "skipped", by, why, chips=chips), now_h, now_h)
    _tell(tasks, "skipped", by, now_h, as_json)


@contextmanager
def opened_for(
    run: str, runs: Path, wanted: str
) -> Iterator[tuple[RunFiles, Books, float, tuple[HandTask, ...], str]]:
    """Open the books of a run and find the tasks that are meant; WrongUse where there are none."""
    from chiploop.worklist import matching
    from flows.cli.decide import os_login
    from flows.cli.edit import opened

    with opened(run, runs) as (files, books):
        if files.simulated:
            raise WrongUse(
                f"{files.run_id} is simulated: its virtual technician does everything at once and as planned"
            )
        now_h, now = _now(files, books)
        tasks = matching([task for task, _ in now], wanted)
        if not tasks:
            left = [task.task_id for task, state in now if state in ("open", "due", "late")]
            raise WrongUse(
                f"{files.run_id} has no task {wanted}; left: {', '.join(left) or 'none'}. Nothing was kept"
            )
        yield files, books, now_h, tasks, os_login()


def _now(files: RunFiles, books: Books) -> tuple[float, list[tuple[HandTask, State]]]:
    from flows.asking import study_time_h
    from flows.hands import states, teer_by_hand

    now_h = study_time_h(files.folder, files.simulated)
    by_hand = teer_by_hand(files.folder)
    return now_h, states(files.study, books.run_id, books.record, books.journal, now_h, by_hand)


def time_of(text: str, files: RunFiles, now_h: float) -> float:
    """Return a time that a person writes as study time; WrongUse for one that is none.

    A time of day is the newest one that is not in the future.
    """
    from chiploop.units import UnitProblem, parse_quantity

    try:
        return parse_quantity(text, "time_h")
    except UnitProblem:
        pass
    here = datetime.now()
    try:
        if len(text.strip()) <= 8:
            clock = datetime.strptime(text.strip(), "%H:%M" if text.count(":") == 1 else "%H:%M:%S")
            moment = here.replace(
                hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0
            )
            moment -= timedelta(days=1) if moment > here else timedelta()
        else:
            moment = datetime.fromisoformat(text.strip())
            moment = moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment
    except ValueError:
        raise WrongUse(
            f'"{text}" is no time: write 06:12, "2026-11-24 06:12", or "30.2 h" of study time'
        ) from None
    return now_h + (moment - here).total_seconds() / 3600.0


def volumes_of(written: Sequence[str], tasks: Sequence[HandTask]) -> dict[str, float]:
    """Return chip -> uL of ``VOLUME`` and ``CHIP=VOLUME`` texts; the latter go before. WrongUse for others."""
    from chiploop.units import UnitProblem, parse_quantity

    chips = [chip for task in tasks if task.kind == "collect" for chip in task.chips]
    found: dict[str, float] = {}
    for text in sorted(written, key=lambda one: "=" in one):
        chip, sign, volume = text.rpartition("=")
        if not chips or (sign and chip.strip() not in chips):
            raise WrongUse(f"--volume {text}: the task collects of {', '.join(chips) or 'no chip'}")
        try:
            volume_ul = parse_quantity(volume, "volume_ul")
        except UnitProblem as problem:
            raise WrongUse(f"--volume {text}: {problem}") from None
        found |= dict.fromkeys([chip.strip()] if sign else chips, volume_ul)
    return found


def _refuse_wrong(
    books: Books,
    task: HandTask,
    from_h: float | None,
    at_h: float,
    now_h: float,
    volumes_ul: dict[str, float],
) -> None:
    """Raise WrongUse for what can not have been so."""
    from chiploop.plan import plate_id_of
    from flows.hands import begun_exposures_h, plate_in_reader, said_of, states

    begun_h = begun_exposures_h(books.journal.actions(books.run_id))
    if at_h > now_h + FUTURE_H:
        raise WrongUse(f"{task.task_id}: {at_h:.4g} h is in the future, it is {now_h:.4g} h")
    if task.cycle and task.cycle not in begun_h:
        raise WrongUse(f"{task.task_id}: the exposure of cycle {task.cycle} has not begun")
    _refuse_rested_on(books, task)
    if task.kind == "collect":
        assert task.from_h is not None
        first_h = task.from_h if from_h is None else from_h
        if not begun_h[task.cycle] - FUTURE_H <= first_h < at_h:
            raise WrongUse(
                f"{task.task_id}: collected from {first_h:.4g} to {at_h:.4g} h can not be; the exposure began at "
                f"{begun_h[task.cycle]:.4g} h, and a collection ends after it begins. Nothing was kept"
            )
    if task.kind == "plate":
        if foreign := plate_in_reader(books.record, books.run_id):
            raise WrongUse(
                f"{foreign} stands in the reader that both runs share and is not read yet; one plate at a time. "
                "Nothing was kept"
            )
        now = states(books.study, books.run_id, books.record, books.journal, now_h)
        there = {r.plate for r in books.record.readouts(books.run_id)}
        said = {one.task: one.state for one in said_of(books.record, books.run_id)}
        for other, _ in now:
            plate = plate_id_of(books.study, other.assay, other.cycle)
            if (
                other.kind == "plate"
                and other.task_id != task.task_id
                and said.get(other.task_id) == "done"
                and plate not in there
            ):
                raise WrongUse(
                    f"{other.task_id} stands in the reader and is not read yet; one plate at a time. Nothing "
                    "was kept"
                )


def _refuse_rested_on(books: Books, task: HandTask) -> None:
    """Raise WrongUse where readouts rest on a task by now."""
    from flows.hands import tasks_on_record

    there = tasks_on_record(books.study, [task], books.record.readouts(books.run_id))
    if task.task_id in there:
        raise WrongUse(
            f"{task.task_id}: readouts rest on it, so what was said of it stands; leave them out with chiploop "
            "exclude. Nothing was kept"
        )


def _keep(books: Books, task: HandTask, said: HandDone, now_h: float, at_h: float) -> None:
    from flows.hands import say_of

    if task.kind == "refill":
        books.journal.refill(books.run_id, task.pump, at_h, said.by, while_running=True)
    say_of(books.record, books.run_id, said, now_h)


def _tell(tasks: Sequence[HandTask], state: str, by: str, at_h: float, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "tasks": [t.task_id for t in tasks], "by": by, "at_h": at_h})
        return
    for task in tasks:
        print(f"{state}  {task.task_id}  by {by}, at {at_h:.2f} h")


def _state(state: State) -> str:
    colours = {
        "due": "yellow",
        "late": "red",
        "done": "green",
        "skipped": "magenta",
        "open": "white",
    }
    return paint(f"{state:<8}", colours[state])


def _when(files: RunFiles, time_h: float) -> str:
    """Return a study time, with the time of day in a real run."""
    from flows.asking import study_time_h

    if files.simulated:
        return f"{time_h:7.2f} h"
    there = datetime.now() + timedelta(hours=time_h - study_time_h(files.folder, False))
    return f"{time_h:7.2f} h {there:%a %H:%M}"


def _as_json(task: HandTask, state: State, said: Sequence[HandDone]) -> dict[str, Any]:
    from dataclasses import asdict

    from chiploop.worklist import of_task

    return {
        "task": task.task_id,
        "kind": task.kind,
        "what": task.what,
        "state": state,
        "from_h": task.from_h,
        "due_h": task.due_h,
        "line": task.line,
        "chips": list(task.chips),
        "said": [asdict(one) for one in of_task(task, said)],
    }
