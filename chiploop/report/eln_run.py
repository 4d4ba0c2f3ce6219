"""What of a run goes into its ``.eln`` file, and the text by which a notebook shows it.

Belongs here: which files, under which names, who the authors are. Not here: the archive (record.eln_archive).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from chiploop.messages import NOTIFICATION
from chiploop.record.approvals import APPROVAL
from chiploop.record.chain import canonical, plain
from chiploop.record.eln_archive import Entry, Part
from chiploop.record.exclusions import EXCLUSION
from chiploop.record.journal import Journal
from chiploop.record.long_table import long_table
from chiploop.record.long_table_files import csv_text, guarded
from chiploop.record.measurement_rows import REVISION
from chiploop.record.prism_files import prism_files
from chiploop.record.prism_tables import prism_tables
from chiploop.record.raw_files import RawFileStore
from chiploop.record.record import Record
from chiploop.record.rows import RawFile
from chiploop.record.unexplained import LEFT_OUT, as_fitted
from chiploop.record.well_exclusions import WELL_EXCLUSION
from chiploop.record.without_secrets import lab_without_secrets
from chiploop.report.dose_tables import fed_by, given_doses, proposal_rows
from chiploop.report.html_report import RunEvidence, report_text
from chiploop.report.run_tables import goal_rows, readout_counts
from chiploop.report.svg import MARK
from chiploop.study import MODEL_FOLDER, STUDY_FILE

ADDRESS = re.compile(r"[^\s\"',;<>]+@[^\s\"',;<>]+")
NOBODY = frozenset({"auto", ""})
"""Not a person: the study file decided."""
FIT_FILES = ("fit.json", "review.json", "review.html", "posterior.nc", "comparison.json")


@dataclass(frozen=True)
class RunPlaces:
    """A run with everything that is exported of it."""

    record: Record
    journal: Journal
    evidence: RunEvidence

    @property
    def run_id(self) -> str:
        """Its name."""
        return self.evidence.run.run_id

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.evidence.folder


def entry_of(places: RunPlaces) -> Entry:
    """Return what a notebook shows of the run."""
    run, study, record = places.evidence.run, places.evidence.study, places.record
    title = study.title or study.name
    mark = f"{MARK}: " if run.simulated else ""
    readouts = sorted({readout.readout for readout in places.evidence.readouts})
    keywords = ("organ-on-a-chip", "skin", *study.drugs, *readouts)
    stamps = [run.begun_utc, *(event.at_utc for event in record.events(run.run_id))]
    stamps += [decision.at_utc for decision in record.decisions(run.run_id)]
    return Entry(
        name=f"{mark}{title} ({run.run_id})",
        text=text_of(places),
        authors=people_of(record, run.run_id),
        keywords=(MARK, *keywords) if run.simulated else keywords,
        created_utc=run.begun_utc,
        last_utc=max(stamps),
        software_version=run.software_version,
        facts=(
            ("run", run.run_id),
            ("seed", str(run.seed)),
            ("simulated", str(run.simulated).lower()),
            ("study sha256", run.study_sha256),
            ("model", f"{study.tissue.model}, sha256 {study.tissue.sha256}"),
            ("audit chain head of the record", record.verify().head),
            ("audit chain head of the journal", places.journal.verify().head),
        ),
    )


def people_of(record: Record, run_id: str) -> tuple[str, ...]:
    """Return the logins of everybody who decided, approved or excluded something, in the order of the record."""
    named = [(d.at_utc, d.by) for d in record.decisions(run_id)]
    for kind in (APPROVAL, EXCLUSION, WELL_EXCLUSION, REVISION):
        named += [(e.at_utc, str(e.content.get("by", ""))) for e in record.events(run_id, kind)]
    return tuple(dict.fromkeys(by for _, by in sorted(named) if by not in NOBODY))


def text_of(places: RunPlaces) -> str:
    """Return the run as readable HTML: goals, doses, decisions, readouts; every text of it escaped."""
    one = places.evidence
    study, run = one.study, one.run
    goals = goal_rows(study, one.last_goals(), one.truths)
    proposals = proposal_rows(study, places.record, run.run_id, given_doses(study, one.actions))
    said = []
    if run.simulated:
        said.append(f"<p><strong>{MARK}</strong>: virtual chips; no tissue stands behind this.</p>")
    said.append(f"<h1>{escape(study.title or study.name)}</h1>")
    said.append(f"<p>Run {escape(run.run_id)}, {escape(run.state or 'not begun')}.</p>")
    if one.refused:
        said.append("<p><strong>The last calibration FAILED; do not use its numbers.</strong></p>")
    said.append("<h2>Goals (median, equal-tailed 90 % credible interval)</h2>")
    said.append(
        table(("goal", "median", "interval"), ((g.name, g.median, g.interval) for g in goals))
    )
    said.append("<h2>Doses</h2>")
    for proposal in proposals:
        said.append(
            f"<h3>{escape(proposal.title)}</h3><p>{escape(proposal.decided)}: {escape(proposal.decision)}</p>"
        )
        rows = ((d.line, d.chips, d.asked, d.given, d.risk) for d in proposal.doses)
        said.append(table(("line", "chips", "asked", "given", "risk"), rows))
    said.append("<h2>Readouts</h2>")
    names = ("readout", "unit", "n", "used", "censored", "failed")
    counts = readout_counts(one.judged)
    said.append(table(names, ([str(row[name]) for name in names] for row in counts)))
    said.append(
        "<p>report.html has every figure. Research use only. Not for clinical decisions.</p>"
    )
    return "\n".join(said)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return an HTML table."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def parts_of(places: RunPlaces) -> Iterator[Part]:
    """Yield every file of the entry, one after another, so that none need be kept."""
    yield from texts_of(places)
    yield from files_of(places.folder)
    yield from lines_of(places)
    raw = places.record.raw_files(places.run_id)
    store = RawFileStore(places.folder / "raw")
    for file, name in zip(raw, readable_names(raw), strict=True):
        about = f"Raw file of {file.kind}, {file.time_h:g} h: {file.name}"
        yield Part(f"raw/{name}", about, store.path(file.sha256), file.sha256)


def texts_of(places: RunPlaces) -> Iterator[Part]:
    """Yield the report and the tables, made from the record."""
    one = places.evidence
    yield Part("report.html", "The report, one page without script", report_text(one).encode())
    rows = long_table(places.record, places.run_id)
    yield Part("readouts.csv", "Every raw, calibrated and derived value", csv_text(rows).encode())
    tables = prism_tables(
        one.study,
        as_fitted(one.readouts, places.record.events(places.run_id, LEFT_OUT)),
        given_doses(one.study, one.actions),
        fed_by(one.study, one.actions),
    )
    for name, text in prism_files(tables, places.run_id, one.run.simulated).items():
        yield Part(f"prism/{name}", "Dose-response tables for GraphPad Prism", text.encode())


def files_of(folder: Path) -> Iterator[Part]:
    """Yield the files that the run keeps: study, model, posteriors, fits, settings."""
    for name, about in (
        ("study.yaml", "The study file as a person wrote it"),
        (STUDY_FILE, "The study as it was frozen when the run began"),
    ):
        if (folder / name).is_file():
            yield Part(name, about, folder / name)
    for path in sorted((folder / MODEL_FOLDER).glob("*")):
        yield Part(f"{MODEL_FOLDER}/{path.name}", "The tissue model", path)
    for path in sorted(folder.glob("cal-*/posterior.nc")):
        about = "What a calibration found, netCDF in ArviZ's layout"
        yield Part(f"{path.parent.name}/{path.name}", about, path)
    for path in sorted(folder.glob("fit/*/*")):
        if path.name in FIT_FILES:
            name = path.relative_to(folder).as_posix()
            yield Part(name, "A fit that was made again, with its review", path)
    settings = folder / "lab.toml"
    if settings.is_file():
        text = lab_without_secrets(settings.read_text(encoding="utf-8", errors="replace"))
        yield Part("lab.toml", "The bench, without ways to reach people", text.encode())


def lines_of(places: RunPlaces) -> Iterator[Part]:
    """Yield what is on record as JSON lines, and the journal as CSV."""
    record, run_id = places.record, places.run_id
    events = record.events(run_id)
    approvals = [event for event in events if event.kind == APPROVAL]
    for name, about, rows in (
        ("calibrations", "Every calibration with its diagnostics", record.calibrations(run_id)),
        ("proposals", "Every proposal", record.proposals(run_id)),
        ("decisions", "Who decided what, when and why", record.decisions(run_id)),
        ("approvals", "Who approved, where several persons were needed", approvals),
        ("events", "Everything else that is on record", events),
    ):
        lines = "".join(without_addresses(row, json_line(row)) for row in rows)
        yield Part(f"record/{name}.jsonl", about, lines.encode())
    yield Part("journal.csv", "Every action of a pump, as it was written down", journal_csv(places))


def without_addresses(row: Any, line: str) -> str:
    """Return a line without the e-mail addresses that a message could not be sent to."""
    if getattr(row, "kind", "") != NOTIFICATION:
        return line
    return ADDRESS.sub("(address left out)", line)


def json_line(row: Any) -> str:
    """Return a row of the record as one line."""
    return canonical(plain(asdict(row))) + "\n"


def journal_csv(places: RunPlaces) -> bytes:
    """Return the run's rows of the action journal as CSV, safe in a spreadsheet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("seq", "at_utc", "key", "kind", "body"))
    for event in places.journal.events():
        if event.run_id == places.run_id:
            body = json.dumps(event.body, ensure_ascii=False, sort_keys=True)
            cells = (event.at_utc, event.key, event.kind, body)
            writer.writerow((event.seq, *map(guarded, cells)))
    return text.getvalue().encode("utf-8")


def readable_names(files: Iterable[RawFile]) -> list[str]:
    """Return a name of each raw file that every system takes, no two alike on any of them."""
    taken: set[str] = set()
    names = []
    for file in files:
        name = re.sub(r"[^A-Za-z0-9._ -]+", "_", file.name).strip(". ") or "file"
        if name.casefold() in taken:
            name = f"{file.sha256[:12]}_{name}"
        while name.casefold() in taken:
            name = f"again_{name}"
        taken.add(name.casefold())
        names.append(name)
    return names
