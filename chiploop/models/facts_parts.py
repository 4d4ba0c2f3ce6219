"""The parts of the file beside a model text, as frozen values.

Belongs here: its keys, and what can be asked of them. Not here: reading the file (facts), how its parts must fit
together (facts_rules).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from chiploop.study_fields import (
    Identifier,
    Number,
    OneOf,
    Part,
    Quantity,
    as_tuple,
    problem,
)

FOLDER = Path(__file__).parent
MODELS: dict[str, Path] = {
    "skin_chip": FOLDER / "skin_chip.ant",
    "psoriasis_chip": FOLDER / "psoriasis_chip.ant",
    "virtual_skin_chip": FOLDER / "virtual_skin_chip.ant",
    "virtual_psoriasis_chip": FOLDER / "virtual_psoriasis_chip.ant",
}
"""Models that come with chiploop; the virtual ones are hidden truths of virtual chips."""
SUFFIXES = (".ant", ".xml")
"""Antimony, SBML."""

ReadoutKind = Literal["moment", "window_mean", "window_loss"]
"""Value at a moment; mean over a collection window; fall over a window."""
TEER, RELEASE = "TEER", "ldh_release"
P_APP, COVERAGE = "P_app", "junction_coverage"
MEASURED_AS: dict[str, tuple[str, str]] = {
    "moment": ("ohm*cm2", "log"),
    "window_mean": ("pg/mL", "log"),
    "window_loss": ("1", "linear"),
    P_APP: ("cm/s", "log"),
    COVERAGE: ("1", "linear"),
}
"""Kind, or readout where it is another than its kind's -> (unit, scale) in which the impedance meter, an
immunoassay, a release assay, a tracer plate and an image give it."""
AT_THE_END = (P_APP, COVERAGE)
"""Readouts of a moment that are taken once, at the end of each exposure; TEER has times of its own."""
STUDY_NAMES = {RELEASE: "viability"}
"""Readout in a model -> in a study, where they differ: the assay of viability reads what was released."""
DONOR_CONSTANTS = ("flg_dose",)
CHIP_CONSTANTS = (
    "channel_volume_ul",
    "tissue_volume_ul",
    "area_cm2",
    "permeability_drug_ul_h",
    "permeability_ligand_ul_h",
    "wall_volume_ul",
    "permeability_wall_ul_h",
    "wall_partition",
)


def _symbol(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", value):
        raise problem(f'"{value}" is not a name of a model text', "letters, digits and _")
    return value


Symbol = Annotated[str, AfterValidator(_symbol)]
"""Name of a parameter, state or formula of the model text."""


@dataclass(frozen=True)
class ReadoutSpec:
    """How one readout is taken from the model."""

    name: str
    kind: ReadoutKind
    unit: str
    scale: Literal["log", "linear"]


@dataclass(frozen=True)
class PriorSpec:
    """Prior of one estimated parameter, as the file beside the model gives it."""

    name: str
    kind: Literal["lognormal", "truncated_normal"]
    unit: str
    center: float
    """Median of a lognormal, mean of the untruncated normal."""
    spread: float
    """sd of ln(value), or sd of the untruncated normal."""
    low: float = 0.0
    high: float = math.inf


@dataclass(frozen=True)
class DonorSpread:
    """How a parameter differs between donors of one genotype."""

    name: str
    sd: float
    """Between donors: of ln(value) of a lognormal parameter, in the parameter's unit of a truncated normal one
    (before the truncation)."""
    ln_sd: float
    """Of ln(sd): how well it is known; 0 for exactly."""


class Inputs(Part):
    """Inputs of the text besides its stimuli."""

    flow_rate_ul_h: Symbol
    drug_nm: Symbol | None = None
    """Absent where a model knows no drug; no study takes such a model."""


class Stimulus(Part):
    """A cytokine that studies may name."""

    input: Symbol
    """Input of the text, nM."""
    molar_mass_g_mol: Annotated[float, Quantity("molar_mass_g_mol", above=0.0)] = Field(
        alias="molar_mass"
    )
    """Turns ng/mL into nM."""

    def nm(self, ng_ml: float) -> float:
        """Return a mass concentration in nM: ng/mL over kDa."""
        return ng_ml / (self.molar_mass_g_mol / 1000.0)


class ReadoutFacts(Part):
    """A readout: what of the text is read, and how."""

    symbol: Symbol
    kind: ReadoutKind
    unit: str
    scale: Literal["log", "linear"]


class _Estimated(Part):
    """What every estimated parameter has."""

    unit: str
    only_for: Annotated[tuple[Identifier, ...], BeforeValidator(as_tuple)] = ()
    """Readouts of which one must be read, or the parameter keeps its default; empty: always estimated."""


class Lognormal(_Estimated):
    """Prior of a positive parameter."""

    kind: Literal["lognormal"]
    median: Number
    ln_sd: Number

    def spec(self, name: str) -> PriorSpec:
        """Return the prior of a parameter."""
        return PriorSpec(name, "lognormal", self.unit, self.median, self.ln_sd)


class TruncatedNormal(_Estimated):
    """Prior of a parameter between bounds; its density at a bound is above zero."""

    kind: Literal["truncated_normal"]
    mean: float
    sd: Number
    low: float
    high: float

    def spec(self, name: str) -> PriorSpec:
        """Return the prior of a parameter."""
        return PriorSpec(
            name, "truncated_normal", self.unit, self.mean, self.sd, self.low, self.high
        )


class Spread(Part):
    """How a parameter of a hidden truth differs, as sd of ln(value)."""

    between_chips: Annotated[float, Field(ge=0)]
    between_donors: Annotated[float, Field(ge=0)]


class BetweenDonors(Part):
    """How an estimated parameter differs between donors of one genotype."""

    sd: Annotated[float, Field(gt=0)]
    ln_sd: Annotated[float, Field(ge=0)]


class ModelText(Part):
    """The file beside a model text."""

    model: Identifier
    """The text's own name: that of both files."""
    inputs: Inputs
    stimuli: dict[Identifier, Stimulus] = {}
    """Name in studies -> stimulus; the inputs of the model come in this order. A study needs one."""
    donor: dict[Annotated[str, OneOf(DONOR_CONSTANTS)], Symbol] = {}
    """What a donor's file sets -> constant of the text."""
    chip: dict[Annotated[str, OneOf(CHIP_CONSTANTS)], Symbol] = {}
    """What a chip's file sets -> constant of the text."""
    drug: dict[Identifier, Symbol] = {}
    """What a drug's file sets -> constant: ``free_fraction``, and names of ``constants`` there."""
    potency: Symbol | None = None
    """Estimated parameter whose prior is the one of the drug's file."""
    readouts: dict[Identifier, ReadoutFacts]
    viability: Symbol
    """State or formula: the viable fraction, that safety looks at."""
    virtual_truth: Identifier | None = None
    """Model of the virtual chips' hidden truth: a file beside this one, or one of ``MODELS``."""
    varies: dict[Symbol, Spread] = {}
    """Parameter -> how it differs between virtual chips and donors, where this model is the truth."""
    estimated: Annotated[
        dict[Symbol, Annotated[Lognormal | TruncatedNormal, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    between_donors: dict[Symbol, BetweenDonors] = {}
    """Estimated parameters that differ between donors; the others are every donor's."""


class ModelFacts(ModelText):
    """A model's facts with where its text stands. Equal digests mean equal models."""

    path: str
    """The model text; the facts stand beside it."""
    sha256: str
    """Digest of both files' text."""

    @property
    def constants(self) -> dict[str, str]:
        """What donor, chip and drug set -> constant of the text."""
        return {**self.donor, **self.chip, **self.drug}

    @property
    def input_symbols(self) -> tuple[str, ...]:
        """Flow rate, drug where there is one, then the stimuli in the order of the file."""
        drug = () if self.inputs.drug_nm is None else (self.inputs.drug_nm,)
        stimuli = (stimulus.input for stimulus in self.stimuli.values())
        return (self.inputs.flow_rate_ul_h, *drug, *stimuli)

    def stimuli_nm(self, ng_ml: Mapping[str, float]) -> tuple[float, ...]:
        """Return concentrations in nM in the order of the file; a stimulus that is absent is 0."""
        return tuple(s.nm(ng_ml.get(name, 0.0)) for name, s in self.stimuli.items())

    @property
    def study_readouts(self) -> dict[str, ReadoutFacts]:
        """Readouts under the names that a study uses."""
        return {STUDY_NAMES.get(name, name): spec for name, spec in self.readouts.items()}

    @property
    def assayed(self) -> tuple[str, ...]:
        """Names of readouts, in a study, that come from a plate or an image."""
        return tuple(name for name in self.study_readouts if name != TEER)

    @property
    def goal_readouts(self) -> tuple[str, ...]:
        """Names of readouts that a goal may be about: what a stimulus changes."""
        return tuple(name for name, r in self.study_readouts.items() if r.kind != "window_loss")

    def estimated_for(self, readouts: Collection[str]) -> tuple[PriorSpec, ...]:
        """Return the priors of the parameters that these readouts can tell something of."""
        return tuple(
            prior.spec(name)
            for name, prior in self.estimated.items()
            if not prior.only_for or set(prior.only_for) & set(readouts)
        )

    def donor_spreads_for(self, readouts: Collection[str]) -> tuple[DonorSpread, ...]:
        """Return how the parameters that these readouts can tell something of differ between donors."""
        estimated = {spec.name for spec in self.estimated_for(readouts)}
        return tuple(
            DonorSpread(name, spread.sd, spread.ln_sd)
            for name, spread in self.between_donors.items()
            if name in estimated
        )

    def measured(self, assays: Collection[str]) -> tuple[str, ...]:
        """Return the model's names of what a study with these assays reads, in the order of the file."""
        return tuple(n for n in self.readouts if n == TEER or STUDY_NAMES.get(n, n) in assays)

    def truth_path(self) -> Path | None:
        """Return the text of the hidden truth: beside this one, or of chiploop; None where none is named."""
        if not self.virtual_truth:
            return None
        for suffix in ("", *SUFFIXES):
            beside = Path(self.path).parent / f"{self.virtual_truth}{suffix}"
            if beside.suffix in SUFFIXES and beside.is_file():
                return beside
        return MODELS.get(self.virtual_truth)


def facts_path(text_path: Path) -> Path:
    """Return the file beside a model text."""
    return text_path.with_suffix(".yaml")
