"""The end of a study's loop: what its chips taught of a donor, in the twin of the patient who this donor is.

Belongs here: which ratios and potencies a run gives to which patient, and the what-if with them. Not here: the run
(chiploop.inference), reading files, the answer itself (patient_what_if).

The donor's own potency is taken where donors differ in the run, not the population's; the ratios of the donor's
chips go through the slope between chip and patient (chip_shift). Both are draws of one posterior, taken as
independent here: what goes together in it is lost, which makes the answer wider rather than narrower.

Research use only; not for clinical decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from chiploop.errors import FileNotValid
from chiploop.inference.posterior import Posterior
from chiploop.study_patients import DonorPatient
from chiploop.twin.chip_shift import MOVED, chip_ratios
from chiploop.twin.drug_effect import PotencyDraws, chip_potency
from chiploop.twin.drug_facts import JAK_INHIBITOR, DrugFacts, drug_of_arm
from chiploop.twin.patient_file import ChipRatio, Patient
from chiploop.twin.patient_what_if import QUANTILES, WhatIf, what_if

KIND_IN_CLASS = {"antibody": "antibody", "jak_inhibitor": "jak"}
"""Kind of the twin -> what a study's class of the drug must hold: an IC50 of a kinase is no Kd of an antibody."""

Z_90 = 1.644854


def is_of_kind(drug: DrugFacts, drug_class: str) -> bool:
    """Return whether a study's class of a drug and the twin's kind of it mean the same quantity."""
    return KIND_IN_CLASS[drug.kind] in drug_class.lower()


def with_ratios(patient: Patient, posterior: Posterior, donor: str) -> Patient:
    """Return the patient with the ratios that a run found for a donor; what the file says itself stays.

    KeyError for a donor who had no part in the run.
    """
    ratios = {
        name: ChipRatio(ratio=ratio, ln_sd=min(ln_sd, 2.0))
        for name, (ratio, ln_sd) in chip_ratios(posterior, donor).items()
        if getattr(patient.chip, name) is None
    }
    return patient.model_copy(update={"chip": patient.chip.model_copy(update=ratios)})


def potencies_of_run(
    posterior: Posterior, given: Mapping[str, str], arms: Iterable[str], donor: str, run: str
) -> dict[str, PotencyDraws]:
    """Return the potency of each drug of the arms that the run's chips were given.

    Parameters
    ----------
    given
        Drug on the chips -> its class, as the study has it.
    """
    found: dict[str, PotencyDraws] = {}
    for arm in arms:
        known = drug_of_arm(arm)
        if known is None or known[0].name not in given:
            continue
        drug = known[0]
        if not is_of_kind(drug, given[drug.name]):
            raise FileNotValid(
                f"{drug.name} is of the kind {drug.kind}, but the run's {drug.name} is of the class "
                f"{given[drug.name]!r}: its concentration of half effect is another quantity"
            )
        own = drug.name if posterior.drugs.drugs else ""
        found.setdefault(drug.name, chip_potency(posterior, own, run, donor))
    return found


@dataclass(frozen=True)
class ChipsTold:
    """One thing that the chips of a donor told of the patient."""

    name: str
    median: float
    lower: float
    upper: float
    """5 and 95 %."""
    unit: str
    moves: str
    """What of the patient it moves."""


def told_by_chips(
    patient: Patient, posterior: Posterior, potencies: Mapping[str, PotencyDraws], donor: str
) -> list[ChipsTold]:
    """Return what a run tells of a patient: potencies of the drugs on the chips, ratios of the donor's chips.

    A ratio is left out where the patient's file has one of its own, which goes before it.
    """
    found = []
    for drug, draws in potencies.items():
        known = drug_of_arm(drug)
        name = "IC50" if known is None or known[0].kind == JAK_INHIBITOR else "Kd"
        low, middle, high = (float(v) for v in np.quantile(draws.half_nm, QUANTILES))
        found.append(ChipsTold(f"{name} of {drug}", middle, low, high, "nM", "its effect"))
    for ratio, (centre, ln_sd) in chip_ratios(posterior, donor).items():
        if getattr(patient.chip, ratio) is None:
            reach = float(np.exp(Z_90 * ln_sd))
            name = f"{ratio.replace('_', ' ')}, donor over all donors"
            moves = f"{MOVED[ratio]} of the disease, by the slope between chip and patient"
            found.append(ChipsTold(name, centre, centre / reach, centre * reach, "1", moves))
    return found


def as_donor(patient: Patient, flg: str, asked: DonorPatient, donor: str) -> Patient:
    """Return the patient whom a study means by a donor; FileNotValid where file and study contradict each other.

    The genotype of the donor's cells is the patient's: it is taken where the patient's file has none.
    """
    if patient.patient != asked.patient:
        raise FileNotValid(
            f"{asked.file} is the file of {patient.patient}, and donor {donor} is {asked.patient}"
        )
    if patient.flg is not None and patient.flg != flg:
        raise FileNotValid(
            f"{asked.file}: FLG {patient.flg}, but the file of donor {donor} says {flg}; it is one person"
        )
    return patient.model_copy(update={"flg": flg})


def what_if_of_donor(
    patient: Patient,
    asked: DonorPatient,
    posterior: Posterior,
    given: Mapping[str, str],
    donor: str,
    run: str,
    seed: int,
) -> tuple[WhatIf, list[ChipsTold]]:
    """Return which drug for the patient who a donor is, by the posterior of the run, and what the chips told.

    Raises FileNotValid where the run can not speak of this patient or drug.
    """
    try:
        known = with_ratios(patient, posterior, donor)
        potencies = potencies_of_run(posterior, given, asked.drugs, donor, run)
        told = told_by_chips(patient, posterior, potencies, donor)
    except (KeyError, ValueError) as why:
        raise FileNotValid(f"{run}, donor {donor}: {why.args[0] if why.args else why}") from None
    answer = what_if(
        known,
        asked.drugs,
        seed,
        asked.week,
        asked.margin_pct,
        potencies=potencies,
        n=asked.virtual_patients,
    )
    return answer, told
