"""Whether the twin may be read for a patient: inside of what it was built from, outside and why, or not known.

Belongs here: the verdict, aspect by aspect. Not here: the facts (source_populations), how far forecasts go wrong
outside (docs/twin_populations.md). Every number for a patient or an arm carries this statement. What no source
says is not known, and is never taken for inside.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chiploop.twin.drug_facts import PLACEBO_ARM, drug_of_arm
from chiploop.twin.patient_file import Patient
from chiploop.twin.source_populations import (
    GENOTYPE,
    KINETICS,
    TRIAL,
    Source,
    source_populations,
)

INSIDE, OUTSIDE, NOT_KNOWN = "inside", "outside", "not known"
FEWEST_PCT = 10.0
"""A group with a smaller share of a source is outside of it."""
WIDEST = 100
"""Characters of a printed line."""
ENDPOINTS = {
    "EASI75_pct": "EASI-75",
    "EASI90_pct": "EASI-90",
    "mean_pct_EASI_improvement": "mean fall of EASI",
}
OF_A_PATIENT = ("EASI75_pct", "mean_pct_EASI_improvement")
"""Endpoints that a forecast for one patient gives."""


@dataclass(frozen=True)
class Aspect:
    """One respect in which a patient is among those the twin was built from, or not."""

    aspect: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Applicability:
    """The statement that stands beside every number."""

    aspects: tuple[Aspect, ...]

    @property
    def verdict(self) -> str:
        """``outside`` where one aspect is, else ``not known`` where one is, else ``inside``."""
        verdicts = {one.verdict for one in self.aspects}
        return next(v for v in (OUTSIDE, NOT_KNOWN, INSIDE) if v in verdicts or v == INSIDE)

    @property
    def sentence(self) -> str:
        """The verdict with the aspects that it comes of."""
        named = [one.aspect for one in self.aspects if one.verdict == self.verdict]
        return f"{self.verdict} ({', '.join(named)})"

    @property
    def beware(self) -> tuple[str, ...]:
        """Whatever is not inside, each in words."""
        return tuple(
            f"{one.verdict}, {one.aspect}: {one.reason}"
            for one in self.aspects
            if one.verdict != INSIDE
        )

    def as_json(self) -> dict[str, Any]:
        """Return the statement as ``--json`` prints it."""
        return {"verdict": self.verdict, "aspects": [asdict(one) for one in self.aspects]}

    def lines(self, whom: str) -> list[str]:
        """Return the statement as it is printed; ``whom``: of whom the numbers beside it are."""
        told = [f"the twin holds for {whom}: {self.sentence}"]
        for one in self.aspects:
            words = f"{one.aspect}: {one.verdict}: {one.reason}"
            told += textwrap.wrap(words, WIDEST, initial_indent="  ", subsequent_indent="      ")
        return told


def of_patient(patient: Patient, arms: Sequence[str]) -> Applicability:
    """Return the statement for one patient and the arms that are asked for."""
    drugs = _drugs(arms)
    return Applicability(
        (
            _age(patient, drugs),
            _severity(patient, drugs),
            _ancestry(patient, drugs),
            _genotype(patient, drugs),
            *(_checked(drug, patient.setting, arms, OF_A_PATIENT) for drug in drugs),
        )
    )


def of_virtual_patients(arms: Sequence[str], setting: str) -> Applicability:
    """Return whom a trial on virtual patients stands for."""
    disease = source_populations().disease
    low, high = disease.easi or (0.0, 72.0)
    return Applicability(
        (
            Aspect("age", INSIDE, "virtual patients are adults: those of the disease model"),
            Aspect(
                "severity", INSIDE,
                f"{disease.severity}: 98 % of them have an EASI of {low:g} to {high:g} before treatment",
            ),
            Aspect(
                "ancestry", NOT_KNOWN,
                "the disease model has none; no arm is of one ancestry or speaks for one",
            ),
            Aspect("FLG", NOT_KNOWN, "the disease model has no genotypes"),
            *(_checked(drug, setting, arms, tuple(ENDPOINTS)) for drug in _drugs(arms)),
        )
    )  # fmt: skip


def of_trial_file(
    easi: Sequence[float | None] = (), age_years: Sequence[float | None] = ()
) -> Applicability:
    """Return what is known of the patients of a trial, from their EASI and ages before treatment where given."""
    why = "the trial's file does not say it, so whether the prognoses hold for these patients is not known"
    adults = "; the twin was built from adults with moderate to severe disease"
    disease = source_populations().disease
    return Applicability(
        (
            _in_span_of_all("age", "ages", age_years, disease.age_years, why + adults),
            _in_span_of_all("severity", "EASI before treatment", easi, disease.easi, why),
            Aspect("ancestry", NOT_KNOWN, why + "; the disease model has none"),
            Aspect("FLG", NOT_KNOWN, why + "; the disease model has no genotypes"),
        )
    )


def _in_span_of_all(
    aspect: str,
    what: str,
    values: Sequence[float | None],
    span: tuple[float, float] | None,
    unsaid: str,
) -> Aspect:
    """Return whether the values of all patients lie in the span of the disease model; one missing is not known."""
    given = [value for value in values if value is not None]
    if not given or span is None:
        return Aspect(aspect, NOT_KNOWN, unsaid)
    ends = f"{span[0]:g} or more" if span[1] == float("inf") else f"{span[0]:g} to {span[1]:g}"
    out = sum(not span[0] <= value <= span[1] for value in given)
    missing = len(values) - len(given)
    lacking = f"; {missing} of {len(values)} patients have none" if missing else ""
    seen = f"{what} {min(given):.3g} to {max(given):.3g}, disease model {ends}"
    if out:
        return Aspect(aspect, OUTSIDE, f"{seen}: {out} of {len(values)} patients outside{lacking}")
    return Aspect(aspect, NOT_KNOWN if missing else INSIDE, f"{seen}{lacking}")


def _drugs(arms: Sequence[str]) -> list[str]:
    names = dict.fromkeys(arm.partition(":")[0] for arm in arms)
    return [name for name in names if name != PLACEBO_ARM]


def _sources(drugs: Sequence[str], setting: str) -> list[Source]:
    """Return the disease model, and kinetics and trials of the drugs; trials of the other setting are left out."""
    known = source_populations()
    own = [one for drug in drugs for part in (KINETICS, TRIAL) for one in known.of(part, drug)]
    return [known.disease, *(one for one in own if one.setting in (None, setting))]


def _age(patient: Patient, drugs: Sequence[str]) -> Aspect:
    age = patient.age_years
    if age is None:
        return Aspect("age", NOT_KNOWN, "the file gives none; the twin was built from adults")
    return _in_spans(
        "age", f"{age} years", float(age), _sources(drugs, patient.setting), lambda one: one.age_years, " years",
        source_populations().phenotypes["child"] if age < 18 else "",
    )  # fmt: skip


def _severity(patient: Patient, drugs: Sequence[str]) -> Aspect:
    easi = patient.baseline.easi
    if easi is None:
        return Aspect("severity", NOT_KNOWN, "the file gives no EASI before treatment")
    sources = _sources(drugs, patient.setting)
    return _in_spans("severity", f"EASI {easi:.3g}", easi, sources, lambda one: one.easi, "", "")


def _in_spans(
    aspect: str,
    what: str,
    value: float,
    sources: Sequence[Source],
    span_of: Callable[[Source], tuple[float, float] | None],
    unit: str,
    known: str,
) -> Aspect:
    """Return whether a value lies in the span of every source that gives one; those without one are named."""
    out, silent = [], []
    for one in sources:
        span = span_of(one)
        if span is None:
            silent.append(one.name)
        elif not span[0] <= value <= span[1]:
            ends = (
                f"{span[0]:g} or more" if span[1] == float("inf") else f"{span[0]:g} to {span[1]:g}"
            )
            out.append(f"{one.name} {ends}{unit}")
    if out:
        return Aspect(
            aspect, OUTSIDE, f"{what}: {'; '.join(out)}" + (f". Known: {known}" if known else "")
        )
    not_given = f"; not given by {', '.join(silent)}" if silent else ""
    return Aspect(aspect, INSIDE, f"{what}: within every source that gives it{not_given}")


def _ancestry(patient: Patient, drugs: Sequence[str]) -> Aspect:
    own = patient.ancestry
    none = "the disease model has none, so nothing is known of how it holds there"
    if own is None:
        return Aspect("ancestry", NOT_KNOWN, f"the file gives none; {none}")
    known = source_populations().phenotypes.get(own, "")
    also = f". Known: {known}" if known else ""
    out = []
    for one in _sources(drugs, patient.setting):
        if own in one.differs:
            out.append(f"{one.name}: {one.differs[own]}")
        elif one.ancestry_pct is not None and one.ancestry_pct.get(own, 0.0) < FEWEST_PCT:
            out.append(f"{one.name}: {one.ancestry_pct.get(own, 0.0):g} % of its {one.n} people")
    if out:
        return Aspect("ancestry", OUTSIDE, f"{own}: {'; '.join(out)}{also}")
    return Aspect("ancestry", NOT_KNOWN, f"{own}: {none}{also}")


def _genotype(patient: Patient, drugs: Sequence[str]) -> Aspect:
    if patient.flg is None:
        return Aspect(
            "FLG", NOT_KNOWN, "the file gives no genotype, and the disease model has none"
        )
    without = [d for d in drugs if not source_populations().of(GENOTYPE, d)]
    if without or not drugs:
        named = ", ".join(without) or PLACEBO_ARM
        return Aspect("FLG", NOT_KNOWN, f"{patient.flg}: no source gives genotypes for {named}")
    cohorts = [one for drug in drugs for one in source_populations().of(GENOTYPE, drug)]
    shares = [f"{one.name} {(one.flg_pct or {})[patient.flg]:g} % of {one.n}" for one in cohorts]
    return Aspect("FLG", INSIDE, f"{patient.flg}: {', '.join(shares)}, no difference in EASI")


def _checked(drug: str, setting: str, arms: Sequence[str], endpoints: Sequence[str]) -> Aspect:
    """Return whether a drug was checked against a trial of this setting, and what it missed there."""
    trials = [one for one in source_populations().of(TRIAL, drug) if one.setting == setting]
    if not trials:
        return Aspect(drug, NOT_KNOWN, f"never checked against a trial of it, {setting}")
    asked = {_with_dose(arm) for arm in arms if arm.partition(":")[0] == drug}
    missed = [
        row
        for row in source_populations().missed
        if row.endpoint in endpoints and row.setting == setting and row.arm in asked
    ]
    named = ", ".join(one.name for one in trials)
    if missed:
        rows = ", ".join(f"{ENDPOINTS[row.endpoint]} of {row.trial} ({row.arm})" for row in missed)
        return Aspect(
            drug, OUTSIDE, f"checked on {named}; misses by more than 2 standard errors: {rows}"
        )
    return Aspect(drug, INSIDE, f"checked on {named}, {setting}")


def _with_dose(arm: str) -> str:
    """Return an arm with the dose that is meant where it names none."""
    found = drug_of_arm(arm)
    return arm if found is None else f"{found[0].name}:{found[1].name}"
