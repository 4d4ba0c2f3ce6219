"""Every pump make, every fault, every byte of a dose: what the journal says against what really flowed.

Belongs here: the cases, one case from approval to a person's look, the table. Not here: what must
hold of a single driver (its own tests), kills of the controller (test_kill_matrix).

A case gives one dose of one drug pump with one fault on its way. Then the controller starts anew on
a good wire, as after an evening of trouble, and resumes. In the end the journal must say what the
emulated pump really delivered, or say that it does not know and have the pump stand still; one
intent starts the pump once at most. ``python -m tests.instruments.fault_matrix`` prints the table,
``--write FILE`` keeps it.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chiploop.dosing import PumpProgramme, PumpStep
from chiploop.record.actions import action_key
from chiploop.record.journal import Journal
from instruments import delivery
from instruments.emulators.faults import Fault, FaultyWire
from instruments.errors import InstrumentError, SyringeDiffers
from instruments.fault_points import FAULT_POINTS
from tests.instruments.matrix_makes import MAKES, MatrixMake
from tests.instruments.virtual_wire import Clocks, VirtualPort

SLOW_S = 30.0
"""Longer than any driver waits."""


@dataclass(frozen=True)
class Case:
    """One dose and what goes wrong on its way."""

    make: str
    kind: str
    """What goes wrong, as the table names it."""
    where: str
    faults: tuple[Fault, ...] = ()
    mid_dose: str = ""
    """What happens to the pump itself at half of the dose; a key of ``MID_DOSE``."""
    killed_at: str = ""
    """Fault point at which the controller dies; the pump goes on."""
    back_after: float = 0.0
    """When the next controller comes, in durations of the dose after the kill."""
    meanwhile: str = ""
    """What happens between two controllers; a key of ``MEANWHILE``."""
    counter: str = "zero"
    """Where the counter stands before: ``zero``, ``above zero``, or ``full``, to be cleared."""


class Killed(BaseException):
    """Stands in for kill -9; nothing in between may catch it."""


@dataclass
class World:
    """One emulated pump behind its cable, and the controller that talks to it."""

    make: MatrixMake
    clocks: Clocks = field(default_factory=Clocks)

    def __post_init__(self) -> None:
        self.device = self.make.device(self.clocks.physics_h, self.clocks.wall_s)
        self.wire = FaultyWire(self.device, self.clocks.wall_s)
        self.sessions = 0
        self.killed = False

    def controller(self, name: str) -> tuple[Any, VirtualPort]:
        """Return a driver that has met the pump, as a process does that has just begun."""
        self.sessions += 1
        port = VirtualPort(self.wire, self.clocks)
        pump = self.make.driver(name, port, self.clocks.pass_s)
        try:
            pump.open()
        except SyringeDiffers:
            pump.confirm_syringe()
        if self.sessions == 1:
            self.make.make_ready(pump)
        return pump, port

    @property
    def delivered_ul(self) -> float:
        """What has really left the syringe since the dose was begun."""
        return float(self.device.delivered_ul) - self.before_ul

    def begin(self) -> None:
        """Remember where ledger and starts stand."""
        self.before_ul, self.before_starts = float(self.device.delivered_ul), self.device.starts


MID_DOSE: dict[str, Callable[[World], None]] = {
    "power cut": lambda world: world.wire.power_cycle(),
    "stall": lambda world: world.device.block(),
    "unplugged, back later": lambda world: world.wire.unplug(60.0),
    "unplugged for good": lambda world: world.wire.unplug(),
    "link wedged": lambda world: world.wire.wedge(),
}


@contextmanager
def kill_at(name: str, world: World) -> Iterator[None]:
    """Let the controller die at the first passage of a fault point."""

    def fault(here: str) -> None:
        if here == name:
            world.killed = True
            raise Killed(name)

    real = delivery.fault
    delivery.fault = fault
    try:
        yield
    except Killed:
        pass
    finally:
        delivery.fault = real


def _failed_session(world: World, name: str) -> None:
    """Meet the pump and die: whatever it had to tell is told now, and lost."""
    with suppress(InstrumentError):
        world.controller(name)[0].status()


def _stop_from_outside(world: World, name: str) -> None:
    """Stop the pump as another process does."""
    port = VirtualPort(world.wire, world.clocks)
    with suppress(InstrumentError):
        world.make.driver(name, port, world.clocks.pass_s).stop()


def _power_cut(world: World, name: str) -> None:
    world.wire.power_cycle()


def _cleared(world: World, name: str) -> None:
    """Clear the counter as a program that knows nothing of this journal would."""
    with suppress(InstrumentError):
        world.controller(name)[0].clear_counter()


MEANWHILE: dict[str, tuple[Callable[[World, str], None], ...]] = {
    "": (),
    "power cut": (_power_cut,),
    "failed session": (_failed_session,),
    "power cut, failed session": (_power_cut, _failed_session),
    "power cut, stop from outside": (_power_cut, _stop_from_outside),
    "stop from outside": (_stop_from_outside,),
    "counter cleared": (_cleared,),
}
"""What may happen between a controller that died and the next."""
COUNTERS = ("zero", "above zero", "full")
PER_DOSE: dict[str, dict[str, Any]] = {
    "every answer 0.3 s late": {"kind": "delay", "times": 10**6, "seconds": 0.3},
    "every answer 2.1 s late": {"kind": "delay", "times": 10**6, "seconds": 2.1},
}
PER_EXCHANGE: dict[str, dict[str, Any]] = {
    "command lost": {"kind": "drop_command"},
    "command lost three times": {"kind": "drop_command", "times": 3},
    "command doubled": {"kind": "duplicate_command"},
    "answer lost": {"kind": "drop_reply"},
    "answer lost three times": {"kind": "drop_reply", "times": 3},
    "answer late": {"kind": "delay", "seconds": SLOW_S},
    "answer a little late": {"kind": "delay", "seconds": 0.2},
    "answer doubled": {"kind": "duplicate_reply"},
    "garbage before the answer": {"kind": "garbage_before"},
    "unplugged, back in 2 s": {"kind": "unplug", "seconds": 2.0},
    "unplugged for good": {"kind": "unplug"},
    "link wedged before": {"kind": "wedge_before"},
    "link wedged after": {"kind": "wedge"},
    "power cut before": {"kind": "power_cut_before"},
    "power cut after": {"kind": "power_cut_after"},
}
"""Name in the table -> the fault, once at each exchange of the dose."""
PER_COMMAND_BYTE: dict[str, dict[str, Any]] = {
    "bit of the command flipped": {"kind": "flip_command_bit"},
    "command cut off": {"kind": "truncate_command"},
}
PER_ANSWER_BYTE: dict[str, dict[str, Any]] = {
    "bit of the answer flipped": {"kind": "flip_bit"},
    "answer cut off": {"kind": "truncate"},
    "answer in two pieces": {"kind": "split", "seconds": 0.2},
    "answer in two pieces, far apart": {"kind": "split", "seconds": SLOW_S},
}


TARGET_UNPROTECTED = {"Cavro DT"}
"""Dialects whose start command itself carries the target, without a checksum: a flipped bit can move
the plunger elsewhere. It is noticed and held, it can not be prevented; the OEM protocol prevents it."""


def programme_of(make: MatrixMake, pump: str) -> PumpProgramme:
    """Return a dose of one drug pump alone."""
    return PumpProgramme(
        line="L1",
        purpose="dose",
        asked_nm=480.0,
        delivered_nm=480.0,
        duration_h=make.volume_ul / make.flow_rate_ul_h,
        steps=(PumpStep(pump, "low", make.flow_rate_ul_h, make.volume_ul),),
        vehicle_fraction=4.8e-5,
        stimulus_fraction=1.0,
    )


def clean_exchanges(make: MatrixMake, journal: Journal) -> list[tuple[bytes, bytes]]:
    """Return (sent, answered) of a dose on which nothing goes wrong."""
    exchanges: list[tuple[bytes, bytes]] = []
    verdict = run_case(Case(make.name, "nothing", "dose"), journal, seen=exchanges)
    assert verdict == "delivered", verdict
    return exchanges


def cases_of(make: MatrixMake, journal: Journal, every: int = 1) -> Iterator[Case]:
    """Yield every case of one make; ``every`` 7 takes each seventh fault on the wire."""
    for event in MID_DOSE:
        yield Case(make.name, f"mid-dose: {event}", "half of the dose", mid_dose=event)
    for kind, fault in PER_DOSE.items():
        yield Case(make.name, kind, "whole dose", (Fault(**fault),))
    yield from islice(kill_cases(make), 0, None, every)
    yield from islice(wire_cases(make, clean_exchanges(make, journal)), 0, None, every)


def kill_cases(make: MatrixMake) -> Iterator[Case]:
    """Yield a kill at every step of the journal, with everything that may happen meanwhile."""
    for counter in COUNTERS:
        for meanwhile in MEANWHILE:
            for name in FAULT_POINTS:
                for back_after in (0.0, 0.5, 1.2):
                    yield Case(
                        make.name,
                        f"killed{f', {meanwhile}' if meanwhile else ''}",
                        f"{name}, back after {back_after:g} doses, counter {counter}",
                        killed_at=name,
                        back_after=back_after,
                        meanwhile=meanwhile,
                        counter=counter,
                    )


def wire_cases(make: MatrixMake, exchanges: list[tuple[bytes, bytes]]) -> Iterator[Case]:
    """Yield every fault of the wire at every exchange, and at every byte where that matters."""
    for at, (sent, answered) in enumerate(exchanges):
        where = f"exchange {at + 1} ({sent!r})"
        for name, fault in PER_EXCHANGE.items():
            yield Case(make.name, name, where, (Fault(**fault, skip=at),))
        for name, fault in PER_COMMAND_BYTE.items():
            for byte in range(len(sent)):
                one = Fault(**fault, skip=at, at_byte=byte, bit=byte % 8)
                yield Case(make.name, name, f"{where}, byte {byte}", (one,))
        for name, fault in PER_ANSWER_BYTE.items():
            for byte in range(len(answered)):
                one = Fault(**fault, skip=at, at_byte=byte, bit=byte % 8)
                yield Case(make.name, name, f"{where}, answer byte {byte}", (one,))


_numbers = iter(range(10**9))


def run_case(case: Case, journal: Journal, seen: list[tuple[bytes, bytes]] | None = None) -> str:
    """Give the dose of a case and return what became of it; AssertionError where that is a lie.

    ``delivered``, ``held`` (nobody knows, the pump stands still and a person is asked) or ``not
    begun`` (refused before any liquid moved).
    """
    make = MAKES[case.make]
    world = World(make)
    number = next(_numbers)
    name, key = f"L1-low-{number}", f"run-{number}/c01/L1/dose"
    programme = programme_of(make, name)
    pump, port = world.controller(name)
    earlier_doses(world, pump, case.counter)
    world.begin()
    port.exchanges.clear()
    for fault in case.faults:
        world.wire.arm(fault)

    hours = programme.duration_h
    own = action_key(key, name)
    with suppress(InstrumentError), kill_at(case.killed_at, world):
        start(journal, pump, name, key, programme, world)
        stands(case, world, journal, own)
        for share in (0.5, 0.25, 0.3, 0.0):
            look(journal, pump, name, key, world, share * hours)
            stands(case, world, journal, own)
            if case.mid_dose and share == 0.5:
                MID_DOSE[case.mid_dose](world)
    if seen is not None:
        seen += port.exchanges
    if case.killed_at and not world.killed:
        return NOT_PASSED

    world.wire.clear()
    world.clocks.pass_h(case.back_after * hours)
    world.clocks.pass_s(2 * SLOW_S)
    world.wire.poll()
    for happens in MEANWHILE[case.meanwhile]:
        happens(world, name)
    refused = ""
    try:
        pump, port = world.controller(name)
        if journal.programme(key):
            resume(journal, pump, name, key, world)
            stood = stands(case, world, journal, own)
            look(journal, pump, name, key, world, 1.1 * hours)
            if stood is not None:
                flowed = f"{case.make}: {case.kind}, {case.where}: held, and more flowed"
                assert world.delivered_ul == stood, flowed
    except InstrumentError as trouble:
        refused = str(trouble)
    return judge(case, world, journal, key, name, refused)


NOT_PASSED = "not passed"
"""The dose of this case never comes to the step at which its controller should die."""


def earlier_doses(w: World, pump: Any, counter: str) -> None:
    """Bring the counter to where a case wants it, by doses that end well."""
    make = w.make
    volumes = {"zero": (), "above zero": (0.5,), "full": (make.full_counter_doses,)}[counter]
    for doses in volumes:
        pump.prepare(make.flow_rate_ul_h, doses * make.volume_ul)
        pump.start()
        w.clocks.pass_h(1.1 * doses * make.volume_ul / make.flow_rate_ul_h)
        pump.status()
        make.refill(pump)


def stands(case: Case, w: World, journal: Journal, own: str) -> float | None:
    """Return what has flowed where the dose is held, which must have stopped the pump by now.

    Where the link is out, nobody can: the pump ends by its own target.
    """
    action = journal.action(own)
    if action is None or action.held is None or not w.wire.clean:
        return None
    assert not w.device.moving, f"{case.make}: {case.kind}, {case.where}: held, and the pump moves"
    return w.delivered_ul


def start(journal: Journal, pump: Any, name: str, key: str, dose: PumpProgramme, w: World) -> None:
    """Start the dose; a refusal before the intent is a good end of a bad day."""
    delivery.start_programme(
        journal,
        {name: pump},
        key.split("/")[0],
        key,
        dose,
        w.clocks.physics_h(),
        lambda *_: None,
        lambda: w.clocks.pass_s(1.0),
    )


def look(journal: Journal, pump: Any, name: str, key: str, w: World, hours: float) -> None:
    """Let time pass and look at the pump, as the flow does; the link has its seconds too."""
    w.clocks.pass_s(40.0)
    w.clocks.pass_h(hours)
    if not journal.programme(key):
        return
    now_h = w.clocks.physics_h()
    progress = delivery.finish_programme(
        journal, {name: pump}, key, now_h, lambda: w.clocks.pass_s(1.0), patient=hours > 0
    )
    if progress.held:
        delivery.hold_programme(journal, {name: pump}, key, now_h, progress.reason)


def resume(journal: Journal, pump: Any, name: str, key: str, w: World) -> None:
    """Take the dose up again."""
    delivery.resume_programme(
        journal,
        {name: pump},
        key.split("/")[0],
        key,
        w.clocks.physics_h(),
        lambda *_: None,
        lambda: w.clocks.pass_s(1.0),
    )


def judge(case: Case, w: World, journal: Journal, key: str, name: str, refused: str) -> str:
    """Return the verdict on a case that has come to its end."""
    make, told = w.make, f"{case.make}: {case.kind}, {case.where}"
    starts = w.device.starts - w.before_starts
    slack_ul = max(2 * make.resolution_ul, 0.005 * make.volume_ul)
    assert starts <= 1, f"{told}: started {starts} times for one intent"
    too_much = w.delivered_ul > make.volume_ul + slack_ul
    garbled = case.make in TARGET_UNPROTECTED and case.kind == "bit of the command flipped"
    assert garbled or not too_much, f"{told}: {w.delivered_ul} uL flowed"
    action = journal.action(action_key(key, name))
    if action is None:
        assert w.delivered_ul == 0, f"{told}: {w.delivered_ul} uL flowed and nothing is on record"
        return "not begun"
    if action.end is not None and action.end.kind == "outcome":
        said_ul = float(action.end.body["delivered_ul"])
        assert abs(said_ul - w.delivered_ul) <= slack_ul, (
            f"{told}: the journal says {said_ul} uL, {w.delivered_ul} uL flowed"
        )
        return "delivered"
    assert action.held is not None or refused, f"{told}: open, and nobody is asked"
    assert not w.device.moving, f"{told}: held, and the pump moves"
    return "held"


@contextmanager
def own_session() -> Iterator[Journal]:
    """Yield a journal in a folder of its own; drivers' warnings of the thousands are not kept."""
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "j.sqlite") as book:
            yield book
    finally:
        logging.disable(logging.NOTSET)


Counts = Counter[tuple[str, str, str]]
"""(make, kind of fault, end) -> cases."""


def run_matrix(makes: Iterable[MatrixMake], every: int = 1) -> Counts:
    """Run every case of the makes; AssertionError with every lie that was found."""
    counts: Counts = Counter()
    with own_session() as book:
        for make in makes:
            counts += run_cases(cases_of(make, book, every), book)
    return counts


def run_cases(cases: Iterable[Case], book: Journal) -> Counts:
    """Run cases; AssertionError with every lie that was found."""
    counts: Counts = Counter()
    lies = []
    for case in cases:
        try:
            end = run_case(case, book)
            counts[case.make, case.kind, end] += end != NOT_PASSED
        except AssertionError as lie:
            lies.append(str(lie))
    assert not lies, f"{len(lies)} cases failed:\n" + "\n".join(lies)
    return counts


ENDS = ("delivered", "held", "not begun")
NO_CASE = "0 / 0 / 0"


def cell(counts: Counts, make: str, kind: str) -> str:
    """Return how many cases of a kind came to each end, as the table says it."""
    return " / ".join(str(counts[make, kind, end]) for end in ENDS)


def table(counts: Counts) -> str:
    """Return the counts as a Markdown table: one row per kind of fault, one column per make."""
    makes = list(dict.fromkeys(make for make, _, _ in counts))
    kinds = list(dict.fromkeys(kind for _, kind, _ in counts))
    lines = ["| fault | " + " | ".join(makes) + " |", "|---" * (len(makes) + 1) + "|"]
    for kind in kinds:
        lines.append(f"| {kind} | " + " | ".join(cell(counts, make, kind) for make in makes) + " |")
    total = {end: sum(n for (_, _, came), n in counts.items() if came == end) for end in ENDS}
    lines += [
        "",
        f"{sum(total.values())} cases: {total['delivered']} delivered as recorded, "
        f"{total['held']} held with a person asked, {total['not begun']} refused before any liquid.",
    ]
    return "\n".join(lines)


def cells_of(page: Path, make: str) -> dict[str, str]:
    """Return kind of fault -> what a page says came of it on one make."""
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    column = rows[0].index(make)
    return {row[0]: row[column] for row in rows[2:]}


def write(page: Path, told: str) -> None:
    """Put the table into a page in place of the one that stands there."""
    head = page.read_text(encoding="utf-8").partition("| fault |")[0]
    page.write_text(head + told + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take each n-th case only")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    text = table(run_matrix(MAKES.values(), options.every))
    print(text)
    if options.write:
        write(options.write, text)
