"""The steps of a run as Prefect tasks: each calls one function of chiploop or asks one instrument.

Belongs here: what only Prefect can add (a name on the timeline, retries of reads), and what is kept on record
around a step, so that a step that was done is not done again after an interruption. Not here: the order of
steps (closed_loop), pumps (perfusion), rules (chiploop), bytes (instruments).

Liquids are in perfusion. A read may be tried again; what is on record is not read again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from chiploop import campaign as loop
from chiploop import standing
from chiploop.assays import derived_from_plate
from chiploop.assays.plate_map import PlateMap
from chiploop.assays.teer import (
    blank_of_cell_free_chips,
    blank_of_lot,
    geometry_of_chip,
    teer_readout,
)
from chiploop.assays.well_measurements import barrier_derivation
from chiploop.campaign_values import Campaign, proposal_from_dict
from chiploop.dosing import remaining_ul
from chiploop.errors import FileNotValid, FitNotAccepted, SafetyRefusal, WaitingForPerson
from chiploop.exports import read_export
from chiploop.exports.absorbance import absorbance_plate
from chiploop.measurement import AbsorbancePlate, Derivation, Measurement, Readout
from chiploop.plan import perfused_chip, plate_map
from chiploop.record.posterior_file import read_posterior, write_posterior
from chiploop.record.rows import RawFile
from chiploop.refit import rng_of_fit
from chiploop.stopping import Verdict
from chiploop.study import Kit
from flows import hands
from flows.asking import put_to_people
from flows.fault_points import reached
from flows.fit import plain
from flows.laboratory import Laboratory
from flows.left_out import evidence_for_fit, note_evidence
from flows.memory import give_back
from flows.proposing import Books, Offer, offer, standing_offer
from flows.run_names import step_name
from flows.valve_turns import why_held
from flows.wire_news import tell_wires
from instruments.contracts import EntersBlanks
from instruments.delivery import quantise_with

STEP: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
SAME_READING_H = 6.0
"""How late a reading may be and still count as the planned one."""


@task(name="measure TEER", task_run_name=step_name("measure TEER"), retries=1, **STEP)
def measure_teer(lab: Laboratory, cycle: int, planned_h: float | None = None) -> list[Readout]:
    """Sweep every chip and derive TEER; a reading on record for the planned time is not taken again."""
    now_h = lab.clock.now_h()
    planned_h = lab.study.timeline.stimulus_from_h if planned_h is None else planned_h
    known = teer_known(lab, cycle, planned_h)
    if len(known) == len(lab.study.chip_ids):
        return known
    if hands.teer_skipped(lab, cycle, planned_h):
        lab.say(cycle, "TEER was skipped: no readouts of it")
        return known
    (meter,) = lab.bench.meters.values()
    study_chip = lab.study.chip
    blank, geometry = blank_of_lot(study_chip), geometry_of_chip(study_chip)
    if isinstance(meter, EntersBlanks) and (cell_free := meter.cell_free_spectra()):
        blank = blank_of_cell_free_chips(cell_free)
    readouts: list[Readout] = []
    resistances: list[Measurement] = []
    for chip in lab.study.chip_ids:
        spectrum = meter.measure_spectrum(chip, now_h)
        reached("spectrum_read")
        raw = keep(lab, f"teer_{chip}_{now_h:.3f}h.json", "impedance spectrum", asdict(spectrum))
        reached("spectrum_kept")
        area = study_chip.area_cm2
        fit, readout = teer_readout(spectrum, blank, area, cycle, raw, geometry=geometry)
        how, readout = barrier_derivation(spectrum, fit, blank, readout)
        readouts.append(readout)
        resistances += how.measurements
    tell_wires(lab, cycle)
    return on_record(lab, readouts, Derivation(tuple(resistances)))


def teer_known(lab: Laboratory, cycle: int, planned_h: float) -> list[Readout]:
    """Return the readouts of TEER on record that count for a planned time."""
    known = [r for r in lab.record.readouts(lab.run_id, cycle) if r.readout == "TEER"]
    return [r for r in known if planned_h - 1e-6 <= r.time_h < planned_h + SAME_READING_H]


def teer_is_done(lab: Laboratory, cycle: int, planned_h: float) -> bool:
    """Return whether nobody needs the meter for a planned time any more: it is on record, or was skipped."""
    known = teer_known(lab, cycle, planned_h)
    return len(known) == len(lab.study.chip_ids) or hands.teer_skipped(lab, cycle, planned_h)


def plate_is_done(lab: Laboratory, cycle: int, assay: str) -> bool:
    """Return whether readouts of a plate are on record."""
    plate_id = plate_map(lab.study, assay, cycle).plate_id
    return any(r.plate == plate_id for r in lab.record.readouts(lab.run_id, cycle))


@task(name="read plate", task_run_name=step_name("read plate"), retries=1, **STEP)
def read_plate(
    lab: Laboratory, cycle: int, assay: str, window_h: tuple[float, float]
) -> list[Readout]:
    """Have a plate laid out, read it (or its export), and derive the readouts of its assay."""
    kit = lab.study.assays[assay].kit
    planned = plate_map(lab.study, assay, cycle, window_h)
    plate_id = planned.plate_id
    known = [r for r in lab.record.readouts(lab.run_id, cycle) if r.plate == plate_id]
    if known:
        return known
    if (really := hands.as_collected(lab, planned)) is None:
        return []
    planned = really
    asked = planned.as_json()
    keep(lab, f"{plate_id}.json", "plate map", asked)
    written = lab.study.assays[assay].plate_path(assay, cycle)
    if written is None:
        plates = lab.folder / "plates"
        plates.mkdir(exist_ok=True)
        (plates / f"{plate_id}.json").write_text(json.dumps(asked, indent=1), encoding="utf-8")
        lab.technician.load_plate(asked)
        reached("plate_asked")
        (reader,) = lab.bench.readers.values()
        plate = reader.read_absorbance(plate_id, kit.wavelengths_nm, lab.clock.now_h())
        reached("absorbance_read")
        plate = replace(plate, raw_sha256=keep(lab, f"{plate_id}_od.json", "absorbance", of(plate)))
        tell_wires(lab, cycle)
    else:
        plate = exported_plate(lab, written, plate_id)
    reached("plate_read")
    return derive(lab, plate, planned.wells, kit, cycle)


def derive(
    lab: Laboratory,
    signal: Any,
    wells: PlateMap,
    kit: Kit,
    cycle: int,
    collected_in: int | None = None,
) -> list[Readout]:
    """Put on record what a plate's signal says, and all that it was derived from.

    ``collected_in``: the cycle of the effluent of a late plate, which a line that is held today says nothing of.
    """
    derivation, readouts = derived_from_plate(signal, wells, kit, cycle, perfused_chip(lab.study))
    own = cycle if collected_in is None else collected_in
    readouts = hands.flagged(lab, own, readouts)
    return on_record(lab, readouts, derivation, {} if own != cycle else None)


def exported_plate(lab: Laboratory, written: str, plate_id: str) -> AbsorbancePlate:
    """Return a plate from the reader export that the study names in place of the reader.

    Raises WaitingForPerson while the file is not there, FileNotValid where it can not be used.
    """
    path = (lab.folder / written) if (lab.folder / written).exists() else lab.study_folder / written
    if not path.exists():
        raise WaitingForPerson(
            f"plate {plate_id}: there is no file {written} in {lab.folder} or {lab.study_folder} yet. "
            "Nothing was dosed since; export the plate there and start again with chiploop resume"
        )
    export = read_export(path)
    kind = f"reader export of {plate_id}"
    refuse_used_elsewhere(lab, path.name, export.sha256, kind, plate_id)
    (shape,) = export.plates if len(export.plates) == 1 else (None,)
    now_h = lab.clock.now_h()
    plate = absorbance_plate(export, plate_id, now_h, shape.name if shape is not None else None)
    size = path.stat().st_size
    sha256 = lab.raw.put_file(path)
    on_record_once(lab, RawFile(lab.run_id, sha256, path.name, kind, size, now_h))
    return plate


def refuse_used_elsewhere(
    lab: Laboratory, name: str, sha256: str, kind: str, plate_id: str
) -> None:
    """Raise FileNotValid where a file's content was read before, as another plate's or in another run."""
    used = [
        f"{run.run_id}, {kept.name}"
        for run in lab.record.runs()
        for kept in lab.record.raw_files(run.run_id)
        if kept.sha256 == sha256 and (run.run_id, kept.kind) != (lab.run_id, kind)
    ]
    if used:
        raise FileNotValid(
            f"{name} was read before, as {used[0]}: it is another plate's export, or the last run's. "
            f"Nothing was learned from it; export plate {plate_id} there"
        )


def keep(lab: Laboratory, name: str, kind: str, content: dict[str, Any]) -> str:
    """Put a raw signal into the store and on record; return its digest."""
    text = json.dumps(content, default=plain_number, sort_keys=True).encode()
    sha256 = lab.raw.put(text)
    reached("raw_file_stored")
    on_record_once(lab, RawFile(lab.run_id, sha256, name, kind, len(text), lab.clock.now_h()))
    return sha256


def on_record_once(lab: Laboratory, file: RawFile) -> None:
    """Put a raw file on record; the same bytes under the same name keep the time of the first."""
    known = {(kept.sha256, kept.name) for kept in lab.record.raw_files(lab.run_id)}
    if (file.sha256, file.name) not in known:
        lab.record.add_raw_file(file)


def plain_number(value: Any) -> Any:
    """Return arrays and complex numbers as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, complex):
        return [value.real, value.imag]
    raise TypeError(f"{type(value).__name__} has no place in a raw file")


def of(plate: AbsorbancePlate) -> dict[str, Any]:
    """Return a plate with text keys, as JSON needs them."""
    content = asdict(plate)
    content["flags"] = {f"{nm} {well}": why for (nm, well), why in plate.flags.items()}
    del content["locators"]  # they are of a vendor's file, and this is none
    del content["left_out"]  # what the reader gave has no opinion of people in it
    return content


def on_record(
    lab: Laboratory,
    readouts: Sequence[Readout],
    derivation: Derivation,
    held: Mapping[str, str] | None = None,
) -> list[Readout]:
    """Put readouts on record; those of a held line are kept and marked as not to be learned from.

    ``held``: line -> why; None for what is held now.
    """
    held = lab.journal.held(lab.run_id) if held is None else held
    marked = [
        replace(r, qc="fail", reasons=(*r.reasons, f"line held: {why}"))
        if (why := why_held(lab, r.chip_id, held))
        else r
        for r in readouts
    ]
    lab.record.add_readouts(lab.run_id, marked, derivation)
    reached("readouts_recorded")
    return marked


@task(name="recalibrate", task_run_name=step_name("fit"), **STEP)
def recalibrate(
    lab: Laboratory, campaign: Campaign, readouts: Sequence[Readout], cycle: int
) -> Campaign:
    """Fit the model to everything read so far; a calibration on record is taken from its file."""
    # the holds since are left out, as wherever the fit is made again
    evidence = evidence_for_fit(lab, readouts, cycle)
    campaign, readouts = replace(campaign, schedules=evidence.schedules), evidence.readouts
    path = lab.folder / f"cal-{cycle:02d}" / "posterior.nc"
    done = [c for c in lab.record.calibrations(lab.run_id) if c.cycle == cycle]
    if done and path.exists():
        posterior, info = read_posterior(path)
        return loop.learned(campaign, readouts, posterior, info)
    note_evidence(lab, evidence)
    begun = time.monotonic()
    campaign, info = loop.observe(campaign, readouts, rng_of_fit(lab.seed, cycle))
    assert campaign.posterior is not None
    write_posterior(path, campaign.posterior, info)
    give_back()
    reached("posterior_written")
    lab.record.add_calibration(
        lab.run_id,
        cycle,
        {
            "time_h": lab.clock.now_h(),
            "goals": [goal.facts() for goal in campaign.goals],
            "info": asdict(info),
            "posterior": str(path.relative_to(lab.folder)),
            "particles": len(campaign.posterior.particles),
        },
    )
    reached("calibration_recorded")
    lab.record.add_event(
        lab.run_id,
        "timing",
        lab.clock.now_h(),
        {"step": "recalibrate", "cycle": cycle, "wall_s": round(time.monotonic() - begun, 2)},
        key=f"recalibrate-{cycle}",
    )
    return campaign


@task(name="propose", task_run_name=step_name("propose doses"), **STEP)
def propose(lab: Laboratory, campaign: Campaign, begin_h: float | None = None) -> Offer:
    """Return doses for the next exposure, which begins at begin_h (None: as planned).

    A proposal on record that nobody has rejected stands as it is; before anything was read it is the pilot.
    """
    stands = standing_offer(lab.record, lab.run_id, campaign.cycle + 1)
    if stands is None and campaign.cycle == 0 and (old := lab.record.proposed(lab.run_id, 1)):
        pilot, decision = old[-1]
        if decision is None or decision.action != "expire":
            stands = Offer(proposal_from_dict(pilot.content), None, pilot.key)
    if stands is not None:
        return stands
    if campaign.cycle == 0:
        left = remaining_ul(lab.study, lab.journal.totals(lab.run_id).drawn_ul)
        return Offer(loop.first_proposal(campaign, quantise_with(lab.bench.pumps), left), None)
    made = offer(books(lab), campaign, begin_h)
    give_back()
    return made


def books(lab: Laboratory) -> Books:
    """Return what is on record of the run, with the rounding of the pumps that are open."""
    round_off = quantise_with(lab.bench.pumps)
    return Books(lab.study, lab.run_id, lab.seed, lab.record, lab.journal, round_off, lab.folder)


def stop_verdict(
    lab: Laboratory, campaign: Campaign, begin_h: float | None = None
) -> tuple[Verdict, Offer | None]:
    """Return what the study's stop rules say, with what would be given next where they look at it.

    Why a study ends is put on record.
    """
    offered: Offer | None = None
    refused = False
    if standing.looks_ahead(campaign):
        try:
            offered = propose(lab, campaign, begin_h)
        except SafetyRefusal:
            refused = True
        except FitNotAccepted:
            pass
    proposal = None if offered is None else offered.proposal
    verdict = standing.stop_verdict(campaign, proposal, refused)
    told = {event.content["cycle"] for event in lab.record.events(lab.run_id, "stop rule")}
    if verdict.stops and campaign.cycle not in told:
        lab.say(campaign.cycle, f"the study ends: {verdict.sentence}")
        content = {"cycle": campaign.cycle, "why": verdict.sentence}
        lab.record.add_event(
            lab.run_id, "stop rule", lab.clock.now_h(), content, key=f"cycle-{campaign.cycle}"
        )
        reached("stop_rule_told")
    return verdict, offered


def question(campaign: Campaign) -> str:
    """Return why a person has to decide about the next doses, whoever else would; '' where none has to."""
    verdict = standing.stop_verdict(campaign)
    return verdict.sentence if verdict.outcome == "ask" else ""


@task(name="put proposal on record", task_run_name=step_name("doses on record"), **STEP)
def record_proposal(lab: Laboratory, made: Offer, asked: str = "") -> str:
    """Put a proposal and its card on record and return its id; with ``approval: auto`` the study file decides.

    ``asked`` says why a person has to decide all the same.
    """
    proposal, card, proposal_id = made.proposal, made.card, made.proposal_id
    if proposal_id is None:
        if asked and asked not in proposal.notes:
            proposal = replace(proposal, notes=(*proposal.notes, asked))
            card = None if card is None else replace(card, notes=proposal.notes)
        proposal_id = lab.record.add_proposal(
            lab.run_id,
            proposal.cycle,
            asdict(proposal),
            None if card is None else plain(card.facts()),
            lab.clock.now_h(),
        )
    reached("proposal_recorded")
    if (
        lab.study.approval.by == "auto"
        and not asked
        and lab.record.decision_for(proposal_id) is None
    ):
        lab.record.add_decision(
            proposal_id, "approve", "auto", "approval.by: auto in the study file"
        )
        reached("decision_recorded")
    put_to_people(lab, proposal_id)
    return proposal_id


def outlook(lab: Laboratory, campaign: Campaign) -> None:
    """Put on record what would be given next if the study went on; nobody can approve it.

    Where the fit failed or no dose is safe there is none: that is no trouble of a study that ended.
    """
    now_h, begin_h = lab.clock.now_h(), lab.study.exposure_start_h(campaign.cycle + 1)
    late = now_h > begin_h + 1e-6  # people took longer than planned
    try:
        proposal = propose(
            lab, campaign, now_h + lab.study.timeline.turnaround_h if late else None
        ).proposal
    except (FitNotAccepted, SafetyRefusal) as refusal:
        lab.say(campaign.cycle, f"no outlook: {refusal}")
        return
    lab.record.add_event(
        lab.run_id, "outlook", lab.study.end_h, asdict(proposal), key=f"cycle-{proposal.cycle}"
    )
    reached("outlook_recorded")
