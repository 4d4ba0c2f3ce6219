"""What the past says of the level at which a chip reads: its own and its donor's deviation from the model's mean.

Belongs here: covariances between coming and past readings of one kind. Not here: what comes (policies, report).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chiploop.inference.likelihood import Block, Likelihood


@dataclass(frozen=True)
class Levels:
    """The levels of chips for one kind of readout."""

    covariance: np.ndarray
    """(k, k) between the levels a priori, without what was sampled."""
    past: tuple[tuple[Block, np.ndarray], ...]
    """Blocks of past readings with the covariance (k, m) between levels and readings."""
    loadings: np.ndarray
    """(k, effects) of the levels on the effects that were sampled."""

    def learned(self) -> np.ndarray:
        """Return the covariance (k, k) of the levels given the past readings."""
        result = self.covariance.copy()
        for block, shared in self.past:
            white = np.linalg.solve(block.factor, shared.T)
            result -= white.T @ white
        return result

    def expected(self, gaps: np.ndarray, effects: np.ndarray) -> np.ndarray:
        """Return the expected levels (n, k) given the past readings' gaps (n, all rows) and sampled effects."""
        result = effects @ self.loadings.T
        for block, shared in self.past:
            white = np.linalg.solve(block.factor, gaps[:, block.rows].T)
            result = result + white.T @ np.linalg.solve(block.factor, shared.T)
        return np.asarray(result)


def levels_of(likelihood: Likelihood, readout: int, chips: Sequence[int] | np.ndarray) -> Levels:
    """Return the levels of chips (k,), by index, for one kind of readout."""
    name = likelihood.names[readout]
    chip_ids = np.array(likelihood.chips)
    donor_ids = np.array([likelihood.donors[chip] for chip in likelihood.chips])
    at = np.asarray(chips, dtype=int)
    blocks = [block for block in likelihood.blocks if block.readout == readout]
    covariance = np.zeros((len(at), len(at)))
    past = [np.zeros((len(at), len(block.rows))) for block in blocks]
    loadings = np.zeros((len(at), len(likelihood.effects)))
    effects = [effect.name for effect in likelihood.effects]
    sources = (
        ("chip", chip_ids, likelihood.scatter.chip),
        ("donor", donor_ids, likelihood.scatter.donor),
    )
    for kind, ids, sds in sources:
        sd = sds.get(name, 0.0)
        own = ids[at]
        free = np.ones(len(at), dtype=bool)
        for i, who in enumerate(own):
            effect = f"{name} of {kind} {who}"
            if effect in effects:
                free[i] = False
                loadings[i, effects.index(effect)] = sd
        covariance += sd**2 * (own[:, None] == own) * (free[:, None] & free)
        for block, shared in zip(blocks, past, strict=True):
            past_ids = ids[likelihood.rows.chip[block.rows]]
            shared += sd**2 * (own[:, None] == past_ids) * free[:, None]
    return Levels(covariance, tuple(zip(blocks, past, strict=True)), loadings)
