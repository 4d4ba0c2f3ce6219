"""A proposal's card as text, for a terminal of 100 columns.

Belongs here: order and wording. Not here: what stands on a card (chiploop.proposal_card).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from chiploop.campaign_values import Proposal
from chiploop.dosing import RefusedDose
from chiploop.proposal_alternatives import Alternative
from chiploop.proposal_card import Card, LineCard
from chiploop.proposal_predictions import PredictedReading
from chiploop.study_schedules import WHOLE

WIDTH = 100
FEW = 5
"""Information parts and ties that are named."""
NUMBER = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")


def card_lines(card: Card, proposal: Proposal) -> list[str]:
    """Return a card as lines of text."""
    return [
        *wrapped(card.decision),
        "",
        *(line for note in card.notes for line in wrapped(f"note: {note}")),
        *([""] if card.notes else []),
        *dose_lines(card),
        "",
        *why_lines(card),
        "",
        *risk_lines(card),
        "",
        *alternative_lines(card, proposal),
        "",
        *prediction_lines(card),
        "",
        *pump_lines(card),
        "",
        *health_lines(card),
        *refused_lines(proposal),
    ]


def pilot_lines(proposal: Proposal) -> list[str]:
    """Return doses without a card: the first ones, of which no fit can say anything, and old ones."""
    doses = [
        f"  {dose.line}  {shown(dose.asked_nm):>10}   chips {', '.join(dose.chips)}"
        for dose in proposal.doses
    ]
    why = (
        "the first doses of the study file; nothing was read yet, so nothing is predicted"
        if proposal.cycle == 1
        else "proposed before cards were kept; --dose with one of these doses scores them anew"
    )
    return [f"{proposal.drug}: {why}.", "", *doses]


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return a text in lines, further ones below its beginning."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )


def shown(nm: float, schedule: str = WHOLE) -> str:
    """Return a dose, with its schedule's name where that is not the whole exposure."""
    by = "" if schedule == WHOLE else f" {schedule}"
    return f"{nm:.4g} nM{by}" if nm else f"vehicle{by}"


def number(value: float) -> str:
    """Return three digits, without a power of ten above 1."""
    return f"{float(f'{value:.3g}'):.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def dose_lines(card: Card) -> list[str]:
    """Return the doses, one line each."""
    numbers = f"{'dose':>10}{'delivered':>13}{'risk':>8}{'of highest read':>17}{'teaches':>11}"
    of_drug = "   drug" if any(one.drug for one in card.lines) else ""
    return [
        f"{'line':<8}{numbers}   chips (donor){of_drug}",
        *(dose_line(one) for one in card.lines),
    ]


def dose_line(one: LineCard) -> str:
    """Return the dose of one line."""
    risk = "–" if one.risk is None else f"{100 * one.risk:.0f} %"
    fold = "–" if one.fold_of_highest_read is None else f"{one.fold_of_highest_read:.2g} x"
    nats = "–" if one.information_nats is None else f"{one.information_nats:.2f} nat"
    chips = ", ".join(f"{c} ({d})" for c, d in zip(one.chips, one.donors, strict=True))
    numbers = f"{shown(one.asked_nm):>10}{shown(one.delivered_nm):>13}{risk:>8}{fold:>17}{nats:>11}"
    by = f"; {one.schedule}: {one.schedule_text}" if one.schedule_text else ""
    return f"{one.line:<8}{numbers}   {chips}{by}" + (f"   {one.drug}" if one.drug else "")


def why_lines(card: Card) -> list[str]:
    """Return why these doses: what teaches, and which two explanations it separates."""
    if card.information_nats is None:
        whole = "Why: not chosen by what the doses teach (see the note)."
    else:
        goal = card.goal
        whole = (
            f"Why: the batch is expected to teach {card.information_nats:.2f} nat about {goal.name}"
        )
        if goal.expected_fold is not None:
            whole += f": its interval from {goal.fold:.2g}-fold to {goal.expected_fold:.2g}-fold"
        whole += "."
    lines = wrapped(whole)
    parts = [part for part in card.parts if part.share >= 0.005][:FEW]
    for part in parts:
        lines.append(
            f"  {part.readout} at {part.time_h:g} h carries {100 * part.share:.0f} %; low and high "
            f"{card.goal.name} lie up to {part.separation:.1f} sd of a reading apart"
        )
    return lines


def risk_lines(card: Card) -> list[str]:
    """Return what may be harmed, beside its bounds."""
    highest = max((one.risk or 0.0 for one in card.lines), default=0.0)
    text = (
        f"Risk: of each line at most {100 * highest:.0f} % that a chip falls below viability "
        f"{card.viability_limit:g} (limit {100 * card.risk_limit:.0f} %); {card.unsafe_lines_expected:.2f} such "
        "lines expected in all. What harms closes its dose and all above it."
    )
    return wrapped(text)


def alternative_lines(card: Card, proposal: Proposal) -> list[str]:
    """Return what else could be given, with what it would lose."""
    head = f"{'Instead':<26}{'teaches':>10}{'loses':>13}{'risk':>8}   doses"
    lines = [head, *(alternative_line(one) for one in card.alternatives)]
    for tie in proposal.ties[:FEW]:
        by = tie.schedules
        doses = ", ".join(
            f"{line} {shown(nm, by.get(line, WHOLE))}" for line, nm in tie.doses_nm.items()
        )
        behind = f"{tie.behind_nats:.2f} ± {tie.behind_error_nats:.2f} nat behind"
        lines += wrapped(f"as good, as far as can be told ({behind}): {doses}", "  ")
    if len(proposal.ties) > FEW:
        lines.append(f"  and {len(proposal.ties) - FEW} more batches that can not be told from it")
    return lines


def alternative_line(one: Alternative) -> str:
    """Return one alternative."""
    by = one.schedules
    doses = ", ".join(
        f"{line} {shown(nm, by.get(line, WHOLE))}" for line, nm in one.doses_nm.items()
    )
    doses = doses or "none"
    loss = f"{one.loss_nats:.2f} nat" if one.loss_nats > 0.0 else f"gains {-one.loss_nats:.2f}"
    loss = "a tie" if one.is_tie else loss
    return f"  {one.name:<24}{one.information_nats:>6.2f} nat{loss:>13}{100 * one.highest_risk:>6.0f} %   {doses}"


def prediction_lines(card: Card) -> list[str]:
    """Return what the readings are expected to be: by line, readout and time, over its chips."""
    head = f"{'Expected':<22}{'time':>9}{'median':>10}{'90 % of readings':>22}{'if the goal is low / high':>28}"
    lines = [head]
    kinds = dict.fromkeys((one.line, one.readout, one.time_h) for one in card.predicted)
    for line, readout, time_h in kinds:
        own = [
            one
            for one in card.predicted
            if (one.line, one.readout, one.time_h) == (line, readout, time_h)
        ]
        lines.append(prediction_line(line, readout, time_h, own))
    return lines


def prediction_line(line: str, readout: str, time_h: float, own: Sequence[PredictedReading]) -> str:
    """Return the readings of one kind on one line: the middle chip, and the band that covers all."""
    middle = sorted(own, key=lambda one: one.median)[len(own) // 2]
    low, high = min(one.outer[0] for one in own), max(one.outer[1] for one in own)
    name = f"  {line} {readout}"
    return (
        f"{name:<22}{time_h:>7g} h{number(middle.median):>10}{number(low):>10} to {number(high):<8}"
        f"{number(middle.if_low):>12} / {number(middle.if_high):<8} {middle.unit if middle.unit != '1' else ''}"
    ).rstrip()


def pump_lines(card: Card) -> list[str]:
    """Return what every pump does, when it is over, and what it takes."""
    head = f"{'Pump':<18}{'rate':>13}{'volume':>12}{'left after':>13}"
    lines = [head]
    for one in card.lines:
        for use in one.syringes:
            lines.append(
                f"  {use.pump:<16}{use.flow_rate_ul_h:>8.4g} uL/h{use.volume_ul:>9.4g} uL{use.left_ul:>10.0f} uL"
            )
    hours = card.ends_h - card.begins_h
    chips = sum(len(one.chips) for one in card.lines)
    cost = f" Cost {card.cost}." if card.cost else ""
    lines += wrapped(
        f"{chips} chips, {card.drug_nmol:.3g} nmol drug, {hours:g} h from {card.begins_h:g} h on; the last "
        f"readings are there at {card.ends_h:g} h.{cost}"
    )
    return lines


def health_lines(card: Card) -> list[str]:
    """Return how far the model can be believed."""
    health = card.health
    p = ", ".join(f"{name} {value:.2g}" for name, value in health.predictive_p.items())
    lines = wrapped(
        f"Model: {health.sentence}; {health.effective_particles:.0f} effective particles, two populations "
        f"{health.population_gap_sd:.2f} sd apart; predictive p {p}."
        + (" THE DATA CONTRADICT THE MODEL." if health.misfit_fires else "")
    )
    return lines + [
        line for warning in health.warnings for line in wrapped(f"warning: {warning}", "  ")
    ]


def refused_lines(proposal: Proposal) -> list[str]:
    """Return which candidates may not be given and why: those with one reason but for its numbers together."""
    alike: dict[str, list[RefusedDose]] = {}
    for one in proposal.refused:
        kind = NUMBER.sub("#", one.reason.replace(one.line, "") if one.line else one.reason)
        alike.setdefault(kind, []).append(one)
    lines: list[str] = []
    for group in alike.values():
        doses = ", ".join(f"{nm:g}" for nm in sorted({one.asked_nm for one in group}))
        where = ", ".join(sorted({one.line for one in group if one.line}))
        on = f" on {where}" if where else ""
        by = sorted({one.schedule for one in group if one.schedule != WHOLE})
        on += f" by {', '.join(by)}" if by else ""
        reason = group[0].reason.removeprefix(f"line {group[0].line}: ")
        example = "" if len(group) == 1 else "for example "
        lines += wrapped(f"{doses} nM{on}: {example}{reason}", "  ")
    return ["", "Not to be given:", *lines] if lines else []
