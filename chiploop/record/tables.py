"""The tables of the laboratory record.

Belongs here: columns and keys. Not here: what refuses changes (guards), adding and asking (record).

Every table is append-only and has a number, a natural key and a stamp of its own. What changes with
time (the state of a run) is a row of ``events``, never an update. Structured content is canonical
JSON text, so that its digest is the same in every database. Numbers that JSON has no word for are
NULL in number columns: an unknown value, an open bound. A change here is a migration too (migrations).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Integer, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chiploop.record.chain import canonical, digest

WHOLE = Integer().with_variant(BigInteger(), "postgresql")
"""A whole number of 64 bits in every database."""


def short(length: int) -> String:
    """Return the type of a short text. SQLite holds nobody to the length, and PostgreSQL must not either."""
    return String(length).with_variant(Text(), "postgresql")


class Base(DeclarativeBase):
    """Every table of the record."""


class Row(Base):
    """What every kept row has."""

    __abstract__ = True

    id: Mapped[int] = mapped_column(WHOLE, primary_key=True, autoincrement=True)
    natural_key: Mapped[str] = mapped_column(short(255), unique=True)
    """What the row is about; a resumed run that adds it again meets it here."""
    at_utc: Mapped[str] = mapped_column(short(40))
    """When it was written, ISO 8601."""


class StudyRow(Row):
    """A study as it was run; its key is the digest of its file."""

    __tablename__ = "studies"

    name: Mapped[str] = mapped_column(short(64))
    content: Mapped[str] = mapped_column(Text)
    """The resolved study."""


class RunRow(Row):
    """One execution of a study; its key is the run id."""

    __tablename__ = "runs"

    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    seed: Mapped[int] = mapped_column(WHOLE)
    simulated: Mapped[bool] = mapped_column(Boolean)
    software_version: Mapped[str] = mapped_column(short(40))
    settings: Mapped[str] = mapped_column(Text)


class ChipRow(Row):
    """A chip of a run: its line and the donor of its tissue."""

    __tablename__ = "chips"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    chip_id: Mapped[str] = mapped_column(short(64))
    line: Mapped[str] = mapped_column(short(64))
    donor: Mapped[str] = mapped_column(short(64))


class RawFileRow(Row):
    """A raw file in the store of its run, by its digest."""

    __tablename__ = "raw_files"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    sha256: Mapped[str] = mapped_column(short(64))
    name: Mapped[str] = mapped_column(short(255))
    kind: Mapped[str] = mapped_column(short(64))
    size_bytes: Mapped[int] = mapped_column(WHOLE)
    time_h: Mapped[float] = mapped_column(Float)


class ReadoutRow(Row):
    """One readout: every field of ``chiploop.measurement.Readout``."""

    __tablename__ = "readouts"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    cycle: Mapped[int] = mapped_column(WHOLE)
    chip_id: Mapped[str] = mapped_column(short(64))
    readout: Mapped[str] = mapped_column(short(64))
    value: Mapped[float | None] = mapped_column(Float)
    """NULL where censored."""
    unit: Mapped[str] = mapped_column(short(40))
    sd: Mapped[float | None] = mapped_column(Float)
    scale: Mapped[str] = mapped_column(short(16))
    time_h: Mapped[float] = mapped_column(Float)
    window_start_h: Mapped[float | None] = mapped_column(Float)
    censoring: Mapped[str] = mapped_column(short(16))
    lower: Mapped[float | None] = mapped_column(Float)
    """NULL for minus infinity."""
    upper: Mapped[float | None] = mapped_column(Float)
    """NULL for infinity."""
    n: Mapped[int] = mapped_column(WHOLE)
    qc: Mapped[str] = mapped_column(short(16))
    reasons: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    plate: Mapped[str] = mapped_column(short(255))
    wells: Mapped[str] = mapped_column(Text)
    raw_sha256: Mapped[str] = mapped_column(short(64))
    curve: Mapped[str | None] = mapped_column(Text)
    """NULL in rows of before there was this column, as in those below."""
    channel: Mapped[str | None] = mapped_column(Text)
    sd_kind: Mapped[str | None] = mapped_column(Text)
    method_version: Mapped[str | None] = mapped_column(Text)
    """Version of chiploop that calculated it."""
    parents: Mapped[str | None] = mapped_column(Text)
    """Keys of measurements, with the run."""
    supersedes: Mapped[str | None] = mapped_column(Text)
    """Key of the readout whose place it takes; NULL for the first of its kind too."""


class MeasurementRow(Row):
    """One raw or calibrated number: every field of ``chiploop.measurement.Measurement``."""

    __tablename__ = "measurements"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    cycle: Mapped[int] = mapped_column(WHOLE)
    stage: Mapped[str] = mapped_column(short(16))
    chip_id: Mapped[str] = mapped_column(short(64))
    channel: Mapped[str] = mapped_column(short(16))
    readout: Mapped[str] = mapped_column(short(64))
    analyte: Mapped[str] = mapped_column(short(64))
    quantity: Mapped[str] = mapped_column(short(64))
    role: Mapped[str] = mapped_column(short(16))
    replicate: Mapped[int] = mapped_column(WHOLE)
    dilution: Mapped[float | None] = mapped_column(Float)
    value: Mapped[float | None] = mapped_column(Float)
    """NULL where censored."""
    unit: Mapped[str] = mapped_column(short(40))
    sd: Mapped[float | None] = mapped_column(Float)
    sd_kind: Mapped[str] = mapped_column(short(16))
    scale: Mapped[str] = mapped_column(short(16))
    n: Mapped[int] = mapped_column(WHOLE)
    time_h: Mapped[float] = mapped_column(Float)
    window_start_h: Mapped[float | None] = mapped_column(Float)
    censoring: Mapped[str] = mapped_column(short(16))
    lower: Mapped[float | None] = mapped_column(Float)
    """NULL for minus infinity."""
    upper: Mapped[float | None] = mapped_column(Float)
    """NULL for infinity."""
    qc: Mapped[str] = mapped_column(short(16))
    reasons: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    method_version: Mapped[str] = mapped_column(short(40))
    plate: Mapped[str] = mapped_column(short(255))
    well: Mapped[str] = mapped_column(short(16))
    raw_sha256: Mapped[str] = mapped_column(short(64))
    locator: Mapped[str] = mapped_column(short(255))
    parents: Mapped[str] = mapped_column(Text)
    """Keys of measurements, with the run."""
    calibration: Mapped[str] = mapped_column(short(255))
    """Key of the event that keeps the curve or the controls; empty for none."""
    supersedes: Mapped[str | None] = mapped_column(short(255))


class CalibrationRow(Row):
    """What a fit found, and whether it was accepted."""

    __tablename__ = "calibrations"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    cycle: Mapped[int] = mapped_column(WHOLE)
    attempt: Mapped[int] = mapped_column(WHOLE)
    content: Mapped[str] = mapped_column(Text)


class ProposalRow(Row):
    """What was proposed; its key is the proposal id."""

    __tablename__ = "proposals"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    cycle: Mapped[int] = mapped_column(WHOLE)
    attempt: Mapped[int] = mapped_column(WHOLE)
    content: Mapped[str] = mapped_column(Text)


class DecisionRow(Row):
    """What a person, or the study's ``auto``, decided; its key is the proposal id."""

    __tablename__ = "decisions"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    proposal_sha256: Mapped[str] = mapped_column(short(64))
    """Digest of the proposal's content: the decision is about exactly this."""
    action: Mapped[str] = mapped_column(short(16))
    by: Mapped[str] = mapped_column(short(255))
    """From the operating system's login."""
    why: Mapped[str] = mapped_column(Text)


class EventRow(Row):
    """Something that happened to a run: a change of state, an exclusion, a hold."""

    __tablename__ = "events"

    run_id: Mapped[str] = mapped_column(short(64), index=True)
    kind: Mapped[str] = mapped_column(short(64))
    time_h: Mapped[float] = mapped_column(Float)
    content: Mapped[str] = mapped_column(Text)


class JournalEventRow(Row):
    """One row of an action journal as it was read from its file; its key is ``<journal>/<seq>``."""

    __tablename__ = "journal_events"

    journal: Mapped[str] = mapped_column(short(64), index=True)
    """Link of the journal's first row, which no other journal has."""
    seq: Mapped[int] = mapped_column(WHOLE)
    event_utc: Mapped[str] = mapped_column(short(40))
    """When it was written to the journal."""
    run_id: Mapped[str] = mapped_column(short(64), index=True)
    key: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(short(16))
    body: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(short(64))
    hash: Mapped[str] = mapped_column(short(64))


class AuditRow(Base):
    """One link of the chain: one row of another table, as it was written."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(WHOLE, primary_key=True, autoincrement=False)
    at_utc: Mapped[str] = mapped_column(short(40))
    table_name: Mapped[str] = mapped_column(short(64))
    row_id: Mapped[int] = mapped_column(WHOLE)
    row_key: Mapped[str] = mapped_column(short(255))
    row_sha256: Mapped[str] = mapped_column(short(64))
    previous: Mapped[str] = mapped_column(short(64), unique=True)
    """Unique: two writers can not both continue the same link."""
    hash: Mapped[str] = mapped_column(short(64))


KEPT: tuple[type[Row], ...] = (
    StudyRow,
    RunRow,
    ChipRow,
    RawFileRow,
    ReadoutRow,
    MeasurementRow,
    CalibrationRow,
    ProposalRow,
    DecisionRow,
    EventRow,
    JournalEventRow,
)
"""Tables whose rows enter the chain."""

LATER = {
    "readouts": ("curve", "channel", "sd_kind", "method_version", "parents", "supersedes"),
}
"""Table -> columns that came after the first records were written; a reader of those has none of them."""
LATER_TABLES = frozenset({"measurements", "journal_events"})
"""Tables that records of earlier versions have not; to a reader of those they are empty."""
NOT_COMPARED = frozenset({"id", "at_utc", "software_version", "method_version"})
"""Columns that may differ where the same thing is added again."""


def columns_of(row: Row) -> dict[str, Any]:
    """Return column -> value of a row, each as its column keeps it."""
    table: Table = row.__table__  # type: ignore[assignment]
    values = {column.name: getattr(row, column.name) for column in table.columns}
    return {
        name: float(value)
        if isinstance(table.columns[name].type, Float) and value is not None
        else value
        for name, value in values.items()
    }


def row_sha256(row: Row) -> str:
    """Return the digest of a row, as it enters the chain; a later column that is NULL was not there then."""
    later = LATER.get(row.__tablename__, ())
    return digest(
        canonical({k: v for k, v in columns_of(row).items() if not (k in later and v is None)})
    )


def audit_content(link: AuditRow) -> str:
    """Return the canonical text of a link."""
    return canonical(
        [link.seq, link.at_utc, link.table_name, link.row_id, link.row_key, link.row_sha256]
    )
