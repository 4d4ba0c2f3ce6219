"""What is given while the model is in doubt: spread-out doses with replicates, chosen without the model.

Belongs here: the ladder, and who gets which rung. Not here: whether the model is in doubt (inference), what is
allowed (safety, toxicity_closures, batch_safety).

The model's information is not to be trusted then, so nothing is optimised: the ladder goes from the vehicle to the
highest allowed dose in equal steps of ln concentration, not above what was read out before, and from four lines on
some rungs stand twice, so that chips tell their own spread. Where a study has schedules, the longest is given,
which is the whole exposure where it has that; where it has several stimuli, the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.errors import SafetyRefusal
from chiploop.exposure import ExposureProgramme
from chiploop.line_assignment import assign_doses
from chiploop.policies.dose_choice import nearest_of
from chiploop.study_schedules import STIMULUS
from chiploop.toxicity_closures import Candidates

DISTINCT_SHARE = 0.75
"""Of the lines, those with a rung of their own; the others repeat one."""
_SLACK = 1.02
"""How much pumps' rounding may lift a dose above the one that was read out."""


@dataclass(frozen=True)
class SpreadOut:
    """A batch without a model."""

    chosen: Mapping[int, int]
    """Line (its place in the table) -> candidate."""
    sentence: str


def spread_out(
    table: Candidates,
    line_donors: Mapping[str, Sequence[str]],
    seed: int,
    at_most_nm: float = math.inf,
) -> SpreadOut:
    """Return spread-out doses for the table's lines.

    Parameters
    ----------
    line_donors : line -> donor of each of its chips.
    at_most_nm : highest dose that was read out; no step above it while the model is in doubt.

    Raises SafetyRefusal where a line has no allowed candidate.
    """
    open_nm: list[dict[float, int]] = []
    for line, programmes, allowed in zip(table.lines, table.programmes, table.allowed, strict=True):
        usual = [programme.arm == STIMULUS for programme in programmes]
        longest_h = max(
            (one.drug_h for one, is_usual in zip(programmes, usual, strict=True) if is_usual),
            default=0.0,
        )
        own = {
            programmes[k].delivered_nm: int(k)
            for k in np.flatnonzero(allowed)
            if usual[k]
            and programmes[k].delivered_nm <= at_most_nm * _SLACK
            and (programmes[k].drug_h >= longest_h or programmes[k].delivered_nm == 0.0)
        }
        if not own:
            raise SafetyRefusal(f"no dose is allowed on {line}")
        open_nm.append(own)
    wanted = ladder(sorted({nm for own in open_nm for nm in own if nm > 0.0}), len(table.lines))
    donors = {line: line_donors[line] for line in table.lines}
    drawn = assign_doses(donors, wanted, seed)
    chosen = {}
    for i, (line, own) in enumerate(zip(table.lines, open_nm, strict=True)):
        doses = sorted(own)
        chosen[i] = own[doses[nearest_of(np.array(doses), drawn.doses_nm[line])]]
    rungs = ", ".join(f"{nm:.3g}" for nm in sorted(set(wanted)))
    sentence = (
        f"the model is in doubt: spread-out doses near {rungs} nM over {len(table.lines)} lines in place of "
        f"those the model would teach most by; lines drawn with seed {seed}, donors balanced"
    )
    return SpreadOut(chosen, sentence)


@dataclass(frozen=True)
class LinesOf:
    """What is looked at of a prediction table, of some of its lines."""

    lines: tuple[str, ...]
    programmes: tuple[tuple[ExposureProgramme, ...], ...]
    allowed: tuple[np.ndarray, ...]
    risk: tuple[np.ndarray, ...]

    @classmethod
    def at(cls, table: Candidates, at: Sequence[int]) -> LinesOf:
        """Return the lines at these places."""
        parts = (table.lines, table.programmes, table.allowed, table.risk)
        return cls(*(tuple(part[i] for i in at) for part in parts))  # type: ignore[arg-type]


def spread_out_drugs(
    table: Candidates,
    line_donors: Mapping[str, Sequence[str]],
    seed: int,
    drug_of: Mapping[str, str],
    at_most_nm: Mapping[str, float],
) -> SpreadOut:
    """Return spread-out doses of several drugs, each over its own lines; errors as of ``spread_out``.

    ``drug_of``: line -> drug; ``at_most_nm``: drug -> highest dose of it that was read out, 0 where none was.
    """
    chosen: dict[int, int] = {}
    said = []
    for drug in dict.fromkeys(drug_of[line] for line in table.lines):
        at = [i for i, line in enumerate(table.lines) if drug_of[line] == drug]
        own = spread_out(LinesOf.at(table, at), line_donors, seed, at_most_nm.get(drug, 0.0))
        chosen |= {at[i]: k for i, k in own.chosen.items()}
        said.append(f"{drug}: {own.sentence}")
    return SpreadOut(chosen, "; ".join(said))


def ladder(drug_nm: Sequence[float], lines: int) -> list[float]:
    """Return one dose for each line: the vehicle, equal steps of ln concentration, some of them twice.

    ``drug_nm`` are the doses above zero that may be given, ascending. One line alone gets the middle.
    """
    if not drug_nm:
        return [0.0] * lines
    low, top = drug_nm[0], drug_nm[-1]
    if lines == 1:
        return [math.sqrt(low * top)]
    levels = max(2, math.ceil(DISTINCT_SHARE * lines))
    rungs = [float(nm) for nm in np.geomspace(low, top, levels)[1:]]
    middle = 0.5 * (len(rungs) - 1)
    by_middle = sorted(range(len(rungs)), key=lambda i: (abs(i - middle), i))
    again = [rungs[by_middle[i % len(rungs)]] for i in range(lines - levels)]
    return [0.0, *rungs, *again]
