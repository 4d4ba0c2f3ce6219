"""Nuclei: counts and sizes against known truth, touching ones, labels made elsewhere, empty images."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.microscopy import planes
from chiploop.microscopy.nuclei import find_nuclei
from chiploop.microscopy.nuclei_measure import FRAME_UM, measure_nuclei
from chiploop.microscopy.synthetic import MonolayerSettings, monolayer
from tests.chiploop.microscopy.image_files import PIXEL_UM


def discs(places: list[tuple[float, float, float]], size: int = 256) -> np.ndarray:
    """Return an image of discs (row, column, radius in pixels) with soft edges and a little noise."""
    row, column = np.indices((size, size))
    image = np.zeros((size, size))
    for y, x, radius in places:
        image = np.maximum(image, 1.0 / (1.0 + np.exp(np.hypot(row - y, column - x) - radius)))
    noise = np.random.default_rng(2).normal(0.0, 15.0, image.shape)
    return np.clip(150.0 + 1000.0 * image + noise, 0, 4095).astype(np.uint16)


@pytest.mark.parametrize(
    "more", [{}, {"photons": 40.0}, {"vignetting": 0.5}, {"brightness_cv": 0.35}], ids=str
)
def test_the_count_of_a_known_monolayer_is_right_within_one_percent(more: dict[str, float]) -> None:
    one = monolayer(np.random.default_rng(7), MonolayerSettings(shape=(768, 768), **more))  # type: ignore[arg-type]
    found = measure_nuclei(one.nuclei, PIXEL_UM)
    inset = FRAME_UM / PIXEL_UM
    place = one.truth.nuclei_px
    count = int(np.all((place >= inset) & (place < 768 - inset), axis=1).sum())
    assert found.count_in_frame == pytest.approx(count, rel=0.01) and count > 300
    side_mm = 768 * PIXEL_UM * 1e-3 - 2e-3 * FRAME_UM
    assert found.density_per_mm2 == pytest.approx(found.count_in_frame / side_mm**2)
    assert np.median(found.area_um2) == pytest.approx(
        np.median(one.truth.nucleus_areas_um2), rel=0.04
    )


def test_touching_nuclei_are_two_and_a_long_one_is_one() -> None:
    pair = [(60.0, 60.0, 11.0), (60.0, 79.0, 11.0)]
    assert len(find_nuclei(discs([*pair, (180.0, 180.0, 11.0)]), PIXEL_UM).area_um2) == 3
    long = [(128.0, 100.0 + 2.0 * i, 10.0) for i in range(12)]
    found = find_nuclei(discs(long), PIXEL_UM)
    assert len(found.area_um2) == 1 and found.elongation[0] > 1.7


def test_places_and_areas_are_those_of_the_discs() -> None:
    places = [(50.0, 60.0, 12.0), (120.3, 180.6, 9.0), (200.0, 90.0, 15.0)]
    found = find_nuclei(discs(places), PIXEL_UM)
    order = np.argsort(found.centre_px[:, 0])
    assert found.centre_px[order] == pytest.approx(np.array(places)[:, :2], abs=0.6)
    truth = np.pi * (np.array(places)[:, 2] * PIXEL_UM) ** 2
    assert found.area_um2[order] == pytest.approx(truth, rel=0.1)
    assert found.elongation == pytest.approx(1.0, abs=0.1)


def test_a_pale_nucleus_beside_bright_ones_is_seen_and_a_speck_is_not() -> None:
    image = discs([(60.0, 60.0, 12.0), (60.0, 180.0, 12.0), (180.0, 60.0, 12.0)]).astype(float)
    pale = discs([(180.0, 180.0, 12.0)]).astype(float) - 150.0
    speck = discs([(120.0, 120.0, 3.0)]).astype(float) - 150.0
    found = find_nuclei(np.clip(image + 0.4 * pale + speck, 0, 4095).astype(np.uint16), PIXEL_UM)
    assert len(found.area_um2) == 4
    assert found.area_um2.max() / found.area_um2.min() < 1.15


@pytest.mark.parametrize("sd", [0.0, 20.0])
def test_an_image_without_nuclei_has_none(sd: float) -> None:
    image = np.random.default_rng(1).normal(300.0, sd, (256, 256)).astype(np.uint16)
    found = measure_nuclei(image, PIXEL_UM)
    assert found.count == 0 and "no nuclei stand out" in found.failure
    assert np.isnan(found.density_per_mm2)


def test_labels_made_elsewhere_are_counted_not_found_again() -> None:
    row, column = np.indices((300, 300))
    labels = np.where((row % 30 < 20) & (column % 30 < 20), row // 30 * 100 + column // 30 + 7, 0)
    found = measure_nuclei(np.zeros((300, 300), dtype=np.uint8), 0.5, labels)
    assert found.count == 100 and found.failure == ""
    assert found.area_um2 == pytest.approx(100.0)
    # places from 16 to 284 px are in the frame: all but the outer rows' middles at 9.5 px
    assert found.count_in_frame == 81


def test_a_plane_cut_into_fields_counts_each_nucleus_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one = monolayer(np.random.default_rng(7), MonolayerSettings(shape=(768, 768)))
    whole = measure_nuclei(one.nuclei, PIXEL_UM)
    monkeypatch.setattr(planes, "FIELD_PX", 384)
    cut = measure_nuclei(one.nuclei, PIXEL_UM)
    assert abs(cut.count - whole.count) <= 1
    assert cut.density_sd == pytest.approx(whole.density_sd, rel=0.1)


def test_what_can_not_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 40 um across"):
        measure_nuclei(np.zeros((100, 100), dtype=np.uint8), PIXEL_UM)
    with pytest.raises(ValueError, match="pixel size 2 um"):
        measure_nuclei(np.zeros((100, 100), dtype=np.uint8), 2.0)
    with pytest.raises(ValueError, match="both must show the same place"):
        measure_nuclei(np.zeros((300, 300)), PIXEL_UM, np.zeros((299, 300), dtype=int))
