"""How large a pixel is: what the file says, what a person declares, and what to make of both.

Belongs here: the decision. Not here: reading tags (tiff_structure) or OME-XML (ome). A size is never guessed:
without one that can be trusted nothing is measured in um, and everything here is.
"""

from __future__ import annotations

import re
from typing import Final

from chiploop.errors import FileNotValid, WrongUse

UM_PER_UNIT: Final = {2: 25_400.0, 3: 10_000.0}
"""Resolution unit of a TIFF (inch, cm) -> um."""
PLACEHOLDERS: Final = frozenset({1.0, 72.0, 96.0, 100.0, 150.0, 200.0, 240.0, 300.0, 600.0, 1200.0})
"""Pixels per unit that programs write who know of no microscope: of screens and printers."""
AGREE: Final = 0.01
MICRONS: Final = re.compile(rb"^unit=(micron|um|\xb5m|\xc2\xb5m|\\u00B5m)s?\s*$", re.MULTILINE)
SIZE: Final = re.compile(
    r"^\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(um|\u00b5m|\u03bcm|nm|mm)\s*$"
)


def declared_size_um(text: str) -> float:
    """Return a declared pixel size in um; WrongUse for anything but a number with its unit."""
    found = SIZE.match(text)
    value = float(found[1]) * {"nm": 1e-3, "mm": 1e3}.get(found[2], 1.0) if found else 0.0
    if not 0.0 < value < 1000.0:
        raise WrongUse(
            f"pixel size '{text}'; allowed is a number above 0 with its unit (um, nm or mm), such as 0.325um"
        )
    return value


def tagged_size_um(
    resolution: tuple[float, float] | None, unit: int, description: bytes
) -> float | None:
    """Return the size that a plain TIFF's resolution tags claim; None where they claim none.

    ImageJ gives pixels per micron and names the unit in the description.
    """
    if resolution is None or abs(resolution[0] / resolution[1] - 1.0) > AGREE:
        return None
    if description.startswith(b"ImageJ="):
        return 1.0 / resolution[0] if MICRONS.search(description) else None
    if unit not in UM_PER_UNIT or round(resolution[0], 3) in PLACEHOLDERS:
        return None
    return UM_PER_UNIT[unit] / resolution[0]


def settle_pixel_size(
    name: str, from_ome: float | None, from_tags: float | None, declared: float | None
) -> tuple[float, tuple[str, ...]]:
    """Return the pixel size in um and what a person should know of it.

    Raises
    ------
    FileNotValid : no size at all, or a declared one that OME-XML contradicts.
    """
    if from_ome is not None:
        if declared is not None and abs(declared / from_ome - 1.0) > AGREE:
            raise FileNotValid(
                f"{name}: its OME-XML says pixels of {from_ome:g} um, declared are {declared:g} um; "
                "which is right must be settled first"
            )
        return from_ome, ()
    if declared is None:
        hint = f"; its resolution tags would be {from_tags:g} um" if from_tags is not None else ""
        raise FileNotValid(
            f"{name}: no PhysicalSize in OME-XML, so the size of a pixel is not known; declare it "
            f"(--pixel-size 0.325um){hint}"
        )
    if from_tags is not None and abs(declared / from_tags - 1.0) > AGREE:
        return declared, (
            f"declared pixels of {declared:g} um; the file's resolution tags say {from_tags:g} um",
        )
    return declared, ()
