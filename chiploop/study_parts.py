"""The parts of a study as frozen values, and the keys under which a file writes them.

Belongs here: fields, units, ranges. Not here: how a field is read (study_fields), what a study
asks and when it ends (study_goals), how parts must fit together (study_checks), files (study).

One class serves both sides. In a file the value carries the unit (``flow_rate: 60 uL/h``); in
Python and in resolved JSON the name carries it and the value is a number (``flow_rate_ul_h``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from chiploop.file_kinds import FILE_KINDS
from chiploop.study_fields import (
    Count,
    Duration,
    FlowRate,
    Fraction01,
    Identifier,
    Login,
    Number,
    Part,
    Percentage,
    PositiveConcentration,
    PositivePercentage,
    Quantity,
    Time,
    Volume,
    as_tuple,
    is_none,
    is_nothing,
    problem,
)


class Drug(Part):
    """A drug: what a dose in nM means and what the tissue model needs of it."""

    name: Identifier
    title: str = ""
    drug_class: str = Field(alias="class")
    molecular_weight_g_mol: Annotated[float, Quantity("molar_mass_g_mol", above=0.0)] = Field(
        alias="molecular_weight"
    )
    free_fraction_medium: PositivePercentage
    """Unbound part in perfusion medium, 0..1."""
    free_fraction_plasma: PositivePercentage
    """Unbound part in plasma, 0..1; only the patient twin asks for it."""
    ic50_prior_median_nm: PositiveConcentration = Field(alias="ic50_prior_median")
    """Prior median of the half-inhibiting concentration in keratinocytes; of an antibody, of its Kd."""
    ic50_prior_ln_sd: Number
    """Prior sd of ln(IC50)."""
    vehicle: str = "DMSO"
    constants: dict[Identifier, float] = {}
    """What else of this drug the tissue model asks for, by the names of the model's file."""


class Electrodes(Part):
    """Where the electrodes for TEER stand in two facing channels; docs/impedance.md has the equation."""

    position: Literal["one_end", "both_ends", "middle", "full_length"]
    length_mm: Annotated[float, Quantity("length_mm", above=0.0)] = Field(alias="length")
    """Of the channel along which the membrane lies."""
    width_mm: Annotated[float, Quantity("length_mm", above=0.0)] = Field(alias="width")
    height_mm: Annotated[float, Quantity("length_mm", above=0.0)] = Field(alias="height")
    """Of each of the two channels."""
    resistivity_ohm_cm: Annotated[float, Quantity("resistivity_ohm_cm", above=0.0)] = Field(
        alias="resistivity"
    )
    """Of the medium, at the temperature of the chip."""

    @property
    def area_cm2(self) -> float:
        """The area that the channels share."""
        return self.length_mm * self.width_mm / 100.0


class Chip(Part):
    """Geometry and electrical blank of one chip, and the tubing in front of it."""

    name: Identifier
    title: str = ""
    channel_volume_ul: Volume = Field(alias="channel_volume")
    area_cm2: Annotated[float, Quantity("area_cm2", above=0.0)] = Field(alias="area")
    tissue_volume_ul: Volume = Field(alias="tissue_volume")
    dead_volume_ul: Volume = Field(alias="dead_volume")
    """Tubing of a line from the mixing point to its chips."""
    flow_rate_ul_h: FlowRate = Field(alias="flow_rate")
    """Flow rate that the chip is made for, per chip."""
    exchange_small_ul_h: FlowRate = Field(alias="exchange_small")
    """Permeability times surface between channel and tissue, small molecules."""
    exchange_ligand_ul_h: FlowRate = Field(alias="exchange_ligand")
    """The same for cytokines."""
    wall_partition: Number
    """Drug in the PDMS wall over drug in medium at equilibrium."""
    wall_volume_ul: Volume = Field(alias="wall_volume")
    wall_exchange_ul_h: FlowRate = Field(alias="wall_exchange")
    blank_resistance_ohm: Annotated[float, Quantity("resistance_ohm", above=0.0)] = Field(
        alias="blank_resistance"
    )
    """Membrane and medium without tissue."""
    blank_resistance_sd_ohm: Annotated[float, Quantity("resistance_ohm", above=0.0)] = Field(
        alias="blank_resistance_sd"
    )
    pressure_sensor: bool = False
    electrodes: Electrodes | None = Field(default=None, exclude_if=is_nothing)
    """Absent: the field is taken as uniform (area rule)."""

    @model_validator(mode="after")
    def _membrane_lies_along_the_channel(self) -> Chip:
        if self.electrodes is not None:
            stated, shared = self.area_cm2, self.electrodes.area_cm2
            if abs(shared / stated - 1.0) > 0.05:
                raise problem(
                    f"the chip's area is {stated:g} cm2, length times width of its electrodes' channel "
                    f"{shared:g} cm2; the equation holds for a membrane along the whole channel"
                )
        return self


class Donor(Part):
    """One skin donor, by code."""

    id: Identifier
    flg: Literal["wild_type", "heterozygous", "null"]
    """Filaggrin genotype."""


class Standards(Part):
    """Calibrators of an immunoassay, each level ``fold`` times weaker than the one before."""

    highest_pg_ml: Annotated[float, Quantity("mass_concentration_pg_ml", above=0.0)] = Field(
        alias="highest"
    )
    fold: Annotated[float, Field(gt=1)]
    levels: Annotated[int, Field(ge=4, le=24)]
    replicates: Count
    blank_replicates: Count

    @property
    def concentrations_pg_ml(self) -> tuple[float, ...]:
        """(levels,), from the highest down."""
        return tuple(self.highest_pg_ml / self.fold**level for level in range(self.levels))


class Acceptance(Part):
    """When a curve and its wells count; the rules of ligand-binding assays."""

    recovery: PositivePercentage
    """Largest distance of a back-calculated calibrator from its nominal value."""
    recovery_at_limits: PositivePercentage
    """The same at the lowest and highest quantified calibrator."""
    cv: PositivePercentage
    """Largest coefficient of variation of replicates."""
    cv_at_limits: PositivePercentage
    passing_levels: PositivePercentage
    """Part of the levels that must pass."""
    least_levels: Count
    quantification: Literal["passing_standards"]
    """LLOQ and ULOQ are the lowest and the highest calibrator that pass."""


class Controls(Part):
    """Control wells of an assay of viability; which ones it needs is told by its method."""

    blank: Count
    """Wells with medium alone, and the dye where there is one."""
    max_release: Count | None = Field(default=None, exclude_if=is_nothing)
    """Wells with lysate: everything released."""
    spontaneous: Count | None = Field(default=None, exclude_if=is_nothing)
    """Wells with what untreated cells release; they make a cytotoxicity of a release."""
    untreated: Count | None = Field(default=None, exclude_if=is_nothing)
    """Wells of untreated cells: all alive."""
    dead: Count | None = Field(default=None, exclude_if=is_nothing)
    """Wells of killed cells: what turns the dye without life."""


KitMethod = Literal["elisa", "ldh_release", "mtt", "resazurin", "tracer_permeability", "microscopy"]
TAKES_EFFLUENT = ("elisa", "ldh_release", "mtt", "resazurin")
"""Methods whose samples are of the study's collection window; a tracer has windows of its own, an image none."""
WITHOUT_REFERENCE = ("tracer_permeability", "microscopy")
"""Methods that subtract no reference wavelength."""
_TURNS_DYE = {
    "blank": "the dye without cells",
    "untreated": "what counts as all alive",
    "dead": "what turns the dye without life",
}
NEEDED_CONTROLS: dict[str, dict[str, str]] = {
    "ldh_release": {"blank": "medium alone", "max_release": "what counts as all released"},
    "mtt": _TURNS_DYE,
    "resazurin": _TURNS_DYE,
}
"""Method -> control wells without which it says nothing, and why."""


class Tracer(Part):
    """How a perfused chip is given a tracer: onto its apical side, for the last hours of an exposure."""

    duration_h: Duration = Field(alias="duration")
    """From loading to the end of the exposure; effluent is collected all the while."""
    samples: Annotated[int, Field(ge=4, le=24)]
    """Windows of equal length, one sample each."""
    donor_concentration_pg_ml: Annotated[float, Quantity("mass_concentration_pg_ml", above=0.0)] = (
        Field(alias="donor_concentration")
    )
    donor_volume_ul: Volume = Field(alias="donor_volume")
    donor_dilution: Annotated[float, Field(ge=1)]
    """Brings the donor below what the inner filter bends."""
    lag_h: Time | None = Field(default=None, alias="lag")
    """Until tracer comes through; absent: fitted."""

    def windows_h(self, end_h: float) -> tuple[tuple[float, float], ...]:
        """Return the collection windows of an exposure that ends then, study time."""
        step = self.duration_h / self.samples
        edges = [end_h - self.duration_h + k * step for k in range(self.samples + 1)]
        return tuple(zip(edges[:-1], edges[1:], strict=True))


class Imaging(Part):
    """What an image of a chip shows."""

    junctions: str
    """Name of the channel with the junctions' stain."""
    nuclei: str
    """Name of the channel with the nuclei's stain, from which cells are grown."""

    @property
    def channels(self) -> tuple[str, str]:
        """In the order in which an image has them."""
        return self.junctions, self.nuclei


class PlanningSd(Part):
    """Assay spread that the planner assumes before a plate was read, as sd of ln(value)."""

    within_plate: PositivePercentage
    between_plates: PositivePercentage


class Kit(Part):
    """An assay kit: what goes on its plate and how the plate is judged."""

    name: Identifier
    title: str = ""
    method: KitMethod
    readout: Identifier
    """What a study calls it."""
    wavelength_nm: Annotated[float, Quantity("wavelength_nm", above=0.0)] = Field(
        alias="wavelength"
    )
    reference_wavelength_nm: Annotated[float, Quantity("wavelength_nm", above=0.0)] | None = Field(
        default=None, alias="reference_wavelength"
    )
    """Subtracted; a tracer's fluorescence has none."""
    excitation_wavelength_nm: Annotated[float, Quantity("wavelength_nm", above=0.0)] | None = Field(
        default=None, alias="excitation_wavelength", exclude_if=is_nothing
    )
    """Of a fluorescent tracer, whose ``wavelength`` is that of its emission."""
    sample_volume_ul: Volume | None = Field(default=None, alias="sample_volume")
    """Sample in one well; absent for an image."""
    planning: PlanningSd
    standards: Standards | None = None
    acceptance: Acceptance | None = None
    controls: Controls | None = None
    tracer: Tracer | None = Field(default=None, exclude_if=is_nothing)
    imaging: Imaging | None = Field(default=None, exclude_if=is_nothing)

    @property
    def wavelengths_nm(self) -> tuple[int, ...]:
        """What a reader is asked for: the signal, then what is subtracted where there is any."""
        asked = (self.wavelength_nm, self.reference_wavelength_nm)
        return tuple(round(nm) for nm in asked if nm is not None)

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> Kit:
        if self.reference_wavelength_nm is None and self.method not in WITHOUT_REFERENCE:
            raise problem(
                f'"reference_wavelength" is missing: {self.method} subtracts it',
                'write for example "reference_wavelength: 680 nm"',
            )
        needed = {"tracer_permeability": "excitation_wavelength_nm", "microscopy": "imaging"}
        if self.method != "microscopy" and self.sample_volume_ul is None:
            raise problem('"sample_volume" is missing', 'write for example "sample_volume: 100 uL"')
        if (name := needed.get(self.method)) is not None and getattr(self, name) is None:
            raise problem(f'"{name.removesuffix("_nm")}" is missing: {self.method} needs it')
        for name, why in NEEDED_CONTROLS.get(self.method, {}).items():
            if self.controls is None or getattr(self.controls, name) is None:
                raise problem(
                    f'"controls.{name}" is missing: {self.method} needs it, {why}',
                    f'write "{name}: 3" below controls',
                )
        return self


class Stock(Part):
    """One drug stock in the medium of a stimulus."""

    concentration_nm: PositiveConcentration = Field(alias="concentration")
    vehicle_fraction: Percentage = Field(alias="vehicle")
    """Vehicle by volume, 0..1."""
    drug: Identifier | None = Field(default=None, exclude_if=is_nothing)
    """Which drug of a study with several; absent where it has one."""
    stimulus: Identifier | None = Field(default=None, exclude_if=is_nothing)
    """In which of the study's ``arms`` it stands; absent: the usual stimulus."""


class Line(Part):
    """One manifold: its chips share a flow and a dose."""

    id: Identifier
    chips: dict[Identifier, Identifier]
    """Chip id -> donor id, in the order of the positions."""
    drug: Identifier | None = Field(default=None, exclude_if=is_nothing)
    """Which drug of a study with several its chips get, from first to last; absent where it has one."""
    arms: Annotated[tuple[Identifier, ...] | None, BeforeValidator(as_tuple)] = Field(
        default=None, exclude_if=is_none
    )
    """Which of the study's ``arms`` it has pumps for besides the usual stimulus; absent: all."""


FurtherLines = Annotated[
    tuple[Identifier, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=15)
]
"""Lines that a valve may feed a chip from besides its own; the largest valve has 16 ports."""


class Syringe(Part):
    """What stands in one pump of every line."""

    volume_ul: Volume = Field(alias="volume")
    """Filled volume."""
    diameter_mm: Annotated[float, Quantity("length_mm", above=0.0)] = Field(alias="diameter")
    """Inner diameter of the barrel."""


class Perfusion(Part):
    """How every chip is perfused."""

    flow_rate_ul_h: FlowRate = Field(alias="flow_rate")
    """Per chip."""
    syringes: dict[Identifier, Syringe]
    """Pump role (``medium``, ``stimulus``, the name of an arm or of a stock) -> syringe. A line has those of its
    own drug and arms.
    """


class Timeline(Part):
    """When what happens; study time is hours since start."""

    stimulus_from_h: Time = Field(alias="stimulus_from")
    cycles: Annotated[int, Field(ge=1, le=100)]
    exposure_h: Duration = Field(alias="exposure")
    turnaround_h: Duration = Field(alias="turnaround")


def _window(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value[0] < value[1]:
        raise problem(f"the window begins at {value[0]:g} h and must end later, not {value[1]:g} h")
    return value


class Sampling(Part):
    """What is read and collected, in hours from the start of each exposure."""

    teer_h: Annotated[
        tuple[Time, ...], BeforeValidator(as_tuple), Field(min_length=1, alias="teer")
    ]
    effluent_h: Annotated[
        tuple[Time, Time],
        BeforeValidator(as_tuple),
        AfterValidator(_window),
        Field(alias="effluent"),
    ]
    """From, to: one pooled sample per chip."""


USUAL_DEADLINE_H = 24.0


def _known_kind(name: str | None) -> str | None:
    if name is not None and name not in FILE_KINDS:
        raise problem(f'"{name}" is no kind of file that is read; {", ".join(FILE_KINDS)}')
    return name


class AssayText(Part):
    """One assay as a study file writes it."""

    kit: Identifier
    """Name of a file in protocols/kits."""
    replicates: Count
    """Wells of one sample; of an image, places of one chip."""
    dilution: Annotated[float, Field(ge=1)] = 1.0
    """Sample is diluted this many times before it goes on the plate."""
    plate_file: str | None = None
    """Reader export that stands in for the reader, e.g. ``plates/{assay}_cycle{cycle}.txt``."""
    export: Annotated[
        str | None,
        AfterValidator(_known_kind),
        Field(default=None, exclude_if=is_nothing, json_schema_extra={"enum": [*FILE_KINDS, None]}),
    ]
    """Program of the reader elsewhere; its export is waited for in the folder that lab.toml names."""
    deadline_h: Annotated[
        Duration | None, Field(default=None, alias="deadline", exclude_if=is_nothing)
    ]
    """How long after the exposure the export is waited for before a person is asked; 24 h where not stated."""

    @property
    def comes_as_file(self) -> bool:
        """True where no reader of the bench is asked."""
        return self.plate_file is not None or self.export is not None

    @property
    def awaited_h(self) -> float:
        """How long an export is waited for."""
        return USUAL_DEADLINE_H if self.deadline_h is None else self.deadline_h

    def plate_path(self, readout: str, cycle: int) -> str | None:
        """Return the reader export of a cycle (from 1); None where the reader itself is asked."""
        if self.plate_file is None:
            return None
        return self.plate_file.replace("{assay}", readout).replace("{cycle}", str(cycle))


class Assay(AssayText):
    """One assay with its kit."""

    kit: Kit  # type: ignore[assignment]


class Limits(Part):
    """What is never passed, whatever the model proposes."""

    concentration_nm: PositiveConcentration = Field(alias="concentration")
    concentration_of_nm: dict[Identifier, PositiveConcentration] = Field(
        default={}, alias="concentration_of", exclude_if=is_nothing
    )
    """Drug of a study with several -> its own limit where that is lower."""
    fold_step: Annotated[float, Field(gt=1)]
    """No dose above this multiple of the highest dose of the same drug read out."""
    vehicle_fraction: PositivePercentage = Field(alias="vehicle")
    flow_rate_ul_h: FlowRate = Field(alias="flow_rate")
    """Per chip."""
    dose_volume_ul: Volume | None = Field(default=None, alias="dose_volume")
    """Per chip, in one dose; where it is not stated, flow_rate over one exposure."""
    day_volume_ul: Volume | None = Field(default=None, alias="day_volume")
    """Per chip, of all liquids in any 24 h; where it is not stated, flow_rate over 24 h (twice the
    perfusion's where that is more) and 2 %.
    """
    total_volume_ul: Volume | None = Field(default=None, alias="total_volume")
    """Per chip, of all doses together; where it is not stated, the planned ones and 10 %."""
    readout_age_h: Duration | None = Field(default=None, alias="readout_age")
    """Age of the newest viability readout at which a dose with drug may still begin; where it is
    not stated, as planned and one exposure more, and 72 h more where people approve or bring plates.
    """
    viability: Fraction01
    """Below this a chip counts as harmed."""
    overdose_probability: Fraction01
    """Largest accepted probability that a dose harms."""
    batch_risk_chips: Annotated[float, Field(gt=0)] | None = None
    """Most chips that all doses of a cycle together may be expected to bring below ``viability``; where
    it is not stated, overdose_probability times the chips of the largest line: as if one line alone
    were at its limit.
    """
    vehicle_lines: Annotated[int, Field(ge=0, le=100)] = 0
    """Lines that get no drug in every cycle, at least."""


class Approval(Part):
    """Who lets a proposed dose go to the pumps."""

    by: Literal["auto", "person"]
    expires_h: Duration | None = Field(default=None, alias="expires", exclude_if=is_none)
    """How long a proposal may be approved after it was put to people; absent: until the next one. In study time
    where the run is simulated, by the wall clock otherwise."""
    two_above: Percentage | None = Field(default=None, exclude_if=is_none)
    """Where the risk of any line is above this, two persons must approve; absent: one is enough."""
    approvers: Annotated[tuple[Login, ...] | None, BeforeValidator(as_tuple)] = Field(
        default=None, exclude_if=is_none
    )
    """Logins that may approve; absent: everybody who can write the record. Anybody may reject."""

    @model_validator(mode="after")
    def _people_are_asked_and_are_enough(self) -> Approval:
        people = {
            "expires": self.expires_h,
            "two_above": self.two_above,
            "approvers": self.approvers,
        }
        stated = [name for name, value in people.items() if value is not None]
        if self.by == "auto" and stated:
            raise problem(
                f"{', '.join(stated)} can not stand beside by: auto, where nobody is asked",
                "write by: person",
            )
        if self.approvers is not None:
            least = 1 if self.two_above is None else 2
            if len(set(self.approvers)) < max(least, len(self.approvers)):
                raise problem(
                    f"approvers names {len(set(self.approvers))} different logins in "
                    f"{len(self.approvers)} places; each stands once, and {least} at least are needed"
                )
        return self


USUAL_VARIATION: dict[str, dict[str, float]] = {
    "between_chips": {
        "moment": 0.10, "window_mean": 0.15, "window_loss": 0.02, "P_app": 0.15, "junction_coverage": 0.02,
    },
    "between_donors": {
        "moment": 0.15, "window_mean": 0.20, "P_app": 0.20, "junction_coverage": 0.02,
    },
    "between_readings": {
        "moment": 0.03, "window_mean": 0.05, "P_app": 0.05, "junction_coverage": 0.01,
    },
}  # fmt: skip
"""Where a study states none: spread -> kind of readout (TEER, secreted protein, release), or readout, -> sd. Those
of P_app and junction coverage are ours, orders of magnitude."""


class Variation(Part):
    """Spread that is not the assay's, as sd of ln(value).

    The defaults are the lower half of what is told of skin models (TEER: 10 to 15 % between
    replicates, 25 to 40 % between donors without adjustment for genotype).
    """

    between_chips: dict[Identifier, Percentage] = {}
    between_donors: dict[Identifier, Percentage] = {}
    between_readings: dict[Identifier, Percentage] = {}
    """Of one chip read again, beyond the assay's own sd: position, temperature, pipetting."""
    dose: Percentage = 0.05
    """Of what a line gives against what is noted: stock, pump, tubing; the same for all its doses."""
    chip_tails: Annotated[float, Field(ge=2)] | None = None
    """Degrees of freedom of Student's t in place of a Gaussian for each chip's residuals, so that an outlying
    chip pulls little; absent: Gaussian."""

    def completed(self, kinds: Mapping[str, str]) -> Variation:
        """Return the spread of every readout (name -> kind): as stated, otherwise the usual one."""
        spreads = {
            spread: {
                name: usual.get(name, usual.get(kind, 0.0))
                for name, kind in kinds.items()
                if name in usual or kind in usual
            }
            | getattr(self, spread)
            for spread, usual in USUAL_VARIATION.items()
        }
        return Variation(**spreads, dose=self.dose, chip_tails=self.chip_tails)
