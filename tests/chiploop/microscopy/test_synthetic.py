"""Synthetic images: the same generator state gives the same image, and their truth is true."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.microscopy.synthetic import MonolayerSettings, monolayer
from chiploop.microscopy.synthetic_section import SectionSettings, section


def test_the_same_seed_gives_the_same_image_and_another_one_another() -> None:
    settings = MonolayerSettings(shape=(200, 240))
    one, again, other = (monolayer(np.random.default_rng(s), settings) for s in (1, 1, 2))
    assert np.array_equal(one.junctions, again.junctions) and np.array_equal(
        one.nuclei, again.nuclei
    )
    assert not np.array_equal(one.junctions, other.junctions)
    assert one.junctions.dtype == np.uint16 and one.junctions.shape == (200, 240)


@pytest.mark.parametrize("kind", ["interfaces", "gaps"])
def test_the_missing_share_is_the_asked_one_on_average(kind: str) -> None:
    settings = MonolayerSettings(shape=(512, 512), missing=0.25, missing_as=kind)  # type: ignore[arg-type]
    found = [monolayer(np.random.default_rng(s), settings).truth.coverage for s in range(5)]
    assert np.mean(found) == pytest.approx(0.75, abs=0.02)


def test_light_on_a_border_is_in_proportion_to_what_is_covered() -> None:
    """Not the truth's own sum: all light above the background, with and without gaps."""
    light = []
    for missing in (0.0, 0.5):
        settings = MonolayerSettings(
            shape=(600, 600), missing=missing, missing_as="gaps", brightness_cv=0.0, vignetting=0.0
        )
        one = monolayer(np.random.default_rng(8), settings)
        light.append(one.junctions.mean() - 100.0 - 1800.0 * settings.background)
    assert light[1] / light[0] == pytest.approx(0.5, abs=0.03)


def test_patchy_loss_is_as_large_but_differs_more_from_place_to_place() -> None:
    def shares(patch_um: float) -> list[float]:
        settings = MonolayerSettings(shape=(320, 320), missing=0.3, patch_um=patch_um)
        return [monolayer(np.random.default_rng(s), settings).truth.coverage for s in range(8)]

    even, patchy = shares(0.0), shares(60.0)
    assert np.std(patchy) > 2.0 * np.std(even)
    assert np.mean(even) == pytest.approx(0.7, abs=0.04)


def test_nuclei_are_as_many_as_cells_and_as_bright_as_said() -> None:
    one = monolayer(np.random.default_rng(4), MonolayerSettings(shape=(600, 600)))
    cells = (600 * 0.325) ** 2 / (13.0**2 * np.sqrt(0.75))
    assert len(one.truth.nuclei_px) == pytest.approx(cells, rel=0.05)
    place = one.truth.nuclei_px[
        np.all((one.truth.nuclei_px > 20) & (one.truth.nuclei_px < 580), axis=1)
    ]
    at = tuple(np.rint(place).astype(int).T)
    assert one.nuclei[at].mean() > 3.0 * np.median(one.nuclei)


def test_the_layer_of_a_section_has_its_thickness() -> None:
    settings = SectionSettings(
        shape=(300, 500), pixel_size_um=2.0, roughness=0.0, bend_um=0.0, tilt_deg=0.0
    )
    one = section(np.random.default_rng(1), settings)
    assert one.layer.sum(axis=0) * 2.0 == pytest.approx(80.0, abs=4.0)
    assert one.thickness_um == pytest.approx(80.0)
    inside, outside = one.rgb[one.layer].mean(axis=0), one.rgb[:20].mean(axis=(0, 1))
    assert np.all(inside < outside - 40.0) and outside == pytest.approx(244.0, abs=1.0)
