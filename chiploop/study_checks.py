"""How the parts of a study must fit together.

Belongs here: one short rule per fact, judged on parsed parts. Not here: goals and stop rules
(study_goal_checks), schedules (study_schedule_checks), whose drug is where (study_drug_checks), shape, units and
ranges of one part (study_parts), what pumps can do (dosing).
A rule runs as soon as the parts that it needs are right, so that all problems come at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chiploop.errors import Problem
from chiploop.file_kinds import FILE_KINDS
from chiploop.study_arm_checks import ARM_RULES
from chiploop.study_drug_checks import DRUG_RULES, limit_nm
from chiploop.study_findings import Found, Rule, unknown
from chiploop.study_goal_checks import GOAL_RULES
from chiploop.study_limits import DAY_H
from chiploop.study_parts import TAKES_EFFLUENT
from chiploop.study_patients import PATIENT_RULES
from chiploop.study_schedule_checks import SCHEDULE_RULES
from chiploop.study_valve_checks import VALVE_RULES
from chiploop.study_yaml import Place, YamlText, field_name

PLATE_WELLS = 96
METHOD_KINDS = {
    "elisa": "window_mean", "ldh_release": "window_loss", "mtt": "window_loss",
    "resazurin": "window_loss", "tracer_permeability": "moment", "microscopy": "moment",
}  # fmt: skip
"""Method of a kit that a study takes -> kind of the readouts that it gives."""


def _chips_are_unique(lines: Any) -> Iterator[Found]:
    chips: dict[str, str] = {}
    ids: set[str] = set()
    for position, line in enumerate(lines):
        if line.id in ids:
            yield Found(("lines", position, "id"), f'line "{line.id}" is here twice')
        ids.add(line.id)
        if not line.chips:
            yield Found(("lines", position, "chips"), f"line {line.id} has no chip")
        for chip in line.chips:
            if chip in chips:
                yield Found(
                    ("lines", position, "chips", chip),
                    f'chip "{chip}" is also on line {chips[chip]}; a chip has one place',
                )
            chips.setdefault(chip, line.id)


def _donors_are_known(lines: Any, donors: Any) -> Iterator[Found]:
    for position, line in enumerate(lines):
        for chip, donor in line.chips.items():
            if donor not in donors:
                yield Found(
                    ("lines", position, "chips", chip),
                    f'donor "{donor}" of chip {chip} is not under donors',
                    f"known: {', '.join(donors)}",
                )


def _stocks_have_free_names(stocks: Any) -> Iterator[Found]:
    for name in stocks:
        if name in ("medium", "stimulus"):
            yield Found(("stocks", name), f'"{name}" is the name of a pump without drug')
    strengths = [(s.drug, s.stimulus, s.concentration_nm) for s in stocks.values()]
    if len(set(strengths)) != len(strengths):
        yield Found(("stocks",), "two stocks have the same concentration; one is enough")


def _stocks_can_be_used(stocks: Any, limits: Any) -> Iterator[Found]:
    for name, stock in stocks.items():
        largest_part = min(1.0, limit_nm(limits, stock.drug) / stock.concentration_nm)
        vehicle = stock.vehicle_fraction * largest_part
        if vehicle > limits.vehicle_fraction * (1 + 1e-9):
            yield Found(
                ("stocks", name, "vehicle"),
                f"up to the concentration limit this stock brings {vehicle:.4%} vehicle; "
                f"the limit is {limits.vehicle_fraction:.4%}",
                "make the stock with less vehicle, or lower limits.concentration",
            )


def _first_doses_fit(first_doses_nm: Any, lines: Any) -> Iterator[Found]:
    if len(first_doses_nm) != len(lines):
        yield Found(
            ("first_doses",),
            f"{len(first_doses_nm)} first doses for {len(lines)} lines; each line gets one",
        )


def _first_doses_are_allowed(first_doses_nm: Any, limits: Any, lines: Any) -> Iterator[Found]:
    for position, (dose_nm, line) in enumerate(zip(first_doses_nm, lines, strict=False)):
        most_nm = limit_nm(limits, line.drug)
        if dose_nm > most_nm:
            key = "concentration_of" if line.drug in limits.concentration_of_nm else "concentration"
            yield Found(
                ("first_doses", position),
                f"{dose_nm:g} nM is above limits.{key}, {most_nm:g} nM",
            )


def _first_doses_can_be_made(first_doses_nm: Any, stocks: Any, lines: Any) -> Iterator[Found]:
    for position, (dose_nm, line) in enumerate(zip(first_doses_nm, lines, strict=False)):
        drugs = [s for s in stocks.values() if s.drug == line.drug]
        own = [s.concentration_nm for s in drugs if s.stimulus is None]
        if own and dose_nm > max(own):
            yield Found(
                ("first_doses", position),
                f"{dose_nm:g} nM is stronger than the strongest stock, {max(own):g} nM",
            )
        elif drugs and not own and dose_nm > 0.0:
            yield Found(
                ("first_doses", position),
                "no stock of its drug stands in the usual stimulus, in which first doses are given",
            )


def _flow_is_allowed(perfusion: Any, limits: Any) -> Iterator[Found]:
    if perfusion.flow_rate_ul_h > limits.flow_rate_ul_h:
        yield Found(
            ("perfusion", "flow_rate"),
            f"{perfusion.flow_rate_ul_h:g} uL/h is above limits.flow_rate, "
            f"{limits.flow_rate_ul_h:g} uL/h",
        )


def _volume_limits_leave_room(limits: Any, perfusion: Any, timeline: Any) -> Iterator[Found]:
    dose_ul = perfusion.flow_rate_ul_h * timeline.exposure_h
    planned = (
        ("dose_volume", limits.dose_volume_ul, dose_ul, "one dose"),
        ("day_volume", limits.day_volume_ul, perfusion.flow_rate_ul_h * DAY_H, "24 h"),
        ("total_volume", limits.total_volume_ul, dose_ul * timeline.cycles, "all doses"),
    )
    for key, limit_ul, needed_ul, what in planned:
        if limit_ul is not None and needed_ul > limit_ul * (1 + 1e-9):
            yield Found(
                ("limits", key),
                f"{what} as planned brings {needed_ul:g} uL to a chip; the limit is {limit_ul:g} uL",
                f"at least {needed_ul:g} uL, or a shorter or slower plan",
            )


def _readouts_are_young_enough(limits: Any, sampling: Any, timeline: Any) -> Iterator[Found]:
    planned_h = timeline.exposure_h - sampling.effluent_h[1] + timeline.turnaround_h
    limit_h = limits.readout_age_h
    if limit_h is not None and timeline.cycles > 1 and planned_h > limit_h * (1 + 1e-9):
        yield Found(
            ("limits", "readout_age"),
            f"as planned a dose begins {planned_h:g} h after the last readout; "
            f"the limit is {limit_h:g} h",
        )


def _sampling_is_within_the_exposure(sampling: Any, timeline: Any) -> Iterator[Found]:
    end_h = timeline.exposure_h
    for position, time_h in enumerate(sampling.teer_h):
        if time_h > end_h:
            yield Found(
                ("sampling", "teer", position),
                f"{time_h:g} h is after the end of the exposure, {end_h:g} h",
            )
    if len(set(sampling.teer_h)) != len(sampling.teer_h):
        yield Found(("sampling", "teer"), "a time is here twice")
    if sampling.effluent_h[1] > end_h:
        yield Found(
            ("sampling", "effluent", 1),
            f"collection ends at {sampling.effluent_h[1]:g} h, after the exposure, {end_h:g} h",
        )


def _assays_are_of_the_model(assays: Any, tissue: Any) -> Iterator[Found]:
    for readout, assay in assays.items():
        place: Place = ("assays", readout)
        if readout not in tissue.assayed:
            what = f"readout of {tissue.model} that comes from a plate"
            yield from unknown(readout, tissue.assayed, place, what)
        elif tissue.study_readouts[readout].kind != METHOD_KINDS.get(assay.kit.method):
            yield Found(
                (*place, "kit"),
                f"{readout} is not read by the method of {assay.kit.name}, {assay.kit.method}",
            )


def _variation_is_of_the_model(variation: Any, tissue: Any) -> Iterator[Found]:
    for spread in ("between_chips", "between_donors", "between_readings"):
        for name in getattr(variation, spread):
            place: Place = ("variation", spread, name)
            yield from unknown(name, tissue.study_readouts, place, f"readout of {tissue.model}")


def _vehicle_lines_are_in_the_plan(limits: Any, first_doses_nm: Any) -> Iterator[Found]:
    wanted, given = limits.vehicle_lines, sum(dose_nm == 0.0 for dose_nm in first_doses_nm)
    if wanted >= len(first_doses_nm):
        yield Found(
            ("limits", "vehicle_lines"),
            f"{wanted} of {len(first_doses_nm)} lines leave none for drug",
        )
    elif given < wanted:
        yield Found(
            ("first_doses",),
            f"{given} of the first doses are 0 nM; limits.vehicle_lines asks for {wanted}",
        )


def _kits_measure_their_readout(assays: Any) -> Iterator[Found]:
    for readout, assay in assays.items():
        if assay.kit.readout != readout:
            yield Found(
                ("assays", readout, "kit"),
                f'kit "{assay.kit.name}" measures {assay.kit.readout}, not {readout}',
            )


def _plate_file_differs_by_cycle(assays: Any, timeline: Any) -> Iterator[Found]:
    for readout, assay in assays.items():
        template = assay.plate_file
        if template is None:
            continue
        place = ("assays", readout, "plate_file")
        strange = re.findall(r"[{}]", re.sub(r"\{(assay|cycle)\}", "", template))
        if strange or not template.strip():
            yield Found(
                place,
                f'"{template}" is not a template of a file name',
                'write for example "plates/{assay}_cycle{cycle}.txt"',
            )
        elif "{cycle}" not in template and timeline.cycles > 1:
            yield Found(place, "every cycle would read the same file", "put {cycle} into the name")


def _plates_come_one_way(assays: Any) -> Iterator[Found]:
    for readout, assay in assays.items():
        if assay.export is not None and assay.plate_file is not None:
            yield Found(
                ("assays", readout, "export"),
                "plate_file names the file already",
                "write one of them: plate_file for a file whose name is known, export for a watched folder",
            )
        elif assay.export is None and assay.deadline_h is not None:
            yield Found(
                ("assays", readout, "deadline"), "nothing is waited for: no export is named"
            )


def _file_holds_the_signal(assays: Any) -> Iterator[Found]:
    for readout, assay in assays.items():
        method = assay.kit.method
        fitting = [name for name, kind in FILE_KINDS.items() if method in kind.methods]
        if assay.export is not None and assay.export not in fitting:
            yield Found(
                ("assays", readout, "export"),
                f"no {assay.export} file of {assay.kit.name}, {method}, is read; {', '.join(fitting)}",
            )
        elif assay.export is None and method not in TAKES_EFFLUENT:
            yield Found(
                ("assays", readout),
                f"no instrument of the bench reads {assay.kit.name}, {method}: it comes as a file",
                f'write "export: {fitting[0]}"',
            )


def _tracer_comes_after_the_effluent(
    assays: Any, sampling: Any, timeline: Any, perfusion: Any
) -> Iterator[Found]:
    for readout, assay in assays.items():
        given = assay.kit.tracer
        if assay.kit.method != "tracer_permeability":
            continue
        place = ("assays", readout, "kit")
        if given is None:
            yield Found(
                place, f'kit "{assay.kit.name}" does not say how chips are given the tracer'
            )
            continue
        from_h = timeline.exposure_h - given.duration_h
        if sampling.effluent_h[1] > from_h + 1e-9:
            yield Found(
                ("sampling", "effluent", 1),
                f"collection ends at {sampling.effluent_h[1]:g} h and the tracer of {readout} is given from "
                f"{from_h:g} h on; no other assay's sample may hold tracer",
                f"{from_h:g} h at most",
            )
        has_ul = given.duration_h / given.samples * perfusion.flow_rate_ul_h * assay.dilution
        needs_ul = assay.replicates * assay.kit.sample_volume_ul
        if needs_ul > has_ul * (1 + 1e-9):
            yield Found(
                place,
                f"a sample of {readout} is {has_ul:g} uL once it is diluted; its wells need {needs_ul:g} uL",
                "fewer or longer windows (tracer of the kit), or a higher dilution",
            )


def _plate_has_room(assays: Any, lines: Any) -> Iterator[Found]:
    chips = sum(len(line.chips) for line in lines)
    for readout, assay in assays.items():
        wells = chips * assay.replicates + calibration_wells(assay.kit)
        if assay.kit.tracer is not None:  # samples, and the donor at begin and end
            wells += chips * assay.replicates * (assay.kit.tracer.samples + 1)
        if wells > PLATE_WELLS:
            yield Found(
                ("assays", readout, "replicates"),
                f"{chips} chips in {assay.replicates} replicates need {wells} wells with the "
                f"calibration; a plate has {PLATE_WELLS}",
            )


def _effluent_is_enough(assays: Any, sampling: Any, perfusion: Any) -> Iterator[Found]:
    hours = sampling.effluent_h[1] - sampling.effluent_h[0]
    pooled_ul = hours * perfusion.flow_rate_ul_h
    needed_ul = sum(
        assay.replicates * assay.kit.sample_volume_ul / assay.dilution
        for assay in assays.values()
        if assay.kit.method in TAKES_EFFLUENT
    )
    if needed_ul > pooled_ul:
        yield Found(
            ("sampling", "effluent"),
            f"one chip gives {pooled_ul:g} uL in this window; its wells need {needed_ul:g} uL",
        )


def calibration_wells(kit: Any) -> int:
    """Return how many wells of a plate hold standards, blanks and controls."""
    wells = 0
    if kit.standards is not None:
        wells += kit.standards.levels * kit.standards.replicates + kit.standards.blank_replicates
    if kit.controls is not None:
        controls = kit.controls
        wells += controls.blank + sum(
            n or 0
            for n in (
                controls.max_release,
                controls.spontaneous,
                controls.untreated,
                controls.dead,
            )  # fmt: skip
        )
    return wells


RULES: tuple[tuple[tuple[str, ...], Rule], ...] = (
    (("lines",), _chips_are_unique),
    (("lines", "donors"), _donors_are_known),
    *VALVE_RULES,
    *ARM_RULES,
    *DRUG_RULES,
    (("stocks",), _stocks_have_free_names),
    (("stocks", "limits"), _stocks_can_be_used),
    (("first_doses_nm", "lines"), _first_doses_fit),
    (("first_doses_nm", "limits", "lines"), _first_doses_are_allowed),
    (("first_doses_nm", "stocks", "lines"), _first_doses_can_be_made),
    (("perfusion", "limits"), _flow_is_allowed),
    (("limits", "perfusion", "timeline"), _volume_limits_leave_room),
    (("limits", "sampling", "timeline"), _readouts_are_young_enough),
    (("sampling", "timeline"), _sampling_is_within_the_exposure),
    (("assays", "tissue"), _assays_are_of_the_model),
    (("variation", "tissue"), _variation_is_of_the_model),
    (("limits", "first_doses_nm"), _vehicle_lines_are_in_the_plan),
    *GOAL_RULES,
    *PATIENT_RULES,
    *SCHEDULE_RULES,
    (("assays",), _kits_measure_their_readout),
    (("assays", "timeline"), _plate_file_differs_by_cycle),
    (("assays",), _plates_come_one_way),
    (("assays",), _file_holds_the_signal),
    (("assays", "sampling", "timeline", "perfusion"), _tracer_comes_after_the_effluent),
    (("assays", "lines"), _plate_has_room),
    (("assays", "sampling", "perfusion"), _effluent_is_enough),
)
"""Parts that a rule needs -> the rule."""


def check_parts(parts: dict[str, Any], text: YamlText) -> list[Problem]:
    """Return what does not fit together among the parts that are right by themselves.

    Parameters
    ----------
    parts
        Field name of Study -> parsed part; parts that are wrong are absent or None.
    text
        Where the parts stand in the file.
    """
    problems = []
    for needed, rule in RULES:
        if all(parts.get(name) is not None for name in needed):
            for found in rule(*(parts[name] for name in needed)):
                problems.append(
                    Problem(
                        text.line(found.place), field_name(found.place), found.message, found.hint
                    )
                )
    return problems
