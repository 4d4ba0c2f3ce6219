"""A posterior on disk: back to the last bit, and open to any netCDF reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from chiploop.inference.posterior import CalibrationInfo, Posterior
from chiploop.record.posterior_file import read_posterior, write_posterior

INFO = CalibrationInfo(
    passed=False,
    failures=("20 effective particles, at least 200 needed",),
    warnings=("TEER: posterior predictive p 0.001", "CCL26: too wide"),
    ess=20.25,
    population_gap_sd=0.125,
    log_evidence=(-31.5, -31.0 - 1e-13),
    starts=16,
    starts_at_mode=3,
    acceptance=1 / 3,
    temperatures=4,
    predictive_p={"TEER": 0.001, "CCL26": 1.0},
    n_readouts=48,
    n_censored=2,
    simulations=123456,
)


def some_posterior(n: int = 14) -> Posterior:
    rng = np.random.default_rng(0)
    particles = np.exp(rng.standard_normal((n, 3))) * np.pi
    return Posterior(
        ("IC50", "h", "kM"),
        ("nM", "1", "1/h"),
        particles,
        rng.standard_normal((n, 3)),
        particles[3],
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cal-01" / "posterior.nc"


def test_what_is_written_comes_back_to_the_last_bit(path: Path) -> None:
    ours = some_posterior()
    write_posterior(path, ours, INFO)
    found, info = read_posterior(path)
    assert info == INFO
    assert (found.names, found.units) == (ours.names, ours.units)
    for name in ("particles", "standard", "mode"):
        assert np.array_equal(getattr(found, name), getattr(ours, name)), name


def test_another_program_finds_arviz_groups_with_chains_and_draws(path: Path) -> None:
    ours = some_posterior()
    write_posterior(path, ours, INFO)
    with h5py.File(path) as file:
        assert set(file) >= {"posterior", "unconstrained_posterior", "constant_data"}
        ic50 = file["posterior/IC50"]
        assert ic50.shape == (2, 7), "a chain per population"
        assert ic50.attrs["units"] == "nM"
        assert np.array_equal(ic50[0], ours.particles[:7, 0])
        assert np.array_equal(ic50[1], ours.particles[7:, 0])
        assert np.array_equal(file["unconstrained_posterior/kM"][...].ravel(), ours.standard[:, 2])
        assert set(file["posterior"]) == {"IC50", "h", "kM", "chain", "draw"}
        assert float(file["constant_data/h"][()]) == ours.mode[1]
        facts = json.loads(file.attrs["calibration_info"])
    assert facts["passed"] is False


def test_a_second_calibration_replaces_the_file_whole(path: Path) -> None:
    write_posterior(path, some_posterior(), INFO)
    write_posterior(path, some_posterior(40), replace(INFO, passed=True, failures=()))
    found, info = read_posterior(path)
    assert len(found.particles) == 40
    assert info.passed
    assert [file.name for file in path.parent.iterdir()] == ["posterior.nc"]


def test_a_file_that_is_none_is_an_operating_system_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        read_posterior(tmp_path / "nowhere.nc")
    (tmp_path / "torn.nc").write_bytes(b"\x89HDF\r\n\x1a\n torn")
    with pytest.raises(OSError):
        read_posterior(tmp_path / "torn.nc")
