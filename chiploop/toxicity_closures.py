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

from chiploop.dosing import MAX_DOSE_DEVIATION, ChipSchedule, RefusedDose
from chiploop.exposure import ExposureProgramme
from chiploop.given_exposures import HOURS_SLACK, given_exposures
from chiploop.measurement import Readout
from chiploop.models.facts import RELEASE
from chiploop.record.exclusions import is_excluded
from chiploop.study import Study

_ROUNDING_H = 1e-6
ELIMINATION = 0.95
"""P(viability below the limit) above which a dose and all above it are closed."""
_SLACK = 1e-9


class Candidates(Protocol):
    """What is looked at of a prediction table."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines that can be dosed."""

    @property
    def programmes(self) -> tuple[tuple[ExposureProgramme, ...], ...]:
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
    """Highest of the chip's exposure up to the readout."""
    viability: float
    drug: str = ""
    """Which drug of a study with several."""


@dataclass(frozen=True)
class Reopened:
    """A person has looked at what was read until then and lets doses be given again."""

    up_to_nm: float
    """As asked; what pumps made of it counts too."""
    at_h: float
    """Study time."""
    seen: frozenset[tuple[str, float]] | None = None
    """(chip, time in h) of the toxicity readouts that were on record then: what was read later closes again. None:
    what is of a later time does.
    """
    drug: str = ""
    """Which drug of a study with several; others stay closed."""

    def reaches(self, dose_nm: float, drug: str = "") -> bool:
        """Return whether a delivered dose of a drug is at or below the one reopened."""
        return drug == self.drug and dose_nm <= self.up_to_nm * (1.0 + MAX_DOSE_DEVIATION)

    def lifts(self, harm: Toxicity) -> bool:
        """Return whether doses that did this harm may be given again."""
        known = (
            harm.time_h <= self.at_h
            if self.seen is None
            else (harm.chip_id, harm.time_h) in self.seen
        )
        return known and self.reaches(harm.dose_nm, harm.drug)


@dataclass(frozen=True)
class Closure:
    """Doses that are closed on every line, or on every one with a drug."""

    from_nm: float
    """This and all above."""
    reason: str
    from_h: float = 0.0
    """Only where drug flows for at least so many hours of the exposure."""
    lines: frozenset[str] | None = None
    """Those that get the drug; None for every line."""

    def holds(self, programme: ExposureProgramme) -> bool:
        """Return whether a dose is closed, by its concentration and its hours; one without drug never is."""
        if self.lines is not None and programme.line not in self.lines:
            return False
        return (
            programme.delivered_nm > 0.0
            and programme.delivered_nm >= self.from_nm
            and programme.drug_h >= self.from_h
        )


def shown_toxicities(
    study: Study, schedules: Mapping[str, ChipSchedule], readouts: Iterable[Readout]
) -> tuple[Toxicity, ...]:
    """Return the readouts of released content that show a chip's viability below the study's limit.

    Release adds up over a chip's windows, and a window from 0 h on (of a dye) holds all that was lost before; the
    one that brings it below the limit is shown, and each that does so alone. Of a censored one the sure bound
    counts. What was given since the exposure began (of a dye: since it was read last) is to blame, also where the
    drug had ended before the window; without drug since then, no dose is.
    """
    limit = study.limits.viability
    told_by = {RELEASE, *(a.kit.method for n, a in study.assays.items() if n == "viability")}
    lost: dict[str, float] = {}
    newest_h: dict[str, float] = {}
    shown = []
    for r in sorted(readouts, key=lambda one: one.time_h):
        # what a person leaves out of the fits still closes: only reopening lets a dose be given again
        if r.readout not in told_by or (r.qc == "fail" and not is_excluded(r)):
            continue
        own = r.value if r.censoring == "none" else max(r.lower, 0.0)
        before, seen_h = lost.get(r.chip_id, 0.0), newest_h.get(r.chip_id, 0.0)
        newest_h[r.chip_id] = r.time_h
        since_start = r.window_start_h is not None and r.window_start_h <= 0.0
        if since_start:  # holds what was lost before, too
            own -= before
        lost[r.chip_id] = before + max(own, 0.0)
        left = 1.0 - lost[r.chip_id]
        if not (1.0 - own < limit or left < limit <= 1.0 - before):
            continue
        begin_h = r.time_h
        if since_start:
            begin_h = seen_h + _ROUNDING_H
        elif r.window_start_h is not None:  # the window begins so much after its exposure
            begin_h = r.window_start_h - study.sampling.effluent_h[0] + _ROUNDING_H
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


def harm_taken_away(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    before: Iterable[Readout],
    after: Iterable[Readout],
    reopened: Collection[Reopened],
) -> tuple[Toxicity, ...]:
    """Return the harm that readouts showed before and would not after, and that no person has reopened."""
    stays = {(one.chip_id, one.time_h) for one in shown_toxicities(study, schedules, after)}
    return tuple(
        one
        for one in shown_toxicities(study, schedules, before)
        if (one.chip_id, one.time_h) not in stays
        and not any(person.lifts(one) for person in reopened)
    )


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
    standing = [t for t in shown if not any(one.lifts(t) for one in reopened)]
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
        given = given_exposures(schedules.values(), study.timeline.exposure_h)
        clean = [one for one in given if one.dose_nm < harmed_nm * (1.0 - _SLACK)]
        for hours in sorted({0.0, *(one.hours * (1.0 + HOURS_SLACK) for one in clean)}):
            # what was given for less time says nothing of a dose that lasts so long
            clean_nm = max((one.dose_nm for one in clean if one.hours >= hours), default=0.0)
            reason = (
                f"no step up right after harm at {harmed_nm:.4g} nM in cycle {cycle}: the highest dose without "
                f"was {clean_nm:.4g} nM" + (f" for as long as {hours:.3g} h" if hours else "")
            )
            closed_nm = min(clean_nm * (1.0 + MAX_DOSE_DEVIATION), harmed_nm)
            found.append(Closure(closed_nm, reason, hours))
    return tuple(found)


def closed_now(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    readouts: Iterable[Readout],
    reopened: Collection[Reopened],
    exposure: ExposureProgramme,
    cycle: int,
) -> str:
    """Return why what is on record by now closes an approved dose of a cycle; empty where nothing does.

    ``schedules`` are what chips got before that cycle. What a fit says is none of it: this is asked at the pumps.
    """
    shut = closures(study, schedules, readouts, cycle - 1, reopened)
    return "; ".join(dict.fromkeys(one.reason for one in shut if one.holds(exposure)))


def in_force(
    study: Study,
    schedules: Mapping[str, ChipSchedule],
    readouts: Iterable[Readout],
    reopened: Collection[Reopened],
) -> tuple[Reopened, ...]:
    """Return the reopenings after which no harm at or below their dose was read."""
    shown = shown_toxicities(study, schedules, readouts)
    return tuple(
        one
        for one in reopened
        if all(one.lifts(harm) for harm in shown if one.reaches(harm.dose_nm, harm.drug))
    )


def still_allowed(
    table: Candidates,
    closed: Sequence[Closure],
    reopened: Collection[Reopened] = (),
    drug_of: Mapping[str, str] | None = None,
) -> tuple[tuple[np.ndarray, ...], tuple[RefusedDose, ...]]:
    """Return what stays allowed on each line, and what is refused in addition.

    Besides the closures, a line's lowest dose that almost surely harms closes all there that are as high and last
    as long, unless a person has reopened that high (``in_force``). ``drug_of``: line -> drug where there are
    several.
    """
    left, refused = [], []
    for line, programmes, allowed, risk in zip(
        table.lines, table.programmes, table.allowed, table.risk, strict=True
    ):
        drug = (drug_of or {}).get(line, "")
        sure = [
            (p.drug_h, p.delivered_nm)
            for p, r in zip(programmes, risk, strict=True)
            if not r <= ELIMINATION
            and not any(one.reaches(p.delivered_nm, drug) for one in reopened)
        ]
        own = list(closed)
        for hours in sorted({h for h, _ in sure}):
            lowest_nm = min(nm for h, nm in sure if h == hours)
            reason = (
                f"closed since {lowest_nm:.4g} nM harms with a probability above {ELIMINATION:g}"
            )
            own.append(Closure(lowest_nm, reason, hours))
        still = np.array(allowed, dtype=bool)
        for k, programme in enumerate(programmes):
            reasons = [closure.reason for closure in own if closure.holds(programme)]
            if still[k] and reasons:
                still[k] = False
                refused.append(
                    RefusedDose(
                        programme.asked_nm,
                        f"line {line}: " + "; ".join(reasons),
                        line,
                        programme.schedule,
                    )
                )
        left.append(still)
    return tuple(left), tuple(refused)
