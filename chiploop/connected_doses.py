"""Which line feeds which chip in the next exposure, where valves leave a choice: the connection that teaches most.

Belongs here: a campaign as it would be connected, and the comparison of connections by what the doses chosen for
each would teach. Not here: which connections there are (connections), how doses are chosen (campaign, policies),
turning valves (instruments).

Doses are chosen for each connection by itself, as if the chips had always stood there, with the same draws and the
same noise; a chip that two connections give the same liquid at the same flow is simulated once. A turn is a
movement that can fail, so another connection is taken only where it teaches more by twice the error of the
comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from chiploop.campaign_values import Campaign
from chiploop.connections import (
    Connection,
    connected,
    connections_of,
    turns_between,
    without_home,
    words,
)
from chiploop.errors import SafetyRefusal
from chiploop.next_exposure import waited
from chiploop.policies.nested_information import NestedEstimate, NestedMonteCarlo
from chiploop.policies.prediction_table import PredictionTable
from chiploop.proposal_card import chosen_of
from chiploop.record.stays import with_stay
from chiploop.study import Study

if TYPE_CHECKING:
    from chiploop.campaign import Suggestion

SPREAD_OUT = "spread_out"
"""Policy of doses while the model is in doubt."""
SEED = 67
"""Of the noise with which connections are compared: the same for all of them, so that differences are sharp."""
PAIRS = 8
"""Draws of noise per draw of the posterior, each with its mirror image."""
WORTH_ERRORS = 2.0
"""Errors by which another connection must teach more before a valve is turned for it."""


@dataclass(frozen=True)
class Scored:
    """The doses chosen for one connection."""

    connection: Connection
    found: Suggestion
    information: NestedEstimate | None
    """Of its doses, by the same noise for all connections; None where doses were not chosen by what they teach."""

    @classmethod
    def of(cls, connection: Connection, found: Suggestion) -> Scored:
        """Return it with its information."""
        if found.proposal.policy == SPREAD_OUT:
            return cls(connection, found, None)
        table = found.table.predictable()
        measure = NestedMonteCarlo(table, np.random.default_rng(SEED), pairs=PAIRS)
        measure.noises = measure.noises[:, :, by_reading(table)]
        return cls(connection, found, measure.information(chosen_of(table, found.proposal.doses)))

    @property
    def paid_nats(self) -> float:
        """What it costs, where the study says what a nat may cost."""
        cost, a_unit = self.found.proposal.cost, self.found.table.nats_per_cost
        return 0.0 if cost is None or a_unit is None else cost * a_unit

    def gain(self, other: Scored) -> NestedEstimate:
        """Return what it is worth more than another; their draws differ where one can not be simulated to the
        end.
        """
        assert self.information is not None and other.information is not None
        own, beside = self.information, other.information
        if len(own.influence) == len(beside.influence):
            found = own - beside
        else:
            spread = np.concatenate([own.influence, -beside.influence])
            found = NestedEstimate(own.nats - beside.nats, spread * np.sqrt(2.0))
        return NestedEstimate(found.nats - self.paid_nats + other.paid_nats, found.influence)


def by_reading(table: PredictionTable) -> np.ndarray:
    """Return which column of noise each feature takes, so that a reading has the same one in every connection."""
    keys = [(one.chip, one.readout, one.time_h) for line in table.readings for one in line]
    before = len(table.all_noise()) - len(keys)
    order = sorted(range(len(keys)), key=lambda k: keys[k])
    rank = np.empty(len(keys), dtype=int)
    rank[order] = np.arange(len(keys))
    return np.concatenate([np.arange(before), before + rank])


def certain(study: Study, connection: Connection) -> dict[str, str | None]:
    """Return a connection with the chips of which nobody knows at home: their lines are held, and get no dose."""
    return without_home(study, {c: line for c, line in connection.items() if line is not None})


def connected_campaign(
    campaign: Campaign, now: Connection, connection: Connection, begin_h: float
) -> Campaign:
    """Return the campaign as an exposure that begins then would find it, its chips on the lines that feed them.

    Until then they stay where they are now, on stimulus without drug.
    """
    before = connected(campaign.study, certain(campaign.study, now))
    study = connected(before, certain(campaign.study, connection))
    schedules = {
        chip: waited(before, schedule, begin_h) for chip, schedule in campaign.schedules.items()
    }
    moved = {
        chip: with_stay(study, schedules, chip, study.line_of(chip).id, begin_h)
        for chip in study.chip_ids
    }
    return replace(campaign, study=study, schedules=moved)


def best_connection(
    study: Study,
    now: Connection,
    without_lines: tuple[str, ...],
    choose: Callable[[Connection], Suggestion],
) -> Suggestion:
    """Return the doses of the connection that teaches most; those of the present one where none is worth a turn.

    Where the model is in doubt nothing is measured and no valve is turned. Raises what the present connection
    raises where no other can be given either.
    """
    scored: list[Scored] = []
    trouble: SafetyRefusal | None = None
    for connection in connections_of(study, now, without_lines):
        try:
            one = Scored.of(connection, choose(connection))
        except SafetyRefusal as refusal:
            trouble = trouble or refusal
            continue
        scored.append(one)
        if one.information is None:
            break
    if not scored:
        assert trouble is not None
        raise trouble
    best = stay = scored[0]
    for one in scored[1:]:
        gain = one.gain(stay)
        sure = gain.nats > WORTH_ERRORS * gain.error_nats
        if sure and (best is stay or one.gain(best).nats > 0.0):
            best = one
    note = sentence(study, now, best, stay, len(scored))
    proposal = replace(best.found.proposal, notes=(*best.found.proposal.notes, note))
    return replace(best.found, proposal=proposal)


def sentence(study: Study, now: Connection, best: Scored, stay: Scored, compared: int) -> str:
    """Return which line feeds whom and why, for the record."""
    turned = turns_between(study, now, best.connection)
    if not turned:
        why = f"{compared} connections compared, none is worth a turn"
        if best.information is None:
            why = "while the model is in doubt none is measured"
        elif compared == 1:
            why = "no other can be given now"
        return f"no valve turns: {words(study, study.valves, best.connection)}; {why}"
    told = f"valves turn before these doses: {words(study, turned, best.connection)}"
    if best is stay:
        return f"{told}; as it stands now no dose can be given"
    gain = best.gain(stay)
    more = f"{gain.nats:.3g} +- {gain.error_nats:.2g} nats more than as it is now"
    return f"{told}; worth {more}, {compared} connections compared"
