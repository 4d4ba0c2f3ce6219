"""Each reading stands at what was read and at what the fit says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chiploop.report.html_report import RunEvidence
from chiploop.report.observed_figure import observed_figure


def dots(ax: Any, hollow: bool) -> np.ndarray:
    """Return the points (n, 2) of a panel in their order along."""
    found = [
        line.get_xydata()
        for line in ax.lines
        if line.get_linestyle() == "None" and (line.get_markerfacecolor() == "white") == hollow
    ]
    return np.array(sorted(map(tuple, np.vstack(found))) if found else [])


def test_readings_stand_at_their_predictions_by_dose_and_by_chip(hand_run: Any) -> None:
    run = RunEvidence(*hand_run.parts)
    figure = observed_figure(run.predicted, run.model, run.study)
    own = [p for p in run.predicted if p.reading.readout == "CCL26"]
    at = [
        spec.name
        for spec in run.model.readouts
        if spec.name in {p.reading.readout for p in run.predicted}
    ]
    left, right = figure.axes[2 * at.index("CCL26") :][:2]
    exact = [p for p in own if p.reading.censoring == "none"]
    (censored,) = (p for p in own if p.reading.censoring != "none")
    assert dots(left, False) == pytest.approx(
        np.array(sorted((p.median, p.reading.value) for p in exact))
    )
    assert dots(right, False) == pytest.approx(
        np.array(sorted((p.own, p.reading.value) for p in exact))
    )
    assert dots(left, True) == pytest.approx(np.array([(censored.median, 250.0)]))
    assert left.get_xlim() == left.get_ylim() == right.get_xlim()
    light = observed_figure(run.predicted, run.model, run.study, by_dose=False)
    assert len(light.axes) == len(figure.axes) / 2
    assert dots(light.axes[at.index("CCL26")], False) == pytest.approx(dots(right, False))


def test_a_chips_own_prediction_is_nearer_to_what_was_read(hand_run: Any) -> None:
    run = RunEvidence(*hand_run.parts)
    teer = [p for p in run.predicted if p.reading.readout == "TEER"]
    own = np.std([np.log(p.reading.value / p.own) for p in teer])
    assert own < 0.5 * np.std([np.log(p.reading.value / p.median) for p in teer])


def test_without_readings_it_says_so(hand_run: Any) -> None:
    with pytest.raises(ValueError, match="no readings"):
        run = RunEvidence(*hand_run.parts)
        observed_figure([], run.model, run.study)
