"""Light, noise, blocks, crossings, grids and flags: each against numbers known without them."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.microscopy.cells import renumbered
from chiploop.microscopy.image_quality import quality_flags, saturated_share
from chiploop.microscopy.light import EVEN, fit_light
from chiploop.microscopy.noise import gaussian_gain, laplacian_gain, pixel_noise_sd
from chiploop.microscopy.place_scatter import block_of, ratio_sd
from chiploop.microscopy.planes import ArrayPlane, fields
from chiploop.microscopy.tijor import crossings
from chiploop.microscopy.working_grid import coarse, pixels_across, to_pixels


def test_upright_lines_are_crossed_by_the_level_sides_alone() -> None:
    lines = np.zeros((100, 100), dtype=bool)
    lines[:, 5::10] = True
    count, length = crossings(lines, 1.0)
    # rectangles of half width 5, 10 ... 45: level sides of 10 ... 90 px cross 1 ... 9 lines, two a rectangle
    sides = np.arange(5, 50, 5)
    assert length == sum(8 * sides)
    on_a_line = sum((50 - s) % 10 == 5 for s in sides) + sum((50 + s) % 10 == 5 for s in sides)
    level = sum(2 * len([x for x in range(50 - s, 50 + s) if x % 10 == 5]) for s in sides)
    assert count == level + on_a_line  # a side along a line crosses it once


def test_nothing_is_crossed_where_nothing_is() -> None:
    assert crossings(np.zeros((60, 80), dtype=bool), 0.65)[0] == 0


def test_the_jackknife_gives_the_binomial_sd_and_half_of_it_for_four_times_as_much() -> None:
    rng = np.random.default_rng(4)
    told = [
        ratio_sd(rng.binomial(50, 0.8, 16).astype(float), np.full(16, 50.0)) for _ in range(400)
    ]
    truth = np.sqrt(0.8 * 0.2 / 800.0) * 2.1314 / 1.96
    assert np.sqrt(np.mean(np.square(told))) == pytest.approx(truth, rel=0.05)
    more = [
        ratio_sd(rng.binomial(200, 0.8, 16).astype(float), np.full(16, 200.0)) for _ in range(400)
    ]
    assert np.mean(more) == pytest.approx(0.5 * np.mean(told), rel=0.06)


def test_fewer_than_four_blocks_have_no_scatter() -> None:
    assert np.isnan(ratio_sd(np.array([1.0, 2.0, 3.0, 0.0]), np.array([2.0, 4.0, 6.0, 0.0])))
    place = np.array([[0.0, 0.0], [99.0, 0.0], [99.0, 199.0], [30.0, 60.0]])
    assert list(block_of(place, (100, 200))) == [0, 12, 15, 5]


def test_the_light_of_a_lamp_is_found_and_of_a_corner_alone_not_guessed() -> None:
    rng = np.random.default_rng(0)
    place = rng.uniform(0.0, 199.0, (3000, 2))
    y, x = (2.0 * place / 199.0 - 1.0).T
    brightness = 50.0 * np.exp(0.3 * x - 0.4 * y**2) * rng.lognormal(0.0, 0.2, 3000)
    found = fit_light(place, brightness, (200, 200))
    assert found.coefficients[[1, 5]] == pytest.approx([0.3, -0.4], abs=0.03)
    assert found.at(place, (200, 200)) == pytest.approx(
        found.map((200, 200))[tuple(np.rint(place).astype(int).T)], rel=0.02
    )
    assert np.median(found.at(place, (200, 200))) == pytest.approx(1.0, abs=0.03)
    corner = place[np.all(place < 50.0, axis=1)]
    assert fit_light(corner, np.ones(len(corner)), (200, 200)) is EVEN
    assert fit_light(place[:20], brightness[:20], (200, 200)) is EVEN
    assert EVEN.unevenness == 1.0


def test_noise_is_told_apart_from_lines_and_slopes() -> None:
    from scipy.ndimage import gaussian_filter, gaussian_laplace

    rng = np.random.default_rng(9)
    noise = rng.normal(0.0, 12.0, (600, 600))
    row, column = np.indices(noise.shape)
    assert pixel_noise_sd(noise + 0.5 * row + 200.0 * (column % 50 == 0)) == pytest.approx(
        12.0, rel=0.03
    )
    for sigma in (1.0, 1.6):
        assert gaussian_filter(noise, sigma).std() == pytest.approx(
            12 * gaussian_gain(sigma), rel=0.03
        )
        assert gaussian_laplace(noise, sigma).std() == pytest.approx(
            12 * laplacian_gain(sigma), rel=0.03
        )


def test_the_coarse_grid_keeps_means_and_places() -> None:
    image = np.arange(7 * 9).reshape(7, 9).astype(np.uint16)
    small = coarse(image, 3)
    assert small.dtype == np.float32 and small.shape == (2, 3)
    assert small[1, 2] == image[3:6, 6:9].mean()
    assert to_pixels(np.array([1.0, 2.0]), 3).tolist() == [4.0, 7.0]
    assert [pixels_across(0.325, 0.65), pixels_across(0.33, 0.65), pixels_across(2.0, 0.65)] == [
        2,
        1,
        1,
    ]


def test_fields_hold_every_place_once() -> None:
    parts = fields((5000, 2600), 0.65)
    place = np.random.default_rng(1).uniform(-0.5, [4999.5, 2599.5], (2000, 2))
    assert np.all(sum(part.holds(place).astype(int) for part in parts) == 1)
    assert len(parts) == 4 and len(fields((2100, 2500), 0.65)) == 1
    values = np.random.default_rng(0).integers(0, 9, (5000, 2600))
    part = parts[-1]
    assert np.array_equal(part.read(ArrayPlane(values)), values[part.read_top :, part.read_left :])
    assert part.top - part.read_top == 62


def test_labels_are_numbered_anew_also_where_they_are_huge_or_negative() -> None:
    labels = np.array([[0, 7, 7], [9, 0, 7]])
    expected = [[0, 1, 1], [2, 0, 1]]
    assert renumbered(labels).tolist() == expected
    assert renumbered(labels * 1_000_000_000).tolist() == expected
    assert renumbered(np.array([[-1, 5], [5, 2]])).tolist() == [[0, 2], [2, 1]]
    assert renumbered(np.array([[-1, 5], [2**40, 2]])).tolist() == [[0, 2], [3, 1]]


def test_the_top_of_a_camera_s_scale_is_known_and_a_bright_pixel_is_not_one() -> None:
    image = np.full((100, 100), 500, dtype=np.uint16)
    image[:5] = 4095
    assert saturated_share(image) == 0.05
    image[:5] = 3990
    assert saturated_share(image) == 0.0
    assert saturated_share(np.full((5, 5), 1.0)) == 0.0


def test_flags_say_what_was_found_and_what_is_allowed() -> None:
    assert quality_flags(0.0005, 1.5, 1.2, 1.0) == ()
    flags = quality_flags(0.02, 2.6, 1.9, 2.0)
    assert len(flags) == 4
    assert "2.00% of pixels" in flags[0] and "2.6 times" in flags[1]
    assert "1.90 um wide (warns above 1.6)" in flags[2] and "2.00 um" in flags[3]
