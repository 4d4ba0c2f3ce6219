"""What a whole batch must meet, whatever a policy wants: what its lines risk together, lines without drug.

Belongs here: rules over the doses of several lines. Not here: the rules of one dose (safety, safety_rules), what
harm that was read out forbids (toxicity_closures), what is worth giving (policies), doses while the model is in
doubt (spread_out).

A choice that safety forbids is refused, since a policy that makes one is wrong. Where a batch as a whole asks too
much, lines get the next lower dose that fits, and the batch says so: a person sees it before anything is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chiploop.errors import SafetyRefusal
from chiploop.study import Study
from chiploop.study_limits import batch_risk_limit_chips
from chiploop.toxicity_closures import Candidates

_SLACK = 1e-9


@dataclass(frozen=True)
class SafeBatch:
    """What may be proposed."""

    chosen: Mapping[int, int]
    """Line (its place in the table) -> candidate."""
    changed: frozenset[int]
    """Lines that get another dose than the policy chose."""
    notes: tuple[str, ...]
    """Why, for people."""


def batch_rules(study: Study, table: Candidates) -> dict[str, Any]:
    """Return what a study asks of a batch on the lines of a table, as ``safe_batch`` takes it."""
    return {
        "chips": [len(study.line(line).chips) for line in table.lines],
        "risk_chips": batch_risk_limit_chips(study),
        "vehicle_lines": min(study.limits.vehicle_lines, len(table.lines)),
    }


def is_safe(study: Study, table: Candidates, chosen: Mapping[int, int]) -> bool:
    """Return whether a batch may be given as it is."""
    try:
        return not safe_batch(table, chosen, **batch_rules(study, table)).changed
    except SafetyRefusal:
        return False


def safe_batch(
    table: Candidates,
    chosen: Mapping[int, int],
    *,
    chips: Sequence[int],
    risk_chips: float,
    vehicle_lines: int = 0,
    worth: Mapping[int, float] | None = None,
) -> SafeBatch:
    """Return the batch that may be proposed in place of a chosen one, which is the same where it may.

    Parameters
    ----------
    chosen : line (its place in the table) -> candidate, of every line.
    chips : (lines,) chips on each.
    risk_chips : most chips that may be expected to be harmed.
    vehicle_lines : least number of lines without drug.
    worth : line -> what its dose is worth; the least worth goes first where a line must do without drug.

    Raises SafetyRefusal for a choice that is not allowed, and where no batch meets the rules.
    """
    refuse_forbidden(table, chosen)
    now, notes = with_vehicle_lines(table, chosen, vehicle_lines, worth or {})
    now, said = within_risk(table, now, chips, risk_chips)
    refuse_forbidden(table, now)
    changed = frozenset(line for line in now if now[line] != chosen[line])
    return SafeBatch(now, changed, (*notes, *said))


def refuse_forbidden(table: Candidates, chosen: Mapping[int, int]) -> None:
    """Raise SafetyRefusal unless every line has exactly one candidate, and it is allowed."""
    if set(chosen) != set(range(len(table.lines))):
        raise SafetyRefusal(f"a batch gives each of {', '.join(table.lines)} one dose")
    for line, k in chosen.items():
        programmes = table.programmes[line]
        if not 0 <= k < len(programmes):
            raise SafetyRefusal(f"line {table.lines[line]} has no candidate {k}")
        if not table.allowed[line][k]:
            nm = programmes[k].asked_nm
            raise SafetyRefusal(
                f"{nm:g} nM was chosen for line {table.lines[line]} and is not allowed"
            )


def expected_harmed(table: Candidates, chosen: Mapping[int, int], chips: Sequence[int]) -> float:
    """Return the most chips that doses with drug may be expected to harm.

    The risk of a line is that any of its chips is harmed; all of them are counted.
    """
    return sum(_harm(table, line, k, chips) for line, k in chosen.items())


def drug_candidates(table: Candidates) -> tuple[float, float | None]:
    """Return which share of the candidates with drug is allowed, and the smallest risk among all of them."""
    allowed = [
        bool(ok)
        for programmes, line in zip(table.programmes, table.allowed, strict=True)
        for programme, ok in zip(programmes, line, strict=True)
        if programme.delivered_nm > 0.0
    ]
    risks = [
        float(risk)
        for programmes, line in zip(table.programmes, table.risk, strict=True)
        for programme, risk in zip(programmes, line, strict=True)
        if programme.delivered_nm > 0.0
    ]
    return (sum(allowed) / len(allowed) if allowed else 0.0), min(risks, default=None)


def with_vehicle_lines(
    table: Candidates, chosen: Mapping[int, int], wanted: int, worth: Mapping[int, float]
) -> tuple[dict[int, int], list[str]]:
    """Return the batch with at least so many lines without drug."""
    now, notes = dict(chosen), []
    vehicles = {line: _vehicle(table, line, k) for line, k in now.items()}
    missing = wanted - sum(table.programmes[line][k].delivered_nm == 0.0 for line, k in now.items())
    by_worth = sorted(
        now, key=lambda i: (worth.get(i, 0.0), table.programmes[i][now[i]].delivered_nm)
    )
    for line in by_worth:
        vehicle, dose = vehicles[line], table.programmes[line][now[line]]
        if missing <= 0:
            break
        if vehicle is None or dose.delivered_nm == 0.0:
            continue
        now[line] = vehicle
        missing -= 1
        notes.append(
            f"line {table.lines[line]} gets no drug in place of {dose.asked_nm:g} nM: the study asks for "
            f"{wanted} line(s) without"
        )
    if missing > 0:
        raise SafetyRefusal(
            f"{wanted} line(s) without drug are asked for and {missing} can not be had"
        )
    return now, notes


def within_risk(
    table: Candidates, chosen: Mapping[int, int], chips: Sequence[int], risk_chips: float
) -> tuple[dict[int, int], list[str]]:
    """Return the batch with the riskiest lines at the next lower doses that keep the batch's risk."""
    now, notes = dict(chosen), []
    asked = expected_harmed(table, now, chips)
    for line in sorted(now, key=lambda i: (-_harm(table, i, now[i], chips), i)):
        total = expected_harmed(table, now, chips)
        if total <= risk_chips * (1.0 + _SLACK):
            break
        left = risk_chips - (total - _harm(table, line, now[line], chips))
        lower = _next_lower(table, line, now[line], chips, left)
        if lower is None:
            continue
        before, after = table.programmes[line][now[line]], table.programmes[line][lower]
        now[line] = lower
        notes.append(
            f"line {table.lines[line]} gets {after.asked_nm:g} nM in place of {before.asked_nm:g} nM: all lines "
            f"together would bring {asked:.2f} chips below the viability limit, at most {risk_chips:.2f} are "
            "accepted"
        )
    total = expected_harmed(table, now, chips)
    if not total <= risk_chips * (1.0 + _SLACK):
        raise SafetyRefusal(
            f"no batch brings fewer than {total:.2f} chips below the viability limit; at most "
            f"{risk_chips:.2f} are accepted"
        )
    return now, notes


def _harm(table: Candidates, line: int, k: int, chips: Sequence[int]) -> float:
    risk = float(table.risk[line][k])
    if table.programmes[line][k].delivered_nm == 0.0:
        return 0.0
    return chips[line] * (risk if 0.0 <= risk <= 1.0 else 1.0)


def _vehicle(table: Candidates, line: int, chosen: int) -> int | None:
    """Return a line's allowed candidate without drug, in the stimulus of the chosen one where it can be; None
    where there is none.
    """
    programmes = table.programmes[line]
    own = [int(k) for k in np.flatnonzero(table.allowed[line]) if not programmes[k].delivered_nm]
    return min(own, key=lambda k: programmes[k].arm != programmes[chosen].arm, default=None)


def _next_lower(
    table: Candidates, line: int, k: int, chips: Sequence[int], left: float
) -> int | None:
    """Return the highest allowed lower dose within what is left, by the same schedule where one fits; else the
    least harmful, else None.
    """
    own = table.programmes[line][k]
    lower = [
        int(j)
        for j in np.flatnonzero(table.allowed[line])
        if table.programmes[line][j].delivered_nm < own.delivered_nm
    ]
    fits = [j for j in lower if _harm(table, line, j, chips) <= left]
    if fits:

        def order(j: int) -> tuple[bool, float]:
            other = table.programmes[line][j]
            is_vehicle = other.delivered_nm == 0.0 and other.arm == own.arm
            return other.schedule == own.schedule or is_vehicle, other.delivered_nm

        return max(fits, key=order)
    return min(lower, key=lambda j: _harm(table, line, j, chips), default=None)
