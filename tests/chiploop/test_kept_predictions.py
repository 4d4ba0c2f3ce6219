"""What was simulated for a search is not simulated again for an edit, and never belongs to another state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chiploop import next_exposure
from chiploop.campaign import suggest
from chiploop.campaign_values import Campaign
from chiploop.kept_predictions import KeptPredictions
from chiploop.models.tissue_model import TissueModel
from chiploop.policies.prediction_table import PredictionTable
from chiploop.record.actions import JournalTotals
from tests.chiploop.campaigns import FULL, STUDY, exact, fitted

TOTALS = JournalTotals(last_dose_end_h=dict.fromkeys(STUDY.line_ids, 72.0), highest_dose_nm=480.0)
ON_GRID = {"L1": 0.0, "L2": 71.0, "L3": 220.0, "L4": 950.0}


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(next_exposure, "DRAWS", 48)
    yield


@pytest.fixture(scope="module")
def usual() -> Campaign:
    return fitted()


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chips each simulation was of."""
    counts: list[int] = []
    real = TissueModel.simulate

    def counted(self: TissueModel, parameters: Any, inlets: Any, *more: Any, **named: Any) -> Any:
        counts.append(len(inlets))
        return real(self, parameters, inlets, *more, **named)

    monkeypatch.setattr(TissueModel, "simulate", counted)
    return counts


def table(
    campaign: Campaign, kept: KeptPredictions | None, begin_h: float = 76.0, **more: Any
) -> PredictionTable:
    return suggest(
        campaign,
        exact,
        FULL,
        TOTALS,
        np.random.default_rng(0),
        begin_h=begin_h,
        kept=kept,
        **more,
    ).table


def same(one: PredictionTable, other: PredictionTable) -> bool:
    """Return whether two tables are the same to the last bit."""
    pairs = [
        *zip(one.features, other.features, strict=True),
        *zip(one.risk, other.risk, strict=True),
        (one.noise, other.noise),
        (one.goal, other.goal),
    ]
    return all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)


def test_an_edit_in_another_process_simulates_nothing_that_the_search_has(
    usual: Campaign, simulated: list[int], tmp_path: Path
) -> None:
    file = tmp_path / "predictions.npz"
    plain = table(usual, None)
    simulated.clear()
    kept = KeptPredictions(file)
    first = table(usual, kept)
    assert len(simulated) == 2 + len(STUDY.lines), "once for now, for the goal, and for each line"
    kept.save()
    assert same(first, plain)
    simulated.clear()
    again = table(usual, KeptPredictions(file), own_nm=ON_GRID)
    assert simulated == []
    assert same(again, plain)


def test_only_a_dose_that_nobody_looked_at_is_simulated(
    usual: Campaign, simulated: list[int], tmp_path: Path
) -> None:
    kept = KeptPredictions(tmp_path / "predictions.npz")
    table(usual, kept)
    kept.save()
    simulated.clear()
    own = {**ON_GRID, "L2": 77.7}
    found = table(usual, KeptPredictions(kept.file), own_nm=own)
    assert simulated == [len(STUDY.line("L2").chips)]
    assert same(found, table(usual, None, own_nm=own))


def test_another_state_takes_nothing_from_the_file(
    usual: Campaign, simulated: list[int], tmp_path: Path
) -> None:
    kept = KeptPredictions(tmp_path / "predictions.npz")
    table(usual, kept)
    kept.save()
    assert usual.posterior is not None
    moved = replace(usual.posterior, particles=usual.posterior.particles * 1.01)
    fewer = replace(usual, readouts=usual.readouts[1:])
    for campaign, begin_h in (
        (usual, 78.0),
        (replace(usual, posterior=moved), 76.0),
        (fewer, 76.0),
    ):
        simulated.clear()
        found = table(campaign, KeptPredictions(kept.file), begin_h)
        assert len(simulated) == 2 + len(STUDY.lines)
        assert same(found, table(campaign, None, begin_h))


@pytest.mark.parametrize("cut", [0, 10, 5000])
def test_a_damaged_file_costs_time_and_nothing_else(
    usual: Campaign, tmp_path: Path, cut: int
) -> None:
    kept = KeptPredictions(tmp_path / "predictions.npz")
    first = table(usual, kept)
    kept.save()
    assert kept.file is not None
    whole = kept.file.read_bytes()
    kept.file.write_bytes(whole[:cut])
    assert same(table(usual, KeptPredictions(kept.file)), first)
    turned = bytearray(whole)
    turned[len(whole) // 2] ^= 0xFF
    kept.file.write_bytes(bytes(turned))
    assert same(table(usual, KeptPredictions(kept.file)), first)
