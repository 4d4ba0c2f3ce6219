"""Harm on record that closes doses: no plate calculated again may be a way around it.

Belongs here: the refusal of a revision after which such harm would be gone. Not here: which doses harm closes
(chiploop.toxicity_closures), calculating (revising), reopening (cli.reopen).
"""

from __future__ import annotations

from collections.abc import Sequence

from chiploop.errors import SafetyRefusal
from chiploop.measurement import Readout
from chiploop.record.journal import Journal
from chiploop.record.record import Record
from chiploop.record.replay import schedules_by
from chiploop.toxicity_closures import harm_taken_away
from flows.opening import RunFiles
from flows.proposing import reopened_doses


def refuse_to_take_harm_away(
    files: RunFiles, record: Record, calculated: Sequence[Readout], how: str
) -> None:
    """Raise SafetyRefusal where harm that closes doses would be gone with readouts that were calculated again.

    A reading that is left out whole still closes doses. ``how`` they were calculated, for people.
    """
    if not files.journal.is_file():  # nothing was ever dosed
        return
    with Journal(files.journal) as journal:
        schedules = schedules_by(journal.actions(files.run_id), files.study)
    before = record.readouts(files.run_id)
    own = {place_in(one): one for one in calculated}
    after = [own.get(place_in(one), one) for one in before]
    reopened = reopened_doses(record, files.run_id)
    if gone := harm_taken_away(files.study, schedules, before, after, reopened):
        told = ", ".join(
            f"viability {one.viability:.2f} of {one.chip_id} at {one.dose_nm:.4g} nM"
            for one in gone
        )
        raise SafetyRefusal(
            f"{how} the record would no longer show harm that closes doses: {told}. Only reopening lets such "
            f"doses be given again: chiploop reopen {files.run_id} --up-to DOSE --why TEXT, then the same again. "
            "Nothing was changed"
        )


def place_in(readout: Readout) -> tuple[str, str, float]:
    """Return what tells a readout from the others of its plate."""
    return readout.chip_id, readout.readout, readout.time_h
