"""What a study will do and use before anything moves: timetable, syringe volumes, plate maps.

Belongs here: arithmetic on a study. Not here: pictures of it (flows.cli.plan), pumps, the clock.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chiploop.dosing import (
    PumpProgramme,
    Quantise,
    make_programme,
    pump_name,
    remaining_ul,
    usable_ul,
)
from chiploop.errors import DoseNotFeasible
from chiploop.file_kinds import FILE_KINDS
from chiploop.models.facts import truth_of
from chiploop.study import Kit, Study
from chiploop.study_schedules import WHOLE, schedule_words

if TYPE_CHECKING:
    from chiploop.assays.perfused_tracer import PerfusedChip
    from chiploop.assays.plate_map import PlateMap
    from chiploop.measurement import Readout

ROWS = "ABCDEFGH"
COLUMNS = 12


@dataclass(frozen=True)
class TimetableRow:
    """One thing that happens."""

    time_h: float
    """Hours since the study began."""
    end_h: float | None
    """When it ends; None for something at one moment."""
    what: str
    lines: tuple[str, ...]
    """Lines that it concerns."""
    who: Literal["pumps", "meter", "bench", "reader", "computer", "person"]


@dataclass(frozen=True)
class SyringeUse:
    """What one syringe must give."""

    pump: str
    """Name in lab.toml, ``<line>-<role>``."""
    line: str
    role: str
    """``medium``, ``stimulus`` or the name of a stock."""
    filled_ul: float
    usable_ul: float
    """Filled volume less the reserve that is never planned away."""
    needed_ul: float
    """Stocks: for the first doses. Stimulus: as if each later dose were zero, which takes most."""
    over: bool
    """True where more is needed than may be planned."""

    @property
    def left_ul(self) -> float:
        """Filled less needed volume; below zero where the syringe runs dry."""
        return self.filled_ul - self.needed_ul


@dataclass(frozen=True)
class PlannedPlate:
    """What goes into which well of one plate."""

    plate_id: str
    assay: str
    """Readout that the plate gives."""
    cycle: int
    """From 1."""
    wells: PlateMap

    def as_json(self) -> dict[str, Any]:
        """Return the plate as plain values, as the technician and the virtual lab get it."""
        from chiploop.assays.plate_map import plate_to_dict

        return plate_to_dict(self.plate_id, self.assay, self.wells) | {"cycle": self.cycle}


@dataclass(frozen=True)
class StudyPlan:
    """Everything that can be said of a study before it runs."""

    timetable: tuple[TimetableRow, ...]
    syringes: tuple[SyringeUse, ...]
    plates: tuple[PlannedPlate, ...]
    """One for each assay, of one cycle; in every cycle samples stand elsewhere."""
    end_h: float
    teer_readings: int
    """Impedance spectra of single chips."""
    plate_reads: int
    plates_from_files: int
    """Of ``plate_reads``, those that come as an export of a reader elsewhere."""
    refusals: tuple[str, ...]
    """Limits that would be passed; empty where the study may start."""


def exactly(pump: str, flow_rate_ul_h: float, volume_ul: float) -> tuple[float, float]:
    """Return rate and volume as they are: the pumps' own rounding is not known without a bench."""
    return flow_rate_ul_h, volume_ul


def plan_study(study: Study, quantise: Quantise = exactly, plates_of_cycle: int = 1) -> StudyPlan:
    """Return timetable, volumes and the plates of one cycle, and which limits would be passed."""
    programmes, refusals = _first_programmes(study, quantise)
    syringes = tuple(_syringes(study, programmes))
    refusals += [
        f"{use.pump}: {use.needed_ul / 1000:.1f} mL are needed, {use.usable_ul / 1000:.1f} mL of "
        f"{use.filled_ul / 1000:.1f} mL may be used"
        for use in syringes
        if use.over
    ]
    cycles = study.timeline.cycles
    from_files = sum(assay.comes_as_file for assay in study.assays.values())
    return StudyPlan(
        timetable=tuple(sorted(_timetable(study), key=lambda row: row.time_h)),
        syringes=syringes,
        plates=tuple(plate_map(study, assay, plates_of_cycle) for assay in study.assays),
        end_h=study.end_h,
        teer_readings=(1 + cycles * len(study.sampling.teer_h)) * len(study.chip_ids),
        plate_reads=cycles * len(study.assays),
        plates_from_files=cycles * from_files,
        refusals=tuple(refusals),
    )


def notes(study: Study) -> tuple[str, ...]:
    """Return what is allowed but should be known: what nobody watches, who decides."""
    _, no_truth = truth_of(study.tissue, study.tissue.measured(study.assays))
    killing = [n for n, assay in study.assays.items() if assay.kit.method == "mtt"]
    told = {
        "MTT kills the cells that it reads: every cycle but the last needs sister chips for its plate": (
            bool(killing) and study.timeline.cycles > 1
        ),
        f"valves may give {', '.join(study.valves)} to other lines: a plan is for chips at home, and a line "
        "that feeds more chips draws more from its syringes": bool(study.valves),
        "the pressure in the chips is not watched: the chip declares no sensor": (
            not study.chip.pressure_sensor
        ),
        "approval is auto: proposed doses go to the pumps without a person": (
            study.approval.by == "auto"
        ),
        "the instruments are virtual: everything will be marked SIMULATED": (
            study.instruments == "virtual"
        ),
        f"virtual chips will be of the fitted model itself, as with --matched: {no_truth}": (
            study.instruments == "virtual" and bool(no_truth)
        ),
    }
    return tuple(note for note, applies in told.items() if applies)


def _first_programmes(study: Study, quantise: Quantise) -> tuple[list[PumpProgramme], list[str]]:
    programmes, refusals = [], []
    filled_ul = remaining_ul(study, {})
    for line, dose_nm in zip(study.lines, study.first_doses_nm, strict=True):
        exposure_h = study.timeline.exposure_h
        try:
            programmes.append(
                make_programme(study, line.id, "dose", dose_nm, exposure_h, quantise, filled_ul)
            )
        except DoseNotFeasible as refusal:
            refusals.append(str(refusal))
    return programmes, refusals


def _syringes(study: Study, programmes: list[PumpProgramme]) -> Iterator[SyringeUse]:
    timeline = study.timeline
    needed_ul: dict[str, float] = defaultdict(float)
    for programme in programmes:
        for step in programme.steps:
            needed_ul[step.pump] += step.volume_ul
    later_h = (timeline.cycles - 1) * (timeline.exposure_h + timeline.turnaround_h)
    for line in study.lines:
        flow_ul_h = study.line_flow_rate_ul_h(line.id)
        needed_ul[pump_name(line.id, "medium")] += timeline.stimulus_from_h * flow_ul_h
        needed_ul[pump_name(line.id, "stimulus")] += later_h * flow_ul_h
        for role in study.pump_roles(line.id):
            pump = pump_name(line.id, role)
            filled = study.perfusion.syringes[role].volume_ul
            usable = usable_ul(study, role, filled)
            over = needed_ul[pump] > usable * (1 + 1e-9)
            yield SyringeUse(pump, line.id, role, filled, usable, needed_ul[pump], over)


def _timetable(study: Study) -> Iterator[TimetableRow]:
    lines = study.line_ids
    if study.timeline.stimulus_from_h > 0:
        yield TimetableRow(0.0, study.timeline.stimulus_from_h, "plain medium", lines, "pumps")
    what = "TEER of every chip before the stimulus"
    yield TimetableRow(study.timeline.stimulus_from_h, None, what, lines, "meter")
    for cycle in range(1, study.timeline.cycles + 1):
        yield from _cycle_rows(study, cycle, lines)


def _cycle_rows(study: Study, cycle: int, lines: tuple[str, ...]) -> Iterator[TimetableRow]:
    start_h, end_h = study.exposure_start_h(cycle), study.exposure_end_h(cycle)
    if cycle == 1:
        for line, dose_nm in zip(lines, study.first_doses_nm, strict=True):
            what = f"cycle 1: {study.drug_of(line).name} {dose_nm:g} nM with stimulus"
            yield TimetableRow(start_h, end_h, what, (line,), "pumps")
    else:
        for drug in study.drugs:
            own = tuple(line.id for line in study.lines_of(drug))
            what = f"cycle {cycle}: {drug} as proposed, with stimulus{_by_schedule(study)}"
            yield TimetableRow(start_h, end_h, what, own, "pumps")
    window_h = study.effluent_window_h(cycle)
    yield TimetableRow(*window_h, f"cycle {cycle}: collect effluent", lines, "bench")
    for readout, assay in study.assays.items():
        if assay.kit.tracer is not None:
            what = f"cycle {cycle}: tracer above the tissue, {assay.kit.tracer.samples} samples ({readout})"
            yield TimetableRow(end_h - assay.kit.tracer.duration_h, end_h, what, lines, "bench")
    for time_h in study.teer_times_h(cycle):
        yield TimetableRow(time_h, None, f"cycle {cycle}: TEER of every chip", lines, "meter")
    for readout, assay in study.assays.items():
        source = assay.plate_path(readout, cycle)
        thing = "images" if assay.kit.method == "microscopy" else "plate"
        what = f"cycle {cycle}: {readout} {thing}" + (f" from {source}" if source else "")
        until_h = None
        if assay.export is not None:
            until_h = end_h + assay.awaited_h
            what += f" as {FILE_KINDS[assay.export].one}"
        yield TimetableRow(
            end_h, until_h, what, lines, "person" if assay.comes_as_file else "reader"
        )
    last = cycle == study.timeline.cycles
    what = f"cycle {cycle}: recalibrate" + ("; the study ends" if last else " and propose")
    yield TimetableRow(end_h, None, what, lines, "computer")
    if last:
        return
    if study.approval.by == "person":
        what = f"cycle {cycle + 1}: a person approves the doses; until then the study waits"
        yield TimetableRow(end_h, None, what, lines, "person")
    if study.timeline.turnaround_h > 0:
        next_h = study.exposure_start_h(cycle + 1)
        yield TimetableRow(end_h, next_h, "stimulus without drug", lines, "pumps")


def _by_schedule(study: Study) -> str:
    """Return how a dose may be given; empty where that is the whole exposure alone."""
    if set(study.schedules) == {WHOLE}:
        return ""
    ways = [
        f"{name} ({words})" if (words := schedule_words(schedule)) else name
        for name, schedule in study.schedules.items()
    ]
    return "; by " + " or ".join(ways)


def plate_map(
    study: Study, assay: str, cycle: int, window_h: tuple[float, float] | None = None
) -> PlannedPlate:
    """Return what goes into which well of the plate of an assay in a cycle (from 1).

    ``window_h`` is from and to when the effluent was really collected; None for as planned.

    Samples stand at random, so that an edge of the plate does not fall on one line; the name of the
    plate decides where, so a plan and the run after it agree. KeyError for an assay that the study
    has not.
    """
    # Fitting curves needs scipy, which a timetable does not.
    import numpy as np

    from chiploop.assays import PLATE_MAPS

    asked = study.assays[assay]
    plate_id = plate_id_of(study, assay, cycle)
    seed = int.from_bytes(hashlib.sha256(plate_id.encode()).digest()[:8], "big")
    wells = PLATE_MAPS[asked.kit.method](
        study.chip_ids,
        sampled_window_h(study, asked.kit, window_h or study.effluent_window_h(cycle)),
        asked.kit,
        asked.replicates,
        asked.dilution,
        np.random.default_rng(seed),
    )
    return PlannedPlate(plate_id, assay, cycle, wells)


def plate_id_of(study: Study, assay: str, cycle: int) -> str:
    """Return the name of the plate of an assay in a cycle."""
    return f"{study.name}-{assay}-cycle{cycle}"


def exposure_read(readout: Readout) -> int:
    """Return the cycle whose exposure a readout is of; a late plate is learned from by a later one."""
    number = readout.plate.rpartition("-cycle")[2]
    return int(number) if number.isdecimal() else readout.cycle


def sampled_window_h(
    study: Study, kit: Kit, effluent_h: tuple[float, float]
) -> tuple[float, float]:
    """Return from and to when what a kit reads is taken, in an exposure whose effluent was collected then.

    A tracer is given for the last hours of the exposure, and an image is of its end.
    """
    end_h = effluent_h[0] - study.sampling.effluent_h[0] + study.timeline.exposure_h
    if kit.tracer is not None:
        return end_h - kit.tracer.duration_h, end_h
    return (end_h, end_h) if kit.method == "microscopy" else effluent_h


def perfused_chip(study: Study) -> PerfusedChip:
    """Return what a tracer assay needs to know of a study's chips."""
    from chiploop.assays.perfused_tracer import PerfusedChip

    chip, flow = study.chip, study.perfusion.flow_rate_ul_h
    return PerfusedChip(chip.area_cm2, chip.channel_volume_ul, flow)


def plate_picture(plate: PlannedPlate) -> str:
    """Return a plate as 9 lines of text: S standard, B blank, X maximal and P spontaneous release, U untreated,
    D dead, T tracer of a donor, else the chip. Images are told by chip and number of places."""
    if plate.wells and plate.wells[0].kind == "image":
        places = Counter(str(well.chip) for well in plate.wells)
        return "  ".join(f"{chip}: {count} places" for chip, count in places.items())
    letters: Mapping[str, str] = {
        "standard": "S", "blank": "B", "max_release": "X", "spontaneous": "P", "untreated": "U",
        "dead": "D", "donor": "T",
    }  # fmt: skip
    shown = {well.well: letters.get(well.kind) or str(well.chip) for well in plate.wells}
    width = max([4, *(len(text) + 1 for text in shown.values())])
    columns = range(1, COLUMNS + 1)
    header = " " + "".join(f"{column:>{width}}" for column in columns)
    rows = [
        row + "".join(f"{shown.get(f'{row}{column}', '.'):>{width}}" for column in columns)
        for row in ROWS
    ]
    return "\n".join([header, *rows])
