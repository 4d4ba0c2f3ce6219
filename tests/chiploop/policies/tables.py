"""Prediction tables with known information, and the contract that every policy meets.

Belongs here: tables made by hand, the contract as a test class. Not here: one policy's own numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiploop.dosing import PumpProgramme
from chiploop.policies import Policy
from chiploop.policies.prediction_table import PredictionTable


def programme(line: str, dose_nm: float) -> PumpProgramme:
    """Return a programme without steps; policies do not look inside."""
    return PumpProgramme(line, "dose", dose_nm, dose_nm, 48.0, (), 0.0, 1.0)


def table_of(
    features: Sequence[np.ndarray],
    goal: np.ndarray,
    noise: np.ndarray,
    allowed: Sequence[Sequence[bool]] | None = None,
) -> PredictionTable:
    """Return a table of features per line (draws, candidates, features)."""
    lines = tuple(f"L{i + 1}" for i in range(len(features)))
    counts = [part.shape[1] for part in features]
    return PredictionTable(
        lines=lines,
        programmes=tuple(
            tuple(programme(line, 10.0 * k) for k in range(count))
            for line, count in zip(lines, counts, strict=True)
        ),
        allowed=tuple(
            np.array(one, dtype=bool) for one in (allowed or [[True] * count for count in counts])
        ),
        risk=tuple(np.zeros(count) for count in counts),
        features=tuple(features),
        noise=noise,
        goal=goal,
    )


def random_table(
    seed: int, allowed: Sequence[Sequence[bool]], draws: int = 60, size: int = 2
) -> PredictionTable:
    """Return a table whose features know something of the goal, line by line."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((draws, 3))
    features = [
        np.einsum("nj,cfj->ncf", z, rng.standard_normal((len(one), size, 3))) for one in allowed
    ]
    root = rng.standard_normal((size * len(allowed),) * 2)
    return table_of(features, z[:, 0], root @ root.T + np.eye(len(root)), allowed)


def scaled(table: PredictionTable, seed: int) -> PredictionTable:
    """Return the same table with every feature in another unit."""
    units = np.exp(3.0 * np.random.default_rng(seed).standard_normal(len(table.noise)))
    return PredictionTable(
        lines=table.lines,
        programmes=table.programmes,
        allowed=table.allowed,
        risk=table.risk,
        features=tuple(part * units[table.place(line)] for line, part in enumerate(table.features)),
        noise=table.noise * np.outer(units, units),
        goal=table.goal,
    )


ALLOWED = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=5).filter(any), min_size=1, max_size=4
)


class PolicyContract:
    """What every policy keeps; a subclass names it."""

    policy: Policy

    @given(st.integers(0, 2**16), ALLOWED)
    def test_every_line_gets_one_dose_that_is_allowed(
        self, seed: int, allowed: list[list[bool]]
    ) -> None:
        table = random_table(seed, allowed)
        batch = type(self).policy(table)
        assert [choice.line for choice in batch.choices] == list(table.lines)
        for line, choice in enumerate(batch.choices):
            assert allowed[line][choice.candidate]
        # an unbiased estimate may fall a little below zero; it is a number all the same
        assert np.isfinite(
            [batch.information_nats, *(c.information_nats for c in batch.choices)]
        ).all()

    def test_a_line_without_an_allowed_dose_is_named(self) -> None:
        table = random_table(1, [[True, True], [False, False], [False]])
        with pytest.raises(ValueError, match="no dose is allowed on L2, L3"):
            type(self).policy(table)

    def test_the_same_table_gives_the_same_batch(self) -> None:
        table = random_table(2, [[True] * 4] * 3)
        assert type(self).policy(table) == type(self).policy(table)

    @given(st.integers(0, 2**16))
    def test_the_units_of_the_readouts_do_not_matter(self, seed: int) -> None:
        table = random_table(seed, [[True] * 4] * 2)
        one, other = type(self).policy(table), type(self).policy(scaled(table, seed))
        assert other.information_nats == pytest.approx(one.information_nats, rel=1e-6, abs=1e-9)
        assert [c.candidate for c in other.choices] == [c.candidate for c in one.choices]

    def test_the_unit_of_the_goal_does_not_matter(self) -> None:
        table = random_table(3, [[True] * 4] * 2)
        ln_um = table_of(table.features, 5.0 - 3.0 * table.goal, table.noise)
        wanted, found = type(self).policy(table), type(self).policy(ln_um)
        assert [c.candidate for c in found.choices] == [c.candidate for c in wanted.choices]
