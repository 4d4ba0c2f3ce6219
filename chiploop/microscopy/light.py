"""How evenly a field is lit: a low-order surface through the brightness of what is lit.

Belongs here: the surface and its fit. Not here: which points are fitted, what is made of uneven light. Two
orders only: light of a lamp follows it, loss of signal in places does not and must not be mended away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_POINTS = 20_000
FEWEST_POINTS = 60
STRONGEST = 4.0
"""Of brightest over dimmest place; a fit beyond that is no light but a missing signal."""


@dataclass(frozen=True)
class Light:
    """Brightness over a field, relative to its median place."""

    coefficients: np.ndarray
    """(6,) of 1, x, y, x^2, xy, y^2 for ln brightness, with x and y from -1 to 1 over the field."""

    def at(self, place: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the brightness at places (n, 2), row and column on a grid of a shape."""
        return np.asarray(np.exp(_terms(place, shape) @ self.coefficients))

    def map(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the brightness of every pixel, float32."""
        c = self.coefficients.astype(np.float32)
        if not c.any():
            return np.ones(shape, dtype=np.float32)
        y = np.linspace(-1.0, 1.0, shape[0], dtype=np.float32)[:, None]
        x = np.linspace(-1.0, 1.0, shape[1], dtype=np.float32)[None, :]
        ln = c[4] * y * x
        ln += c[0] + c[2] * y + c[5] * y * y
        ln += c[1] * x + c[3] * x * x
        return np.asarray(np.exp(ln, out=ln))

    @property
    def unevenness(self) -> float:
        """Brightest over dimmest place."""
        coarse = self.map((17, 17))
        return float(coarse.max() / coarse.min())


EVEN = Light(np.zeros(6))


def fit_light(place: np.ndarray, brightness: np.ndarray, shape: tuple[int, int]) -> Light:
    """Return the surface through brightness (n,) above 0 at places (n, 2); even where it is not determined."""
    every = max(1, len(brightness) // MOST_POINTS)
    place, ln = place[::every], np.log(brightness[::every])
    if ln.size < FEWEST_POINTS:
        return EVEN
    terms = _terms(place, shape)
    # points in one corner do not say what the others are like
    if np.linalg.cond(terms) > 30.0:
        return EVEN
    weight = np.ones(ln.size)
    for _ in range(3):
        found = np.linalg.lstsq(terms * weight[:, None], ln * weight, rcond=None)[0]
        off = np.abs(ln - terms @ found)
        weight = np.sqrt(1.0 / np.maximum(1.0, off / max(1.5 * float(np.median(off)), 1e-9)))
    fitted = Light(found)
    if fitted.unevenness > STRONGEST:
        return EVEN
    return Light(found - np.array([np.median(terms @ found), 0, 0, 0, 0, 0]))


def _terms(place: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    y = 2.0 * place[:, 0] / max(shape[0] - 1, 1) - 1.0
    x = 2.0 * place[:, 1] / max(shape[1] - 1, 1) - 1.0
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
