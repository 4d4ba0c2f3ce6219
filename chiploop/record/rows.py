"""Rows of the record as values, and values as rows.

Belongs here: what asking the record gives. Not here: columns (tables), adding and asking (record).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chiploop import __version__
from chiploop.measurement import Readout
from chiploop.record.chain import canonical, digest
from chiploop.record.tables import (
    CalibrationRow,
    DecisionRow,
    EventRow,
    ProposalRow,
    RawFileRow,
    ReadoutRow,
)

DecisionAction = Literal["approve", "reject", "expire"]
"""``expire``: nobody decided in time; the same doses may be proposed again."""
CARD = "card"
"""Kind of the event that keeps what a person saw of a proposal."""


@dataclass(frozen=True)
class RecordedRun:
    """One execution of a study."""

    run_id: str
    study_name: str
    study_sha256: str
    seed: int
    simulated: bool
    software_version: str
    settings: dict[str, Any]
    begun_utc: str
    state: str
    """The last state that was added; empty before the first."""


@dataclass(frozen=True)
class RecordedContent:
    """A calibration, proposal or event with its content."""

    key: str
    """A proposal's id."""
    run_id: str
    kind: str
    """``calibration``, ``proposal`` or the event's own kind."""
    at_utc: str
    content: dict[str, Any]
    cycle: int = 0
    attempt: int = 1
    time_h: float = math.nan
    """Study time of an event; NaN for the others."""


@dataclass(frozen=True)
class Decision:
    """What was decided about one proposal."""

    proposal_id: str
    run_id: str
    proposal_sha256: str
    action: DecisionAction
    by: str
    why: str
    at_utc: str


@dataclass(frozen=True)
class RawFile:
    """A raw file in the store of its run."""

    run_id: str
    sha256: str
    name: str
    kind: str
    size_bytes: int
    time_h: float


def raw_file_row(file: RawFile) -> RawFileRow:
    """Return a raw file as a row of its run."""
    return RawFileRow(
        natural_key=f"{file.run_id}/{file.sha256}/{file.name}",
        run_id=file.run_id,
        sha256=file.sha256,
        name=file.name,
        kind=file.kind,
        size_bytes=file.size_bytes,
        time_h=file.time_h,
    )


def finite(number: float | None) -> float | None:
    """Return a number as a column keeps it: None where it is not known, or a bound is open."""
    return None if number is None or not math.isfinite(number) else float(number)


def readout_row(run_id: str, readout: Readout, revision: int = 1) -> ReadoutRow:
    """Return a readout as a row of a run; a later revision has a key of its own."""
    r = readout
    again = f"/r{revision}" if revision > 1 else ""
    key = f"{run_id}/c{r.cycle:02d}/{r.chip_id}/{r.readout}/{float(r.time_h)!r}/{r.plate}"
    return ReadoutRow(
        natural_key=key + again,
        run_id=run_id,
        cycle=int(r.cycle),
        chip_id=r.chip_id,
        readout=r.readout,
        value=finite(r.value),
        unit=r.unit,
        sd=finite(r.sd),
        scale=r.scale,
        time_h=float(r.time_h),
        window_start_h=finite(r.window_start_h),
        censoring=r.censoring,
        lower=finite(r.lower),
        upper=finite(r.upper),
        n=int(r.n),
        qc=r.qc,
        reasons=canonical(r.reasons),
        method=r.method,
        plate=r.plate,
        wells=canonical(r.wells),
        raw_sha256=r.raw_sha256,
        curve=canonical(r.curve),
        channel=r.channel,
        sd_kind=r.sd_kind,
        method_version=__version__,
        parents=canonical([f"{run_id}/{parent}{again}" for parent in r.parents]),
    )


def readout_of(row: ReadoutRow) -> Readout:
    """Return the readout that a row keeps."""
    return Readout(
        chip_id=row.chip_id,
        readout=row.readout,
        value=math.nan if row.value is None else row.value,
        unit=row.unit,
        sd=math.nan if row.sd is None else row.sd,
        scale=row.scale,  # type: ignore[arg-type]
        time_h=row.time_h,
        window_start_h=row.window_start_h,
        censoring=row.censoring,  # type: ignore[arg-type]
        lower=-math.inf if row.lower is None else row.lower,
        upper=math.inf if row.upper is None else row.upper,
        n=row.n,
        qc=row.qc,  # type: ignore[arg-type]
        reasons=listed(row.reasons),
        method=row.method,
        plate=row.plate,
        wells=listed(row.wells),
        raw_sha256=row.raw_sha256,
        cycle=row.cycle,
        curve=listed(row.curve),
        channel=row.channel or "",  # type: ignore[arg-type]
        sd_kind=row.sd_kind or "",  # type: ignore[arg-type]
        parents=tuple(key.removeprefix(f"{row.run_id}/") for key in listed(row.parents)),
    )


def listed(text: str | None) -> tuple[Any, ...]:
    """Return the list that a column keeps; most are empty, and a page reads thousands."""
    return () if text is None or text in ("", "[]") else tuple(json.loads(text))


def decision_row(proposal: ProposalRow, action: DecisionAction, by: str, why: str) -> DecisionRow:
    """Return the row of what was decided about a proposal, with the digest of what it said."""
    return DecisionRow(
        natural_key=proposal.natural_key,
        run_id=proposal.run_id,
        proposal_sha256=digest(proposal.content),
        action=action,
        by=by,
        why=why,
    )


def card_key(run_id: str, proposal_id: str) -> str:
    """Return the key of the event that keeps a proposal's card: ``<run>/card/c02/p1``."""
    return f"{run_id}/{CARD}/{'/'.join(proposal_id.rsplit('/', 2)[1:])}"


def card_row(proposal: ProposalRow, card: Mapping[str, Any], time_h: float) -> EventRow:
    """Return the row that keeps a proposal's card."""
    return EventRow(
        natural_key=card_key(proposal.run_id, proposal.natural_key),
        run_id=proposal.run_id,
        kind=CARD,
        time_h=time_h,
        content=canonical(card),
    )


def content_of(row: CalibrationRow | ProposalRow, kind: str) -> RecordedContent:
    """Return a calibration or proposal with its content."""
    return RecordedContent(
        key=row.natural_key,
        run_id=row.run_id,
        kind=kind,
        at_utc=row.at_utc,
        content=json.loads(row.content),
        cycle=row.cycle,
        attempt=row.attempt,
    )


def event_of(row: EventRow) -> RecordedContent:
    """Return an event with its content."""
    return RecordedContent(
        row.natural_key,
        row.run_id,
        row.kind,
        row.at_utc,
        json.loads(row.content),
        time_h=row.time_h,
    )


def decision_of(row: DecisionRow) -> Decision:
    """Return the decision that a row keeps."""
    return Decision(
        proposal_id=row.natural_key,
        run_id=row.run_id,
        proposal_sha256=row.proposal_sha256,
        action=row.action,  # type: ignore[arg-type]
        by=row.by,
        why=row.why,
        at_utc=row.at_utc,
    )
