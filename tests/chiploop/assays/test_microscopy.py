"""Images to readouts: value, sd, unit, flags and what is no value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chiploop.assays.microscopy import (
    epidermal_thickness_readout,
    junction_coverage_readout,
    junction_readouts,
    mean_of_places,
    nuclei_density_readout,
)
from chiploop.measurement import Readout
from chiploop.microscopy.junction_measure import measure_junctions
from chiploop.microscopy.synthetic import MonolayerSettings, monolayer
from chiploop.microscopy.synthetic_section import SectionSettings, section

UM = 0.325
ONE = monolayer(np.random.default_rng(2), MonolayerSettings(shape=(512, 512), missing=0.2))


def test_coverage_is_a_linear_readout_of_its_chip_and_time() -> None:
    found = junction_coverage_readout(
        ONE.junctions, UM, "chip_1", 48.0, nuclei=ONE.nuclei, raw_sha256="ab" * 32, cycle=2
    )
    assert (found.chip_id, found.readout, found.unit, found.scale) == (
        "chip_1",
        "junction_coverage",
        "1",
        "linear",
    )
    assert (found.time_h, found.cycle, found.raw_sha256) == (48.0, 2, "ab" * 32)
    assert found.qc == "ok" and found.reasons == () and found.censoring == "none"
    assert abs(found.value - ONE.truth.coverage) < 2.0 * found.sd
    assert 0.006 < found.sd < 0.04
    assert "cells from nuclei" in found.method and "version 1" in found.method


def test_the_sd_never_falls_below_the_method_s_own() -> None:
    whole = monolayer(np.random.default_rng(3), MonolayerSettings(shape=(512, 512), missing=0.0))
    found = junction_coverage_readout(whole.junctions, UM, "c", 0.0, nuclei=whole.nuclei)
    assert found.value > 0.99 and 0.006 <= found.sd < 0.01


def test_tijor_comes_with_coverage_and_says_how() -> None:
    coverage, tijor = junction_readouts(measure_junctions(ONE.junctions, UM, ONE.nuclei), "c", 1.0)
    assert (tijor.readout, tijor.unit, tijor.scale) == ("TiJOR", "1/um", "linear")
    assert 0.04 < tijor.value < 0.12 and 0.0 < tijor.sd < 0.1 * tijor.value
    assert tijor.qc == coverage.qc == "ok"


def test_cells_found_by_junctions_alone_are_told_where_border_is_lost() -> None:
    found = junction_coverage_readout(ONE.junctions, UM, "c", 0.0)
    assert found.qc == "warn" and "cells were found by junctions alone" in found.reasons[0]


def test_an_image_without_junctions_is_a_failed_readout_without_a_number() -> None:
    noise = np.random.default_rng(0).normal(300.0, 20.0, (512, 512)).astype(np.uint16)
    found = junction_coverage_readout(noise, UM, "c", 0.0, nuclei=ONE.nuclei)
    assert found.qc == "fail" and math.isnan(found.value) and math.isnan(found.sd)
    assert "no junction stands out" in found.reasons[0]


def test_poor_images_are_flagged_and_their_value_stays() -> None:
    bright = np.minimum(ONE.junctions.astype(int) * 3, 4095).astype(np.uint16)
    saturated = junction_coverage_readout(bright, UM, "c", 0.0, nuclei=ONE.nuclei)
    assert saturated.qc == "warn" and "at the top of the scale" in saturated.reasons[0]
    soft = MonolayerSettings(shape=(512, 512), missing=0.2, blur_um=1.3)
    blurred = monolayer(np.random.default_rng(2), soft)
    found = junction_coverage_readout(blurred.junctions, UM, "c", 0.0, nuclei=blurred.nuclei)
    assert found.qc == "warn" and "is the image in focus?" in found.reasons[0]
    nuclei = nuclei_density_readout(blurred.nuclei, UM, "c", 0.0)
    assert nuclei.qc == "ok" or "is the image in focus?" in nuclei.reasons[0]
    small = junction_coverage_readout(
        ONE.junctions[:150, :150], UM, "c", 0.0, nuclei=ONE.nuclei[:150, :150]
    )
    assert small.qc != "ok" and any("cells (warns below 40)" in one for one in small.reasons)


def test_a_wrong_pixel_size_shows_in_the_nuclei() -> None:
    found = nuclei_density_readout(ONE.nuclei, UM, "c", 0.0)
    assert (found.readout, found.unit, found.qc) == ("nuclei_density", "1/mm2", "ok")
    density = len(ONE.truth.nuclei_px) / (512 * UM * 1e-3) ** 2
    assert abs(found.value - density) < 3.0 * found.sd
    small = monolayer(
        np.random.default_rng(2),
        MonolayerSettings(shape=(1024, 1024), nucleus_um=4.2, cell_um=10.0),
    )
    wrong = nuclei_density_readout(small.nuclei, UM, "c", 0.0)
    assert wrong.qc == "warn" and "is the pixel size right?" in wrong.reasons[0]


def test_thickness_is_a_readout_in_um() -> None:
    one = section(np.random.default_rng(1), SectionSettings(shape=(300, 500), pixel_size_um=2.0))
    found = epidermal_thickness_readout(one.rgb, 2.0, "c", 96.0)
    assert (found.readout, found.unit, found.qc) == ("epidermal_thickness", "um", "ok")
    assert abs(found.value - np.median(one.thickness_um)) < 3.0 * found.sd
    none = epidermal_thickness_readout(np.full((300, 500, 3), 240, dtype=np.uint8), 2.0, "c", 96.0)
    assert none.qc == "fail" and math.isnan(none.value)


def a_readout(value: float, sd: float = 0.01, **more: object) -> Readout:
    one = Readout("c", "junction_coverage", value, "1", sd, "linear", 24.0)
    return replace(one, **more)  # type: ignore[arg-type]


def test_the_mean_of_places_takes_the_scatter_between_them() -> None:
    far = mean_of_places([a_readout(v) for v in (0.7, 0.8, 0.9)])
    assert far.value == pytest.approx(0.8) and far.n == 3
    assert far.sd == pytest.approx(0.1 / math.sqrt(3.0) * 4.302653 / 1.959964, rel=1e-5)
    near = mean_of_places([a_readout(0.8) for _ in range(4)])
    assert near.sd == pytest.approx(0.01 / 2.0)
    assert mean_of_places([a_readout(0.7), a_readout(0.9)]).sd == pytest.approx(
        0.01 / math.sqrt(2.0)
    )


def test_failed_places_are_left_out_and_told() -> None:
    bad = a_readout(math.nan, math.nan, qc="fail", reasons=("no junction stands out",))
    found = mean_of_places([a_readout(0.8), bad, a_readout(0.82)])
    assert found.value == pytest.approx(0.81) and found.n == 2 and found.qc == "warn"
    assert found.reasons == ("no junction stands out", "1 of 3 images failed and are left out")
    assert mean_of_places([bad, bad]).qc == "fail"
    with pytest.raises(ValueError, match="one readout of one chip at one time"):
        mean_of_places([a_readout(0.8), a_readout(0.8, time_h=48.0)])
    with pytest.raises(ValueError, match="one readout of one chip"):
        mean_of_places([])
