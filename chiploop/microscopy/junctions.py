"""Where junctions are: the response to bright lines, the level of an intact junction, the mask.

Belongs here: from an image of a junction protein to a mask and its centre lines. Not here: cells, and which
part of their border is covered (interfaces).

A line's response is the negative Laplacian of Gaussian. Half of an intact junction's response is the border
between covered and not: at the end of a junction the response is just half, so gaps keep their length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_laplace

from chiploop.microscopy.light import EVEN, Light, fit_light
from chiploop.microscopy.noise import laplacian_gain, pixel_noise_sd
from chiploop.microscopy.working_grid import coarse, pixels_across

WORKING_PIXEL_UM = 0.7
LINE_SIGMA_UM = 0.65
"""Of the Laplacian of Gaussian: a junction of 1 to 2 um full width at half maximum, as a 20x to 63x objective
shows them."""
LINE_SIGMA_PX = 1.0
"""At least, in working pixels; below, the Laplacian is not resolved."""
COARSEST_PIXEL_UM = 1.0
COVERED_FROM = 0.5
"""Of a junction's response: there it ends."""
MASK_FROM = 0.35
"""Of an intact junction's response; the mask is for crossings and pictures, and holds pale junctions too."""
FAINTEST = (0.2, 0.35)
"""Of an intact junction's response: what is less is none. The lower one in clean images; with more noise the
threshold rises with it, up to the upper one; beyond that nothing is measured."""
MOST_CRESTS = 60_000
"""Places on crests that tell the level and the light, spread over the field."""
NOISE_SDS = 4.0
"""How far above noise the threshold lies at least."""


@dataclass(frozen=True)
class JunctionMask:
    """What was found of junctions in one field, on working pixels."""

    response: np.ndarray
    """(rows, columns) float32: bright lines are above 0."""
    mask: np.ndarray
    """(rows, columns) bool"""
    across: int
    """Pixels of the image, across one working pixel."""
    working_um: float
    """Size of a working pixel."""
    level: float
    """Response of an intact junction in median light, in units of the image."""
    noise_sd: float
    light: Light
    failure: str = ""
    """Why there is no mask; empty where there is one."""

    @property
    def contrast(self) -> float:
        """Level over the sd of noise."""
        return self.level / self.noise_sd if self.noise_sd > 0.0 else math.inf

    @property
    def faintest(self) -> float:
        """Response of the faintest junction that is told from none, of the level."""
        return max(FAINTEST[0], NOISE_SDS / self.contrast)


def find_junctions(
    image: np.ndarray, pixel_size_um: float, level: float | None = None
) -> JunctionMask:
    """Return the mask of junctions of one field.

    Parameters
    ----------
    image : (rows, columns)
    level : of an intact junction, from a control of the same staining and exposure; by default from the image
        itself. Without it an image of a barrier that is gone altogether can not be told from a failed staining.

    Raises
    ------
    ValueError : pixels too large to see a junction.
    """
    if not 0.0 < pixel_size_um <= COARSEST_PIXEL_UM:
        raise ValueError(
            f"pixel size {pixel_size_um:g} um; junctions are measured on pixels above 0 and up to "
            f"{COARSEST_PIXEL_UM:g} um"
        )
    across = pixels_across(pixel_size_um, WORKING_PIXEL_UM)
    working_um = across * pixel_size_um
    work = coarse(image, across)
    sigma = max(LINE_SIGMA_UM / working_um, LINE_SIGMA_PX)
    response = gaussian_laplace(work, sigma, mode="nearest", truncate=4.0)
    np.negative(response, out=response)
    noise_sd = pixel_noise_sd(image) / across * laplacian_gain(sigma)
    crest_place, crest = _crests(response)
    found, light = _level_and_light(crest_place, crest, noise_sd, response.shape, level)
    nothing = np.zeros(response.shape, dtype=bool)
    if not found * FAINTEST[1] > NOISE_SDS * noise_sd or not found > 0.0:
        told = (
            f"no junction stands out: a junction's response would be {found:.3g}, "
            f"the noise's sd is {noise_sd:.3g}, and {FAINTEST[1]:g} of the first must be above "
            f"{NOISE_SDS:g} times the second"
        )
        return JunctionMask(response, nothing, across, working_um, found, noise_sd, EVEN, told)
    mask = response > MASK_FROM * found * light.map(response.shape)
    return JunctionMask(response, mask, across, working_um, found, noise_sd, light)


def _crests(response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places (n, 2) and responses on crests of lines: highest along a row or along a column."""
    inner = response[1:-1, 1:-1]
    crest = (inner >= response[1:-1, :-2]) & (inner > response[1:-1, 2:])
    crest |= (inner >= response[:-2, 1:-1]) & (inner > response[2:, 1:-1])
    crest &= inner > 0.0
    at = np.flatnonzero(crest)
    at = at[:: max(1, at.size // MOST_CRESTS)]
    row, column = np.divmod(at, inner.shape[1])
    return np.stack([row + 1, column + 1], axis=1), inner[row, column]


def _level_and_light(
    place: np.ndarray,
    crest: np.ndarray,
    noise_sd: float,
    shape: tuple[int, int],
    level: float | None,
) -> tuple[float, Light]:
    """Return the level of an intact junction and the light, each from the other, three times."""
    light = EVEN
    above = crest > NOISE_SDS * noise_sd
    place, crest = place[above], crest[above]
    if crest.size < 10:
        return (level or 0.0), EVEN
    found = level or _intact_level(crest)
    for _ in range(3):
        flat = crest / light.at(place, shape)
        if level is None:
            found = _intact_level(flat)
        is_junction = flat > FAINTEST[0] * found
        light = fit_light(place[is_junction], crest[is_junction], shape)
    return found, light


def _intact_level(crest: np.ndarray) -> float:
    """Return the median response of crests that are junction: above a part of that same median.

    From above: the first guess is a bright junction's. Otsu's threshold would halve an image without gaps.
    """
    found = float(np.quantile(crest, 0.9))
    for _ in range(5):
        found = float(np.median(crest[crest > FAINTEST[0] * found]))
    return found
