"""A study with two lines and a valve, and a journal in which its chips were given from line to line."""

from __future__ import annotations

from pathlib import Path

from chiploop.connections import connected
from chiploop.dosing import PumpProgramme, make_programme, remaining_ul
from chiploop.record.actions import Intent, action_key, programme_key
from chiploop.record.journal import Journal
from chiploop.record.turns import TurnAsked
from chiploop.study import Study, load_study

HERE = Path(__file__).parents[2] / "protocols" / "studies"
PLAIN = load_study(HERE / "ad_jak_dose_finding.yaml")
VALVED = PLAIN.model_copy(update={"valves": {"C03": ("L2",), "C06": ("L1", "L3")}})
"""Four lines of three chips; C03 of L1 may be fed by L2, C06 of L2 by L1 or L3."""
PORTS = {"C03": {"L1": 1, "L2": 2}, "C06": {"L2": 1, "L1": 2, "L3": 3}}


def asked(
    chip: str, line: str, cycle: int, time_h: float, before: str | None = None, **more: int
) -> TurnAsked:
    """Return a turn of a chip's valve, as the flow puts it on record."""
    ports, key = PORTS[chip], f"r/c{cycle:02d}/{chip}/turn"
    return TurnAsked(key, "r", chip, chip, before, line, ports[line], tuple(ports), time_h, **more)


def turned(journal: Journal, chip: str, line: str, cycle: int, time_h: float) -> None:
    """Put a confirmed turn on record."""
    one = asked(chip, line, cycle, time_h)
    journal.turn(one)
    journal.turned(one.key, time_h, line, one.port, "its own position")


def programme(
    line: str, asked_nm: float, hours: float, purpose: str = "dose", study: Study = VALVED
) -> PumpProgramme:
    """Return a programme of a line for the chips that it feeds in a study."""
    return make_programme(
        study,
        line,
        purpose,  # type: ignore[arg-type]
        asked_nm,
        hours,
        lambda _, rate, volume: (rate, volume),
        remaining_ul(study, {}),
    )


def begun(
    journal: Journal, one: PumpProgramme, cycle: int, begin_h: float, phase: str = ""
) -> list[Intent]:
    """Put a programme on record that has begun and not ended; return its intents."""
    key = programme_key("r", cycle, one.line, phase or one.purpose)
    intents = [
        Intent(
            action_key(key, step.pump), "r", key, step.pump, one, step.flow_rate_ul_h,
            step.volume_ul, 0.0, 1.0, 0, "s", begin_h,
        )
        for step in one.steps
    ]  # fmt: skip
    journal.intend(intents)
    for intent in intents:
        journal.sent(intent.key, begin_h)
        journal.started(intent.key, begin_h, "answer")
    return intents


def delivered(
    journal: Journal, one: PumpProgramme, cycle: int, begin_h: float, phase: str = ""
) -> None:
    """Put a programme on record that was given to its end."""
    for intent in begun(journal, one, cycle, begin_h, phase):
        journal.outcome(intent.key, begin_h + one.duration_h, intent.volume_ul, intent.volume_ul)


def two_cycles(journal: Journal) -> None:
    """C03 is dosed by L1 (30 nM) in cycle 1 and by L2 (480 nM) in cycle 2; L2 gave 120 nM before."""
    for chip, line in (("C03", "L1"), ("C06", "L2")):
        turned(journal, chip, line, 0, 0.0)
    for line, nm in (("L1", 30.0), ("L2", 120.0)):
        delivered(journal, programme(line, 0.0, 24.0, "medium"), 0, 0.0)
        delivered(journal, programme(line, nm, 48.0), 1, 24.0)
        delivered(journal, programme(line, 0.0, 4.0, "stimulus"), 1, 72.0, "hold")
    turned(journal, "C03", "L2", 2, 76.0)
    moved = connected(VALVED, {"C03": "L2"})
    delivered(journal, programme("L1", 60.0, 48.0, study=moved), 2, 76.0)
    delivered(journal, programme("L2", 480.0, 48.0, study=moved), 2, 76.0)
