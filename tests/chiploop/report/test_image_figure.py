"""The overlay: the same bytes every time, marks told apart by shape and colour, in the report as SVG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chiploop.assays.microscopy import junction_readouts, nuclei_readout, thickness_readout
from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.microscopy.nuclei_measure import measure_nuclei
from chiploop.microscopy.synthetic import MonolayerSettings, monolayer
from chiploop.microscopy.synthetic_section import SectionSettings, section
from chiploop.microscopy.thickness import measure_thickness
from chiploop.report.image_figure import (
    FOUND,
    MISSING,
    junction_figure,
    nuclei_figure,
    overlay,
    thickness_figure,
    write_overlay,
)

UM = 0.325
ONE = monolayer(np.random.default_rng(2), MonolayerSettings(shape=(320, 320), missing=0.3))


def test_covered_and_uncovered_places_differ_in_colour_and_shape() -> None:
    measured = measure_junctions(ONE.junctions, UM, ONE.nuclei)
    figure = junction_figure(ONE.junctions, measured, UM, junction_readouts(measured, "c", 0.0)[0])
    covered, missing = figure.axes[1].lines[:2]
    assert (covered.get_color(), covered.get_marker()) == (FOUND, "o")
    assert (missing.get_color(), missing.get_marker()) == (MISSING, "x")
    assert len(covered.get_xdata()) == measured.points_covered.sum()
    assert len(missing.get_xdata()) == (~measured.points_covered).sum() > 20
    assert f"border covered: {100 * measured.coverage:.1f}" in figure.axes[1].get_title()


def test_an_overlay_is_written_the_same_every_time_and_marked_where_simulated(
    tmp_path: Path,
) -> None:
    measured = measure_nuclei(ONE.nuclei, UM)
    readout = nuclei_readout(measured, "c", 0.0)
    for path in (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.svg"):
        write_overlay(
            lambda: nuclei_figure(ONE.nuclei, measured, UM, readout), path, simulated=True
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "a.svg").read_text()
    assert ">SIMULATED<" in text and ">20 um<" in text


def test_the_report_gets_an_inline_picture() -> None:
    one = section(np.random.default_rng(1), SectionSettings(shape=(300, 500), pixel_size_um=2.0))
    measured = measure_thickness(one.rgb, 2.0)
    readout = thickness_readout(measured, "c", 0.0)
    found = overlay(
        lambda: thickness_figure(one.rgb, measured, 2.0, readout), "section_c", readout, True
    )
    assert found.problem == "" and found.svg.startswith("<svg") and "data:image/png" in found.svg
    assert 'aria-label="SIMULATED: epidermal_thickness' in found.svg


def test_what_was_not_measured_is_drawn_with_its_reason() -> None:
    noise = np.random.default_rng(0).normal(300.0, 20.0, (320, 320)).astype(np.uint16)
    measured = measure_junctions(noise, UM, ONE.nuclei)
    readout = junction_readouts(measured, "c", 0.0)[0]
    figure = junction_figure(noise, measured, UM, readout)
    assert figure.axes[1].get_title() == "border covered: not measured"
    assert any("no junction stands out" in text.get_text() for text in figure.texts)


def test_a_large_plane_is_shown_in_part_and_says_so() -> None:
    large = np.pad(ONE.junctions, 300)
    measured = measure_junctions(ONE.junctions, UM, ONE.nuclei)
    figure = junction_figure(large, measured, UM, junction_readouts(measured, "c", 0.0)[0])
    assert figure.axes[0].get_xlabel() == "the middle 200 um of 299 um"
    assert figure.axes[0].images[0].get_array().shape == pytest.approx((615, 615))
