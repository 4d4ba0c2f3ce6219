"""The limits of a study in numbers; those that its file leaves open follow from its timeline.

Belongs here: arithmetic on a study. Not here: the keys of the file (study_parts), whether a dose
keeps the limits (safety).

A default never stands in the way of the plan itself, of plain liquid beside a held dose, or of
people who need a night: tissue that waits without flow dies. What a study states is kept as stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiploop.study import Drug, Study

DAY_H = 24.0
"""Length of the window of ``limits.day_volume``."""
PLAN_RESERVE = 0.10
"""Share beyond the planned doses that a chip may get in all."""
ROUNDING_RESERVE = 0.02
"""Share beyond flow x 24 h that rounding of rates and steps of counters may make of it."""
WEEKEND_H = 72.0
"""How long a study may wait for people, who approve doses or bring plates."""


def dose_volume_limit_ul(study: Study) -> float:
    """Return the most volume that one dose may bring to a chip: flow limit x exposure."""
    limits = study.limits
    if limits.dose_volume_ul is not None:
        return limits.dose_volume_ul
    return limits.flow_rate_ul_h * study.timeline.exposure_h


def day_volume_limit_ul(study: Study) -> float:
    """Return the most volume of all liquids that a chip may get in any 24 h: flow limit x 24 h.

    Twice the study's own flow where that is more: a held line gets plain medium beside what the
    journal must still count of its dose.
    """
    limits = study.limits
    if limits.day_volume_ul is not None:
        return limits.day_volume_ul
    flow_ul_h = max(limits.flow_rate_ul_h, 2.0 * study.perfusion.flow_rate_ul_h)
    return flow_ul_h * DAY_H * (1.0 + ROUNDING_RESERVE)


def total_volume_limit_ul(study: Study) -> float:
    """Return the most volume that all doses together may bring to a chip: the planned exposures
    and a tenth.
    """
    limits, timeline = study.limits, study.timeline
    if limits.total_volume_ul is not None:
        return limits.total_volume_ul
    dosed_h = timeline.exposure_h * timeline.cycles
    return study.perfusion.flow_rate_ul_h * dosed_h * (1.0 + PLAN_RESERVE)


def batch_risk_limit_chips(study: Study) -> float:
    """Return how many chips all doses of a cycle together may be expected to harm: as many as those of the
    largest line, were it alone at the limit of one dose.
    """
    limits = study.limits
    if limits.batch_risk_chips is not None:
        return limits.batch_risk_chips
    return limits.overdose_probability * max(len(line.chips) for line in study.lines)


def readout_age_limit_h(study: Study) -> float:
    """Return how old the newest toxicity readout may be when a dose begins.

    As old as the plan makes it and one exposure more: a cycle whose toxicity readout is missing is
    older. A weekend more where a person approves or brings plates as files.
    """
    if study.limits.readout_age_h is not None:
        return study.limits.readout_age_h
    people = study.approval.by == "person" or any(
        assay.comes_as_file for assay in study.assays.values()
    )
    return planned_readout_age_h(study) + study.timeline.exposure_h + people * WEEKEND_H


def planned_readout_age_h(study: Study) -> float:
    """Return how old the toxicity readout of a cycle is when the next exposure begins as planned."""
    timeline = study.timeline
    return timeline.exposure_h - study.sampling.effluent_h[1] + timeline.turnaround_h


def concentration_limit_nm(study: Study, drug: str | None = None) -> float:
    """Return the highest concentration of a drug that may be given; None for the study's only one."""
    limits = study.limits
    return limits.concentration_of_nm.get(drug or study.drug.name, limits.concentration_nm)


def drug_limit_ng(study: Study, drug: Drug) -> float:
    """Return the most of a drug that one chip may get in a study, in ng.

    The concentration limit, at the study's flow rate, over all planned exposures: doses given more
    often or longer than planned reach it, planned ones do not.
    """
    exposed_ul = study.perfusion.flow_rate_ul_h * study.timeline.exposure_h * study.timeline.cycles
    return drug_ng(drug, concentration_limit_nm(study, drug.name), exposed_ul)


def drug_ng(drug: Drug, concentration_nm: float, volume_ul: float) -> float:
    """Return the mass of a drug in a volume."""
    # nM x uL = 1e-15 mol; times g/mol = 1e-15 g = 1e-6 ng
    return concentration_nm * volume_ul * drug.molecular_weight_g_mol * 1e-6
