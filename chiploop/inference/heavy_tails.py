"""One reading given all others where chips have Student t tails.

Belongs here: densities that are known up to a constant along one line. Not here: Gaussian and censored readings
(conditionals), the likelihood's tails (likelihood).
"""

from __future__ import annotations

import numpy as np

from chiploop.inference.likelihood import Block, Likelihood

FARTHEST = 8.0
"""End of the quadrature in asinh of the distance in sd: some 1500 sd."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)


def heavy_tailed(
    likelihood: Likelihood, block: Block, white: np.ndarray, own: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Return log density and place (n, k) of each reading of a block given the others, with chips' t tails.

    Moving one reading by s moves the whitened gaps of its own chip and of those that share something with it
    and come after it: chip c's squared length becomes a + 2 b s + c s^2.
    """
    tails = likelihood.scatter.chip_tails
    assert tails is not None
    squared = [(at, (white[:, at] ** 2).sum(axis=1)) for at in likelihood.exact_of_chips]
    columns = np.linalg.inv(block.factor)
    n, k = len(white), len(block.rows)
    log_density, place = np.empty((n, k)), np.empty((n, k))
    for i in range(k):
        a, b, c, power = [], [], [], []
        for at, length in squared:
            here = at[(at >= own.start) & (at < own.stop)]
            moved = columns[here - own.start, i]
            if moved.any():
                a.append(length)
                b.append(white[:, here] @ moved)
                c.append(float(moved @ moved))
                power.append(0.5 * (tails + len(at)))
        log_density[:, i], place[:, i] = along_line(
            np.stack(a, axis=1), np.stack(b, axis=1), np.array(c), np.array(power), tails
        )
    return log_density, place


def along_line(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, power: np.ndarray, tails: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return log density (n,) and distribution (n,) at s = 0 of a density that is known along s.

    ln density = -sum over chips of power ln(1 + (a + 2 b s + c s^2) / tails) and a constant, with a and b
    (n, chips), c and power (chips,).
    """
    center = -b.sum(axis=1) / c.sum()
    nearest = np.maximum(a + 2.0 * b * center[:, None] + c * center[:, None] ** 2, 0.0)
    wider = np.sqrt(((tails + nearest) / (2.0 * power)).max(axis=1))
    scale = wider / np.sqrt(c.sum())

    def log_height(s: np.ndarray) -> np.ndarray:
        s = s[..., None]
        length = a[:, None] + s * (2.0 * b[:, None] + c * s)
        return np.asarray(-(power * np.log1p(np.maximum(length, 0.0) / tails)).sum(axis=-1))

    top = log_height(center[:, None])[:, 0]
    split = np.clip(np.arcsinh(-center / scale), -FARTHEST + 1.0, FARTHEST - 1.0)
    parts = []
    for begin, end in (
        (np.full_like(split, -FARTHEST), split),
        (split, np.full_like(split, FARTHEST)),
    ):
        middle, half = 0.5 * (end + begin), 0.5 * (end - begin)
        t = middle[:, None] + half[:, None] * NODES
        s = center[:, None] + scale[:, None] * np.sinh(t)
        height = np.exp(log_height(s) - top[:, None]) * np.cosh(t) * scale[:, None]
        parts.append((height @ WEIGHTS) * half)
    total = parts[0] + parts[1]
    here = log_height(np.zeros((len(a), 1)))[:, 0]
    return here - top - np.log(total), parts[0] / total
