"""Prediction tables with known information, and the contract that every policy meets.

Belongs here: tables made by hand, the contract as a test class. Not here: one policy's own numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chiploop.policies import Policy
from chiploop.policies.prediction_table import Batch, Pending, PredictionTable
from tests.chiploop.candidates import programme


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
    table = table_of(features, z[:, 0], root @ root.T + np.eye(len(root)), allowed)
    return replace(table, standard=z)


def with_everything(table: PredictionTable, seed: int) -> PredictionTable:
    """Return the table with readings on their way, costs, and draws that could not be simulated ahead."""
    rng = np.random.default_rng([seed, 1])
    assert table.standard is not None
    features = [part.copy() for part in table.features]
    features[0][: len(table.goal) // 4] = np.nan
    shared = 0.1 * rng.standard_normal((2, len(table.noise)))
    return replace(
        table,
        features=tuple(features),
        pending=Pending(table.standard @ rng.standard_normal((3, 2)), np.eye(2), shared),
        cost=tuple(rng.uniform(0.5, 3.0, len(one)) for one in table.allowed),
        nats_per_cost=None if seed % 2 else 0.1,
        turn=seed,
    )


def scaled(table: PredictionTable, seed: int) -> PredictionTable:
    """Return the same table with every feature in another unit."""
    units = np.exp(3.0 * np.random.default_rng(seed).standard_normal(len(table.noise)))
    return replace(
        table,
        features=tuple(part * units[table.place(line)] for line, part in enumerate(table.features)),
        noise=table.noise * np.outer(units, units),
    )


# a contract's test is run by every class that inherits it, which is what this check is about
inherited = settings(suppress_health_check=[HealthCheck.differing_executors])
ALLOWED = st.lists(
    st.lists(st.booleans(), min_size=1, max_size=5).filter(any), min_size=1, max_size=4
)


class PolicyContract:
    """What every policy keeps; a subclass names it."""

    policy: Policy

    def batch(self, table: PredictionTable, seed: int = 7) -> Batch:
        """Return what the policy chooses."""
        return type(self).policy(table, np.random.default_rng(seed))

    @inherited
    @given(st.integers(0, 2**16), ALLOWED)
    def test_every_line_gets_one_dose_that_is_allowed(
        self, seed: int, allowed: list[list[bool]]
    ) -> None:
        table = random_table(seed, allowed)
        batch = self.batch(table)
        assert [choice.line for choice in batch.choices] == list(table.lines)
        for line, choice in enumerate(batch.choices):
            assert allowed[line][choice.candidate]
        # an unbiased estimate may fall a little below zero; it is a number all the same
        assert np.isfinite(
            [batch.information_nats, *(c.information_nats for c in batch.choices)]
        ).all()
        assert np.isfinite(batch.error_nats) and batch.error_nats >= 0.0

    @pytest.mark.parametrize("first", range(0, 300, 50))
    def test_no_random_table_gets_a_dose_that_is_not_allowed(self, first: int) -> None:
        """With readings on their way, costs, and draws that could not be simulated."""
        for seed in range(first, first + 50):
            rng = np.random.default_rng([seed, 2])
            allowed = [
                list(rng.random(rng.integers(1, 6)) < 0.5) for _ in range(rng.integers(1, 5))
            ]
            for one in allowed:
                one[int(rng.integers(len(one)))] = True
            batch = self.batch(with_everything(random_table(seed, allowed), seed), seed)
            chosen = [choice.candidate for choice in batch.choices]
            assert all(one[k] for one, k in zip(allowed, chosen, strict=True)), (allowed, chosen)
            for tie in batch.ties:
                assert all(one[k] for one, k in zip(allowed, tie.candidates, strict=True))

    def test_a_line_without_an_allowed_dose_is_named(self) -> None:
        table = random_table(1, [[True, True], [False, False], [False]])
        with pytest.raises(ValueError, match="no dose is allowed on L2, L3"):
            self.batch(table)

    def test_too_few_draws_that_can_be_simulated_ahead_choose_nothing(self) -> None:
        table = random_table(1, [[True, True], [True]])
        part = table.features[1].copy()
        part[15:] = np.nan
        with pytest.raises(ValueError, match="15 of 60 draws can be simulated ahead"):
            self.batch(replace(table, features=(table.features[0], part)))

    def test_the_same_table_gives_the_same_batch(self) -> None:
        table = random_table(2, [[True] * 4] * 3)
        assert self.batch(table) == self.batch(table)

    @inherited
    @given(st.integers(0, 2**16))
    def test_the_units_of_the_readouts_do_not_matter(self, seed: int) -> None:
        table = random_table(seed, [[True] * 4] * 2)
        one, other = self.batch(table), self.batch(scaled(table, seed))
        assert other.information_nats == pytest.approx(one.information_nats, rel=1e-6, abs=1e-9)
        assert [c.candidate for c in other.choices] == [c.candidate for c in one.choices]


class MeasuringPolicyContract(PolicyContract):
    """What is kept by every policy that goes by what is learned and not by doses."""

    def test_the_unit_of_the_goal_does_not_matter(self) -> None:
        table = random_table(3, [[True] * 4] * 2)
        ln_um = replace(table, goal=5.0 - 3.0 * table.goal)
        wanted, found = self.batch(table), self.batch(ln_um)
        assert [c.candidate for c in found.choices] == [c.candidate for c in wanted.choices]
