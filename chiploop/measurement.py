"""Raw signals of chips and plates, and the readouts derived from them.

Belongs here: what was measured, with its uncertainty and origin. Not here: how a signal becomes a
readout (assays), where bytes come from (instruments), file formats (exports).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # who asks a record need not load it
    import numpy as np

Censoring = Literal["none", "left", "right", "interval"]
Quality = Literal["ok", "warn", "fail"]
Stage = Literal["raw", "calibrated"]
SdKind = Literal["", "tech", "fit", "model"]
"""Where an sd comes from: scatter of technical replicates, a fit's covariance, an assumed noise model."""
Channel = Literal["", "apical", "basal", "membrane"]
"""Side of the chip that a value is of; empty for what is of no chip, such as a standard."""


@dataclass(frozen=True)
class ImpedanceSpectrum:
    """Impedance of one chip across its barrier."""

    chip_id: str
    time_h: float
    """Hours since the study began."""
    frequency_hz: np.ndarray
    """(n_freq,), in the order measured."""
    impedance_ohm: np.ndarray
    """(n_freq,), complex; capacitive parts have a negative imaginary part."""
    status: tuple[int, ...] = ()
    """(n_freq,) status bits of the meter; 0 is a good point."""


@dataclass(frozen=True)
class AbsorbancePlate:
    """Absorbance of one plate, as one reader pass gave it."""

    plate_id: str
    time_h: float
    absorbance: dict[int, np.ndarray]
    """Wavelength in nm -> (rows, columns) absorbance in OD; NaN where the reader gave no number."""
    flags: dict[tuple[int, str], str] = field(default_factory=dict)
    """(wavelength nm, well) -> typed reason for a missing number, e.g. ``saturated``."""
    temperature_c: float = math.nan
    raw_sha256: str = ""
    """Digest of the raw bytes or file in the record."""
    locators: dict[tuple[int, str], str] = field(default_factory=dict)
    """(wavelength nm, well) -> cell of the raw file, ``section!row,column``; none for a reader's own answer."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Well -> who left it out and why; its number stays where it is and is not calculated with."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One raw or calibrated number on the way from a signal to a readout, such as that of one well.

    Where ``censoring`` is not ``none`` the ``value`` is NaN and ``lower``/``upper`` hold the bounds.
    """

    key: str
    """Its name within the run: ``<plate>/raw/450/A1``."""
    stage: Stage
    readout: str
    """The readout that it leads to."""
    quantity: str
    """What the number is: ``absorbance 450 nm``, ``concentration``, ``barrier resistance``."""
    value: float
    unit: str
    time_h: float
    """Hours since the study began; the end of the window for a collected sample."""
    chip_id: str = ""
    """Empty for wells that several chips share: standards, blanks."""
    channel: Channel = ""
    analyte: str = ""
    role: str = ""
    """What stands in the well: ``standard``, ``blank``, ``sample``, ``max_release``."""
    replicate: int = 0
    """From 1 within a sample or level; 0 where there are no replicates."""
    dilution: float = math.nan
    window_start_h: float | None = None
    sd: float = math.nan
    sd_kind: SdKind = ""
    scale: Literal["log", "linear"] = "linear"
    n: int = 1
    censoring: Censoring = "none"
    lower: float = -math.inf
    upper: float = math.inf
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()
    method: str = ""
    plate: str = ""
    well: str = ""
    raw_sha256: str = ""
    locator: str = ""
    """Its cell in the raw file, ``section!row,column``."""
    cycle: int = 0
    parents: tuple[str, ...] = ()
    """Keys of the measurements that it was calculated from."""


@dataclass(frozen=True)
class Derivation:
    """How readouts of one plate or spectrum came about."""

    measurements: tuple[Measurement, ...] = ()
    calibration_key: str = ""
    """Name within the run of what the calibration rests on: a plate's curve or controls; empty for none."""
    calibration: object = None
    """The judged curve or the controls, as the assay gave them."""


@dataclass(frozen=True)
class Readout:
    """One derived value of one chip with its uncertainty.

    Where ``censoring`` is not ``none`` the ``value`` is NaN and ``lower``/``upper`` hold the bounds.
    """

    chip_id: str
    readout: str
    """By the model's name: ``TEER``, ``CCL26``, ``ldh_release`` ..."""
    value: float
    unit: str
    sd: float
    """Assay sd: of ln(value) on the log scale, in ``unit`` on the linear scale."""
    scale: Literal["log", "linear"]
    time_h: float
    """Hours since the study began; the end of the window for a collected sample."""
    window_start_h: float | None = None
    """Start of the collection window; None for a reading at one moment."""
    censoring: Censoring = "none"
    lower: float = -math.inf
    upper: float = math.inf
    n: int = 1
    """Replicates behind the value."""
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()
    method: str = ""
    plate: str = ""
    wells: tuple[str, ...] = ()
    raw_sha256: str = ""
    cycle: int = 0
    curve: tuple[float, ...] = ()
    """How the value leans on each independent error of its plate's standard curve, on the residual's scale; the
    sum of the squares is the part of ``sd`` squared that the readouts of the plate share."""
    channel: Channel = ""
    sd_kind: SdKind = ""
    parents: tuple[str, ...] = ()
    """Keys of the measurements that it was derived from; empty where none are on record."""


@dataclass(frozen=True, slots=True)
class WellReadout:
    """One number (or its typed absence) of one well of a vendor export."""

    well: str
    sample: str
    analyte: str
    value: float
    unit: str
    censoring: Censoring = "none"
    lower: float = -math.inf
    upper: float = math.inf
    qc: Quality = "ok"
    reasons: tuple[str, ...] = ()
