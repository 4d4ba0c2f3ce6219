"""What stands in which well of an assay plate, and how a plate is laid out for given chips.

Belongs here: wells and their content. Not here: reading the plate (instruments, exports), signals
(immunoassay, viability), pipetting. The same map goes to the person (or the virtual technician) who
pipettes and to the assay which reads, as a JSON-able dict; so the two can not disagree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from chiploop.study_parts import Kit

WellKind = Literal[
    "standard",
    "blank",
    "sample",
    "max_release",
    "spontaneous",
    "untreated",
    "dead",
    "compound_blank",
    "compound_full",
    "donor",
    "image",
]
"""What a well holds. ``compound_blank`` and ``compound_full``: compound without cells, and with the full
signal; a tracer's ``donor`` and ``sample`` (receiver); ``image`` is no well: a place of a chip that is imaged."""
ROWS = "ABCDEFGH"
N_COLUMNS = 12
WELL = re.compile(r"([A-H])([1-9]|1[0-2])")


@dataclass(frozen=True)
class PlateWell:
    """Content of one well of a 96-well plate."""

    well: str
    """``A1`` to ``H12``."""
    kind: WellKind
    concentration: float | None = None
    """Of a standard, pg/mL; 0 in a blank of an immunoassay; None where it is not known."""
    chip: str | None = None
    """Chip that a sample (or its lysate) comes from; None for shared wells."""
    window_h: tuple[float, float] | None = None
    """Study time from and to which the sample was collected, h."""
    dilution: float = 1.0
    """Times that the sample was diluted before it went into the well."""

    def __post_init__(self) -> None:
        """Raise ValueError for content that can not be."""
        if WELL.fullmatch(self.well) is None:
            raise ValueError(f"well {self.well!r} is not on a 96-well plate (A1 to H12)")
        if self.kind not in get_args(WellKind):
            raise ValueError(f"well {self.well}: kind {self.kind!r}; allowed: {get_args(WellKind)}")
        if not self.dilution >= 1.0:
            raise ValueError(f"well {self.well}: dilution {self.dilution} is below 1")
        if self.kind == "standard" and not (self.concentration or 0.0) > 0.0:
            raise ValueError(f"well {self.well}: a standard needs a concentration above 0")
        if self.kind in ("sample", "donor", "image") and (
            self.chip is None or self.window_h is None
        ):
            raise ValueError(
                f"well {self.well}: a {self.kind} needs its chip and its collection window"
            )

    @property
    def index(self) -> tuple[int, int]:
        """Return (row, column) from 0."""
        return ROWS.index(self.well[0]), int(self.well[1:]) - 1


PlateMap = tuple[PlateWell, ...]


def _wells_by_column() -> list[str]:
    return [f"{row}{column}" for column in range(1, N_COLUMNS + 1) for row in ROWS]


def lay_out(
    fixed: list[dict[str, Any]], samples: list[dict[str, Any]], rng: np.random.Generator
) -> PlateMap:
    """Return a map with fixed wells first, by column, and samples at random places.

    Raises ValueError for more wells than a plate has.
    """
    wells = _wells_by_column()
    if len(fixed) + len(samples) > len(wells):
        raise ValueError(
            f"{len(fixed)} control and {len(samples)} sample wells do not fit on a plate of "
            f"{len(wells)}"
        )
    free = wells[len(fixed) :]
    chosen = [free[i] for i in rng.permutation(len(free))[: len(samples)]]
    content = [PlateWell(well=well, **one) for well, one in zip(wells, fixed, strict=False)]
    content += [PlateWell(well=well, **one) for well, one in zip(chosen, samples, strict=True)]
    order = {well: i for i, well in enumerate(wells)}
    return tuple(sorted(content, key=lambda one: order[one.well]))


def _sample_wells(
    chips: Sequence[str], window_h: tuple[float, float], replicates: int, dilution: float
) -> list[dict[str, Any]]:
    one = {
        "kind": "sample",
        "window_h": (float(window_h[0]), float(window_h[1])),
        "dilution": dilution,
    }
    return [{**one, "chip": chip} for chip in chips for _ in range(replicates)]


def elisa_plate_map(
    chips: Sequence[str],
    window_h: tuple[float, float],
    kit: Kit,
    replicates: int,
    dilution: float,
    rng: np.random.Generator,
) -> PlateMap:
    """Return the map of an immunoassay plate: standards and blanks in the first columns, samples at
    random.

    Samples stand at random so that an edge or a column effect does not fall on one line of chips.

    Parameters
    ----------
    window_h : study time from and to which the samples were pooled, h.
    kit : gives the standards (pg/mL) and how many wells each has.
    rng : decides the places of the samples; the same state gives the same map.

    Raises
    ------
    ValueError : more wells than a plate has, or a kit without standards.
    """
    if kit.standards is None:
        raise ValueError(f"kit {kit.name} has no standards; it is no immunoassay")
    fixed: list[dict[str, Any]] = [
        {"kind": "standard", "concentration": concentration}
        for _ in range(kit.standards.replicates)
        for concentration in kit.standards.concentrations_pg_ml
    ]
    fixed += [{"kind": "blank", "concentration": 0.0}] * kit.standards.blank_replicates
    return lay_out(fixed, _sample_wells(chips, window_h, replicates, dilution), rng)


CONTROLS: dict[str, tuple[WellKind, ...]] = {
    "ldh_release": ("blank", "max_release", "spontaneous"),
    "mtt": ("blank", "untreated", "dead"),
    "resazurin": ("blank", "untreated", "dead"),
}
"""Method of a kit -> its control wells in the order in which they are laid out."""


def viability_plate_map(
    chips: Sequence[str],
    window_h: tuple[float, float],
    kit: Kit,
    replicates: int,
    dilution: float,
    rng: np.random.Generator,
) -> PlateMap:
    """Return the map of a plate of LDH, MTT or resazurin: controls in the first columns, samples at
    random.

    Parameters and errors as ``elisa_plate_map``; the kit gives the numbers of control wells.
    """
    if kit.controls is None:
        raise ValueError(f"kit {kit.name} has no controls; it is no assay of viability")
    fixed: list[dict[str, Any]] = []
    for kind in CONTROLS[kit.method]:
        fixed += [{"kind": kind}] * (getattr(kit.controls, kind) or 0)
    return lay_out(fixed, _sample_wells(chips, window_h, replicates, dilution), rng)


def plate_to_dict(plate_id: str, assay: str, plate_map: PlateMap) -> dict[str, Any]:
    """Return a JSON-able dict of a plate: ``plate_id``, ``assay`` and its ``wells``."""
    wells = []
    for one in plate_map:
        content = asdict(one)
        content["window_h"] = list(one.window_h) if one.window_h is not None else None
        wells.append(content)
    return {"plate_id": plate_id, "assay": assay, "wells": wells}


def plate_from_dict(plate: Mapping[str, Any]) -> PlateMap:
    """Return the map of a plate from its dict; ValueError for content that can not be."""
    found: dict[str, PlateWell] = {}
    for content in plate["wells"]:
        window = content.get("window_h")
        one = PlateWell(
            well=content["well"],
            kind=content["kind"],
            concentration=content.get("concentration"),
            chip=content.get("chip"),
            window_h=(float(window[0]), float(window[1])) if window is not None else None,
            dilution=float(content.get("dilution", 1.0)),
        )
        if one.well in found:
            raise ValueError(f"well {one.well} stands in the plate map twice")
        found[one.well] = one
    return tuple(found.values())
