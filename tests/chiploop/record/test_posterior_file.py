"""A posterior on disk: back to the last bit, and open to any netCDF reader."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from chiploop.inference.posterior import CalibrationInfo, Misfit, Posterior
from chiploop.record.posterior_file import read_posterior, safe_names, write_posterior

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
    """Return a posterior of chips that share everything."""
    rng = np.random.default_rng(0)
    particles = np.exp(rng.standard_normal((n, 3))) * np.pi
    return Posterior(
        ("IC50", "h", "kM"),
        ("nM", "1", "1/h"),
        particles,
        rng.standard_normal((n, 3)),
        particles[3],
    )


ENTRIES = (
    "IC50", "h", "kM", "spread of kM", "kM of d-1", "kM of d 2", "dose of L1", "dose of L2",
    "TEER of chip A-1", "TEER of chip A 1", "CCL26 curve 1 of p/1",
)  # fmt: skip


def rich_posterior(n: int = 14) -> Posterior:
    """Return a posterior with donors, dose errors, effects, and names that netCDF does not take."""
    rng = np.random.default_rng(1)
    plain = some_posterior(n)
    of_donors = np.repeat(plain.particles[:, None], 2, axis=1)
    of_donors[:, :, 2] *= np.exp(rng.standard_normal((n, 2)))
    return replace(
        plain,
        standard=rng.standard_normal((n, len(ENTRIES))),
        entries=ENTRIES,
        donors=("d-1", "d 2"),
        of_donors=of_donors,
        lines=("L1", "L2"),
        drug_factors=np.exp(0.05 * rng.standard_normal((n, 2))),
    )


RICH_INFO = replace(
    INFO,
    method="tempered from the prior",
    heights=(-1.0, -2.5, float("-inf")),
    modes=(0.75, 0.25),
    shrinkage={"IC50": 0.5, "h": 0.01, "kM": -0.02},
    donor_shrinkage={"d-1": {"kM": 0.3}, "d 2": {"kM": 0.1}},
    misfit=Misfit(True, 0.001, 0.01, ("one", "two"), {"lag": 0.001, "dose": 0.5}),
)
CASES = {
    "plain": (some_posterior(), INFO),
    "rich": (rich_posterior(), RICH_INFO),
    "one donor's spread learned, doses exact": (
        replace(rich_posterior(), lines=(), drug_factors=np.zeros((0, 0))),
        RICH_INFO,
    ),
    "donors that do not differ": (replace(some_posterior(), donors=("d1", "d2")), INFO),
    "an odd number": (some_posterior(13), INFO),
    "three populations": (some_posterior(15), replace(INFO, log_evidence=(1.0, 2.0, 3.0))),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cal-01" / "posterior.nc"


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_comes_back_to_the_last_bit(path: Path, case: str) -> None:
    ours, info = CASES[case]
    write_posterior(path, ours, info)
    found, told = read_posterior(path)
    assert told == info
    if info.misfit is not None:
        assert list(told.misfit.tests) == list(info.misfit.tests), "smallest first"
    for part in fields(Posterior):
        wanted, got = getattr(ours, part.name), getattr(found, part.name)
        assert type(got) is type(wanted)
        assert np.array_equal(got, wanted), part.name
        if isinstance(wanted, np.ndarray):
            assert got.shape == wanted.shape, part.name
    write_posterior(path, found, told)
    assert read_posterior(path)[1] == info


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
        assert file["sample_stats/log_evidence"][...].tolist() == list(INFO.log_evidence)
        assert file["sample_stats"].attrs["ess"] == 20.25
        assert float(file["constant_data/h"][()]) == ours.mode[1]
        facts = json.loads(file.attrs["calibration_info"])
    assert facts["passed"] is False


def test_donors_and_lines_are_dimensions_and_every_entry_keeps_its_name(path: Path) -> None:
    ours = rich_posterior()
    write_posterior(path, ours, RICH_INFO)
    with h5py.File(path) as file:
        group = file["posterior"]
        assert set(group) == {
            "IC50", "h", "kM", "kM_of_donor", "drug_factor", "chain", "draw", "donor", "line",
        }  # fmt: skip
        assert [one.decode() for one in group["donor"][...]] == ["d-1", "d 2"]
        assert [one.decode() for one in group["line"][...]] == ["L1", "L2"]
        assert np.array_equal(group["kM_of_donor"][1, 3], ours.of_donors[10, :, 2])
        assert np.array_equal(group["drug_factor"][0, 5], ours.drug_factors[5])
        assert group["kM_of_donor"].attrs["units"] == "1/h"
        standard = file["unconstrained_posterior"]
        assert set(standard) - {"chain", "draw"} == {
            "IC50", "h", "kM", "spread_of_kM", "kM_of_d_1", "kM_of_d_2", "dose_of_L1", "dose_of_L2",
            "TEER_of_chip_A_1", "TEER_of_chip_A_1_2", "CCL26_curve_1_of_p_1",
        }  # fmt: skip
        assert standard["TEER_of_chip_A_1_2"].attrs["name"] == "TEER of chip A 1"
        assert np.array_equal(standard["kM_of_d_2"][...].ravel(), ours.standard[:, 5])


@pytest.mark.parametrize(
    "names",
    [("chain", "draw", "donor"), ("line", "drug_factor", "x_of_donor"), ("a b", "a_b", "a/b")],
)
def test_no_parameters_name_stands_in_the_way(path: Path, names: tuple[str, ...]) -> None:
    ours = replace(rich_posterior(), names=names, entries=(*names, *ENTRIES[3:]))
    write_posterior(path, ours, RICH_INFO)
    found, _ = read_posterior(path)
    assert (found.names, found.entries) == (ours.names, ours.entries)
    assert np.array_equal(found.particles, ours.particles)
    assert np.array_equal(found.of_donors, ours.of_donors)


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8))
def test_safe_names_are_safe_and_no_two_alike(names: list[str]) -> None:
    found = safe_names(names)
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_]\w*", one, re.ASCII) for one in found)
    assert not set(found) & {"chain", "draw", "donor", "line", "drug_factor"}


def test_further_groups_stand_beside_the_posterior(path: Path) -> None:
    ours = rich_posterior()
    coords = {"chain": [0, 1], "draw": range(7), "row": range(3)}
    values = np.random.default_rng(3).standard_normal((2, 7, 3))
    more = {
        "log_likelihood": xr.Dataset({"TEER": (("chain", "draw", "row"), values)}, coords=coords),
        "observed_data": xr.Dataset({"TEER": (("row",), [1.0, 2.0, np.nan])}),
        "prior": xr.Dataset(
            {"IC50": (("chain", "draw"), np.ones((1, 500)))},
            coords={"chain": [0], "draw": range(500)},
        ),
    }
    write_posterior(path, ours, RICH_INFO, more)
    with h5py.File(path) as file:
        assert np.array_equal(file["log_likelihood/TEER"][...], values)
        assert file["prior/IC50"].shape == (1, 500)
        assert file["observed_data/TEER"][1] == 2.0
    assert np.array_equal(read_posterior(path)[0].standard, ours.standard)
    with pytest.raises(ValueError, match="constant_data, posterior are filled by the posterior"):
        write_posterior(
            path, ours, INFO, {"posterior": xr.Dataset(), "constant_data": xr.Dataset()}
        )


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
