"""Junctions: coverage against known truth, also drawn by hand; what can not be measured is said."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from chiploop.microscopy import planes
from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.microscopy.junctions import find_junctions
from chiploop.microscopy.synthetic import Monolayer, MonolayerSettings, monolayer
from tests.chiploop.microscopy.image_files import PIXEL_UM, square_net


@cache
def an_image(missing: float = 0.2, seed: int = 1, **more: object) -> Monolayer:
    settings = MonolayerSettings(shape=(768, 768), missing=missing, **more)  # type: ignore[arg-type]
    return monolayer(np.random.default_rng(seed), settings)


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.2, 0.4])
def test_coverage_of_a_known_monolayer_is_right_within_the_told_sd(missing: float) -> None:
    one = an_image(missing)
    found = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
    assert found.failure == "" and found.cells_from == "nuclei"
    # a tenth of the border lies at the image's edge and is not asked, so part of the difference is chance
    assert abs(found.coverage - one.truth.coverage) < max(0.01, 1.5 * found.coverage_sd)
    assert found.judged > 0.9 and 0.85 < found.length_um.sum() / one.truth.border_um < 0.97


def test_gaps_within_interfaces_keep_their_length() -> None:
    one = an_image(0.3, missing_as="gaps", gap_um=4.0)
    found = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
    assert found.coverage == pytest.approx(one.truth.coverage, abs=0.015)


def test_sides_lost_from_a_net_drawn_by_hand_are_found_one_by_one() -> None:
    lost = ((2, 3), (5, 5), (7, 2), (8, 8))
    image, labels, truth = square_net(lost=lost)
    found = measure_junctions(image, PIXEL_UM, labels=labels)
    assert found.coverage == pytest.approx(truth, abs=0.004)
    where = {
        (round(m[0] / 40 - 0.5), round(m[1] / 40) - 1) for m in found.middle_px[found.share < 0.2]
    }
    assert where == set(lost)
    asked = ~np.isnan(found.share)
    assert np.all((found.share < 0.2) | (found.share > 0.8) | ~asked)
    assert found.length_um[~asked].max() < 1.0  # cells that touch at a corner
    assert found.length_um[asked] == pytest.approx(40 * PIXEL_UM, rel=0.12)


def test_a_net_without_loss_is_covered_and_one_of_half_light_as_well() -> None:
    image, labels, _ = square_net()
    whole = measure_junctions(image, PIXEL_UM, labels=labels)
    light = np.linspace(1.0, 0.45, image.shape[1])
    dim = (200 + (image - 200.0) * light).astype(np.uint16)
    found = measure_junctions(dim, PIXEL_UM, labels=labels)
    assert whole.coverage > 0.995 and found.coverage > 0.995
    assert found.unevenness > 1.8 > 1.2 > whole.unevenness


def test_loss_over_half_an_image_is_no_uneven_light() -> None:
    lost = tuple((row, column) for row in range(1, 11) for column in range(6, 11))
    image, labels, truth = square_net(lost=lost)
    found = measure_junctions(image, PIXEL_UM, labels=labels)
    assert truth < 0.8 and found.coverage == pytest.approx(truth, abs=0.01)


def test_cells_that_are_labels_already_are_taken_as_they_are() -> None:
    image, _, truth = square_net(lost=((2, 3), (5, 5)))
    row, column = np.indices(image.shape) // 40
    found = measure_junctions(image, PIXEL_UM, labels=(row * 12 + column + 1).astype(np.uint16))
    assert found.coverage == pytest.approx(truth, abs=0.004)
    assert found.n_cells == 12 * 12 - 4  # the corners have no inner neighbour


def test_without_nuclei_whole_borders_are_found_too() -> None:
    one = an_image(0.1)
    found = measure_junctions(one.junctions, PIXEL_UM)
    assert found.cells_from == "junctions"
    assert found.coverage == pytest.approx(one.truth.coverage, abs=0.02)


@pytest.mark.parametrize("what", ["noise", "flat"])
def test_an_image_without_junctions_has_no_coverage_of_its_own(what: str) -> None:
    one = an_image(0.0)
    rng = np.random.default_rng(3)
    image = np.full(one.junctions.shape, 300.0)
    if what == "noise":
        image = rng.normal(300.0, 20.0, image.shape)
    found = measure_junctions(image.astype(np.uint16), PIXEL_UM, one.nuclei)
    assert np.isnan(found.coverage) and "no junction stands out" in found.failure


def test_with_the_level_of_a_control_a_lost_barrier_is_zero_not_unknown() -> None:
    control = an_image(0.0)
    level = measure_junctions(control.junctions, PIXEL_UM, control.nuclei).level
    gone = an_image(1.0)
    assert gone.truth.coverage == 0.0
    found = measure_junctions(gone.junctions, PIXEL_UM, gone.nuclei, level=level)
    assert found.failure == "" and found.coverage < 0.01


def test_a_plane_cut_into_fields_gives_what_it_gives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    one = an_image(0.2)
    whole = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
    monkeypatch.setattr(planes, "FIELD_PX", 384)
    assert len(planes.fields(one.junctions.shape, PIXEL_UM)) == 4
    cut = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
    assert cut.coverage == pytest.approx(whole.coverage, abs=0.003)
    assert cut.length_um.sum() == pytest.approx(whole.length_um.sum(), rel=0.005)
    assert cut.tijor_per_um == pytest.approx(whole.tijor_per_um, rel=0.05)
    assert cut.coverage_sd == pytest.approx(whole.coverage_sd, rel=0.2)


def test_an_empty_field_of_a_large_plane_does_not_set_its_own_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = an_image(0.0)
    image = one.junctions.copy()
    image[:384, :384] = np.random.default_rng(0).normal(140.0, 15.0, (384, 384))
    monkeypatch.setattr(planes, "FIELD_PX", 384)
    found = measure_junctions(image, PIXEL_UM, one.nuclei)
    assert found.coverage == pytest.approx(0.75, abs=0.03)


def test_tijor_of_an_isotropic_net_is_what_geometry_says() -> None:
    one = an_image(0.2)
    found = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
    area = (768 * PIXEL_UM) ** 2
    truth = 2.0 / np.pi * one.truth.border_um * one.truth.coverage / area
    assert found.tijor_per_um == pytest.approx(truth, rel=0.1)
    assert found.tijor_per_um < truth  # lines that meet at a rectangle's side count once


def test_planes_of_unlike_shape_and_pixels_too_large_are_refused() -> None:
    one = an_image(0.0)
    with pytest.raises(ValueError, match="both must show the same place"):
        measure_junctions(one.junctions, PIXEL_UM, one.nuclei[:-1])
    with pytest.raises(ValueError, match="pixel size 1.3 um; .* up to 1 um"):
        find_junctions(one.junctions, 1.3)
    with pytest.raises(ValueError, match="one plane of rows and columns"):
        measure_junctions(np.zeros((3, 8, 8)), PIXEL_UM)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("patch_um", [0.0, 30.0])
def test_intervals_hold_the_tissue_s_coverage_as_often_as_they_say(
    missing: float, patch_um: float
) -> None:
    """The tissue's own share of loss, of which each image shows a random part; 60 images."""
    settings = MonolayerSettings(shape=(512, 512), missing=missing, patch_um=patch_um)
    inside = 0
    for seed in range(60):
        one = monolayer(np.random.default_rng(seed), settings)
        found = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
        inside += abs(found.coverage - (1.0 - missing)) < 1.96 * found.coverage_sd
    # patches of a third of a block make blocks alike: there 85 % are asked for, not 95 %
    asked = 0.95 if patch_um == 0.0 else 0.85
    assert inside > binom.ppf(0.01, 60, asked)
    assert inside / 60 < 1.0 or missing == 0.1


@pytest.mark.slow
@pytest.mark.parametrize("missing_as", ["interfaces", "gaps"])
@pytest.mark.parametrize("missing", [0.0, 0.1, 0.2, 0.4])
def test_coverage_of_a_full_field_is_within_one_point(missing: float, missing_as: str) -> None:
    settings = MonolayerSettings(shape=(2048, 2048), missing=missing, missing_as=missing_as)  # type: ignore[arg-type]
    for seed in range(5):
        one = monolayer(np.random.default_rng(seed), settings)
        found = measure_junctions(one.junctions, PIXEL_UM, one.nuclei)
        assert abs(found.coverage - one.truth.coverage) < 0.01
