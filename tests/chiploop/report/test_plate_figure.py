"""The figure of a plate: a panel per analyte with limits, samples and controls on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chiploop.report import plate_figure as plate_figure_file
from chiploop.report.plate_figure import plate_figure, write_plate_figure
from tests.chiploop.assays.test_plate_assay import judged, wells_with

ONE = judged(
    wells_with({"A": (120.0, 1.0), "B": (9000.0, 1.0), "C": (1.0, 1.0)}, {"QC": (60.0, 60.0)})
)


def test_limits_samples_and_controls_stand_on_the_curve() -> None:
    figure = plate_figure([ONE])
    (panel,) = [ax for ax in figure.axes if ax.axison]
    at = {float(line.get_xdata()[0]) for line in panel.lines if len(line.get_xdata()) == 2}
    assert {ONE.curve.lloq, ONE.curve.uloq} <= at
    markers = [line.get_marker() for line in panel.lines]
    # one sample within, one beyond each limit, one control
    assert [markers.count(one) for one in ("D", ">", "<", "s")] == [1, 1, 1, 1]
    assert panel.get_xlabel() == "in the well (pg/mL)" and panel.get_ylabel() == "OD"


@pytest.mark.parametrize("n", [1, 2, 4, 5, 9])
def test_there_is_a_panel_for_every_analyte(n: int) -> None:
    several = [replace(ONE, wells=replace(ONE.wells, analyte=f"IL-{i}")) for i in range(n)]
    panels = [ax for ax in plate_figure(several).axes if ax.axison]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in panels] == [
        f"IL-{i}" for i in range(n)
    ]


def test_a_refused_curve_says_so_and_too_many_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figure = plate_figure([replace(ONE, qc="fail")])
    assert "refused" in [text.get_text() for ax in figure.axes for text in ax.texts]
    monkeypatch.setattr(plate_figure_file, "MOST_PANELS", 2)
    many = plate_figure([ONE] * 5)
    assert "3 more not shown" in [text.get_text() for text in many.texts]


def test_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        write_plate_figure([ONE], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
