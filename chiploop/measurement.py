"""Raw signals of chips and plates, and the readouts derived from them.

Belongs here: what was measured, with its uncertainty and origin. Not here: how a signal becomes a
readout (assays), where bytes come from (instruments), file formats (exports).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Censoring = Literal["none", "left", "right", "interval"]
Quality = Literal["ok", "warn", "fail"]


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
