"""A run as the campaign page shows it: chips with what reaches them, spans of flow, what was read, what happened.

Belongs here: reading record and journal into plain values. Not here: pictures (rack, timeline), markup, deciding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from chiploop.connections import Connection
from chiploop.measurement import Readout
from chiploop.record.actions import Action
from chiploop.record.exclusions import is_excluded
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.rows import RecordedContent, RecordedRun
from chiploop.record.unexplained import LEFT_OUT, TAKEN_IN, as_fitted
from chiploop.record.well_exclusions import WellExclusion
from chiploop.review.choosing import Choice, Chosen, chosen_chips
from chiploop.review.contracts import Desk, Status

ChipState = Literal["idle", "medium", "stimulus", "dose", "held"]
STATE_WORDS: dict[ChipState, str] = {
    "idle": "nothing flows",
    "medium": "plain medium",
    "stimulus": "stimulus, no drug",
    "dose": "drug",
    "held": "held: a person must look",
}
EVENTS_SHOWN = 12
EVERYTHING = Choice()


@dataclass(frozen=True)
class Span:
    """Something that flows or flowed through a line."""

    line: str
    kind: ChipState
    begin_h: float
    end_h: float
    told: str
    """``60 nM``, ``vehicle``, ``plain medium``."""
    is_open: bool


@dataclass(frozen=True)
class ChipView:
    """One chip."""

    chip: str
    line: str
    """That feeds it now; its own where nobody knows which one does."""
    donor: str
    donor_index: int
    """In the study's order: the shape of its mark, here as in every figure."""
    state: ChipState
    told: str
    last: tuple[str, ...]
    """Its newest readings, one text a readout."""
    excluded: int
    """Readings that a person has taken out."""
    failed: int
    """Readings that failed quality control, or that a fit left out."""
    fed_by: str = ""
    """``fed by L1 in place of L2`` where a valve has moved it or may have; empty where it is at home."""


@dataclass(frozen=True)
class Happening:
    """One thing that happened."""

    time_h: float | None
    at_utc: str
    kind: str
    told: str


@dataclass(frozen=True)
class RunView:
    """A run on one page."""

    run: RecordedRun
    title: str
    status: Status
    donors: tuple[str, ...]
    chips: tuple[ChipView, ...]
    """Of this page."""
    chosen: Chosen
    """Which these are."""
    of_all: int
    """Chips of the run."""
    spans: tuple[Span, ...]
    readings: tuple[tuple[float, str], ...]
    """(study time, readout) at which anything was read."""
    happenings: tuple[Happening, ...]
    """Newest first."""
    happened: int
    """How many there are."""
    verdict: str
    """Of the last calibration, in words; empty before the first."""
    verdict_state: str
    """``good``, ``look`` or ``bad``."""
    goals: tuple[dict[str, Any], ...]
    waits: tuple[str, ...]
    """What waits for a person, in words."""
    is_open: bool
    """Whether a proposal waits."""
    calibrated: int
    """The last cycle with a calibration; 0 before the first."""
    seen: str
    """Another text where anything has changed."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of this page."""
        return self.chosen.lines


def donors_of(study: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the donors of a study's plain values, in its order."""
    return tuple(study["donors"])


def run_view(desk: Desk, record: Record, run: RecordedRun, asked: Choice = EVERYTHING) -> RunView:
    """Return a run, of its chips those that were asked for: what others did is not even read."""
    run_id = run.run_id
    if asked.state not in STATE_WORDS:
        asked = replace(asked, state="")
    study = record.study_content(run_id)
    homes = record.chips(run_id)
    status = desk.status_of(run_id) or Status(run.state or "not begun", 0, 0, 0.0, 0.0)
    path = desk.journal_of(run_id)
    spans: tuple[Span, ...] = ()
    fed: dict[str, str | None] = {chip: home for chip, (home, _) in homes.items()}
    if path is None or not path.exists():
        chosen = chosen_of(asked, homes, fed, spans, status)
    else:
        with Journal(path) as journal:
            connection = journal.connection(run_id)
            fed = {chip: connection.get(chip, home) for chip, home in fed.items()}
            now = () if asked.is_all else spans_of(journal.open_actions(run_id))
            chosen = chosen_of(asked, homes, fed, now, status)
            spans = spans_of(journal.actions(run_id, chosen.lines))
    of_chips: dict[str, list[Readout]] = {}
    known = as_fitted(record.readouts(run_id, chips=chosen.chips), record.events(run_id, LEFT_OUT))
    for readout in sorted(known, key=lambda one: one.time_h):
        of_chips.setdefault(readout.chip_id, []).append(readout)
    donors = donors_of(study)
    calibrations = record.calibrations(run_id)
    last = calibrations[-1] if calibrations else None
    happenings = happenings_of(record, run_id)
    waits = waits_of(record, run_id, status)
    verdict, state = verdict_of(last)
    return RunView(
        run=run,
        title=study.get("title") or run.study_name,
        status=status,
        donors=donors,
        chips=tuple(
            chip_view(
                chip, (homes[chip][0], fed[chip]), homes[chip][1], donors, spans, status,
                of_chips.get(chip, []),
            )
            for chip in chosen.chips
        ),
        chosen=chosen,
        of_all=len(homes),
        spans=spans,
        readings=record.reading_times(run_id),
        happenings=happenings[:EVENTS_SHOWN],
        happened=len(happenings),
        verdict=verdict,
        verdict_state=state,
        goals=tuple(last.content["goals"]) if last else (),
        waits=waits,
        is_open=status.state != "finished" and is_open(record, run_id),
        calibrated=last.cycle if last else 0,
        seen=seen_now(desk, record, run_id, status),
    )  # fmt: skip


def chosen_of(
    asked: Choice,
    homes: Mapping[str, tuple[str, str]],
    fed: Mapping[str, str | None],
    now: Sequence[Span],
    status: Status,
) -> Chosen:
    """Return the chips of a page; one of which nobody knows who feeds it stands at home."""
    return chosen_chips(
        asked,
        tuple(dict.fromkeys(home for home, _ in homes.values())),
        {chip: donor for chip, (_, donor) in homes.items()},
        {chip: fed[chip] or home for chip, (home, _) in homes.items()},
        {
            chip: flowing((home, fed[chip]), now, status)[0] if asked.state else ""
            for chip, (home, _) in homes.items()
        },
    )


def seen_now(desk: Desk, record: Record, run_id: str, known: Status | None = None) -> str:
    """Return a text that is another one where anything of a run may have changed; costs little."""
    status = known or desk.status_of(run_id)
    path = desk.journal_of(run_id)
    parts = [str(record.length())]
    for file in () if path is None else (path, path.with_name(path.name + "-wal")):
        try:
            about = file.stat()
            parts.append(f"{about.st_size}.{about.st_mtime_ns % 10**12}")
        except OSError:
            parts.append("0")
    if status is not None:
        parts += [status.state.replace(" ", "."), f"{status.time_h:.2f}"]
    return "-".join(parts)


def spans_of(actions: Sequence[Action]) -> tuple[Span, ...]:
    """Return what flowed, one span for each programme that began."""
    found: dict[str, Span] = {}
    for action in actions:
        if not action.sent_h:
            continue
        programme = action.intent.programme
        kind: ChipState = "medium" if programme.purpose == "medium" else "stimulus"
        told = "plain medium" if kind == "medium" else "stimulus"
        if programme.purpose == "dose":
            kind = "dose" if programme.asked_nm else "stimulus"
            told = f"{programme.asked_nm:g} nM" if programme.asked_nm else "vehicle"
        end_h = action.begun_h + programme.duration_h
        key = action.intent.programme_key
        before = found.get(key)
        found[key] = Span(
            programme.line,
            kind,
            min(action.begun_h, before.begin_h) if before else action.begun_h,
            max(end_h, before.end_h) if before else end_h,
            told,
            action.open or (before.is_open if before else False),
        )
    return tuple(found.values())


def chip_view(
    chip: str,
    lines: tuple[str, str | None],
    donor: str,
    donors: Sequence[str],
    spans: Sequence[Span],
    status: Status,
    own: Sequence[Readout],
) -> ChipView:
    """Return one chip as it stands.

    ``lines``: its own, and the one that feeds it; ``own``: its readings by time.
    """
    home, fed = lines
    line = fed or home
    state, told = flowing(lines, spans, status)
    newest = {r.readout: f"{r.readout} {value_of(r)}" for r in own}
    out = [r for r in own if is_excluded(r)]
    return ChipView(
        chip,
        line,
        donor,
        donors.index(donor) if donor in donors else 0,
        state,
        told,
        tuple(newest.values()),
        len(out),
        sum(r.qc == "fail" and not is_excluded(r) for r in own),
        fed_by(home, fed),
    )


def flowing(
    lines: tuple[str, str | None], spans: Sequence[Span], status: Status
) -> tuple[ChipState, str]:
    """Return the state of a chip and its words; ``lines``: its own, and the one that feeds it."""
    home, fed = lines
    if fed is None:
        return "held", fed_by(home, fed)
    if fed in status.held_lines:
        return "held", f"held: {status.held_lines[fed]}"
    now = [one for one in spans if one.line == fed and one.is_open]
    return (now[-1].kind, now[-1].told) if now else ("idle", STATE_WORDS["idle"])


def fed_by(home: str, fed: str | None) -> str:
    """Return in words which line feeds a chip; empty where its own does."""
    if fed is None:
        return "nobody knows which line feeds it"
    return "" if fed == home else f"fed by {fed} in place of {home}"


def connection_now(desk: Desk, run_id: str) -> Connection:
    """Return chip -> line that feeds it, for chips whose valve was ever turned."""
    path = desk.journal_of(run_id)
    if path is None or not path.exists():
        return {}
    with Journal(path) as journal:
        return journal.connection(run_id)


def value_of(readout: Readout) -> str:
    """Return a reading's value as people read it."""
    unit = "" if readout.unit in ("1", "") else f" {readout.unit}"
    unit = unit.replace("ohm*cm2", "Ω cm²").replace("ohm cm2", "Ω cm²")
    if readout.censoring == "left":
        return f"below {digits(readout.upper)}{unit}"
    if readout.censoring == "right":
        return f"above {digits(readout.lower)}{unit}"
    if readout.censoring == "interval":
        return f"{digits(readout.lower)} to {digits(readout.upper)}{unit}"
    return f"{digits(readout.value)}{unit}"


def digits(value: float) -> str:
    """Return three digits, without a power of ten above 1."""
    return f"{float(f'{value:.3g}'):.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


DECIDED = {"approve": "approved", "reject": "rejected", "expire": "expired"}
"""What was decided of a proposal, as people read it."""


def is_open(record: Record, run_id: str) -> bool:
    """Return whether a proposal waits for a decision."""
    latest = record.latest_proposal(run_id)
    return latest is not None and record.decision_for(latest.key) is None


def waits_of(record: Record, run_id: str, status: Status) -> tuple[str, ...]:
    """Return what waits for a person."""
    found = []
    if status.state != "finished" and is_open(record, run_id):
        latest = record.latest_proposal(run_id)
        assert latest is not None
        found.append(f"The doses of cycle {latest.cycle} wait for a decision")
    if status.held_by and status.state != "finished":
        found.append(f"The run is held by {status.held_by}")
    found += [f"Line {line} is held: {why}" for line, why in status.held_lines.items()]
    if status.state == "interrupted":
        found.append(f"Nobody works on this run: {status.ended or 'its process has ended'}")
    return tuple(found)


def verdict_of(last: RecordedContent | None) -> tuple[str, str]:
    """Return what the last calibration's diagnostics say, and the state of that."""
    if last is None:
        return "", "look"
    info = last.content["info"]
    if not info["passed"]:
        return f"fit of cycle {last.cycle} FAILED: {'; '.join(info['failures'])}", "bad"
    if info["warnings"]:
        doubts = ", ".join(str(one).partition(":")[0] for one in info["warnings"])
        return f"fit of cycle {last.cycle} accepted, look at: {doubts}", "look"
    return f"fit of cycle {last.cycle} accepted", "good"


def reading_words(named: Mapping[str, Any]) -> str:
    """Return which reading an event names."""
    return f"{named['readout']} of {named['chip']} at {named['time_h']:g} h"


EVENT_WORDS = {
    "state": lambda c: f"run {c['state']}" + (f": {c['why']}" if c.get("why") else ""),
    "exclusion": lambda c: (
        f"{c['chip_id']} {c['readout'] or 'every reading'} "
        f"{'left out' if c['excluded'] else 'taken in again'} by {c['by']}: {c['why']}"
    ),
    LEFT_OUT: lambda c: (
        f"{LEFT_OUT} of cycle {c['cycle']}: "
        + (", ".join(reading_words(r) for r in c["readouts"]) or "none any more")
        + "".join(f"; {why}" for why in dict.fromkeys(r["why"] for r in c["readouts"]))
    ),
    TAKEN_IN: lambda c: (
        f"{TAKEN_IN} of cycle {c['cycle']}, though taken after the exposure: "
        + ", ".join(reading_words(r) for r in c["readouts"])
    ),
    "hold": lambda c: (
        f"{'held' if c['on'] else 'let go on'} by {c['by']}" + (f": {c['why']}" if c["why"] else "")
    ),
    "well exclusion": lambda c: (
        f"{WellExclusion(**c).told} {'left out' if c['excluded'] else 'taken in again'} by {c['by']}: {c['why']}"
    ),
    "revision": lambda c: f"{c['plate']} calculated again by {c['by']}: {c['why']}",
    "wire trouble": lambda c: (
        f"wire of {c['port']}: {c['kind']}, {c['times']} x; last: {c['last']}"
    ),
    "approval": lambda c: f"approval by {c['by']}" + (f": {c['why']}" if c["why"] else ""),
    "stop rule": lambda c: str(c.get("why", "")),
    "reopened": lambda c: (
        f"doses up to {c.get('up_to_nm')} nM reopened by {c.get('by', 'a person')}"
    ),
}
"""Kind of event -> what people read of it; other kinds are the machine's own."""


def happenings_of(record: Record, run_id: str) -> tuple[Happening, ...]:
    """Return what happened, newest first."""
    found = [
        Happening(event.time_h, event.at_utc, event.kind, EVENT_WORDS[event.kind](event.content))
        for event in record.events(run_id)
        if event.kind in EVENT_WORDS
    ]
    found += [
        Happening(
            None,
            one.at_utc,
            "decision",
            f"{one.proposal_id.partition('/')[2]}: {DECIDED[one.action]} by {one.by}"
            + (f": {one.why}" if one.why else ""),
        )
        for one in record.decisions(run_id)
    ]
    found += [
        Happening(
            float(one.content["time_h"]),
            one.at_utc,
            "fit",
            f"calibration of cycle {one.cycle} {'accepted' if one.content['info']['passed'] else 'FAILED'}",
        )
        for one in record.calibrations(run_id)
    ]
    return tuple(sorted(found, key=lambda one: one.at_utc, reverse=True))
