"""Thickness of the epidermis: sections of known truth, bands drawn by hand, what is no section."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.microscopy.synthetic_section import SectionSettings, section
from chiploop.microscopy.thickness import measure_thickness


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"thickness_um": 50.0, "tilt_deg": 20.0},
        {"stain": 0.6, "bend_um": 60.0},
        {"corneum_um": 40.0},
    ],
    ids=str,
)
def test_the_median_is_right_within_three_percent_of_the_same_stretch(
    more: dict[str, float],
) -> None:
    settings = SectionSettings(shape=(300, 500), pixel_size_um=2.0, **more)  # type: ignore[arg-type]
    one = section(np.random.default_rng(3), settings)
    found = measure_thickness(one.rgb, 2.0)
    columns = found.middle_px[:, 1]
    there = (one.middle_px[:, 1] >= columns.min()) & (one.middle_px[:, 1] <= columns.max())
    truth = one.thickness_um[there]
    assert found.failure == "" and found.length_um > 600.0
    assert found.median_um == pytest.approx(np.median(truth), rel=0.03)
    assert found.low_um == pytest.approx(np.quantile(truth, 0.05), rel=0.08)
    assert found.high_um == pytest.approx(np.quantile(truth, 0.95), rel=0.08)
    assert 0.01 < found.sd_um / found.median_um < 0.12


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_a_tilted_band_of_labels_is_measured_across_not_upright(slope: float) -> None:
    row, column = np.indices((300, 600))
    away = np.abs(row - 149.5 - slope * (column - 300) * 0.5) / np.hypot(1.0, slope * 0.5)
    found = measure_thickness(
        np.zeros((300, 600, 3), dtype=np.uint8), 1.5, (away <= 20.0).astype(int)
    )
    assert found.median_um == pytest.approx(40.0 * 1.5, rel=0.02)
    assert found.high_um - found.low_um < 4.0


def test_a_slide_without_tissue_and_a_blob_are_not_measured() -> None:
    white = np.full((300, 500, 3), 244, dtype=np.uint8)
    found = measure_thickness(white, 2.0)
    assert np.isnan(found.median_um) and "no layer stands out" in found.failure
    row, column = np.indices((300, 500))
    blob = (np.hypot(row - 150, column - 250) < 60).astype(int)
    found = measure_thickness(white, 2.0, blob)
    assert np.isnan(found.median_um) and "at least 3 times as long as thick" in found.failure


def test_grey_images_large_pixels_and_labels_of_another_place_are_refused() -> None:
    with pytest.raises(ValueError, match="a stained section is"):
        measure_thickness(np.zeros((50, 50), dtype=np.uint8), 1.0)
    with pytest.raises(ValueError, match="pixel size 5 um"):
        measure_thickness(np.zeros((50, 50, 3), dtype=np.uint8), 5.0)
    with pytest.raises(ValueError, match="both must show the same place"):
        measure_thickness(np.zeros((50, 50, 3), dtype=np.uint8), 1.0, np.zeros((50, 51)))
