"""Where the runs of a folder stand, as whoever asks from another process sees it.

Belongs here: reading heartbeat, record and journal. Not here: printing (cli.status, cli.watch). Imports neither
Prefect nor the models: asking must be quick, and must work where the flow has died.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from chiploop.connections import without_home
from chiploop.errors import InstrumentTrouble, WaitingForPerson
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from flows.disk_room import no_room
from flows.heartbeat import Beat, last_beat
from flows.holding import held_by
from flows.record_place import place_of
from flows.service import Ended, how_it_ended
from flows.stop_mark import given_up

if TYPE_CHECKING:
    from flows.opening import RunFiles

State = Literal["running", "waiting for a person", "on hold", "finished", "interrupted"]
NEEDS_A_PERSON: tuple[State, ...] = ("waiting for a person", "on hold")
CODED = re.compile(r"CL-\d{3}: ")
"""How the one message begins with which a command ends in trouble."""
STALE_S = 30.0 * 60.0
"""A flow that has done nothing for so long is told of; a fit of 300 chips takes minutes."""


@dataclass(frozen=True)
class OpenProposal:
    """Doses that nobody has decided about."""

    key: str
    cycle: int
    at_utc: str
    doses: dict[str, float]
    """Line -> nM."""
    highest_risk: float | None


@dataclass(frozen=True)
class RunStatus:
    """Where one run stands."""

    run_id: str
    study: str
    simulated: bool
    state: State
    cycle: int
    cycles: int
    time_h: float
    """Study time: of a real run now, otherwise of the last step."""
    end_h: float
    """Planned end of the study."""
    doing: str
    """The last step that was told."""
    quiet_s: float | None
    """Since the flow last did anything; None where no process works on it."""
    process: int | None
    """Who works on it; None where nobody does."""
    held_by: str
    """Who holds it and why, or that the disk does; empty where nothing does."""
    held_lines: dict[str, str]
    """Line -> why a person must look before it gets another dose."""
    proposal: OpenProposal | None
    ended: str
    """How the last process ended, where that was no good end."""
    fed_by: dict[str, str] = field(default_factory=dict)
    """Chip -> line that a valve lets feed it in place of its own; empty where none does."""
    given_up: str = ""
    """Who gave it up and why, where nobody has taken it up since."""

    @property
    def exit_code(self) -> int:
        """0 where all is well or given up, 7 where a person is needed, 4 where nobody works on a run that has not
        ended.
        """
        if self.given_up:
            return 0
        if self.state == "interrupted":
            return InstrumentTrouble.exit_code
        if self.state in NEEDS_A_PERSON or self.held_lines:
            return WaitingForPerson.exit_code
        return 0

    def facts(self) -> dict[str, Any]:
        """Return it as plain values."""
        content = asdict(self) | {"exit_code": self.exit_code}
        told_if_any = ("fed_by", "given_up")
        return {name: value for name, value in content.items() if name not in told_if_any or value}


def status_of(files: RunFiles, steady_s: float) -> RunStatus:
    """Return where a run stands; ``steady_s`` is now, as the heartbeat counts (``clock.since_boot_s``)."""
    beat = last_beat(files.folder)
    alive = beat is not None and beat.is_alive
    place = place_of(files.runs)
    last_state, by, proposal, cycle = "", "", None, 0
    if place.is_there():
        with place.open(create=False) as record:
            recorded = record.run(files.run_id)
            if recorded is not None:
                last_state = recorded.state
                by = held_by(record, files.run_id)
                proposal = open_proposal(record, files.run_id)
                cycle = max((c.cycle for c in record.calibrations(files.run_id)), default=0)
    held: dict[str, str] = {}
    fed_by: dict[str, str] = {}
    if files.journal.exists():
        with Journal(files.journal) as journal:
            held = journal.held(files.run_id)
            if files.study.valves:
                now = without_home(files.study, journal.connection(files.run_id))
                fed_by = {chip: line or "nobody knows which line" for chip, line in now.items()}
    is_asked = proposal is not None or last_state == "waiting for a person"
    if alive and not by and last_state != "finished":
        by = no_room(files.folder)
    state = state_of(last_state, alive, by, is_asked)
    ended = how_it_ended(files.folder)
    return RunStatus(
        files.run_id,
        files.study.name,
        files.simulated,
        state,
        max(cycle, beat.cycle if beat else 0),
        files.study.timeline.cycles,
        study_time_h(files, beat, alive),
        files.study.end_h,
        beat.doing if beat else "",
        max(0.0, steady_s - beat.flow_s) if beat and alive else None,
        beat.pid if beat and alive else None,
        by,
        dict(held),
        proposal,
        _told(ended, beat) if state == "interrupted" else "",
        fed_by,
        given_up(files.folder) if state == "interrupted" else "",
    )


def study_time_h(files: RunFiles, beat: Beat | None, alive: bool) -> float:
    """Return the study time: of a real run at work now, otherwise that of the last step."""
    if alive and not files.simulated:
        try:
            begun_s = json.loads((files.folder / "clock.json").read_text(encoding="utf-8"))
            return max(0.0, (time.time() - float(begun_s["begun_unix_s"])) / 3600.0)
        except (OSError, ValueError, KeyError, TypeError):
            pass
    return beat.time_h if beat else 0.0


def state_of(last_state: str, alive: bool, by: str, is_open: bool) -> State:
    """Return the state of a run from what is on record and whether a process works on it."""
    if last_state == "finished":
        return "finished"
    if not alive:
        return "interrupted"
    if by:
        return "on hold"
    return "waiting for a person" if is_open else "running"


def _told(ended: Ended | None, beat: Beat | None) -> str:
    if ended is not None:
        return f"its process ended with {ended.exit_code}: {why_it_ended(ended.said)}"
    if beat is None:
        return "no process has worked on it"
    when = datetime.fromtimestamp(beat.unix_s).astimezone()
    return f"its process was killed or the computer went down; last seen {when:%Y-%m-%d %H:%M:%S}"


def why_it_ended(said: str) -> str:
    """Return the trouble that the end of a log tells, without the steps and warnings before it."""
    lines = said.splitlines()
    coded = [n for n, line in enumerate(lines) if CODED.match(line)]
    return "\n".join(lines[coded[-1] :] if coded else lines[-3:]) or "it said nothing"


def open_proposal(record: Record, run_id: str) -> OpenProposal | None:
    """Return the newest proposal where nobody has decided about it; None otherwise."""
    newest = record.latest_proposal(run_id)
    if newest is None or record.decision_for(newest.key) is not None:
        return None
    doses = newest.content["doses"]
    risks = [dose["risk"] for dose in doses if dose["risk"] is not None]
    return OpenProposal(
        newest.key,
        int(newest.content["cycle"]),
        newest.at_utc,
        {dose["line"]: float(dose["asked_nm"]) for dose in doses},
        max(risks, default=None),
    )


def since(seconds: float) -> str:
    """Return a length of time for people."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


def now_s() -> float:
    """Return now as the heartbeat counts."""
    from flows.clock import since_boot_s

    return since_boot_s()


def changed(before: RunStatus | None, now: RunStatus) -> bool:
    """Return whether there is anything new to tell."""
    return before is None or (before.state, before.doing, before.held_lines) != (
        now.state,
        now.doing,
        now.held_lines,
    )
