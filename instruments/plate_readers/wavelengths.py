"""Which wavelengths one read may be asked for.

Belongs here: the check that every reader makes before its first byte. Not here: how a make writes them.
"""

from __future__ import annotations


def check_wavelengths(
    reader: str, plate_id: str, asked_nm: tuple[int, ...], allowed_nm: tuple[int, int]
) -> None:
    """Raise ValueError unless there is at least one wavelength, none twice, and all in the range."""
    if not asked_nm or len(set(asked_nm)) < len(asked_nm):
        raise ValueError(
            f"wavelengths {asked_nm} of plate {plate_id} are none, or not all different"
        )
    low, high = allowed_nm
    for wavelength_nm in asked_nm:
        if not low <= wavelength_nm <= high:
            raise ValueError(
                f"wavelength {wavelength_nm} nm is outside {low}..{high} nm of {reader}"
            )
