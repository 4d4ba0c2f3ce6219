"""May this dose be given: yes, or why not. Refuses, never clips.

Belongs here: who asks, and with which rules. Not here: the rules (safety_rules), the limits in
numbers (study_limits), which dose is wanted (policies), how it is made (dosing), the pumps
(instruments).

The concentration, vehicle, flow and volume that the rules judge are worked out again from the
steps: what a programme says of itself is not believed. Two tables of rules: ``PROPOSAL_RULES`` for
a proposed dose, and ``WIRE_RULES`` between approval and wire, which know nothing of the optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chiploop.chip_totals import totals_by_chip
from chiploop.connections import Connection, connection_of
from chiploop.dosing import PumpProgramme, mixed_nm, mixed_vehicle_fraction
from chiploop.errors import SafetyRefusal
from chiploop.models.facts import RELEASE
from chiploop.record.actions import JournalTotals
from chiploop.safety_rules import PROPOSAL_RULES, WIRE_RULES, DoseFacts, Rule

if TYPE_CHECKING:
    from chiploop.exposure import ExposureProgramme
    from chiploop.measurement import Readout
    from chiploop.study import Study


@dataclass(frozen=True)
class SafetyVerdict:
    """Whether a dose may be given."""

    allowed: bool
    reasons: tuple[str, ...]
    """One sentence per rule that refuses, with limit and value; empty where allowed."""


def check_dose(
    study: Study,
    programme: PumpProgramme,
    *,
    highest_read_nm: float | None,
    overdose_risk: float | None,
    start_h: float,
    newest_toxicity_h: float | None,
    totals: JournalTotals | None = None,
    cycle: int | None = None,
) -> SafetyVerdict:
    """Return whether a proposed programme may be given.

    Parameters
    ----------
    highest_read_nm : highest dose of the line's drug already read out in this study; None at the cold start, where
        only the study's first doses are allowed, without a fit.
    overdose_risk : P(viability < limit) at this dose; where it is missing after the cold start, a
        dose with drug is refused.
    start_h : study time at which the programme would begin.
    newest_toxicity_h : as :func:`newest_toxicity_h` says; None at the cold start.
    totals : what the run's pumps have moved; None for a run that has moved nothing.
    cycle : whose exposure it is a part of; other parts of that one are the same dose.
    """
    totals = totals or JournalTotals()
    return _verdict(
        study,
        programme,
        totals,
        start_h,
        PROPOSAL_RULES,
        cycle=cycle,
        highest_read_nm=highest_read_nm,
        overdose_risk=overdose_risk,
        newest_toxicity_h=newest_toxicity_h,
    )


def check_exposure(
    study: Study,
    exposure: ExposureProgramme,
    *,
    highest_read_nm: float | None,
    overdose_risk: float | None,
    start_h: float,
    newest_toxicity_h: float | None,
    totals: JournalTotals | None = None,
    cycle: int,
) -> SafetyVerdict:
    """Return whether a proposed exposure may be given: each of its parts, after all that come before it.

    ``overdose_risk`` is of the whole exposure, ``start_h`` when it would begin; the others as in
    :func:`check_dose`.
    """
    reasons: list[str] = []
    connection = connection_of(study) if study.valves else {}
    for part, begins_h, moved in _each_part(
        exposure, start_h, totals or JournalTotals(), cycle, connection
    ):
        verdict = check_dose(
            study,
            part,
            highest_read_nm=highest_read_nm,
            overdose_risk=overdose_risk,
            start_h=begins_h,
            newest_toxicity_h=newest_toxicity_h,
            totals=moved,
            cycle=cycle,
        )
        reasons += [reason for reason in verdict.reasons if reason not in reasons]
    return SafetyVerdict(not reasons, tuple(reasons))


def check_exposure_before_wire(
    study: Study,
    exposure: ExposureProgramme,
    totals: JournalTotals,
    start_h: float,
    newest_toxicity_h: float | None,
    cycle: int,
) -> None:
    """Raise SafetyRefusal where a part of an approved exposure would break a limit: what can not be given to
    its end is not begun.
    """
    connection = connection_of(study) if study.valves else {}
    for part, begins_h, moved in _each_part(exposure, start_h, totals, cycle, connection):
        check_before_wire(study, part, moved, begins_h, newest_toxicity_h, cycle=cycle)


def _each_part(
    exposure: ExposureProgramme,
    start_h: float,
    totals: JournalTotals,
    cycle: int,
    connection: Connection,
) -> Iterator[tuple[PumpProgramme, float, JournalTotals]]:
    """Yield every part, when it begins, and what the pumps have moved by then if the parts before are given."""
    for after_h, part in exposure.timed():
        yield part, start_h + after_h, totals
        totals = totals.with_programme(part, start_h + after_h, cycle, connection)


def check_before_wire(
    study: Study,
    programme: PumpProgramme,
    totals: JournalTotals,
    start_h: float,
    newest_toxicity_h: float | None,
    rules: tuple[Rule, ...] = WIRE_RULES,
    cycle: int | None = None,
) -> None:
    """Raise SafetyRefusal where the approved programme breaks a limit; the last look before the
    pumps.

    Knows the programme, the study's limits, the journal's totals and when toxicity was last read,
    nothing of the optimiser.

    Parameters
    ----------
    totals : without this programme's own intents.
    newest_toxicity_h : as :func:`newest_toxicity_h` says; None at the cold start, where only the
        study's first doses are allowed.
    cycle : whose exposure it is a part of; other parts of that one are the same dose. None: it
        stands alone.
    """
    verdict = _verdict(
        study,
        programme,
        totals,
        start_h,
        rules,
        newest_toxicity_h=newest_toxicity_h,
        cycle=cycle,
    )
    if not verdict.allowed:
        raise SafetyRefusal(
            f"line {programme.line}, {programme.purpose} {programme.asked_nm:g} nM: "
            + "; ".join(verdict.reasons)
            + ". Nothing was sent to the pumps"
        )


def newest_toxicity_h(study: Study, readouts: Iterable[Readout], line_id: str = "") -> float | None:
    """Return the study time of the newest readout of toxicity that passed; None before the first.

    Of several drugs that of the line's alone counts: chips that got another drug tell nothing of its harm.
    ValueError where the line is not named then.

    Viability where the study has an assay of it; otherwise TEER, which falls where tissue is harmed.
    """
    chips = set(study.chip_ids)
    if study.further_drugs:
        if line_id not in study.line_ids:
            raise ValueError(f"{study.name} has several drugs; name the line that is asked about")
        own = study.lines_of(study.drug_of(line_id).name)
        chips = {chip for line in own for chip in line.chips}
    told_by = {"TEER"}
    if "viability" in study.assays:
        told_by = {"viability", RELEASE, study.assays["viability"].kit.method}
    return max(
        (
            r.time_h
            for r in readouts
            if r.readout in told_by
            and r.qc != "fail"
            and (not study.further_drugs or r.chip_id in chips)
        ),
        default=None,
    )


def _verdict(
    study: Study,
    programme: PumpProgramme,
    totals: JournalTotals,
    start_h: float,
    rules: tuple[Rule, ...],
    highest_read_nm: float | None = None,
    overdose_risk: float | None = None,
    newest_toxicity_h: float | None = None,
    cycle: int | None = None,
) -> SafetyVerdict:
    if programme.line not in study.line_ids:
        return SafetyVerdict(False, (f"there is no line {programme.line} in {study.name}",))
    n_chips = len(study.line(programme.line).chips)
    if not n_chips:
        return SafetyVerdict(False, (f"no chip is fed by line {programme.line}: it stands still",))
    known = {"medium", *study.arms_ng_ml, *study.stocks}
    steps = tuple(step for step in programme.steps if step.stock in known)
    if cycle is not None and programme.purpose == "dose":
        totals = totals.before(cycle)
    facts = DoseFacts(
        study=study,
        programme=programme,
        totals=totals,
        start_h=start_h,
        concentration_nm=mixed_nm(study, steps),
        vehicle_fraction=mixed_vehicle_fraction(study, steps),
        flow_rate_ul_h=sum(step.flow_rate_ul_h for step in programme.steps) / n_chips,
        volume_ul=sum(step.volume_ul for step in programme.steps) / n_chips,
        highest_read_nm=highest_read_nm,
        overdose_risk=overdose_risk,
        newest_toxicity_h=newest_toxicity_h,
        cycle=cycle,
    )
    broken: dict[str, list[str]] = {}
    for chip, own in totals_by_chip(study, programme.line, totals):
        of_chip = replace(facts, totals=own)
        for reason in (rule(of_chip) for rule in rules):
            if reason is not None:
                broken.setdefault(reason, []).append(chip)
    reasons = tuple(
        reason if len(chips) == n_chips or not chips[0] else f"{', '.join(chips)}: {reason}"
        for reason, chips in broken.items()
    )
    return SafetyVerdict(allowed=not reasons, reasons=reasons)
