"""The benchmark's plain pipeline is a fair one: it finds what there is to find on an easy image."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.microscopy import in_frame, plain_junctions, plain_nuclei
from chiploop.microscopy.synthetic import MonolayerSettings, monolayer


def test_the_plain_pipeline_counts_nuclei_and_covers_a_whole_border() -> None:
    one = monolayer(np.random.default_rng(1), MonolayerSettings(shape=(512, 512), missing=0.0))
    labels, table = plain_nuclei(one.nuclei)
    place = np.stack([table["centroid-0"], table["centroid-1"]], axis=1)
    assert in_frame(place, one) == pytest.approx(in_frame(one.truth.nuclei_px, one), rel=0.02)
    assert plain_junctions(one.junctions, labels) > 0.97
