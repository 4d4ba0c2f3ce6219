"""Which doses harm has closed: what readouts showed, what the fit is almost sure of, and no step up right after.

Belongs here: pure functions of readouts, schedules and risks. Not here: the rules of one dose (safety_rules), of a
batch (batch_safety).

Only a person reopens a dose (``Reopened``). A closed dose is closed on every line that gets its drug; what the fit
alone says is of one line, since a line's chips may have suffered from something else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from chiploop.dosing import MAX_DOSE_DEVIATION, ChipSchedule, PumpProgramme, RefusedDose
from chiploop.measurement import Readout
from chiploop.models.facts import RELEASE
from chiploop.study import Study

ELIMINATION = 0.95
"""P(viability below the limit) above which a dose and all above it are closed."""
_SLACK = 1e-9


class Candidates(Protocol):
    """What is looked at of a prediction table."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines that can be dosed."""

    @property
    def programmes(self) -> tuple[tuple[PumpProgramme, ...], ...]:
        """Per line, its feasible candidates."""

    @property
    def allowed(self) -> tuple[np.ndarray, ...]:
        """Per line (candidates,): whether it may be given."""

    @property
    def risk(self) -> tuple[np.ndarray, ...]:
        """Per line (candidates,): P(a chip's viability falls below the limit)."""


@dataclass(frozen=True)
class Toxicity:
    """A readout that showed harm at a delivered dose."""

    chip_id: str
    cycle: int
    time_h: float
    dose_nm: float
    """Highest in the readout's collection window."""
    viability: float
    drug: str = ""
    """Which drug of a study with several."""


@dataclass(frozen=True)
class Reopened:
    """A person has looked at what was read until then and lets doses be given again."""

    up_to_nm: float
    at_h: float
    """Study time; what is read later closes again."""
    drug: str = ""
    """Which drug of a study with several; others stay closed."""


@dataclass(frozen=True)
class Closure:
    """Doses that are closed on every line, or on every one with a drug."""

    from_nm: float
    """This and all above."""
    reason: str
    lines: frozenset[str] | None = None
    """Those that get the drug; None for every line."""

    def holds(self, programme: PumpProgramme) -> bool:
        """Return whether a programme's dose is closed; one without drug never is."""
        if self.lines is not None and programme.line not in self.lines:
            return False
        return programme.delivered_nm > 0.0 and programme.delivered_nm >= self.from_nm


def shown_toxicities(
    study: Study, schedules: Mapping[str, ChipSchedule], readouts: Iterable[Readout]
) -> tuple[Toxicity, ...]:
    """Return the readouts of released content that show a chip's viability below the study's limit.

    Release adds up over a chip's windows; the one that brings it below the limit is shown, and each that does
    so alone. Of a censored one the sure bound counts. Where drug was in none of the window, no dose is to blame.
    """
    limit = study.limits.viability
    told_by = {RELEASE, *(a.kit.method for n, a in study.assays.items() if n == "viability")}
    lost: dict[str, float] = {}
    shown = []
    for r in sorted(readouts, key=lambda one: one.time_h):
        if r.readout not in told_by or r.qc == "fail":
            continue
        own = r.value if r.censoring == "none" else max(r.lower, 0.0)
        before = lost.get(r.chip_id, 0.0)
        lost[r.chip_id] = before + max(own, 0.0)
        left = 1.0 - lost[r.chip_id]
        if not (1.0 - own < limit or left < limit <= 1.0 - before):
            continue
        begin_h = r.time_h if r.window_start_h is None else r.window_start_h
        dose_nm = max(
            (
                segment.drug_nm
                for segment in schedules[r.chip_id].segments
                if segment.start_h < r.time_h and segment.end_h > begin_h
            ),
            default=0.0,
        )
        if dose_nm > 0.0:
            shown.append(
                Toxicity(
                    r.chip_id, r.cycle, r.time_h, dose_nm, left, drug_of_chip(study, r.chip_id)
                )
            )
    return tuple(shown)


def drug_of_chip(study: Study, chip: str) -> str:
    """Return the drug of a chip in a study with several; empty where it has one."""
    return study.drug_of(study.line_of(chip).id).name if study.further_drugs else ""


def closures(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    readouts: Iterable[Readout],
    cycle: int,
    reopened: Collection[Reopened] = (),
) -> tuple[Closure, ...]:
    """Return what the readouts of harm close on every line; ``cycle`` is the newest that was read.

    A dose that has harmed is closed with all above it until a person reopens it. Right after a cycle that
    harmed, whoever has reopened what, nothing above the highest dose that has not harmed is given. Each drug of
    several is judged by its own chips.
    """
    every = shown_toxicities(study, schedules, readouts)
    if not study.further_drugs:
        return _closed(study, schedules, every, cycle, reopened)
    found: list[Closure] = []
    for drug in study.drugs:
        lines = study.lines_of(drug)
        own = {chip: schedules[chip] for line in lines for chip in line.chips}
        shown = tuple(t for t in every if t.drug == drug)
        mine = [r for r in reopened if r.drug == drug]
        found += [
            replace(one, reason=f"{drug}: {one.reason}", lines=frozenset(line.id for line in lines))
            for one in _closed(study, own, shown, cycle, mine)
        ]
    return tuple(found)


def _closed(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    shown: Sequence[Toxicity],
    cycle: int,
    reopened: Collection[Reopened],
) -> tuple[Closure, ...]:
    """Return what the harm of one drug closes; ``schedules`` are those of the chips that get it."""
    found = []
    standing = [
        t
        for t in shown
        if not any(t.dose_nm <= r.up_to_nm and t.time_h <= r.at_h for r in reopened)
    ]
    if standing:
        worst = min(standing, key=lambda t: t.dose_nm)
        reason = (
            f"closed since {worst.chip_id} at {worst.dose_nm:.4g} nM fell to viability "
            f"{worst.viability:.2f} by {worst.time_h:g} h (limit {study.limits.viability:g}); a person may "
            "reopen it"
        )
        found.append(Closure(worst.dose_nm * (1.0 - MAX_DOSE_DEVIATION), reason))
    newest = [t for t in shown if t.cycle == cycle]
    if newest:
        harmed_nm = min(t.dose_nm for t in newest)
        given = {s.drug_nm for schedule in schedules.values() for s in schedule.segments}
        clean_nm = max((nm for nm in given if nm < harmed_nm * (1.0 - _SLACK)), default=0.0)
        reason = (
            f"no step up right after harm at {harmed_nm:.4g} nM in cycle {cycle}: the highest dose without "
            f"was {clean_nm:.4g} nM"
        )
        found.append(Closure(min(clean_nm * (1.0 + MAX_DOSE_DEVIATION), harmed_nm), reason))
    return tuple(found)


def still_allowed(
    table: Candidates,
    closed: Sequence[Closure],
    reopened: Collection[Reopened] = (),
    drug_of: Mapping[str, str] | None = None,
) -> tuple[tuple[np.ndarray, ...], tuple[RefusedDose, ...]]:
    """Return what stays allowed on each line, and what is refused in addition.

    Besides the closures, a line's lowest dose that almost surely harms closes all above it there, unless a
    person has reopened that high. ``drug_of``: line -> drug where there are several.
    """
    left, refused = [], []
    for line, programmes, allowed, risk in zip(
        table.lines, table.programmes, table.allowed, table.risk, strict=True
    ):
        drug = (drug_of or {}).get(line, "")
        free_nm = max((r.up_to_nm for r in reopened if r.drug == drug), default=0.0)
        sure = [
            p.delivered_nm
            for p, r in zip(programmes, risk, strict=True)
            if p.delivered_nm > free_nm and not r <= ELIMINATION
        ]
        own = list(closed)
        if sure:
            reason = (
                f"closed since {min(sure):.4g} nM harms with a probability above {ELIMINATION:g}"
            )
            own.append(Closure(min(sure), reason))
        still = np.array(allowed, dtype=bool)
        for k, programme in enumerate(programmes):
            reasons = [closure.reason for closure in own if closure.holds(programme)]
            if still[k] and reasons:
                still[k] = False
                refused.append(
                    RefusedDose(programme.asked_nm, f"line {line}: " + "; ".join(reasons), line)
                )
        left.append(still)
    return tuple(left), tuple(refused)
