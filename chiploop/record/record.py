"""The laboratory record: what was studied, measured, fitted, proposed, decided and done.

Belongs here: adding rows once, asking for them, checking the chain. Not here: columns (tables),
what the pumps were told (journal), file contents (raw_files).

Append-only and hash-chained: the digest of every row enters the audit chain in the row's own
transaction. Adding the same thing again adds nothing, so that a resumed run may repeat itself;
another content under the same key is an error. SQLite by default (WAL, synchronous FULL); any
SQLAlchemy URL for a server that a lab shares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from chiploop import __version__
from chiploop.measurement import Derivation, Measurement, Readout
from chiploop.record.approvals import (
    APPROVAL,
    GivenApproval,
    approval_of,
    approval_row,
    approvals_among,
    in_one_decision,
)
from chiploop.record.chain import (
    ChainReport,
    Link,
    RecordConflict,
    RecordUnreadable,
    canonical,
    check_links,
    digest,
    read_head,
    utc_now,
)
from chiploop.record.database import (
    AnyRow,
    add_row,
    add_rows,
    by_key,
    head_of,
    row_faults,
    rows_of,
)
from chiploop.record.exclusions import EXCLUDED, EXCLUSION, Exclusion, marked
from chiploop.record.guards import missing_guards
from chiploop.record.measurement_rows import (
    CALIBRATION,
    REVISION,
    calibration_key,
    measurement_of,
    measurement_rows,
    newest_keys,
    revised_readout_rows,
    standing,
    unchanged,
)
from chiploop.record.rows import (
    Decision,
    DecisionAction,
    RawFile,
    RecordedContent,
    RecordedRun,
    card_key,
    card_row,
    content_of,
    decision_of,
    decision_row,
    event_of,
    raw_file_row,
    readout_of,
    readout_row,
)
from chiploop.record.sessions import Sessions, told
from chiploop.record.tables import (
    KEPT,
    AuditRow,
    CalibrationRow,
    ChipRow,
    DecisionRow,
    EventRow,
    MeasurementRow,
    ProposalRow,
    RawFileRow,
    ReadoutRow,
    RunRow,
    StudyRow,
    audit_content,
)
from chiploop.record.well_exclusions import (
    WELL_EXCLUSION,
    WellExclusion,
    check_wells,
    well_exclusion_rows,
    well_exclusions_of,
)
from chiploop.study_parts import Approval

if TYPE_CHECKING:
    from chiploop.study import Study


class Record:
    """The record behind a database URL; opening creates the tables or brings them up to date. RecordUnreadable
    where that fails.

    ``head`` is where the length of the chain is kept beside it: for an SQLite file ``<file>.head``
    by default, otherwise nowhere unless it is given. ``now_utc`` stamps the rows; tests set it.
    ``create=False`` makes and changes no tables, for those who only read.
    """

    def __init__(
        self,
        url: str,
        head: Path | None = None,
        now_utc: Callable[[], str] = utc_now,
        create: bool = True,
    ) -> None:
        self.sessions = Sessions(url, head, create)
        self.url = self.sessions.shown
        """Without its password."""
        self.is_file = self.sessions.is_file
        """False where it is on a server."""
        self.now_utc = now_utc

    def close(self) -> None:
        """Close all connections; safe to repeat."""
        self.sessions.close()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- adding; each returns whether, or how many, rows are new

    def add_run(
        self,
        run_id: str,
        study: Study,
        seed: int,
        simulated: bool,
        settings: Mapping[str, Any] | None = None,
    ) -> bool:
        """Add a run with its study and chips. RecordConflict where the run id has another study or
        seed.
        """
        places: Any = {"source_path": True, "sha256": True, "tissue": {"path"}}
        content = canonical(study.model_dump(mode="json", exclude=places))
        with self._writing() as session:
            study_row, _ = self._add(
                session,
                StudyRow(natural_key=digest(content), name=study.name, content=content),
            )
            _, new = self._add(
                session,
                RunRow(
                    natural_key=run_id,
                    study_id=study_row.id,
                    seed=seed,
                    simulated=simulated,
                    software_version=__version__,
                    settings=canonical(settings or {}),
                ),
            )
            for line in study.lines:
                for chip_id, donor in line.chips.items():
                    key = f"{run_id}/{chip_id}"
                    chip = ChipRow(
                        natural_key=key, run_id=run_id, chip_id=chip_id, line=line.id, donor=donor
                    )
                    self._add(session, chip)
        return new

    def add_state(self, run_id: str, state: str, time_h: float, why: str = "") -> bool:
        """Add a change of a run's state; the state that it has already adds nothing."""
        with self._writing() as session:
            states = self._states(session, run_id)
            if states and json.loads(states[-1].content)["state"] == state:
                return False
            content = canonical({"state": state, "why": why})
            row = EventRow(
                natural_key=f"{run_id}/state/{len(states) + 1}",
                run_id=run_id,
                kind="state",
                time_h=time_h,
                content=content,
            )
            return self._add(session, row)[1]

    def add_event(
        self,
        run_id: str,
        kind: str,
        time_h: float,
        content: Mapping[str, Any],
        key: str | None = None,
    ) -> bool:
        """Add something that happened; ``key`` names it within the run, otherwise its kind, time
        and content do.
        """
        text = canonical(content)
        name = key or f"{time_h!r}/{digest(text)[:16]}"
        with self._writing() as session:
            row = EventRow(
                natural_key=f"{run_id}/{kind}/{name}",
                run_id=run_id,
                kind=kind,
                time_h=time_h,
                content=text,
            )
            return self._add(session, row)[1]

    def add_raw_file(self, file: RawFile) -> bool:
        """Add what the store of a run keeps; the bytes are the store's."""
        with self._writing() as session:
            return self._add(session, raw_file_row(file))[1]

    def add_readouts(
        self, run_id: str, readouts: Iterable[Readout], derivation: Derivation | None = None
    ) -> int:
        """Add readouts with what they were derived from, all or none; returns how many readouts are new.

        One per chip, readout, time and plate.
        """
        with self._writing() as session:
            if derivation is not None:
                self._add_derivation(session, run_id, derivation)
            return sum(self._add(session, readout_row(run_id, r))[1] for r in readouts)

    def revise_readouts(
        self,
        run_id: str,
        readouts: Sequence[Readout],
        derivation: Derivation,
        by: str,
        why: str,
        time_h: float,
        taken: Sequence[RawFile] = (),
        wells: Sequence[WellExclusion] = (),
        left_out: Mapping[str, str] | None = None,
    ) -> int:
        """Add readouts that were calculated again; they take the place of those on record, which stay.

        ``taken`` are files that came for it; ``wells`` decisions about wells that it carries out; ``left_out`` the
        wells that it was calculated without (None where nobody says). Returns the number of the revision.

        Raises RecordConflict where one of them was never on record, where the plate had others too, where
        nothing would change, or where somebody else has left out other wells meanwhile.
        """
        with self._writing() as session:
            said = well_exclusions_of(self._events(session, run_id, WELL_EXCLUSION))
            check_wells(said, wells, {r.plate for r in readouts}, left_out)
            rows = rows_of(session, ReadoutRow, ReadoutRow.run_id == run_id)
            newest, by_row_key = newest_keys(rows), {row.natural_key: row for row in rows}
            wanted = {readout_row(run_id, r).natural_key: r for r in readouts}
            plates = {r.plate for r in readouts}
            there = {k for k, row in by_row_key.items() if row.plate in plates and k in newest}
            if set(wanted) != there or not wanted:
                odd = sorted(set(wanted) ^ there)
                raise RecordConflict(
                    f"{run_id} has {len(there)} readouts of {', '.join(sorted(plates)) or 'no plate'}, and "
                    f"{len(wanted)} were calculated again; on one side alone: {', '.join(odd[:3])}. "
                    "Nothing was changed"
                )
            if all(unchanged(by_row_key[newest[key]], r) for key, r in wanted.items()):
                raise RecordConflict(
                    f"{', '.join(sorted(plates))} of {run_id} comes out as it is on record; nothing was added"
                )
            revision = 2 + sum(
                event.content["plate"] in plates
                for event in self._events(session, run_id, REVISION)
            )
            for file in taken:
                self._add(session, raw_file_row(file))
            for event in well_exclusion_rows(run_id, wells, len(said), time_h):
                self._add(session, event)
            self._add_derivation(session, run_id, derivation, revision)
            for row in revised_readout_rows(run_id, readouts, revision, newest):
                self._add(session, row)
            for plate in sorted(plates):
                content = {"plate": plate, "revision": revision, "by": by, "why": why}
                key = f"{run_id}/{REVISION}/{plate}/r{revision}"
                self._add(
                    session,
                    EventRow(
                        natural_key=key,
                        run_id=run_id,
                        kind=REVISION,
                        time_h=time_h,
                        content=canonical(content),
                    ),
                )
        return revision

    def well_exclusions(self, run_id: str) -> tuple[WellExclusion, ...]:
        """Return the decisions about single wells, in the order added."""
        return well_exclusions_of(self.events(run_id, WELL_EXCLUSION))

    def _add_derivation(
        self, session: Session, run_id: str, derivation: Derivation, revision: int = 1
    ) -> None:
        key = calibration_key(run_id, derivation, revision)
        if key:
            time_h = max((m.time_h for m in derivation.measurements), default=0.0)
            content = canonical({"of": derivation.calibration_key, "is": derivation.calibration})
            row = EventRow(
                natural_key=key, run_id=run_id, kind=CALIBRATION, time_h=time_h, content=content
            )
            self._add(session, row)
        superseded = None
        if revision > 1:
            known = rows_of(session, MeasurementRow, MeasurementRow.run_id == run_id)
            superseded = newest_keys(known)
        rows = measurement_rows(run_id, derivation, revision, superseded)
        add_rows(session, rows, self.now_utc())

    def add_calibration(
        self, run_id: str, cycle: int, content: Mapping[str, Any], attempt: int = 1
    ) -> bool:
        """Add what a fit found; a second fit of a cycle is a second attempt."""
        with self._writing() as session:
            row = CalibrationRow(
                natural_key=f"{run_id}/c{cycle:02d}/a{attempt}",
                run_id=run_id,
                cycle=cycle,
                attempt=attempt,
                content=canonical(content),
            )
            return self._add(session, row)[1]

    def add_proposal(
        self,
        run_id: str,
        cycle: int,
        content: Mapping[str, Any],
        card: Mapping[str, Any] | None = None,
        time_h: float = 0.0,
    ) -> str:
        """Add a proposal, with its card in the same transaction; return its id, ``<run>/c<cycle>/p<attempt>``.

        The same content as the cycle's last proposal adds nothing. After a rejection another
        content is the next attempt, after one that expired any content; while the last one is open or approved
        another content is a RecordConflict.
        """
        text = canonical(content)
        with self._writing() as session:
            last = session.scalars(
                select(ProposalRow)
                .where(ProposalRow.run_id == run_id, ProposalRow.cycle == cycle)
                .order_by(ProposalRow.attempt.desc())
                .limit(1)
            ).first()
            attempt = 1 if last is None else last.attempt
            if last is not None:
                decided = by_key(session, DecisionRow, last.natural_key)
                action = "" if decided is None else decided.action
                is_next = action == "expire" or (action == "reject" and last.content != text)
                attempt += 1 if is_next else 0
            proposal_id = f"{run_id}/c{cycle:02d}/p{attempt}"
            row = ProposalRow(
                natural_key=proposal_id, run_id=run_id, cycle=cycle, attempt=attempt, content=text
            )
            is_new = self._add(session, row)[1]
            if is_new and card is not None:
                self._add(session, card_row(row, card, time_h))
            return proposal_id

    def add_decision(
        self, proposal_id: str, action: DecisionAction, by: str, why: str = ""
    ) -> bool:
        """Add what was decided about a proposal, once. RecordConflict without such a proposal."""
        with self._writing() as session:
            proposal = by_key(session, ProposalRow, proposal_id)
            if proposal is None:
                raise RecordConflict(f"there is no proposal {proposal_id} on record to {action}")
            return self._add(session, decision_row(proposal, action, by, why))[1]

    def add_approval(
        self,
        proposal_id: str,
        by: str,
        why: str,
        needs: int,
        time_h: float,
        not_after: datetime | None = None,
    ) -> bool:
        """Add a person's approval of a proposal; return whether that decides, which ``needs`` persons do.

        Raises RecordConflict without such a proposal, where it is decided, the same person approved before, or
        ``not_after`` has passed once the row could be written.
        """
        with self._writing() as session:
            proposal = by_key(session, ProposalRow, proposal_id)
            if proposal is None:
                raise RecordConflict(f"there is no proposal {proposal_id} on record to approve")
            self._refuse_late(proposal_id, not_after)
            return self._approve(session, proposal, by, why, needs, time_h)

    def _refuse_late(self, proposal_id: str, not_after: datetime | None) -> None:
        """Raise RecordConflict where a proposal has expired while its approval waited for others to write."""
        if not_after is not None and datetime.fromisoformat(self.now_utc()) >= not_after:
            raise RecordConflict(f"{proposal_id} expired before its approval could be written")

    def _approve(
        self, session: Session, proposal: ProposalRow, by: str, why: str, needs: int, time_h: float
    ) -> bool:
        own = by_key(session, DecisionRow, proposal.natural_key)
        if own is not None:
            raise RecordConflict(f"{proposal.natural_key} was decided before: {own.action}")
        if needs == 1:
            return self._add(session, decision_row(proposal, "approve", by, why))[1]
        before = approvals_among(
            self._events(session, proposal.run_id, APPROVAL), proposal.natural_key
        )
        if any(one.by == by for one in before):
            raise RecordConflict(f"{by} has approved {proposal.natural_key} before")
        row = approval_row(proposal, by, why, time_h)
        self._add(session, row)
        given = (*before, approval_of(event_of(row)))
        if len(given) < needs:
            return False
        who, reasons = in_one_decision(given)
        return self._add(session, decision_row(proposal, "approve", who, reasons))[1]

    def replace_proposal(
        self,
        proposal_id: str,
        content: Mapping[str, Any],
        by: str,
        why: str,
        card: Mapping[str, Any] | None = None,
        time_h: float = 0.0,
        needs: int = 1,
        not_after: datetime | None = None,
    ) -> str:
        """Put a person's edit in the place of an open proposal, with its card, and approve it; return its id.

        Where ``needs`` persons must approve it, the one who edited is the first of them.

        All in one transaction: who reads proposals and decisions together (``proposed``) never sees the open
        proposal turned down and nothing in its place.
        RecordConflict where there is no such proposal, it is not the cycle's last, it is decided, or ``not_after``
        has passed.
        """
        text = canonical(content)
        with self._writing() as session:
            old = by_key(session, ProposalRow, proposal_id)
            if old is None:
                raise RecordConflict(f"there is no proposal {proposal_id} on record to edit")
            if by_key(session, DecisionRow, proposal_id) is not None:
                raise RecordConflict(f"{proposal_id} was decided before; nothing was changed")
            edit_id = f"{old.run_id}/c{old.cycle:02d}/p{old.attempt + 1}"
            if by_key(session, ProposalRow, edit_id) is not None:
                raise RecordConflict(f"{proposal_id} was replaced before; nothing was changed")
            self._refuse_late(proposal_id, not_after)
            edit = ProposalRow(
                natural_key=edit_id,
                run_id=old.run_id,
                cycle=old.cycle,
                attempt=old.attempt + 1,
                content=text,
            )
            self._add(session, edit)
            if card is not None:
                self._add(session, card_row(edit, card, time_h))
            self._add(session, decision_row(old, "reject", by, f"edited into {edit_id}: {why}"))
            self._approve(session, edit, by, why, needs, time_h)
        return edit_id

    # -- asking

    def run(self, run_id: str) -> RecordedRun | None:
        """Return a run; None where there is none."""
        with self._reading() as session:
            row = by_key(session, RunRow, run_id)
            return None if row is None else self._run(session, row)

    def runs(self) -> tuple[RecordedRun, ...]:
        """Return all runs, oldest first."""
        with self._reading() as session:
            rows = session.scalars(select(RunRow).order_by(RunRow.id))
            return tuple(self._run(session, row) for row in rows)

    def chips(self, run_id: str) -> dict[str, tuple[str, str]]:
        """Return chip id -> (line, donor) of a run, in the study's order."""
        with self._reading() as session:
            rows = rows_of(session, ChipRow, ChipRow.run_id == run_id)
            return {row.chip_id: (row.line, row.donor) for row in rows}

    def readouts(
        self, run_id: str, cycle: int | None = None, chips: Collection[str] | None = None
    ) -> tuple[Readout, ...]:
        """Return the readouts of a run, of one cycle or of all, of some chips or of all, in the order added.

        One that was calculated again is there once, as it came out last. One that a person excluded is there
        with ``qc`` "fail" and who and why among its reasons.
        """
        with self._reading() as session:
            return self._readouts(session, run_id, cycle, chips)

    def _readouts(
        self,
        session: Session,
        run_id: str,
        cycle: int | None = None,
        chips: Collection[str] | None = None,
    ) -> tuple[Readout, ...]:
        where = [ReadoutRow.run_id == run_id]
        if chips is not None:  # one that is calculated again stays with its chip
            where.append(ReadoutRow.chip_id.in_(sorted(chips)))
        rows = standing(rows_of(session, ReadoutRow, *where))
        found = [readout_of(row) for row in rows if cycle is None or row.cycle == cycle]
        return marked(found, self._exclusions(session, run_id))

    def reading_times(self, run_id: str) -> tuple[tuple[float, str], ...]:
        """Return at which study times anything was read of a run, with the readout, in order."""
        asked = select(ReadoutRow.time_h, ReadoutRow.readout).where(ReadoutRow.run_id == run_id)
        with self._reading() as session:
            return tuple(
                sorted((float(t), str(name)) for t, name in session.execute(asked.distinct()))
            )

    def raw_cycles(self, run_id: str) -> tuple[int, ...]:
        """Return the cycles of which a readout names its raw file, in order."""
        asked = select(ReadoutRow.cycle).where(
            ReadoutRow.run_id == run_id, ReadoutRow.raw_sha256 != ""
        )
        with self._reading() as session:
            return tuple(sorted(int(cycle) for (cycle,) in session.execute(asked.distinct())))

    def image_places(
        self, run_id: str, cycle: int, chips: Collection[str] | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Return (chip, what its file calls it) of every image of a cycle, of some chips or of all."""
        asked = select(MeasurementRow.chip_id, MeasurementRow.locator).where(
            MeasurementRow.run_id == run_id,
            MeasurementRow.cycle == cycle,
            MeasurementRow.role == "image",
        )
        if chips is not None:
            asked = asked.where(MeasurementRow.chip_id.in_(sorted(chips)))
        with self._reading() as session:
            return tuple(
                sorted((str(one), str(name)) for one, name in session.execute(asked.distinct()))
            )

    def measurements(self, run_id: str, plate: str | None = None) -> tuple[Measurement, ...]:
        """Return the raw and calibrated values of a run (of a plate) that stand, in the order added."""
        of_plate = () if plate is None else (MeasurementRow.plate == plate,)
        with self._reading() as session:
            rows = rows_of(session, MeasurementRow, MeasurementRow.run_id == run_id, *of_plate)
            return tuple(measurement_of(row) for row in standing(rows))

    def first_images(self, run_id: str, plate: str) -> tuple[Measurement, ...]:
        """Return the rows of a set of images as they were first derived, in the order added."""
        with self._reading() as session:
            rows = rows_of(
                session,
                MeasurementRow,
                MeasurementRow.run_id == run_id,
                MeasurementRow.plate == plate,
                MeasurementRow.role == "image",
                MeasurementRow.supersedes.is_(None),
            )
            return tuple(measurement_of(row) for row in rows)

    def every_row(self, run_id: str) -> tuple[list[MeasurementRow], list[ReadoutRow]]:
        """Return the rows of all measurements and readouts, those that were superseded too, in the order added."""
        with self._reading() as session:
            return (
                rows_of(session, MeasurementRow, MeasurementRow.run_id == run_id),
                rows_of(session, ReadoutRow, ReadoutRow.run_id == run_id),
            )

    def exclusions(self, run_id: str) -> tuple[Exclusion, ...]:
        """Return what a person excluded or took back, in the order added."""
        with self._reading() as session:
            return self._exclusions(session, run_id)

    def _exclusions(self, session: Session, run_id: str) -> tuple[Exclusion, ...]:
        events = self._events(session, run_id, EXCLUSION)
        return tuple(Exclusion(**event.content) for event in events)

    def add_exclusion(self, run_id: str, exclusion: Exclusion, time_h: float) -> None:
        """Add that readouts are excluded, or taken in again.

        Raises RecordConflict where it hits no readout, or changes nothing.
        """
        with self._writing() as session:  # two people who exclude at once see each other's word
            before = self._readouts(session, run_id)
            hit = [readout for readout in before if exclusion.covers(readout)]
            if not hit:
                raise RecordConflict(
                    f"{run_id} has no readout {exclusion.told}; it has: "
                    + ", ".join(sorted({f"{r.readout} of {r.chip_id}" for r in before}))
                )
            is_out = [bool(r.reasons) and r.reasons[-1].startswith(EXCLUDED) for r in hit]
            if all(is_out) if exclusion.excluded else not any(is_out):
                state = "excluded already" if exclusion.excluded else "not excluded"
                raise RecordConflict(
                    f"{exclusion.told} of {run_id} is {state}; nothing was changed"
                )
            count = len(self._exclusions(session, run_id))
            row = EventRow(
                natural_key=f"{run_id}/{EXCLUSION}/{count + 1:04d}",
                run_id=run_id,
                kind=EXCLUSION,
                time_h=time_h,
                content=canonical(asdict(exclusion)),
            )
            self._add(session, row)

    def raw_files(self, run_id: str) -> tuple[RawFile, ...]:
        """Return the raw files of a run, in the order added."""
        with self._reading() as session:
            rows = rows_of(session, RawFileRow, RawFileRow.run_id == run_id)
            return tuple(
                RawFile(r.run_id, r.sha256, r.name, r.kind, r.size_bytes, r.time_h) for r in rows
            )

    def raw_file_count(self, run_id: str) -> int:
        """Return how many raw files a run has: another number where one came."""
        with self._reading() as session:
            asked = select(func.count()).select_from(RawFileRow).where(RawFileRow.run_id == run_id)
            return int(session.execute(asked).scalar_one())

    def calibrations(self, run_id: str) -> tuple[RecordedContent, ...]:
        """Return the calibrations of a run, in the order added."""
        with self._reading() as session:
            rows = rows_of(session, CalibrationRow, CalibrationRow.run_id == run_id)
            return tuple(content_of(row, "calibration") for row in rows)

    def proposals(self, run_id: str) -> tuple[RecordedContent, ...]:
        """Return the proposals of a run, in the order added."""
        with self._reading() as session:
            rows = rows_of(session, ProposalRow, ProposalRow.run_id == run_id)
            return tuple(content_of(row, "proposal") for row in rows)

    def proposed(
        self, run_id: str, cycle: int
    ) -> tuple[tuple[RecordedContent, Decision | None], ...]:
        """Return the proposals of a cycle with what was decided about each, as they stood at one moment."""
        with self._reading() as session:
            rows = rows_of(
                session, ProposalRow, ProposalRow.run_id == run_id, ProposalRow.cycle == cycle
            )
            found = [(row, by_key(session, DecisionRow, row.natural_key)) for row in rows]
            return tuple(
                (content_of(row, "proposal"), None if decided is None else decision_of(decided))
                for row, decided in found
            )

    def card(self, run_id: str, proposal_id: str) -> dict[str, Any] | None:
        """Return the card of a proposal; None where none was kept."""
        with self._reading() as session:
            row = by_key(session, EventRow, card_key(run_id, proposal_id))
            return None if row is None else dict(event_of(row).content)

    def latest_proposal(self, run_id: str) -> RecordedContent | None:
        """Return the last proposal of a run, decided or not; None before the first."""
        proposals = self.proposals(run_id)
        return proposals[-1] if proposals else None

    def decision_for(self, proposal_id: str) -> Decision | None:
        """Return what was decided about a proposal; None while it is open."""
        with self._reading() as session:
            row = by_key(session, DecisionRow, proposal_id)
            return None if row is None else decision_of(row)

    def approvals(self, run_id: str, proposal_id: str) -> tuple[GivenApproval, ...]:
        """Return who has approved a proposal that needs several persons, in the order added."""
        return approvals_among(self.events(run_id, APPROVAL), proposal_id)

    def approval_rule(self, run_id: str) -> Approval:
        """Return what the study of a run says of who approves. KeyError where there is no such run."""
        return Approval.model_validate(self.study_content(run_id)["approval"])

    def study_content(self, run_id: str) -> dict[str, Any]:
        """Return the study of a run as plain values. KeyError where there is no such run."""
        with self._reading() as session:
            row = by_key(session, RunRow, run_id)
            if row is None:
                raise KeyError(run_id)
            content: dict[str, Any] = json.loads(session.get_one(StudyRow, row.study_id).content)
        return content

    def length(self) -> int:
        """Return how many rows the audit chain has: another number where anything was added since."""
        with self._reading() as session:
            return int(session.scalar(select(func.max(AuditRow.seq))) or 0)

    def decisions(self, run_id: str) -> tuple[Decision, ...]:
        """Return the decisions of a run, in the order added."""
        with self._reading() as session:
            rows = rows_of(session, DecisionRow, DecisionRow.run_id == run_id)
            return tuple(decision_of(row) for row in rows)

    def events(self, run_id: str, kind: str | None = None) -> tuple[RecordedContent, ...]:
        """Return the events of a run, of one kind or of all, in the order added."""
        with self._reading() as session:
            return self._events(session, run_id, kind)

    def _events(
        self, session: Session, run_id: str, kind: str | None
    ) -> tuple[RecordedContent, ...]:
        rows = rows_of(session, EventRow, EventRow.run_id == run_id)
        return tuple(event_of(row) for row in rows if kind is None or row.kind == kind)

    def verify(self) -> ChainReport:
        """Return every row that was edited, deleted or inserted from outside, and every guard that
        is gone.
        """
        try:
            with self._reading() as session:
                links = session.scalars(select(AuditRow).order_by(AuditRow.seq)).all()
                rows = {
                    (kind.__tablename__, row.id): row
                    for kind in KEPT
                    for row in rows_of(session, kind)
                }
                kept = self.sessions.head
                head = read_head(kept) if kept else head_of(links)
                report = check_links(
                    self.url,
                    (
                        Link(k.seq, "audit", k.row_key, audit_content(k), k.previous, k.hash)
                        for k in links
                    ),
                    head,
                )
                faults = report.faults + tuple(row_faults(links, rows))
                faults += tuple(missing_guards(session))
        except SQLAlchemyError as problem:
            raise RecordUnreadable(f"{self.url} can not be read: {told(problem)}") from problem
        return ChainReport(report.name, report.rows, report.head, faults)

    # -- the database

    def _reading(self) -> AbstractContextManager[Session]:
        return self.sessions.reading()

    def _writing(self) -> AbstractContextManager[Session]:
        return self.sessions.writing()

    def _add(self, session: Session, row: AnyRow) -> tuple[AnyRow, bool]:
        return add_row(session, row, self.now_utc())

    def _run(self, session: Session, row: RunRow) -> RecordedRun:
        study = session.get_one(StudyRow, row.study_id)
        states = self._states(session, row.natural_key)
        return RecordedRun(
            run_id=row.natural_key,
            study_name=study.name,
            study_sha256=study.natural_key,
            seed=row.seed,
            simulated=row.simulated,
            software_version=row.software_version,
            settings=json.loads(row.settings),
            begun_utc=row.at_utc,
            state=json.loads(states[-1].content)["state"] if states else "",
        )

    def _states(self, session: Session, run_id: str) -> list[EventRow]:
        return rows_of(session, EventRow, EventRow.run_id == run_id, EventRow.kind == "state")
