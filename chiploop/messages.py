"""What people are told of a run while they are away: values and their text.

Belongs here: messages and their words. Not here: sending (flows.notify), reading the record (flows.telling).

A message names run, doses, lines, plates, logins and commands, and nothing else of the record: no donor, no
readout, no free text that a person wrote. What a message is about has a key; it is sent once per key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chiploop.campaign_values import schedule_in
from chiploop.study_schedules import WHOLE

NOTIFICATION = "notification"
"""Kind of the record's event that says what became of a message."""


@dataclass(frozen=True)
class Message:
    """One thing that people are told."""

    key: str
    """What it is about, within the run."""
    run_id: str
    asked: str
    """What has happened, or what a person must do, in one sentence."""
    decision: str = ""
    """The proposed doses in one line."""
    risk: str = ""
    until: str = ""
    """Until when it can be done."""
    command: str = ""
    """What to type."""
    simulated: bool = False

    @property
    def subject(self) -> str:
        """The message in one line."""
        mark = "SIMULATED " if self.simulated else ""
        return " ".join(f"{mark}chiploop {self.run_id}: {self.asked}".split())

    @property
    def text(self) -> str:
        """The message as a person reads it."""
        lines = [
            ("Run", self.run_id + ("  SIMULATED" if self.simulated else "")),
            ("Asked", self.asked),
            ("Doses", self.decision),
            ("Risk", self.risk),
            ("Until", self.until),
            ("Type", self.command),
        ]
        return "\n".join(f"{name + ':':<7} {said}" for name, said in lines if said)

    def facts(self) -> dict[str, Any]:
        """Return the message for programs; ``text`` is what chats show."""
        return {**asdict(self), "text": f"{self.subject}\n{self.text}"}


def decision_line(doses: Sequence[Mapping[str, Any]]) -> str:
    """Return proposed doses in one line."""
    return ", ".join(
        f"{dose['line']} "
        + (f"{dose['asked_nm']:g} nM" if dose["asked_nm"] else "vehicle")
        + (f" of {dose['drug']}" if dose.get("drug") and dose["asked_nm"] else "")
        + (f" by {schedule_in(dose)}" if schedule_in(dose) != WHOLE else "")
        for dose in doses
    )


def risk_line(doses: Sequence[Mapping[str, Any]]) -> str:
    """Return the highest risk of proposed doses; that it is not known where there is no fit yet."""
    risks = {dose["line"]: dose.get("risk") for dose in doses if dose["asked_nm"] > 0.0}
    if not risks:
        return "vehicle alone"
    if any(risk is None for risk in risks.values()):
        return "not known before the first fit"
    line = max(risks, key=lambda name: risks[name] or 0.0)
    return f"at most {100.0 * (risks[line] or 0.0):.3g} % (line {line})"


def decide(
    run_id: str,
    proposal_id: str,
    doses: Sequence[Mapping[str, Any]],
    given: Sequence[str],
    needs: int,
    until: str,
    near: bool,
    where: str,
) -> list[Message]:
    """Return what is told of a proposal that waits: that it does, for a second person, that time runs out."""
    name = "/".join(proposal_id.rsplit("/", 2)[1:])
    same = Message(
        f"decide/{name}",
        run_id,
        "",
        decision_line(doses),
        risk_line(doses),
        until,
        f"chiploop propose {run_id}{where}",
    )
    people = "a person" if needs == 1 else f"{needs} persons"
    found = [replace(same, asked=f"{people} must decide about the doses")]
    if needs > 1 and given:
        asked = f"{', '.join(given)} approved the doses, a second person must decide"
        found.append(replace(same, key=f"second/{name}", asked=asked))
    if near:
        asked = "the doses expire soon and nobody has decided; chips hold without drug"
        found.append(replace(same, key=f"near/{name}", asked=asked))
    return found


def held(run_id: str, line: str, number: int, where: str) -> Message:
    """Return that a line is held; ``number`` counts how often that happened to it."""
    return Message(
        f"held/{line}/{number}",
        run_id,
        f"line {line} is held: nothing more is dosed there until a person has looked at its pumps",
        command=f"chiploop settle {run_id}{where} --help",
    )


def no_file(run_id: str, plate: str, deadline: str, where: str) -> Message:
    """Return that a plate's export was not there by its deadline."""
    return Message(
        f"no-file/{plate}",
        run_id,
        f"the export of plate {plate} was not there in time; the run goes on without drug until it comes",
        until=deadline,
        command=f"chiploop worklist {run_id}{where}",
    )


def disk_low(run_id: str, number: int, why: str, where: str) -> Message:
    """Return that a run holds for want of room on its disk; ``number`` counts how often that began."""
    return Message(
        f"disk/{number}",
        run_id,
        f"no further dose begins, chips hold without drug: make room on {why}",
        command=f"chiploop status {run_id}{where}",
    )


def not_free(
    run_id: str, key: str, instrument: str, what: str, holder: str, outcome: str, where: str
) -> Message:
    """Return that a shared instrument was not free for as long as a reading may wait."""
    return Message(
        f"not-free/{key}",
        run_id,
        f"{instrument} was not free for {what}: it is with {holder}; {outcome}. Look whether that one still works",
        command=f"chiploop reservations{where}",
    )


def away(run_id: str, what: str, number: int, where: str) -> Message:
    """Return that an instrument that only reads does not answer; ``number`` counts how often it went away."""
    return Message(
        f"away/{what}/{number}",
        run_id,
        f"the {what} does not answer and is asked again: look at its cable and power; pumps go on as they were",
        command=f"chiploop status {run_id}{where}",
    )


def by_hand(run_id: str, group: str, what: str, state: str, due: str, where: str) -> Message:
    """Return that something must be done by hand now, or is late."""
    said = f"by hand: {what}" if state == "due" else f"LATE, by hand: {what}"
    return Message(
        f"{state}/{group}", run_id, said, until=due, command=f"chiploop worklist {run_id}{where}"
    )


def alone(run_id: str, process: str, why: str, where: str) -> Message:
    """Return that nobody works on a run that has not ended; ``process`` names the one that did."""
    return Message(
        f"alarm/{process}",
        run_id,
        f"NOBODY WORKS ON THIS RUN: {why}. Its supervisor stops drug and keeps plain medium on, as lab.toml says, "
        "while syringes last. Look at the bench",
        command=f"chiploop resume {run_id}{where}",
    )


def not_safe(run_id: str, process: str, where: str) -> Message:
    """Return that the supervisor of such a run could not deal with its pumps; it goes on trying."""
    return Message(
        f"not-safe/{process}",
        run_id,
        "CHIPS COULD NOT BE MADE SAFE: the supervisor does not get at the pumps, drug may flow on to its volume, "
        "chips may stand dry. It tries again; look at the bench now",
        command=f"chiploop status {run_id}{where}",
    )


def ended(run_id: str) -> Message:
    """Return that a study has ended."""
    return Message("ended", run_id, "the study has ended; its report is there")


def failed(run_id: str, number: int, code: str, exit_code: int, where: str) -> Message:
    """Return that a run stands; ``number`` counts how often. What it says itself is in the run's log alone."""
    said = "it waits for a person" if exit_code == 7 else "IT FAILED"
    return Message(
        f"failed/{number}",
        run_id,
        f"the run stands: {said} ({code}). Pumps stop by themselves at their volumes; chips without flow starve",
        command=f"chiploop resume {run_id}{where}",
    )
